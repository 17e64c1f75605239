/* What is usual of a number, and what is far from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "service/detect/baseline.h"

static void octaves_grow_with_the_number(void **state)
{
    (void)state;
    assert_int_equal(octaves(0), 0);
    assert_int_equal(octaves(1), 0);
    assert_int_equal(octaves(2), OCTAVE);
    assert_int_equal(octaves(3), OCTAVE + OCTAVE / 2);
    assert_int_equal(octaves(1024), 10 * OCTAVE);
    assert_int_equal(octaves(UINT64_MAX), 63 * OCTAVE + OCTAVE - 1);
    for (uint64_t v = 2; v < 100000; v++) {
        assert_true(octaves(v) >= octaves(v - 1));
    }
}

static void it_learns_and_sees_what_is_far(void **state)
{
    (void)state;
    struct baseline b = {.n = 0};
    for (int i = 0; i < 100; i++) {
        baseline_learn(&b, 10 * OCTAVE + (i % 2 == 0 ? 20 : -20));
    }
    assert_in_range(baseline_offset(&b, 10 * OCTAVE) + 100, 90, 110);
    assert_int_equal(baseline_spread(&b), OCTAVE / 8); /* never less */
    assert_false(baseline_is_far(&b, 10 * OCTAVE, 0, 1));
    assert_true(baseline_is_far(&b, 13 * OCTAVE + 10, 3, 8));
    assert_false(baseline_is_far(&b, 13 * OCTAVE - 30, 3, 8));
    assert_true(baseline_is_far(&b, 7 * OCTAVE - 10, 3, 8));
    assert_false(baseline_is_far(&b, 13 * OCTAVE + 10, 3, 30)); /* not by so many deviations */
}

static void one_outlier_moves_it_little(void **state)
{
    (void)state;
    struct baseline b = {.n = 0};
    for (int i = 0; i < 100; i++) {
        baseline_learn(&b, 10 * OCTAVE);
    }
    baseline_learn(&b, 40 * OCTAVE);
    assert_in_range(-baseline_offset(&b, 10 * OCTAVE), 1, OCTAVE / 15);
    for (int i = 0; i < 500; i++) {
        baseline_learn(&b, 12 * OCTAVE);
    }
    assert_in_range(baseline_offset(&b, 12 * OCTAVE), 0, 5); /* what stays becomes usual */
    for (int i = 0; i < 70000; i++) {
        baseline_learn(&b, 12 * OCTAVE);
    }
    assert_int_equal(b.n, UINT16_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(octaves_grow_with_the_number),
        cmocka_unit_test(it_learns_and_sees_what_is_far),
        cmocka_unit_test(one_outlier_moves_it_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
