/* AES-CCM by a published case (RFC 8613, Appendix C.4), then every way to change one bit; the whole
 * appendix is src/engine/oscore_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "security/crypto/ccm.h"

static const uint8_t key[CCM_KEY_BYTES] = {0xf0, 0x91, 0x0e, 0xd7, 0x29, 0x5e, 0x6a, 0xd4,
                                           0xb5, 0x4f, 0xc7, 0x93, 0x15, 0x43, 0x02, 0xff};
static const uint8_t nonce[CCM_NONCE_BYTES] = {0x46, 0x22, 0xd4, 0xdd, 0x6d, 0x94, 0x41,
                                               0x68, 0xee, 0xfb, 0x54, 0x98, 0x68};
static const uint8_t aad[] = {0x83, 0x68, 'E',  'n',  'c',  'r',  'y',  'p',  't',  '0',
                              0x40, 0x48, 0x85, 0x01, 0x81, 0x0a, 0x40, 0x41, 0x14, 0x40};
static const uint8_t plain[] = {0x01, 0xb3, 't', 'v', '1'};
static const uint8_t sealed[] = {0x61, 0x2f, 0x10, 0x92, 0xf1, 0x77, 0x6f,
                                 0x1c, 0x16, 0x68, 0xb3, 0x82, 0x5e};

static void published(void **state)
{
    (void)state;
    AUTO(ccm_autofree) struct ccm *c = NULL;
    uint8_t out[64];
    assert_int_equal(ccm_new(&c), OK);
    for (int again = 0; again < 3; again++) { /* one object, any number of texts */
        assert_int_equal(ccm_seal(c, key, nonce, slice_of(aad, sizeof(aad)),
                                  slice_of(plain, sizeof(plain)), out),
                         OK);
        assert_memory_equal(out, sealed, sizeof(sealed));
        assert_int_equal(ccm_open(c, key, nonce, slice_of(aad, sizeof(aad)),
                                  slice_of(sealed, sizeof(sealed)), out),
                         OK);
        assert_memory_equal(out, plain, sizeof(plain));
    }
    /* in its own place */
    memcpy(out, plain, sizeof(plain));
    assert_int_equal(
        ccm_seal(c, key, nonce, slice_of(aad, sizeof(aad)), slice_of(out, sizeof(plain)), out), OK);
    assert_memory_equal(out, sealed, sizeof(sealed));
    assert_int_equal(
        ccm_open(c, key, nonce, slice_of(aad, sizeof(aad)), slice_of(out, sizeof(sealed)), out),
        OK);
    assert_memory_equal(out, plain, sizeof(plain));
}

static void one_bit(void **state)
{
    (void)state;
    AUTO(ccm_autofree) struct ccm *c = NULL;
    uint8_t out[64], bad[64], other[CCM_KEY_BYTES];
    static const uint8_t zero[sizeof(plain)];
    assert_int_equal(ccm_new(&c), OK);
    for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
        memcpy(bad, sealed, sizeof(sealed));
        bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(
            ccm_open(c, key, nonce, slice_of(aad, sizeof(aad)), slice_of(bad, sizeof(sealed)), out),
            ERR_CRYPTO);
        assert_memory_equal(out, zero, sizeof(zero)); /* nothing of it is left */
    }
    for (size_t bit = 0; bit < 8 * sizeof(aad); bit++) {
        memcpy(bad, aad, sizeof(aad));
        bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(ccm_open(c, key, nonce, slice_of(bad, sizeof(aad)),
                                  slice_of(sealed, sizeof(sealed)), out),
                         ERR_CRYPTO);
    }
    for (size_t bit = 0; bit < 8 * CCM_NONCE_BYTES; bit++) {
        memcpy(bad, nonce, sizeof(nonce));
        bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(ccm_open(c, key, bad, slice_of(aad, sizeof(aad)),
                                  slice_of(sealed, sizeof(sealed)), out),
                         ERR_CRYPTO);
    }
    memcpy(other, key, sizeof(other));
    other[15] ^= 1;
    assert_int_equal(ccm_open(c, other, nonce, slice_of(aad, sizeof(aad)),
                              slice_of(sealed, sizeof(sealed)), out),
                     ERR_CRYPTO);
    /* and the right one still opens */
    assert_int_equal(
        ccm_open(c, key, nonce, slice_of(aad, sizeof(aad)), slice_of(sealed, sizeof(sealed)), out),
        OK);
}

static void lengths(void **state)
{
    (void)state;
    AUTO(ccm_autofree) struct ccm *c = NULL;
    static uint8_t text[CCM_PLAIN_MAX + 1], out[CCM_PLAIN_MAX + 1 + CCM_TAG_BYTES];
    struct slice none = {0};
    assert_int_equal(ccm_new(&c), OK);
    for (size_t n = 0; n <= CCM_TAG_BYTES; n++) {
        assert_int_equal(ccm_open(c, key, nonce, none, slice_of(sealed, n), out), ERR_TRUNCATED);
    }
    assert_int_equal(ccm_seal(c, key, nonce, none, none, out), ERR_CRYPTO);
    assert_int_equal(ccm_seal(c, key, nonce, none, slice_of(text, CCM_PLAIN_MAX), out), OK);
    assert_int_equal(
        ccm_open(c, key, nonce, none, slice_of(out, CCM_PLAIN_MAX + CCM_TAG_BYTES), out), OK);
    assert_memory_equal(out, text, CCM_PLAIN_MAX);
    assert_int_equal(ccm_seal(c, key, nonce, none, slice_of(text, sizeof(text)), out), ERR_CRYPTO);
}

static void no_memory(void **state)
{
    (void)state;
    struct ccm *c = NULL;
    mem_fail_after(0);
    assert_int_equal(ccm_new(&c), ERR_NOMEM);
    mem_fail_after(-1);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published),
        cmocka_unit_test(one_bit),
        cmocka_unit_test(lengths),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
