#include "security/crypto/ccm.h"

#include <limits.h>

#include "base/mem.h"
#include "security/crypto/crypto_private.h"

struct ccm {
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *seal, *open;
};

struct ccm *ccm_free(struct ccm *c)
{
    if (c != NULL) {
        EVP_CIPHER_CTX_free(c->seal);
        EVP_CIPHER_CTX_free(c->open);
        EVP_CIPHER_free(c->cipher);
        mem_free(c);
    }
    return NULL;
}

enum err ccm_new(struct ccm **ret)
{
    AUTO(ccm_autofree) struct ccm *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->cipher = EVP_CIPHER_fetch(NULL, "AES-128-CCM", NULL);
    c->seal = EVP_CIPHER_CTX_new();
    c->open = EVP_CIPHER_CTX_new();
    if (c->cipher == NULL || c->seal == NULL || c->open == NULL ||
        EVP_EncryptInit_ex2(c->seal, c->cipher, NULL, NULL, NULL) != 1 ||
        EVP_DecryptInit_ex2(c->open, c->cipher, NULL, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_ctrl(c->seal, EVP_CTRL_AEAD_SET_IVLEN, CCM_NONCE_BYTES, NULL) != 1 ||
        EVP_CIPHER_CTX_ctrl(c->open, EVP_CTRL_AEAD_SET_IVLEN, CCM_NONCE_BYTES, NULL) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    *ret = TAKE(c);
    return OK;
}

/* The mode wants the length of the text before the additional data. */
static bool announce(EVP_CIPHER_CTX *ctx, struct slice aad, size_t text_n)
{
    int n = 0;
    return EVP_CipherUpdate(ctx, NULL, &n, NULL, (int)text_n) == 1 &&
           (aad.n == 0 || EVP_CipherUpdate(ctx, NULL, &n, aad.p, (int)aad.n) == 1);
}

enum err ccm_seal(struct ccm *c, const uint8_t key[CCM_KEY_BYTES],
                  const uint8_t nonce[CCM_NONCE_BYTES], struct slice aad, struct slice plain,
                  uint8_t *dst)
{
    int n = 0;
    if (plain.n == 0 || plain.n > CCM_PLAIN_MAX || aad.n > INT_MAX) {
        return ERR_CRYPTO;
    }
    if (EVP_CIPHER_CTX_ctrl(c->seal, EVP_CTRL_AEAD_SET_TAG, CCM_TAG_BYTES, NULL) != 1 ||
        EVP_EncryptInit_ex2(c->seal, NULL, key, nonce, NULL) != 1 ||
        !announce(c->seal, aad, plain.n) ||
        EVP_EncryptUpdate(c->seal, dst, &n, plain.p, (int)plain.n) != 1 ||
        EVP_CIPHER_CTX_ctrl(c->seal, EVP_CTRL_AEAD_GET_TAG, CCM_TAG_BYTES, dst + plain.n) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}

enum err ccm_open(struct ccm *c, const uint8_t key[CCM_KEY_BYTES],
                  const uint8_t nonce[CCM_NONCE_BYTES], struct slice aad, struct slice sealed,
                  uint8_t *dst)
{
    int n = 0;
    uint8_t tag[CCM_TAG_BYTES];
    if (sealed.n <= CCM_TAG_BYTES) {
        return ERR_TRUNCATED;
    }
    struct slice body = slice_head(sealed, sealed.n - CCM_TAG_BYTES);
    if (body.n > CCM_PLAIN_MAX || aad.n > INT_MAX) {
        return ERR_CRYPTO;
    }
    slice_copy(tag, slice_from(sealed, body.n));
    /* The update itself says whether the tag fits: there is no final step in this mode. */
    if (EVP_CIPHER_CTX_ctrl(c->open, EVP_CTRL_AEAD_SET_TAG, CCM_TAG_BYTES, tag) != 1 ||
        EVP_DecryptInit_ex2(c->open, NULL, key, nonce, NULL) != 1 ||
        !announce(c->open, aad, body.n) ||
        EVP_DecryptUpdate(c->open, dst, &n, body.p, (int)body.n) != 1) {
        mem_wipe(dst, body.n); /* never leave what did not authenticate */
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}
