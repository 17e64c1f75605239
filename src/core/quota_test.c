#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/scope.h"
#include "core/quota.h"

static void test_burst_then_rate(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 10, 20, 1000);
    for (int i = 0; i < 20; i++) {
        assert_true(bucket_take(&b, 1, 1000));
    }
    assert_false(bucket_take(&b, 1, 1000));
    assert_int_equal(bucket_wait_ms(&b, 1, 1000), 100);
    assert_int_equal(bucket_wait_ms(&b, 1, 1040), 60);
    assert_false(bucket_take(&b, 1, 1099));
    assert_true(bucket_take(&b, 1, 1100));
    assert_false(bucket_take(&b, 1, 1100));
    assert_true(bucket_take(&b, 20, 3100));
    assert_false(bucket_take(&b, 1, 3100));
    assert_false(bucket_take(&b, 21, 1000000)); /* never more than the burst at once */
    assert_true(bucket_wait_ms(&b, 21, 1000000) == UINT64_MAX);
    assert_true(bucket_take(&b, 20, 1000000));
}

static void test_no_limit(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 0, 0, 5);
    assert_true(bucket_take(&b, UINT32_MAX, 5));
    assert_int_equal(bucket_wait_ms(&b, UINT32_MAX, 5), 0);
}

static void test_clock_steps(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, UINT32_MAX, UINT32_MAX, UINT64_MAX - 5);
    assert_true(bucket_take(&b, UINT32_MAX, UINT64_MAX - 5));
    assert_false(bucket_take(&b, 1, 0)); /* backwards: nothing is added */
    assert_true(bucket_take(&b, UINT32_MAX, UINT64_MAX));
    bucket_init(&b, 1, UINT32_MAX, 0);
    assert_true(bucket_take(&b, UINT32_MAX, 0));
    assert_false(bucket_take(&b, 1, 999));
    assert_true(bucket_take(&b, UINT32_MAX, UINT64_MAX));
}

static void test_set(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 10, 20, 0);
    assert_true(bucket_take(&b, 5, 0));
    bucket_set(&b, 1, 10); /* 15 are cut to 10 */
    assert_false(bucket_take(&b, 11, 0));
    assert_true(bucket_take(&b, 10, 0));
    bucket_set(&b, 1, 100); /* a new burst is not a gift */
    assert_false(bucket_take(&b, 1, 0));
    assert_true(bucket_take(&b, 1, 1000));
}

static void test_give(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 10, 20, 0);
    assert_true(bucket_is_full(&b, 0));
    assert_true(bucket_take(&b, 20, 0));
    assert_int_equal(bucket_millis(&b, 0), 0);
    bucket_give(&b, 5, 0);
    assert_int_equal(bucket_millis(&b, 0), 5000);
    assert_int_equal(bucket_millis(&b, 100), 6000);
    bucket_give(&b, 14, 99); /* 5 + 0.99 + 14 */
    assert_false(bucket_is_full(&b, 99));
    assert_false(bucket_take(&b, 20, 99));
    bucket_give(&b, UINT32_MAX, 99); /* never over the burst */
    assert_true(bucket_is_full(&b, 99));
    assert_false(bucket_take(&b, 21, 99));
    struct bucket free = {0};
    bucket_give(&free, 1, 5);
    assert_true(bucket_is_full(&free, 5));
}

/* In any interval no more than burst + rate x time leaves, and what bucket_wait_ms promises holds.
 */
static void test_bound(void **state)
{
    (void)state;
    uint64_t seed = 3;
    struct random_source random = random_seeded(&seed);
    for (int run = 0; run < 50; run++) {
        struct bucket b;
        uint32_t rate = (uint32_t)(1 + random_below(&random, 2000));
        uint32_t burst = (uint32_t)(1 + random_below(&random, 300));
        uint64_t now_ms = 0, taken = 0;
        bucket_init(&b, rate, burst, 0);
        for (int i = 0; i < 500; i++) {
            now_ms += random_below(&random, 30);
            uint32_t n = (uint32_t)(1 + random_below(&random, burst));
            uint64_t wait_ms = bucket_wait_ms(&b, n, now_ms);
            if (wait_ms > 0) {
                struct bucket early = b;
                assert_false(bucket_take(&early, n, now_ms + wait_ms - 1));
            }
            now_ms += wait_ms;
            assert_true(bucket_take(&b, n, now_ms));
            taken += n;
            assert_true(taken * 1000 <= (uint64_t)burst * 1000 + now_ms * rate);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_then_rate), cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_clock_steps),     cmocka_unit_test(test_set),
        cmocka_unit_test(test_bound),           cmocka_unit_test(test_give),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
