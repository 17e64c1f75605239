#include "service/broker/prefix_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"

enum { RATE = 20, BURST = 200, MANY = 100000 };

static const struct siphash_key key = {1, 2};

static struct net_prefix prefix_v4(uint32_t n)
{
    struct net_peer p = {.address = {[10] = 0xff,
                                     [11] = 0xff,
                                     [12] = (uint8_t)(n >> 16),
                                     [13] = (uint8_t)(n >> 8),
                                     [14] = (uint8_t)n,
                                     [15] = 7}};
    return net_peer_prefix(&p);
}

static struct prefix_table *table_new(uint32_t rate, uint32_t burst, uint32_t share)
{
    struct prefix_table *t = mem_alloc(sizeof(*t));
    assert_non_null(t);
    prefix_table_init(t, &key, rate, burst, share);
    return t;
}

static unsigned takes(struct prefix_table *t, uint32_t network, unsigned n, uint64_t now_ms)
{
    struct net_prefix p = prefix_v4(network);
    unsigned taken = 0;
    for (unsigned i = 0; i < n; i++) {
        bool is_in = prefix_take(t, &p, now_ms);
        taken += is_in;
        if (!is_in) {
            prefix_refused(t, &p, 3, now_ms);
        }
    }
    return taken;
}

static void a_budget_at_under_and_over(void **state)
{
    (void)state;
    struct prefix_table *t = table_new(RATE, BURST, 1);
    assert_int_equal(takes(t, 1, BURST - 1, 0), BURST - 1);
    assert_int_equal(takes(t, 1, 1, 0), 1);
    assert_int_equal(takes(t, 1, 1, 0), 0);
    assert_int_equal(takes(t, 2, BURST, 0), BURST); /* another network's is its own */
    assert_int_equal(takes(t, 1, 1, 49), 0);
    assert_int_equal(takes(t, 1, 2, 50), 1);
    assert_int_equal(takes(t, 1, MANY, 50 + 3000), 3 * RATE);
    mem_free(t);
}

static void workers_divide_it(void **state)
{
    (void)state;
    for (uint32_t share = 1; share <= 32; share++) {
        struct prefix_table *t = table_new(RATE, BURST, share);
        assert_int_equal(takes(t, 1, MANY, 0), BURST / share);
        uint64_t after_ms = 10 * 1000;
        unsigned later = takes(t, 1, MANY, after_ms);
        assert_in_range(later, BURST / share, BURST / share + 1);
        mem_free(t);
    }
    struct prefix_table *small = table_new(1, 1, 4); /* each may begin one at least */
    assert_int_equal(takes(small, 1, 9, 0), 1);
    mem_free(small);
}

static void who_becomes_known_gives_back(void **state)
{
    (void)state;
    struct prefix_table *t = table_new(RATE, BURST, 2);
    struct net_prefix p = prefix_v4(1);
    for (int i = 0; i < 10 * BURST; i++) {
        assert_int_equal(takes(t, 1, 1, 0), 1);
        prefix_give(t, &p, 0);
    }
    prefix_give(t, &p, 0); /* never more than the burst */
    assert_int_equal(takes(t, 1, MANY, 0), BURST / 2);
    struct net_prefix other = prefix_v4(9);
    prefix_give(t, &other, 0); /* of a network that was forgotten */
    mem_free(t);
}

static void many_networks_do_not_hide_an_offender(void **state)
{
    (void)state;
    struct prefix_table *t = table_new(RATE, BURST, 1);
    assert_int_equal(takes(t, 0xffffff, MANY, 0), BURST);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(takes(t, i, 1, 1), 1); /* a stranger is never refused for others */
    }
    assert_int_equal(takes(t, 0xffffff, 1, 1), 0);
    mem_free(t);
}

static void a_budget_that_changes(void **state)
{
    (void)state;
    struct prefix_table *t = table_new(RATE, BURST, 2);
    assert_int_equal(takes(t, 1, 60, 0), 60); /* two tokens each: 80 of 200 are left */
    prefix_table_set(t, 2 * RATE, 50);
    assert_int_equal(takes(t, 1, 60, 0), 25);
    assert_int_equal(takes(t, 1, 60, 500), RATE / 2);
    assert_int_equal(takes(t, 2, 60, 500), 25); /* who comes later has the new one, too */
    prefix_table_set(t, 2 * RATE, 1);
    assert_int_equal(takes(t, 3, 9, 500), 1); /* never less than one each */
    prefix_table_set(t, 2 * RATE, BURST);
    assert_int_equal(takes(t, 3, 9, 500), 0); /* what was taken stays taken */
    mem_free(t);
}

static void refusals_are_folded(void **state)
{
    (void)state;
    struct prefix_table *t = table_new(RATE, BURST, 1);
    struct prefix_report r;
    assert_int_equal(prefix_deadline(t), UINT64_MAX);
    assert_false(prefix_next_report(t, 1000, &r));
    (void)takes(t, 1, BURST + 5, 1000);
    assert_int_equal(prefix_deadline(t), 1000);
    assert_true(prefix_next_report(t, 1000, &r));
    assert_int_equal(r.refused, 5);
    assert_int_equal(r.listener, 3);
    char text[NET_PEER_TEXT_BYTES];
    net_prefix_text(&r.prefix, text);
    assert_string_equal(text, "0.0.1.0/24");
    assert_false(prefix_next_report(t, 1000, &r));
    assert_int_equal(prefix_deadline(t), UINT64_MAX);
    assert_int_equal(takes(t, 1, 9, 1001), 0);
    assert_false(prefix_next_report(t, 1000 + PREFIX_TELL_MS - 1, &r));
    assert_int_equal(prefix_deadline(t), 1000 + PREFIX_TELL_MS);
    assert_true(prefix_next_report(t, 1000 + PREFIX_TELL_MS, &r));
    assert_int_equal(r.refused, 9);
    mem_free(t);
}

static void reports_are_paced(void **state)
{
    (void)state;
    enum { NETWORKS = 100 };
    struct prefix_table *t = table_new(1, 1, 1);
    struct prefix_report r;
    unsigned told = 0, sweeps = 0;
    for (uint32_t i = 0; i < NETWORKS; i++) {
        assert_int_equal(takes(t, i, 2, 5000), 1);
    }
    for (uint64_t at = prefix_deadline(t); at != UINT64_MAX; at = prefix_deadline(t), sweeps++) {
        unsigned n = 0;
        while (prefix_next_report(t, at, &r)) {
            n++;
        }
        assert_true(n <= PREFIX_SWEEP_MAX);
        assert_true(sweeps < NETWORKS);
        told += n;
    }
    assert_int_equal(told, NETWORKS);
    mem_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_budget_at_under_and_over),
        cmocka_unit_test(workers_divide_it),
        cmocka_unit_test(who_becomes_known_gives_back),
        cmocka_unit_test(many_networks_do_not_hide_an_offender),
        cmocka_unit_test(a_budget_that_changes),
        cmocka_unit_test(refusals_are_folded),
        cmocka_unit_test(reports_are_paced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
