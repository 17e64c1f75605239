/* The table itself, the clauses and the waivers. */
#include "base/buf.h"
#include "service/doctor/doctor_case_test.h"
#include "service/doctor/profiles.h"
#include "service/doctor/waivers.h"

static void test_table(void **state)
{
    size_t at = 0, n = 0;
    (void)state;
    for (const struct rule *r = rules_next(&at); r != NULL; r = rules_next(&at)) {
        size_t n_fixes = 0;
        assert_ptr_equal(rules_find(slice_text(r->id)), r); /* an id is there once */
        for (size_t i = 0; i < FACTS_PRODUCTS; i++) {
            n_fixes += r->fix[i] != NULL && r->fix[i][0] != '\0';
        }
        assert_true(n_fixes > 0 && r->why[0] != '\0' && r->title[0] != '\0');
        n++;
    }
    assert_true(n > 40);
    assert_null(rules_find(slice_text("no-such-rule")));
}

/* Each word of a rule names a clause that there is. */
static void test_clauses(void **state)
{
    size_t at = 0;
    (void)state;
    for (const struct rule *r = rules_next(&at); r != NULL; r = rules_next(&at)) {
        for (size_t p = 0; p < PROFILES; p++) {
            const struct clause *c;
            size_t n_words = r->clauses[p][0] != '\0', n_found = 0;
            for (const char *s = r->clauses[p]; *s != '\0'; s++) {
                n_words += *s == ' ';
            }
            for (size_t i = 0; (c = profile_clause((enum profile)p, i)) != NULL; i++) {
                n_found += clause_has(r, (enum profile)p, c);
            }
            assert_int_equal(n_found, n_words);
        }
    }
}

static const struct clause *find_clause(enum profile p, const char *id)
{
    const struct clause *c = profile_clause(p, 0);
    for (size_t i = 1; c != NULL && strcmp(c->id, id) != 0; i++) {
        c = profile_clause(p, i);
    }
    assert_non_null(c);
    return c;
}

static enum verdict judge(const struct facts *f, const struct findings *l, const char *id)
{
    size_t n_rules, n_found;
    return clause_judge(PROFILE_OWASP, find_clause(PROFILE_OWASP, id), f, l, &n_rules, &n_found);
}

static void test_verdicts(void **state)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(findings_done) struct findings l = {0};
    enum profile p;
    (void)state;
    assert_true(profile_find("owasp", &p) && p == PROFILE_OWASP && !profile_find("iso", &p));
    assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
    (void)case_account(f, "a", FACTS_SECRET_FAST); /* password-fast-hash: I1 */
    assert_int_equal(rules_judge(f, &l), OK);
    assert_int_equal(judge(f, &l, "I1"), VERDICT_FAIL);
    assert_int_equal(judge(f, &l, "I2"), VERDICT_PASS);
    assert_int_equal(judge(f, &l, "I10"), VERDICT_NOT_JUDGED);
    l.items[0].waiver = 1;
    assert_int_equal(judge(f, &l, "I1"), VERDICT_WAIVED);
    l.items[0].waiver = 0;
    l.items[0].rule = rules_find(slice_text("empty-client-id")); /* low; I8 */
    assert_non_null(l.items[0].rule);
    assert_int_equal(judge(f, &l, "I8"), VERDICT_PASS);
    assert_int_equal(facts_unread(f, (struct facts_place){0}, slice_text("plugin"), "?"), OK);
    assert_int_equal(judge(f, &l, "I2"), VERDICT_PARTLY);
}

/* What is typed names the object, unless that could mean more than a name. */
static void test_fix(void **state)
{
    static const struct {
        const char *object, *fix;
    } cases[] = {
        {"/etc/mosquitto/passwd", "chmod o= /etc/mosquitto/passwd"},
        {"a;reboot", "chmod o= NAME"},
        {"$(reboot)", "chmod o= NAME"},
        {"a b", "chmod o= NAME"},
        {"a\nb", "chmod o= NAME"},
        {"-R", "chmod o= NAME"},
        {"", "chmod o= NAME"},
    };
    const struct rule *rule = rules_find(slice_text("file-readable"));
    (void)state;
    assert_non_null(rule);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(findings_done) struct findings l = {0};
        char fix[FINDING_FIX_BYTES];
        assert_int_equal(
            findings_add(&l, rule, (struct facts_place){0}, cases[i].object, "%s", "seen"), OK);
        finding_fix(&l.items[0], FACTS_SALLYPORT, fix);
        assert_string_equal(fix, cases[i].fix);
    }
}

/* ---- waivers ---- */

static const int64_t DAY_MS = INT64_C(86400000);

static struct waiver one(const char *rule, const char *object)
{
    struct waiver w = {.product = FACTS_MOSQUITTO,
                       .by = "alice",
                       .reason = "until the new PLC is there",
                       .made_wall_ms = CASE_NOW_MS,
                       .ends_wall_ms = CASE_NOW_MS + DAY_MS};
    (void)snprintf(w.rule, sizeof w.rule, "%s", rule);
    (void)snprintf(w.object, sizeof w.object, "%s", object);
    return w;
}

