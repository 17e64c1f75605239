/* pubrel - the PUBREL packet: QoS 2, the sender lets the packet id go. SPEC: MQTT311 3.6, MQTT5 3.6
 */
#ifndef WIRE_MQTT_PUBREL_H
#define WIRE_MQTT_PUBREL_H

#include "wire/mqtt/ack.h"

/* mqtt_pubrel_decode - errors as in ack.h. fault may be NULL. */
MUST_USE enum err mqtt_pubrel_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                     struct mqtt_ack *ret);
/* mqtt_pubrel_encode - the whole packet, as short as it can be; the writer's error sticks. */
MUST_USE enum err mqtt_pubrel_encode(const struct mqtt_ack *m, enum mqtt_version version,
                                     struct wr *w);

#endif
