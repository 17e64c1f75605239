/*
 * message - one CoAP message in one datagram: header, token, options, payload.
 *
 *   0                   1                   2                   3
 *   |Ver| T |  TKL  |      Code     |          Message ID           |
 *   | token (TKL bytes) ... | options ... | 0xFF, payload ...       |
 *
 * A decoded message borrows from its datagram. Options stay encoded: a block of bytes that decode
 * has walked once, so that walking it again (coap_options_next) cannot fail. The encoder takes the
 * same struct, so what was decoded can be encoded again as it is; option blocks are made with
 * struct coap_option_writer. SPEC: RFC7252 3, RFC8974 2.1.
 */
#ifndef WIRE_COAP_MESSAGE_H
#define WIRE_COAP_MESSAGE_H

#include "base/rd.h"
#include "base/wr.h"
#include "wire/coap/code.h"

enum {
    COAP_HEADER_BYTES = 4,
    COAP_TOKEN_BYTES = 8,          /* what RFC 7252 allows */
    COAP_TOKEN_LIMIT = 65804,      /* what RFC 8974 can express */
    COAP_MESSAGE_BYTES = 1152,     /* SPEC: RFC7252 4.6: assume no more through a path */
    COAP_OPTION_VALUE_MAX = 65804, /* what the length field can express */
};

enum coap_type { COAP_CON = 0, COAP_NON = 1, COAP_ACK = 2, COAP_RST = 3 };

struct coap_message {
    enum coap_type type;
    uint8_t code; /* any byte but those of a reserved class */
    uint16_t mid;
    struct slice token;
    struct slice options; /* encoded, without the payload marker */
    struct slice payload; /* never a marker without bytes */
    /* What decode met on its walk: the options that `present` is about, one bit for each number
     * below 63, and one for all others. For coap_message_lacks alone. */
    const uint8_t *walked;
    uint64_t present;
};

/* coap_message_lacks - it was decoded, and surely has no option of this number; so nobody has to
 * look for it. O(1). */
bool coap_message_lacks(const struct coap_message *m, uint16_t number);

/*
 * coap_message_decode - one datagram
 *
 * datagram   borrows; the slices of *ret point into it.
 * token_max  the longest token the caller wants: COAP_TOKEN_BYTES refuses RFC 8974 altogether.
 *
 * ERR_TRUNCATED  shorter than a header: there is nothing to answer to
 * ERR_MALFORMED  version other than 1; token length 15, or over 8 when token_max does not want RFC
 *                8974; token, option or extended field past the end; option delta or length 15;
 *                option number over 65,535; a payload marker without payload; code 0.00 with more
 *                than a header; a reserved code class
 * ERR_TOO_LARGE  well-formed so far, but the token is longer than token_max
 * Whether such a message gets a Reset or silence is decided by whoever knows its type
 * (coap_header_peek). O(bytes), allocates nothing. SPEC: RFC7252 3, 3.1, 4.1.
 */
MUST_USE enum err coap_message_decode(struct slice datagram, size_t token_max,
                                      struct coap_message *ret);

/* coap_header_peek - the fixed header alone, for datagrams that do not decode. *ret gets type, code
 * and mid, the rest empty. ERR_TRUNCATED; ERR_UNSUPPORTED version other than 1, which must be
 * ignored in silence. SPEC: RFC7252 3. */
MUST_USE enum err coap_header_peek(struct slice datagram, struct coap_message *ret);

/*
 * coap_message_encode - the bytes of *m into dst
 *
 * ERR_SPACE      does not fit cap bytes
 * ERR_MALFORMED  the option block does not parse, or an empty message carries something
 * ERR_TOO_LARGE  the token is over COAP_TOKEN_LIMIT
 * *ret_n is written only on success; dst holds garbage otherwise. O(bytes).
 */
MUST_USE enum err coap_message_encode(const struct coap_message *m, void *dst, size_t cap,
                                      size_t *ret_n);

/* ---- options, one after the other ---- */

struct coap_option {
    uint16_t number;
    struct slice value;
};

/* A walk over an encoded option block. The running number has 32 bits: a sum of deltas past 65,535
 * is an error, never a small number again. */
struct coap_options {
    struct rd r;
    uint32_t number;
};

struct coap_options coap_options_from(struct slice options);

/* coap_options_next - the next option, in ascending order of numbers; false at the end or at the
 * first error, which coap_options_finish then gives (ERR_MALFORMED). A payload marker is an error
 * here. */
bool coap_options_next(struct coap_options *it, struct coap_option *ret);
MUST_USE enum err coap_options_finish(const struct coap_options *it);

/* coap_option_uint - a value in CoAP's shortest big-endian form; leading zeros are accepted.
 * ERR_TOO_LARGE over 4 bytes. SPEC: RFC7252 3.2 */
MUST_USE enum err coap_option_uint(struct slice value, uint32_t *ret);

/* ---- writing options ---- */

struct coap_option_writer {
    struct wr w;
    uint16_t last;
};

/* Usage: struct coap_option_writer o = coap_option_writer_into(dst, sizeof(dst)); add...; done. */
struct coap_option_writer coap_option_writer_into(void *dst, size_t cap);

/* coap_option_add - numbers must not descend (this sorts nothing). Errors stick: ERR_MALFORMED for
 * a descending number, ERR_SPACE, ERR_TOO_LARGE for a value over COAP_OPTION_VALUE_MAX. */
void coap_option_add(struct coap_option_writer *o, uint16_t number, struct slice value);
/* coap_option_add_uint - in the shortest form: 0 has no bytes. SPEC: RFC7252 3.2 */
void coap_option_add_uint(struct coap_option_writer *o, uint16_t number, uint32_t value);
/* coap_option_add_block - copies the options of a well-formed block. */
void coap_option_add_block(struct coap_option_writer *o, struct slice options);
/* coap_option_add_merged - copies a block and puts one more option in its place; options of that
 * number that the block already has are left out. */
void coap_option_add_merged(struct coap_option_writer *o, struct slice options, uint16_t number,
                            struct slice value);
/* coap_option_writer_done - the sticky error, else the block; borrows from dst. */
MUST_USE enum err coap_option_writer_done(const struct coap_option_writer *o, struct slice *ret);

#endif
