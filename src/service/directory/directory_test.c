#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "security/password/scram_client_test.h"
#include "service/directory/directory_case_test.h"

static void round_trip(void **state)
{
    struct test_place *p = *state;
    char t[3][64];
    struct directory_secret s[] = {test_secret(CREDENTIAL_X509, 1, t[0]),
                                   test_secret(CREDENTIAL_PASSWORD, 2, t[1]),
                                   test_secret(CREDENTIAL_PSK, 3, t[2])};
    s[0].expires_wall_ms = TEST_NOW + TEST_DAY_MS;
    assert_int_equal(add(p, "meter-7", s, 3, NULL), OK);
    for (size_t round = 0; round < 2; round++) {
        VERSION(p);
        const struct directory_entry *e = directory_find(v, TEXT("meter-7"));
        assert_non_null(e);
        assert_int_equal(e->n_credentials, 3);
        assert_string_equal(e->principal->role, "sensor");
        assert_string_equal(principal_attr(e->principal, TEXT("site")), "lab");
        assert_int_equal(e->principal->id, 1);
        assert_int_equal(e->principal->epoch, directory_version_epoch(v));
        assert_ptr_equal(directory_find_spki(v, &s[0].spki), e);
        const struct directory_entry *got = NULL;
        const struct credential *c = NULL;
        assert_int_equal(directory_login_x509(v, TEXT("meter-7"), &s[0].spki, TEST_NOW, &got, &c),
                         OK);
        assert_ptr_equal(got, e);
        assert_int_equal(
            directory_login_x509(v, TEXT("meter-7"), &s[0].spki, TEST_NOW + TEST_DAY_MS, &got, &c),
            ERR_EXPIRED);
        assert_int_equal(directory_login_x509(v, TEXT("meter-8"), &s[0].spki, TEST_NOW, &got, &c),
                         ERR_AUTH);
        assert_int_equal(
            directory_login_password(v, TEXT("meter-7"), s[1].password, TEST_NOW, &got, &c), OK);
        assert_int_equal(c->kind, CREDENTIAL_PASSWORD);
        assert_int_equal(directory_login_password(v, TEXT("meter-7"), s[2].psk, TEST_NOW, &got, &c),
                         ERR_AUTH);
        assert_int_equal(
            directory_login_password(v, TEXT("nobody"), s[1].password, TEST_NOW, &got, &c),
            ERR_AUTH);
        struct directory_live live = directory_live(v, TEXT("meter-7"), CREDENTIAL_PSK, TEST_NOW);
        uint8_t psk[PSK_KEY_MAX];
        size_t n = 0;
        assert_int_equal(live.n, 1);
        assert_int_equal(credential_psk(live.credentials[0], psk, &n), OK);
        assert_true(slice_equal(slice_of(psk, n), s[2].psk));
        reopen(p);
    }
}

/* Nobody's name is somebody to ask, so that it costs the same; and nothing of it counts. */
static void unknown_names_have_a_decoy(void **state)
{
    struct test_place *p = *state;
    const struct directory_version *v = directory_current(p->d);
    char name[16];
    for (unsigned i = 0; i < 200; i++) {
        uint8_t psk[PSK_KEY_MAX];
        size_t n = 9;
        struct directory_scram scram, again;
        (void)snprintf(name, sizeof name, i % 2 == 0 ? "other-%u" : "(nobody %u)", i / 2);
        struct directory_live live = directory_live(v, TEXT(name), CREDENTIAL_PSK, TEST_NOW);
        assert_true(live.n == 0 && live.entry == NULL);
        assert_int_equal(credential_psk(live.credentials[0], psk, &n), OK);
        assert_int_equal(n, 0);
        assert_int_equal(directory_scram(v, TEXT(name), TEST_NOW, &scram), OK);
        assert_true(scram.n == 0 && scram.entry == NULL);
        assert_int_equal(directory_scram(v, TEXT(name), TEST_NOW, &again), OK);
        assert_memory_equal(&scram.salt, &again.salt, sizeof scram.salt);
    }
    directory_version_unref(v);
}

