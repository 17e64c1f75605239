/* Records of both suites as another library sealed them (python-cryptography, over the same bytes),
 * then every way to change one bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "security/crypto/record_aead.h"

static const uint8_t key[RECORD_AEAD_KEY_BYTES] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                   8, 9, 10, 11, 12, 13, 14, 15};
static const uint8_t nonce[RECORD_AEAD_NONCE_BYTES] = {0xa0, 0xa1, 0xa2, 0xa3, 0, 1,
                                                       0,    0,    0,    0,    0, 5};
static const uint8_t aad[] = {0, 1, 0, 0, 0, 0, 0, 5, 23, 0xfe, 0xfd, 0, 16};
static const char plain[] = "GET /temperature";
enum { PLAIN_N = sizeof(plain) - 1 };

static const struct {
    enum record_suite suite;
    size_t n;
    uint8_t sealed[PLAIN_N + RECORD_AEAD_TAG_MAX];
} cases[] = {
    {RECORD_AES128_GCM, 32, {0x8b, 0x4f, 0x05, 0xa6, 0x0b, 0xe3, 0x8f, 0xf9, 0x84, 0x20, 0xc1,
                             0x9e, 0x00, 0x68, 0x7d, 0xc1, 0xcb, 0xc2, 0x19, 0xab, 0x7d, 0x0b,
                             0xc7, 0x9f, 0x27, 0x6e, 0xd0, 0x31, 0x4b, 0x71, 0xae, 0x71}},
    {RECORD_AES128_CCM8, 24, {0x6b, 0xb8, 0x5a, 0x17, 0x80, 0xd2, 0xa1, 0x5e,
                              0x6c, 0x52, 0x25, 0x84, 0xe7, 0x5f, 0x2f, 0x8a,
                              0x56, 0x5f, 0xd6, 0xd0, 0xe4, 0x6e, 0xbe, 0x78}},
};

static void as_another_library(void **state)
{
    (void)state;
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    uint8_t out[64];
    assert_int_equal(record_aead_new(&a), OK);
    for (int i = 0; i < 6; i++) { /* one object, any number of texts, the suites in turn */
        const uint8_t *sealed = cases[i % 2].sealed;
        enum record_suite suite = cases[i % 2].suite;
        size_t n = cases[i % 2].n;
        assert_int_equal(record_aead_tag(suite), n - PLAIN_N);
        assert_int_equal(record_aead_seal(a, suite, key, nonce, slice_of(aad, sizeof(aad)),
                                          slice_text(plain), out),
                         OK);
        assert_memory_equal(out, sealed, n);
        /* in its own place */
        assert_int_equal(record_aead_open(a, suite, key, nonce, slice_of(aad, sizeof(aad)),
                                          slice_of(out, n), out),
                         OK);
        assert_memory_equal(out, plain, PLAIN_N);
    }
}

static void one_bit(void **state)
{
    (void)state;
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    static const uint8_t zero[PLAIN_N];
    assert_int_equal(record_aead_new(&a), OK);
    for (size_t i = 0; i < 2; i++) {
        uint8_t bad[64], out[64], other[RECORD_AEAD_KEY_BYTES];
        struct slice text = slice_of(cases[i].sealed, cases[i].n),
                     more = slice_of(aad, sizeof(aad));
        for (size_t bit = 0; bit < 8 * text.n; bit++) {
            memcpy(bad, text.p, text.n);
            bad[bit / 8] ^= (uint8_t)(1U << bit % 8);
            memset(out, 1, sizeof(out));
            assert_int_equal(
                record_aead_open(a, cases[i].suite, key, nonce, more, slice_of(bad, text.n), out),
                ERR_CRYPTO);
            assert_memory_equal(out, zero, PLAIN_N);
        }
        for (size_t bit = 0; bit < 8 * sizeof(aad); bit++) {
            memcpy(bad, aad, sizeof(aad));
            bad[bit / 8] ^= (uint8_t)(1U << bit % 8);
            assert_int_equal(record_aead_open(a, cases[i].suite, key, nonce,
                                              slice_of(bad, sizeof(aad)), text, out),
                             ERR_CRYPTO);
        }
        memcpy(other, key, sizeof(other));
        other[7] ^= 1;
        assert_int_equal(record_aead_open(a, cases[i].suite, other, nonce, more, text, out),
                         ERR_CRYPTO);
        assert_int_equal(record_aead_open(a, cases[i].suite, key, nonce, more, text, out), OK);
    }
}

static void sizes(void **state)
{
    (void)state;
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    static uint8_t text[RECORD_AEAD_PLAIN_MAX + 1], out[sizeof(text) + RECORD_AEAD_TAG_MAX];
    assert_int_equal(record_aead_new(&a), OK);
    for (size_t i = 0; i < 2; i++) {
        enum record_suite suite = cases[i].suite;
        struct slice more = slice_of(aad, sizeof(aad));
        size_t tag = record_aead_tag(suite);
        static const struct {
            size_t n;
            enum err seal, open;
        } rows[] = {{0, ERR_CRYPTO, ERR_TRUNCATED},
                    {1, OK, OK},
                    {RECORD_AEAD_PLAIN_MAX, OK, OK},
                    {RECORD_AEAD_PLAIN_MAX + 1, ERR_CRYPTO, ERR_CRYPTO}};
        for (size_t k = 0; k < COUNT_OF(rows); k++) {
            assert_int_equal(
                record_aead_seal(a, suite, key, nonce, more, slice_of(text, rows[k].n), out),
                rows[k].seal);
            assert_int_equal(
                record_aead_open(a, suite, key, nonce, more, slice_of(out, rows[k].n + tag), text),
                rows[k].open);
        }
        for (size_t n = 0; n < tag; n++) {
            assert_int_equal(record_aead_open(a, suite, key, nonce, more, slice_of(out, n), text),
                             ERR_TRUNCATED);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_another_library),
        cmocka_unit_test(one_bit),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
