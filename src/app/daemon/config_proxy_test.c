#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/daemon/config.h"
#include "base/scope.h"

static const struct config_machine machine = {.ram_bytes = UINT64_C(4) << 30, .cores = 2};

#define HEAD       "version: 1\nlisteners: []\n"
#define TARGET(t)  HEAD "proxy:\n  targets:\n    - { " t " }\n"
#define WAY(p)     HEAD "proxy:\n  paths:\n    - { " p " }\n"
#define NAME_OF_63 "a12345678901234567890123456789012345678901234567890123456789012"

static enum err parse(const char *text, struct yaml_complaint *complaint, struct config *ret)
{
    return config_parse(slice_text(text), "f", &machine, complaint, ret);
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *text, *complaint;
    } rows[] = {
        {HEAD "proxy: yes\n", "f:3:8: proxy must be"},
        {HEAD "proxy: {}\n", "f:3:8: proxy names no targets and no paths"},
        {HEAD "proxy: { targets: [] }\n", "f:3:8: proxy names no targets and no paths"},
        {HEAD "proxy: { wait: 0s, targets: [] }\n", "f:3:16: wait must be"},
        {HEAD "proxy: { wait: 51s, targets: [] }\n", "f:3:16: wait must be"},
        {HEAD "proxy: { via: x }\n", "f:3:10: unknown key \"via\""},
        {TARGET("port: 1"), "f:5:7: it needs to"},
        {TARGET("to: plc.local"), "f:5:13: to must be an address"},
        {TARGET("to: \"192.0.2.7:5683\""), "f:5:13: to must be an address"},
        {TARGET("to: 192.0.2.7/24"), "f:5:13: to must be an address"},
        {TARGET("to: 224.0.1.187"), "f:5:13: this address is no single server's"},
        {TARGET("to: 192.0.2.7, port: 0"), "f:5:30: port must be"},
        {TARGET("to: 192.0.2.7, port: 65536"), "f:5:30: port must be"},
        {TARGET("to: 192.0.2.0/24, name: a"), "f:5:13: to must be one address here"},
        {TARGET("to: 192.0.2.7, name: 192.0.2.8"), "f:5:30: name must be"},
        {TARGET("to: 192.0.2.7, name: \"a b\""), "f:5:30: name must be"},
        {TARGET("to: 192.0.2.7, name: " NAME_OF_63 "3"), "f:5:30: name must be"},
        {TARGET("to: 192.0.2.7, name: a }\n    - { to: 192.0.2.8, name: A"),
         "f:6:30: a target of this name is there already"},
        {WAY("to: 192.0.2.7"), "f:5:7: path must be like"},
        {WAY("path: line, to: 192.0.2.7"), "f:5:15: path must be like"},
        {WAY("path: /, to: 192.0.2.7"), "f:5:15: path must be like"},
        {WAY("path: /a/, to: 192.0.2.7"), "f:5:15: path must be like"},
        {WAY("path: /a/../b, to: 192.0.2.7"), "f:5:15: path must be like"},
        {WAY("path: /a/+, to: 192.0.2.7"), "f:5:15: path must be like"},
        {WAY("path: /mq, to: 192.0.2.7"), "f:5:15: /mq and /.well-known are"},
        {WAY("path: /.well-known/x, to: 192.0.2.7"), "f:5:15: /mq and /.well-known are"},
        {WAY("path: /a, to: 10.0.0.0/8"), "f:5:23: to must be"},
        {WAY("path: /a, to: 192.0.2.7 }\n    - { path: /a, to: 192.0.2.8"),
         "f:6:15: this path is there already"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct yaml_complaint complaint = {{0}};
        struct config c;
        assert_int_equal(parse(rows[i].text, &complaint, &c), ERR_CONFIG);
        if (strncmp(complaint.text, rows[i].complaint, strlen(rows[i].complaint)) != 0) {
            fail_msg("row %zu: %s", i, complaint.text);
        }
    }
}

static void test_what_is_meant(void **state)
{
    struct yaml_complaint complaint;
    struct config c;
    (void)state;
    assert_int_equal(parse(HEAD, &complaint, &c), OK);
    assert_false(config_has_proxy(&c));
    assert_int_equal(parse(HEAD "proxy:\n"
                                "  wait: 50s\n"
                                "  targets:\n"
                                "    - { to: 10.1.0.0/16 }\n"
                                "    - { to: \"2001:db8::7\", port: 61616, name: " NAME_OF_63 " }\n"
                                "  paths: [ { path: /line2/plc, to: 192.0.2.7, port: 7 } ]\n",
                           &complaint, &c),
                     OK);
    assert_true(config_has_proxy(&c));
    assert_int_equal(c.proxy.wait_ms, 50000);
    assert_int_equal(c.proxy.n_targets, 2);
    assert_int_equal(c.proxy.targets[0].port, 5683);
    assert_int_equal(c.proxy.targets[1].port, 61616);
    assert_string_equal(c.proxy.targets[1].name, NAME_OF_63);
    assert_int_equal(c.proxy.n_paths, 1);
    assert_string_equal(c.proxy.paths[0].path, "/line2/plc");
    assert_int_equal(c.proxy.paths[0].to.port, 7);
}

/* As many as there is room for, and one more. */
static void test_how_many(void **state)
{
    struct yaml_complaint complaint;
    struct config c;
    (void)state;
    for (int over = 0; over <= 1; over++) {
        char text[4096];
        size_t at = (size_t)snprintf(text, sizeof(text), HEAD "proxy:\n  targets:\n");
        for (int i = 0; i < PROXY_TARGETS_MAX + over; i++) {
            at += (size_t)snprintf(text + at, sizeof(text) - at, "    - { to: 10.0.0.%d }\n", i);
        }
        assert_int_equal(parse(text, &complaint, &c), over == 0 ? OK : ERR_CONFIG);
        at = (size_t)snprintf(text, sizeof(text), HEAD "proxy:\n  paths:\n");
        for (int i = 0; i < PROXY_PATHS_MAX + over; i++) {
            at += (size_t)snprintf(text + at, sizeof(text) - at,
                                   "    - { path: /p%d, to: 10.0.0.1 }\n", i);
        }
        assert_int_equal(parse(text, &complaint, &c), over == 0 ? OK : ERR_CONFIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_what_is_meant),
        cmocka_unit_test(test_how_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
