#include "security/token/trust.h"

#include <stdatomic.h>

#include "base/mem.h"

struct trust {
    atomic_uint refs;
    const struct jwks *keys;
    char issuer[TRUST_ISSUER_MAX + 1], audience[TRUST_AUDIENCE_MAX + 1];
    uint32_t skew_s;
};

static struct trust *counted(const struct trust *t)
{
    return (struct trust *)(uintptr_t)t;
}

enum err trust_new(struct slice text, const struct trust_order *o, struct why *why,
                   const struct trust **ret)
{
    struct trust *t = mem_zalloc(sizeof *t);
    if (t == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&t->refs, 1);
    t->skew_s = o->skew_s;
    AUTO(trust_autofree) const struct trust *made = t;
    if (o->issuer.n == 0 || o->audience.n == 0 || o->skew_s > JWT_SKEW_MAX_S ||
        !slice_to_text(o->issuer, t->issuer, sizeof t->issuer) ||
        !slice_to_text(o->audience, t->audience, sizeof t->audience)) {
        why_set(why, "tokens need an issuer and an audience, and a skew of at most %d s",
                JWT_SKEW_MAX_S);
        return ERR_MALFORMED;
    }
    TRY(jwks_parse(text, why, &t->keys));
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
        jwks_unref(t->keys);
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

enum err trust_verify(const struct trust *t, struct slice token, int64_t now_wall_ms,
                      struct why *why, struct jwt_claims *ret)
{
    struct jwt_rules rules = {
        .issuer = slice_text(t->issuer), .audience = slice_text(t->audience), .skew_s = t->skew_s};
    return jwt_verify(token, t->keys, &rules, now_wall_ms, why, ret);
}
