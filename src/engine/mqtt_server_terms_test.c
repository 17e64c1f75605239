/* What MQTT 5 lets a connection agree on: reason strings, the client's packet size, topic aliases.
 */
#include "engine/mqtt_server_story_test.h"

/* ---- what a refusal says ---- */

#define LATER "'try again a little later'"

/* Why, when the client wants to hear it and it fits.
 * SPEC: MQTT5-3.4.2-2, MQTT5-3.5.2-2, MQTT5-3.9.2-1, MQTT5-3.11.2-1, MQTT5-3.14.2-3 */
static void refusals_explain(void **state)
{
    (void)state;
    struct mqtt_terms terms = terms_of(MQTT_V5);
    uint8_t codes[] = {1, MQTT_SERVER_BUSY};
    for (uint32_t most = 30; most < 40; most++) {
        terms.wants_reasons = true;
        terms.client_packet_max = most;
        AUTO(mqtt_server_autofree) struct mqtt_server *e = start_with(&terms);
        mqtt_server_answer(e, ask_of(e, "32 06 0001't' 0001 00"), MQTT_SERVER_BUSY);
        expect(e, most >= 33 ? "40 1f 0001 89 1b 1f 0018" LATER : "40 03 0001 89");
        mqtt_server_answer(e, ask_of(e, "34 06 0001't' 0002 00"), MQTT_SERVER_BUSY);
        expect(e, most >= 33 ? "50 1f 0002 89 1b 1f 0018" LATER : "50 03 0002 89");
        assert_int_equal(mqtt_server_suback(e, 5, slice_of(codes, 2)), OK);
        expect(e, most >= 34 ? "90 20 0005 1b 1f 0018" LATER "01 89" : "90 05 0005 00 01 89");
        codes[0] = 0;
        assert_int_equal(mqtt_server_unsuback(e, 6, slice_of(codes, 2)), OK);
        expect(e, most >= 34 ? "b0 20 0006 1b 1f 0018" LATER "00 89" : "b0 05 0006 00 00 89");
        codes[0] = 1;
        mqtt_server_answer(e, ask_of(e, "32 06 0001't' 0003 00"), MQTT_SUCCESS);
        expect(e, "40 02 0003"); /* what is not refused needs no words */
        mqtt_server_close(e, MQTT_SERVER_BUSY);
        expect(e, most >= 31 ? "e0 1d 89 1b 1f 0018" LATER : "e0 01 89");
    }
}

#define GO    "1f 002f'go to the server named here, or come back later'"
#define THERE "1c 0003'o:1'"

static void names_another_server(void **state)
{
    (void)state;
    static const struct {
        uint32_t most;
        const char *out;
    } cases[] = {{UINT32_MAX, "e0 3a 9c 38 " THERE GO},
                 {60, "e0 3a 9c 38 " THERE GO},
                 {59, "e0 08 9c 06 " THERE},
                 {10, "e0 08 9c 06 " THERE},
                 {9, "e0 01 9c"},
                 {5, "e0 01 9c"}};
    struct mqtt_terms terms = terms_of(MQTT_V5);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        terms.client_packet_max = cases[i].most;
        terms.wants_reasons = true;
        AUTO(mqtt_server_autofree) struct mqtt_server *e = start_with(&terms);
        mqtt_server_refer(e, MQTT_USE_ANOTHER_SERVER, slice_text("o:1"));
        expect(e, cases[i].out);
    }
    terms.version = MQTT_V311; /* it cannot be told */
    AUTO(mqtt_server_autofree) struct mqtt_server *old = start_with(&terms);
    mqtt_server_refer(old, MQTT_USE_ANOTHER_SERVER, slice_text("o:1"));
    expect(old, "");
}

/* SPEC: MQTT5-3.1.2-29 */
static void refusals_are_silent_on_request(void **state)
{
    (void)state;
    struct mqtt_terms terms = terms_of(MQTT_V5);
    uint8_t code = MQTT_SERVER_BUSY;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start_with(&terms);
    mqtt_server_answer(e, ask_of(e, "32 06 0001't' 0001 00"), MQTT_SERVER_BUSY);
    assert_int_equal(mqtt_server_suback(e, 5, slice_of(&code, 1)), OK);
    mqtt_server_close(e, MQTT_SERVER_BUSY);
    expect(e, "40 03 0001 89 90 04 0005 00 89 e0 01 89");
    terms.version = MQTT_V311;
    terms.wants_reasons = true; /* what the version cannot say is not said */
    AUTO(mqtt_server_autofree) struct mqtt_server *old = start_with(&terms);
    assert_int_equal(mqtt_server_suback(old, 5, slice_of(&code, 1)), OK);
    mqtt_server_close(old, MQTT_SERVER_BUSY);
    expect(old, "90 03 0005 80");
}

