#include "wire/mqtt/disconnect.h"

#include "wire/mqtt/fault_private.h"

enum err mqtt_disconnect_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                struct mqtt_disconnect *ret)
{
    struct rd r = rd_from(in->body);
    struct mqtt_disconnect m = {0};
    if (in->version == MQTT_V5 && rd_left(&r) > 0) {
        m.reason = rd_u8(&r); /* SPEC: MQTT5 3.14.2.1, absent = normal */
        if (!mqtt_reason_is_legal(MQTT_DISCONNECT, in->sender, m.reason)) {
            return mqtt_protocol(fault, 0); /* SPEC: MQTT5-3.14.2-1 */
        }
        if (rd_left(&r) > 0) { /* SPEC: MQTT5 3.14.2.2.1 */
            size_t user_max = in->limits->user_properties;
            TRY(mqtt_props_decode(&r, MQTT_DISCONNECT, user_max, fault, &m.props));
        }
        enum mqtt_prop_id foreign =
            in->sender == MQTT_FROM_SERVER ? MQTT_PROP_SESSION_EXPIRY : MQTT_PROP_SERVER_REFERENCE;
        if (mqtt_props_has(&m.props, foreign)) {
            return mqtt_protocol(fault, 1); /* SPEC: MQTT5-3.14.2-2 */
        }
    }
    TRY(mqtt_check_end(&r, fault));
    *ret = m;
    return OK;
}

enum err mqtt_disconnect_encode(const struct mqtt_disconnect *m, enum mqtt_version version,
                                struct wr *w)
{
    bool has_props = version == MQTT_V5 && m->props.present != 0;
    bool has_reason = version == MQTT_V5 && (m->reason != MQTT_SUCCESS || has_props);
    size_t end = 0;
    size_t body_n = (has_reason ? 1u : 0u) + (has_props ? mqtt_props_size(&m->props) : 0);
    TRY(mqtt_encode_begin(w, MQTT_DISCONNECT, 0, body_n, 0, &end));
    if (has_reason) {
        wr_u8(w, m->reason);
    }
    if (has_props) {
        mqtt_props_encode(&m->props, w);
    }
    return mqtt_encode_end(w, end);
}
