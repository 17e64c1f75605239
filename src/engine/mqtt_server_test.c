/* The inner gate: bytes in, events and bytes out, whole and split at every byte. */
#include "engine/mqtt_server_story_test.h"

static const struct talk talks[] = {
    {"QoS 0", MQTT_V311, "30 05 0001't' 'hi'", "publish0 0 t; ", ""},
    /* SPEC: MQTT-3.3.4-1 */
    {"QoS 1", MQTT_V311, "32 06 0001't' 0007 'x'", "publish1 7 t; ", "40 02 0007"},
    {"QoS 1, 5.0", MQTT_V5, "32 07 0001't' 0007 00 'x'", "publish1 7 t; ", "40 02 0007"},
    {"QoS 2", MQTT_V311, "34 06 0001't' 0007 'x' 62 02 0007", "publish2 7 t; pubrel 7; ",
     "50 02 0007 70 02 0007"},
    {"several at once", MQTT_V5,
     "32 06 0001't' 0001 00 c0 00 32 06 0001'u' 0002 00 30 04 0001'v' 00",
     "publish1 1 t; publish1 2 u; publish0 0 v; ", "40 02 0001 d0 00 40 02 0002"},
    {"acknowledgements", MQTT_V311, "40 02 0001 50 02 0002 70 02 0003",
     "puback 1; pubrec 2; pubcomp 3; ", ""},
    {"acknowledgements, 5.0", MQTT_V5, "40 03 0001 10 50 03 0002 97 70 03 0003 92",
     "puback 1; pubrec 2; pubcomp 3; ", ""},
    {"SUBSCRIBE", MQTT_V311, "82 06 0009 0001'a' 01", "subscribe 9 of 1; ", ""},
    {"SUBSCRIBE, 5.0", MQTT_V5, "82 0b 0009 00 0001'a' 01 0001'b' 02", "subscribe 9 of 2; ", ""},
    {"UNSUBSCRIBE", MQTT_V311, "a2 05 0009 0001'a'", "unsubscribe 9 of 1; ", ""},
    /* SPEC: MQTT-3.12.4-1 */
    {"PINGREQ", MQTT_V311, "c0 00 c0 00", "", "d0 00 d0 00"},
    /* SPEC: MQTT5-3.14.4-1: what stands behind it is not looked at */
    {"DISCONNECT", MQTT_V311, "e0 00 c0 00 ff ff", "disconnect 00; ", ""},
    {"DISCONNECT with will", MQTT_V5, "e0 01 04 c0 00", "disconnect 04; ", ""},
    /* SPEC: MQTT-3.1.0-2 */
    {"a second CONNECT", MQTT_V311, "10 0e 0004'MQTT' 04 02 003c 0002'ab'", "0x82!", ""},
    {"a second CONNECT, 5.0", MQTT_V5, "10 0f 0004'MQTT' 05 02 003c 00 0002'ab'", "0x82!",
     "e0 01 82"},
    /* packets that only a server sends */
    {"CONNACK", MQTT_V311, "20 02 0000", "0x82!", ""},
    {"CONNACK, 5.0", MQTT_V5, "20 03 0000 00", "0x82!", "e0 01 82"},
    {"SUBACK", MQTT_V311, "90 03 0001 00", "0x82!", ""},
    {"SUBACK, 5.0", MQTT_V5, "90 04 0001 00 00", "0x82!", "e0 01 82"},
    {"UNSUBACK", MQTT_V311, "b0 02 0001", "0x82!", ""},
    {"UNSUBACK, 5.0", MQTT_V5, "b0 04 0001 00 00", "0x82!", "e0 01 82"},
    {"PINGRESP", MQTT_V311, "d0 00", "0x82!", ""},
    {"PINGRESP, 5.0", MQTT_V5, "d0 00", "0x82!", "e0 01 82"},
    /* SPEC: MQTT5-4.12.0-7 */
    {"AUTH", MQTT_V311, "f0 00", "0x82!", ""},
    {"AUTH, 5.0", MQTT_V5, "f0 00", "0x82!", "e0 01 82"},
    /* SPEC: MQTT5-4.13.1-1; nothing that was answered before is lost */
    {"a packet before the fault", MQTT_V5, "32 06 0001't' 0007 00 f0 00", "publish1 7 t; 0x82!",
     "40 02 0007 e0 01 82"},
    {"type 0", MQTT_V5, "00 00", "0x81!", "e0 01 81"},
    {"type 0, 3.1.1", MQTT_V311, "00 00", "0x81!", ""},
    {"reserved flags", MQTT_V5, "c1 00", "0x81!", "e0 01 81"},
    {"SUBSCRIBE with flags 0", MQTT_V311, "80 06 0009 0001'a' 01", "0x81!", ""},
    {"QoS 2, 3.1", MQTT_V31, "34 06 0001't' 0007 'x' 62 02 0007", "publish2 7 t; pubrel 7; ",
     "50 02 0007 70 02 0007"},
    {"repeated, 3.1", MQTT_V31,
     "6a 02 0007 8a 06 0009 0001'a' 01 aa 05 0009 0001'a' 3c 06 0001't' 0007 'x'",
     "pubrel 7; subscribe 9 of 1; unsubscribe 9 of 1; publish2 7 t; ", "70 02 0007 50 02 0007"},
    {"repeated PUBREL, 3.1.1", MQTT_V311, "6a 02 0007", "0x81!", ""},
    {"repeated PUBREL, 5.0", MQTT_V5, "6a 02 0007", "0x81!", "e0 01 81"},
    {"repeated SUBSCRIBE, 3.1.1", MQTT_V311, "8a 06 0009 0001'a' 01", "0x81!", ""},
    {"repeated UNSUBSCRIBE, 3.1.1", MQTT_V311, "aa 05 0009 0001'a'", "0x81!", ""},
    {"SUBSCRIBE with flags 0, 3.1", MQTT_V31, "80 06 0009 0001'a' 01", "0x81!", ""},
    {"repeated PUBACK, 3.1", MQTT_V31, "48 02 0007", "0x81!", ""},
    {"DUP with QoS 0, 3.1", MQTT_V31, "38 03 0001't'", "0x81!", ""},
    {"AUTH, 3.1", MQTT_V31, "f0 00", "0x82!", ""},
    {"a second CONNECT, 3.1", MQTT_V31, "10 10 0006'MQIsdp' 03 02 003c 0002'ab'", "0x82!", ""},
    {"options of 5.0 in 3.1", MQTT_V31, "82 06 0009 0001'a' 05", "0x81!", ""},
    {"DISCONNECT, 3.1", MQTT_V31, "e0 00 c0 00", "disconnect 00; ", ""},
    {"QoS 3", MQTT_V5, "36 07 0001't' 0007 00 'x'", "0x81!", "e0 01 81"},
    {"packet id 0", MQTT_V5, "32 06 0001't' 0000 00", "0x81!", "e0 01 81"},
    {"a topic with a wildcard", MQTT_V5, "30 04 0001'#' 00", "0x90!", "e0 01 90"},
    {"an alias when none is allowed", MQTT_V5, "30 06 0000 03 23 0001", "0x94!", "e0 01 94"},
    {"a subscription identifier from a client", MQTT_V5, "30 06 0001't' 02 0b01", "0x82!",
     "e0 01 82"},
    {"no filter", MQTT_V5, "82 03 0009 00", "0x82!", "e0 01 82"},
    {"PINGREQ with a body", MQTT_V5, "c0 01 00", "0x81!", "e0 01 81"},
    {"a server's DISCONNECT reason", MQTT_V5, "e0 01 8e", "0x82!", "e0 01 82"},
    {"larger than allowed", MQTT_V5, "30 81 04", "0x95!", "e0 01 95"},
    {"larger than allowed, 3.1.1", MQTT_V311, "30 81 04", "0x95!", ""},
};

