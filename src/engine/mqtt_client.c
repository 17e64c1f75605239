#include "engine/mqtt_client.h"

#include <assert.h>

#include "base/buf.h"
#include "base/mem.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/ping.h"
#include "wire/mqtt/puback.h"
#include "wire/mqtt/pubcomp.h"
#include "wire/mqtt/pubrec.h"
#include "wire/mqtt/pubrel.h"
#include "wire/mqtt/subscribe.h"
#include "wire/mqtt/unsubscribe.h"

enum {
    ACK_BYTES = 8,
    HEAD_BYTES = MQTT_FIXED_MAX + 2, /* what goes before a body whose size is known */
    OUTPUT_RESERVE = 1024,           /* kept free for acknowledgements, beyond output_max */
    ID_BITMAP_BYTES = 65536 / 8,
    QOS_MAX = 2
};

enum state { CONNECTING, OPEN, CLOSED };

enum op_kind { OP_NONE, OP_QOS1, OP_QOS2, OP_QOS2_RELEASED, OP_SUBSCRIBE, OP_UNSUBSCRIBE };

/* One operation of ours. Lives in the slot that its id selects, so that ids are found at once. */
struct op {
    uint16_t id;
    uint16_t n_filters;
    enum op_kind kind;
};

struct mqtt_client {
    enum state state;
    enum mqtt_version version;
    bool clean_start;
    bool ping_open; /* a PINGREQ without its PINGRESP */
    bool has_retain;
    uint8_t qos_max;
    uint16_t last_id;
    uint16_t receive_max, n_receiving; /* PUBLISHes with QoS > 0 towards us: allowed, open */
    uint16_t server_receive_max, n_sending;
    uint16_t server_alias_max;
    uint16_t window, n_open;
    uint32_t packet_max, server_packet_max, output_max, answer_ms, keep_alive_s;
    uint64_t sent_at_ms;  /* last packet of ours */
    uint64_t asked_at_ms; /* CONNECT or PINGREQ */
    uint32_t n_ops;       /* slots, a power of two over window */
    struct op *ops;
    uint8_t *received; /* QoS 2 ids of the server between PUBLISH and PUBREL; NULL until one came */
    struct mqtt_wire_limits wire;
    struct buf out;
    size_t out_at; /* bytes of out that have left */
};

static bool is_v5(const struct mqtt_client *e)
{
    return e->version == MQTT_V5;
}

/* ---- output ---- */

static size_t waiting(const struct mqtt_client *e)
{
    return e->out.n - e->out_at;
}

/* Room for `most` bytes at the end of the output; commit says how many were used. */
static enum err put_begin(struct mqtt_client *e, size_t most, size_t limit, struct wr *ret)
{
    uint8_t *dst;
    if (e->out_at > 0) {
        buf_drop(&e->out, e->out_at);
        e->out_at = 0;
    }
    TRY(buf_room(&e->out, most, limit, &dst));
    *ret = wr_into(dst, most);
    return OK;
}

static void put_end(struct mqtt_client *e, const struct wr *w, uint64_t now_ms)
{
    e->out.n += wr_slice(w).n;
    e->sent_at_ms = now_ms;
}

static enum err put_ack(struct mqtt_client *e, enum mqtt_type type, uint16_t id, uint8_t reason,
                        uint64_t now_ms)
{
    struct mqtt_ack m = {.packet_id = id, .reason = reason};
    struct wr w;
    TRY(put_begin(e, ACK_BYTES, (size_t)e->output_max + OUTPUT_RESERVE, &w));
    enum err err = type == MQTT_PUBACK   ? mqtt_puback_encode(&m, e->version, &w)
                   : type == MQTT_PUBREC ? mqtt_pubrec_encode(&m, e->version, &w)
                   : type == MQTT_PUBREL ? mqtt_pubrel_encode(&m, e->version, &w)
                                         : mqtt_pubcomp_encode(&m, e->version, &w);
    TRY(err);
    put_end(e, &w, now_ms);
    return OK;
}

