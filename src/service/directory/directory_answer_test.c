/* Answers stand beside what a person set: they begin, get longer, end, and outlive a restart. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/directory/directory_case_test.h"

static struct directory_answer_order order(enum answer_kind kind, int64_t for_ms)
{
    return (struct directory_answer_order){.kind = kind,
                                           .until_wall_ms = TEST_NOW + for_ms,
                                           .by = TEXT("rule probing"),
                                           .reason = TEXT("12 topics")};
}

static uint64_t start(struct test_place *p, const char *name, enum answer_kind kind, int64_t for_ms)
{
    struct directory_answer_order o = order(kind, for_ms);
    struct directory_answer x;
    assert_int_equal(directory_answer_start(p->d, TEXT(name), &o, TEST_NOW, &x, NULL), OK);
    assert_int_equal(x.kind, kind);
    return x.id;
}

static const struct principal *who(const struct directory_version *v, const char *name)
{
    return directory_find(v, TEXT(name))->principal;
}

static void each_kind_does_its_own(void **state)
{
    struct test_place *p = *state;
    static const struct {
        enum answer_kind kind;
        unsigned answers;
        enum principal_status status;
    } rows[] = {
        {ANSWER_THROTTLE, PRINCIPAL_THROTTLED, PRINCIPAL_ACTIVE},
        {ANSWER_STEP_UP, PRINCIPAL_STEPPED_UP, PRINCIPAL_ACTIVE},
        {ANSWER_QUARANTINE, PRINCIPAL_QUARANTINED, PRINCIPAL_ACTIVE},
        {ANSWER_DISCONNECT, PRINCIPAL_SHUT_OUT, PRINCIPAL_DISABLED},
        {ANSWER_REVOKE, PRINCIPAL_SHUT_OUT, PRINCIPAL_DISABLED},
    };
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    assert_int_equal(add(p, "b", NULL, 0, NULL), OK);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint64_t id = start(p, "a", rows[i].kind, TEST_HOUR_MS);
        VERSION(p);
        assert_int_equal(who(v, "a")->answers, rows[i].answers);
        assert_int_equal(who(v, "a")->status, rows[i].status);
        assert_int_equal(who(v, "a")->own_status, PRINCIPAL_ACTIVE);
        assert_int_equal(who(v, "a")->step_up, rows[i].kind == ANSWER_STEP_UP ? id : 0);
        assert_int_equal(who(v, "b")->answers, 0);
        assert_int_equal(directory_answer_end(p->d, TEXT("a"), id), OK);
        assert_int_equal(directory_answer_end(p->d, TEXT("a"), id), ERR_NOT_FOUND);
        AUTO(version_done) const struct directory_version *after = directory_current(p->d);
        assert_int_equal(who(after, "a")->answers, 0);
        assert_int_equal(who(after, "a")->status, PRINCIPAL_ACTIVE);
    }
}

static void they_outlive_a_restart(void **state)
{
    struct test_place *p = *state;
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    uint64_t first = start(p, "a", ANSWER_QUARANTINE, TEST_HOUR_MS);
    uint64_t second = start(p, "a", ANSWER_DISCONNECT, 2 * TEST_HOUR_MS);
    reopen(p);
    VERSION(p);
    const struct directory_entry *e = directory_find(v, TEXT("a"));
    assert_int_equal(e->n_answers, 2);
    assert_int_equal(e->answers[0].id, first);
    assert_int_equal(e->answers[1].id, second);
    assert_int_equal(e->answers[1].until_wall_ms, TEST_NOW + 2 * TEST_HOUR_MS);
    assert_string_equal(e->answers[1].reason, "12 topics");
    assert_int_equal(e->principal->status, PRINCIPAL_DISABLED);
    assert_int_equal(e->principal->answers, PRINCIPAL_QUARANTINED | PRINCIPAL_SHUT_OUT);
    assert_true(start(p, "a", ANSWER_THROTTLE, TEST_HOUR_MS) > second); /* never used again */
}

