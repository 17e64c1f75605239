/* authority_test - an authority and a leaf, for tests of what it signs besides certificates. */
#ifndef SECURITY_CRYPTO_AUTHORITY_TEST_H
#define SECURITY_CRYPTO_AUTHORITY_TEST_H

#include "security/crypto/x509.h"

#define AUTHORITY_NOW INT64_C(1795000000000)
#define AUTHORITY_DAY INT64_C(86400000)

struct test_authority {
    struct key *key, *leaf_key;
    struct x509 *cert, *leaf;
    struct buf pem;
};

static inline enum err test_authority_leaf(const struct test_authority *a, struct x509 **ret)
{
    struct random_source random = random_system();
    struct x509_order o = {.kind = X509_KIND_CLIENT,
                           .common_name = slice_text("leaf"),
                           .subject = a->leaf_key,
                           .issuer = a->cert,
                           .issuer_key = a->key,
                           .now_wall_ms = AUTHORITY_NOW};
    return x509_issue(&o, &random, ret);
}

static inline enum err test_authority_make(const char *name, struct test_authority *ret)
{
    struct random_source random = random_system();
    *ret = (struct test_authority){0};
    TRY(key_generate(&ret->key));
    TRY(key_generate(&ret->leaf_key));
    struct x509_order o = {.kind = X509_KIND_ROOT,
                           .common_name = slice_text(name),
                           .subject = ret->key,
                           .issuer_key = ret->key,
                           .now_wall_ms = AUTHORITY_NOW};
    TRY(x509_issue(&o, &random, &ret->cert));
    TRY(x509_to_pem(ret->cert, &ret->pem));
    return test_authority_leaf(ret, &ret->leaf);
}

static inline void test_authority_done(struct test_authority *a)
{
    a->key = key_free(a->key);
    a->leaf_key = key_free(a->leaf_key);
    a->cert = x509_free(a->cert);
    a->leaf = x509_free(a->leaf);
    buf_done(&a->pem);
}

#endif
