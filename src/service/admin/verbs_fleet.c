/* fleet select, change, add, rotate: many devices by one command, in pieces that the command line
 * cuts. A piece is one save, all or nothing, and bounded, so nobody waits long for this thread.
 * Each may be asked again: what is so already is left as it is. */
#include "service/admin/fleet_private.h"

enum { SELECT_SEEN = 2048 /* of a piece; whole pages */ };

/* What became of a piece. */
struct tally {
    json_t *changed, *refused, *bundles; /* owned: names; {name, why}; {name, bundle} */
    size_t n_already;
};

static void tally_done(struct tally *t)
{
    json_decref(t->changed);
    json_decref(t->refused);
    json_decref(t->bundles);
}

static struct tally tally_make(void)
{
    return (struct tally){json_array(), json_array(), json_array(), 0};
}

static enum err tally_refuse(struct tally *t, const char *name, const char *why)
{
    return json_array_append_new(t->refused, json_pack("{s:s,s:s}", "name", name, "why", why)) == 0
               ? OK
               : ERR_NOMEM;
}

/* The world is wrong, not what was asked: the whole piece is undone. */
static bool is_fatal(enum err e)
{
    return e == ERR_NOMEM || e == ERR_IO || e == ERR_SPACE || e == ERR_CRYPTO;
}

/* OK: this one is refused and the piece goes on. */
static enum err tally_error(struct tally *t, const char *name, enum err e, const struct why *why)
{
    const char *said = why->text[0] != '\0' ? why->text
                       : e == ERR_NOT_FOUND ? "it is not there"
                                            : err_name(e);
    return is_fatal(e) ? e : tally_refuse(t, name, said);
}

static enum err tally_answer(struct admin *a, uint64_t token, struct tally *t,
                             struct control_reply *reply)
{
    bool has_changes = json_array_size(t->changed) > 0;
    json_t *line = json_pack(
        "{s:I,s:I,s:O,s:O}", "changed", (json_int_t)json_array_size(t->changed), "already",
        (json_int_t)t->n_already, "refused", t->refused, "bundles", t->bundles);
    if (has_changes) {
        return admin_changed(a, token, reply, line);
    }
    TRY(control_line(reply, line));
    return control_finish(reply, 0, NULL);
}

/* Saves what a piece did; an error undoes all of it. */
static enum err finish_batch(struct admin *a, enum err e)
{
    struct directory *d = a->setup.directory;
    if (e == OK) {
        e = directory_commit(d);
    }
    if (e != OK) {
        directory_rollback(d);
    }
    return e;
}

/* NULL: not an array of what it must be, or too many. */
static const json_t *items_of(const struct control_request *r, const char *key, size_t most,
                              bool (*fits)(const json_t *))
{
    const json_t *list = json_object_get(r->args, key);
    bool ok = json_is_array(list) && json_array_size(list) <= most;
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        ok = fits(json_array_get(list, i));
    }
    return ok ? list : NULL;
}

static bool is_text(const json_t *j)
{
    return json_is_string(j);
}

static bool is_row(const json_t *j)
{
    return json_is_string(json_object_get(j, "name")) && json_is_string(json_object_get(j, "role"));
}

/* ---- select ---- */

enum err verb_fleet_select(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    const struct admin *a = ctx;
    struct selector selector;
    struct why why = {{0}};
    int64_t page = control_arg_number(r, "page", 0);
    size_t seen = 0;
    (void)token;
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    if (selector_read(json_object_get(r->args, "where"), v, &selector, &why) != OK) {
        return control_finish(reply, 1, "%s", why.text);
    }
    AUTO(admin_json_release) json_t *names = json_array();
    for (; page >= 0 && page < DIRECTORY_PAGES && seen < SELECT_SEEN; page++) {
        size_t at = 0;
        const struct directory_entry *e;
        while ((e = directory_page(v, (size_t)page, &at)) != NULL) {
            seen++;
            if (selector_matches(&selector, e) &&
                json_array_append_new(names, json_string(e->principal->name)) != 0) {
                return ERR_NOMEM;
            }
        }
    }
    TRY(control_line(reply, json_pack("{s:O,s:I}", "names", names, "page",
                                      page < DIRECTORY_PAGES ? (json_int_t)page : -1)));
    return control_finish(reply, 0, NULL);
}

/* ---- change ---- */

static enum err change_each(struct admin *a, const struct device_change *c, const json_t *names,
                            struct tally *t)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        struct why why = {{0}};
        AUTO(admin_version_release)
        const struct directory_version *v = directory_latest(a->setup.directory);
        if (device_change_is_done(v, c, slice_text(name))) {
            t->n_already++;
            continue;
        }
        enum err e = device_change_apply(a, c, slice_text(name), &why);
        if (e != OK) {
            TRY(tally_error(t, name, e, &why));
        } else if (json_array_append(t->changed, json_array_get(names, i)) != 0) {
            return ERR_NOMEM;
        }
    }
    return OK;
}