static void say_disconnect(struct mqtt_client *e, const struct mqtt_disconnect *m)
{
    size_t most = ACK_BYTES + mqtt_props_size(&m->props);
    struct wr w;
    if (put_begin(e, most, e->output_max + OUTPUT_RESERVE + most, &w) == OK &&
        mqtt_disconnect_encode(m, e->version, &w) == OK) {
        put_end(e, &w, e->sent_at_ms);
    }
}

static void close_with(struct mqtt_client *e, enum mqtt_reason reason, bool say)
{
    struct mqtt_disconnect m = {.reason = (uint8_t)reason};
    if (say && e->state == OPEN) {
        say_disconnect(e, &m);
    }
    e->state = CLOSED;
}

void mqtt_client_disconnect(struct mqtt_client *e, enum mqtt_reason reason)
{
    close_with(e, reason, true);
}

void mqtt_client_disconnect_with(struct mqtt_client *e, enum mqtt_reason reason,
                                 const struct mqtt_props *props)
{
    struct mqtt_disconnect m = {.reason = (uint8_t)reason, .props = *props};
    if (e->state == OPEN) {
        say_disconnect(e, &m);
    }
    e->state = CLOSED;
}

bool mqtt_client_has_output(const struct mqtt_client *e)
{
    return waiting(e) > 0;
}

size_t mqtt_client_output(struct mqtt_client *e, uint8_t *dst, size_t cap)
{
    struct slice s = slice_head(slice_from(buf_slice(&e->out), e->out_at), cap);
    if (s.n > 0) {
        memcpy(dst, s.p, s.n);
        e->out_at += s.n;
    }
    if (e->out_at == e->out.n) {
        buf_clear(&e->out);
        e->out_at = 0;
    }
    return s.n;
}

/* ---- life ---- */

/* SPEC: MQTT5 3.1.2.11.3, 3.1.2.11.4: what a client of this version says about its own bounds */
static void announce(struct mqtt_connect *c, const struct mqtt_client_setup *setup)
{
    if (c->version == MQTT_V5) {
        mqtt_props_set_number(&c->props, MQTT_PROP_RECEIVE_MAXIMUM, setup->receive_max);
        mqtt_props_set_number(&c->props, MQTT_PROP_MAXIMUM_PACKET_SIZE, setup->packet_max);
    }
}

static size_t connect_size(const struct mqtt_connect *c)
{
    return 64 + c->client_id.n + c->username.n + c->password.n + c->will.topic.n +
           c->will.payload.n + mqtt_props_size(&c->props) + mqtt_props_size(&c->will.props);
}

enum err mqtt_client_new(const struct mqtt_client_setup *setup, uint64_t now_ms,
                         struct mqtt_client **ret)
{
    assert(setup->receive_max > 0 && setup->packet_max > 0);
    assert(setup->window > 0 && setup->window <= MQTT_CLIENT_WINDOW_MAX);
    AUTO(mqtt_client_autofree) struct mqtt_client *e = mem_zalloc(sizeof(*e));
    if (e == NULL) {
        return ERR_NOMEM;
    }
    struct mqtt_connect connect = setup->connect;
    announce(&connect, setup);
    e->version = connect.version;
    e->clean_start = connect.clean_start;
    e->keep_alive_s = connect.keep_alive_s;
    e->receive_max = setup->receive_max;
    e->window = setup->window;
    e->packet_max = setup->packet_max;
    e->output_max = setup->output_max;
    e->answer_ms = setup->answer_ms;
    e->server_receive_max = UINT16_MAX;
    e->server_packet_max = UINT32_MAX;
    e->has_retain = true;
    e->qos_max = QOS_MAX;
    e->asked_at_ms = now_ms;
    e->wire = mqtt_wire_limits_max();
    e->wire.topic_alias_max = 0; /* SPEC: MQTT5-3.1.2-26: we announce none */
    e->n_ops = 2;
    while (e->n_ops <= setup->window) {
        e->n_ops *= 2;
    }
    e->ops = mem_array(e->n_ops, sizeof(*e->ops));
    if (e->ops == NULL) {
        return ERR_NOMEM;
    }
    struct wr w;
    TRY(put_begin(e, connect_size(&connect), e->output_max, &w));
    enum err err = mqtt_connect_encode(&connect, &w);
    TRY(err == ERR_SPACE ? ERR_TOO_LARGE : err);
    put_end(e, &w, now_ms);
    *ret = TAKE(e);
    return OK;
}

