/*
 * journal_bench_test - a journal for tests: keeps every record, commits when told to, can refuse
 * the n-th one, loses at a crash what was not committed, and gives back what lives, found in the
 * simplest way there is. The log (store/log.h) does the same, sealed and indexed.
 */
#ifndef SERVICE_BROKER_JOURNAL_BENCH_TEST_H
#define SERVICE_BROKER_JOURNAL_BENCH_TEST_H

#include <assert.h>

#include "base/buf.h"
#include "base/mem.h"
#include "core/journal_record.h"
#include "store/log.h"

enum { JOURNAL_WRITERS = 2, JOURNAL_RECORDS_MAX = 20000, JOURNAL_BYTES_MAX = 4 * 1024 * 1024 };

struct kept {
    enum journal_kind kind;
    unsigned writer;
    uint64_t owner, lsn;
    bool is_handed;
    struct slice content; /* in the keeper's bytes */
};

struct keeper;

struct keeper_writer {
    struct journal journal; /* first */
    struct keeper *k;
    unsigned index;
    uint64_t appended, committed;
};

struct keeper {
    struct keeper_writer writers[JOURNAL_WRITERS];
    struct kept *records; /* in the order of handovers; those not handed over behind */
    size_t n;
    uint8_t *bytes;
    size_t n_bytes;
    long refuse_at; /* records that are taken before one is refused; -1: all */
    enum err refusal;
    bool refuses_on; /* all that follow, too, when they add */
    enum journal_lag lag;
    size_t n_refused;
    size_t n_calls; /* handovers that somebody waits for */
};

static inline enum err keeper_append(struct journal *j, enum journal_kind kind, uint64_t owner,
                                     struct slice head, struct slice body, uint64_t *ret_lsn)
{
    struct keeper_writer *w = (struct keeper_writer *)(void *)j;
    struct keeper *k = w->k;
    bool is_due = k->refuse_at == 0 && (!k->refuses_on || journal_adds(kind));
    if (is_due) {
        k->refuse_at = k->refuses_on ? 0 : -1;
        k->n_refused++;
        return k->refusal;
    }
    k->refuse_at -= k->refuse_at > 0 ? 1 : 0;
    assert(k->n < JOURNAL_RECORDS_MAX && head.n <= JOURNAL_HEAD_MAX);
    assert(head.n + body.n <= JOURNAL_BYTES_MAX - k->n_bytes);
    uint8_t *copy = k->bytes + k->n_bytes; /* taken at once: what a test makes fail is not here */
    k->n_bytes += head.n + body.n;
    slice_copy(copy, head);
    slice_copy(copy + head.n, body);
    *ret_lsn = ++w->appended;
    k->records[k->n++] = (struct kept){.kind = kind,
                                       .writer = w->index,
                                       .owner = owner,
                                       .lsn = *ret_lsn,
                                       .content = slice_of(copy, head.n + body.n)};
    return OK;
}

static inline enum err keeper_admits(const struct journal *j)
{
    const struct keeper *k = ((const struct keeper_writer *)(const void *)j)->k;
    return k->refuse_at == 0 && k->refuses_on ? k->refusal : OK;
}

static inline enum journal_lag keeper_lag(const struct journal *j, uint64_t bytes)
{
    (void)bytes;
    return ((const struct keeper_writer *)(const void *)j)->k->lag;
}

/* What is handed over goes before what is not. */
static inline void keeper_handover(struct journal *j, bool is_awaited)
{
    const struct keeper_writer *w = (const struct keeper_writer *)(const void *)j;
    struct keeper *k = w->k;
    k->n_calls += is_awaited ? 1 : 0;
    size_t to = 0;
    while (to < k->n && k->records[to].is_handed) {
        to++;
    }
    for (size_t i = to; i < k->n; i++) {
        if (k->records[i].writer == w->index) {
            struct kept r = k->records[i];
            r.is_handed = true;
            memmove(&k->records[to + 1], &k->records[to], (i - to) * sizeof(r));
            k->records[to++] = r;
        }
    }
}

static inline uint64_t keeper_committed(const struct journal *j)
{
    return ((const struct keeper_writer *)(const void *)j)->committed;
}

