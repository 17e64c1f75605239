/* Retained messages for a new subscription: at the pace of the role, between what is live. A replay
 * holds its place in the index and no messages; docs/ORDER.md, rule 3. */
#include <inttypes.h>

#include "base/mem.h"
#include "service/broker/aside_private.h"
#include "service/broker/commit_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/record_private.h"
#include "service/broker/replay_private.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"

enum {
    REPLAY_STEPS = 4096, /* places of the index that all replays of a worker look at in one turn */
    ESTIMATE_STEPS = 4096, /* places looked at before a subscription; more are estimated */
    REPLAY_AHEAD = 64 /* deliveries in a queue, beside those in flight, above which a replay adds
                         none: what comes live waits behind no more of them */
};

static void replay_free(struct worker *w, struct replay *r)
{
    list_unlink(&r->node);
    retained_cursor_done(w->retained, &r->cursor);
    mem_free(r);
}

/* They go with the last of them. */
static void replays_done(struct conn *c)
{
    if (c->replays != NULL && list_is_empty(&c->replays->list)) {
        list_unlink(&c->replays->waiting);
        c->replays = mem_free(c->replays);
    }
}

static enum err replays_of(struct conn *c, struct replays **ret)
{
    if (c->replays == NULL) {
        c->replays = mem_zalloc(sizeof(*c->replays));
        if (c->replays == NULL) {
            return ERR_NOMEM;
        }
        c->replays->conn = c;
        list_init(&c->replays->list);
    }
    *ret = c->replays;
    return OK;
}

void replays_forget(struct worker *w, struct conn *c, const struct sub *sub)
{
    if (c->replays == NULL) {
        return;
    }
    list_for_each_safe (n, next, &c->replays->list) {
        struct replay *r = LIST_ENTRY(n, struct replay, node);
        if (sub == NULL || r->sub == sub) {
            replay_free(w, r);
        }
    }
    replays_done(c);
}

enum err replay_check(struct worker *w, const struct conn *c, struct slice filter,
                      struct decision *ret)
{
    const struct account *a = c->account;
    uint32_t most = grants_limits(&a->grants)->retained_replay;
    uint64_t n = retained_estimate(w->retained, filter, ESTIMATE_STEPS);
    if (n <= most) {
        return OK;
    }
    ret->err = ERR_QUOTA;
    snprintf(ret->rule, sizeof ret->rule,
             "it may bring %" PRIu64
             " retained messages, retained_replay %u of role %.32s is less. "
             "Subscribe to less, or (MQTT 5) with Retain Handling 2",
             n, (unsigned)most, a->principal->role);
    return ERR_QUOTA;
}

/* What is retained at the barrier, and no more: what comes later comes live. What an older
 * SUBSCRIBE to the same filter has not brought yet is part of it. */
enum err replay_start(struct worker *w, struct conn *c, const struct sub *sub)
{
    replays_forget(w, c, sub);
    struct replays *all;
    TRY(replays_of(c, &all));
    struct replay *r = mem_zalloc(sizeof(*r));
    if (r == NULL) {
        replays_done(c);
        return ERR_NOMEM;
    }
    r->sub = sub;
    r->qos = sub->qos;
    r->id = sub->id;
    r->epoch = w->realm->epoch;
    retained_cursor_init(w->retained, sub_filter(sub), &r->cursor);
    list_append(&all->list, &r->node);
    return OK;
}

/* What was set aside for this session does not come by this way again. The publisher is asked each
 * time, and the flow between segments; the subscriber after a change of policy (rule 9).
 * ERR_NOT_FOUND, ERR_DENIED: it is not due; ERR_NOMEM. */
static enum err replay_due(struct worker *w, const struct session *s, const struct replay *r,
                           const struct msg *m)
{
    if (aside_holds(w, s, m)) {
        return ERR_NOT_FOUND;
    }
    enum err err = publisher_judge(w, m);
    if (err == OK && !may_hear(w, s->account, session_client_id(s), m)) {
        return ERR_NOT_FOUND; /* counted and told */
    }
    if (err == OK && r->epoch != w->realm->epoch) {
        err = grants_subscribe(&s->account->grants, m->topic, NULL);
    }
    if (err == ERR_DENIED) {
        count_add(&counts(w)->dropped_policy, 1);
    }
    return err;
}

/* What is in the queue of a session that lasts is on record. Without memory for that it is as one
 * that was not replayed before a crash. */
