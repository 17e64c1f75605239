/* exception add, list, end; and the ends of those whose time is over. */
#include <inttypes.h>

#include "service/admin/admin_private.h"

static const char *allow_text(unsigned allow)
{
    static const char *const names[] = {"", "plaintext", "anonymous", "plaintext,anonymous"};
    return names[allow & 3];
}

void admin_exception_text(const struct directory_exception *x, char *dst, size_t cap)
{
    char ends[CLOCK_ISO8601_BYTES];
    admin_time_text(x->ends_wall_ms, ends);
    snprintf(dst, cap, "%" PRIu64 "  %s  allows %s%s%s  until %s  %s", x->id, x->listener,
             allow_text(x->allow), x->role[0] != '\0' ? " as " : "", x->role, ends, x->reason);
}

json_t *admin_exception_json(const struct directory_exception *x)
{
    char id[24];
    snprintf(id, sizeof id, "%" PRIu64, x->id);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:o}", "id", id, "listener", x->listener, "allow",
                     allow_text(x->allow), "role", x->role[0] != '\0' ? x->role : "-", "reason",
                     x->reason, "created", admin_time(x->created_wall_ms), "ends",
                     admin_time(x->ends_wall_ms));
}

const struct directory_exception *admin_exception_next(const struct directory_version *v,
                                                       size_t *at, int64_t now_wall_ms)
{
    size_t n;
    const struct directory_exception *all = directory_exceptions(v, &n);
    while (*at < n) {
        const struct directory_exception *x = &all[(*at)++];
        if (now_wall_ms < x->ends_wall_ms) {
            return x;
        }
    }
    return NULL;
}

static void exception_event(struct admin *a, uint64_t token, const struct directory_exception *x,
                            enum event_severity severity, const char *what)
{
    char text[512];
    admin_exception_text(x, text, sizeof text);
    struct event e = admin_act_make(a, token, EVENT_exception, severity, x->listener);
    EVENT_TEXT(&e, listener, slice_text(x->listener));
    event_reason(&e, "%s: exception %s", what, text);
    admin_event(a, &e);
}

static const struct admin_listener *find_listener(const struct admin *a, struct slice name)
{
    for (size_t i = 0; i < a->setup.n_listeners; i++) {
        if (slice_is(name, a->setup.listeners[i].name)) {
            return &a->setup.listeners[i];
        }
    }
    return NULL;
}

void admin_exceptions_report(struct admin *a)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    int64_t now = admin_wall_ms(a);
    size_t at = 0;
    for (const struct directory_exception *x = admin_exception_next(v, &at, now); x != NULL;
         x = admin_exception_next(v, &at, now)) {
        bool is_there = find_listener(a, slice_text(x->listener)) != NULL;
        exception_event(a, 0, x, SEVERITY_ALERT,
                        is_there ? "still in force"
                                 : "in force, but its listener is not there (the log of the start "
                                   "says whose port it could not have)");
    }
}

int64_t admin_exceptions_end(struct admin *a)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    int64_t now = admin_wall_ms(a);
    int64_t next = INT64_MAX;
    bool changed = false;
    size_t n;
    const struct directory_exception *all = directory_exceptions(v, &n);
    for (size_t i = 0; i < n; i++) {
        if (now < all[i].ends_wall_ms) {
            next = all[i].ends_wall_ms < next ? all[i].ends_wall_ms : next;
        } else if (directory_exception_end(a->setup.directory, all[i].id) == OK) {
            /* Nobody is let in by it even when this cannot be saved: its time is over. */
            exception_event(a, 0, &all[i], SEVERITY_NOTICE, "its time is over");
            changed = true;
        }
    }
    if (changed) {
        admin_push_realm(a);
    }
    return next;
}

/* ---- verbs ---- */

static bool read_allow(const struct control_request *r, unsigned *ret)
{
    const json_t *list = json_object_get(r->args, "allow");
    unsigned allow = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct slice word = slice_text(json_string_value(json_array_get(list, i)));
        if (slice_is(word, "plaintext")) {
            allow |= DIRECTORY_ALLOW_PLAINTEXT;
        } else if (slice_is(word, "anonymous")) {
            allow |= DIRECTORY_ALLOW_ANONYMOUS;
        } else {
            return false;
        }
    }
    *ret = allow;
    return true;
}

