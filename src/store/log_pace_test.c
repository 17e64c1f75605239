#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "store/log_private.h"

static void paces(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t records_per_s, records_per_batch, sync_us, least, most;
    } cases[] = {
        {"nobody is there", 0, 0, 100, 0, 0},
        {"one client waits for each acknowledgement", 18000, 3, 150, 0, 0},
        {"a slow disk gathers by itself", 100000, 500, 5000, 0, 0},
        {"a few thousand records", 10000, 10, 50, 1, 300},
        {"20,000 messages, each with body, delivery and end", 60000, 60, 150, 1800, 2000},
        {"enough comes in less", 100000, 100, 150, 1000, 1200},
        {"saturated", 200000, 200, 150, 500, 1000},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        print_message("%s\n", cases[i].name);
        assert_in_range(
            pace_us(cases[i].records_per_s, cases[i].records_per_batch, cases[i].sync_us),
            cases[i].least, cases[i].most);
    }
}

/* More traffic waits longer until there is enough of it, then less, and nothing over two
 * milliseconds. */
static void grows_until_it_is_enough(void **state)
{
    (void)state;
    uint64_t before = 0;
    for (uint64_t rate = 0; rate <= 60000; rate += 500) {
        uint64_t us = pace_us(rate, 100, 100);
        assert_in_range(us, before, 1900);
        before = us;
    }
    for (uint64_t rate = 60500; rate < 500000; rate += 500) {
        uint64_t us = pace_us(rate, 100, 100);
        assert_in_range(us, 900, before);
        before = us;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paces),
                                       cmocka_unit_test(grows_until_it_is_enough)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
