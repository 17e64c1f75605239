#include "wire/coap/tcp.h"

#include "base/scope.h"
#include "wire/coap/message_private.h"

/* Values of Len that announce an extended length, and what that begins with. SPEC: RFC8323 3.2 */
enum { LEN_8BIT = 13, LEN_16BIT = 14, LEN_32BIT = 15, LEN_32BIT_BASE = 65805 };
enum { TKL_RESERVED = 15 };

const char *coap_signal_name(uint8_t code)
{
    switch (code) {
    case COAP_CSM:
        return "CSM";
    case COAP_PING:
        return "Ping";
    case COAP_PONG:
        return "Pong";
    case COAP_RELEASE:
        return "Release";
    case COAP_ABORT:
        return "Abort";
    default:
        return NULL;
    }
}

/* All before the token; the token nibble still has its extended length behind the code. */
struct head {
    uint64_t body_n; /* options and payload */
    unsigned token_nibble;
    uint8_t code;
};

static struct head rd_head(struct rd *r)
{
    uint8_t first = rd_u8(r);
    struct head h = {.token_nibble = first & 0x0F};
    unsigned len = first >> 4;
    h.body_n = len == LEN_32BIT ? (uint64_t)LEN_32BIT_BASE + rd_u32(r) : coap_rd_extended(r, len);
    h.code = rd_u8(r);
    return h;
}

enum err coap_tcp_size(struct slice bytes, uint64_t most, size_t *ret)
{
    struct rd r = rd_from(bytes);
    struct head h = rd_head(&r);
    if (bytes.n > 0 && h.token_nibble == TKL_RESERVED) {
        return ERR_MALFORMED; /* SPEC: RFC8974 2.1 */
    }
    if (!rd_ok(&r)) {
        /* A length that is whole is known before the code is there. */
        return h.body_n > most ? ERR_TOO_LARGE : ERR_AGAIN;
    }
    uint64_t n = h.body_n + r.at;
    if (n > most) {
        return ERR_TOO_LARGE;
    }
    uint32_t token_n = coap_rd_extended(&r, h.token_nibble);
    if (!rd_ok(&r)) {
        return ERR_AGAIN;
    }
    n = h.body_n + r.at + token_n;
    if (n > most) {
        return ERR_TOO_LARGE;
    }
    *ret = (size_t)n;
    return OK;
}

enum err coap_tcp_decode(struct slice message, enum coap_tcp_form form, size_t token_max,
                         struct coap_message *ret)
{
    struct rd r = rd_from(message);
    struct head h = rd_head(&r);
    struct coap_message m = {.type = COAP_CON, .code = h.code};
    if (!rd_ok(&r) || (form == COAP_TCP_FRAMED && h.body_n != 0)) {
        return ERR_MALFORMED; /* SPEC: RFC8323 4.2 */
    }
    if (coap_code_is_reserved(m.code) && !coap_code_is_signal(m.code)) {
        return ERR_MALFORMED;
    }
    size_t before = r.at;
    TRY(coap_rd_body(&r, message, h.token_nibble, token_max, &m));
    struct rd token = rd_from(slice_from(message, before));
    size_t token_n = coap_rd_extended(&token, h.token_nibble);
    if (form == COAP_TCP_STREAM && message.n != before + token.at + token_n + h.body_n) {
        return ERR_MALFORMED;
    }
    *ret = m;
    return OK;
}

static uint64_t body_bytes(const struct coap_message *m)
{
    return (uint64_t)m->options.n + (m->payload.n > 0 ? 1 + (uint64_t)m->payload.n : 0);
}

static size_t extended_bytes(unsigned nibble)
{
    static const uint8_t bytes[] = {[LEN_8BIT] = 1, [LEN_16BIT] = 2, [LEN_32BIT] = 4};
    return nibble < COUNT_OF(bytes) ? bytes[nibble] : 0;
}

static unsigned len_of(uint64_t body, enum coap_tcp_form form)
{
    if (form == COAP_TCP_FRAMED) {
        return 0;
    }
    return body >= LEN_32BIT_BASE ? LEN_32BIT : coap_nibble_of((uint32_t)body);
}

uint64_t coap_tcp_bytes(const struct coap_message *m, enum coap_tcp_form form)
{
    uint64_t body = body_bytes(m);
    unsigned token = coap_nibble_of((uint32_t)m->token.n);
    return 2 + extended_bytes(len_of(body, form)) + extended_bytes(token) + m->token.n + body;
}

enum err coap_tcp_encode(const struct coap_message *m, enum coap_tcp_form form, void *dst,
                         size_t cap, size_t *ret_n)
{
    uint64_t body = body_bytes(m);
    unsigned len = len_of(body, form);
    TRY(coap_body_check(m));
    if (body > (uint64_t)LEN_32BIT_BASE + UINT32_MAX) {
        return ERR_TOO_LARGE;
    }
    struct wr w = wr_into(dst, cap);
    wr_u8(&w, (uint8_t)(len << 4 | coap_nibble_of((uint32_t)m->token.n)));
    if (len == LEN_32BIT) {
        wr_u32(&w, (uint32_t)(body - LEN_32BIT_BASE));
    } else if (form == COAP_TCP_STREAM) {
        coap_wr_extended(&w, (uint32_t)body);
    }
    wr_u8(&w, m->code);
    coap_wr_body(&w, m);
    return wr_done(&w, ret_n);
}
