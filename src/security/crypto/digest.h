/* digest - SHA-256 and HMAC-SHA-256 in one call. */
#ifndef SECURITY_CRYPTO_DIGEST_H
#define SECURITY_CRYPTO_DIGEST_H

#include "base/err.h"
#include "base/slice.h"

enum { DIGEST_BYTES = 32 };

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

/* digest_sha256 - of s. ERR_CRYPTO. O(n). SPEC: FIPS180-4. */
MUST_USE enum err digest_sha256(struct slice s, struct digest *ret);
/* digest_hmac - HMAC-SHA-256 of s under key (any length). ERR_CRYPTO. O(n). SPEC: RFC2104 2. */
MUST_USE enum err digest_hmac(struct slice key, struct slice s, struct digest *ret);
/* digest_slice - the 32 bytes, borrowed from d. */
static inline struct slice digest_slice(const struct digest *d)
{
    return slice_of(d->bytes, sizeof d->bytes);
}
/* digest_hex - lower-case text with a NUL. */
enum { DIGEST_HEX_BYTES = 2 * DIGEST_BYTES + 1 };
void digest_hex(const struct digest *d, char dst[DIGEST_HEX_BYTES]);
/* digest_from_hex - ERR_MALFORMED unless exactly 64 hexadecimal digits. */
MUST_USE enum err digest_from_hex(struct slice text, struct digest *ret);

#endif
