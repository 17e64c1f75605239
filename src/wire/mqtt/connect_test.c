#include "wire/mqtt/connect.h"

#include "wire/mqtt/golden_private.h"

#define V3 "00 06 'MQIsdp' 03 "
#define V4 "00 04 'MQTT' 04 "
#define V5 "00 04 'MQTT' 05 "

static const struct golden goldens[] = {
    {"3.1.1 smallest", C4, "10 0c " V4 "02 00 3c 00 00", 0, ERR_TRAILING},
    {"3.1.1 client id", C4, "10 10 " V4 "00 00 0a 00 04 'dev1'", 0, ERR_TRAILING},
    {"3.1.1 all", C4,
     "10 23 " V4 "ee 00 0a 00 04 'dev1' 00 03 'w/t' 00 03 00 ff fe 00 01 'u' 00 04 'p' 00 ff 'q'",
     0, ERR_TRAILING},
    {"5 smallest", C5, "10 0d " V5 "02 00 00 00 00 00", 0, ERR_TRAILING},
    {"5 every property", C5,
     "10 3a " V5
     "02 00 3c 2b 11 00 00 00 0a 15 00 02 'me' 16 00 01 ff 17 00 19 01 21 00 14 22 00 0a "
     "27 00 01 00 00 26 00 01 'k' 00 01 'v' 26 00 01 'k' 00 01 'w' 00 02 'id'",
     0, ERR_TRAILING},
    {"5 will with properties", C5,
     "10 3a " V5
     "36 00 3c 00 00 02 'id' 20 01 01 02 00 00 00 3c 03 00 01 't' 08 00 01 'r' 09 00 02 ff "
     "00 18 00 00 00 05 26 00 01 'k' 00 01 'v' 00 01 'w' 00 05 'hello'",
     0, ERR_TRAILING},
    {"5 password without user name", C5, "10 11 " V5 "42 00 3c 00 00 00 00 02 'pw'", 0,
     ERR_TRAILING},
    {"5 all", C5,
     "10 25 " V5
     "ee 00 0a 00 00 04 'dev1' 00 00 03 'w/t' 00 03 00 ff fe 00 01 'u' 00 04 'p' 00 ff 'q'",
     0, ERR_TRAILING},
    {"3.1 smallest", C3, "10 10 " V3 "02 00 3c 00 02 'id'", 0, ERR_TRAILING},
    /* user name and password may be announced and missing */
    {"3.1 all", C3,
     "10 25 " V3 "ee 00 0a 00 04 'dev1' 00 03 'w/t' 00 03 00 ff fe 00 01 'u' 00 04 'p' 00 ff 'q'",
     2, ERR_TRAILING},
};