enum err verb_fleet_change(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    struct admin *a = ctx;
    struct device_change c;
    struct why why = {{0}};
    const json_t *names = items_of(r, "names", FLEET_CHANGES_MAX, is_text);
    AUTO(tally_done) struct tally t = tally_make();
    if (names == NULL) {
        return control_finish(reply, 1, "a piece is an array of at most %d names",
                              FLEET_CHANGES_MAX);
    }
    enum err e = device_change_read(a, r, control_arg_text(r, "change"), &c, &why);
    if (e != OK) {
        return admin_refuse(reply, "the change", e, &why);
    }
    directory_begin(a->setup.directory);
    e = finish_batch(a, change_each(a, &c, names, &t));
    if (e != OK) {
        return admin_refuse(reply, "the devices", e, NULL);
    }
    for (size_t i = 0; i < json_array_size(t.changed); i++) {
        const char *name = json_string_value(json_array_get(t.changed, i));
        device_change_note(a, token, &c, name);
        e = device_change_register(a, &c, name);
        if (e != OK) {
            TRY(tally_refuse(&t, name,
                             "its certificates are not on the authority's list of revoked "
                             "ones: say it again"));
        }
    }
    return tally_answer(a, token, &t, reply);
}

/* ---- add, rotate: with bundles ---- */

static enum err take_bundle(struct tally *t, const char *name, const struct bundle *bundle)
{
    json_t *files = NULL;
    TRY(bundle_to_json(bundle, &files));
    return json_array_append_new(t->bundles,
                                 json_pack("{s:s,s:o}", "name", name, "bundle", files)) == 0 &&
                   json_array_append_new(t->changed, json_string(name)) == 0
               ? OK
               : ERR_NOMEM;
}

/* Where the bundle will be: BASE/NAME. */
static struct slice place_of(const struct control_request *r, const char *name, char *dst,
                             size_t cap)
{
    const char *base = control_arg_text(r, "save_dir");
    int n = snprintf(dst, cap, "%s/%s", base != NULL ? base : ".", name);
    return slice_of(dst, n > 0 && (size_t)n < cap ? (size_t)n : 0);
}

enum { PLACE_BYTES = 4096 };

static bool has_attr(const struct principal *p, const struct principal_attr *wanted)
{
    for (size_t i = 0; i < p->n_attrs; i++) {
        if (strcmp(p->attrs[i].key, wanted->key) == 0) {
            return strcmp(p->attrs[i].value, wanted->value) == 0;
        }
    }
    return false;
}

/* What is other about who is there than about what is ordered; NULL: nothing. */
static const char *difference(const struct directory_version *v, const struct directory_entry *e,
                              const struct provision_order *o)
{
    const struct principal *p = e->principal;
    const struct directory_entry *gateway = directory_find(v, o->gateway);
    uint64_t gateway_id = gateway != NULL ? gateway->principal->id : 0;
    if (!slice_is(o->role, p->role)) {
        return "role";
    }
    if (o->gateway.n > 0 ? gateway == NULL || p->gateway != gateway_id : p->gateway != 0) {
        return "gateway";
    }
    if (p->n_attrs != o->n_attrs) {
        return "attributes";
    }
    for (size_t i = 0; i < o->n_attrs; i++) {
        if (!has_attr(p, &o->attrs[i])) {
            return "attributes";
        }
    }
    unsigned kinds = o->credentials != 0 ? o->credentials : PROVISION_X509;
    return provision_kinds(e) != kinds ? "credentials" : NULL;
}

/* Made by the same run, whose bundle never arrived, and nobody has used it. */
static bool is_orphan(const struct directory_entry *e, int64_t since_wall_ms)
{
    for (size_t i = 0; i < e->n_credentials; i++) {
        if (atomic_load_explicit(&e->credentials[i]->used_wall_ms, memory_order_relaxed) != 0) {
            return false;
        }
    }
    return since_wall_ms > 0 && e->created_wall_ms >= since_wall_ms &&
           e->principal->status != PRINCIPAL_REVOKED;
}

/* One that is there: as ordered or not, and with or without its bundle. */
static enum err add_again(struct admin *a, const struct provision_order *o,
                          const struct directory_version *v, const struct directory_entry *e,
                          int64_t since_wall_ms, bool has_bundle, struct tally *t)
{
    struct provision p = admin_provision(a);
    struct why why = {{0}};
    const char *name = e->principal->name, *other = difference(v, e, o);
    AUTO(bundle_done) struct bundle bundle = {0};
    if (other != NULL) {
        why_set(&why, "it is there already, with other %s: nothing was changed", other);
        return tally_refuse(t, name, why.text);
    }
    if (has_bundle) {
        t->n_already++;
        return OK;
    }
    if (!is_orphan(e, since_wall_ms)) {
        why_set(&why,
                "it is there already, and its bundle is not here: `device rotate %s` makes new "
                "credentials",
                name);
        return tally_refuse(t, name, why.text);
    }
    enum err err = provision_rotate(&p, o, 0, admin_wall_ms(a), &bundle, &why);
    return err == OK ? take_bundle(t, name, &bundle) : tally_error(t, name, err, &why);
}

