#include "wire/mqtt/auth.h"

#include "wire/mqtt/golden_private.h"

static const struct golden goldens[] = {
    {"success, unsaid", S5, "f0 00", 0, ERR_TRUNCATED},
    {"continue", C5, "f0 0b 18 09 15 00 01 'm' 16 00 02 ff 00", 0, ERR_TRAILING},
    {"again", C5, "f0 06 19 04 15 00 01 'm'", 0, ERR_TRAILING},
    {"success", S5, "f0 06 00 04 15 00 01 'm'", 1, ERR_TRAILING},
};

static const struct refused refusals[] = {
    {"3.1.1", C4, "f0 00", ERR_PROTOCOL, 0x82},
    {"success from a client", C5, "f0 00", ERR_PROTOCOL, 0x82},
    {"again from a server", S5, "f0 06 19 04 15 00 01 'm'", ERR_PROTOCOL, 0x82},
    {"no code of AUTH", C5, "f0 02 87 00", ERR_PROTOCOL, 0x82},
    {"no method", C5, "f0 02 18 00", ERR_PROTOCOL, 0x82},
    {"data without a method", C5, "f0 06 18 04 16 00 01 'd'", ERR_PROTOCOL, 0x82},
    {"no properties", C5, "f0 01 18", ERR_TRUNCATED, 0x81},
    {"a flag", C5, "f2 02 18 00", ERR_MALFORMED, 0x81},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
