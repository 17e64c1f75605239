/*
 * mqtt_client - the client's side of one MQTT connection, 3.1.1 and 5, without I/O.
 *
 * Bytes and time go in, bytes and events come out. It does by itself: CONNECT, packet ids, the
 * three handshakes of QoS 1 and 2, flow control both ways, keep-alive. It keeps no message: what
 * was not acknowledged when the connection ends is known to the owner by the events that did not
 * come.
 *
 *   CONNECTING --CONNACK success--> OPEN --DISCONNECT either way, an error--> CLOSED
 *        +------CONNACK refusal, anything else, silence-----------------------> CLOSED
 *
 * A turn of the driver: mqtt_client_next until ERR_AGAIN, mqtt_client_tick when the deadline has
 * passed, then mqtt_client_output until it gives 0. SPEC: MQTT5 3.1, 4.3, 4.9.
 */
#ifndef ENGINE_MQTT_CLIENT_H
#define ENGINE_MQTT_CLIENT_H

#include "base/scope.h"
#include "wire/mqtt/ack.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/disconnect.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/reason.h"
#include "wire/mqtt/suback.h"
#include "wire/mqtt/unsuback.h"

struct mqtt_client;

enum { MQTT_CLIENT_WINDOW_MAX = 4096 };

struct mqtt_client_setup {
    /* Borrowed for mqtt_client_new. Receive maximum and maximum packet size are added in MQTT 5;
     * a topic alias maximum must not be there. */
    struct mqtt_connect connect;
    uint32_t packet_max;  /* bytes of the largest packet accepted */
    uint32_t output_max;  /* bytes that may wait to leave; a packet of ours must fit */
    uint32_t answer_ms;   /* how long CONNACK and PINGRESP may take; 0: for ever */
    uint16_t receive_max; /* PUBLISHes with QoS > 0 that may be open towards us; not 0 */
    uint16_t window;      /* our own operations that may be open, at most; 1 to the maximum above */
};

enum mqtt_client_event_kind {
    MQTT_CLIENT_CONNACK,    /* connack; a refusal closes the engine */
    MQTT_CLIENT_PUBLISH,    /* publish; with QoS > 0 answer with mqtt_client_accept */
    MQTT_CLIENT_PUBLISHED,  /* id, reason: the handshake of a PUBLISH of ours is over */
    MQTT_CLIENT_SUBACK,     /* id, suback: as many codes as filters were asked for */
    MQTT_CLIENT_UNSUBACK,   /* id, unsuback */
    MQTT_CLIENT_DISCONNECT, /* disconnect: the server ends the connection; the engine is closed */
};

struct mqtt_client_event {
    enum mqtt_client_event_kind kind;
    uint16_t id;    /* of our operation */
    uint8_t reason; /* PUBLISHED: MQTT 5 reason code; 0 in 3.1.1 */
    union {
        struct mqtt_connack connack;
        struct mqtt_publish publish;
        struct mqtt_ack ack; /* PUBLISHED: what ended it, for the reason string */
        struct mqtt_suback suback;
        struct mqtt_unsuback unsuback;
        struct mqtt_disconnect disconnect;
    };
};

/* mqtt_client_new - the CONNECT waits in the output. ERR_NOMEM; ERR_TOO_LARGE: the CONNECT has no
 * encoding or is over output_max. */
MUST_USE enum err mqtt_client_new(const struct mqtt_client_setup *setup, uint64_t now_ms,
                                  struct mqtt_client **ret);
struct mqtt_client *mqtt_client_free(struct mqtt_client *e);
AUTOFREE(mqtt_client, mqtt_client_free)

/*
 * mqtt_client_next - cut packets from *in until one is an event
 *
 * in     in/out, borrows; slices in *ret borrow from it until the next call.
 * fault  filled on the errors of the peer.
 *
 * OK         *ret is an event
 * ERR_AGAIN  no whole packet there, or the output is full: let it leave first; *in starts behind
 *            what was taken
 * ERR_NOMEM  the engine is closed
 * other      the server is wrong: the engine is closed, in MQTT 5 a DISCONNECT waits in the output.
 *            SPEC: MQTT5-4.13.1-1
 */
