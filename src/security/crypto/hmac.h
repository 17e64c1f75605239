/*
 * hmac - HMAC-SHA-256, for who needs one after the other.
 *
 * One object serves many keys and fetches no algorithm in a call, where digest_hmac and the
 * library's functions of one call do each time. One object belongs to one thread. The key of the
 * last hmac_key is in it until the next one or its end. SPEC: RFC2104 2.
 */
#ifndef SECURITY_CRYPTO_HMAC_H
#define SECURITY_CRYPTO_HMAC_H

#include "base/err.h"
#include "base/scope.h"
#include "security/crypto/digest.h"

struct hmac;

/* hmac_new - ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err hmac_new(struct hmac **ret);
struct hmac *hmac_free(struct hmac *h);
AUTOFREE(hmac, hmac_free)

/* hmac_key - the key (any length, may be empty) of each hmac_next until the next hmac_key: what is
 * done with a key alone is done once. ERR_CRYPTO: it has none. */
MUST_USE enum err hmac_key(struct hmac *h, struct slice key);
/* hmac_next - of text, which may be empty, under that key. ERR_CRYPTO. O(n). */
MUST_USE enum err hmac_next(struct hmac *h, struct slice text, struct digest *ret);

#endif
