#include "engine/mqtt_server.h"

#include <assert.h>

#include "base/mem.h"
#include "base/plant.h"
#include "engine/mqtt_advice.h"
#include "engine/mqtt_encode.h"
#include "engine/topic_alias.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/ping.h"
#include "wire/mqtt/puback.h"
#include "wire/mqtt/pubcomp.h"
#include "wire/mqtt/pubrec.h"
#include "wire/mqtt/pubrel.h"
#include "wire/mqtt/suback.h"
#include "wire/mqtt/unsuback.h"

enum {
    SERVER_OUTPUT_PAUSE = 64 * 1024, /* answers nobody reads: no packet is taken above this */
    SERVER_OUTPUT_MAX = 256 * 1024,
    SERVER_OUTPUT_FIRST = 64,
    ASKS_FIRST = 8,
    SERVER_PUBREL_SLACK = 64 /* asks of PUBRELs on top of the open PUBLISHes */
};

enum ask_kind { ASK_PUBACK, ASK_PUBREC, ASK_PUBCOMP };

/* One acknowledgement that is owed. A ring, oldest first: what is answered waits for those before
 * it. */
struct ask {
    uint16_t packet_id;
    enum ask_kind kind;
    bool is_answered;
    uint8_t reason;
};

/* A ring that grows by doubling. */
struct asks {
    uint32_t cap, n;
    struct ask ring[];
};

/* Answers that wait, one block: bytes[at] to bytes[n]. */
struct output {
    size_t at, n, cap;
    uint8_t bytes[];
};

struct mqtt_server {
    struct mqtt_terms terms;
    bool is_closing : 1;
    bool has_left : 1;      /* the client's DISCONNECT was taken, and no answer to it was given */
    uint16_t receive_quota; /* PUBLISHes with QoS > 0 the client may still open */
    uint32_t first_ask;     /* id of the oldest; ids count up */
    uint64_t last_packet_ms;
    struct asks *asks; /* NULL: none was owed yet */
    struct topic_aliases from_client, to_client;
    struct output *out; /* NULL: nothing waits */
};

static bool is_v5(const struct mqtt_server *e)
{
    return e->terms.version == MQTT_V5;
}

/* ---- output ---- */

static size_t waiting(const struct mqtt_server *e)
{
    return e->out != NULL ? e->out->n - e->out->at : 0;
}

static void output_forget(struct mqtt_server *e)
{
    e->out = mem_free(e->out);
}

/* A block of cap bytes has what waits, and not what has left. A fresh one, and the old one is
 * wiped: there may be secrets. */
static enum err output_move(struct mqtt_server *e, size_t cap)
{
    struct output *old = e->out, *o = mem_alloc(sizeof(*o) + cap);
    if (o == NULL) {
        return ERR_NOMEM;
    }
    *o = (struct output){.n = waiting(e), .cap = cap};
    if (old != NULL) {
        memcpy(o->bytes, old->bytes + old->at, o->n);
        mem_wipe(old->bytes, old->n);
    }
    mem_free(old);
    e->out = o;
    return OK;
}

/* Room for `more` bytes behind what waits. Amortised O(more): where the larger part has left, that
 * makes room; else a block grows by doubling. ERR_TOO_LARGE; ERR_NOMEM. */
static enum err output_room(struct mqtt_server *e, size_t more, uint8_t **ret)
{
    size_t n = e->out != NULL ? e->out->n : 0, cap = e->out != NULL ? e->out->cap : 0;
    bool makes_room = n > 2 * waiting(e);
    size_t used = makes_room ? waiting(e) : n;
    if (more > SERVER_OUTPUT_MAX - used) {
        return ERR_TOO_LARGE;
    }
    if (e->out == NULL || more > cap - n) {
        size_t wanted = makes_room ? cap : 2 * cap, need = used + more;
        wanted = wanted > SERVER_OUTPUT_FIRST ? wanted : SERVER_OUTPUT_FIRST;
        wanted = wanted < SERVER_OUTPUT_MAX ? wanted : SERVER_OUTPUT_MAX;
        TRY(output_move(e, wanted > need ? wanted : need));
    }
    *ret = e->out->bytes + e->out->n;
    return OK;
}