static void record_replay(struct worker *w, struct session *s, const struct msg *m,
                          const struct journal_delivery *d, const uint32_t *ids)
{
    uint64_t lsn;
    buf_clear(&w->record);
    if (record_entry(w, s, d, ids) != OK ||
        record_deliver(w, m->body_id, w->setup.index, &lsn) != OK) {
        count_add(&counts(w)->dropped_memory, 1);
        return;
    }
    session_set_lsn(s, d->seq, lsn);
    struct pending wake = {.lsn = lsn, .action = PENDING_WAKE, .id = s->conn};
    if (d->qos == 2 && pending_add(w, &wake) != OK) {
        count_add(&counts(w)->dropped_memory, 1);
    }
}

static enum err replay_one(struct worker *w, struct session *s, const struct replay *r,
                           const struct msg *m)
{
    struct journal_delivery d = {
        .qos = m->qos < r->qos ? m->qos : r->qos, .retain = true, .n_ids = r->id != 0 ? 1 : 0};
    /* SPEC: MQTT3-3.3.1-8: the retain flag is set on what a new subscription brings */
    TRY(session_enqueue(s, m, d.qos, true, &r->id, d.n_ids, 0, grants_limits(&s->account->grants),
                        &d.seq));
    if (s->subscriber.is_durable && d.qos > 0 && m->body_id != 0) {
        record_replay(w, s, m, &d, &r->id);
    }
    return OK;
}

/* ERR_AGAIN, after which the connection is looked at again at the time given. */
static enum err replay_wait(struct worker *w, struct conn *c, uint64_t until_ms)
{
    c->replays->at_ms = until_ms;
    if (!list_is_linked(&c->replays->waiting)) {
        list_append(&w->replaying, &c->replays->waiting);
    }
    return ERR_AGAIN;
}

static bool has_room(const struct session *s)
{
    const struct role_limits *l = grants_limits(&s->account->grants);
    uint64_t most = (uint64_t)l->inflight + REPLAY_AHEAD;
    uint64_t half = l->queue_messages / 2 + 1; /* of a small queue stays free for live traffic */
    return session_count(s) < (half < most ? half : most);
}

/* One more message, or the end. ERR_AGAIN: not now. ERR_NOMEM. */
static enum err replay_next(struct worker *w, struct conn *c, struct replay *r)
{
    struct session *s = c->session;
    if (!has_room(s)) {
        return ERR_AGAIN;
    }
    uint64_t wait_ms = account_wait_ms(s->account, ACCOUNT_REPLAYS, 1, w->now_ms);
    if (wait_ms > 0 || w->replay_steps == 0) {
        return replay_wait(w, c, w->now_ms + wait_ms);
    }
    const struct msg *m =
        retained_cursor_find(w->retained, &r->cursor, w->now_ms, &w->replay_steps);
    if (m == NULL) {
        return r->cursor.node == NULL ? OK : replay_wait(w, c, w->now_ms);
    }
    w->replay_steps -= w->replay_steps > 0;
    enum err err = replay_due(w, s, r, m);
    err = err == OK ? replay_one(w, s, r, m) : err;
    if (err == ERR_NOMEM) {
        return err;
    }
    if (err == ERR_QUOTA) {
        if (s->queue->queued_bytes > 0) {
            return ERR_AGAIN; /* the bytes are used up: later */
        }
        count_add(&counts(w)->dropped_queue, 1); /* alone it is over queue_bytes */
    }
    (void)account_take(s->account, ACCOUNT_REPLAYS, err == OK, w->now_ms);
    retained_cursor_next(w->retained, &r->cursor);
    return OK;
}

void replays_feed(struct worker *w, struct conn *c)
{
    if (c->replays == NULL) {
        return;
    }
    list_for_each_safe (n, next, &c->replays->list) {
        struct replay *r = LIST_ENTRY(n, struct replay, node);
        enum err err = OK;
        while (err == OK && r->cursor.node != NULL) {
            err = replay_next(w, c, r);
        }
        if (err == ERR_NOMEM) {
            conn_close(w, c, MQTT_SERVER_BUSY);
        }
        if (err != OK) {
            return;
        }
        replay_free(w, r);
    }
    replays_done(c);
}

void replays_go_on(struct worker *w, struct conn *c)
{
    if (c->replays != NULL && !list_is_linked(&c->replays->waiting) && has_room(c->session)) {
        conn_mark_dirty(w, c);
    }
}

void replays_turn(struct worker *w)
{
    w->replay_steps = REPLAY_STEPS;
    list_for_each_safe (n, next, &w->replaying) {
        struct replays *r = LIST_ENTRY(n, struct replays, waiting);
        if (r->at_ms <= w->now_ms) {
            list_unlink(n);
            conn_mark_dirty(w, r->conn);
        }
    }
}

uint64_t replays_deadline(const struct worker *w)
{
    uint64_t at = UINT64_MAX;
    list_for_each (n, &w->replaying) {
        const struct replays *r = LIST_ENTRY(n, struct replays, waiting);
        at = r->at_ms < at ? r->at_ms : at;
    }
    return at;
}
