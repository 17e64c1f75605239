#include "service/directory/directory_file_private.h"

#include <jansson.h>

#include "base/mem.h"
#include "service/directory/credential_private.h"

enum { FILE_VERSION = 1, PSK_HEX_BYTES = 2 * PSK_KEY_MAX + 1, ESTIMATE_BYTES = 1024 };

static const char *const status_names[] = {
    [PRINCIPAL_ACTIVE] = "active",
    [PRINCIPAL_DISABLED] = "disabled",
    [PRINCIPAL_REVOKED] = "revoked",
};

static void json_autofree(json_t **json)
{
    json_decref(*json);
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

static json_t *psk_to_json(const struct credential *c)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t key[PSK_KEY_MAX];
    char hex[PSK_HEX_BYTES];
    size_t n = 0;
    if (credential_psk(c, key, &n) != OK) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        hex[2 * i] = digits[key[i] >> 4];
        hex[2 * i + 1] = digits[key[i] & 15];
    }
    json_t *json = json_stringn(hex, 2 * n);
    mem_wipe(key, sizeof key);
    mem_wipe(hex, sizeof hex);
    return json;
}

static json_t *credential_to_json(const struct credential *c)
{
    char hex[DIGEST_HEX_BYTES];
    AUTO(json_autofree) json_t *json = json_object();
    digest_hex(&c->fingerprint, hex);
    bool ok = set(json, "id", number(c->id)) &&
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
        ok = ok && set(json, "spki", json_string(hex));
        break;
    case CREDENTIAL_PASSWORD:
        ok = ok && set(json, "phc", json_string(c->phc));
        break;
    case CREDENTIAL_PSK:
        ok = ok && set(json, "psk", psk_to_json(c));
        break;
    case CREDENTIAL_KINDS:
        ok = false;
        break;
    }
    return ok ? TAKE(json) : NULL;
}

static json_t *entry_to_json(const struct directory_entry *e)
{
    const struct principal *p = e->principal;
    AUTO(json_autofree) json_t *json = json_object();
    json_t *attrs = json_object();
    bool ok = set(json, "attrs", attrs);
    json_t *credentials = json_array();
    ok = set(json, "credentials", credentials) && ok;
    ok = ok && set(json, "id", number(p->id)) && set(json, "epoch", number(p->epoch)) &&
         set(json, "name", json_string(p->name)) && set(json, "role", json_string(p->role)) &&
         set(json, "status", json_string(status_names[p->status])) &&
         set(json, "reason", json_string(e->reason)) &&
         set(json, "created", json_integer(e->created_wall_ms));
    for (size_t i = 0; ok && i < p->n_attrs; i++) {
        ok = set(attrs, p->attrs[i].key, json_string(p->attrs[i].value));
    }
    for (size_t i = 0; ok && i < e->n_credentials; i++) {
        ok = json_array_append_new(credentials, credential_to_json(e->credentials[i])) == 0;
    }
    return ok ? TAKE(json) : NULL;
}

static json_t *exception_to_json(const struct directory_exception *e)
{
    AUTO(json_autofree) json_t *json = json_object();
    bool ok = set(json, "id", number(e->id)) && set(json, "listener", json_string(e->listener)) &&
              set(json, "allow", json_integer((json_int_t)e->allow)) &&
              set(json, "role", json_string(e->role)) &&
              set(json, "reason", json_string(e->reason)) &&
              set(json, "created", json_integer(e->created_wall_ms)) &&
              set(json, "ends", json_integer(e->ends_wall_ms));
    return ok ? TAKE(json) : NULL;
}

static json_t *counters_to_json(const struct directory_version *v)
{
    AUTO(json_autofree) json_t *json = json_object();
    bool ok = set(json, "principal", number(v->next_principal)) &&
              set(json, "credential", number(v->next_credential)) &&
              set(json, "exception", number(v->next_exception));
    return ok ? TAKE(json) : NULL;
}

static json_t *admin_to_json(const struct directory_version *v)
{
    AUTO(json_autofree) json_t *json = json_object();
    bool ok = set(json, "phc", json_string(v->admin_phc)) &&
              set(json, "expires", json_integer(v->admin_expires_wall_ms));
    return ok ? TAKE(json) : NULL;
}

