/*
 * jwks - the public keys of those who issue tokens, out of a JWK set (RFC 7517).
 *
 * Taken are RSA (RS256), P-256 (ES256) and Ed25519 (EdDSA) keys that may verify; each key has one
 * algorithm. Keys of other kinds, curves, algorithms or uses are passed over, as the RFC wants it;
 * a set is refused as a whole when it shows that something went wrong: a private or symmetric key,
 * a weak or broken key, a key id twice, no key that can be used.
 *
 * Immutable, counted: any thread may hold one.
 */
#ifndef SECURITY_TOKEN_JWKS_H
#define SECURITY_TOKEN_JWKS_H

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"
#include "base/why.h"
#include "security/crypto/sigkey.h"

enum {
    JWKS_BYTES_MAX = 64 * 1024, /* of the text */
    JWKS_KEYS_MAX = 16,         /* in the text, usable or not */
    JWKS_KID_MAX = 128
};

struct jwks;

/*
 * jwks_parse - the usable keys of a set
 *
 * why  may be NULL; says what is wrong, with which key, and what to do.
 * ERR_CONFIG: refused as said above, or no JWK set; ERR_TOO_LARGE, ERR_LIMIT: over the bounds;
 * ERR_NOMEM, ERR_CRYPTO. SPEC: RFC7517 4, 5; RFC7518 6; RFC8037 2.
 */
MUST_USE enum err jwks_parse(struct slice text, struct why *why, const struct jwks **ret);
const struct jwks *jwks_ref(const struct jwks *j);
const struct jwks *jwks_unref(const struct jwks *j);
static inline void jwks_autofree(const struct jwks **j)
{
    *j = jwks_unref(*j);
}

/* jwks_find - the key with this id; without an id the only key of a set of one; else NULL. */
const struct sigkey *jwks_find(const struct jwks *j, bool has_kid, struct slice kid);
/* jwks_any - the first key of this algorithm; NULL: none. */
const struct sigkey *jwks_any(const struct jwks *j, enum sigkey_alg alg);
/* jwks_count - usable keys, at least one. */
size_t jwks_count(const struct jwks *j);

#endif
