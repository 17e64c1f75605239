#include "wire/mqtt/unsuback.h"

#include "wire/mqtt/golden_private.h"

static const struct golden goldens[] = {
    {"3.1.1", S4, "b0 02 00 01", 0, ERR_TRAILING},
    {"5", S5, "b0 06 00 01 00 00 11 87", 2, OK},
    {"5 with reason", S5, "b0 08 00 01 04 1f 00 01 'r' 8f", 0, OK},
};

static const struct refused refusals[] = {
    {"5 no code", S5, "b0 03 00 01 00", ERR_MALFORMED, 0x81},
    {"id 0", S4, "b0 02 00 00", ERR_MALFORMED, 0x81},
    {"3.1.1 with a code", S4, "b0 03 00 01 00", ERR_TRAILING, 0x81},
    {"5 code of SUBACK", S5, "b0 04 00 01 00 97", ERR_PROTOCOL, 0x82},
    {"5 without properties", S5, "b0 02 00 01", ERR_TRUNCATED, 0x81},
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

static void test_all(void **state)
{
    (void)state;
    uint8_t out[16], want[GOLDEN_MAX];
    struct wr w = wr_into(out, sizeof out);
    assert_int_equal(mqtt_unsuback_encode_all(7, 0x80, 2, MQTT_V5, &w), OK);
    size_t n = golden_bytes("b0 05 00 07 00 80 80", want);
    assert_true(slice_equal(wr_slice(&w), slice_of(want, n)));
    w = wr_into(out, sizeof out);
    assert_int_equal(mqtt_unsuback_encode_all(7, 0x80, 2, MQTT_V311, &w), OK);
    assert_int_equal(w.at, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
