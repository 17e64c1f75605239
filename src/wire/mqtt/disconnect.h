/* disconnect - the DISCONNECT packet. SPEC: MQTT311 3.14, MQTT5 3.14 */
#ifndef WIRE_MQTT_DISCONNECT_H
#define WIRE_MQTT_DISCONNECT_H

#include "wire/mqtt/props.h"

struct mqtt_disconnect {
    uint8_t reason;          /* 0 in 3.1.1 */
    struct mqtt_props props; /* MQTT_PROP_SESSION_EXPIRY: from clients only */
};

/* mqtt_disconnect_decode - ERR_PROTOCOL a reason that in->sender may not give, or a session expiry
 * from a server; property errors as mqtt_props_decode; ERR_TRUNCATED, ERR_TRAILING. fault may be
 * NULL. O(bytes). SPEC: MQTT5-3.14.2-1, MQTT5-3.14.2-2 */
MUST_USE enum err mqtt_disconnect_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                         struct mqtt_disconnect *ret);
/* mqtt_disconnect_encode - the whole packet, as short as it can be; in 3.1.1 the reason is left
 * out. The writer's error sticks. */
MUST_USE enum err mqtt_disconnect_encode(const struct mqtt_disconnect *m, enum mqtt_version version,
                                         struct wr *w);

#endif