MUST_USE enum err mqtt_client_next(struct mqtt_client *e, struct slice *in, uint64_t now_ms,
                                   struct mqtt_fault *fault, struct mqtt_client_event *ret);

/*
 * mqtt_client_publish - sends a PUBLISH; m->packet_id is ignored
 *
 * ret_id  0 for QoS 0, which ends here; else PUBLISHED with this id follows
 *
 * ERR_AGAIN        the window (ours or the server's Receive Maximum) or the output is full
 * ERR_PROTOCOL     not open
 * ERR_TOO_LARGE    over the server's maximum packet size, or output_max
 * ERR_UNSUPPORTED  the server does not do this QoS, retained messages (SPEC: MQTT5-3.2.2-11), or so
 *                  high a topic alias
 * Nothing changed then. O(message).
 */
MUST_USE enum err mqtt_client_publish(struct mqtt_client *e, const struct mqtt_publish *m,
                                      uint64_t now_ms, uint16_t *ret_id);

/* mqtt_client_subscribe, mqtt_client_unsubscribe - list: n_filters entries as
 * mqtt_subscription_write or, to unsubscribe, wr_block16 wrote them; props may be NULL. Errors as
 * mqtt_client_publish. */
MUST_USE enum err mqtt_client_subscribe(struct mqtt_client *e, struct slice list, size_t n_filters,
                                        const struct mqtt_props *props, uint64_t now_ms,
                                        uint16_t *ret_id);
MUST_USE enum err mqtt_client_unsubscribe(struct mqtt_client *e, struct slice list,
                                          size_t n_filters, const struct mqtt_props *props,
                                          uint64_t now_ms, uint16_t *ret_id);

/* mqtt_client_accept - the owner has the message: PUBACK or PUBREC leaves. Nothing for QoS 0 or in
 * a closed engine. ERR_NOMEM, ERR_PROTOCOL: no such PUBLISH is open. SPEC: MQTT5-4.3.2-4 */
MUST_USE enum err mqtt_client_accept(struct mqtt_client *e, const struct mqtt_publish *m,
                                     uint64_t now_ms);

/* mqtt_client_disconnect - DISCONNECT is the last output; the engine is closed. 0 for an orderly
 * end, MQTT_DISCONNECT_WITH_WILL for one that publishes the will. Fine when closed. */
void mqtt_client_disconnect(struct mqtt_client *e, enum mqtt_reason reason);
/* mqtt_client_disconnect_with - the same with properties (borrowed; none in 3.1.1). */
void mqtt_client_disconnect_with(struct mqtt_client *e, enum mqtt_reason reason,
                                 const struct mqtt_props *props);

/* mqtt_client_output - copies as much as fits of what waits into dst; resumable. */
size_t mqtt_client_output(struct mqtt_client *e, uint8_t *dst, size_t cap);
bool mqtt_client_has_output(const struct mqtt_client *e);

/* Queries. */
bool mqtt_client_is_open(const struct mqtt_client *e);
bool mqtt_client_is_closed(const struct mqtt_client *e);
/* mqtt_client_n_open - operations of ours that were not answered yet. */
size_t mqtt_client_n_open(const struct mqtt_client *e);
/* mqtt_client_can_publish - the window has room for one more with this QoS. */
bool mqtt_client_can_publish(const struct mqtt_client *e, uint8_t qos);
enum mqtt_version mqtt_client_version(const struct mqtt_client *e);

/* mqtt_client_deadline - when mqtt_client_tick must be called; UINT64_MAX: never. */
uint64_t mqtt_client_deadline(const struct mqtt_client *e);
/* mqtt_client_tick - sends PINGREQ when it is time. ERR_TIMEOUT: CONNACK or PINGRESP did not come;
 * the engine is closed. ERR_NOMEM. SPEC: MQTT5-3.1.2-20 */
MUST_USE enum err mqtt_client_tick(struct mqtt_client *e, uint64_t now_ms);

#endif
