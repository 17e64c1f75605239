/*
 * sigkey - a public key that checks signatures of exactly one algorithm.
 *
 * The algorithm belongs to the key, never to the message: a key made for one is of no use for
 * another, whatever somebody wrote beside the signature.
 */
#ifndef SECURITY_CRYPTO_SIGKEY_H
#define SECURITY_CRYPTO_SIGKEY_H

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"

enum sigkey_alg {
    SIGKEY_RS256, /* RSASSA-PKCS1-v1_5, SHA-256 */
    SIGKEY_ES256, /* ECDSA on P-256, SHA-256; the signature is r and s, 32 bytes each */
    SIGKEY_EDDSA, /* Ed25519 */
    SIGKEY_ALGS
};

enum {
    SIGKEY_RSA_BITS_MIN = 2048,
    SIGKEY_RSA_BITS_MAX = 4096, /* what a stranger's token may cost us */
    SIGKEY_RSA_E_MIN = 65537,
    SIGKEY_RSA_E_BYTES_MAX = 4,
    SIGKEY_BYTES_MAX = SIGKEY_RSA_BITS_MAX / 8 /* longest member of a key, longest signature */
};

struct sigkey;

/* All numbers big-endian. ERR_DENIED: well-formed, but too weak (RSA below SIGKEY_RSA_BITS_MIN, an
 * exponent that is even or below SIGKEY_RSA_E_MIN); ERR_TOO_LARGE; ERR_MALFORMED: leading zeros, a
 * wrong length, a point that is not on the curve; ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err sigkey_rsa(struct slice n, struct slice e, struct sigkey **ret);
MUST_USE enum err sigkey_p256(struct slice x, struct slice y, struct sigkey **ret);
MUST_USE enum err sigkey_ed25519(struct slice x, struct sigkey **ret);
struct sigkey *sigkey_free(struct sigkey *k);
AUTOFREE(sigkey, sigkey_free)

enum sigkey_alg sigkey_alg_of(const struct sigkey *k);
/* sigkey_alg_name - "RS256", "ES256", "EdDSA". SPEC: RFC7518 3.1, RFC8037 3.1. */
const char *sigkey_alg_name(enum sigkey_alg alg);

/* sigkey_verify - ERR_AUTH: the signature is not this key's over this text; ERR_NOMEM, ERR_CRYPTO:
 * could not tell, so no. Safe from any thread. Up to 0.3 ms.
 * SPEC: RFC7518 3.3, 3.4, RFC8037 3.1. */
MUST_USE enum err sigkey_verify(const struct sigkey *k, struct slice text, struct slice signature);

#endif