struct mqtt_client *mqtt_client_free(struct mqtt_client *e)
{
    if (e != NULL) {
        buf_wipe(&e->out); /* a CONNECT holds the password */
        mem_free(e->ops);
        mem_free(e->received);
        mem_free(e);
    }
    return NULL;
}

/* ---- operations of ours ---- */

static struct op *op_slot(struct mqtt_client *e, uint16_t id)
{
    return &e->ops[id & (e->n_ops - 1)];
}

static struct op *op_find(struct mqtt_client *e, uint16_t id)
{
    struct op *o = op_slot(e, id);
    return o->kind != OP_NONE && o->id == id ? o : NULL;
}

/* The next id whose slot is free; there is one, because there are more slots than operations. */
static uint16_t next_id(struct mqtt_client *e)
{
    uint16_t id = e->last_id;
    do {
        id = id == UINT16_MAX ? 1 : (uint16_t)(id + 1);
    } while (op_slot(e, id)->kind != OP_NONE);
    return id;
}

static void op_add(struct mqtt_client *e, uint16_t id, enum op_kind kind, size_t n_filters)
{
    *op_slot(e, id) = (struct op){.id = id, .n_filters = (uint16_t)n_filters, .kind = kind};
    e->last_id = id;
    e->n_open++;
    if (kind == OP_QOS1 || kind == OP_QOS2) {
        e->n_sending++;
    }
}

static void op_remove(struct mqtt_client *e, struct op *o)
{
    if (o->kind != OP_SUBSCRIBE && o->kind != OP_UNSUBSCRIBE) {
        e->n_sending--;
    }
    o->kind = OP_NONE;
    e->n_open--;
}

bool mqtt_client_can_publish(const struct mqtt_client *e, uint8_t qos)
{
    return e->state == OPEN &&
           (qos == 0 || (e->n_open < e->window && e->n_sending < e->server_receive_max));
}

/* Room for a packet of ours that takes size bytes. */
static enum err packet_begin(struct mqtt_client *e, size_t size, struct wr *ret)
{
    if (size > e->server_packet_max || size > e->output_max) {
        return ERR_TOO_LARGE; /* SPEC: MQTT5-3.2.2-15 */
    }
    if (size > e->output_max - (waiting(e) < e->output_max ? waiting(e) : e->output_max)) {
        return ERR_AGAIN;
    }
    return put_begin(e, size, (size_t)e->output_max + OUTPUT_RESERVE, ret);
}

enum err mqtt_client_publish(struct mqtt_client *e, const struct mqtt_publish *m, uint64_t now_ms,
                             uint16_t *ret_id)
{
    if (e->state != OPEN) {
        return ERR_PROTOCOL;
    }
    if (m->qos > e->qos_max || (m->retain && !e->has_retain)) {
        return ERR_UNSUPPORTED; /* SPEC: MQTT5-3.2.2-11, MQTT5-3.2.2-14 */
    }
    if (mqtt_props_number(&m->props, MQTT_PROP_TOPIC_ALIAS, 0) > e->server_alias_max) {
        return ERR_UNSUPPORTED; /* none at all when the server says nothing */
    }
    if (!mqtt_client_can_publish(e, m->qos)) {
        return ERR_AGAIN; /* SPEC: MQTT5-3.3.4-7 */
    }
    struct mqtt_publish out = *m;
    out.packet_id = m->qos > 0 ? next_id(e) : 0;
    size_t props_n = is_v5(e) ? mqtt_props_size(&m->props) : 0;
    size_t body_n = 2 + m->topic.n + (m->qos > 0 ? 2 : 0) + props_n + m->payload.n;
    struct wr w;
    TRY(packet_begin(e, mqtt_packet_size(body_n), &w));
    TRY(mqtt_publish_encode(&out, e->version, &w));
    put_end(e, &w, now_ms);
    if (m->qos > 0) {
        op_add(e, out.packet_id, m->qos == 1 ? OP_QOS1 : OP_QOS2, 0);
    }
    *ret_id = out.packet_id;
    return OK;
}

