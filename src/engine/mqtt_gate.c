#include "engine/mqtt_gate.h"

#include <assert.h>

#include "base/buf.h"
#include "base/mem.h"
#include "engine/mqtt_advice.h"
#include "wire/mqtt/auth.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/fixed.h"

/* A challenge is data of ours within SCRAM_ANSWER_MAX and the name of a method. */
enum { GATE_AUTH_SLACK = 8, GATE_CHALLENGE_MAX = 2048 };

enum gate_state { GATE_WAIT_CONNECT, GATE_ASKED, GATE_CHALLENGED, GATE_REFUSED };

struct mqtt_gate {
    enum gate_state state;
    enum mqtt_version version;    /* to answer in */
    struct mqtt_wire_limits wire; /* of when the connection came */
    size_t packet_max;
    bool takes_v31;
    struct buf packet; /* the CONNECT; `connect` borrows from it. Holds a password: wiped */
    struct mqtt_connect connect;
    struct buf conclusion;            /* proves that we know the client's password */
    struct buf challenge;             /* waits to leave */
    char advice[MQTT_ADVICE_MAX + 1]; /* empty: the fixed one */
    uint8_t out[24 + MQTT_ADVICE_MAX + MQTT_REFERENCE_MAX];
    size_t n_out;
};

MUST_USE enum err mqtt_gate_new(const struct mqtt_wire_limits *wire, size_t packet_max,
                                struct mqtt_gate **ret)
{
    struct mqtt_gate *g = mem_zalloc(sizeof(*g));
    if (g == NULL) {
        return ERR_NOMEM;
    }
    g->wire = *wire;
    g->packet_max = packet_max;
    g->version = MQTT_V5;
    *ret = g;
    return OK;
}

void mqtt_gate_take_v31(struct mqtt_gate *g)
{
    g->takes_v31 = true;
}

struct mqtt_gate *mqtt_gate_free(struct mqtt_gate *g)
{
    if (g != NULL) {
        buf_wipe(&g->packet);
        buf_wipe(&g->conclusion);
        buf_done(&g->challenge);
        mem_free(g);
    }
    return NULL;
}

/* The largest packet the client takes, as its CONNECT says. */
static uint32_t packet_most(const struct mqtt_gate *g)
{
    return mqtt_props_number(&g->connect.props, MQTT_PROP_MAXIMUM_PACKET_SIZE, UINT32_MAX);
}

static bool put_connack(struct mqtt_gate *g, const struct mqtt_connack *connack, uint32_t most)
{
    struct wr w = wr_into(g->out, sizeof(g->out));
    bool fits = mqtt_connack_encode(connack, g->version, &w) == OK && w.at <= most;
    g->n_out = fits ? w.at : 0;
    return fits;
}

void mqtt_gate_advise(struct mqtt_gate *g, const char *text)
{
    (void)snprintf(g->advice, sizeof(g->advice), "%s", text);
}

void mqtt_gate_refer(struct mqtt_gate *g, enum mqtt_reason reason, struct slice reference)
{
    struct mqtt_connack connack = {.code = (uint8_t)reason};
    uint32_t most = UINT32_MAX;
    if (g->state == GATE_ASKED && g->version == MQTT_V5) { /* its wishes are known */
        const struct mqtt_props *wishes = &g->connect.props;
        most = packet_most(g);
        struct slice advice =
            g->advice[0] != '\0' ? slice_text(g->advice) : mqtt_advice((uint8_t)reason);
        if (mqtt_props_number(wishes, MQTT_PROP_REQUEST_PROBLEM_INFO, 1) != 0 && advice.n > 0) {
            mqtt_props_set_text(&connack.props, MQTT_PROP_REASON_STRING, advice);
        }
        if (reference.n > 0) {
            mqtt_props_set_text(&connack.props, MQTT_PROP_SERVER_REFERENCE, reference);
        }
    }
    g->state = GATE_REFUSED;
    if (!put_connack(g, &connack, most)) {
        mqtt_props_clear(&connack.props, MQTT_PROP_REASON_STRING); /* SPEC: MQTT5-3.2.2-19 */
        if (!put_connack(g, &connack, most)) {
            mqtt_props_clear(&connack.props, MQTT_PROP_SERVER_REFERENCE);
            (void)put_connack(g, &connack, most); /* SPEC: MQTT5-3.1.2-24: or nothing */
        }
    }
}

void mqtt_gate_refuse(struct mqtt_gate *g, enum mqtt_reason reason)
{
    mqtt_gate_refer(g, reason, (struct slice){0});
}

/* What a stranger who got the CONNECT wrong is told. SPEC: MQTT5 4.13.1: a CONNACK may be sent, and
 * only when the protocol level is known to be one that has it. */
