/* backup_private - the parts of a backup file, to bytes and back. */
#ifndef STORE_BACKUP_PRIVATE_H
#define STORE_BACKUP_PRIVATE_H

#include "security/crypto/aead.h"
#include "store/backup.h"

enum {
    BACKUP_MAGIC_BYTES = 8,
    BACKUP_SALT_BYTES = 32,
    BACKUP_HEAD_BYTES = BACKUP_MAGIC_BYTES + BACKUP_SALT_BYTES + 4,
    BACKUP_PART_HEAD_BYTES = 8,
    BACKUP_PART_OVERHEAD = BACKUP_PART_HEAD_BYTES + AEAD_TAG_BYTES,
    BACKUP_PART_MAX = BACKUP_PIECE_BYTES
};

/* The numbers are in files: none is used twice. */
enum backup_type {
    BACKUP_MANIFEST = 1,
    BACKUP_FILE = 2, /* u64 size, u64 stored, name */
    BACKUP_DATA = 3,
    BACKUP_END = 4 /* u64 parts before this one, u32 files */
};

/* Where a part stands in the chain. */
struct backup_link {
    uint64_t number;
    uint8_t tag[AEAD_TAG_BYTES]; /* of the part before; zeros: there is none */
};

/* backup_key - from the root and the whole head with its clear text. */
MUST_USE enum err backup_key(struct slice root, struct slice head, struct aead **ret);
/* backup_head_write - magic, salt and length; the clear text follows. */
void backup_head_write(const uint8_t salt[BACKUP_SALT_BYTES], size_t n_clear,
                       uint8_t dst[BACKUP_HEAD_BYTES]);
/* backup_head_read - ERR_MALFORMED, ERR_UNSUPPORTED, ERR_TRUNCATED. */
MUST_USE enum err backup_head_read(struct slice bytes, size_t *ret_clear);

/* backup_part_seal - dst has plain.n + BACKUP_PART_OVERHEAD bytes; *link moves on. */
MUST_USE enum err backup_part_seal(struct aead *a, struct backup_link *link, enum backup_type type,
                                   struct slice plain, uint8_t *dst);
/* backup_part_head - ERR_TRUNCATED; ERR_CRYPTO: no head of a part. */
MUST_USE enum err backup_part_head(struct slice bytes, enum backup_type *ret_type, size_t *ret_n);
/* backup_part_open - part is the whole; dst as long as its content; *link moves on. ERR_CRYPTO. */
MUST_USE enum err backup_part_open(struct aead *a, struct backup_link *link, struct slice part,
                                   uint8_t *dst);

/* backup_name_check - a relative name of plain characters that never leaves its folder.
 * ERR_MALFORMED, ERR_TOO_LARGE. */
MUST_USE enum err backup_name_check(struct slice name);

#endif
