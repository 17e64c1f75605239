/* kdf - HKDF-SHA-256, extract and expand in one call; PBKDF2 with HMAC-SHA-256. */
#ifndef SECURITY_CRYPTO_KDF_H
#define SECURITY_CRYPTO_KDF_H

#include "base/err.h"
#include "base/slice.h"

enum { KDF_MAX_BYTES = 255 * 32 };

/*
 * kdf_hkdf - n bytes of key material
 *
 * secret  input key material, borrows; at least one byte.
 * salt    may be empty.
 * info    what the result is for; two uses never share one.
 * dst     n bytes, 1..KDF_MAX_BYTES; written only on success.
 *
 * ERR_CRYPTO: the library refused. SPEC: RFC5869 2.2, 2.3.
 */
MUST_USE enum err kdf_hkdf(struct slice secret, struct slice salt, struct slice info, void *dst,
                           size_t n);

/* kdf_pbkdf2 - n bytes (1..KDF_MAX_BYTES) from a password (at least one byte), slow on purpose:
 * O(iterations * n). ERR_CRYPTO. SPEC: RFC8018 5.2. */
MUST_USE enum err kdf_pbkdf2(struct slice password, struct slice salt, uint32_t iterations,
                             void *dst, size_t n);

#endif