/* SPEC: MQTT5-4.12.0-7, MQTT5-4.12.1-1, MQTT5-4.12.0-5 */
static void auth(void **state)
{
    static const struct {
        const char *in;
        uint8_t reason; /* of the event; 0: refused */
    } cases[] = {
        {"f0 0b 19 09 15 0001'M' 16 0002'33'", MQTT_REAUTHENTICATE},
        {"f0 0b 18 09 15 0001'M' 16 0002'33'", MQTT_CONTINUE_AUTHENTICATION},
        {"f0 0b 19 09 15 0001'N' 16 0002'33'", 0},
        {"f0 0b 19 09 15 0001'm' 16 0002'33'", 0},
        {"f0 02 19 00", 0},
        {"f0 00", 0},
        {"f0 0b 00 09 15 0001'M' 16 0002'33'", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct mqtt_terms terms = terms_of(MQTT_V5);
        terms.auth_method = "M";
        struct mqtt_server *e = start_with(&terms);
        uint8_t bytes[TALK_MAX];
        uint8_t out[64];
        struct slice in = slice_of(bytes, talk_bytes(cases[i].in, bytes));
        struct mqtt_fault fault = {0};
        struct mqtt_event ev;
        enum err err = mqtt_server_next(e, &in, 1000, &fault, &ev);
        assert_int_equal(err, cases[i].reason != 0 ? OK : ERR_PROTOCOL);
        if (err == OK) {
            assert_int_equal(ev.kind, MQTT_EVENT_AUTH);
            assert_int_equal(ev.auth.reason, cases[i].reason);
            assert_true(slice_is(mqtt_props_text(&ev.auth.props, MQTT_PROP_AUTH_DATA), "33"));
            (void)mem_fail_after(0);
            assert_int_equal(mqtt_server_auth(e, MQTT_SUCCESS, slice_text("v")), ERR_NOMEM);
            assert_true(mem_fail_after(-1));
            assert_int_equal(mqtt_server_auth(e, MQTT_CONTINUE_AUTHENTICATION, slice_text("44")),
                             OK);
            assert_int_equal(mqtt_server_auth(e, MQTT_SUCCESS, (struct slice){0}), OK);
        }
        talk_is(cases[i].in, slice_of(out, mqtt_server_output(e, out, sizeof(out))),
                err == OK ? "f0 0b 18 09 15 0001'M' 16 0002'44' f0 06 00 04 15 0001'M'"
                          : "e0 01 82");
        mqtt_server_free(e);
    }
}

/* The client's bytes in two parts, or one by one (cut 0). */
static void talk_split(const struct talk *t, size_t cut)
{
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(t->version);
    uint8_t bytes[TALK_MAX], out[TALK_MAX];
    char text[TALK_TEXT] = "";
    size_t n = talk_bytes(t->in, bytes), at = 0, end = cut;
    while (end < n || cut == 0) {
        end += cut == 0 ? 1 : 0;
        struct slice in = slice_of(bytes + at, end - at);
        take_all(e, &in, text);
        at = end - in.n;
        if (end == n) {
            break;
        }
        end = cut == 0 ? end : n;
        if (cut != 0) {
            in = slice_of(bytes + at, end - at);
            take_all(e, &in, text);
        }
    }
    if (cut == n) {
        struct slice in = slice_of(bytes, n);
        take_all(e, &in, text);
    }
    if (strcmp(text, t->events) != 0) {
        fail_msg("%s, cut at %zu: %s", t->name, cut, text);
    }
    /* output in crumbs */
    size_t n_out = 0, got = 0;
    while ((got = mqtt_server_output(e, out + n_out, 1)) > 0) {
        n_out += got;
    }
    assert_false(mqtt_server_has_output(e));
    talk_is(t->name, slice_of(out, n_out), t->out);
}

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(talks); i++) {
        uint8_t bytes[TALK_MAX];
        size_t n = talk_bytes(talks[i].in, bytes);
        for (size_t cut = 0; cut <= n; cut++) {
            talk_split(&talks[i], cut);
        }
    }
}