static enum err put(struct mqtt_server *e, size_t most, mqtt_encode_fn *encode, const void *packet)
{
    uint8_t *dst;
    TRY(output_room(e, most, &dst));
    struct wr w = wr_into(dst, most);
    TRY(encode(packet, e->terms.version, &w));
    if (w.at > e->terms.client_packet_max) {
        return ERR_TOO_LARGE; /* SPEC: MQTT3-3.1.2-24 */
    }
    e->out->n += wr_slice(&w).n;
    return OK;
}

/* A refusal with its reason string, if the client wants to hear it and it fits. props are those of
 * the packet. SPEC: MQTT5-3.1.2-29
 * SPEC: MQTT5-3.4.2-2, MQTT5-3.5.2-2, MQTT5-3.9.2-1, MQTT5-3.11.2-1, MQTT5-3.14.2-3 */
static enum err put_refusal(struct mqtt_server *e, size_t most, mqtt_encode_fn *encode,
                            const void *packet, struct mqtt_props *props, uint8_t reason)
{
    struct slice advice = e->terms.wants_reasons ? mqtt_advice(reason) : (struct slice){0};
    if (is_v5(e) && advice.n > 0) {
        mqtt_props_set_text(props, MQTT_PROP_REASON_STRING, advice);
        enum err err = put(e, most + advice.n + 8, encode, packet);
        if (err != ERR_TOO_LARGE) {
            return err;
        }
        mqtt_props_clear(props, MQTT_PROP_REASON_STRING);
    }
    return put(e, most, encode, packet);
}

/* An acknowledgement that says only what is acknowledged, as nearly all do. */
struct short_ack {
    enum mqtt_type type;
    uint16_t packet_id;
};

static enum err encode_short_ack(const void *packet, enum mqtt_version version, struct wr *w)
{
    const struct short_ack *m = packet;
    (void)version;
    mqtt_fixed_encode(w, m->type, m->type == MQTT_PUBREL ? 2 : 0, 2); /* SPEC: MQTT-3.6.1-1 */
    wr_u16(w, m->packet_id);
    return w->err;
}

/* SPEC: MQTT5 3.4.2.1: without a reason it is success; older versions know no reasons */
static bool is_short_ack(const struct mqtt_server *e, enum mqtt_reason reason)
{
    return reason == MQTT_SUCCESS || !is_v5(e);
}

enum { ACK_BYTES_MAX = 8, CONNACK_BYTES_MAX = 1024, AUTH_SLACK = 16, REFERENCE_SLACK = 8 };

/* ---- life ---- */

MUST_USE enum err mqtt_server_new(const struct mqtt_terms *terms,
                                  const struct mqtt_connack *connack, uint64_t now_ms,
                                  struct mqtt_server **ret)
{
    assert(terms->receive_max > 0 && terms->wire->topic_alias_max <= TOPIC_ALIASES_MAX);
    AUTO(mqtt_server_autofree) struct mqtt_server *e = mem_zalloc(sizeof(*e));
    if (e == NULL) {
        return ERR_NOMEM;
    }
    e->terms = *terms;
    e->last_packet_ms = now_ms;
    e->receive_quota = terms->receive_max;
    e->first_ask = 1;
    TRY(put(e, CONNACK_BYTES_MAX, mqtt_encode_connack, connack));
    *ret = TAKE(e);
    return OK;
}

struct mqtt_server *mqtt_server_free(struct mqtt_server *e)
{
    if (e != NULL) {
        output_forget(e);
        topic_aliases_done(&e->from_client);
        topic_aliases_done(&e->to_client);
        mem_free(e->asks);
        mem_free(e);
    }
    return NULL;
}

const struct mqtt_terms *mqtt_server_terms(const struct mqtt_server *e)
{
    return &e->terms;
}

bool mqtt_server_is_closing(const struct mqtt_server *e)
{
    return e->is_closing;
}

static enum err put_disconnect(struct mqtt_server *e, struct mqtt_disconnect *m, size_t more)
{
    return put_refusal(e, ACK_BYTES_MAX + more, mqtt_encode_disconnect, m, &m->props, m->reason);
}

