#include "service/directory/directory_record_private.h"

#include "base/mem.h"

enum { PSK_HEX_BYTES = 2 * PSK_KEY_MAX + 1, ESTIMATE_BYTES = 1024, ESTIMATE_CREDENTIAL = 512 };

static const char *const status_names[] = {
    [PRINCIPAL_ACTIVE] = "active",
    [PRINCIPAL_DISABLED] = "disabled",
    [PRINCIPAL_REVOKED] = "revoked",
};

void directory_head_done(struct directory_head *h)
{
    id_list_done(&h->erase);
    mem_wipe(h, sizeof *h);
}

/* ---- writing ---- */

static json_t *number(uint64_t v)
{
    return json_integer((json_int_t)v);
}

/* Adds a new reference; jansson takes it also on failure, and refuses NULL. */
static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *secret_to_json(struct slice key)
{
    static const char digits[] = "0123456789abcdef";
    char hex[PSK_HEX_BYTES];
    for (size_t i = 0; i < key.n; i++) {
        hex[2 * i] = digits[key.p[i] >> 4];
        hex[2 * i + 1] = digits[key.p[i] & 15];
    }
    json_t *json = json_stringn(hex, 2 * key.n);
    mem_wipe(hex, sizeof hex);
    return json;
}

static json_t *psk_to_json(const struct credential *c)
{
    uint8_t key[PSK_KEY_MAX];
    size_t n = 0;
    if (credential_psk(c, key, &n) != OK) {
        return NULL;
    }
    json_t *json = secret_to_json(slice_of(key, n));
    mem_wipe(key, sizeof key);
    return json;
}

static json_t *scram_to_json(const struct credential *c)
{
    AUTO(record_autofree) json_t *json = json_object();
    const struct scram_salt *salt = &c->scram.salt;
    bool ok = set(json, "salt", secret_to_json(slice_of(salt->bytes, sizeof salt->bytes))) &&
              set(json, "iterations", number(salt->iterations)) &&
              set(json, "stored", secret_to_json(digest_slice(&c->scram.keys.stored_key))) &&
              set(json, "server", secret_to_json(digest_slice(&c->scram.keys.server_key)));
    return ok ? TAKE(json) : NULL;
}

static json_t *credential_to_json(const struct credential *c)
{
    char hex[DIGEST_HEX_BYTES];
    AUTO(record_autofree) json_t *json = json_object();
    json_t *life = NULL;
    digest_hex(&c->fingerprint, hex);
    bool ok = life_to_json(c, &life) == OK && (life == NULL || set(json, "life", life)) &&
              set(json, "id", number(c->id)) &&
              set(json, "kind", json_string(credential_kind_name(c->kind))) &&
              set(json, "created", json_integer(c->created_wall_ms)) &&
              set(json, "used", json_integer(atomic_load(&c->used_wall_ms))) &&
              set(json, "fingerprint", json_string(hex));
    if (c->expires_wall_ms != CREDENTIAL_NEVER) {
        ok = ok && set(json, "expires", json_integer(c->expires_wall_ms));
    }
    switch (c->kind) {
    case CREDENTIAL_X509:
        digest_hex(&c->spki, hex);
        ok = ok && set(json, "spki", json_string(hex)) && certificate_to_json(c, json);
        break;
    case CREDENTIAL_PASSWORD:
        ok = ok && set(json, "phc", json_string(c->phc));
        break;
    case CREDENTIAL_PSK:
        ok = ok && set(json, "psk", psk_to_json(c));
        break;
    case CREDENTIAL_SCRAM:
        ok = ok && set(json, "scram", scram_to_json(c));
        break;
    case CREDENTIAL_OSCORE:
        ok = ok && set(json, "oscore", psk_to_json(c));
        break;
    case CREDENTIAL_KINDS:
        ok = false;
        break;
    }
    return ok ? TAKE(json) : NULL;
}

