/*
 * block - the Block1 and Block2 options: which piece of a body a message carries or wants.
 *
 *   |  NUM (4, 12 or 20 bits)  | M |  SZX  |     size = 2 ** (SZX + 4), from byte NUM * size on
 *
 * One struct for both options and both directions; which of them it is decides what the fields
 * mean. SPEC: RFC7959 2.1, 2.2, 2.3.
 */
#ifndef WIRE_COAP_BLOCK_H
#define WIRE_COAP_BLOCK_H

#include "wire/coap/option.h"

enum {
    COAP_BLOCK_NUMBER_MAX = (1 << 20) - 1,
    COAP_BLOCK_SZX_MAX = 6,  /* 1024 bytes; 7 is reserved */
    COAP_BLOCK_SZX_BERT = 7, /* over reliable transports: as 6, many at once. SPEC: RFC8323 6 */
    COAP_BLOCK_BYTES_MAX = 1 << (COAP_BLOCK_SZX_MAX + 4)
};

struct coap_block {
    uint32_t number; /* at most COAP_BLOCK_NUMBER_MAX */
    uint8_t szx;     /* at most COAP_BLOCK_SZX_MAX */
    bool has_more;
};

static inline size_t coap_block_bytes(uint8_t szx)
{
    return (size_t)1 << (szx + 4);
}

/* coap_block_offset - the byte of the body at which the block begins; below 2 ** 30. */
static inline uint64_t coap_block_offset(struct coap_block b)
{
    return (uint64_t)b.number << (b.szx + 4);
}

/* coap_block_at - the block of this size that begins at a byte which is a multiple of the size.
 * ERR_LIMIT: its number cannot be expressed. */
MUST_USE enum err coap_block_at(uint64_t offset, uint8_t szx, bool has_more,
                                struct coap_block *ret);

/* coap_block_decode - an option's value. ERR_MALFORMED: the reserved size; ERR_TOO_LARGE: over
 * three bytes. */
MUST_USE enum err coap_block_decode(struct slice value, struct coap_block *ret);

/* coap_block_find - the option `number` (Block1 or Block2) of a request or response. ERR_NOT_FOUND:
 * there is none; else as decode. */
MUST_USE enum err coap_block_find(struct slice options, uint16_t number, struct coap_block *ret);

/* coap_block_find_bert - the same where size 7 means blocks of 1024 bytes, many at once: szx is
 * COAP_BLOCK_SZX_MAX then, and *ret_is_bert true. SPEC: RFC8323 6 */
MUST_USE enum err coap_block_find_bert(struct slice options, uint16_t number,
                                       struct coap_block *ret, bool *ret_is_bert);

/* coap_block_value - for coap_option_add_uint. */
uint32_t coap_block_value(struct coap_block b);

/*
 * coap_block_cut - the piece of `body` that a request with this Block2 asks for
 *
 * want   number and size; its M bit means nothing.
 * ret    the block that answers, M set when more follows; ret_piece borrows from body.
 *
 * ERR_NOT_FOUND  it begins behind the end. An empty body has one empty block, the first.
 */
MUST_USE enum err coap_block_cut(struct slice body, struct coap_block want, struct coap_block *ret,
                                 struct slice *ret_piece);

#endif
