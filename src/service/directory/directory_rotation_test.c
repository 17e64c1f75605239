/* One secret after another: what waits for its device, what ends, and what a restart knows of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "service/directory/directory_case_test.h"
#include "service/directory/duplicates.h"

#define WAIT_S (90U * 86400U)

static const enum credential_kind kinds[] = {CREDENTIAL_PSK, CREDENTIAL_OSCORE, CREDENTIAL_PASSWORD,
                                             CREDENTIAL_SCRAM};

static size_t n_live(struct test_place *p, enum credential_kind kind, int64_t now)
{
    VERSION(p);
    return directory_live(v, TEXT("a"), kind, now).n;
}

/* The newest first; NULL: there is no such one. Borrowed from the directory. */
static const struct credential *live_at(struct test_place *p, enum credential_kind kind, size_t at,
                                        int64_t now)
{
    VERSION(p);
    struct directory_live live = directory_live(v, TEXT("a"), kind, now);
    return at < live.n ? live.credentials[at] : NULL;
}

static size_t settle(struct test_place *p, int64_t now)
{
    struct directory_confirmation told[DIRECTORY_SETTLE_MAX];
    size_t n = 0;
    bool changed = false;
    assert_int_equal(directory_settle(p->d, now, told, &n, &changed), OK);
    assert_true(n == 0 || changed);
    assert_true(n == 0 || strcmp(told[0].name, "a") == 0);
    return n;
}

static void begin(struct test_place *p, enum credential_kind kind)
{
    const struct secret_ages ages = {.wait_s = WAIT_S};
    char text[64];
    struct directory_secret s = test_secret(kind, 1, text);
    directory_set_ages(p->d, &ages);
    p->setup.ages = ages;
    assert_int_equal(add(p, "a", &s, 1, NULL), OK);
}

static enum err succeed(struct test_place *p, enum credential_kind kind, unsigned n, int64_t now)
{
    char text[64];
    struct directory_secret s = test_secret(kind, n, text);
    return directory_succeed(p->d, TEXT("a"), &s, TEST_HOUR_MS, now, NULL);
}

static void who_slept_is_let_in_until_it_has_used_the_new_one(void **state)
{
    struct test_place *p = *state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        enum credential_kind kind = kinds[i];
        int64_t late = TEST_NOW + 80 * TEST_DAY_MS;
        begin(p, kind);
        credential_used(live_at(p, kind, 0, TEST_NOW), TEST_NOW - 5);
        assert_int_equal(succeed(p, kind, 2, TEST_NOW), OK);
        assert_int_equal(directory_unsettled(p->d), 1);
        reopen(p); /* as after kill -9 */
        assert_int_equal(directory_unsettled(p->d), 1);
        assert_int_equal(n_live(p, kind, late), 2);
        assert_true(credential_waits(live_at(p, kind, 0, late)));
        credential_used(live_at(p, kind, 1, late), late); /* with the old one: says nothing */
        assert_int_equal(settle(p, late), 0);
        assert_int_equal(n_live(p, kind, late), 2);
        assert_int_equal(n_live(p, kind, TEST_NOW + 90 * TEST_DAY_MS), 1); /* not for ever */

        credential_used(live_at(p, kind, 0, late), late + 1);
        assert_int_equal(settle(p, late + 2), 1);
        reopen(p);
        assert_false(live_at(p, kind, 0, late)->is_unconfirmed);
        assert_int_equal(n_live(p, kind, late + 1 + TEST_HOUR_MS), 2);
        assert_int_equal(n_live(p, kind, late + 2 + TEST_HOUR_MS), 1);
        assert_int_equal(settle(p, late + 2 + TEST_HOUR_MS), 0);
        assert_int_equal(settle(p, late + 2 + TEST_HOUR_MS), 0);
        assert_int_equal(directory_unsettled(p->d), 0);
        VERSION(p);
        assert_int_equal(directory_find(v, TEXT("a"))->n_credentials, 1);
        assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    }
}

