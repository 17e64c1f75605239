/* The life of a PUBLISH: from the packet to the queues of local sessions, to other workers, to the
 * journal, and back as an acknowledgement. docs/ORDER.md, rules 3 to 5, 7 to 9. */
#include <assert.h>

#include "base/mem.h"
#include "service/broker/worker_private.h"

/* ---- messages ---- */

MUST_USE enum err msg_from_publish(const struct worker *w, const struct account *a,
                                   const struct mqtt_publish *p, struct msg **ret)
{
    AUTO(buf_done) struct buf props = {0};
    size_t n = mqtt_props_forward_size(&p->props);
    if (n > 0) {
        uint8_t *dst;
        TRY(buf_room(&props, n, w->setup.limits->packet_bytes, &dst));
        struct wr wr = wr_into(dst, n);
        mqtt_props_copy_forward(&p->props, &wr);
        TRY(wr_done(&wr, &props.n));
    }
    struct msg *m = NULL;
    TRY(msg_new(p->topic, buf_slice(&props), p->payload, &m));
    m->qos = p->qos;
    m->retain = p->retain;
    m->is_utf8 = mqtt_props_number(&p->props, MQTT_PROP_PAYLOAD_FORMAT, 0) == 1;
    m->publisher = a->principal->id;
    m->epoch = w->realm->epoch;
    m->content_format = UINT16_MAX;
    if (mqtt_props_has(&p->props, MQTT_PROP_MESSAGE_EXPIRY)) {
        m->expires_at_ms =
            w->now_ms + (uint64_t)mqtt_props_number(&p->props, MQTT_PROP_MESSAGE_EXPIRY, 0) * 1000;
    }
    *ret = m;
    return OK;
}

/* ---- may what was said still be heard? (rule 9) ---- */

static struct slice publisher_key(const void *value)
{
    const struct publisher *p = value;
    return slice_of(&p->id, sizeof(p->id));
}

static struct publisher *publisher_of(struct worker *w, uint64_t id)
{
    if (w->publishers.key_of == NULL) {
        map_init(&w->publishers, &w->setup.key, publisher_key);
    }
    struct publisher *p = map_find(&w->publishers, slice_of(&id, sizeof(id)));
    if (p != NULL) {
        return p;
    }
    p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return NULL;
    }
    p->id = id;
    const struct directory_entry *entry = directory_find_id(w->realm->directory, id);
    if (entry != NULL && entry->principal->status == PRINCIPAL_ACTIVE &&
        grants_new(w->realm->policy, entry->principal, &p->grants) == OK) {
        p->principal = principal_ref(entry->principal);
    }
    if (map_add(&w->publishers, p) != OK) {
        grants_free(p->grants);
        principal_unref(p->principal);
        mem_free(p);
        return NULL;
    }
    return p;
}

void publishers_clear(struct worker *w)
{
    size_t at = 0;
    struct publisher *p;
    while ((p = map_next(&w->publishers, &at)) != NULL) {
        grants_free(p->grants);
        principal_unref(p->principal);
        mem_free(p);
    }
    map_done(&w->publishers);
    w->publishers = (struct map){0};
}

bool publisher_ok(struct worker *w, const struct msg *m)
{
    if (m->epoch == w->realm->epoch) {
        return true;
    }
    if (m->publisher >> 63 != 0) {
        return true; /* anonymous: its right ended with its connection, what it said then stands */
    }
    const struct publisher *p = publisher_of(w, m->publisher);
    return p != NULL && p->grants != NULL &&
           grants_publish(p->grants, m->topic, m->qos, m->retain, NULL) == OK;
}

/* ---- local delivery ---- */

struct fan {
    struct worker *w;
    const struct msg *m;
    size_t n_durable; /* entries in w->record */
    enum err err;     /* a durable session could not take it: nothing may be acknowledged */
};