/* SPEC: MQTT5-3.1.2-24: no packet is larger than the client said, whatever its type. */
static void answers_that_do_not_fit(void **state)
{
    (void)state;
    struct mqtt_terms terms = terms_of(MQTT_V5);
    struct mqtt_connack connack = {.code = MQTT_SUCCESS};
    struct mqtt_server *none = NULL;
    uint8_t codes[8] = {0};
    terms.client_packet_max = 4;
    assert_int_equal(mqtt_server_new(&terms, &connack, 1000, &none), ERR_TOO_LARGE);
    terms.client_packet_max = 12;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start_with(&terms);
    assert_int_equal(mqtt_server_suback(e, 5, slice_of(codes, 7)), OK);
    expect(e, "90 0a 0005 00 00000000000000");
    assert_int_equal(mqtt_server_suback(e, 5, slice_of(codes, 8)), ERR_TOO_LARGE);
    assert_true(mqtt_server_is_closing(e));
    expect(e, "e0 01 95");
}

/* ---- topic aliases ---- */

enum { ALIASES = 3 };

static const struct mqtt_wire_limits *alias_limits(void)
{
    static struct mqtt_wire_limits limits;
    limits = talk_limits();
    limits.topic_alias_max = ALIASES;
    return &limits;
}

static struct mqtt_server *start_aliases(uint16_t of_client)
{
    struct mqtt_terms terms = terms_of(MQTT_V5);
    terms.wire = alias_limits();
    terms.client_alias_max = of_client;
    return start_with(&terms);
}

static void topic_is(struct mqtt_server *e, const char *packet, const char *want)
{
    struct mqtt_event ev;
    assert_int_equal(give(e, packet, &ev), OK);
    assert_int_equal(ev.kind, MQTT_EVENT_PUBLISH);
    assert_true(slice_is(ev.publish.topic, want));
    if (ev.ask != 0) {
        mqtt_server_answer(e, ev.ask, MQTT_SUCCESS);
    }
}

/* Whoever gets the event sees the topic. SPEC: MQTT5-3.3.2-12: as many as were announced */
static void aliases_of_the_client(void **state)
{
    (void)state;
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start_aliases(0);
    topic_is(e, "30 07 0001'a' 03 23 0001", "a");
    topic_is(e, "30 07 0001'b' 03 23 0003", "b");
    topic_is(e, "30 06 0000 03 23 0001", "a");
    topic_is(e, "32 08 0000 0007 03 23 0003", "b");
    topic_is(e, "30 08 0002'cc' 03 23 0001", "cc"); /* a number may be given again */
    topic_is(e, "30 06 0000 03 23 0001", "cc");
    topic_is(e, "30 04 0001'z' 00", "z");
    topic_is(e, "30 06 0000 03 23 0003", "b");
    expect(e, "40 02 0007");
}

static const struct talk broken_aliases[] = {
    /* SPEC: MQTT5-3.3.2-8 */
    {"alias 0", MQTT_V5, "30 07 0001'a' 03 23 0000", "0x94!", "e0 01 94"},
    {"alias 0 alone", MQTT_V5, "30 06 0000 03 23 0000", "0x94!", "e0 01 94"},
    /* SPEC: MQTT5-3.3.2-9 */
    {"one more than announced", MQTT_V5, "30 07 0001'a' 03 23 0004", "0x94!", "e0 01 94"},
    {"the largest", MQTT_V5, "30 07 0001'a' 03 23 ffff", "0x94!", "e0 01 94"},
    {"an alias twice", MQTT_V5, "30 0a 0001'a' 06 23 0001 23 0001", "0x82!", "e0 01 82"},
    /* SPEC: MQTT5-3.3.2-7: what another connection said counts for nothing */
    {"an alias that was not given", MQTT_V5, "30 06 0000 03 23 0001", "0x82!", "e0 01 82"},
    {"a neighbour's", MQTT_V5, "30 07 0001'a' 03 23 0001 30 06 0000 03 23 0002",
     "publish0 0 a; 0x82!", "e0 01 82"},
    {"no topic at all", MQTT_V5, "30 03 0000 00", "0x82!", "e0 01 82"},
};

