/* Each rule by what brings it about, and by what just does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "app/scan/scan.h"
#include "base/scope.h"

#define DAY_MS INT64_C(86400000)
#define NOW    (INT64_C(1795000000) * 1000)

/* A door of this kind with nothing wrong. */
static struct scan_seen clean(enum scan_kind kind)
{
    struct scan_seen s = {.wall_ms = NOW, .n_doors = 1};
    struct scan_door_seen *d = &s.doors[0];
    d->door = (struct scan_door){kind, 1000};
    d->state = SCAN_OPEN;
    if (scan_kind_has_tls(kind)) {
        for (size_t i = 0; i < SCAN_TERMS_COUNT; i++) {
            d->tls.terms[i] = i == SCAN_TERMS_TLS12 || i == SCAN_TERMS_TLS13 ? SCAN_YES : SCAN_NO;
        }
        d->tls.has_certificate = true;
        d->tls.certificate = (struct tls_look){.is_named = true,
                                               .key = "EC",
                                               .key_bits = 256,
                                               .key_strength = 128,
                                               .n_chain = 2,
                                               .not_before_wall_ms = NOW - 10 * DAY_MS,
                                               .not_after_wall_ms = NOW + 80 * DAY_MS};
        d->mqtt.version = 5;
        d->mqtt.anonymous = SCAN_ENTRY_REFUSED;
    }
    d->coap.discovery = (struct scan_exchange){.path = "/.well-known/core", .sent = 20};
    return s;
}

static size_t count_of(const struct scan_findings *f, const char *id)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) {
        n += strcmp(f->all[i].rule->id, id) == 0;
    }
    return n;
}

/* What is changed in a clean door; times count in days from now. */
struct change {
    const char *id; /* of the one finding that follows; NULL: none */
    enum scan_kind kind;
    void (*make)(struct scan_seen *s, struct scan_door_seen *d);
};

#define MAKE(name, ...)                                                                            \
    static void name(struct scan_seen *s, struct scan_door_seen *d)                                \
    {                                                                                              \
        (void)s;                                                                                   \
        __VA_ARGS__;                                                                               \
    }

MAKE(nothing, (void)d)
MAKE(anonymous, d->mqtt.anonymous = SCAN_ENTRY_IN; d->mqtt.who = SCAN_WHO_ANONYMOUS)
MAKE(any_password, d->mqtt.who = SCAN_WHO_ANY)
MAKE(default_password, d->mqtt.who = SCAN_WHO_DEFAULT)
MAKE(reads_all, d->mqtt.reads_all = SCAN_YES)
MAKE(reads_sys, d->mqtt.reads_sys = SCAN_YES)
MAKE(version, (void)snprintf(d->mqtt.sys_version, SCAN_WORD_BYTES, "1.0"))
MAKE(bad_utf8, d->mqtt.takes_bad_utf8 = SCAN_YES)
MAKE(takeover, d->mqtt.takes_over = SCAN_YES)
MAKE(retained, d->mqtt.keeps_retained = SCAN_YES)
MAKE(left_behind, d->mqtt.has_left_retained = true)
MAKE(huge, d->mqtt.keeps_huge = SCAN_YES)
MAKE(unlimited, d->mqtt.unlimited_packet = SCAN_YES)
MAKE(keep_alive, d->mqtt.unlimited_keep_alive = SCAN_YES)
MAKE(origin, d->mqtt.takes_origin = SCAN_YES)
MAKE(unknown, d->mqtt.reads_all = SCAN_UNKNOWN; d->mqtt.keeps_huge = SCAN_UNKNOWN)
MAKE(tls10, d->tls.terms[SCAN_TERMS_TLS10] = SCAN_YES)
MAKE(tls11, d->tls.terms[SCAN_TERMS_TLS11] = SCAN_YES)
MAKE(plain_suite, d->tls.terms[SCAN_TERMS_PLAIN] = SCAN_YES)
MAKE(nobody_suite, d->tls.terms[SCAN_TERMS_NOBODY] = SCAN_YES)
MAKE(broken_suite, d->tls.terms[SCAN_TERMS_BROKEN] = SCAN_YES)
MAKE(kept_key, d->tls.terms[SCAN_TERMS_KEPT_KEY] = SCAN_YES)
MAKE(cbc, d->tls.terms[SCAN_TERMS_CBC] = SCAN_YES)
MAKE(no_13, d->tls.terms[SCAN_TERMS_TLS13] = SCAN_NO)
MAKE(only_13, d->tls.terms[SCAN_TERMS_TLS12] = SCAN_NO)
MAKE(unknown_13, d->tls.terms[SCAN_TERMS_TLS13] = SCAN_UNKNOWN)
MAKE(expired, d->tls.certificate.not_after_wall_ms = NOW - 1)
MAKE(ends_now, d->tls.certificate.not_after_wall_ms = NOW)
MAKE(not_yet, d->tls.certificate.not_before_wall_ms = NOW + 1)
MAKE(begins_now, d->tls.certificate.not_before_wall_ms = NOW)
MAKE(in_30_days, d->tls.certificate.not_after_wall_ms = NOW + 30 * DAY_MS)
MAKE(in_less, d->tls.certificate.not_after_wall_ms = NOW + 30 * DAY_MS - 1)
MAKE(long_lived, d->tls.certificate.not_after_wall_ms = NOW + 816 * DAY_MS)
MAKE(not_so_long, d->tls.certificate.not_after_wall_ms = NOW + 815 * DAY_MS)
MAKE(backwards, d->tls.certificate.not_before_wall_ms = INT64_MAX;
     d->tls.certificate.not_after_wall_ms = INT64_MIN)