static inline struct keeper *keeper_new(void)
{
    static const struct journal_ops ops = {.append = keeper_append,
                                           .admits = keeper_admits,
                                           .lag = keeper_lag,
                                           .handover = keeper_handover,
                                           .committed = keeper_committed};
    struct keeper *k = mem_zalloc(sizeof(*k));
    assert(k != NULL);
    k->records = mem_array(JOURNAL_RECORDS_MAX, sizeof(*k->records));
    k->bytes = mem_alloc(JOURNAL_BYTES_MAX);
    assert(k->records != NULL && k->bytes != NULL);
    k->refuse_at = -1;
    for (unsigned i = 0; i < JOURNAL_WRITERS; i++) {
        k->writers[i] = (struct keeper_writer){.journal.ops = &ops, .k = k, .index = i};
    }
    return k;
}

static inline struct keeper *keeper_free(struct keeper *k)
{
    mem_free(k->records);
    mem_free(k->bytes);
    return mem_free(k);
}

static inline void keeper_commit(struct keeper *k)
{
    for (size_t i = 0; i < k->n && k->records[i].is_handed; i++) {
        struct keeper_writer *w = &k->writers[k->records[i].writer];
        w->committed = k->records[i].lsn > w->committed ? k->records[i].lsn : w->committed;
    }
}

/* Only what was committed is there; counting begins anew. */
static inline void keeper_crash(struct keeper *k)
{
    size_t n = 0;
    while (n < k->n && k->records[n].is_handed &&
           k->records[n].lsn <= k->writers[k->records[n].writer].committed) {
        k->records[n++].lsn = 0;
    }
    k->n = n;
    for (unsigned i = 0; i < JOURNAL_WRITERS; i++) {
        k->writers[i].appended = k->writers[i].committed = 0;
    }
}

static inline size_t keeper_count(const struct keeper *k, enum journal_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++) {
        n += k->records[i].kind == kind ? 1 : 0;
    }
    return n;
}

/* ---- what lives ---- */

static inline void keeper_must(enum err err)
{
    assert(err == OK);
    (void)err;
}

/* Is there a record of this kind about (a, b) behind `at`? b: seq or packet id. */
static inline bool keeper_settled(const struct keeper *k, size_t at, enum journal_kind kind,
                                  uint64_t a, uint64_t b)
{
    for (size_t i = at + 1; i < k->n; i++) {
        struct slice content = k->records[i].content;
        struct journal_settle s = {0};
        struct journal_packet p = {0};
        uint64_t session = 0;
        if (k->records[i].kind != kind) {
            continue;
        }
        if (kind == JOURNAL_SESSION_END) {
            keeper_must(journal_session_end_read(content, &session));
        } else if (kind == JOURNAL_RELEASED) {
            keeper_must(journal_packet_read(content, &p));
        } else {
            keeper_must(journal_settle_read(kind, content, &s));
        }
        if ((s.session | p.session | session) == a && (s.seq | p.packet_id) == b) {
            return true;
        }
    }
    return false;
}

static inline bool keeper_body(const struct keeper *k, uint64_t id, struct journal_body *ret)
{
    for (size_t i = 0; i < k->n; i++) {
        if (k->records[i].kind == JOURNAL_BODY) {
            keeper_must(journal_body_read(k->records[i].content, ret));
            if (ret->id == id) {
                return true;
            }
        }
    }
    return false;
}

static inline enum err keeper_bodies(const struct keeper *k, const struct log_sink *sink)
{
    for (size_t i = 0; i < k->n; i++) {
        struct journal_body b, other;
        if (k->records[i].kind != JOURNAL_BODY) {
            continue;
        }
        keeper_must(journal_body_read(k->records[i].content, &b));
        bool is_retained = b.m.number > 0 && b.m.payload.n > 0;
        for (size_t j = 0; j < k->n && is_retained; j++) {
            if (k->records[j].kind == JOURNAL_BODY) {
                keeper_must(journal_body_read(k->records[j].content, &other));
                is_retained =
                    other.m.number <= b.m.number || !slice_equal(other.m.topic, b.m.topic);
            }
        }
        TRY(sink->body(sink->ctx, &b, is_retained));
    }
    return OK;
}

