#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/mqtt_client.h"
#include "wire/mqtt/subscribe.h"

/* ---- a script: what the server says, which events that gives, what must leave ---- */

enum { OUT_BYTES = 4096, LOG_BYTES = 4096 };

struct script {
    const char *name;
    enum mqtt_version version;
    uint8_t qos;        /* of the messages sent after CONNACK */
    unsigned n_sent;    /* so many */
    unsigned n_filters; /* of one subscription after CONNACK; 0: none */
    bool retain;        /* of the messages sent */
    bool accept;        /* accept what comes */
    const char *in;     /* hex */
    const char *events;
    const char *out; /* hex, behind the CONNECT */
};

static size_t from_hex(const char *hex, uint8_t *dst)
{
    size_t n = 0;
    for (const char *at = hex; *at != '\0';) {
        if (*at == ' ') {
            at++;
            continue;
        }
        char pair[3] = {at[0], at[1], '\0'};
        dst[n++] = (uint8_t)strtoul(pair, NULL, 16);
        at += 2;
    }
    return n;
}

static void to_hex(const uint8_t *p, size_t n, char *dst, size_t cap)
{
    dst[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(dst);
        (void)snprintf(dst + at, cap - at, "%02x", p[i]);
    }
}

__attribute__((format(printf, 2, 3))) static void note(char log[LOG_BYTES], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t at = strlen(log);
    (void)vsnprintf(log + at, LOG_BYTES - at, format, args);
    va_end(args);
}

static enum err make(enum mqtt_version version, struct mqtt_client **ret)
{
    struct mqtt_client_setup setup = {.connect = {.version = version,
                                                  .clean_start = true,
                                                  .keep_alive_s = 10,
                                                  .client_id = slice_text("c")},
                                      .packet_max = 1000,
                                      .output_max = 2000,
                                      .answer_ms = 5000,
                                      .receive_max = 2,
                                      .window = 3};
    return mqtt_client_new(&setup, 1000, ret);
}

static enum err on_open(const struct script *s, struct mqtt_client *e, char log[LOG_BYTES])
{
    uint16_t id;
    for (unsigned i = 0; i < s->n_sent; i++) {
        struct mqtt_publish m = {.topic = slice_text("t"),
                                 .payload = slice_text("p"),
                                 .qos = s->qos,
                                 .retain = s->retain};
        enum err err = mqtt_client_publish(e, &m, 1000, &id);
        if (err == ERR_NOMEM) {
            return err;
        }
        if (err == OK) {
            note(log, "sent %d;", id);
        } else {
            note(log, "not sent: %s;", err_name(err));
        }
    }
    if (s->n_filters > 0) {
        uint8_t list[64];
        struct wr w = wr_into(list, sizeof(list));
        for (unsigned i = 0; i < s->n_filters; i++) {
            struct mqtt_subscription o = {.whole = slice_text("f"), .qos = 1};
            mqtt_subscription_write(&w, &o, s->version);
        }
        TRY(mqtt_client_subscribe(e, wr_slice(&w), s->n_filters, NULL, 1000, &id));
        note(log, "asked %d;", id);
    }
    return OK;
}

static enum err on_event(const struct script *s, struct mqtt_client *e,
                         const struct mqtt_client_event *ev, char log[LOG_BYTES])
{
    switch (ev->kind) {
    case MQTT_CLIENT_CONNACK:
        note(log, "connack %d;", ev->connack.code);
        return ev->connack.code == 0 ? on_open(s, e, log) : OK;
    case MQTT_CLIENT_PUBLISH:
        note(log, "message %.*s=%.*s;", SLICE_ARG(ev->publish.topic),
             SLICE_ARG(ev->publish.payload));
        return s->accept ? mqtt_client_accept(e, &ev->publish, 1000) : OK;
    case MQTT_CLIENT_PUBLISHED:
        note(log, "published %d %d;", ev->id, ev->reason);
        break;
    case MQTT_CLIENT_SUBACK:
        note(log, "suback %d %d;", ev->id, ev->suback.codes.p[0]);
        break;
    case MQTT_CLIENT_UNSUBACK:
        note(log, "unsuback %d;", ev->id);
        break;
    case MQTT_CLIENT_DISCONNECT:
        note(log, "disconnect %d;", ev->disconnect.reason);
        break;
    }
    return OK;
}

