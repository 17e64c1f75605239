#include "service/doctor/mosquitto_conf.h"

#include "base/mem.h"
#include "security/crypto/x509.h"
#include "service/doctor/mosquitto_private.h"

static struct reading *reading_free(struct reading *r)
{
    if (r != NULL) {
        mem_free(r->scopes);
    }
    return mem_free(r);
}

AUTOFREE(reading, reading_free)

/* ---- files ---- */

static const char *why_unread(enum err e)
{
    return e == ERR_NOT_FOUND   ? "the file it names is not there"
           : e == ERR_DENIED    ? "the file it names may not be read by you"
           : e == ERR_TOO_LARGE ? "the file it names is too large"
           : e == ERR_LIMIT     ? "names more files than are read"
                                : "the file it names cannot be read";
}

/* The text of a further file; *ret_found says whether there is one. What is not there is told, and
 * the rest is read on. */
static enum err load(struct reading *r, const struct named_file *n, bool is_secret, struct buf *ret,
                     uint32_t *ret_file, bool *ret_found)
{
    uint32_t file = 0;
    struct source_look look = {0};
    *ret_found = false;
    enum err e = facts_add_file(r->f, slice_text(n->path), &file);
    e = e == OK ? r->source->read(r->source->ctx, n->path, ret, &look) : e;
    if (e == ERR_NOMEM) {
        return e;
    }
    if (e != OK) {
        return facts_unread(r->f, n->at, slice_text(n->path), why_unread(e));
    }
    facts_seen(&r->f->files[file], look.mode, look.changed_wall_ms);
    r->f->files[file].is_secret = is_secret;
    *ret_file = file;
    *ret_found = true;
    return OK;
}

static void text_wipe(struct buf *b)
{
    buf_wipe(b);
}

static enum err read_certificates(struct reading *r, const struct named_file *n, bool is_authority)
{
    AUTO(text_wipe) struct buf text = {0};
    uint32_t file = 0;
    bool is_found;
    TRY(load(r, n, false, &text, &file, &is_found));
    struct slice pem = buf_slice(&text);
    return is_found
               ? facts_certificates(r->f, pem, (struct facts_place){file, 0}, n->path, is_authority)
               : OK;
}

/* A private key is looked at, never read. */
static enum err look_at_key(struct reading *r, const struct named_file *n)
{
    uint32_t file;
    struct source_look look = {0};
    enum err e = facts_add_file(r->f, slice_text(n->path), &file);
    e = e == OK ? r->source->look(r->source->ctx, n->path, &look) : e;
    if (e == OK) {
        facts_seen(&r->f->files[file], look.mode, look.changed_wall_ms);
        r->f->files[file].is_secret = true;
        r->f->files[file].is_key = true;
        return OK;
    }
    return e == ERR_NOMEM ? e : facts_unread(r->f, n->at, slice_text(n->path), why_unread(e));
}

/* ---- lines ---- */

static enum err read_file(struct reading *r, const char *path, unsigned depth);

static enum err read_directory(struct reading *r, struct facts_place at, struct slice value,
                               unsigned depth)
{
    char dir[SOURCE_PATH_BYTES], path[SOURCE_PATH_BYTES + sizeof(struct source_entry)];
    size_t n = 0;
    AUTO(source_entries_done)
    struct source_entry *entries = mem_array(SOURCE_LIST_MAX, sizeof *entries);
    if (entries == NULL) {
        return ERR_NOMEM;
    }
    enum err e = depth == MOSQUITTO_DEPTH_MAX ? ERR_LIMIT : source_place(r->path, value, dir);
    e = e == OK ? r->source->list(r->source->ctx, dir, entries, &n) : e;
    if (e != OK) {
        return e == ERR_NOMEM ? e
                              : facts_unread(r->f, at, slice_text("include_dir"), why_unread(e));
    }
    const char *from = r->path;
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, entries[i].name);
        if (++r->n_includes > MOSQUITTO_INCLUDES_MAX) {
            return facts_unread(r->f, at, slice_text("include_dir"), why_unread(ERR_LIMIT));
        }
        e = read_file(r, path, depth + 1);
        r->path = from;
        if (e == ERR_NOMEM || e == ERR_CRYPTO) {
            return e;
        }
        if (e != OK) {
            TRY(facts_unread(r->f, at, slice_text(path), why_unread(e)));
        }
    }
    return OK;
}

static enum err read_lines(struct reading *r, struct slice text, uint32_t file, unsigned depth)
{
    struct lines lines = {.rest = text};
    struct slice line;
    while (lines_next(&lines, &line)) {
        struct facts_place at = {file, lines.number};
        struct slice value = line, key = words_next(&value);
        if (key.n == 0 || key.p[0] == '#') {
            continue;
        }
        if (lines.number > MOSQUITTO_LINES_MAX) {
            return facts_unread(r->f, at, (struct slice){0}, "more lines than are read");
        }
        if (line.n > MOSQUITTO_LINE_MAX) {
            TRY(facts_unread(r->f, at, slice_head(key, 32), "a line that is too long"));
        } else if (slice_is(key, "include_dir")) {
            TRY(read_directory(r, at, value, depth));
        } else {
            TRY(mosquitto_key(r, at, key, value));
        }
    }
    return OK;
}

static enum err read_file(struct reading *r, const char *path, unsigned depth)
{
    AUTO(text_wipe) struct buf text = {0};
    uint32_t file;
    struct source_look look = {0};
    TRY(facts_add_file(r->f, slice_text(path), &file));
    TRY(r->source->read(r->source->ctx, path, &text, &look));
    facts_seen(&r->f->files[file], look.mode, look.changed_wall_ms);
    r->path = path;
    return read_lines(r, buf_slice(&text), file, depth);
}

