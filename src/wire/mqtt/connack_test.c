#include "wire/mqtt/connack.h"

#include "wire/mqtt/golden_private.h"

static const struct golden goldens[] = {
    {"3.1.1 accepted", S4, "20 02 00 00", 0, ERR_TRAILING},
    {"3.1.1 resumed", S4, "20 02 01 00", 0, ERR_TRAILING},
    {"3.1.1 not authorized", S4, "20 02 00 05", 0, ERR_TRAILING},
    {"3.1 accepted", S3, "20 02 00 00", 0, ERR_TRAILING},
    {"3.1 not authorized", S3, "20 02 00 05", 0, ERR_TRAILING},
    {"5 accepted", S5, "20 03 00 00 00", 0, ERR_TRAILING},
    {"5 refused", S5, "20 03 00 86 00", 0, ERR_TRAILING},
    {"5 every property", S5,
     "20 45 01 00 42 11 00 00 00 3c 12 00 02 'ab' 13 04 b0 15 00 01 'm' 16 00 01 00 1a 00 01 'i' "
     "1c 00 01 's' 1f 00 01 'r' 21 00 14 22 00 00 24 01 25 01 27 00 04 20 00 28 01 29 01 2a 00 "
     "26 00 01 'k' 00 00 26 00 00 00 01 'v'",
     0, ERR_TRAILING},
};

static const struct refused refusals[] = {
    {"reserved flag", S5, "20 03 02 00 00", ERR_MALFORMED, 0x81},
    {"session present beside a refusal", S5, "20 03 01 87 00", ERR_PROTOCOL, 0x82},
    {"3.1.1 session present beside a refusal", S4, "20 02 01 05", ERR_PROTOCOL, 0x82},
    {"3.1.1 code 6", S4, "20 02 00 06", ERR_PROTOCOL, 0x82},
    {"code of DISCONNECT", S5, "20 03 00 8d 00", ERR_PROTOCOL, 0x82},
    {"5 without properties", S5, "20 02 00 00", ERR_TRUNCATED, 0x81},
    {"maximum QoS 2", S5, "20 05 00 00 02 24 02", ERR_PROTOCOL, 0x82},
    {"server keep alive twice", S5, "20 09 00 00 06 13 00 01 13 00 01", ERR_PROTOCOL, 0x82},
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

/* The engine thinks in MQTT 5 codes; a 3.1.1 client gets the nearest of its own. */
static void test_translation(void **state)
{
    (void)state;
    static const struct {
        uint8_t code, v311;
    } cases[] = {{0x00, 0}, {0x84, 1}, {0x85, 2}, {0x88, 3}, {0x9f, 3}, {0x86, 4}, {0x87, 5}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct mqtt_connack m = {.code = cases[i].code, .session_present = true};
        uint8_t out[8];
        struct wr w = wr_into(out, sizeof out);
        assert_int_equal(mqtt_connack_encode(&m, MQTT_V311, &w), OK);
        assert_int_equal(w.at, 4);
        assert_int_equal(out[3], cases[i].v311);
        assert_int_equal(out[2], cases[i].v311 == 0); /* SPEC: MQTT3-3.2.2-4 */
        w = wr_into(out, sizeof out);
        assert_int_equal(mqtt_connack_encode(&m, MQTT_V31, &w), OK);
        assert_int_equal(w.at, 4);
        assert_int_equal(out[3], cases[i].v311);
        assert_int_equal(out[2], 0); /* 3.1 does not know what that byte says */
        w = wr_into(out, sizeof out);
        assert_int_equal(mqtt_connack_encode(&m, MQTT_V5, &w), OK);
        assert_int_equal(out[3], cases[i].code);
        assert_int_equal(out[2], cases[i].code == 0); /* SPEC: MQTT5-3.2.2-6 */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_translation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