static size_t drain(struct mqtt_client *e, uint8_t *dst, size_t at)
{
    while (mqtt_client_has_output(e)) {
        size_t n = mqtt_client_output(e, dst + at, 3); /* resumable */
        assert_true(n > 0 && at + n < OUT_BYTES - 3);
        at += n;
    }
    return at;
}

/* The script's input in pieces of `step` bytes. ERR_NOMEM when an allocation failed. */
static enum err play(const struct script *s, size_t step, char log[LOG_BYTES],
                     char out_hex[2 * OUT_BYTES])
{
    uint8_t in[1024], out[OUT_BYTES];
    size_t n = from_hex(s->in, in), begin = 0;
    AUTO(mqtt_client_autofree) struct mqtt_client *e = NULL;
    TRY(make(s->version, &e));
    size_t connect_n = drain(e, out, 0), out_n = connect_n;
    log[0] = '\0';
    for (size_t end = step < n ? step : n;; end = end + step < n ? end + step : n) {
        enum err err = OK;
        struct slice rest = slice_of(in + begin, end - begin);
        while (err == OK) {
            struct mqtt_fault fault;
            struct mqtt_client_event ev;
            err = mqtt_client_next(e, &rest, 1000, &fault, &ev);
            if (err == OK) {
                TRY(on_event(s, e, &ev, log));
            } else if (err == ERR_NOMEM) {
                return err;
            } else if (err != ERR_AGAIN) {
                note(log, "fault %02x;", fault.reason);
            }
            out_n = drain(e, out, out_n);
        }
        begin = end - rest.n;
        if (end == n || err != ERR_AGAIN) {
            break;
        }
    }
    note(log, "%s", mqtt_client_is_closed(e) ? "closed" : mqtt_client_is_open(e) ? "open" : "-");
    to_hex(out + connect_n, out_n - connect_n, out_hex, 2 * OUT_BYTES);
    return OK;
}

#define V5_OPEN "2003000000"