static void test_waived(void **state)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(findings_done) struct findings l = {0};
    AUTO(waivers_done) struct waivers w = {0};
    struct waiver other = one("password-fast-hash", "b");
    uint32_t id;
    (void)state;
    assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
    (void)case_account(f, "a", FACTS_SECRET_FAST);
    (void)case_account(f, "b", FACTS_SECRET_FAST);
    assert_int_equal(rules_judge(f, &l), OK);
    assert_int_equal(waivers_add(&w, &other, &id, NULL), OK);
    assert_int_equal(id, 1);
    waivers_apply(&w, FACTS_MOSQUITTO, CASE_NOW_MS, &l);
    assert_true(l.items[0].waiver == 0 && l.items[1].waiver == 1);
    /* It ends by itself, and is of one product. */
    waivers_apply(&w, FACTS_MOSQUITTO, CASE_NOW_MS + DAY_MS - 1, &l);
    assert_int_equal(l.items[1].waiver, 1);
    waivers_apply(&w, FACTS_MOSQUITTO, CASE_NOW_MS + DAY_MS, &l);
    assert_int_equal(l.items[1].waiver, 0);
    waivers_apply(&w, FACTS_EMQX, CASE_NOW_MS, &l);
    assert_int_equal(l.items[1].waiver, 0);
    /* Without an object it is for all; ended by hand it is for none. */
    other = one("password-fast-hash", "");
    assert_int_equal(waivers_add(&w, &other, &id, NULL), OK);
    assert_int_equal(id, 2);
    waivers_apply(&w, FACTS_MOSQUITTO, CASE_NOW_MS, &l);
    assert_true(l.items[0].waiver == 2 && l.items[1].waiver == 1);
    assert_int_equal(waivers_end(&w, 2, CASE_NOW_MS), OK);
    assert_int_equal(waivers_end(&w, 2, CASE_NOW_MS), ERR_NOT_FOUND);
    assert_int_equal(waivers_end(&w, 9, CASE_NOW_MS), ERR_NOT_FOUND);
    waivers_apply(&w, FACTS_MOSQUITTO, CASE_NOW_MS, &l);
    assert_int_equal(l.items[0].waiver, 0);
}

static void test_refused(void **state)
{
    AUTO(waivers_done) struct waivers w = {0};
    struct waiver good = one("plaintext", ""), bad;
    struct why why;
    uint32_t id;
    (void)state;
    bad = one("plain-text", "");
    assert_int_equal(waivers_add(&w, &bad, &id, &why), ERR_NOT_FOUND);
    bad = one("multicast", ""); /* a rule of another product */
    assert_int_equal(waivers_add(&w, &bad, &id, &why), ERR_NOT_FOUND);
    bad = good;
    (void)snprintf(bad.reason, sizeof bad.reason, "  ");
    assert_int_equal(waivers_add(&w, &bad, &id, &why), ERR_MALFORMED);
    bad = good;
    bad.ends_wall_ms = bad.made_wall_ms;
    assert_int_equal(waivers_add(&w, &bad, &id, &why), ERR_LIMIT);
    bad.ends_wall_ms = bad.made_wall_ms + (WAIVERS_DAYS_MAX + 1) * DAY_MS;
    assert_int_equal(waivers_add(&w, &bad, &id, &why), ERR_LIMIT);
    bad.ends_wall_ms -= 1;
    assert_int_equal(waivers_add(&w, &bad, &id, &why), OK);
    for (size_t i = 1; i < WAIVERS_MAX; i++) {
        assert_int_equal(waivers_add(&w, &good, &id, &why), OK);
    }
    assert_int_equal(waivers_add(&w, &good, &id, &why), ERR_LIMIT);
}

static void test_file(void **state)
{
    AUTO(waivers_done) struct waivers w = {0};
    AUTO(waivers_done) struct waivers again = {0};
    AUTO(buf_done) struct buf text = {0};
    struct waiver old = one("anonymous", "1883"), good = one("plaintext", "");
    struct why why;
    uint32_t id;
    (void)state;
    assert_int_equal(waivers_add(&w, &old, &id, &why), OK);
    w.items[0].ends_wall_ms = CASE_NOW_MS - (WAIVERS_KEPT_DAYS + 1) * DAY_MS;
    assert_int_equal(waivers_add(&w, &good, &id, &why), OK);
    assert_int_equal(waivers_write(&w, CASE_NOW_MS, &text), OK);
    assert_int_equal(waivers_read(buf_slice(&text), &again, &why), OK);
    assert_int_equal(again.n, 1); /* what ended long ago is gone */
    assert_memory_equal(&again.items[0], &w.items[1], sizeof w.items[0]);
    for (size_t i = 0; i < 2; i++) { /* no time that a calendar has */
        AUTO(waivers_done) struct waivers far = {0};
        AUTO(buf_done) struct buf bytes = {0};
        w.items[1].ends_wall_ms = i == 0 ? INT64_C(253402300799999) : INT64_C(253402300800000);
        assert_int_equal(waivers_write(&w, CASE_NOW_MS, &bytes), OK);
        assert_int_equal(waivers_read(buf_slice(&bytes), &far, &why), i == 0 ? OK : ERR_CONFIG);
    }
    for (size_t n = 0; n < text.n - 1; n++) {
        AUTO(waivers_done) struct waivers cut = {0};
        assert_int_equal(waivers_read(slice_head(buf_slice(&text), n), &cut, &why), ERR_CONFIG);
    }
}

static void test_dates(void **state)
{
    static const char *const bad[] = {"",           "2027-1-31",  "2027-02-29", "2027-13-01",
                                      "2027-00-01", "2027-01-32", "27-01-01",   "2027/01/01",
                                      "2027-01-0x", "tomorrow"};
    int64_t ms;
    (void)state;
    assert_int_equal(waiver_date(slice_text("1970-01-01"), &ms), OK);
    assert_int_equal(ms, DAY_MS);
    assert_int_equal(waiver_date(slice_text("2028-02-29"), &ms), OK);
    assert_int_equal(ms, INT64_C(1835481600000));
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(waiver_date(slice_text(bad[i]), &ms), ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),    cmocka_unit_test(test_clauses),
        cmocka_unit_test(test_verdicts), cmocka_unit_test(test_waived),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_file),
        cmocka_unit_test(test_dates),    cmocka_unit_test(test_fix)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
