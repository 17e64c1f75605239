#include "app/daemon/config_export.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/daemon/config.h"

static enum err parse(const char *export, struct config *ret, struct yaml_complaint *why)
{
    char text[2048];
    struct config_machine machine = {.ram_bytes = 1u << 30, .cores = 2};
    (void)snprintf(text, sizeof text, "version: 1\nlisteners: []\n%s\n", export);
    return config_parse(slice_text(text), "sallyport.yaml", &machine, why, ret);
}

#define SINK "{ name: siem, format: syslog, to: \"192.0.2.7:6514\", ca: siem-ca.pem"

static void test_taken(void **state)
{
    struct config c;
    struct yaml_complaint why;
    (void)state;
    assert_int_equal(parse("", &c, &why), OK);
    assert_int_equal(c.sinks.n, 0);
    assert_int_equal(parse("export: [ " SINK " } ]", &c, &why), OK);
    assert_int_equal(c.sinks.n, 1);
    assert_string_equal(c.sinks.sinks[0].host, "192.0.2.7");
    assert_int_equal(c.sinks.sinks[0].silence_s, COURIER_SILENCE_S);
    assert_int_equal(parse("export:\n  - " SINK " }\n  - { name: lake, format: ocsf, to: "
                           "\"[2001:db8::7]:6514\", ca: pki/lake.pem, host: lake.plant, cert: "
                           "c.pem, key: k.pem, silence: 5m }",
                           &c, &why),
                     OK);
    assert_int_equal(c.sinks.n, 2);
    assert_string_equal(c.sinks.sinks[1].host, "lake.plant");
    assert_int_equal(c.sinks.sinks[1].silence_s, 300);
    assert_int_equal(parse("export: [ { name: six, format: ocsf, to: \"[2001:db8::7]:6514\", ca: "
                           "a.pem } ]",
                           &c, &why),
                     OK);
    assert_string_equal(c.sinks.sinks[0].host, "2001:db8::7");
}

#define HOOK                                                                                       \
    "{ name: soc, webhook: { url: \"https://192.0.2.7:8443/in\", secret_file: hook.secret, ca: "   \
    "ca.pem"

