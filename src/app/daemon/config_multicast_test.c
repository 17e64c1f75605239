#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/daemon/config.h"
#include "base/scope.h"

static const struct config_machine machine = {.ram_bytes = UINT64_C(4) << 30, .cores = 2};

#define AT(bind, auth, rule)                                                                       \
    "version: 1\nlisteners:\n"                                                                     \
    "  - name: coap\n    door: coap\n    bind: \"" bind "\"\n    auth: [" auth "]\n"               \
    "    multicast:\n      " rule "\n"
#define RULE(rule) AT("[::]:5683", "oscore", rule)
#define WHERE      "interfaces: [lo]\n      resources: [/.well-known/core]\n      "

static enum err parse(const char *text, struct yaml_complaint *complaint, struct config *ret)
{
    return config_parse(slice_text(text), "f", &machine, complaint, ret);
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *text, *complaint;
    } rows[] = {
        {RULE("all"), "f:8:7: multicast must be"},
        {RULE("groups: [224.0.1.187]"), "f:8:7: multicast needs groups, interfaces and resources"},
        {RULE(WHERE "groups: []"), "f:8:7: multicast needs groups"},
        {RULE(WHERE "hops: 1"), "f:10:7: unknown key \"hops\""},
        {RULE(WHERE "groups: [192.0.2.1]"), "f:10:16: a group is a multicast address"},
        {RULE(WHERE "groups: [255.255.255.255]"), "f:10:16: a group is a multicast address"},
        {RULE(WHERE "groups: [\"224.0.1.187:5683\"]"), "f:10:16: a group is a multicast address"},
        {RULE(WHERE "groups: [all]"), "f:10:16: a group is a multicast address"},
        {AT("0.0.0.0:5683", "oscore", WHERE "groups: [\"ff02::fd\"]"), "f:10:16: a listener bound"},
        {RULE(WHERE "groups: [224.0.0.1, 224.0.0.2, 224.0.0.3, 224.0.0.4, 224.0.0.5, 224.0.0.6, "
                    "224.0.0.7, 224.0.0.8, 224.0.0.9]"),
         "f:10:104: more than 8 groups"},
        {RULE("groups: [224.0.1.187]\n      resources: [/.well-known/core]\n      interfaces: "
              "[a23456789012345f]"),
         "f:10:20: an interface is named as"},
        {RULE("groups: [224.0.1.187]\n      interfaces: [lo]\n      resources: [/mq/a]"),
         "f:10:19: only /.well-known/core is said to a group"},
        {AT("[::]:5684", "psk", WHERE "groups: [224.0.1.187]"), "f:8:7: multicast is for a coap"},
        {AT("127.0.0.1:5683", "oscore", WHERE "groups: [224.0.1.187]"),
         "f:8:7: a listener bound to one address hears no group"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct yaml_complaint complaint = {.text = ""};
        struct config c;
        assert_int_equal(parse(rows[i].text, &complaint, &c), ERR_CONFIG);
        if (strncmp(complaint.text, rows[i].complaint, strlen(rows[i].complaint)) != 0) {
            fail_msg("row %zu: %s", i, complaint.text);
        }
    }
}

static void what_is_taken(void **state)
{
    struct yaml_complaint complaint = {.text = ""};
    struct config c;
    char text[NET_MULTICAST_TEXT_BYTES];
    (void)state;
    assert_int_equal(parse(RULE("groups: [224.0.1.187, \"[ff05::fd]\", \"ff02::fd\"]\n      "
                                "interfaces: [eth0, lo]\n      resources: [/.well-known/core]"),
                           &complaint, &c),
                     OK);
    net_multicast_text(&c.listeners[0].multicast, text);
    assert_string_equal(text, "224.0.1.187, ff05::fd, ff02::fd on eth0, lo");
    assert_true(net_multicast_equal(&c.listeners[0].multicast, &c.listeners[0].multicast));
    struct net_multicast other = c.listeners[0].multicast;
    other.n_groups--;
    assert_false(net_multicast_equal(&c.listeners[0].multicast, &other));
    assert_int_equal(parse("version: 1\nlisteners:\n  - { name: coap, door: coap, bind: "
                           "\"[::]:5683\", auth: [oscore] }\n",
                           &complaint, &c),
                     OK);
    assert_int_equal(c.listeners[0].multicast.n_groups, 0); /* off without a rule */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(what_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
