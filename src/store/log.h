/*
 * log - the encrypted, append-only log of DIR/store: writers hand records over, one thread commits
 * them in batches (one write, one sync), acknowledges by `committed`, and cleans.
 *
 * Threads: a journal (log_writer) belongs to one thread. log_commit, log_tend and log_restore
 * belong to the log's thread (or to whoever opened it, before that thread runs). log_status, and
 * log_save when a log thread runs, may be called from any other thread. In a simulator one thread
 * does it all.
 *
 * Trouble (docs/ORDER.md, rules 11 and 13): what was acknowledged is never given up; what cannot be
 * made durable is not acknowledged.
 *   full      only the spare segment is left: records that add are refused with ERR_SPACE, the
 *             others are taken, and the cleaner goes on; room is looked for every second
 *   failing   a write or sync failed: nothing of that batch counts; it is written again, to a fresh
 *             segment (the old one is never written or synced again), now and then every second;
 *             meanwhile records that add are refused with ERR_IO
 * Both end by themselves, with one event at the begin and one at the end. A disk that is only slow
 * is no trouble: the lag of a journal says so (core/journal.h), and who asks it first is not
 * refused.
 */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include "base/clock.h"
#include "base/event.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/why.h"
#include "store/index.h"

struct log;

struct log_setup {
    struct disk *disk;       /* of the data directory; outlives the log */
    struct keyring *keyring; /* borrowed for life */
    struct random_source random;
    struct clock clock;
    unsigned n_writers;     /* log_save has one of its own beside them */
    uint64_t segment_bytes; /* 0: 64 MiB, less on a small disk (a sixteenth of it) */
    uint64_t keep_bytes;    /* the cleaner begins when the files take more, and what they have taken
                               is twice the living; 0: 256 MiB, or a quarter of a small disk */
    /* Outlives log_restore. Given up, log_open ends with ERR_CLOSED before it looks at its next
     * segment, log_restore and log_entries before their next record, and DIR/store is as it was.
     * NULL: never. */
    struct progress *progress;
    bool holds_always;  /* log_commit_due: also when it has not been worth it; for tests */
    uint64_t lag_bytes; /* appended and not committed: above it append says ERR_SPACE; 0: 64 MiB */
    void *ctx;
    /* Trouble, damage, recovery: store_integrity, store_space, crash_recovery. Called by the log's
     * thread, and inside log_open. */
    void (*event)(void *ctx, const struct event *e);
    /* Records wait for a commit: wake the log's thread. Called by any thread; NULL: nobody sleeps.
     */
    void (*wake)(void *ctx);
};

/* What log_open found. */
struct log_report {
    uint64_t records, bytes;    /* read */
    uint64_t damaged, erased;   /* records that did not verify; whose owner's key is gone */
    uint64_t torn_bytes;        /* of a last batch that was never acknowledged */
    unsigned segments, missing; /* files; holes in their numbers */
    int64_t last_wall_ms;       /* the newest time on record; INT64_MIN: none */
    bool was_closed;            /* the last user ended in order */
};

/*
 * log_open - opens DIR/store (makes it when it is not there), reads all of it, begins a new segment
 *
 * Damage never stops it: what does not verify is skipped and said, one event each (up to 100), with
 * segment, offset, kind and owner as far as they can be known. ERR_UNSUPPORTED: a later format;
 * ERR_SPACE: not even room for the two segments that it needs (it then opens on what it has, and
 * only when there is nothing at all it fails); ERR_CRYPTO: another keyring; ERR_IO, ERR_NOMEM; *why
 * for the operator.
 */
MUST_USE enum err log_open(const struct log_setup *s, struct log **ret, struct log_report *report,
                           struct why *why);
/* log_free - commits what was handed over, writes the closing record, closes. NULL is fine. */
struct log *log_free(struct log *l);
AUTOFREE(log, log_free)

/* log_writer - borrowed; one thread uses it. */
struct journal *log_writer(struct log *l, unsigned i);

/* ---- after log_open, before the first commit ---- */

/* Contents are borrowed for the call. A struct whose slices came from a lost record is never given.
 */
struct log_sink {
    void *ctx;
    enum err (*session)(void *ctx, const struct journal_session *s); /* then what is its own */
    enum err (*sub)(void *ctx, const struct journal_sub *s);
    enum err (*will)(void *ctx, const struct journal_will *w);
    enum err (*inbound)(void *ctx, uint64_t session, uint16_t packet_id);
    enum err (*delivery)(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                         uint64_t body_id); /* body_id 0: the body is lost or not needed */
    /* Bodies come before everything else, each once. is_retained: the retained one of its topic. */
    enum err (*body)(void *ctx, const struct journal_body *b, bool is_retained);
    /* Last, in the order of body ids. */
    enum err (*unanswered)(void *ctx, uint64_t body_id, const uint64_t *sessions, size_t n);
    enum err (*set_aside)(void *ctx, const struct journal_set_aside *s);
};
MUST_USE enum err log_restore(struct log *l, const struct log_sink *sink);
/* log_discard - before the first commit: what its writers have appended is forgotten, as if it had
 * never been said. All that remains is to log_free it. */
