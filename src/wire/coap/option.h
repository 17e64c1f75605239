/*
 * option - the registry of CoAP options: one table that says name, format, lengths and whether an
 * option may repeat; and the check of a message's options against it.
 *
 * Critical, unsafe and no-cache-key are properties of the number itself. SPEC: RFC7252 5.4, 5.10.
 */
#ifndef WIRE_COAP_OPTION_H
#define WIRE_COAP_OPTION_H

#include "wire/coap/message.h"

enum coap_option_number {
    COAP_OPTION_IF_MATCH = 1,
    COAP_OPTION_URI_HOST = 3,
    COAP_OPTION_ETAG = 4,
    COAP_OPTION_IF_NONE_MATCH = 5,
    COAP_OPTION_OBSERVE = 6,
    COAP_OPTION_URI_PORT = 7,
    COAP_OPTION_LOCATION_PATH = 8,
    COAP_OPTION_OSCORE = 9,
    COAP_OPTION_URI_PATH = 11,
    COAP_OPTION_CONTENT_FORMAT = 12,
    COAP_OPTION_MAX_AGE = 14,
    COAP_OPTION_URI_QUERY = 15,
    COAP_OPTION_HOP_LIMIT = 16,
    COAP_OPTION_ACCEPT = 17,
    COAP_OPTION_Q_BLOCK1 = 19,
    COAP_OPTION_LOCATION_QUERY = 20,
    COAP_OPTION_EDHOC = 21,
    COAP_OPTION_BLOCK2 = 23,
    COAP_OPTION_BLOCK1 = 27,
    COAP_OPTION_SIZE2 = 28,
    COAP_OPTION_Q_BLOCK2 = 31,
    COAP_OPTION_PROXY_URI = 35,
    COAP_OPTION_PROXY_SCHEME = 39,
    COAP_OPTION_SIZE1 = 60,
    COAP_OPTION_ECHO = 252,
    COAP_OPTION_NO_RESPONSE = 258,
    COAP_OPTION_REQUEST_TAG = 292,
};

enum coap_option_format {
    COAP_OPTION_IS_EMPTY,
    COAP_OPTION_IS_OPAQUE,
    COAP_OPTION_IS_UINT,
    COAP_OPTION_IS_STRING
};

struct coap_option_info {
    uint16_t number;
    uint16_t min_bytes, max_bytes;
    enum coap_option_format format;
    bool repeatable;
    const char *name;
};

/* coap_option_find - the row of the table; NULL for a number we do not know. O(log n). */
const struct coap_option_info *coap_option_find(uint16_t number);

static inline bool coap_option_is_critical(uint16_t number)
{
    return (number & 1) != 0; /* SPEC: RFC7252 5.4.6 */
}

static inline bool coap_option_is_unsafe(uint16_t number)
{
    return (number & 2) != 0;
}

static inline bool coap_option_is_no_cache_key(uint16_t number)
{
    return (number & 0x1E) == 0x1C;
}

/* The set of critical options a receiver acts on. All critical options of the table are below 64.
 */
#define COAP_OPTION_BIT(number) (UINT64_C(1) << (number))

/* What a plain server understands: where the request goes and what it accepts. */
#define COAP_OPTIONS_SERVED                                                                        \
    (COAP_OPTION_BIT(COAP_OPTION_URI_HOST) | COAP_OPTION_BIT(COAP_OPTION_URI_PORT) |               \
     COAP_OPTION_BIT(COAP_OPTION_URI_PATH) | COAP_OPTION_BIT(COAP_OPTION_URI_QUERY) |              \
     COAP_OPTION_BIT(COAP_OPTION_ACCEPT))

/*
 * coap_options_check - may a receiver that acts on the critical options in `understood` go on?
 *
 * options     borrows, an encoded block.
 * understood  COAP_OPTION_BITs.
 * ret_number  written only with ERR_UNSUPPORTED: the first offender.
 *
 * ERR_UNSUPPORTED  a critical option that is unknown, not in `understood`, of a length its row does
 *                  not allow, or a second one where one may be: 4.02 for a request. Text that is
 * not UTF-8 counts as such a length does. Elective options of these kinds are fine and are not seen
 * by coap_options_find. ERR_MALFORMED    the block does not parse. O(bytes). SPEC:
 * RFC7252 5.4.1, 5.4.3, 5.4.5.
 */
MUST_USE enum err coap_options_check(struct slice options, uint64_t understood,
                                     uint16_t *ret_number);

/* coap_options_find - the value of the first option of this number whose length the table allows;
 * false when there is none. Borrows from options. O(bytes). */
bool coap_options_find(struct slice options, uint16_t number, struct slice *ret);
/* coap_options_find_uint - the same as a number. */
bool coap_options_find_uint(struct slice options, uint16_t number, uint32_t *ret);

#endif
