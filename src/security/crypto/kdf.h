/* kdf - HKDF-SHA-256, extract and expand in one call. */
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

#endif
