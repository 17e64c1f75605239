#include "net/network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct net_peer peer(const char *address)
{
    struct net_peer p;
    char text[80];
    (void)snprintf(text, sizeof(text), strchr(address, ':') != NULL ? "[%s]:1" : "%s:1", address);
    if (net_peer_parse(slice_text(text), &p) != OK) {
        fail_msg("not an address: %s", address);
    }
    return p;
}

static struct net_network network(const char *text)
{
    struct net_network n;
    bool is_exact = false;
    if (net_network_parse(slice_text(text), &is_exact, &n) != OK || !is_exact) {
        fail_msg("not a network: %s", text);
    }
    return n;
}

static void text_round_trip(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
        bool is_exact;
    } cases[] = {
        {"10.0.0.0/8", "10.0.0.0/8", true},
        {"0.0.0.0/0", "0.0.0.0/0", true},
        {"192.0.2.7", "192.0.2.7/32", true},
        {"192.0.2.7/32", "192.0.2.7/32", true},
        {"192.0.2.7/31", "192.0.2.6/31", false},
        {"10.0.0.1/8", "10.0.0.0/8", false},
        {"128.0.0.0/0", "0.0.0.0/0", false},
        {"fd00::/8", "fd00::/8", true},
        {"::/0", "::/0", true},
        {"2001:DB8::1", "2001:db8::1/128", true},
        {"2001:db8::1/64", "2001:db8::/64", false},
        {"2001:db8:0:8000::/49", "2001:db8:0:8000::/49", true},
        {"2001:db8:8000::/33", "2001:db8:8000::/33", true},
        {"2001:db8:8000::/32", "2001:db8::/32", false},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8", true},
        {"::ffff:0:0/96", "0.0.0.0/0", true},
        {"::ffff:0:0/95", "::fffe:0:0/95", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_network n, again;
        bool is_exact = false;
        char text[NET_NETWORK_TEXT_BYTES];
        if (net_network_parse(slice_text(cases[i].in), &is_exact, &n) != OK) {
            fail_msg("refused: %s", cases[i].in);
        }
        net_network_text(&n, text);
        if (is_exact != cases[i].is_exact) {
            fail_msg("%s: exact %d", cases[i].in, is_exact);
        }
        assert_string_equal(text, cases[i].out);
        assert_int_equal(net_network_parse(slice_text(text), &is_exact, &again), OK);
        assert_true(is_exact);
        assert_memory_equal(&n, &again, sizeof(n));
    }
}

static void bad_text_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "/",
                                        "/8",
                                        "10.0.0.0/",
                                        "10.0.0.0/33",
                                        "10.0.0.0/-1",
                                        "10.0.0.0/8 ",
                                        " 10.0.0.0/8",
                                        "10.0.0.0/08",
                                        "10.0.0.0/00",
                                        "10.0.0.0/+8",
                                        "10.0.0.0/8/8",
                                        "10.0.0/8",
                                        "10/8",
                                        "10.0.0.0.0/8",
                                        "010.0.0.0/8",
                                        "::/129",
                                        "::/1280",
                                        ":::/8",
                                        "fe80::%lo/64",
                                        "[::1]/128",
                                        "localhost/8",
                                        "::ffff:1.2.3/8",
                                        "10.0.0.0\\8",
                                        "any",
                                        "*",
                                        "10.0.0.0/255.0.0.0",
                                        "10.0.0.0/4294967304",
                                        "1111:2222:3333:4444:5555:6666:255.255.255.2555/128"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_network n = {.bits = 77};
        bool is_exact = false;
        if (net_network_parse(slice_text(cases[i]), &is_exact, &n) != ERR_MALFORMED ||
            n.bits != 77) {
            fail_msg("accepted: %s", cases[i]);
        }
    }
    struct net_network n;
    bool is_exact;
    assert_int_equal(net_network_parse(slice_of("10.0.0.0\0/8", 11), &is_exact, &n), ERR_MALFORMED);
}

/* The last address inside, and the next one on either side. */
static void edges(void **state)
{
    (void)state;
    static const struct {
        const char *network, *address;
        bool inside;
    } cases[] = {
        {"10.0.0.0/8", "9.255.255.255", false},
        {"10.0.0.0/8", "10.0.0.0", true},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"172.16.0.0/12", "172.15.255.255", false},
        {"172.16.0.0/12", "172.31.255.255", true},
        {"172.16.0.0/12", "172.32.0.0", false},
        {"192.0.2.6/31", "192.0.2.5", false},
        {"192.0.2.6/31", "192.0.2.7", true},
        {"192.0.2.6/31", "192.0.2.8", false},
        {"192.0.2.7/32", "192.0.2.7", true},
        {"192.0.2.7/32", "192.0.2.6", false},
        {"192.0.2.7/32", "192.0.2.8", false},
        {"128.0.0.0/1", "127.255.255.255", false},
        {"128.0.0.0/1", "128.0.0.0", true},
        {"0.0.0.0/0", "255.255.255.255", true},
        {"fd00::/9", "fd7f:ffff::1", true},
        {"fd00::/9", "fd80::", false},
        {"fd00::/9", "fcff:ffff::", false},
        {"2001:db8::/127", "2001:db8::1", true},
        {"2001:db8::/127", "2001:db8::2", false},
        {"2001:db8::1", "2001:db8::1", true},
        {"2001:db8::1", "2001:db8::", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "::", true},
        /* The families stay apart, and a mapped address is IPv4. */
        {"::/0", "10.0.0.1", false},
        {"::/80", "10.0.0.1", false},
        {"::ffff:0:0/95", "10.0.0.1", false},
        {"0.0.0.0/0", "::", false},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"0.0.0.0/0", "::fffe:10.0.0.1", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "::ffff:11.1.2.3", false},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true},
        {"10.0.0.0/8", "::10.1.2.3", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_network n;
        bool is_exact;
        struct net_peer p = peer(cases[i].address);
        assert_int_equal(net_network_parse(slice_text(cases[i].network), &is_exact, &n), OK);
        if (net_network_contains(&n, &p) != cases[i].inside) {
            fail_msg("%s in %s: %d expected", cases[i].address, cases[i].network, cases[i].inside);
        }
    }
}

