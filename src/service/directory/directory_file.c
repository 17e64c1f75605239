#include "service/directory/directory_file_private.h"

#include "base/mem.h"

enum { FILE_VERSION = 1 };

static enum err unpack_failed(void)
{
    return ERR_CONFIG; /* the place is inside a sealed file: nobody could edit it there */
}

/* An id that was given out: 1 .. next - 1. */
static bool is_old_id(uint64_t id, uint64_t next)
{
    return id > 0 && id < next;
}

static enum err read_principal(struct directory_version *v, const struct credential_guard *guard,
                               json_t *json)
{
    AUTO(entry_autofree) const struct directory_entry *e = NULL;
    TRY(principal_from_json(json, guard, &e));
    if (!is_old_id(e->principal->id, v->next_principal) || e->principal->epoch > v->epoch) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < e->n_credentials; i++) {
        if (!is_old_id(e->credentials[i]->id, v->next_credential)) {
            return ERR_CONFIG;
        }
    }
    enum err err = version_replace(v, NULL, e);
    return err == ERR_EXISTS ? ERR_CONFIG : err;
}

static enum err read_exceptions(struct directory_version *v, const json_t *array)
{
    struct directory_exception items[DIRECTORY_EXCEPTIONS_MAX] = {0};
    size_t n = json_array_size(array);
    if (!json_is_array(array) || n > DIRECTORY_EXCEPTIONS_MAX) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < n; i++) {
        TRY(exception_from_json(json_array_get(array, i), &items[i]));
        if (!is_old_id(items[i].id, v->next_exception)) {
            return ERR_CONFIG;
        }
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

enum err directory_file_decode(struct slice text, const struct siphash_key *key,
                               const struct credential_guard *guard, struct directory_version **ret)
{
    AUTO(record_autofree) json_t *json = NULL;
    AUTO(version_autofree) struct directory_version *v = NULL;
    json_t *principals = NULL;
    json_t *exceptions = NULL;
    TRY(record_parse(text, &json));
    TRY(version_new(key, &v));
    TRY(read_head(v, json, &principals, &exceptions));
    if (!json_is_array(principals)) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < json_array_size(principals); i++) {
        TRY(read_principal(v, guard, json_array_get(principals, i)));
    }
    TRY(read_exceptions(v, exceptions));
    *ret = TAKE(v);
    return OK;
}