/* A whole login by a client that knows this password. */
static enum err scram_login(const struct directory_scram *d, const char *name,
                            struct slice password)
{
    char text[SCRAM_MESSAGE_MAX];
    uint8_t out[SCRAM_ANSWER_MAX];
    AUTO(scram_autofree) struct scram *s = NULL;
    scram_client_first(name, text);
    assert_int_equal(scram_new(TEXT(text), &s), OK);
    struct wr w = wr_into(out, sizeof out);
    assert_int_equal(scram_challenge(s, &d->salt, d->keys, d->n, TEXT("abcdefgh"), &w), OK);
    scram_client_final(name, &d->salt, password, wr_slice(&w), text);
    uint8_t last[SCRAM_ANSWER_MAX];
    struct wr l = wr_into(last, sizeof last);
    return scram_finish(s, TEXT(text), NULL, &l);
}

static void scram_logins(void **state)
{
    struct test_place *p = *state;
    char t[2][64];
    struct directory_secret s[] = {test_secret(CREDENTIAL_SCRAM, 1, t[0]),
                                   test_secret(CREDENTIAL_SCRAM, 2, t[1])};
    struct directory_scram before;
    {
        VERSION(p);
        assert_int_equal(directory_scram(v, TEXT("meter-7"), TEST_NOW, &before), OK);
        assert_int_equal(before.n, 0);
        assert_null(before.entry);
    }
    assert_int_equal(add(p, "meter-7", s, 1, NULL), OK);
    assert_int_equal(directory_rotate(p->d, TEXT("meter-7"), &s[1], TEST_HOUR_MS, TEST_NOW, NULL),
                     OK);
    assert_int_equal(directory_disable(p->d, TEXT("meter-7"), TEXT("lost")), OK);
    for (size_t round = 0; round < 2; round++) {
        VERSION(p);
        struct directory_scram d;
        assert_int_equal(directory_scram(v, TEXT("meter-7"), TEST_NOW, &d), OK);
        assert_int_equal(d.n, 2);
        assert_int_equal(d.entry->principal->status, PRINCIPAL_DISABLED); /* the caller's to see */
        /* nobody could tell before that it was not there */
        assert_memory_equal(d.salt.bytes, before.salt.bytes, sizeof d.salt.bytes);
        assert_int_equal(d.salt.iterations, before.salt.iterations);
        assert_int_equal(scram_login(&d, "meter-7", s[0].password), OK);
        assert_int_equal(scram_login(&d, "meter-7", s[1].password), OK);
        assert_int_equal(scram_login(&d, "meter-7", TEXT("pencil")), ERR_AUTH);
        assert_int_equal(directory_scram(v, TEXT("meter-7"), TEST_NOW + TEST_HOUR_MS, &d), OK);
        assert_int_equal(scram_login(&d, "meter-7", s[0].password), ERR_AUTH); /* its end */
        assert_int_equal(scram_login(&d, "meter-7", s[1].password), OK);
        assert_int_equal(directory_scram(v, TEXT("meter-8"), TEST_NOW, &d), OK);
        assert_memory_not_equal(d.salt.bytes, before.salt.bytes, sizeof d.salt.bytes);
        assert_int_equal(scram_login(&d, "meter-8", s[1].password), ERR_AUTH);
        reopen(p);
    }
}

static void scram_passwords(void **state)
{
    struct test_place *p = *state;
    char t[64];
    struct why why = {""};
    struct directory_secret chosen = {.kind = CREDENTIAL_SCRAM,
                                      .expires_wall_ms = CREDENTIAL_NEVER,
                                      .password = TEXT("correct horse battery")};
    struct directory_secret same = test_secret(CREDENTIAL_SCRAM, 1, t);
    assert_int_equal(add(p, "a", &chosen, 1, &why), ERR_DENIED);
    assert_non_null(strstr(why.text, "generated"));
    assert_int_equal(add(p, "a", &same, 1, NULL), OK);
    same.kind = CREDENTIAL_PASSWORD;
    assert_int_equal(add(p, "b", &same, 1, &why), ERR_EXISTS); /* one secret, one owner */
}