static const struct refused refusals[] = {
    {"MQIsdp", C4, "10 10 00 06 'MQIsdp' 03 02 00 3c 00 02 'id'", ERR_UNSUPPORTED, 0x84},
    {"MQIsdp with level 4", C4, "10 10 00 06 'MQIsdp' 04 02 00 3c 00 02 'id'", ERR_UNSUPPORTED,
     0x84},
    {"MQIsdp that breaks off", C4, "10 09 " V3, ERR_UNSUPPORTED, 0x84},
    {"MQIsdp with level 4 where 3.1 is taken", C3, "10 10 00 06 'MQIsdp' 04 02 00 3c 00 02 'id'",
     ERR_UNSUPPORTED, 0x84},
    {"MQIsdp with level 5 where 3.1 is taken", C3, "10 11 00 06 'MQIsdp' 05 02 00 3c 00 00 02 'id'",
     ERR_UNSUPPORTED, 0x84},
    {"MQIsdp of a bridge where 3.1 is taken", C3, "10 10 00 06 'MQIsdp' 83 02 00 3c 00 02 'id'",
     ERR_UNSUPPORTED, 0x84},
    {"level 3 under the new name where 3.1 is taken", C3,
     "10 0e 00 04 'MQTT' 03 02 00 3c 00 02 'id'", ERR_UNSUPPORTED, 0x84},
    {"MQISDP", C3, "10 10 00 06 'MQISDP' 03 02 00 3c 00 02 'id'", ERR_MALFORMED, 0x81},
    {"3.1 that breaks off", C3, "10 09 " V3, ERR_TRUNCATED, 0x81},
    {"3.1 without client id", C3, "10 0e " V3 "02 00 3c 00 00", ERR_PROTOCOL, 0x85},
    {"3.1 reserved flag", C3, "10 10 " V3 "03 00 3c 00 02 'id'", ERR_MALFORMED, 0x81},
    {"3.1 will QoS 3", C3, "10 16 " V3 "1e 00 3c 00 02 'id' 00 01 't' 00 01 'm'", ERR_MALFORMED,
     0x81},
    {"3.1 password without user name", C3, "10 14 " V3 "42 00 3c 00 02 'id' 00 02 'pw'",
     ERR_MALFORMED, 0x81},
    {"3.1 half a user name", C3, "10 13 " V3 "82 00 3c 00 02 'id' 00 02 'u'", ERR_TRUNCATED, 0x81},
    {"3.1 client id overlong form", C3, "10 10 " V3 "02 00 3c 00 02 c0 80", ERR_UTF8, 0x81},
    {"3.1 will topic wildcard", C3, "10 15 " V3 "06 00 3c 00 02 'id' 00 01 '#' 00 00",
     ERR_MALFORMED, 0x90},
    {"level 3 under the new name", C4, "10 0c 00 04 'MQTT' 03 02 00 3c 00 00", ERR_UNSUPPORTED,
     0x84},
    {"level 6", C4, "10 0c 00 04 'MQTT' 06 02 00 3c 00 00", ERR_UNSUPPORTED, 0x84},
    {"bridge bit in the level", C4, "10 0c 00 04 'MQTT' 84 02 00 3c 00 00", ERR_UNSUPPORTED, 0x84},
    {"other name", C4, "10 0c 00 04 'mqtt' 04 02 00 3c 00 00", ERR_MALFORMED, 0x81},
    {"empty", C4, "10 00", ERR_TRUNCATED, 0x81},
    {"reserved flag", C4, "10 0c " V4 "03 00 3c 00 00", ERR_MALFORMED, 0x81},
    {"reserved flag in 5", C5, "10 0d " V5 "03 00 3c 00 00 00", ERR_MALFORMED, 0x81},
    {"will QoS without will", C4, "10 0c " V4 "0a 00 3c 00 00", ERR_MALFORMED, 0x81},
    {"will retain without will", C4, "10 0c " V4 "22 00 3c 00 00", ERR_MALFORMED, 0x81},
    {"will QoS 3", C4, "10 12 " V4 "1e 00 3c 00 00 00 01 't' 00 01 'm'", ERR_MALFORMED, 0x81},
    {"3.1.1 password without user name", C4, "10 10 " V4 "42 00 3c 00 00 00 02 'pw'", ERR_MALFORMED,
     0x81},
    {"3.1.1 keeps a session without a name", C4, "10 0c " V4 "00 00 3c 00 00", ERR_PROTOCOL, 0x85},
    {"client id overlong form", C4, "10 0e " V4 "02 00 3c 00 02 c0 80", ERR_UTF8, 0x81},
    {"client id surrogate", C4, "10 0f " V4 "02 00 3c 00 03 ed a0 80", ERR_UTF8, 0x81},
    {"client id NUL", C4, "10 0d " V4 "02 00 3c 00 01 00", ERR_UTF8, 0x81},
    {"user name overlong form", C4, "10 10 " V4 "82 00 3c 00 00 00 02 c0 80", ERR_UTF8, 0x81},
    {"will topic surrogate", C4, "10 14 " V4 "06 00 3c 00 00 00 03 ed a0 80 00 01 'm'", ERR_UTF8,
     0x81},
    {"will topic empty", C4, "10 10 " V4 "06 00 3c 00 00 00 00 00 00", ERR_MALFORMED, 0x90},
    {"will topic wildcard", C4, "10 11 " V4 "06 00 3c 00 00 00 01 '#' 00 00", ERR_MALFORMED, 0x90},
    {"will payload longer than the packet", C4, "10 11 " V4 "06 00 3c 00 00 00 01 't' ff ff",
     ERR_TRUNCATED, 0x81},
    {"will that says text and is none", C5,
     "10 16 " V5 "06 00 3c 00 00 00 02 01 01 00 01 't' 00 01 ff", ERR_UTF8, 0x99},
    {"will response topic wildcard", C5,
     "10 18 " V5 "06 00 3c 00 00 00 04 08 00 01 '+' 00 01 't' 00 01 'm'", ERR_MALFORMED, 0x90},
    {"will with a property of CONNECT", C5,
     "10 19 " V5 "06 00 3c 00 00 00 05 11 00 00 00 01 00 01 't' 00 01 'm'", ERR_MALFORMED, 0x81},
    {"CONNECT with a property of the will", C5, "10 12 " V5 "02 00 3c 05 18 00 00 00 01 00 00",
     ERR_MALFORMED, 0x81},
    {"receive maximum 0", C5, "10 10 " V5 "02 00 3c 03 21 00 00 00 00", ERR_PROTOCOL, 0x82},
    {"maximum packet size 0", C5, "10 12 " V5 "02 00 3c 05 27 00 00 00 00 00 00", ERR_PROTOCOL,
     0x82},
    {"authentication data alone", C5, "10 11 " V5 "02 00 3c 04 16 00 01 ff 00 00", ERR_PROTOCOL,
     0x82},
    {"property length of five bytes", C5, "10 11 " V5 "02 00 3c 80 80 80 80 01 00 00",
     ERR_MALFORMED, 0x81},
    {"property length not the shortest", C5, "10 0e " V5 "02 00 3c 80 00 00 00", ERR_MALFORMED,
     0x81},
    {"properties longer than the packet", C5, "10 0d " V5 "02 00 3c 03 00 00", ERR_TRUNCATED, 0x81},
    {"property that runs out of its block", C5, "10 10 " V5 "02 00 3c 03 11 00 00 00 00",
     ERR_TRUNCATED, 0x81},
};

