/*
 * sealed - a whole small file under the master key: magic, version, random salt, ciphertext, tag.
 *
 * Each sealing derives a key of its own from (master, fresh 32-byte salt, purpose), so no nonce is
 * ever used twice, also when an old copy of the file is restored. The purpose binds a file to its
 * place: the sealed CA key does not open as the directory.
 */
#ifndef SECURITY_CRYPTO_SEALED_H
#define SECURITY_CRYPTO_SEALED_H

#include "base/buf.h"
#include "base/err.h"
#include "base/random.h"
#include "base/slice.h"

enum { SEALED_MASTER_BYTES = 32, SEALED_HEAD_BYTES = 8 + 32, SEALED_OVERHEAD_BYTES = 40 + 16 };

/* sealed_make - appends the file to *ret. master is SEALED_MASTER_BYTES; purpose is a constant
 * text. ERR_TOO_LARGE over limit, ERR_NOMEM, ERR_CRYPTO; *ret keeps what it had. */
MUST_USE enum err sealed_make(struct slice master, const char *purpose,
                              const struct random_source *random, struct slice plain, size_t limit,
                              struct buf *ret);
/* sealed_open - appends the plaintext to *ret (wipe it: buf_wipe). ERR_TRUNCATED, ERR_UNSUPPORTED:
 * another format or version; ERR_CRYPTO: changed, another master key, or another purpose;
 * ERR_NOMEM. */
MUST_USE enum err sealed_open(struct slice master, const char *purpose, struct slice file,
                              struct buf *ret);

#endif
