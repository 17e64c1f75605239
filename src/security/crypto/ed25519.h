/* ed25519 - the private half of an Ed25519 pair; the public half verifies as a sigkey. */
#ifndef SECURITY_CRYPTO_ED25519_H
#define SECURITY_CRYPTO_ED25519_H

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"

enum { ED25519_SEED_BYTES = 32, ED25519_PUBLIC_BYTES = 32, ED25519_SIGNATURE_BYTES = 64 };

struct ed25519;

/* ed25519_new - of its seed, ED25519_SEED_BYTES random bytes, borrowed. ERR_CRYPTO: another length,
 * or the library refused; ERR_NOMEM. */
MUST_USE enum err ed25519_new(struct slice seed, struct ed25519 **ret);
struct ed25519 *ed25519_free(struct ed25519 *k); /* wipes */
AUTOFREE(ed25519, ed25519_free)
/* ed25519_public - ED25519_PUBLIC_BYTES, borrowed from k. */
struct slice ed25519_public(const struct ed25519 *k);
/* ed25519_sign - ERR_NOMEM, ERR_CRYPTO. About 50 us. SPEC: RFC8032 5.1.6. */
MUST_USE enum err ed25519_sign(const struct ed25519 *k, struct slice text,
                               uint8_t ret[ED25519_SIGNATURE_BYTES]);
/* ed25519_verify - ERR_AUTH: the signature is not this key's over this text. ERR_NOMEM, ERR_CRYPTO:
 * could not tell, so no. */
MUST_USE enum err ed25519_verify(const uint8_t key[ED25519_PUBLIC_BYTES], struct slice text,
                                 const uint8_t signature[ED25519_SIGNATURE_BYTES]);

#endif
