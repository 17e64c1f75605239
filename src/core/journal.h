/*
 * journal - the durable message log, as core sees it: append a record, learn later that it is
 * committed.
 *
 * One writer per worker, used by that worker's thread alone. Records of one writer commit in order;
 * `committed` only grows. An implementation (src/store) may group, delay and fail, it never
 * reorders. lsn counts the records of one writer from 1.
 *
 * What was appended stays with the worker until journal_handover gives it to the log. A handover is
 * all or nothing at a crash: either all of its records are there after a restart, or none. And of
 * two handovers that happened one after the other, also of different writers, the later one never
 * survives without the earlier. So a worker hands over before it tells another worker something
 * that stands on its records, and at the end of each turn.
 */
#ifndef CORE_JOURNAL_H
#define CORE_JOURNAL_H

#include "base/err.h"
#include "base/slice.h"

/* What a record says; its fields are core/journal_record.h. The numbers are on disk: none is used
 * twice. */
enum journal_kind {
    JOURNAL_BODY = 1,     /* a message; with a retained number also the retained one of its topic */
    JOURNAL_DELIVER = 2,  /* sessions of one worker that receive a body */
    JOURNAL_ACK = 3,      /* a delivery is done */
    JOURNAL_DROP = 4,     /* a delivery is done without the client, for a reason */
    JOURNAL_RECEIVED = 5, /* QoS 2: PUBREC seen; the body is not needed any more */
    JOURNAL_INBOUND = 6,  /* QoS 2: PUBLISH with this packet id was taken */
    JOURNAL_RELEASED = 7, /* its PUBREL was seen */
    JOURNAL_SESSION = 8,  /* a durable session begins, resumes, sleeps: the newest one counts */
    JOURNAL_SESSION_END = 9, /* it is gone, with all that belongs to it */
    JOURNAL_SUB = 10,        /* a subscription of a session; the newest of its filter counts */
    JOURNAL_UNSUB = 11,
    JOURNAL_WILL = 12,      /* the will of a session; the newest counts; without topic: none */
    JOURNAL_SET_ASIDE = 13, /* a message that was taken out of a queue, and why */
    JOURNAL_SET_ASIDE_END = 14,
    JOURNAL_ENTRY = 15, /* an entry of a table of the service's (directory, exceptions, ...) */
    JOURNAL_ENTRY_END = 16,
    JOURNAL_TRIED = 17, /* a delivery was sent once more, and how often that makes */
    JOURNAL_KIND_END    /* one past the last */
};

/* journal_adds - does a record of this kind ask for lasting room? The others settle what is there:
 * they are taken also when the disk is full. */
bool journal_adds(enum journal_kind kind);

/* How the log keeps up with those who ask it for lasting room. */
enum journal_lag {
    JOURNAL_KEEPS_UP,    /* such a record is taken, or refused for a reason that no waiting mends */
    JOURNAL_BEHIND,      /* there is room when the disk has caught up: who can wait should */
    JOURNAL_STANDS_STILL /* as BEHIND, but the disk has taken nothing for JOURNAL_STALL_S: there is
                            nothing to wait for */
};
enum { JOURNAL_STALL_S = 10 };

struct journal;

struct journal_ops {
    /*
     * Takes a copy of head and body as one record.
     *
     * owner    principal id under whose key the content is sealed; 0: the log's own (content that
     *          names nobody, or an anonymous principal)
     * ERR_NOMEM; ERR_SPACE: the disk is full (only for kinds with journal_adds), or the log lags
     * behind its limit; ERR_IO: the disk fails, and the log accepts nothing that adds: nothing
     * appended, and the caller must not acknowledge.
     */
    enum err (*append)(struct journal *w, enum journal_kind kind, uint64_t owner, struct slice head,
                       struct slice body, uint64_t *ret_lsn);
    /* What a record that adds would be answered now: OK, ERR_SPACE, ERR_IO. For who is about to
     * ask for lasting room by a kind that is always taken: a new session. */
    enum err (*admits)(const struct journal *w);
    /*
     * Asked before records that add and that have `bytes` of content are appended as one message.
     * Half of the room that the log has is left to what comes in at other workers between this
     * answer and a handover, so what is appended after KEEPS_UP, and handed over soon, is not
     * refused for a log that lags. BEHIND may be so for what this writer has not handed over yet:
     * ask again after a handover.
     */
    enum journal_lag (*lag)(const struct journal *w, uint64_t bytes);
    /* is_awaited: commit it and what was handed over before. Else it goes with the next batch, and
     * the caller sees to it that there is one: a later call says is_awaited, with records or none.
     */
    void (*handover)(struct journal *w, bool is_awaited);
    uint64_t (*committed)(const struct journal *w);
};

struct journal {
    const struct journal_ops *ops;
};

MUST_USE static inline enum err journal_append(struct journal *w, enum journal_kind kind,
                                               uint64_t owner, struct slice head, struct slice body,
                                               uint64_t *ret_lsn)
{
    return w->ops->append(w, kind, owner, head, body, ret_lsn);
}

MUST_USE static inline enum err journal_admits(const struct journal *w)
{
    return w->ops->admits(w);
}

MUST_USE static inline enum journal_lag journal_lag(const struct journal *w, uint64_t bytes)
{
    return w->ops->lag(w, bytes);
}

/* journal_handover - gives what was appended to the log. Cheap when nothing was. */
static inline void journal_handover(struct journal *w, bool is_awaited)
{
    w->ops->handover(w, is_awaited);
}

static inline uint64_t journal_committed(const struct journal *w)
{
    return w->ops->committed(w);
}

#endif
