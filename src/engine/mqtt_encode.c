#include "engine/mqtt_encode.h"

#include "wire/mqtt/auth.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/disconnect.h"
#include "wire/mqtt/ping.h"
#include "wire/mqtt/puback.h"
#include "wire/mqtt/pubcomp.h"
#include "wire/mqtt/pubrec.h"
#include "wire/mqtt/pubrel.h"
#include "wire/mqtt/suback.h"
#include "wire/mqtt/unsuback.h"

#define DEFINE_ENCODE(name)                                                                        \
    enum err mqtt_encode_##name(const void *packet, enum mqtt_version version, struct wr *w)       \
    {                                                                                              \
        const struct mqtt_##name *m = packet;                                                      \
        return mqtt_##name##_encode(m, version, w);                                                \
    }
DEFINE_ENCODE(connack)
DEFINE_ENCODE(suback)
DEFINE_ENCODE(unsuback)
DEFINE_ENCODE(disconnect)

enum err mqtt_encode_auth(const void *packet, enum mqtt_version version, struct wr *w)
{
    const struct mqtt_auth *m = packet;
    (void)version;
    return mqtt_auth_encode(m, w);
}

enum err mqtt_encode_pingresp(const void *packet, enum mqtt_version version, struct wr *w)
{
    (void)packet;
    (void)version;
    return mqtt_pingresp_encode(w);
}

enum err mqtt_encode_pubrel(const void *packet, enum mqtt_version version, struct wr *w)
{
    const struct mqtt_ack *m = packet;
    return mqtt_pubrel_encode(m, version, w);
}

enum err mqtt_encode_puback(const void *packet, enum mqtt_version version, struct wr *w)
{
    return mqtt_puback_encode(packet, version, w);
}

enum err mqtt_encode_pubrec(const void *packet, enum mqtt_version version, struct wr *w)
{
    return mqtt_pubrec_encode(packet, version, w);
}

enum err mqtt_encode_pubcomp(const void *packet, enum mqtt_version version, struct wr *w)
{
    return mqtt_pubcomp_encode(packet, version, w);
}
