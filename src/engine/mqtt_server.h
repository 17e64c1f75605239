/*
 * mqtt_server - the inner gate: one MQTT connection after CONNACK, server side, without I/O.
 *
 * Cuts packets into events, keeps the order of acknowledgements, the client's flow control and the
 * keep-alive. Owns no session and decides nothing: what an event means is the broker's; publish and
 * subscribe decisions are direct calls there. An event that must be acknowledged carries an `ask`;
 * mqtt_server_answer closes it, at once or when the journal has committed. Acknowledgements leave
 * in the order of their asks. SPEC: MQTT-4.6.0-2 to 4.
 */
#ifndef ENGINE_MQTT_SERVER_H
#define ENGINE_MQTT_SERVER_H

#include "base/scope.h"
#include "base/wr.h"
#include "core/lending.h"
#include "core/msg.h"
#include "core/session.h"
#include "wire/mqtt/ack.h"
#include "wire/mqtt/auth.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/disconnect.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/reason.h"
#include "wire/mqtt/subscribe.h"
#include "wire/mqtt/unsubscribe.h"

struct mqtt_server;

/* What the two sides agreed on in CONNECT and CONNACK. */
struct mqtt_terms {
    uint32_t packet_max;        /* ours: largest packet accepted */
    uint32_t client_packet_max; /* theirs; UINT32_MAX = no limit */
    uint16_t receive_max;       /* ours: PUBLISHes with QoS > 0 the client may have open; not 0 */
    uint16_t client_receive_max;
    uint16_t client_alias_max; /* topic aliases we may give; 0: none */
    uint16_t keep_alive_s;     /* in force; 0 = never */
    enum mqtt_version version : 8;
    bool wants_reasons;      /* a refusal may say more than its code */
    const char *auth_method; /* that CONNECT named and we took; borrowed for life; NULL: none */
    const struct mqtt_wire_limits *wire; /* ours; borrowed for life */
};

enum mqtt_event_kind {
    MQTT_EVENT_PUBLISH,
    MQTT_EVENT_PUBACK,
    MQTT_EVENT_PUBREC,
    MQTT_EVENT_PUBREL,
    MQTT_EVENT_PUBCOMP,
    MQTT_EVENT_SUBSCRIBE,
    MQTT_EVENT_UNSUBSCRIBE,
    MQTT_EVENT_DISCONNECT,
    MQTT_EVENT_AUTH /* of the method in force: 0x19 begins, 0x18 goes on */
};

struct mqtt_event {
    enum mqtt_event_kind kind;
    uint32_t ask; /* PUBLISH with QoS > 0, PUBREL: what mqtt_server_answer closes; else 0 */
    union {
        struct mqtt_publish publish;
        struct mqtt_ack ack;
        struct mqtt_subscribe subscribe;
        struct mqtt_unsubscribe unsubscribe;
        struct mqtt_disconnect disconnect;
        struct mqtt_auth auth;
    };
};

/* mqtt_server_new - the connection is open; the CONNACK (its properties from terms, plus `connack`
 * = what the broker adds) waits in the output. ERR_TOO_LARGE: the client does not accept a packet
 * as large as that; ERR_NOMEM. */
struct mqtt_connack;
MUST_USE enum err mqtt_server_new(const struct mqtt_terms *terms,
                                  const struct mqtt_connack *connack, uint64_t now_ms,
                                  struct mqtt_server **ret);
struct mqtt_server *mqtt_server_free(struct mqtt_server *e);
AUTOFREE(mqtt_server, mqtt_server_free)

/*
 * mqtt_server_next - cut one packet from *in
 *
 * in     in/out, borrows; slices in *ret borrow from it until the next call.
 * fault  filled on the errors of the peer.
 *
 * OK          *ret is an event. PINGREQ is answered inside and gives no event. A PUBLISH has its
 *             topic, also when it came as an alias
 * ERR_AGAIN   no whole packet there, or the engine is blocked: too many open asks of a 3.1 or 3.1.1
 * client, or an output nobody reads (mqtt_server_is_blocked); *in is unchanged other       the peer
 * is wrong: the engine is closing, a DISCONNECT with the reason waits in the output where the
 *             version has one. SPEC: MQTT5-4.13.1-1
 */
