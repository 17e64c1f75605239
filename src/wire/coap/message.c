#include "wire/coap/message_private.h"

/* Values of a 4-bit field that announce one more byte, two more bytes, or are reserved. */
enum { NIBBLE_8BIT = 13, NIBBLE_16BIT = 14, NIBBLE_RESERVED = 15 };
enum { EXTENDED_8BIT_BASE = 13, EXTENDED_16BIT_BASE = 269 };
enum { PAYLOAD_MARKER = 0xFF, OPTION_NUMBER_MAX = 65535 };

/* The value of an option's delta, length or of the token length. SPEC: RFC7252 3.1, RFC8974 2.1 */
uint32_t coap_rd_extended(struct rd *r, unsigned nibble)
{
    switch (nibble) {
    case NIBBLE_8BIT:
        return EXTENDED_8BIT_BASE + (uint32_t)rd_u8(r);
    case NIBBLE_16BIT:
        return EXTENDED_16BIT_BASE + (uint32_t)rd_u16(r);
    case NIBBLE_RESERVED:
        rd_fail(r, ERR_MALFORMED);
        return 0;
    default:
        return nibble;
    }
}

unsigned coap_nibble_of(uint32_t value)
{
    if (value >= EXTENDED_16BIT_BASE) {
        return NIBBLE_16BIT;
    }
    return value >= EXTENDED_8BIT_BASE ? NIBBLE_8BIT : value;
}

void coap_wr_extended(struct wr *w, uint32_t value)
{
    if (value >= EXTENDED_16BIT_BASE) {
        wr_u16(w, (uint16_t)(value - EXTENDED_16BIT_BASE));
    } else if (value >= EXTENDED_8BIT_BASE) {
        wr_u8(w, (uint8_t)(value - EXTENDED_8BIT_BASE));
    }
}

/* One option off r. A marker must not be the next byte. */
static bool rd_option(struct rd *r, uint32_t *number, struct coap_option *ret)
{
    uint8_t head = rd_u8(r);
    uint32_t delta = coap_rd_extended(r, head >> 4);
    uint32_t length = coap_rd_extended(r, head & 0x0F);
    /* SPEC: RFC7252 3.1: in 32 bits, so that E0 FE F2 cannot wrap around to a small number. */
    if (delta > OPTION_NUMBER_MAX - *number) {
        rd_fail(r, ERR_MALFORMED);
    }
    struct slice value = rd_bytes(r, length);
    if (!rd_ok(r)) {
        return false;
    }
    *number += delta;
    *ret = (struct coap_option){(uint16_t)*number, value};
    return true;
}

struct coap_options coap_options_from(struct slice options)
{
    return (struct coap_options){.r = rd_from(options)};
}

bool coap_options_next(struct coap_options *it, struct coap_option *ret)
{
    return rd_left(&it->r) > 0 && rd_option(&it->r, &it->number, ret);
}

enum err coap_options_finish(const struct coap_options *it)
{
    return rd_finish(&it->r) == OK ? OK : ERR_MALFORMED;
}

enum err coap_option_uint(struct slice value, uint32_t *ret)
{
    if (value.n > sizeof(uint32_t)) {
        return ERR_TOO_LARGE;
    }
    struct rd r = rd_from(value);
    *ret = (uint32_t)rd_be(&r, value.n);
    return OK;
}

static enum err rd_header(struct rd *r, unsigned *ret_token_nibble, struct coap_message *ret)
{
    uint8_t first = rd_u8(r);
    struct coap_message m = {.type = (enum coap_type)(first >> 4 & 3), .code = rd_u8(r)};
    m.mid = rd_u16(r);
    TRY(r->err);
    if (first >> 6 != 1) {
        return ERR_UNSUPPORTED; /* SPEC: RFC7252 3, version */
    }
    *ret_token_nibble = first & 0x0F;
    *ret = m;
    return OK;
}

enum err coap_header_peek(struct slice datagram, struct coap_message *ret)
{
    struct rd r = rd_from(datagram);
    unsigned token_nibble = 0;
    return rd_header(&r, &token_nibble, ret);
}

/* Of the options from 63 on, all at once. */
static uint64_t bit_of(uint32_t number)
{
    enum { OTHERS = 63 };
    return UINT64_C(1) << (number < OTHERS ? number : OTHERS);
}

bool coap_message_lacks(const struct coap_message *m, uint16_t number)
{
    return m->walked != NULL && m->walked == m->options.p && (m->present & bit_of(number)) == 0;
}

enum err coap_rd_body(struct rd *r, struct slice whole, unsigned token_nibble, size_t token_max,
                      struct coap_message *m)
{
    if (token_nibble > COAP_TOKEN_BYTES && token_max <= COAP_TOKEN_BYTES) {
        return ERR_MALFORMED; /* SPEC: RFC7252 3, RFC8974 2.2.2: no support looks like this */
    }
    uint32_t token_n = coap_rd_extended(r, token_nibble);
    m->token = rd_bytes(r, token_n);