static void last_use_is_kept(void **state)
{
    struct test_place *p = *state;
    char t[64];
    struct directory_secret s = test_secret(CREDENTIAL_PSK, 1, t);
    assert_int_equal(add(p, "a", &s, 1, NULL), OK);
    {
        VERSION(p);
        credential_used(directory_find(v, TEXT("a"))->credentials[0], TEST_NOW + 5);
    }
    assert_int_equal(directory_disable(p->d, TEXT("a"), TEXT("")), OK);
    reopen(p);
    VERSION(p);
    const struct credential *c = directory_find(v, TEXT("a"))->credentials[0];
    assert_int_equal(atomic_load(&c->used_wall_ms), TEST_NOW + 5);
}

static void one_secret_one_owner(void **state)
{
    struct test_place *p = *state;
    for (enum credential_kind kind = CREDENTIAL_X509; kind < CREDENTIAL_KINDS; kind++) {
        char t[64];
        char name[8];
        struct why why = {""};
        struct directory_secret s = test_secret(kind, 77, t);
        (void)snprintf(name, sizeof name, "own-%d", (int)kind);
        assert_int_equal(add(p, name, &s, 1, NULL), OK);
        assert_int_equal(add(p, "other", &s, 1, &why), ERR_EXISTS);
        assert_non_null(strstr(why.text, name)); /* names the other, */
        assert_null(strstr(why.text, t));        /* not the secret */
        reopen(p);                               /* also after a restart */
        assert_int_equal(add(p, "other", &s, 1, &why), ERR_EXISTS);
        /* revoked: the secret stays taken; removed: it is free */
        assert_int_equal(directory_revoke(p->d, TEXT(name), TEXT("stolen")), OK);
        assert_int_equal(add(p, "other", &s, 1, &why), ERR_EXISTS);
        assert_int_equal(directory_remove(p->d, TEXT(name)), OK);
        assert_int_equal(add(p, "other", &s, 1, &why), OK);
        assert_int_equal(directory_remove(p->d, TEXT("other")), OK);
    }
    /* across kinds: the bytes count */
    char t[64];
    struct directory_secret s = test_secret(CREDENTIAL_PASSWORD, 5, t);
    struct directory_secret as_psk = {
        .kind = CREDENTIAL_PSK, .expires_wall_ms = CREDENTIAL_NEVER, .psk = s.password};
    assert_int_equal(add(p, "a", &s, 1, NULL), OK);
    assert_int_equal(add(p, "b", &as_psk, 1, NULL), ERR_EXISTS);
    struct directory_secret twice[] = {as_psk, as_psk};
    assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    assert_int_equal(add(p, "b", twice, 2, NULL), ERR_EXISTS);
}

static void refused(void **state)
{
    struct test_place *p = *state;
    static const char *const names[] = {"", "a/b", "+", "#", "a b", "a\n", "\xc3\xa4"};
    struct why why = {""};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_int_equal(add(p, names[i], NULL, 0, &why), ERR_MALFORMED);
    }
    assert_int_equal(add(p, "a", NULL, 0, &why), OK);
    assert_int_equal(add(p, "a", NULL, 0, &why), ERR_EXISTS);
    struct directory_secret weak[] = {
        {.kind = CREDENTIAL_PASSWORD,
         .expires_wall_ms = CREDENTIAL_NEVER,
         .password = TEXT("short")},
        {.kind = CREDENTIAL_PSK, .expires_wall_ms = CREDENTIAL_NEVER, .psk = TEXT("short")},
    };
    assert_int_equal(add(p, "b", &weak[0], 1, &why), ERR_DENIED);
    assert_int_equal(add(p, "b", &weak[1], 1, &why), ERR_DENIED);
    char t[64];
    struct directory_secret past = test_secret(CREDENTIAL_PSK, 9, t);
    past.expires_wall_ms = TEST_NOW;
    assert_int_equal(add(p, "b", &past, 1, &why), ERR_MALFORMED);
    assert_int_equal(directory_remove(p->d, TEXT("nobody")), ERR_NOT_FOUND);
    assert_int_equal(directory_disable(p->d, TEXT("nobody"), TEXT("")), ERR_NOT_FOUND);
    assert_int_equal(directory_revoke(p->d, TEXT("a"), TEXT("")), ERR_MALFORMED);
    assert_int_equal(directory_revoke(p->d, TEXT("a"), TEXT("two\nlines")), ERR_MALFORMED);
    VERSION(p);
    assert_int_equal(directory_version_count(v), 1);
}

