/* The four packets that share a shape, side by side. */
#include "wire/mqtt/ack.h"

#include "wire/mqtt/golden_private.h"

static const struct golden goldens[] = {
    {"3.1.1 PUBACK", C4, "40 02 00 01", 0, ERR_TRAILING},
    {"3.1.1 PUBREC", S4, "50 02 ff ff", 0, ERR_TRAILING},
    {"3.1.1 PUBREL", C4, "62 02 12 34", 0, ERR_TRAILING},
    {"3.1.1 PUBCOMP", C4, "70 02 00 01", 0, ERR_TRAILING},
    {"5 PUBACK, success unsaid", C5, "40 02 00 01", 0, OK},
    {"5 PUBACK, no subscribers", S5, "40 03 00 01 10", 1, OK},
    {"5 PUBREC, denied", S5, "50 03 00 01 87", 1, OK},
    {"5 PUBREL, unknown id", C5, "62 03 00 01 92", 1, OK},
    {"5 PUBCOMP, unknown id", C5, "70 03 00 01 92", 1, OK},
    {"5 PUBACK, why and twice more", S5,
     "40 15 00 01 97 11 1f 00 03 'why' 26 00 01 'k' 00 00 26 00 00 00 00", 2, ERR_TRAILING},
    {"5 PUBREL, success with a reason", C5, "62 08 00 01 00 04 1f 00 01 'r'", 2, ERR_TRAILING},
};

static const struct refused refusals[] = {
    {"PUBACK id 0", C4, "40 02 00 00", ERR_MALFORMED, 0x81},
    {"PUBREL id 0", C5, "62 02 00 00", ERR_MALFORMED, 0x81},
    {"PUBREL without its flag", C4, "60 02 00 01", ERR_MALFORMED, 0x81},
    {"PUBACK with a flag", C4, "42 02 00 01", ERR_MALFORMED, 0x81},
    {"empty", C5, "40 00", ERR_TRUNCATED, 0x81},
    {"half an id", C4, "50 01 00", ERR_TRUNCATED, 0x81},
    {"3.1.1 has no reason", C4, "40 03 00 01 00", ERR_TRAILING, 0x81},
    {"PUBACK with a code of PUBREL", C5, "40 03 00 01 92", ERR_PROTOCOL, 0x82},
    {"PUBREL with a code of PUBREC", C5, "62 03 00 01 87", ERR_PROTOCOL, 0x82},
    {"PUBCOMP with a code of PUBREC", C5, "70 03 00 01 10", ERR_PROTOCOL, 0x82},
    {"PUBREC with no code at all", C5, "50 03 00 01 05", ERR_PROTOCOL, 0x82},
    {"reason string twice", C5, "40 0a 00 01 00 06 1f 00 00 1f 00 00", ERR_PROTOCOL, 0x82},
    {"property of PUBLISH", C5, "40 06 00 01 00 02 01 00", ERR_MALFORMED, 0x81},
    {"reason string not text", C5, "40 08 00 01 00 04 1f 00 01 ff", ERR_UTF8, 0x81},
    {"property length runs out", C5, "40 04 00 01 00 01", ERR_TRUNCATED, 0x81},
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

/* Longer forms of the same meaning are taken, and written in the shortest. */
static void test_long_form(void **state)
{
    (void)state;
    uint8_t bytes[] = {0, 1, 0, 0}, out[8];
    struct mqtt_wire_limits limits = golden_limits();
    struct mqtt_input in = {.body = slice_of(bytes, 4), .version = MQTT_V5, .limits = &limits};
    struct mqtt_ack m;
    for (size_t n = 2; n <= 4; n++) {
        in.body.n = n;
        assert_int_equal(mqtt_puback_decode(&in, NULL, &m), OK);
        assert_int_equal(m.packet_id, 1);
        assert_int_equal(m.reason, 0);
        struct wr w = wr_into(out, sizeof out);
        assert_int_equal(mqtt_puback_encode(&m, MQTT_V5, &w), OK);
        assert_int_equal(w.at, 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_long_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
