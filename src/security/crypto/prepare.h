/* prepare - what the crypto library reads from outside on first use, done at a moment of the
 * caller's choosing. */
#ifndef SECURITY_CRYPTO_PREPARE_H
#define SECURITY_CRYPTO_PREPARE_H

#include "base/err.h"

/* crypto_prepare - once, before a sandbox closes and before other threads run: no configuration
 * file of the library's is ever read (it could weaken what we set), its random generator is seeded.
 * ERR_CRYPTO. */
MUST_USE enum err crypto_prepare(void);

#endif
