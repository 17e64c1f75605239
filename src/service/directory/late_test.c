/* Who may renew after the end, and what a renewal leaves in the directory. */
#include "service/directory/late.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/directory/directory_case_test.h"

enum { GRACE_S = 30 * 86400 };
#define ENDS  (TEST_NOW + 90 * TEST_DAY_MS)
#define AFTER (ENDS + TEST_DAY_MS)

static struct directory_secret key_of(unsigned n, int64_t expires_wall_ms)
{
    char text[64];
    struct directory_secret s = test_secret(CREDENTIAL_X509, n, text);
    s.expires_wall_ms = expires_wall_ms;
    return s;
}

static enum err look(const struct test_place *p, const char *name, unsigned n, int64_t now_wall_ms,
                     const struct credential **ret, struct why *why)
{
    VERSION(p);
    const struct directory_entry *entry = NULL;
    struct directory_secret s = key_of(n, ENDS);
    struct late_claim claim = {.name = TEXT(name), .spki = &s.spki, .ends_wall_ms = ENDS};
    const struct credential *c = NULL;
    enum err err = late_look(v, &claim, GRACE_S, now_wall_ms, &entry, &c, why);
    assert_int_equal(err == OK, c != NULL);
    assert_int_equal(err == OK || err == ERR_DENIED, entry != NULL);
    if (ret != NULL) {
        *ret = c;
    }
    return err;
}

