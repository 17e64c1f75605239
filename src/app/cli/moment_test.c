#include "app/cli/moment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_moments(void **state)
{
    static const struct {
        const char *text, *said; /* NULL: refused */
    } cases[] = {
        {"2026-11-22", "2026-11-22T00:00:00.000Z"},
        {"2026-11-22T08:05", "2026-11-22T08:05:00.000Z"},
        {"2026-11-22T08:05:30", "2026-11-22T08:05:30.000Z"},
        {"2026-11-22T08:05:30Z", "2026-11-22T08:05:30.000Z"},
        {"2026-11-22T08:05:30.123Z", "2026-11-22T08:05:30.123Z"},
        {"2024-02-29", "2024-02-29T00:00:00.000Z"},
        {"2000-02-29", "2000-02-29T00:00:00.000Z"},
        {"1970-01-01", "1970-01-01T00:00:00.000Z"},
        {"2100-03-01", "2100-03-01T00:00:00.000Z"},
        {"24h", "2023-11-13T22:13:20.000Z"},
        {"7d", "2023-11-07T22:13:20.000Z"},
        {"2023-02-29", NULL},
        {"2100-02-29", NULL},
        {"2026-11-31", NULL},
        {"2026-13-01", NULL},
        {"2026-00-01", NULL},
        {"2026-11", NULL},
        {"2026-11-22T08", NULL},
        {"2026-11-22T24:00", NULL},
        {"2026-11-22 08:05", NULL},
        {"2026-11-22T08:05:30.123456Z", NULL},
        {"2026-11-22T08:05Zx", NULL},
        {"2026-11-22Z", NULL},
        {"1969-01-01", NULL},
        {"yesterday", NULL},
        {"-1", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t at = 0;
        char said[CLOCK_ISO8601_BYTES];
        print_message("%s\n", cases[i].text);
        enum err err = moment_parse(cases[i].text, 1700000000000, &at);
        assert_int_equal(err, cases[i].said != NULL ? OK : ERR_MALFORMED);
        if (err == OK) {
            clock_iso8601(at, said);
            assert_string_equal(said, cases[i].said);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_moments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
