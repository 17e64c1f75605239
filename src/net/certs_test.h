/* certs_test - certificates made on the spot, for tests only. */
#ifndef NET_CERTS_TEST_H
#define NET_CERTS_TEST_H

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/slice.h"

struct test_cert {
    EVP_PKEY *key;
    X509 *x509;
    BIO *cert_pem, *key_pem;
};

struct test_cert_spec {
    const char *name;
    const struct test_cert *issuer; /* NULL: self-signed */
    const char *san, *eku;          /* NULL: none */
    bool ca, rsa1024;
    long from_s, to_s; /* from now; 0, 0: an hour around it */
};

static inline struct slice test_bio_slice(BIO *b)
{
    char *p = NULL;
    long n = BIO_get_mem_data(b, &p);
    return slice_of(p, (size_t)n);
}

static inline struct slice test_cert_pem(const struct test_cert *c)
{
    return test_bio_slice(c->cert_pem);
}

static inline struct slice test_key_pem(const struct test_cert *c)
{
    return test_bio_slice(c->key_pem);
}

static inline void test_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

static inline void test_cert_make(struct test_cert *c, const struct test_cert_spec *spec)
{
    static long serial = 1;
    bool timed = spec->from_s != 0 || spec->to_s != 0;
    c->key = spec->rsa1024 ? EVP_RSA_gen(1024) : EVP_EC_gen("P-256");
    c->x509 = X509_new();
    assert_non_null(c->key);
    assert_non_null(c->x509);
    X509_set_version(c->x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c->x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(c->x509), timed ? spec->from_s : -3600);
    X509_gmtime_adj(X509_getm_notAfter(c->x509), timed ? spec->to_s : 3600);
    X509_set_pubkey(c->x509, c->key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c->x509), "CN", MBSTRING_ASC,
                               (const unsigned char *)spec->name, -1, -1, 0);
    X509 *issuer = spec->issuer != NULL ? spec->issuer->x509 : c->x509;
    X509_set_issuer_name(c->x509, X509_get_subject_name(issuer));
    test_extension(c->x509, issuer, NID_basic_constraints,
                   spec->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (spec->ca) {
        test_extension(c->x509, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
        test_extension(c->x509, issuer, NID_subject_key_identifier, "hash");
    }
    if (spec->issuer != NULL) {
        test_extension(c->x509, issuer, NID_authority_key_identifier, "keyid");
    }
    if (spec->san != NULL) {
        test_extension(c->x509, issuer, NID_subject_alt_name, spec->san);
    }
    if (spec->eku != NULL) {
        test_extension(c->x509, issuer, NID_ext_key_usage, spec->eku);
    }
    EVP_PKEY *signer = spec->issuer != NULL ? spec->issuer->key : c->key;
    assert_true(X509_sign(c->x509, signer, EVP_sha256()) > 0);
    c->cert_pem = BIO_new(BIO_s_mem());
    c->key_pem = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(c->cert_pem, c->x509), 1);
    assert_int_equal(PEM_write_bio_PrivateKey(c->key_pem, c->key, NULL, NULL, 0, NULL, NULL), 1);
}

static inline void test_cert_done(struct test_cert *c)
{
    EVP_PKEY_free(c->key);
    X509_free(c->x509);
    BIO_free(c->cert_pem);
    BIO_free(c->key_pem);
}

#endif
