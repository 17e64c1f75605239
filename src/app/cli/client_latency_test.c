#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/cli/client_latency.h"

static void test_none(void **state)
{
    (void)state;
    struct latency l = {0};
    assert_int_equal(latency_at(&l, 50), 0);
}

/* Small ones are exact. */
static void test_exact(void **state)
{
    (void)state;
    struct latency l = {0};
    for (uint64_t us = 1; us <= 10; us++) {
        latency_add(&l, us);
    }
    assert_int_equal(latency_at(&l, 0), 1);
    assert_int_equal(latency_at(&l, 10), 1);
    assert_int_equal(latency_at(&l, 50), 5);
    assert_int_equal(latency_at(&l, 51), 6);
    assert_int_equal(latency_at(&l, 100), 10);
}

/* Never below the value, and at most a sixteenth above it. */
static void test_bounds(void **state)
{
    (void)state;
    for (uint64_t us = 1; us < UINT64_C(1) << 40; us = us * 9 / 8 + 1) {
        struct latency l = {0};
        latency_add(&l, us);
        uint64_t said = latency_at(&l, 50);
        assert_true(said >= us);
        assert_true(said - us <= us / LATENCY_PARTS);
    }
}

/* One in a thousand is not in p99, and is in p99.9's shadow. */
static void test_tail(void **state)
{
    (void)state;
    struct latency l = {0};
    for (int i = 0; i < 998; i++) {
        latency_add(&l, 10);
    }
    latency_add(&l, 100000);
    latency_add(&l, 100000);
    assert_int_equal(latency_at(&l, 50), 10);
    assert_int_equal(latency_at(&l, 99), 10);
    assert_int_equal(latency_at(&l, 99.8), 10);
    assert_true(latency_at(&l, 99.9) >= 100000);
    assert_true(latency_at(&l, 100) < 107000);
}

static void test_largest(void **state)
{
    (void)state;
    struct latency l = {0};
    latency_add(&l, UINT64_MAX);
    assert_true(latency_at(&l, 100) > UINT64_C(1) << 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_none), cmocka_unit_test(test_exact),
                                       cmocka_unit_test(test_bounds), cmocka_unit_test(test_tail),
                                       cmocka_unit_test(test_largest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