static void deny_delivery(struct worker *w, const struct session *s, const struct msg *m,
                          const struct decision *why)
{
    struct event e = event_of(w, EVENT_acl_deny, conn_find(w, s->conn));
    EVENT_TEXT(&e, principal, slice_text(s->account->principal->name));
    EVENT_TEXT(&e, client_id, s->client_id);
    EVENT_TEXT(&e, target, m->topic);
    event_reason(&e, "not delivered: %s", why->rule);
    count_add(&counts(w)->dropped_policy, 1);
    worker_report(w, &e);
}

static void report_queue_full(struct worker *w, const struct session *s, const struct msg *m)
{
    struct event e = event_of(w, EVENT_quota, conn_find(w, s->conn));
    EVENT_TEXT(&e, principal, slice_text(s->account->principal->name));
    EVENT_TEXT(&e, client_id, s->client_id);
    EVENT_TEXT(&e, target, m->topic);
    event_reason(&e,
                 "the queue of this session is full (%zu messages): a message was dropped. The "
                 "client reads too slowly, or raise queue_messages or queue_bytes of its role",
                 session_count(s));
    count_add(&counts(w)->dropped_queue, 1);
    worker_report(w, &e);
}

/* An entry of the DELIVER record that is being gathered in w->record. */
static enum err record_hit(struct fan *f, const struct session *s, uint64_t seq, uint8_t qos,
                           const uint32_t *ids, uint16_t n_ids)
{
    size_t n = 8 + 8 + 1 + 2 + (size_t)n_ids * 4;
    uint8_t *dst;
    TRY(buf_room(&f->w->record, n, SIZE_MAX, &dst));
    struct wr r = wr_into(dst, n);
    wr_u64(&r, s->id);
    wr_u64(&r, seq);
    wr_u8(&r, qos);
    wr_u16(&r, n_ids);
    for (uint16_t i = 0; i < n_ids; i++) {
        wr_u32(&r, ids[i]);
    }
    f->w->record.n += n;
    f->n_durable++;
    return OK;
}

static void deliver_session(struct fan *f, const struct match *match, const struct match_hit *hit)
{
    struct worker *w = f->w;
    struct session *s = (struct session *)(void *)hit->subscriber;
    uint8_t qos = f->m->qos < hit->qos ? f->m->qos : hit->qos;
    bool retain = hit->retain_as_published && f->m->retain;
    struct decision why;
    if (s->conn == 0 && qos == 0) {
        count_add(&counts(w)->dropped_asleep, 1);
        return;
    }
    if (passage_deliver(s->account, hit->first, &why) != OK) {
        deny_delivery(w, s, f->m, &why);
        return;
    }
    uint64_t seq = 0;
    enum err err = session_enqueue(s, f->m, qos, retain, match->ids + hit->ids_at, hit->n_ids, 0,
                                   grants_limits(s->account->grants), &seq);
    if (err == ERR_QUOTA) {
        report_queue_full(w, s, f->m);
        return;
    }
    if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1);
        f->err = qos > 0 && s->subscriber.is_durable ? err : f->err;
        return;
    }
    if (qos > 0 && s->subscriber.is_durable &&
        record_hit(f, s, seq, qos, match->ids + hit->ids_at, hit->n_ids) != OK) {
        count_add(&counts(w)->dropped_memory, 1);
    }
    struct conn *c = conn_find(w, s->conn);
    if (c != NULL) {
        conn_mark_dirty(w, c);
    }
}

static void deliver_observer(struct fan *f, const struct match_hit *hit)
{
    struct observer *o = (struct observer *)(void *)hit->subscriber;
    struct decision why;
    if (passage_deliver(o->account, hit->first, &why) != OK) {
        count_add(&counts(f->w)->dropped_policy, 1);
        return;
    }
    msg_unref(o->latest);
    o->latest = msg_ref(f->m);
    if (!list_is_linked(&o->dirty)) {
        list_append(&f->w->observers_dirty, &o->dirty);
    }
}

/* The deliver record is appended; QoS 2 copies may leave once it is committed. SPEC: docs/ORDER.md
 * rule 8 */
