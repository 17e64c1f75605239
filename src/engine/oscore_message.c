#include "engine/oscore_message.h"

#include <assert.h>

#include "base/mem.h"

/* What each option is to OSCORE. SPEC: RFC8613 4.1, RFC8768 6, RFC9175 2.2.1, 3.3 */
static bool is_outer(uint16_t number)
{
    switch (number) {
    case COAP_OPTION_URI_HOST:
    case COAP_OPTION_URI_PORT:
    case COAP_OPTION_PROXY_URI:
    case COAP_OPTION_PROXY_SCHEME:
    case COAP_OPTION_HOP_LIMIT:
        return true;
    default:
        return false;
    }
}

/* ---- sealing ---- */

/* The options of a block that travel inside, and of them Observe as it shall be: in an answer it
 * has no value. */
static void write_inner(struct coap_option_writer *w, struct slice options, bool is_answer)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        bool is_emptied = is_answer && o.number == COAP_OPTION_OBSERVE;
        if (!is_outer(o.number) && o.number != COAP_OPTION_OSCORE) {
            coap_option_add(w, o.number, is_emptied ? (struct slice){0} : o.value);
        }
    }
}

/* Code, options and payload as one text. */
static enum err write_plain(const struct coap_message *plain, bool is_answer, uint8_t *dst,
                            size_t cap, struct slice *ret)
{
    struct slice block;
    if (cap < 1) {
        return ERR_TOO_LARGE;
    }
    struct coap_option_writer inner = coap_option_writer_into(dst + 1, cap - 1);
    write_inner(&inner, plain->options, is_answer);
    TRY(coap_option_writer_done(&inner, &block));
    dst[0] = plain->code;
    struct wr w = wr_into(dst + 1 + block.n, cap - 1 - block.n);
    if (plain->payload.n > 0) {
        wr_u8(&w, 0xFF);
        wr_bytes(&w, plain->payload);
    }
    *ret = slice_of(dst, 1 + block.n + w.at);
    return w.err;
}

static struct slice written_option(const struct coap_oscore *o, uint8_t *dst, size_t cap)
{
    struct wr w = wr_into(dst, cap);
    coap_oscore_encode(o, &w);
    return wr_slice(&w);
}

/* What stays readable, with the OSCORE option in its place. Observe is in both. */
static void write_outer(struct coap_option_writer *w, struct slice options, struct slice oscore)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    bool is_written = false;
    while (coap_options_next(&it, &o)) {
        if (!is_written && o.number > COAP_OPTION_OSCORE) {
            coap_option_add(w, COAP_OPTION_OSCORE, oscore);
            is_written = true;
        }
        if (is_outer(o.number) || o.number == COAP_OPTION_OBSERVE) {
            coap_option_add(w, o.number, o.value);
        }
    }
    if (!is_written) {
        coap_option_add(w, COAP_OPTION_OSCORE, oscore);
    }
}

/* Everything but the code; `room` holds options, then the text, which is sealed in its place: no
 * copy of it is left anywhere. */
static enum err seal(const struct oscore_peer *p, const struct oscore_binding *b,
                     const uint8_t nonce[CCM_NONCE_BYTES], const struct coap_oscore *header,
                     const struct coap_message *plain, uint8_t room[OSCORE_MESSAGE_MAX],
                     struct coap_message *ret)
{
    uint8_t option[COAP_OSCORE_OPTION_MAX], aad[OSCORE_AAD_MAX];
    struct slice inner = {0};
    struct coap_message m = *plain;
    struct slice value = written_option(header, option, sizeof(option));
    struct coap_option_writer o = coap_option_writer_into(room, OSCORE_MESSAGE_MAX);
    write_outer(&o, plain->options, value);
    enum err err = coap_option_writer_done(&o, &m.options);
    if (err == OK && m.options.n + CCM_TAG_BYTES > OSCORE_MESSAGE_MAX) {
        err = ERR_TOO_LARGE;
    }
    size_t at = err == OK ? m.options.n : 0;
    uint8_t *text = room + at;
    size_t cap = OSCORE_MESSAGE_MAX - CCM_TAG_BYTES - at;
    if (err == OK) {
        err = write_plain(plain, !coap_code_is_request(plain->code), text, cap, &inner);
    }
    if (err == OK) {
        err = ccm_seal(p->ccm, p->keys->sender_key, nonce, oscore_aad(b, aad), inner, text);
    }
    if (err != OK) {
        mem_wipe(room, OSCORE_MESSAGE_MAX);
        return err == ERR_SPACE ? ERR_TOO_LARGE : err;
    }
    m.payload = slice_of(text, inner.n + CCM_TAG_BYTES);
    *ret = m;
    return OK;
}

static bool has_observe(struct slice options)
{
    struct slice value;
    return coap_options_find(options, COAP_OPTION_OBSERVE, &value);
}

