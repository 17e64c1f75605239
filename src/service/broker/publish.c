/* The life of a PUBLISH: from the packet to the route that it takes (route.c), and back as an
 * acknowledgement or a refusal; and what other doors and the server itself publish. */
#include "base/plant.h"
#include "core/flow.h"
#include "core/quarantine.h"
#include "service/broker/ceiling_private.h"
#include "service/broker/commit_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/record_private.h"
#include "service/broker/route_private.h"
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

/* With what is forwarded of its properties; most messages have none. */
static enum err msg_with_props(const struct worker *w, const struct mqtt_publish *p,
                               struct msg **ret)
{
    AUTO(buf_done) struct buf props = {0};
    size_t n = mqtt_props_forward_size(&p->props);
    if (n > 0) {
        uint8_t *dst;
        TRY(buf_room(&props, n, w->packet_most, &dst));
        struct wr wr = wr_into(dst, n);
        mqtt_props_copy_forward(&p->props, &wr);
        TRY(wr_done(&wr, &props.n));
    }
    return msg_new(p->topic, buf_slice(&props), p->payload, ret);
}

MUST_USE enum err msg_from_publish(const struct worker *w, const struct account *a,
                                   const struct mqtt_publish *p, struct msg **ret)
{
    struct msg *m = NULL;
    bool is_plain = mqtt_props_is_empty(&p->props);
    TRY(is_plain ? msg_new(p->topic, (struct slice){0}, p->payload, &m) : msg_with_props(w, p, &m));
    m->qos = p->qos;
    m->retain = p->retain;
    m->publisher = a->principal->id;
    m->segment = a->segment;
    m->epoch = w->realm->epoch;
    if (!is_plain) {
        set_by_props(w, &p->props, m);
    }
    *ret = m;
    return OK;
}

/* ---- MQTT ---- */

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
    if (mqtt_props_is_empty(&p->props)) {
        return;
    }
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
    if (topic_is_reserved(p->topic) && lane_takes(w, c, ev)) {
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
        if (err == OK && topic_is_reserved(p->topic)) {
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
