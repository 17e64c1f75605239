/*
 * log_private - what the files of the log share. Locks, in the order in which they are taken:
 *   saving  one log_save at a time
 *   lock    everything of the log's thread: index, segments, the batch
 *   inbox   what writers hand over, spare chunks, the published status; never held over a call that
 *           waits
 * A writer's own chunk and lsn belong to its thread; the atomics below are what it asks before it
 * appends.
 */
#ifndef STORE_LOG_PRIVATE_H
#define STORE_LOG_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/log.h"

enum {
    LOG_BATCH_BYTES = 4 * 1024 * 1024, /* at most, when it is more than one handover */
    LOG_PIECE_BYTES = 256 * 1024,      /* read by the cleaner in one call */
    LOG_READY = 2,                     /* segments made ahead: the next one and the spare */
    LOG_RETRY_MS = 1000,
    LOG_STARVED_MS = 10,     /* between tries while there is no memory */
    LOG_WALL_MS = 60 * 1000, /* how old the wall time on record may get while there is traffic */
    LOG_SAVE_S = 10,
    LOG_TABLE = 255,  /* the log's own entries */
    LOG_TABLE_ID = 1, /* the only one: state, wall time, ids */
    LOG_LOOK_MS = 4,  /* at what is held, when nobody calls */
    LOG_MEAN = 16,    /* moving means are over so many batches */
    LOG_META_BYTES = 48
};

/* One record on its way into a batch. */
struct frame {
    uint64_t owner;
    struct item *item, *ended;
    uint32_t at, n;     /* of its content, in the chunk's bytes */
    struct place place; /* where it will lie; of a copy before it is rewritten: where it lies */
    uint8_t kind;
    bool is_applied, is_written, is_copy;
    bool is_over; /* it will not be written: what it ended never was */
};

/* What one handover gives: it commits whole or not at all. */
struct chunk {
    struct chunk *next;
    struct frame *frames;
    size_t n_frames, cap_frames, n_acks;
    struct buf bytes;
    uint64_t sealed_bytes; /* on disk at most */
    uint64_t last_lsn;
    uint64_t handed_us;
    unsigned writer; /* LOG_OWN: the log's own records */
    bool has_other;  /* than journal_is_traffic */
};
#define LOG_OWN UINT32_MAX

struct chunks {
    struct chunk *first, *last;
};

struct writer {
    struct journal journal; /* first */
    struct log *log;
    struct chunk *open; /* NULL: nothing appended since the last handover */
    uint64_t lsn;
    unsigned index;
    uint8_t apart[64]; /* its own thread writes above, the log's thread below */
    _Atomic uint64_t committed;
};

/* A file of the log. Those of one opening share a salt. */
struct seg {
    struct segment_head head;
    uint32_t used;          /* behind the last batch */
    struct disk_file *file; /* NULL: closed */
    bool is_headless;       /* its header did not verify */
    bool is_whole;          /* read to its end without damage, before this opening */
};

/* A key schedule for reading what some opening wrote. */
struct reader {
    uint8_t salt[32];
    struct sealer *sealer;
};

struct log {
    struct log_setup setup;
    pthread_mutex_t saving, lock, inbox;
    pthread_cond_t saved;

    /* inbox */
    struct chunks handed;
    uint64_t last_handover_us;
    bool is_called; /* the log's thread was woken for what is in `handed` */
    struct chunk *spare_chunks;
    size_t n_spare_chunks;
    unsigned n_savers;
    struct log_status status;

    /* asked by append, told by the log's thread */
    _Atomic uint64_t outstanding, room;
    _Atomic int refusal;  /* of records that add: OK, ERR_SPACE, ERR_IO */
    atomic_bool is_short; /* no room comes by waiting: trouble, or a segment that cannot be made */
    _Atomic uint64_t moved_ms; /* when the disk took something last, or got something to take */
    uint64_t handover_max;

