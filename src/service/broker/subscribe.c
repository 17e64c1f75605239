/* SUBSCRIBE and UNSUBSCRIBE: the passage, the filter tree, interest of other workers, the barrier
 * before SUBACK, and the retained messages behind it. docs/ORDER.md, rule 3. */
#include <assert.h>

#include "base/mem.h"
#include "base/plant.h"
#include "core/groups.h"
#include "service/broker/commit_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/group_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/record_private.h"
#include "service/broker/replay_private.h"
#include "service/broker/subscribe_private.h"
#include "service/broker/worker_private.h"

enum {
    SUBACK_HOLD_MS = 1000, /* a PUBLISH waits for the SUBACK before it so long at most */
    CODES_MAX = 64 /* filters of one packet; over limits.filters_per_packet in any sane setting */
};

/* ---- barriers ---- */

static enum err barrier_new(struct worker *w, enum barrier_kind kind, size_t n_filters,
                            struct barrier **ret)
{
    struct barrier *b = mem_zalloc(sizeof(*b) + n_filters * sizeof(b->filters[0]));
    if (b == NULL) {
        return ERR_NOMEM;
    }
    b->id = ++w->next_barrier_id;
    b->kind = kind;
    b->n_filters = n_filters;
    *ret = b;
    return OK;
}

static void barrier_finish(struct worker *w, struct barrier *b);

/* Asks every other worker to answer when it has taken in all that was said to it before. An
 * UNSUBACK waits for the journal alone. */
static enum err barrier_start(struct worker *w, struct barrier *b)
{
    bool asks = b->kind != BARRIER_UNSUBACK &&
                !(b->kind == BARRIER_SUBACK && PLANTED(PLANT_NO_SUBACK_BARRIER));
    for (unsigned i = 0; asks && i < w->setup.n_workers; i++) {
        struct wmsg m = {.kind = WMSG_BARRIER, .id = b->id};
        if (i != w->setup.index) {
            TRY(outbox_push(w, i, &m));
            b->waiting |= (uint64_t)1 << i;
        }
    }
    if (b->lsn > w->committed) {
        struct pending p = {.lsn = b->lsn, .action = PENDING_BARRIER, .id = b->id};
        TRY(pending_add(w, &p));
        b->waiting |= (uint64_t)1 << w->setup.index;
    }
    list_append(&w->barriers, &b->node);
    if (b->waiting == 0) {
        barrier_finish(w, b);
    }
    return OK;
}

void barrier_acked(struct worker *w, const struct wmsg *m)
{
    list_for_each (n, &w->barriers) {
        struct barrier *b = LIST_ENTRY(n, struct barrier, node);
        if (b->id == m->id) {
            b->waiting &= ~((uint64_t)1 << m->from);
            if (b->waiting == 0) {
                barrier_finish(w, b);
            }
            return;
        }
    }
}

void barriers_forget_sub(struct worker *w, const struct sub *sub)
{
    list_for_each (n, &w->barriers) {
        struct barrier *b = LIST_ENTRY(n, struct barrier, node);
        for (size_t i = 0; i < b->n_filters; i++) {
            if (b->filters[i].sub == sub) {
                b->filters[i].sub = NULL;
            }
        }
    }
}

/* ---- the barrier has passed ---- */

static void unsuback_now(struct worker *w, struct conn *c, uint16_t packet_id, struct slice codes)
{
    if (mqtt_server_unsuback(c->engine, packet_id, codes) != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
    }
    conn_mark_dirty(w, c);
}