static enum err ask(struct mqtt_client *e, enum op_kind kind, struct slice list, size_t n_filters,
                    const struct mqtt_props *props, uint64_t now_ms, uint16_t *ret_id)
{
    if (e->state != OPEN) {
        return ERR_PROTOCOL;
    }
    if (e->n_open >= e->window) {
        return ERR_AGAIN;
    }
    uint16_t id = next_id(e);
    size_t props_n = props != NULL ? mqtt_props_size(props) : 1;
    struct wr w;
    TRY(packet_begin(e, HEAD_BYTES + props_n + list.n, &w));
    if (kind == OP_SUBSCRIBE) {
        struct mqtt_subscribe m = {.packet_id = id, .list = list, .n_filters = n_filters};
        m.props = props != NULL ? *props : m.props;
        TRY(mqtt_subscribe_encode(&m, e->version, &w));
    } else {
        struct mqtt_unsubscribe m = {.packet_id = id, .list = list, .n_filters = n_filters};
        m.props = props != NULL ? *props : m.props;
        TRY(mqtt_unsubscribe_encode(&m, e->version, &w));
    }
    put_end(e, &w, now_ms);
    op_add(e, id, kind, n_filters);
    *ret_id = id;
    return OK;
}

enum err mqtt_client_subscribe(struct mqtt_client *e, struct slice list, size_t n_filters,
                               const struct mqtt_props *props, uint64_t now_ms, uint16_t *ret_id)
{
    return ask(e, OP_SUBSCRIBE, list, n_filters, props, now_ms, ret_id);
}

enum err mqtt_client_unsubscribe(struct mqtt_client *e, struct slice list, size_t n_filters,
                                 const struct mqtt_props *props, uint64_t now_ms, uint16_t *ret_id)
{
    return ask(e, OP_UNSUBSCRIBE, list, n_filters, props, now_ms, ret_id);
}

/* ---- messages towards us ---- */

static bool is_received(const struct mqtt_client *e, uint16_t id)
{
    return e->received != NULL && (e->received[id / 8] >> (id % 8) & 1) != 0;
}

static void set_received(struct mqtt_client *e, uint16_t id, bool on)
{
    uint8_t bit = (uint8_t)(1U << (id % 8));
    e->received[id / 8] = (uint8_t)(on ? e->received[id / 8] | bit : e->received[id / 8] & ~bit);
}

enum err mqtt_client_accept(struct mqtt_client *e, const struct mqtt_publish *m, uint64_t now_ms)
{
    if (m->qos == 0 || e->state != OPEN) {
        return OK;
    }
    if (m->qos == 1) {
        if (e->n_receiving == 0) {
            return ERR_PROTOCOL;
        }
        TRY(put_ack(e, MQTT_PUBACK, m->packet_id, 0, now_ms));
        e->n_receiving--;
        return OK;
    }
    return is_received(e, m->packet_id) ? put_ack(e, MQTT_PUBREC, m->packet_id, 0, now_ms)
                                        : ERR_PROTOCOL;
}

static enum err fault_set(struct mqtt_fault *fault, enum err err, enum mqtt_reason reason)
{
    *fault = (struct mqtt_fault){.err = err, .reason = (uint8_t)reason};
    return err;
}

/* What a handler may give beside the errors of its decoder: OK with an event, ERR_AGAIN without
 * one, ERR_NOMEM. */
struct taken {
    const struct mqtt_input *in;
    uint64_t now_ms;
    struct mqtt_fault *fault;
    struct mqtt_client_event *ev;
};