static const struct script scripts[] = {
    {.name = "3.1.1 accepted",
     .version = MQTT_V311,
     .in = "20020000",
     .events = "connack 0;open",
     .out = ""},
    {.name = "3.1.1 refused",
     .version = MQTT_V311,
     .in = "20020005",
     .events = "connack 5;closed",
     .out = ""},
    {.name = "5 refused",
     .version = MQTT_V5,
     .in = "2003008700",
     .events = "connack 135;closed",
     .out = ""},
    /* SPEC: MQTT5-3.2.2-4 */
    {.name = "session nobody asked for",
     .version = MQTT_V5,
     .in = "2003010000",
     .events = "fault 82;closed",
     .out = ""},
    {.name = "something before CONNACK",
     .version = MQTT_V5,
     .in = "d000",
     .events = "fault 82;closed",
     .out = ""},
    {.name = "CONNACK twice",
     .version = MQTT_V5,
     .in = V5_OPEN V5_OPEN,
     .events = "connack 0;fault 82;closed",
     .out = "e00182"},
    {.name = "QoS 0",
     .version = MQTT_V5,
     .qos = 0,
     .n_sent = 1,
     .in = V5_OPEN,
     .events = "connack 0;sent 0;open",
     .out = "300500017400"
            "70"},
    {.name = "QoS 1",
     .version = MQTT_V311,
     .qos = 1,
     .n_sent = 1,
     .in = "20020000 40020001",
     .events = "connack 0;sent 1;published 1 0;open",
     .out = "320600017400"
            "0170"},
    {.name = "QoS 1 refused",
     .version = MQTT_V5,
     .qos = 1,
     .n_sent = 1,
     .in = V5_OPEN "4003000187",
     .events = "connack 0;sent 1;published 1 135;open",
     .out = "3207000174000100"
            "70"},
    {.name = "QoS 1, any order",
     .version = MQTT_V5,
     .qos = 1,
     .n_sent = 3,
     .in = V5_OPEN "40020002 40020003 40020001",
     .events = "connack 0;sent 1;sent 2;sent 3;published 2 0;published 3 0;published 1 0;open",
     .out = "320700017400010070"
            "320700017400020070"
            "320700017400030070"},
    {.name = "window n+1",
     .version = MQTT_V5,
     .qos = 1,
     .n_sent = 4,
     .in = V5_OPEN,
     .events = "connack 0;sent 1;sent 2;sent 3;not sent: again;open",
     .out = "320700017400010070"
            "320700017400020070"
            "320700017400030070"},
    {.name = "the server's receive maximum",
     .version = MQTT_V5,
     .qos = 1,
     .n_sent = 2,
     .in = "20060000 03 210001",
     .events = "connack 0;sent 1;not sent: again;open",
     .out = "320700017400010070"},
    /* SPEC: MQTT5-3.2.2-11, MQTT5-3.2.2-14, MQTT5-3.2.2-15 */
    {.name = "the server's maximum QoS",
     .version = MQTT_V5,
     .qos = 2,
     .n_sent = 1,
     .in = "20050000 02 2401",
     .events = "connack 0;not sent: unsupported;open",
     .out = ""},
    {.name = "a server that retains nothing",
     .version = MQTT_V5,
     .retain = true,
     .n_sent = 1,
     .in = "20050000 02 2500",
     .events = "connack 0;not sent: unsupported;open",
     .out = ""},
    {.name = "the server's packet size",
     .version = MQTT_V5,
     .qos = 0,
     .n_sent = 1,
     .in = "20080000 05 2700000006",
     .events = "connack 0;not sent: too_large;open",
     .out = ""},
    {.name = "QoS 2",
     .version = MQTT_V5,
     .qos = 2,
     .n_sent = 1,
     .in = V5_OPEN "50020001 70020001",
     .events = "connack 0;sent 1;published 1 0;open",
     .out = "340700017400010070"
            "62020001"},
    {.name = "QoS 2 refused",
     .version = MQTT_V5,
     .qos = 2,
     .n_sent = 1,
     .in = V5_OPEN "5003000187",
     .events = "connack 0;sent 1;published 1 135;open",
     .out = "340700017400010070"},
    {.name = "PUBCOMP before PUBREC",
     .version = MQTT_V5,
     .qos = 2,
     .n_sent = 1,
     .in = V5_OPEN "70020001",
     .events = "connack 0;sent 1;fault 82;closed",
     .out = "340700017400010070"
            "e00182"},
    {.name = "PUBACK for QoS 2",
     .version = MQTT_V5,
     .qos = 2,
     .n_sent = 1,
     .in = V5_OPEN "40020001",
     .events = "connack 0;sent 1;fault 82;closed",
     .out = "340700017400010070"
            "e00182"},
    {.name = "PUBACK of nothing",
     .version = MQTT_V5,
     .in = V5_OPEN "40020009",
     .events = "connack 0;open",
     .out = ""},
    {.name = "PUBREC of nothing",
     .version = MQTT_V5,
     .in = V5_OPEN "50020009",
     .events = "connack 0;open",
     .out = "6203000992"},
    {.name = "message QoS 0",
     .version = MQTT_V5,
     .accept = true,
     .in = V5_OPEN "300500017400"
                   "6d",
     .events = "connack 0;message t=m;open",
     .out = ""},
    {.name = "message QoS 1",
     .version = MQTT_V5,
     .accept = true,
     .in = V5_OPEN "3207000174000500"
                   "6d",
     .events = "connack 0;message t=m;open",
     .out = "40020005"},
    {.name = "message QoS 2, once",
     .version = MQTT_V5,
     .accept = true,
     .in = V5_OPEN "3407000174000500"
                   "6d 3c07000174000500"
                   "6d 62020005 62020005",
     .events = "connack 0;message t=m;open",
     .out = "50020005 50020005 70020005 7003000592"},
    {.name = "our receive maximum n",
     .version = MQTT_V5,
     .in = V5_OPEN "3207000174000500"
                   "6d 3207000174000600"
                   "6d",
     .events = "connack 0;message t=m;message t=m;open",
     .out = ""},
    {.name = "our receive maximum n+1",
     .version = MQTT_V5,
     .in = V5_OPEN "3207000174000500"
                   "6d 3407000174000600"
                   "6d 3207000174000700"
                   "6d",
     .events = "connack 0;message t=m;message t=m;fault 93;closed",
     .out = "e00193"},
    {.name = "an alias nobody agreed on",
     .version = MQTT_V5,
     .in = V5_OPEN "3008000174 03 230001 6d",
     .events = "connack 0;fault 94;closed",
     .out = "e00194"},
    {.name = "subscribe",
     .version = MQTT_V5,
     .n_filters = 2,
     .in = V5_OPEN "90050001000187",
     .events = "connack 0;asked 1;suback 1 1;open",
     .out = "820b000100"
            "00016601"
            "00016601"},
    {.name = "a code too few",
     .version = MQTT_V5,
     .n_filters = 2,
     .in = V5_OPEN "9004000100"
                   "01",
     .events = "connack 0;asked 1;fault 82;closed",
     .out = "820b000100"
            "00016601"
            "00016601"
            "e00182"},
    {.name = "SUBACK of nothing",
     .version = MQTT_V5,
     .in = V5_OPEN "900400010001",
     .events = "connack 0;fault 82;closed",
     .out = "e00182"},
    {.name = "the server says goodbye",
     .version = MQTT_V5,
     .in = V5_OPEN "e0018e",
     .events = "connack 0;disconnect 142;closed",
     .out = ""},
    {.name = "3.1.1 servers say none",
     .version = MQTT_V311,
     .in = "20020000e000",
     .events = "connack 0;fault 82;closed",
     .out = "e000"},
    {.name = "a packet over the maximum",
     .version = MQTT_V5,
     .in = V5_OPEN "30e807",
     .events = "connack 0;fault 95;closed",
     .out = "e00195"},
    {.name = "a client's packet",
     .version = MQTT_V5,
     .in = V5_OPEN "c000",
     .events = "connack 0;fault 82;closed",
     .out = "e00182"},
};