static void test_goldens(void **state)
{
    (void)state;
    GOLDEN_CHECK(goldens);
}

/* SPEC: MQTT-3.1.2-3, MQTT3-3.1.2-1, MQTT3-3.1.2-2, MQTT5-3.1.2-2, MQTT3-3.1.2-11, MQTT3-3.1.2-13,
 * MQTT3-3.1.2-14, MQTT3-3.1.2-15, MQTT3-3.1.2-22, MQTT3-3.1.3-4, MQTT3-3.1.3-8, MQTT3-3.1.3-10,
 * MQTT3-3.1.3-11, MQTT3-1.5.3-1, MQTT3-1.5.3-2 */
static void test_refusals(void **state)
{
    (void)state;
    REFUSED_CHECK(refusals);
}

static enum err decode(const char *bytes, const struct mqtt_wire_limits *limits,
                       struct mqtt_fault *fault, struct mqtt_connect *ret)
{
    static uint8_t room[GOLDEN_MAX];
    size_t n = golden_bytes(bytes, room);
    struct slice stream = slice_of(room, n);
    struct mqtt_fixed fixed;
    struct mqtt_input in = {.takes_v31 = true, .limits = limits};
    TRY(mqtt_packet_cut(&stream, n, fault, &fixed, &in.body));
    return mqtt_connect_decode(&in, fault, ret);
}

/* SPEC: MQTT-3.1.3-1 */
static void test_order_of_fields(void **state)
{
    (void)state;
    struct mqtt_wire_limits limits = golden_limits();
    struct mqtt_fault fault = {0};
    for (unsigned i = 0; i < 2; i++) {
        struct mqtt_connect m = {0};
        assert_int_equal(decode(goldens[i == 0 ? 2 : 7].bytes, &limits, &fault, &m), OK);
        assert_int_equal(m.version, i == 0 ? MQTT_V311 : MQTT_V5);
        assert_true(m.clean_start && m.has_will && m.has_username && m.has_password);
        assert_int_equal(m.keep_alive_s, 10);
        assert_true(slice_is(m.client_id, "dev1"));
        assert_true(slice_is(m.will.topic, "w/t"));
        assert_true(slice_equal(m.will.payload, slice_of("\0\xff\xfe", 3)));
        assert_int_equal(m.will.qos, 1);
        assert_true(m.will.retain);
        assert_true(slice_is(m.username, "u"));
        assert_true(slice_equal(m.password, slice_of("p\0\xffq", 4))); /* any bytes */
    }
}

static void test_fields(void **state)
{
    (void)state;
    struct mqtt_wire_limits limits = golden_limits();
    struct mqtt_fault fault = {0};
    struct mqtt_connect m = {0};
    assert_int_equal(decode(goldens[4].bytes, &limits, &fault, &m), OK);
    assert_int_equal(m.version, MQTT_V5);
    assert_int_equal(mqtt_props_number(&m.props, MQTT_PROP_SESSION_EXPIRY, 0), 10);
    assert_int_equal(mqtt_props_number(&m.props, MQTT_PROP_RECEIVE_MAXIMUM, 65535), 20);
    assert_int_equal(mqtt_props_number(&m.props, MQTT_PROP_REQUEST_PROBLEM_INFO, 1), 0);
    assert_int_equal(mqtt_props_number(&m.props, MQTT_PROP_MAXIMUM_PACKET_SIZE, 0), 0x10000);
    assert_true(slice_is(mqtt_props_text(&m.props, MQTT_PROP_AUTH_METHOD), "me"));
    assert_int_equal(m.props.n_user, 2);

    assert_int_equal(decode(goldens[5].bytes, &limits, &fault, &m), OK);
    assert_int_equal(m.will.qos, 2);
    assert_true(m.will.retain);
    assert_int_equal(mqtt_props_number(&m.will.props, MQTT_PROP_WILL_DELAY, 0), 5);
    assert_true(slice_is(m.will.payload, "hello"));
}

