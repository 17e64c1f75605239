/*
 * prove - does the trail hold together? Reads all of it without a daemon, and says of each place
 * where it does not which records, where, when, and what was done to them.
 */
#ifndef SERVICE_WATCH_PROVE_H
#define SERVICE_WATCH_PROVE_H

#include "base/disk.h"
#include "service/watch/anchor.h"

enum {
    PROVE_ANCHORS_MAX = 16,
    PROVE_PLACES_MAX = 4096, /* broken ones; with more it is shredded, and that is said */
    PROVE_TEXT_BYTES = 400
};

/* X(name, is it tampering or damage?, meaning) */
#define PROVE_KINDS(X)                                                                             \
    X(edited, true, "bytes do not verify where records were")                                      \
    X(deleted, true, "records or files are gone from the middle or the front")                     \
    X(inserted, true, "bytes or copies of records stand where none were")                          \
    X(reordered, true, "records stand in another order than they were written in")                 \
    X(swapped, true, "a file has the name of another one")                                         \
    X(truncated, true, "the end is gone")                                                          \
    X(rewritten, true, "records verify, but hash or signature say that they are others")           \
    X(key, true, "signed by a key that nobody introduced")                                         \
    X(anchor, true, "an anchor that is not good, or of another trail")                             \
    X(unchained, true, "records without a chain behind the chain's beginning")                     \
    X(shredded, true, "too many broken places to tell them apart")                                 \
    X(crash, false, "half a record, as a crash or a failed write leaves it")                       \
    X(open, false, "the end is not signed: the daemon runs, or was killed")                        \
    X(older, false, "lines of the version before the chain")                                       \
    X(forgotten, false, "the oldest files went when there were too many")

enum prove_kind {
#define X(name, is_bad, meaning) PROVE_##name,
    PROVE_KINDS(X)
#undef X
        PROVE_KIND_COUNT
};

struct prove_finding {
    enum prove_kind kind;
    uint32_t file;               /* 0: none */
    uint64_t offset, bytes;      /* in it */
    uint64_t first, last;        /* records, by their number; 0: cannot be known */
    int64_t after_ms, before_ms; /* time of the records around; 0: none */
    char text[PROVE_TEXT_BYTES];
};

struct prove_setup {
    struct disk *disk; /* the data directory */
    struct slice root;
    const struct anchor *anchors; /* from outside; n <= PROVE_ANCHORS_MAX */
    size_t n_anchors;
    const uint8_t *key; /* from outside, ED25519_PUBLIC_BYTES; NULL: the trail's own word */
    void *ctx;
    void (*found)(void *ctx, const struct prove_finding *f); /* borrowed for the call */
};

struct prove_report {
    unsigned bad, notes; /* findings that are tampering or damage, and others */
    unsigned files;
    uint64_t records, first, last; /* numbers; 0: none */
    int64_t first_ms, last_ms;
    uint64_t checkpoints, signed_to; /* the last record under a good signature */
    uint64_t older_lines;
    bool has_trail;
    uint8_t trail[CHAIN_ID_BYTES];
    uint8_t key[ED25519_PUBLIC_BYTES]; /* in force at the end */
};

const char *prove_kind_name(enum prove_kind k);
bool prove_kind_is_bad(enum prove_kind k);
const char *prove_kind_meaning(enum prove_kind k);

/* prove_trail - OK: it was read to its end, and the report says how it is. ERR_IO, ERR_NOMEM,
 * ERR_CRYPTO: the root has not its length. Memory is bounded; 64 MiB take about 0.3 s. */
MUST_USE enum err prove_trail(const struct prove_setup *s, struct prove_report *ret);

#endif