static void status(void **state)
{
    struct test_place *p = *state;
    char t[2][64];
    struct directory_secret s[] = {test_secret(CREDENTIAL_X509, 1, t[0]),
                                   test_secret(CREDENTIAL_PASSWORD, 1, t[1])};
    const struct directory_entry *e = NULL;
    assert_int_equal(add(p, "a", s, 2, NULL), OK);
    assert_int_equal(directory_disable(p->d, TEXT("a"), TEXT("in repair")), OK);
    {
        VERSION(p);
        assert_int_equal(directory_login_x509(v, TEXT("a"), &s[0].spki, TEST_NOW, &e, NULL),
                         ERR_DENIED);
        assert_string_equal(e->reason, "in repair");
        assert_int_equal(e->principal->status, PRINCIPAL_DISABLED);
        assert_int_equal(directory_login_password(v, TEXT("a"), s[1].password, TEST_NOW, &e, NULL),
                         ERR_DENIED);
        assert_int_equal(directory_live(v, TEXT("a"), CREDENTIAL_PASSWORD, TEST_NOW).n, 0);
    }
    assert_int_equal(directory_enable(p->d, TEXT("a"), NULL), OK);
    {
        VERSION(p);
        assert_int_equal(directory_login_x509(v, TEXT("a"), &s[0].spki, TEST_NOW, &e, NULL), OK);
        assert_string_equal(e->reason, "");
    }
    struct why why = {""};
    assert_int_equal(directory_revoke(p->d, TEXT("a"), TEXT("stolen")), OK);
    assert_int_equal(directory_enable(p->d, TEXT("a"), &why), ERR_DENIED);
    assert_int_equal(directory_disable(p->d, TEXT("a"), TEXT("")), ERR_DENIED);
    assert_int_equal(directory_rotate(p->d, TEXT("a"), &s[0], 0, TEST_NOW, &why), ERR_DENIED);
    VERSION(p);
    assert_int_equal(directory_login_x509(v, TEXT("a"), &s[0].spki, TEST_NOW, &e, NULL),
                     ERR_DENIED);
    assert_int_equal(e->principal->id, 1); /* the same principal all the way */
}

static void rotation(void **state)
{
    struct test_place *p = *state;
    for (enum credential_kind kind = CREDENTIAL_X509; kind < CREDENTIAL_KINDS; kind++) {
        char t[4][64];
        struct directory_secret s[4];
        for (unsigned i = 0; i < 4; i++) {
            s[i] = test_secret(kind, 100 + i, t[i]);
        }
        assert_int_equal(add(p, "a", &s[0], 1, NULL), OK);
        const int64_t later = TEST_NOW + TEST_DAY_MS;
        assert_int_equal(directory_rotate(p->d, TEXT("a"), &s[1], TEST_HOUR_MS, later, NULL), OK);
        {
            VERSION(p);
            assert_int_equal(directory_live(v, TEXT("a"), kind, later).n, 2);
            struct directory_live live = directory_live(v, TEXT("a"), kind, later + TEST_HOUR_MS);
            assert_int_equal(live.n, 1);
            assert_int_equal(live.credentials[0]->created_wall_ms, later);
            const struct directory_entry *e = NULL;
            const struct credential *c = NULL;
            if (kind == CREDENTIAL_PASSWORD) {
                for (size_t i = 0; i < 2; i++) {
                    assert_int_equal(
                        directory_login_password(v, TEXT("a"), s[i].password, later, &e, &c), OK);
                    assert_int_equal(c->created_wall_ms, i == 0 ? TEST_NOW : later);
                }
            } else if (kind == CREDENTIAL_X509) {
                assert_int_equal(directory_login_x509(v, TEXT("a"), &s[0].spki, later, &e, NULL),
                                 OK);
                assert_int_equal(
                    directory_login_x509(v, TEXT("a"), &s[0].spki, later + TEST_HOUR_MS, &e, NULL),
                    ERR_EXPIRED);
            }
        }
        /* a third within the overlap: two are live, the oldest is gone */
        assert_int_equal(directory_rotate(p->d, TEXT("a"), &s[2], TEST_HOUR_MS, later + 1, NULL),
                         OK);
        /* at once */
        assert_int_equal(directory_rotate(p->d, TEXT("a"), &s[3], 0, later + 2, NULL), OK);
        assert_int_equal(directory_rotate(p->d, TEXT("a"), &s[3], 0, later + 2, NULL), ERR_EXISTS);
        assert_int_equal(directory_rotate(p->d, TEXT("a"), &s[0], -1, later, NULL), ERR_MALFORMED);
        {
            VERSION(p);
            assert_int_equal(directory_live(v, TEXT("a"), kind, later + 2).n, 1);
            assert_int_equal(directory_find(v, TEXT("a"))->n_credentials, 1);
        }
        assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    }
}

