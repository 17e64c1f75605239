/* One message and the local subscribers it reached: durable sessions with their record, then all
 * others. docs/ORDER.md, rules 7 and 9. */
#include "base/mem.h"
#include "core/groups.h"
#include "service/broker/ceiling_private.h"
#include "service/broker/commit_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/group_private.h"
#include "service/broker/record_private.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"

/* ---- what becomes of a hit ---- */

static struct session *session_hit(const struct match_hit *hit)
{
    return hit->subscriber->kind == SUBSCRIBER_SESSION ? (struct session *)(void *)hit->subscriber
                                                       : NULL;
}

static uint8_t least_qos(const struct msg *m, const struct match_hit *hit)
{
    return m->qos < hit->qos ? m->qos : hit->qos;
}

/* What a durable session is promised needs a body on record to stand on. */
static bool is_recorded(const struct msg *m, const struct match_hit *hit)
{
    return m->body_id != 0 && hit->subscriber->kind == SUBSCRIBER_SESSION &&
           hit->subscriber->is_durable && least_qos(m, hit) > 0;
}

static void deny_delivery(struct worker *w, const struct session *s, const struct msg *m,
                          const struct decision *why)
{
    struct event e = event_of(w, EVENT_acl_deny, conn_find(w, s->conn));
    e.is_unasked = true;
    EVENT_TEXT(&e, principal, slice_text(s->account->principal->name));
    EVENT_TEXT(&e, client_id, session_client_id(s));
    EVENT_TEXT(&e, target, m->topic);
    event_reason(&e, "not delivered: %s", why->rule);
    count_add(&counts(w)->dropped_policy, 1);
    worker_report(w, &e);
}

/* What waits for its socket is of the same budget. QoS 1 and 2 are still in the queue while they
 * are there. */
static bool is_over_budget(const struct conn *c, const struct session *s, size_t n)
{
    return c != NULL && c->backlog_bytes > 0 &&
           s->queue->queued_bytes + c->backlog_bytes + n >
               grants_limits(&s->account->grants)->queue_bytes;
}

/* ERR_DENIED, ERR_QUOTA: it does not get it, and that is said; ERR_NOMEM: also when there was none
 * to learn what it may have. */
static enum err queue(struct worker *w, const struct msg *m, const struct match *match,
                      const struct match_hit *hit, uint64_t *ret_seq)
{
    struct session *s = session_hit(hit);
    enum err err = passage_deliver(s->account, hit->first, &w->why);
    if (err != OK) {
        if (err == ERR_DENIED) {
            deny_delivery(w, s, m, &w->why);
        }
        return err;
    }
    if (!may_hear(w, s->account, session_client_id(s), m)) {
        return ERR_DENIED;
    }
    err = session_enqueue(s, m, least_qos(m, hit), hit->retain_as_published && m->retain,
                          match->ids + hit->ids_at, hit->n_ids, 0,
                          grants_limits(&s->account->grants), ret_seq);
    if (err == ERR_QUOTA) {
        slow_dropped(w, s, DROP_QUEUE, 1, m->topic);
    }
    if (err == OK && hit->group != 0) {
        session_set_group(s, hit->group);
    }
    return err;
}

static void wake(struct worker *w, const struct session *s)
{
    struct conn *c = conn_find(w, s->conn);
    if (c != NULL) {
        conn_mark_dirty(w, c);
    }
}

/* ---- durable sessions ---- */

size_t fan_pending(const struct msg *m, const struct match *match)
{
    return m->qos == 2 && m->body_id != 0 && match->local_durable ? match->n_hits : 0;
}

static enum err add_queued(struct worker *w, struct session *s, uint64_t seq)
{
    struct queued q = {.s = s, .seq = seq};
    return buf_append(&w->hits, slice_of(&q, sizeof(q)), SIZE_MAX);
}

static enum err gather_one(struct worker *w, const struct msg *m, const struct match *match,
                           const struct match_hit *hit)
{
    struct session *s = session_hit(hit);
    uint64_t seq = 0;
    enum err err = queue(w, m, match, hit, &seq);
    if (err != OK) {
        return err == ERR_NOMEM ? err : OK;
    }
    err = add_queued(w, s, seq);
    if (err != OK) {
        session_take_back(s, seq);
        return err;
    }
    struct journal_delivery d = {.seq = seq,
                                 .qos = least_qos(m, hit),
                                 .retain = hit->retain_as_published && m->retain,
                                 .n_ids = hit->n_ids};
    TRY(record_entry(w, s, &d, match->ids + hit->ids_at));
    return hit->group != 0 ? record_group_entry(w, groups_numbered(w->groups, hit->group)->hash)
                           : OK;
}

static const struct queued *queued_at(const struct worker *w, size_t i)
{
    return (const struct queued *)(const void *)w->hits.p + i;
}

void fan_take_back(struct worker *w)
{
    for (size_t i = w->hits.n / sizeof(struct queued); i > 0; i--) {
        session_take_back(queued_at(w, i - 1)->s, queued_at(w, i - 1)->seq);
    }
}

