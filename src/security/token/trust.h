/*
 * trust - whose tokens count here: a key set, the issuer, the audience, the skew. Immutable,
 * counted: every realm holds the one in force.
 */
#ifndef SECURITY_TOKEN_TRUST_H
#define SECURITY_TOKEN_TRUST_H

#include "security/token/jwt.h"

enum { TRUST_ISSUER_MAX = 255, TRUST_AUDIENCE_MAX = 127, TRUST_SKEW_DEFAULT_S = 60 };

struct trust_order {
    struct slice issuer, audience; /* 1..TRUST_ISSUER_MAX, 1..TRUST_AUDIENCE_MAX bytes */
    uint32_t skew_s;               /* 0..JWT_SKEW_MAX_S */
};

struct trust;

/* trust_new - text: the JWK set. Errors as jwks_parse; ERR_MALFORMED: an order beyond its bounds.
 */
MUST_USE enum err trust_new(struct slice text, const struct trust_order *o, struct why *why,
                            const struct trust **ret);
const struct trust *trust_ref(const struct trust *t);
const struct trust *trust_unref(const struct trust *t);
static inline void trust_autofree(const struct trust **t)
{
    *t = trust_unref(*t);
}

/* trust_looks_like_token - is it a token's form, at a glance? For telling it from a password. */
bool trust_looks_like_token(struct slice text);
/* trust_verify - jwt_verify by these rules. */
MUST_USE enum err trust_verify(const struct trust *t, struct slice token, int64_t now_wall_ms,
                               struct why *why, struct jwt_claims *ret);

#endif