void log_discard(struct log *l);
/* log_entries - the living entries of a table, in no order; also later, from the thread that calls
 * log_save. The log stands still meanwhile, and `each` must not call it. ERR_CLOSED: progress was
 * given up, and log_threaded has not been called. */
MUST_USE enum err log_entries(struct log *l, uint8_t table,
                              enum err (*each)(void *ctx, uint64_t id, struct slice content),
                              void *ctx);
/* log_ids - counters begin above these. */
struct store_ids log_ids(const struct log *l);

/* ---- the log's thread ---- */

/* log_commit - one batch: everything handed over until now. *ret_moved: bits of the writers whose
 * `committed` grew. ERR_AGAIN: nothing was there; ERR_IO, ERR_SPACE: the batch waits (see Trouble).
 */
MUST_USE enum err log_commit(struct log *l, uint64_t *ret_moved);
/* log_commit_due - as log_commit, but a handover whose records will probably be over in a moment
 * (messages whose receivers acknowledge at once) is given that moment, 8 ms at most: log_tend says
 * when it is over. What is over counts as committed, and was never written. */
MUST_USE enum err log_commit_due(struct log *l, uint64_t *ret_moved);
/* log_tend - a bounded piece (up to 256 KiB read) of cleaning, room for the next segment, another
 * try after trouble. Called after each log_commit or
 * log_commit_due; at *ret_at_ms (monotonic) log_commit and it want
 * to be called again; now_ms or less: there is more to do at once; UINT64_MAX: nothing. */
void log_tend(struct log *l, uint64_t now_ms, uint64_t *ret_at_ms);
/* log_pace - how long to wait, after the first record of a batch, for others to join it:
 * microseconds, 0 when there is little traffic. docs/decisions has the measurements. */
uint64_t log_pace(const struct log *l);
/* log_quiet_us - since the last handover: who waits for others sees whether they come. */
uint64_t log_quiet_us(struct log *l);

/* ---- bodies that waited on disk ---- */

/*
 * log_body - a living body, wherever the cleaner has moved it to
 *
 * Waits for a batch or a piece of cleaning that is under way, and for the disk: the log's thread
 * calls it, or whoever may wait. `scratch` holds what *ret borrows from.
 *
 * ERR_NOT_FOUND: no such body is alive, or its owner's key is gone; ERR_CRYPTO: it does not verify
 * or decode, an event says where; ERR_IO, ERR_NOMEM, and what else opening a file says: it may come
 * next time.
 */
MUST_USE enum err log_body(struct log *l, uint64_t id, struct buf *scratch,
                           struct journal_body *ret);

/* ---- entries of the service thread ---- */

struct log_change {
    uint8_t table;
    uint64_t id, owner;
    bool is_end; /* ENTRY_END */
    struct slice content;
};
/*
 * log_save - all changes or none, durable when it returns OK
 *
 * Waits for the log's thread when one runs (log_threaded; up to 10 s, also while the log lags),
 * else commits itself.
 *
 * ERR_SPACE, ERR_IO, ERR_NOMEM, ERR_TOO_LARGE: nothing has changed, nothing will.
 * ERR_TIMEOUT: they are in a batch that the disk did not take yet. It is tried again until the disk
 * takes it, so log_entries has them already, and only a crash before that takes them back. The
 * caller goes on as if it was done, and says that it is not durable. It cannot be taken back: a
 * write that failed may be on the disk all the same. It happens once for each trouble, to whoever
 * met its first failure: the next callers get ERR_IO at once.
 */
MUST_USE enum err log_save(struct log *l, const struct log_change *changes, size_t n);
/* log_threaded - from here on (true) another thread calls log_commit, until (false). */
void log_threaded(struct log *l, bool is_threaded);

/* ---- any thread ---- */

enum log_state { LOG_FINE, LOG_FULL, LOG_FAILING };
struct log_status {
    enum log_state state;
    unsigned segments;
    uint64_t bytes, living_bytes, free_bytes;   /* on disk in segments; alive; of the file system */
    uint64_t batches, records, elided, sync_us; /* since the opening; elided: settled before they
                                                   were written */
    uint64_t damaged, cleaned_bytes;
};
void log_status(struct log *l, struct log_status *ret);

/* ---- backup (store/backup.c) ---- */

/* log_pin - segments that exist now are not removed until log_unpin; the newest one is closed
 * first, so that they do not change any more. Gives their numbers in order; at most `max`. Any
 * thread. */
MUST_USE enum err log_pin(struct log *l, uint32_t *numbers, size_t max, size_t *ret_n);
void log_unpin(struct log *l);

#endif
