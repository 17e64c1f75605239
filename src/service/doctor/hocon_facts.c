/* From paths and texts to facts, for both products. */
#include "service/doctor/hocon_private.h"
#include "service/doctor/lines.h"
#include "service/doctor/weak_words.h"

const struct hocon_door hocon_doors[HOCON_DOORS] = {{"tcp", "0.0.0.0:1883", FACTS_MQTT, false},
                                                    {"ssl", "0.0.0.0:8883", FACTS_MQTT, true},
                                                    {"ws", "0.0.0.0:8083", FACTS_WEBSOCKET, false},
                                                    {"wss", "0.0.0.0:8084", FACTS_WEBSOCKET, true}};

enum err hocon_below(const struct hocon_reading *r, const char *below, const char *key,
                     hocon_meaning *meaning, int64_t preset, struct facts_value *ret)
{
    char path[HOCON_PATH_MAX + FACTS_TEXT];
    (void)snprintf(path, sizeof path, "%s.%s", below, key);
    return hocon_value(r->h, path, meaning, preset, r->f, ret);
}

enum err hocon_numbers(const struct hocon_reading *r, const struct hocon_number *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        TRY(hocon_value(r->h, rows[i].path, rows[i].meaning, rows[i].preset, r->f,
                        &r->f->numbers[rows[i].number]));
    }
    return OK;
}

static enum err one_of(struct slice text, const char *yes, const char *no, int64_t *ret)
{
    bool is_yes = lines_same(text, yes);
    if (!is_yes && !lines_same(text, no)) {
        return ERR_MALFORMED;
    }
    *ret = is_yes;
    return OK;
}

enum err hocon_allow(struct slice text, int64_t *ret)
{
    return one_of(text, "allow", "deny", ret);
}

enum err hocon_ignore(struct slice text, int64_t *ret)
{
    return one_of(text, "ignore", "disconnect", ret);
}

enum err hocon_authn(struct slice text, int64_t *ret)
{
    if (lines_same(text, "quick_deny_anonymous")) {
        *ret = 1;
        return OK;
    }
    return hocon_switch(text, ret);
}

void hocon_bind(struct facts_listener *l, struct slice text)
{
    char shown[2 * FACTS_TEXT];
    bool more;
    struct slice address = slice_cut(&text, '/', &more);
    bool is_port = slice_find(address, ':') == address.n && slice_find(address, '.') == address.n;
    struct slice digits = slice_head(address, FACTS_TEXT);
    (void)snprintf(shown, sizeof shown, is_port ? "0.0.0.0:%.*s" : "%.*s", SLICE_ARG(digits));
    facts_text(l->bind, slice_text(shown));
    l->is_loopback = facts_is_loopback(slice_text(l->bind));
}

bool hocon_is(const struct hocon *h, const char *path, const char *text)
{
    const struct hocon_entry *e = hocon_find(h, "%s", path);
    return e != NULL && lines_same(e->text, text);
}

enum err hocon_secret_of(const struct hocon_reading *r, const struct hocon_entry *e,
                         const char *name, bool is_management)
{
    struct facts_account *a;
    if (e->is_object || slice_has_prefix(e->text, slice_text("file://"))) {
        return OK;
    }
    r->f->files[e->at.file].is_secret = true;
    TRY(facts_add_account(r->f, &a));
    if (a == NULL) {
        return OK;
    }
    a->at = e->at;
    facts_text(a->name, slice_text(name));
    a->kind = FACTS_SECRET_CLEAR;
    a->is_management = is_management;
    a->is_default = is_weak_word(slice_text(name), e->text);
    return e->text.n > 0 ? facts_likeness(e->text, &a->likeness) : OK;
}

static const char *why_unread(enum err e)
{
    return e == ERR_NOT_FOUND   ? "the file it names is not there"
           : e == ERR_DENIED    ? "the file it names may not be read by you"
           : e == ERR_TOO_LARGE ? "the file it names is too large"
           : e == ERR_LIMIT     ? "names more files than are read"
                                : "the file it names cannot be read";
}

static enum err certificates(const struct hocon_reading *r, const struct hocon_entry *e,
                             bool is_authority)
{
    AUTO(buf_done) struct buf pem = {0};
    char path[SOURCE_PATH_BYTES];
    struct source_look look = {0};
    uint32_t file = 0;
    enum err err = source_place(r->path, e->text, path);
    err = err == OK ? facts_add_file(r->f, e->text, &file) : err;
    err = err == OK ? r->source->read(r->source->ctx, path, &pem, &look) : err;
    if (err != OK) {
        return err == ERR_NOMEM ? err : facts_unread(r->f, e->at, e->text, why_unread(err));
    }
    facts_seen(&r->f->files[file], look.mode, look.changed_wall_ms);
    return facts_certificates(r->f, buf_slice(&pem), (struct facts_place){file, 0}, path,
                              is_authority);
}

/* Looked at, never read. */
static enum err key(const struct hocon_reading *r, const struct hocon_entry *e)
{
    char path[SOURCE_PATH_BYTES];
    struct source_look look = {0};
    uint32_t file = 0;
    enum err err = source_place(r->path, e->text, path);
    err = err == OK ? facts_add_file(r->f, e->text, &file) : err;
    err = err == OK ? r->source->look(r->source->ctx, path, &look) : err;
    if (err != OK) {
        return err == ERR_NOMEM ? err : facts_unread(r->f, e->at, e->text, why_unread(err));
    }
    facts_seen(&r->f->files[file], look.mode, look.changed_wall_ms);
    r->f->files[file].is_secret = true;
    r->f->files[file].is_key = true;
    return OK;
}

enum err hocon_tls_files(const struct hocon_reading *r, const char *below)
{
    const struct hocon_entry *e = hocon_find(r->h, "%s.certfile", below);
    if (e != NULL && !e->is_object) {
        TRY(certificates(r, e, false));
    }
    e = hocon_find(r->h, "%s.cacertfile", below);
    if (e != NULL && !e->is_object) {
        TRY(certificates(r, e, true));
    }
    e = hocon_find(r->h, "%s.keyfile", below);
    return e != NULL && !e->is_object ? key(r, e) : OK;
}
