#include "wire/mqtt/subscribe.h"

#include "wire/mqtt/golden_private.h"

static const struct golden goldens[] = {
    {"3.1.1 one", C4, "82 08 00 01 00 03 'a/b' 01", 0, ERR_TRUNCATED},
    {"3.1.1 two", C4, "82 0d 00 0a 00 03 'a/b' 00 00 02 '+/' 02", 1, ERR_TRUNCATED},
    {"5 one", C5, "82 07 00 01 00 00 01 '#' 00", 0, ERR_TRUNCATED},
    {"5 all options", C5, "82 09 00 01 00 00 03 'a/+' 2e", 0, ERR_TRUNCATED},
    {"5 identifier and user property", C5,
     "82 15 00 01 0a 0b 80 01 26 00 01 'k' 00 01 'v' 00 05 '$SYS/' 15", 0, ERR_TRUNCATED},
    {"5 shared", C5, "82 12 00 01 00 00 0c '$share/g/+/x' 01", 0, ERR_TRUNCATED},
};

static const struct refused refusals[] = {
    {"no filter", C4, "82 02 00 01", ERR_PROTOCOL, 0x82},
    {"5 no filter", C5, "82 03 00 01 00", ERR_PROTOCOL, 0x82},
    {"id 0", C4, "82 06 00 00 00 01 'a' 00", ERR_MALFORMED, 0x81},
    {"flags 0", C4, "80 06 00 01 00 01 'a' 00", ERR_MALFORMED, 0x81},
    {"3.1.1 QoS 3", C4, "82 06 00 01 00 01 'a' 03", ERR_MALFORMED, 0x81},
    {"3.1.1 reserved bit", C4, "82 06 00 01 00 01 'a' 04", ERR_MALFORMED, 0x81},
    {"5 QoS 3", C5, "82 07 00 01 00 00 01 'a' 03", ERR_PROTOCOL, 0x82},
    {"5 reserved bit 6", C5, "82 07 00 01 00 00 01 'a' 40", ERR_MALFORMED, 0x81},
    {"5 reserved bit 7", C5, "82 07 00 01 00 00 01 'a' 80", ERR_MALFORMED, 0x81},
    {"5 retain handling 3", C5, "82 07 00 01 00 00 01 'a' 30", ERR_PROTOCOL, 0x82},
    {"no local on a shared one", C5, "82 10 00 01 00 00 0a '$share/g/x' 04", ERR_PROTOCOL, 0x82},
    {"identifier 0", C5, "82 09 00 01 02 0b 00 00 01 'a' 00", ERR_PROTOCOL, 0x82},
    {"identifier twice", C5, "82 0b 00 01 04 0b 01 0b 02 00 01 'a' 00", ERR_PROTOCOL, 0x82},
    {"property of PUBLISH", C5, "82 09 00 01 02 01 00 00 01 'a' 00", ERR_MALFORMED, 0x81},
    {"no options", C4, "82 05 00 01 00 01 'a'", ERR_TRUNCATED, 0x81},
    {"filter longer than the packet", C4, "82 06 00 01 ff ff 'a' 00", ERR_TRUNCATED, 0x81},
    {"empty filter", C4, "82 05 00 01 00 00 00", ERR_MALFORMED, 0x8f},
    {"overlong form", C4, "82 07 00 01 00 02 c0 80 00", ERR_UTF8, 0x81},
    {"second filter bad", C4, "82 0b 00 01 00 01 'a' 00 00 02 'a#' 00", ERR_MALFORMED, 0x8f},
    {"share without a name", C5, "82 0f 00 01 00 00 09 '$share//x' 00", ERR_MALFORMED, 0x8f},
    {"share without a filter", C5, "82 0e 00 01 00 00 08 '$share/g' 00", ERR_MALFORMED, 0x8f},
    {"3.1.1 share without a filter", C4, "82 0d 00 01 00 08 '$share/g' 00", ERR_MALFORMED, 0x8f},
    {"share name with a wildcard", C5, "82 11 00 01 00 00 0b '$share/g+/x' 00", ERR_MALFORMED,
     0x8f},
};

static void test_goldens(void **state)
{
    (void)state;
    GOLDEN_CHECK(goldens);
}

/* SPEC: MQTT3-3.8.3-3, MQTT5-3.8.3-2, MQTT3-3.8.3-4, MQTT5-3.8.3-5, MQTT3-3.8.3-1, MQTT5-3.8.3-4,
 * MQTT5-4.8.2-1, MQTT5-4.8.2-2, MQTT3-2.3.1-1 */
