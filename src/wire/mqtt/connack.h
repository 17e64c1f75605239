/* connack - the CONNACK packet. SPEC: MQTT311 3.2, MQTT5 3.2 */
#ifndef WIRE_MQTT_CONNACK_H
#define WIRE_MQTT_CONNACK_H

#include "wire/mqtt/props.h"

struct mqtt_connack {
    uint8_t code;         /* MQTT 5 reason code, or 3.1.1 return code 0 to 5 */
    bool session_present; /* only with code 0 */
    struct mqtt_props props;
};

/* mqtt_connack_decode - ERR_MALFORMED reserved flags; ERR_PROTOCOL a code that does not exist, or a
 * session present beside a refusal; property errors as mqtt_props_decode; ERR_TRUNCATED,
 * ERR_TRAILING. fault may be NULL. O(bytes). */
MUST_USE enum err mqtt_connack_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                      struct mqtt_connack *ret);
/* mqtt_connack_encode - the whole packet; in 3.1.1 m->code is translated when it is 0x80 or more,
 * and properties are left out; 3.1 as well, without session present, which it does not know.
 * Session present is sent only with success. The writer's error sticks. */
MUST_USE enum err mqtt_connack_encode(const struct mqtt_connack *m, enum mqtt_version version,
                                      struct wr *w);

#endif
