#include "security/crypto/hmac.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>

#include "base/mem.h"
#include "security/crypto/crypto_private.h"

struct hmac {
    EVP_MAC_CTX *mac;
    EVP_KDF *prf;
};

struct hmac *hmac_free(struct hmac *h)
{
    if (h != NULL) {
        EVP_MAC_CTX_free(h->mac);
        EVP_KDF_free(h->prf);
    }
    return mem_free(h);
}

enum err hmac_new(struct hmac **ret)
{
    AUTO(hmac_autofree) struct hmac *h = mem_zalloc(sizeof(*h));
    const OSSL_PARAM params[] = {
        crypto_name(OSSL_MAC_PARAM_DIGEST, "SHA256"),
        OSSL_PARAM_construct_end(),
    };
    if (h == NULL) {
        return ERR_NOMEM;
    }
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    h->mac = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    h->prf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    EVP_MAC_free(mac);
    if (h->mac == NULL || h->prf == NULL || EVP_MAC_CTX_set_params(h->mac, params) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    *ret = TAKE(h);
    return OK;
}

enum err hmac_key(struct hmac *h, struct slice key)
{
    static const uint8_t nothing[1] = {0};
    bool is_good = EVP_MAC_init(h->mac, key.n > 0 ? key.p : nothing, key.n, NULL) == 1;
    return is_good ? OK : crypto_fail(ERR_CRYPTO);
}

enum err hmac_next(struct hmac *h, struct slice text, struct digest *ret)
{
    size_t n = 0;
    bool is_good = EVP_MAC_init(h->mac, NULL, 0, NULL) == 1 &&
                   (text.n == 0 || EVP_MAC_update(h->mac, text.p, text.n) == 1) &&
                   EVP_MAC_final(h->mac, ret->bytes, &n, sizeof(ret->bytes)) == 1 &&
                   n == sizeof(ret->bytes);
    return is_good ? OK : crypto_fail(ERR_CRYPTO);
}

enum err hmac_prf(struct hmac *h, struct slice secret, const struct slice *seeds, size_t n_seeds,
                  void *dst, size_t n)
{
    enum { FIXED = 2 };
    OSSL_PARAM params[FIXED + HMAC_PRF_SEEDS + 1];
    size_t at = FIXED;
    if (secret.n == 0 || n_seeds > HMAC_PRF_SEEDS || n == 0 || n > HMAC_PRF_MAX) {
        return ERR_CRYPTO;
    }
    params[0] = crypto_name(OSSL_KDF_PARAM_DIGEST, "SHA256");
    params[1] = crypto_octets(OSSL_KDF_PARAM_SECRET, secret);
    for (size_t i = 0; i < n_seeds; i++) {
        if (seeds[i].n > 0) {
            params[at++] = crypto_octets(OSSL_KDF_PARAM_SEED, seeds[i]);
        }
    }
    params[at] = OSSL_PARAM_construct_end();
    if (at == FIXED) {
        return ERR_CRYPTO;
    }
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(h->prf); /* each seed is added to those that it has */
    bool is_good = ctx != NULL && EVP_KDF_derive(ctx, dst, n, params) == 1;
    EVP_KDF_CTX_free(ctx);
    if (!is_good) {
        mem_wipe(dst, n);
    }
    return is_good ? OK : crypto_fail(ERR_CRYPTO);
}