static void suback_now(struct worker *w, struct barrier *b)
{
    struct conn *c = conn_find(w, b->conn);
    uint8_t codes[CODES_MAX];
    enum mqtt_reason refusal = MQTT_SUCCESS;
    assert(b->n_filters <= CODES_MAX);
    for (size_t i = 0; i < b->n_filters; i++) {
        codes[i] = b->filters[i].code;
        refusal = codes[i] > MQTT_GRANTED_QOS_2 ? (enum mqtt_reason)codes[i] : refusal;
        if (b->filters[i].sub != NULL) {
            b->filters[i].sub->is_pending = false;
        }
    }
    if (c == NULL || c->phase != CONN_OPEN) {
        return;
    }
    c->n_subacks -= b->kind == BARRIER_SUBACK ? 1 : 0;
    if (b->kind == BARRIER_UNSUBACK) {
        unsuback_now(w, c, b->packet_id, slice_of(codes, b->n_filters));
        return;
    }
    /* Without SUBACK the client subscribes again, and is given what is retained then. */
    enum err err = OK;
    for (size_t i = 0; i < b->n_filters && err == OK; i++) {
        if (b->filters[i].sub != NULL && b->filters[i].replay) {
            err = replay_start(w, c, b->filters[i].sub);
        }
    }
    if (err == OK) {
        err = mqtt_server_suback(c->engine, b->packet_id, slice_of(codes, b->n_filters));
    }
    if (err == ERR_UNSUPPORTED) {
        conn_close(w, c, refusal);
    } else if (err != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
    } else {
        conn_mark_dirty(w, c);
    }
}

static void barrier_finish(struct worker *w, struct barrier *b)
{
    list_unlink(&b->node);
    switch (b->kind) {
    case BARRIER_SUBACK:
    case BARRIER_UNSUBACK:
        suback_now(w, b);
        break;
    case BARRIER_MARKERS:
        retained_passed(w->retained, b->number);
        break;
    case BARRIER_OBSERVE:
        for (size_t i = 0; i < b->n_filters; i++) {
            if (b->filters[i].sub != NULL) {
                b->filters[i].sub->is_pending = false;
            }
        }
        if (done_add(w, b->cookie) != OK) {
            count_add(&counts(w)->dropped_memory, 1);
        }
        break;
    }
    mem_free(b);
}

/* Retained numbers that were given out before the barrier was asked for have all arrived when it is
 * answered. */
void markers_sweep(struct worker *w)
{
    struct barrier *b = NULL;
    if (w->setup.n_workers == 1) {
        retained_passed(w->retained, UINT64_MAX);
        return;
    }
    if (retained_marker_count(w->retained) == 0 || barrier_new(w, BARRIER_MARKERS, 0, &b) != OK) {
        return;
    }
    b->number = atomic_load_explicit(w->setup.retained_counter, memory_order_relaxed);
    if (barrier_start(w, b) != OK) {
        mem_free(b); /* answers to what was sent find nothing */
    }
}

/* ---- SUBSCRIBE ---- */

struct wish {
    struct conn *c;
    const struct mqtt_subscription *m;
    uint32_t id;
};

static uint8_t refuse_filter(struct worker *w, struct conn *c, struct slice filter,
                             enum event_category category, enum mqtt_reason reason,
                             const char *text)
{
    struct event e = event_of(w, category, c);
    EVENT_TEXT(&e, target, filter);
    event_reason(&e, "%s%s", text,
                 mqtt_server_terms(c->engine)->version == MQTT_V31
                     ? ". MQTT 3.1 has no word for it, so the connection was closed"
                     : "");
    count_add(category == EVENT_acl_deny ? &counts(w)->refused_denied : &counts(w)->refused_quota,
              1);
    worker_report(w, &e);
    return (uint8_t)reason;
}

static void set_options(struct sub *sub, const struct wish *wish, uint64_t epoch)
{
    sub->qos = wish->m->qos;
    sub->no_local = wish->m->no_local;
    sub->retain_as_published = wish->m->retain_as_published;
    sub->retain_handling = (uint8_t)wish->m->retain_handling;
    sub->id = wish->id;
    sub->epoch = epoch;
}

static enum err record_wish(struct worker *w, const struct session *s, const struct wish *wish)
{
    struct journal_sub record = {.id = wish->id,
                                 .qos = wish->m->qos,
                                 .retain_handling = (uint8_t)wish->m->retain_handling,
                                 .no_local = wish->m->no_local,
                                 .retain_as_published = wish->m->retain_as_published,
                                 .filter = wish->m->whole};
    uint64_t lsn;
    return s->subscriber.is_durable ? record_sub(w, JOURNAL_SUB, s, &record, &lsn) : OK;
}