    /* lock */
    struct log_status counts; /* what `status` will say after log_account */
    struct index *index;
    struct sealer *sealer;
    uint8_t salt[32];
    uint64_t number; /* of the last record of this opening */
    struct seg *segs;
    size_t n_segs, cap_segs;
    bool has_current; /* the last of segs is being written */
    struct seg ready[LOG_READY];
    unsigned n_ready;
    uint32_t last_segment;  /* the highest number that was given to a file */
    uint32_t renew_segment; /* its file failed while nothing in it counted: it is made anew first;
                               0: none */
    struct batch_link link;
    struct chunks pending; /* taken, not yet in the batch */
    struct chunks batch;
    bool is_built; /* the batch is decided: what is written of it stays so until it is committed */
    struct buf sealed;
    struct chunk *copies; /* read by the cleaner, for the next batch */
    size_t n_front;       /* the next batch takes so many handovers; 0: as many as it may */
    bool is_spared;       /* the last commit needed no disk */
    bool is_held;         /* what is pending has its time */
    unsigned n_unheld;    /* so many batches more are not held */
    unsigned n_misses;    /* how often what was held had to be written all the same, lately */
    unsigned n_spared;    /* commits that needed no disk since then */
    uint64_t acks_x16;    /* percent of records that were acknowledgements, a moving mean */
    size_t n_writes;

    enum err trouble;      /* of the last write or sync; OK: none */
    uint64_t retry_at_ms;  /* of the batch */
    bool is_starved;       /* the last batch could not be made, for memory */
    bool no_room;          /* the last segment could not be made */
    bool cannot_make;      /* the same, for any reason */
    uint64_t room_at_ms;   /* when to ask for it again */
    uint64_t space_at_ms;  /* when to look how much is free */
    enum log_state told;   /* what the last event said */
    unsigned n_events;     /* of damage */
    bool is_told_too_many; /* damage goes on, without an event each */

    uint32_t meta_segment; /* where the newest of the log's own entries lies; 0: nowhere */
    int64_t meta_wall_ms;
    bool wants_meta,
        must_meta; /* with the next batch; also when there is no other reason for one */
    bool is_closing;
    struct store_ids ids; /* from headers and entries of the log's own */

    uint32_t clean_segment, clean_at; /* where the cleaner reads; segment 0: nowhere */
    bool is_clean_passed;             /* read to the end, copies may still be on their way */
    bool has_clean_damage, is_in_damage;
    uint32_t stuck_segment; /* it holds living records that the cleaner does not find */
    uint32_t pinned;        /* segments up to here stay */
    unsigned n_pins;

    struct reader *readers;
    size_t n_readers, cap_readers;
    uint32_t body_segment; /* the old one whose file log_body left open; 0: none */
    atomic_bool is_threaded;
    uint64_t
        saved_moved; /* writers that a log_save of this thread moved, for the next log_commit */
    uint64_t records_per_batch_x16, sync_us_x16, gap_us_x16; /* moving means, for the pace */
    uint64_t last_commit_us;

    unsigned n_writers;
    struct writer writers[];
};

static inline struct seg *log_current(struct log *l)
{
    return l->has_current ? &l->segs[l->n_segs - 1] : NULL;
}
static inline uint64_t log_now_ms(const struct log *l)
{
    return l->setup.clock.mono_ms(l->setup.clock.ctx);
}

/* ---- log_writer.c: chunks ---- */

/* chunk_add - ERR_NOMEM, ERR_TOO_LARGE: nothing changed. */
MUST_USE enum err chunk_add(struct chunk *c, enum journal_kind kind, uint64_t owner,
                            struct slice head, struct slice body);
static inline struct slice chunk_content(const struct chunk *c, const struct frame *f)
{
    return slice_head(slice_from(buf_slice(&c->bytes), f->at), f->n);
}
MUST_USE enum err chunk_new(struct chunk **ret);
struct chunk *chunk_free(struct chunk *c);
AUTOFREE(chunk, chunk_free)
void chunks_push(struct chunks *q, struct chunk *c);
struct chunk *chunks_pop(struct chunks *q);
/* log_chunk_done - back to the spare ones. Takes. inbox is not held. */
void log_chunk_done(struct log *l, struct chunk *c);
extern const struct journal_ops log_journal_ops;

/* ---- log_room.c: segments to write to ---- */