static enum err broken(const struct taken *t, enum mqtt_reason reason)
{
    return fault_set(t->fault, ERR_PROTOCOL, reason);
}

static enum err on_connack(struct mqtt_client *e, const struct taken *t)
{
    struct mqtt_connack *m = &t->ev->connack;
    t->ev->kind = MQTT_CLIENT_CONNACK;
    TRY(mqtt_connack_decode(t->in, t->fault, m));
    if (m->code != 0) {
        e->state = CLOSED;
        return OK;
    }
    if (m->session_present && e->clean_start) {
        return broken(t, MQTT_PROTOCOL_ERROR); /* SPEC: MQTT5-3.2.2-4 */
    }
    uint32_t keep_alive_s =
        mqtt_props_number(&m->props, MQTT_PROP_SERVER_KEEP_ALIVE, e->keep_alive_s);
    e->keep_alive_s = keep_alive_s; /* SPEC: MQTT5-3.1.2-21 */
    e->server_receive_max =
        (uint16_t)mqtt_props_number(&m->props, MQTT_PROP_RECEIVE_MAXIMUM, UINT16_MAX);
    e->server_packet_max = mqtt_props_number(&m->props, MQTT_PROP_MAXIMUM_PACKET_SIZE, UINT32_MAX);
    e->server_alias_max = (uint16_t)mqtt_props_number(&m->props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, 0);
    e->qos_max = (uint8_t)mqtt_props_number(&m->props, MQTT_PROP_MAXIMUM_QOS, QOS_MAX);
    e->has_retain = mqtt_props_number(&m->props, MQTT_PROP_RETAIN_AVAILABLE, 1) != 0;
    e->state = OPEN;
    return OK;
}

static enum err receive_open(struct mqtt_client *e, const struct taken *t)
{
    if (e->n_receiving >= e->receive_max && is_v5(e)) {
        return broken(t, MQTT_RECEIVE_MAXIMUM_EXCEEDED); /* SPEC: MQTT5-3.3.4-9 */
    }
    if (e->n_receiving < UINT16_MAX) {
        e->n_receiving++;
    }
    return OK;
}

static enum err on_publish(struct mqtt_client *e, const struct taken *t)
{
    struct mqtt_publish *m = &t->ev->publish;
    t->ev->kind = MQTT_CLIENT_PUBLISH;
    TRY(mqtt_publish_decode(t->in, t->fault, m));
    if (m->qos == 1) {
        TRY(receive_open(e, t));
    }
    if (m->qos == 2) {
        if (is_received(e, m->packet_id)) {
            /* SPEC: MQTT5-4.3.3-10: the same message again; the owner has it already */
            TRY(put_ack(e, MQTT_PUBREC, m->packet_id, 0, t->now_ms));
            return ERR_AGAIN;
        }
        if (e->received == NULL && (e->received = mem_zalloc(ID_BITMAP_BYTES)) == NULL) {
            return ERR_NOMEM;
        }
        TRY(receive_open(e, t));
        set_received(e, m->packet_id, true);
    }
    return OK;
}

static enum err on_pubrel(struct mqtt_client *e, const struct taken *t)
{
    struct mqtt_ack m;
    TRY(mqtt_pubrel_decode(t->in, t->fault, &m));
    bool known = is_received(e, m.packet_id);
    TRY(put_ack(e, MQTT_PUBCOMP, m.packet_id, known ? 0 : MQTT_PACKET_ID_NOT_FOUND, t->now_ms));
    if (known) {
        set_received(e, m.packet_id, false);
        e->n_receiving--;
    }
    return ERR_AGAIN;
}

static enum err published(struct mqtt_client *e, const struct taken *t, struct op *o)
{
    t->ev->kind = MQTT_CLIENT_PUBLISHED;
    t->ev->id = o->id;
    t->ev->reason = t->ev->ack.reason;
    op_remove(e, o);
    return OK;
}

/* PUBACK and PUBCOMP for an id that is not open are passed over: a server may say again what was
 * lost. The answer of another handshake is an error. */
