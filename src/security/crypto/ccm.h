/*
 * ccm - AES-CCM-16-64-128: 128-bit key, 13-byte nonce, 8-byte tag. What OSCORE seals with.
 *
 * One object serves many keys, so a key costs its sixteen bytes alone. One object belongs to one
 * thread. Whoever seals answers for the nonce: the same (key, nonce) twice gives both texts away.
 * SPEC: RFC9053 4.2, RFC3610 2.
 */
#ifndef SECURITY_CRYPTO_CCM_H
#define SECURITY_CRYPTO_CCM_H

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"

enum { CCM_KEY_BYTES = 16, CCM_NONCE_BYTES = 13, CCM_TAG_BYTES = 8, CCM_PLAIN_MAX = 65535 };

struct ccm;

/* ccm_new - ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err ccm_new(struct ccm **ret);
struct ccm *ccm_free(struct ccm *c);
AUTOFREE(ccm, ccm_free)

/*
 * ccm_seal - encrypts plain (1..CCM_PLAIN_MAX bytes) and authenticates aad with it
 *
 * dst  plain.n + CCM_TAG_BYTES, ciphertext then tag; may be plain.p itself. Its contents mean
 *      nothing after an error.
 * ERR_CRYPTO. O(n).
 */
MUST_USE enum err ccm_seal(struct ccm *c, const uint8_t key[CCM_KEY_BYTES],
                           const uint8_t nonce[CCM_NONCE_BYTES], struct slice aad,
                           struct slice plain, uint8_t *dst);
/*
 * ccm_open - the reverse; sealed is ciphertext then tag
 *
 * dst  sealed.n - CCM_TAG_BYTES; may be sealed.p itself. Wiped when the tag does not fit.
 * ERR_TRUNCATED: not one byte and a tag. ERR_CRYPTO: not sealed with this key, nonce and aad.
 */
MUST_USE enum err ccm_open(struct ccm *c, const uint8_t key[CCM_KEY_BYTES],
                           const uint8_t nonce[CCM_NONCE_BYTES], struct slice aad,
                           struct slice sealed, uint8_t *dst);

#endif