/* log_roll - the next ready segment becomes the current one, or one that is made now. After an
 * error the current one is as before. */
MUST_USE enum err log_roll(struct log *l);
/* log_give_up - a write or sync of the current segment failed: there is no current one. */
void log_give_up(struct log *l);
/* log_ready - makes one more segment ahead. OK: made, or nothing is missing. */
MUST_USE enum err log_ready(struct log *l);
/* log_account - tells the writers what room there is, and whoever asks the status; says begin and
 * end of trouble. */
void log_account(struct log *l);
/* log_moved - the disk has taken something, or there is something for it since now. */
void log_moved(struct log *l);
/* log_remove_oldest - the file is gone. */
MUST_USE enum err log_remove_oldest(struct log *l);
uint64_t log_disk_bytes(const struct log *l);
MUST_USE enum err log_segs_add(struct log *l, const struct seg *s);
struct seg *log_seg_find(struct log *l, uint32_t number);
/* log_seg_open - for reading. */
MUST_USE enum err log_seg_open(struct log *l, struct seg *s);
void log_seg_close(struct log *l, struct seg *s);
/* log_reader - borrowed until log_readers_done. */
MUST_USE enum err log_reader(struct log *l, const uint8_t salt[32], struct sealer **ret);
void log_readers_done(struct log *l);
/* log_read - the record at its place; content in *scratch. Errors as record_read. */
MUST_USE enum err log_read(struct log *l, struct place place, struct buf *scratch,
                           struct record_head *ret_head, struct slice *ret_content);

/* ---- log_commit.c ---- */

MUST_USE enum err log_commit_locked(struct log *l, uint64_t *ret_moved);
/* log_has_left - is there anything for a batch that no handover will call for? log_has_work - or
 * that was handed over. */
bool log_has_left(const struct log *l);
bool log_has_work(struct log *l);
void log_take_handed(struct log *l);
/* log_apply_chunk - to the index, what of it was not yet. ERR_NOMEM: the rest another time. */
MUST_USE enum err log_apply_chunk(struct log *l, struct chunk *c);
/* log_frame_is_needed - what made nothing and ended only what was never written needs no writing
 * either. */
bool log_frame_is_needed(const struct frame *f);
/* log_chunk_commit - its frames are where they will stay; the bit of its writer. Takes. */
uint64_t log_chunk_commit(struct log *l, struct chunk *c);
/* log_note_pace - a batch of n records, of which n_acks were acknowledgements. */
void log_note_pace(struct log *l, uint64_t n, uint64_t n_acks);
/* log_withdraw - takes a handover back that no batch has yet; false: one has. `lock` is held. */
bool log_withdraw(struct log *l, unsigned writer, uint64_t last_lsn);

/* ---- log_hold.c ---- */

/* log_hold - false: a batch is due. true: what can be committed without the disk is, in *ret_moved,
 * and what is left has its time. */
bool log_hold(struct log *l, uint64_t *ret_moved);

/* ---- log_meta.c: the log's own entry ---- */

struct log_meta {
    bool is_closed;
    int64_t wall_ms;
    struct store_ids ids;
};
MUST_USE enum err log_meta_chunk(struct log *l, bool is_closed, struct chunk **ret);
/* log_meta_read - false: it is no entry of the log's. */
bool log_meta_read(enum journal_kind kind, struct slice content, struct log_meta *ret);
struct store_ids store_ids_max(struct store_ids a, struct store_ids b);

/* ---- log_clean.c ---- */

/* log_clean - a piece of it; true: there is more to do at once. */
bool log_clean(struct log *l);
/* log_see_space - what the file system has left, for log_status. */
void log_see_space(struct log *l);

/* ---- log_event.c ---- */

void log_damage_event(struct log *l, uint32_t segment, uint32_t offset, const char *what,
                      const struct record_head *head);
void log_event(struct log *l, enum event_category c, enum event_severity severity,
               const char *reason);

/* ---- log_pace.c ---- */

/* pace_us - from the means of the last batches; see log_pace. */
uint64_t pace_us(uint64_t records_per_s, uint64_t records_per_batch, uint64_t sync_us);

#endif
