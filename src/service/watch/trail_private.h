/* trail_private - how an opening is sealed: what the reader and the writer of the trail share. */
#ifndef SERVICE_WATCH_TRAIL_PRIVATE_H
#define SERVICE_WATCH_TRAIL_PRIVATE_H

#include "base/siphash.h"
#include "security/crypto/aead.h"
#include "service/watch/trail.h"

enum {
    TRAIL_MAGIC_BYTES = 8,
    TRAIL_SALT_BYTES = 32,
    TRAIL_HEAD_BYTES = TRAIL_MAGIC_BYTES + 4 + 4 + TRAIL_SALT_BYTES + AEAD_TAG_BYTES,
    TRAIL_HEADS = 2,
    TRAIL_RECORD_HEAD_BYTES = 4 + 4 + 8,
    TRAIL_RECORD_MIN = TRAIL_RECORD_HEAD_BYTES + AEAD_TAG_BYTES,
    TRAIL_RECORD_MAX = TRAIL_RECORD_MIN + TRAIL_LINE_MAX
};

/* The keys of one opening. */
struct trail_seal {
    uint8_t salt[TRAIL_SALT_BYTES];
    struct aead *aead; /* NULL: there is no opening */
    struct siphash_key check;
};

struct trail_place {
    uint32_t file;
    uint64_t offset;
};

/* trail_seal_new - replaces *s, which is as before after an error. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err trail_seal_new(struct slice root, const uint8_t salt[TRAIL_SALT_BYTES],
                                 struct trail_seal *s);
void trail_seal_done(struct trail_seal *s); /* wipes */

/* The head's copy at this place. */
MUST_USE enum err trail_head_write(const struct trail_seal *s, struct trail_place at, uint32_t copy,
                                   uint8_t dst[TRAIL_HEAD_BYTES]);
/* trail_head_read - whether bytes begin with a head; *s becomes its opening's. ERR_NOT_FOUND: they
 * do not, or it does not verify; else as trail_seal_new. */
MUST_USE enum err trail_head_read(struct slice root, struct trail_place at, struct slice bytes,
                                  struct trail_seal *s, uint32_t *ret_copy);

/* dst has TRAIL_RECORD_MIN + line.n bytes. */
MUST_USE enum err trail_record_write(const struct trail_seal *s, struct trail_place at,
                                     uint64_t number, struct slice line, uint8_t *dst);

struct trail_record {
    uint32_t bytes; /* of the whole record */
    uint64_t number;
};
/* trail_record_head - whether a record stands at the front of bytes. O(1). */
bool trail_record_head(const struct trail_seal *s, struct trail_place at, struct slice bytes,
                       struct trail_record *ret);
/* trail_record_open - its line into dst (TRAIL_LINE_MAX). ERR_TRUNCATED: bytes end before it does;
 * ERR_CRYPTO. */
MUST_USE enum err trail_record_open(const struct trail_seal *s, struct trail_place at,
                                    const struct trail_record *r, struct slice bytes, uint8_t *dst,
                                    struct slice *ret);

/* The numbers of the files, in order. */
struct trail_files {
    struct buf numbers; /* of uint32_t */
};
MUST_USE enum err trail_files_list(struct disk *d, struct trail_files *ret);
size_t trail_files_n(const struct trail_files *f);
uint32_t trail_files_at(const struct trail_files *f, size_t i);
void trail_files_done(struct trail_files *f);

#endif
