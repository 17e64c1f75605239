#include "wire/mqtt/pubcomp.h"

#include "wire/mqtt/ack_private.h"

enum err mqtt_pubcomp_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                             struct mqtt_ack *ret)
{
    return mqtt_ack_decode(in, MQTT_PUBCOMP, fault, ret);
}

enum err mqtt_pubcomp_encode(const struct mqtt_ack *m, enum mqtt_version version, struct wr *w)
{
    return mqtt_ack_encode(m, MQTT_PUBCOMP, version, w);
}
