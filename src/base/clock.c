#include "base/clock.h"

#include <inttypes.h>

static uint64_t system_mono_us(void *ctx)
{
    (void)ctx;
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t system_mono_ms(void *ctx)
{
    return clock_ms(system_mono_us(ctx));
}

static int64_t system_wall_ms(void *ctx)
{
    (void)ctx;
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct clock clock_system(void)
{
    return (struct clock){
        .mono_ms = system_mono_ms,
        .mono_us = system_mono_us,
        .wall_ms = system_wall_ms,
    };
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

enum { DAYS_IN_ERA = 146097, DAYS_1970_FROM_ERA = 719468, DAY_MS = 86400000 };

/*
 * Counted from 1 March of year 0, the leap day is the last day of a year and of a 400-year era, so
 * all parts of a date are plain divisions: years of 365 days with the leap days taken out first,
 * and months whose lengths repeat every five (153 days).
 */
void clock_iso8601(int64_t wall_ms, char dst[CLOCK_ISO8601_BYTES])
{
    int64_t days = floor_divide(wall_ms, DAY_MS);
    int in_day_ms = (int)((wall_ms % DAY_MS + DAY_MS) % DAY_MS);
    int64_t era = floor_divide(days + DAYS_1970_FROM_ERA, DAYS_IN_ERA);
    int in_era = (int)(days + DAYS_1970_FROM_ERA - era * DAYS_IN_ERA);
    int leap_free = in_era - in_era / 1460 + in_era / 36524 - in_era / 146096;
    int year_of_era = leap_free / 365;
    int in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int month_from_march = (5 * in_year + 2) / 153;
    int day = in_year - (153 * month_from_march + 2) / 5 + 1;
    int month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    int64_t year = era * 400 + year_of_era + (month <= 2 ? 1 : 0);
    char text[64] = {
        0}; /* what the compiler can prove; the years of an int64_t end before 30 bytes */
    (void)snprintf(text, sizeof text, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month,
                   day, in_day_ms / 3600000, in_day_ms / 60000 % 60, in_day_ms / 1000 % 60,
                   in_day_ms % 1000);
    memcpy(dst, text, CLOCK_ISO8601_BYTES - 1);
    dst[CLOCK_ISO8601_BYTES - 1] = '\0';
}