static void a_first_use_counts_also_when_the_process_ends_before_it_is_noted(void **state)
{
    struct test_place *p = *state;
    begin(p, CREDENTIAL_PSK);
    assert_int_equal(succeed(p, CREDENTIAL_PSK, 2, TEST_NOW), OK);
    credential_used(live_at(p, CREDENTIAL_PSK, 0, TEST_NOW), TEST_NOW + 1);
    assert_int_equal(directory_keep_uses(p->d), OK);
    reopen(p);
    assert_int_equal(settle(p, TEST_NOW + 2), 1);
    assert_int_equal(n_live(p, CREDENTIAL_PSK, TEST_NOW + 3 + TEST_HOUR_MS), 1);
}

static void a_second_one_replaces_the_one_that_waits(void **state)
{
    struct test_place *p = *state;
    int64_t later = TEST_NOW + TEST_DAY_MS;
    begin(p, CREDENTIAL_PSK);
    uint64_t first = live_at(p, CREDENTIAL_PSK, 0, TEST_NOW)->id;
    assert_int_equal(succeed(p, CREDENTIAL_PSK, 2, TEST_NOW), OK);
    uint64_t second = live_at(p, CREDENTIAL_PSK, 0, TEST_NOW)->id;
    assert_int_equal(succeed(p, CREDENTIAL_PSK, 3, later), OK);
    assert_int_equal(n_live(p, CREDENTIAL_PSK, later), 2);
    assert_int_equal(live_at(p, CREDENTIAL_PSK, 1, later)->id, first);
    assert_int_not_equal(live_at(p, CREDENTIAL_PSK, 0, later)->id, second);
    /* The device has the time again. */
    assert_int_equal(live_at(p, CREDENTIAL_PSK, 1, later)->expires_wall_ms,
                     later + (int64_t)WAIT_S * 1000);
    /* What was used stands, noted or not. */
    credential_used(live_at(p, CREDENTIAL_PSK, 0, later), later);
    uint64_t third = live_at(p, CREDENTIAL_PSK, 0, later)->id;
    assert_int_equal(succeed(p, CREDENTIAL_PSK, 4, later), OK);
    assert_int_equal(live_at(p, CREDENTIAL_PSK, 1, later)->id, third);
    assert_int_equal(settle(p, later), 0);
    /* Without overlap all others end. */
    char text[64];
    struct directory_secret s = test_secret(CREDENTIAL_PSK, 5, text);
    assert_int_equal(directory_rotate(p->d, TEXT("a"), &s, 0, later, NULL), OK);
    assert_int_equal(n_live(p, CREDENTIAL_PSK, later), 1);
    assert_false(live_at(p, CREDENTIAL_PSK, 0, later)->is_unconfirmed);
}

static void taken_back_or_cut_over(void **state)
{
    struct test_place *p = *state;
    struct why why = {{0}};
    begin(p, CREDENTIAL_PASSWORD);
    uint64_t old = live_at(p, CREDENTIAL_PASSWORD, 0, TEST_NOW)->id;
    assert_int_equal(directory_decide(p->d, TEXT("a"), 0, DIRECTORY_ABORT, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "nothing to take back"));
    assert_int_equal(directory_decide(p->d, TEXT("a"), 0, DIRECTORY_CUT_OVER, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "nothing to cut over"));
    assert_int_equal(directory_decide(p->d, TEXT("b"), 0, DIRECTORY_ABORT, NULL), ERR_NOT_FOUND);

    assert_int_equal(succeed(p, CREDENTIAL_PASSWORD, 2, TEST_NOW), OK);
    assert_int_equal(directory_decide(p->d, TEXT("a"), 1U << CREDENTIAL_PSK, DIRECTORY_ABORT, NULL),
                     ERR_NOT_FOUND);
    assert_int_equal(directory_decide(p->d, TEXT("a"), 0, DIRECTORY_ABORT, NULL), OK);
    reopen(p);
    assert_int_equal(n_live(p, CREDENTIAL_PASSWORD, TEST_NOW), 1);
    assert_int_equal(live_at(p, CREDENTIAL_PASSWORD, 0, TEST_NOW)->id, old);
    assert_true(live_at(p, CREDENTIAL_PASSWORD, 0, TEST_NOW)->expires_wall_ms == CREDENTIAL_NEVER);

    assert_int_equal(succeed(p, CREDENTIAL_PASSWORD, 3, TEST_NOW), OK);
    assert_int_equal(
        directory_decide(p->d, TEXT("a"), 1U << CREDENTIAL_PASSWORD, DIRECTORY_CUT_OVER, NULL), OK);
    reopen(p);
    assert_int_equal(n_live(p, CREDENTIAL_PASSWORD, TEST_NOW), 1);
    assert_int_not_equal(live_at(p, CREDENTIAL_PASSWORD, 0, TEST_NOW)->id, old);
    assert_false(live_at(p, CREDENTIAL_PASSWORD, 0, TEST_NOW)->is_unconfirmed);
}