static void stamp_hits(struct fan *f, const struct match *match, uint64_t lsn)
{
    struct worker *w = f->w;
    for (size_t i = 0; f->m->qos == 2 && i < match->n_hits; i++) {
        if (match->hits[i].subscriber->kind != SUBSCRIBER_SESSION) {
            continue;
        }
        struct session *s = (struct session *)(void *)match->hits[i].subscriber;
        if (s->subscriber.is_durable && match->hits[i].qos == 2 && s->next_seq > 1) {
            session_set_lsn(s, s->next_seq - 1, lsn);
            struct pending wake = {.lsn = lsn, .action = PENDING_WAKE, .id = s->conn};
            if (s->conn != 0 && pending_add(w, &wake) != OK) {
                count_add(&counts(w)->dropped_memory,
                          1); /* the next turn of the session sends it */
            }
        }
    }
}

/* Gives a message to the local subscribers; *ret_lsn is the position of the deliver record, 0 when
 * nobody durable got it. */
static enum err fan_out(struct worker *w, const struct msg *m, const struct match *match,
                        uint64_t body_id, uint64_t *ret_lsn)
{
    struct fan f = {.w = w, .m = m};
    buf_clear(&w->record);
    for (size_t i = 0; i < match->n_hits; i++) {
        const struct match_hit *hit = &match->hits[i];
        switch (hit->subscriber->kind) {
        case SUBSCRIBER_SESSION:
            deliver_session(&f, match, hit);
            break;
        case SUBSCRIBER_OBSERVER:
            deliver_observer(&f, hit);
            break;
        }
    }
    *ret_lsn = 0;
    if (f.n_durable > 0) {
        TRY(record_deliver(w, body_id, ret_lsn));
        stamp_hits(&f, match, *ret_lsn);
    }
    return f.err;
}

/* ---- retained ---- */

static void retained_uncount(struct worker *w, uint64_t publisher)
{
    struct account *a = map_find(&w->accounts, slice_of(&publisher, sizeof(publisher)));
    if (a != NULL && a->n_retained > 0) {
        a->n_retained--;
        account_drop_if_unused(w, a);
    }
}

void retained_expired(void *ctx, uint64_t publisher, uint64_t bytes)
{
    (void)bytes;
    retained_uncount(ctx, publisher);
}

static void retained_accounted(struct worker *w, const struct msg *m,
                               const struct retained_change *change)
{
    if (change->is_applied && change->old_publisher != 0) {
        retained_uncount(w, change->old_publisher);
    }
    if (change->is_applied && m->payload.n > 0) {
        struct account *now = map_find(&w->accounts, slice_of(&m->publisher, sizeof(m->publisher)));
        if (now != NULL) {
            now->n_retained++;
        }
    }
    count_set(&counts(w)->retained_messages, retained_count(w->retained));
    count_set(&counts(w)->retained_bytes, retained_bytes(w->retained));
}

static enum err retain_locally(struct worker *w, const struct msg *m)
{
    struct retained_change change = {0};
    /* SPEC: MQTT-3.3.1-6: an empty payload clears */
    if (m->payload.n == 0) {
        TRY(retained_clear(w->retained, m->topic, m->number, &change));
    } else {
        TRY(retained_put(w->retained, m, &change));
    }
    retained_accounted(w, m, &change);
    return OK;
}

/* ---- routing ---- */

static void send_others(struct worker *w, const struct msg *m, uint64_t to, uint64_t durable,
                        uint64_t body_id, uint64_t token)
{
    if (m->qos == 0 && outboxes_are_full(w, OVERFLOW_DROP)) {
        count_add(&counts(w)->dropped_ring, 1);
        return;
    }
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        uint64_t bit = (uint64_t)1 << i;
        if ((to & bit) == 0) {
            continue;
        }
        struct wmsg out = {.kind = WMSG_PUBLISH,
                           .id = body_id,
                           .token = durable & bit ? token : 0,
                           .msg = msg_ref(m)};
        if (outbox_push(w, i, &out) != OK) {
            msg_unref(m); /* its token stays open: the publisher is not acknowledged and repeats */
            count_add(&counts(w)->dropped_memory, 1);
        }
    }
}

/* Takes m. token (0: nobody waits): one more place is opened for each commit this message needs;
 * the caller closes the place it holds itself. */