static json_t *version_to_json(const struct directory_version *v)
{
    AUTO(json_autofree) json_t *json = json_object();
    json_t *principals = json_array();
    bool ok = set(json, "principals", principals);
    json_t *exceptions = json_array();
    ok = set(json, "exceptions", exceptions) && ok;
    ok = ok && set(json, "version", json_integer(FILE_VERSION)) &&
         set(json, "epoch", number(v->epoch)) &&
         set(json, "policy_epoch", number(v->policy_epoch)) &&
         set(json, "next", counters_to_json(v)) && set(json, "admin", admin_to_json(v));
    for (size_t i = 0; ok && i < VERSION_BUCKETS; i++) {
        const struct version_bucket *b = v->index[VERSION_NAME][i];
        for (size_t j = 0; ok && b != NULL && j < b->n; j++) {
            ok = json_array_append_new(principals, entry_to_json(b->items[j].entry)) == 0;
        }
    }
    size_t n = 0;
    const struct directory_exception *items = directory_exceptions(v, &n);
    for (size_t i = 0; ok && i < n; i++) {
        ok = json_array_append_new(exceptions, exception_to_json(&items[i])) == 0;
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
    d->err = buf_append(d->buf, slice_of(text, n), DIRECTORY_FILE_MAX);
    return d->err == OK ? 0 : -1;
}

/* PSKs lie in jansson's heap while a file is made or read; overwrite them before it is given back.
 * The library hands its strings out as const. */
static void wipe_psks(const json_t *file)
{
    const json_t *principals = json_object_get(file, "principals");
    for (size_t i = 0; i < json_array_size(principals); i++) {
        const json_t *credentials = json_object_get(json_array_get(principals, i), "credentials");
        for (size_t j = 0; j < json_array_size(credentials); j++) {
            const json_t *psk = json_object_get(json_array_get(credentials, j), "psk");
            if (json_is_string(psk)) {
                mem_wipe((void *)(uintptr_t)json_string_value(psk), json_string_length(psk));
            }
        }
    }
}

enum err directory_file_encode(const struct directory_version *v, struct buf *ret)
{
    AUTO(json_autofree) json_t *json = version_to_json(v);
    if (json == NULL) {
        return ERR_NOMEM;
    }
    /* room for all at once: growing would leave copies of secrets behind */
    uint8_t *place = NULL;
    enum err err = buf_room(ret, (v->n + 1) * ESTIMATE_BYTES, DIRECTORY_FILE_MAX, &place);
    struct dump dump = {.buf = ret, .err = ERR_NOMEM};
    if (err == OK) {
        err = json_dump_callback(json, dump_part, &dump, JSON_COMPACT) == 0 ? OK : dump.err;
    }
    wipe_psks(json);
    return err;
}

/* ---- reading ---- */

static struct slice text_of(const json_t *string)
{
    return slice_of(json_string_value(string), json_string_length(string));
}

static enum err unpack_failed(void)
{
    return ERR_CONFIG; /* the place is inside a sealed file: nobody could edit it there */
}

/* Only what psk_to_json writes: lower case. */
static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum err read_psk(struct credential *c, const struct credential_guard *guard,
                         const json_t *hex)
{
    struct slice text = text_of(hex);
    uint8_t key[PSK_KEY_MAX];
    size_t n = text.n / 2;
    if (text.n % 2 != 0 || n == 0 || n > PSK_KEY_MAX) {
        return ERR_CONFIG;
    }
    enum err err = OK;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(text.p[2 * i]);
        int low = hex_value(text.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            err = ERR_CONFIG;
        }
        key[i] = (uint8_t)((unsigned)high << 4 | (unsigned)low);
    }
    if (err == OK) {
        err = credential_set_psk(c, guard, slice_of(key, n));
    }
    mem_wipe(key, sizeof key);
    return err;
}

static enum err read_secret(struct credential *c, const struct credential_guard *guard,
                            const json_t *spki, const json_t *phc, const json_t *psk)
{
    enum password_profile profile;
    if ((spki != NULL) != (c->kind == CREDENTIAL_X509) ||
        (phc != NULL) != (c->kind == CREDENTIAL_PASSWORD) ||
        (psk != NULL) != (c->kind == CREDENTIAL_PSK)) {
        return ERR_CONFIG;
    }
    switch (c->kind) {
    case CREDENTIAL_X509:
        return json_is_string(spki) && digest_from_hex(text_of(spki), &c->spki) == OK ? OK
                                                                                      : ERR_CONFIG;
    case CREDENTIAL_PASSWORD:
        return json_is_string(phc) && password_phc_ok(text_of(phc), &profile) &&
                       slice_to_text(text_of(phc), c->phc, sizeof c->phc)
                   ? OK
                   : ERR_CONFIG;
    case CREDENTIAL_PSK:
        return json_is_string(psk) ? read_psk(c, guard, psk) : ERR_CONFIG;
    case CREDENTIAL_KINDS:
        break;
    }
    return ERR_CONFIG;
}