/* ---- what the lines come to ---- */

static void preset(struct facts *f, enum facts_number which, int64_t n)
{
    if (!f->numbers[which].is_known) {
        f->numbers[which] = facts_preset(n, 0);
    }
}

static void presets(struct reading *r)
{
    struct facts *f = r->f;
    preset(f, FACTS_PACKET_BYTES, 0);
    preset(f, FACTS_QUEUE_MESSAGES, 1000);
    preset(f, FACTS_QUEUE_BYTES, 0);
    preset(f, FACTS_INFLIGHT, 20);
    preset(f, FACTS_SESSION_EXPIRY_S, 0);
    preset(f, FACTS_RETAINED, 0);
    preset(f, FACTS_PERSISTENCE, 0);
    preset(f, FACTS_SAVE_INTERVAL_S, 1800);
    preset(f, FACTS_LOG, 1);
    preset(f, FACTS_CONNECTION_LOG, 1);
    preset(f, FACTS_AS_ROOT, 0);
    bool is_mixed = r->scoped_at.line != 0 && (r->per_listener || f->n_listeners > 1);
    f->numbers[FACTS_MIXED_SETTINGS] = is_mixed ? facts_said(1, r->scoped_at) : facts_preset(0, 0);
}

static bool has_tls(const struct reading *r, size_t at)
{
    return (r->certificate[at].is_named && r->key[at].is_named) || r->has_psk[at];
}

static void settle_listener(struct reading *r, size_t at, bool is_only)
{
    struct facts_listener *l = &r->f->listeners[at - 1];
    const struct scope *s = &r->scopes[mosquitto_scope(r, at)];
    l->is_tls = has_tls(r, at);
    if (l->is_tls) {
        l->tls_min = l->tls_min.is_known ? l->tls_min : facts_preset(12, l->at.file);
        l->revocation = l->revocation.is_known ? l->revocation : facts_preset(0, l->at.file);
        if (!l->client_certificate.is_known && !r->has_psk[at]) {
            l->client_certificate = facts_preset(0, l->at.file);
        }
    }
    l->anonymous = s->anonymous.is_known ? s->anonymous : facts_preset(is_only, l->at.file);
    l->empty_client_id =
        s->empty_client_id.is_known ? s->empty_client_id : facts_preset(1, l->at.file);
    if (!s->has_plugin) {
        l->acl = s->acl.is_named ? facts_said(1, s->acl.at) : facts_preset(0, l->at.file);
    }
}

/* One listener where anybody may take any id is enough. */
static void settle_client_ids(struct reading *r)
{
    bool is_bound = r->f->n_listeners > 0;
    for (size_t i = 1; i <= r->f->n_listeners; i++) {
        is_bound = is_bound && r->is_user_the_id[i];
    }
    r->f->numbers[FACTS_CLIENT_ID_BOUND] = facts_preset(is_bound, 0);
}

static enum err read_scope(struct reading *r, const struct scope *s)
{
    AUTO(text_wipe) struct buf passwords = {0};
    AUTO(text_wipe) struct buf acl = {0};
    AUTO(text_wipe) struct buf keys = {0};
    uint32_t file = 0;
    bool is_found = false;
    if (s->passwords.is_named) {
        TRY(load(r, &s->passwords, true, &passwords, &file, &is_found));
        TRY(is_found ? mosquitto_passwords_read(buf_slice(&passwords), file, r->f) : OK);
    }
    if (s->acl.is_named) {
        bool anonymous = s->anonymous.is_known && s->anonymous.n != 0;
        TRY(load(r, &s->acl, false, &acl, &file, &is_found));
        TRY(is_found ? mosquitto_acl_read(buf_slice(&acl), file, anonymous, r->f) : OK);
    }
    if (s->keys.is_named) {
        TRY(load(r, &s->keys, true, &keys, &file, &is_found));
        TRY(is_found ? mosquitto_keys_read(buf_slice(&keys), file, r->f) : OK);
    }
    return OK;
}

static enum err read_tls(struct reading *r, size_t at)
{
    if (r->certificate[at].is_named) {
        TRY(read_certificates(r, &r->certificate[at], false));
    }
    if (r->authority[at].is_named) {
        TRY(read_certificates(r, &r->authority[at], true));
    }
    return r->key[at].is_named ? look_at_key(r, &r->key[at]) : OK;
}

/* Without a listener mosquitto serves this machine alone, and lets everybody of it in. */
static enum err no_listener(struct reading *r)
{
    struct facts_listener *l;
    struct facts_place at = {0};
    TRY(mosquitto_listener_of(r, at, &l));
    if (l != NULL) {
        facts_text(l->bind, slice_text("127.0.0.1:1883"));
        l->is_loopback = true;
    }
    return OK;
}

static enum err settle(struct reading *r)
{
    bool is_only = r->f->n_listeners == 0;
    if (is_only) {
        TRY(no_listener(r));
    }
    for (size_t at = 1; at <= r->f->n_listeners; at++) {
        settle_listener(r, at, is_only);
    }
    presets(r);
    settle_client_ids(r);
    for (size_t at = 0; at < MOSQUITTO_SCOPES; at++) {
        TRY(read_scope(r, &r->scopes[at]));
    }
    for (size_t at = 1; at <= r->f->n_listeners; at++) {
        TRY(read_tls(r, at));
    }
    return OK;
}

enum err mosquitto_conf_read(const struct source *source, const char *path, struct facts *f)
{
    AUTO(reading_autofree) struct reading *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    r->source = source;
    r->f = f;
    r->scopes = mem_array(MOSQUITTO_SCOPES, sizeof r->scopes[0]);
    if (r->scopes == NULL) {
        return ERR_NOMEM;
    }
    TRY(read_file(r, path, 0));
    return settle(r);
}
