#include "wire/mqtt/ack_private.h"
#include "wire/mqtt/fault_private.h"

enum err mqtt_ack_decode(const struct mqtt_input *in, enum mqtt_type type, struct mqtt_fault *fault,
                         struct mqtt_ack *ret)
{
    struct rd r = rd_from(in->body);
    ret->reason = MQTT_SUCCESS;
    mqtt_props_none(&ret->props);
    TRY(mqtt_read_packet_id(&r, fault, &ret->packet_id));
    if (in->version == MQTT_V5 && rd_left(&r) > 0) {
        ret->reason = rd_u8(&r); /* SPEC: MQTT5 3.4.2.1, absent = success */
        if (!mqtt_reason_is_legal(type, in->sender, ret->reason)) {
            /* SPEC: MQTT5-3.4.2-1, MQTT5-3.5.2-1, MQTT5-3.6.2-1, MQTT5-3.7.2-1 */
            return mqtt_protocol(fault, r.at - 1);
        }
        if (rd_left(&r) > 0) { /* SPEC: MQTT5 3.4.2.2 */
            TRY(mqtt_props_decode(&r, type, in->limits->user_properties, fault, &ret->props));
        }
    }
    return mqtt_check_end(&r, fault);
}

enum err mqtt_ack_encode(const struct mqtt_ack *m, enum mqtt_type type, enum mqtt_version version,
                         struct wr *w)
{
    assert(m->packet_id != 0);
    bool has_props = version == MQTT_V5 && m->props.present != 0;
    bool has_reason = version == MQTT_V5 && (m->reason != MQTT_SUCCESS || has_props);
    uint8_t flags = type == MQTT_PUBREL ? 2 : 0; /* SPEC: MQTT-3.6.1-1 */
    size_t body_n = 2 + (has_reason ? 1u : 0u) + (has_props ? mqtt_props_size(&m->props) : 0);
    size_t end = 0;
    TRY(mqtt_encode_begin(w, type, flags, body_n, 0, &end));
    wr_u16(w, m->packet_id);
    if (has_reason) {
        wr_u8(w, m->reason);
    }
    if (has_props) {
        mqtt_props_encode(&m->props, w);
    }
    return mqtt_encode_end(w, end);
}
