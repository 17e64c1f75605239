/*
 * trail - the sealed files of the audit trail: DIR/audit/NNNNNNNN.sealed (number in hexadecimal),
 * lines under AES-256-GCM, oldest file first forgotten.
 *
 * A file is openings behind each other. An opening is a head, written twice (so that one bad sector
 * does not hide what follows), and its records. Each opening has a fresh salt, so no nonce comes
 * twice, also when an old copy of the directory is restored and goes on; a restart begins an
 * opening, not a file, so restarts push no history out. Nothing is written before the first line.
 *
 *   head    magic and version (8), copy (u32), 0 (u32), salt (32), tag (16)
 *   record  check (u32), bytes of the whole record (u32), number (u64), then line and tag
 *
 * Keys are HKDF(root, salt, "sallyport audit"). A record's nonce is its number, which counts in its
 * opening; file and offset are authenticated with it, so nothing can be moved. `check` is SipHash
 * of place, bytes and number, so that a reader finds the next record behind damage cheaply. An
 * opening that was closed in order ends with an empty record: damage before it is no torn end.
 *
 * That lines were cut off at an end, or whole files taken away, is for the hash chain to show; its
 * link belongs at the front of a record's plaintext (RECORD in trail.c), and the version counts up.
 */
#ifndef SERVICE_WATCH_TRAIL_H
#define SERVICE_WATCH_TRAIL_H

#include "base/disk.h"
#include "base/random.h"
#include "base/scope.h"

enum {
    TRAIL_ROOT_BYTES = 32,
    TRAIL_LINE_MAX = 8192,
    TRAIL_FILE_BYTES = 64 * 1024 * 1024, /* then a new file begins */
    TRAIL_FILES_MAX = 8,                 /* full files kept beside the one that is written */
    TRAIL_NAME_BYTES = 24
};
#define TRAIL_DIR "audit"

/* ---- reading ---- */

/* Bytes that hold no record that verifies; lines is how many are missing with them, when that can
 * be known, else 0. */
struct trail_damage {
    uint32_t file;
    uint64_t offset, bytes, lines;
};

struct trail_sink {
    void *ctx;
    void (*line)(void *ctx, struct slice line); /* borrowed for the call */
    void (*damage)(void *ctx, const struct trail_damage *d);
};

/* Summed up over the files of one trail_read. torn_bytes: behind the last record of an opening, as
 * a power cut leaves them. */
struct trail_report {
    uint64_t lines, bytes, damages, torn_bytes;
    unsigned files;
    struct trail_damage first; /* when there are damages */
};

/* trail_name - "audit/0000001f.sealed". */
void trail_name(uint32_t file, char ret[TRAIL_NAME_BYTES]);
/* trail_number - of a name without its folder; false: it is none of ours. */
bool trail_number(const char *name, uint32_t *ret);

/*
 * trail_read - every line of the last n_files files (0: all), in the order written
 *
 * root  TRAIL_ROOT_BYTES, borrowed.
 * sink  calls that are NULL are left out.
 * Damage never stops it. No folder: nothing to read, OK. ERR_IO, ERR_NOMEM, ERR_CRYPTO. Memory is
 * bounded; 64 MiB take about 0.3 s.
 */
MUST_USE enum err trail_read(struct disk *d, struct slice root, unsigned n_files,
                             const struct trail_sink *sink, struct trail_report *ret);

/* ---- writing ---- */

struct trail;

/* disk outlives the trail; random is copied, root too. */
struct trail_setup {
    struct disk *disk;
    struct slice root;
    struct random_source random;
    uint64_t file_bytes; /* 0: TRAIL_FILE_BYTES */
};

/* trail_open - makes the folder and opens the newest file, or the first. ERR_IO, ERR_SPACE,
 * ERR_DENIED, ERR_NOMEM, ERR_CRYPTO: root has not its length. */
MUST_USE enum err trail_open(const struct trail_setup *s, struct trail **ret);
/* trail_free - ends the opening, syncs, closes. NULL is fine. */
struct trail *trail_free(struct trail *t);
AUTOFREE(trail, trail_free)
/* trail_append - one line of at most TRAIL_LINE_MAX bytes. After an error it is not there, the
 * next one is tried afresh. ERR_TOO_LARGE, ERR_IO, ERR_SPACE, ERR_DENIED, ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err trail_append(struct trail *t, struct slice line);
/* trail_sync - what was appended survives a power cut. ERR_IO. */
MUST_USE enum err trail_sync(struct trail *t);

#endif
