#include "wire/mqtt/disconnect.h"

#include "wire/mqtt/golden_private.h"

static const struct golden goldens[] = {
    {"3.1.1", C4, "e0 00", 0, ERR_TRAILING},
    {"5 normal, unsaid", C5, "e0 00", 0, OK},
    {"5 with will", C5, "e0 01 04", 1, OK},
    {"5 new expiry", C5, "e0 07 00 05 11 00 00 00 3c", 2, ERR_TRAILING},
    {"5 server shutting down, why", S5, "e0 0c 8b 0a 1c 00 02 'o:' 1f 00 02 'so'", 2, ERR_TRAILING},
    {"5 taken over", S5, "e0 01 8e", 1, OK},
};

static const struct refused refusals[] = {
    {"3.1.1 with a reason", C4, "e0 01 00", ERR_TRAILING, 0x81},
    {"a flag", C4, "e1 00", ERR_MALFORMED, 0x81},
    {"client says taken over", C5, "e0 01 8e", ERR_PROTOCOL, 0x82},
    {"server says with will", S5, "e0 01 04", ERR_PROTOCOL, 0x82},
    {"code of CONNACK", C5, "e0 01 86", ERR_PROTOCOL, 0x82},
    {"no code at all", C5, "e0 01 7f", ERR_PROTOCOL, 0x82},
    {"expiry from a server", S5, "e0 07 00 05 11 00 00 00 3c", ERR_PROTOCOL, 0x82},
    {"server reference from a client", C5, "e0 06 00 04 1c 00 01 'x'", ERR_PROTOCOL, 0x82},
    {"expiry twice", C5, "e0 0c 00 0a 11 00 00 00 3c 11 00 00 00 3c", ERR_PROTOCOL, 0x82},
};

static void test_goldens(void **state)
{
    (void)state;
    GOLDEN_CHECK(goldens);
}

/* SPEC: MQTT5-3.14.2-1, MQTT5-3.14.2-2 */
static void test_refusals(void **state)
{
    (void)state;
    REFUSED_CHECK(refusals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
