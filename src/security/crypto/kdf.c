#include "security/crypto/kdf.h"

#include <limits.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/mem.h"
#include "base/scope.h"
#include "security/crypto/crypto_private.h"

static void kdf_autofree(EVP_KDF **kdf)
{
    EVP_KDF_free(*kdf);
}

static void kdf_ctx_autofree(EVP_KDF_CTX **ctx)
{
    EVP_KDF_CTX_free(*ctx);
}

enum err kdf_hkdf(struct slice secret, struct slice salt, struct slice info, void *dst, size_t n)
{
    if (secret.n == 0 || n == 0 || n > KDF_MAX_BYTES) {
        return ERR_CRYPTO;
    }
    AUTO(kdf_autofree) EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    AUTO(kdf_ctx_autofree) EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    if (ctx == NULL) {
        return crypto_fail(ERR_CRYPTO);
    }
    OSSL_PARAM params[] = {
        crypto_name(OSSL_KDF_PARAM_DIGEST, "SHA256"),
        crypto_octets(OSSL_KDF_PARAM_KEY, secret),
        crypto_octets(OSSL_KDF_PARAM_SALT, salt),
        crypto_octets(OSSL_KDF_PARAM_INFO, info),
        OSSL_PARAM_construct_end(),
    };
    if (EVP_KDF_derive(ctx, dst, n, params) != 1) {
        mem_wipe(dst, n);
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}

enum err kdf_pbkdf2(struct slice password, struct slice salt, uint32_t iterations, void *dst,
                    size_t n)
{
    if (n == 0 || n > KDF_MAX_BYTES || password.n == 0 || password.n > INT_MAX ||
        salt.n > INT_MAX || iterations == 0 || iterations > INT_MAX ||
        PKCS5_PBKDF2_HMAC((const char *)password.p, (int)password.n, salt.p, (int)salt.n,
                          (int)iterations, EVP_sha256(), (int)n, dst) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}
