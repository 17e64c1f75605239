#include "app/cli/moment.h"

#include "base/clock.h"
#include "base/slice.h"
#include "service/directory/settings.h"

enum { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, MS, FIELDS };

/* Days from 1970-01-01, by the calendar that begins its years in March. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t from_march = (month + 9) % 12;
    return y * 365 + y / 4 - y / 100 + y / 400 + (153 * from_march + 2) / 5 + day - 1 - 719468;
}

static bool take_number(struct slice *rest, size_t digits, int64_t *ret)
{
    int64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        if (rest->n == 0 || rest->p[0] < '0' || rest->p[0] > '9') {
            return false;
        }
        value = value * 10 + (rest->p[0] - '0');
        *rest = slice_from(*rest, 1);
    }
    *ret = value;
    return true;
}

static enum err parse_date(struct slice rest, int64_t *ret)
{
    static const char front[FIELDS] = {0, '-', '-', 'T', ':', ':', '.'};
    static const size_t digits[FIELDS] = {4, 2, 2, 2, 2, 2, 3};
    int64_t f[FIELDS] = {0};
    char again[CLOCK_ISO8601_BYTES];
    size_t n = 0;
    for (; n < FIELDS && rest.n > 0 && rest.p[0] != 'Z'; n++) {
        if (front[n] != 0 && rest.p[0] != (uint8_t)front[n]) {
            return ERR_MALFORMED;
        }
        rest = slice_from(rest, front[n] != 0 ? 1 : 0);
        if (!take_number(&rest, digits[n], &f[n])) {
            return ERR_MALFORMED;
        }
    }
    if (n <= DAY || n == HOUR + 1 || (rest.n > 0 && (!slice_is(rest, "Z") || n <= HOUR))) {
        return ERR_MALFORMED;
    }
    if (f[YEAR] < 1970 || f[MONTH] < 1 || f[MONTH] > 12 || f[DAY] < 1 || f[HOUR] > 23 ||
        f[MINUTE] > 59 || f[SECOND] > 59) {
        return ERR_MALFORMED;
    }
    int64_t minutes = (days_of(f[YEAR], f[MONTH], f[DAY]) * 24 + f[HOUR]) * 60 + f[MINUTE];
    int64_t ms = (minutes * 60 + f[SECOND]) * 1000 + f[MS];
    clock_iso8601(ms, again);
    struct slice month_day = slice_head(slice_from(slice_text(again), 5), 5);
    char wanted[8] = {(char)('0' + f[MONTH] / 10), (char)('0' + f[MONTH] % 10), '-',
                      (char)('0' + f[DAY] / 10),   (char)('0' + f[DAY] % 10),   0};
    if (!slice_is(month_day, wanted)) {
        return ERR_MALFORMED; /* no such day */
    }
    *ret = ms;
    return OK;
}

enum err moment_parse(const char *text, int64_t now_wall_ms, int64_t *ret)
{
    static const struct setting ago = {"ago", SETTING_DURATION, 1, 3650LL * 86400, "", 0, 8};
    char why[SETTING_WHY_BYTES];
    uint64_t seconds;
    if (strchr(text, '-') != NULL) {
        return parse_date(slice_text(text), ret);
    }
    if (setting_parse(&ago, slice_text(text), 0, why, &seconds) != OK) {
        return ERR_MALFORMED;
    }
    *ret = now_wall_ms - (int64_t)seconds * 1000;
    return OK;
}
