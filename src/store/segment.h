/*
 * segment - one file of the log: a header, then sealed records, each known by its place.
 *
 * File: DIR/store/NNNNNNNN.log (number in hexadecimal), reserved in full when it is made.
 * Header (SEGMENT_HEAD_BYTES, authenticated under a key from the keyring's root): magic, format
 * version, segment number, the salt of the opening that wrote it, the wall time, the highest ids in
 * use; twice, SEGMENT_COPY_AT bytes apart, so that a bad sector costs none of the records. All
 * segments of one opening share its salt; no opening continues an older one's segment, so no nonce
 * comes twice, also when an old copy of the store is restored.
 *
 * Record: a header of RECORD_HEAD_BYTES in clear {u32 check, u32 bytes of the whole record, u8
 * kind, u8 flags, u8 padding, u8 0, u64 owner, u64 number}, with RECORD_FIRST then a u64 (below);
 * then the content, filled up with zeros to RECORD_ALIGN, under AES-256-GCM, tag last. The nonce is
 * the record's number, which counts in one opening; the additional data is segment number, offset
 * and header. `check` is SipHash of the rest of the header under a key from the salt, so that a
 * scan finds the next record behind damage without trying to open at each place.
 *
 * Records are written in batches; a batch is one write and one sync. Its first record carries
 * RECORD_FIRST, its last one RECORD_LAST, and each first one says (in clear: only places) where the
 * batch before it ended, so a scan tells a torn end from damage in the middle. A batch whose write
 * or sync failed is the last one in its file.
 */
#ifndef STORE_SEGMENT_H
#define STORE_SEGMENT_H

#include "base/disk.h"
#include "core/journal.h"
#include "store/keyring.h"

enum {
    SEGMENT_FORMAT = 2,                         /* 2: deliveries say how often they were sent */
    SEGMENT_FORMAT_OLDEST = 1,                  /* that is read */
    SEGMENT_COPY_AT = 4096,                     /* of the header's second copy */
    SEGMENT_HEAD_BYTES = SEGMENT_COPY_AT + 128, /* the first batch begins here */
    SEGMENT_BYTES_DEFAULT = 64 * 1024 * 1024,
    SEGMENT_BYTES_MIN = 2 * 1024 * 1024, /* on a small disk; tests may use less */
    RECORD_HEAD_BYTES = 28,
    RECORD_LINK_BYTES = 8,
    RECORD_TAG_BYTES = 16,
    RECORD_ALIGN = 4,
    RECORD_CONTENT_MAX = 2 * 1024 * 1024
};
#define STORE_DIR "store"

/* Where a record lies. bytes counts header, tag and padding. segment 0: nowhere. */
struct place {
    uint32_t segment, offset, bytes;
};

/* The highest ids that were ever given out, as far as the writer of a header knew. */
struct store_ids {
    uint64_t session, body, retained, set_aside;
};

/* ---- sealing ---- */

/* The scheduled keys of one opening: one for each owner seen lately (up to 4,096 of 2.4 KB), the
 * oldest forgotten over the limit, all of them after an erasure in the keyring. One thread. */
struct sealer;
/* keyring is borrowed for life. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err sealer_new(const struct keyring *k, const uint8_t salt[32], struct sealer **ret);
struct sealer *sealer_free(struct sealer *s); /* wipes */

enum record_flags { RECORD_FIRST = 1, RECORD_LAST = 2, RECORD_COPY = 4 /* by the cleaner */ };

struct record_head {
    uint32_t bytes; /* of the whole record, as in its place */
    uint8_t kind, flags;
    uint64_t owner, number;
};

/* What the first record of a batch says about the last committed one before it: its end. The first
 * one of an opening names the end that was found of the opening before, so that what was dropped
 * there stays dropped, and damage in its last batch is damage. Zeros: there is none. */
struct batch_link {
    uint32_t segment, offset;
};

/*
 * record_seal - one sealed record behind what *batch holds
 *
 * batch   begins at base_offset of segment.
 * head    kind (not 0), flags, owner, number are read. An owner without a key is sealed under the
 *         log's own key, with owner 0; once keys were erased, without its content and for nobody
 *         to open. number: never one that was sealed before in this opening,
 *         also not for a batch whose write failed and that is sealed again.
 * link    with RECORD_FIRST only, else NULL.
 * ERR_TOO_LARGE: the content is over RECORD_CONTENT_MAX; ERR_NOMEM, ERR_CRYPTO; *batch keeps what
 * it had. No allocation but the batch's and a new owner's key. O(n).
 */
