#include "net/unproven.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void at_most_three_times(void **state)
{
    (void)state;
    struct coap_counters c = {0};
    struct unproven u = {.counters = &c};
    assert_false(unproven_may_say(&u, 1)); /* about nothing that came */
    unproven_open(&u, 10);
    assert_true(unproven_may_say(&u, 20));
    assert_false(unproven_may_say(&u, 11));
    assert_true(unproven_may_say(&u, 10));
    assert_false(unproven_may_say(&u, 1));
    unproven_close(&u);
    assert_false(unproven_may_say(&u, 1));
    assert_int_equal(c.unproven_datagrams, 1);
    assert_int_equal(c.unproven_bytes_in, 10);
    assert_int_equal(c.unproven_bytes_out, 30);
    assert_int_equal(c.unproven_withheld, 4);
    assert_int_equal(c.unproven_worst_per_mille, 3000);
}

/* What waits for something is said about the datagram that asked for it, which was counted then. */
static void later(void **state)
{
    (void)state;
    struct coap_counters c = {0};
    struct unproven u = {.counters = &c};
    unproven_open(&u, 20);
    unproven_close(&u);
    unproven_reopen(&u, 20);
    assert_true(unproven_may_say(&u, 30));
    unproven_close(&u);
    unproven_open(&u, 0);
    assert_false(unproven_may_say(&u, 1)); /* an empty datagram gets nothing */
    assert_int_equal(c.unproven_datagrams, 2);
    assert_int_equal(c.unproven_bytes_in, 20);
    assert_int_equal(c.unproven_worst_per_mille, 1500);
}

static void nobody_counts(void **state)
{
    (void)state;
    struct unproven u = {.counters = NULL};
    unproven_open(&u, 1);
    assert_true(unproven_may_say(&u, 3));
    assert_false(unproven_may_say(&u, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_most_three_times),
        cmocka_unit_test(later),
        cmocka_unit_test(nobody_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
