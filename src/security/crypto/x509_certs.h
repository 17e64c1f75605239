/* x509_certs - certificates in a PKCS#7 message that signs nothing, as EST gives them.
 * SPEC: RFC5652 5.2, RFC7030 4.1.3. */
#ifndef SECURITY_CRYPTO_X509_CERTS_H
#define SECURITY_CRYPTO_X509_CERTS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum { X509_CERTS_BYTES = 64 * 1024, X509_CERTS_MAX = 16 };

/* x509_certs_make - all certificates of a PEM file, in its order, as DER appended to *ret.
 * ERR_NOT_FOUND: it has none; ERR_MALFORMED, ERR_LIMIT, ERR_CRYPTO, ERR_NOMEM. */
MUST_USE enum err x509_certs_make(struct slice pem, struct buf *ret);
/* x509_certs_read - the other way: PEM appended to *ret. Nothing is verified. ERR_MALFORMED: no
 * such message, or bytes behind it; ERR_NOT_FOUND, ERR_LIMIT, ERR_TOO_LARGE, ERR_NOMEM. */
MUST_USE enum err x509_certs_read(struct slice der, struct buf *ret);

#endif
