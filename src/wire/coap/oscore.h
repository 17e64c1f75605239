/*
 * oscore - the value of the OSCORE option: the header of a compressed COSE object, whose ciphertext
 * is the payload of the message.
 *
 *   | 0 0 0 h k n n n | Partial IV (n bytes) | s | kid context (s bytes) | kid (the rest) |
 *
 * SPEC: RFC8613 6.1.
 */
#ifndef WIRE_COAP_OSCORE_H
#define WIRE_COAP_OSCORE_H

#include "base/rd.h"
#include "base/wr.h"

enum {
    COAP_OSCORE_PIV_BYTES = 5,   /* the longest Partial IV */
    COAP_OSCORE_OPTION_MAX = 255 /* the longest value of the option */
};

#define COAP_OSCORE_PIV_MAX ((UINT64_C(1) << 40) - 1)

struct coap_oscore {
    bool has_piv, has_kid, has_kid_context;
    uint64_t piv; /* at most COAP_OSCORE_PIV_MAX; 0 without has_piv */
    struct slice kid, kid_context;
};

/*
 * coap_oscore_decode - one option value; the slices of *ret point into it
 *
 * ERR_MALFORMED  a reserved bit or length is set; a Partial IV with leading zeros; flags that are
 *                all zero but written; bytes behind what the flags announce
 * ERR_TRUNCATED  shorter than its flags announce
 * ERR_TOO_LARGE  over COAP_OSCORE_OPTION_MAX
 * The empty value has nothing. O(1). SPEC: RFC8613 2, 6.1.
 */
MUST_USE enum err coap_oscore_decode(struct slice value, struct coap_oscore *ret);

/* coap_oscore_encode - the shortest form. ERR_TOO_LARGE: a Partial IV over COAP_OSCORE_PIV_MAX, or
 * the whole over COAP_OSCORE_OPTION_MAX. Errors stick to w. */
void coap_oscore_encode(const struct coap_oscore *o, struct wr *w);

/* coap_oscore_piv_write - a Partial IV in its shortest form, 1 to 5 bytes: 0 is one zero byte. */
void coap_oscore_piv_write(uint64_t piv, struct wr *w);

#endif