static enum err on_puback(struct mqtt_client *e, const struct taken *t)
{
    TRY(mqtt_puback_decode(t->in, t->fault, &t->ev->ack));
    struct op *o = op_find(e, t->ev->ack.packet_id);
    if (o == NULL) {
        return ERR_AGAIN;
    }
    return o->kind == OP_QOS1 ? published(e, t, o) : broken(t, MQTT_PROTOCOL_ERROR);
}

static enum err on_pubrec(struct mqtt_client *e, const struct taken *t)
{
    TRY(mqtt_pubrec_decode(t->in, t->fault, &t->ev->ack));
    const struct mqtt_ack *m = &t->ev->ack;
    struct op *o = op_find(e, m->packet_id);
    if (o != NULL && o->kind != OP_QOS2 && o->kind != OP_QOS2_RELEASED) {
        return broken(t, MQTT_PROTOCOL_ERROR);
    }
    if (m->reason >= 0x80) {
        return o != NULL ? published(e, t, o) : ERR_AGAIN; /* SPEC: MQTT5-4.3.3-4: no PUBREL */
    }
    TRY(put_ack(e, MQTT_PUBREL, m->packet_id, o != NULL ? 0 : MQTT_PACKET_ID_NOT_FOUND, t->now_ms));
    if (o != NULL) {
        o->kind = OP_QOS2_RELEASED;
    }
    return ERR_AGAIN;
}

static enum err on_pubcomp(struct mqtt_client *e, const struct taken *t)
{
    TRY(mqtt_pubcomp_decode(t->in, t->fault, &t->ev->ack));
    struct op *o = op_find(e, t->ev->ack.packet_id);
    if (o == NULL) {
        return ERR_AGAIN;
    }
    return o->kind == OP_QOS2_RELEASED ? published(e, t, o) : broken(t, MQTT_PROTOCOL_ERROR);
}

static enum err on_suback(struct mqtt_client *e, const struct taken *t)
{
    t->ev->kind = MQTT_CLIENT_SUBACK;
    TRY(mqtt_suback_decode(t->in, t->fault, &t->ev->suback));
    struct op *o = op_find(e, t->ev->suback.packet_id);
    if (o == NULL || o->kind != OP_SUBSCRIBE || t->ev->suback.codes.n != o->n_filters) {
        return broken(t, MQTT_PROTOCOL_ERROR); /* SPEC: MQTT-3.9.3-1 */
    }
    t->ev->id = o->id;
    op_remove(e, o);
    return OK;
}

static enum err on_unsuback(struct mqtt_client *e, const struct taken *t)
{
    t->ev->kind = MQTT_CLIENT_UNSUBACK;
    TRY(mqtt_unsuback_decode(t->in, t->fault, &t->ev->unsuback));
    struct op *o = op_find(e, t->ev->unsuback.packet_id);
    bool fits = o != NULL && o->kind == OP_UNSUBSCRIBE &&
                (!is_v5(e) || t->ev->unsuback.codes.n == o->n_filters);
    if (!fits) {
        return broken(t, MQTT_PROTOCOL_ERROR); /* SPEC: MQTT5-3.11.3-1 */
    }
    t->ev->id = o->id;
    op_remove(e, o);
    return OK;
}