void mqtt_server_refer(struct mqtt_server *e, enum mqtt_reason reason, struct slice reference)
{
    struct mqtt_disconnect m = {.reason = (uint8_t)reason};
    /* Nothing is said to a client that has taken leave, unless it broke a rule with that. */
    bool may_speak = !e->is_closing || (e->has_left && reason >= MQTT_UNSPECIFIED_ERROR);
    if (may_speak && is_v5(e)) {
        /* Out of memory only means that the peer is not told why. */
        enum err err = ERR_TOO_LARGE;
        if (reference.n > 0) {
            mqtt_props_set_text(&m.props, MQTT_PROP_SERVER_REFERENCE, reference);
            err = put_disconnect(e, &m, reference.n + REFERENCE_SLACK);
            mqtt_props_clear(&m.props, MQTT_PROP_SERVER_REFERENCE);
        }
        if (err == ERR_TOO_LARGE) {
            err = put_disconnect(e, &m, 0);
        }
        (void)err;
    }
    e->is_closing = true;
    e->has_left = false;
}

void mqtt_server_close(struct mqtt_server *e, enum mqtt_reason reason)
{
    mqtt_server_refer(e, reason, (struct slice){0});
}

/* ---- asks ---- */

static uint32_t n_asks(const struct mqtt_server *e)
{
    return e->asks != NULL ? e->asks->n : 0;
}

static struct ask *ask_at(struct mqtt_server *e, uint32_t index)
{
    return &e->asks->ring[(e->first_ask + index) & (e->asks->cap - 1)];
}

static enum err asks_grow(struct mqtt_server *e)
{
    struct asks *old = e->asks;
    uint32_t n = old != NULL ? old->n : 0, cap = old != NULL ? old->cap * 2 : ASKS_FIRST;
    struct asks *grown = mem_alloc(sizeof(*grown) + cap * sizeof(grown->ring[0]));
    if (grown == NULL) {
        return ERR_NOMEM;
    }
    grown->cap = cap;
    grown->n = n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = e->first_ask + i;
        grown->ring[id & (cap - 1)] = old->ring[id & (old->cap - 1)];
    }
    e->asks = grown;
    mem_free(old);
    return OK;
}

static enum err ask_open(struct mqtt_server *e, enum ask_kind kind, uint16_t packet_id,
                         uint32_t *ret)
{
    if (e->asks == NULL || e->asks->n == e->asks->cap) {
        TRY(asks_grow(e));
    }
    *ask_at(e, e->asks->n) = (struct ask){.packet_id = packet_id, .kind = kind};
    *ret = e->first_ask + e->asks->n;
    e->asks->n++;
    return OK;
}

/* A PUBLISH is done with when its PUBACK, its PUBCOMP or its failed PUBREC leaves. SPEC: MQTT5 4.9
 */
static bool ask_ends_publish(const struct ask *a)
{
    return a->kind != ASK_PUBREC || a->reason >= 0x80;
}

static enum err put_ask(struct mqtt_server *e, const struct ask *a)
{
    static mqtt_encode_fn *const encoders[] = {[ASK_PUBACK] = mqtt_encode_puback,
                                               [ASK_PUBREC] = mqtt_encode_pubrec,
                                               [ASK_PUBCOMP] = mqtt_encode_pubcomp};
    static const enum mqtt_type types[] = {
        [ASK_PUBACK] = MQTT_PUBACK, [ASK_PUBREC] = MQTT_PUBREC, [ASK_PUBCOMP] = MQTT_PUBCOMP};
    if (is_short_ack(e, (enum mqtt_reason)a->reason)) {
        struct short_ack brief = {.type = types[a->kind], .packet_id = a->packet_id};
        return put(e, ACK_BYTES_MAX, encode_short_ack, &brief);
    }
    struct mqtt_ack m = {.packet_id = a->packet_id, .reason = a->reason};
    return put_refusal(e, ACK_BYTES_MAX, encoders[a->kind], &m, &m.props, a->reason);
}

static enum err asks_flush(struct mqtt_server *e)
{
    while (n_asks(e) > 0 && ask_at(e, 0)->is_answered) {
        struct ask *a = ask_at(e, 0);
        TRY(put_ask(e, a));
        if (ask_ends_publish(a) && e->receive_quota < e->terms.receive_max) {
            e->receive_quota++;
        }
        e->first_ask++;
        e->asks->n--;
    }
    return OK;
}

