/*
 * session_model_private - for the test and the fuzz target of sessions only: a plain list that does
 * what a session must do, and one step of any kind done to both and compared.
 */
#ifndef CORE_SESSION_MODEL_PRIVATE_H
#define CORE_SESSION_MODEL_PRIVATE_H

#include <assert.h>

#include "core/session.h"

enum { MODEL_MAX = 96, MODEL_IDS_MAX = 3 };

struct model_entry {
    const struct msg *msg; /* borrowed: for comparing */
    uint64_t seq, lsn, expires_at_ms;
    uint32_t first_id;
    uint16_t n_ids, packet_id;
    uint8_t qos;
    bool is_dup, may_expire;
    enum delivery_state state;
};

struct session_model {
    struct session *s;
    struct role_limits limits;
    struct model_entry list[MODEL_MAX]; /* unfinished ones, oldest first */
    size_t n;
    uint64_t now_ms, lsn, committed;
    uint32_t window;
    uint64_t n_sent, n_resent, n_expired, n_restarts; /* that a run did anything at all */
};

static inline void model_init(struct session_model *m, uint32_t window)
{
    *m = (struct session_model){.window = window, .now_ms = 1};
    m->limits = (struct role_limits)ROLE_LIMITS_DEFAULT;
    m->limits.queue_messages = MODEL_MAX;
    enum err e = session_new(1, NULL, slice_text("c"), true, &m->s);
    assert(e == OK);
}

static inline void model_done(struct session_model *m)
{
    m->s = session_free(m->s);
}

static inline void model_remove(struct session_model *m, size_t at)
{
    memmove(&m->list[at], &m->list[at + 1], (m->n - at - 1) * sizeof m->list[0]);
    m->n--;
}

static inline bool model_is_inflight(const struct model_entry *e)
{
    return e->state == DELIVERY_SENT || e->state == DELIVERY_RECEIVED ||
           e->state == DELIVERY_RELEASED;
}

static inline uint32_t model_inflight(const struct session_model *m)
{
    uint32_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        n += model_is_inflight(&m->list[i]);
    }
    return n;
}

static inline void model_enqueue(struct session_model *m, uint64_t choice)
{
    struct model_entry e = {.qos = (uint8_t)(choice % 3), .seq = m->s->next_seq};
    e.n_ids = (uint16_t)(choice / 4 % (MODEL_IDS_MAX + 1));
    e.first_id = (uint32_t)(1 + choice / 16 % 1000);
    e.expires_at_ms = choice / 64 % 8 == 0 ? m->now_ms + choice / 512 % 200 : UINT64_MAX;
    e.lsn = e.qos == 2 ? ++m->lsn : 0;
    uint32_t ids[MODEL_IDS_MAX] = {e.first_id, e.first_id + 1, e.first_id + 2};
    struct msg *msg = NULL;
    enum err err = msg_new(slice_text("t"), (struct slice){0}, slice_of(&e.seq, 8), &msg);
    assert(err == OK);
    msg->expires_at_ms = e.expires_at_ms;
    uint64_t seq = 0;
    err = session_enqueue(m->s, msg, e.qos, false, ids, e.n_ids, e.lsn, &m->limits, &seq);
    assert(err == (m->n < MODEL_MAX ? OK : ERR_QUOTA));
    assert(err != OK || seq == e.seq);
    if (err == OK) {
        e.msg = msg;
        m->list[m->n++] = e;
    }
    msg_unref(msg);
}

/* Does one of the first n hold the packet id that e is to get? */
static inline bool model_waits_for_id(const struct session_model *m, const struct model_entry *e,
                                      size_t n)
{
    for (size_t i = 0; i < n && e->packet_id == 0; i++) {
        if (m->list[i].packet_id == (e->seq - 1) % 65535 + 1) {
            return true;
        }
    }
    return false;
}

/* The entry that may leave now; expired ones before it go. */
static inline struct model_entry *model_next(struct session_model *m, uint32_t *n_expired)
{
    for (size_t i = 0; i < m->n; i++) {
        struct model_entry *e = &m->list[i];
        if (e->state != DELIVERY_QUEUED) {
            continue;
        }
        if (e->expires_at_ms <= m->now_ms && (!e->is_dup || e->may_expire)) {
            (*n_expired)++;
            model_remove(m, i--);
            continue;
        }
        bool waits =
            (e->qos > 0 && (model_inflight(m) >= m->window || model_waits_for_id(m, e, m->n))) ||
            (e->qos == 2 && e->lsn > m->committed);
        return waits ? NULL : e;
    }
    return NULL;
}