static enum err on_open(struct mqtt_client *e, enum mqtt_type type, const struct taken *t)
{
    switch (type) {
    case MQTT_PUBLISH:
        return on_publish(e, t);
    case MQTT_PUBACK:
        return on_puback(e, t);
    case MQTT_PUBREC:
        return on_pubrec(e, t);
    case MQTT_PUBREL:
        return on_pubrel(e, t);
    case MQTT_PUBCOMP:
        return on_pubcomp(e, t);
    case MQTT_SUBACK:
        return on_suback(e, t);
    case MQTT_UNSUBACK:
        return on_unsuback(e, t);
    case MQTT_PINGRESP:
        TRY(mqtt_ping_decode(t->in, t->fault));
        e->ping_open = false;
        return ERR_AGAIN;
    case MQTT_DISCONNECT:
        if (!is_v5(e)) {
            break; /* SPEC: MQTT311 3.14: from clients only */
        }
        t->ev->kind = MQTT_CLIENT_DISCONNECT;
        TRY(mqtt_disconnect_decode(t->in, t->fault, &t->ev->disconnect));
        e->state = CLOSED;
        return OK;
    case MQTT_CONNACK: /* a second one */
    case MQTT_CONNECT:
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
    case MQTT_PINGREQ:
    case MQTT_AUTH: /* SPEC: MQTT5-4.12.0-6: we began no enhanced authentication */
        break;
    }
    return broken(t, MQTT_PROTOCOL_ERROR);
}

enum err mqtt_client_next(struct mqtt_client *e, struct slice *in, uint64_t now_ms,
                          struct mqtt_fault *fault, struct mqtt_client_event *ret)
{
    *fault = (struct mqtt_fault){0};
    while (e->state != CLOSED && waiting(e) <= e->output_max) {
        struct mqtt_fixed fixed;
        struct mqtt_input input = {
            .version = e->version, .sender = MQTT_FROM_SERVER, .limits = &e->wire};
        struct mqtt_client_event ev = {0};
        struct taken t = {.in = &input, .now_ms = now_ms, .fault = fault, .ev = &ev};
        enum err err = mqtt_packet_cut(in, e->packet_max, fault, &fixed, &input.body);
        if (err == ERR_AGAIN) {
            return ERR_AGAIN;
        }
        if (err == OK) {
            input.flags = fixed.flags;
            err = e->state == OPEN             ? on_open(e, fixed.type, &t)
                  : fixed.type == MQTT_CONNACK ? on_connack(e, &t)
                                               : broken(&t, MQTT_PROTOCOL_ERROR);
        }
        if (err == OK) {
            *ret = ev;
            return OK;
        }
        if (err != ERR_AGAIN) {
            /* A fault of the server's is told; for our own lack of memory there is no more room. */
            close_with(e, (enum mqtt_reason)fault->reason, err != ERR_NOMEM);
            return err;
        }
    }
    return ERR_AGAIN;
}

/* ---- time, queries ---- */

uint64_t mqtt_client_deadline(const struct mqtt_client *e)
{
    bool is_asking = e->state == CONNECTING || (e->state == OPEN && e->ping_open);
    uint64_t answer = is_asking && e->answer_ms > 0 ? e->asked_at_ms + e->answer_ms : UINT64_MAX;
    uint64_t ping = e->state == OPEN && e->keep_alive_s > 0 && !e->ping_open
                        ? e->sent_at_ms + (uint64_t)e->keep_alive_s * 1000
                        : UINT64_MAX;
    return answer < ping ? answer : ping;
}

enum err mqtt_client_tick(struct mqtt_client *e, uint64_t now_ms)
{
    if (now_ms < mqtt_client_deadline(e)) {
        return OK;
    }
    if (e->state == CONNECTING || e->ping_open) {
        close_with(e, MQTT_UNSPECIFIED_ERROR, false);
        return ERR_TIMEOUT;
    }
    struct wr w;
    enum err err = put_begin(e, ACK_BYTES, (size_t)e->output_max + OUTPUT_RESERVE, &w);
    err = err == OK ? mqtt_pingreq_encode(&w) : err;
    if (err != OK) {
        e->state = CLOSED;
        return err;
    }
    put_end(e, &w, now_ms);
    e->ping_open = true;
    e->asked_at_ms = now_ms;
    return OK;
}

bool mqtt_client_is_open(const struct mqtt_client *e)
{
    return e->state == OPEN;
}

bool mqtt_client_is_closed(const struct mqtt_client *e)
{
    return e->state == CLOSED;
}

size_t mqtt_client_n_open(const struct mqtt_client *e)
{
    return e->n_open;
}

enum mqtt_version mqtt_client_version(const struct mqtt_client *e)
{
    return e->version;
}