void mqtt_server_answer(struct mqtt_server *e, uint32_t ask, enum mqtt_reason reason)
{
    uint32_t index = ask - e->first_ask;
    assert(index < n_asks(e));
    struct ask *a = ask_at(e, index);
    assert(!a->is_answered);
    a->is_answered = true;
    a->reason = (uint8_t)reason;
    if (!e->is_closing && asks_flush(e) != OK) {
        e->is_closing =
            true; /* no memory for two bytes: the client will repeat on a new connection */
    }
}

/* ---- answers ---- */

/* The first refusal among them; there is one string for all. */
static uint8_t first_refusal(struct slice codes)
{
    for (size_t i = 0; i < codes.n; i++) {
        if (codes.p[i] >= MQTT_UNSPECIFIED_ERROR) {
            return codes.p[i];
        }
    }
    return MQTT_SUCCESS;
}

static enum err close_if_too_large(struct mqtt_server *e, enum err err)
{
    if (err == ERR_TOO_LARGE) {
        mqtt_server_close(e, MQTT_PACKET_TOO_LARGE);
    }
    return err;
}

MUST_USE enum err mqtt_server_auth(struct mqtt_server *e, enum mqtt_reason reason,
                                   struct slice data)
{
    assert(e->terms.auth_method != NULL);
    struct mqtt_auth m = {.reason = (uint8_t)reason};
    mqtt_props_set_text(&m.props, MQTT_PROP_AUTH_METHOD, slice_text(e->terms.auth_method));
    if (data.n > 0) {
        mqtt_props_set_text(&m.props, MQTT_PROP_AUTH_DATA, data);
    }
    return put(e, mqtt_props_size(&m.props) + AUTH_SLACK, mqtt_encode_auth, &m);
}

MUST_USE enum err mqtt_server_suback(struct mqtt_server *e, uint16_t packet_id, struct slice codes)
{
    struct mqtt_suback m = {.packet_id = packet_id, .codes = codes};
    uint8_t refusal = first_refusal(codes);
    enum err err = put_refusal(e, codes.n + 16, mqtt_encode_suback, &m, &m.props, refusal);
    if (err ==
        ERR_UNSUPPORTED) { /* 3.1 cannot be told: nor is it told that it has what it has not */
        mqtt_server_close(e, (enum mqtt_reason)refusal);
    }
    return close_if_too_large(e, err);
}

MUST_USE enum err mqtt_server_unsuback(struct mqtt_server *e, uint16_t packet_id,
                                       struct slice codes)
{
    struct mqtt_unsuback m = {.packet_id = packet_id, .codes = codes};
    return close_if_too_large(
        e, put_refusal(e, codes.n + 16, mqtt_encode_unsuback, &m, &m.props, first_refusal(codes)));
}

MUST_USE enum err mqtt_server_pubrel(struct mqtt_server *e, uint16_t packet_id,
                                     enum mqtt_reason reason)
{
    if (is_short_ack(e, reason)) {
        struct short_ack brief = {.type = MQTT_PUBREL, .packet_id = packet_id};
        return put(e, ACK_BYTES_MAX, encode_short_ack, &brief);
    }
    struct mqtt_ack m = {.packet_id = packet_id, .reason = (uint8_t)reason};
    return put(e, ACK_BYTES_MAX, mqtt_encode_pubrel, &m);
}

bool mqtt_server_has_output(const struct mqtt_server *e)
{
    return waiting(e) > 0;
}

size_t mqtt_server_output(struct mqtt_server *e, uint8_t *dst, size_t cap)
{
    size_t n = waiting(e) < cap ? waiting(e) : cap;
    if (n > 0) {
        memcpy(dst, e->out->bytes + e->out->at, n);
        e->out->at += n;
    }
    if (waiting(e) == 0) {
        output_forget(e); /* an idle connection keeps no buffer */
    }
    return n;
}

/* ---- deliveries ---- */

/* SPEC: MQTT5-3.3.2-6: what is left of the lifetime; a message that was about to end still has its
 * last second. */