static void old_versions_stay(void **state)
{
    struct test_place *p = *state;
    char t[64];
    struct directory_secret s = test_secret(CREDENTIAL_X509, 1, t);
    AUTO(version_done) const struct directory_version *before = directory_current(p->d);
    assert_int_equal(add(p, "a", &s, 1, NULL), OK);
    AUTO(version_done) const struct directory_version *with = directory_current(p->d);
    assert_int_equal(directory_revoke(p->d, TEXT("a"), TEXT("stolen")), OK);
    assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    AUTO(version_done) const struct directory_version *after = directory_current(p->d);
    p->d = directory_free(p->d); /* readers outlive the writer */
    assert_int_equal(directory_version_count(before), 0);
    assert_null(directory_find(before, TEXT("a")));
    assert_int_equal(directory_find(with, TEXT("a"))->principal->status, PRINCIPAL_ACTIVE);
    assert_non_null(directory_find_spki(with, &s.spki));
    assert_null(directory_find(after, TEXT("a")));
    assert_null(directory_find_spki(after, &s.spki));
    assert_true(directory_version_epoch(before) < directory_version_epoch(with));
    assert_true(directory_version_epoch(with) < directory_version_epoch(after));
}

static void ids_are_never_reused(void **state)
{
    struct test_place *p = *state;
    uint64_t last = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
        {
            VERSION(p);
            uint64_t id = directory_find(v, TEXT("a"))->principal->id;
            assert_true(id > last);
            last = id;
        }
        assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
        reopen(p);
    }
}

static void batches(void **state)
{
    struct test_place *p = *state;
    directory_begin(p->d);
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    assert_int_equal(add(p, "a", NULL, 0, NULL), ERR_EXISTS); /* sees itself */
    {
        VERSION(p);
        assert_int_equal(directory_version_count(v), 0);
    }
    directory_rollback(p->d);
    directory_begin(p->d);
    assert_int_equal(add(p, "b", NULL, 0, NULL), OK);
    assert_int_equal(directory_commit(p->d), OK);
    reopen(p);
    VERSION(p);
    assert_null(directory_find(v, TEXT("a")));
    assert_non_null(directory_find(v, TEXT("b")));
}

/* For people who measure; the machine decides, so nothing is asserted. */
static void report(const char *what, clock_t *begin)
{
    clock_t now = clock();
    print_message("%s at 20,000: %ld us of CPU\n", what, (long)(now - *begin));
    *begin = now;
}

