#include "service/doctor/doctor_case_test.h"

static const int64_t DAY_MS = INT64_C(86400000);

static void certificate(struct facts *f, bool is_authority, int64_t left_ms)
{
    struct facts_certificate *c;
    assert_int_equal(facts_add_certificate(f, &c), OK);
    facts_text(c->name, slice_text("server certificate"));
    c->is_authority = is_authority;
    c->ends_wall_ms = CASE_NOW_MS + left_ms;
}

static void ended(struct facts *f)
{
    certificate(f, false, 0);
}

static void ending(struct facts *f)
{
    certificate(f, false, 14 * DAY_MS - 1);
}

static void not_ending(struct facts *f)
{
    certificate(f, false, 14 * DAY_MS);
}

static void authority(struct facts *f)
{
    certificate(f, true, 90 * DAY_MS - 1);
}

static void authority_of_longer_lives(struct facts *f)
{
    case_number(f, FACTS_DEVICE_LIFE_S, 200 * 86400);
    certificate(f, true, 200 * DAY_MS - 1);
}

static void authority_fine(struct facts *f)
{
    case_number(f, FACTS_DEVICE_LIFE_S, 10 * 86400);
    certificate(f, true, 90 * DAY_MS);
}

static void bits_111(struct facts *f)
{
    certificate(f, false, 400 * DAY_MS);
    f->certificates[0].bits = 111;
}

static void bits_112(struct facts *f)
{
    certificate(f, true, 400 * DAY_MS);
    f->certificates[0].bits = 112;
}

static void year_old(struct facts *f)
{
    case_secret_file(f, 0600)->changed_wall_ms = CASE_NOW_MS - 367 * DAY_MS;
}

static void less_than_a_year_old(struct facts *f)
{
    case_secret_file(f, 0600)->changed_wall_ms = CASE_NOW_MS - 366 * DAY_MS;
}

static void old_key(struct facts *f)
{
    year_old(f);
    f->files[0].is_key = true;
}

#define NUMBER(name, which, n)                                                                     \
    static void name(struct facts *f)                                                              \
    {                                                                                              \
        case_number(f, which, n);                                                                  \
    }

NUMBER(never_old, FACTS_SECRET_AGE_S, 0)
NUMBER(yearly, FACTS_SECRET_AGE_S, 366 * 86400)
NUMBER(later, FACTS_SECRET_AGE_S, 366 * 86400 + 1)
NUMBER(aged, FACTS_AGED, 1)
NUMBER(over, FACTS_OVER, 1)
NUMBER(silent, FACTS_SILENT, 1)
NUMBER(cliff, FACTS_CLIFF, 10)
NUMBER(list_fresh, FACTS_CRL_LEFT_S, 3600)
NUMBER(list_nearly_stale, FACTS_CRL_LEFT_S, 3599)
NUMBER(list_stale, FACTS_CRL_LEFT_S, -1)

static void revoked(struct facts *f)
{
    certificate(f, false, 400 * DAY_MS);
    certificate(f, true, 400 * DAY_MS);
    f->certificates[1].is_revoked = true;
}

static void test_rules(void **state)
{
    static const struct rule_case cases[] = {
        {FACTS_SALLYPORT, "certificate-ended", ended},
        {FACTS_MOSQUITTO, "certificate-ending", ending},
        {FACTS_SALLYPORT, "", not_ending},
        {FACTS_SALLYPORT, "authority-ending", authority},
        {FACTS_SALLYPORT, "authority-ending", authority_of_longer_lives},
        {FACTS_SALLYPORT, "", authority_fine},
        {FACTS_EMQX, "certificate-weak", bits_111},
        {FACTS_EMQX, "", bits_112},
        {FACTS_MOSQUITTO, "no-rotation", year_old},
        {FACTS_MOSQUITTO, "", less_than_a_year_old},
        {FACTS_MOSQUITTO, "", old_key},
        {FACTS_SALLYPORT, "", year_old},
        {FACTS_SALLYPORT, "no-rotation", never_old},
        {FACTS_SALLYPORT, "", yearly},
        {FACTS_SALLYPORT, "no-rotation", later},
        {FACTS_SALLYPORT, "secret-aged", aged},
        {FACTS_SALLYPORT, "credential-ended", over},
        {FACTS_SALLYPORT, "renewal-silent", silent},
        {FACTS_SALLYPORT, "expiry-cliff", cliff},
        {FACTS_SALLYPORT, "", list_fresh},
        {FACTS_SALLYPORT, "crl-stale", list_nearly_stale},
        {FACTS_SALLYPORT, "crl-stale", list_stale},
        {FACTS_SALLYPORT, "chain-revoked", revoked},
        {FACTS_MOSQUITTO, "", revoked}, /* its lists are not read */
    };
    (void)state;
    rule_cases(cases, COUNT_OF(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