    size_t start = r->at;
    uint32_t number = 0;
    struct coap_option ignored;
    while (rd_left(r) > 0 && rd_peek_u8(r) != PAYLOAD_MARKER) {
        (void)rd_option(r, &number, &ignored);
        m->present |= bit_of(number);
    }
    if (!rd_ok(r)) {
        return ERR_MALFORMED;
    }
    m->options = slice_from(slice_head(whole, r->at), start);
    m->walked = m->options.p;
    if (rd_left(r) == 1) {
        return ERR_MALFORMED; /* SPEC: RFC7252 3: a marker and nothing behind it */
    }
    if (rd_left(r) > 1) {
        (void)rd_u8(r);
        m->payload = rd_rest(r);
    }
    return token_n > token_max ? ERR_TOO_LARGE : OK;
}

enum err coap_message_decode(struct slice datagram, size_t token_max, struct coap_message *ret)
{
    struct rd r = rd_from(datagram);
    struct coap_message m = {0};
    unsigned token_nibble = 0;
    enum err e = rd_header(&r, &token_nibble, &m);
    if (e != OK) {
        return e == ERR_UNSUPPORTED ? ERR_MALFORMED : e;
    }
    if (coap_code_is_reserved(m.code)) {
        return ERR_MALFORMED; /* SPEC: RFC7252 4.2, 4.3 */
    }
    if (m.code == COAP_EMPTY && datagram.n != COAP_HEADER_BYTES) {
        return ERR_MALFORMED; /* SPEC: RFC7252 4.1 */
    }
    TRY(coap_rd_body(&r, datagram, token_nibble, token_max, &m));
    *ret = m;
    return OK;
}

enum err coap_body_check(const struct coap_message *m)
{
    if (m->token.n > COAP_TOKEN_LIMIT) {
        return ERR_TOO_LARGE;
    }
    struct coap_options it = coap_options_from(m->options);
    struct coap_option ignored;
    while (coap_options_next(&it, &ignored)) {
    }
    return coap_options_finish(&it);
}

void coap_wr_body(struct wr *w, const struct coap_message *m)
{
    coap_wr_extended(w, (uint32_t)m->token.n);
    wr_bytes(w, m->token);
    wr_bytes(w, m->options);
    if (m->payload.n > 0) {
        wr_u8(w, PAYLOAD_MARKER);
        wr_bytes(w, m->payload);
    }
}

enum err coap_message_encode(const struct coap_message *m, void *dst, size_t cap, size_t *ret_n)
{
    if (m->token.n <= COAP_TOKEN_LIMIT && m->code == COAP_EMPTY &&
        m->token.n + m->options.n + m->payload.n > 0) {
        return ERR_MALFORMED;
    }
    TRY(coap_body_check(m));
    struct wr w = wr_into(dst, cap);
    wr_u8(&w, (uint8_t)(1U << 6 | (unsigned)m->type << 4 | coap_nibble_of((uint32_t)m->token.n)));
    wr_u8(&w, m->code);
    wr_u16(&w, m->mid);
    coap_wr_body(&w, m);
    return wr_done(&w, ret_n);
}

struct coap_option_writer coap_option_writer_into(void *dst, size_t cap)
{
    return (struct coap_option_writer){.w = wr_into(dst, cap)};
}

void coap_option_add(struct coap_option_writer *o, uint16_t number, struct slice value)
{
    if (number < o->last) {
        wr_fail(&o->w, ERR_MALFORMED);
        return;
    }
    if (value.n > COAP_OPTION_VALUE_MAX) {
        wr_fail(&o->w, ERR_TOO_LARGE);
        return;
    }
    uint32_t delta = (uint32_t)(number - o->last);
    uint32_t length = (uint32_t)value.n;
    wr_u8(&o->w, (uint8_t)(coap_nibble_of(delta) << 4 | coap_nibble_of(length)));
    coap_wr_extended(&o->w, delta);
    coap_wr_extended(&o->w, length);
    wr_bytes(&o->w, value);
    o->last = number;
}

void coap_option_add_uint(struct coap_option_writer *o, uint16_t number, uint32_t value)
{
    uint8_t bytes[sizeof(value)];
    struct wr w = wr_into(bytes, sizeof(bytes));
    wr_u32(&w, value);
    size_t zeros = 0;
    while (zeros < sizeof(bytes) && bytes[zeros] == 0) {
        zeros++;
    }
    coap_option_add(o, number, slice_from(wr_slice(&w), zeros));
}

void coap_option_add_block(struct coap_option_writer *o, struct slice options)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option option;
    while (coap_options_next(&it, &option)) {
        coap_option_add(o, option.number, option.value);
    }
    if (coap_options_finish(&it) != OK) {
        wr_fail(&o->w, ERR_MALFORMED);
    }
}

void coap_option_add_merged(struct coap_option_writer *o, struct slice options, uint16_t number,
                            struct slice value)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option option;
    bool is_added = false;
    while (coap_options_next(&it, &option)) {
        if (!is_added && option.number >= number) {
            coap_option_add(o, number, value);
            is_added = true;
        }
        if (option.number != number) {
            coap_option_add(o, option.number, option.value);
        }
    }
    if (!is_added) {
        coap_option_add(o, number, value);
    }
    if (coap_options_finish(&it) != OK) {
        wr_fail(&o->w, ERR_MALFORMED);
    }
}

enum err coap_option_writer_done(const struct coap_option_writer *o, struct slice *ret)
{
    TRY(o->w.err);
    *ret = wr_slice(&o->w);
    return OK;
}
