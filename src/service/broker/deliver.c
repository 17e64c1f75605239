/* From a session's queue to its client: one send buffer a turn, acknowledgements first; and the
 * client's answers. */
#include "service/broker/aside_private.h"
#include "service/broker/ceiling_private.h"
#include "service/broker/commit_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/group_private.h"
#include "service/broker/record_private.h"
#include "service/broker/replay_private.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"

/* ---- out ---- */

static _Atomic uint64_t *sent(struct worker *w, uint8_t qos)
{
    return qos == 0 ? &counts(w)->sent_qos0
                    : (qos == 1 ? &counts(w)->sent_qos1 : &counts(w)->sent_qos2);
}

static void send_pubrels(struct worker *w, struct conn *c)
{
    uint16_t packet_id;
    while ((packet_id = session_next_pubrel(c->session, w->committed)) != 0) {
        if (mqtt_server_pubrel(c->engine, packet_id, MQTT_SUCCESS) != OK) {
            conn_close(w, c, MQTT_SERVER_BUSY); /* the next connection sends it again */
            return;
        }
    }
}

/* What was queued under an older policy is asked about again, both ends of it (rule 9). The
 * message's epoch alone does not say so: its publisher's worker may have been ahead of this one. */
static enum err may_leave(struct worker *w, struct conn *c, const struct delivery *d)
{
    if (d->msg->epoch == w->realm->epoch && d->seq >= c->session->queue->judged_seq) {
        return OK;
    }
    TRY(publisher_judge(w, d->msg));
    TRY(passage_hear(c->account, d->msg));
    return grants_subscribe(&c->account->grants, d->msg->topic, NULL);
}

void delivery_drop(struct worker *w, struct conn *c, struct delivery *d,
                   enum event_category category, const char *why)
{
    struct event e = event_of(w, category, c);
    EVENT_TEXT(&e, target, d->msg->topic);
    event_reason(&e, "a queued message was dropped: %s", why);
    worker_report(w, &e);
    if (d->is_recorded) {
        record_drop(w, c->session, d->seq, (uint8_t)category);
    }
    session_drop(c->session, d);
}

/* A client that fails at the same message on every connection would never get beyond it. False: it
 * may be tried again, or the journal does not take it: then it is. */
static bool set_aside(struct worker *w, struct conn *c, struct delivery *d)
{
    struct session *s = c->session;
    uint32_t most = grants_limits(&c->account->grants)->redeliveries;
    uint64_t id;
    if (d->n_sent == 0 || d->n_sent < most || aside_take(w, s, d, &id) != OK) {
        return false;
    }
    struct event e = event_of(w, EVENT_poison_message, c);
    EVENT_TEXT(&e, client_id, session_client_id(s));
    EVENT_TEXT(&e, target, d->msg->topic);
    event_reason(&e,
                 "set aside as message %llu: it was sent on %u connections and never acknowledged. "
                 "Look at what the client does with it, then `setaside replay %llu` or drop it; or "
                 "raise redeliveries of role %s",
                 (unsigned long long)id, d->n_sent, (unsigned long long)id,
                 c->account->principal->role);
    worker_report(w, &e);
    count_add(&counts(w)->set_aside, 1);
    if (d->is_recorded) {
        record_drop(w, s, d->seq, (uint8_t)EVENT_poison_message);
    }
    session_drop(s, d);
    return true;
}

/* What has expired while it waited leaves a record, as everything that was promised and is not
 * delivered. */
static uint32_t drop_expired(struct worker *w, struct session *s)
{
    uint32_t n = 0;
    struct delivery *d;
    while ((d = session_next_expired(s, w->now_ms)) != NULL) {
        if (d->is_recorded) {
            record_drop(w, s, d->seq, (uint8_t)EVENT_quota);
        }
        session_drop(s, d);
        n++;
    }
    return n;
}

/* How often a message was sent is on disk before it leaves once more: a message that takes the
 * server along would otherwise be sent for ever. The first time needs no record, because a restart
 * counts as one. On a disk that fails the count is given up, not the delivery. */
