#include "wire/mqtt/fixed.h"

#include "wire/mqtt/golden_private.h"
#include "wire/mqtt/text.h"

/* Every first byte, against the flags written out by hand. */
/* SPEC: MQTT3-2.2.2-1, MQTT-3.3.1-2, MQTT-3.3.1-4, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1,
 * MQTT-3.14.1-1, MQTT5-3.15.1-1 */
static void test_every_first_byte(void **state)
{
    (void)state;
    static const char *const legal[16] = {
        [1] = "0",  [2] = "0",  [3] = "012345abcd", [4] = "0",  [5] = "0",
        [6] = "2",  [7] = "0",  [8] = "2",          [9] = "0",  [10] = "2",
        [11] = "0", [12] = "0", [13] = "0",         [14] = "0", [15] = "0"};
    for (unsigned first = 0; first < 256; first++) {
        char flag = "0123456789abcdef"[first & 15];
        const char *list = legal[first >> 4];
        bool qos3 = first >> 4 == 3 && (first & 6) == 6;
        bool ok = list != NULL && strchr(list, flag) != NULL && !qos3;
        uint8_t bytes[2] = {(uint8_t)first, 0};
        struct mqtt_fixed f;
        struct mqtt_fault fault = {0};
        assert_int_equal(mqtt_fixed_decode(slice_of(bytes, 2), 100, &fault, &f),
                         ok ? OK : ERR_MALFORMED);
        /* known from the first byte alone. SPEC: MQTT3-2.2.2-2, MQTT5-2.1.3-1 */
        assert_int_equal(mqtt_fixed_decode(slice_of(bytes, 1), 100, &fault, &f),
                         ok ? ERR_AGAIN : ERR_MALFORMED);
        assert_int_equal(fault.reason, ok ? 0 : 0x81);
    }
}

/* 3.1 knows DUP for three more packets; nobody else may set it there, and it is not seen behind. */
static void test_repeated_by_3_1(void **state)
{
    (void)state;
    static const enum mqtt_version versions[] = {MQTT_V31, MQTT_V311, MQTT_V5};
    for (unsigned i = 0; i < COUNT_OF(versions) * 256; i++) {
        uint8_t bytes[2] = {(uint8_t)i, 0};
        struct mqtt_fixed strict, f;
        struct slice in = slice_of(bytes, 2), body;
        enum err want = mqtt_fixed_decode(in, 100, NULL, &strict);
        bool repeats = bytes[0] == 0x6a || bytes[0] == 0x8a || bytes[0] == 0xaa;
        bool forgiven = repeats && versions[i / 256] == MQTT_V31;
        struct mqtt_fault fault = {0};
        enum err err = mqtt_packet_cut_as(versions[i / 256], &in, 100, &fault, &f, &body);
        assert_int_equal(err, forgiven ? OK : want);
        if (err == OK) {
            assert_int_equal(f.type, bytes[0] >> 4);
            assert_int_equal(f.flags, forgiven ? 2 : strict.flags);
            assert_true(in.n == 0 && body.n == 0);
        } else {
            assert_int_equal(fault.reason, 0x81);
            assert_int_equal(in.n, 2);
        }
    }
}