static void test_other_ways(void **state)
{
    struct config c;
    struct yaml_complaint why;
    (void)state;
    assert_int_equal(parse("export:\n  - " HOOK " }, only: alerts, format: ocsf }\n"
                           "  - { name: named, webhook: { url: \"https://soc.plant/in\", to: "
                           "\"192.0.2.8:443\", secret_file: hook.secret, ca: ca.pem } }\n"
                           "  - { name: lines, file: /var/log/sallyport/audit.jsonl, rotate_bytes: "
                           "1MiB, keep_files: 3 }\n"
                           "  - { name: journal, journald: /run/systemd/journal/socket, silence: "
                           "5m }\n",
                           &c, &why),
                     OK);
    const struct courier_sink *s = c.sinks.sinks;
    assert_int_equal(c.sinks.n, 4);
    assert_int_equal(s[0].way, COURIER_WEBHOOK);
    assert_int_equal(s[0].format, SHIPMENT_OCSF);
    assert_true(s[0].only_alerts && !s[1].only_alerts);
    assert_string_equal(s[0].to, "192.0.2.7:8443");
    assert_string_equal(s[0].host, "192.0.2.7");
    assert_string_equal(s[0].secret, "hook.secret");
    assert_string_equal(s[1].to, "192.0.2.8:443");
    assert_string_equal(s[1].host, "soc.plant");
    assert_int_equal(s[1].format, SHIPMENT_RECORD);
    assert_int_equal(s[2].way, COURIER_FILE);
    assert_int_equal(s[2].file_bytes, 1024 * 1024);
    assert_int_equal(s[2].files_kept, 3);
    assert_int_equal(s[3].way, COURIER_JOURNALD);
    assert_int_equal(s[3].silence_s, 300);
    assert_int_equal(parse("export: [ { name: six, webhook: { url: \"https://[2001:db8::7]/\", "
                           "secret_file: s, ca: ca.pem } } ]",
                           &c, &why),
                     OK);
    assert_string_equal(c.sinks.sinks[0].to, "[2001:db8::7]:443");
    assert_string_equal(c.sinks.sinks[0].host, "2001:db8::7");
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *about;
    } cases[] = {
        {"export: yes", "export must be"},
        {"export: [ { name: siem } ]", "a sink needs"},
        {"export: [ " SINK ", verify: no } ]", "unknown key \"verify\""},
        {"export: [ " SINK ", cert: c.pem } ]", "belong together"},
        {"export: [ " SINK ", silence: 1s } ]", "silence"},
        {"export: [ " SINK ", silence: 2h } ]", "silence"},
        {"export: [ " SINK ", host: \"a b\" } ]", "host must be"},
        {"export: [ " SINK " }, " SINK " } ]", "already"},
        {"export: [ { name: a/b, format: syslog, to: \"192.0.2.7:6514\", ca: a } ]", "name must"},
        {"export: [ { name: a, format: json, to: \"192.0.2.7:6514\", ca: a } ]", "one of: syslog"},
        {"export: [ { name: a, format: ocsf, to: \"siem.plant:6514\", ca: a } ]", "to must be"},
        {"export: [ { name: a, format: ocsf, to: \"192.0.2.7:0\", ca: a } ]", "to must be"},
        {"export: [ { name: a, format: ocsf, to: \"224.0.0.1:1\", ca: a } ]", "to must be"},
        {"export: [ { name: a, format: ocsf, to: \"192.0.2.7:1\", ca: /etc/ca } ]", "ca must be"},
        {"export: [ { name: a, format: ocsf, to: \"192.0.2.7:1\", ca: a/../../b } ]", "ca must be"},
        {"export: [ { name: a, webhook: yes } ]", "webhook must be"},
        {"export: [ { name: a, webhook: { url: \"https://192.0.2.7/\", ca: c } } ]",
         "a webhook needs"},
        {"export: [ { name: a, webhook: { url: \"http://192.0.2.7/\", secret_file: s, ca: c } } ]",
         "url must begin with https://"},
        {"export: [ { name: a, webhook: { url: \"https://soc.plant/\", secret_file: s, ca: c } } ]",
         "names are not looked up"},
        {"export: [ { name: a, webhook: { url: \"https://h/a b\", secret_file: s, ca: c } } ]",
         "url must be"},
        {"export: [ " HOOK ", verify: no } } ]", "unknown key \"verify\""},
        {"export: [ " HOOK ", cert: c.pem } } ]", "belong together"},
        {"export: [ " HOOK " }, only: some } ]", "only must be one of: all, alerts"},
        {"export: [ " HOOK " }, format: syslog } ]", "format must be one of: json, ocsf"},
        {"export: [ " HOOK " }, file: /a.jsonl } ]", "unknown key \"file\""},
        {"export: [ { name: a, file: a.jsonl } ]", "file must be an absolute path"},
        {"export: [ { name: a, file: /a/../b.jsonl } ]", "file must be an absolute path"},
        {"export: [ { name: a, file: /etc/passwd } ]", "must end in .jsonl"},
        {"export: [ { name: a, file: .jsonl } ]", "file must be"},
        {"export: [ { name: a, file: /a.jsonl, rotate_bytes: 4095 } ]", "rotate_bytes"},
        {"export: [ { name: a, file: /a.jsonl, rotate_bytes: 1025MiB } ]", "rotate_bytes"},
        {"export: [ { name: a, file: /a.jsonl, keep_files: 0 } ]", "keep_files"},
        {"export: [ { name: a, file: /a.jsonl, keep_files: 100 } ]", "keep_files"},
        {"export: [ { name: a, journald: socket } ]", "journald must be"},
        {"export: [ { name: a, journald: /s, format: json } ]", "unknown key \"format\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config c;
        struct yaml_complaint why = {{0}};
        assert_int_equal(parse(cases[i].text, &c, &why), ERR_CONFIG);
        if (strstr(why.text, cases[i].about) == NULL) {
            fail_msg("%s: %s", cases[i].text, why.text);
        }
    }
}

static void test_at_most_four(void **state)
{
    char text[1024] = "export:";
    struct config c;
    struct yaml_complaint why;
    (void)state;
    for (int i = 0; i <= COURIER_SINKS_MAX; i++) {
        size_t at = strlen(text);
        (void)snprintf(text + at, sizeof text - at,
                       "\n  - { name: s%d, format: ocsf, to: \"192.0.2.7:1\", ca: a }", i);
        assert_int_equal(parse(text, &c, &why), i < COURIER_SINKS_MAX ? OK : ERR_CONFIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken), cmocka_unit_test(test_other_ways),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_at_most_four)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
