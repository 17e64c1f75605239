/* ack_private - the one codec behind PUBACK, PUBREC, PUBREL and PUBCOMP. */
#ifndef WIRE_MQTT_ACK_PRIVATE_H
#define WIRE_MQTT_ACK_PRIVATE_H

#include "base/wr.h"
#include "wire/mqtt/ack.h"

/* mqtt_ack_decode, mqtt_ack_encode - as ack.h says, for the packet `type`. */
MUST_USE enum err mqtt_ack_decode(const struct mqtt_input *in, enum mqtt_type type,
                                  struct mqtt_fault *fault, struct mqtt_ack *ret);
MUST_USE enum err mqtt_ack_encode(const struct mqtt_ack *m, enum mqtt_type type,
                                  enum mqtt_version version, struct wr *w);

#endif
