#include "security/crypto/x509.h"

#include <limits.h>

#include <openssl/pem.h>

#include "base/mem.h"
#include "security/crypto/x509_private.h"

struct x509 *x509_free(struct x509 *x)
{
    if (x != NULL) {
        GENERAL_NAMES_free(x->sans);
        X509_free(x->cert);
        mem_free(x);
    }
    return NULL;
}

const struct x509_info *x509_info(const struct x509 *x)
{
    return &x->info;
}

unsigned x509_strength_bits(const struct x509 *x)
{
    const EVP_PKEY *key = X509_get0_pubkey(x->cert);
    int of_key = key != NULL ? EVP_PKEY_get_security_bits(key) : 0, of_signature = 0;
    bool is_own = slice_equal(x->info.issuer, x->info.subject);
    if (!is_own && X509_get_signature_info(x->cert, NULL, NULL, &of_signature, NULL) != 1) {
        of_signature = 0;
    }
    int least = !is_own && of_signature < of_key ? of_signature : of_key;
    return least > 0 ? (unsigned)least : 0;
}

struct slice x509_string_slice(const ASN1_STRING *s)
{
    int n = s != NULL ? ASN1_STRING_length(s) : 0;
    return n > 0 ? slice_of(ASN1_STRING_get0_data(s), (size_t)n) : (struct slice){0};
}

static void time_autofree(ASN1_TIME **t)
{
    ASN1_TIME_free(*t);
}