static void squeeze(const char *text, char *dst)
{
    for (; *text != '\0'; text++) {
        if (*text != ' ') {
            *dst++ = *text;
        }
    }
    *dst = '\0';
}

static void test_scripts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        char log[LOG_BYTES], out[2 * OUT_BYTES], want[512];
        const struct script *s = &scripts[i];
        squeeze(s->out, want);
        for (size_t step = 1; step <= 64; step = step < 16 ? step + 1 : step * 2) {
            assert_int_equal(play(s, step, log, out), OK);
            if (strcmp(log, s->events) != 0 || strcmp(out, want) != 0) {
                fail_msg("%s, %zu bytes at a time: %s / %s", s->name, step, log, out);
            }
        }
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    char log[LOG_BYTES], out[2 * OUT_BYTES];
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        enum err err = ERR_NOMEM;
        long n = 0;
        for (; err != OK && n < 100; n++) {
            mem_fail_after(n);
            err = play(&scripts[i], 64, log, out);
            assert_true(err == OK || err == ERR_NOMEM);
        }
        mem_fail_after(-1);
        assert_true(n > 2 && n < 100); /* it has failed, and ended well at last */
    }
}

/* ---- time ---- */

static struct mqtt_client *opened(const char *connack)
{
    struct mqtt_client *e = NULL;
    uint8_t bytes[64], out[256];
    struct mqtt_fault fault;
    struct mqtt_client_event ev;
    struct slice in = slice_of(bytes, from_hex(connack, bytes));
    assert_int_equal(make(MQTT_V5, &e), OK);
    drain(e, out, 0);
    assert_int_equal(mqtt_client_next(e, &in, 1000, &fault, &ev), OK);
    return e;
}

