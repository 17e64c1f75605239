#include "wire/mqtt/pubrel.h"

#include "wire/mqtt/ack_private.h"

enum err mqtt_pubrel_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                            struct mqtt_ack *ret)
{
    return mqtt_ack_decode(in, MQTT_PUBREL, fault, ret);
}

enum err mqtt_pubrel_encode(const struct mqtt_ack *m, enum mqtt_version version, struct wr *w)
{
    return mqtt_ack_encode(m, MQTT_PUBREL, version, w);
}
