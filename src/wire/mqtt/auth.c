#include "wire/mqtt/auth.h"

#include "wire/mqtt/fault_private.h"

enum err mqtt_auth_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                          struct mqtt_auth *ret)
{
    struct rd r = rd_from(in->body);
    struct mqtt_auth m = {0};
    if (in->version != MQTT_V5) {
        return mqtt_protocol(fault, 0);
    }
    bool is_empty = rd_left(&r) == 0; /* SPEC: MQTT5 3.15.2.1, absent = success, no properties */
    if (!is_empty) {
        m.reason = rd_u8(&r);
    }
    if (!mqtt_reason_is_legal(MQTT_AUTH, in->sender, m.reason)) {
        return mqtt_protocol(fault, 0); /* SPEC: MQTT5-3.15.2-1 */
    }
    if (!is_empty) {
        TRY(mqtt_props_decode(&r, MQTT_AUTH, in->limits->user_properties, fault, &m.props));
        if (!mqtt_props_has(&m.props, MQTT_PROP_AUTH_METHOD)) {
            return mqtt_protocol(fault, 1); /* SPEC: MQTT5 3.15.2.2.2 */
        }
    }
    TRY(mqtt_check_end(&r, fault));
    *ret = m;
    return OK;
}

enum err mqtt_auth_encode(const struct mqtt_auth *m, struct wr *w)
{
    bool is_empty = m->reason == MQTT_SUCCESS && m->props.present == 0;
    size_t end = 0;
    TRY(mqtt_encode_begin(w, MQTT_AUTH, 0, is_empty ? 0 : 1 + mqtt_props_size(&m->props), 0, &end));
    if (!is_empty) {
        wr_u8(w, m->reason);
        mqtt_props_encode(&m->props, w);
    }
    return mqtt_encode_end(w, end);
}
