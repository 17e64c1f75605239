#include "security/crypto/crl_make.h"

#include <openssl/pem.h>

#include "security/crypto/x509_private.h"

static void crl_autofree(X509_CRL **crl)
{
    X509_CRL_free(*crl);
}

static void revoked_autofree(X509_REVOKED **r)
{
    X509_REVOKED_free(*r);
}

static void time_autofree(ASN1_TIME **t)
{
    ASN1_TIME_free(*t);
}

static void integer_autofree(ASN1_INTEGER **n)
{
    ASN1_INTEGER_free(*n);
}

/* ---- reasons ---- */

static const struct {
    enum crl_reason reason;
    const char *name;
} reasons[] = {{CRL_UNSPECIFIED, "unspecified"},     {CRL_KEY_COMPROMISE, "key-compromise"},
               {CRL_AFFILIATION_CHANGED, "changed"}, {CRL_SUPERSEDED, "superseded"},
               {CRL_CESSATION, "cessation"},         {CRL_WITHDRAWN, "withdrawn"}};

const char *crl_reason_name(unsigned reason)
{
    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        if (reasons[i].reason == reason) {
            return reasons[i].name;
        }
    }
    return reasons[0].name;
}

bool crl_reason_find(struct slice name, enum crl_reason *ret)
{
    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        if (slice_is(name, reasons[i].name)) {
            *ret = reasons[i].reason;
            return true;
        }
    }
    return false;
}

/* ---- parts ---- */

/* UTCTime until 2049, as it must be. SPEC: RFC5280 5.1.2.4, 5.1.2.6 */
static enum err time_of(int64_t wall_ms, ASN1_TIME **ret)
{
    *ret = ASN1_TIME_set(NULL, (time_t)(wall_ms / 1000));
    return *ret != NULL ? OK : crypto_fail(ERR_NOMEM);
}

static enum err serial_of(const struct crl_entry *e, ASN1_INTEGER **ret)
{
    struct serial checked;
    TRY(serial_from(serial_slice(&e->serial), &checked));
    BIGNUM *n = BN_bin2bn(checked.bytes, checked.n, NULL);
    *ret = n != NULL ? BN_to_ASN1_INTEGER(n, NULL) : NULL;
    BN_free(n);
    return *ret != NULL ? OK : crypto_fail(ERR_NOMEM);
}

/* No reason is said by leaving the extension out. SPEC: RFC5280 5.3.1 */
static enum err set_reason(X509_REVOKED *r, unsigned reason)
{
    if (reason == CRL_UNSPECIFIED) {
        return OK;
    }
    ASN1_ENUMERATED *code = ASN1_ENUMERATED_new();
    bool ok = code != NULL && ASN1_ENUMERATED_set(code, (long)reason) == 1 &&
              X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, code, 0, 0) == 1;
    ASN1_ENUMERATED_free(code);
    return ok ? OK : crypto_fail(ERR_NOMEM);
}

static enum err add_entry(X509_CRL *crl, const struct crl_entry *e)
{
    AUTO(revoked_autofree) X509_REVOKED *r = X509_REVOKED_new();
    AUTO(integer_autofree) ASN1_INTEGER *serial = NULL;
    AUTO(time_autofree) ASN1_TIME *at = NULL;
    TRY(serial_of(e, &serial));
    TRY(time_of(e->at_wall_ms, &at));
    if (r == NULL || X509_REVOKED_set_serialNumber(r, serial) != 1 ||
        X509_REVOKED_set_revocationDate(r, at) != 1) {
        return crypto_fail(ERR_NOMEM);
    }
    TRY(set_reason(r, e->reason));
    if (X509_CRL_add0_revoked(crl, r) != 1) {
        return crypto_fail(ERR_NOMEM);
    }
    r = NULL; /* the list has it */
    return OK;
}

/* SPEC: RFC5280 5.2.1, 5.2.3: both are asked of every list */
static enum err add_extensions(X509_CRL *crl, const struct crl_order *o)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, o->issuer->cert, NULL, NULL, crl, 0);
    X509_EXTENSION *key =
        X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
    bool ok = key != NULL && X509_CRL_add_ext(crl, key, -1) == 1;
    X509_EXTENSION_free(key);
    AUTO(integer_autofree) ASN1_INTEGER *number = ASN1_INTEGER_new();
    ok = ok && number != NULL && ASN1_INTEGER_set_uint64(number, o->number) == 1 &&
         X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1;
    return ok ? OK : crypto_fail(ERR_CRYPTO);
}

static enum err set_head(X509_CRL *crl, const struct crl_order *o)
{
    AUTO(time_autofree) ASN1_TIME *now = NULL;
    AUTO(time_autofree) ASN1_TIME *next = NULL;
    TRY(time_of(o->now_wall_ms, &now));
    TRY(time_of(o->next_update_wall_ms, &next));
    bool ok = X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
              X509_CRL_set_issuer_name(crl, X509_get_subject_name(o->issuer->cert)) == 1 &&
              X509_CRL_set1_lastUpdate(crl, now) == 1 && X509_CRL_set1_nextUpdate(crl, next) == 1;
    return ok ? OK : crypto_fail(ERR_NOMEM);
}

static enum err check_order(const struct crl_order *o)
{
    if (o->n > CRL_ENTRIES_MAX) {
        return ERR_LIMIT;
    }
    if (o->next_update_wall_ms <= o->now_wall_ms) {
        return ERR_MALFORMED;
    }
    bool fits = o->issuer_key->is_private && o->issuer->info.is_ca &&
                X509_check_private_key(o->issuer->cert, o->issuer_key->pkey) == 1;
    return fits ? OK : crypto_fail(ERR_CRYPTO);
}

enum err crl_make(const struct crl_order *o, struct buf *ret)
{
    TRY(check_order(o));
    AUTO(crl_autofree) X509_CRL *crl = X509_CRL_new();
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new(BIO_s_mem());
    if (crl == NULL || bio == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    TRY(set_head(crl, o));
    for (size_t i = 0; i < o->n; i++) {
        TRY(add_entry(crl, &o->entries[i]));
    }
    TRY(add_extensions(crl, o));
    if (X509_CRL_sort(crl) != 1 || X509_CRL_sign(crl, o->issuer_key->pkey, EVP_sha256()) <= 0 ||
        i2d_X509_CRL_bio(bio, crl) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return crypto_append_bio(bio, ret);
}

enum err crl_to_pem(struct slice der, struct buf *ret)
{
    if (der.n > CRL_FILE_MAX / 2) {
        return ERR_TOO_LARGE;
    }
    const uint8_t *at = der.p;
    AUTO(crl_autofree) X509_CRL *crl = der.n > 0 ? d2i_X509_CRL(NULL, &at, (long)der.n) : NULL;
    if (crl == NULL || at != der.p + der.n) {
        return crypto_fail(ERR_MALFORMED);
    }
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_X509_CRL(bio, crl) != 1) {
        return crypto_fail(ERR_NOMEM);
    }
    return crypto_append_bio(bio, ret);
}
