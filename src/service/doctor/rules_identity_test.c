#include "service/doctor/doctor_case_test.h"

static void anonymous(struct facts *f)
{
    case_listener(f, FACTS_MQTT)->anonymous = facts_preset(1, 0);
}

static void exception(struct facts *f)
{
    struct facts_permit *p;
    assert_int_equal(facts_add_permit(f, &p), OK);
    p->is_anonymous = true;
    facts_text(p->listener, slice_text("mqtt"));
}

static void no_id(struct facts *f)
{
    case_listener(f, FACTS_MQTT)->empty_client_id = facts_preset(1, 0);
}

static void any_id(struct facts *f)
{
    case_number(f, FACTS_CLIENT_ID_BOUND, 0);
}

static void manual(struct facts *f)
{
    struct facts_account *a = case_account(f, "admin", FACTS_SECRET_HASHED);
    a->is_default = true;
    a->is_management = true;
}

static void clear(struct facts *f)
{
    (void)case_account(f, "a", FACTS_SECRET_CLEAR);
}

static void fast(struct facts *f)
{
    (void)case_account(f, "a", FACTS_SECRET_FAST);
}

static void slow(struct facts *f)
{
    (void)case_account(f, "a", FACTS_SECRET_HASHED);
}

static void psk_127(struct facts *f)
{
    case_account(f, "a", FACTS_SECRET_PSK)->bits = 127;
}

static void psk_128(struct facts *f)
{
    case_account(f, "a", FACTS_SECRET_PSK)->bits = 128;
}

static void shared(struct facts *f)
{
    case_account(f, "a", FACTS_SECRET_PSK)->likeness = 7;
    case_account(f, "b", FACTS_SECRET_PSK)->likeness = 8;
    case_account(f, "c", FACTS_SECRET_PSK)->likeness = 7;
}

static void not_shared(struct facts *f)
{
    case_account(f, "a", FACTS_SECRET_PSK)->likeness = 7;
    (void)case_account(f, "b", FACTS_SECRET_PSK); /* unknown ones are not equal */
    (void)case_account(f, "c", FACTS_SECRET_PSK);
}

static void duplicates(struct facts *f)
{
    struct facts_pair *p;
    assert_int_equal(facts_add_pair(f, &p), OK);
    facts_text(p->one, slice_text("a"));
    facts_text(p->other, slice_text("b"));
}

static void devices(struct facts *f, size_t n)
{
    char name[24];
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "d%zu", i);
        (void)case_account(f, name, FACTS_SECRET_PSK);
    }
}

static void psk_50(struct facts *f)
{
    devices(f, 50);
}

static void psk_51(struct facts *f)
{
    devices(f, 51);
}

static void fleet_50(struct facts *f)
{
    case_number(f, FACTS_PSK_DEVICES, 50);
}

static void fleet_51(struct facts *f)
{
    case_number(f, FACTS_PSK_DEVICES, 51);
}

static void test_rules(void **state)
{
    static const struct rule_case cases[] = {
        {FACTS_MOSQUITTO, "anonymous", anonymous},
        {FACTS_SALLYPORT, "anonymous", exception},
        {FACTS_MOSQUITTO, "empty-client-id", no_id},
        {FACTS_MOSQUITTO, "client-id-unbound", any_id},
        {FACTS_EMQX, "default-credential", manual},
        {FACTS_MOSQUITTO, "password-clear", clear},
        {FACTS_MOSQUITTO, "password-fast-hash", fast},
        {FACTS_MOSQUITTO, "", slow},
        {FACTS_MOSQUITTO, "psk-weak", psk_127},
        {FACTS_MOSQUITTO, "", psk_128},
        {FACTS_MOSQUITTO, "shared-secret", shared},
        {FACTS_MOSQUITTO, "", not_shared},
        {FACTS_SALLYPORT, "shared-secret", duplicates},
        {FACTS_MOSQUITTO, "", psk_50},
        {FACTS_MOSQUITTO, "psk-fleet", psk_51},
        {FACTS_SALLYPORT, "", fleet_50},
        {FACTS_SALLYPORT, "psk-fleet", fleet_51},
    };
    (void)state;
    rule_cases(cases, COUNT_OF(cases));
}

/* A rule names the first objects and counts the others. */
static void test_many(void **state)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(findings_done) struct findings l = {0};
    (void)state;
    assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
    for (size_t i = 0; i < FINDINGS_PER_RULE + 2; i++) {
        clear(f);
    }
    assert_int_equal(rules_judge(f, &l), OK);
    assert_int_equal(l.n, FINDINGS_PER_RULE);
    assert_int_equal(l.n_more, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules), cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
