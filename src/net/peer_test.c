#include "net/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void text_round_trip(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
        bool v4, loopback;
    } cases[] = {
        {"127.0.0.1:0", "127.0.0.1:0", true, true},
        {"0.10.200.9:10", "0.10.200.9:10", true, false},
        {"192.0.2.255:65535", "192.0.2.255:65535", true, false},
        {"[::]:8883", "[::]:8883", false, false},
        {"[::1]:1", "[::1]:1", false, true},
        {"[2001:DB8::1]:5684", "[2001:db8::1]:5684", false, false},
        {"[::ffff:192.0.2.1]:5", "192.0.2.1:5", true, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_peer p;
        char text[NET_PEER_TEXT_BYTES];
        assert_int_equal(net_peer_parse(slice_text(cases[i].in), &p), OK);
        net_peer_text(&p, text);
        assert_string_equal(text, cases[i].out);
        assert_int_equal(net_peer_is_v4(&p), cases[i].v4);
        assert_int_equal(net_peer_is_loopback(&p), cases[i].loopback);
        struct sockaddr_storage to;
        socklen_t n = 0;
        struct net_peer back;
        assert_int_equal(net_peer_to(&p, AF_INET6, &to, &n), OK);
        assert_int_equal(net_peer_from(&to, &back), OK);
        assert_true(net_peer_equal(&p, &back));
        enum err e = net_peer_to(&p, AF_INET, &to, &n);
        assert_int_equal(e, cases[i].v4 ? OK : ERR_UNSUPPORTED);
    }
}

static void bad_text_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "127.0.0.1",
                                        "127.0.0.1:",
                                        "127.0.0.1:65536",
                                        "127.0.0.1:-1",
                                        "::1:80",
                                        "[::1]",
                                        "[::1]80",
                                        "[::1]:",
                                        "[::1",
                                        "[]:80",
                                        "localhost:80",
                                        "127.0.0.1:080",
                                        "127.0.0.1:8a",
                                        "127.1:80",
                                        "[::g]:80",
                                        "127.0.0.1 :80",
                                        "127.0.0.256:80",
                                        ":80",
                                        "[127.0.0.1]:80",
                                        "[::1]::80",
                                        "127.0.0.1:+80",
                                        "127.0.0.1:99999",
                                        "127.0.0.1:1:2",
                                        "[fe80::1%lo]:80",
                                        "1.2.3.4:000",
                                        "[::1]:8883 "};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_peer p = {.port = 77};
        if (net_peer_parse(slice_text(cases[i]), &p) != ERR_MALFORMED || p.port != 77) {
            fail_msg("accepted: %s", cases[i]);
        }
    }
}

static void prefixes(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"192.0.2.1:1", "192.0.2.254:9", true},
        {"192.0.2.1:1", "192.0.3.1:1", false},
        {"[2001:db8:0:100::1]:1", "[2001:db8:0:1ff::2]:2", true},
        {"[2001:db8:0:100::1]:1", "[2001:db8:0:200::1]:1", false},
        {"[::1]:1", "127.0.0.1:1", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_peer a, b;
        assert_int_equal(net_peer_parse(slice_text(cases[i].a), &a), OK);
        assert_int_equal(net_peer_parse(slice_text(cases[i].b), &b), OK);
        struct net_prefix pa = net_peer_prefix(&a);
        struct net_prefix pb = net_peer_prefix(&b);
        assert_int_equal(memcmp(&pa, &pb, sizeof(pa)) == 0, cases[i].same);
    }
}

static void prefix_texts(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"192.0.2.77:1", "192.0.2.0/24"},
                                           {"[2001:db8:0:1ff::2]:2", "2001:db8:0:100::/56"},
                                           {"[::1]:1", "::/56"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_peer a;
        char text[NET_PEER_TEXT_BYTES];
        assert_int_equal(net_peer_parse(slice_text(cases[i][0]), &a), OK);
        struct net_prefix p = net_peer_prefix(&a);
        net_prefix_text(&p, text);
        assert_string_equal(text, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text_round_trip),
                                       cmocka_unit_test(bad_text_is_refused),
                                       cmocka_unit_test(prefixes), cmocka_unit_test(prefix_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
