/* prove_private - what reading the trail gathers, for the judgement over it. */
#ifndef SERVICE_WATCH_PROVE_PRIVATE_H
#define SERVICE_WATCH_PROVE_PRIVATE_H

#include "base/buf.h"
#include "service/watch/prove.h"
#include "service/watch/trail_private.h"

enum { PROVE_KEYS_MAX = 256 };

/* Records that follow each other without a break, in number, hash and place. */
struct prove_run {
    uint64_t first, last;
    struct digest first_prev, last_head;
    int64_t first_ms, last_ms;
    uint32_t file, end_file;
    uint64_t offset, end_offset; /* of the first record, and behind the last */
    struct trail_place written;  /* where the first says it was */
    size_t at;                   /* which run it was as the files were read */
    bool begins_checked;         /* the first is a checkpoint */
    bool is_swapped;             /* in a file that has the name of another one */
    bool is_copy;                /* records that were there already */
    bool is_moved;               /* judged: not in order */
};

struct prove_bad {
    uint32_t file;
    uint64_t offset, bytes;
    bool is_torn, is_last;
    bool is_told;
    size_t before; /* the number of the run behind it */
};

/* What an opening says of the bytes in front of it. */
struct prove_torn {
    uint32_t file;
    uint64_t at, bytes, seq;
    int64_t wall_ms;
};

struct prove_key {
    uint8_t key[ED25519_PUBLIC_BYTES];
    uint64_t first, last; /* checkpoints signed by it */
};

struct prove_roll {
    uint8_t from[ED25519_PUBLIC_BYTES], to[ED25519_PUBLIC_BYTES];
    uint64_t seq;
};

struct prove_anchor {
    struct anchor a;
    bool is_own; /* audit.head */
    bool is_good, is_seen, is_same;
};

struct proof {
    const struct prove_setup *setup;
    struct prove_report report;
    struct buf runs, bads, torns; /* of the structs above */
    struct prove_key keys[PROVE_KEYS_MAX];
    size_t n_keys;
    struct prove_roll rolls[PROVE_KEYS_MAX];
    size_t n_rolls;
    struct prove_anchor anchors[PROVE_ANCHORS_MAX + 1];
    size_t n_anchors;
    bool has_own, is_own_unread;
    uint32_t first_file, last_file; /* 0: none */
    uint32_t swapped_file;          /* the one that is read, when it is */
    bool is_broken;                 /* no run goes on here */
    bool is_shredded, has_unchained;
    struct chain_checkpoint begin, newest;
    uint64_t begin_seq, newest_seq;
    enum chain_reason last_reason; /* of the last record, when it is a checkpoint */
    struct digest older;
    enum err err;
};

/* prove_tell - counts and gives it to the caller. */
void prove_tell(struct proof *p, const struct prove_finding *f, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* prove_piece - of a trail_sink; ctx is the proof. */
void prove_piece(void *ctx, const struct trail_piece *piece);

static inline size_t prove_n_runs(const struct proof *p)
{
    return p->runs.n / sizeof(struct prove_run);
}

static inline struct prove_run *prove_run_at(const struct proof *p, size_t i)
{
    return (struct prove_run *)(void *)p->runs.p + i;
}

#endif