/* ---- asks ---- */

/* SPEC: MQTT-4.6.0-2, MQTT-4.6.0-3 */
static void answers_leave_in_order(void **state)
{
    (void)state;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(MQTT_V5);
    uint32_t first = ask_of(e, "32 06 0001't' 0001 00");
    uint32_t second = ask_of(e, "34 06 0001't' 0002 00");
    uint32_t third = ask_of(e, "32 06 0001't' 0003 00");
    mqtt_server_answer(e, third, MQTT_NOT_AUTHORIZED);
    expect(e, "");
    mqtt_server_answer(e, second, MQTT_SUCCESS);
    expect(e, "");
    mqtt_server_answer(e, first, MQTT_SUCCESS);
    expect(e, "40 02 0001 50 02 0002 40 03 0003 87");
}

static void answers_after_close_are_silent(void **state)
{
    (void)state;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(MQTT_V5);
    uint32_t ask = ask_of(e, "32 06 0001't' 0001 00");
    mqtt_server_close(e, MQTT_SERVER_SHUTTING_DOWN);
    mqtt_server_close(e, MQTT_SERVER_BUSY);
    mqtt_server_answer(e, ask, MQTT_SUCCESS);
    expect(e, "e0 01 8b"); /* the last word, once. SPEC: MQTT5-3.14.4-1 */
    struct mqtt_event ev;
    assert_int_equal(give(e, "c0 00", &ev), ERR_AGAIN);
    expect(e, "");
}

