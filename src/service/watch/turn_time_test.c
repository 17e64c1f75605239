#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/scope.h"
#include "service/watch/turn_time.h"

static void bounds_rise_by_half_octaves(void **state)
{
    static const uint64_t first[] = {16, 24, 32, 48, 64, 96, 128};
    (void)state;
    for (unsigned i = 0; i < COUNT_OF(first); i++) {
        assert_int_equal(turn_time_bound_us(i), first[i]);
    }
    for (unsigned i = 1; i < TURN_TIME_BUCKETS; i++) {
        assert_true(turn_time_bound_us(i) > turn_time_bound_us(i - 1));
    }
    assert_int_equal(turn_time_bound_us(TURN_TIME_BUCKETS - 2), TURN_TIME_LAST_US);
    assert_true(turn_time_bound_us(TURN_TIME_BUCKETS - 1) == UINT64_MAX);
}

/* At each bound, one below and one over it. */
static void a_turn_is_counted_under_the_first_bound_it_is_not_over(void **state)
{
    (void)state;
    assert_int_equal(turn_time_bucket(0), 0);
    for (unsigned i = 0; i < TURN_TIME_BUCKETS - 1; i++) {
        uint64_t bound = turn_time_bound_us(i);
        assert_int_equal(turn_time_bucket(bound - 1), i);
        assert_int_equal(turn_time_bucket(bound), i);
        assert_int_equal(turn_time_bucket(bound + 1), i + 1);
    }
    assert_int_equal(turn_time_bucket(UINT64_C(1) << 32), TURN_TIME_BUCKETS - 1);
    assert_int_equal(turn_time_bucket(UINT64_MAX), TURN_TIME_BUCKETS - 1);
}

static void each_turn_is_one_more(void **state)
{
    static struct turn_time t;
    (void)state;
    turn_time_add(&t, 20);
    turn_time_add(&t, 24);
    turn_time_add(&t, UINT64_MAX);
    for (unsigned i = 0; i < TURN_TIME_BUCKETS; i++) {
        assert_int_equal(t.n[i], i == 1 ? 2 : i == TURN_TIME_BUCKETS - 1 ? 1 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_rise_by_half_octaves),
        cmocka_unit_test(a_turn_is_counted_under_the_first_bound_it_is_not_over),
        cmocka_unit_test(each_turn_is_one_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
