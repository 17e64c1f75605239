#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/ocsp.h>

#include "security/crypto/authority_test.h"
#include "security/crypto/crl_make.h"
#include "security/crypto/ocsp.h"

static const int64_t now = AUTHORITY_NOW;

struct book {
    struct test_authority ours, other;
    struct slice revoked; /* a serial; empty: none is */
    bool is_known;
    enum err broken;
};

static int setup(void **state)
{
    struct book *b = test_calloc(1, sizeof *b);
    assert_int_equal(test_authority_make("ours", &b->ours), OK);
    assert_int_equal(test_authority_make("another's", &b->other), OK);
    b->is_known = true;
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct book *b = *state;
    test_authority_done(&b->ours);
    test_authority_done(&b->other);
    test_free(b);
    return 0;
}

static enum err look(void *ctx, struct slice serial, struct ocsp_status *ret)
{
    const struct book *b = ctx;
    TRY(b->broken);
    *ret = (struct ocsp_status){.standing = b->is_known ? OCSP_GOOD : OCSP_UNKNOWN};
    if (b->revoked.n > 0 && slice_equal(serial, b->revoked)) {
        *ret = (struct ocsp_status){
            .standing = OCSP_REVOKED, .reason = CRL_KEY_COMPROMISE, .revoked_wall_ms = now - 5000};
    }
    return OK;
}

static struct ocsp_signer signer_of(struct book *b)
{
    return (struct ocsp_signer){.issuer = b->ours.cert,
                                .issuer_key = b->ours.key,
                                .now_wall_ms = now,
                                .next_update_wall_ms = now + AUTHORITY_DAY,
                                .ctx = b,
                                .look = look};
}

static enum err ask(struct book *b, struct slice request, struct ocsp_status *ret)
{
    struct ocsp_signer s = signer_of(b);
    AUTO(buf_done) struct buf answer = {0};
    int64_t next = 0;
    TRY(ocsp_answer(&s, request, &answer));
    TRY(ocsp_read(buf_slice(&answer), b->ours.leaf, b->ours.cert, now, ret, &next));
    assert_int_equal(next, now + AUTHORITY_DAY);
    return OK;
}

static void asked_and_answered(void **state)
{
    struct book *b = *state;
    AUTO(buf_done) struct buf q = {0};
    struct ocsp_status s = {0};
    assert_int_equal(ocsp_request(b->ours.leaf, b->ours.cert, &q), OK);
    assert_false(ocsp_request_has_nonce(buf_slice(&q)));
    assert_int_equal(ask(b, buf_slice(&q), &s), OK);
    assert_int_equal(s.standing, OCSP_GOOD);
    b->is_known = false;
    assert_int_equal(ask(b, buf_slice(&q), &s), OK);
    assert_int_equal(s.standing, OCSP_UNKNOWN);
    b->is_known = true;
    b->revoked = x509_info(b->ours.leaf)->serial;
    assert_int_equal(ask(b, buf_slice(&q), &s), OK);
    assert_int_equal(s.standing, OCSP_REVOKED);
    assert_int_equal(s.reason, CRL_KEY_COMPROMISE);
    assert_int_equal(s.revoked_wall_ms, now - 5000);
    b->broken = ERR_IO;
    assert_int_equal(ask(b, buf_slice(&q), &s), ERR_IO);
    b->broken = OK;
    b->revoked = (struct slice){0};
}

/* Somebody else's certificate, even one with a serial of ours, is unknown here. */
static void of_another_issuer(void **state)
{
    struct book *b = *state;
    struct ocsp_signer s = signer_of(b);
    AUTO(buf_done) struct buf q = {0};
    AUTO(buf_done) struct buf answer = {0};
    struct ocsp_status status = {0};
    int64_t next = 0;
    assert_int_equal(ocsp_request(b->other.leaf, b->other.cert, &q), OK);
    assert_int_equal(ocsp_answer(&s, buf_slice(&q), &answer), OK);
    assert_int_equal(
        ocsp_read(buf_slice(&answer), b->other.leaf, b->other.cert, now, &status, &next), ERR_AUTH);
    assert_int_equal(ocsp_read(buf_slice(&answer), b->ours.leaf, b->ours.cert, now, &status, &next),
                     ERR_NOT_FOUND);
}

