#include "security/crypto/record_aead.h"

#include "base/mem.h"
#include "security/crypto/crypto_private.h"

enum { N_SUITES = 2 };

struct record_aead {
    EVP_CIPHER *cipher[N_SUITES];
    EVP_CIPHER_CTX *seal[N_SUITES], *open[N_SUITES];
};

struct record_aead *record_aead_free(struct record_aead *a)
{
    for (size_t i = 0; a != NULL && i < N_SUITES; i++) {
        EVP_CIPHER_CTX_free(a->seal[i]);
        EVP_CIPHER_CTX_free(a->open[i]);
        EVP_CIPHER_free(a->cipher[i]);
    }
    return mem_free(a);
}

static bool prepare(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, int is_seal)
{
    return ctx != NULL && EVP_CipherInit_ex2(ctx, cipher, NULL, NULL, is_seal, NULL) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, RECORD_AEAD_NONCE_BYTES, NULL) == 1;
}

enum err record_aead_new(struct record_aead **ret)
{
    static const char *const names[N_SUITES] = {
        [RECORD_AES128_GCM] = "AES-128-GCM", [RECORD_AES128_CCM8] = "AES-128-CCM"};
    AUTO(record_aead_autofree) struct record_aead *a = mem_zalloc(sizeof(*a));
    if (a == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < N_SUITES; i++) {
        a->cipher[i] = EVP_CIPHER_fetch(NULL, names[i], NULL);
        a->seal[i] = EVP_CIPHER_CTX_new();
        a->open[i] = EVP_CIPHER_CTX_new();
        if (a->cipher[i] == NULL || !prepare(a->seal[i], a->cipher[i], 1) ||
            !prepare(a->open[i], a->cipher[i], 0)) {
            return crypto_fail(ERR_CRYPTO);
        }
    }
    *ret = TAKE(a);
    return OK;
}

/* CCM wants the length of the tag before the key, and that of the text before the additional data;
 * GCM neither. */
static bool begin(EVP_CIPHER_CTX *ctx, enum record_suite suite, const uint8_t *key,
                  const uint8_t *nonce, struct slice aad, size_t text_n)
{
    int n = 0;
    return EVP_CipherInit_ex2(ctx, NULL, key, nonce, -1, NULL) == 1 &&
           (suite != RECORD_AES128_CCM8 ||
            EVP_CipherUpdate(ctx, NULL, &n, NULL, (int)text_n) == 1) &&
           (aad.n == 0 || EVP_CipherUpdate(ctx, NULL, &n, aad.p, (int)aad.n) == 1);
}

enum err record_aead_seal(struct record_aead *a, enum record_suite suite,
                          const uint8_t key[RECORD_AEAD_KEY_BYTES],
                          const uint8_t nonce[RECORD_AEAD_NONCE_BYTES], struct slice aad,
                          struct slice plain, uint8_t *dst)
{
    EVP_CIPHER_CTX *ctx = a->seal[suite];
    int tag_n = (int)record_aead_tag(suite), n = 0;
    if (plain.n == 0 || plain.n > RECORD_AEAD_PLAIN_MAX || aad.n > RECORD_AEAD_PLAIN_MAX) {
        return ERR_CRYPTO;
    }
    bool is_ccm = suite == RECORD_AES128_CCM8;
    if ((is_ccm && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, tag_n, NULL) != 1) ||
        !begin(ctx, suite, key, nonce, aad, plain.n) ||
        EVP_CipherUpdate(ctx, dst, &n, plain.p, (int)plain.n) != 1 ||
        (!is_ccm && EVP_CipherFinal_ex(ctx, dst + plain.n, &n) != 1) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, tag_n, dst + plain.n) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}

enum err record_aead_open(struct record_aead *a, enum record_suite suite,
                          const uint8_t key[RECORD_AEAD_KEY_BYTES],
                          const uint8_t nonce[RECORD_AEAD_NONCE_BYTES], struct slice aad,
                          struct slice sealed, uint8_t *dst)
{
    EVP_CIPHER_CTX *ctx = a->open[suite];
    size_t tag_n = record_aead_tag(suite);
    uint8_t tag[RECORD_AEAD_TAG_MAX], none[1];
    int n = 0;
    if (sealed.n <= tag_n) {
        return ERR_TRUNCATED;
    }
    struct slice body = slice_head(sealed, sealed.n - tag_n);
    if (body.n > RECORD_AEAD_PLAIN_MAX || aad.n > RECORD_AEAD_PLAIN_MAX) {
        return ERR_CRYPTO;
    }
    slice_copy(tag, slice_from(sealed, body.n));
    /* In CCM the update itself says whether the tag fits; in GCM the end. */
    if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, (int)tag_n, tag) != 1 ||
        !begin(ctx, suite, key, nonce, aad, body.n) ||
        EVP_CipherUpdate(ctx, dst, &n, body.p, (int)body.n) != 1 ||
        (suite != RECORD_AES128_CCM8 && EVP_CipherFinal_ex(ctx, none, &n) != 1)) {
        mem_wipe(dst, body.n); /* never leave what did not authenticate */
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}
