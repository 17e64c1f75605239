/*
 * prf - the PRF of TLS 1.2 with SHA-256, for who needs one after the other: no algorithm is fetched
 * in a call. One object belongs to one thread; of a secret nothing stays in it. SPEC: RFC5246 5.
 */
#ifndef SECURITY_CRYPTO_PRF_H
#define SECURITY_CRYPTO_PRF_H

#include "base/err.h"
#include "base/scope.h"
#include "security/crypto/digest.h"

enum { PRF_MAX = 255 * DIGEST_BYTES, PRF_SEEDS = 6 };

struct prf;

/* prf_new - ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err prf_new(struct prf **ret);
struct prf *prf_free(struct prf *p);
AUTOFREE(prf, prf_free)

/*
 * prf_make - n bytes of PRF(secret, label, seed)
 *
 * secret  at least one byte.
 * seeds   label and seed in at most PRF_SEEDS pieces, a byte at least.
 * dst     n bytes, 1..PRF_MAX; wiped where it fails behind these bounds.
 *
 * ERR_CRYPTO. O(n).
 */
MUST_USE enum err prf_make(struct prf *p, struct slice secret, const struct slice *seeds,
                           size_t n_seeds, void *dst, size_t n);

#endif