static json_t *principal_to_json(const struct directory_entry *e)
{
    const struct principal *p = e->principal;
    AUTO(record_autofree) json_t *json = json_object();
    json_t *attrs = json_object();
    bool ok = set(json, "attrs", attrs);
    json_t *credentials = json_array();
    ok = set(json, "credentials", credentials) && ok;
    ok = ok && set(json, "id", number(p->id)) && set(json, "epoch", number(p->epoch)) &&
         set(json, "name", json_string(p->name)) && set(json, "role", json_string(p->role)) &&
         set(json, "status", json_string(status_names[p->own_status])) &&
         set(json, "reason", json_string(e->reason)) &&
         set(json, "created", json_integer(e->created_wall_ms));
    if (p->gateway != 0) {
        ok = ok && set(json, "gateway", number(p->gateway));
    }
    if (e->n_answers > 0) {
        ok = ok && set(json, "answers", answers_to_json(e));
    }
    for (size_t i = 0; ok && i < p->n_attrs; i++) {
        ok = set(attrs, p->attrs[i].key, json_string(p->attrs[i].value));
    }
    for (size_t i = 0; ok && i < e->n_credentials; i++) {
        ok = json_array_append_new(credentials, credential_to_json(e->credentials[i])) == 0;
    }
    return ok ? TAKE(json) : NULL;
}

struct dump {
    struct buf *buf;
    enum err err;
};

static int dump_part(const char *text, size_t n, void *ctx)
{
    struct dump *d = ctx;
    d->err = buf_append(d->buf, slice_of(text, n), RECORD_TEXT_MAX);
    return d->err == OK ? 0 : -1;
}

/* Takes json; NULL: it could not be made. Room for all of it at once: growing would leave copies of
 * secrets behind. */
static enum err dump(json_t *json, size_t estimate, struct buf *ret)
{
    AUTO(record_autofree) json_t *own = json;
    uint8_t *place = NULL;
    if (own == NULL) {
        return ERR_NOMEM;
    }
    TRY(buf_room(ret, estimate, RECORD_TEXT_MAX, &place));
    struct dump d = {.buf = ret, .err = ERR_NOMEM};
    return json_dump_callback(own, dump_part, &d, JSON_COMPACT) == 0 ? OK : d.err;
}

enum err principal_record_write(const struct directory_entry *e, struct buf *ret)
{
    return dump(principal_to_json(e), ESTIMATE_BYTES + e->n_credentials * ESTIMATE_CREDENTIAL, ret);
}

enum err exception_record_write(const struct directory_exception *e, struct buf *ret)
{
    AUTO(record_autofree) json_t *json = json_object();
    bool ok = set(json, "id", number(e->id)) && set(json, "listener", json_string(e->listener)) &&
              set(json, "allow", json_integer((json_int_t)e->allow)) &&
              set(json, "role", json_string(e->role)) &&
              set(json, "reason", json_string(e->reason)) &&
              set(json, "created", json_integer(e->created_wall_ms)) &&
              set(json, "ends", json_integer(e->ends_wall_ms));
    return dump(ok ? TAKE(json) : NULL, ESTIMATE_BYTES, ret);
}