MUST_USE enum err mqtt_server_next(struct mqtt_server *e, struct slice *in, uint64_t now_ms,
                                   struct mqtt_fault *fault, struct mqtt_event *ret);
bool mqtt_server_is_blocked(const struct mqtt_server *e);
/* mqtt_server_awaits_answer - blocked by us: no packet is taken before mqtt_server_answer. */
bool mqtt_server_awaits_answer(const struct mqtt_server *e);

/* mqtt_server_answer - closes an ask: PUBACK, PUBREC or PUBCOMP with this reason, behind the
 * earlier asks. */
void mqtt_server_answer(struct mqtt_server *e, uint32_t ask, enum mqtt_reason reason);
/* mqtt_server_auth - AUTH of the method in force: 0x18, or 0x00 when the client has proven itself
 * again. ERR_NOMEM. */
MUST_USE enum err mqtt_server_auth(struct mqtt_server *e, enum mqtt_reason reason,
                                   struct slice data);
/* Answers without an ask. ERR_NOMEM; ERR_TOO_LARGE: the client does not accept such a packet, the
 * engine is closing with 0x95; ERR_UNSUPPORTED: a refusal for a client of MQTT 3.1, which has no
 * word for it, the engine is closing without SUBACK. codes: one MQTT 5 reason for each filter. */
MUST_USE enum err mqtt_server_suback(struct mqtt_server *e, uint16_t packet_id, struct slice codes);
MUST_USE enum err mqtt_server_unsuback(struct mqtt_server *e, uint16_t packet_id,
                                       struct slice codes);
MUST_USE enum err mqtt_server_pubrel(struct mqtt_server *e, uint16_t packet_id,
                                     enum mqtt_reason reason);
/* mqtt_server_close - no more events; a DISCONNECT with this reason is the last output (MQTT 5;
 * nothing before it). */
void mqtt_server_close(struct mqtt_server *e, enum mqtt_reason reason);
/* mqtt_server_refer - the same, and says which server to use instead, if that fits; empty: none. */
void mqtt_server_refer(struct mqtt_server *e, enum mqtt_reason reason, struct slice reference);
bool mqtt_server_is_closing(const struct mqtt_server *e);

/* mqtt_server_has_output, mqtt_server_output - copies as much as fits of what waits (everything but
 * PUBLISH) into dst; resumable. */
bool mqtt_server_has_output(const struct mqtt_server *e);
size_t mqtt_server_output(struct mqtt_server *e, uint8_t *dst, size_t cap);

/*
 * mqtt_server_deliver - write one PUBLISH to the client, head and payload
 *
 * d      its packet id is assigned when qos > 0.
 * w      the worker's send buffer; unchanged on every error.
 * lending  may take the payload instead (its head is then the end of w); NULL: it is copied.
 *
 * ERR_SPACE      it does not fit into what is left of w
 * ERR_TOO_LARGE  over the client's maximum packet size: never send it. SPEC: MQTT5-3.1.2-24,
 * MQTT5-3.1.2-25
 */
MUST_USE enum err mqtt_server_deliver(struct mqtt_server *e, const struct delivery *d,
                                      uint64_t now_ms, struct wr *w, struct lending *lending);

const struct mqtt_terms *mqtt_server_terms(const struct mqtt_server *e);
/* mqtt_server_deadline - when mqtt_server_tick must be called; UINT64_MAX: never. */
uint64_t mqtt_server_deadline(const struct mqtt_server *e);
/* mqtt_server_listen - until now nobody listened to the client: its silence counts from here on. */
void mqtt_server_listen(struct mqtt_server *e, uint64_t now_ms);
/* mqtt_server_tick - ERR_TIMEOUT when the keep-alive ran out; the engine is closing with 0x8D then.
 * SPEC: MQTT5-3.1.2-22, MQTT3-3.1.2-24 */
MUST_USE enum err mqtt_server_tick(struct mqtt_server *e, uint64_t now_ms);

#endif
