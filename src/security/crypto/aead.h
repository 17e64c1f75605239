/*
 * aead - AES-256-GCM under one key.
 *
 * The cipher is fetched and the key scheduled once, at aead_new; a call then costs no allocation.
 * One object belongs to one thread. Whoever seals answers for the nonce: the same (key, nonce)
 * twice is fatal, so keys are derived afresh where nonces count from zero.
 */
#ifndef SECURITY_CRYPTO_AEAD_H
#define SECURITY_CRYPTO_AEAD_H

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"

enum { AEAD_KEY_BYTES = 32, AEAD_NONCE_BYTES = 12, AEAD_TAG_BYTES = 16 };

struct aead;

/* aead_new - key is AEAD_KEY_BYTES, borrowed. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err aead_new(struct slice key, struct aead **ret);
struct aead *aead_free(struct aead *a);
AUTOFREE(aead, aead_free)

/*
 * aead_seal - encrypts plain and authenticates aad with it
 *
 * dst  plain.n + AEAD_TAG_BYTES, ciphertext then tag; may be plain.p itself. Its contents mean
 *      nothing after an error.
 * ERR_CRYPTO. O(n). SPEC: SP800-38D 7.1.
 */
MUST_USE enum err aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice aad,
                            struct slice plain, uint8_t *dst);
/*
 * aead_open - the reverse; sealed is ciphertext then tag
 *
 * dst  sealed.n - AEAD_TAG_BYTES; may be sealed.p itself. Wiped when the tag does not fit.
 * ERR_TRUNCATED: shorter than a tag. ERR_CRYPTO: not sealed with this key, nonce and aad.
 */
MUST_USE enum err aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice aad,
                            struct slice sealed, uint8_t *dst);

#endif
