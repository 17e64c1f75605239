/* hex - hexadecimal text as bytes, and back. */
#ifndef BASE_HEX_H
#define BASE_HEX_H

#include "base/err.h"
#include "base/slice.h"

/* hex_read - two digits of either case a byte, into dst. ERR_MALFORMED: an odd number of digits, or
 * something else than digits; ERR_SPACE: more than cap bytes. After an error dst may be half
 * written: wipe it when it is a secret. */
MUST_USE enum err hex_read(struct slice text, void *dst, size_t cap, size_t *ret_n);
/* hex_write - lower case with a NUL into 2 * s.n + 1 bytes. */
void hex_write(struct slice s, char *dst);

#endif
