/*
 * journal - the durable message log, as core sees it: append a record, learn later that it is
 * committed.
 *
 * One writer per worker. Records of one writer commit in order; `committed` only grows. An
 * implementation (src/store) may group, delay and fail, it never reorders. lsn counts the records
 * of one writer from 1.
 */
#ifndef CORE_JOURNAL_H
#define CORE_JOURNAL_H

#include "base/err.h"
#include "base/slice.h"

enum journal_kind {
    JOURNAL_BODY,    /* a message: u64 body id, then its fields; with a retained number it is a
                        retained one, and without payload a clear */
    JOURNAL_DELIVER, /* who receives it: u64 body id, then {u64 session, u64 seq, u8 qos, u16 n, u32
                    ids...} */
    JOURNAL_ACK,     /* u64 session, u64 seq: done */
    JOURNAL_DROP,    /* u64 session, u64 seq, u8 reason */
    JOURNAL_RECEIVED,    /* u64 session, u64 seq: PUBREC seen */
    JOURNAL_INBOUND,     /* u64 session, u16 packet id: QoS 2 PUBLISH received */
    JOURNAL_RELEASED,    /* u64 session, u16 packet id: its PUBREL seen */
    JOURNAL_SESSION,     /* u64 session, u64 principal, client id, expiry */
    JOURNAL_SESSION_END, /* u64 session */
    JOURNAL_SUB,         /* u64 session, options, filter */
    JOURNAL_UNSUB        /* u64 session, filter */
};

struct journal;

struct journal_ops {
    /* Takes a copy of head and body as one record. ERR_NOMEM, ERR_SPACE (the log lags behind its
     * limit), ERR_IO (it has failed and accepts nothing): nothing appended, and the caller must not
     * acknowledge. */
    enum err (*append)(struct journal *w, enum journal_kind kind, struct slice head,
                       struct slice body, uint64_t *ret_lsn);
    uint64_t (*committed)(const struct journal *w);
};

struct journal {
    const struct journal_ops *ops;
};

MUST_USE static inline enum err journal_append(struct journal *w, enum journal_kind kind,
                                               struct slice head, struct slice body,
                                               uint64_t *ret_lsn)
{
    return w->ops->append(w, kind, head, body, ret_lsn);
}

static inline uint64_t journal_committed(const struct journal *w)
{
    return w->ops->committed(w);
}

#endif