static void count_retries(struct worker *w, struct conn *c, uint32_t window)
{
    struct session *s = c->session;
    struct pending wake = {.action = PENDING_WAKE, .id = c->handle};
    uint32_t most = grants_limits(&c->account->grants)->redeliveries;
    size_t at = 0;
    struct delivery *d;
    while ((d = session_next_retry(s, window, &at)) != NULL) {
        uint64_t lsn;
        d->is_tried = true;
        d->is_early = d->is_early || d->lsn > w->committed;
        d->lsn = 0;
        bool leaves = d->n_sent < most; /* else it is about to be set aside */
        if (leaves && journal_admits(w->setup.journal) != ERR_IO &&
            record_try(w, s, d, &lsn) == OK) {
            d->lsn = lsn;
            wake.lsn = lsn;
        }
    }
    if (wake.lsn > 0 && pending_add(w, &wake) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* the session's next turn sends them */
    }
}

static struct delivery *next_delivery(struct worker *w, struct conn *c, uint32_t window,
                                      uint32_t *n_expired)
{
    struct session *s = c->session;
    const struct delivery *d = session_unsent(s);
    if (d == NULL) {
        return NULL;
    }
    /* Nothing else is dropped, or counted: most messages are not asked twice. */
    if (d->is_dup || d->msg->expires_at_ms <= w->now_ms) {
        *n_expired += drop_expired(w, s);
        count_retries(w, c, window);
    }
    return session_next(s, window, w->committed, w->now_ms, n_expired);
}

static void send_deliveries(struct worker *w, struct conn *c, struct wr *wr,
                            struct lending *lending)
{
    struct session *s = c->session;
    uint32_t window = mqtt_server_terms(c->engine)->client_receive_max;
    uint32_t role = grants_limits(&c->account->grants)->inflight;
    window = role < window ? role : window;
    uint32_t n_expired = 0;
    struct delivery *d;
    if (c->account->is_quarantined) {
        return; /* what waited before waits on: it is here when the quarantine has ended */
    }
    while ((d = next_delivery(w, c, window, &n_expired)) != NULL) {
        enum err err = may_leave(w, c, d);
        if (err == ERR_NOMEM) {
            conn_close(w, c, MQTT_SERVER_BUSY); /* it waits for the next connection */
            break;
        }
        if (err != OK) {
            count_add(&counts(w)->dropped_policy, 1);
            group_pass_on(w, s, d); /* asked again there, as the publisher's right is */
            delivery_drop(w, c, d, EVENT_acl_deny,
                          "the policy in force does not allow it any more");
            continue;
        }
        if (msg_is_husk(d->msg)) {
            spill_fetch(w, c, d); /* what is behind it waits, too: order */
            break;
        }
        if (d->is_dup && set_aside(w, c, d)) {
            continue;
        }
        if (d->qos > 0) {
            (void)session_assign_id(s, d);
        }
        uint8_t qos = d->qos;
        err = mqtt_server_deliver(c->engine, d, w->now_ms, wr, lending);
        if (err == ERR_SPACE && wr->at > 0) {
            conn_mark_dirty(w, c); /* the rest with the next send */
            break;
        }
        if (err != OK) {
            count_add(&counts(w)->dropped_size, 1);
            delivery_drop(w, c, d, EVENT_quota,
                          err == ERR_TOO_LARGE ? "it is larger than the client accepts"
                                               : "it is larger than what can be sent at once");
            continue;
        }
        if (qos > 0) {
            spill_sent(w, d);
        }
        session_sent(s, d);
        count_add(sent(w, qos), 1);
    }
    count_add(&counts(w)->dropped_expired, n_expired);
    if (c->phase == CONN_OPEN && c->session->queue->fetch.seq > 0) {
        spill_fetch_more(w, c);
    }
}

/* ERR_SPACE at once means that a message does not even fit into an empty buffer: it is dropped, or
 * it would be tried for ever. */