void unsub_recorded(struct worker *w, const struct session *s, struct slice filter)
{
    struct journal_sub record = {.filter = filter};
    uint64_t lsn;
    if (s->is_on_record && record_sub(w, JOURNAL_UNSUB, s, &record, &lsn) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* after a restart it is judged again */
    }
}

/* The subscription of s that a client means by this; NULL: it has none. A shared one and an
 * ordinary one of the same filter are two. */
static struct sub *find_sub(struct worker *w, const struct session *s, struct slice group,
                            struct slice filter, struct slice whole)
{
    return group.n > 0 ? group_sub_of(&s->subscriber, whole)
                       : filters_find(w->filters, filter, &s->subscriber);
}

/* A new one: hidden until the barrier has passed. Undone when a worker cannot be told or the
 * journal does not take it, for a SUBACK would promise both. */
static enum err start_sub(struct worker *w, const struct wish *wish, struct sub **ret)
{
    struct session *s = wish->c->session;
    struct interest_change change = {0};
    struct sub *sub = NULL;
    if (wish->m->group.n > 0) {
        TRY(group_join(w, s, wish->m->whole, &sub));
    } else {
        TRY(filters_add(w->filters, wish->m->filter, &s->subscriber, &sub, &change));
    }
    sub->is_pending = true;
    count_set(&counts(w)->subscriptions, filters_sub_count(w->filters));
    bool is_told = !interest_changed(&change) ||
                   interest_announce(w, wish->m->filter, change.is_any, change.is_durable);
    enum err err = is_told ? record_wish(w, s, wish) : ERR_NOMEM;
    if (err != OK) {
        sub_remove(w, sub);
        return err;
    }
    *ret = sub;
    return OK;
}

static bool wants_replay(const struct wish *wish, bool is_new)
{
    bool may_have = wish->m->group.n == 0 || PLANTED(PLANT_GROUP_RETAINED);
    return may_have && /* SPEC: MQTT5 3.8.3.1: none for a shared one */
           (wish->m->retain_handling == MQTT_RETAIN_ALWAYS ||
            (wish->m->retain_handling == MQTT_RETAIN_IF_NEW && is_new));
}

static enum err add_sub(struct worker *w, const struct wish *wish, struct barrier_filter *ret)
{
    struct session *s = wish->c->session;
    struct sub *sub = find_sub(w, s, wish->m->group, wish->m->filter, wish->m->whole);
    bool is_new = sub == NULL;
    if (is_new) {
        TRY(start_sub(w, wish, &sub));
    } else {
        TRY(record_wish(w, s, wish)); /* it goes on matching. SPEC: MQTT5-3.8.4-3, MQTT3-3.8.4-3 */
    }
    set_options(sub, wish, wish->c->account->epoch);
    ret->sub = sub;
    ret->replay = wants_replay(wish, is_new);
    return OK;
}

static uint8_t subscribe_one(struct worker *w, const struct wish *wish, struct barrier_filter *ret)
{
    struct conn *c = wish->c;
    struct slice filter = wish->m->whole;
    struct decision why;
    if (lane_is_answer(filter)) {
        return lane_hear(w, c);
    }
    bool is_new = find_sub(w, c->session, wish->m->group, wish->m->filter, filter) == NULL;
    enum err err = passage_subscribe(c->account, c->session, wish->m->filter, is_new, &why);
    if (err == ERR_DENIED) {
        return refuse_filter(w, c, filter, EVENT_acl_deny, MQTT_NOT_AUTHORIZED, why.rule);
    }
    if (err != OK) {
        count_limit(counts(w), why.limit);
        return refuse_filter(w, c, filter, EVENT_quota, MQTT_QUOTA_EXCEEDED, why.rule);
    }
    if (wants_replay(wish, is_new) && replay_check(w, c, wish->m->filter, &why) != OK) {
        count_limit(counts(w), LIMIT_retained_replay);
        return refuse_filter(w, c, filter, EVENT_wildcard, MQTT_QUOTA_EXCEEDED, why.rule);
    }
    err = add_sub(w, wish, ret);
    if (err == ERR_SPACE || err == ERR_IO) {
        report_store(w, c, filter, err, "a subscription");
        return MQTT_QUOTA_EXCEEDED;
    }
    if (err != OK) {
        return refuse_filter(w, c, filter, EVENT_quota, MQTT_UNSPECIFIED_ERROR,
                             "no memory for this subscription; try again");
    }
    struct event e = event_of(w, EVENT_allow, c);
    EVENT_TEXT(&e, target, filter);
    event_reason(&e, "subscribed with QoS %u", wish->m->qos);
    worker_report(w, &e);
    return wish->m->qos; /* SPEC: MQTT-3.9.3-1 */
}