enum err oscore_request_protect(const struct oscore_peer *p, const struct oscore_outgoing *how,
                                const struct coap_message *plain, uint8_t room[OSCORE_MESSAGE_MAX],
                                struct coap_message *ret, struct oscore_binding *ret_binding)
{
    uint8_t nonce[CCM_NONCE_BYTES];
    struct oscore_binding b = {.piv = how->piv, .kid = p->keys->sender};
    struct coap_oscore header = {.has_piv = true,
                                 .piv = how->piv,
                                 .has_kid = true,
                                 .kid = oscore_id_slice(&p->keys->sender),
                                 .has_kid_context = how->has_kid_context,
                                 .kid_context = how->kid_context};
    if (how->piv > COAP_OSCORE_PIV_MAX || how->kid_context.n > OSCORE_ID_CONTEXT_MAX) {
        return ERR_TOO_LARGE;
    }
    if (!coap_code_is_request(plain->code)) {
        return ERR_MALFORMED;
    }
    oscore_nonce(p->keys, &p->keys->sender, how->piv, nonce);
    TRY(seal(p, &b, nonce, &header, plain, room, ret));
    /* SPEC: RFC8613 4.2 */
    ret->code = has_observe(plain->options) ? COAP_FETCH : COAP_POST;
    *ret_binding = b;
    return OK;
}

enum err oscore_response_protect(const struct oscore_peer *p, const struct oscore_binding *b,
                                 const uint64_t *piv, const struct coap_message *plain,
                                 uint8_t room[OSCORE_MESSAGE_MAX], struct coap_message *ret)
{
    uint8_t nonce[CCM_NONCE_BYTES];
    struct coap_oscore header = {.has_piv = piv != NULL, .piv = piv != NULL ? *piv : 0};
    if (header.piv > COAP_OSCORE_PIV_MAX) {
        return ERR_TOO_LARGE;
    }
    if (!coap_code_is_response(plain->code)) {
        return ERR_MALFORMED;
    }
    if (piv != NULL) {
        oscore_nonce(p->keys, &p->keys->sender, *piv, nonce);
    } else {
        oscore_nonce(p->keys, &b->kid, b->piv, nonce);
    }
    TRY(seal(p, b, nonce, &header, plain, room, ret));
    ret->code = has_observe(plain->options) ? COAP_CONTENT : COAP_CHANGED; /* SPEC: RFC8613 4.2 */
    return OK;
}

enum err oscore_renewal_protect(const struct oscore_peer *p, const struct oscore_binding *b,
                                struct slice kid_context, const struct coap_message *plain,
                                uint8_t room[OSCORE_MESSAGE_MAX], struct coap_message *ret)
{
    uint8_t nonce[CCM_NONCE_BYTES];
    struct coap_oscore header = {.has_kid_context = true, .kid_context = kid_context};
    if (kid_context.n > OSCORE_ID_CONTEXT_MAX) {
        return ERR_TOO_LARGE;
    }
    oscore_nonce(p->keys, &b->kid, b->piv, nonce);
    TRY(seal(p, b, nonce, &header, plain, room, ret));
    ret->code = COAP_CHANGED;
    return OK;
}

/* ---- opening ---- */

/* In front of what is opened there is room for a header and a token, so that it is a message. */
enum { HEAD_BYTES = COAP_HEADER_BYTES + OSCORE_NAME_BYTES };

static void write_head(uint8_t *room, enum coap_type type, uint8_t code, uint16_t mid,
                       uint64_t name)
{
    enum { VERSION_1 = 0x40, TYPE_SHIFT = 4 };
    struct wr w = wr_into(room, HEAD_BYTES);
    wr_u8(&w, (uint8_t)(VERSION_1 | (unsigned)type << TYPE_SHIFT | OSCORE_NAME_BYTES));
    wr_u8(&w, code);
    wr_u16(&w, mid);
    wr_u64(&w, name);
    assert(wr_ok(&w) && w.at == HEAD_BYTES);
}

/* Decrypts into `room` so that a head in front makes a whole message of it, and reads that. */
static enum err open_text(const struct oscore_peer *p, const struct oscore_binding *b,
                          const uint8_t nonce[CCM_NONCE_BYTES], struct slice sealed,
                          uint8_t room[OSCORE_MESSAGE_MAX], struct coap_message *ret)
{
    enum { CODE_AT = HEAD_BYTES - 1 };
    uint8_t aad[OSCORE_AAD_MAX];
    if (sealed.n > OSCORE_MESSAGE_MAX - HEAD_BYTES) {
        return ERR_TOO_LARGE;
    }
    TRY(ccm_open(p->ccm, p->keys->recipient_key, nonce, oscore_aad(b, aad), sealed,
                 room + CODE_AT));
    write_head(room, COAP_CON, room[CODE_AT], 0, 0);
    size_t n = CODE_AT + sealed.n - CCM_TAG_BYTES;
    enum err err = coap_message_decode(slice_of(room, n), OSCORE_NAME_BYTES, ret);
    return err == OK || err == ERR_NOMEM ? err : ERR_MALFORMED;
}

static void add_observe(struct coap_option_writer *w, uint16_t number, struct slice value,
                        const uint32_t *observe)
{
    if (number == COAP_OPTION_OBSERVE && observe != NULL) {
        coap_option_add_uint(w, number, *observe);
    } else {
        coap_option_add(w, number, value);
    }
}

