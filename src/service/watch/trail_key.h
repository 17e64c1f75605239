/* trail_key - the key that signs checkpoints, in DIR/audit-key.sealed. */
#ifndef SERVICE_WATCH_TRAIL_KEY_H
#define SERVICE_WATCH_TRAIL_KEY_H

#include "base/disk.h"
#include "base/random.h"
#include "security/crypto/ed25519.h"

enum { TRAIL_SEEDS_MAX = 2 };

/* One seed; two while the key changes: whichever the last checkpoint names is in force. */
struct trail_seeds {
    size_t n;
    uint8_t seed[TRAIL_SEEDS_MAX][ED25519_SEED_BYTES];
};

void trail_seeds_wipe(struct trail_seeds *s);
void trail_seed_make(const struct random_source *random, uint8_t ret[ED25519_SEED_BYTES]);
/* trail_seeds_load - ERR_NOT_FOUND; ERR_CRYPTO: changed, or another root; ERR_MALFORMED; ERR_IO,
 * ERR_NOMEM. */
MUST_USE enum err trail_seeds_load(struct disk *d, struct slice root, struct trail_seeds *ret);
/* trail_seeds_save - overwrites the file of before. ERR_IO, ERR_SPACE, ERR_DENIED, ERR_NOMEM,
 * ERR_CRYPTO. */
MUST_USE enum err trail_seeds_save(struct disk *d, struct slice root,
                                   const struct random_source *random, const struct trail_seeds *s);

#endif