static inline void model_check_id(const struct session_model *m, const struct model_entry *e,
                                  uint16_t packet_id)
{
    assert(packet_id == (e->seq - 1) % 65535 + 1 && (!e->is_dup || packet_id == e->packet_id));
    for (size_t i = 0; i < m->n; i++) {
        const struct model_entry *other = &m->list[i];
        assert(other == e || other->packet_id != packet_id);
    }
}

static inline void model_send(struct session_model *m, bool is_refused)
{
    uint32_t want_expired = 0, got_expired = 0;
    struct model_entry *e = model_next(m, &want_expired);
    struct delivery *d = session_next(m->s, m->window, m->committed, m->now_ms, &got_expired);
    assert(want_expired == got_expired && (e != NULL) == (d != NULL));
    m->n_expired += want_expired;
    if (e == NULL) {
        return;
    }
    assert(d->seq == e->seq && d->qos == e->qos && d->is_dup == e->is_dup && d->msg == e->msg);
    assert(d->n_ids == e->n_ids && (e->n_ids != 1 || d->id == e->first_id));
    assert(e->n_ids < 2 || d->ids[e->n_ids - 1] == e->first_id + e->n_ids - 1);
    if (is_refused) {
        session_drop(m->s, d);
        model_remove(m, (size_t)(e - m->list));
        return;
    }
    m->n_sent++;
    m->n_resent += e->is_dup;
    if (e->qos == 0) {
        session_sent(m->s, d);
        model_remove(m, (size_t)(e - m->list));
        return;
    }
    uint16_t packet_id = session_assign_id(m->s, d);
    model_check_id(m, e, packet_id);
    session_sent(m->s, d);
    e->packet_id = packet_id;
    e->state = DELIVERY_SENT;
}

static inline struct model_entry *model_find(struct session_model *m, uint16_t packet_id)
{
    for (size_t i = 0; packet_id != 0 && i < m->n; i++) {
        if (m->list[i].packet_id == packet_id && model_is_inflight(&m->list[i])) {
            return &m->list[i];
        }
    }
    return NULL;
}

/* An acknowledgement of any kind for one of the packet ids in flight, or for none. */
static inline void model_ack(struct session_model *m, uint64_t choice)
{
    uint16_t packet_id = (uint16_t)(choice / 64);
    if (m->n > 0 && choice / 4 % 8 != 0) {
        /* mostly an old one, since those are in flight */
        size_t n = choice / 64 % 4 == 0 || m->n < 8 ? m->n : 8;
        packet_id = m->list[choice / 256 % n].packet_id;
    }
    struct model_entry *e = model_find(m, packet_id);
    const struct delivery *d = session_find_packet(m->s, packet_id);
    assert((e != NULL) == (d != NULL));
    assert(e == NULL || (d->seq == e->seq && d->state == e->state));
    uint64_t seq = 0;
    enum err want = ERR_NOT_FOUND, got;
    bool is_gone = false, again = false;
    if (choice % 4 == 0) {
        want = e != NULL && e->qos == 1 ? OK : want;
        is_gone = want == OK;
        got = session_puback(m->s, packet_id, &seq);
    } else if (choice % 4 == 1) {
        want = e != NULL && e->state == DELIVERY_RELEASED ? OK : want;
        is_gone = want == OK;
        got = session_pubcomp(m->s, packet_id, &seq);
    } else {
        uint8_t reason = choice / 32 % 8 == 0 ? 0x80 : 0;
        want = e != NULL && e->qos == 2 ? OK : want;
        is_gone = want == OK && reason != 0 && e->state != DELIVERY_RELEASED;
        got = session_pubrec(m->s, packet_id, reason, m->lsn + 1, &seq, &again);
        assert(want != OK || again == (e->state == DELIVERY_RELEASED));
        if (want == OK && !is_gone && e->state == DELIVERY_SENT) {
            e->state = DELIVERY_RECEIVED;
            e->lsn = ++m->lsn;
        }
    }
    assert(got == want && (want != OK || seq == e->seq));
    if (is_gone) {
        model_remove(m, (size_t)(e - m->list));
    }
}

