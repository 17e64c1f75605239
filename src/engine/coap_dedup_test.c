#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/coap_dedup.h"

static enum err add(struct coap_dedup *d, const struct coap_limits *limits, uint16_t mid,
                    uint64_t now_ms)
{
    return coap_dedup_add(d, limits, mid, COAP_SEEN_OPEN, 1000, now_ms);
}

static void remembers_and_forgets(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    assert_true(coap_dedup_deadline(&d) == UINT64_MAX);
    assert_null(coap_dedup_find(&d, 1, 0));
    assert_int_equal(add(&d, &limits, 1, 0), OK);
    assert_non_null(coap_dedup_find(&d, 1, 0));
    assert_non_null(coap_dedup_find(&d, 1, 1000)); /* never too early */
    assert_null(coap_dedup_find(&d, 1, 1000 + 2 * COAP_DEDUP_TICK_MS));
    assert_null(coap_dedup_find(&d, 2, 0));
    uint64_t at_ms = coap_dedup_deadline(&d);
    coap_dedup_sweep(&d, at_ms);
    assert_int_equal(d.n, 0);
    assert_null(d.seen);
}

static void limit_of_entries(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    limits.dedup_entries = 100;
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    for (uint16_t mid = 0; mid < 100; mid++) {
        assert_int_equal(add(&d, &limits, mid, mid), OK);
    }
    assert_int_equal(add(&d, &limits, 100, 100), ERR_LIMIT);
    for (uint16_t mid = 0; mid < 100; mid++) {
        assert_non_null(coap_dedup_find(&d, mid, 100));
    }
    /* What has expired makes room. */
    assert_int_equal(add(&d, &limits, 100, 1200), OK);
    assert_non_null(coap_dedup_find(&d, 100, 1200));
}

static void kept_answers(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    limits.dedup_bytes = 10;
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    for (uint16_t mid = 1; mid <= 3; mid++) {
        assert_int_equal(add(&d, &limits, mid, 0), OK);
        coap_dedup_keep(&d, &limits, coap_dedup_find(&d, mid, 0), slice_text("12345"));
    }
    assert_int_equal(coap_dedup_find(&d, 1, 0)->state, COAP_SEEN_LOST);
    assert_int_equal(coap_dedup_find(&d, 2, 0)->state, COAP_SEEN_KEPT);
    assert_true(slice_is(coap_dedup_kept(&d, 3), "12345"));
    assert_int_equal(add(&d, &limits, 4, 0), OK);
    coap_dedup_keep(&d, &limits, coap_dedup_find(&d, 4, 0), slice_text("12345678901"));
    assert_int_equal(coap_dedup_find(&d, 4, 0)->state, COAP_SEEN_LOST);
    assert_int_equal(coap_dedup_find(&d, 2, 0)->state, COAP_SEEN_KEPT);

    mem_fail_after(0);
    coap_dedup_keep(&d, &limits, coap_dedup_find(&d, 4, 0), slice_text("1"));
    assert_int_equal(mem_fail_after(-1), 1);
    assert_int_equal(coap_dedup_find(&d, 4, 0)->state, COAP_SEEN_LOST);
}

/* An id that comes back after its lifetime must not get the old answer. */
static void id_comes_back(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    assert_int_equal(add(&d, &limits, 1, 0), OK);
    coap_dedup_keep(&d, &limits, coap_dedup_find(&d, 1, 0), slice_text("old"));
    assert_int_equal(add(&d, &limits, 2, 900), OK);
    assert_int_equal(add(&d, &limits, 1, 1500), OK);
    coap_dedup_keep(&d, &limits, coap_dedup_find(&d, 1, 1500), slice_text("new"));
    assert_true(slice_is(coap_dedup_kept(&d, 1), "new"));
    assert_int_equal(d.kept_bytes, 3);
    coap_dedup_sweep(&d, 2000);
    assert_true(slice_is(coap_dedup_kept(&d, 1), "new"));
}

static void no_memory(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    mem_fail_after(0);
    assert_int_equal(add(&d, &limits, 1, 0), ERR_NOMEM);
    mem_fail_after(-1);
    assert_null(coap_dedup_find(&d, 1, 0));
    assert_int_equal(add(&d, &limits, 1, 0), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_and_forgets),
        cmocka_unit_test(limit_of_entries),
        cmocka_unit_test(kept_answers),
        cmocka_unit_test(id_comes_back),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
