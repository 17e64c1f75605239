/*
 * jwt - a token that somebody else signed: is it good here and now, and whose is it?
 *
 * Compact JWS over a claims set (RFC 7515, 7519), as RFC 8725 advises: the algorithm is the key's,
 * the issuer and the audience are named by the caller, the end is required. What a token says about
 * where its key is to be found (jku, x5u, jwk, x5c) is never looked at.
 */
#ifndef SECURITY_TOKEN_JWT_H
#define SECURITY_TOKEN_JWT_H

#include "base/err.h"
#include "base/slice.h"
#include "base/why.h"
#include "security/token/jwks.h"

enum {
    JWT_BYTES_MAX = 4096, /* of the whole token */
    JWT_HEADER_MAX = 512, /* of its header, decoded */
    JWT_SUBJECT_MAX = 64,
    JWT_AUDIENCES_MAX = 16,
    JWT_SKEW_MAX_S = 300
};

struct jwt_rules {
    struct slice issuer, audience; /* never empty */
    uint32_t skew_s;               /* how far the clocks may differ; 0..JWT_SKEW_MAX_S */
};

struct jwt_claims {
    char subject[JWT_SUBJECT_MAX + 1]; /* at least one byte */
    int64_t expires_wall_ms;           /* the first moment it is refused, skew included */
};

/*
 * jwt_issuer - whom a token names as its issuer, before anything of it is known to be true: for
 * finding the rules and keys that it is to be judged by, and for nothing else
 *
 * dst  cap bytes, the issuer with a NUL on OK.
 * ERR_TOO_LARGE, ERR_MALFORMED as jwt_verify; ERR_DENIED: it names none, or a longer one;
 * ERR_NOMEM.
 */
MUST_USE enum err jwt_issuer(struct slice token, char *dst, size_t cap);

/*
 * jwt_verify - checks all of a token
 *
 * token  a stranger's; keys, rules borrows.
 * why    may be NULL; says what is wrong without a byte of the token but the names of algorithm,
 *        key, issuer and subject, and the latter two only when the signature was good.
 *
 * ERR_TOO_LARGE    over JWT_BYTES_MAX or JWT_HEADER_MAX
 * ERR_MALFORMED    not three parts of canonical base64url with JSON objects, a member twice, a
 *                  claim of a wrong type
 * ERR_UNSUPPORTED  an algorithm that is none of ours (`none` and HS256 too), or another than the
 *                  key's; an extension under `crit`; a `typ` of another kind of token
 * ERR_NOT_FOUND    no such key in the set
 * ERR_AUTH         the signature is wrong
 * ERR_DENIED       good, but not for us or not yet: iss, aud, nbf, iat; no exp, no sub
 * ERR_EXPIRED      was good once
 * ERR_NOMEM, ERR_CRYPTO
 * Here nothing of the claims is looked at before the signature is known to be good. Up to 0.3 ms.
 * SPEC: RFC7515 4.1, 5.2; RFC7519 4.1, 7.2; RFC8725 3.
 */
MUST_USE enum err jwt_verify(struct slice token, const struct jwks *keys,
                             const struct jwt_rules *rules, int64_t now_wall_ms, struct why *why,
                             struct jwt_claims *ret);

#endif