static void aliases_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(broken_aliases); i++) {
        const struct talk *t = &broken_aliases[i];
        AUTO(mqtt_server_autofree) struct mqtt_server *e = start_aliases(0);
        uint8_t bytes[TALK_MAX];
        char text[TALK_TEXT] = "";
        struct slice in = slice_of(bytes, talk_bytes(t->in, bytes));
        take_all(e, &in, text);
        assert_string_equal(text, t->events);
        expect(e, t->out);
    }
}

static enum err deliver_to(struct mqtt_server *e, const char *topic, size_t room, struct wr *ret)
{
    static uint8_t out[64];
    struct msg *m = NULL;
    assert_int_equal(msg_new(slice_text(topic), (struct slice){0}, slice_text("x"), &m), OK);
    struct delivery d = {.msg = m};
    *ret = wr_into(out, room);
    enum err err = mqtt_server_deliver(e, &d, 1000, ret, NULL);
    msg_unref(m);
    return err;
}

static void delivered(struct mqtt_server *e, const char *topic, const char *want)
{
    struct wr w;
    assert_int_equal(deliver_to(e, topic, 64, &w), OK);
    talk_is(topic, wr_slice(&w), want);
}

/* SPEC: MQTT5-3.1.2-26, MQTT5-3.1.2-27, MQTT5-3.3.2-11: no number above the client's maximum, and
 * none when it said nothing. */
static void aliases_to_the_client(void **state)
{
    (void)state;
    for (uint16_t most = 0; most < 3; most++) {
        AUTO(mqtt_server_autofree) struct mqtt_server *e = start_aliases(most);
        delivered(e, "t", "30 05 0001't' 00 'x'"); /* too short to gain by it */
        delivered(e, "tall",
                  most == 0 ? "30 08 0004'tall' 00 'x'" : "30 0b 0004'tall' 03 23 0001 'x'");
        delivered(e, "tall", most == 0 ? "30 08 0004'tall' 00 'x'" : "30 07 0000 03 23 0001 'x'");
        delivered(e, "topic",
                  most < 2 ? "30 09 0005'topic' 00 'x'" : "30 0c 0005'topic' 03 23 0002 'x'");
        delivered(e, "third", "30 09 0005'third' 00 'x'");
        delivered(e, "topic", most < 2 ? "30 09 0005'topic' 00 'x'" : "30 07 0000 03 23 0002 'x'");
    }
}

/* A number is the client's once it was sent, not before; and what fits without it is not lost. */
static void aliases_that_do_not_fit(void **state)
{
    (void)state;
    struct mqtt_terms terms = terms_of(MQTT_V5);
    struct wr w;
    terms.client_alias_max = 1;
    terms.client_packet_max = 11; /* the topic in full, and no number beside it */
    AUTO(mqtt_server_autofree) struct mqtt_server *e = start_with(&terms);
    delivered(e, "topic", "30 09 0005'topic' 00 'x'");
    delivered(e, "topic", "30 09 0005'topic' 00 'x'");
    AUTO(mqtt_server_autofree) struct mqtt_server *wide = start_aliases(1);
    assert_int_equal(deliver_to(wide, "topic", 12, &w), ERR_SPACE);
    delivered(wide, "topic", "30 0c 0005'topic' 03 23 0001 'x'");
    AUTO(mqtt_server_autofree) struct mqtt_server *poor = start_aliases(1);
    (void)mem_fail_after(1); /* the message takes the first */
    delivered(poor, "topic", "30 0c 0005'topic' 03 23 0001 'x'");
    assert_int_equal(mem_fail_after(-1), 1);
    delivered(poor, "other", "30 0c 0005'other' 03 23 0001 'x'");
    delivered(poor, "other", "30 07 0000 03 23 0001 'x'");
    delivered(poor, "topic", "30 09 0005'topic' 00 'x'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_another_server),           cmocka_unit_test(refusals_explain),
        cmocka_unit_test(refusals_are_silent_on_request), cmocka_unit_test(answers_that_do_not_fit),
        cmocka_unit_test(aliases_of_the_client),          cmocka_unit_test(aliases_refused),
        cmocka_unit_test(aliases_to_the_client),          cmocka_unit_test(aliases_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
