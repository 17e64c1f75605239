/* How answers look: codes, options, and what a message is in CoAP's terms. */
#include "service/gateway/door_private.h"
#include "wire/mqtt/props.h"

/* ---- sending ---- */

static enum err respond(const struct asker *asker, const struct coap_answer *answer)
{
    struct association *a = asker->a;
    return coap_endpoint_respond(a->endpoint, asker->exchange, answer, a->door->now_ms);
}

static uint8_t answer_too_large(const struct asker *asker, size_t bytes)
{
    char text[80];
    int n = snprintf(text, sizeof(text), "%zu bytes do not fit one datagram; blocks are not there",
                     bytes);
    struct coap_answer answer = {.code = COAP_NOT_IMPLEMENTED,
                                 .payload = slice_of(text, (size_t)n)};
    return respond(asker, &answer) == OK ? answer.code : 0;
}

uint8_t answer_send(const struct asker *asker, const struct coap_answer *answer)
{
    struct association *a = asker->a;
    if (coap_is_unwanted(asker->quiet, answer->code)) {
        enum err err = coap_endpoint_drop(a->endpoint, asker->exchange, a->door->now_ms);
        (void)err; /* without memory it ends by itself, later */
        return 0;
    }
    enum err err = respond(asker, answer);
    if (err == ERR_TOO_LARGE) {
        struct event e = association_event(a, EVENT_quota);
        event_reason(&e,
                     "a value of %zu bytes was asked for that does not fit one CoAP datagram: "
                     "answered 5.01. Publish smaller values for constrained readers, or let it "
                     "read by MQTT",
                     answer->payload.n);
        door_report(a->door, &e);
        return answer_too_large(asker, answer->payload.n);
    }
    return err == OK ? answer->code : 0;
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

void value_of(const struct coap_door *d, const struct msg *m, struct value *ret)
{
    struct coap_option_writer o = coap_option_writer_into(ret->options, sizeof(ret->options));
    ret->answer = (struct coap_answer){.code = COAP_CONTENT};
    if (m == NULL) {
        return;
    }
    uint16_t format = value_format(m);
    uint8_t etag[ETAG_BYTES];
    if (m->number != 0) {
        value_etag(d, m, etag);
        coap_option_add(&o, COAP_OPTION_ETAG, slice_of(etag, sizeof(etag)));
    }
    if (format != UINT16_MAX && m->payload.n > 0) {
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
    ret->answer.payload = m->payload;
}
