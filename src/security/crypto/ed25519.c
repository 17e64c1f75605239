#include "security/crypto/ed25519.h"

#include "base/mem.h"
#include "security/crypto/crypto_private.h"
#include "security/crypto/sigkey.h"

struct ed25519 {
    EVP_PKEY *pkey;
    uint8_t public[ED25519_PUBLIC_BYTES];
};

struct ed25519 *ed25519_free(struct ed25519 *k)
{
    if (k != NULL) {
        EVP_PKEY_free(k->pkey);
        mem_free(k);
    }
    return NULL;
}

enum err ed25519_new(struct slice seed, struct ed25519 **ret)
{
    if (seed.n != ED25519_SEED_BYTES) {
        return ERR_CRYPTO;
    }
    AUTO(ed25519_autofree) struct ed25519 *k = mem_zalloc(sizeof *k);
    if (k == NULL) {
        return ERR_NOMEM;
    }
    size_t n = sizeof k->public;
    k->pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed.p, seed.n);
    if (k->pkey == NULL || EVP_PKEY_get_raw_public_key(k->pkey, k->public, &n) != 1 ||
        n != sizeof k->public) {
        return crypto_fail(ERR_CRYPTO);
    }
    *ret = TAKE(k);
    return OK;
}

struct slice ed25519_public(const struct ed25519 *k)
{
    return slice_of(k->public, sizeof k->public);
}

enum err ed25519_sign(const struct ed25519 *k, struct slice text,
                      uint8_t ret[ED25519_SIGNATURE_BYTES])
{
    uint8_t signature[ED25519_SIGNATURE_BYTES];
    size_t n = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    bool is_signed = EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
                     EVP_DigestSign(ctx, signature, &n, text.p, text.n) == 1 &&
                     n == sizeof signature;
    EVP_MD_CTX_free(ctx);
    if (!is_signed) {
        return crypto_fail(ERR_CRYPTO);
    }
    memcpy(ret, signature, sizeof signature);
    return OK;
}

enum err ed25519_verify(const uint8_t key[ED25519_PUBLIC_BYTES], struct slice text,
                        const uint8_t signature[ED25519_SIGNATURE_BYTES])
{
    AUTO(sigkey_autofree) struct sigkey *k = NULL;
    TRY(sigkey_ed25519(slice_of(key, ED25519_PUBLIC_BYTES), &k));
    return sigkey_verify(k, text, slice_of(signature, ED25519_SIGNATURE_BYTES));
}