static void who_is_let_in(void **state)
{
    struct test_place *p = *state;
    struct directory_secret a = key_of(1, ENDS), b = key_of(2, ENDS);
    assert_int_equal(add(p, "a", &a, 1, NULL), OK);
    assert_int_equal(add(p, "b", &b, 1, NULL), OK);
    static const struct {
        const char *name;
        unsigned key;
        int64_t after_ms;
        enum err err;
        const char *word;
    } cases[] = {{"a", 1, 0, OK, ""},
                 {"a", 1, GRACE_S * INT64_C(1000), OK, ""},
                 {"a", 1, GRACE_S * INT64_C(1000) + 1, ERR_EXPIRED, "renewal_grace"},
                 {"a", 2, 0, ERR_AUTH, "does not own this key"},
                 {"a", 3, 0, ERR_AUTH, "does not own this key"},
                 {"nobody", 1, 0, ERR_AUTH, "does not own this key"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct why why = {""};
        assert_int_equal(look(p, cases[i].name, cases[i].key, ENDS + cases[i].after_ms, NULL, &why),
                         cases[i].err);
        assert_non_null(strstr(why.text, cases[i].word));
        assert_true(cases[i].err == OK || strstr(why.text, "device rotate") != NULL);
    }
    assert_int_equal(directory_disable(p->d, TEXT("a"), TEXT("")), OK);
    assert_int_equal(look(p, "a", 1, AFTER, NULL, NULL), ERR_DENIED);
    assert_int_equal(directory_enable(p->d, TEXT("a"), NULL), OK);
    assert_int_equal(look(p, "a", 1, AFTER, NULL, NULL), OK);
    assert_int_equal(directory_revoke(p->d, TEXT("a"), TEXT("lost")), OK);
    assert_int_equal(look(p, "a", 1, AFTER, NULL, NULL), ERR_DENIED);
    assert_false(late_is(0, TEST_NOW));
    assert_false(late_is(TEST_NOW + 1, TEST_NOW));
    assert_true(late_is(TEST_NOW, TEST_NOW));
}

/* What an operator has replaced opens nothing, though its certificate would still be in the grace.
 */
static void a_replaced_one_is_not(void **state)
{
    struct test_place *p = *state;
    struct directory_secret a = key_of(1, ENDS), b = key_of(2, ENDS + TEST_DAY_MS * 90);
    struct why why = {""};
    assert_int_equal(add(p, "a", &a, 1, NULL), OK);
    assert_int_equal(directory_rotate(p->d, TEXT("a"), &b, TEST_HOUR_MS, TEST_NOW, NULL), OK);
    assert_int_equal(look(p, "a", 1, AFTER, NULL, &why), ERR_EXPIRED);
    assert_non_null(strstr(why.text, "was replaced"));
}

static void the_principal_of_the_lane(void **state)
{
    struct test_place *p = *state;
    struct directory_secret a = key_of(1, ENDS);
    assert_int_equal(add(p, "a", &a, 1, NULL), OK);
    VERSION(p);
    const struct directory_entry *e = directory_find(v, TEXT("a"));
    const struct principal *late = NULL;
    assert_int_equal(late_principal(e, &late), OK);
    assert_true(late->is_late && late->id != e->principal->id);
    assert_string_equal(late->name, "a");
    assert_string_equal(late->role, "sensor");
    assert_string_equal(principal_attr(late, TEXT("site")), "lab");
    assert_ptr_equal(late_entry(v, late), e);
    assert_true(late_stands(v, late, e->credentials[0]->id));
    assert_false(late_stands(v, late, e->credentials[0]->id + 1));
    /* another device of that name is another */
    assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    AUTO(version_done) const struct directory_version *gone = directory_current(p->d);
    assert_null(late_entry(gone, late));
    assert_int_equal(directory_erase(p->d), OK);
    struct directory_secret again = key_of(2, ENDS);
    assert_int_equal(add(p, "a", &again, 1, NULL), OK);
    AUTO(version_done) const struct directory_version *anew = directory_current(p->d);
    assert_null(late_entry(anew, late));
    principal_unref(late);
}

static enum err renew(struct test_place *p, uint64_t by, unsigned key, int64_t expires_wall_ms,
                      struct why *why)
{
    struct directory_secret s = key_of(key, expires_wall_ms);
    struct directory_renewal o = {
        .name = TEXT("a"), .by = by, .spki = s.spki, .expires_wall_ms = expires_wall_ms};
    return directory_renew(p->d, &o, AFTER, why);
}

static size_t n_credentials(const struct test_place *p)
{
    VERSION(p);
    return directory_find(v, TEXT("a"))->n_credentials;
}

/* Prove, then swap. */
static void a_renewal(void **state)
{
    struct test_place *p = *state;
    char text[64];
    int64_t until = AFTER + 90 * TEST_DAY_MS;
    struct why why = {""};
    const struct credential *old = NULL;
    struct directory_secret a[] = {key_of(1, ENDS), test_secret(CREDENTIAL_PSK, 9, text)};
    struct directory_secret b = key_of(2, until);
    assert_int_equal(add(p, "a", a, 2, NULL), OK);
    assert_int_equal(add(p, "b", &b, 1, NULL), OK);
    assert_int_equal(look(p, "a", 1, AFTER, &old, NULL), OK);
    uint64_t by = old->id;
    assert_int_equal(renew(p, by, 2, until, &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "registered for b"));
    assert_int_equal(renew(p, by + 100, 3, until, &why), ERR_DENIED);
    assert_int_equal(n_credentials(p), 2);
    assert_int_equal(renew(p, by, 3, until, &why), OK);
    assert_int_equal(n_credentials(p), 3);
    reopen(p);                                                /* it is on record */
    assert_int_equal(look(p, "a", 1, AFTER, NULL, NULL), OK); /* nobody has used the new one */
    /* the same once more: another answer to the same request */
    assert_int_equal(renew(p, by, 3, until + 5, &why), OK);
    assert_int_equal(n_credentials(p), 3);
    /* another key: the one that nobody has used goes */
    assert_int_equal(renew(p, by, 4, until, &why), OK);
    assert_int_equal(n_credentials(p), 3);
    AUTO(version_done) const struct directory_version *v = directory_current(p->d);
    struct directory_secret s = key_of(4, until);
    const struct directory_entry *e = NULL;
    const struct credential *fresh = NULL;
    assert_int_equal(directory_login_x509(v, TEXT("a"), &s.spki, AFTER, &e, &fresh), OK);
    credential_used(fresh, AFTER);
    assert_int_equal(look(p, "a", 1, AFTER, NULL, &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "in use already"));
    /* with the key that it has already */
    assert_int_equal(renew(p, fresh->id, 4, until + TEST_DAY_MS, &why), OK);
    assert_int_equal(n_credentials(p), 2); /* and the first one is gone: it was not what proved */
    assert_int_equal(directory_disable(p->d, TEXT("a"), TEXT("")), OK);
    assert_int_equal(renew(p, fresh->id, 5, until, &why), ERR_DENIED);
    struct directory_renewal nobody = {.name = TEXT("x"), .by = by, .expires_wall_ms = until};
    assert_int_equal(directory_renew(p->d, &nobody, AFTER, &why), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(who_is_let_in), CASE(a_replaced_one_is_not),
                                       CASE(the_principal_of_the_lane), CASE(a_renewal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
