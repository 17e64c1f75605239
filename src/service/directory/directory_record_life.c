/* What a credential's record has gained since the first ones were written: each member may be
 * missing. */
#include "service/directory/directory_record_private.h"

static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

enum err life_to_json(const struct credential *c, json_t **ret)
{
    int64_t silence_ms = atomic_load_explicit(&c->silence_ms, memory_order_relaxed);
    bool is_opaque = c->kind == CREDENTIAL_PSK && c->identity[0] != '\0';
    *ret = NULL;
    int64_t left_wall_ms = atomic_load_explicit(&c->left_wall_ms, memory_order_relaxed);
    if (silence_ms == 0 && left_wall_ms == 0 && !c->is_unconfirmed && !is_opaque) {
        return OK;
    }
    AUTO(record_autofree) json_t *json = json_object();
    bool ok = json != NULL;
    if (silence_ms != 0) {
        ok = ok && set(json, "silence", json_integer(silence_ms));
    }
    if (left_wall_ms != 0) {
        ok = ok && set(json, "left", json_integer(left_wall_ms));
    }
    if (c->is_unconfirmed) {
        ok = ok && set(json, "tail", json_integer(c->tail_ms));
    }
    if (c->is_unconfirmed && c->before_wall_ms != CREDENTIAL_NEVER) {
        ok = ok && set(json, "before", json_integer(c->before_wall_ms));
    }
    if (is_opaque) {
        ok = ok && set(json, "identity", json_string(c->identity));
    }
    *ret = ok ? TAKE(json) : NULL;
    return ok ? OK : ERR_NOMEM;
}

static bool is_identity(const char *text)
{
    return strlen(text) == CREDENTIAL_IDENTITY_BYTES - 1 && text[0] == CREDENTIAL_OPAQUE[0];
}

enum err life_from_json(json_t *json, struct credential *c)
{
    json_int_t silence_ms = 0, left_wall_ms = 0, tail_ms = INT64_MIN,
               before_wall_ms = CREDENTIAL_NEVER;
    const char *identity = NULL;
    if (json == NULL) {
        return OK;
    }
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s?I, s?I, s?I, s?I, s?s}", "silence", &silence_ms,
                       "left", &left_wall_ms, "tail", &tail_ms, "before", &before_wall_ms,
                       "identity", &identity) != 0 ||
        silence_ms < 0 || (tail_ms != INT64_MIN && (tail_ms < 0 || c->kind == CREDENTIAL_X509)) ||
        (identity != NULL && (c->kind != CREDENTIAL_PSK || !is_identity(identity)))) {
        return ERR_CONFIG;
    }
    atomic_store(&c->silence_ms, silence_ms);
    atomic_store(&c->left_wall_ms, left_wall_ms);
    if (tail_ms >= 0) {
        c->is_unconfirmed = true;
        c->tail_ms = tail_ms;
        c->before_wall_ms = before_wall_ms;
    }
    return identity == NULL || slice_to_text(slice_text(identity), c->identity, sizeof c->identity)
               ? OK
               : ERR_CONFIG;
}
