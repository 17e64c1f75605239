/* errand_bench_test - somebody who asks over MQTT 5, and devices that answer: what the tests of
 * commands stand on. */
#ifndef SERVICE_GATEWAY_ERRAND_BENCH_TEST_H
#define SERVICE_GATEWAY_ERRAND_BENCH_TEST_H

#include "service/gateway/door_bench_test.h"

#define REPLY "replies/desk/1"

struct order {
    const char *topic, *payload, *response, *correlation, *type, *query;
    uint32_t expiry_s;
    bool retain;
    uint8_t qos;
};

#define ORDER(t) .topic = (t), .response = REPLY, .correlation = "corr-7"

static inline void command(struct fortress *f, const struct order *o)
{
    uint8_t bytes[70000], user[512];
    struct wr w = wr_into(bytes, sizeof(bytes)), u = wr_into(user, sizeof(user));
    struct mqtt_publish p = {.topic = slice_text(o->topic),
                             .payload = slice_text(o->payload),
                             .qos = o->qos,
                             .packet_id = o->qos > 0 ? 5 : 0,
                             .retain = o->retain};
    if (o->response != NULL) {
        mqtt_props_set_text(&p.props, MQTT_PROP_RESPONSE_TOPIC, slice_text(o->response));
    }
    if (o->correlation != NULL) {
        mqtt_props_set_text(&p.props, MQTT_PROP_CORRELATION_DATA, slice_text(o->correlation));
    }
    if (o->type != NULL) {
        mqtt_props_set_text(&p.props, MQTT_PROP_CONTENT_TYPE, slice_text(o->type));
    }
    if (o->expiry_s > 0) {
        mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, o->expiry_s);
    }
    if (o->query != NULL) {
        mqtt_prop_write_user(&u, slice_text("coap-query"), slice_text(o->query));
        mqtt_props_set_repeated(&p.props, wr_slice(&u));
    }
    assert_int_equal(mqtt_publish_encode(&p, MQTT_V5, &w), OK);
    f->mqtt.n = 0;
    mqtt_send(f, &w);
}

static inline void ask(struct fortress *f, const char *topic)
{
    struct order o = {ORDER(topic)};
    command(f, &o);
}

/* Kept: the slices of what the door sent go with the next turn. */
struct asked {
    bool is_there;
    uint8_t type, code;
    uint16_t mid;
    size_t token_n, n;
    uint8_t token[32];
    char path[256], query[256], echo[64], payload[2048];
    uint32_t format, block1, block2;
};

static inline struct asked asked_at(struct fortress *f, unsigned worker, uint64_t id)
{
    struct coap_message m = next_sent(f, worker, id);
    struct asked a = {.is_there = m.type != COAP_RST, .type = (uint8_t)m.type, .code = m.code};
    if (!a.is_there) {
        return a;
    }
    a.mid = m.mid;
    a.token_n = m.token.n;
    slice_copy(a.token, m.token);
    a.n = m.payload.n;
    slice_copy(a.payload, m.payload);
    a.format = option_of(&m, COAP_OPTION_CONTENT_FORMAT);
    a.block1 = option_of(&m, COAP_OPTION_BLOCK1);
    a.block2 = option_of(&m, COAP_OPTION_BLOCK2);
    struct coap_options it = coap_options_from(m.options);
    struct coap_option o;
    size_t path_n = 0;
    while (coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_URI_PATH) {
            a.path[path_n++] = '/';
            slice_copy(a.path + path_n, o.value);
            path_n += o.value.n;
        } else if (o.number == COAP_OPTION_URI_QUERY) {
            slice_copy(a.query, o.value);
        } else if (o.number == COAP_OPTION_ECHO) {
            slice_copy(a.echo, o.value);
        }
    }
    return a;
}

struct said {
    enum coap_type type;
    uint8_t code;
    const char *payload;
    int format, block1, block2;
};

#define SAID(c) .type = COAP_ACK, .code = (c), .format = -1, .block1 = -1, .block2 = -1

static inline void say(struct fortress *f, unsigned worker, uint64_t id, const struct asked *a,
                       const struct said *s)
{
    uint8_t bytes[DATAGRAM], block[64];
    size_t n = 0;
    struct net_peer peer = peer_of(id);
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    add_optional(&o, COAP_OPTION_CONTENT_FORMAT, s->format);
    add_optional(&o, COAP_OPTION_BLOCK2, s->block2);
    add_optional(&o, COAP_OPTION_BLOCK1, s->block1);
    bool is_empty = s->code == COAP_EMPTY;
    struct coap_message m = {.type = s->type,
                             .code = s->code,
                             .mid = s->type == COAP_ACK || s->type == COAP_RST ? a->mid : ++f->mid,
                             .token = is_empty ? (struct slice){0} : slice_of(a->token, a->token_n),
                             .payload = slice_text(s->payload)};
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
    forget_sent(f);
    coap_door_datagram(f->doors[worker], &peer, slice_of(bytes, n), f->now_ms);
    turns(f);
}

static inline void ready(struct fortress *f)
{
    mqtt_open(f, "desk");
    mqtt_subscribe(f, "replies/desk/#");
    forget_sent(f);
}

static inline uint64_t sum(const struct fortress *f, size_t offset)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        const void *at = (const char *)&f->counters[i] + offset;
        n += atomic_load((const _Atomic uint64_t *)at);
    }
    return n;
}

#define SUM(f, field) sum((f), offsetof(struct counters, field))

/* The device is heard: a ping. */
static inline void shows_itself(struct fortress *f, unsigned worker, uint64_t id)
{
    struct said ping = {.type = COAP_CON, .code = COAP_EMPTY, .format = -1, -1, -1};
    struct asked none = {.mid = 0};
    say(f, worker, id, &none, &ping);
}

#endif
