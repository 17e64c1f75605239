/* key - an asymmetric key pair (P-256), or the public half of one. */
#ifndef SECURITY_CRYPTO_KEY_H
#define SECURITY_CRYPTO_KEY_H

#include "base/buf.h"
#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"
#include "security/crypto/digest.h"

enum { KEY_PEM_MAX = 4096 };

struct key;

/* key_generate - a new P-256 pair. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err key_generate(struct key **ret);
struct key *key_free(struct key *k);
AUTOFREE(key, key_free)
/* key_from_pem - a private key (PKCS#8 or SEC1, not encrypted) on P-256. ERR_MALFORMED,
 * ERR_TOO_LARGE over KEY_PEM_MAX, ERR_UNSUPPORTED: another kind of key; ERR_NOMEM. */
MUST_USE enum err key_from_pem(struct slice pem, struct key **ret);
/* key_from_spki - a public key from SubjectPublicKeyInfo DER; it cannot sign. Errors as
 * key_from_pem. */
MUST_USE enum err key_from_spki(struct slice der, struct key **ret);
/* key_to_pem - appends the private key as PKCS#8 to *ret, which the caller wipes. ERR_CRYPTO: only
 * a public half; ERR_NOMEM. */
MUST_USE enum err key_to_pem(const struct key *k, struct buf *ret);
/* key_to_der - the same as DER. */
MUST_USE enum err key_to_der(const struct key *k, struct buf *ret);
/* key_spki_sha256 - the name under which the directory knows a public key. ERR_CRYPTO. */
MUST_USE enum err key_spki_sha256(const struct key *k, struct digest *ret);

#endif
