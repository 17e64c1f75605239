/* One certificate of a principal is revoked: it and no other credential, for good. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "security/crypto/crl_make.h"
#include "service/directory/directory_case_test.h"

static struct directory_secret certificate(unsigned n, char text[64])
{
    struct directory_secret s = test_secret(CREDENTIAL_X509, n, text);
    s.serial = (struct serial){2, {0x4a, (uint8_t)n}};
    return s;
}

static enum err log_in(struct test_place *p, const struct directory_secret *s, bool *ret_revoked)
{
    const struct directory_entry *e = NULL;
    const struct credential *c = NULL;
    VERSION(p);
    enum err err = directory_login_x509(v, TEXT("a"), &s->spki, TEST_NOW + 1, &e, &c);
    *ret_revoked = c != NULL && credential_is_revoked(c);
    return err;
}

static void one_of_two(void **state)
{
    struct test_place *p = *state;
    char t[3][64];
    struct directory_secret s[3] = {certificate(1, t[0]), certificate(2, t[1]),
                                    test_secret(CREDENTIAL_PSK, 3, t[2])};
    size_t n = 9;
    bool is_revoked = true;
    struct why why = {{0}};
    assert_int_equal(add(p, "a", s, 3, NULL), OK);
    assert_int_equal(log_in(p, &s[0], &is_revoked), OK);
    assert_false(is_revoked);
    assert_int_equal(directory_revoke_certificate(p->d, TEXT("a"), &s[0].serial, CRL_KEY_COMPROMISE,
                                                  TEST_NOW, &n, &why),
                     OK);
    assert_int_equal(n, 1);
    for (int opened = 0; opened < 2; opened++) { /* and after a restart */
        assert_int_equal(log_in(p, &s[0], &is_revoked), ERR_EXPIRED);
        assert_true(is_revoked);
        assert_int_equal(log_in(p, &s[1], &is_revoked), OK);
        VERSION(p);
        assert_int_equal(directory_live(v, TEXT("a"), CREDENTIAL_PSK, TEST_NOW + 1).n, 1);
        const struct credential *c = directory_find(v, TEXT("a"))->credentials[0];
        assert_int_equal(c->cert.reason, CRL_KEY_COMPROMISE);
        assert_int_equal(c->cert.revoked_wall_ms, TEST_NOW);
        assert_int_equal(c->cert.serial.bytes[1], 1);
        reopen(p);
    }
    /* again: nothing is left to do; its key stays its own */
    assert_int_equal(
        directory_revoke_certificate(p->d, TEXT("a"), &s[0].serial, 0, TEST_NOW + 5, &n, &why), OK);
    assert_int_equal(n, 0);
    assert_int_equal(add(p, "b", &s[0], 1, &why), ERR_EXISTS);
    /* all that it has: the other one */
    assert_int_equal(directory_revoke_certificate(p->d, TEXT("a"), NULL, 0, TEST_NOW, &n, &why),
                     OK);
    assert_int_equal(n, 1);
    assert_int_equal(log_in(p, &s[1], &is_revoked), ERR_EXPIRED);
    /* a new one lets it in again */
    struct directory_secret next = certificate(4, t[2]);
    assert_int_equal(directory_rotate(p->d, TEXT("a"), &next, TEST_DAY_MS, TEST_NOW + 1, &why), OK);
    assert_int_equal(log_in(p, &next, &is_revoked), OK);
    assert_int_equal(log_in(p, &s[1], &is_revoked), ERR_AUTH);
}

static void refused(void **state)
{
    struct test_place *p = *state;
    char t[64];
    struct directory_secret psk = test_secret(CREDENTIAL_PSK, 3, t);
    const struct serial other = {1, {7}};
    size_t n = 9;
    struct why why = {{0}};
    assert_int_equal(add(p, "a", &psk, 1, NULL), OK);
    assert_int_equal(directory_revoke_certificate(p->d, TEXT("b"), NULL, 0, TEST_NOW, &n, &why),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "no device b"));
    assert_int_equal(directory_revoke_certificate(p->d, TEXT("a"), NULL, 0, TEST_NOW, &n, &why),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "a has no certificate"));
    assert_int_equal(directory_revoke_certificate(p->d, TEXT("a"), &other, 0, TEST_NOW, &n, &why),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "this serial"));
    assert_int_equal(n, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(one_of_two), CASE(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
