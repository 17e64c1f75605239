/* oscore_device_test - the client of a pair (oscore_pair_test.h) where it is asked by the server.
 */
#ifndef NET_OSCORE_DEVICE_TEST_H
#define NET_OSCORE_DEVICE_TEST_H

#include "net/oscore_pair_test.h"

/* A request of the server's as the device has it. */
struct taken {
    struct coap_message outer, inner;
    struct coap_oscore option;
    struct oscore_binding binding;
    uint8_t bytes[2048], room[OSCORE_MESSAGE_MAX];
};

static inline void take(struct pair *p, struct taken *ret)
{
    struct slice value;
    struct oscore_peer device = {&p->keys, p->ccm};
    memcpy(ret->bytes, p->out, p->out_n);
    struct slice bytes = slice_of(ret->bytes, p->out_n);
    enum err err = coap_message_decode(bytes, COAP_ENDPOINT_TOKEN_MAX, &ret->outer);
    assert(err == OK);
    assert(ret->outer.code == COAP_POST); /* SPEC: RFC8613 4.2 */
    bool is_sealed = coap_options_find(ret->outer.options, COAP_OPTION_OSCORE, &value);
    assert(is_sealed);
    err = coap_oscore_decode(value, &ret->option);
    assert(err == OK);
    assert(ret->option.has_piv && ret->option.has_kid);
    assert(slice_equal(ret->option.kid, oscore_id_slice(&p->keys.recipient)));
    err = oscore_request_open(&device, &ret->outer, &ret->option, ret->room, &ret->inner,
                              &ret->binding);
    assert(err == OK);
}

/* The device's answer as it travels, with this code and these options. piv NULL: the nonce of the
 * request. */
static inline struct slice answer_with(struct pair *p, const struct taken *t, enum coap_type type,
                                       const uint64_t *piv, uint8_t code, struct slice options,
                                       uint8_t dst[2048])
{
    uint8_t room[OSCORE_MESSAGE_MAX];
    size_t n = 0;
    struct oscore_peer device = {&p->keys, p->ccm};
    struct coap_message plain = {.type = type,
                                 .code = code,
                                 .options = options,
                                 .mid = type == COAP_ACK ? t->outer.mid : 0x7007,
                                 .token = t->outer.token,
                                 .payload = slice_text("done")};
    struct coap_message sealed;
    enum err err = oscore_response_protect(&device, &t->binding, piv, &plain, room, &sealed);
    err = err == OK ? coap_message_encode(&sealed, dst, 2048, &n) : err;
    assert(err == OK);
    return slice_of(dst, n);
}

static inline struct slice answer(struct pair *p, const struct taken *t, enum coap_type type,
                                  const uint64_t *piv, uint8_t dst[2048])
{
    return answer_with(p, t, type, piv, COAP_CHANGED, (struct slice){0}, dst);
}

#endif