static struct buf der_of(OCSP_REQUEST *q)
{
    struct buf der = {0};
    uint8_t *at = NULL;
    int n = i2d_OCSP_REQUEST(q, NULL);
    assert_int_equal(buf_room(&der, (size_t)n, 1 << 16, &at), OK);
    der.n = (size_t)i2d_OCSP_REQUEST(q, &at);
    return der;
}

/* n questions, a nonce of so many bytes (0: none); critical: an extension nobody knows. */
static struct buf request_of(const struct book *b, int n, int nonce, bool critical)
{
    static unsigned char bytes[256] = {1, 2, 3};
    const X509 *leaf = NULL, *issuer = NULL;
    AUTO(buf_done) struct buf der = {0};
    OCSP_REQUEST *q = OCSP_REQUEST_new();
    assert_int_equal(x509_to_der(b->ours.leaf, &der), OK);
    const uint8_t *at = der.p;
    leaf = d2i_X509(NULL, &at, (long)der.n);
    buf_clear(&der);
    assert_int_equal(x509_to_der(b->ours.cert, &der), OK);
    at = der.p;
    issuer = d2i_X509(NULL, &at, (long)der.n);
    for (int i = 0; i < n; i++) {
        OCSP_CERTID *id = OCSP_cert_to_id(i % 2 == 0 ? EVP_sha256() : EVP_sha1(), leaf, issuer);
        assert_non_null(OCSP_request_add0_id(q, id));
    }
    if (nonce > 0) {
        assert_int_equal(OCSP_request_add1_nonce(q, bytes, nonce), 1);
    }
    if (critical) {
        ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
        ASN1_OBJECT *id = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
        X509_EXTENSION *e = X509_EXTENSION_create_by_OBJ(NULL, id, 1, value);
        assert_int_equal(OCSP_REQUEST_add_ext(q, e, -1), 1);
        X509_EXTENSION_free(e);
        ASN1_OBJECT_free(id);
        ASN1_OCTET_STRING_free(value);
    }
    struct buf ret = der_of(q);
    OCSP_REQUEST_free(q);
    X509_free((X509 *)(uintptr_t)leaf);
    X509_free((X509 *)(uintptr_t)issuer);
    return ret;
}

/* Answered with a signature? */
static bool is_signed(struct book *b, const struct buf *q, struct buf *ret)
{
    struct ocsp_signer s = signer_of(b);
    assert_int_equal(ocsp_answer(&s, buf_slice(q), ret), OK);
    return ret->n > 5;
}

static void bounds(void **state)
{
    struct book *b = *state;
    const struct {
        int n, nonce;
        bool critical, is_signed;
    } rows[] = {{1, 0, false, true},
                {OCSP_CERTIFICATES_MAX, 0, false, true},
                {OCSP_CERTIFICATES_MAX + 1, 0, false, false},
                {0, 0, false, false},
                {1, 1, false, true},
                {1, OCSP_NONCE_MAX, false, true},
                {1, OCSP_NONCE_MAX + 1, false, false},
                {1, 16, true, false}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(buf_done) struct buf q = request_of(b, rows[i].n, rows[i].nonce, rows[i].critical);
        AUTO(buf_done) struct buf answer = {0};
        assert_int_equal(is_signed(b, &q, &answer), rows[i].is_signed);
        assert_int_equal(ocsp_request_has_nonce(buf_slice(&q)),
                         !rows[i].is_signed || rows[i].nonce > 0);
    }
}

