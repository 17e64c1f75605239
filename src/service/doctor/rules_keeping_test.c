#include "service/doctor/doctor_case_test.h"

static void complaint(struct facts *f)
{
    (void)snprintf(f->complaint, sizeof f->complaint, "sallyport.yaml:3:1: there is no key \"x\"");
}

#define NUMBER(name, which, n)                                                                     \
    static void name(struct facts *f)                                                              \
    {                                                                                              \
        case_number(f, which, n);                                                                  \
    }

NUMBER(in_memory, FACTS_PERSISTENCE, 0)
NUMBER(saved_at, FACTS_SAVE_INTERVAL_S, 60)
NUMBER(saved_late, FACTS_SAVE_INTERVAL_S, 61)
NUMBER(saved_at_end, FACTS_SAVE_INTERVAL_S, 0)
NUMBER(no_log, FACTS_LOG, 0)
NUMBER(no_connections, FACTS_CONNECTION_LOG, 0)
NUMBER(lost, FACTS_AUDIT_LOST, 1)
NUMBER(damaged, FACTS_STORE_DAMAGED, 1)
NUMBER(failing, FACTS_STORE_FAILS, 1)
NUMBER(root, FACTS_AS_ROOT, 1)
NUMBER(key, FACTS_KEY_INSIDE, 1)
NUMBER(disk_at, FACTS_DISK_FREE_PERCENT, 10)
NUMBER(disk_under, FACTS_DISK_FREE_PERCENT, 9)
NUMBER(mixed, FACTS_MIXED_SETTINGS, 1)

NUMBER(backup_at, FACTS_BACKUP_AGE_S, 30 * 86400)
NUMBER(backup_over, FACTS_BACKUP_AGE_S, 30 * 86400 + 1)
NUMBER(place_at, FACTS_PLACE_AGE_S, 30 * 86400)
NUMBER(place_over, FACTS_PLACE_AGE_S, 30 * 86400 + 1)

static void old_place_new_backup(struct facts *f)
{
    place_over(f);
    backup_at(f);
}

static void private_file(struct facts *f)
{
    (void)case_secret_file(f, 0640);
}

static void readable(struct facts *f)
{
    (void)case_secret_file(f, 0644);
}

static void readable_and_no_secret(struct facts *f)
{
    case_secret_file(f, 0644)->is_secret = false;
}

static void directory(struct facts *f)
{
    case_secret_file(f, 0711)->is_directory = true;
}

static void writable(struct facts *f)
{
    case_secret_file(f, 0666)->is_secret = false;
}

static void alert(struct facts *f)
{
    struct facts_alert *a;
    assert_int_equal(facts_add_alert(f, &a), OK);
    facts_text(a->category, slice_text("exposure"));
}

static void sink(struct facts *f)
{
    struct facts_alert *a;
    assert_int_equal(facts_add_alert(f, &a), OK);
    facts_text(a->category, slice_text("sink"));
    facts_text(a->target, slice_text("siem"));
    facts_text(a->text, slice_text("it has confirmed nothing for 60 s"));
}

static void test_rules(void **state)
{
    static const struct rule_case cases[] = {
        {FACTS_SALLYPORT, "configuration", complaint},
        {FACTS_MOSQUITTO, "no-persistence", in_memory},
        {FACTS_MOSQUITTO, "", saved_at},
        {FACTS_MOSQUITTO, "saved-late", saved_late},
        {FACTS_MOSQUITTO, "saved-late", saved_at_end},
        {FACTS_MOSQUITTO, "log-off", no_log},
        {FACTS_MOSQUITTO, "log-off", no_connections},
        {FACTS_SALLYPORT, "audit-lost", lost},
        {FACTS_SALLYPORT, "store-damaged", damaged},
        {FACTS_SALLYPORT, "store-damaged", failing},
        {FACTS_MOSQUITTO, "", private_file},
        {FACTS_MOSQUITTO, "file-readable", readable},
        {FACTS_MOSQUITTO, "", readable_and_no_secret},
        {FACTS_SALLYPORT, "file-readable", directory},
        {FACTS_MOSQUITTO, "file-writable", writable},
        {FACTS_MOSQUITTO, "as-root", root},
        {FACTS_SALLYPORT, "key-inside", key},
        {FACTS_SALLYPORT, "", disk_at},
        {FACTS_SALLYPORT, "disk-full", disk_under},
        {FACTS_MOSQUITTO, "per-listener", mixed},
        {FACTS_SALLYPORT, "alert", alert},
        {FACTS_SALLYPORT, "export-silent", sink},
        {FACTS_SALLYPORT, "", backup_at},
        {FACTS_SALLYPORT, "no-backup", backup_over},
        {FACTS_SALLYPORT, "", place_at},
        {FACTS_SALLYPORT, "no-backup", place_over},
        {FACTS_SALLYPORT, "", old_place_new_backup},
    };
    (void)state;
    rule_cases(cases, COUNT_OF(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