/* Too many filters in one packet: every one is refused, nothing is subscribed, the connection
 * stays, unless it is one of MQTT 3.1. */
static void refuse_all(struct worker *w, struct conn *c, const struct mqtt_subscribe *m)
{
    struct event e = event_of(w, EVENT_quota, c);
    uint8_t codes[256];
    event_reason(&e,
                 "%zu filters in one SUBSCRIBE, %u are allowed: none was subscribed. Split it, or "
                 "raise filters_per_packet",
                 m->n_filters, w->setup.limits->filters_per_packet);
    count_add(&counts(w)->refused_limit, 1);
    count_limit(counts(w), LIMIT_filters_per_packet);
    worker_report(w, &e);
    AUTO(buf_done) struct buf all = {0};
    memset(codes, MQTT_QUOTA_EXCEEDED, sizeof(codes));
    enum err err = OK;
    for (size_t left = m->n_filters; left > 0 && err == OK;) {
        size_t n = left < sizeof(codes) ? left : sizeof(codes);
        err = buf_append(&all, slice_of(codes, n), w->packet_most);
        left -= n;
    }
    if (err == OK) {
        err = mqtt_server_suback(c->engine, m->packet_id, buf_slice(&all));
    }
    if (err != OK) {
        conn_close(w, c, err == ERR_UNSUPPORTED ? MQTT_QUOTA_EXCEEDED : MQTT_SERVER_BUSY);
    }
}

void subscribe_event(struct worker *w, struct conn *c, const struct mqtt_subscribe *m)
{
    if (m->is_over_limit || m->n_filters > CODES_MAX) {
        refuse_all(w, c, m);
        return;
    }
    struct barrier *b = NULL;
    if (barrier_new(w, BARRIER_SUBACK, m->n_filters, &b) != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
        return;
    }
    b->conn = c->handle;
    b->packet_id = m->packet_id;
    struct slice list = m->list;
    struct mqtt_subscription s;
    struct wish wish = {
        .c = c, .m = &s, .id = mqtt_props_number(&m->props, MQTT_PROP_SUBSCRIPTION_ID, 0)};
    for (size_t i = 0; i < b->n_filters && mqtt_subscribe_next(&list, &s); i++) {
        b->filters[i].code = subscribe_one(w, &wish, &b->filters[i]);
    }
    if (c->session->subscriber.is_durable) {
        b->lsn = w->last_lsn; /* its own records are the last ones */
    }
    c->held_until_ms = c->n_subacks++ > 0 ? c->held_until_ms : w->now_ms + SUBACK_HOLD_MS;
    if (barrier_start(w, b) != OK) {
        mem_free(b);
        conn_close(w, c, MQTT_SERVER_BUSY);
    }
}

static uint8_t unsubscribe_one(struct worker *w, struct conn *c,
                               const struct mqtt_unsubscription *u)
{
    struct session *s = c->session;
    struct journal_sub record = {.filter = u->whole};
    uint64_t lsn;
    struct sub *sub = find_sub(w, s, u->group, u->filter, u->whole);
    if (lane_is_answer(u->whole)) {
        return lane_unhear(c);
    }
    if (sub == NULL) {
        return MQTT_NO_SUBSCRIPTION_EXISTED;
    }
    if (s->is_on_record && record_sub(w, JOURNAL_UNSUB, s, &record, &lsn) != OK) {
        return MQTT_UNSPECIFIED_ERROR;
    }
    sub_remove(w, sub); /* SPEC: MQTT-3.10.4-1, MQTT-3.10.4-2 */
    return MQTT_SUCCESS;
}

/* MQTT 3.1 and 3.1.1 have no word for an unsubscription that did not work. */
static bool is_mute(const struct conn *c)
{
    return mqtt_server_terms(c->engine)->version != MQTT_V5;
}