static uint32_t expiry_left_s(const struct msg *m, uint64_t now_ms)
{
    uint64_t left_ms = m->expires_at_ms > now_ms ? m->expires_at_ms - now_ms : 0;
    uint64_t left_s = (left_ms + 999) / 1000;
    return left_s > UINT32_MAX ? UINT32_MAX : (uint32_t)left_s;
}

/* The first topics of a connection get numbers, as many as the client keeps. `*ret_next` is one
 * that it does not know yet. SPEC: MQTT5-3.1.2-26, MQTT5-3.1.2-27, MQTT5-3.3.2-11 */
static void choose_alias(const struct mqtt_server *e, struct mqtt_publish_out *out,
                         uint16_t *ret_next)
{
    struct slice topic = out->topic;
    uint16_t known = topic_alias_find(&e->to_client, topic);
    if (known != 0) {
        out->alias = known;
        out->topic = (struct slice){0};
        return;
    }
    out->alias = topic_alias_next(&e->to_client, topic, e->terms.client_alias_max);
    /* The three bytes are not worth a message that the client would not take. */
    if (out->alias != 0 &&
        mqtt_publish_packet_size(out, e->terms.version) > e->terms.client_packet_max) {
        out->alias = 0;
    }
    *ret_next = out->alias;
}

MUST_USE enum err mqtt_server_deliver(struct mqtt_server *e, const struct delivery *d,
                                      uint64_t now_ms, struct wr *w, struct lending *lending)
{
    uint16_t next = 0;
    const struct msg *m = d->msg;
    struct mqtt_publish_out out = {.topic = m->topic,
                                   .payload_n = m->payload.n,
                                   .packet_id = d->packet_id,
                                   .qos = d->qos,
                                   .retain = d->retain,
                                   .dup = d->is_dup && d->qos > 0};
    if (is_v5(e)) {
        out.forward = m->props;
        out.subscription_ids = d->n_ids > 1 ? d->ids : &d->id;
        out.n_subscription_ids = d->n_ids;
        out.has_expiry = m->expires_at_ms != UINT64_MAX;
        out.expiry_s = out.has_expiry ? expiry_left_s(m, now_ms) : 0;
        choose_alias(e, &out, &next);
    }
    size_t size = mqtt_publish_packet_size(&out, e->terms.version);
    if (size > e->terms.client_packet_max) {
        return ERR_TOO_LARGE;
    }
    if (PLANTED(PLANT_ALIAS_UNSAID) && next != 0 &&
        topic_alias_add(&e->to_client, m->topic) == OK) {
        next = 0;
    }
    if (size > wr_left(w)) {
        return ERR_SPACE;
    }
    TRY(mqtt_publish_encode_head(&out, e->terms.version, w));
    if (!lending_take(lending, m, w)) {
        wr_bytes(w, m->payload);
    }
    if (w->err == OK && next != 0) {
        /* Without memory the number goes to the next topic: saying it again gives it anew. */
        enum err ignored = topic_alias_add(&e->to_client, m->topic);
        (void)ignored;
    }
    return w->err;
}

/* ---- input ---- */

bool mqtt_server_awaits_answer(const struct mqtt_server *e)
{
    /* MQTT 3.1.1 has no flow control of its own: the socket is it. MQTT 5 clients that exceed the
     * number get 0x93. */
    return n_asks(e) >= (uint32_t)e->terms.receive_max + SERVER_PUBREL_SLACK ||
           (!is_v5(e) && e->receive_quota == 0 && n_asks(e) > 0);
}

bool mqtt_server_is_blocked(const struct mqtt_server *e)
{
    return waiting(e) > SERVER_OUTPUT_PAUSE || mqtt_server_awaits_answer(e);
}

static enum err fault_set(struct mqtt_fault *fault, enum err err, enum mqtt_reason reason)
{
    *fault = (struct mqtt_fault){.err = err, .reason = (uint8_t)reason};
    return err;
}

