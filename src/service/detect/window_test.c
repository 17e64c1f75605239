/* How much came lately: in a window, in the one before it, in none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "service/detect/window.h"

enum { LENGTH_S = 60 };

static void what_comes_within_a_window_is_seen_as_one(void **state)
{
    (void)state;
    /* Whatever second it begins in, N within one length are never seen as fewer. */
    for (uint32_t shift = 0; shift < 2 * LENGTH_S; shift++) {
        struct detect_window w = {0};
        uint32_t n = 0;
        (void)detect_window_add(&w, LENGTH_S, 1, 1000);
        for (uint32_t i = 0; i < 10; i++) {
            n = detect_window_add(&w, LENGTH_S, 1, 1001 + shift + i * (LENGTH_S - 1) / 9);
        }
        assert_true(n >= 10 && n <= 11);
    }
}

static void what_is_two_windows_old_is_gone(void **state)
{
    (void)state;
    struct detect_window w = {0};
    assert_int_equal(detect_window_add(&w, LENGTH_S, 5, 100), 5);
    assert_int_equal(detect_window_add(&w, LENGTH_S, 1, 100 + 2 * LENGTH_S - 1), 6);
    assert_int_equal(detect_window_since(&w, LENGTH_S), 100);
    assert_int_equal(detect_window_add(&w, LENGTH_S, 1, 100 + 2 * LENGTH_S), 2);
    assert_int_equal(detect_window_since(&w, LENGTH_S), 100 + LENGTH_S);
    assert_int_equal(detect_window_add(&w, LENGTH_S, 1, 5000), 1);
    assert_int_equal(detect_window_since(&w, LENGTH_S), 5000);
}

static void it_saturates(void **state)
{
    (void)state;
    struct detect_window w = {0};
    assert_int_equal(detect_window_add(&w, LENGTH_S, UINT32_MAX, 1), UINT16_MAX);
    assert_int_equal(detect_window_add(&w, LENGTH_S, 7, 2), UINT16_MAX);
    assert_int_equal(detect_window_add(&w, LENGTH_S, 7, 1), UINT16_MAX); /* a second back */
}

static void different_ones_are_told_apart(void **state)
{
    (void)state;
    struct detect_sketch s = {0};
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(detect_sketch_add(&s, LENGTH_S, 1, 7, 10), 1);
    }
    assert_int_equal(detect_sketch_total(&s), 100);
    assert_int_equal(detect_sketch_add(&s, LENGTH_S, 1, 8, 10), 2);
    assert_int_equal(detect_sketch_add(&s, LENGTH_S, 1, 7 + 64, 10), 2); /* never too many */
    assert_int_equal(detect_sketch_add(&s, LENGTH_S, 1, 9, 10 + LENGTH_S), 3);
    assert_int_equal(detect_sketch_add(&s, LENGTH_S, 1, 9, 10 + 2 * LENGTH_S), 1);
    assert_int_equal(detect_sketch_total(&s), 2);
    for (uint64_t i = 0; i < 64; i++) {
        (void)detect_sketch_add(&s, LENGTH_S, 1, i, 5000);
    }
    assert_int_equal(detect_sketch_add(&s, LENGTH_S, 1, 0, 5000), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_within_a_window_is_seen_as_one),
        cmocka_unit_test(what_is_two_windows_old_is_gone),
        cmocka_unit_test(it_saturates),
        cmocka_unit_test(different_ones_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
