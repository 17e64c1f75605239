#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "security/crypto/x509_request.h"

struct made {
    struct key *key;
    struct buf der;
};

static struct made make(const char *cn, const struct x509_san *sans, size_t n)
{
    struct made m = {0};
    assert_int_equal(key_generate(&m.key), OK);
    assert_int_equal(x509_request_make(m.key, slice_text(cn), sans, n, &m.der), OK);
    return m;
}

static void made_done(struct made *m)
{
    m->key = key_free(m->key);
    buf_done(&m->der);
}

static void round_trip(void **state)
{
    (void)state;
    const uint8_t ip[4] = {192, 0, 2, 7};
    const struct x509_san sans[] = {{X509_SAN_URI, slice_text("urn:sallyport:device:meter-7")},
                                    {X509_SAN_DNS, slice_text("broker.example")},
                                    {X509_SAN_IP, slice_of(ip, sizeof ip)}};
    AUTO(made_done) struct made m = make("meter-7", sans, COUNT_OF(sans));
    AUTO(x509_request_autofree) struct x509_request *r = NULL;
    assert_int_equal(x509_request_from_der(buf_slice(&m.der), &r), OK);
    const struct x509_request_info *i = x509_request_info(r);
    struct digest spki;
    assert_int_equal(key_spki_sha256(m.key, &spki), OK);
    assert_memory_equal(&spki, &i->spki, sizeof spki);
    assert_int_equal(i->n_common_names, 1);
    assert_true(slice_is(i->common_name, "meter-7"));
    assert_int_equal(i->n_sans, 3);
    assert_true(slice_is(i->sans[0].value, "urn:sallyport:device:meter-7"));
    assert_int_equal(i->sans[2].value.n, 4);
    assert_false(i->asks_ca);
}

/* Every truncation, a byte behind, and every bit: whoever changed a request does not hold its key.
 */