static inline uint8_t keeper_tries(const struct keeper *k, uint64_t session, uint64_t seq)
{
    uint8_t n = 0;
    for (size_t i = 0; i < k->n; i++) {
        struct journal_settle s;
        if (k->records[i].kind == JOURNAL_TRIED) {
            keeper_must(journal_settle_read(JOURNAL_TRIED, k->records[i].content, &s));
            n = s.session == session && s.seq == seq && s.n_tries > n ? s.n_tries : n;
        }
    }
    return n;
}

/* The message was taken out of the store of the set-aside again. */
static inline bool keeper_aside_ended(const struct keeper *k, uint64_t id)
{
    for (size_t i = 0; i < k->n; i++) {
        uint64_t ended;
        if (k->records[i].kind == JOURNAL_SET_ASIDE_END) {
            keeper_must(journal_set_aside_end_read(k->records[i].content, &ended));
            if (ended == id) {
                return true;
            }
        }
    }
    return false;
}

static inline enum err keeper_deliveries(const struct keeper *k, uint64_t session, bool is_dry,
                                         const struct log_sink *sink, uint64_t *next_seq)
{
    for (size_t i = 0; i < k->n; i++) {
        struct journal_deliver d;
        struct journal_delivery e;
        struct journal_body b;
        if (k->records[i].kind != JOURNAL_DELIVER) {
            continue;
        }
        keeper_must(journal_deliver_read(k->records[i].content, &d));
        while (journal_delivery_next(&d.entries, &e) == OK) {
            uint32_t ids[8];
            if (e.session != session) {
                continue;
            }
            *next_seq = e.seq >= *next_seq ? e.seq + 1 : *next_seq;
            for (uint16_t n = 0; n < e.n_ids && n < 8; n++) {
                ids[n] = journal_delivery_id(&e, n);
            }
            e.n_tries = keeper_tries(k, session, e.seq);
            e.is_received = keeper_settled(k, i, JOURNAL_RECEIVED, session, e.seq);
            if (!is_dry && !keeper_settled(k, i, JOURNAL_ACK, session, e.seq) &&
                !keeper_settled(k, i, JOURNAL_DROP, session, e.seq)) {
                bool has = !e.is_received && keeper_body(k, d.body_id, &b);
                TRY(sink->delivery(sink->ctx, &e, ids, has ? d.body_id : 0));
            }
        }
    }
    return OK;
}

/* The newest word on each filter counts. */
static inline bool keeper_is_last_sub(const struct keeper *k, size_t at,
                                      const struct journal_sub *s)
{
    for (size_t i = at + 1; i < k->n; i++) {
        struct journal_sub other;
        enum journal_kind kind = k->records[i].kind;
        if (kind == JOURNAL_SUB || kind == JOURNAL_UNSUB) {
            keeper_must(journal_sub_read(kind, k->records[i].content, &other));
            if (other.session == s->session && slice_equal(other.filter, s->filter)) {
                return false;
            }
        }
    }
    return true;
}

static inline enum err keeper_session(const struct keeper *k, struct journal_session *s,
                                      const struct log_sink *sink)
{
    const struct kept *will = NULL;
    TRY(keeper_deliveries(k, s->id, true, sink, &s->next_seq));
    TRY(sink->session(sink->ctx, s));
    for (size_t i = 0; i < k->n; i++) {
        const struct kept *r = &k->records[i];
        struct journal_sub sub;
        struct journal_packet p;
        struct journal_will w;
        if (r->kind == JOURNAL_SUB) {
            keeper_must(journal_sub_read(r->kind, r->content, &sub));
            if (sub.session == s->id && keeper_is_last_sub(k, i, &sub)) {
                TRY(sink->sub(sink->ctx, &sub));
            }
        } else if (r->kind == JOURNAL_INBOUND) {
            keeper_must(journal_packet_read(r->content, &p));
            if (p.session == s->id && !keeper_settled(k, i, JOURNAL_RELEASED, s->id, p.packet_id)) {
                TRY(sink->inbound(sink->ctx, s->id, p.packet_id));
            }
        } else if (r->kind == JOURNAL_WILL) {
            keeper_must(journal_will_read(r->content, &w));
            will = w.session == s->id ? r : will;
        }
    }
    struct journal_will w;
    if (will != NULL) {
        keeper_must(journal_will_read(will->content, &w));
        if (w.m.topic.n > 0) {
            TRY(sink->will(sink->ctx, &w));
        }
    }
    return keeper_deliveries(k, s->id, false, sink, &s->next_seq);
}

