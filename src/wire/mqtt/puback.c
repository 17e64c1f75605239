#include "wire/mqtt/puback.h"

#include "wire/mqtt/ack_private.h"

enum err mqtt_puback_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                            struct mqtt_ack *ret)
{
    return mqtt_ack_decode(in, MQTT_PUBACK, fault, ret);
}

enum err mqtt_puback_encode(const struct mqtt_ack *m, enum mqtt_version version, struct wr *w)
{
    return mqtt_ack_encode(m, MQTT_PUBACK, version, w);
}
