#include "wire/mqtt/ping.h"

#include "wire/mqtt/fault_private.h"

enum err mqtt_ping_decode(const struct mqtt_input *in, struct mqtt_fault *fault)
{
    struct rd r = rd_from(in->body);
    return mqtt_check_end(&r, fault);
}

static enum err encode(enum mqtt_type type, struct wr *w)
{
    size_t end = 0;
    TRY(mqtt_encode_begin(w, type, 0, 0, 0, &end));
    return mqtt_encode_end(w, end);
}

enum err mqtt_pingreq_encode(struct wr *w)
{
    return encode(MQTT_PINGREQ, w);
}

enum err mqtt_pingresp_encode(struct wr *w)
{
    return encode(MQTT_PINGRESP, w);
}
