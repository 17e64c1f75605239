#include "wire/mqtt/unsuback.h"

#include "wire/mqtt/fault_private.h"

enum err mqtt_unsuback_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                              struct mqtt_unsuback *ret)
{
    struct rd r = rd_from(in->body);
    struct mqtt_unsuback m = {0};
    TRY(mqtt_read_packet_id(&r, fault, &m.packet_id));
    if (in->version == MQTT_V5) {
        TRY(mqtt_props_decode(&r, MQTT_UNSUBACK, in->limits->user_properties, fault, &m.props));
        size_t at = r.at;
        m.codes = rd_rest(&r);
        if (m.codes.n == 0) {
            return mqtt_malformed(fault, at);
        }
        for (size_t i = 0; i < m.codes.n; i++) {
            if (!mqtt_reason_is_legal(MQTT_UNSUBACK, MQTT_FROM_SERVER, m.codes.p[i])) {
                return mqtt_protocol(fault, at + i); /* SPEC: MQTT5-3.11.3-2 */
            }
        }
    }
    TRY(mqtt_check_end(&r, fault));
    *ret = m;
    return OK;
}

enum err mqtt_unsuback_encode(const struct mqtt_unsuback *m, enum mqtt_version version,
                              struct wr *w)
{
    assert(m->packet_id != 0);
    bool v5 = version == MQTT_V5;
    size_t end = 0;
    size_t body_n = 2 + (v5 ? mqtt_props_size(&m->props) + m->codes.n : 0);
    TRY(mqtt_encode_begin(w, MQTT_UNSUBACK, 0, body_n, 0, &end));
    wr_u16(w, m->packet_id);
    if (v5) {
        mqtt_props_encode(&m->props, w);
        wr_bytes(w, m->codes);
    }
    return mqtt_encode_end(w, end);
}

enum err mqtt_unsuback_encode_all(uint16_t packet_id, uint8_t code, size_t n,
                                  enum mqtt_version version, struct wr *w)
{
    assert(packet_id != 0);
    bool v5 = version == MQTT_V5;
    size_t end = 0;
    TRY(mqtt_encode_begin(w, MQTT_UNSUBACK, 0, v5 ? 3 + n : 2, 0, &end));
    wr_u16(w, packet_id);
    if (v5) {
        mqtt_varint_write(w, 0);
        for (size_t i = 0; i < n; i++) {
            wr_u8(w, code);
        }
    }
    return mqtt_encode_end(w, end);
}
