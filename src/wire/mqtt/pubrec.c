#include "wire/mqtt/pubrec.h"

#include "wire/mqtt/ack_private.h"

enum err mqtt_pubrec_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                            struct mqtt_ack *ret)
{
    return mqtt_ack_decode(in, MQTT_PUBREC, fault, ret);
}

enum err mqtt_pubrec_encode(const struct mqtt_ack *m, enum mqtt_version version, struct wr *w)
{
    return mqtt_ack_encode(m, MQTT_PUBREC, version, w);
}