/* An id that was given out: 1 .. next - 1. */
static bool is_old_id(json_int_t id, uint64_t next)
{
    return id > 0 && (uint64_t)id < next;
}

static enum err read_credential(const struct directory_version *v,
                                const struct credential_guard *guard, json_t *json,
                                struct credential **ret)
{
    json_int_t id = 0;
    json_int_t created = 0;
    json_int_t used = 0;
    json_int_t expires = CREDENTIAL_NEVER;
    const char *kind_name = NULL;
    const char *fingerprint = NULL;
    json_t *spki = NULL;
    json_t *phc = NULL;
    json_t *psk = NULL;
    enum credential_kind kind;
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:I, s:I, s:I, s?I, s:s, s:s, s?o, s?o, s?o}",
                       "id", &id, "created", &created, "used", &used, "expires", &expires, "kind",
                       &kind_name, "fingerprint", &fingerprint, "spki", &spki, "phc", &phc, "psk",
                       &psk) != 0) {
        return unpack_failed();
    }
    if (!is_old_id(id, v->next_credential) || !credential_kind_find(slice_text(kind_name), &kind)) {
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
    TRY(read_secret(c, guard, spki, phc, psk));
    *ret = TAKE(c);
    return OK;
}

struct credential_list {
    const struct credential *items[DIRECTORY_CREDENTIALS_MAX];
    size_t n;
};

static void credential_list_done(struct credential_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        credential_unref(l->items[i]);
    }
}

static enum err read_credentials(const struct directory_version *v,
                                 const struct credential_guard *guard, const json_t *array,
                                 struct credential_list *ret)
{
    if (!json_is_array(array) || json_array_size(array) > DIRECTORY_CREDENTIALS_MAX) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct credential *c = NULL;
        TRY(read_credential(v, guard, json_array_get(array, i), &c));
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

/* What a file says wrongly is the file's fault, whichever contract noticed. */
static enum err as_config(enum err err)
{
    return err == OK || err == ERR_NOMEM || err == ERR_CRYPTO ? err : ERR_CONFIG;
}

static enum err read_entry(struct directory_version *v, const struct credential_guard *guard,
                           json_t *json)
{
    json_int_t id = 0;
    json_int_t epoch = 0;
    json_int_t created = 0;
    const char *name = NULL;
    const char *role = NULL;
    const char *status_name = NULL;
    const char *reason = NULL;
    json_t *attrs_json = NULL;
    json_t *credentials_json = NULL;
    enum principal_status status;
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:o, s:o}",
                       "id", &id, "epoch", &epoch, "created", &created, "name", &name, "role",
                       &role, "status", &status_name, "reason", &reason, "attrs", &attrs_json,
                       "credentials", &credentials_json) != 0) {
        return unpack_failed();
    }
    if (!is_old_id(id, v->next_principal) || epoch <= 0 || (uint64_t)epoch > v->epoch ||
        !find_status(status_name, &status)) {
        return ERR_CONFIG;
    }
    struct principal_attr attrs[PRINCIPAL_ATTRS_MAX] = {0};
    size_t n_attrs = 0;
    AUTO(credential_list_done) struct credential_list credentials = {0};
    AUTO(principal_autofree) struct principal *p = NULL;
    AUTO(entry_autofree) const struct directory_entry *e = NULL;
    TRY(read_attrs(attrs_json, attrs, &n_attrs));
    TRY(read_credentials(v, guard, credentials_json, &credentials));
    TRY(as_config(
        principal_new((uint64_t)id, slice_text(name), slice_text(role), attrs, n_attrs, &p)));
    p->epoch = (uint64_t)epoch;
    p->status = status;
    TRY(as_config(entry_new(p, created, slice_text(reason), credentials.items, credentials.n, &e)));
    return as_config(version_replace(v, NULL, e));
}