static void twenty_thousand(void **state)
{
    enum { N = 20000 };
    struct test_place *p = *state;
    char name[16];
    char t[64];
    for (unsigned i = 0; i < N; i++) {
        struct directory_secret s = test_secret(CREDENTIAL_X509, i, t);
        if (i % 1000 == 0) {
            directory_begin(p->d);
        }
        (void)snprintf(name, sizeof name, "meter-%u", i);
        assert_int_equal(add(p, name, &s, 1, NULL), OK);
        if (i % 1000 == 999) {
            assert_int_equal(directory_commit(p->d), OK);
        }
    }
    reopen(p);
    struct directory_secret fresh = test_secret(CREDENTIAL_PSK, N, t);
    clock_t begin = clock();
    assert_int_equal(add(p, "one-more", &fresh, 1, NULL), OK);
    report("add", &begin);
    assert_int_equal(directory_disable(p->d, TEXT("one-more"), TEXT("")), OK);
    report("disable", &begin);
    assert_int_equal(directory_remove(p->d, TEXT("one-more")), OK);
    report("remove", &begin);
    assert_int_equal(directory_erase(p->d), OK);
    report("erase", &begin);
    VERSION(p);
    assert_int_equal(directory_version_count(v), N);
    for (unsigned i = 0; i < N; i++) {
        struct directory_secret s = test_secret(CREDENTIAL_X509, i, t);
        const struct directory_entry *e = NULL;
        (void)snprintf(name, sizeof name, "meter-%u", i);
        assert_int_equal(directory_login_x509(v, TEXT(name), &s.spki, TEST_NOW, &e, NULL), OK);
    }
    size_t at = 0;
    size_t n = 0;
    while (directory_next(v, &at) != NULL) {
        n++;
    }
    assert_int_equal(n, N);
}

static void exceptions(void **state)
{
    struct test_place *p = *state;
    struct directory_exception_order o = {.listener = TEXT("mqtt"),
                                          .role = TEXT("guest"),
                                          .reason = TEXT("old meters until Friday"),
                                          .allow = DIRECTORY_ALLOW_PLAINTEXT,
                                          .for_ms = 2 * TEST_HOUR_MS};
    const struct directory_exception_order good = o;
    struct why why = {""};
    uint64_t id = 0;
    uint64_t second = 0;
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &id, &why), OK);
    reopen(p);
    {
        VERSION(p);
        const unsigned plain = DIRECTORY_ALLOW_PLAINTEXT;
        const unsigned both = plain | DIRECTORY_ALLOW_ANONYMOUS;
        const struct directory_exception *e =
            directory_exception_find(v, TEXT("mqtt"), plain, TEST_NOW);
        assert_non_null(e);
        assert_int_equal(e->id, id);
        assert_string_equal(e->reason, "old meters until Friday");
        assert_null(directory_exception_find(v, TEXT("mqtt"), both, TEST_NOW));
        assert_null(directory_exception_find(v, TEXT("ws"), plain, TEST_NOW));
        assert_non_null(
            directory_exception_find(v, TEXT("mqtt"), plain, TEST_NOW + 2 * TEST_HOUR_MS - 1));
        assert_null(directory_exception_find(v, TEXT("mqtt"), plain, TEST_NOW + 2 * TEST_HOUR_MS));
        /* a clock set back a day does not prolong it */
        assert_null(directory_exception_find(v, TEXT("mqtt"), plain, TEST_NOW - TEST_DAY_MS));
    }
    o.allow = DIRECTORY_ALLOW_ANONYMOUS;
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &second, &why), OK);
    assert_int_not_equal(id, second);
    assert_int_equal(directory_exception_end(p->d, id), OK);
    assert_int_equal(directory_exception_end(p->d, id), ERR_NOT_FOUND);

    o = good;
    o.reason = (struct slice){0};
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &id, &why), ERR_MALFORMED);
    o = good;
    o.for_ms = 7 * TEST_DAY_MS;
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &id, &why), OK);
    o.for_ms++;
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &id, &why), ERR_MALFORMED);
    o.for_ms = 0;
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &id, &why), ERR_MALFORMED);
    o = good;
    o.allow = 4;
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &id, &why), ERR_MALFORMED);
    o.allow = 0;
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &id, &why), ERR_MALFORMED);
    o.allow = DIRECTORY_ALLOW_ANONYMOUS;
    o.role = (struct slice){0};
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &id, &why), ERR_MALFORMED);
    assert_non_null(strstr(why.text, "--role"));
}