MUST_USE enum err publish_route(struct worker *w, struct msg *m, const struct subscriber *from,
                                uint64_t token)
{
    struct match match = {0};
    uint64_t body_lsn = 0, deliver_lsn = 0;
    uint64_t body_id = (uint64_t)(w->setup.index + 1) << 48 | ++w->next_body_id;
    if (m->retain) {
        m->number =
            atomic_fetch_add_explicit(w->setup.retained_counter, 1, memory_order_relaxed) + 1;
    }
    const struct msg *shared = m;
    enum err err = filters_match(w->filters, m->topic, from, &match);
    match.remote_any |= w->wants_all;
    match.remote_durable |= w->wants_all;
    bool is_kept =
        err == OK &&
        (m->retain || (m->qos > 0 && (match.local_durable || match.remote_durable != 0)));
    if (is_kept) {
        err = record_body(w, shared, body_id, &body_lsn);
    }
    if (err == OK && m->retain) {
        err = retain_locally(w, shared);
    }
    if (err == OK && match.n_hits > 0) {
        err = fan_out(w, shared, &match, body_id, &deliver_lsn);
    }
    uint64_t to = m->retain ? others(w) : match.remote_any;
    uint64_t durable = m->qos > 0 ? match.remote_durable : 0;
    if (err == OK && token != 0 && is_kept) {
        uint64_t lsn = deliver_lsn > body_lsn ? deliver_lsn : body_lsn;
        struct pending p = {.lsn = lsn, .action = PENDING_TOKEN, .id = token};
        err = pending_add(w, &p);
        if (err == OK) {
            token_open(w, token, 1 + (uint32_t)__builtin_popcountll(durable));
        }
    }
    if (err == OK) {
        send_others(w, shared, to, durable, body_id, token);
    }
    msg_unref(shared);
    return err;
}

/* A message of another worker's publisher. */
void publish_remote(struct worker *w, const struct wmsg *in)
{
    struct match match;
    uint64_t lsn = 0;
    enum err err = OK;
    if (in->msg->retain) {
        err = retain_locally(w, in->msg);
    }
    if (err == OK) {
        err = filters_match(w->filters, in->msg->topic, NULL, &match);
    }
    if (err == OK) {
        err = fan_out(w, in->msg, &match, in->id, &lsn);
    }
    if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1);
    } else if (in->token != 0) {
        struct pending p = {
            .lsn = lsn, .action = PENDING_REMOTE, .worker = in->from, .id = in->token};
        if (pending_add(w, &p) != OK) {
            count_add(&counts(w)->dropped_memory, 1);
        }
    }
    msg_unref(in->msg);
}

/* ---- MQTT ---- */

static bool holds_retained(struct worker *w, const struct account *a, struct slice topic)
{
    const struct msg *m = retained_find(w->retained, topic, w->now_ms);
    return m != NULL && m->publisher == a->principal->id;
}

enum passage_retain retain_wish(struct worker *w, const struct account *a, struct slice topic,
                                bool retain)
{
    if (!retain) {
        return RETAIN_NO;
    }
    return holds_retained(w, a, topic) ? RETAIN_REPLACE : RETAIN_NEW;
}

/* A refused publish, in the terms of its protocol. MQTT 3.1.1 has no honest negative answer for QoS
 * > 0, so that connection ends; for QoS 0 nobody expects an answer. */
static void refuse_publish(struct worker *w, struct conn *c, const struct mqtt_event *ev,
                           enum err err, const struct decision *why)
{
    bool denied = err == ERR_DENIED;
    /* A refusal has its price, or whoever is refused could fill the audit trail at wire speed. */
    (void)bucket_take(&c->account->publishes, 1, w->now_ms);
    enum mqtt_reason reason = denied ? MQTT_NOT_AUTHORIZED : MQTT_QUOTA_EXCEEDED;
    struct event e = event_of(w, denied ? EVENT_acl_deny : EVENT_quota, c);
    EVENT_TEXT(&e, target, ev->publish.topic);
    event_reason(&e, "%s", why->rule);
    count_add(denied ? &counts(w)->refused_denied : &counts(w)->refused_quota, 1);
    worker_report(w, &e);
    if (ev->ask == 0) {
        return;
    }
    if (mqtt_server_terms(c->engine)->version == MQTT_V5) {
        mqtt_server_answer(c->engine, ev->ask, reason);
    } else {
        conn_close(w, c, reason);
    }
}

