/* trail_private - how an opening is sealed: what the reader and the writer of the trail share. */
#ifndef SERVICE_WATCH_TRAIL_PRIVATE_H
#define SERVICE_WATCH_TRAIL_PRIVATE_H

#include "base/siphash.h"
#include "security/crypto/aead.h"
#include "service/watch/chain.h"
#include "service/watch/trail.h"

enum {
    TRAIL_MAGIC_BYTES = 8,
    TRAIL_VERSION_LINES = 1, /* a record's plaintext is a line; an empty one ends an opening */
    TRAIL_VERSION_CHAIN = 2, /* it is an entry of the chain; what stands where is said in it */
    TRAIL_SALT_BYTES = 32,
    TRAIL_HEAD_BYTES_1 = TRAIL_MAGIC_BYTES + 4 + 4 + TRAIL_SALT_BYTES + AEAD_TAG_BYTES,
    TRAIL_HEAD_BYTES = TRAIL_HEAD_BYTES_1 + 8,
    TRAIL_HEADS = 2,
    TRAIL_RECORD_HEAD_BYTES_1 = 4 + 4 + 8,
    TRAIL_RECORD_HEAD_BYTES = TRAIL_RECORD_HEAD_BYTES_1 + 8,
    TRAIL_PLAIN_MAX = CHAIN_FRONT_BYTES + TRAIL_LINE_MAX,
    TRAIL_RECORD_MIN = TRAIL_RECORD_HEAD_BYTES + AEAD_TAG_BYTES,
    TRAIL_RECORD_MAX = TRAIL_RECORD_MIN + TRAIL_PLAIN_MAX,
    /* What a line costs beside itself. */
    TRAIL_LINE_OVERHEAD = TRAIL_RECORD_MIN + CHAIN_FRONT_BYTES
};
_Static_assert((int)CHAIN_CHECKPOINT_BYTES <= (int)TRAIL_LINE_MAX, "a checkpoint is a record");

struct trail_place {
    uint32_t file;
    uint64_t offset;
};

/* The keys of one opening, and what its head says. */
struct trail_seal {
    unsigned version;
    struct trail_place written; /* where the head that was read says it stands */
    uint8_t salt[TRAIL_SALT_BYTES];
    struct aead *aead; /* NULL: there is no opening */
    struct siphash_key check;
};

size_t trail_head_bytes(unsigned version);
size_t trail_record_min(unsigned version);

/* trail_seal_new - replaces *s, which is as before after an error. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err trail_seal_new(unsigned version, struct slice root,
                                 const uint8_t salt[TRAIL_SALT_BYTES], struct trail_seal *s);
void trail_seal_done(struct trail_seal *s); /* wipes */

/* The head's copy at this place, trail_head_bytes. */
MUST_USE enum err trail_head_write(const struct trail_seal *s, struct trail_place at, uint32_t copy,
                                   uint8_t dst[TRAIL_HEAD_BYTES]);
/* trail_head_read - whether bytes, which were found at this place, begin with a head; *s becomes
 * its opening's. ERR_NOT_FOUND: they do not, or it does not verify; else as trail_seal_new. One
 * that was written somewhere else is taken, s->written says where; of version 1 it does not verify.
 */
MUST_USE enum err trail_head_read(struct slice root, struct trail_place at, struct slice bytes,
                                  struct trail_seal *s, uint32_t *ret_copy);

/* dst has trail_record_min + plain.n bytes. */
MUST_USE enum err trail_record_write(const struct trail_seal *s, struct trail_place at,
                                     uint64_t number, struct slice plain, uint8_t *dst);

struct trail_record {
    uint32_t bytes; /* of the whole record */
    uint64_t number;
    struct trail_place written; /* where it says it stands */
};
/* trail_record_head - whether a record stands at the front of bytes, which were found at this
 * place. O(1). */
bool trail_record_head(const struct trail_seal *s, struct trail_place at, struct slice bytes,
                       struct trail_record *ret);
/* trail_record_open - its plaintext into dst (TRAIL_PLAIN_MAX). ERR_TRUNCATED: bytes end before it
 * does; ERR_CRYPTO. */
MUST_USE enum err trail_record_open(const struct trail_seal *s, const struct trail_record *r,
                                    struct slice bytes, uint8_t *dst, struct slice *ret);

/* trail_older_add - one more line of version 1 into the hash over them; begins with zeros. */
MUST_USE enum err trail_older_add(struct digest *older, struct slice line);

/* The numbers of the files, in order. */
struct trail_files {
    struct buf numbers; /* of uint32_t */
};
MUST_USE enum err trail_files_list(struct disk *d, struct trail_files *ret);
size_t trail_files_n(const struct trail_files *f);
uint32_t trail_files_at(const struct trail_files *f, size_t i);
void trail_files_done(struct trail_files *f);

#endif
