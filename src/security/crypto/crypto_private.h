/* crypto_private - what the files of this folder share. */
#ifndef SECURITY_CRYPTO_CRYPTO_PRIVATE_H
#define SECURITY_CRYPTO_CRYPTO_PRIVATE_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>

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

/* crypto_no_passphrase - a pem_password_cb that never asks the terminal. */
int crypto_no_passphrase(char *dst, int cap, int writing, void *ctx);

/* crypto_append_bio - appends what the memory bio holds to *ret. ERR_NOMEM. */
MUST_USE enum err crypto_append_bio(BIO *bio, struct buf *ret);

static inline void crypto_bio_autofree(BIO **bio)
{
    BIO_free_all(*bio);
}

#endif