/* The inner options, and of the outer ones those that are for intermediaries, in order. */
static enum err merge(struct slice outer, struct slice inner, const uint32_t *observe,
                      struct coap_option_writer *w)
{
    struct coap_options a = coap_options_from(outer), b = coap_options_from(inner);
    struct coap_option from_outer, from_inner;
    bool more_outer = coap_options_next(&a, &from_outer);
    bool more_inner = coap_options_next(&b, &from_inner);
    while (more_outer || more_inner) {
        if (more_outer && (!more_inner || from_outer.number <= from_inner.number)) {
            if (is_outer(from_outer.number)) {
                coap_option_add(w, from_outer.number, from_outer.value);
            }
            more_outer = coap_options_next(&a, &from_outer);
        } else {
            add_observe(w, from_inner.number, from_inner.value, observe);
            more_inner = coap_options_next(&b, &from_inner);
        }
    }
    TRY(coap_options_finish(&a));
    return coap_options_finish(&b);
}

static bool needs_merge(struct slice outer)
{
    struct coap_options it = coap_options_from(outer);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        if (is_outer(o.number)) {
            return true;
        }
    }
    return false;
}

/* Puts the merged options in front of the payload, behind the head, all within `room`. */
static enum err rebuild(struct slice outer, const uint32_t *observe,
                        uint8_t room[OSCORE_MESSAGE_MAX], struct coap_message *inner)
{
    uint8_t bytes[OSCORE_MESSAGE_MAX];
    struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
    struct slice merged = {0};
    TRY(merge(outer, inner->options, observe, &o));
    enum err err = coap_option_writer_done(&o, &merged);
    size_t marker_n = inner->payload.n > 0 ? 1 : 0;
    if (err == OK && HEAD_BYTES + merged.n + marker_n + inner->payload.n > OSCORE_MESSAGE_MAX) {
        err = ERR_TOO_LARGE;
    }
    if (err == OK) {
        struct slice payload = inner->payload;
        uint8_t *at = room + HEAD_BYTES + merged.n;
        memmove(at + marker_n, payload.p != NULL ? payload.p : at, payload.n);
        if (marker_n > 0) {
            *at = 0xFF;
        }
        slice_copy(room + HEAD_BYTES, merged);
        inner->options = slice_of(room + HEAD_BYTES, merged.n);
        inner->payload = slice_of(at + marker_n, payload.n);
    }
    mem_wipe(bytes, sizeof(bytes));
    return err == ERR_SPACE ? ERR_TOO_LARGE : err;
}

static void set_header(struct coap_message *inner, const struct coap_message *outer)
{
    inner->type = outer->type;
    inner->mid = outer->mid;
    inner->token = outer->token;
}

enum err oscore_request_open(const struct oscore_peer *p, const struct coap_message *outer,
                             const struct coap_oscore *o, uint8_t room[OSCORE_MESSAGE_MAX],
                             struct coap_message *ret, struct oscore_binding *ret_binding)
{
    uint8_t nonce[CCM_NONCE_BYTES];
    struct coap_message inner = {0};
    struct oscore_binding b = {.piv = o->piv, .kid = p->keys->recipient};
    oscore_nonce(p->keys, &p->keys->recipient, o->piv, nonce);
    TRY(open_text(p, &b, nonce, outer->payload, room, &inner));
    if (!coap_code_is_request(inner.code)) {
        return ERR_MALFORMED;
    }
    if (needs_merge(outer->options)) {
        TRY(rebuild(outer->options, NULL, room, &inner));
    }
    set_header(&inner, outer);
    *ret = inner;
    *ret_binding = b;
    return OK;
}

struct slice oscore_request_named(uint8_t room[OSCORE_MESSAGE_MAX],
                                  const struct coap_message *inner, uint16_t mid, uint64_t name)
{
    size_t payload_n = inner->payload.n > 0 ? 1 + inner->payload.n : 0;
    write_head(room, inner->type, inner->code, mid, name);
    return slice_of(room, HEAD_BYTES + inner->options.n + payload_n);
}

enum err oscore_response_open(const struct oscore_peer *p, const struct oscore_binding *b,
                              const struct coap_message *outer, const struct coap_oscore *o,
                              uint8_t room[OSCORE_MESSAGE_MAX], struct coap_message *ret)
{
    uint8_t nonce[CCM_NONCE_BYTES];
    struct coap_message inner = {0};
    uint32_t observe = (uint32_t)(o->piv & 0xFFFFFF);
    if (o->has_piv) {
        oscore_nonce(p->keys, &p->keys->recipient, o->piv, nonce);
    } else {
        oscore_nonce(p->keys, &b->kid, b->piv, nonce);
    }
    TRY(open_text(p, b, nonce, outer->payload, room, &inner));
    if (!coap_code_is_response(inner.code)) {
        return ERR_MALFORMED;
    }
    if (has_observe(inner.options)) {
        TRY(rebuild((struct slice){0}, &observe, room, &inner));
    }
    set_header(&inner, outer);
    *ret = inner;
    return OK;
}
