#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/daemon/reload.h"

static const struct config_machine machine = {.ram_bytes = UINT64_C(4) << 30, .cores = 2};

#define MQTTS "  - { name: mqtts, door: mqtt, bind: \"[::]:8883\" }\n"
#define COAPS "  - { name: coaps, door: coap, bind: \"[::]:5684\" }\n"
#define START "version: 1\nlisteners:\n" MQTTS COAPS

static struct config parsed(const char *text)
{
    struct yaml_complaint complaint = {{0}};
    struct config c;
    assert_int_equal(config_parse(slice_text(text), "f", &machine, &complaint, &c), OK);
    return c;
}

struct merge_case {
    const char *name, *now;
    const char *restart; /* what is named; empty: all is in force */
};

static const struct merge_case cases[] = {
    {"the same", START, ""},
    {"limits", START "limits: { packet_bytes: 8KiB, topic_levels: 3 }\n", ""},
    {"role limits", START "role_limits: { inflight: 3 }\n", ""},
    {"another server", START "server_reference: \"b.example:8883\"\n", ""},
    {"workers", START "workers: 3\n", "workers"},
    {"user", START "user: nobody\n", "user"},
    {"master key", START "master_key: /k\n", "master_key"},
    {"hosts", START "hosts: [a.example]\n", "hosts"},
    {"the store", START "limits: { segment_bytes: 8MiB, keep_bytes: 64MiB }\n",
     "segment_bytes, keep_bytes"},
    {"a new listener", START "  - { name: b, door: mqtt, bind: \"[::]:8884\" }\n",
     "listener b (is new)"},
    {"a listener less", "version: 1\nlisteners:\n" MQTTS, "listener coaps (is gone)"},
    {"all listeners gone", "version: 1\nlisteners: []\n",
     "listener mqtts (is gone), listener coaps (is gone)"},
    {"another order", "version: 1\nlisteners:\n" COAPS MQTTS, ""},
    {"another port",
     "version: 1\nlisteners:\n  - { name: mqtts, door: mqtt, bind: \"[::]:1\" }\n" COAPS,
     "listener mqtts (bind)"},
    {"another door",
     "version: 1\nlisteners:\n  - { name: mqtts, door: coap, bind: \"[::]:8883\" }\n" COAPS,
     "listener mqtts (door)"},
    {"plain",
     "version: 1\nlisteners:\n  - { name: mqtts, door: mqtt, bind: \"[::]:8883\", plain: yes "
     "}\n" COAPS,
     "listener mqtts (plain)"},
    {"OSCORE instead of DTLS",
     "version: 1\nlisteners:\n" MQTTS
     "  - { name: coaps, door: coap, bind: \"[::]:5684\", auth: [oscore] }\n",
     "listener coaps (auth: oscore)"},
    {"tcp",
     "version: 1\nlisteners:\n  - { name: mqtts, door: mqtt, bind: \"[::]:8883\" }\n"
     "  - { name: coaps, door: coap, bind: \"[::]:5684\", tcp: yes }\n",
     "listener coaps (tcp)"},
    {"from",
     "version: 1\nlisteners:\n  - { name: mqtts, door: mqtt, bind: \"[::]:8883\", from: "
     "[10.0.0.0/8] }\n" COAPS,
     ""},
    {"a sink", START "export: [ { name: siem, format: ocsf, to: \"192.0.2.7:1\", ca: ca.pem } ]\n",
     ""},
    {"a proxy", START "proxy: { targets: [ { to: 10.0.0.1 } ] }\n", "proxy (is new)"},
    {"memory, budgets, updates of keys",
     START "limits: { memory_bytes: 64MiB, connect_per_second: 7, connect_burst: 9, "
           "preauth_connections: 64, key_updates_per_minute: 3, dtls_preauth_seconds: 5 }\n",
     ""},
    {"ways in",
     "version: 1\nlisteners:\n  - { name: mqtts, door: mqtt, bind: \"[::]:8883\", auth: [token], "
     "tls_min: 1.2, mqtt_3_1: yes }\n" COAPS,
     ""},
};