/* What to answer in must be known even when the rest is wrong. */
static void test_level_is_kept(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        uint8_t level;
        bool is_v31;
    } cases[] = {
        {"10 10 " V3 "03 00 3c 00 02 'id'", 3, true},
        {"10 10 00 06 'MQIsdp' 04 02 00 3c 00 02 'id'", 3, false},
        {"10 10 00 06 'MQIsdp' 83 02 00 3c 00 02 'id'", 3, false},
        {"10 0c 00 04 'MQTT' 03 02 00 3c 00 00", 3, false},
        {"10 0c 00 04 'MQTT' 06 02 00 3c 00 00", 6, false},
        {"10 0c 00 04 'MQTT' 84 02 00 3c 00 00", 4, false},
        {"10 0d 00 04 'MQTT' 85 02 00 3c 00 00 00", 5, false},
        {"10 0c " V4 "03 00 3c 00 00", 4, false},
        {"10 0e " V5 "02 00 3c 80 00 00 00", 5, false},
        {"10 0c 00 04 'mqtt' 04 02 00 3c 00 00", 0, false},
        {"10 05 00 04 'MQT'", 0, false},
    };
    struct mqtt_wire_limits limits = golden_limits();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct mqtt_fault fault = {.level = 99, .is_v31 = true};
        struct mqtt_connect m = {0};
        assert_int_not_equal(decode(cases[i].bytes, &limits, &fault, &m), OK);
        assert_int_equal(fault.level, cases[i].level);
        assert_int_equal(fault.is_v31, cases[i].is_v31);
    }
}

/* What 3.1 leaves open and 3.1.1 does not: bits of a will that is not there, a user name and a
 * password that are announced and missing. And its client id ends where ours does. */
static void test_v31(void **state)
{
    (void)state;
    struct mqtt_wire_limits limits = golden_limits();
    struct mqtt_fault fault = {0};
    struct mqtt_connect m = {0};
    assert_int_equal(decode("10 10 " V3 "3a 00 3c 00 02 'id'", &limits, &fault, &m), OK);
    assert_int_equal(m.version, MQTT_V31);
    assert_true(m.clean_start && !m.has_will && m.will.qos == 0 && !m.will.retain);
    assert_int_equal(decode("10 10 " V3 "c0 00 3c 00 02 'id'", &limits, &fault, &m), OK);
    assert_true(!m.clean_start && !m.has_username && !m.has_password);
    assert_int_equal(decode("10 13 " V3 "c0 00 3c 00 02 'id' 00 01 'u'", &limits, &fault, &m), OK);
    assert_true(m.has_username && slice_is(m.username, "u") && !m.has_password);

    static const char longer[] = "10 26 " V3 "02 00 3c 00 18 'abcdefghijklmnopqrstuvwx'";
    limits.client_id_bytes = 24;
    assert_int_equal(decode(longer, &limits, &fault, &m), OK);
    assert_int_equal(m.client_id.n, 24);
    limits.client_id_bytes = 23;
    assert_int_equal(decode(longer, &limits, &fault, &m), ERR_TOO_LARGE);
    assert_int_equal(fault.reason, 0x85);
}

static void test_limits(void **state)
{
    (void)state;
    struct mqtt_fault fault = {0};
    struct mqtt_connect m = {0};
    struct mqtt_wire_limits limits = golden_limits();
    limits.client_id_bytes = 4;
    assert_int_equal(decode(goldens[1].bytes, &limits, &fault, &m), OK);
    limits.client_id_bytes = 3;
    assert_int_equal(decode(goldens[1].bytes, &limits, &fault, &m), ERR_TOO_LARGE);
    assert_int_equal(fault.reason, 0x85);

    limits = golden_limits();
    limits.topic_bytes = 3;
    limits.topic_levels = 2;
    assert_int_equal(decode(goldens[2].bytes, &limits, &fault, &m), OK);
    limits.topic_levels = 1;
    assert_int_equal(decode(goldens[2].bytes, &limits, &fault, &m), ERR_LIMIT);
    assert_int_equal(fault.reason, 0x90);
    limits.topic_bytes = 2;
    assert_int_equal(decode(goldens[2].bytes, &limits, &fault, &m), ERR_TOO_LARGE);

    limits = golden_limits();
    limits.user_properties = 2;
    assert_int_equal(decode(goldens[4].bytes, &limits, &fault, &m), OK);
    limits.user_properties = 1;
    assert_int_equal(decode(goldens[4].bytes, &limits, &fault, &m), ERR_LIMIT);
    assert_int_equal(fault.reason, 0x97);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_order_of_fields),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_level_is_kept),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_v31),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
