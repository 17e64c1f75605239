#include "security/crypto/digest.h"

#include <limits.h>

#include <openssl/hmac.h>

#include "security/crypto/crypto_private.h"

enum err digest_sha256(struct slice s, struct digest *ret)
{
    struct digest d;
    unsigned n = 0;
    if (EVP_Digest(s.p, s.n, d.bytes, &n, EVP_sha256(), NULL) != 1 || n != DIGEST_BYTES) {
        return crypto_fail(ERR_CRYPTO);
    }
    *ret = d;
    return OK;
}

enum err digest_hmac(struct slice key, struct slice s, struct digest *ret)
{
    static const uint8_t none[1] = {0}; /* a NULL key would mean "the key of the last call" */
    struct digest d;
    unsigned n = 0;
    if (key.n > INT_MAX ||
        HMAC(EVP_sha256(), key.n > 0 ? key.p : none, (int)key.n, s.n > 0 ? s.p : none, s.n, d.bytes,
             &n) == NULL ||
        n != DIGEST_BYTES) {
        return crypto_fail(ERR_CRYPTO);
    }
    *ret = d;
    return OK;
}

void digest_hex(const struct digest *d, char dst[DIGEST_HEX_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        dst[2 * i] = digits[d->bytes[i] >> 4];
        dst[2 * i + 1] = digits[d->bytes[i] & 15];
    }
    dst[DIGEST_HEX_BYTES - 1] = '\0';
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

enum err digest_from_hex(struct slice text, struct digest *ret)
{
    if (text.n != DIGEST_HEX_BYTES - 1) {
        return ERR_MALFORMED;
    }
    struct digest d;
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        int high = hex_value(text.p[2 * i]);
        int low = hex_value(text.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return ERR_MALFORMED;
        }
        d.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret = d;
    return OK;
}