/* SPEC: MQTT5-3.3.4-7: n may be open, n + 1 may not */
static void receive_maximum_v5(void **state)
{
    (void)state;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(MQTT_V5);
    struct mqtt_event ev;
    uint32_t first = ask_of(e, "32 06 0001't' 0001 00");
    (void)ask_of(e, "34 06 0001't' 0002 00");
    (void)ask_of(e, "32 06 0001't' 0003 00");
    assert_int_equal(give(e, "30 04 0001't' 00", &ev), OK); /* QoS 0 does not count */
    mqtt_server_answer(e, first, MQTT_SUCCESS);
    (void)ask_of(e, "32 06 0001't' 0004 00");
    expect(e, "40 02 0001");
    assert_int_equal(give(e, "32 06 0001't' 0005 00", &ev), ERR_PROTOCOL);
    expect(e, "e0 01 93");
    assert_true(mqtt_server_is_closing(e));
}

/* A QoS 2 PUBLISH is open until its PUBCOMP, or its failed PUBREC. SPEC: MQTT5-3.3.4-7 */
static void receive_maximum_of_qos2(void **state)
{
    (void)state;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(MQTT_V5);
    struct mqtt_event ev;
    mqtt_server_answer(e, ask_of(e, "34 06 0001't' 0001 00"), MQTT_SUCCESS);
    mqtt_server_answer(e, ask_of(e, "34 06 0001't' 0002 00"), MQTT_SUCCESS);
    mqtt_server_answer(e, ask_of(e, "34 06 0001't' 0003 00"), MQTT_QUOTA_EXCEEDED);
    mqtt_server_answer(e, ask_of(e, "34 06 0001't' 0004 00"), MQTT_SUCCESS);
    mqtt_server_answer(e, ask_of(e, "62 02 0001"), MQTT_SUCCESS);
    mqtt_server_answer(e, ask_of(e, "34 06 0001't' 0005 00"), MQTT_SUCCESS);
    /* PUBCOMPs of unknown ids do not raise the number above what was agreed */
    mqtt_server_answer(e, ask_of(e, "62 02 0002"), MQTT_SUCCESS);
    mqtt_server_answer(e, ask_of(e, "62 02 0004"), MQTT_SUCCESS);
    mqtt_server_answer(e, ask_of(e, "62 02 0005"), MQTT_SUCCESS);
    mqtt_server_answer(e, ask_of(e, "62 02 0006"), MQTT_PACKET_ID_NOT_FOUND);
    (void)ask_of(e, "34 06 0001't' 0011 00");
    (void)ask_of(e, "34 06 0001't' 0012 00");
    (void)ask_of(e, "34 06 0001't' 0013 00");
    assert_int_equal(give(e, "34 06 0001't' 0014 00", &ev), ERR_PROTOCOL);
}

/* 3.1.1 has no such number: it is not read any further, and loses nothing. */
static void receive_maximum_v311(void **state)
{
    (void)state;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(MQTT_V311);
    struct mqtt_event ev;
    uint32_t first = ask_of(e, "32 05 0001't' 0001");
    (void)ask_of(e, "32 05 0001't' 0002");
    (void)ask_of(e, "32 05 0001't' 0003");
    assert_true(mqtt_server_is_blocked(e));
    assert_int_equal(give(e, "32 05 0001't' 0004", &ev), ERR_AGAIN);
    mqtt_server_answer(e, first, MQTT_SUCCESS);
    assert_false(mqtt_server_is_blocked(e));
    (void)ask_of(e, "32 05 0001't' 0004");
    assert_false(mqtt_server_is_closing(e));
    expect(e, "40 02 0001");
}

/* PUBRELs without end cannot make the ring of asks grow without end. */
static void asks_are_bounded(void **state)
{
    (void)state;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(MQTT_V5);
    struct mqtt_event ev;
    uint32_t first = ask_of(e, "62 02 0001"), last = first;
    while (!mqtt_server_is_blocked(e)) {
        last = ask_of(e, "62 02 0001");
        assert_true(last - first < 1000);
    }
    assert_int_equal(give(e, "62 02 0001", &ev), ERR_AGAIN);
    for (uint32_t ask = last + 1; ask > first; ask--) {
        mqtt_server_answer(e, ask - 1, MQTT_SUCCESS);
    }
    assert_false(mqtt_server_is_blocked(e));
}