static void test_connack_late(void **state)
{
    (void)state;
    struct mqtt_client *e = NULL;
    assert_int_equal(make(MQTT_V5, &e), OK);
    assert_int_equal(mqtt_client_deadline(e), 6000);
    assert_int_equal(mqtt_client_tick(e, 5999), OK);
    assert_int_equal(mqtt_client_tick(e, 6000), ERR_TIMEOUT);
    assert_true(mqtt_client_is_closed(e));
    assert_true(mqtt_client_deadline(e) == UINT64_MAX);
    e = mqtt_client_free(e);
}

/* SPEC: MQTT5-3.1.2-20 */
static void test_keep_alive(void **state)
{
    (void)state;
    uint8_t out[OUT_BYTES], pong[] = {0xd0, 0};
    struct mqtt_fault fault;
    struct mqtt_client_event ev;
    struct mqtt_client *e = opened(V5_OPEN);
    assert_int_equal(mqtt_client_deadline(e), 11000);
    assert_int_equal(mqtt_client_tick(e, 10999), OK);
    assert_false(mqtt_client_has_output(e));
    assert_int_equal(mqtt_client_tick(e, 11000), OK);
    assert_int_equal(drain(e, out, 0), 2);
    assert_int_equal(out[0], 0xc0);
    struct slice in = slice_of(pong, 2);
    assert_int_equal(mqtt_client_next(e, &in, 12000, &fault, &ev), ERR_AGAIN);
    assert_int_equal(mqtt_client_deadline(e), 21000); /* counted from what we sent */
    assert_int_equal(mqtt_client_tick(e, 21000), OK);
    assert_int_equal(mqtt_client_deadline(e), 26000);
    assert_int_equal(mqtt_client_tick(e, 26000), ERR_TIMEOUT);
    assert_true(mqtt_client_is_closed(e));
    e = mqtt_client_free(e);
}

/* SPEC: MQTT5-3.1.2-21, MQTT5-3.2.2-21 */
static void test_server_keep_alive(void **state)
{
    (void)state;
    struct mqtt_client *e = opened("20060000 03 130002");
    assert_int_equal(mqtt_client_deadline(e), 3000);
    e = mqtt_client_free(e);
    e = opened("20060000 03 130000");
    assert_true(mqtt_client_deadline(e) == UINT64_MAX);
    e = mqtt_client_free(e);
}

static void test_goodbye(void **state)
{
    (void)state;
    uint8_t out[OUT_BYTES];
    struct mqtt_client *e = opened(V5_OPEN);
    mqtt_client_disconnect(e, MQTT_SUCCESS);
    mqtt_client_disconnect(e, MQTT_SUCCESS);
    assert_int_equal(drain(e, out, 0), 2);
    struct mqtt_publish m = {.topic = slice_text("t")};
    uint16_t id;
    assert_int_equal(mqtt_client_publish(e, &m, 1000, &id), ERR_PROTOCOL);
    e = mqtt_client_free(e);
}

