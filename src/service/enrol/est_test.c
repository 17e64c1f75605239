/* EST as clients see it: paths, encodings, who they say they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "service/enrol/est.h"

static void paths(void **state)
{
    static const struct {
        const char *path;
        enum err err;
        enum est_operation o;
    } rows[] = {
        {"/.well-known/est/cacerts", OK, EST_CACERTS},
        {"/.well-known/est/simpleenroll", OK, EST_SIMPLEENROLL},
        {"/.well-known/est/simplereenroll", OK, EST_SIMPLEREENROLL},
        {"/.well-known/est/serverkeygen", OK, EST_SERVERKEYGEN},
        {"/.well-known/est/csrattrs", OK, EST_CSRATTRS},
        {"/.well-known/est/fullcmc", ERR_UNSUPPORTED, EST_CACERTS},
        {"/.well-known/est/line-2/cacerts", ERR_UNSUPPORTED, EST_CACERTS},
        {"/.well-known/est/line-2/x", ERR_NOT_FOUND, EST_CACERTS},
        {"/.well-known/est/", ERR_NOT_FOUND, EST_CACERTS},
        {"/.well-known/est/cacerts/", ERR_NOT_FOUND, EST_CACERTS},
        {"/.well-known/est//cacerts", ERR_UNSUPPORTED, EST_CACERTS},
        {"/.well-known/est/CACERTS", ERR_NOT_FOUND, EST_CACERTS},
        {"/.well-known/est/%63acerts", ERR_NOT_FOUND, EST_CACERTS},
        {"/", ERR_NOT_FOUND, EST_CACERTS},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        enum est_operation o = EST_OPERATIONS;
        const char *why = NULL;
        enum err err = est_find(slice_text(rows[i].path), &o, &why);
        assert_int_equal(err, rows[i].err);
        assert_true(err != OK || o == rows[i].o);
        assert_true((err == ERR_UNSUPPORTED) == (why[0] != '\0'));
    }
}

static enum err body(const char *text, size_t most, size_t *ret_n)
{
    AUTO(buf_done) struct buf b = {0};
    enum err err = est_body(slice_text(text), most, &b);
    *ret_n = b.n;
    return err;
}

static void bodies(void **state)
{
    size_t n = 0;
    (void)state;
    assert_int_equal(body("QUJD", 3, &n), OK); /* SPEC: RFC8951 3.1 */
    assert_int_equal(n, 3);
    assert_int_equal(body("QU\r\nJD\n", 3, &n), OK);
    assert_int_equal(body("QUI=", 3, &n), OK);
    assert_int_equal(n, 2);
    assert_int_equal(body("", 3, &n), OK);
    assert_int_equal(body("QUJDRA==", 4, &n), OK);
    assert_int_equal(body("QUJDRA==", 3, &n), ERR_TOO_LARGE);
    assert_int_equal(body("QUJDREVG", 5, &n), ERR_TOO_LARGE);
    assert_int_equal(body("QU-D", 3, &n), ERR_MALFORMED);
    assert_int_equal(body("QUJ", 3, &n), ERR_MALFORMED);
}

static enum err basic(const char *field, char *user, char *secret)
{
    char head[512];
    struct http1_request r;
    (void)snprintf(head, sizeof head, "GET / HTTP/1.1\r\n%s\r\n", field);
    assert_int_equal(http1_request_decode(slice_text(head), &r), OK);
    return est_basic(&r, user, secret);
}

static void names_and_secrets(void **state)
{
    char user[ENROLMENT_NAME_BYTES], secret[ENROLMENT_SECRET_MAX + 1];
    (void)state;
    assert_int_equal(basic("", user, secret), ERR_NOT_FOUND);
    assert_int_equal(basic("Authorization: Basic YTpiOmM=\r\n", user, secret), OK); /* a:b:c */
    assert_string_equal(user, "a");
    assert_string_equal(secret, "b:c");
    assert_int_equal(basic("authorization: bASIC Ong=\r\n", user, secret), OK); /* :x */
    assert_string_equal(user, "");
    assert_string_equal(secret, "x");
    assert_int_equal(basic("Authorization: Bearer YTpi\r\n", user, secret), ERR_MALFORMED);
    assert_int_equal(basic("Authorization: Basic YQ==\r\n", user, secret), ERR_MALFORMED);
    assert_int_equal(basic("Authorization: Basic !\r\n", user, secret), ERR_MALFORMED);
    assert_int_equal(
        basic("Authorization: Basic YTpi\r\nAuthorization: Basic YTpi\r\n", user, secret),
        ERR_MALFORMED);
    assert_int_equal(basic("Authorization: Basic YTpiAA==\r\n", user, secret), ERR_MALFORMED);
}

static void a_pair(void **state)
{
    AUTO(buf_done) struct buf b = {0};
    (void)state;
    assert_int_equal(est_pair(slice_text("key"), slice_text("certs"), &b), OK);
    assert_true(slice_is(buf_slice(&b),
                         "--estServerKeyGenBoundary\r\nContent-Type: application/pkcs8\r\n"
                         "Content-Transfer-Encoding: base64\r\n\r\na2V5\r\n"
                         "--estServerKeyGenBoundary\r\nContent-Type: application/pkcs7-mime; "
                         "smime-type=certs-only\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                         "Y2VydHM=\r\n--estServerKeyGenBoundary--\r\n"));
    assert_int_equal(est_csr_attributes().n, 2 + est_csr_attributes().p[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths), cmocka_unit_test(bodies),
                                       cmocka_unit_test(names_and_secrets),
                                       cmocka_unit_test(a_pair)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
