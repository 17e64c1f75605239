#include "security/token/trust.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/mem.h"

struct issuer {
    const struct jwks *keys;
    char name[TRUST_ISSUER_MAX + 1], audience[TRUST_AUDIENCE_MAX + 1];
    uint32_t skew_s;
};

struct trust {
    atomic_uint refs;
    size_t n;
    struct issuer issuers[];
};

static struct trust *counted(const struct trust *t)
{
    return (struct trust *)(uintptr_t)t;
}

static const struct issuer *find(const struct trust *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->issuers[i].name, name) == 0) {
            return &t->issuers[i];
        }
    }
    return NULL;
}

static enum err add_issuer(struct trust *t, const struct trust_order *o, struct why *why)
{
    struct issuer *to = &t->issuers[t->n];
    to->skew_s = o->skew_s;
    if (o->issuer.n == 0 || o->audience.n == 0 || o->skew_s > JWT_SKEW_MAX_S ||
        !slice_to_text(o->issuer, to->name, sizeof to->name) ||
        !slice_to_text(o->audience, to->audience, sizeof to->audience)) {
        why_set(why, "tokens need an issuer and an audience, and a skew of at most %d s",
                JWT_SKEW_MAX_S);
        return ERR_MALFORMED;
    }
    if (find(t, to->name) != NULL) {
        why_set(why, "the issuer %s is named twice", to->name);
        return ERR_MALFORMED;
    }
    TRY(jwks_parse(o->keys, why, &to->keys));
    t->n++;
    return OK;
}

enum err trust_new(const struct trust_order *o, size_t n, struct why *why, size_t *ret_at,
                   const struct trust **ret)
{
    assert(n > 0 && n <= TRUST_ISSUERS_MAX);
    struct trust *t = mem_zalloc(sizeof *t + n * sizeof t->issuers[0]);
    if (t == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&t->refs, 1);
    AUTO(trust_autofree) const struct trust *made = t;
    while (t->n < n) {
        enum err err = add_issuer(t, &o[t->n], why);
        if (err != OK && ret_at != NULL) {
            *ret_at = t->n;
        }
        TRY(err);
    }
    *ret = TAKE(made);
    return OK;
}

const struct trust *trust_ref(const struct trust *t)
{
    atomic_fetch_add_explicit(&counted(t)->refs, 1, memory_order_relaxed);
    return t;
}

const struct trust *trust_unref(const struct trust *t)
{
    if (t != NULL && atomic_fetch_sub_explicit(&counted(t)->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < t->n; i++) {
            jwks_unref(t->issuers[i].keys);
        }
        mem_free(counted(t));
    }
    return NULL;
}

bool trust_looks_like_token(struct slice text)
{
    size_t n_dots = 0;
    for (size_t i = 0; i < text.n; i++) {
        n_dots += text.p[i] == '.';
    }
    return n_dots == 2 && slice_has_prefix(text, slice_text("eyJ")); /* {" in base64url */
}

/* One issuer needs no search, and nothing of a token is read then before its signature is good. */
static enum err issuer_of(const struct trust *t, struct slice token, struct why *why,
                          const struct issuer **ret)
{
    char name[TRUST_ISSUER_MAX + 1];
    if (t->n == 1) {
        *ret = &t->issuers[0];
        return OK;
    }
    enum err err = jwt_issuer(token, name, sizeof name);
    const struct issuer *found = err == OK ? find(t, name) : NULL;
    if (found == NULL) {
        why_set(why, "%s",
                err == OK || err == ERR_DENIED
                    ? "the token's issuer (iss) is none of those that are trusted here"
                    : "this is no signed token, or it is too long, or its claims cannot be read");
        return err == OK ? ERR_DENIED : err;
    }
    *ret = found;
    return OK;
}

enum err trust_verify(const struct trust *t, struct slice token, int64_t now_wall_ms,
                      struct why *why, struct jwt_claims *ret)
{
    const struct issuer *by = NULL;
    TRY(issuer_of(t, token, why, &by));
    struct jwt_rules rules = {
        .issuer = slice_text(by->name), .audience = slice_text(by->audience), .skew_s = by->skew_s};
    return jwt_verify(token, by->keys, &rules, now_wall_ms, why, ret);
}
