/*
 * trail_key - the key that signs checkpoints, in DIR/scribe/audit-key.sealed.
 *
 * The daemon seals it under a key out of two: the keyring's root, and a secret of the scribe's own
 * in DIR/scribe/secret, which no other process may read. So the root alone, which the broker has,
 * opens it as little as the folder alone does.
 */
#ifndef SERVICE_WATCH_TRAIL_KEY_H
#define SERVICE_WATCH_TRAIL_KEY_H

#include "base/disk.h"
#include "base/random.h"
#include "security/crypto/ed25519.h"

enum { TRAIL_SEEDS_MAX = 2, TRAIL_SECRET_BYTES = 32 };
#define TRAIL_SECRET_FILE     "scribe/secret"
#define TRAIL_KEY_FILE_FORMER "audit-key.sealed" /* of a version before, under the root alone */

/* One seed; two while the key changes: whichever the last checkpoint names is in force. */
struct trail_seeds {
    size_t n;
    uint8_t seed[TRAIL_SEEDS_MAX][ED25519_SEED_BYTES];
};

void trail_seeds_wipe(struct trail_seeds *s);
void trail_seed_make(const struct random_source *random, uint8_t ret[ED25519_SEED_BYTES]);
/* trail_seeds_load - ERR_NOT_FOUND; ERR_CRYPTO: changed, or another seal; ERR_MALFORMED; ERR_IO,
 * ERR_NOMEM. */
MUST_USE enum err trail_seeds_load(struct disk *d, struct slice seal, struct trail_seeds *ret);
/* trail_seeds_save - overwrites the file of before. ERR_IO, ERR_SPACE, ERR_DENIED, ERR_NOMEM,
 * ERR_CRYPTO. */
MUST_USE enum err trail_seeds_save(struct disk *d, struct slice seal,
                                   const struct random_source *random, const struct trail_seeds *s);
/* trail_key_seal - what the seeds are sealed under; makes the folder and the secret when there is
 * none. dst: 32 bytes. ERR_MALFORMED: the secret is none; ERR_IO, ERR_SPACE, ERR_DENIED, ERR_NOMEM,
 * ERR_CRYPTO. */
MUST_USE enum err trail_key_seal(struct disk *d, struct slice root,
                                 const struct random_source *random, uint8_t dst[32]);
/* trail_seeds_adopt - seeds of a version before come under seal, and their file is overwritten and
 * removed; nothing happens when there is none, or when it does not open. ERR_IO and as
 * trail_seeds_save. */
MUST_USE enum err trail_seeds_adopt(struct disk *d, struct slice root, struct slice seal,
                                    const struct random_source *random);

#endif