static inline void model_pubrel(struct session_model *m)
{
    struct model_entry *first = NULL;
    for (size_t i = 0; i < m->n; i++) {
        struct model_entry *e = &m->list[i];
        if (e->state == DELIVERY_RECEIVED && (first == NULL || e->lsn < first->lsn)) {
            first = e;
        }
    }
    bool may = first != NULL && first->lsn <= m->committed;
    uint16_t packet_id = session_next_pubrel(m->s, m->committed);
    assert(packet_id == (may ? first->packet_id : 0));
    if (may) {
        first->state = DELIVERY_RELEASED;
    }
}

static inline void model_sleep(struct session_model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (m->list[i].state == DELIVERY_QUEUED && m->list[i].qos == 0) {
            model_remove(m, i--);
            n++;
        }
    }
    size_t got = session_sleep(m->s);
    assert(got == n);
}

static inline void model_resume(struct session_model *m)
{
    for (size_t i = 0; i < m->n; i++) {
        struct model_entry *e = &m->list[i];
        if (e->state == DELIVERY_SENT) {
            e->state = DELIVERY_QUEUED;
            e->is_dup = true;
            e->may_expire = false;
        } else if (e->state == DELIVERY_RELEASED) {
            e->state = DELIVERY_RECEIVED;
        }
    }
    session_resume(m->s);
}

/* A crash: what is on record comes back, QoS 0 is gone. Now and then many deliveries that nobody
 * remembers lie in between. */
static inline void model_restart(struct session_model *m, uint64_t choice)
{
    struct session *s = NULL;
    enum err err = session_new(1, NULL, slice_text("c"), true, &s);
    assert(err == OK);
    for (size_t i = 0; i < m->n; i++) {
        struct model_entry *e = &m->list[i];
        if (e->qos == 0) {
            model_remove(m, i--);
            continue;
        }
        bool is_received = e->state == DELIVERY_RECEIVED || e->state == DELIVERY_RELEASED;
        uint32_t ids[MODEL_IDS_MAX] = {e->first_id, e->first_id + 1, e->first_id + 2};
        err = session_restore(s, is_received ? NULL : e->msg, e->seq, e->qos, false, ids, e->n_ids);
        assert(err == OK);
        e->state = is_received ? DELIVERY_RECEIVED : DELIVERY_QUEUED;
        e->packet_id = 0;
        e->is_dup = !model_waits_for_id(m, e, i); /* else it cannot have left before */
        e->packet_id = e->is_dup ? (uint16_t)((e->seq - 1) % 65535 + 1) : 0;
        e->may_expire = e->qos == 1;
        e->lsn = 0;
    }
    uint64_t gap = m->n < MODEL_MAX / 4 && choice % 4 == 0 ? 65535 - choice / 4 % 32 : 0;
    session_restore_next(s, m->s->next_seq + gap);
    session_free(m->s);
    m->s = s;
    m->n_restarts++;
}

static inline void model_check(const struct session_model *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->n; i++) {
        bool has_body = m->list[i].state == DELIVERY_QUEUED || m->list[i].state == DELIVERY_SENT;
        bytes += has_body ? sizeof(struct msg) + 9 : 0;
    }
    assert(m->s->queue->queued_bytes == bytes && session_count(m->s) == m->n);
    assert(m->s->queue->n_inflight == model_inflight(m));
    size_t n_received = 0;
    for (size_t i = 0; i < m->n; i++) {
        n_received += m->list[i].state == DELIVERY_RECEIVED;
    }
    assert(m->s->queue->n_received == n_received);
    assert(m->s->queue->ring_cap <= 4 * MODEL_MAX); /* holes do not pile up */
}

/* model_step - one step of a kind that `kind` picks, done to both. */
static inline void model_step(struct session_model *m, uint8_t kind, uint64_t choice)
{
    m->now_ms += choice % 3;
    m->committed += m->committed < m->lsn ? choice / 8 % 2 : 0;
    switch (kind % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
        model_enqueue(m, choice);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        model_send(m, choice % 32 == 0);
        break;
    case 8:
        model_pubrel(m);
        break;
    case 9:
        if (choice % 64 == 1) {
            model_restart(m, choice / 64);
        } else if (choice % 16 == 0) {
            if (choice % 32 == 0) {
                model_sleep(m);
            }
            model_resume(m);
        }
        break;
    default:
        model_ack(m, choice);
        break;
    }
    model_check(m);
}

#endif