static enum err add_row(struct admin *a, const struct control_request *r, const json_t *row,
                        struct tally *t)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    struct provision p = admin_provision(a);
    struct principal_attr attrs[PRINCIPAL_ATTRS_MAX];
    char place[PLACE_BYTES];
    struct why why = {{0}};
    struct provision_order o = {.name = slice_text(name),
                                .role = slice_text(json_string_value(json_object_get(row, "role"))),
                                .gateway =
                                    slice_text(json_string_value(json_object_get(row, "gateway"))),
                                .attrs = attrs,
                                .save_dir = place_of(r, name, place, sizeof place)};
    AUTO(bundle_done) struct bundle bundle = {0};
    AUTO(admin_version_release)
    const struct directory_version *v = directory_latest(a->setup.directory);
    const struct directory_entry *there = directory_find(v, o.name);
    enum err e =
        order_attrs(json_object_get(row, "attrs"), attrs, COUNT_OF(attrs), &o.n_attrs, &why);
    if (e == OK) {
        e = order_credentials(json_object_get(row, "credentials"), &o.credentials, &why);
    }
    if (e == OK && there != NULL) {
        return add_again(a, &o, v, there, control_arg_number(r, "since", 0),
                         json_is_true(json_object_get(row, "has_bundle")), t);
    }
    if (e == OK) {
        e = provision_device(&p, &o, admin_wall_ms(a), &bundle, &why);
    }
    return e == OK ? take_bundle(t, name, &bundle) : tally_error(t, name, e, &why);
}

static void note_bundles(struct admin *a, uint64_t token, const struct tally *t,
                         enum event_category category, const char *what)
{
    for (size_t i = 0; i < json_array_size(t->changed); i++) {
        admin_act(a, token, category, SEVERITY_NOTICE,
                  json_string_value(json_array_get(t->changed, i)), "%s", what);
    }
}

enum err verb_fleet_add(void *ctx, const struct control_request *r, uint64_t token,
                        struct control_reply *reply)
{
    struct admin *a = ctx;
    const json_t *rows = items_of(r, "rows", FLEET_BUNDLES_MAX, is_row);
    AUTO(tally_done) struct tally t = tally_make();
    if (rows == NULL) {
        return control_finish(reply, 1, "a piece is an array of at most %d rows with name and role",
                              FLEET_BUNDLES_MAX);
    }
    enum err e = OK;
    directory_begin(a->setup.directory);
    for (size_t i = 0; e == OK && i < json_array_size(rows); i++) {
        e = add_row(a, r, json_array_get(rows, i), &t);
    }
    e = finish_batch(a, e);
    if (e != OK) {
        return admin_refuse(reply, "the devices", e, NULL);
    }
    note_bundles(a, token, &t, EVENT_device_change, "added out of a list");
    note_bundles(a, token, &t, EVENT_credential_issued,
                 "its first credentials were issued in a bundle");
    return tally_answer(a, token, &t, reply);
}

static enum err rotate_each(struct admin *a, const struct control_request *r, const json_t *names,
                            unsigned credentials, int64_t overlap_s, struct tally *t)
{
    struct provision p = admin_provision(a);
    int64_t given = control_arg_number(r, "since", 0);
    int64_t since = given > 0 ? given : INT64_MAX; /* nothing is taken back */
    for (size_t i = 0; i < json_array_size(names); i++) {
        char place[PLACE_BYTES];
        struct why why = {{0}};
        const char *name = json_string_value(json_array_get(names, i));
        struct provision_order o = {.name = slice_text(name),
                                    .credentials = credentials,
                                    .save_dir = place_of(r, name, place, sizeof place)};
        AUTO(bundle_done) struct bundle bundle = {0};
        enum err e = provision_rotate_again(&p, &o, since, overlap_s * 1000, admin_wall_ms(a),
                                            &bundle, &why);
        TRY(e == OK ? take_bundle(t, name, &bundle) : tally_error(t, name, e, &why));
    }
    return OK;
}

enum err verb_fleet_rotate(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    unsigned credentials = 0;
    int64_t overlap_s = control_arg_number(r, "overlap_s", 0);
    const json_t *names = items_of(r, "names", FLEET_BUNDLES_MAX, is_text);
    AUTO(tally_done) struct tally t = tally_make();
    if (names == NULL) {
        return control_finish(reply, 1, "a piece is an array of at most %d names",
                              FLEET_BUNDLES_MAX);
    }
    if (overlap_s < 0 || overlap_s > PROVISION_OVERLAP_MAX_S) {
        return control_finish(reply, 1, "old and new credentials overlap for at most 30 days");
    }
    enum err e = order_credentials(json_object_get(r->args, "credentials"), &credentials, &why);
    if (e != OK) {
        return admin_refuse(reply, "the devices", e, &why);
    }
    directory_begin(a->setup.directory);
    e = finish_batch(a, rotate_each(a, r, names, credentials, overlap_s, &t));
    if (e != OK) {
        return admin_refuse(reply, "the devices", e, NULL);
    }
    note_bundles(a, token, &t, EVENT_credential_rotated,
                 "new credentials were issued in a bundle, with others of a selection");
    return tally_answer(a, token, &t, reply);
}