static void damaged(void **state)
{
    (void)state;
    AUTO(made_done) struct made m = make("meter-7", NULL, 0);
    struct x509_request *r = NULL;
    for (size_t n = 0; n < m.der.n; n++) {
        assert_int_equal(x509_request_from_der(slice_of(m.der.p, n), &r), ERR_MALFORMED);
    }
    for (size_t bit = 0; bit < m.der.n * 8; bit++) {
        m.der.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum err err = x509_request_from_der(buf_slice(&m.der), &r);
        assert_true(err == ERR_MALFORMED || err == ERR_UNSUPPORTED);
        m.der.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(buf_append(&m.der, slice_text("x"), SIZE_MAX), OK);
    assert_int_equal(x509_request_from_der(buf_slice(&m.der), &r), ERR_MALFORMED);
    static const uint8_t large[X509_REQUEST_MAX + 1];
    assert_int_equal(x509_request_from_der(slice_of(large, sizeof large), &r), ERR_TOO_LARGE);
    assert_int_equal(x509_request_from_der(slice_of(large, X509_REQUEST_MAX), &r), ERR_MALFORMED);
}

/* Made by `openssl req`, of a key on P-384, with DecryptKeyIdentifier among its attributes. */
enum { KEY_IDENTIFIER_AT = 166 };
static const uint8_t sealed[] = {
    0x30, 0x82, 0x01, 0x22, 0x30, 0x81, 0xa9, 0x02, 0x01, 0x00, 0x30, 0x12, 0x31, 0x10, 0x30, 0x0e,
    0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x07, 0x6d, 0x65, 0x74, 0x65, 0x72, 0x2d, 0x37, 0x30, 0x76,
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x22, 0x03, 0x62, 0x00, 0x04, 0xb9, 0xb8, 0xe9, 0xb7, 0xf0, 0x18, 0xd9, 0x2c, 0x3e, 0xc0,
    0xd6, 0x4d, 0x0b, 0x2a, 0x67, 0x49, 0x77, 0x3a, 0x6e, 0x99, 0x94, 0x33, 0x91, 0x76, 0xf4, 0x21,
    0x49, 0xb5, 0xa8, 0x78, 0x55, 0xd1, 0xd3, 0x17, 0x2c, 0xe9, 0xa6, 0xef, 0x13, 0x78, 0xbe, 0x12,
    0x26, 0xef, 0x66, 0x94, 0xb4, 0xa9, 0x99, 0x7e, 0x7c, 0x5c, 0xb8, 0x22, 0x1f, 0x95, 0x40, 0xeb,
    0xf2, 0x1c, 0xc4, 0x12, 0x9e, 0x75, 0x19, 0x09, 0x45, 0x04, 0x79, 0x0d, 0xed, 0xcd, 0xee, 0xc8,
    0x43, 0x66, 0xf4, 0x00, 0x21, 0x99, 0xa9, 0x78, 0xf4, 0x40, 0xa8, 0x44, 0x65, 0x2e, 0x8e, 0x27,
    0xd2, 0xa8, 0x7e, 0x82, 0x82, 0x34, 0xa0, 0x18, 0x30, 0x16, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86,
    0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x25, 0x31, 0x07, 0x0c, 0x05, 0x6b, 0x65, 0x79, 0x2d, 0x31,
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02, 0x03, 0x68, 0x00, 0x30,
    0x65, 0x02, 0x30, 0x6f, 0x5b, 0xc6, 0xea, 0x33, 0x20, 0x35, 0x49, 0xfb, 0x57, 0xf9, 0xe4, 0xe8,
    0xc4, 0xd4, 0x87, 0x48, 0xee, 0x83, 0xbf, 0x95, 0xcd, 0xa8, 0xe7, 0x54, 0x98, 0xbb, 0x16, 0x27,
    0x44, 0xac, 0x89, 0x60, 0x18, 0xa3, 0x3a, 0x6a, 0xeb, 0x95, 0xb3, 0x76, 0x78, 0xbe, 0x89, 0xba,
    0xc7, 0x3a, 0x4b, 0x02, 0x31, 0x00, 0xc8, 0x3e, 0xd7, 0x3c, 0xc1, 0xa0, 0xdb, 0x98, 0xb4, 0x53,
    0xad, 0xde, 0xdd, 0x9f, 0x1a, 0x9b, 0xe4, 0x2a, 0x85, 0x4b, 0x99, 0xb0, 0x8c, 0xe7, 0x46, 0xbb,
    0x31, 0x03, 0x09, 0x4c, 0x9c, 0xbb, 0x1e, 0x9b, 0x33, 0x88, 0x6a, 0xc3, 0x36, 0x16, 0x4d, 0x1b,
    0x15, 0x23, 0x76, 0xc3, 0x26, 0x0c,
};

/* SPEC: RFC7030 4.4.1: whose key is made for it has none that counts. */
static void wishes(void **state)
{
    (void)state;
    AUTO(made_done) struct made m = make("meter-7", NULL, 0);
    struct x509_request *r = NULL;
    m.der.p[m.der.n - 1] ^= 1; /* of its signature */
    assert_int_equal(x509_request_from_der(buf_slice(&m.der), &r), ERR_MALFORMED);
    assert_int_equal(x509_request_wish_from_der(buf_slice(&m.der), &r), OK);
    assert_true(slice_is(x509_request_info(r)->common_name, "meter-7"));
    assert_false(x509_request_info(r)->asks_sealed_key);
    assert_int_equal(x509_request_info(r)->spki_der.n, 0);
    r = x509_request_free(r);
    uint8_t der[sizeof sealed];
    const uint8_t lasts[] = {36, 37, 38, 54};
    for (size_t i = 0; i < COUNT_OF(lasts); i++) {
        for (size_t at = 0; at < sizeof sealed; at++) {
            der[at] = at == KEY_IDENTIFIER_AT ? lasts[i] : sealed[at];
        }
        assert_int_equal(x509_request_from_der(slice_of(der, sizeof der), &r), ERR_UNSUPPORTED);
        assert_int_equal(x509_request_wish_from_der(slice_of(der, sizeof der), &r), OK);
        assert_true(slice_is(x509_request_info(r)->common_name, "meter-7"));
        assert_int_equal(x509_request_info(r)->asks_sealed_key, lasts[i] == 37 || lasts[i] == 54);
        r = x509_request_free(r);
    }
    for (size_t n = 0; n < sizeof sealed; n++) {
        assert_int_equal(x509_request_wish_from_der(slice_of(sealed, n), &r), ERR_MALFORMED);
    }
}

static void no_memory(void **state)
{
    (void)state;
    AUTO(made_done) struct made m = make("meter-7", NULL, 0);
    for (long n = 0; n < 50; n++) {
        struct x509_request *r = NULL;
        (void)mem_fail_after(n);
        enum err err = x509_request_from_der(buf_slice(&m.der), &r);
        bool failed = mem_fail_after(-1) != 0;
        assert_int_equal(err == OK, !failed);
        r = x509_request_free(r);
        if (!failed) {
            return;
        }
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(damaged),
                                       cmocka_unit_test(wishes), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
