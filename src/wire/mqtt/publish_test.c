#include "wire/mqtt/publish.h"

#include "wire/mqtt/golden_private.h"
#include "wire/mqtt/varint.h"

static const struct golden goldens[] = {
    {"3.1.1 QoS 0", C4, "30 07 00 03 'a/b' 'hi'", 2, OK},
    {"3.1.1 QoS 0 empty", C4, "31 05 00 03 'a/b'", 0, OK},
    {"3.1.1 QoS 1 again", C4, "3b 08 00 03 'a/b' 00 0a 'x'", 1, OK},
    {"3.1.1 QoS 2 from a server", S4, "35 08 00 03 'a/b' ff ff 'x'", 1, OK},
    {"3.1.1 dollar topic", C4, "30 06 00 04 '$foo'", 0, OK},
    {"5 QoS 0", C5, "30 08 00 03 'a/b' 00 'hi'", 2, OK},
    {"5 alias and no topic", C5, "30 08 00 00 03 23 00 01 'hi'", 2, OK},
    {"5 every property", C5,
     "32 2f 00 01 't' 00 01 27 01 01 02 00 00 00 0a 03 00 01 'c' 08 00 03 'r/t' 09 00 02 00 ff 23 "
     "00 10 "
     "26 00 01 'k' 00 01 'v' 26 00 01 'k' 00 01 'v' 'hi'",
     2, ERR_UTF8 /* declared as text */},
    {"5 subscription identifiers", S5, "30 0a 00 01 't' 05 0b 01 0b 80 01 'm'", 1, OK},
};

static const struct refused refusals[] = {
    {"QoS 3", C4, "36 07 00 03 'a/b' 00 01", ERR_MALFORMED, 0x81},
    {"DUP with QoS 0", C4, "38 05 00 03 'a/b'", ERR_MALFORMED, 0x81},
    {"empty", C4, "30 00", ERR_TRUNCATED, 0x81},
    {"topic longer than the packet", C4, "30 03 00 04 'a'", ERR_TRUNCATED, 0x81},
    {"QoS 1 without a packet id", C4, "32 03 00 01 'a'", ERR_TRUNCATED, 0x81},
    {"QoS 1 with half a packet id", C4, "32 04 00 01 'a' 00", ERR_TRUNCATED, 0x81},
    {"packet id 0", C4, "32 05 00 01 'a' 00 00", ERR_MALFORMED, 0x81},
    {"packet id 0 in 5", C5, "34 06 00 01 'a' 00 00 00", ERR_MALFORMED, 0x81},
    {"3.1.1 empty topic", C4, "30 02 00 00", ERR_MALFORMED, 0x90},
    {"5 empty topic without alias", C5, "30 03 00 00 00", ERR_PROTOCOL, 0x82},
    {"wildcard in the topic", C4, "30 05 00 03 'a/+'", ERR_MALFORMED, 0x90},
    {"wildcard inside a level", C5, "30 06 00 03 'a#b' 00", ERR_MALFORMED, 0x90},
    {"overlong form", C4, "30 05 00 03 'a' c0 80", ERR_UTF8, 0x81},
    {"surrogate", C4, "30 05 00 03 ed a0 80", ERR_UTF8, 0x81},
    {"NUL", C4, "30 05 00 03 'a' 00 'b'", ERR_UTF8, 0x81},
    {"alias 0", C5, "30 07 00 01 'a' 03 23 00 00", ERR_PROTOCOL, 0x94},
    {"alias over what was announced", C5, "30 07 00 01 'a' 03 23 00 11", ERR_PROTOCOL, 0x94},
    {"alias twice", C5, "30 0a 00 01 'a' 06 23 00 01 23 00 01", ERR_PROTOCOL, 0x82},
    {"subscription identifier from a client", C5, "30 06 00 01 'a' 02 0b 01", ERR_PROTOCOL, 0x82},
    {"subscription identifier 0", S5, "30 06 00 01 'a' 02 0b 00", ERR_PROTOCOL, 0x82},
    {"subscription identifier of five bytes", S5, "30 0a 00 01 'a' 06 0b 80 80 80 80 01",
     ERR_MALFORMED, 0x81},
    {"subscription identifier not the shortest", S5, "30 07 00 01 'a' 03 0b 81 00", ERR_MALFORMED,
     0x81},
    {"payload format 2", C5, "30 06 00 01 'a' 02 01 02", ERR_PROTOCOL, 0x82},
    {"payload declared as text and none", C5, "30 08 00 01 'a' 02 01 01 c0 80", ERR_UTF8, 0x99},
    {"response topic wildcard", C5, "30 08 00 01 'a' 04 08 00 01 '#'", ERR_MALFORMED, 0x90},
    {"response topic empty", C5, "30 07 00 01 'a' 03 08 00 00", ERR_MALFORMED, 0x90},
    {"response topic overlong form", C5, "30 09 00 01 'a' 05 08 00 02 c0 80", ERR_UTF8, 0x81},
    {"user property key not text", C5, "30 0a 00 01 'a' 06 26 00 01 ff 00 00", ERR_UTF8, 0x81},
    {"user property value not text", C5, "30 0a 00 01 'a' 06 26 00 00 00 01 ff", ERR_UTF8, 0x81},
    {"unknown property", C5, "30 06 00 01 'a' 02 04 00", ERR_MALFORMED, 0x81},
    {"property id of two bytes", C5, "30 07 00 01 'a' 03 81 01 00", ERR_MALFORMED, 0x81},
    {"property of CONNECT", C5, "30 07 00 01 'a' 03 21 00 01", ERR_MALFORMED, 0x81},
    {"no property length", C5, "30 03 00 01 'a'", ERR_TRUNCATED, 0x81},
    {"properties longer than the packet", C5, "30 05 00 01 'a' 02 01", ERR_TRUNCATED, 0x81},
};