MAKE(self_signed, d->tls.certificate.is_self_signed = true;
     d->tls.certificate.verify = TLS_VERIFY_SELF_SIGNED)
MAKE(believed, d->tls.certificate.is_self_signed = true)
MAKE(unknown_ca, d->tls.certificate.verify = TLS_VERIFY_UNKNOWN_CA)
MAKE(untrusted, d->tls.certificate.verify = TLS_VERIFY_UNKNOWN_CA; s->has_authorities = true)
MAKE(other_name, d->tls.certificate.is_named = false)
MAKE(weak_key, d->tls.certificate.key_strength = 111)
MAKE(rsa2048, d->tls.certificate.key_strength = 112)
MAKE(weak_digest, d->tls.certificate.is_digest_weak = true)
MAKE(no_certificate, d->tls.has_certificate = false; d->tls.certificate = (struct tls_look){0})
MAKE(serves, d->coap.serves = SCAN_YES)
MAKE(lists, d->coap.n_links = 1)
MAKE(three_times, d->coap.discovery.received = 60; d->coap.asks_echo = SCAN_YES)
MAKE(more, d->coap.discovery.received = 61; d->coap.asks_echo = SCAN_YES)
MAKE(more_of_resource,
     d->coap.resource = (struct scan_exchange){.path = "/x", .sent = 10, .received = 31};
     d->coap.asks_echo = SCAN_YES)
MAKE(observes, d->coap.observes = SCAN_YES)
MAKE(no_cookie, d->coaps.has_cookie = SCAN_NO)
MAKE(cookie, d->coaps.has_cookie = SCAN_YES)

