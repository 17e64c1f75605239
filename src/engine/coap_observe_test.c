#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/coap_observe.h"

static void registry(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    limits.n_observations = 2;
    AUTO(coap_observers_done) struct coap_observers o;
    struct coap_observation *a = NULL, *b = NULL, *c = NULL;
    coap_observers_init(&o);
    assert_int_equal(coap_observers_add(&o, &limits, slice_text("a"), 1, 0, &a), OK);
    assert_int_equal(coap_observers_add(&o, &limits, slice_text(""), 2, 0, &b), OK);
    assert_int_equal(coap_observers_add(&o, &limits, slice_text("c"), 3, 0, &c), ERR_LIMIT);
    assert_null(c);
    assert_int_equal(coap_observers_add(&o, &limits, slice_text("a"), 4, 0, &a), OK);
    assert_int_equal(o.n, 2);
    assert_ptr_equal(coap_observers_find_token(&o, slice_text("a")), a);
    assert_int_equal(a->key, 4);
    assert_ptr_equal(coap_observers_find_token(&o, slice_text("")), b);
    mem_fail_after(0);
    assert_int_equal(coap_observers_add(&o, &limits, slice_text("a"), 5, 0, &c), ERR_NOMEM);
    mem_fail_after(-1);
    assert_ptr_equal(coap_observers_find_token(&o, slice_text("a")), a);
    coap_observers_remove(&o, a);
    assert_null(coap_observers_find_token(&o, slice_text("a")));
}

static void history_of_message_ids(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    AUTO(coap_observers_done) struct coap_observers o;
    struct coap_observation *ob = NULL;
    coap_observers_init(&o);
    assert_int_equal(coap_observers_add(&o, &limits, slice_text("a"), 1, 0, &ob), OK);
    assert_null(coap_observers_find_mid(&o, 0));
    for (uint16_t mid = 100; mid < (uint16_t)(100 + COAP_OBSERVE_MIDS + 1); mid++) {
        coap_observation_sent(ob, &limits, mid, false, 0);
    }
    assert_null(coap_observers_find_mid(&o, 100));
    for (uint16_t mid = 101; mid < (uint16_t)(101 + COAP_OBSERVE_MIDS); mid++) {
        assert_ptr_equal(coap_observers_find_mid(&o, mid), ob);
    }
}

static void when_confirmable(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    AUTO(coap_observers_done) struct coap_observers o;
    struct coap_observation *ob = NULL;
    coap_observers_init(&o);
    assert_int_equal(coap_observers_add(&o, &limits, slice_text("a"), 1, 1000, &ob), OK);
    for (int i = 1; i < 8; i++) {
        assert_false(coap_observation_wants_con(ob, &limits, 1000));
        coap_observation_sent(ob, &limits, 1, false, 1000);
    }
    assert_true(coap_observation_wants_con(ob, &limits, 1000));
    coap_observation_sent(ob, &limits, 1, true, 2000);
    assert_false(coap_observation_wants_con(ob, &limits, 2000 + 86399999));
    assert_true(coap_observation_wants_con(ob, &limits, 2000 + 86400000));
}

static void sequence_wraps(void **state)
{
    (void)state;
    struct coap_observers o;
    coap_observers_init(&o);
    o.sequence = 0xFFFFFE;
    assert_int_equal(coap_observers_sequence(&o), 0xFFFFFF);
    assert_int_equal(coap_observers_sequence(&o), 0);
    assert_int_equal(coap_observers_sequence(&o), 1);
}

/* RFC 7641 3.4, at the edges of half the circle and of the 128 seconds. */
static void order(void **state)
{
    (void)state;
    static const struct {
        uint32_t first, second;
        uint64_t later_ms;
        bool is_newer;
    } cases[] = {
        {5, 6, 0, true},         {5, 5, 0, false},        {5, 4, 0, false},
        {5, 4, 128000, false},   {5, 4, 128001, true},    {0, 0x7FFFFF, 0, true},
        {0, 0x800000, 0, false}, {0x800000, 0, 0, false}, {0x800001, 0, 0, true},
        {0xFFFFFF, 0, 0, true},  {0, 0xFFFFFF, 0, false}, {5, 5, 128001, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct coap_order o = {0};
        assert_true(coap_order_is_newer(&o, cases[i].first, 50));
        if (coap_order_is_newer(&o, cases[i].second, 50 + cases[i].later_ms) != cases[i].is_newer) {
            fail_msg("case %zu", i);
        }
        assert_int_equal(o.sequence, cases[i].is_newer ? cases[i].second : cases[i].first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry),
        cmocka_unit_test(history_of_message_ids),
        cmocka_unit_test(when_confirmable),
        cmocka_unit_test(sequence_wraps),
        cmocka_unit_test(order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
