#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/kept_clock.h"

enum { MINUTE = 60 * 1000, DAY = 24 * 60 * MINUTE };
#define TODAY INT64_C(1795000000000)

struct machine {
    uint64_t mono_ms;
    int64_t wall_ms;
};

static uint64_t machine_mono_ms(void *ctx)
{
    const struct machine *m = ctx;
    return m->mono_ms;
}

static uint64_t machine_mono_us(void *ctx)
{
    const struct machine *m = ctx;
    return m->mono_ms * 1000;
}

static int64_t machine_wall_ms(void *ctx)
{
    const struct machine *m = ctx;
    return m->wall_ms;
}

/* One thing after the other happens to a machine whose log knows TODAY. */
struct happening {
    const char *name;
    int64_t passes_ms; /* by both clocks */
    int64_t step_ms;   /* of the wall clock, behind that */
    int64_t wall_ms;   /* what the kept clock says then, less TODAY */
    int64_t behind_ms;
};

static void run(const struct happening *h, size_t n, int64_t starts_at)
{
    struct machine m = {.mono_ms = 1000, .wall_ms = starts_at};
    struct clock base = {.mono_ms = machine_mono_ms,
                         .mono_us = machine_mono_us,
                         .wall_ms = machine_wall_ms,
                         .ctx = &m};
    struct kept_clock k;
    kept_clock_init(&k, &base);
    struct clock c = kept_clock_as_clock(&k);
    assert_int_equal(c.wall_ms(c.ctx), starts_at);
    assert_int_equal(kept_clock_behind(&k), 0);
    kept_clock_know(&k, TODAY);
    for (size_t i = 0; i < n; i++) {
        m.mono_ms += (uint64_t)h[i].passes_ms;
        m.wall_ms += h[i].passes_ms + h[i].step_ms;
        if (c.wall_ms(c.ctx) != TODAY + h[i].wall_ms) {
            fail_msg("%s: %lld instead of %lld", h[i].name, (long long)(c.wall_ms(c.ctx) - TODAY),
                     (long long)h[i].wall_ms);
        }
        kept_clock_note(&k);
        assert_int_equal(c.wall_ms(c.ctx), TODAY + h[i].wall_ms);
        assert_int_equal(kept_clock_behind(&k), h[i].behind_ms);
        assert_int_equal(c.mono_ms(c.ctx), m.mono_ms);
        assert_int_equal(c.mono_us(c.ctx), m.mono_ms * 1000);
    }
}

static void started_in_1970(void **state)
{
    (void)state;
    static const struct happening h[] = {
        {"at once", 0, 0, 0, TODAY},
        {"a minute later", MINUTE, 0, MINUTE, TODAY},
        {"a day later", DAY, 0, MINUTE + DAY, TODAY},
        {"set right", 0, TODAY + 5 * MINUTE, DAY + 6 * MINUTE, 0},
        {"and on", MINUTE, 0, DAY + 7 * MINUTE, 0},
    };
    run(h, sizeof h / sizeof *h, 0);
}

static void corrected_by_seconds(void **state)
{
    (void)state;
    static const struct happening h[] = {
        {"runs", 10000, 0, 10000, 0},
        {"two seconds back", 0, -2000, 10000, 2000},
        {"stands still", 1500, 0, 10000, 500},
        {"has caught up", 1000, 0, 10500, 0},
    };
    run(h, sizeof h / sizeof *h, TODAY);
}

static void stepped_back_while_running(void **state)
{
    (void)state;
    static const struct happening h[] = {
        {"runs", 10000, 0, 10000, 0},
        {"a year back", 0, -365 * (int64_t)DAY, 10000, 365 * (int64_t)DAY},
        {"goes on", 5000, 0, 15000, 365 * (int64_t)DAY},
        {"set right", 0, 365 * (int64_t)DAY, 15000, 0},
    };
    run(h, sizeof h / sizeof *h, TODAY);
}

static void knows_the_later_one(void **state)
{
    (void)state;
    struct machine m = {.mono_ms = 1, .wall_ms = 0};
    struct clock base = {.mono_ms = machine_mono_ms,
                         .mono_us = machine_mono_us,
                         .wall_ms = machine_wall_ms,
                         .ctx = &m};
    struct kept_clock k;
    kept_clock_init(&k, &base);
    struct clock c = kept_clock_as_clock(&k);
    kept_clock_know(&k, INT64_MIN); /* nothing is on record */
    assert_int_equal(c.wall_ms(c.ctx), 0);
    kept_clock_know(&k, TODAY);
    kept_clock_know(&k, TODAY - DAY);
    assert_int_equal(c.wall_ms(c.ctx), TODAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(started_in_1970),
        cmocka_unit_test(corrected_by_seconds),
        cmocka_unit_test(stepped_back_while_running),
        cmocka_unit_test(knows_the_later_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