static void admin_secret(void **state)
{
    struct test_place *p = *state;
    char first[PASSWORD_GENERATED_BYTES];
    char second[PASSWORD_GENERATED_BYTES];
    assert_int_equal(directory_admin_login(p->d, (struct slice){0}, TEST_NOW), ERR_AUTH);
    assert_int_equal(directory_admin_secret(p->d, TEST_NOW, first), OK);
    assert_int_equal(directory_admin_secret(p->d, TEST_NOW, second), OK);
    reopen(p);
    assert_int_equal(directory_admin_login(p->d, TEXT(first), TEST_NOW), ERR_AUTH);
    assert_int_equal(directory_admin_login(p->d, TEXT(second), TEST_NOW + TEST_DAY_MS),
                     ERR_EXPIRED);
    assert_int_equal(directory_admin_login(p->d, TEXT(second), TEST_NOW + TEST_DAY_MS - 1), OK);
    assert_int_equal(directory_admin_login(p->d, TEXT(second), TEST_NOW), ERR_AUTH);
}

static void policy_epoch(void **state)
{
    struct test_place *p = *state;
    uint64_t epoch = 0;
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    assert_int_equal(directory_policy_changed(p->d, &epoch), OK);
    assert_int_equal(add(p, "b", NULL, 0, NULL), OK);
    reopen(p);
    VERSION(p);
    assert_int_equal(directory_version_policy_epoch(v), epoch);
    assert_true(directory_version_epoch(v) > epoch);
}

/* One of each operation; the first error ends it. */
static enum err all_operations(struct test_place *p)
{
    char t[4][64];
    struct directory_secret s[] = {test_secret(CREDENTIAL_X509, 1, t[0]),
                                   test_secret(CREDENTIAL_PASSWORD, 1, t[1]),
                                   test_secret(CREDENTIAL_PSK, 1, t[2])};
    struct directory_secret fresh = test_secret(CREDENTIAL_PSK, 2, t[3]);
    struct directory_exception_order o = {.listener = TEXT("mqtt"),
                                          .reason = TEXT("why"),
                                          .allow = DIRECTORY_ALLOW_PLAINTEXT,
                                          .for_ms = 1000};
    uint64_t id = 0;
    char secret[PASSWORD_GENERATED_BYTES];
    TRY(add(p, "a", s, 3, NULL));
    TRY(directory_rotate(p->d, TEXT("a"), &fresh, 1000, TEST_NOW, NULL));
    TRY(directory_disable(p->d, TEXT("a"), TEXT("x")));
    TRY(directory_enable(p->d, TEXT("a"), NULL));
    TRY(directory_exception_add(p->d, &o, TEST_NOW, &id, NULL));
    TRY(directory_exception_end(p->d, id));
    TRY(directory_policy_changed(p->d, &id));
    TRY(directory_admin_secret(p->d, TEST_NOW, secret));
    TRY(directory_revoke(p->d, TEXT("a"), TEXT("x")));
    TRY(directory_remove(p->d, TEXT("a")));
    return directory_erase(p->d);
}

static void no_memory(void **state)
{
    struct test_place *p = *state;
    for (long n = 0; n < 1000; n++) {
        (void)mem_fail_after(n);
        enum err err = all_operations(p);
        bool failed = mem_fail_after(-1) != 0;
        /* The log gets over some of its own, and after others it does not know yet. */
        assert_true(err == OK || (failed && (err == ERR_NOMEM || err == ERR_TIMEOUT)));
        if (!failed) {
            return;
        }
        reopen(p); /* what is on disk is whole, whenever it stopped */
        size_t n_exceptions = 0;
        VERSION(p);
        const struct directory_exception *e = directory_exceptions(v, &n_exceptions);
        if (n_exceptions > 0) {
            assert_int_equal(directory_exception_end(p->d, e[0].id), OK);
        }
        if (directory_find(v, TEXT("a")) != NULL) {
            assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
        }
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(round_trip),
        CASE(unknown_names_have_a_decoy),
        CASE(scram_logins),
        CASE(scram_passwords),
        CASE(last_use_is_kept),
        CASE(one_secret_one_owner),
        CASE(refused),
        CASE(status),
        CASE(rotation),
        CASE(old_versions_stay),
        CASE(ids_are_never_reused),
        CASE(batches),
        CASE(twenty_thousand),
        CASE(exceptions),
        CASE(admin_secret),
        CASE(policy_epoch),
        CASE(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
