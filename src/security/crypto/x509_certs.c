#include "security/crypto/x509_certs.h"

#include <limits.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>

#include "base/scope.h"
#include "security/crypto/x509_private.h"

static void pkcs7_autofree(PKCS7 **p)
{
    PKCS7_free(*p);
}

static enum err add_all(struct slice pem, PKCS7 *p)
{
    size_t n = 0;
    for (;;) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        enum err err = x509_next_pem(&pem, &x);
        if (err == ERR_NOT_FOUND) {
            return n > 0 ? OK : ERR_NOT_FOUND;
        }
        TRY(err);
        if (n++ == X509_CERTS_MAX) {
            return ERR_LIMIT;
        }
        if (PKCS7_add_certificate(p, x->cert) != 1) { /* shares */
            return crypto_fail(ERR_NOMEM);
        }
    }
}

enum err x509_certs_make(struct slice pem, struct buf *ret)
{
    AUTO(pkcs7_autofree) PKCS7 *p = PKCS7_new();
    if (p == NULL || PKCS7_set_type(p, NID_pkcs7_signed) != 1 ||
        PKCS7_content_new(p, NID_pkcs7_data) != 1) {
        return crypto_fail(ERR_NOMEM);
    }
    PKCS7_set_detached(p, 1); /* no content either */
    TRY(add_all(pem, p));
    int n = i2d_PKCS7(p, NULL);
    uint8_t *room;
    if (n <= 0) {
        return crypto_fail(ERR_CRYPTO);
    }
    TRY(buf_room(ret, (size_t)n, ret->n + X509_CERTS_BYTES, &room));
    if (i2d_PKCS7(p, &room) != n) {
        return crypto_fail(ERR_CRYPTO);
    }
    ret->n += (size_t)n;
    return OK;
}

static enum err put_pem(X509 *cert, struct buf *ret)
{
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_X509(bio, cert) != 1) {
        return crypto_fail(ERR_NOMEM);
    }
    return crypto_append_bio(bio, ret);
}

enum err x509_certs_read(struct slice der, struct buf *ret)
{
    const uint8_t *at = der.p;
    if (der.n > X509_CERTS_BYTES) {
        return ERR_TOO_LARGE;
    }
    AUTO(pkcs7_autofree) PKCS7 *p = der.n > 0 ? d2i_PKCS7(NULL, &at, (long)der.n) : NULL;
    if (p == NULL || at != der.p + der.n || !PKCS7_type_is_signed(p) || p->d.sign == NULL) {
        return crypto_fail(ERR_MALFORMED);
    }
    const STACK_OF(X509) *all = p->d.sign->cert;
    int n = all != NULL ? sk_X509_num(all) : 0;
    if (n > X509_CERTS_MAX) {
        return ERR_LIMIT;
    }
    for (int i = 0; i < n; i++) {
        TRY(put_pem(sk_X509_value(all, i), ret));
    }
    return n > 0 ? OK : ERR_NOT_FOUND;
}