static const struct change changes[] = {
    {NULL, SCAN_MQTTS, nothing},
    {NULL, SCAN_WSS, nothing},
    {NULL, SCAN_COAP, nothing},
    {NULL, SCAN_COAPS, nothing},
    {"mqtt-plaintext", SCAN_MQTT, nothing},
    {"mqtt-plaintext", SCAN_WS, nothing},
    {"mqtt-anonymous", SCAN_MQTTS, anonymous},
    {"mqtt-any-password", SCAN_MQTTS, any_password},
    {"mqtt-default-password", SCAN_MQTTS, default_password},
    {"mqtt-reads-all", SCAN_MQTTS, reads_all},
    {"mqtt-reads-sys", SCAN_MQTTS, reads_sys},
    {"mqtt-shows-version", SCAN_MQTTS, version},
    {"mqtt-takes-bad-utf8", SCAN_MQTTS, bad_utf8},
    {"mqtt-takeover", SCAN_MQTTS, takeover},
    {"mqtt-retained", SCAN_MQTTS, retained},
    {"scan-left-behind", SCAN_MQTTS, left_behind},
    {"mqtt-huge-before-connect", SCAN_MQTTS, huge},
    {"mqtt-packet-unlimited", SCAN_MQTTS, unlimited},
    {"mqtt-keep-alive-unlimited", SCAN_MQTTS, keep_alive},
    {"ws-origin", SCAN_WSS, origin},
    {NULL, SCAN_MQTTS, unknown},
    {"tls-old-version", SCAN_MQTTS, tls10},
    {"tls-old-version", SCAN_MQTTS, tls11},
    {"tls-no-encryption", SCAN_MQTTS, plain_suite},
    {"tls-no-identity", SCAN_MQTTS, nobody_suite},
    {"tls-broken-suite", SCAN_MQTTS, broken_suite},
    {"tls-no-forward-secrecy", SCAN_MQTTS, kept_key},
    {"tls-cbc", SCAN_MQTTS, cbc},
    {"tls-no-13", SCAN_MQTTS, no_13},
    {NULL, SCAN_MQTTS, only_13},
    {NULL, SCAN_MQTTS, unknown_13},
    {"cert-expired", SCAN_MQTTS, expired},
    {"cert-expiring", SCAN_MQTTS, ends_now},
    {"cert-not-yet-valid", SCAN_MQTTS, not_yet},
    {NULL, SCAN_MQTTS, begins_now},
    {NULL, SCAN_MQTTS, in_30_days},
    {"cert-expiring", SCAN_MQTTS, in_less},
    {"cert-long-lived", SCAN_MQTTS, long_lived},
    {NULL, SCAN_MQTTS, not_so_long},
    {"cert-expired", SCAN_MQTTS, backwards},
    {"cert-self-signed", SCAN_MQTTS, self_signed},
    {NULL, SCAN_MQTTS, believed},
    {"cert-unknown-authority", SCAN_MQTTS, unknown_ca},
    {"cert-untrusted", SCAN_MQTTS, untrusted},
    {"cert-name", SCAN_MQTTS, other_name},
    {"cert-weak-key", SCAN_MQTTS, weak_key},
    {NULL, SCAN_MQTTS, rsa2048},
    {"cert-weak-digest", SCAN_MQTTS, weak_digest},
    {NULL, SCAN_MQTTS, no_certificate},
    {"coap-nosec", SCAN_COAP, serves},
    {"coap-discovery", SCAN_COAP, lists},
    {NULL, SCAN_COAP, three_times},
    {"coap-amplification", SCAN_COAP, more},
    {"coap-amplification", SCAN_COAP, more_of_resource},
    {"coap-observe", SCAN_COAP, observes},
    {"dtls-no-cookie", SCAN_COAPS, no_cookie},
    {NULL, SCAN_COAPS, cookie},
};

static void each_change_has_its_finding(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        struct scan_seen s = clean(changes[i].kind);
        struct scan_findings f;
        changes[i].make(&s, &s.doors[0]);
        scan_judge(&s, &f);
        size_t wanted = changes[i].id != NULL ? 1 : 0;
        if (f.n != wanted || (wanted > 0 && count_of(&f, changes[i].id) != 1)) {
            fail_msg("case %zu (%s): %zu findings, the first %s", i,
                     wanted > 0 ? changes[i].id : "none", f.n, f.n > 0 ? f.all[0].rule->id : "-");
        }
        if (f.n > 0) {
            assert_string_not_equal(f.all[0].evidence, "");
            assert_int_equal(f.all[0].door.port, 1000);
        }
    }
}

static void each_rule_has_a_case_and_words(void **state)
{
    (void)state;
    size_t n;
    const struct scan_rule *rules = scan_rules(&n);
    for (size_t i = 0; i < n; i++) {
        bool is_covered = strcmp(rules[i].id, "coap-no-echo") == 0; /* never alone: see below */
        for (size_t k = 0; k < COUNT_OF(changes); k++) {
            is_covered =
                is_covered || (changes[k].id != NULL && !strcmp(changes[k].id, rules[i].id));
        }
        if (!is_covered || strlen(rules[i].title) < 10 || strlen(rules[i].fix) < 20) {
            fail_msg("%s", rules[i].id);
        }
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(rules[i].id, rules[k].id);
        }
    }
}

