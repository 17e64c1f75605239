#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "service/gateway/proxy_rules.h"
#include "wire/coap/uri.h"

static void which_addresses_rules_mean(void **state)
{
    static const struct {
        const char *network, *address;
        bool allowed;
    } rows[] = {{"0.0.0.0/0", "10.1.2.3:5683", true},
                {"0.0.0.0/0", "127.0.0.1:5683", false},
                {"127.0.0.0/8", "127.0.0.1:5683", false},
                {"127.0.0.1", "127.0.0.1:5683", true},
                {"169.254.0.0/16", "169.254.1.1:5683", false},
                {"0.0.0.0/0", "224.0.1.187:5683", false},
                {"224.0.1.187", "224.0.1.187:5683", false},
                {"0.0.0.0/0", "255.255.255.255:5683", false},
                {"0.0.0.0/0", "0.0.0.0:5683", false},
                {"10.0.0.0/8", "10.1.2.3:5684", false},
                {"::/0", "[2001:db8::1]:5683", true},
                {"::/0", "10.1.2.3:5683", false},
                {"::/0", "[::1]:5683", false},
                {"::1", "[::1]:5683", true},
                {"::/0", "[fe80::1]:5683", false},
                {"::/0", "[ff02::fd]:5683", false},
                {"::/0", "[::]:5683", false}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct proxy_rules r = {.n_targets = 1};
        struct net_peer to;
        bool is_exact;
        r.targets[0].port = 5683;
        assert_int_equal(
            net_network_parse(slice_text(rows[i].network), &is_exact, &r.targets[0].to), OK);
        assert_int_equal(net_peer_parse(slice_text(rows[i].address), &to), OK);
        if (proxy_rules_allow(&r, &to) != rows[i].allowed) {
            fail_msg("%s in %s", rows[i].address, rows[i].network);
        }
    }
}

static void the_longest_path_counts(void **state)
{
    static const char *const rows[][2] = {{"/a", "/a"},    {"/a/b", "/a/b"}, {"/a/b/c", "/a/b"},
                                          {"/ab", NULL},   {"/", NULL},      {"/a/bc", "/a"},
                                          {"/x/a/b", NULL}};
    struct proxy_rules r = {.n_paths = 2, .paths = {{.path = "/a"}, {.path = "/a/b"}}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t block[64];
        struct slice options;
        struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
        coap_uri_path_options(slice_text(rows[i][0]), &o);
        assert_int_equal(coap_option_writer_done(&o, &options), OK);
        const struct proxy_path *found = proxy_rules_path(&r, options, NULL);
        assert_int_equal(found == NULL, rows[i][1] == NULL);
        if (found != NULL) {
            assert_string_equal(found->path, rows[i][1]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_addresses_rules_mean),
        cmocka_unit_test(the_longest_path_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
