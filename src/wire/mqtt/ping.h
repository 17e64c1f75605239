/* ping - PINGREQ and PINGRESP: two bytes each. SPEC: MQTT5 3.12, 3.13 */
#ifndef WIRE_MQTT_PING_H
#define WIRE_MQTT_PING_H

#include "base/wr.h"
#include "wire/mqtt/mqtt.h"

/* mqtt_ping_decode - ERR_TRAILING when there is any body. fault may be NULL. O(1). */
MUST_USE enum err mqtt_ping_decode(const struct mqtt_input *in, struct mqtt_fault *fault);
/* mqtt_pingreq_encode, mqtt_pingresp_encode - the whole packet; the writer's error sticks. */
MUST_USE enum err mqtt_pingreq_encode(struct wr *w);
MUST_USE enum err mqtt_pingresp_encode(struct wr *w);

#endif
