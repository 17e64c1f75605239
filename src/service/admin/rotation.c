/* Rotations that wait for their device: noticing its first use of the new secret, deciding by hand,
 * saying how it stands; and secrets that are in two hands. */
#include "service/admin/admin_private.h"
#include "service/directory/duplicates.h"

enum { LOOK_MS = 250, LOOK_PER_DEVICES = 10, AGAIN_MS = 1000 };

/* ---- as devices come ---- */

static void say_confirmed(struct admin *a, const struct directory_confirmation *c)
{
    char ends[CLOCK_ISO8601_BYTES];
    const char *kind = credential_kind_name(c->kind);
    admin_time_text(c->ends_wall_ms, ends);
    admin_act(a, 0, EVENT_credential_rotated, SEVERITY_NOTICE, c->name,
              "the device has used its new %s: the rotation is confirmed, the %s before it ends %s",
              kind, kind, ends);
}

uint64_t admin_settle(struct admin *a, uint64_t now_ms)
{
    struct directory *d = a->setup.directory;
    struct directory_confirmation told[DIRECTORY_SETTLE_MAX];
    size_t n = 0;
    bool changed = false;
    if (directory_unsettled(d) == 0) {
        return UINT64_MAX;
    }
    if (now_ms < a->settle_at_ms) {
        return a->settle_at_ms;
    }
    enum err err = directory_settle(d, admin_wall_ms(a), told, &n, &changed);
    for (size_t i = 0; i < n; i++) {
        say_confirmed(a, &told[i]);
    }
    if (changed) {
        admin_push_realm(a);
    }
    /* A look costs a fraction of a percent of the time, however many wait. What the disk refused is
     * told by the disk's own alert. */
    a->settle_at_ms = now_ms + (err != OK ? AGAIN_MS
                                : changed ? ADMIN_POLL_MS
                                          : LOOK_MS + directory_unsettled(d) / LOOK_PER_DEVICES);
    return a->settle_at_ms;
}

/* ---- by hand ---- */

static enum err kinds_asked(const struct control_request *r, unsigned *ret)
{
    const json_t *list = json_object_get(r->args, "credentials");
    unsigned kinds = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        enum credential_kind kind;
        const char *name = json_string_value(json_array_get(list, i));
        if (!credential_kind_find(slice_text(name), &kind)) {
            return ERR_MALFORMED;
        }
        kinds |= 1U << kind;
    }
    *ret = kinds;
    return OK;
}

enum err admin_decide_rotation(struct admin *a, const struct control_request *r, uint64_t token,
                               struct control_reply *reply)
{
    struct why why = {{0}};
    unsigned kinds = 0;
    const char *name = control_arg_text(r, "name");
    bool is_abort = control_arg_flag(r, "abort");
    if (kinds_asked(r, &kinds) != OK) {
        return control_finish(reply, 1,
                              "kinds of credentials are x509, password, scram, psk, oscore");
    }
    enum err e = directory_decide(a->setup.directory, slice_text(name), kinds,
                                  is_abort ? DIRECTORY_ABORT : DIRECTORY_CUT_OVER, &why);
    if (e != OK) {
        return admin_refuse(reply, "the device", e, &why);
    }
    const char *what = is_abort ? "its rotation is taken back: the new secrets that waited open "
                                  "nothing, the ones before stay"
                                : "its rotation is cut over: the newest credential of each kind "
                                  "opens, the ones before have ended";
    admin_act(a, token, EVENT_credential_rotated, SEVERITY_NOTICE, name, "%s", what);
    return admin_changed(a, token, reply,
                         json_pack("{s:s,s:s,s:s++}", "name", name, "change",
                                   is_abort ? "aborted" : "cut over", "text", name, ": ", what));
}

/* ---- how it stands ---- */

size_t admin_waiting_count(const struct admin *a, struct slice name)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct directory_entry *e = directory_find(v, name);
    size_t n = 0;
    for (size_t i = 0; e != NULL && i < e->n_credentials; i++) {
        n += credential_waits(e->credentials[i]) ? 1 : 0;
    }
    return n;
}

void admin_rotation_note(const struct admin *a, struct slice name, size_t n_replaced, char *dst,
                         size_t cap)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct directory_entry *e = directory_find(v, name);
    const struct credential *waiting = NULL;
    int64_t until = CREDENTIAL_NEVER;
    char ends[CLOCK_ISO8601_BYTES];
    dst[0] = '\0';
    for (size_t i = 0; e != NULL && i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        waiting = credential_waits(c) ? c : waiting;
        until =
            credential_is_secret(c) && directory_ends(v, c) < until ? directory_ends(v, c) : until;
    }
    if (waiting == NULL) {
        return;
    }
    admin_time_text(until, ends);
    (void)snprintf(dst, cap,
                   "the secrets it has open until it has used the new ones, then for %lld s, and "
                   "not beyond %s%s",
                   (long long)(waiting->tail_ms / 1000), ends,
                   n_replaced > 0 ? "; the bundle made before this one was never used and is void"
                                  : "");
}

/* ---- in two hands ---- */

static enum err duplicate_line(const struct duplicate_pair *p, struct control_reply *reply)
{
    const char *one = p->one.entry->principal->name, *other = p->other.entry->principal->name;
    const char *kind = credential_kind_name(p->one.credential->kind);
    const char *other_kind = credential_kind_name(p->other.credential->kind);
    char text[512];
    (void)snprintf(text, sizeof text,
                   "the %s of %s is the %s of %s, too: whoever has one of them is both. Give each "
                   "its own: `sallyport device rotate %s --credential %s`",
                   kind, one, other_kind, other, other, other_kind);
    return control_line(reply, json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", one, "kind", kind,
                                         "other", other, "other_kind", other_kind, "text", text));
}

enum err admin_list_duplicates(struct admin *a, struct control_reply *reply)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    AUTO(duplicates_done) struct duplicate_list l = {0};
    TRY(duplicates_find(a->setup.directory, v, &l));
    for (size_t i = 0; i < l.n; i++) {
        TRY(duplicate_line(&l.pairs[i], reply));
    }
    return control_finish(reply, 0, NULL);
}