/* ---- time ---- */

/* SPEC: MQTT5-3.1.2-22 */
static void keep_alive(void **state)
{
    (void)state;
    static const struct {
        enum mqtt_version version;
        const char *last_word;
    } cases[] = {{MQTT_V31, ""}, {MQTT_V311, ""}, {MQTT_V5, "e0 01 8d"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(mqtt_server_autofree) struct mqtt_server *e = start(cases[i].version);
        uint8_t ping[] = {0xc0, 0};
        struct slice half = slice_of(ping, 1), whole = slice_of(ping, 2);
        struct mqtt_fault fault;
        struct mqtt_event ev;
        assert_int_equal(mqtt_server_deadline(e), 16000);
        assert_int_equal(mqtt_server_tick(e, 15999), OK);
        assert_int_equal(mqtt_server_next(e, &whole, 15999, &fault, &ev), ERR_AGAIN);
        assert_int_equal(mqtt_server_deadline(e), 30999);
        /* half a packet is no sign of life */
        assert_int_equal(mqtt_server_next(e, &half, 20000, &fault, &ev), ERR_AGAIN);
        assert_int_equal(mqtt_server_deadline(e), 30999);
        expect(e, "d0 00");
        assert_int_equal(mqtt_server_tick(e, 30998), OK);
        assert_int_equal(mqtt_server_tick(e, 30999), ERR_TIMEOUT);
        assert_true(mqtt_server_is_closing(e));
        assert_true(mqtt_server_deadline(e) == UINT64_MAX);
        expect(e, cases[i].last_word);
    }
}

static void keep_alive_off(void **state)
{
    (void)state;
    struct mqtt_terms terms = terms_of(MQTT_V311);
    terms.keep_alive_s = 0;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start_with(&terms);
    assert_true(mqtt_server_deadline(e) == UINT64_MAX);
    assert_int_equal(mqtt_server_tick(e, UINT64_MAX - 1), OK);
}

/* ---- output ---- */

/* A client that asks and never reads: nothing more is taken, and what waits stays bounded. */
static void output_that_nobody_reads(void **state)
{
    (void)state;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(MQTT_V5);
    uint8_t pings[1000];
    struct mqtt_event ev;
    struct mqtt_fault fault;
    size_t taken = 0;
    for (size_t i = 0; i < sizeof(pings); i++) {
        pings[i] = i % 2 == 0 ? 0xc0 : 0;
    }
    for (int round = 0; round < 1000; round++) {
        struct slice in = slice_of(pings, sizeof(pings));
        assert_int_equal(mqtt_server_next(e, &in, 1000, &fault, &ev), ERR_AGAIN);
        taken += sizeof(pings) - in.n;
    }
    assert_true(mqtt_server_is_blocked(e));
    assert_in_range(taken, 64 * 1024, 66 * 1024);
    uint8_t out[TALK_MAX];
    size_t n = 0, got;
    while ((got = mqtt_server_output(e, out, sizeof(out))) > 0) {
        n += got;
    }
    assert_int_equal(n, taken); /* every one was answered */
    assert_false(mqtt_server_is_blocked(e));
}

/* A client that reads, but never all: the bytes that have left make room. */
static void output_never_quite_empty(void **state)
{
    (void)state;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(MQTT_V5);
    struct mqtt_event ev;
    uint8_t out[2];
    assert_int_equal(give(e, "c0 00", &ev), ERR_AGAIN);
    for (int i = 0; i < 200 * 1000; i++) {
        uint8_t ping[] = {0xc0, 0};
        struct slice in = slice_of(ping, sizeof(ping));
        struct mqtt_fault fault;
        assert_int_equal(mqtt_server_next(e, &in, 1000, &fault, &ev), ERR_AGAIN);
        assert_int_equal(mqtt_server_output(e, out, sizeof(out)), sizeof(out));
        assert_true(out[0] == 0xd0 && out[1] == 0);
    }
    assert_false(mqtt_server_is_closing(e));
}

static void other_answers(void **state)
{
    (void)state;
    static const uint8_t codes[] = {0x01, 0x87, 0x97};
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(MQTT_V311);
    AUTO(mqtt_server_autofree) struct mqtt_server *e5 = start(MQTT_V5);
    assert_int_equal(mqtt_server_suback(e, 5, slice_of(codes, 3)), OK);
    assert_int_equal(mqtt_server_unsuback(e, 6, slice_of(codes, 1)), OK);
    assert_int_equal(mqtt_server_pubrel(e, 7, MQTT_PACKET_ID_NOT_FOUND), OK);
    expect(e, "90 05 0005 018080 b0 02 0006 62 02 0007");
    AUTO(mqtt_server_autofree) struct mqtt_server *e3 = start(MQTT_V31);
    assert_int_equal(mqtt_server_suback(e3, 5, slice_of(codes, 1)), OK);
    assert_int_equal(mqtt_server_unsuback(e3, 6, slice_of(codes, 1)), OK);
    expect(e3, "90 03 0005 01 b0 02 0006");
    /* 3.1 has no word for a refusal, and is not told that it has what it has not */
    assert_int_equal(mqtt_server_suback(e3, 7, slice_of(codes, 2)), ERR_UNSUPPORTED);
    assert_true(mqtt_server_is_closing(e3));
    expect(e3, "");
    assert_int_equal(mqtt_server_suback(e5, 5, slice_of(codes, 3)), OK);
    assert_int_equal(mqtt_server_unsuback(e5, 6, slice_of(codes + 1, 1)), OK);
    assert_int_equal(mqtt_server_pubrel(e5, 7, MQTT_PACKET_ID_NOT_FOUND), OK);
    expect(e5, "90 06 0005 00 018797 b0 04 0006 00 87 62 03 0007 92");
}

/* SPEC: MQTT5 3.14.2.2.2: a DISCONNECT that breaks a rule of the session is answered by one. */
static void a_disconnect_that_is_refused(void **state)
{
    (void)state;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start(MQTT_V5);
    AUTO(mqtt_server_autofree) struct mqtt_server *fine = start(MQTT_V5);
    struct mqtt_event ev;
    assert_int_equal(give(e, "e0 07 00 05 11 00000e10", &ev), OK);
    mqtt_server_close(e, MQTT_PROTOCOL_ERROR);
    mqtt_server_close(e, MQTT_PROTOCOL_ERROR);
    expect(e, "e0 01 82");
    assert_int_equal(give(fine, "e0 00", &ev), OK);
    mqtt_server_close(fine, MQTT_SUCCESS);
    expect(fine, "");
}

/* ---- deliveries ---- */

/* SPEC: MQTT5-3.1.2-24, MQTT5-3.1.2-25, MQTT5-3.3.2-6, MQTT-3.3.1-2 */
static void deliveries(void **state)
{
    (void)state;
    struct mqtt_terms terms = terms_of(MQTT_V5);
    terms.client_packet_max = 16;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start_with(&terms);
    struct msg *m = NULL;
    uint8_t out[64];
    struct wr w = wr_into(out, 15), room = wr_into(out, sizeof(out));
    assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, slice_text("x"), &m), OK);
    m->expires_at_ms = 3001;
    struct delivery d = {.msg = m, .qos = 1, .packet_id = 9, .is_dup = true, .id = 5, .n_ids = 1};
    assert_int_equal(mqtt_server_deliver(e, &d, 1000, &w, NULL), ERR_SPACE);
    assert_int_equal(w.at, 0);
    assert_int_equal(mqtt_server_deliver(e, &d, 1000, &room, NULL), OK);
    talk_is("delivery", wr_slice(&room), "3a 0e 0001't' 0009 07 02 00000003 0b 05 'x'");
    struct delivery late = {.msg = m, .is_dup = true};
    room = wr_into(out, sizeof(out));
    assert_int_equal(mqtt_server_deliver(e, &late, 9000, &room, NULL), OK);
    talk_is("QoS 0", wr_slice(&room), "30 0a 0001't' 05 02 00000000 'x'");
    d.packet_id = 10;
    d.id = 200; /* one byte more: 17 */
    room = wr_into(out, sizeof(out));
    assert_int_equal(mqtt_server_deliver(e, &d, 1000, &room, NULL), ERR_TOO_LARGE);
    assert_int_equal(room.at, 0);
    msg_unref(m);
}

