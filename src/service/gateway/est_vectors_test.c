/* RFC 9148, Appendix A: what others have published is read, and what we put together is the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "security/crypto/x509_certs.h"
#include "security/crypto/x509_request.h"
#include "service/enrol/est.h"
#include "service/gateway/door_path.h"
#include "wire/coap/option.h"

enum { TEXT_MAX = 16384 };

static char text[TEXT_MAX];

static int open_vectors(void **state)
{
    char path[512];
    const char *root = getenv("SALLYPORT_SOURCE_ROOT");
    (void)state;
    (void)snprintf(path, sizeof(path), "%s/tests/vectors/est-coaps-rfc9148.json",
                   root != NULL ? root : ".");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    (void)fclose(f);
    return 0;
}

static uint8_t nibble(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void vector(const char *name, struct buf *ret)
{
    char key[64];
    (void)snprintf(key, sizeof(key), "\"name\": \"%s\"", name);
    const char *at = strstr(text, key);
    assert_non_null(at);
    at = strstr(at, "\"hex\": \"");
    assert_non_null(at);
    for (at = &at[strlen("\"hex\": \"")]; *at != '"'; at = &at[2]) {
        uint8_t byte = (uint8_t)(nibble(at[0]) << 4 | nibble(at[1]));
        assert_int_equal(buf_append(ret, slice_of(&byte, 1), TEXT_MAX), OK);
    }
}

/* SPEC: RFC9148 4.1: the path, and the format that is wanted. */
static void a_request(void **state)
{
    static const struct topic_limits limits = {128, 8};
    AUTO(buf_done) struct buf bytes = {0};
    uint8_t room[DOOR_PATH_BYTES];
    struct coap_message m;
    struct door_path path;
    uint32_t accept = 0;
    const char *why;
    (void)state;
    vector("A.1 request", &bytes);
    assert_int_equal(coap_message_decode(buf_slice(&bytes), COAP_TOKEN_BYTES, &m), OK);
    assert_int_equal(m.code, COAP_GET);
    assert_int_equal(door_path_read(m.options, &limits, room, &path, &why), OK);
    assert_int_equal(path.kind, DOOR_PATH_EST);
    assert_int_equal(est_short_find(path.text)->operation, EST_CACERTS);
    assert_true(coap_options_find_uint(m.options, COAP_OPTION_ACCEPT, &accept));
    assert_int_equal(accept, COAP_FORMAT_PKCS7_CERTS);
}

/* SPEC: RFC9148 4.3: content format 286. */
static void certificate_requests(void **state)
{
    static const char *const names[] = {"A.2 request", "A.3 request"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        AUTO(buf_done) struct buf der = {0};
        AUTO(x509_request_autofree) struct x509_request *r = NULL;
        vector(names[i], &der);
        assert_int_equal(x509_request_from_der(buf_slice(&der), &r), OK);
        assert_false(x509_request_info(r)->asks_ca);
    }
}

/* Content format 281, and the same of what is read from it. */
static void certificates(void **state)
{
    static const char *const names[] = {"A.1 response", "A.2 response", "A.3 certificates"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        AUTO(buf_done) struct buf der = {0};
        AUTO(buf_done) struct buf pem = {0};
        AUTO(buf_done) struct buf again = {0};
        vector(names[i], &der);
        assert_int_equal(x509_certs_read(buf_slice(&der), &pem), OK);
        assert_int_equal(x509_certs_make(buf_slice(&pem), &again), OK);
        assert_true(again.n > 0);
    }
}

/* SPEC: RFC9148 4.3, 4.8: byte for byte. */
static void pairs(void **state)
{
    AUTO(buf_done) struct buf key = {0};
    AUTO(buf_done) struct buf certs = {0};
    AUTO(buf_done) struct buf want = {0};
    AUTO(buf_done) struct buf got = {0};
    AUTO(buf_done) struct buf small = {0};
    static const uint8_t one[] = {1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    static const uint8_t two[] = {0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
    (void)state;
    vector("A.3 key", &key);
    vector("A.3 certificates", &certs);
    vector("A.3 response", &want);
    assert_int_equal(
        est_pair_core(buf_slice(&key), COAP_FORMAT_PKCS7_CERTS, buf_slice(&certs), &got), OK);
    assert_true(slice_equal(buf_slice(&got), buf_slice(&want)));
    buf_clear(&want);
    vector("Figure 2", &want);
    assert_int_equal(est_pair_core(slice_of(one, sizeof(one)), COAP_FORMAT_PKCS7_CERTS,
                                   slice_of(two, sizeof(two)), &small),
                     OK);
    assert_true(slice_equal(buf_slice(&small), buf_slice(&want)));
}

/* Lengths in one byte, in two and in three. */
static void lengths(void **state)
{
    static const uint8_t bytes[UINT16_MAX + 1];
    static const struct {
        size_t n, head;
    } cases[] = {{0, 1}, {23, 1}, {24, 2}, {255, 2}, {256, 3}, {UINT16_MAX, 3}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(buf_done) struct buf got = {0};
        struct slice part = slice_of(bytes, cases[i].n);
        assert_int_equal(est_pair_core(part, COAP_FORMAT_PKIX_CERT, (struct slice){0}, &got), OK);
        assert_int_equal(got.n, 1 + 3 + cases[i].head + cases[i].n + 3 + 1);
    }
    AUTO(buf_done) struct buf none = {0};
    assert_int_equal(est_pair_core(slice_of(bytes, sizeof(bytes)), COAP_FORMAT_PKIX_CERT,
                                   (struct slice){0}, &none),
                     ERR_TOO_LARGE);
}

static void short_names(void **state)
{
    size_t at = 0, n = 0;
    const struct est_short *s;
    (void)state;
    while ((s = est_short_next(&at)) != NULL) {
        assert_ptr_equal(est_short_find(slice_text(s->name)), s);
        n++;
    }
    assert_int_equal(n, 6);
    assert_null(est_short_find(slice_text("")));
    assert_null(est_short_find(slice_text("simpleenroll")));
    assert_null(est_short_find(slice_text("label/sen")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request),    cmocka_unit_test(certificate_requests),
        cmocka_unit_test(certificates), cmocka_unit_test(pairs),
        cmocka_unit_test(lengths),      cmocka_unit_test(short_names)};
    return cmocka_run_group_tests(tests, open_vectors, NULL);
}
