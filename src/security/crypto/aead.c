#include "security/crypto/aead.h"

#include <limits.h>

#include "base/mem.h"
#include "security/crypto/crypto_private.h"

struct aead {
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *seal, *open;
};

struct aead *aead_free(struct aead *a)
{
    if (a != NULL) {
        EVP_CIPHER_CTX_free(a->seal);
        EVP_CIPHER_CTX_free(a->open);
        EVP_CIPHER_free(a->cipher);
        mem_free(a);
    }
    return NULL;
}

enum err aead_new(struct slice key, struct aead **ret)
{
    if (key.n != AEAD_KEY_BYTES) {
        return ERR_CRYPTO;
    }
    AUTO(aead_autofree) struct aead *a = mem_zalloc(sizeof *a);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    a->seal = EVP_CIPHER_CTX_new();
    a->open = EVP_CIPHER_CTX_new();
    if (a->cipher == NULL || a->seal == NULL || a->open == NULL ||
        EVP_EncryptInit_ex2(a->seal, a->cipher, key.p, NULL, NULL) != 1 ||
        EVP_DecryptInit_ex2(a->open, a->cipher, key.p, NULL, NULL) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    *ret = TAKE(a);
    return OK;
}

enum err aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice aad,
                   struct slice plain, uint8_t *dst)
{
    int n = 0;
    if (aad.n > INT_MAX || plain.n > INT_MAX - AEAD_TAG_BYTES) {
        return ERR_CRYPTO;
    }
    if (EVP_EncryptInit_ex2(a->seal, NULL, NULL, nonce, NULL) != 1 ||
        (aad.n > 0 && EVP_EncryptUpdate(a->seal, NULL, &n, aad.p, (int)aad.n) != 1) ||
        (plain.n > 0 && EVP_EncryptUpdate(a->seal, dst, &n, plain.p, (int)plain.n) != 1) ||
        EVP_EncryptFinal_ex(a->seal, dst + plain.n, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(a->seal, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, dst + plain.n) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}

enum err aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice aad,
                   struct slice sealed, uint8_t *dst)
{
    if (sealed.n < AEAD_TAG_BYTES) {
        return ERR_TRUNCATED;
    }
    if (aad.n > INT_MAX || sealed.n > INT_MAX) {
        return ERR_CRYPTO;
    }
    struct slice body = slice_head(sealed, sealed.n - AEAD_TAG_BYTES);
    uint8_t tag[AEAD_TAG_BYTES];
    uint8_t none[1];
    slice_copy(tag, slice_from(sealed, body.n));
    int n = 0;
    if (EVP_DecryptInit_ex2(a->open, NULL, NULL, nonce, NULL) != 1 ||
        EVP_CIPHER_CTX_ctrl(a->open, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES, tag) != 1 ||
        (aad.n > 0 && EVP_DecryptUpdate(a->open, NULL, &n, aad.p, (int)aad.n) != 1) ||
        (body.n > 0 && EVP_DecryptUpdate(a->open, dst, &n, body.p, (int)body.n) != 1) ||
        EVP_DecryptFinal_ex(a->open, none, &n) != 1) {
        mem_wipe(dst, body.n); /* never leave what did not authenticate */
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}
