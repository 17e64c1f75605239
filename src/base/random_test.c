#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"

static void a_seed_gives_its_stream(void **state)
{
    (void)state;
    /* splitmix64 from 0, computed by a second implementation. */
    static const uint64_t expected[] = {UINT64_C(0xe220a8397b1dcdaf), UINT64_C(0x6e789e6aa1b965f4),
                                        UINT64_C(0x06c45d188009454f)};
    uint64_t seed = 0;
    struct random_source r = random_seeded(&seed);
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_true(random_u64(&r) == expected[i]);
    }
}

static void fills_any_length_and_no_more(void **state)
{
    (void)state;
    struct random_source sources[2];
    uint64_t seed = 42;
    sources[0] = random_seeded(&seed);
    sources[1] = random_system();
    for (size_t s = 0; s < COUNT_OF(sources); s++) {
        for (size_t n = 0; n < 40; n++) {
            uint8_t bytes[48];
            uint8_t changed[48] = {0};
            for (unsigned round = 0; round < 20; round++) {
                memset(bytes, 0, sizeof bytes);
                sources[s].fill(sources[s].ctx, bytes, n);
                for (size_t i = 0; i < sizeof bytes; i++) {
                    changed[i] |= bytes[i];
                }
            }
            for (size_t i = 0; i < sizeof bytes; i++) {
                assert_int_equal(changed[i] != 0, i < n);
            }
        }
    }
}

static void large_requests_are_filled(void **state)
{
    (void)state;
    static uint8_t
        bytes[100000]; /* more than the kernel gives without a chance to be interrupted */
    struct random_source r = random_system();
    r.fill(r.ctx, bytes, sizeof bytes);
    size_t n_zero = 0;
    for (size_t i = sizeof bytes - 4096; i < sizeof bytes; i++) {
        n_zero += bytes[i] == 0 ? 1 : 0;
    }
    assert_true(n_zero < 200);
}

static void below_is_below_and_even(void **state)
{
    (void)state;
    uint64_t seed = 9;
    struct random_source r = random_seeded(&seed);
    unsigned n_hits[7] = {0};
    for (unsigned i = 0; i < 70000; i++) {
        uint64_t v = random_below(&r, 7);
        assert_true(v < 7);
        n_hits[v]++;
    }
    for (size_t i = 0; i < COUNT_OF(n_hits); i++) {
        assert_true(n_hits[i] > 9500 && n_hits[i] < 10500);
    }
    assert_int_equal(random_below(&r, 1), 0);
}

/* Values that would make small results likelier are drawn again. */
struct script {
    uint64_t values[3];
    size_t n_used;
};

static void script_fill(void *ctx, void *dst, size_t n)
{
    struct script *s = ctx;
    assert_int_equal(n, 8);
    for (size_t i = 0; i < 8; i++) {
        ((uint8_t *)dst)[i] = (uint8_t)(s->values[s->n_used] >> (8 * i));
    }
    s->n_used++;
}

static void below_has_no_bias(void **state)
{
    (void)state;
    /* 2^64 mod (2^63 + 1) = 2^63 - 1: the first two are surplus, the third is the first that is not
     */
    struct script script = {.values = {0, (UINT64_C(1) << 63) - 2, (UINT64_C(1) << 63) - 1}};
    struct random_source r = {.fill = script_fill, .ctx = &script};
    assert_true(random_below(&r, (UINT64_C(1) << 63) + 1) == (UINT64_C(1) << 63) - 1);
    assert_int_equal(script.n_used, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_its_stream),   cmocka_unit_test(fills_any_length_and_no_more),
        cmocka_unit_test(large_requests_are_filled), cmocka_unit_test(below_is_below_and_even),
        cmocka_unit_test(below_has_no_bias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