static void what_a_person_sets_meanwhile_stays(void **state)
{
    struct test_place *p = *state;
    char text[64];
    struct directory_secret psk = test_secret(CREDENTIAL_PSK, 1, text);
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    uint64_t id = start(p, "a", ANSWER_REVOKE, TEST_HOUR_MS);
    assert_int_equal(directory_rotate(p->d, TEXT("a"), &psk, 0, TEST_NOW, NULL), OK);
    assert_int_equal(directory_set_role(p->d, TEXT("a"), TEXT("lamp"), NULL), OK);
    reopen(p);
    VERSION(p);
    assert_int_equal(who(v, "a")->status, PRINCIPAL_DISABLED);
    assert_int_equal(who(v, "a")->own_status, PRINCIPAL_ACTIVE); /* none of it made that stay */
    assert_int_equal(directory_disable(p->d, TEXT("a"), TEXT("by hand")), OK);
    assert_int_equal(directory_answer_end(p->d, TEXT("a"), id), OK);
    AUTO(version_done) const struct directory_version *after = directory_current(p->d);
    const struct directory_entry *e = directory_find(after, TEXT("a"));
    assert_int_equal(e->principal->status, PRINCIPAL_DISABLED);
    assert_string_equal(e->reason, "by hand");
    assert_string_equal(e->principal->role, "lamp");
    assert_int_equal(e->n_credentials, 1);
}

static void one_of_a_kind_and_the_longer_wins(void **state)
{
    struct test_place *p = *state;
    struct directory_answer x;
    struct why why = {{0}};
    struct directory_answer_order o = order(ANSWER_THROTTLE, TEST_HOUR_MS);
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    uint64_t id = start(p, "a", ANSWER_THROTTLE, TEST_HOUR_MS);
    assert_int_equal(directory_answer_start(p->d, TEXT("a"), &o, TEST_NOW, &x, &why), ERR_EXISTS);
    assert_true(why.text[0] != '\0');
    assert_int_equal(start(p, "a", ANSWER_THROTTLE, TEST_HOUR_MS + 1), id);
    for (int kind = ANSWER_STEP_UP; kind < ANSWER_KINDS; kind++) {
        (void)start(p, "a", (enum answer_kind)kind, TEST_HOUR_MS);
    }
    VERSION(p);
    assert_int_equal(directory_find(v, TEXT("a"))->n_answers, DIRECTORY_ANSWERS_MAX);
}

static void what_is_refused(void **state)
{
    struct test_place *p = *state;
    char text[DIRECTORY_REASON_MAX + 2];
    struct directory_answer x;
    struct directory_answer_order o = order(ANSWER_THROTTLE, TEST_HOUR_MS);
    memset(text, 'x', sizeof text);
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    assert_int_equal(directory_answer_start(p->d, TEXT("b"), &o, TEST_NOW, &x, NULL),
                     ERR_NOT_FOUND);
    o.reason = slice_of(text, DIRECTORY_REASON_MAX + 1);
    assert_int_equal(directory_answer_start(p->d, TEXT("a"), &o, TEST_NOW, &x, NULL),
                     ERR_MALFORMED);
    o.reason = slice_of(text, DIRECTORY_REASON_MAX);
    o.by = slice_of(text, DIRECTORY_ANSWER_BY_MAX + 1);
    assert_int_equal(directory_answer_start(p->d, TEXT("a"), &o, TEST_NOW, &x, NULL),
                     ERR_MALFORMED);
    o.by = slice_of(text, DIRECTORY_ANSWER_BY_MAX);
    o.until_wall_ms = TEST_NOW;
    assert_int_equal(directory_answer_start(p->d, TEXT("a"), &o, TEST_NOW, &x, NULL),
                     ERR_MALFORMED);
    o.until_wall_ms = TEST_NOW + 1;
    o.kind = ANSWER_ALERT;
    assert_int_equal(directory_answer_start(p->d, TEXT("a"), &o, TEST_NOW, &x, NULL),
                     ERR_MALFORMED);
    o.kind = ANSWER_THROTTLE;
    assert_int_equal(directory_answer_start(p->d, TEXT("a"), &o, TEST_NOW, &x, NULL), OK);
    assert_int_equal(directory_revoke(p->d, TEXT("a"), TEXT("stolen")), OK);
    o.kind = ANSWER_QUARANTINE;
    assert_int_equal(directory_answer_start(p->d, TEXT("a"), &o, TEST_NOW, &x, NULL), ERR_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_kind_does_its_own),
        CASE(they_outlive_a_restart),
        CASE(what_a_person_sets_meanwhile_stays),
        CASE(one_of_a_kind_and_the_longer_wins),
        CASE(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
