/* The three forms say the same, and none of them what a terminal obeys. */
#include "app/scan/scan_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/scope.h"

static struct scan_seen seen;
static struct scan_findings findings;

/* One door of each kind, and everything wrong with it. */
static int make(void **state)
{
    (void)state;
    static const char hostile[] = "2.0\x1b[2J\"";
    seen = (struct scan_seen){.wall_ms = INT64_C(1795000000) * 1000, .n_doors = 6};
    for (size_t i = 0; i < seen.n_doors; i++) {
        struct scan_door_seen *d = &seen.doors[i];
        d->door = (struct scan_door){(enum scan_kind)i, (uint16_t)(1000 + i)};
        d->state = SCAN_OPEN;
    }
    for (size_t i = 0; i < SCAN_TERMS_COUNT; i++) {
        seen.doors[SCAN_MQTTS].tls.terms[i] = SCAN_YES;
    }
    seen.doors[SCAN_MQTTS].tls.suites[0] = (struct scan_suite){0x0304, 0x1301, "AES"};
    seen.doors[SCAN_MQTTS].tls.suites[1] = (struct scan_suite){0x0303, 0xfefe, NULL};
    seen.doors[SCAN_MQTTS].tls.n_suites = 2;
    seen.doors[SCAN_MQTTS].tls.has_certificate = true;
    seen.doors[SCAN_MQTTS].tls.certificate = (struct tls_look){.key = "RSA", .key_bits = 512};
    seen.doors[SCAN_MQTT].mqtt.who = SCAN_WHO_ANONYMOUS;
    scan_word(slice_text(hostile), seen.doors[SCAN_MQTT].mqtt.sys_version, SCAN_WORD_BYTES);
    seen.doors[SCAN_COAP].coap.discovery =
        (struct scan_exchange){.path = "/.well-known/core", .sent = 10, .received = 100};
    seen.doors[SCAN_COAPS].coaps.has_cookie = SCAN_NO;
    scan_judge(&seen, &findings);
    return 0;
}

static struct scan_report report(void)
{
    return (struct scan_report){
        .host = "broker.example", .address = "192.0.2.1", .seen = &seen, .findings = &findings};
}

static const char *text_at(const json_t *j, const char *name)
{
    return json_string_value(json_object_get(j, name));
}

static void text_is_plain(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    struct scan_report r = report();
    scan_report_text(&r, to);
    assert_int_equal(fclose(to), 0);
    for (size_t i = 0; i < n; i++) {
        assert_true(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
    }
    assert_non_null(strstr(text, "2.0\\x1b[2J\\x22"));
    assert_non_null(strstr(text, "factor 10.0"));
    for (size_t i = 0; i < findings.n; i++) {
        assert_non_null(strstr(text, findings.all[i].rule->id));
    }
    /* Unknown are: what the guest of the first port was not told, the page's origins, and the
     * suites of wss. */
    assert_non_null(strstr(text, "not known: SUBSCRIBE #, SUBSCRIBE $SYS/#, a topic that"));
    assert_non_null(strstr(text, "not known: TLS 1.0, TLS 1.1"));
    assert_null(strstr(text, "DTLS cookie,"));
    free(text);
}

static void json_has_all_of_it(void **state)
{
    (void)state;
    struct scan_report r = report();
    json_t *all = scan_report_json(&r);
    assert_non_null(all);
    json_t *list = json_object_get(all, "findings");
    assert_int_equal(json_array_size(list), findings.n);
    assert_int_equal(json_array_size(json_object_get(all, "ports")), seen.n_doors);
    assert_true(json_is_true(json_object_get(all, "finished")));
    const json_t *port = json_array_get(json_object_get(all, "ports"), SCAN_MQTTS);
    const json_t *suites = json_object_get(json_object_get(port, "tls"), "suites");
    assert_int_equal(json_array_size(suites), 2);
    assert_string_equal(text_at(json_array_get(suites, 0), "name"), "AES");
    assert_string_equal(text_at(json_array_get(suites, 0), "version"), "TLS 1.3");
    assert_true(json_is_null(json_object_get(json_array_get(suites, 1), "name")));
    for (size_t i = 0; i < findings.n; i++) {
        const json_t *f = json_array_get(list, i);
        assert_string_equal(text_at(f, "id"), findings.all[i].rule->id);
        assert_string_equal(text_at(f, "evidence"), findings.all[i].evidence);
        assert_string_equal(text_at(f, "fix"), findings.all[i].rule->fix);
    }
    json_decref(all);
}

static void sarif_refers_to_its_rules(void **state)
{
    (void)state;
    struct scan_report r = report();
    json_t *all = scan_report_sarif(&r);
    assert_non_null(all);
    assert_string_equal(text_at(all, "version"), "2.1.0");
    const json_t *run = json_array_get(json_object_get(all, "runs"), 0);
    const json_t *driver = json_object_get(json_object_get(run, "tool"), "driver");
    const json_t *rules = json_object_get(driver, "rules");
    const json_t *results = json_object_get(run, "results");
    assert_int_equal(json_array_size(results), findings.n);
    for (size_t i = 0; i < findings.n; i++) {
        const json_t *f = json_array_get(results, i);
        size_t at = (size_t)json_integer_value(json_object_get(f, "ruleIndex"));
        assert_string_equal(text_at(json_array_get(rules, at), "id"), text_at(f, "ruleId"));
        const json_t *place = json_array_get(json_object_get(f, "locations"), 0);
        const json_t *file =
            json_object_get(json_object_get(place, "physicalLocation"), "artifactLocation");
        assert_non_null(strstr(text_at(file, "uri"), "://broker.example:100"));
        static const char *const levels[] = {"note", "note", "warning", "error"};
        assert_string_equal(text_at(f, "level"), levels[findings.all[i].rule->severity]);
    }
    json_decref(all);
}

static void what_was_not_finished_is_said(void **state)
{
    (void)state;
    struct scan_report r = report();
    for (int cut = 0; cut < 2; cut++) {
        seen.is_cut = cut == 1;
        json_t *plain = scan_report_json(&r), *sarif = scan_report_sarif(&r);
        const json_t *run = json_array_get(json_object_get(sarif, "runs"), 0);
        const json_t *call = json_array_get(json_object_get(run, "invocations"), 0);
        assert_int_equal(json_is_true(json_object_get(plain, "finished")), cut == 0);
        assert_int_equal(json_is_true(json_object_get(call, "executionSuccessful")), cut == 0);
        json_decref(plain);
        json_decref(sarif);
    }
    seen.is_cut = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_plain),
        cmocka_unit_test(json_has_all_of_it),
        cmocka_unit_test(sarif_refers_to_its_rules),
        cmocka_unit_test(what_was_not_finished_is_said),
    };
    return cmocka_run_group_tests(tests, make, NULL);
}
