#include "engine/mqtt_gate.h"

#include <assert.h>

#include "base/buf.h"
#include "base/mem.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/fixed.h"

enum gate_state { GATE_WAIT_CONNECT, GATE_ASKED, GATE_REFUSED };

struct mqtt_gate {
    enum gate_state state;
    enum mqtt_version version; /* to answer in */
    const struct mqtt_wire_limits *wire;
    size_t packet_max;
    struct buf packet; /* the CONNECT; `connect` borrows from it. Holds a password: wiped */
    struct mqtt_connect connect;
    uint8_t out[8];
    size_t n_out;
};

MUST_USE enum err mqtt_gate_new(const struct mqtt_wire_limits *wire, size_t packet_max,
                                struct mqtt_gate **ret)
{
    struct mqtt_gate *g = mem_zalloc(sizeof(*g));
    if (g == NULL) {
        return ERR_NOMEM;
    }
    g->wire = wire;
    g->packet_max = packet_max;
    g->version = MQTT_V5;
    *ret = g;
    return OK;
}

struct mqtt_gate *mqtt_gate_free(struct mqtt_gate *g)
{
    if (g != NULL) {
        buf_wipe(&g->packet);
        mem_free(g);
    }
    return NULL;
}

void mqtt_gate_refuse(struct mqtt_gate *g, enum mqtt_reason reason)
{
    struct wr w = wr_into(g->out, sizeof(g->out));
    struct mqtt_connack connack = {.code = (uint8_t)reason};
    g->state = GATE_REFUSED;
    g->n_out = 0;
    if (mqtt_connack_encode(&connack, g->version, &w) == OK) {
        g->n_out = wr_slice(&w).n;
    }
}

/* What a stranger who got the CONNECT wrong is told. SPEC: MQTT5 4.13.1: a CONNACK may be sent, and
 * only when the protocol level is known to be one that has it. */
static void refuse_fault(struct mqtt_gate *g, const struct mqtt_fault *fault)
{
    if (fault->err == ERR_UNSUPPORTED) {
        g->version = fault->level >= MQTT_V5 ? MQTT_V5 : MQTT_V311; /* SPEC: MQTT-3.1.2-2 */
        mqtt_gate_refuse(g, MQTT_UNSUPPORTED_VERSION);
    } else if (fault->level == MQTT_V5) {
        g->version = MQTT_V5;
        mqtt_gate_refuse(g, (enum mqtt_reason)fault->reason);
    } else if (fault->level == MQTT_V311 && fault->reason == MQTT_CLIENT_ID_INVALID) {
        g->version = MQTT_V311;
        mqtt_gate_refuse(g, MQTT_CLIENT_ID_INVALID); /* SPEC: MQTT-3.1.3-8 */
    } else {
        g->state = GATE_REFUSED; /* SPEC: MQTT-3.1.4-1: close without a word */
    }
}

static enum err gate_decode(struct mqtt_gate *g, struct slice *in, struct mqtt_fault *fault)
{
    struct slice rest = *in;
    struct mqtt_fixed fixed;
    struct slice body;
    /* The type is judged from the first byte: a stranger who begins with anything but CONNECT is
     * not waited for. */
    if (in->n > 0 && in->p[0] >> 4 != MQTT_CONNECT) {
        *fault = (struct mqtt_fault){.err = ERR_PROTOCOL, .reason = MQTT_PROTOCOL_ERROR};
        return ERR_PROTOCOL; /* SPEC: MQTT-3.1.0-1 */
    }
    TRY(mqtt_packet_cut(&rest, g->packet_max, fault, &fixed, &body));
    enum err e = buf_append(&g->packet, body, g->packet_max);
    if (e != OK) {
        *fault = (struct mqtt_fault){.err = e, .reason = MQTT_SERVER_BUSY};
        return e;
    }
    struct mqtt_input input = {.body = buf_slice(&g->packet),
                               .flags = fixed.flags,
                               .version = MQTT_V5,
                               .sender = MQTT_FROM_CLIENT,
                               .limits = g->wire};
    TRY(mqtt_connect_decode(&input, fault, &g->connect));
    *in = rest;
    return OK;
}

MUST_USE enum err mqtt_gate_next(struct mqtt_gate *g, struct slice *in, struct mqtt_fault *fault)
{
    assert(g->state == GATE_WAIT_CONNECT);
    enum err e = gate_decode(g, in, fault);
    if (e == OK) {
        g->state = GATE_ASKED;
        g->version = g->connect.version;
    } else if (e != ERR_AGAIN) {
        refuse_fault(g, fault);
    }
    return e;
}

const struct mqtt_connect *mqtt_gate_connect(const struct mqtt_gate *g)
{
    assert(g->packet.n > 0);
    return &g->connect;
}

size_t mqtt_gate_output(struct mqtt_gate *g, uint8_t *dst, size_t cap)
{
    size_t n = g->n_out;
    if (n == 0 || n > cap) {
        return 0;
    }
    memcpy(dst, g->out, n);
    g->n_out = 0;
    return n;
}
