/*
 * backup - a copy of a data directory as one sealed file: written as a stream, read at any place.
 *
 *   head   magic and version (8), salt (32), u32 n, n bytes of text in clear
 *   parts  {u8 type, 3 zeros, u32 n}, n bytes under AES-256-GCM, tag
 *          manifest once; then for each file its name, its size and how much of it is stored (what
 *          is behind that is zeros: a segment is reserved in full), and that in pieces of
 *          BACKUP_PIECE_BYTES (the last one shorter); then the end with how many there were
 *
 * The key is HKDF(root key of the keyring, SHA-256 of the head, "sallyport backup"), the nonce the
 * part's number; each part authenticates the tag of the one before, so the last tag is a digest of
 * the whole file: every changed bit and every missing byte is found. The file never holds a master
 * key or a keyring; without both it opens nothing, and what the log sealed under a principal's key
 * stays sealed in here.
 */
#ifndef STORE_BACKUP_H
#define STORE_BACKUP_H

#include "base/disk.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/why.h"

enum {
    BACKUP_FORMAT = 1,
    BACKUP_ROOT_BYTES = 32,
    BACKUP_CLEAR_MAX = 16 * 1024,
    BACKUP_MANIFEST_MAX = 64 * 1024,
    BACKUP_PIECE_BYTES = 256 * 1024,
    BACKUP_NAME_MAX = 200,
    BACKUP_FILES_MAX = 1 << 16
};

/* ---- writing ---- */

struct backup_writer;

struct backup_order {
    struct disk *to; /* the file is made here; outlives the writer */
    const char *name;
    struct slice root;     /* BACKUP_ROOT_BYTES, borrowed for the call */
    struct slice clear;    /* what a reader without keys is told; nothing secret */
    struct slice manifest; /* what a reader with keys is told */
    struct random_source random;
};

/* backup_begin - head and manifest in a new file. ERR_EXISTS: `name` is there; ERR_TOO_LARGE,
 * ERR_IO, ERR_SPACE, ERR_DENIED, ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err backup_begin(const struct backup_order *o, struct backup_writer **ret);
/* backup_add - the file `path` of disk d, as long as it is now: one that grows meanwhile is cut
 * there. ERR_TRUNCATED: it became shorter; ERR_NOT_FOUND, ERR_LIMIT and as backup_begin. After an
 * error the writer is only good for backup_writer_free. */
MUST_USE enum err backup_add(struct backup_writer *w, struct disk *d, const char *path);
/* backup_end - the end; synced. */
MUST_USE enum err backup_end(struct backup_writer *w);
uint64_t backup_written(const struct backup_writer *w); /* bytes until now */
/* backup_writer_free - closes; without backup_end before, removes the file. NULL is fine. */
struct backup_writer *backup_writer_free(struct backup_writer *w);
AUTOFREE(backup_writer, backup_writer_free)

/* ---- reading ---- */

struct backup;

/* backup_clear - the head's text, appended to *ret, believed by nobody before backup_open has
 * verified it. ERR_NOT_FOUND; ERR_MALFORMED: no backup; ERR_UNSUPPORTED: of a later format;
 * ERR_TRUNCATED, ERR_IO, ERR_NOMEM; *why says so. */
MUST_USE enum err backup_clear(struct disk *d, const char *name, struct buf *ret, struct why *why);

/*
 * backup_open - reads and verifies all of it
 *
 * d     outlives *ret.
 * seen  called now and then with the bytes read and all bytes; NULL: nobody watches.
 * ERR_CRYPTO: another keyring, or a bit has changed; ERR_TRUNCATED: the end is missing;
 * ERR_TRAILING, ERR_MALFORMED and as backup_clear; *why says where.
 */
MUST_USE enum err backup_open(struct disk *d, const char *name, struct slice root,
                              void (*seen)(void *ctx, uint64_t bytes, uint64_t all), void *ctx,
                              struct backup **ret, struct why *why);
struct backup *backup_free(struct backup *b);
AUTOFREE(backup, backup_free)

struct slice backup_manifest(const struct backup *b);
size_t backup_count(const struct backup *b);
/* Of file i < backup_count, in the order written. */
const char *backup_name(const struct backup *b, size_t i);
uint64_t backup_size(const struct backup *b, size_t i);
/* backup_read - n bytes of file i from `at`, fewer at its end. ERR_CRYPTO: changed since it was
 * opened; ERR_IO, ERR_NOMEM. Cheap in order, a piece each otherwise. One thread. */
MUST_USE enum err backup_read(struct backup *b, size_t i, uint64_t at, void *dst, size_t n,
                              size_t *ret_n);
/* backup_copy - file i to the same name on disk d; its folder is there. Synced. */
MUST_USE enum err backup_copy(struct backup *b, size_t i, struct disk *d);

/* backup_disk - the files of b as a disk (b outlives it; NULL: no files). Files of b are read only;
 * whatever is written stays in memory. ERR_NOMEM. */
MUST_USE enum err backup_disk(struct backup *b, struct disk **ret);

#endif