size_t deliver_output(struct worker *w, struct conn *c, uint8_t *dst, size_t cap,
                      struct lending *lending)
{
    struct wr wr = wr_into(dst, cap);
    if (c->phase == CONN_OPEN) {
        replays_feed(w, c);
    }
    if (c->phase == CONN_OPEN) {
        send_pubrels(w, c);
    }
    wr.at = mqtt_server_output(c->engine, dst, cap);
    if (c->phase == CONN_OPEN && !mqtt_server_has_output(c->engine)) {
        lane_output(w, c, &wr);
        ceiling_before_output(w, c);
        size_t n = session_count(c->session);
        send_deliveries(w, c, &wr, lending);
        if (c->phase == CONN_OPEN && session_count(c->session) < n) {
            replays_go_on(w, c);
        }
    }
    if (c->phase == CONN_OPEN && mqtt_server_is_closing(c->engine)) {
        conn_close(w, c, MQTT_SERVER_BUSY); /* there was no memory for an answer */
    }
    return wr.at;
}

/* ---- the client's acknowledgements ---- */

static void on_puback(struct worker *w, struct conn *c, const struct mqtt_ack *m)
{
    const struct delivery *d = session_find_packet(c->session, m->packet_id);
    bool is_recorded = d != NULL && d->is_recorded;
    uint64_t seq, lsn;
    if (session_puback(c->session, m->packet_id, &seq) != OK) {
        return; /* unknown: nothing to end */
    }
    if (is_recorded && record_settle(w, JOURNAL_ACK, c->session->id, seq, 0, &lsn) != OK) {
        count_add(&counts(w)->dropped_memory,
                  1); /* after a restart it comes again: at least once */
    }
}

static void on_pubrec(struct worker *w, struct conn *c, const struct mqtt_ack *m)
{
    struct session *s = c->session;
    const struct delivery *d = session_find_packet(s, m->packet_id);
    uint64_t seq, lsn = 0;
    bool again = false;
    /* SPEC: docs/ORDER.md rule 8: "PUBREC seen" is committed before PUBREL leaves */
    if (d != NULL && d->state == DELIVERY_SENT && d->qos == 2 && d->is_recorded &&
        record_settle(w, m->reason < 0x80 ? JOURNAL_RECEIVED : JOURNAL_ACK, s->id, d->seq, 0,
                      &lsn) != OK) {
        return; /* as if the PUBREC had been lost */
    }
    enum err err = session_pubrec(s, m->packet_id, m->reason, lsn, &seq, &again);
    if (err != OK || again) {
        /* SPEC: MQTT5 4.3.3: a PUBREC for an unknown id is answered by PUBREL 0x92 */
        if (mqtt_server_pubrel(c->engine, m->packet_id,
                               again ? MQTT_SUCCESS : MQTT_PACKET_ID_NOT_FOUND) != OK) {
            conn_close(w, c, MQTT_SERVER_BUSY);
        }
        return;
    }
    if (lsn > 0) {
        struct pending p = {.lsn = lsn, .action = PENDING_WAKE, .id = c->handle};
        if (pending_add(w, &p) != OK) {
            count_add(&counts(w)->dropped_memory, 1);
        }
    }
}

static void on_pubcomp(struct worker *w, struct conn *c, const struct mqtt_ack *m)
{
    const struct delivery *d = session_find_packet(c->session, m->packet_id);
    bool is_recorded = d != NULL && d->is_recorded;
    uint64_t seq, lsn;
    if (session_pubcomp(c->session, m->packet_id, &seq) == OK && is_recorded &&
        record_settle(w, JOURNAL_ACK, c->session->id, seq, 0, &lsn) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* after a restart PUBREL goes out again */
    }
}

void ack_event(struct worker *w, struct conn *c, const struct mqtt_event *ev)
{
    switch (ev->kind) {
    case MQTT_EVENT_PUBACK:
        on_puback(w, c, &ev->ack);
        break;
    case MQTT_EVENT_PUBREC:
        on_pubrec(w, c, &ev->ack);
        break;
    case MQTT_EVENT_PUBCOMP:
        on_pubcomp(w, c, &ev->ack);
        break;
    case MQTT_EVENT_PUBLISH:
    case MQTT_EVENT_PUBREL:
    case MQTT_EVENT_SUBSCRIBE:
    case MQTT_EVENT_UNSUBSCRIBE:
    case MQTT_EVENT_DISCONNECT:
    case MQTT_EVENT_AUTH:
        break;
    }
}
