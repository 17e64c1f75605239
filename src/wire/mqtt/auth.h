/* auth - the AUTH packet; MQTT 5 only. SPEC: MQTT5 3.15 */
#ifndef WIRE_MQTT_AUTH_H
#define WIRE_MQTT_AUTH_H

#include "wire/mqtt/props.h"

struct mqtt_auth {
    uint8_t reason;          /* 0x00 from servers, 0x18, 0x19 from clients */
    struct mqtt_props props; /* MQTT_PROP_AUTH_METHOD, MQTT_PROP_AUTH_DATA */
};

/* mqtt_auth_decode - ERR_PROTOCOL in 3.1.1, for a reason that in->sender may not give, or without
 * an authentication method (an empty body, plain success, may leave it out); property errors as
 * mqtt_props_decode; ERR_TRUNCATED, ERR_TRAILING. fault may be NULL. O(bytes).
 * SPEC: MQTT5-3.15.2-1 */
MUST_USE enum err mqtt_auth_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                   struct mqtt_auth *ret);
/* mqtt_auth_encode - the whole packet; the writer's error sticks. */
MUST_USE enum err mqtt_auth_encode(const struct mqtt_auth *m, struct wr *w);

#endif
