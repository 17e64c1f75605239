/*
 * x509_request - requests for a certificate (PKCS#10) read and made.
 *
 * Reading says what is asked for, and checks that the asker holds the key (its signature). What
 * may be granted is the authority's to decide: of a request only the key is ever used as it is.
 */
#ifndef SECURITY_CRYPTO_X509_REQUEST_H
#define SECURITY_CRYPTO_X509_REQUEST_H

#include "security/crypto/x509.h"

enum { X509_REQUEST_MAX = 8 * 1024 };

struct x509_request;

/* All slices are borrowed from the request. */
struct x509_request_info {
    struct digest spki;    /* SHA-256 of SubjectPublicKeyInfo */
    struct slice spki_der; /* SubjectPublicKeyInfo: P-256 */
    bool asks_ca;          /* to be an authority, or to sign certificates */
    bool asks_sealed_key;  /* a key that is made for it to be encrypted under one of its own */
    size_t n_common_names;
    struct slice common_name; /* the last one; empty without one */
    size_t n_sans;
    struct x509_san sans[X509_SANS_MAX]; /* as encoded, not checked, as in x509_info */
};

/* x509_request_from_der - ERR_MALFORMED: none, trailing bytes, or not signed by the key it names;
 * ERR_UNSUPPORTED: the key is not on P-256; ERR_TOO_LARGE, ERR_LIMIT: over X509_SANS_MAX;
 * ERR_NOMEM. SPEC: RFC2986 4.2. */
MUST_USE enum err x509_request_from_der(struct slice der, struct x509_request **ret);
/* x509_request_wish_from_der - of who wants its key made for it: key and signature, whatever they
 * are, are not looked at; spki and spki_der stay empty. Else as above. SPEC: RFC7030 4.4.1. */
MUST_USE enum err x509_request_wish_from_der(struct slice der, struct x509_request **ret);
struct x509_request *x509_request_free(struct x509_request *r);
AUTOFREE(x509_request, x509_request_free)
/* x509_request_info - never NULL; lives as long as r. */
const struct x509_request_info *x509_request_info(const struct x509_request *r);

/* x509_request_make - appends the DER of a request for this name and these alternative names,
 * signed by key (a pair). Errors as x509_issue. */
MUST_USE enum err x509_request_make(const struct key *key, struct slice common_name,
                                    const struct x509_san *sans, size_t n_sans, struct buf *ret);

#endif
