#include "core/pressure.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/scope.h"

enum { MIB = 1 << 20 };

static void steps_begin_at_their_percent(void **state)
{
    (void)state;
    static const struct {
        uint64_t used;
        enum pressure want;
    } rows[] = {
        {0, PRESSURE_NONE},        {799, PRESSURE_NONE},        {800, PRESSURE_QOS0},
        {801, PRESSURE_QOS0},      {899, PRESSURE_QOS0},        {900, PRESSURE_CONSUMERS},
        {901, PRESSURE_CONSUMERS}, {949, PRESSURE_CONSUMERS},   {950, PRESSURE_STRANGERS},
        {951, PRESSURE_STRANGERS}, {999, PRESSURE_STRANGERS},   {1000, PRESSURE_FULL},
        {1001, PRESSURE_FULL},     {UINT64_MAX, PRESSURE_FULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(pressure_next(PRESSURE_NONE, rows[i].used, 1000), rows[i].want);
    }
}

static void steps_end_five_percent_lower(void **state)
{
    (void)state;
    for (unsigned i = PRESSURE_QOS0; i <= PRESSURE_FULL; i++) {
        enum pressure step = (enum pressure)i;
        uint64_t ends = 10 * (pressure_percent(step) - PRESSURE_BACK_PERCENT);
        assert_int_equal(pressure_next(step, ends, 1000), step);
        assert_true(pressure_next(step, ends - 1, 1000) < step);
        assert_int_equal(pressure_next(step, 0, 1000), PRESSURE_NONE);
    }
}

static void there_may_be_no_ceiling(void **state)
{
    (void)state;
    assert_int_equal(pressure_next(PRESSURE_FULL, UINT64_MAX, 0), PRESSURE_NONE);
}

static void a_large_ceiling_does_not_overflow(void **state)
{
    (void)state;
    assert_int_equal(pressure_next(PRESSURE_NONE, UINT64_MAX / 2, UINT64_MAX), PRESSURE_NONE);
    assert_int_equal(pressure_next(PRESSURE_NONE, UINT64_MAX, UINT64_MAX), PRESSURE_FULL);
}

static void every_step_has_its_words(void **state)
{
    (void)state;
    assert_int_equal(pressure_percent(PRESSURE_NONE), 0);
    for (unsigned i = PRESSURE_NONE; i < PRESSURE_FULL; i++) {
        assert_string_not_equal(pressure_does((enum pressure)i),
                                pressure_does((enum pressure)i + 1));
    }
}

static void the_largest_slow_consumer_is_the_worst(void **state)
{
    (void)state;
    const struct consumer table[] = {
        {1, PRESSURE_SLOW_BYTES}, {2, 5 * MIB}, {3, 0}, {4, 5 * MIB}, {5, PRESSURE_SLOW_BYTES + 1}};
    assert_int_equal(pressure_worst(table, COUNT_OF(table))->conn, 2);
    assert_int_equal(pressure_worst(table + 2, 1) == NULL, true);
    assert_int_equal(pressure_worst(table + 2, 3)->conn, 4);
    assert_null(pressure_worst(table, 0));
    const struct consumer fast = {6, PRESSURE_SLOW_BYTES - 1};
    assert_null(pressure_worst(&fast, 1));
    assert_int_equal(pressure_worst(table, 1)->conn, 1);
}

static void another_worker_may_know_a_larger_one(void **state)
{
    (void)state;
    const uint64_t all[] = {9 * MIB, 3 * MIB, 2 * MIB};
    assert_true(pressure_sheds(4 * MIB, all, 3, 0)); /* its own old figure does not count */
    assert_true(pressure_sheds(3 * MIB, all, 3, 0)); /* alike */
    assert_false(pressure_sheds(3 * MIB - 1, all, 3, 0));
    assert_false(pressure_sheds(4 * MIB, all, 3, 1));
    assert_false(pressure_sheds(PRESSURE_SLOW_BYTES - 1, all, 1, 0));
}

static void what_waits_leaves_before_anything_is_shed(void **state)
{
    (void)state;
    const uint64_t ceiling = 1000 * MIB;
    assert_false(pressure_spills(false, 600 * MIB - 1, ceiling));
    assert_true(pressure_spills(false, 600 * MIB, ceiling));
    assert_true(pressure_spills(true, 550 * MIB, ceiling)); /* and goes on a little */
    assert_false(pressure_spills(true, 550 * MIB - 1, ceiling));
    assert_false(pressure_spills(true, UINT64_MAX, 0));
    assert_int_equal(pressure_next(PRESSURE_NONE, 600 * MIB, ceiling), PRESSURE_NONE);
}

/* A worker's share each, but never more than an eighth of the ceiling. */
static void headroom_is_below_the_ceiling(void **state)
{
    (void)state;
    assert_int_equal(pressure_headroom(0, 2), 0);
    assert_int_equal(pressure_headroom(64 * MIB, 0), 0);
    assert_int_equal(pressure_headroom(64 * MIB, 2), 2 * PRESSURE_HEADROOM_BYTES);
    assert_int_equal(pressure_headroom(64 * MIB, 8), 8 * MIB);
    assert_int_equal(pressure_headroom(64 * MIB, 9), 8 * MIB);
    assert_true(pressure_headroom(UINT64_MAX, UINT32_MAX) < UINT64_MAX / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_begin_at_their_percent),
        cmocka_unit_test(steps_end_five_percent_lower),
        cmocka_unit_test(there_may_be_no_ceiling),
        cmocka_unit_test(what_waits_leaves_before_anything_is_shed),
        cmocka_unit_test(a_large_ceiling_does_not_overflow),
        cmocka_unit_test(every_step_has_its_words),
        cmocka_unit_test(the_largest_slow_consumer_is_the_worst),
        cmocka_unit_test(headroom_is_below_the_ceiling),
        cmocka_unit_test(another_worker_may_know_a_larger_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
