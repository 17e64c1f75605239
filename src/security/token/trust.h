/*
 * trust - whose tokens count here: issuers, each with a key set, an audience and a skew of its own.
 * Immutable, counted: every realm holds the one in force.
 */
#ifndef SECURITY_TOKEN_TRUST_H
#define SECURITY_TOKEN_TRUST_H

#include "security/token/jwt.h"

enum {
    TRUST_ISSUERS_MAX = 8,
    TRUST_ISSUER_MAX = 255,
    TRUST_AUDIENCE_MAX = 127,
    TRUST_SKEW_DEFAULT_S = 60
};

struct trust_order {
    struct slice keys;             /* the JWK set */
    struct slice issuer, audience; /* 1..TRUST_ISSUER_MAX, 1..TRUST_AUDIENCE_MAX bytes */
    uint32_t skew_s;               /* 0..JWT_SKEW_MAX_S */
};

struct trust;

/* trust_new - n (1..TRUST_ISSUERS_MAX) issuers. After an error *ret_at, which may be NULL, says
 * whose. Errors as jwks_parse; ERR_MALFORMED: an order beyond its bounds, or an issuer twice. */
MUST_USE enum err trust_new(const struct trust_order *o, size_t n, struct why *why, size_t *ret_at,
                            const struct trust **ret);
const struct trust *trust_ref(const struct trust *t);
const struct trust *trust_unref(const struct trust *t);
static inline void trust_autofree(const struct trust **t)
{
    *t = trust_unref(*t);
}

/* trust_looks_like_token - is it a token's form, at a glance? For telling it from a password. */
bool trust_looks_like_token(struct slice text);
/* trust_verify - jwt_verify by the rules and keys of the issuer that the token names: one issuer's
 * key never stands for another. ERR_DENIED also: it names none of them. */
MUST_USE enum err trust_verify(const struct trust *t, struct slice token, int64_t now_wall_ms,
                               struct why *why, struct jwt_claims *ret);

#endif
