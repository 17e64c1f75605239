/*
 * trail_follow - reads the chain of the trail record by record while it is written, from a place
 * that can be kept: what follows the trail needs no queue of its own.
 *
 * Damage is passed over, and so are lines of before the chain; who follows sees it by the numbers.
 */
#ifndef SERVICE_WATCH_TRAIL_FOLLOW_H
#define SERVICE_WATCH_TRAIL_FOLLOW_H

#include "service/watch/chain.h"
#include "service/watch/trail.h"

#define TRAIL_NO_OPENING UINT64_MAX
enum { TRAIL_SPOT_BYTES = 48 };

/* Behind which record somebody is. {0}: before all that is kept. */
struct trail_spot {
    uint32_t file;    /* 0: none yet */
    uint64_t opening; /* where the head of the record's opening stands, or TRAIL_NO_OPENING */
    uint64_t offset;  /* of the next record */
    uint64_t seq;     /* of the last one */
};

void trail_spot_encode(const struct trail_spot *s, uint8_t dst[TRAIL_SPOT_BYTES]);
/* trail_spot_decode - ERR_MALFORMED: it is none, or is not whole; ERR_CRYPTO. */
MUST_USE enum err trail_spot_decode(struct slice bytes, struct trail_spot *ret);

struct trail_follow;

/* trail_follow_new - disk is borrowed for life, root for the call. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err trail_follow_new(struct disk *d, struct slice root, struct trail_follow **ret);
struct trail_follow *trail_follow_free(struct trail_follow *f);
AUTOFREE(trail_follow, trail_follow_free)
/* trail_follow_to - the next record is the one behind this. When it was forgotten meanwhile, the
 * oldest that is kept; when the spot fits nothing, too. */
void trail_follow_to(struct trail_follow *f, const struct trail_spot *s);
/* trail_follow_spot - behind the record that came last. */
struct trail_spot trail_follow_spot(const struct trail_follow *f);

struct trail_next {
    struct chain_entry entry; /* body borrowed until the next call */
    struct digest leaf;
};
/* trail_follow_next - ERR_AGAIN: there is no further one yet; ERR_IO, ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err trail_follow_next(struct trail_follow *f, struct trail_next *ret);
/* trail_follow_is_last_chance - the spot is in a file that is forgotten when the next one begins.
 */
MUST_USE enum err trail_follow_is_last_chance(struct disk *d, const struct trail_spot *s,
                                              bool *ret);

#endif
