#include "security/crypto/x509_request.h"

#include "base/mem.h"
#include "security/crypto/x509_private.h"

struct x509_request {
    X509_REQ *req;
    GENERAL_NAMES *sans; /* info.sans point into it */
    uint8_t *spki;       /* the library's */
    struct x509_request_info info;
};

typedef STACK_OF(X509_EXTENSION) extensions;

static void extensions_autofree(extensions **e)
{
    sk_X509_EXTENSION_pop_free(*e, X509_EXTENSION_free);
}

static void constraints_autofree(BASIC_CONSTRAINTS **c)
{
    BASIC_CONSTRAINTS_free(*c);
}

static void bits_autofree(ASN1_BIT_STRING **b)
{
    ASN1_BIT_STRING_free(*b);
}

struct x509_request *x509_request_free(struct x509_request *r)
{
    if (r != NULL) {
        GENERAL_NAMES_free(r->sans);
        OPENSSL_free(r->spki);
        X509_REQ_free(r->req);
        mem_free(r);
    }
    return NULL;
}

const struct x509_request_info *x509_request_info(const struct x509_request *r)
{
    return &r->info;
}

/* SPEC: RFC2986 4.2: who asks has the key. */
static enum err read_key(struct x509_request *r)
{
    AUTO(key_autofree) struct key *key = NULL;
    int n = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(r->req), &r->spki);
    if (n <= 0) {
        return crypto_fail(ERR_MALFORMED);
    }
    r->info.spki_der = slice_of(r->spki, (size_t)n);
    TRY(key_from_spki(r->info.spki_der, &key));
    if (X509_REQ_verify(r->req, key->pkey) != 1) {
        return crypto_fail(ERR_MALFORMED);
    }
    return digest_sha256(r->info.spki_der, &r->info.spki);
}

/* DecryptKeyIdentifier, AsymmetricDecryptKeyIdentifier. SPEC: RFC7030 4.4.1 */
static bool is_key_identifier(const ASN1_OBJECT *o)
{
    static const uint8_t secret[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d,
                                     0x01, 0x09, 0x10, 0x02, 37};
    static const uint8_t pair[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 54};
    struct slice oid = slice_of(OBJ_get0_data(o), OBJ_length(o));
    return slice_equal(oid, slice_of(secret, sizeof secret)) ||
           slice_equal(oid, slice_of(pair, sizeof pair));
}

static void read_attributes(struct x509_request *r)
{
    for (int i = 0; i < X509_REQ_get_attr_count(r->req); i++) {
        X509_ATTRIBUTE *attribute = X509_REQ_get_attr(r->req, i);
        r->info.asks_sealed_key =
            r->info.asks_sealed_key || is_key_identifier(X509_ATTRIBUTE_get0_object(attribute));
    }
}

static void read_subject(struct x509_request *r)
{
    const X509_NAME *name = X509_REQ_get_subject_name(r->req);
    int at = -1;
    while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0) {
        r->info.n_common_names++;
        r->info.common_name =
            x509_string_slice(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    }
}

static enum err read_asks(struct x509_request *r, const extensions *all)
{
    enum { KEY_CERT_SIGN = 5, CRL_SIGN = 6 };
    int critical = -1;
    AUTO(constraints_autofree)
    BASIC_CONSTRAINTS *constraints = X509V3_get_d2i(all, NID_basic_constraints, &critical, NULL);
    if (constraints == NULL && critical != -1) {
        return crypto_fail(ERR_MALFORMED);
    }
    AUTO(bits_autofree)
    ASN1_BIT_STRING *usage = X509V3_get_d2i(all, NID_key_usage, &critical, NULL);
    if (usage == NULL && critical != -1) {
        return crypto_fail(ERR_MALFORMED);
    }
    r->info.asks_ca = (constraints != NULL && constraints->ca != 0) ||
                      (usage != NULL && (ASN1_BIT_STRING_get_bit(usage, KEY_CERT_SIGN) != 0 ||
                                         ASN1_BIT_STRING_get_bit(usage, CRL_SIGN) != 0));
    return OK;
}

static enum err read_extensions(struct x509_request *r)
{
    int critical = -1;
    if (X509_REQ_get_attr_by_NID(r->req, NID_ext_req, -1) < 0 &&
        X509_REQ_get_attr_by_NID(r->req, NID_ms_ext_req, -1) < 0) {
        return OK;
    }
    AUTO(extensions_autofree) extensions *all = X509_REQ_get_extensions(r->req);
    if (all == NULL) {
        return crypto_fail(ERR_MALFORMED);
    }
    TRY(read_asks(r, all));
    r->sans = X509V3_get_d2i(all, NID_subject_alt_name, &critical, NULL);
    if (r->sans == NULL) {
        return critical == -1 ? OK : crypto_fail(ERR_MALFORMED); /* -2: there are two */
    }
    return x509_read_sans(r->sans, r->info.sans, &r->info.n_sans);
}

static enum err from_der(struct slice der, bool has_key, struct x509_request **ret)
{
    if (der.n > X509_REQUEST_MAX) {
        return ERR_TOO_LARGE;
    }
    if (der.n == 0) {
        return ERR_MALFORMED;
    }
    AUTO(x509_request_autofree) struct x509_request *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    const uint8_t *at = der.p;
    r->req = d2i_X509_REQ(NULL, &at, (long)der.n);
    if (r->req == NULL || at != der.p + der.n) {
        return crypto_fail(ERR_MALFORMED);
    }
    if (has_key) {
        TRY(read_key(r));
    }
    read_attributes(r);
    read_subject(r);
    TRY(read_extensions(r));
    ERR_clear_error(); /* extensions that were merely absent leave entries too */
    *ret = TAKE(r);
    return OK;
}

enum err x509_request_from_der(struct slice der, struct x509_request **ret)
{
    return from_der(der, true, ret);
}

enum err x509_request_wish_from_der(struct slice der, struct x509_request **ret)
{
    return from_der(der, false, ret);
}

static void req_autofree(X509_REQ **req)
{
    X509_REQ_free(*req);
}

static void names_autofree(GENERAL_NAMES **names)
{
    GENERAL_NAMES_free(*names);
}

static void name_autofree(X509_NAME **name)
{
    X509_NAME_free(*name);
}

static enum err add_sans(X509_REQ *req, const struct x509_san *sans, size_t n)
{
    AUTO(names_autofree) GENERAL_NAMES *names = NULL;
    AUTO(extensions_autofree) extensions *all = NULL;
    if (n == 0) {
        return OK;
    }
    TRY(x509_make_sans(sans, n, &names));
    if (X509V3_add1_i2d(&all, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) != 1 ||
        X509_REQ_add_extensions(req, all) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}

enum err x509_request_make(const struct key *key, struct slice common_name,
                           const struct x509_san *sans, size_t n_sans, struct buf *ret)
{
    AUTO(req_autofree) X509_REQ *req = X509_REQ_new();
    AUTO(name_autofree) X509_NAME *subject = NULL;
    if (!key->is_private) {
        return ERR_CRYPTO;
    }
    if (req == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    TRY(x509_make_name(common_name, &subject));
    if (X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_subject_name(req, subject) != 1 || X509_REQ_set_pubkey(req, key->pkey) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    TRY(add_sans(req, sans, n_sans));
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || X509_REQ_sign(req, key->pkey, EVP_sha256()) <= 0 ||
        i2d_X509_REQ_bio(bio, req) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return crypto_append_bio(bio, ret);
}