static void nothing_to_wait_for(void **state)
{
    struct test_place *p = *state;
    char text[64];
    begin(p, CREDENTIAL_PSK);
    assert_int_equal(succeed(p, CREDENTIAL_OSCORE, 2, TEST_NOW), OK); /* its first of this kind */
    VERSION(p);
    const struct directory_entry *e = directory_find(v, TEXT("a"));
    assert_false(e->credentials[e->n_credentials - 1]->is_unconfirmed);
    struct directory_secret s = test_secret(CREDENTIAL_X509, 3, text);
    assert_int_equal(directory_succeed(p->d, TEXT("a"), &s, 1, TEST_NOW, NULL), ERR_MALFORMED);
    assert_int_equal(directory_revoke(p->d, TEXT("a"), TEXT("lost")), OK);
    assert_int_equal(succeed(p, CREDENTIAL_PSK, 4, TEST_NOW), ERR_DENIED);
}

static void ages(void **state)
{
    struct test_place *p = *state;
    const struct secret_ages ages = {.report_s = {86400, 86400, 86400},
                                     .refuse_s = {2 * 86400, 2 * 86400, 2 * 86400}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        uint64_t epoch;
        begin(p, kinds[i]);
        assert_int_equal(n_live(p, kinds[i], TEST_NOW + 1000 * TEST_DAY_MS), 1);
        directory_set_ages(p->d, &ages);
        assert_int_equal(n_live(p, kinds[i], TEST_NOW + 1000 * TEST_DAY_MS), 1); /* not yet */
        assert_int_equal(directory_policy_changed(p->d, &epoch), OK);
        assert_int_equal(n_live(p, kinds[i], TEST_NOW + 2 * TEST_DAY_MS - 1), 1);
        assert_int_equal(n_live(p, kinds[i], TEST_NOW + 2 * TEST_DAY_MS), 0);
        VERSION(p);
        const struct credential *c = directory_find(v, TEXT("a"))->credentials[0];
        assert_true(secret_reported_at(&ages, c) == TEST_NOW + TEST_DAY_MS);
        /* Of nobody the decoy is asked, however old secrets may get. */
        assert_true(kinds[i] == CREDENTIAL_OSCORE ||
                    directory_live(v, TEXT("nobody"), kinds[i], TEST_NOW).credentials[0] != NULL);
        assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    }
    char text[64];
    struct directory_secret s = test_secret(CREDENTIAL_X509, 9, text);
    assert_int_equal(add(p, "b", &s, 1, NULL), OK);
    VERSION(p);
    const struct credential *c = directory_find(v, TEXT("b"))->credentials[0];
    assert_true(directory_ends(v, c) == CREDENTIAL_NEVER); /* a certificate says its own end */
    assert_true(secret_reported_at(&ages, c) == CREDENTIAL_NEVER);
}

