#include "wire/mqtt/connack.h"

#include "wire/mqtt/fault_private.h"

#define V311_CODE_MAX 5 /* SPEC: MQTT311 3.2.2.3 */

enum err mqtt_connack_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                             struct mqtt_connack *ret)
{
    struct rd r = rd_from(in->body);
    uint8_t flags = rd_u8(&r);
    struct mqtt_connack m = {.code = rd_u8(&r),
                             .session_present = (flags & 1) != 0 && in->version != MQTT_V31};
    TRY(mqtt_check_read(&r, fault));
    if ((flags & 0xfe) != 0) {
        return mqtt_malformed(fault, 0); /* SPEC: MQTT5-3.2.2-1 */
    }
    bool is_code = in->version == MQTT_V5
                       ? mqtt_reason_is_legal(MQTT_CONNACK, MQTT_FROM_SERVER, m.code)
                       : m.code <= V311_CODE_MAX;
    if (!is_code || (m.session_present && m.code != 0)) {
        return mqtt_protocol(fault, 1); /* SPEC: MQTT5-3.2.2-8, MQTT5-3.2.2-6 */
    }
    if (in->version == MQTT_V5) {
        size_t user_max = in->limits->user_properties;
        TRY(mqtt_props_decode(&r, MQTT_CONNACK, user_max, fault, &m.props));
    }
    TRY(mqtt_check_end(&r, fault));
    *ret = m;
    return OK;
}

enum err mqtt_connack_encode(const struct mqtt_connack *m, enum mqtt_version version, struct wr *w)
{
    bool v5 = version == MQTT_V5;
    uint8_t code = m->code;
    if (!v5 && code > V311_CODE_MAX) {
        code = mqtt_reason_v311_connack(code);
    }
    size_t end = 0;
    size_t body_n = 2 + (v5 ? mqtt_props_size(&m->props) : 0);
    TRY(mqtt_encode_begin(w, MQTT_CONNACK, 0, body_n, 0, &end));
    /* SPEC: MQTT5-3.2.2-6, MQTT3-3.2.2-4; the byte is reserved in 3.1 */
    wr_u8(w, m->session_present && code == 0 && version != MQTT_V31);
    wr_u8(w, code);
    if (v5) {
        mqtt_props_encode(&m->props, w);
    }
    return mqtt_encode_end(w, end);
}
