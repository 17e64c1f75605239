/* unsuback - the UNSUBACK packet. SPEC: MQTT311 3.11, MQTT5 3.11 */
#ifndef WIRE_MQTT_UNSUBACK_H
#define WIRE_MQTT_UNSUBACK_H

#include "wire/mqtt/props.h"

struct mqtt_unsuback {
    uint16_t packet_id; /* not 0 */
    struct slice codes; /* one byte per filter, in their order; empty in 3.1.1, which has none */
    struct mqtt_props props;
};

/* mqtt_unsuback_decode - ERR_MALFORMED packet id 0, or no code in MQTT 5; ERR_PROTOCOL a code that
 * is not UNSUBACK's; property errors as mqtt_props_decode; ERR_TRUNCATED, ERR_TRAILING. fault may
 * be NULL. O(bytes). */
MUST_USE enum err mqtt_unsuback_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                       struct mqtt_unsuback *ret);
/* mqtt_unsuback_encode - the whole packet; in 3.1.1 the codes are left out. The writer's error
 * sticks. SPEC: MQTT5-3.11.3-1 */
MUST_USE enum err mqtt_unsuback_encode(const struct mqtt_unsuback *m, enum mqtt_version version,
                                       struct wr *w);
/* mqtt_unsuback_encode_all - the same code for n filters, without properties. */
MUST_USE enum err mqtt_unsuback_encode_all(uint16_t packet_id, uint8_t code, size_t n,
                                           enum mqtt_version version, struct wr *w);

#endif