/* Too many filters in one packet: none is looked at. UNSUBACK has no "quota exceeded". */
static void refuse_unsubscribe(struct worker *w, struct conn *c, const struct mqtt_unsubscribe *m)
{
    struct event e = event_of(w, EVENT_quota, c);
    event_reason(&e,
                 "%zu filters in one UNSUBSCRIBE, %u are allowed: none was unsubscribed%s. Split "
                 "it, or raise filters_per_packet",
                 m->n_filters, w->setup.limits->filters_per_packet,
                 is_mute(c) ? ", and the connection was closed" : "");
    count_add(&counts(w)->refused_limit, 1);
    count_limit(counts(w), LIMIT_filters_per_packet);
    worker_report(w, &e);
    if (is_mute(c)) {
        conn_close(w, c, MQTT_QUOTA_EXCEEDED);
        return;
    }
    AUTO(buf_done) struct buf codes = {0};
    uint8_t code = MQTT_UNSPECIFIED_ERROR;
    enum err err = OK;
    for (size_t i = 0; i < m->n_filters && err == OK; i++) {
        err = buf_append(&codes, slice_of(&code, 1), w->packet_most);
    }
    if (err != OK || mqtt_server_unsuback(c->engine, m->packet_id, buf_slice(&codes)) != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
    }
}

void unsubscribe_event(struct worker *w, struct conn *c, const struct mqtt_unsubscribe *m)
{
    struct barrier *b = NULL;
    struct slice list = m->list;
    struct mqtt_unsubscription u;
    if (m->is_over_limit || m->n_filters > CODES_MAX) {
        refuse_unsubscribe(w, c, m);
        return;
    }
    if (barrier_new(w, BARRIER_UNSUBACK, m->n_filters, &b) != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
        return;
    }
    bool has_failed = false;
    b->conn = c->handle;
    b->packet_id = m->packet_id;
    for (size_t i = 0; i < b->n_filters && mqtt_unsubscribe_next(&list, &u); i++) {
        b->filters[i].code = unsubscribe_one(w, c, &u);
        has_failed = has_failed || b->filters[i].code == MQTT_UNSPECIFIED_ERROR;
    }
    b->lsn = c->session->is_on_record ? w->last_lsn : 0;
    if ((has_failed && is_mute(c)) || barrier_start(w, b) != OK) {
        mem_free(b);
        conn_close(w, c, MQTT_SERVER_BUSY);
    }
}

/* ---- other doors ---- */

MUST_USE enum err worker_observe(struct worker *w, struct observer *o, struct slice filter,
                                 uint64_t cookie)
{
    struct barrier *b = NULL;
    struct sub *sub = NULL;
    struct interest_change change = {0};
    TRY(barrier_new(w, BARRIER_OBSERVE, 1, &b));
    enum err err = filters_add(w->filters, filter, &o->subscriber, &sub, &change);
    if (err != OK) {
        mem_free(b);
        return err;
    }
    sub->is_pending = true;
    sub->qos = 1;
    sub->retain_as_published = true;
    sub->epoch = o->account->epoch;
    count_set(&counts(w)->subscriptions, filters_sub_count(w->filters));
    b->cookie = cookie;
    b->filters[0].sub = sub;
    if (interest_changed(&change) &&
        !interest_announce(w, filter, change.is_any, change.is_durable)) {
        mem_free(b);
        sub_remove(w, sub);
        return ERR_NOMEM;
    }
    err = barrier_start(w, b);
    if (err != OK) {
        mem_free(b);
        sub_remove(w, sub);
    }
    return err;
}

void worker_unobserve(struct worker *w, struct observer *o)
{
    subs_remove_all(w, &o->subscriber);
    list_unlink(&o->dirty);
    o->latest = msg_unref(o->latest);
}

struct observer *worker_next_observer(struct worker *w, unsigned door)
{
    list_for_each (n, &w->observers_dirty) {
        struct observer *o = LIST_ENTRY(n, struct observer, dirty);
        if (o->cookie >> WORKER_DOOR_SHIFT == door) {
            list_unlink(n);
            return o;
        }
    }
    return NULL;
}