MUST_USE enum err record_seal(struct sealer *s, uint32_t segment, uint32_t base_offset,
                              const struct record_head *head, const struct batch_link *link,
                              struct slice content_head, struct slice content_body,
                              struct buf *batch, struct place *ret);
/* record_read - one record at its place, of the file of place.segment; the content is in *scratch
 * (cleared first). ERR_NOT_FOUND: its owner's key is gone; ERR_CRYPTO: it does not verify; ERR_IO,
 * ERR_NOMEM. */
MUST_USE enum err record_read(struct sealer *s, struct disk *d, struct disk_file *f,
                              struct place place, struct buf *scratch, struct record_head *ret_head,
                              struct slice *ret_content);

/* ---- files ---- */

struct segment_head {
    uint32_t number;
    uint64_t bytes; /* of the file */
    uint8_t salt[32];
    int64_t wall_ms;
    struct store_ids ids;
    struct place bad; /* segment_open: of a header copy that does not verify; bytes 0: none. The
                         scan reports it */
};
enum { SEGMENT_NAME_BYTES = 24 };
void segment_name(uint32_t number, char ret[SEGMENT_NAME_BYTES]); /* "store/0000001f.log" */
/* segment_number - of a name without its folder; false: it is none of ours. */
bool segment_number(const char *name, uint32_t *ret);
/* segment_create - DIR/store is there (make_dir). The file, reserved and with its header, durable.
 * ERR_EXISTS, ERR_SPACE, ERR_IO,
 * ... after an error there is no file. */
MUST_USE enum err segment_create(struct disk *d, const struct keyring *k,
                                 const struct segment_head *h, struct disk_file **ret);
/* segment_open - ERR_NOT_FOUND, ERR_CRYPTO: no copy of the header verifies; ERR_UNSUPPORTED: one
 * does, and names a later format (every format keeps magic, format and tag in their places);
 * ERR_TRUNCATED: shorter than a header; ERR_IO. Opened for writing when for_write. */
MUST_USE enum err segment_open(struct disk *d, const struct keyring *k, uint32_t number,
                               bool for_write, struct segment_head *ret,
                               struct disk_file **ret_file);

/* ---- scanning ---- */

enum damage_kind {
    DAMAGE_HEAD,    /* bytes that are no record, where records were */
    DAMAGE_CONTENT, /* a record whose header stands and whose content does not verify */
    DAMAGE_ERASED   /* not damage: the owner's key is gone */
};
struct damage {
    enum damage_kind what;
    struct place place;      /* bytes: how much was skipped */
    struct record_head head; /* for CONTENT and ERASED */
};
struct scan_sink {
    void *ctx;
    /* The records of a batch come when the batch was read whole, or when it is known that it had
     * been: a later one refers to it. Content borrowed. An error ends the scan. */
    enum err (*record)(void *ctx, const struct record_head *h, struct place place,
                       struct slice content);
    void (*damage)(void *ctx, const struct damage *d);
};
struct scan_end {
    uint32_t offset;      /* behind the last whole batch */
    uint32_t torn_bytes;  /* of what lies behind it: a batch that never became whole, or that failed
                             and was written again elsewhere */
    uint64_t last_number; /* of a record */
};
/*
 * segment_scan - all records, in order; behind damage it goes on at the next record that verifies
 *
 * later  the link of the first batch of the next segment of this opening, which says how far this
 *        one was committed; NULL: this is the last segment of its opening, and a last batch in it
 *        that does not verify as a whole counts as torn.
 * A sector that cannot be read is damage, not an error. A file that is shorter than its header says
 * is damage behind its end. Errors: the sink's, ERR_NOMEM, ERR_IO when the file's size is not to be
 * had. Reads the file in pieces; memory is bounded by the largest batch.
 */
MUST_USE enum err segment_scan(struct sealer *s, struct disk *d, struct disk_file *f,
                               const struct segment_head *h, const struct batch_link *later,
                               const struct scan_sink *sink, struct scan_end *ret);
/* segment_first_link - the link of the first batch; ERR_NOT_FOUND: there is no batch, or its first
 * header is damaged. */
MUST_USE enum err segment_first_link(struct sealer *s, struct disk *d, struct disk_file *f,
                                     const struct segment_head *h, struct batch_link *ret);

#endif