static void amplification_without_echo_is_two_things(void **state)
{
    (void)state;
    struct scan_seen s = clean(SCAN_COAP);
    struct scan_findings f;
    more(&s, &s.doors[0]);
    s.doors[0].coap.asks_echo = SCAN_NO;
    scan_judge(&s, &f);
    assert_int_equal(f.n, 2);
    assert_string_equal(f.all[0].rule->id, "coap-amplification");
    assert_string_equal(f.all[1].rule->id, "coap-no-echo");
    assert_non_null(strstr(f.all[0].evidence, "20 bytes in, 61 out, factor 3.0"));
}

static void the_gravest_of_a_door_comes_first(void **state)
{
    (void)state;
    struct scan_seen s = clean(SCAN_MQTTS);
    struct scan_findings f;
    cbc(&s, &s.doors[0]);
    unknown_ca(&s, &s.doors[0]);
    reads_sys(&s, &s.doors[0]);
    reads_all(&s, &s.doors[0]);
    s.doors[1] = s.doors[0];
    s.n_doors = 2;
    scan_judge(&s, &f);
    assert_int_equal(f.n, 8);
    for (size_t i = 0; i < f.n; i++) {
        static const char *const order[] = {"mqtt-reads-all", "mqtt-reads-sys", "tls-cbc",
                                            "cert-unknown-authority"};
        assert_string_equal(f.all[i].rule->id, order[i % 4]);
    }
    assert_true(scan_is_grave(&f));
}

static void what_is_low_is_not_grave(void **state)
{
    (void)state;
    struct scan_seen s = clean(SCAN_MQTTS);
    struct scan_findings f;
    cbc(&s, &s.doors[0]);
    scan_judge(&s, &f);
    assert_int_equal(f.n, 1);
    assert_false(scan_is_grave(&f));
    reads_sys(&s, &s.doors[0]);
    scan_judge(&s, &f);
    assert_true(scan_is_grave(&f));
}

static void findings_are_bounded(void **state)
{
    (void)state;
    struct scan_seen s = clean(SCAN_WSS);
    struct scan_findings f;
    struct scan_door_seen *d = &s.doors[0];
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        changes[i].make(&s, d);
    }
    s.n_doors = SCAN_DOORS_MAX;
    for (size_t i = 1; i < SCAN_DOORS_MAX; i++) {
        s.doors[i] = *d;
    }
    scan_judge(&s, &f);
    assert_int_equal(f.n, SCAN_FINDINGS_MAX);
}

static void answers_are_counted(void **state)
{
    (void)state;
    for (size_t i = 0; i <= SCAN_OPEN; i++) {
        struct scan_seen s = clean(SCAN_MQTT);
        struct scan_findings f;
        s.doors[0].state = (enum scan_state)i;
        assert_int_equal(scan_has_answers(&s), i == SCAN_OPEN);
        scan_judge(&s, &f);
        assert_int_equal(f.n, i == SCAN_OPEN);
    }
}

static void strangers_words_are_made_plain(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        size_t cap;
    } cases[] = {{"mosquitto 2.0", "mosquitto 2.0", 64},
                 {"a\x1b[2Jb", "a\\x1b[2Jb", 64},
                 {"\"\\\n", "\\x22\\x5c\\x0a", 64},
                 {"\xc2\x9b", "\\xc2\\x9b", 64},
                 {"", "", 64},
                 {"aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaa...", 16},
                 {"\x01\x01\x01\x01\x01", "\\x01\\x01\\x01...", 16}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char dst[64];
        scan_word(slice_text(cases[i].from), dst, cases[i].cap);
        assert_string_equal(dst, cases[i].to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_has_its_finding),
        cmocka_unit_test(each_rule_has_a_case_and_words),
        cmocka_unit_test(amplification_without_echo_is_two_things),
        cmocka_unit_test(the_gravest_of_a_door_comes_first),
        cmocka_unit_test(what_is_low_is_not_grave),
        cmocka_unit_test(findings_are_bounded),
        cmocka_unit_test(answers_are_counted),
        cmocka_unit_test(strangers_words_are_made_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
