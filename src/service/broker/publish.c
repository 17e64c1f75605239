/* The life of a PUBLISH: from the packet to the queues of local sessions, to other workers, to the
 * journal, and back as an acknowledgement. docs/ORDER.md, rules 3 to 5, 7 to 9. */
#include <assert.h>

#include "base/mem.h"
#include "base/plant.h"
#include "core/flow.h"
#include "core/quarantine.h"
#include "service/broker/usage.h"
#include "service/broker/worker_private.h"
#include "wire/coap/code.h"

/* ---- messages ---- */

static void set_by_props(const struct worker *w, const struct mqtt_props *p, struct msg *m)
{
    m->is_utf8 = mqtt_props_number(p, MQTT_PROP_PAYLOAD_FORMAT, 0) == 1;
    if (mqtt_props_has(p, MQTT_PROP_MESSAGE_EXPIRY)) {
        m->expires_at_ms =
            w->now_ms + (uint64_t)mqtt_props_number(p, MQTT_PROP_MESSAGE_EXPIRY, 0) * 1000;
    }
}

MUST_USE enum err msg_from_publish(const struct worker *w, const struct account *a,
                                   const struct mqtt_publish *p, struct msg **ret)
{
    AUTO(buf_done) struct buf props = {0};
    size_t n = mqtt_props_is_empty(&p->props) ? 0 : mqtt_props_forward_size(&p->props);
    if (n > 0) {
        uint8_t *dst;
        TRY(buf_room(&props, n, w->packet_most, &dst));
        struct wr wr = wr_into(dst, n);
        mqtt_props_copy_forward(&p->props, &wr);
        TRY(wr_done(&wr, &props.n));
    }
    struct msg *m = NULL;
    TRY(msg_new(p->topic, buf_slice(&props), p->payload, &m));
    m->qos = p->qos;
    m->retain = p->retain;
    m->publisher = a->principal->id;
    m->segment = a->segment;
    m->epoch = w->realm->epoch;
    m->content_format = UINT16_MAX;
    if (!mqtt_props_is_empty(&p->props)) {
        set_by_props(w, &p->props, m);
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
    enum err err = OK;
    if (entry != NULL && entry->principal->status == PRINCIPAL_ACTIVE) {
        err = grants_new(w->realm->policy, entry->principal, &p->grants);
        p->principal = principal_ref(entry->principal);
    }
    if (p->grants != NULL) {
        grants_know(p->grants, &w->people);
    }
    if (err != OK || map_add(&w->publishers, p) != OK) {
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

MUST_USE enum err publisher_judge(struct worker *w, const struct msg *m)
{
    if (m->epoch == w->realm->epoch) {
        return OK;
    }
    if (m->publisher >> 63 != 0) {
        return OK; /* anonymous: its right ended with its connection, what it said then stands */
    }
    const struct publisher *p = publisher_of(w, m->publisher);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    if (p->grants == NULL) {
        return ERR_DENIED;
    }
    /* It was asked about by another name, before it came into quarantine. */
    return quarantine_is_of(p->principal, m->topic)
               ? OK
               : grants_publish(p->grants, m->topic, m->qos, m->retain, NULL);
}

const struct grants *publisher_grants(struct worker *w, uint64_t publisher)
{
    const struct publisher *p = publisher_of(w, publisher);
    return p != NULL ? p->grants : NULL;
}

bool publisher_ok(struct worker *w, const struct msg *m)
{
    return publisher_judge(w, m) == OK;
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

static void retained_counted(struct worker *w)
{
    count_set(&counts(w)->retained_messages, retained_count(w->retained));
    count_set(&counts(w)->retained_bytes, retained_bytes(w->retained));
}

void retained_expired(void *ctx, uint64_t publisher, uint64_t bytes)
{
    (void)bytes;
    retained_uncount(ctx, publisher);
    retained_counted(ctx);
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
    retained_counted(w);
}

MUST_USE enum err retain_locally(struct worker *w, const struct msg *m)
{
    struct retained_change change = {0};
    /* SPEC: MQTT5-3.3.1-6, MQTT3-3.3.1-10: an empty payload clears */
    if (m->payload.n == 0) {
        TRY(retained_clear(w->retained, m->topic, m->number, &change));
    } else {
        TRY(retained_put(w->retained, m, &change));
    }
    retained_accounted(w, m, &change);
    return OK;
}

/* ---- routing ---- */

/* What is asked of the server itself (the lane, the desk) is asked below such a topic, so all
 * others pass without a question. */
static bool is_reserved(struct slice topic)
{
    return topic.n > 0 && topic.p[0] == '$';
}

/* Where a message goes, decided before anything is done: what comes after can fail at the journal
 * alone. */
struct plan {
    struct match match;
    struct choice choice; /* of members of groups on other workers */
    uint64_t to, owed;    /* bits of other workers; those whose deliver record is waited for */
};

/* As if its publisher had said so: everybody is told the same. */
static void set_life(struct worker *w, struct msg *m)
{
    struct account *a = map_find(&w->accounts, slice_of(&m->publisher, sizeof(m->publisher)));
    uint32_t ttl_s = a != NULL ? grants_limits(a->grants)->retained_ttl_s : 0;
    if (m->payload.n > 0 && m->expires_at_ms == UINT64_MAX && ttl_s > 0) {
        m->expires_at_ms = w->now_ms + (uint64_t)ttl_s * 1000;
    }
}

static enum err plan_route(struct worker *w, const struct route *r, struct plan *p)
{
    struct msg *m = r->m;
    if (m->retain) {
        set_life(w, m);
    }
    TRY(filters_match(w->filters, m->topic, r->from, &p->match));
    if (p->match.n_groups > 0) {
        TRY(groups_choose(w, m, &p->match, &p->choice));
    }
    p->to = m->retain ? others(w) : p->match.remote_any | w->wants_all | p->choice.to;
    p->owed = m->qos > 0 ? p->match.remote_durable | w->wants_all | p->choice.owed : 0;
    if (m->retain || p->owed != 0 || (m->qos > 0 && p->match.local_durable)) {
        m->body_id = worker_id(w, &w->next_body);
    }
    if (m->retain) {
        m->number =
            atomic_fetch_add_explicit(w->setup.retained_counter, 1, memory_order_relaxed) + 1;
    }
    if (p->to != 0) {
        TRY(outbox_reserve(w, p->to));
    }
    if (r->token != 0 || m->body_id != 0) {
        TRY(pending_reserve(w, 1 + fan_pending(m, &p->match)));
    }
    return OK;
}

/* The body is on record and must not be: nobody answers for it, so nobody is waited for. */
static void disown_body(struct worker *w, const struct msg *m, uint64_t owed)
{
    uint64_t lsn;
    buf_clear(&w->record);
    for (unsigned i = 0; owed >> i != 0; i++) {
        if ((owed >> i & 1) != 0 && record_deliver(w, m->body_id, i, &lsn) != OK) {
            count_add(&counts(w)->dropped_memory, 1);
        }
        if (i == FILTERS_WORKERS_MAX - 1) {
            break;
        }
    }
}

/* All that may want memory but the records comes first: what is refused should be on none, for a
 * retained one counts from its body on. */
static enum err record_parts(struct worker *w, const struct msg *m, const struct plan *p,
                             uint64_t *ret_lsn)
{
    bool is_local = m->qos > 0 && p->match.local_durable;
    if (is_local) {
        TRY(fan_gather(w, m, &p->match));
    }
    enum err err = record_body(w, m, p->owed, ret_lsn);
    if (err != OK && is_local) {
        fan_take_back(w);
    }
    if (err == OK && is_local) {
        err = fan_record(w, m, w->setup.index, false, ret_lsn);
        if (err != OK) {
            disown_body(w, m, p->owed);
        }
    }
    return err;
}

static enum err record_message(struct worker *w, const struct route *r, const struct plan *p,
                               uint64_t *ret_lsn)
{
    const struct msg *m = r->m;
    if (m->body_id == 0) {
        return OK;
    }
    if (m->retain) { /* what is on record as retained must be so here, too */
        TRY(retained_reserve(w->retained, m));
    }
    uint64_t lsn = 0;
    enum err err = record_parts(w, m, p, &lsn);
    if (err != OK && m->retain) {
        retained_release(w->retained, m);
    }
    TRY(err);
    if (m->retain) {
        TRY(retain_locally(w, m));
    }
    *ret_lsn = lsn;
    return OK;
}

/* All that is written about this message, for one handover. *ret_lsn: the last of it; 0: nothing.
 */
static enum err record_route(struct worker *w, const struct route *r, const struct plan *p,
                             uint64_t *ret_lsn)
{
    uint64_t lsn = 0, settled;
    if (r->inbound != NULL) {
        TRY(record_packet(w, JOURNAL_INBOUND, r->inbound, r->packet_id, &lsn));
    }
    enum err err = record_message(w, r, p, &lsn);
    if (err != OK) {
        if (r->inbound != NULL &&
            record_packet(w, JOURNAL_RELEASED, r->inbound, r->packet_id, &settled) != OK) {
            count_add(&counts(w)->dropped_memory, 1);
        }
        return err;
    }
    if (r->will_of != NULL && !PLANTED(PLANT_WILL_AGAIN) &&
        record_will(w, r->will_of, NULL, 0, &settled) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* after a restart it is published again */
    }
    *ret_lsn = lsn;
    return OK;
}

static void send_others(struct worker *w, const struct route *r, const struct plan *p)
{
    const struct msg *m = r->m;
    if (p->to == 0) {
        return;
    }
    if (m->qos == 0 && outboxes_are_full(w, OVERFLOW_DROP)) {
        count_add(&counts(w)->dropped_ring, 1);
        return;
    }
    if (m->qos > 0 && (m->body_id != 0 || r->inbound != NULL)) {
        /* What they record stands on the body, and on the packet id, or it comes in again. */
        worker_handover(w);
    }
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        uint64_t bit = (uint64_t)1 << i;
        if ((p->to & bit) == 0) {
            continue;
        }
        bool is_owed = (p->owed & bit) != 0;
        struct wmsg out = {.kind = WMSG_PUBLISH,
                           .durable = is_owed,
                           .debtor = (uint8_t)i,
                           .asker = (uint8_t)w->setup.index,
                           .token = is_owed ? r->token : 0,
                           .chosen = chosen_ref(p->choice.chosen),
                           .msg = msg_ref(m)};
        if (outbox_push(w, i, &out) != OK) {
            wmsg_done(&out); /* not reached: there is room */
            count_add(&counts(w)->dropped_memory, 1);
        }
    }
}

MUST_USE enum err publish_route(struct worker *w, const struct route *r)
{
    struct plan p = {0};
    uint64_t lsn = 0;
    enum err err = plan_route(w, r, &p);
    if (err == OK) {
        err = record_route(w, r, &p, &lsn);
    }
    if (err == OK) {
        fan_others(w, r->m, &p.match);
        struct pending wait = {.lsn = lsn, .action = PENDING_TOKEN, .id = r->token};
        if (r->token != 0 && lsn > 0 && !PLANTED(PLANT_ACK_BEFORE_COMMIT)) {
            err = pending_add(w, &wait);
            token_open(w, r->token, 1 + (uint32_t)__builtin_popcountll(p.owed));
        }
        send_others(w, r, &p);
        if (is_reserved(r->m->topic)) {
            desk_offer(w, r->m);
        }
    }
    chosen_unref(p.choice.chosen);
    msg_unref(r->m);
    return err;
}

/* The other worker waits for what this one records; whatever its publisher was to be promised, it
 * is not. */
static void remote_failed(struct worker *w, const struct wmsg *in)
{
    struct wmsg failed = {.kind = WMSG_TOKEN, .token = in->token, .id = 1};
    count_add(&counts(w)->dropped_memory, 1);
    if (in->token != 0 && in->asker == w->setup.index) {
        token_fail(w, in->token);
    } else if (in->token != 0 && outbox_push(w, in->asker, &failed) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* it waits until its connection ends */
    }
}

/* What goes on to a member of another worker takes the debt of this one along: the body stays until
 * that worker has written its record, needs no room for another, and nobody is answered before. */
static enum err take_here(struct worker *w, const struct wmsg *in, struct choice *onward)
{
    const struct msg *m = in->msg;
    struct match match;
    uint64_t lsn = 0;
    TRY(filters_match(w->filters, m->topic, NULL, &match));
    TRY(groups_chosen(w, in, &match, onward));
    bool goes_on = onward->chosen != NULL;
    bool is_owed = in->durable && (!goes_on || PLANTED(PLANT_GROUP_UNOWED));
    TRY(outbox_reserve(w, onward->to));
    if (in->token != 0 || m->body_id != 0) {
        TRY(pending_reserve(w, 1 + fan_pending(m, &match)));
    }
    if (m->body_id != 0 && (is_owed || (m->qos > 0 && match.local_durable))) {
        TRY(fan_durable(w, m, &match, is_owed ? in->debtor : in->asker, is_owed, &lsn));
    }
    fan_others(w, m, &match);
    if (goes_on) {
        group_send_on(w, in, onward->chosen, in->durable && !is_owed);
    }
    struct pending p = {.lsn = lsn, .action = PENDING_REMOTE, .worker = in->asker, .id = in->token};
    if (in->asker == w->setup.index) {
        p.action = PENDING_TOKEN; /* it came back to where its publisher is */
    }
    return is_owed && in->token != 0 ? pending_add(w, &p) : OK;
}

static enum err take_remote(struct worker *w, const struct wmsg *in)
{
    struct choice onward = {0};
    enum err err = take_here(w, in, &onward);
    chosen_unref(onward.chosen);
    return err;
}

/* A message of another worker's publisher. The other workers retain it, and the store: this one has
 * no choice. What somebody durable wants is not refused for want of memory either: others have it
 * already, and would get it twice when its publisher tries again. SPEC: docs/ORDER.md rules 4, 8 */
MUST_USE enum err publish_remote(struct worker *w, const struct wmsg *in)
{
    if (in->msg->retain && !in->is_for_groups) {
        TRY(retain_locally(w, in->msg));
    }
    enum err err = take_remote(w, in);
    if (err == ERR_NOMEM && in->durable) {
        return err;
    }
    if (err != OK) {
        remote_failed(w, in);
    }
    msg_unref(in->msg);
    chosen_unref(in->chosen);
    return OK;
}

/* ---- MQTT ---- */

enum passage_retain retain_wish(struct worker *w, const struct account *a, struct slice topic,
                                bool retain)
{
    if (!retain) {
        return RETAIN_NO;
    }
    const struct limits *l = w->setup.limits;
    uint64_t publisher = 0;
    bool is_there = retained_publisher(w->retained, topic, w->now_ms, &publisher);
    /* Every worker has the whole index; what is on its way to this one makes it a little more. */
    if (retained_bytes(w->retained) >= l->retained_total_bytes ||
        (!is_there && retained_count(w->retained) >= l->retained_total)) {
        return RETAIN_FULL;
    }
    return is_there && publisher == a->principal->id ? RETAIN_REPLACE : RETAIN_NEW;
}

enum passage_retain worker_retain_wish(struct worker *w, const struct account *a,
                                       struct slice topic, bool retain, uint64_t now_ms)
{
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    return retain_wish(w, a, topic, retain);
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
    if (!denied) {
        count_limit(counts(w), why->limit);
    }
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

/* What the journal does not take is not promised: no acknowledgement, and no trace of it. */
static void refuse_unstored(struct worker *w, struct conn *c, const struct mqtt_event *ev,
                            enum err err)
{
    (void)bucket_take(&c->account->publishes, 1, w->now_ms);
    report_store(w, c, ev->publish.topic, err, "a message");
    if (ev->ask == 0) {
        return;
    }
    if (mqtt_server_terms(c->engine)->version == MQTT_V5) {
        mqtt_server_answer(c->engine, ev->ask, MQTT_QUOTA_EXCEEDED);
    } else {
        conn_close(w, c, MQTT_QUOTA_EXCEEDED);
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
 * MQTT5-4.3.3-10 */
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

/* Both names of SenML are as long, and most messages have none. */
static void read_clock(struct worker *w, const struct conn *c, const struct mqtt_publish *p)
{
    enum { NAME_BYTES = sizeof("application/senml+json") - 1 };
    struct slice type = mqtt_props_text(&p->props, MQTT_PROP_CONTENT_TYPE);
    uint16_t format;
    if (type.n == NAME_BYTES && coap_format_find(type, &format) == OK) {
        usage_clock(w, c->account, format, p->payload);
    }
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
    struct session *s = c->session;
    struct route r = {.from = &s->subscriber, .packet_id = p->packet_id};
    TRY(msg_from_publish(w, c->account, p, &r.m));
    enum err taken = quarantine_take(c->account, &r.m);
    if (taken != OK) {
        msg_unref(r.m);
        return taken;
    }
    r.m->session = s->id;
    r.inbound = p->qos == 2 && s->subscriber.is_durable ? s : NULL;
    if (ev->ask != 0) {
        struct token t = {.kind = TOKEN_ANSWER, .conn = c->handle, .ask = ev->ask};
        if (p->qos == 2) {
            t.session = s->id;
            t.packet_id = p->packet_id;
        }
        enum err err = token_new(w, &t, &r.token);
        if (err != OK) {
            msg_unref(r.m);
            return err;
        }
    }
    enum err err = publish_route(w, &r);
    if (r.token != 0 && err != OK) {
        token_drop(w, r.token);
    } else if (r.token != 0) {
        token_close_one(w, r.token); /* the place that token_new opened */
    }
    return err;
}

static void on_pubrel(struct worker *w, struct conn *c, const struct mqtt_event *ev)
{
    struct session *s = c->session;
    uint64_t lsn = 0;
    bool was_open = session_inbound_has(s, ev->ack.packet_id);
    enum err err = OK;
    if (was_open && s->subscriber.is_durable) {
        err = record_packet(w, JOURNAL_RELEASED, s, ev->ack.packet_id, &lsn);
    } else if (s->subscriber.is_durable && w->last_lsn > w->committed) {
        /* SPEC: docs/ORDER.md rule 8: repeated on a new connection, while the end of its id may
         * still be on its way to the disk */
        lsn = w->last_lsn;
    }
    if (err == OK) {
        (void)session_inbound_remove(s, ev->ack.packet_id);
        usage_release(w, c->account);
    }
    if (err == OK && lsn > 0 && !PLANTED(PLANT_EARLY_PUBCOMP)) {
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
    struct decision *why = &w->why;
    enum err err = OK;
    count_add(received(w, p->qos), 1);
    if (is_reserved(p->topic) && lane_takes(w, c, ev)) {
        return;
    }
    if (p->qos == 2 && is_repeated(w, c, ev, &err)) {
        if (err != OK) {
            publish_failed(w, c, ev->ask);
        }
        return;
    }
    if (err == OK) {
        err = passage_publish(c->account, p->topic, p->qos,
                              retain_wish(w, c->account, p->topic, p->retain), p->payload.n,
                              w->now_ms, why);
        if (err == OK && is_reserved(p->topic)) {
            err = desk_check(c->account, p->topic, p->props.block, p->retain, why);
        }
        if (err == OK && ceiling_refuses(w, why)) {
            err = ERR_QUOTA;
        }
        if (err != OK) {
            if (p->qos == 2) {
                (void)session_inbound_remove(c->session, p->packet_id);
            }
            refuse_publish(w, c, ev, err, why);
            return;
        }
        sample_allow(w, c, p->topic);
        usage_publish(w, c->account, p->topic, p->payload.n, p->retain);
        read_clock(w, c, p);
        err = accept_publish(w, c, ev);
        if (err != OK && p->qos == 2) {
            (void)session_inbound_remove(c->session, p->packet_id); /* it may come again */
        }
    }
    if (err == ERR_SPACE || err == ERR_IO) {
        refuse_unstored(w, c, ev, err);
    } else if (err != OK) {
        publish_failed(w, c, ev->ask);
    }
}

/* ---- the server itself ---- */

void publish_announced(struct worker *w, struct msg *m)
{
    struct route r = {.m = m};
    m->publisher = PASSAGE_SERVER;
    m->segment = flow_segment(slice_text(PRINCIPAL_SEGMENT_DEFAULT));
    m->epoch = w->realm->epoch;
    if (publish_route(w, &r) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* `alerts` and the trail have it */
    }
}

/* ---- other doors ---- */

MUST_USE enum err worker_publish(struct worker *w, struct account *a, struct msg *m,
                                 uint64_t cookie, uint64_t now_ms, bool *ret_is_done)
{
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    m->publisher = a->principal->id;
    m->segment = a->segment;
    m->epoch = w->realm->epoch;
    enum err taken = quarantine_take(a, &m);
    if (taken != OK) {
        msg_unref(m);
        return taken;
    }
    struct route r = {.m = m};
    struct token t = {.kind = TOKEN_DOOR, .cookie = cookie};
    struct decision ignored;
    if (ceiling_refuses(w, &ignored)) {
        msg_unref(m);
        return ERR_QUOTA;
    }
    enum err err = token_new(w, &t, &r.token);
    if (err != OK) {
        msg_unref(m);
        return err;
    }
    usage_publish(w, a, m->topic, m->payload.n, m->retain);
    err = publish_route(w, &r);
    if (err != OK) {
        token_drop(w, r.token);
        return err;
    }
    *ret_is_done = token_close_if_alone(w, r.token);
    return OK;
}
