#include "security/crypto/key.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "security/crypto/crypto_private.h"

int crypto_no_passphrase(char *dst, int cap, int writing, void *ctx)
{
    (void)dst;
    (void)cap;
    (void)writing;
    (void)ctx;
    return -1;
}

enum err crypto_append_bio(BIO *bio, struct buf *ret)
{
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);
    return n > 0 ? buf_append(ret, slice_of(p, (size_t)n), SIZE_MAX) : crypto_fail(ERR_CRYPTO);
}

/* Takes pkey, also on error. */
static enum err wrap(EVP_PKEY *pkey, bool is_private, struct key **ret)
{
    char group[32] = "";
    enum err err = OK;
    if (EVP_PKEY_is_a(pkey, "EC") != 1 ||
        EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) != 1 ||
        strcmp(group, "prime256v1") != 0) {
        err = ERR_UNSUPPORTED;
    }
    struct key *k = err == OK ? mem_zalloc(sizeof *k) : NULL;
    if (k == NULL) {
        EVP_PKEY_free(pkey);
        return crypto_fail(err == OK ? ERR_NOMEM : err);
    }
    *k = (struct key){.pkey = pkey, .is_private = is_private};
    *ret = k;
    return OK;
}

enum err key_generate(struct key **ret)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    return pkey != NULL ? wrap(pkey, true, ret) : crypto_fail(ERR_CRYPTO);
}

struct key *key_free(struct key *k)
{
    if (k != NULL) {
        EVP_PKEY_free(k->pkey);
        mem_free(k);
    }
    return NULL;
}

enum err key_from_pem(struct slice pem, struct key **ret)
{
    if (pem.n > KEY_PEM_MAX) {
        return ERR_TOO_LARGE;
    }
    if (pem.n == 0) {
        return ERR_MALFORMED;
    }
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (bio == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, crypto_no_passphrase, NULL);
    return pkey != NULL ? wrap(pkey, true, ret) : crypto_fail(ERR_MALFORMED);
}

enum err key_from_spki(struct slice der, struct key **ret)
{
    if (der.n > KEY_PEM_MAX) {
        return ERR_TOO_LARGE;
    }
    if (der.n == 0) {
        return ERR_MALFORMED;
    }
    const uint8_t *at = der.p;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)der.n);
    if (pkey == NULL) {
        return crypto_fail(ERR_MALFORMED);
    }
    if (at != der.p + der.n) {
        EVP_PKEY_free(pkey);
        return ERR_MALFORMED;
    }
    return wrap(pkey, false, ret);
}

enum err key_to_pem(const struct key *k, struct buf *ret)
{
    if (!k->is_private) {
        return ERR_CRYPTO;
    }
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new(BIO_s_secmem());
    if (bio == NULL ||
        PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL, NULL) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return crypto_append_bio(bio, ret);
}

enum err key_to_der(const struct key *k, struct buf *ret)
{
    if (!k->is_private) {
        return ERR_CRYPTO;
    }
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new(BIO_s_secmem());
    if (bio == NULL || i2d_PKCS8PrivateKey_bio(bio, k->pkey, NULL, NULL, 0, NULL, NULL) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return crypto_append_bio(bio, ret);
}

enum err key_spki_sha256(const struct key *k, struct digest *ret)
{
    uint8_t *der = NULL;
    int n = i2d_PUBKEY(k->pkey, &der);
    if (n <= 0) {
        return crypto_fail(ERR_CRYPTO);
    }
    enum err err = digest_sha256(slice_of(der, (size_t)n), ret);
    OPENSSL_free(der);
    return err;
}
