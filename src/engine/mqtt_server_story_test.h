/* mqtt_server_story_test - an open connection, what is said on it and what comes of it, as text. */
#ifndef ENGINE_MQTT_SERVER_STORY_TEST_H
#define ENGINE_MQTT_SERVER_STORY_TEST_H

#include "engine/mqtt_server.h"
#include "engine/mqtt_talk_test.h"
#include "wire/mqtt/connack.h"

enum { PACKET_MAX = 512, RECEIVE_MAX = 3 };

struct talk {
    const char *name;
    enum mqtt_version version;
    const char *in;
    const char *events; /* "publish1 7 t; " and so on; a refusal ends it: "0x82!" */
    const char *out;    /* behind CONNACK; every ask is answered at once */
};

static inline struct mqtt_server *start_with(const struct mqtt_terms *terms)
{
    struct mqtt_connack connack = {.code = MQTT_SUCCESS};
    struct mqtt_server *e = NULL;
    uint8_t drain[64];
    assert_int_equal(mqtt_server_new(terms, &connack, 1000, &e), OK);
    assert_true(mqtt_server_has_output(e));
    assert_true(mqtt_server_output(e, drain, sizeof(drain)) > 0);
    assert_int_equal(drain[0], 0x20);
    return e;
}

/* talk_limits() for as long as the test runs. */
static inline const struct mqtt_wire_limits *lasting_limits(void)
{
    static struct mqtt_wire_limits limits;
    limits = talk_limits();
    return &limits;
}

static inline struct mqtt_terms terms_of(enum mqtt_version version)
{
    return (struct mqtt_terms){.version = version,
                               .packet_max = PACKET_MAX,
                               .client_packet_max = UINT32_MAX,
                               .receive_max = RECEIVE_MAX,
                               .client_receive_max = UINT16_MAX,
                               .keep_alive_s = 10,
                               .wire = lasting_limits()};
}

static inline struct mqtt_server *start(enum mqtt_version version)
{
    struct mqtt_terms terms = terms_of(version);
    return start_with(&terms);
}

static inline void note(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void note(char *text, const char *format, ...)
{
    size_t n = strlen(text);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text + n, TALK_TEXT - n, format, args);
    va_end(args);
}

static inline void note_event(char *text, const struct mqtt_event *ev)
{
    static const char *const acks[] = {[MQTT_EVENT_PUBACK] = "puback",
                                       [MQTT_EVENT_PUBREC] = "pubrec",
                                       [MQTT_EVENT_PUBREL] = "pubrel",
                                       [MQTT_EVENT_PUBCOMP] = "pubcomp"};
    switch (ev->kind) {
    case MQTT_EVENT_PUBLISH:
        note(text, "publish%u %u %.*s; ", ev->publish.qos, ev->publish.packet_id,
             SLICE_ARG(ev->publish.topic));
        break;
    case MQTT_EVENT_PUBACK:
    case MQTT_EVENT_PUBREC:
    case MQTT_EVENT_PUBREL:
    case MQTT_EVENT_PUBCOMP:
        note(text, "%s %u; ", acks[ev->kind], ev->ack.packet_id);
        break;
    case MQTT_EVENT_SUBSCRIBE:
        note(text, "subscribe %u of %zu; ", ev->subscribe.packet_id, ev->subscribe.n_filters);
        break;
    case MQTT_EVENT_UNSUBSCRIBE:
        note(text, "unsubscribe %u of %zu; ", ev->unsubscribe.packet_id, ev->unsubscribe.n_filters);
        break;
    case MQTT_EVENT_DISCONNECT:
        note(text, "disconnect %02x; ", ev->disconnect.reason);
        break;
    case MQTT_EVENT_AUTH:
        note(text, "auth %02x; ", ev->auth.reason);
        break;
    }
}

/* Takes what is whole at the front of *in; answers every ask at once. */
static inline void take_all(struct mqtt_server *e, struct slice *in, char *text)
{
    struct mqtt_event ev;
    struct mqtt_fault fault = {0};
    enum err err;
    while ((err = mqtt_server_next(e, in, 1000, &fault, &ev)) == OK) {
        note_event(text, &ev);
        if (ev.ask != 0) {
            mqtt_server_answer(e, ev.ask, MQTT_SUCCESS);
        }
    }
    if (err != ERR_AGAIN) {
        note(text, "0x%02x!", fault.reason);
        assert_true(mqtt_server_is_closing(e));
    }
}

static inline enum err give(struct mqtt_server *e, const char *packet, struct mqtt_event *ret)
{
    uint8_t bytes[TALK_MAX];
    struct slice in = slice_of(bytes, talk_bytes(packet, bytes));
    struct mqtt_fault fault = {0};
    enum err err = mqtt_server_next(e, &in, 1000, &fault, ret);
    return err;
}

static inline uint32_t ask_of(struct mqtt_server *e, const char *packet)
{
    struct mqtt_event ev = {0};
    assert_int_equal(give(e, packet, &ev), OK);
    assert_true(ev.ask != 0);
    return ev.ask;
}

static inline void expect(struct mqtt_server *e, const char *want)
{
    uint8_t out[TALK_MAX];
    size_t n = mqtt_server_output(e, out, sizeof(out));
    talk_is("output", slice_of(out, n), want);
}

#endif