/* A payload that is lent is not in the bytes, and is in every size: of the packet, for the client's
 * bound and for the room there is. */
static void lent_deliveries(void **state)
{
    (void)state;
    struct mqtt_terms terms = terms_of(MQTT_V5);
    terms.client_packet_max = 16;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start_with(&terms);
    struct msg *m = NULL, *larger = NULL;
    struct slice none = {0};
    uint8_t out[64];
    struct wr w = wr_into(out, 15), room = wr_into(out, 17);
    assert_int_equal(msg_new(slice_text("t"), none, slice_text("0123456789"), &m), OK);
    assert_int_equal(msg_new(slice_text("t"), none, slice_text("0123456789a"), &larger), OK);
    struct delivery d = {.msg = m}, too_large = {.msg = larger};
    struct lending lending = {.least = 10};
    assert_int_equal(mqtt_server_deliver(e, &d, 1000, &w, &lending), ERR_SPACE);
    assert_int_equal(mqtt_server_deliver(e, &too_large, 1000, &room, &lending), ERR_TOO_LARGE);
    assert_int_equal(w.at + room.at + lending.n, 0);
    assert_int_equal(wr_left(&w), 15);
    assert_int_equal(mqtt_server_deliver(e, &d, 1000, &room, &lending), OK);
    talk_is("lent", wr_slice(&room), "30 0e 0001't' 00");
    assert_int_equal(lending.n, 1);
    assert_int_equal(lending.lent[0].at, room.at);
    assert_int_equal(wr_left(&room), 1);
    assert_int_equal(mqtt_server_deliver(e, &d, 1000, &room, &lending), ERR_SPACE);
    lending_done(&lending);
    lending.least = 11;
    room = wr_into(out, sizeof(out));
    assert_int_equal(mqtt_server_deliver(e, &d, 1000, &room, &lending), OK);
    talk_is("copied", wr_slice(&room), "30 0e 0001't' 00 '0123456789'");
    assert_int_equal(lending.n, 0);
    msg_unref(m);
    msg_unref(larger);
}

