/* suback - the SUBACK packet. SPEC: MQTT311 3.9, MQTT5 3.9 */
#ifndef WIRE_MQTT_SUBACK_H
#define WIRE_MQTT_SUBACK_H

#include "wire/mqtt/props.h"

struct mqtt_suback {
    uint16_t packet_id; /* not 0 */
    struct slice codes; /* one byte per filter, in their order; 1 or more */
    struct mqtt_props props;
};

/* mqtt_suback_decode - ERR_MALFORMED packet id 0, or no code; ERR_PROTOCOL a code that is not
 * SUBACK's; property errors as mqtt_props_decode; ERR_TRUNCATED. fault may be NULL. O(bytes). */
MUST_USE enum err mqtt_suback_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                     struct mqtt_suback *ret);
/* mqtt_suback_encode - the whole packet; codes are MQTT 5 reason codes and are translated
 * for 3.1.1. ERR_UNSUPPORTED: a refusal in 3.1, which has no word for it; nothing is written. The
 * writer's error sticks. SPEC: MQTT-3.9.3-1, MQTT3-3.9.3-2, MQTT5-3.9.3-2 */
MUST_USE enum err mqtt_suback_encode(const struct mqtt_suback *m, enum mqtt_version version,
                                     struct wr *w);
/* mqtt_suback_encode_all - the same code for n filters, without properties. Errors as above. */
MUST_USE enum err mqtt_suback_encode_all(uint16_t packet_id, uint8_t code, size_t n,
                                         enum mqtt_version version, struct wr *w);

#endif
