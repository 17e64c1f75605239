/* A share of time. */
#include "service/broker/duty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SHARE = 25, BEGIN_US = 5000000 };

/* Steps of step_us for `us`, each as soon as it may: the time that was spent. */
static uint64_t spend_for(uint64_t us, uint64_t step_us, unsigned percent)
{
    struct duty d = {0};
    uint64_t now = BEGIN_US, spent = 0;
    while (now < BEGIN_US + us) {
        uint64_t asked = now;
        if (duty_may(&d, now, percent)) {
            duty_spend(&d, step_us);
            spent += step_us;
            now += step_us;
        }
        uint64_t again = asked + duty_wait_us(&d, percent);
        now = now > again ? now : again;
    }
    return spent;
}

static void is_the_share_whatever_a_step_takes(void **state)
{
    (void)state;
    const uint64_t steps[] = {10, 350, 499, 500, 501, 900, 20000};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        uint64_t spent = spend_for(10 * 1000 * 1000, steps[i], SHARE);
        /* A wait is rounded up: short steps lose by it. */
        assert_in_range(spent, 2450000, 2500000 + 2 * steps[i] + DUTY_BURST_US);
    }
}

static void rests_until_what_it_owes_is_earned(void **state)
{
    (void)state;
    struct duty d = {0};
    assert_true(duty_may(&d, BEGIN_US, SHARE));
    assert_int_equal(duty_wait_us(&d, SHARE), 0);
    duty_spend(&d, DUTY_BURST_US + 100);
    uint64_t wait = duty_wait_us(&d, SHARE);
    assert_in_range(wait, 400, 404);
    assert_false(duty_may(&d, BEGIN_US + wait - 8, SHARE));
    assert_true(duty_may(&d, BEGIN_US + wait + 4, SHARE));
}

static void rest_earns_one_burst_and_no_more(void **state)
{
    (void)state;
    struct duty d = {0};
    assert_true(duty_may(&d, BEGIN_US, SHARE));
    assert_true(duty_may(&d, UINT64_MAX, SHARE));
    duty_spend(&d, DUTY_BURST_US);
    assert_false(duty_may(&d, UINT64_MAX, SHARE));
}

static void a_clock_that_steps_back_earns_nothing(void **state)
{
    (void)state;
    struct duty d = {0};
    assert_true(duty_may(&d, BEGIN_US, SHARE));
    duty_spend(&d, DUTY_BURST_US + 1);
    assert_false(duty_may(&d, BEGIN_US - 1000, SHARE));
    assert_true(duty_may(&d, BEGIN_US + 1000, SHARE));
}

static void who_asks_all_the_time_earns_too(void **state)
{
    (void)state;
    struct duty d = {0};
    uint64_t spent = 0;
    for (uint64_t now = BEGIN_US; now < BEGIN_US + 1000000; now++) {
        if (duty_may(&d, now, SHARE)) {
            duty_spend(&d, 100);
            spent += 100;
        }
    }
    assert_in_range(spent, 250000, 251000);
}

static void with_all_of_the_time_there_is_no_rest(void **state)
{
    (void)state;
    assert_in_range(spend_for(1000000, 700, 100), 1000000, 1000700);
    struct duty d = {0};
    assert_true(duty_may(&d, BEGIN_US, SHARE));
    duty_spend(&d, UINT64_MAX);
    assert_false(duty_may(&d, BEGIN_US, SHARE));
    assert_int_equal(duty_wait_us(&d, 100), 0);
    assert_true(duty_may(&d, BEGIN_US, 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_share_whatever_a_step_takes),
        cmocka_unit_test(rests_until_what_it_owes_is_earned),
        cmocka_unit_test(rest_earns_one_burst_and_no_more),
        cmocka_unit_test(a_clock_that_steps_back_earns_nothing),
        cmocka_unit_test(who_asks_all_the_time_earns_too),
        cmocka_unit_test(with_all_of_the_time_there_is_no_rest),
    };
    return cmocka_run_group_tests_name("duty", tests, NULL, NULL);
}
