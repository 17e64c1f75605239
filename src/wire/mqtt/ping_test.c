#include "wire/mqtt/ping.h"

#include "wire/mqtt/golden_private.h"

static const struct golden goldens[] = {
    {"PINGREQ", C4, "c0 00", 0, ERR_TRAILING},
    {"PINGREQ in 5", C5, "c0 00", 0, ERR_TRAILING},
    {"PINGRESP", S5, "d0 00", 0, ERR_TRAILING},
};

static const struct refused refusals[] = {
    {"a body", C4, "c0 01 00", ERR_TRAILING, 0x81},
    {"a flag", C4, "c1 00", ERR_MALFORMED, 0x81},
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
