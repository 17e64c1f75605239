/*
 * trail - the sealed files of the audit trail: DIR/audit/NNNNNNNN.sealed (number in hexadecimal),
 * entries of the chain (chain.h) under AES-256-GCM, oldest file first forgotten.
 *
 * A file is openings behind each other. An opening is a head, written twice (so that one bad sector
 * does not hide what follows), and its records. Each opening has a fresh salt, so no nonce comes
 * twice, also when an old copy of the directory is restored and goes on; a restart begins an
 * opening, not a file, so restarts push no history out. Nothing is written before the first line.
 *
 *   head    magic and version (8), copy (u32), file (u32), offset (u64), salt (32), tag (16)
 *   record  check (u32), bytes of the whole record (u32), number (u64), offset (u64), then the
 *           sealed entry and its tag
 *
 * Keys are HKDF(root, salt, "sallyport audit"). A record's nonce is its number, which counts in its
 * opening; file and offset are authenticated with it, so what was moved says where it was. `check`
 * is SipHash of place, bytes and number, so that a reader finds the next record behind damage
 * cheaply. An opening begins with a checkpoint, which also says what it found in front of it; one
 * that was closed in order ends with one.
 *
 * Version 1, before the chain: heads and records have no offset, nor a file; a record is a line,
 * and an empty one ends an opening. It is read; what is written goes into a new file.
 *
 * The newest anchor is in DIR/scribe/audit.head, replaced after each sync that has a new checkpoint
 * before it, and TRAIL_IDLE_MS after the last entry; the key that signs is in
 * DIR/scribe/audit-key.sealed (trail_key.h).
 */
#ifndef SERVICE_WATCH_TRAIL_H
#define SERVICE_WATCH_TRAIL_H

#include "base/clock.h"
#include "base/disk.h"
#include "base/random.h"
#include "base/scope.h"

enum {
    TRAIL_ROOT_BYTES = 32,
    TRAIL_LINE_MAX = 8192,
    TRAIL_FILE_BYTES = 64 * 1024 * 1024, /* then a new file begins */
    TRAIL_FILES_MAX = 8,                 /* full files kept beside the one that is written */
    TRAIL_NAME_BYTES = 24,
    TRAIL_SIGN_ENTRIES = 512,  /* at most so many stand behind the last checkpoint, */
    TRAIL_SIGN_MS = 60 * 1000, /* and none longer than this */
    TRAIL_IDLE_MS = 1000       /* without a further entry, then audit.head has the last one */
};
#define TRAIL_DIR "audit"
/* What nobody but who writes the trail may read: the key that signs, and the newest anchor. */
#define TRAIL_OWN_DIR  "scribe"
#define TRAIL_KEY_FILE TRAIL_OWN_DIR "/audit-key.sealed"

/* ---- reading ---- */

/* Bytes that hold no record that verifies; lines is how many are missing with them, when that can
 * be known, else 0. */
struct trail_damage {
    uint32_t file;
    uint64_t offset, bytes, lines;
};

/* What lies in the files, byte by byte. */
enum trail_piece_kind {
    TRAIL_PIECE_FILE, /* begins; bytes is its size */
    TRAIL_PIECE_HEAD,
    TRAIL_PIECE_LINE,  /* of version 1; plain is the line */
    TRAIL_PIECE_END,   /* of an opening of version 1 */
    TRAIL_PIECE_ENTRY, /* plain is an entry of the chain, encoded */
    TRAIL_PIECE_BAD    /* neither head nor record of the opening it is in */
};

struct trail_piece {
    enum trail_piece_kind kind;
    uint32_t file;
    uint64_t offset, bytes;
    uint32_t written_file; /* where head or entry says that it was written: */
    uint64_t written_offset;
    bool is_torn;       /* bad, as a crash leaves it: the beginning of a head or record, or zeros */
    bool is_last;       /* bad, to the end of the file */
    struct slice plain; /* borrowed for the call */
};

/* With `piece`, entries and heads that are not where they were written are taken, too. */
struct trail_sink {
    void *ctx;
    void (*line)(void *ctx, struct slice line); /* borrowed for the call */
    void (*damage)(void *ctx, const struct trail_damage *d);
    void (*piece)(void *ctx, const struct trail_piece *p);
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
struct anchor;

/* disk outlives the trail; clock and random are copied, root and key_seal too. */
struct trail_setup {
    struct disk *disk;
    struct clock clock;
    struct slice root;
    struct slice key_seal; /* TRAIL_ROOT_BYTES, of the key that signs; empty: the root */
    struct random_source random;
    uint64_t file_bytes; /* 0: TRAIL_FILE_BYTES */
};

/* trail_open - makes the folders, takes over where a version before had its key and anchor, and
 * opens the newest file, or the first; reads as far back as the last entry, all when there is none
 * yet. ERR_IO, ERR_SPACE, ERR_DENIED, ERR_NOMEM, ERR_CRYPTO:
 * root has not its length. */
MUST_USE enum err trail_open(const struct trail_setup *s, struct trail **ret);
/* trail_free - signs what is written, syncs, closes. NULL is fine. */
struct trail *trail_free(struct trail *t);
AUTOFREE(trail, trail_free)
/* trail_append - one line of at most TRAIL_LINE_MAX bytes. After an error it is not there, the
 * next one is tried afresh. ERR_TOO_LARGE, ERR_IO, ERR_SPACE, ERR_DENIED, ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err trail_append(struct trail *t, struct slice line);
/* trail_sync - what was appended survives a power cut; signs it when it is time. ERR_IO and as
 * trail_append. */
MUST_USE enum err trail_sync(struct trail *t);
/* trail_deadline - when trail_sync signs; UINT64_MAX: there is nothing unsigned. */
uint64_t trail_deadline(const struct trail *t);
/* trail_file - the number of the file that is written. */
uint32_t trail_file(const struct trail *t);

/* trail_anchor - signs all there is, syncs, and says so. ERR_NOT_FOUND: nothing was ever written;
 * else as trail_append. */
MUST_USE enum err trail_anchor(struct trail *t, struct anchor *ret);
/* trail_roll_key - a new key signs from here on; the old one signs that, and is erased. As
 * trail_append. */
MUST_USE enum err trail_roll_key(struct trail *t);

/* What trail_open found amiss: entries that audit.head knows and the files do not have; a signing
 * key that was not there, so a new one begins without the word of the old. */
struct trail_amiss {
    uint64_t missing;
    bool has_new_key;
};
struct trail_amiss trail_amiss(const struct trail *t);

#endif
