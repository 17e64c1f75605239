/* sign_test - key pairs and tokens made on the spot, for tests only. */
#ifndef SECURITY_CRYPTO_SIGN_TEST_H
#define SECURITY_CRYPTO_SIGN_TEST_H

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base64.h"
#include "security/crypto/sigkey.h"

struct signer {
    EVP_PKEY *pkey;
    enum sigkey_alg alg;
};

static inline struct signer signer_new(enum sigkey_alg alg, unsigned bits)
{
    struct signer s = {.alg = alg};
    s.pkey = alg == SIGKEY_RS256   ? EVP_RSA_gen(bits)
             : alg == SIGKEY_ES256 ? EVP_EC_gen("P-256")
                                   : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_non_null(s.pkey);
    return s;
}

static inline void signer_done(struct signer *s)
{
    EVP_PKEY_free(s->pkey);
}

/* A number of the key as base64url, n bytes (0: as many as it needs). */
static inline void signer_number(const struct signer *s, const char *param, size_t n, char *dst,
                                 size_t cap)
{
    uint8_t bytes[1024];
    BIGNUM *v = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(s->pkey, param, &v), 1);
    n = n > 0 ? n : (size_t)BN_num_bytes(v);
    assert_int_equal(BN_bn2binpad(v, bytes, (int)n), (int)n);
    BN_free(v);
    struct wr w = wr_into(dst, cap - 1);
    base64_encode(BASE64_URL, slice_of(bytes, n), &w);
    dst[wr_slice(&w).n] = '\0';
}

/* The public half as a JWK; more: further members, each with its comma in front. */
static inline void signer_jwk(const struct signer *s, const char *more, char *dst, size_t cap)
{
    char a[1024];
    char b[128];
    if (s->alg == SIGKEY_RS256) {
        signer_number(s, OSSL_PKEY_PARAM_RSA_N, 0, a, sizeof a);
        signer_number(s, OSSL_PKEY_PARAM_RSA_E, 0, b, sizeof b);
        (void)snprintf(dst, cap, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}", a, b, more);
    } else if (s->alg == SIGKEY_ES256) {
        signer_number(s, OSSL_PKEY_PARAM_EC_PUB_X, 32, a, sizeof a);
        signer_number(s, OSSL_PKEY_PARAM_EC_PUB_Y, 32, b, sizeof b);
        (void)snprintf(dst, cap, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"%s}",
                       a, b, more);
    } else {
        uint8_t raw[32];
        size_t n = sizeof raw;
        assert_int_equal(EVP_PKEY_get_raw_public_key(s->pkey, raw, &n), 1);
        struct wr w = wr_into(a, sizeof a - 1);
        base64_encode(BASE64_URL, slice_of(raw, n), &w);
        a[wr_slice(&w).n] = '\0';
        (void)snprintf(dst, cap, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}", a, more);
    }
}

/* A signature as JWS has it; returns its length. */
static inline size_t signer_sign(const struct signer *s, struct slice text, uint8_t dst[512])
{
    uint8_t der[512];
    size_t n = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *md = s->alg == SIGKEY_EDDSA ? NULL : EVP_sha256();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, s->pkey), 1);
    assert_int_equal(EVP_DigestSign(ctx, der, &n, text.p, text.n), 1);
    EVP_MD_CTX_free(ctx);
    if (s->alg != SIGKEY_ES256) {
        memcpy(dst, der, n);
        return n;
    }
    const uint8_t *at = der;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)n);
    assert_non_null(pair);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), dst, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), dst + 32, 32), 32);
    ECDSA_SIG_free(pair);
    return 64;
}

/* A whole token over this header and these claims, with a NUL. */
static inline void signer_token(const struct signer *s, const char *header, const char *claims,
                                char *dst, size_t cap)
{
    uint8_t signature[512];
    struct wr w = wr_into(dst, cap - 1);
    base64_encode(BASE64_URL, slice_text(header), &w);
    wr_u8(&w, '.');
    base64_encode(BASE64_URL, slice_text(claims), &w);
    size_t n = signer_sign(s, wr_slice(&w), signature);
    wr_u8(&w, '.');
    base64_encode(BASE64_URL, slice_of(signature, n), &w);
    assert_true(wr_ok(&w));
    dst[wr_slice(&w).n] = '\0';
}

#endif
