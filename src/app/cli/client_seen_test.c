#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/cli/client_seen.h"

static void test_in_order(void **state)
{
    (void)state;
    struct seen s = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(seen_count(&s, i), SEEN_NEW);
        assert_int_equal(seen_count(&s, i), SEEN_AGAIN);
    }
}

static void test_late_once(void **state)
{
    (void)state;
    struct seen s = {0};
    assert_int_equal(seen_count(&s, 5), SEEN_NEW);
    assert_int_equal(seen_count(&s, 3), SEEN_LATE);
    assert_int_equal(seen_count(&s, 3), SEEN_AGAIN);
    assert_int_equal(seen_count(&s, 4), SEEN_LATE);
    assert_int_equal(seen_count(&s, 6), SEEN_NEW);
    assert_int_equal(seen_count(&s, 5), SEEN_AGAIN);
}

/* At the end of the window, and behind it. */
static void test_window(void **state)
{
    (void)state;
    struct seen s = {0};
    assert_int_equal(seen_count(&s, 0), SEEN_NEW);
    assert_int_equal(seen_count(&s, SEEN_BITS), SEEN_NEW); /* 0 has left the window */
    assert_int_equal(seen_count(&s, 1), SEEN_LATE);
    assert_int_equal(seen_count(&s, 0), SEEN_AGAIN);
    assert_int_equal(seen_count(&s, UINT64_C(1) << 40), SEEN_NEW);
    assert_int_equal(seen_count(&s, (UINT64_C(1) << 40) - 1), SEEN_LATE);
    assert_int_equal(seen_count(&s, SEEN_BITS), SEEN_AGAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_order),
                                       cmocka_unit_test(test_late_once),
                                       cmocka_unit_test(test_window)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