/* Every length of both families, against a comparison bit by bit. */
static void every_length(void **state)
{
    (void)state;
    struct net_peer inside[] = {peer("203.0.113.171"),
                                peer("2001:db8:a55a:f00f:9669:1234:5678:9abc")};
    for (size_t family = 0; family < 2; family++) {
        unsigned most = family == 0 ? 32 : 128, base = 128 - most;
        for (unsigned bits = 0; bits <= most; bits++) {
            char address[NET_PEER_TEXT_BYTES], text[NET_PEER_TEXT_BYTES + 8];
            struct net_network n;
            bool is_exact;
            net_peer_text(&inside[family], address);
            struct slice shown = slice_text(address);
            shown = slice_head(shown, shown.n - 2); /* ":1" */
            shown = family == 0 ? shown : slice_head(slice_from(shown, 1), shown.n - 2);
            (void)snprintf(text, sizeof(text), "%.*s/%u", SLICE_ARG(shown), bits);
            assert_int_equal(net_network_parse(slice_text(text), &is_exact, &n), OK);
            assert_true(net_network_contains(&n, &inside[family]));
            for (unsigned bit = 0; bit < 128; bit++) {
                struct net_peer other = inside[family];
                other.address[bit / 8] ^= (uint8_t)(0x80U >> (bit % 8));
                bool expected = bit >= base + bits;
                if (net_network_contains(&n, &other) != expected) {
                    fail_msg("%s, bit %u: %d expected", text, bit, expected);
                }
            }
        }
    }
}

static void lists(void **state)
{
    (void)state;
    struct net_networks list = {.n = 0};
    struct net_peer in = peer("10.1.2.3"), out = peer("2001:db8::1");
    char text[256], small[32];
    assert_true(net_networks_allow(&list, &out));
    net_networks_text(&list, text, sizeof(text));
    assert_string_equal(text, "");
    list.at[list.n++] = network("192.0.2.0/24");
    list.at[list.n++] = network("10.0.0.0/8");
    assert_true(net_networks_allow(&list, &in));
    assert_false(net_networks_allow(&list, &out));
    net_networks_text(&list, text, sizeof(text));
    assert_string_equal(text, "192.0.2.0/24, 10.0.0.0/8");
    net_networks_text(&list, small, sizeof(small));
    assert_string_equal(small, "192.0.2.0/24, 10.0.0.0/8");
    list.at[list.n++] = network("2001:db8::/32");
    assert_true(net_networks_allow(&list, &out));
    net_networks_text(&list, small, sizeof(small));
    assert_string_equal(small, "192.0.2.0/24, and 2 more");
    while (list.n < NET_NETWORKS_MAX) {
        list.at[list.n++] = network("1111:2222:3333:4444:5555:6666:7777:8888/128");
    }
    net_networks_text(&list, text, sizeof(text));
    assert_non_null(strstr(text, " more"));
    for (size_t cap = 32; cap <= sizeof(text); cap++) {
        net_networks_text(&list, text, cap);
        assert_true(strlen(text) < cap);
        assert_non_null(strstr(text, " more"));
    }
}

static void public_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool is_public;
    } cases[] = {
        {"9.255.255.255", true},
        {"10.0.0.0", false},
        {"10.255.255.255", false},
        {"11.0.0.0", true},
        {"172.15.255.255", true},
        {"172.16.0.0", false},
        {"172.31.255.255", false},
        {"172.32.0.0", true},
        {"192.167.255.255", true},
        {"192.168.0.0", false},
        {"192.168.255.255", false},
        {"192.169.0.0", true},
        {"100.63.255.255", true},
        {"100.64.0.0", false},
        {"100.127.255.255", false},
        {"100.128.0.0", true},
        {"126.255.255.255", true},
        {"127.0.0.0", false},
        {"127.255.255.255", false},
        {"128.0.0.0", true},
        {"169.253.255.255", true},
        {"169.254.0.0", false},
        {"169.254.255.255", false},
        {"169.255.0.0", true},
        {"203.0.113.7", true},
        {"8.8.8.8", true},
        {"0.0.0.0", true},
        {"255.255.255.255", true},
        {"::", true},
        {"::1", false},
        {"::2", true},
        {"fe7f:ffff::", true},
        {"fe80::", false},
        {"febf:ffff::1", false},
        {"fec0::", true},
        {"fbff:ffff::", true},
        {"fc00::", false},
        {"fdff:ffff::1", false},
        {"fe00::", true},
        {"2001:db8::1", true},
        {"2a00:1450::1", true},
        {"::ffff:10.1.2.3", false},
        {"::ffff:8.8.8.8", true},
        {"::10.1.2.3", true},
        {"64:ff9b::10.1.2.3", true},
        {"2002:a01:203::", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_peer p = peer(cases[i].address);
        if (net_peer_is_public(&p) != cases[i].is_public) {
            fail_msg("%s: %d expected", cases[i].address, cases[i].is_public);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_round_trip), cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(edges),           cmocka_unit_test(every_length),
        cmocka_unit_test(lists),           cmocka_unit_test(public_addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
