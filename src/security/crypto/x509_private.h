/* x509_private - a certificate and what was read out of it. */
#ifndef SECURITY_CRYPTO_X509_PRIVATE_H
#define SECURITY_CRYPTO_X509_PRIVATE_H

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "security/crypto/crypto_private.h"
#include "security/crypto/x509.h"

struct x509 {
    X509 *cert;
    GENERAL_NAMES *sans; /* info.sans point into it */
    struct x509_info info;
};

/* x509_time - wall milliseconds. ERR_MALFORMED, ERR_NOMEM. */
MUST_USE enum err x509_time(const ASN1_TIME *t, int64_t *ret);
/* x509_id - what x509_info.id is, of an issuer and a serial. ERR_MALFORMED, ERR_NOMEM, ERR_CRYPTO.
 */
MUST_USE enum err x509_id(const X509_NAME *issuer, const ASN1_INTEGER *serial, struct digest *ret);
/* x509_wrap - takes cert, also on error, and reads it. Errors as x509_from_der. */
MUST_USE enum err x509_wrap(X509 *cert, struct x509 **ret);

/* Shared by certificates and requests. */
struct slice x509_string_slice(const ASN1_STRING *s);
/* x509_read_sans - dst has X509_SANS_MAX places and points into names. ERR_LIMIT. */
MUST_USE enum err x509_read_sans(const GENERAL_NAMES *names, struct x509_san *dst, size_t *ret_n);
/* x509_make_sans, x509_make_name - errors as x509_issue; the caller frees. */
MUST_USE enum err x509_make_sans(const struct x509_san *sans, size_t n, GENERAL_NAMES **ret);
MUST_USE enum err x509_make_name(struct slice common_name, X509_NAME **ret);

#endif
