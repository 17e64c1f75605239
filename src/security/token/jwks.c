#include "security/token/jwks.h"

#include <jansson.h>
#include <stdatomic.h>

#include "base/base64.h"
#include "base/mem.h"
#include "security/token/token_private.h"

struct jwks_key {
    char kid[JWKS_KID_MAX + 1]; /* empty: none */
    struct sigkey *key;
};

struct jwks {
    atomic_uint refs;
    size_t n;
    struct jwks_key keys[JWKS_KEYS_MAX];
};

static struct jwks *counted(const struct jwks *j)
{
    return (struct jwks *)(uintptr_t)j;
}

const struct jwks *jwks_ref(const struct jwks *j)
{
    atomic_fetch_add_explicit(&counted(j)->refs, 1, memory_order_relaxed);
    return j;
}

const struct jwks *jwks_unref(const struct jwks *j)
{
    if (j != NULL && atomic_fetch_sub_explicit(&counted(j)->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < j->n; i++) {
            sigkey_free(j->keys[i].key);
        }
        mem_free(counted(j));
    }
    return NULL;
}

size_t jwks_count(const struct jwks *j)
{
    return j->n;
}

const struct sigkey *jwks_find(const struct jwks *j, bool has_kid, struct slice kid)
{
    if (!has_kid) {
        return j->n == 1 ? j->keys[0].key : NULL;
    }
    for (size_t i = 0; i < j->n; i++) {
        if (kid.n > 0 && slice_is(kid, j->keys[i].kid)) {
            return j->keys[i].key;
        }
    }
    return NULL;
}

const struct sigkey *jwks_any(const struct jwks *j, enum sigkey_alg alg)
{
    for (size_t i = 0; i < j->n; i++) {
        if (sigkey_alg_of(j->keys[i].key) == alg) {
            return j->keys[i].key;
        }
    }
    return NULL;
}

/* ---- reading ---- */

/* What kinds of keys there are, by their members. */
static const struct jwk_form {
    const char *kty, *crv, *alg; /* crv NULL: none */
    const char *members[2];      /* NULL: only one */
} forms[] = {
    {"RSA", NULL, "RS256", {"n", "e"}},
    {"EC", "P-256", "ES256", {"x", "y"}},
    {"OKP", "Ed25519", "EdDSA", {"x", NULL}},
};

static bool member_is(const json_t *jwk, const char *name, const char *value)
{
    const json_t *v = json_object_get(jwk, name);
    return v != NULL && slice_is(token_text(v), value);
}

/* Absent, or a text of this value. */
static bool member_allows(const json_t *jwk, const char *name, const char *value)
{
    return json_object_get(jwk, name) == NULL || member_is(jwk, name, value);
}

static bool ops_allow(const json_t *jwk)
{
    const json_t *ops = json_object_get(jwk, "key_ops");
    bool found = ops == NULL;
    for (size_t i = 0; i < json_array_size(ops); i++) {
        found = found || slice_is(token_text(json_array_get(ops, i)), "verify");
    }
    return found;
}

/* NULL: not a key that verifies tokens of ours. */
static const struct jwk_form *form_of(const json_t *jwk)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const struct jwk_form *f = &forms[i];
        if (member_is(jwk, "kty", f->kty) && (f->crv == NULL || member_is(jwk, "crv", f->crv))) {
            bool is_ours = member_allows(jwk, "alg", f->alg) && member_allows(jwk, "use", "sig") &&
                           ops_allow(jwk);
            return is_ours ? f : NULL;
        }
    }
    return NULL;
}

static enum err make_key(const json_t *jwk, const struct jwk_form *form, struct sigkey **ret)
{
    uint8_t bytes[2][BASE64_BYTES_MAX(BASE64_TEXT_BYTES(SIGKEY_BYTES_MAX + 1))];
    struct slice parts[2] = {{0}};
    for (size_t i = 0; i < 2 && form->members[i] != NULL; i++) {
        const json_t *member = json_object_get(jwk, form->members[i]);
        enum err err = json_is_string(member)
                           ? base64_decode(BASE64_URL, token_text(member), bytes[i],
                                           sizeof bytes[i], &parts[i].n)
                           : ERR_MALFORMED;
        TRY(err == ERR_SPACE ? ERR_TOO_LARGE : err);
        parts[i] = slice_of(bytes[i], parts[i].n);
    }
    if (form == &forms[0]) {
        return sigkey_rsa(parts[0], parts[1], ret);
    }
    return form == &forms[1] ? sigkey_p256(parts[0], parts[1], ret) : sigkey_ed25519(parts[0], ret);
}