/* QoS 2 copies may leave once the record is committed. SPEC: docs/ORDER.md rule 8 */
static void stamp(struct worker *w, const struct msg *m, uint64_t lsn)
{
    for (size_t i = 0; i < w->hits.n / sizeof(struct queued); i++) {
        struct session *s = queued_at(w, i)->s;
        session_set_lsn(s, queued_at(w, i)->seq, lsn);
        wake(w, s);
        struct pending at_commit = {.lsn = lsn, .action = PENDING_WAKE, .id = s->conn};
        if (m->qos == 2 && s->conn != 0 && pending_add(w, &at_commit) != OK) {
            count_add(&counts(w)->dropped_memory, 1); /* the session's next turn sends it */
        }
    }
}

MUST_USE enum err fan_record(struct worker *w, const struct msg *m, unsigned debtor, bool is_owed,
                             uint64_t *ret_lsn)
{
    uint64_t lsn = 0;
    if (w->record.n == 0 && !is_owed) {
        return OK;
    }
    enum err err = record_deliver(w, m->body_id, debtor, &lsn);
    if (err != OK) {
        fan_take_back(w);
        return err;
    }
    stamp(w, m, lsn);
    *ret_lsn = lsn;
    return OK;
}

MUST_USE enum err fan_gather(struct worker *w, const struct msg *m, const struct match *match)
{
    buf_clear(&w->record);
    buf_clear(&w->hits);
    enum err err = OK;
    for (size_t i = 0; i < match->n_hits && err == OK; i++) {
        if (is_recorded(m, &match->hits[i])) {
            err = gather_one(w, m, match, &match->hits[i]);
        }
    }
    if (err != OK) {
        fan_take_back(w);
    }
    return err;
}

MUST_USE enum err fan_durable(struct worker *w, const struct msg *m, const struct match *match,
                              unsigned debtor, bool is_owed, uint64_t *ret_lsn)
{
    TRY(fan_gather(w, m, match));
    return fan_record(w, m, debtor, is_owed, ret_lsn);
}

static bool has_session(const uint64_t *sessions, size_t n, uint64_t id)
{
    for (size_t i = 0; i < n; i++) {
        if (sessions[i] == id) {
            return true;
        }
    }
    return false;
}

MUST_USE enum err fan_missed(struct worker *w, const struct msg *m, const uint64_t *sessions,
                             size_t n)
{
    struct match match;
    uint64_t lsn;
    TRY(filters_match(w->filters, m->topic, NULL, &match));
    groups_missed(w, m, sessions, n, &match);
    enum err err = OK;
    buf_clear(&w->record);
    buf_clear(&w->hits);
    for (size_t i = 0; i < match.n_hits && err == OK; i++) {
        const struct match_hit *hit = &match.hits[i];
        if (is_recorded(m, hit) &&
            (hit->group != 0 || !has_session(sessions, n, session_hit(hit)->id))) {
            err = gather_one(w, m, &match, hit);
        }
    }
    if (err != OK) {
        fan_take_back(w);
        return err;
    }
    return fan_record(w, m, w->setup.index, false, &lsn);
}

/* ---- everybody else ---- */

static void deliver_session(struct worker *w, const struct msg *m, const struct match *match,
                            const struct match_hit *hit)
{
    struct session *s = session_hit(hit);
    struct conn *c = conn_find(w, s->conn);
    bool is_qos0 = least_qos(m, hit) == 0;
    uint64_t seq;
    if (is_qos0 && s->conn == 0) {
        count_add(&counts(w)->dropped_asleep, 1);
        return;
    }
    if (is_qos0 && ceiling_drops(w, s)) {
        slow_dropped(w, s, DROP_PRESSURE, 1, m->topic);
        return;
    }
    if (is_qos0 && is_over_budget(c, s, msg_cost(m))) {
        slow_dropped(w, s, DROP_QUEUE, 1, m->topic);
        return;
    }
    enum err err = queue(w, m, match, hit, &seq);
    if (err == OK && c != NULL) {
        conn_mark_dirty(w, c);
    }
    if (err == ERR_NOMEM) {
        count_add(&counts(w)->dropped_memory, 1);
    }
}

static void deliver_observer(struct worker *w, const struct msg *m, const struct match_hit *hit)
{
    struct observer *o = (struct observer *)(void *)hit->subscriber;
    enum err err = passage_deliver(o->account, hit->first, &w->why);
    if (err != OK) {
        count_add(err == ERR_NOMEM ? &counts(w)->dropped_memory : &counts(w)->dropped_policy, 1);
        return;
    }
    if (!may_hear(w, o->account, (struct slice){0}, m)) {
        return;
    }
    msg_unref(o->latest);
    o->latest = msg_ref(m);
    if (!list_is_linked(&o->dirty)) {
        list_append(&w->observers_dirty, &o->dirty);
    }
}

void fan_others(struct worker *w, const struct msg *m, const struct match *match)
{
    w->fanned_bytes += match->n_hits > 0 ? msg_cost(m) : 0;
    w->n_wide += match->n_hits >= WORKER_WIDE_HITS ? match->n_hits : 0;
    for (size_t i = 0; i < match->n_hits; i++) {
        const struct match_hit *hit = &match->hits[i];
        if (hit->subscriber->kind == SUBSCRIBER_OBSERVER) {
            deliver_observer(w, m, hit);
        } else if (!is_recorded(m, hit)) {
            deliver_session(w, m, match, hit);
        }
    }
}
