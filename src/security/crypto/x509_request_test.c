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
                                       cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