static void nonce_is_echoed(void **state)
{
    struct book *b = *state;
    AUTO(buf_done) struct buf q = request_of(b, 1, 32, false);
    AUTO(buf_done) struct buf answer = {0};
    assert_true(is_signed(b, &q, &answer));
    const uint8_t *at = q.p;
    OCSP_REQUEST *request = d2i_OCSP_REQUEST(NULL, &at, (long)q.n);
    at = answer.p;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)answer.n);
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    assert_int_equal(OCSP_check_nonce(request, basic), 1);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    OCSP_REQUEST_free(request);
}

static void rubbish(void **state)
{
    struct book *b = *state;
    struct ocsp_signer s = signer_of(b);
    AUTO(buf_done) struct buf q = request_of(b, 1, 16, false);
    static const uint8_t malformed[] = {0x30, 0x03, 0x0a, 0x01, 0x01};
    for (size_t n = 0; n < q.n; n++) { /* every truncation */
        AUTO(buf_done) struct buf answer = {0};
        assert_int_equal(ocsp_answer(&s, slice_head(buf_slice(&q), n), &answer), OK);
        assert_int_equal(answer.n, sizeof malformed);
        assert_memory_equal(answer.p, malformed, sizeof malformed);
    }
    assert_int_equal(buf_append(&q, slice_text("x"), 1 << 16), OK); /* one byte too many */
    AUTO(buf_done) struct buf answer = {0};
    assert_false(is_signed(b, &q, &answer));
    static const uint8_t large[OCSP_REQUEST_MAX + 1] = {0x30, 0x82, 0x0f, 0xfd};
    buf_clear(&answer);
    assert_int_equal(ocsp_answer(&s, slice_of(large, sizeof large), &answer), OK);
    assert_int_equal(answer.n, sizeof malformed);
    buf_clear(&answer);
    assert_int_equal(ocsp_refuse(OCSP_TRY_LATER, &answer), OK);
    assert_int_equal(answer.p[4], 3);
    /* An algorithm with a constructed tag 0 as its parameters: read, but not written again. */
    static const uint8_t unwritable[] = {0x30, 0x20, 0x30, 0x1e, 0x30, 0x1c, 0x30, 0x1a, 0x30,
                                         0x18, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x8e, 0x48, 0x00,
                                         0x00, 0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x04, 0x01,
                                         0xaa, 0x04, 0x01, 0xbb, 0x02, 0x01, 0x06};
    buf_clear(&answer);
    assert_int_equal(ocsp_answer(&s, slice_of(unwritable, sizeof unwritable), &answer), OK);
    assert_int_equal(answer.n, sizeof malformed);
    assert_memory_equal(answer.p, malformed, sizeof malformed);
}

static void times(void **state)
{
    struct book *b = *state;
    struct ocsp_signer s = signer_of(b);
    AUTO(buf_done) struct buf q = {0};
    AUTO(buf_done) struct buf a = {0};
    struct ocsp_status status;
    int64_t next = 0;
    assert_int_equal(ocsp_request(b->ours.leaf, b->ours.cert, &q), OK);
    assert_int_equal(ocsp_answer(&s, buf_slice(&q), &a), OK);
    const struct x509 *leaf = b->ours.leaf, *issuer = b->ours.cert;
    struct slice der = buf_slice(&a);
    assert_int_equal(ocsp_read(der, leaf, issuer, now - 1000, &status, &next), ERR_EXPIRED);
    assert_int_equal(ocsp_read(der, leaf, issuer, now + AUTHORITY_DAY - 1, &status, &next), OK);
    assert_int_equal(ocsp_read(der, leaf, issuer, now + AUTHORITY_DAY, &status, &next),
                     ERR_EXPIRED);
    a.p[a.n - 1] ^= 1;
    assert_int_equal(ocsp_read(der, leaf, issuer, now, &status, &next), ERR_AUTH);
    assert_int_equal(ocsp_read(slice_text("no"), leaf, issuer, now, &status, &next), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(asked_and_answered),
                                       cmocka_unit_test(of_another_issuer),
                                       cmocka_unit_test(bounds),
                                       cmocka_unit_test(nonce_is_echoed),
                                       cmocka_unit_test(rubbish),
                                       cmocka_unit_test(times)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
