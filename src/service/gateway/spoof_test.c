#include "service/gateway/spoof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static const struct siphash_key key = {1, 2};

static struct net_peer peer_at(unsigned network, unsigned host)
{
    struct net_peer p = {.port = 5683};
    struct slice text = slice_text("10.0.0.0:5683");
    assert_int_equal(net_peer_parse(text, &p), OK);
    p.address[13] = (uint8_t)(network >> 8);
    p.address[14] = (uint8_t)network;
    p.address[15] = (uint8_t)host;
    return p;
}

static struct spoof_table *table(void)
{
    struct spoof_table *t = mem_alloc(sizeof(*t));
    assert_non_null(t);
    spoof_init(t, &key);
    assert_true(spoof_deadline(t) == UINT64_MAX);
    return t;
}

static void challenge(struct spoof_table *t, unsigned network, unsigned n, uint64_t now_ms)
{
    for (unsigned i = 0; i < n; i++) {
        struct net_peer p = peer_at(network, i);
        spoof_challenged(t, &p, now_ms);
    }
}

/* Everything that is told until the table has nothing left; each report by its network. */
static uint64_t told(struct spoof_table *t, uint64_t now_ms, unsigned *ret_reports)
{
    struct spoof_report r;
    uint64_t n = 0;
    *ret_reports = 0;
    while (spoof_next_report(t, now_ms, &r)) {
        n += r.n;
        *ret_reports += 1;
    }
    return n;
}

static void one_network(void **state)
{
    (void)state;
    static const struct {
        unsigned n, reports;
    } cases[] = {{1, 0}, {SPOOF_SUSPECT - 1, 0}, {SPOOF_SUSPECT, 1}, {SPOOF_SUSPECT * 50, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct spoof_table *t = table();
        struct spoof_report r;
        unsigned reports = 0;
        challenge(t, 7, cases[i].n, 1000);
        assert_int_equal(spoof_deadline(t), 1000 + SPOOF_INTERVAL_MS);
        assert_false(spoof_next_report(t, 1000 + SPOOF_INTERVAL_MS, &r)); /* it may come back yet */
        uint64_t at = 1000 + 2 * SPOOF_INTERVAL_MS;
        bool is_told = spoof_next_report(t, at, &r);
        assert_int_equal(is_told, cases[i].reports > 0);
        if (is_told) {
            char text[NET_PEER_TEXT_BYTES];
            net_prefix_text(&r.prefix, text);
            assert_string_equal(text, "10.0.7.0/24");
            assert_int_equal(r.n, cases[i].n);
            assert_false(r.is_spread);
        }
        assert_int_equal(told(t, at, &reports), 0);
        /* nothing is left when it is over */
        for (unsigned ticks = 0; spoof_deadline(t) != UINT64_MAX; ticks++) {
            assert_true(ticks < 100);
            assert_int_equal(told(t, spoof_deadline(t), &reports), 0);
        }
        (void)mem_free(t);
    }
}

/* A plant comes back behind one address: each of its clients is challenged, and follows up. */
static void who_comes_back(void **state)
{
    (void)state;
    struct spoof_table *t = table();
    unsigned reports = 0;
    struct net_peer p = peer_at(7, 1);
    challenge(t, 7, SPOOF_SUSPECT * 10, 1000);
    assert_int_equal(told(t, 1000 + SPOOF_INTERVAL_MS, &reports), 0);
    for (unsigned i = 0; i < SPOOF_SUSPECT * 10 - SPOOF_SUSPECT + 1; i++) {
        spoof_came_back(t, &p, 1); /* in the next interval, and most of them */
    }
    assert_int_equal(told(t, 1000 + 2 * SPOOF_INTERVAL_MS, &reports), 0);
    struct net_peer stranger = peer_at(900, 1);
    spoof_came_back(t, &stranger, 1000); /* never below nothing */
    (void)mem_free(t);
}

/* An attack that goes on is told once in SPOOF_TELL_MS, with all that came since. */
static void it_goes_on(void **state)
{
    (void)state;
    struct spoof_table *t = table();
    uint64_t now = 1000, n = 0, sent = 0;
    unsigned reports = 0, all_reports = 0;
    for (; now < 1000 + SPOOF_TELL_MS * 3; now += SPOOF_INTERVAL_MS) {
        challenge(t, 7, SPOOF_SUSPECT * 2, now);
        sent += SPOOF_SUSPECT * 2;
        n += told(t, now, &reports);
        all_reports += reports;
    }
    assert_in_range(all_reports, 2, 4);
    for (; now < 1000 + SPOOF_TELL_MS * 6; now += SPOOF_INTERVAL_MS) {
        n += told(t, now, &reports);
    }
    assert_int_equal(n, sent);
    assert_true(spoof_deadline(t) == UINT64_MAX);
    (void)mem_free(t);
}

/* Random sources: no network stands out, so all of it is one report, and a network that does stand
 * out is not pushed out of the table. */
static void many_networks(void **state)
{
    (void)state;
    struct spoof_table *t = table();
    struct spoof_report r;
    challenge(t, 60000, SPOOF_SUSPECT * 3, 1000);
    for (unsigned i = 0; i < 50000; i++) {
        challenge(t, i, 1, 1000);
    }
    assert_false(spoof_next_report(t, 1000 + SPOOF_INTERVAL_MS, &r));
    assert_true(spoof_next_report(t, 1000 + 2 * SPOOF_INTERVAL_MS, &r));
    assert_true(r.is_spread);
    assert_int_equal(r.n, 50000);
    assert_true(spoof_next_report(t, 1000 + 2 * SPOOF_INTERVAL_MS, &r));
    assert_false(r.is_spread);
    assert_int_equal(r.n, SPOOF_SUSPECT * 3);
    assert_false(spoof_next_report(t, 1000 + 2 * SPOOF_INTERVAL_MS, &r));
    (void)mem_free(t);
}

/* Hundreds of networks in earnest: a few reports each interval, all in the end. */
static void many_reports(void **state)
{
    (void)state;
    struct spoof_table *t = table();
    uint64_t now = 1000;
    unsigned reports = 0, all = 0;
    for (unsigned i = 0; i < 100; i++) {
        challenge(t, i, SPOOF_SUSPECT, now);
    }
    for (unsigned i = 0; i < 40; i++) {
        now += SPOOF_INTERVAL_MS;
        (void)told(t, now, &reports);
        assert_true(reports <= SPOOF_TELL_MAX + 1);
        all += reports;
    }
    assert_int_equal(all, 100);
    (void)mem_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_network),  cmocka_unit_test(who_comes_back),
        cmocka_unit_test(it_goes_on),   cmocka_unit_test(many_networks),
        cmocka_unit_test(many_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