static void test_refusals(void **state)
{
    (void)state;
    REFUSED_CHECK(refusals);
}

static void decode(const char *bytes, enum mqtt_version version, uint8_t *room,
                   uint16_t filters_max, struct mqtt_subscribe *ret)
{
    struct mqtt_wire_limits limits = golden_limits();
    limits.filters_per_packet = filters_max;
    struct slice stream = slice_of(room, golden_bytes(bytes, room));
    struct mqtt_fixed fixed;
    struct mqtt_input in = {.version = version, .limits = &limits};
    assert_int_equal(mqtt_packet_cut(&stream, SIZE_MAX, NULL, &fixed, &in.body), OK);
    assert_int_equal(mqtt_subscribe_decode(&in, NULL, ret), OK);
}

static void test_iterator(void **state)
{
    (void)state;
    uint8_t room[GOLDEN_MAX];
    struct mqtt_subscribe m;
    struct mqtt_subscription s;
    decode(goldens[1].bytes, MQTT_V311, room, 8, &m);
    assert_int_equal(m.packet_id, 10);
    assert_int_equal(m.n_filters, 2);
    struct slice list = m.list;
    assert_true(mqtt_subscribe_next(&list, &s));
    assert_true(slice_is(s.whole, "a/b") && slice_is(s.filter, "a/b") && s.group.n == 0);
    assert_int_equal(s.qos, 0);
    assert_true(mqtt_subscribe_next(&list, &s));
    assert_true(slice_is(s.filter, "+/"));
    assert_int_equal(s.qos, 2);
    assert_false(mqtt_subscribe_next(&list, &s));

    decode(goldens[3].bytes, MQTT_V5, room, 8, &m);
    list = m.list;
    assert_true(mqtt_subscribe_next(&list, &s));
    assert_int_equal(s.qos, 2);
    assert_true(s.no_local && s.retain_as_published);
    assert_int_equal(s.retain_handling, MQTT_RETAIN_NEVER);

    decode(goldens[4].bytes, MQTT_V5, room, 8, &m);
    assert_int_equal(mqtt_props_number(&m.props, MQTT_PROP_SUBSCRIPTION_ID, 0), 128);
    list = m.list;
    assert_true(mqtt_subscribe_next(&list, &s));
    assert_true(slice_is(s.filter, "$SYS/"));
    assert_int_equal(s.retain_handling, MQTT_RETAIN_IF_NEW);
    assert_true(s.no_local && !s.retain_as_published);

    decode(goldens[5].bytes, MQTT_V5, room, 8, &m);
    list = m.list;
    assert_true(mqtt_subscribe_next(&list, &s));
    assert_true(slice_is(s.whole, "$share/g/+/x") && slice_is(s.group, "g") &&
                slice_is(s.filter, "+/x"));
}

/* As a client writes it. */
static void test_write(void **state)
{
    (void)state;
    uint8_t list[64], out[64], want[GOLDEN_MAX];
    struct mqtt_subscription s = {.whole = slice_text("a/+"),
                                  .qos = 2,
                                  .no_local = true,
                                  .retain_as_published = true,
                                  .retain_handling = MQTT_RETAIN_NEVER};
    struct wr l = wr_into(list, sizeof list), w = wr_into(out, sizeof out);
    mqtt_subscription_write(&l, &s, MQTT_V5);
    struct mqtt_subscribe m = {.packet_id = 1, .list = wr_slice(&l)};
    mqtt_props_set_number(&m.props, MQTT_PROP_SUBSCRIPTION_ID, 5);
    assert_int_equal(mqtt_subscribe_encode(&m, MQTT_V5, &w), OK);
    size_t n = golden_bytes("82 0b 00 01 02 0b 05 00 03 'a/+' 2e", want);
    assert_true(slice_equal(wr_slice(&w), slice_of(want, n)));
    l = wr_into(list, sizeof list);
    mqtt_subscription_write(&l, &s, MQTT_V311);
    assert_int_equal(list[5], 2);
}

/* Over the limit the packet is still a packet: its answer refuses every filter. */
static void test_filter_limit(void **state)
{
    (void)state;
    uint8_t room[GOLDEN_MAX];
    struct mqtt_subscribe m;
    decode(goldens[1].bytes, MQTT_V311, room, 2, &m);
    assert_false(m.is_over_limit);
    decode(goldens[1].bytes, MQTT_V311, room, 1, &m);
    assert_true(m.is_over_limit);
    assert_int_equal(m.n_filters, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),      cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_iterator),     cmocka_unit_test(test_write),
        cmocka_unit_test(test_filter_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
