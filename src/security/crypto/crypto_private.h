/* crypto_private - what the files of this folder share. */
#ifndef SECURITY_CRYPTO_CRYPTO_PRIVATE_H
#define SECURITY_CRYPTO_CRYPTO_PRIVATE_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/buf.h"
#include "base/err.h"
#include "security/crypto/hmac.h"

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

/* crypto_no_passphrase - a pem_password_cb that never asks the terminal. */
int crypto_no_passphrase(char *dst, int cap, int writing, void *ctx);

/* hmac_over - as hmac_new, over another digest; shares md. ERR_CRYPTO where its blocks are longer
 * than those of SHA-512. */
MUST_USE enum err hmac_over(EVP_MD *md, struct hmac **ret);

/* crypto_append_bio - appends what the memory bio holds to *ret. ERR_NOMEM. */
MUST_USE enum err crypto_append_bio(BIO *bio, struct buf *ret);

static inline void crypto_bio_autofree(BIO **bio)
{
    BIO_free_all(*bio);
}

#endif
