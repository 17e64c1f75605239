/* client_hex - hexadecimal text as bytes. */
#ifndef APP_CLI_CLIENT_HEX_H
#define APP_CLI_CLIENT_HEX_H

#include "base/err.h"
#include "base/slice.h"

/* client_hex - two digits of either case a byte, into dst. ERR_MALFORMED: an odd number of digits,
 * or something else than digits; ERR_SPACE: more than cap bytes. After an error dst may be half
 * written: wipe it when it is a secret. */
MUST_USE enum err client_hex(struct slice text, void *dst, size_t cap, size_t *ret_n);
/* client_hex_write - lower case with a NUL into 2 * s.n + 1 bytes. */
void client_hex_write(struct slice s, char *dst);

#endif