static void an_opaque_identity_is_known_and_the_name_is_not(void **state)
{
    struct test_place *p = *state;
    char text[64], identity[CREDENTIAL_IDENTITY_BYTES], other[CREDENTIAL_IDENTITY_BYTES];
    struct random_source random = random_system();
    struct directory_secret s = test_secret(CREDENTIAL_PSK, 1, text);
    s.identity = TEXT("not-opaque");
    assert_int_equal(add(p, "a", &s, 1, NULL), ERR_MALFORMED);
    credential_opaque(&random, identity);
    s.identity = TEXT(identity);
    assert_int_equal(add(p, "a", &s, 1, NULL), OK);
    reopen(p);
    VERSION(p);
    const struct directory_entry *e = directory_find(v, TEXT("a"));
    assert_string_equal(identity, e->credentials[0]->identity);
    assert_int_equal(strlen(identity), CREDENTIAL_IDENTITY_BYTES - 1);
    assert_false(principal_name_ok(TEXT(identity))); /* nobody can be called so */
    struct directory_live live = directory_live(v, TEXT(identity), CREDENTIAL_PSK, TEST_NOW);
    assert_int_equal(live.n, 1);
    assert_ptr_equal(live.entry, e);
    assert_ptr_equal(directory_find_identity(v, TEXT(identity)), e);
    assert_int_equal(directory_live(v, TEXT("a"), CREDENTIAL_PSK, TEST_NOW).n, 0);
    /* Somebody unknown has a decoy's, in either way of naming. */
    live = directory_live(v, TEXT("~AAAAAAAAAAAAAAAA"), CREDENTIAL_PSK, TEST_NOW);
    assert_true(live.entry == NULL && live.n == 0 && live.credentials[0] != NULL);
    assert_null(directory_find_identity(v, TEXT("~")));
    assert_null(directory_find_identity(v, TEXT("")));
    assert_int_equal(directory_live(v, TEXT(identity), CREDENTIAL_PASSWORD, TEST_NOW).n, 0);

    /* Each rotation has an identity of its own, and both are known. */
    struct directory_secret next = test_secret(CREDENTIAL_PSK, 2, text);
    credential_opaque(&random, other);
    next.identity = TEXT(other);
    assert_int_equal(directory_rotate(p->d, TEXT("a"), &next, TEST_HOUR_MS, TEST_NOW, NULL), OK);
    AUTO(version_done) const struct directory_version *after = directory_current(p->d);
    e = directory_find(after, TEXT("a"));
    assert_int_equal(e->n_credentials, 2);
    assert_string_not_equal(e->credentials[0]->identity, e->credentials[1]->identity);
    for (size_t i = 0; i < 2; i++) {
        live = directory_live(after, TEXT(e->credentials[i]->identity), CREDENTIAL_PSK, TEST_NOW);
        assert_true(live.n == 1 && live.credentials[0] == e->credentials[i]);
    }
}

static size_t n_pairs(struct test_place *p, char first[2][PRINCIPAL_NAME_MAX + 1])
{
    struct duplicate_list l;
    VERSION(p);
    assert_int_equal(duplicates_find(p->d, v, &l), OK);
    for (size_t i = 0; i < 2 && l.n > 0; i++) {
        const struct duplicate *one = i == 0 ? &l.pairs[0].one : &l.pairs[0].other;
        (void)snprintf(first[i], PRINCIPAL_NAME_MAX + 1, "%s", one->entry->principal->name);
    }
    size_t n = l.n;
    duplicates_done(&l);
    return n;
}

static void one_secret_in_two_hands(void **state)
{
    struct test_place *p = *state;
    char text[64], shared[64], hex[40] = "", who[2][PRINCIPAL_NAME_MAX + 1];
    struct why why = {{0}};
    struct directory_secret s = test_secret(CREDENTIAL_PSK, 1, text);
    struct directory_secret o = test_secret(CREDENTIAL_OSCORE, 2, shared);
    assert_int_equal(add(p, "a", &s, 1, NULL), OK);
    assert_int_equal(add(p, "b", &o, 1, NULL), OK);
    assert_int_equal(n_pairs(p, who), 0);

    /* At the door the other holder is named, whatever the secret is there. */
    struct directory_secret as_password = {
        .kind = CREDENTIAL_PASSWORD, .expires_wall_ms = CREDENTIAL_NEVER, .password = s.psk};
    assert_int_equal(add(p, "c", &s, 1, &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "registered for a"));
    assert_int_equal(add(p, "c", &as_password, 1, &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "registered for a"));
    assert_int_equal(add(p, "c", &o, 1, &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "registered for b"));

    /* Another spelling comes through it, and is found. */
    for (size_t i = 0; i < sizeof o.oscore->secret; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", o.oscore->secret[i]);
    }
    struct directory_secret spelled = {
        .kind = CREDENTIAL_PSK, .expires_wall_ms = CREDENTIAL_NEVER, .psk = TEXT(hex)};
    assert_int_equal(add(p, "c", &spelled, 1, NULL), OK);
    assert_int_equal(n_pairs(p, who), 1);
    assert_string_equal(who[0], "b");
    assert_string_equal(who[1], "c");
    assert_int_equal(directory_remove(p->d, TEXT("c")), OK);
    assert_int_equal(n_pairs(p, who), 0);
}

