#include "security/crypto/prf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>

#include "base/mem.h"
#include "security/crypto/crypto_private.h"

struct prf {
    EVP_KDF *kdf;
};

struct prf *prf_free(struct prf *p)
{
    if (p != NULL) {
        EVP_KDF_free(p->kdf);
    }
    return mem_free(p);
}

enum err prf_new(struct prf **ret)
{
    AUTO(prf_autofree) struct prf *p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return ERR_NOMEM;
    }
    p->kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    if (p->kdf == NULL) {
        return crypto_fail(ERR_CRYPTO);
    }
    *ret = TAKE(p);
    return OK;
}

enum err prf_make(struct prf *p, struct slice secret, const struct slice *seeds, size_t n_seeds,
                  void *dst, size_t n)
{
    enum { FIXED = 2 };
    OSSL_PARAM params[FIXED + PRF_SEEDS + 1];
    size_t at = FIXED;
    if (secret.n == 0 || n_seeds > PRF_SEEDS || n == 0 || n > PRF_MAX) {
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
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(p->kdf); /* each seed is added to those that it has */
    bool is_good = ctx != NULL && EVP_KDF_derive(ctx, dst, n, params) == 1;
    EVP_KDF_CTX_free(ctx);
    if (!is_good) {
        mem_wipe(dst, n);
    }
    return is_good ? OK : crypto_fail(ERR_CRYPTO);
}
