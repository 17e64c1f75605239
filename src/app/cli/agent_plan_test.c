#include "app/cli/agent_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define DAY_MS  INT64_C(86400000)
#define HOUR_MS INT64_C(3600000)

static struct x509_info made(int64_t life_ms, const char *serial)
{
    return (struct x509_info){.not_before_wall_ms = 1000 * DAY_MS,
                              .not_after_wall_ms = 1000 * DAY_MS + life_ms,
                              .serial = slice_text(serial)};
}

static void at_two_thirds(void **state)
{
    int64_t least = INT64_MAX, most = 0;
    (void)state;
    for (int k = 0; k < 1000; k++) {
        char serial[8];
        (void)snprintf(serial, sizeof serial, "%d", k);
        struct x509_info i = made(HOUR_MS, serial);
        int64_t due = agent_due(&i) - i.not_before_wall_ms;
        assert_int_equal(agent_due(&i) - i.not_before_wall_ms, due);
        least = due < least ? due : least;
        most = due > most ? due : most;
    }
    assert_in_range(least, 38 * HOUR_MS / 60, 39 * HOUR_MS / 60); /* about 40 minutes, and spread */
    assert_in_range(most, 41 * HOUR_MS / 60, 42 * HOUR_MS / 60);
}

static void doubled_until_an_hour(void **state)
{
    struct x509_info i = made(90 * DAY_MS, "s");
    static const uint64_t minutes[] = {1, 2, 4, 8, 16, 32, 60, 60};
    (void)state;
    for (unsigned tries = 1; tries <= 8; tries++) {
        for (uint64_t random = 0; random < 100000; random += 997) {
            uint64_t wait = agent_again_ms(&i, tries, random);
            assert_in_range(wait, minutes[tries - 1] * 45000, minutes[tries - 1] * 75000);
        }
    }
    assert_in_range(agent_again_ms(&i, 1000000, 0), 45 * 60000, 75 * 60000);
}

static void a_short_life_is_tried_often(void **state)
{
    struct x509_info minute = made(60000, "s"), none = made(0, "s");
    (void)state;
    assert_in_range(agent_again_ms(&minute, 1, 0), 750, 1250);
    assert_in_range(agent_again_ms(&minute, 9, UINT64_MAX), 4500, 7500);
    assert_in_range(agent_again_ms(&none, 1, 7), 375, 625);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_two_thirds),
        cmocka_unit_test(doubled_until_an_hour),
        cmocka_unit_test(a_short_life_is_tried_often),
    };
    return cmocka_run_group_tests_name("agent_plan", tests, NULL, NULL);
}