/* SPEC: MQTT5-1.5.5-1 */
static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t packet_max;
        enum err err;
        uint8_t reason;
    } cases[] = {
        {"nothing", "", 100, ERR_AGAIN, 0},
        {"no length yet", "30", 100, ERR_AGAIN, 0},
        {"length goes on", "30 80", 100, ERR_AGAIN, 0},
        {"length goes on, third", "30 ff ff ff", 100, ERR_AGAIN, 0},
        {"fits exactly", "30 62", 100, OK, 0},
        {"one over", "30 63", 100, ERR_TOO_LARGE, 0x95},
        {"256 MiB before anything came", "10 ff ff ff 7f", 8192, ERR_TOO_LARGE, 0x95},
        {"largest there is", "30 ff ff ff 7f", SIZE_MAX, OK, 0},
        {"five bytes", "30 ff ff ff ff 7f", SIZE_MAX, ERR_MALFORMED, 0x81},
        {"fifth byte not there", "30 80 80 80 80", SIZE_MAX, ERR_MALFORMED, 0x81},
        {"not the shortest zero", "30 80 00", 100, ERR_MALFORMED, 0x81},
        {"4,096 announced, three there", "30 80 20 00 01 61", SIZE_MAX, OK, 0},
        {"not the shortest 127", "30 ff 00", 100, ERR_MALFORMED, 0x81},
        {"not the shortest in four", "30 81 80 80 00", 100, ERR_MALFORMED, 0x81},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t bytes[GOLDEN_MAX];
        size_t n = golden_bytes(cases[i].bytes, bytes);
        struct slice in = slice_of(bytes, n), body;
        struct mqtt_fixed f;
        struct mqtt_fault fault = {0};
        enum err e = mqtt_fixed_decode(in, cases[i].packet_max, &fault, &f);
        if (e != cases[i].err || fault.reason != cases[i].reason) {
            fail_msg("%s: %s 0x%02x", cases[i].name, err_name(e), fault.reason);
        }
        e = mqtt_packet_cut(&in, cases[i].packet_max, NULL, &f, &body);
        /* no body is there in any of these cases */
        assert_int_equal(e, cases[i].err == OK ? ERR_AGAIN : cases[i].err);
        assert_int_equal(in.n, n);
    }
}

static void test_cut_takes_one(void **state)
{
    (void)state;
    uint8_t bytes[] = {0xc0, 0, 0x40, 2, 0, 7, 0xe0};
    struct slice in = slice_of(bytes, sizeof bytes), body;
    struct mqtt_fixed f;
    assert_int_equal(mqtt_packet_cut(&in, 100, NULL, &f, &body), OK);
    assert_int_equal(f.type, MQTT_PINGREQ);
    assert_int_equal(body.n, 0);
    assert_int_equal(mqtt_packet_cut(&in, 100, NULL, &f, &body), OK);
    assert_int_equal(f.type, MQTT_PUBACK);
    assert_int_equal(f.packet_n, 4);
    assert_true(slice_equal(body, slice_of(bytes + 4, 2)));
    assert_int_equal(mqtt_packet_cut(&in, 100, NULL, &f, &body), ERR_AGAIN);
    assert_int_equal(in.n, 1);
}

static void test_who_sends_what(void **state)
{
    (void)state;
    /* type by type: client 3.1.1, server 3.1.1, client 5, server 5; 3.1 as 3.1.1 */
    static const char *const table[16] = {"....", "x.x.", ".x.x", "xxxx", "xxxx", "xxxx",
                                          "xxxx", "xxxx", "x.x.", ".x.x", "x.x.", ".x.x",
                                          "x.x.", ".x.x", "x.xx", "..xx"};
    for (unsigned t = 0; t < 16; t++) {
        enum mqtt_type type = (enum mqtt_type)t;
        assert_int_equal(mqtt_type_is_from(type, C4), table[t][0] == 'x');
        assert_int_equal(mqtt_type_is_from(type, S4), table[t][1] == 'x');
        assert_int_equal(mqtt_type_is_from(type, C3), table[t][0] == 'x');
        assert_int_equal(mqtt_type_is_from(type, S3), table[t][1] == 'x');
        assert_int_equal(mqtt_type_is_from(type, C5), table[t][2] == 'x');
        assert_int_equal(mqtt_type_is_from(type, S5), table[t][3] == 'x');
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(mqtt_type_name(MQTT_CONNECT), "CONNECT");
    assert_string_equal(mqtt_type_name(MQTT_UNSUBACK), "UNSUBACK");
    assert_string_equal(mqtt_type_name(MQTT_AUTH), "AUTH");
    assert_string_equal(mqtt_type_name((enum mqtt_type)0), "type 0");
    assert_string_equal(mqtt_type_name((enum mqtt_type)16), "type 0");
    assert_string_equal(mqtt_version_name(3), "MQTT 3.1");
    assert_string_equal(mqtt_version_name(4), "MQTT 3.1.1");
    assert_string_equal(mqtt_version_name(6), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_first_byte), cmocka_unit_test(test_repeated_by_3_1),
        cmocka_unit_test(test_lengths),          cmocka_unit_test(test_cut_takes_one),
        cmocka_unit_test(test_who_sends_what),   cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
