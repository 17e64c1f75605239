/*
 * record_aead - what seals the records of TLS 1.2 and DTLS 1.2: AES-128 in GCM and in CCM with a
 * tag of eight bytes, the nonce of twelve bytes in both.
 *
 * One object serves many keys, so a key costs its sixteen bytes alone. One object belongs to one
 * thread. Whoever seals answers for the nonce: the same (key, nonce) twice gives both texts away.
 * SPEC: RFC5288 3, RFC6655 3.
 */
#ifndef SECURITY_CRYPTO_RECORD_AEAD_H
#define SECURITY_CRYPTO_RECORD_AEAD_H

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"

enum {
    RECORD_AEAD_KEY_BYTES = 16,
    RECORD_AEAD_NONCE_BYTES = 12,
    RECORD_AEAD_TAG_MAX = 16,
    RECORD_AEAD_PLAIN_MAX = 16384 /* SPEC: RFC5246 6.2.1 */
};

enum record_suite { RECORD_AES128_GCM, RECORD_AES128_CCM8 };

struct record_aead;

/* record_aead_new - ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err record_aead_new(struct record_aead **ret);
struct record_aead *record_aead_free(struct record_aead *a);
AUTOFREE(record_aead, record_aead_free)

/* record_aead_tag - how much longer the sealed text is. */
static inline size_t record_aead_tag(enum record_suite suite)
{
    return suite == RECORD_AES128_GCM ? 16 : 8;
}

/*
 * record_aead_seal - encrypts plain (1..RECORD_AEAD_PLAIN_MAX bytes) and authenticates aad with it
 *
 * dst  plain.n + record_aead_tag bytes, ciphertext then tag; may be plain.p itself. Its contents
 *      mean nothing after an error.
 * ERR_CRYPTO. O(n).
 */
MUST_USE enum err record_aead_seal(struct record_aead *a, enum record_suite suite,
                                   const uint8_t key[RECORD_AEAD_KEY_BYTES],
                                   const uint8_t nonce[RECORD_AEAD_NONCE_BYTES], struct slice aad,
                                   struct slice plain, uint8_t *dst);
/*
 * record_aead_open - the reverse; sealed is ciphertext then tag
 *
 * dst  sealed.n - record_aead_tag bytes; may be sealed.p itself. Wiped when the tag does not fit.
 * ERR_TRUNCATED: not one byte and a tag. ERR_CRYPTO: not sealed with this key, nonce and aad.
 */
MUST_USE enum err record_aead_open(struct record_aead *a, enum record_suite suite,
                                   const uint8_t key[RECORD_AEAD_KEY_BYTES],
                                   const uint8_t nonce[RECORD_AEAD_NONCE_BYTES], struct slice aad,
                                   struct slice sealed, uint8_t *dst);

#endif
