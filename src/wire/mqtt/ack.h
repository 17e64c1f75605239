/*
 * ack - the shape that PUBACK, PUBREC, PUBREL and PUBCOMP share
 *
 * Each decoder gives ERR_MALFORMED for packet id 0, ERR_PROTOCOL for a reason code that is not this
 * packet's, property errors as mqtt_props_decode, ERR_TRUNCATED, ERR_TRAILING. *ret holds nothing
 * of use after an error. O(bytes).
 */
#ifndef WIRE_MQTT_ACK_H
#define WIRE_MQTT_ACK_H

#include "wire/mqtt/props.h"

struct mqtt_ack {
    uint16_t packet_id; /* not 0 */
    uint8_t reason;     /* 0 in 3.1.1, which cannot say more; encoding leaves it out there */
    struct mqtt_props props;
};

#endif