static void publish_failed(struct worker *w, struct conn *c, uint32_t ask)
{
    count_add(&counts(w)->dropped_memory, 1);
    if (ask == 0) {
        return;
    }
    /* Whatever part of it was done, the client is told to try again. */
    conn_close(w, c, MQTT_SERVER_BUSY);
}

static _Atomic uint64_t *received(struct worker *w, uint8_t qos)
{
    return qos == 0 ? &counts(w)->received_qos0
                    : (qos == 1 ? &counts(w)->received_qos1 : &counts(w)->received_qos2);
}

/* QoS 2: true when this packet id is open already: the message was taken before. SPEC:
 * MQTT-4.3.3-10 */
static bool is_repeated(struct worker *w, struct conn *c, const struct mqtt_event *ev,
                        enum err *ret_err)
{
    enum inbound state = INBOUND_NEW;
    /* The engine holds MQTT 5 clients to their Receive Maximum. Here only the number of ids bounds
     * it: a 3.1.1 client has none, and an older connection may have left ids that nobody releases.
     */
    *ret_err = session_inbound_add(c->session, ev->publish.packet_id, UINT16_MAX, &state);
    if (*ret_err != OK || state == INBOUND_NEW) {
        return false;
    }
    /* It may still be on its way to the disk, also on other workers: its token answers this one
     * now. A second copy on the same connection stands behind the first anyway. */
    struct token *waiting = token_of_publish(w, c->session->id, ev->publish.packet_id);
    if (waiting != NULL && waiting->conn != c->handle) {
        waiting->conn = c->handle;
        waiting->ask = ev->ask;
    } else {
        mqtt_server_answer(c->engine, ev->ask, MQTT_SUCCESS);
    }
    return true;
}

static void sample_allow(struct worker *w, struct conn *c, struct slice topic)
{
    if (!c->has_published) {
        c->has_published = true;
        struct event e = event_of(w, EVENT_allow, c);
        EVENT_TEXT(&e, target, topic);
        event_reason(&e, "first publish of this connection");
        worker_report(w, &e);
    }
}

static enum err accept_publish(struct worker *w, struct conn *c, const struct mqtt_event *ev)
{
    const struct mqtt_publish *p = &ev->publish;
    struct msg *m = NULL;
    uint64_t token = 0, lsn = 0;
    TRY(msg_from_publish(w, c->account, p, &m));
    m->session = c->session->id;
    if (p->qos == 2 && c->session->subscriber.is_durable) {
        enum err err = record_packet(w, JOURNAL_INBOUND, c->session, p->packet_id, &lsn);
        if (err != OK) {
            msg_unref(m);
            return err;
        }
    }
    if (ev->ask != 0) {
        struct token t = {.kind = TOKEN_ANSWER, .conn = c->handle, .ask = ev->ask};
        if (p->qos == 2) {
            t.session = c->session->id;
            t.packet_id = p->packet_id;
        }
        enum err err = token_new(w, &t, &token);
        if (err != OK) {
            msg_unref(m);
            return err;
        }
    }
    TRY(publish_route(w, m, &c->session->subscriber, token));
    if (lsn > 0) {
        struct pending wait = {.lsn = lsn, .action = PENDING_TOKEN, .id = token};
        TRY(pending_add(w, &wait));
    } else if (token != 0) {
        token_close_one(w, token); /* the place that token_new opened */
    }
    return OK;
}