static enum err check_order(const struct admin *a, const struct directory_exception_order *o,
                            struct why *why)
{
    const struct admin_listener *l = find_listener(a, o->listener);
    struct slice shown = slice_head(o->listener, 40);
    if (l == NULL) {
        why_set(why,
                "there is no listener %.*s; `sallyport status` lists them. One whose port another "
                "program had at the start is not there (the log says whose)",
                SLICE_ARG(shown));
        return ERR_NOT_FOUND;
    }
    if (l->is_oscore &&
        o->allow != (unsigned)(DIRECTORY_ALLOW_PLAINTEXT | DIRECTORY_ALLOW_ANONYMOUS)) {
        why_set(
            why,
            "%s speaks OSCORE, where everybody has a name: what an exception can let in there is "
            "plain CoAP, which has none: --allow plaintext,anonymous --role ROLE",
            l->name);
        return ERR_DENIED;
    }
    if ((o->allow & DIRECTORY_ALLOW_PLAINTEXT) != 0 && !l->is_plain && !l->is_oscore) {
        why_set(why,
                "%s speaks TLS and stays so; plaintext can only be allowed on a plain listener",
                l->name);
        return ERR_DENIED;
    }
    if ((o->allow & DIRECTORY_ALLOW_ANONYMOUS) != 0 && o->role.n > 0 &&
        !policy_has_role(a->policy, o->role)) {
        shown = slice_head(o->role, 64);
        why_set(why, "the policy in force has no role %.*s", SLICE_ARG(shown));
        return ERR_NOT_FOUND;
    }
    return OK;
}

enum err verb_exception_add(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    uint64_t id = 0;
    int64_t seconds = control_arg_number(r, "for_s", 0);
    bool in_range = seconds > 0 && seconds <= DIRECTORY_EXCEPTION_MAX_S;
    struct directory_exception_order o = {.listener = slice_text(control_arg_text(r, "listener")),
                                          .role = slice_text(control_arg_text(r, "role")),
                                          .reason = slice_text(control_arg_text(r, "reason")),
                                          .for_ms = in_range ? seconds * 1000 : 0};
    if (!read_allow(r, &o.allow)) {
        return control_finish(reply, 1, "an exception allows plaintext, anonymous, or both");
    }
    (void)admin_exceptions_end(a); /* with their events: the directory would forget them silently */
    enum err e = check_order(a, &o, &why);
    if (e == OK) {
        e = directory_exception_add(a->setup.directory, &o, admin_wall_ms(a), &id, &why);
    }
    if (e != OK) {
        return admin_refuse(reply, "the exception", e, &why);
    }
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    size_t at = 0;
    json_t *line = NULL;
    for (const struct directory_exception *x = admin_exception_next(v, &at, 0); x != NULL;
         x = admin_exception_next(v, &at, 0)) {
        if (x->id == id) {
            exception_event(a, token, x, SEVERITY_ALERT, "added");
            line = admin_exception_json(x);
        }
    }
    /* The id alone, so that a script can take it. */
    (void)json_object_set(line, "text", json_object_get(line, "id"));
    return admin_changed(a, token, reply, line);
}

enum err verb_exception_list(void *ctx, const struct control_request *r, uint64_t token,
                             struct control_reply *reply)
{
    struct admin *a = ctx;
    (void)r;
    (void)token;
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    int64_t now = admin_wall_ms(a);
    size_t at = 0;
    for (const struct directory_exception *x = admin_exception_next(v, &at, now); x != NULL;
         x = admin_exception_next(v, &at, now)) {
        char text[512];
        json_t *line = admin_exception_json(x);
        admin_exception_text(x, text, sizeof text);
        (void)json_object_set_new(line, "text", json_string(text));
        TRY(control_line(reply, line));
    }
    return control_finish(reply, 0, NULL);
}

enum err verb_exception_end(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    struct admin *a = ctx;
    const char *text = control_arg_text(r, "id");
    char *rest = NULL;
    uint64_t id = text != NULL ? strtoull(text, &rest, 10) : 0;
    if (text == NULL || rest == text || *rest != '\0') {
        return control_finish(reply, 1,
                              "an exception is named by its number; see `exception list`");
    }
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    size_t at = 0;
    const struct directory_exception *x = admin_exception_next(v, &at, admin_wall_ms(a));
    while (x != NULL && x->id != id) {
        x = admin_exception_next(v, &at, admin_wall_ms(a));
    }
    if (x == NULL) {
        return control_finish(reply, 1, "no exception %" PRIu64 " is in force", id);
    }
    enum err e = directory_exception_end(a->setup.directory, id);
    if (e != OK) {
        return admin_refuse(reply, "the exception", e, NULL);
    }
    exception_event(a, token, x, SEVERITY_NOTICE, "ended");
    json_t *line = json_pack("{s:s,s:s+}", "id", text, "text", "ended exception ", text);
    return admin_changed(a, token, reply, line);
}
