#include "wire/mqtt/suback.h"

#include "wire/mqtt/fault_private.h"

static bool is_code(enum mqtt_version version, uint8_t code)
{
    if (version == MQTT_V31) {
        return code <= MQTT_GRANTED_QOS_2; /* it has no word for a refusal */
    }
    if (version == MQTT_V311) {
        return mqtt_reason_v311_suback(code) == code; /* SPEC: MQTT3-3.9.3-2 */
    }
    return mqtt_reason_is_legal(MQTT_SUBACK, MQTT_FROM_SERVER, code);
}

enum err mqtt_suback_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                            struct mqtt_suback *ret)
{
    struct rd r = rd_from(in->body);
    struct mqtt_suback m = {0};
    TRY(mqtt_read_packet_id(&r, fault, &m.packet_id));
    if (in->version == MQTT_V5) {
        TRY(mqtt_props_decode(&r, MQTT_SUBACK, in->limits->user_properties, fault, &m.props));
    }
    size_t at = r.at;
    m.codes = rd_rest(&r);
    if (m.codes.n == 0) {
        return mqtt_malformed(fault, at);
    }
    for (size_t i = 0; i < m.codes.n; i++) {
        if (!is_code(in->version, m.codes.p[i])) {
            return mqtt_protocol(fault, at + i);
        }
    }
    *ret = m;
    return OK;
}

/* In 3.1 a code says which QoS is granted and nothing else: its clients would read a refusal as QoS
 * 0, so none is written. */
static enum err check_sayable(struct slice codes, enum mqtt_version version, struct wr *w)
{
    for (size_t i = 0; i < codes.n && version == MQTT_V31; i++) {
        if (codes.p[i] > MQTT_GRANTED_QOS_2) {
            wr_fail(w, ERR_UNSUPPORTED);
        }
    }
    return w->err;
}

static void write_code(struct wr *w, enum mqtt_version version, uint8_t code)
{
    wr_u8(w, version == MQTT_V5 ? code : mqtt_reason_v311_suback(code));
}

enum err mqtt_suback_encode(const struct mqtt_suback *m, enum mqtt_version version, struct wr *w)
{
    assert(m->packet_id != 0);
    bool v5 = version == MQTT_V5;
    size_t end = 0;
    size_t body_n = 2 + (v5 ? mqtt_props_size(&m->props) : 0) + m->codes.n;
    TRY(check_sayable(m->codes, version, w));
    TRY(mqtt_encode_begin(w, MQTT_SUBACK, 0, body_n, 0, &end));
    wr_u16(w, m->packet_id);
    if (v5) {
        mqtt_props_encode(&m->props, w);
    }
    for (size_t i = 0; i < m->codes.n; i++) {
        write_code(w, version, m->codes.p[i]);
    }
    return mqtt_encode_end(w, end);
}

enum err mqtt_suback_encode_all(uint16_t packet_id, uint8_t code, size_t n,
                                enum mqtt_version version, struct wr *w)
{
    assert(packet_id != 0);
    bool v5 = version == MQTT_V5;
    size_t end = 0;
    TRY(check_sayable(slice_of(&code, 1), version, w));
    TRY(mqtt_encode_begin(w, MQTT_SUBACK, 0, 2 + (v5 ? 1u : 0u) + n, 0, &end));
    wr_u16(w, packet_id);
    if (v5) {
        mqtt_varint_write(w, 0);
    }
    for (size_t i = 0; i < n; i++) {
        write_code(w, version, code);
    }
    return mqtt_encode_end(w, end);
}
