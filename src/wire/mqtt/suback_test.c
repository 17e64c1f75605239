#include "wire/mqtt/suback.h"

#include "wire/mqtt/golden_private.h"

static const struct golden goldens[] = {
    {"3.1.1", S4, "90 06 00 01 00 01 02 80", 3, OK},
    {"3.1", S3, "90 05 00 01 00 01 02", 2, OK},
    {"5", S5, "90 07 00 01 00 00 02 87 97", 3, OK},
    {"5 with reason", S5, "90 0d 00 01 09 1f 00 01 'r' 26 00 00 00 00 9e", 0, OK},
};

static const struct refused refusals[] = {
    {"no code", S4, "90 02 00 01", ERR_MALFORMED, 0x81},
    {"5 no code", S5, "90 03 00 01 00", ERR_MALFORMED, 0x81},
    {"id 0", S4, "90 03 00 00 00", ERR_MALFORMED, 0x81},
    {"3.1.1 code 3", S4, "90 03 00 01 03", ERR_PROTOCOL, 0x82},
    {"3.1.1 code of 5", S4, "90 03 00 01 87", ERR_PROTOCOL, 0x82},
    {"3.1 code of 3.1.1", S3, "90 03 00 01 80", ERR_PROTOCOL, 0x82},
    {"5 code of UNSUBACK", S5, "90 04 00 01 00 11", ERR_PROTOCOL, 0x82},
};

static void test_goldens(void **state)
{
    (void)state;
    GOLDEN_CHECK(goldens);
}

static void test_refusals(void **state)
{
    (void)state;
    REFUSED_CHECK(refusals);
}

static void test_translation_and_all(void **state)
{
    (void)state;
    uint8_t codes[] = {0, 1, 2, 0x87, 0x97}, out[16], want[GOLDEN_MAX];
    struct mqtt_suback m = {.packet_id = 1, .codes = slice_of(codes, 5)};
    struct wr w = wr_into(out, sizeof out);
    assert_int_equal(mqtt_suback_encode(&m, MQTT_V311, &w), OK);
    size_t n = golden_bytes("90 07 00 01 00 01 02 80 80", want); /* SPEC: MQTT3-3.9.3-2 */
    assert_true(slice_equal(wr_slice(&w), slice_of(want, n)));
    w = wr_into(out, sizeof out);
    assert_int_equal(mqtt_suback_encode_all(1, 0x97, 3, MQTT_V5, &w), OK);
    n = golden_bytes("90 06 00 01 00 97 97 97", want);
    assert_true(slice_equal(wr_slice(&w), slice_of(want, n)));
    w = wr_into(out, sizeof out);
    assert_int_equal(mqtt_suback_encode_all(1, 0x97, 2, MQTT_V311, &w), OK);
    n = golden_bytes("90 04 00 01 80 80", want);
    assert_true(slice_equal(wr_slice(&w), slice_of(want, n)));
}

/* A 3.1 client would read a refusal as QoS 0: it is not written. */
static void test_no_refusal_in_3_1(void **state)
{
    (void)state;
    static const uint8_t refusals_of_5[] = {0x80, 0x83, 0x87, 0x8f, 0x97, 0x9e};
    for (size_t i = 0; i < COUNT_OF(refusals_of_5); i++) {
        uint8_t codes[] = {0, 1, refusals_of_5[i]}, out[16];
        struct mqtt_suback m = {.packet_id = 1, .codes = slice_of(codes, 2)};
        struct wr w = wr_into(out, sizeof out);
        assert_int_equal(mqtt_suback_encode(&m, MQTT_V31, &w), OK);
        m.codes.n = 3;
        w = wr_into(out, sizeof out);
        assert_int_equal(mqtt_suback_encode(&m, MQTT_V31, &w), ERR_UNSUPPORTED);
        assert_int_equal(w.at, 0);
        w = wr_into(out, sizeof out);
        assert_int_equal(mqtt_suback_encode_all(1, refusals_of_5[i], 2, MQTT_V31, &w),
                         ERR_UNSUPPORTED);
        assert_int_equal(w.at, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_translation_and_all),
        cmocka_unit_test(test_no_refusal_in_3_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