enum err x509_time(const ASN1_TIME *t, int64_t *ret)
{
    AUTO(time_autofree) ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    if (epoch == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    int days = 0;
    int seconds = 0;
    if (t == NULL || ASN1_TIME_diff(&days, &seconds, epoch, t) != 1) {
        return crypto_fail(ERR_MALFORMED);
    }
    *ret = ((int64_t)days * 86400 + seconds) * 1000;
    return OK;
}

static enum err read_spki(X509 *cert, struct digest *ret)
{
    uint8_t *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    if (n <= 0) {
        return crypto_fail(ERR_MALFORMED);
    }
    enum err err = digest_sha256(slice_of(der, (size_t)n), ret);
    OPENSSL_free(der);
    return err;
}

static struct x509_san read_san(const GENERAL_NAME *name)
{
    switch (name->type) {
    case GEN_URI:
        return (struct x509_san){X509_SAN_URI,
                                 x509_string_slice(name->d.uniformResourceIdentifier)};
    case GEN_DNS:
        return (struct x509_san){X509_SAN_DNS, x509_string_slice(name->d.dNSName)};
    case GEN_IPADD:
        return (struct x509_san){X509_SAN_IP, x509_string_slice(name->d.iPAddress)};
    default:
        return (struct x509_san){X509_SAN_OTHER, {0}};
    }
}

enum err x509_read_sans(const GENERAL_NAMES *names, struct x509_san *dst, size_t *ret_n)
{
    int n = sk_GENERAL_NAME_num(names);
    if (n < 0 || n > X509_SANS_MAX) {
        return ERR_LIMIT;
    }
    for (int i = 0; i < n; i++) {
        dst[i] = read_san(sk_GENERAL_NAME_value(names, i));
    }
    *ret_n = (size_t)n;
    return OK;
}

static enum err read_sans(struct x509 *x)
{
    int critical = -1;
    x->sans = X509_get_ext_d2i(x->cert, NID_subject_alt_name, &critical, NULL);
    if (x->sans == NULL) {
        return critical == -1 ? OK : crypto_fail(ERR_MALFORMED); /* -2: there are two */
    }
    return x509_read_sans(x->sans, x->info.sans, &x->info.n_sans);
}

enum err x509_id(const X509_NAME *issuer, const ASN1_INTEGER *serial, struct digest *ret)
{
    AUTO(buf_done) struct buf both = {0};
    struct slice number = x509_string_slice(serial);
    const uint8_t *der = NULL;
    size_t n = 0;
    if (X509_NAME_get0_der(issuer, &der, &n) != 1) {
        return crypto_fail(ERR_MALFORMED);
    }
    TRY(buf_append(&both, slice_of(der, n), X509_DER_MAX)); /* DER says where it ends */
    TRY(buf_append(&both, number, 2 * X509_DER_MAX));
    return digest_sha256(buf_slice(&both), ret);
}

static enum err read_subject(struct x509 *x)
{
    const X509_NAME *name = X509_get_subject_name(x->cert);
    int at = -1;
    while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0) {
        x->info.n_common_names++;
        x->info.common_name =
            x509_string_slice(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    }
    const uint8_t *der = NULL;
    size_t n = 0;
    if (X509_NAME_get0_der(X509_get_issuer_name(x->cert), &der, &n) != 1) {
        return crypto_fail(ERR_MALFORMED);
    }
    x->info.issuer = slice_of(der, n);
    if (X509_NAME_get0_der(name, &der, &n) != 1) {
        return crypto_fail(ERR_MALFORMED);
    }
    x->info.subject = slice_of(der, n);
    x->info.serial = x509_string_slice(X509_get0_serialNumber(x->cert));
    return x509_id(X509_get_issuer_name(x->cert), X509_get0_serialNumber(x->cert), &x->info.id);
}

static enum err read_all(struct x509 *x)
{
    uint32_t flags = X509_get_extension_flags(x->cert);
    if ((flags & EXFLAG_INVALID) != 0) {
        return crypto_fail(ERR_MALFORMED);
    }
    x->info.is_ca = (flags & EXFLAG_CA) != 0;
    x->info.has_eku = (flags & EXFLAG_XKUSAGE) != 0;
    uint32_t eku = X509_get_extended_key_usage(x->cert);
    x->info.is_client = !x->info.has_eku || (eku & XKU_SSL_CLIENT) != 0;
    x->info.is_server = !x->info.has_eku || (eku & XKU_SSL_SERVER) != 0;
    TRY(read_spki(x->cert, &x->info.spki));
    TRY(x509_time(X509_get0_notBefore(x->cert), &x->info.not_before_wall_ms));
    TRY(x509_time(X509_get0_notAfter(x->cert), &x->info.not_after_wall_ms));
    TRY(read_subject(x));
    return read_sans(x);
}

enum err x509_wrap(X509 *cert, struct x509 **ret)
{
    AUTO(x509_autofree) struct x509 *x = mem_zalloc(sizeof *x);
    if (x == NULL) {
        X509_free(cert);
        return ERR_NOMEM;
    }
    x->cert = cert;
    enum err err = read_all(x);
    ERR_clear_error(); /* extensions that were merely absent leave entries too */
    TRY(err);
    *ret = TAKE(x);
    return OK;
}

enum err x509_from_der(struct slice der, struct x509 **ret)
{
    if (der.n > X509_DER_MAX) {
        return ERR_TOO_LARGE;
    }
    if (der.n == 0) {
        return ERR_MALFORMED;
    }
    const uint8_t *at = der.p;
    X509 *cert = d2i_X509(NULL, &at, (long)der.n);
    if (cert == NULL) {
        return crypto_fail(ERR_MALFORMED);
    }
    if (at != der.p + der.n) {
        X509_free(cert);
        return ERR_MALFORMED;
    }
    return x509_wrap(cert, ret);
}

enum err x509_share(X509 *cert, struct x509 **ret)
{
    return X509_up_ref(cert) == 1 ? x509_wrap(cert, ret) : crypto_fail(ERR_CRYPTO);
}

enum err x509_next_pem(struct slice *pem, struct x509 **ret)
{
    if (pem->n == 0) {
        return ERR_NOT_FOUND;
    }
    if (pem->n > INT_MAX) {
        return ERR_TOO_LARGE;
    }
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new_mem_buf(pem->p, (int)pem->n);
    if (bio == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    X509 *cert = PEM_read_bio_X509(bio, NULL, crypto_no_passphrase, NULL);
    if (cert == NULL) {
        unsigned long e = ERR_peek_last_error();
        bool none = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
        return crypto_fail(none ? ERR_NOT_FOUND : ERR_MALFORMED);
    }
    TRY(x509_wrap(cert, ret));
    *pem = slice_from(*pem, pem->n - (size_t)BIO_ctrl_pending(bio));
    return OK;
}

enum err x509_to_pem(const struct x509 *x, struct buf *ret)
{
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_X509(bio, x->cert) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return crypto_append_bio(bio, ret);
}

enum err x509_to_der(const struct x509 *x, struct buf *ret)
{
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || i2d_X509_bio(bio, x->cert) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return crypto_append_bio(bio, ret);
}