/* The listeners that there are keep name, door, socket and place, whatever the file says. */
static void test_merge(void **state)
{
    struct config start = parsed(START);
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config now = parsed(cases[i].now), merged;
        struct reload_rest rest = {0};
        char text[256];
        reload_merge(&start, &start, &now, &merged, &rest);
        assert_int_equal(reload_rest_text(&rest, 0, text, sizeof text), rest.n);
        if (strcmp(text, cases[i].restart) != 0) {
            fail_msg("%s: '%s'", cases[i].name, text);
        }
        assert_int_equal(merged.n_listeners, start.n_listeners);
        for (size_t k = 0; k < start.n_listeners; k++) {
            assert_string_equal(merged.listeners[k].name, start.listeners[k].name);
            assert_string_equal(merged.listeners[k].bind, start.listeners[k].bind);
            assert_int_equal(merged.listeners[k].door, start.listeners[k].door);
            assert_int_equal(merged.listeners[k].plain, start.listeners[k].plain);
        }
    }
}

static void test_the_rest_is_applied(void **state)
{
    struct config start = parsed(START), merged, again;
    struct config now = parsed("version: 1\nworkers: 4\nlisteners:\n  - { name: mqtts, door: mqtt, "
                               "bind: \"[::]:1\", auth: "
                               "[token], tls_min: 1.2 }\nlimits: { packet_bytes: 8KiB }\n");
    struct reload_rest rest = {0};
    char text[256];
    (void)state;
    reload_merge(&start, &start, &now, &merged, &rest);
    assert_int_equal(reload_rest_text(&rest, 0, text, sizeof text), 3);
    assert_string_equal(text, "workers, listener mqtts (bind), listener coaps (is gone)");
    assert_int_equal(merged.settings.limits.packet_bytes, 8192);
    assert_int_equal(merged.listeners[0].auth, CONFIG_AUTH_TOKEN);
    assert_int_equal(merged.listeners[0].tls_min, CONFIG_TLS_1_2);

    /* A listener that cannot follow stays as it is served, not as it was at the start. */
    struct config gone = parsed("version: 1\nlisteners: []\n");
    rest.n = 0;
    reload_merge(&start, &merged, &gone, &again, &rest);
    assert_int_equal(again.listeners[0].auth, CONFIG_AUTH_TOKEN);
    assert_int_equal(again.listeners[1].auth, start.listeners[1].auth);
}

/* Every setting but these comes into force without a restart, or its name is here. */
static void test_every_setting(void **state)
{
    static const char *const need_restart[] = {"segment_bytes", "keep_bytes", "tls_ticket_expiry",
                                               "certificate_life"};
    struct config start = parsed(START);
    (void)state;
    for (size_t i = 0; i < n_global_settings; i++) {
        const struct setting *s = &global_setting_table[i];
        struct config now = start, merged;
        struct reload_rest rest = {0};
        uint8_t *field = (uint8_t *)&now.settings + s->offset;
        bool is_named = false;
        field[0] ^= 1;
        reload_merge(&start, &start, &now, &merged, &rest);
        for (size_t k = 0; k < COUNT_OF(need_restart); k++) {
            is_named = is_named || strcmp(s->name, need_restart[k]) == 0;
        }
        assert_int_equal(rest.n, is_named ? 1 : 0);
        assert_int_equal(setting_get(s, &merged.settings), setting_get(s, &now.settings));
    }
}

/* As many as fit, none twice and none lost. */
static void test_a_long_list(void **state)
{
    struct reload_rest rest = {.n = RELOAD_RESTS_MAX};
    char text[150];
    size_t at = 0, n_parts = 0, bytes = 0;
    (void)state;
    for (size_t i = 0; i < rest.n; i++) {
        memset(rest.name[i], 'a' + (int)(i % 26), RELOAD_REST_BYTES - 1);
    }
    while (at < rest.n) {
        size_t next = reload_rest_text(&rest, at, text, sizeof text);
        assert_true(next > at);
        assert_true(text[0] == rest.name[at][0] && strlen(text) < sizeof text);
        bytes += strlen(text) - 2 * (next - at - 1);
        at = next;
        n_parts++;
    }
    assert_int_equal(bytes, RELOAD_RESTS_MAX * (RELOAD_REST_BYTES - 1));
    assert_int_equal(n_parts, RELOAD_RESTS_MAX / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_the_rest_is_applied),
        cmocka_unit_test(test_every_setting),
        cmocka_unit_test(test_a_long_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
