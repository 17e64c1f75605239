/*
 * mqtt_gate - the outer gate: a connection before its principal is known.
 *
 * Takes one packet, CONNECT (and AUTH, as often as the owner asks for it), within its own small
 * limits; keeps a copy of it, so that the question
 * "who is this?" may take its time and the answer may fall on another thread: the gate object
 * itself moves to the session's home worker (docs/ORDER.md, rule 2). No I/O, no clock. The owner
 * keeps the deadline.
 *
 *   WAIT_CONNECT --CONNECT--> ASKED --mqtt_gate_refuse--> REFUSED
 *        |                     | ^ +---- mqtt_server_new takes over, the gate is freed
 *        |   mqtt_gate_challenge | mqtt_gate_answer: AUTH
 *        |                     v |
 *        |                  CHALLENGED --DISCONNECT, or anything else--> REFUSED
 *        +--anything else--> REFUSED
 */
#ifndef ENGINE_MQTT_GATE_H
#define ENGINE_MQTT_GATE_H

#include "base/scope.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/reason.h"

struct mqtt_gate;

enum { MQTT_REFERENCE_MAX = 255 }; /* bytes of a server reference of ours */

/* mqtt_gate_new - wire: borrowed until freed; packet_max: bytes of the largest CONNECT. ERR_NOMEM.
 */
MUST_USE enum err mqtt_gate_new(const struct mqtt_wire_limits *wire, size_t packet_max,
                                struct mqtt_gate **ret);
/* mqtt_gate_take_v31 - MQTT 3.1 may come in here; otherwise it is refused with 0x01. Before the
 * first mqtt_gate_next. */
void mqtt_gate_take_v31(struct mqtt_gate *g);
struct mqtt_gate *mqtt_gate_free(struct mqtt_gate *g);
AUTOFREE(mqtt_gate, mqtt_gate_free)

/*
 * mqtt_gate_next - look for the CONNECT at the front of *in
 *
 * in     in/out, borrows: on OK it starts behind the CONNECT; later packets stay for mqtt_server.
 * fault  filled on every error but ERR_AGAIN.
 *
 * OK         the CONNECT is there (mqtt_gate_connect); the gate is ASKED and takes nothing more
 * ERR_AGAIN  the packet is not complete
 * other      the gate is REFUSED; what can be said in the peer's version waits in mqtt_gate_output
 * SPEC: MQTT-3.1.0-1, MQTT-3.1.4-1.
 */
MUST_USE enum err mqtt_gate_next(struct mqtt_gate *g, struct slice *in, struct mqtt_fault *fault);
/* mqtt_gate_connect - borrows from the gate. Only after mqtt_gate_next gave OK. */
const struct mqtt_connect *mqtt_gate_connect(const struct mqtt_gate *g);
/* mqtt_gate_client_id - the one that its CONNECT says; empty before. Borrows from the gate. */
struct slice mqtt_gate_client_id(const struct mqtt_gate *g);
/* mqtt_gate_challenge - the client named an authentication method: AUTH with this data waits in the
 * output, and its answer is waited for. Only when ASKED. ERR_NOMEM; ERR_TOO_LARGE: the
 * client does not accept such a packet. After both nothing changed: refuse it.
 * SPEC: MQTT5-4.12.0-2 */
MUST_USE enum err mqtt_gate_challenge(struct mqtt_gate *g, struct slice data);
bool mqtt_gate_is_challenged(const struct mqtt_gate *g);
/*
 * mqtt_gate_answer - look for the client's AUTH at the front of *in; only when challenged
 *
 * data  borrows from *in.
 * OK          the gate is ASKED again
 * ERR_AGAIN   the packet is not complete
 * ERR_CLOSED  the client gave up (DISCONNECT): REFUSED without a word
 * other       as mqtt_gate_next
 * SPEC: MQTT5-3.1.2-30, MQTT5-4.12.0-3, MQTT5-4.12.0-5.
 */
MUST_USE enum err mqtt_gate_answer(struct mqtt_gate *g, struct slice *in, struct mqtt_fault *fault,
                                   struct slice *ret_data);
/* mqtt_gate_conclude - the last data of the method, for the CONNACK; a copy is kept, and goes where
 * the gate goes. ERR_NOMEM. */
MUST_USE enum err mqtt_gate_conclude(struct mqtt_gate *g, struct slice data);
struct slice mqtt_gate_conclusion(const struct mqtt_gate *g);
/* mqtt_gate_method - of the CONNECT; empty when it named none. */
struct slice mqtt_gate_method(const struct mqtt_gate *g);
/* mqtt_gate_refuse - CONNACK with this reason waits in the output; the owner closes when it has
 * left. */
void mqtt_gate_refuse(struct mqtt_gate *g, enum mqtt_reason reason);
/* mqtt_gate_advise - what a client of 5.0 is told beside the reason, in the place of the fixed
 * sentence for it; cut to MQTT_ADVICE_MAX. Copied. */
void mqtt_gate_advise(struct mqtt_gate *g, const char *text);
/* mqtt_gate_refer - the same, and a client of 5.0 whose CONNECT was read is told which server to
 * use instead; empty: none. */
void mqtt_gate_refer(struct mqtt_gate *g, enum mqtt_reason reason, struct slice reference);
/* mqtt_gate_output - copies what waits (a few hundred bytes at most) into dst and forgets it; 0
 * when nothing waits or it does not fit. */
size_t mqtt_gate_output(struct mqtt_gate *g, uint8_t *dst, size_t cap);

#endif
