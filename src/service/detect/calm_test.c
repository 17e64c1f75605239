/* Under one false alarm for a thousand device-days of calm, and each injected attack found. Other
 * seeds, wider: tests/bench/detectors.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "service/detect/calm_trace_test.h"

static void calm_fleets_raise_almost_nothing(void **state)
{
    (void)state;
    static struct calm c;
    unsigned n_days = 0, n_false = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        const struct calm_terms terms = {.seed = seed, .n_devices = 120, .n_days = 10, .wide = 1};
        n_days += calm_run(&c, &terms);
        n_false += c.n_false;
        for (size_t i = 0; i < CALM_ATTACKS_N; i++) {
            print_message("seed %u %s: %u of %u, after %u s\n", (unsigned)seed,
                          calm_attack_names[i], c.attack[i].n_found, c.attack[i].n,
                          (unsigned)(c.attack[i].most_ms / 1000));
            assert_int_equal(c.attack[i].n_found, c.attack[i].n);
        }
    }
    print_message("%u false alarms in %u device-days\n", n_false, n_days);
    assert_true(n_days > 3000);
    assert_true(n_false * 1000 < n_days);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(calm_fleets_raise_almost_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
