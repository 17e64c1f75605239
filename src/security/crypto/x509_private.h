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

#endif