/* Every id is used before one comes again, and none that is open. */
static void test_ids_wrap(void **state)
{
    (void)state;
    uint8_t out[OUT_BYTES];
    struct mqtt_client *e = opened(V5_OPEN);
    struct mqtt_publish m = {.topic = slice_text("t"), .qos = 1};
    uint16_t stuck, id, last;
    assert_int_equal(mqtt_client_publish(e, &m, 1000, &stuck), OK);
    last = stuck;
    for (int i = 0; i < 70000; i++) {
        assert_int_equal(mqtt_client_publish(e, &m, 1000, &id), OK);
        assert_true(id != 0 && id != stuck && id != last);
        last = id;
        uint8_t ack[] = {0x40, 2, (uint8_t)(id >> 8), (uint8_t)id};
        struct slice in = slice_of(ack, 4);
        struct mqtt_fault fault;
        struct mqtt_client_event ev;
        assert_int_equal(mqtt_client_next(e, &in, 1000, &fault, &ev), OK);
        assert_int_equal(ev.id, id);
        drain(e, out, 0);
    }
    assert_int_equal(mqtt_client_n_open(e), 1);
    e = mqtt_client_free(e);
}

/* CONNACK of MQTT 5 that allows `most` aliases; 0: says nothing about them. */
static void open_with_aliases(struct mqtt_client *e, uint8_t most)
{
    uint8_t hex[] = {0x20, 6, 0, 0, 3, 0x22, 0, most};
    uint8_t none[] = {0x20, 3, 0, 0, 0};
    struct slice in = most > 0 ? slice_of(hex, sizeof(hex)) : slice_of(none, sizeof(none));
    struct mqtt_fault fault;
    struct mqtt_client_event ev;
    assert_int_equal(mqtt_client_next(e, &in, 1000, &fault, &ev), OK);
    assert_true(mqtt_client_is_open(e));
}

static void test_topic_alias(void **state)
{
    (void)state;
    static const struct {
        uint8_t most;
        uint32_t alias;
        enum err err;
    } cases[] = {{0, 1, ERR_UNSUPPORTED}, {5, 5, OK}, {5, 6, ERR_UNSUPPORTED}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(mqtt_client_autofree) struct mqtt_client *e = NULL;
        struct mqtt_publish m = {.topic = slice_text("t")};
        uint16_t id;
        assert_int_equal(make(MQTT_V5, &e), OK);
        open_with_aliases(e, cases[i].most);
        mqtt_props_set_number(&m.props, MQTT_PROP_TOPIC_ALIAS, cases[i].alias);
        assert_int_equal(mqtt_client_publish(e, &m, 1000, &id), cases[i].err);
    }
}

static void test_disconnect_with_properties(void **state)
{
    (void)state;
    AUTO(mqtt_client_autofree) struct mqtt_client *e = NULL;
    uint8_t out[OUT_BYTES];
    struct mqtt_props props = {0};
    assert_int_equal(make(MQTT_V5, &e), OK);
    open_with_aliases(e, 0);
    while (mqtt_client_output(e, out, sizeof(out)) > 0) {
    }
    mqtt_props_set_number(&props, MQTT_PROP_SESSION_EXPIRY, 9);
    mqtt_client_disconnect_with(e, MQTT_SUCCESS, &props);
    size_t n = mqtt_client_output(e, out, sizeof(out));
    assert_true(slice_equal(slice_of(out, n), slice_of("\xe0\x07\x00\x05\x11\0\0\0\x09", 9)));
    assert_true(mqtt_client_is_closed(e));
    mqtt_client_disconnect_with(e, MQTT_SUCCESS, &props); /* once */
    assert_false(mqtt_client_has_output(e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scripts),
                                       cmocka_unit_test(test_no_memory),
                                       cmocka_unit_test(test_connack_late),
                                       cmocka_unit_test(test_keep_alive),
                                       cmocka_unit_test(test_server_keep_alive),
                                       cmocka_unit_test(test_goodbye),
                                       cmocka_unit_test(test_ids_wrap),
                                       cmocka_unit_test(test_topic_alias),
                                       cmocka_unit_test(test_disconnect_with_properties)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