/* From here on nobody sees an alias, but the topic it stands for on this connection. */
static enum err resolve_alias(struct mqtt_server *e, struct mqtt_fault *fault,
                              struct mqtt_publish *m)
{
    if (mqtt_props_is_empty(&m->props)) {
        return OK;
    }
    uint16_t alias = (uint16_t)mqtt_props_number(&m->props, MQTT_PROP_TOPIC_ALIAS, 0);
    if (alias == 0) {
        return OK;
    }
    if (m->topic.n > 0) {
        if (PLANTED(PLANT_ALIAS_STUCK) && topic_alias_name(&e->from_client, alias).n > 0) {
            return OK;
        }
        enum err err = topic_alias_set(&e->from_client, alias, m->topic);
        return err == OK ? OK : fault_set(fault, err, MQTT_SERVER_BUSY);
    }
    m->topic = topic_alias_name(&e->from_client, alias);
    if (m->topic.n == 0 && PLANTED(PLANT_ALIAS_UNKNOWN)) {
        m->topic = slice_text("a");
    }
    if (m->topic.n == 0) { /* SPEC: MQTT5-3.3.2-7: nor does it stand for what it did elsewhere */
        return fault_set(fault, ERR_PROTOCOL, MQTT_PROTOCOL_ERROR);
    }
    return OK;
}

static enum err on_publish(struct mqtt_server *e, const struct mqtt_input *in,
                           struct mqtt_fault *fault, struct mqtt_event *ret)
{
    struct mqtt_publish *m = &ret->publish; /* large: it is made where it is used */
    ret->kind = MQTT_EVENT_PUBLISH;
    ret->ask = 0;
    TRY(mqtt_publish_decode(in, fault, m));
    TRY(resolve_alias(e, fault, m));
    if (m->qos > 0) {
        if (e->receive_quota > 0) {
            e->receive_quota--;
        } else if (is_v5(e)) {
            return fault_set(fault, ERR_PROTOCOL, MQTT_RECEIVE_MAXIMUM_EXCEEDED); /* MQTT5 3.3.4 */
        }
        enum err err = ask_open(e, m->qos == 1 ? ASK_PUBACK : ASK_PUBREC, m->packet_id, &ret->ask);
        if (err != OK) {
            return fault_set(fault, err, MQTT_SERVER_BUSY);
        }
    }
    return OK;
}

static enum err on_pubrel(struct mqtt_server *e, const struct mqtt_input *in,
                          struct mqtt_fault *fault, struct mqtt_event *ret)
{
    ret->kind = MQTT_EVENT_PUBREL;
    TRY(mqtt_pubrel_decode(in, fault, &ret->ack));
    enum err err = ask_open(e, ASK_PUBCOMP, ret->ack.packet_id, &ret->ask);
    return err == OK ? OK : fault_set(fault, err, MQTT_SERVER_BUSY);
}

/* SPEC: MQTT5-4.12.0-7, MQTT5-4.12.1-1: only of the method that CONNECT named. */
static enum err on_auth(const struct mqtt_server *e, const struct mqtt_input *in,
                        struct mqtt_fault *fault, struct mqtt_event *ret)
{
    struct mqtt_event ev = {.kind = MQTT_EVENT_AUTH};
    struct slice method = slice_text(e->terms.auth_method);
    TRY(mqtt_auth_decode(in, fault, &ev.auth));
    if (method.n == 0 ||
        !slice_equal(mqtt_props_text(&ev.auth.props, MQTT_PROP_AUTH_METHOD), method)) {
        return fault_set(fault, ERR_PROTOCOL, MQTT_PROTOCOL_ERROR);
    }
    *ret = ev;
    return OK;
}