static void on_pubrel(struct worker *w, struct conn *c, const struct mqtt_event *ev)
{
    struct session *s = c->session;
    uint64_t lsn = 0;
    bool was_open = session_inbound_remove(s, ev->ack.packet_id);
    enum err err = OK;
    if (was_open && s->subscriber.is_durable) {
        err = record_packet(w, JOURNAL_RELEASED, s, ev->ack.packet_id, &lsn);
    } else if (s->subscriber.is_durable && w->last_lsn > w->committed) {
        /* SPEC: docs/ORDER.md rule 8: repeated on a new connection, while the end of its id may
         * still be on its way to the disk */
        lsn = w->last_lsn;
    }
    if (err == OK && lsn > 0) {
        struct pending p = {.lsn = lsn, .action = PENDING_ANSWER, .id = c->handle, .ask = ev->ask};
        err = pending_add(w, &p);
    } else if (err == OK) {
        mqtt_server_answer(c->engine, ev->ask, was_open ? MQTT_SUCCESS : MQTT_PACKET_ID_NOT_FOUND);
    }
    if (err != OK) {
        publish_failed(w, c, ev->ask);
    }
}

void publish_event(struct worker *w, struct conn *c, const struct mqtt_event *ev)
{
    if (ev->kind == MQTT_EVENT_PUBREL) {
        on_pubrel(w, c, ev);
        return;
    }
    const struct mqtt_publish *p = &ev->publish;
    struct decision why;
    enum err err = OK;
    count_add(received(w, p->qos), 1);
    if (p->qos == 2 && is_repeated(w, c, ev, &err)) {
        if (err != OK) {
            publish_failed(w, c, ev->ask);
        }
        return;
    }
    if (err == OK) {
        err = passage_publish(c->account, p->topic, p->qos,
                              retain_wish(w, c->account, p->topic, p->retain), p->payload.n,
                              w->now_ms, &why);
        if (err != OK) {
            bool was_open = p->qos == 2 && session_inbound_remove(c->session, p->packet_id);
            (void)was_open;
            refuse_publish(w, c, ev, err, &why);
            return;
        }
        sample_allow(w, c, p->topic);
        err = accept_publish(w, c, ev);
    }
    if (err != OK) {
        publish_failed(w, c, ev->ask);
    }
}

/* Authorized at CONNECT, and again now that it fires. */
void publish_will(struct worker *w, struct conn *c)
{
    struct session *s = c->session;
    const struct msg *will = s->will;
    struct decision why;
    struct msg *m = NULL;
    struct event e = event_of(w, EVENT_will, c);
    EVENT_TEXT(&e, target, will->topic);
    enum err err =
        passage_will(c->account, will->topic, will->qos,
                     retain_wish(w, c->account, will->topic, will->retain), will->payload.n, &why);
    if (err != OK) {
        e.category = EVENT_acl_deny;
        e.severity = event_make(EVENT_acl_deny).severity;
        event_reason(&e, "the will is not published any more: %s", why.rule);
        worker_report(w, &e);
        return;
    }
    event_reason(&e, "the connection ended without DISCONNECT; its will was published");
    worker_report(w, &e);
    /* A copy: the number and the epoch are those of now. */
    err = msg_new(will->topic, will->props, will->payload, &m);
    if (err == OK) {
        m->qos = will->qos;
        m->retain = will->retain;
        m->is_utf8 = will->is_utf8;
        m->publisher = will->publisher;
        m->epoch = w->realm->epoch;
        m->content_format = UINT16_MAX;
        m->expires_at_ms =
            will->expires_at_ms == UINT64_MAX ? UINT64_MAX : w->now_ms + will->expires_at_ms;
        err = publish_route(w, m, NULL, 0);
    }
    if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1);
    }
}

/* ---- other doors ---- */

bool worker_publisher_ok(struct worker *w, const struct msg *m)
{
    return publisher_ok(w, m);
}

MUST_USE enum err worker_publish(struct worker *w, const struct account *a, struct msg *m,
                                 uint64_t cookie, uint64_t now_ms, bool *ret_is_done)
{
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    m->publisher = a->principal->id;
    m->epoch = w->realm->epoch;
    uint64_t token = 0;
    struct token t = {.kind = TOKEN_DOOR, .cookie = cookie};
    enum err err = token_new(w, &t, &token);
    if (err != OK) {
        msg_unref(m);
        return err;
    }
    TRY(publish_route(w, m, NULL, token));
    *ret_is_done = token_close_if_alone(w, token);
    return OK;
}