static json_t *numbers_to_json(const uint64_t *p, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; array != NULL && i < n; i++) {
        if (json_array_append_new(array, number(p[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

enum err head_record_write(const struct directory_head *h, struct buf *ret)
{
    AUTO(record_autofree) json_t *json = json_object();
    json_t *next = json_object();
    bool ok = set(json, "next", next);
    json_t *admin = json_object();
    ok = set(json, "admin", admin) && ok;
    ok = ok && set(next, "principal", number(h->next_principal)) &&
         set(next, "credential", number(h->next_credential)) &&
         set(next, "exception", number(h->next_exception)) &&
         set(admin, "phc", json_string(h->admin_phc)) &&
         set(admin, "expires", json_integer(h->admin_expires_wall_ms)) &&
         set(json, "epoch", number(h->epoch)) &&
         set(json, "policy_epoch", number(h->policy_epoch)) &&
         set(json, "fingerprints",
             secret_to_json(slice_of(h->fingerprint_key, sizeof h->fingerprint_key))) &&
         set(json, "exceptions", numbers_to_json(h->exceptions, h->n_exceptions)) &&
         set(json, "erase", numbers_to_json(h->erase.p, h->erase.n));
    return dump(ok ? TAKE(json) : NULL, ESTIMATE_BYTES, ret);
}

enum err roster_record_write(const struct roster_page *p, struct buf *ret)
{
    AUTO(record_autofree) json_t *json = json_object();
    bool ok = set(json, "epoch", number(p->epoch)) &&
              set(json, "epochs", numbers_to_json(p->epochs, ROSTER_PAGE));
    return dump(ok ? TAKE(json) : NULL, ESTIMATE_BYTES, ret);
}

/* ---- reading ---- */

/* jansson hands its strings out as const. */
static void wipe_text(const json_t *string)
{
    if (json_is_string(string)) {
        mem_wipe((void *)(uintptr_t)json_string_value(string), json_string_length(string));
    }
}

static void wipe_secrets(json_t *json)
{
    const char *key;
    json_t *value;
    size_t i;
    wipe_text(json_object_get(json, "psk"));
    wipe_text(json_object_get(json, "oscore"));
    wipe_text(json_object_get(json, "fingerprints"));
    wipe_text(json_object_get(json, "phc"));
    wipe_text(json_object_get(json, "stored"));
    wipe_text(json_object_get(json, "server"));
    json_object_foreach(json, key, value)
    {
        wipe_secrets(value);
    }
    json_array_foreach(json, i, value)
    {
        wipe_secrets(value);
    }
}

void record_forget(json_t *json)
{
    if (json != NULL) {
        wipe_secrets(json);
        json_decref(json);
    }
}

enum err record_parse(struct slice text, json_t **ret)
{
    json_error_t error;
    json_t *json =
        json_loadb(text.n > 0 ? (const char *)text.p : "", text.n, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        return json_error_code(&error) == json_error_out_of_memory ? ERR_NOMEM : ERR_CONFIG;
    }
    *ret = json;
    return OK;
}

static struct slice text_of(const json_t *string)
{
    return slice_of(json_string_value(string), json_string_length(string));
}

static enum err unpack_failed(void)
{
    return ERR_CONFIG; /* the place is inside a sealed record: nobody could edit it there */
}

/* Only what secret_to_json writes: lower case. */
static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* dst may be half written after an error; the caller wipes it. */
static enum err read_secret_hex(struct slice text, uint8_t *dst, size_t cap, size_t *ret_n)
{
    size_t n = text.n / 2;
    if (text.n % 2 != 0 || n == 0 || n > cap) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(text.p[2 * i]);
        int low = hex_value(text.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return ERR_CONFIG;
        }
        dst[i] = (uint8_t)((unsigned)high << 4 | (unsigned)low);
    }
    *ret_n = n;
    return OK;
}

static enum err read_psk(struct credential *c, const struct credential_guard *guard,
                         const json_t *hex)
{
    uint8_t key[PSK_KEY_MAX];
    size_t n = 0;
    enum err err = read_secret_hex(text_of(hex), key, sizeof key, &n);
    if (err == OK) {
        err = credential_set_psk(c, guard, slice_of(key, n));
    }
    mem_wipe(key, sizeof key);
    return err;
}

static enum err read_oscore(struct credential *c, const struct credential_guard *guard,
                            const json_t *hex)
{
    uint8_t bytes[OSCORE_SECRET_BYTES];
    struct oscore_secret s;
    size_t n = 0;
    enum err err = read_secret_hex(text_of(hex), bytes, sizeof bytes, &n);
    if (err == OK) {
        err = oscore_secret_read(slice_of(bytes, n), &s) == OK ? OK : ERR_CONFIG;
    }
    if (err == OK) {
        err = credential_set_oscore(c, guard, &s);
        oscore_secret_wipe(&s);
    }
    mem_wipe(bytes, sizeof bytes);
    return err;
}

static enum err read_scram(struct credential *c, json_t *json)
{
    const char *salt = NULL;
    const char *stored = NULL;
    const char *server = NULL;
    json_int_t iterations = 0;
    size_t n = 0;
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:I, s:s, s:s}", "salt", &salt, "iterations",
                       &iterations, "stored", &stored, "server", &server) != 0 ||
        iterations < SCRAM_ITERATIONS || iterations > SCRAM_ITERATIONS_MAX ||
        digest_from_hex(slice_text(stored), &c->scram.keys.stored_key) != OK ||
        digest_from_hex(slice_text(server), &c->scram.keys.server_key) != OK) {
        return unpack_failed();
    }
    c->scram.salt.iterations = (uint32_t)iterations;
    TRY(read_secret_hex(slice_text(salt), c->scram.salt.bytes, sizeof c->scram.salt.bytes, &n));
    return n == sizeof c->scram.salt.bytes ? OK : ERR_CONFIG;
}

/* What a record has of each kind; all but one are NULL. */
struct secrets {
    json_t *spki, *phc, *psk, *scram, *oscore;
};

static enum err read_secret(struct credential *c, const struct credential_guard *guard,
                            const struct secrets *s)
{
    enum password_profile profile;
    if ((s->spki != NULL) != (c->kind == CREDENTIAL_X509) ||
        (s->phc != NULL) != (c->kind == CREDENTIAL_PASSWORD) ||
        (s->psk != NULL) != (c->kind == CREDENTIAL_PSK) ||
        (s->scram != NULL) != (c->kind == CREDENTIAL_SCRAM) ||
        (s->oscore != NULL) != (c->kind == CREDENTIAL_OSCORE)) {
        return ERR_CONFIG;
    }
    switch (c->kind) {
    case CREDENTIAL_X509:
        return json_is_string(s->spki) && digest_from_hex(text_of(s->spki), &c->spki) == OK
                   ? OK
                   : ERR_CONFIG;
    case CREDENTIAL_PASSWORD:
        return json_is_string(s->phc) && password_phc_ok(text_of(s->phc), &profile) &&
                       slice_to_text(text_of(s->phc), c->phc, sizeof c->phc)
                   ? OK
                   : ERR_CONFIG;
    case CREDENTIAL_PSK:
        return json_is_string(s->psk) ? read_psk(c, guard, s->psk) : ERR_CONFIG;
    case CREDENTIAL_SCRAM:
        return read_scram(c, s->scram);
    case CREDENTIAL_OSCORE:
        return json_is_string(s->oscore) ? read_oscore(c, guard, s->oscore) : ERR_CONFIG;
    case CREDENTIAL_KINDS:
        break;
    }
    return ERR_CONFIG;
}

static enum err read_credential(const struct credential_guard *guard, json_t *json,
                                struct credential **ret)
{
    json_int_t id = 0;
    json_int_t created = 0;
    json_int_t used = 0;
    json_int_t expires = CREDENTIAL_NEVER;
    const char *kind_name = NULL;
    const char *fingerprint = NULL;
    json_t *cert = NULL;
    struct secrets s = {0};
    json_t *life = NULL;
    enum credential_kind kind;
    if (json_unpack_ex(json, NULL, JSON_STRICT,
                       "{s:I, s:I, s:I, s?I, s:s, s:s, s?o, s?o, s?o, s?o, s?o, s?o, s?o}", "id",
                       &id, "created", &created, "used", &used, "expires", &expires, "kind",
                       &kind_name, "fingerprint", &fingerprint, "spki", &s.spki, "phc", &s.phc,
                       "psk", &s.psk, "scram", &s.scram, "oscore", &s.oscore, "life", &life, "cert",
                       &cert) != 0) {
        return unpack_failed();
    }
    if (id <= 0 || !credential_kind_find(slice_text(kind_name), &kind)) {
        return ERR_CONFIG;
    }
    AUTO(credential_autofree) struct credential *c = credential_new((uint64_t)id, kind, created);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->expires_wall_ms = expires;
    atomic_store(&c->used_wall_ms, used);
    if (digest_from_hex(slice_text(fingerprint), &c->fingerprint) != OK) {
        return ERR_CONFIG;
    }
    TRY(read_secret(c, guard, &s));
    TRY(life_from_json(life, c));
    TRY(cert != NULL ? certificate_from_json(cert, c) : OK);
    c->kept_wall_ms = credential_touched(c);
    *ret = TAKE(c);
    return OK;
}

static enum err read_credentials(const struct credential_guard *guard, const json_t *array,
                                 struct credential_list *ret)
{
    if (!json_is_array(array) || json_array_size(array) > DIRECTORY_CREDENTIALS_MAX) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct credential *c = NULL;
        TRY(read_credential(guard, json_array_get(array, i), &c));
        ret->items[ret->n++] = c;
    }
    return OK;
}