static void the_longest_silence_is_kept(void **state)
{
    struct test_place *p = *state;
    begin(p, CREDENTIAL_PSK);
    const struct credential *c = live_at(p, CREDENTIAL_PSK, 0, TEST_NOW);
    credential_used(c, TEST_NOW);
    credential_used(c, TEST_NOW + 90 * TEST_DAY_MS); /* it did not leave: no silence */
    assert_true(atomic_load(&c->silence_ms) == 0);
    {
        VERSION(p);
        const struct directory_entry *e = directory_find(v, TEXT("a"));
        directory_left(v, e->principal, c->id, TEST_NOW + 95 * TEST_DAY_MS);
        directory_left(v, e->principal, 12345, TEST_NOW);
    }
    assert_int_equal(directory_keep_uses(p->d), OK);
    reopen(p);
    c = live_at(p, CREDENTIAL_PSK, 0, TEST_NOW);
    credential_used(c, TEST_NOW + 100 * TEST_DAY_MS);
    assert_true(atomic_load(&c->silence_ms) == 5 * TEST_DAY_MS);
    credential_left(c, TEST_NOW + 100 * TEST_DAY_MS);
    credential_used(c, TEST_NOW); /* a clock set back is no silence */
    assert_true(atomic_load(&c->silence_ms) == 5 * TEST_DAY_MS);
    assert_int_equal(directory_keep_uses(p->d), OK);
    reopen(p);
    c = live_at(p, CREDENTIAL_PSK, 0, TEST_NOW);
    assert_true(atomic_load(&c->silence_ms) == 5 * TEST_DAY_MS);
    assert_int_equal(succeed(p, CREDENTIAL_PSK, 2, TEST_NOW), OK);
    c = live_at(p, CREDENTIAL_PSK, 0, TEST_NOW);
    assert_true(atomic_load(&c->silence_ms) == 5 * TEST_DAY_MS); /* the device's, not the key's */
}

static void no_memory_changes_nothing(void **state)
{
    struct test_place *p = *state;
    begin(p, CREDENTIAL_PSK);
    assert_int_equal(succeed(p, CREDENTIAL_PSK, 2, TEST_NOW), OK);
    credential_used(live_at(p, CREDENTIAL_PSK, 0, TEST_NOW), TEST_NOW);
    struct directory_confirmation told[DIRECTORY_SETTLE_MAX];
    size_t n = 1;
    bool changed = true;
    enum err err = ERR_NOMEM;
    for (long i = 0; i < 1000 && err != OK; i++) {
        (void)mem_fail_after(i);
        err = directory_settle(p->d, TEST_NOW, told, &n, &changed);
        (void)mem_fail_after(-1);
        if (err != OK) {
            assert_int_equal(n, 0);
            assert_int_equal(n_live(p, CREDENTIAL_PSK, TEST_NOW + 2 * TEST_HOUR_MS), 2);
            assert_int_equal(directory_unsettled(p->d), 1);
            test_shift_ms += 2000; /* the log tries again */
        }
    }
    assert_int_equal(err, OK);
    assert_int_equal(n, 1);
    assert_int_equal(n_live(p, CREDENTIAL_PSK, TEST_NOW + 2 * TEST_HOUR_MS), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(who_slept_is_let_in_until_it_has_used_the_new_one),
        CASE(a_first_use_counts_also_when_the_process_ends_before_it_is_noted),
        CASE(a_second_one_replaces_the_one_that_waits),
        CASE(taken_back_or_cut_over),
        CASE(nothing_to_wait_for),
        CASE(ages),
        CASE(an_opaque_identity_is_known_and_the_name_is_not),
        CASE(one_secret_in_two_hands),
        CASE(the_longest_silence_is_kept),
        CASE(no_memory_changes_nothing),
    };
    return cmocka_run_group_tests_name("directory_rotation", tests, NULL, NULL);
}