static void test_goldens(void **state)
{
    (void)state;
    GOLDEN_CHECK(goldens);
}

/* SPEC: MQTT-3.3.2-2, MQTT-4.7.3-1, MQTT3-3.3.1-4, MQTT3-3.3.2-1, MQTT3-2.3.1-1, MQTT5-1.5.7-1,
 * MQTT5-3.3.2-8, MQTT5-3.3.2-9, MQTT5-3.3.2-13, MQTT5-3.3.2-14, MQTT5-3.3.4-6 */
static void test_refusals(void **state)
{
    (void)state;
    REFUSED_CHECK(refusals);
}

static void decode(const char *bytes, enum mqtt_sender sender, uint8_t *room,
                   struct mqtt_publish *ret)
{
    struct mqtt_wire_limits limits = golden_limits();
    struct slice stream = slice_of(room, golden_bytes(bytes, room));
    struct mqtt_fixed fixed;
    struct mqtt_input in = {.version = MQTT_V5, .sender = sender, .limits = &limits};
    assert_int_equal(mqtt_packet_cut(&stream, SIZE_MAX, NULL, &fixed, &in.body), OK);
    in.flags = fixed.flags;
    assert_int_equal(mqtt_publish_decode(&in, NULL, ret), OK);
}

static void test_fields(void **state)
{
    (void)state;
    uint8_t room[GOLDEN_MAX];
    struct mqtt_publish m;
    decode(goldens[7].bytes, MQTT_FROM_CLIENT, room, &m);
    assert_true(slice_is(m.topic, "t"));
    assert_true(slice_is(m.payload, "hi"));
    assert_int_equal(m.qos, 1);
    assert_int_equal(m.packet_id, 1);
    assert_false(m.retain || m.dup);
    assert_int_equal(mqtt_props_number(&m.props, MQTT_PROP_MESSAGE_EXPIRY, 0), 10);
    assert_int_equal(mqtt_props_number(&m.props, MQTT_PROP_TOPIC_ALIAS, 0), 16);
    assert_true(slice_is(mqtt_props_text(&m.props, MQTT_PROP_RESPONSE_TOPIC), "r/t"));
    assert_int_equal(m.props.n_user, 2);
}

/* Decode from a publisher, forward as to a subscriber: its own expiry and identifiers, the rest as
 * it was, byte by byte. */
static void test_forward(void **state)
{
    (void)state;
    uint8_t room[GOLDEN_MAX], forward[64], out[64], want[GOLDEN_MAX];
    struct mqtt_publish m;
    decode(goldens[7].bytes, MQTT_FROM_CLIENT, room, &m);
    struct wr f = wr_into(forward, sizeof forward);
    mqtt_props_copy_forward(&m.props, &f);
    assert_int_equal(f.at, mqtt_props_forward_size(&m.props));
    const uint32_t ids[] = {1, 128};
    struct mqtt_publish_out copy = {.topic = m.topic,
                                    .forward = wr_slice(&f),
                                    .subscription_ids = ids,
                                    .n_subscription_ids = 2,
                                    .payload_n = m.payload.n,
                                    .expiry_s = 7,
                                    .packet_id = 0x1234,
                                    .qos = 2,
                                    .retain = true,
                                    .dup = true,
                                    .has_expiry = true};
    struct wr w = wr_into(out, sizeof out);
    assert_int_equal(mqtt_publish_encode_head(&copy, MQTT_V5, &w), OK);
    assert_int_equal(w.at + copy.payload_n, mqtt_publish_packet_size(&copy, MQTT_V5));
    size_t n =
        golden_bytes("3d 31 00 01 't' 12 34 29 02 00 00 00 07 0b 01 0b 80 01 01 01 03 00 01 'c' "
                     "08 00 03 'r/t' 09 00 02 00 ff 26 00 01 'k' 00 01 'v' 26 00 01 'k' 00 01 'v'",
                     want);
    assert_int_equal(w.at, n);
    assert_memory_equal(out, want, n);

    struct wr exact = wr_into(room, n), shorter = wr_into(room, n - 1);
    copy.topic = slice_text("t");
    assert_int_equal(mqtt_publish_encode_head(&copy, MQTT_V5, &exact), OK);
    assert_int_equal(mqtt_publish_encode_head(&copy, MQTT_V5, &shorter), ERR_SPACE);
    assert_int_equal(shorter.at, 0);

    w = wr_into(out, sizeof out);
    assert_int_equal(mqtt_publish_encode_head(&copy, MQTT_V311, &w), OK);
    n = golden_bytes("3d 07 00 01 't' 12 34", want); /* the payload is counted, not written */
    assert_int_equal(w.at, n);
    assert_memory_equal(out, want, n);
    assert_int_equal(mqtt_publish_packet_size(&copy, MQTT_V311), 9);
}