/* ---- memory ---- */

/* Each allocation fails in turn: the engine closes or refuses, and never acknowledges what it did
 * not give out. */
static void no_memory(void **state)
{
    (void)state;
    bool failed = true;
    for (long at = 0; failed; at++) {
        struct mqtt_terms terms = terms_of(MQTT_V5);
        struct mqtt_connack connack = {.code = MQTT_SUCCESS};
        AUTO(mqtt_server_autofree) struct mqtt_server *e = NULL;
        uint8_t bytes[TALK_MAX], out[TALK_MAX];
        struct slice in = slice_of(
            bytes,
            talk_bytes("32 06 0001't' 0001 00 34 06 0001't' 0002 00 62 02 0002 c0 00", bytes));
        char text[TALK_TEXT] = "";
        uint8_t code = 1;
        (void)mem_fail_after(at);
        enum err err = mqtt_server_new(&terms, &connack, 1000, &e);
        if (err == OK) {
            size_t n = mqtt_server_output(e, out, sizeof(out));
            assert_true(n > 0);
            take_all(e, &in, text);
            enum err suback = mqtt_server_suback(e, 3, slice_of(&code, 1));
            assert_true(suback == OK || suback == ERR_NOMEM);
        }
        failed = mem_fail_after(-1) != 0;
        if (err == OK) {
            size_t n = mqtt_server_output(e, out, sizeof(out));
            bool acked = memmem(out, n, "\x40\x02\x00\x01", 4) != NULL;
            assert_true(!acked || strncmp(text, "publish1 1 t; ", 14) == 0);
        } else {
            assert_int_equal(err, ERR_NOMEM);
        }
        assert_true(failed || strcmp(text, "publish1 1 t; publish2 2 t; pubrel 2; ") == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auth),
        cmocka_unit_test(table),
        cmocka_unit_test(answers_leave_in_order),
        cmocka_unit_test(answers_after_close_are_silent),
        cmocka_unit_test(receive_maximum_v5),
        cmocka_unit_test(receive_maximum_of_qos2),
        cmocka_unit_test(receive_maximum_v311),
        cmocka_unit_test(asks_are_bounded),
        cmocka_unit_test(keep_alive),
        cmocka_unit_test(keep_alive_off),
        cmocka_unit_test(output_that_nobody_reads),
        cmocka_unit_test(output_never_quite_empty),
        cmocka_unit_test(other_answers),
        cmocka_unit_test(a_disconnect_that_is_refused),
        cmocka_unit_test(deliveries),
        cmocka_unit_test(lent_deliveries),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
