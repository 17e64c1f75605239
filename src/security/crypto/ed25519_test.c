#include "security/crypto/ed25519.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

/* SPEC: RFC8032 7.1, TEST 2 */
static const uint8_t seed[ED25519_SEED_BYTES] = {
    0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e, 0x0f,
    0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb};
static const uint8_t public_key[ED25519_PUBLIC_BYTES] = {
    0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b, 0x7e, 0xbc,
    0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c};
static const uint8_t expected[ED25519_SIGNATURE_BYTES] = {
    0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8, 0x72, 0x0e, 0x82, 0x0b, 0x5f, 0x64, 0x25, 0x40,
    0xa2, 0xb2, 0x7b, 0x54, 0x16, 0x50, 0x3f, 0x8f, 0xb3, 0x76, 0x22, 0x23, 0xeb, 0xdb, 0x69, 0xda,
    0x08, 0x5a, 0xc1, 0xe4, 0x3e, 0x15, 0x99, 0x6e, 0x45, 0x8f, 0x36, 0x13, 0xd0, 0xf1, 0x1d, 0x8c,
    0x38, 0x7b, 0x2e, 0xae, 0xb4, 0x30, 0x2a, 0xee, 0xb0, 0x0d, 0x29, 0x16, 0x12, 0xbb, 0x0c, 0x00};

static void test_the_vector(void **state)
{
    (void)state;
    AUTO(ed25519_autofree) struct ed25519 *k = NULL;
    uint8_t signature[ED25519_SIGNATURE_BYTES];
    assert_int_equal(ed25519_new(slice_of(seed, sizeof seed), &k), OK);
    assert_memory_equal(ed25519_public(k).p, public_key, sizeof public_key);
    assert_int_equal(ed25519_sign(k, slice_text("r"), signature), OK);
    assert_memory_equal(signature, expected, sizeof expected);
    assert_int_equal(ed25519_verify(public_key, slice_text("r"), signature), OK);
    assert_int_equal(ed25519_verify(public_key, slice_text("s"), signature), ERR_AUTH);
    for (size_t i = 0; i < sizeof signature * 8; i++) {
        signature[i / 8] ^= (uint8_t)(1U << (i % 8));
        assert_int_equal(ed25519_verify(public_key, slice_text("r"), signature), ERR_AUTH);
        signature[i / 8] ^= (uint8_t)(1U << (i % 8));
    }
}

static void test_lengths_and_memory(void **state)
{
    (void)state;
    struct ed25519 *k = NULL;
    assert_int_equal(ed25519_new(slice_of(seed, sizeof seed - 1), &k), ERR_CRYPTO);
    assert_int_equal(ed25519_new((struct slice){0}, &k), ERR_CRYPTO);
    mem_fail_after(0);
    enum err err = ed25519_new(slice_of(seed, sizeof seed), &k);
    (void)mem_fail_after(-1);
    assert_int_equal(err, ERR_NOMEM);
    assert_null(k);
    assert_null(ed25519_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_vector),
                                       cmocka_unit_test(test_lengths_and_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