static void test_head_with_alias_and_no_encoding(void **state)
{
    (void)state;
    uint8_t out[32];
    struct mqtt_publish_out copy = {.alias = 5, .payload_n = 1, .dup = true};
    struct wr w = wr_into(out, sizeof out);
    assert_int_equal(mqtt_publish_encode_head(&copy, MQTT_V5, &w), OK);
    const uint8_t want[] = {0x30, 7, 0, 0, 3, 0x23, 0, 5}; /* no DUP with QoS 0 */
    assert_int_equal(w.at, sizeof want);
    assert_memory_equal(out, want, sizeof want);
    copy.payload_n = 268435455;
    w = wr_into(out, sizeof out);
    assert_int_equal(mqtt_publish_encode_head(&copy, MQTT_V5, &w), ERR_TOO_LARGE);
    assert_int_equal(w.at, 0);
}

/* A topic of n bytes that are levels, in a packet that is otherwise empty. */
static enum err take_topic(size_t n_bytes, uint8_t byte, const struct mqtt_wire_limits *limits,
                           struct mqtt_fault *fault)
{
    static uint8_t packet[70000];
    struct wr w = wr_into(packet, sizeof packet);
    mqtt_fixed_encode(&w, MQTT_PUBLISH, 0, 2 + n_bytes);
    wr_u16(&w, (uint16_t)n_bytes);
    memset(wr_reserve(&w, n_bytes), byte, n_bytes);
    return golden_take(wr_slice(&w), MQTT_V311, MQTT_FROM_CLIENT, limits, fault);
}

static void test_limits(void **state)
{
    (void)state;
    struct mqtt_wire_limits limits = golden_limits(), wide = mqtt_wire_limits_max();
    struct mqtt_fault fault = {0};
    assert_int_equal(take_topic(256, 'a', &limits, &fault), OK);
    assert_int_equal(take_topic(257, 'a', &limits, &fault), ERR_TOO_LARGE);
    assert_int_equal(fault.reason, 0x90);
    assert_int_equal(take_topic(15, '/', &limits, &fault), OK); /* sixteen levels */
    assert_int_equal(take_topic(16, '/', &limits, &fault), ERR_LIMIT);
    assert_int_equal(fault.reason, 0x90);
    assert_int_equal(take_topic(65535, '/', &limits, &fault), ERR_TOO_LARGE);
    wide.topic_levels = 16;
    assert_int_equal(take_topic(65535, '/', &wide, &fault), ERR_LIMIT);
    wide.topic_levels = 65536;
    assert_int_equal(take_topic(65535, '/', &wide, &fault), OK);
    limits.topic_alias_max = 15;
    uint8_t room[GOLDEN_MAX];
    struct slice packet = slice_of(room, golden_bytes(goldens[7].bytes, room));
    assert_int_equal(golden_take(packet, C5, &limits, &fault), ERR_PROTOCOL);
    assert_int_equal(fault.reason, 0x94);
}

/* One packet, thirteen thousand user properties: linear work, and refused at the limit. */
static void test_many_user_properties(void **state)
{
    (void)state;
    static uint8_t packet[70000];
    static const size_t counts[] = {63, 64, 65, 13000};
    for (size_t c = 0; c < COUNT_OF(counts); c++) {
        size_t n = counts[c];
        struct wr w = wr_into(packet, sizeof packet);
        struct mqtt_wire_limits limits = golden_limits();
        struct mqtt_fault fault = {0};
        size_t props_n = n * 5;
        mqtt_fixed_encode(&w, MQTT_PUBLISH, 0, 3 + mqtt_varint_size(props_n) + props_n);
        wr_block16(&w, slice_text("t"));
        mqtt_varint_write(&w, props_n);
        for (size_t i = 0; i < n; i++) {
            mqtt_prop_write_user(&w, (struct slice){0}, (struct slice){0});
        }
        assert_int_equal(golden_take(wr_slice(&w), C5, &limits, &fault), n <= 64 ? OK : ERR_LIMIT);
        assert_int_equal(fault.reason, n <= 64 ? 0 : 0x97);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_head_with_alias_and_no_encoding),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_many_user_properties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
