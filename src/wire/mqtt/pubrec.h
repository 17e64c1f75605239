/* pubrec - the PUBREC packet: QoS 2, the receiver has it. SPEC: MQTT311 3.5, MQTT5 3.5 */
#ifndef WIRE_MQTT_PUBREC_H
#define WIRE_MQTT_PUBREC_H

#include "wire/mqtt/ack.h"

/* mqtt_pubrec_decode - errors as in ack.h. fault may be NULL. */
MUST_USE enum err mqtt_pubrec_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                     struct mqtt_ack *ret);
/* mqtt_pubrec_encode - the whole packet, as short as it can be; the writer's error sticks. */
MUST_USE enum err mqtt_pubrec_encode(const struct mqtt_ack *m, enum mqtt_version version,
                                     struct wr *w);

#endif