static enum err read_attrs(json_t *object, struct principal_attr attrs[PRINCIPAL_ATTRS_MAX],
                           size_t *ret_n)
{
    size_t n = 0;
    if (!json_is_object(object) || json_object_size(object) > PRINCIPAL_ATTRS_MAX) {
        return ERR_CONFIG;
    }
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        const json_t *value = json_object_iter_value(at);
        if (!json_is_string(value) ||
            !slice_to_text(slice_text(json_object_iter_key(at)), attrs[n].key,
                           sizeof attrs[n].key) ||
            !slice_to_text(text_of(value), attrs[n].value, sizeof attrs[n].value)) {
            return ERR_CONFIG;
        }
        n++;
    }
    *ret_n = n;
    return OK;
}

static bool find_status(const char *name, enum principal_status *ret)
{
    for (size_t i = 0; i < COUNT_OF(status_names); i++) {
        if (strcmp(name, status_names[i]) == 0) {
            *ret = (enum principal_status)i;
            return true;
        }
    }
    return false;
}

/* What a record says wrongly is the record's fault, whichever contract noticed. */
static enum err as_config(enum err err)
{
    return err == OK || err == ERR_NOMEM || err == ERR_CRYPTO ? err : ERR_CONFIG;
}

enum err principal_from_json(json_t *json, const struct credential_guard *guard,
                             const struct directory_entry **ret)
{
    json_int_t id = 0;
    json_int_t epoch = 0;
    json_int_t created = 0;
    json_int_t gateway = 0;
    const char *name = NULL;
    const char *role = NULL;
    const char *status_name = NULL;
    const char *reason = NULL;
    json_t *attrs_json = NULL;
    json_t *credentials_json = NULL;
    json_t *answers_json = NULL;
    struct directory_answer items[DIRECTORY_ANSWERS_MAX];
    struct answer_list answers = {items, 0};
    enum principal_status status;
    if (json_unpack_ex(json, NULL, JSON_STRICT,
                       "{s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:o, s:o, s?I, s?o}", "id", &id,
                       "epoch", &epoch, "created", &created, "name", &name, "role", &role, "status",
                       &status_name, "reason", &reason, "attrs", &attrs_json, "credentials",
                       &credentials_json, "gateway", &gateway, "answers", &answers_json) != 0) {
        return unpack_failed();
    }
    if (id <= 0 || epoch <= 0 || gateway < 0 || !find_status(status_name, &status)) {
        return ERR_CONFIG;
    }
    struct principal_attr attrs[PRINCIPAL_ATTRS_MAX] = {0};
    size_t n_attrs = 0;
    AUTO(credential_list_done) struct credential_list credentials = {0};
    AUTO(principal_autofree) struct principal *p = NULL;
    TRY(read_attrs(attrs_json, attrs, &n_attrs));
    TRY(read_credentials(guard, credentials_json, &credentials));
    TRY(as_config(
        principal_new((uint64_t)id, slice_text(name), slice_text(role), attrs, n_attrs, &p)));
    p->epoch = (uint64_t)epoch;
    p->gateway = (uint64_t)gateway;
    p->own_status = status;
    TRY(answers_from_json(answers_json, items, &answers.n));
    answers_apply(p, answers);
    return as_config(
        entry_new(p, created, slice_text(reason), answers, credentials.items, credentials.n, ret));
}

