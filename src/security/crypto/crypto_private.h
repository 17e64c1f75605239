/* crypto_private - what the files of this folder share. */
#ifndef SECURITY_CRYPTO_CRYPTO_PRIVATE_H
#define SECURITY_CRYPTO_CRYPTO_PRIVATE_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/buf.h"
#include "base/err.h"

struct key {
    EVP_PKEY *pkey;
    bool is_private;
};

/* crypto_fail - empties the library's error queue, so that nothing stale reaches a TLS session of
 * this thread, and returns e. */
static inline enum err crypto_fail(enum err e)
{
    ERR_clear_error();
    return e;
}

/* crypto_octets - a parameter of the library's, which is not const there; it only reads these. */
static inline OSSL_PARAM crypto_octets(const char *name, struct slice s)
{
    static const uint8_t none[1];
    return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)(s.n > 0 ? s.p : none), s.n);
}

/* crypto_name - a parameter that is the name of an algorithm, which must outlive its use. */
static inline OSSL_PARAM crypto_name(const char *name, const char *algorithm)
{
    return OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)algorithm, 0);
}

/* crypto_no_passphrase - a pem_password_cb that never asks the terminal. */
int crypto_no_passphrase(char *dst, int cap, int writing, void *ctx);

/* crypto_append_bio - appends what the memory bio holds to *ret. ERR_NOMEM. */
MUST_USE enum err crypto_append_bio(BIO *bio, struct buf *ret);

static inline void crypto_bio_autofree(BIO **bio)
{
    BIO_free_all(*bio);
}

#endif