/* State x packet: what an open connection may send. ERR_AGAIN: taken, no event. */
static enum err take(struct mqtt_server *e, enum mqtt_type type, const struct mqtt_input *in,
                     struct mqtt_fault *fault, struct mqtt_event *ret)
{
    switch (type) {
    case MQTT_PUBLISH:
        return on_publish(e, in, fault, ret);
    case MQTT_PUBREL:
        return on_pubrel(e, in, fault, ret);
    case MQTT_PUBACK: /* an event is large: only what is there is written */
        ret->kind = MQTT_EVENT_PUBACK;
        ret->ask = 0;
        return mqtt_puback_decode(in, fault, &ret->ack);
    case MQTT_PUBREC:
        ret->kind = MQTT_EVENT_PUBREC;
        ret->ask = 0;
        return mqtt_pubrec_decode(in, fault, &ret->ack);
    case MQTT_PUBCOMP:
        ret->kind = MQTT_EVENT_PUBCOMP;
        ret->ask = 0;
        return mqtt_pubcomp_decode(in, fault, &ret->ack);
    case MQTT_SUBSCRIBE:
        *ret = (struct mqtt_event){.kind = MQTT_EVENT_SUBSCRIBE};
        return mqtt_subscribe_decode(in, fault, &ret->subscribe);
    case MQTT_UNSUBSCRIBE:
        *ret = (struct mqtt_event){.kind = MQTT_EVENT_UNSUBSCRIBE};
        return mqtt_unsubscribe_decode(in, fault, &ret->unsubscribe);
    case MQTT_DISCONNECT:
        *ret = (struct mqtt_event){.kind = MQTT_EVENT_DISCONNECT};
        return mqtt_disconnect_decode(in, fault, &ret->disconnect);
    case MQTT_PINGREQ:
        TRY(mqtt_ping_decode(in, fault));
        if (put(e, ACK_BYTES_MAX, mqtt_encode_pingresp, NULL) != OK) {
            return fault_set(fault, ERR_NOMEM, MQTT_SERVER_BUSY);
        }
        return ERR_AGAIN; /* SPEC: MQTT-3.12.4-1 */
    case MQTT_CONNECT:    /* SPEC: MQTT-3.1.0-2: a second one is a protocol violation */
    case MQTT_CONNACK:
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
    case MQTT_PINGRESP:
        break;
    case MQTT_AUTH:
        return on_auth(e, in, fault, ret);
    }
    return fault_set(fault, ERR_PROTOCOL, MQTT_PROTOCOL_ERROR);
}

MUST_USE enum err mqtt_server_next(struct mqtt_server *e, struct slice *in, uint64_t now_ms,
                                   struct mqtt_fault *fault, struct mqtt_event *ret)
{
    while (!e->is_closing && !mqtt_server_is_blocked(e)) {
        struct mqtt_fixed fixed;
        struct mqtt_input input = {
            .version = e->terms.version, .sender = MQTT_FROM_CLIENT, .limits = e->terms.wire};
        uint8_t first = in->n > 0 ? in->p[0] : 0;
        enum err err = mqtt_packet_cut_as(e->terms.version, in, e->terms.packet_max, fault, &fixed,
                                          &input.body);
        if (err == ERR_AGAIN) {
            return ERR_AGAIN;
        }
        if (err == OK) {
            e->last_packet_ms = now_ms;
            input.flags = fixed.flags;
            err = take(e, fixed.type, &input, fault, ret);
        }
        if (err == OK) {
            if (ret->kind == MQTT_EVENT_DISCONNECT) {
                e->is_closing = true; /* SPEC: MQTT5-3.14.4-2: nothing after it */
                e->has_left = true;
            }
            return OK;
        }
        if (err != ERR_AGAIN) {
            fault->type = first >> 4; /* not that of a ping in front of it */
            mqtt_server_close(e, (enum mqtt_reason)fault->reason);
            return err;
        }
    }
    return ERR_AGAIN;
}

/* ---- time ---- */

uint64_t mqtt_server_deadline(const struct mqtt_server *e)
{
    if (e->terms.keep_alive_s == 0 || e->is_closing) {
        return UINT64_MAX;
    }
    /* SPEC: MQTT5-3.1.2-22, MQTT3-3.1.2-24: one and a half times the keep-alive */
    return e->last_packet_ms + (uint64_t)e->terms.keep_alive_s * 1500;
}

void mqtt_server_listen(struct mqtt_server *e, uint64_t now_ms)
{
    e->last_packet_ms = now_ms > e->last_packet_ms ? now_ms : e->last_packet_ms;
}

MUST_USE enum err mqtt_server_tick(struct mqtt_server *e, uint64_t now_ms)
{
    if (now_ms < mqtt_server_deadline(e)) {
        return OK;
    }
    mqtt_server_close(e, MQTT_KEEP_ALIVE_TIMEOUT);
    return ERR_TIMEOUT;
}
