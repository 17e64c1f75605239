#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"

static void known_moments(void **state)
{
    (void)state;
    static const struct {
        int64_t wall_ms;
        const char *text;
    } cases[] = {
        {INT64_C(0), "1970-01-01T00:00:00.000Z"},
        {INT64_C(1795251600123), "2026-11-21T09:00:00.123Z"},
        {INT64_C(951868799999), "2000-02-29T23:59:59.999Z"},
        {INT64_C(951868800000), "2000-03-01T00:00:00.000Z"},
        {INT64_C(-2203934400000), "1900-02-28T12:00:00.000Z"},
        {INT64_C(-2203891200000), "1900-03-01T00:00:00.000Z"},
        {INT64_C(4107456000000), "2100-02-28T00:00:00.000Z"},
        {INT64_C(4107542400000), "2100-03-01T00:00:00.000Z"},
        {INT64_C(-1), "1969-12-31T23:59:59.999Z"},
        {INT64_C(1735689599000), "2024-12-31T23:59:59.000Z"},
        {INT64_C(2147483648000), "2038-01-19T03:14:08.000Z"},
        {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
        {INT64_C(-62135596800000), "0001-01-01T00:00:00.000Z"},
        {INT64_C(-11670976371991), "1600-02-29T06:07:08.009Z"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[CLOCK_ISO8601_BYTES];
        clock_iso8601(cases[i].wall_ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

/* Counts days one by one from 1600 to 2400 with the plain calendar rules. */
static void every_day_of_eight_centuries(void **state)
{
    (void)state;
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t day_number = -135140; /* 1600-01-01 */
    for (int year = 1600; year < 2400; year++) {
        bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 1; month <= 12; month++) {
            int n_days = lengths[month - 1] + (month == 2 && is_leap ? 1 : 0);
            for (int day = 1; day <= n_days; day++) {
                char expected[64];
                char text[CLOCK_ISO8601_BYTES];
                (void)snprintf(expected, sizeof expected, "%04d-%02d-%02dT00:00:00.001Z", year,
                               month, day);
                clock_iso8601(day_number * 86400000 + 1, text);
                assert_string_equal(text, expected);
                day_number++;
            }
        }
    }
}

static void the_ends_of_time_fit(void **state)
{
    (void)state;
    char text[CLOCK_ISO8601_BYTES];
    clock_iso8601(INT64_MAX, text);
    assert_string_equal(text, "292278994-08-17T07:12:55.807Z");
    clock_iso8601(INT64_MIN, text);
    assert_string_equal(text, "-292275055-05-16T16:47:04.192Z");
}

static void one_look_gives_both(void **state)
{
    (void)state;
    static const uint64_t cases[][2] = {{0, 1},    {999, 1},  {1000, 1},
                                        {1999, 1}, {2000, 2}, {UINT64_MAX, UINT64_MAX / 1000}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(clock_ms(cases[i][0]), cases[i][1]);
    }
}

static void the_system_clock_moves_forward(void **state)
{
    (void)state;
    struct clock c = clock_system();
    uint64_t first_us = c.mono_us(c.ctx);
    uint64_t first_ms = c.mono_ms(c.ctx);
    assert_true(first_ms > 0);
    assert_true(first_ms >= first_us / 1000);
    assert_true(c.mono_us(c.ctx) >= first_us);
    assert_true(c.wall_ms(c.ctx) / 1000 - (int64_t)time(NULL) <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_moments),
        cmocka_unit_test(every_day_of_eight_centuries),
        cmocka_unit_test(the_ends_of_time_fit),
        cmocka_unit_test(one_look_gives_both),
        cmocka_unit_test(the_system_clock_moves_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
