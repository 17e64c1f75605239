/* Published vectors (FIPS 180-4, RFC 4231, RFC 5869, the GCM specification), then every way to
 * change one bit. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "security/crypto/aead.h"
#include "security/crypto/digest.h"
#include "security/crypto/kdf.h"
#include "security/crypto/key.h"
#include "security/crypto/sealed.h"

static struct slice unhex(const char *text, uint8_t *dst)
{
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        char *end = NULL;
        dst[i] = (uint8_t)strtoul(pair, &end, 16);
        assert_ptr_equal(end, pair + 2);
    }
    return slice_of(dst, n);
}

static void check_hex(struct slice s, const char *want)
{
    uint8_t bytes[256];
    struct slice w = unhex(want, bytes);
    assert_int_equal(s.n, w.n);
    assert_memory_equal(s.p, w.p, w.n);
}

static void digest_vectors(void **state)
{
    (void)state;
    struct digest d;
    assert_int_equal(digest_sha256(slice_text("abc"), &d), OK);
    check_hex(digest_slice(&d), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(digest_sha256((struct slice){0}, &d), OK);
    check_hex(digest_slice(&d), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    char hex[DIGEST_HEX_BYTES];
    struct digest back;
    digest_hex(&d, hex);
    assert_int_equal(digest_from_hex(slice_text(hex), &back), OK);
    assert_memory_equal(&d, &back, sizeof d);
    assert_int_equal(digest_from_hex(slice_of(hex, 63), &back), ERR_MALFORMED);
    hex[5] = 'g';
    assert_int_equal(digest_from_hex(slice_text(hex), &back), ERR_MALFORMED);
}

static void hmac_vectors(void **state)
{
    (void)state;
    uint8_t key[20];
    struct digest d;
    memset(key, 0x0b, sizeof key);
    assert_int_equal(digest_hmac(slice_of(key, sizeof key), slice_text("Hi There"), &d), OK);
    check_hex(digest_slice(&d), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    /* an empty key is a key, not "the key of the last call" */
    assert_int_equal(digest_hmac((struct slice){0}, (struct slice){0}, &d), OK);
    check_hex(digest_slice(&d), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void kdf_vectors(void **state)
{
    (void)state;
    uint8_t ikm[22];
    uint8_t salt[13];
    uint8_t info[10];
    uint8_t out[42];
    memset(ikm, 0x0b, sizeof ikm);
    struct slice s = unhex("000102030405060708090a0b0c", salt);
    struct slice i = unhex("f0f1f2f3f4f5f6f7f8f9", info);
    assert_int_equal(kdf_hkdf(slice_of(ikm, sizeof ikm), s, i, out, sizeof out), OK);
    check_hex(slice_of(out, sizeof out),
              "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc"
              "4c5bf34007208d5b887185865");
    assert_int_equal(
        kdf_hkdf(slice_of(ikm, sizeof ikm), (struct slice){0}, (struct slice){0}, out, sizeof out),
        OK);
    check_hex(slice_of(out, sizeof out),
              "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c7"
              "38d2d9d201395faa4b61a96c8");
    assert_int_equal(kdf_hkdf((struct slice){0}, s, i, out, sizeof out), ERR_CRYPTO);
    assert_int_equal(kdf_hkdf(s, s, i, out, 0), ERR_CRYPTO);
}

static void aead_vectors(void **state)
{
    (void)state;
    uint8_t key[AEAD_KEY_BYTES] = {0};
    uint8_t nonce[AEAD_NONCE_BYTES] = {0};
    uint8_t plain[16] = {0};
    uint8_t sealed[32];
    AUTO(aead_autofree) struct aead *a = NULL;
    assert_int_equal(aead_new(slice_of(key, sizeof key - 1), &a), ERR_CRYPTO);
    assert_int_equal(aead_new(slice_of(key, sizeof key), &a), OK);
    assert_int_equal(aead_seal(a, nonce, (struct slice){0}, (struct slice){0}, sealed), OK);
    check_hex(slice_of(sealed, 16), "530f8afbc74536b9a963b4f1c4cb738b");
    assert_int_equal(aead_seal(a, nonce, (struct slice){0}, slice_of(plain, sizeof plain), sealed),
                     OK);
    check_hex(slice_of(sealed, 32),
              "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
}

static void aead_every_bit(void **state)
{
    (void)state;
    const uint8_t key[AEAD_KEY_BYTES] = "an example key of thirty-two by";
    uint8_t nonce[AEAD_NONCE_BYTES] = "nonce";
    struct slice plain = slice_text("twenty bytes of text");
    uint8_t sealed[20 + AEAD_TAG_BYTES];
    uint8_t opened[20];
    char aad[] = "header";
    AUTO(aead_autofree) struct aead *a = NULL;
    assert_int_equal(aead_new(slice_of(key, sizeof key), &a), OK);
    assert_int_equal(aead_seal(a, nonce, slice_text(aad), plain, sealed), OK);
    struct slice s = slice_of(sealed, sizeof sealed);
    assert_int_equal(aead_open(a, nonce, slice_text(aad), s, opened), OK);
    assert_memory_equal(opened, plain.p, plain.n);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(aead_open(a, nonce, slice_text(aad), s, opened), ERR_CRYPTO);
        sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    static const uint8_t zeros[20];
    assert_memory_equal(opened, zeros, sizeof zeros); /* nothing unauthenticated is left */
    aad[0] ^= 1;
    assert_int_equal(aead_open(a, nonce, slice_text(aad), s, opened), ERR_CRYPTO);
    aad[0] ^= 1;
    nonce[0] ^= 1;
    assert_int_equal(aead_open(a, nonce, slice_text(aad), s, opened), ERR_CRYPTO);
    nonce[0] ^= 1;
    for (size_t n = 0; n < sizeof sealed; n++) {
        assert_int_not_equal(aead_open(a, nonce, slice_text(aad), slice_head(s, n), opened), OK);
    }
    assert_int_equal(aead_open(a, nonce, slice_text(aad), s, opened), OK);
}

static void sealed_files(void **state)
{
    (void)state;
    const uint8_t master[SEALED_MASTER_BYTES] = "master";
    const uint8_t other[SEALED_MASTER_BYTES] = "Master";
    struct slice m = slice_of(master, sizeof master);
    struct random_source random = random_system();
    AUTO(buf_wipe) struct buf file = {0};
    AUTO(buf_wipe) struct buf again = {0};
    AUTO(buf_wipe) struct buf plain = {0};
    struct slice text = slice_text("what is inside");
    assert_int_equal(sealed_make(m, "a", &random, text, 1000, &file), OK);
    assert_int_equal(file.n, text.n + SEALED_OVERHEAD_BYTES);
    assert_int_equal(sealed_make(m, "a", &random, text, 1000, &again), OK);
    assert_false(slice_equal(buf_slice(&file), buf_slice(&again)));
    assert_int_equal(sealed_make(m, "a", &random, text, file.n - 1, &plain), ERR_TOO_LARGE);
    assert_int_equal(plain.n, 0);

    assert_int_equal(sealed_open(m, "a", buf_slice(&file), &plain), OK);
    assert_true(slice_equal(buf_slice(&plain), text));
    assert_int_equal(sealed_open(m, "b", buf_slice(&file), &plain), ERR_CRYPTO);
    assert_int_equal(sealed_open(slice_of(other, sizeof other), "a", buf_slice(&file), &plain),
                     ERR_CRYPTO);
    assert_int_equal(sealed_open(slice_of(master, 31), "a", buf_slice(&file), &plain), ERR_CRYPTO);
    for (size_t n = 0; n < file.n; n++) {
        assert_int_not_equal(sealed_open(m, "a", slice_head(buf_slice(&file), n), &plain), OK);
    }
    for (size_t bit = 0; bit < 8 * file.n; bit++) {
        file.p[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(sealed_open(m, "a", buf_slice(&file), &plain),
                         bit < 64 ? ERR_UNSUPPORTED : ERR_CRYPTO);
        file.p[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(slice_equal(buf_slice(&plain), text)); /* errors appended nothing */
}

static void keys(void **state)
{
    (void)state;
    AUTO(key_autofree) struct key *a = NULL;
    AUTO(key_autofree) struct key *b = NULL;
    AUTO(buf_wipe) struct buf pem = {0};
    struct digest da;
    struct digest db;
    assert_int_equal(key_generate(&a), OK);
    assert_int_equal(key_to_pem(a, &pem), OK);
    assert_int_equal(key_from_pem(buf_slice(&pem), &b), OK);
    assert_int_equal(key_spki_sha256(a, &da), OK);
    assert_int_equal(key_spki_sha256(b, &db), OK);
    assert_memory_equal(&da, &db, sizeof da);
    b = key_free(b);
    for (size_t n = 0; n < pem.n - 2; n++) {
        assert_int_not_equal(key_from_pem(slice_head(buf_slice(&pem), n), &b), OK);
    }
    /* an Ed25519 key, and an encrypted one: nobody is asked for a passphrase */
    assert_int_equal(
        key_from_pem(slice_text("-----BEGIN PRIVATE KEY-----\n"
                                "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7"
                                "rAMcrn9g\n-----END PRIVATE KEY-----\n"),
                     &b),
        ERR_UNSUPPORTED);
    assert_int_equal(
        key_from_pem(slice_text("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
                                "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
                                "AAAAAAAAAAAAAAAAAAAAAA==\n-----END RSA PRIVATE KEY-----\n"),
                     &b),
        ERR_MALFORMED);
    assert_int_equal(key_from_spki(slice_text("no DER"), &b), ERR_MALFORMED);
    assert_int_equal(key_from_spki((struct slice){0}, &b), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_vectors), cmocka_unit_test(hmac_vectors),
        cmocka_unit_test(kdf_vectors),    cmocka_unit_test(aead_vectors),
        cmocka_unit_test(aead_every_bit), cmocka_unit_test(sealed_files),
        cmocka_unit_test(keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
