/*
 * restore - what the log kept comes back to the workers after a restart: retained messages to all
 * of them, each session to its home with subscriptions, queue, packet ids and will, and what no
 * worker had answered for is matched again. Before any thread of theirs runs; afterwards every
 * worker knows the others' interest.
 */
#ifndef SERVICE_BROKER_RESTORE_H
#define SERVICE_BROKER_RESTORE_H

#include "service/broker/worker.h"
#include "store/log.h"

struct restore_report {
    uint64_t sessions, subscriptions, deliveries, retained, set_aside;
    uint64_t lost;  /* deliveries whose body is lost: dropped, on record */
    uint64_t ended; /* sessions of principals that are gone, or whose time is over */
    uint64_t rematched;
    uint64_t on_disk; /* bodies that were left there, for memory */
};

/* restore_workers - workers[i] has index i, all of one process, with the realm of now.
 * Subscriptions that the policy no longer covers are ended, and what expired meanwhile, as at any
 * change. A session that was asleep goes on sleeping from when it fell asleep; one that had a
 * connection falls asleep now, and its will is published.
 *
 * progress  says how far it is, and may end it; NULL: nobody looks. Borrowed for the call.
 * ERR_CLOSED (progress), ERR_NOMEM, ERR_IO and what else the log says: the caller does not serve,
 * and the log keeps what it had, all of it, for the next start. */
MUST_USE enum err restore_workers(struct log *log, struct worker *const *workers, unsigned n,
                                  uint64_t now_ms, int64_t wall_ms, struct progress *progress,
                                  struct restore_report *ret);

#endif
