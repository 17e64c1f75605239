#include "security/crypto/sigkey.h"

#include <assert.h>

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>

#include "base/mem.h"
#include "security/crypto/crypto_private.h"

enum { P256_BYTES = 32, P256_POINT_BYTES = 1 + 2 * P256_BYTES, ED25519_BYTES = 32 };

struct sigkey {
    enum sigkey_alg alg;
    size_t signature_bytes; /* every signature of this key has so many */
    EVP_PKEY *pkey;
};

static const char *const alg_names[SIGKEY_ALGS] = {
    [SIGKEY_RS256] = "RS256",
    [SIGKEY_ES256] = "ES256",
    [SIGKEY_EDDSA] = "EdDSA",
};

const char *sigkey_alg_name(enum sigkey_alg alg)
{
    assert(alg < SIGKEY_ALGS);
    return alg_names[alg];
}

enum sigkey_alg sigkey_alg_of(const struct sigkey *k)
{
    return k->alg;
}

struct sigkey *sigkey_free(struct sigkey *k)
{
    if (k != NULL) {
        EVP_PKEY_free(k->pkey);
        mem_free(k);
    }
    return NULL;
}

/* Takes pkey, also on error. */
static enum err wrap(EVP_PKEY *pkey, enum sigkey_alg alg, size_t signature_bytes,
                     struct sigkey **ret)
{
    struct sigkey *k = mem_zalloc(sizeof *k);
    if (k == NULL) {
        EVP_PKEY_free(pkey);
        return ERR_NOMEM;
    }
    *k = (struct sigkey){.alg = alg, .signature_bytes = signature_bytes, .pkey = pkey};
    *ret = k;
    return OK;
}

/* A public key out of its parts. Takes build (NULL: no memory). */
static enum err from_parts(const char *type, OSSL_PARAM_BLD *build, bool is_complete,
                           EVP_PKEY **ret)
{
    OSSL_PARAM *params = is_complete ? OSSL_PARAM_BLD_to_param(build) : NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;
    enum err err = params != NULL && ctx != NULL ? OK : ERR_NOMEM;
    if (err == OK && (EVP_PKEY_fromdata_init(ctx) != 1 ||
                      EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)) {
        err = ERR_MALFORMED;
    }
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    if (err == OK) {
        *ret = pkey;
    }
    return crypto_fail(err);
}

static enum err check_key(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    enum err err = ctx == NULL                             ? ERR_NOMEM
                   : EVP_PKEY_public_check_quick(ctx) == 1 ? OK
                                                           : ERR_MALFORMED;
    EVP_PKEY_CTX_free(ctx);
    return crypto_fail(err);
}

static enum err wrap_checked(EVP_PKEY *pkey, enum sigkey_alg alg, size_t signature_bytes,
                             struct sigkey **ret)
{
    enum err err = check_key(pkey);
    if (err != OK) {
        EVP_PKEY_free(pkey);
        return err;
    }
    return wrap(pkey, alg, signature_bytes, ret);
}

/* ---- RSA ---- */