enum err principal_record_read(struct slice text, const struct credential_guard *guard,
                               const struct directory_entry **ret)
{
    AUTO(record_autofree) json_t *json = NULL;
    TRY(record_parse(text, &json));
    return principal_from_json(json, guard, ret);
}

enum err exception_from_json(json_t *json, struct directory_exception *ret)
{
    struct directory_exception e = {0};
    json_int_t id = 0;
    json_int_t allow = 0;
    json_int_t created = 0;
    json_int_t ends = 0;
    const char *listener = NULL;
    const char *role = NULL;
    const char *reason = NULL;
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:I, s:I, s:I, s:I, s:s, s:s, s:s}", "id", &id,
                       "allow", &allow, "created", &created, "ends", &ends, "listener", &listener,
                       "role", &role, "reason", &reason) != 0) {
        return unpack_failed();
    }
    if (id <= 0 || allow <= 0 || allow > (DIRECTORY_ALLOW_PLAINTEXT | DIRECTORY_ALLOW_ANONYMOUS) ||
        !slice_to_text(slice_text(listener), e.listener, sizeof e.listener) ||
        !slice_to_text(slice_text(role), e.role, sizeof e.role) ||
        !slice_to_text(slice_text(reason), e.reason, sizeof e.reason)) {
        return ERR_CONFIG;
    }
    e.id = (uint64_t)id;
    e.allow = (unsigned)allow;
    e.created_wall_ms = created;
    e.ends_wall_ms = ends;
    *ret = e;
    return OK;
}

