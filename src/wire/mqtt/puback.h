/* puback - the PUBACK packet: QoS 1 is done. SPEC: MQTT311 3.4, MQTT5 3.4 */
#ifndef WIRE_MQTT_PUBACK_H
#define WIRE_MQTT_PUBACK_H

#include "wire/mqtt/ack.h"

/* mqtt_puback_decode - errors as in ack.h. fault may be NULL. */
MUST_USE enum err mqtt_puback_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                     struct mqtt_ack *ret);
/* mqtt_puback_encode - the whole packet, as short as it can be; the writer's error sticks. */
MUST_USE enum err mqtt_puback_encode(const struct mqtt_ack *m, enum mqtt_version version,
                                     struct wr *w);

#endif