static inline enum err keeper_sessions(const struct keeper *k, const struct log_sink *sink)
{
    for (size_t i = 0; i < k->n; i++) {
        struct journal_session s, other;
        bool is_last = true;
        if (k->records[i].kind != JOURNAL_SESSION) {
            continue;
        }
        keeper_must(journal_session_read(k->records[i].content, &s));
        for (size_t j = i + 1; j < k->n && is_last; j++) {
            if (k->records[j].kind == JOURNAL_SESSION) {
                keeper_must(journal_session_read(k->records[j].content, &other));
                is_last = other.id != s.id;
            }
        }
        if (is_last && !keeper_settled(k, i, JOURNAL_SESSION_END, s.id, 0)) {
            TRY(keeper_session(k, &s, sink));
        }
    }
    return OK;
}

static inline enum err keeper_unanswered(const struct keeper *k, const struct log_sink *sink)
{
    for (size_t i = 0; i < k->n; i++) {
        struct journal_body b;
        uint64_t sessions[64];
        size_t n = 0;
        if (k->records[i].kind != JOURNAL_BODY) {
            continue;
        }
        keeper_must(journal_body_read(k->records[i].content, &b));
        for (size_t j = 0; j < k->n; j++) {
            struct journal_deliver d;
            struct journal_delivery e;
            if (k->records[j].kind == JOURNAL_DELIVER) {
                keeper_must(journal_deliver_read(k->records[j].content, &d));
                b.owed &= d.body_id == b.id ? ~((uint64_t)1 << d.worker) : UINT64_MAX;
                while (d.body_id == b.id && n < 64 && journal_delivery_next(&d.entries, &e) == OK) {
                    sessions[n++] = e.session;
                }
            }
        }
        if (b.owed != 0) {
            TRY(sink->unanswered(sink->ctx, b.id, sessions, n));
        }
    }
    return OK;
}

static inline enum err keeper_restore(const struct keeper *k, const struct log_sink *sink)
{
    TRY(keeper_bodies(k, sink));
    TRY(keeper_sessions(k, sink));
    for (size_t i = 0; i < k->n; i++) {
        struct journal_set_aside s;
        if (k->records[i].kind == JOURNAL_SET_ASIDE) {
            keeper_must(journal_set_aside_read(k->records[i].content, &s));
            if (keeper_aside_ended(k, s.id)) {
                continue;
            }
            TRY(sink->set_aside(sink->ctx, &s));
        }
    }
    return keeper_unanswered(k, sink);
}

static inline struct store_ids keeper_ids(const struct keeper *k)
{
    struct store_ids ids = {0};
    for (size_t i = 0; i < k->n; i++) {
        struct journal_body b;
        struct journal_session s;
        if (k->records[i].kind == JOURNAL_BODY) {
            keeper_must(journal_body_read(k->records[i].content, &b));
            ids.body = b.id > ids.body ? b.id : ids.body;
            ids.retained = b.m.number > ids.retained ? b.m.number : ids.retained;
        } else if (k->records[i].kind == JOURNAL_SESSION) {
            keeper_must(journal_session_read(k->records[i].content, &s));
            ids.session = s.id > ids.session ? s.id : ids.session;
        } else if (k->records[i].kind == JOURNAL_SET_ASIDE) {
            struct journal_set_aside a;
            keeper_must(journal_set_aside_read(k->records[i].content, &a));
            ids.set_aside = a.id > ids.set_aside ? a.id : ids.set_aside;
        }
    }
    return ids;
}

#endif
