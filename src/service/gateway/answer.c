/* How answers look: codes, options, and what a message is in CoAP's terms. */
#include "service/gateway/door_private.h"
#include "wire/mqtt/props.h"

/* ---- sending ---- */

/* One number among the options: copies them into dst. */
static enum err add_number(struct slice *options, uint16_t number, uint32_t value, uint8_t *dst,
                           size_t cap)
{
    uint8_t bytes[8];
    struct slice block;
    struct coap_option_writer one = coap_option_writer_into(bytes, sizeof(bytes));
    struct coap_option_writer o = coap_option_writer_into(dst, cap);
    struct coap_option added;
    coap_option_add_uint(&one, number, value);
    TRY(coap_option_writer_done(&one, &block));
    struct coap_options it = coap_options_from(block);
    if (coap_options_next(&it, &added)) {
        coap_option_add_merged(&o, *options, number, added.value);
    }
    return coap_option_writer_done(&o, options);
}

/* A smaller size than was wanted, where what was wanted does not go out at once. SPEC: RFC7959 2.4
 */
static struct coap_block fit(const struct association *a, struct coap_block want)
{
    struct coap_block b = want;
    uint8_t szx = talk_szx_max(a);
    if (want.szx > szx && coap_block_at(coap_block_offset(want), szx, want.has_more, &b) != OK) {
        return want; /* so far behind nothing is */
    }
    return b;
}

enum err answer_cut(const struct association *a, const struct coap_answer *whole,
                    struct coap_block want, bool is_wanted, struct cut *ret)
{
    uint8_t options[sizeof(ret->options)];
    struct coap_block block;
    ret->answer = *whole;
    bool is_value = whole->code == COAP_CONTENT ||
                    (whole->code == COAP_CHANGED && whole->payload.n > 0); /* SPEC: RFC7959 3.3 */
    if (!is_value || (!is_wanted && whole->payload.n <= talk_whole_max(a))) {
        return OK;
    }
    TRY(coap_block_cut(whole->payload, fit(a, want), &block, &ret->answer.payload));
    bool tells_size = block.number == 0 && block.has_more; /* SPEC: RFC7959 4 */
    TRY(add_number(&ret->answer.options, COAP_OPTION_BLOCK2, coap_block_value(block),
                   tells_size ? options : ret->options, sizeof(options)));
    return tells_size ? add_number(&ret->answer.options, COAP_OPTION_SIZE2,
                                   (uint32_t)whole->payload.n, ret->options, sizeof(ret->options))
                      : OK;
}

static void report_no_block(const struct asker *asker, size_t bytes)
{
    struct association *a = asker->a;
    struct event e = association_event(a, EVENT_protocol_error);
    event_reason(&e, "block %u of a value of %zu bytes was asked for: it was refused with 4.00",
                 (unsigned)asker->block2.number, bytes);
    count_add(&a->door->setup.counters->refused_limit, 1);
    door_report(a->door, &e);
}

/* Sends the block that was asked for, and says which block of the request this answers. Gives the
 * code that was sent. */
static uint8_t respond(const struct asker *asker, const struct coap_answer *whole)
{
    struct association *a = asker->a;
    struct coap_block want = {.szx = COAP_BLOCK_SZX_MAX};
    struct cut cut;
    uint8_t options[sizeof(cut.options) + 8];
    want = asker->has_block2 ? asker->block2 : want;
    enum err err = answer_cut(a, whole, want, asker->has_block2, &cut);
    if (err == ERR_NOT_FOUND) {
        cut.answer = (struct coap_answer){.code = COAP_BAD_REQUEST,
                                          .payload = slice_text("no such block: it ends before")};
        report_no_block(asker, whole->payload.n);
        err = OK;
    }
    if (err == OK && asker->has_block1) {
        struct coap_block ack = asker->block1;
        ack.has_more = cut.answer.code == COAP_CONTINUE; /* SPEC: RFC7959 2.3 */
        ack.szx = asker->is_bert ? COAP_BLOCK_SZX_BERT : ack.szx;
        err = add_number(&cut.answer.options, COAP_OPTION_BLOCK1, coap_block_value(ack), options,
                         sizeof(options));
    }
    if (err == OK) {
        err = talk_respond(a, asker->exchange, &cut.answer);
    }
    return err == OK ? cut.answer.code : 0;
}

uint8_t answer_send(const struct asker *asker, const struct coap_answer *answer)
{
    struct association *a = asker->a;
    /* Without 2.31 nobody would send the next block. */
    if (answer->code != COAP_CONTINUE && coap_is_unwanted(asker->quiet, answer->code)) {
        enum err err = talk_drop(a, asker->exchange);
        (void)err; /* without memory it ends by itself, later */
        return 0;
    }
    return respond(asker, answer);
}

