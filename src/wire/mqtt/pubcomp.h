/* pubcomp - the PUBCOMP packet: QoS 2 is done. SPEC: MQTT311 3.7, MQTT5 3.7 */
#ifndef WIRE_MQTT_PUBCOMP_H
#define WIRE_MQTT_PUBCOMP_H

#include "wire/mqtt/ack.h"

/* mqtt_pubcomp_decode - errors as in ack.h. fault may be NULL. */
MUST_USE enum err mqtt_pubcomp_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                      struct mqtt_ack *ret);
/* mqtt_pubcomp_encode - the whole packet, as short as it can be; the writer's error sticks. */
MUST_USE enum err mqtt_pubcomp_encode(const struct mqtt_ack *m, enum mqtt_version version,
                                      struct wr *w);

#endif