static enum err refuse_secret(const json_t *jwk, size_t at, struct why *why)
{
    static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    bool is_secret = member_is(jwk, "kty", "oct");
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        is_secret = is_secret || json_object_get(jwk, members[i]) != NULL;
    }
    if (is_secret) {
        why_set(why,
                "key %zu of the set is private or symmetric: who reads this file could make "
                "tokens. Give only public keys, and replace that one at the issuer",
                at + 1);
    }
    return is_secret ? ERR_CONFIG : OK;
}

static enum err read_kid(const struct jwks *j, const json_t *jwk, size_t at, struct why *why,
                         char ret[JWKS_KID_MAX + 1])
{
    const json_t *kid = json_object_get(jwk, "kid");
    ret[0] = '\0';
    if (kid == NULL) {
        return OK;
    }
    if (!json_is_string(kid) || json_string_length(kid) == 0 ||
        !slice_to_text(token_text(kid), ret, JWKS_KID_MAX + 1)) {
        why_set(why, "the kid of key %zu is not a text of 1 to %d bytes", at + 1, JWKS_KID_MAX);
        return ERR_CONFIG;
    }
    if (jwks_find(j, true, token_text(kid)) != NULL) {
        why_set(why, "key %zu of the set has the kid of another: every key needs its own", at + 1);
        return ERR_CONFIG;
    }
    return OK;
}

static enum err add_key(struct jwks *j, const json_t *jwk, size_t at, struct why *why)
{
    struct jwks_key key = {.kid = ""};
    if (!json_is_object(jwk)) {
        why_set(why, "key %zu of the set is not an object", at + 1);
        return ERR_CONFIG;
    }
    TRY(refuse_secret(jwk, at, why));
    const struct jwk_form *form = form_of(jwk);
    if (form == NULL) {
        return OK; /* SPEC: RFC7517 5 */
    }
    TRY(read_kid(j, jwk, at, why, key.kid));
    enum err err = make_key(jwk, form, &key.key);
    if (err == ERR_DENIED) {
        why_set(why,
                "key %zu of the set is too weak: RSA needs %d bits or more and an exponent of %d "
                "or more",
                at + 1, SIGKEY_RSA_BITS_MIN, SIGKEY_RSA_E_MIN);
    } else if (err == ERR_MALFORMED || err == ERR_TOO_LARGE) {
        why_set(why, "key %zu of the set is no %s key that can be read", at + 1, form->alg);
    }
    if (err == ERR_DENIED || err == ERR_MALFORMED || err == ERR_TOO_LARGE) {
        return ERR_CONFIG;
    }
    TRY(err);
    j->keys[j->n++] = key;
    return OK;
}

static enum err add_keys(struct jwks *j, const json_t *array, struct why *why)
{
    if (!json_is_array(array)) {
        why_set(why, "this is no JWK set: it has no array \"keys\"");
        return ERR_CONFIG;
    }
    if (json_array_size(array) > JWKS_KEYS_MAX) {
        why_set(why, "the set has more than %d keys", JWKS_KEYS_MAX);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        TRY(add_key(j, json_array_get(array, i), i, why));
    }
    if (j->n == 0) {
        why_set(why, "the set has no key that verifies RS256, ES256 or EdDSA (Ed25519)");
        return ERR_CONFIG;
    }
    return OK;
}

enum err jwks_parse(struct slice text, struct why *why, const struct jwks **ret)
{
    AUTO(token_json_autofree) json_t *json = NULL;
    if (text.n > JWKS_BYTES_MAX) {
        why_set(why, "the set has more than %d bytes", JWKS_BYTES_MAX);
        return ERR_TOO_LARGE;
    }
    enum err err = token_parse(text, &json);
    if (err == ERR_MALFORMED) {
        why_set(why, "this is no JWK set: no JSON object, or a member is there twice");
        return ERR_CONFIG;
    }
    TRY(err);
    struct jwks *j = mem_zalloc(sizeof *j);
    if (j == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&j->refs, 1);
    AUTO(jwks_autofree) const struct jwks *made = j;
    TRY(add_keys(j, json_object_get(json, "keys"), why));
    *ret = TAKE(made);
    return OK;
}