uint8_t answer_text(const struct asker *asker, uint8_t code, const char *text)
{
    struct coap_answer answer = {.code = code, .payload = slice_text(text)};
    return answer_send(asker, &answer);
}

uint8_t answer_number(const struct asker *asker, uint8_t code, const char *text, uint16_t option,
                      uint32_t number)
{
    uint8_t block[16];
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct coap_answer answer = {.code = code, .payload = slice_text(text)};
    coap_option_add_uint(&o, option, number);
    if (coap_option_writer_done(&o, &answer.options) != OK) {
        answer.options = (struct slice){0};
    }
    return answer_send(asker, &answer);
}

/* ---- messages ---- */

/* The content type that an MQTT publisher gave; empty when it gave none. */
static struct slice content_type(const struct msg *m)
{
    struct mqtt_props_iter it = mqtt_props_each(m->props);
    struct mqtt_prop prop;
    while (mqtt_props_next(&it, &prop)) {
        if (prop.id == MQTT_PROP_CONTENT_TYPE) {
            return prop.text;
        }
    }
    return (struct slice){0};
}

uint16_t value_format(const struct msg *m)
{
    uint16_t format = m->content_format;
    if (format == UINT16_MAX) {
        struct slice type = content_type(m);
        if (type.n > 0 && coap_format_find(type, &format) == OK) {
            return format;
        }
        format = m->is_utf8 ? COAP_FORMAT_TEXT : UINT16_MAX;
    }
    return format;
}

struct slice value_props(uint16_t format, bool is_utf8, uint8_t *dst, size_t cap)
{
    struct wr w = wr_into(dst, cap);
    const char *name = format != UINT16_MAX ? coap_format_name(format) : NULL;
    if (is_utf8) {
        mqtt_prop_write_number(&w, MQTT_PROP_PAYLOAD_FORMAT, 1);
    }
    if (name != NULL) {
        mqtt_prop_write_text(&w, MQTT_PROP_CONTENT_TYPE, slice_text(name));
    }
    return wr_slice(&w);
}

void value_etag(const struct coap_door *d, const struct msg *m, uint8_t ret[ETAG_BYTES])
{
    /* Numbers begin anew with the process, its key is another: an old ETag never fits a new value.
     */
    struct wr w = wr_into(ret, ETAG_BYTES);
    wr_u64(&w, siphash(&d->setup.key, slice_of(&m->number, sizeof(m->number))));
}

/* What says which version it is, and for how long that is so. */
static void write_version(const struct coap_door *d, const struct msg *m, const uint8_t *etag,
                          uint16_t format, struct value *ret)
{
    struct coap_option_writer o = coap_option_writer_into(ret->options, sizeof(ret->options));
    if (etag != NULL) {
        coap_option_add(&o, COAP_OPTION_ETAG, slice_of(etag, ETAG_BYTES));
    }
    if (format != UINT16_MAX) {
        coap_option_add_uint(&o, COAP_OPTION_CONTENT_FORMAT, format);
    }
    if (m->expires_at_ms != UINT64_MAX) {
        uint64_t left_s = m->expires_at_ms > d->now_ms ? (m->expires_at_ms - d->now_ms) / 1000 : 0;
        uint32_t age = left_s < UINT32_MAX ? (uint32_t)left_s : UINT32_MAX;
        coap_option_add_uint(&o, COAP_OPTION_MAX_AGE, age);
    }
    if (coap_option_writer_done(&o, &ret->answer.options) != OK) {
        ret->answer.options = (struct slice){0}; /* they fit: 48 bytes are more than their sum */
    }
}

void value_of(const struct coap_door *d, const struct msg *m, const uint8_t *etag,
              struct value *ret)
{
    uint8_t own[ETAG_BYTES];
    ret->answer = (struct coap_answer){.code = COAP_CONTENT};
    if (m == NULL) {
        return;
    }
    if (etag == NULL && m->number != 0) {
        value_etag(d, m, own);
        etag = own;
    }
    write_version(d, m, etag, m->payload.n > 0 ? value_format(m) : UINT16_MAX, ret);
    ret->answer.payload = m->payload;
}

void value_valid(const struct coap_door *d, const struct msg *m, const uint8_t etag[ETAG_BYTES],
                 struct value *ret)
{
    ret->answer = (struct coap_answer){.code = COAP_VALID};
    write_version(d, m, etag, UINT16_MAX, ret);
}

void value_part(const struct coap_door *d, const struct msg *m, const uint8_t etag[ETAG_BYTES],
                uint16_t format, struct slice part, struct value *ret)
{
    ret->answer = (struct coap_answer){.code = COAP_CONTENT};
    write_version(d, m, etag, format, ret);
    ret->answer.payload = part;
}