static enum err check_rsa(struct slice n, struct slice e)
{
    if (n.n == 0 || e.n == 0 || n.p[0] == 0 || e.p[0] == 0 || n.p[n.n - 1] % 2 == 0) {
        return ERR_MALFORMED; /* SPEC: RFC7518 6.3.1.1, no zero octet in front */
    }
    if (n.n > SIGKEY_RSA_BITS_MAX / 8 || e.n > SIGKEY_RSA_E_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    uint64_t exponent = 0;
    for (size_t i = 0; i < e.n; i++) {
        exponent = exponent << 8 | e.p[i];
    }
    /* The first byte of 2048 bits has its top bit set. SPEC: RFC7518 3.3, 2048 bits or more */
    bool is_short =
        n.n < SIGKEY_RSA_BITS_MIN / 8 || (n.n == SIGKEY_RSA_BITS_MIN / 8 && n.p[0] < 128);
    return is_short || exponent < SIGKEY_RSA_E_MIN || exponent % 2 == 0 ? ERR_DENIED : OK;
}

enum err sigkey_rsa(struct slice n, struct slice e, struct sigkey **ret)
{
    TRY(check_rsa(n, e));
    BIGNUM *modulus = BN_bin2bn(n.p, (int)n.n, NULL);
    BIGNUM *exponent = BN_bin2bn(e.p, (int)e.n, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    bool is_complete = modulus != NULL && exponent != NULL && build != NULL &&
                       OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
                       OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1;
    EVP_PKEY *pkey = NULL;
    enum err err = from_parts("RSA", build, is_complete, &pkey);
    BN_free(modulus);
    BN_free(exponent);
    TRY(err);
    return wrap(pkey, SIGKEY_RS256, n.n, ret);
}

/* ---- P-256 ---- */

enum err sigkey_p256(struct slice x, struct slice y, struct sigkey **ret)
{
    if (x.n != P256_BYTES || y.n != P256_BYTES) {
        return ERR_MALFORMED; /* SPEC: RFC7518 6.2.1.2, the full size of a coordinate */
    }
    uint8_t point[P256_POINT_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};
    memcpy(point + 1, x.p, P256_BYTES);
    memcpy(point + 1 + P256_BYTES, y.p, P256_BYTES);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    bool is_complete =
        build != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1;
    EVP_PKEY *pkey = NULL;
    TRY(from_parts("EC", build, is_complete, &pkey));
    return wrap_checked(pkey, SIGKEY_ES256, (size_t)2 * P256_BYTES, ret);
}

/* ---- Ed25519 ---- */

enum err sigkey_ed25519(struct slice x, struct sigkey **ret)
{
    if (x.n != ED25519_BYTES) {
        return ERR_MALFORMED;
    }
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.p, x.n);
    if (pkey == NULL) {
        return crypto_fail(ERR_CRYPTO);
    }
    return wrap(pkey, SIGKEY_EDDSA, 64, ret);
}

/* ---- verifying ---- */

static enum err verify_with(const struct sigkey *k, struct slice text, struct slice signature)
{
    static const uint8_t none[1] = {0};
    const EVP_MD *md = k->alg == SIGKEY_EDDSA ? NULL : EVP_sha256();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    enum err err = ERR_CRYPTO;
    if (EVP_DigestVerifyInit(ctx, NULL, md, NULL, k->pkey) == 1) {
        err =
            EVP_DigestVerify(ctx, signature.p, signature.n, text.n > 0 ? text.p : none, text.n) == 1
                ? OK
                : ERR_AUTH;
    }
    EVP_MD_CTX_free(ctx);
    return crypto_fail(err);
}

/* The library wants ECDSA's two numbers as DER. SPEC: RFC7518 3.4 */
static enum err verify_p256(const struct sigkey *k, struct slice text, struct slice signature)
{
    BIGNUM *r = BN_bin2bn(signature.p, P256_BYTES, NULL);
    BIGNUM *s = BN_bin2bn(signature.p + P256_BYTES, P256_BYTES, NULL);
    ECDSA_SIG *pair = ECDSA_SIG_new();
    uint8_t *der = NULL;
    int n = -1;
    if (r != NULL && s != NULL && pair != NULL && ECDSA_SIG_set0(pair, r, s) == 1) {
        r = NULL; /* the pair's now */
        s = NULL;
        n = i2d_ECDSA_SIG(pair, &der);
    }
    enum err err = n > 0 ? verify_with(k, text, slice_of(der, (size_t)n)) : crypto_fail(ERR_NOMEM);
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
    BN_free(r);
    BN_free(s);
    return err;
}

enum err sigkey_verify(const struct sigkey *k, struct slice text, struct slice signature)
{
    if (signature.n != k->signature_bytes) {
        return ERR_AUTH;
    }
    return k->alg == SIGKEY_ES256 ? verify_p256(k, text, signature)
                                  : verify_with(k, text, signature);
}