static enum err read_exception(const struct directory_version *v, json_t *json,
                               struct directory_exception *ret)
{
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
    if (!is_old_id(id, v->next_exception) || allow <= 0 ||
        allow > (DIRECTORY_ALLOW_PLAINTEXT | DIRECTORY_ALLOW_ANONYMOUS) ||
        !slice_to_text(slice_text(listener), ret->listener, sizeof ret->listener) ||
        !slice_to_text(slice_text(role), ret->role, sizeof ret->role) ||
        !slice_to_text(slice_text(reason), ret->reason, sizeof ret->reason)) {
        return ERR_CONFIG;
    }
    ret->id = (uint64_t)id;
    ret->allow = (unsigned)allow;
    ret->created_wall_ms = created;
    ret->ends_wall_ms = ends;
    return OK;
}

static enum err read_exceptions(struct directory_version *v, const json_t *array)
{
    struct directory_exception items[DIRECTORY_EXCEPTIONS_MAX] = {0};
    size_t n = json_array_size(array);
    if (!json_is_array(array) || n > DIRECTORY_EXCEPTIONS_MAX) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < n; i++) {
        TRY(read_exception(v, json_array_get(array, i), &items[i]));
    }
    return version_set_exceptions(v, items, n);
}

static enum err read_head(struct directory_version *v, json_t *json, json_t **ret_principals,
                          json_t **ret_exceptions)
{
    json_int_t version = 0;
    json_int_t epoch = 0;
    json_int_t policy_epoch = 0;
    json_int_t principal = 0;
    json_int_t credential = 0;
    json_int_t exception = 0;
    json_int_t admin_expires = 0;
    const char *admin_phc = NULL;
    enum password_profile profile;
    if (json_unpack(json, "{s:I}", "version", &version) == 0 && version != FILE_VERSION) {
        return ERR_UNSUPPORTED;
    }
    if (json_unpack_ex(json, NULL, JSON_STRICT,
                       "{s:I, s:I, s:I, s:{s:I, s:I, s:I}, s:{s:s, s:I}, s:o, s:o}", "version",
                       &version, "epoch", &epoch, "policy_epoch", &policy_epoch, "next",
                       "principal", &principal, "credential", &credential, "exception", &exception,
                       "admin", "phc", &admin_phc, "expires", &admin_expires, "principals",
                       ret_principals, "exceptions", ret_exceptions) != 0) {
        return unpack_failed();
    }
    if (epoch <= 0 || policy_epoch <= 0 || policy_epoch > epoch || principal <= 0 ||
        credential <= 0 || exception <= 0) {
        return ERR_CONFIG;
    }
    if ((admin_phc[0] != '\0' && !password_phc_ok(slice_text(admin_phc), &profile)) ||
        !slice_to_text(slice_text(admin_phc), v->admin_phc, sizeof v->admin_phc)) {
        return ERR_CONFIG;
    }
    v->epoch = (uint64_t)epoch;
    v->policy_epoch = (uint64_t)policy_epoch;
    v->next_principal = (uint64_t)principal;
    v->next_credential = (uint64_t)credential;
    v->next_exception = (uint64_t)exception;
    v->admin_expires_wall_ms = admin_expires;
    return OK;
}

static enum err read_all(struct directory_version *v, const struct credential_guard *guard,
                         json_t *json)
{
    json_t *principals = NULL;
    json_t *exceptions = NULL;
    TRY(read_head(v, json, &principals, &exceptions));
    if (!json_is_array(principals)) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < json_array_size(principals); i++) {
        TRY(read_entry(v, guard, json_array_get(principals, i)));
    }
    return read_exceptions(v, exceptions);
}

enum err directory_file_decode(struct slice text, const struct siphash_key *key,
                               const struct credential_guard *guard, struct directory_version **ret)
{
    json_error_t error;
    AUTO(json_autofree)
    json_t *json =
        json_loadb(text.n > 0 ? (const char *)text.p : "", text.n, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        return json_error_code(&error) == json_error_out_of_memory ? ERR_NOMEM : ERR_CONFIG;
    }
    AUTO(version_autofree) struct directory_version *v = NULL;
    enum err err = version_new(key, &v);
    if (err == OK) {
        err = read_all(v, guard, json);
    }
    wipe_psks(json);
    TRY(err);
    *ret = TAKE(v);
    return OK;
}