static void refuse_fault(struct mqtt_gate *g, const struct mqtt_fault *fault)
{
    if (fault->err == ERR_UNSUPPORTED) {
        g->version =
            fault->level >= MQTT_V5 ? MQTT_V5 : MQTT_V311; /* SPEC: MQTT5-3.1.2-2, MQTT3-3.1.2-2 */
        mqtt_gate_refuse(g, MQTT_UNSUPPORTED_VERSION);
    } else if (fault->level == MQTT_V5) {
        g->version = MQTT_V5;
        mqtt_gate_refuse(g, (enum mqtt_reason)fault->reason);
    } else if ((fault->level == MQTT_V311 || fault->level == MQTT_V31) &&
               fault->reason == MQTT_CLIENT_ID_INVALID) {
        g->version = (enum mqtt_version)fault->level;
        mqtt_gate_refuse(g, MQTT_CLIENT_ID_INVALID); /* SPEC: MQTT5-3.1.3-8, MQTT3-3.1.3-8 */
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
                               .takes_v31 = g->takes_v31,
                               .limits = &g->wire};
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

struct slice mqtt_gate_client_id(const struct mqtt_gate *g)
{
    return g->connect.client_id;
}

/* ---- enhanced authentication ---- */

struct slice mqtt_gate_method(const struct mqtt_gate *g)
{
    return mqtt_props_text(&g->connect.props, MQTT_PROP_AUTH_METHOD);
}

MUST_USE enum err mqtt_gate_challenge(struct mqtt_gate *g, struct slice data)
{
    assert(g->state == GATE_ASKED && mqtt_gate_method(g).n > 0);
    struct mqtt_auth auth = {.reason = MQTT_CONTINUE_AUTHENTICATION};
    uint8_t *dst;
    mqtt_props_set_text(&auth.props, MQTT_PROP_AUTH_METHOD, mqtt_gate_method(g));
    mqtt_props_set_text(&auth.props, MQTT_PROP_AUTH_DATA, data);
    size_t most = mqtt_props_size(&auth.props) + GATE_AUTH_SLACK;
    TRY(buf_room(&g->challenge, most, GATE_CHALLENGE_MAX, &dst));
    struct wr w = wr_into(dst, most);
    TRY(mqtt_auth_encode(&auth, &w));
    if (w.at > packet_most(g)) {
        return ERR_TOO_LARGE; /* SPEC: MQTT5-3.1.2-24 */
    }
    g->challenge.n += wr_slice(&w).n;
    g->state = GATE_CHALLENGED;
    return OK;
}

bool mqtt_gate_is_challenged(const struct mqtt_gate *g)
{
    return g->state == GATE_CHALLENGED;
}

static enum err gate_answer(struct mqtt_gate *g, struct slice *in, struct mqtt_fault *fault,
                            struct slice *ret_data)
{
    struct slice rest = *in;
    struct mqtt_fixed fixed;
    struct mqtt_auth auth;
    struct mqtt_input input = {.version = MQTT_V5, .sender = MQTT_FROM_CLIENT, .limits = &g->wire};
    *fault = (struct mqtt_fault){.err = ERR_PROTOCOL, .reason = MQTT_PROTOCOL_ERROR};
    unsigned type = in->n > 0 ? in->p[0] >> 4 : MQTT_AUTH;
    if (type != MQTT_AUTH && type != MQTT_DISCONNECT) {
        return ERR_PROTOCOL; /* SPEC: MQTT5-3.1.2-30 */
    }
    TRY(mqtt_packet_cut(&rest, g->packet_max, fault, &fixed, &input.body));
    if (type == MQTT_DISCONNECT) {
        return ERR_CLOSED;
    }
    input.flags = fixed.flags;
    TRY(mqtt_auth_decode(&input, fault, &auth));
    *fault = (struct mqtt_fault){.err = ERR_PROTOCOL, .reason = MQTT_PROTOCOL_ERROR};
    if (auth.reason != MQTT_CONTINUE_AUTHENTICATION) {
        return ERR_PROTOCOL; /* SPEC: MQTT5-4.12.0-3 */
    }
    if (!slice_equal(mqtt_props_text(&auth.props, MQTT_PROP_AUTH_METHOD), mqtt_gate_method(g))) {
        return ERR_PROTOCOL; /* SPEC: MQTT5-4.12.0-5 */
    }
    *ret_data = mqtt_props_text(&auth.props, MQTT_PROP_AUTH_DATA);
    *in = rest;
    return OK;
}

MUST_USE enum err mqtt_gate_answer(struct mqtt_gate *g, struct slice *in, struct mqtt_fault *fault,
                                   struct slice *ret_data)
{
    assert(g->state == GATE_CHALLENGED);
    enum err e = gate_answer(g, in, fault, ret_data);
    if (e == OK) {
        g->state = GATE_ASKED;
    } else if (e == ERR_CLOSED) {
        g->state = GATE_REFUSED;
    } else if (e != ERR_AGAIN) {
        mqtt_gate_refuse(g, (enum mqtt_reason)fault->reason);
    }
    return e;
}

MUST_USE enum err mqtt_gate_conclude(struct mqtt_gate *g, struct slice data)
{
    buf_clear(&g->conclusion);
    return buf_append(&g->conclusion, data, GATE_CHALLENGE_MAX);
}

struct slice mqtt_gate_conclusion(const struct mqtt_gate *g)
{
    return buf_slice(&g->conclusion);
}

size_t mqtt_gate_output(struct mqtt_gate *g, uint8_t *dst, size_t cap)
{
    if (g->challenge.n > 0 && g->challenge.n <= cap) {
        size_t waiting = g->challenge.n;
        memcpy(dst, g->challenge.p, waiting);
        buf_done(&g->challenge);
        return waiting;
    }
    size_t n = g->n_out;
    if (n == 0 || n > cap) {
        return 0;
    }
    memcpy(dst, g->out, n);
    g->n_out = 0;
    return n;
}