enum err exception_record_read(struct slice text, struct directory_exception *ret)
{
    AUTO(record_autofree) json_t *json = NULL;
    TRY(record_parse(text, &json));
    return exception_from_json(json, ret);
}

/* A number that may be 0. */
static enum err read_number(const json_t *json, uint64_t *ret)
{
    if (!json_is_integer(json) || json_integer_value(json) < 0) {
        return ERR_CONFIG;
    }
    *ret = (uint64_t)json_integer_value(json);
    return OK;
}

static enum err read_ids(const json_t *array, size_t max, struct id_list *ret)
{
    if (!json_is_array(array) || json_array_size(array) > max) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        uint64_t id = 0;
        TRY(read_number(json_array_get(array, i), &id));
        TRY(id_list_add(ret, id));
    }
    return OK;
}

static enum err read_head(json_t *json, struct directory_head *h)
{
    json_int_t epoch = 0;
    json_int_t policy_epoch = 0;
    json_int_t principal = 0;
    json_int_t credential = 0;
    json_int_t exception = 0;
    json_int_t admin_expires = 0;
    const char *admin_phc = NULL;
    json_t *key = NULL;
    json_t *exceptions = NULL;
    json_t *erase = NULL;
    enum password_profile profile;
    size_t n = 0;
    if (json_unpack_ex(json, NULL, JSON_STRICT,
                       "{s:I, s:I, s:{s:I, s:I, s:I}, s:{s:s, s:I}, s:o, s:o, s:o}", "epoch",
                       &epoch, "policy_epoch", &policy_epoch, "next", "principal", &principal,
                       "credential", &credential, "exception", &exception, "admin", "phc",
                       &admin_phc, "expires", &admin_expires, "fingerprints", &key, "exceptions",
                       &exceptions, "erase", &erase) != 0) {
        return unpack_failed();
    }
    if (epoch <= 0 || policy_epoch <= 0 || policy_epoch > epoch || principal <= 0 ||
        credential <= 0 || exception <= 0 || !json_is_string(key)) {
        return ERR_CONFIG;
    }
    if ((admin_phc[0] != '\0' && !password_phc_ok(slice_text(admin_phc), &profile)) ||
        !slice_to_text(slice_text(admin_phc), h->admin_phc, sizeof h->admin_phc)) {
        return ERR_CONFIG;
    }
    h->epoch = (uint64_t)epoch;
    h->policy_epoch = (uint64_t)policy_epoch;
    h->next_principal = (uint64_t)principal;
    h->next_credential = (uint64_t)credential;
    h->next_exception = (uint64_t)exception;
    h->admin_expires_wall_ms = admin_expires;
    TRY(read_secret_hex(text_of(key), h->fingerprint_key, sizeof h->fingerprint_key, &n));
    if (n != sizeof h->fingerprint_key || !json_is_array(exceptions) ||
        json_array_size(exceptions) > DIRECTORY_EXCEPTIONS_MAX) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < json_array_size(exceptions); i++) {
        TRY(read_number(json_array_get(exceptions, i), &h->exceptions[i]));
        h->n_exceptions++;
    }
    return read_ids(erase, RECORD_ERASE_MAX, &h->erase);
}

enum err head_record_read(struct slice text, struct directory_head *ret)
{
    AUTO(record_autofree) json_t *json = NULL;
    AUTO(directory_head_done) struct directory_head h = {0};
    TRY(record_parse(text, &json));
    TRY(read_head(json, &h));
    *ret = h;
    h.erase = (struct id_list){0};
    return OK;
}

enum err roster_record_read(struct slice text, struct roster_page *ret)
{
    AUTO(record_autofree) json_t *json = NULL;
    struct roster_page p = {.page = ret->page};
    json_int_t epoch = 0;
    json_t *epochs = NULL;
    TRY(record_parse(text, &json));
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:I, s:o}", "epoch", &epoch, "epochs", &epochs) !=
            0 ||
        epoch <= 0 || !json_is_array(epochs) || json_array_size(epochs) != ROSTER_PAGE) {
        return unpack_failed();
    }
    p.epoch = (uint64_t)epoch;
    for (size_t i = 0; i < ROSTER_PAGE; i++) {
        TRY(read_number(json_array_get(epochs, i), &p.epochs[i]));
        if (p.epochs[i] > p.epoch) {
            return ERR_CONFIG;
        }
    }
    *ret = p;
    return OK;
}
