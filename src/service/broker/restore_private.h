/* restore_private - what restore_workers does between log_restore and the first turn, for restore.c
 * and for tests, which feed the sink by themselves. */
#ifndef SERVICE_BROKER_RESTORE_PRIVATE_H
#define SERVICE_BROKER_RESTORE_PRIVATE_H

#include "base/map.h"
#include "service/broker/restore.h"
#include "service/broker/worker_private.h"

/* A body that somebody may ask for until all is read. */
struct restore_body {
    uint64_t id, owed;
    const struct msg *msg; /* owned reference; a husk when memory is short */
};

struct restore {
    struct worker *const *workers;
    unsigned n;
    uint64_t now_ms;
    int64_t wall_ms;
    struct restore_report *report;
    struct log *log;           /* bodies may stay there; NULL: all of them come into memory */
    struct progress *progress; /* NULL: nobody looks */
    struct map bodies;
    struct worker *home; /* of the session that is being read; NULL: it does not come back */
    struct session *session;
    uint64_t slept_ms;       /* the session that is being read, until now */
    uint64_t next_seq;       /* of the session */
    bool is_over;            /* its time is over: read all the same, for its will and its groups */
    struct buf ended;        /* ids of sessions whose end is to be recorded */
    struct buf ended_asides; /* ids of what was set aside and is nobody's any more */
    struct buf notes;        /* struct restore_note */
    struct buf missed;       /* struct restore_missed, each with its sessions behind it */
};

/* To be recorded: a delivery whose body is lost, or (seq 0) that the session fell asleep. */
struct restore_note {
    struct worker *home;
    struct session *s;
    uint64_t seq;
};

void restore_init(struct restore *r, struct worker *const *workers, unsigned n, uint64_t now_ms,
                  int64_t wall_ms, struct restore_report *report);
void restore_done(struct restore *r);
/* restore_leave_session - all that belongs to it was read. */
void restore_leave_session(struct restore *r);
struct restore_body *restore_body_of(const struct restore *r, uint64_t id);
/* restore_body_whole - from here on b has more than the husk. As log_body. */
MUST_USE enum err restore_body_whole(const struct restore *r, struct restore_body *b);
/* restore_sink - ctx is r. */
struct log_sink restore_sink(struct restore *r);
/* restore_finish - all was read; counters begin above ids. */
MUST_USE enum err restore_finish(struct restore *r, const struct store_ids *ids);

#endif
