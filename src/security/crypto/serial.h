/* serial - the number of a certificate. Beside its issuer's name it is that certificate and no
 * other. SPEC: RFC5280 4.1.2.2. */
#ifndef SECURITY_CRYPTO_SERIAL_H
#define SECURITY_CRYPTO_SERIAL_H

#include "base/err.h"
#include "base/slice.h"

enum { SERIAL_BYTES = 20, SERIAL_HEX_BYTES = 2 * SERIAL_BYTES + 1 };

struct serial {
    uint8_t n, bytes[SERIAL_BYTES]; /* big endian, without leading zeros; n 0: none */
};

static inline struct slice serial_slice(const struct serial *s)
{
    return slice_of(s->bytes, s->n);
}

/* serial_from - of big endian bytes. ERR_MALFORMED: none, zero, or longer than SERIAL_BYTES. */
MUST_USE enum err serial_from(struct slice bytes, struct serial *ret);
/* serial_hex - lower-case text with a NUL, as `openssl x509 -serial` says it but for the case. */
void serial_hex(const struct serial *s, char dst[SERIAL_HEX_BYTES]);
/* serial_from_hex - either case, ':' between bytes is skipped. Errors as serial_from. */
MUST_USE enum err serial_from_hex(struct slice text, struct serial *ret);

#endif
