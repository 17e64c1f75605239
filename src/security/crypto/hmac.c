#include "security/crypto/hmac.h"

#include <openssl/core_names.h>

#include "base/mem.h"
#include "security/crypto/crypto_private.h"

struct hmac {
    EVP_MAC_CTX *mac;
};

struct hmac *hmac_free(struct hmac *h)
{
    if (h != NULL) {
        EVP_MAC_CTX_free(h->mac);
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
    EVP_MAC_free(mac);
    if (h->mac == NULL || EVP_MAC_CTX_set_params(h->mac, params) != 1) {
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
