#include "service/doctor/doctor_case_test.h"
#include "service/doctor/support.h"

static void clock_alone(struct facts *f)
{
    case_number(f, FACTS_CLOCK_ALONE, 1);
}

static void clock_kept(struct facts *f)
{
    case_number(f, FACTS_CLOCK_ALONE, 0);
}

static void system_left(struct facts *f, int64_t left_ms)
{
    facts_text(f->system, slice_text("Debian bookworm"));
    case_number(f, FACTS_SYSTEM_LEFT_MS, left_ms);
}

static void system_last_moment(struct facts *f)
{
    system_left(f, 1);
}

static void system_end(struct facts *f)
{
    system_left(f, 0);
}

static void system_over(struct facts *f)
{
    system_left(f, -1);
}

static void library_left(struct facts *f, int64_t left_ms)
{
    facts_text(f->library, slice_text("OpenSSL 3.1.4"));
    case_number(f, FACTS_LIBRARY_LEFT_MS, left_ms);
}

static void library_last_moment(struct facts *f)
{
    library_left(f, 1);
}

static void library_end(struct facts *f)
{
    library_left(f, 0);
}

static void library_over(struct facts *f)
{
    library_left(f, -1);
}

static void test_rules(void **state)
{
    static const struct rule_case cases[] = {
        {FACTS_SALLYPORT, "clock-alone", clock_alone},
        {FACTS_SALLYPORT, "", clock_kept},
        {FACTS_SALLYPORT, "", system_last_moment},
        {FACTS_SALLYPORT, "system-unsupported", system_end},
        {FACTS_SALLYPORT, "system-unsupported", system_over},
        {FACTS_SALLYPORT, "", library_last_moment},
        {FACTS_SALLYPORT, "openssl-unsupported", library_end},
        {FACTS_SALLYPORT, "openssl-unsupported", library_over},
        {FACTS_MOSQUITTO, "", clock_alone}, /* of our own machine alone */
        {FACTS_MOSQUITTO, "", system_over},
    };
    (void)state;
    rule_cases(cases, COUNT_OF(cases));
}

/* The last day is named, not the midnight behind it. */
static void test_evidence(void **state)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(findings_done) struct findings l = {0};
    (void)state;
    assert_int_equal(facts_new(FACTS_SALLYPORT, INT64_C(1846022400000), &f), OK); /* 2028-07-01 */
    system_end(f);
    assert_int_equal(rules_judge(f, &l), OK);
    assert_string_equal(l.items[0].evidence,
                        "security support of Debian bookworm ended on 2028-06-30");
}

/* NULL: not known. */
static void test_systems(void **state)
{
    static const struct {
        const char *text, *name;
        int64_t ends_wall_ms;
    } cases[] = {
        {"ID=debian\nVERSION_CODENAME=bookworm\n", "Debian bookworm", INT64_C(1846022400000)},
        {"VERSION_CODENAME=\"trixie\"\nID='debian'", "Debian trixie", INT64_C(1909094400000)},
        {"# ID=debian\nID=debian\nVERSION_CODENAME=buster\n", "Debian buster",
         INT64_C(1719792000000)},
        {"ID=raspbian\nID_LIKE=debian\nVERSION_CODENAME=bookworm\n", NULL, 0},
        {"ID=debian\nVERSION_CODENAME=forky\n", NULL, 0},
        {"ID=debian\nVERSION_CODENAME=\n", NULL, 0},
        {"ID=debian\nVERSION_CODENAME=\"bookworm\n", NULL, 0},
        {"ID\nVERSION_CODENAME\n=\n\"", NULL, 0},
        {"ID=debian", NULL, 0},
        {"", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct support s = {.ends_wall_ms = 0};
        assert_int_equal(support_of_system(slice_text(cases[i].text), &s), cases[i].name != NULL);
        if (cases[i].name != NULL) {
            assert_string_equal(s.name, cases[i].name);
            assert_int_equal(s.ends_wall_ms, cases[i].ends_wall_ms);
        }
    }
}

static void test_branches(void **state)
{
    struct support s;
    (void)state;
    assert_true(support_of_openssl(3, 0, &s));
    assert_string_equal(s.name, "OpenSSL 3.0");
    assert_int_equal(s.ends_wall_ms, INT64_C(1788825600000)); /* 2026-09-08 */
    assert_true(support_of_openssl(3, 5, &s));
    assert_false(support_of_openssl(3, 6, &s));
    assert_false(support_of_openssl(1, 1, &s));
    assert_false(support_of_openssl(4, 0, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules), cmocka_unit_test(test_evidence),
        cmocka_unit_test(test_systems), cmocka_unit_test(test_branches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
