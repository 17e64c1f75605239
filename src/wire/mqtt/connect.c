#include "wire/mqtt/connect.h"

#include "wire/mqtt/fault_private.h"
#include "wire/mqtt/topic.h"

/* Mosquitto's bridges set it in the level when they connect first; refused, they try without. */
#define LEVEL_BRIDGE 0x80

/* Connect flags. SPEC: MQTT5 3.1.2.3 */
enum {
    FLAG_RESERVED = 0x01,
    FLAG_CLEAN_START = 0x02,
    FLAG_WILL = 0x04,
    FLAG_WILL_QOS_SHIFT = 3,
    FLAG_WILL_QOS = 0x18,
    FLAG_WILL_RETAIN = 0x20,
    FLAG_PASSWORD = 0x40,
    FLAG_USERNAME = 0x80
};

/* Name and level decide the rest of the packet, so they come first. The level is left in the fault
 * even when what follows is wrong: it says in which version to answer. */
static enum err read_version(struct rd *r, const struct mqtt_input *in, struct mqtt_fault *fault,
                             enum mqtt_version *ret)
{
    struct slice name = rd_block16(r);
    uint8_t level = rd_u8(r);
    TRY(mqtt_check_read(r, fault));
    bool is_mqisdp = slice_is(name, "MQIsdp");
    bool is_v31 = is_mqisdp && level == MQTT_V31;
    if (!slice_is(name, "MQTT") && !is_mqisdp) {
        return mqtt_malformed(fault, 0); /* SPEC: MQTT5-3.1.2-1, MQTT3-3.1.2-1 */
    }
    if (fault != NULL) {
        fault->level = is_mqisdp ? MQTT_V31 : level & (uint8_t)~LEVEL_BRIDGE;
        fault->is_v31 = is_v31;
    }
    bool is_spoken = is_mqisdp ? is_v31 && in->takes_v31 : level == MQTT_V311 || level == MQTT_V5;
    if (!is_spoken) { /* SPEC: MQTT5-3.1.2-2, MQTT3-3.1.2-2 */
        return mqtt_fail(fault, ERR_UNSUPPORTED, r->at - 1, MQTT_UNSUPPORTED_VERSION);
    }
    *ret = (enum mqtt_version)level;
    return OK;
}

static enum err check_flags(uint8_t flags, enum mqtt_version version, size_t at,
                            struct mqtt_fault *fault)
{
    if ((flags & FLAG_RESERVED) != 0) {
        return mqtt_malformed(fault, at); /* SPEC: MQTT-3.1.2-3 */
    }
    if ((flags & FLAG_WILL) == 0 && version == MQTT_V31) {
        flags &= (uint8_t) ~(FLAG_WILL_QOS | FLAG_WILL_RETAIN); /* 3.1 does not look at them then */
    }
    if ((flags & FLAG_WILL) == 0 && (flags & (FLAG_WILL_QOS | FLAG_WILL_RETAIN)) != 0) {
        return mqtt_malformed(fault, at); /* SPEC: MQTT5-3.1.2-11, MQTT5-3.1.2-13, MQTT3-3.1.2-11,
                                             MQTT3-3.1.2-13, MQTT3-3.1.2-15 */
    }
    if ((flags & FLAG_WILL_QOS) == FLAG_WILL_QOS) {
        return mqtt_malformed(fault, at); /* SPEC: MQTT5-3.1.2-12, MQTT3-3.1.2-14 */
    }
    if (version != MQTT_V5 && (flags & FLAG_PASSWORD) != 0 && (flags & FLAG_USERNAME) == 0) {
        return mqtt_malformed(fault, at); /* SPEC: MQTT3-3.1.2-22 */
    }
    return OK;
}

static enum err read_props(struct rd *r, const struct mqtt_input *in, struct mqtt_fault *fault,
                           struct mqtt_props *ret)
{
    size_t at = r->at;
    TRY(mqtt_props_decode(r, MQTT_CONNECT, in->limits->user_properties, fault, ret));
    if (mqtt_props_has(ret, MQTT_PROP_AUTH_DATA) && !mqtt_props_has(ret, MQTT_PROP_AUTH_METHOD)) {
        return mqtt_protocol(fault, at); /* SPEC: MQTT5 3.1.2.11.10 */
    }
    return OK;
}

static enum err read_client_id(struct rd *r, const struct mqtt_input *in, struct mqtt_fault *fault,
                               struct mqtt_connect *m)
{
    size_t at = r->at;
    TRY(mqtt_read_text(r, fault, &m->client_id)); /* SPEC: MQTT-3.1.3-3, MQTT-3.1.3-4 */
    if (m->client_id.n > in->limits->client_id_bytes) {
        return mqtt_fail(fault, ERR_TOO_LARGE, at, MQTT_CLIENT_ID_INVALID);
    }
    bool may_be_empty = m->version == MQTT_V5 || (m->version == MQTT_V311 && m->clean_start);
    if (m->client_id.n == 0 && !may_be_empty) {
        return mqtt_fail(fault, ERR_PROTOCOL, at,
                         MQTT_CLIENT_ID_INVALID); /* SPEC: MQTT5-3.1.3-8, MQTT3-3.1.3-8 */
    }
    return OK;
}

static enum err read_will(struct rd *r, const struct mqtt_input *in, enum mqtt_version version,
                          struct mqtt_fault *fault, struct mqtt_will *will)
{
    if (version == MQTT_V5) {
        size_t at = r->at;
        TRY(mqtt_props_decode(r, MQTT_PROPS_WILL, in->limits->user_properties, fault,
                              &will->props));
        if (mqtt_props_has(&will->props, MQTT_PROP_RESPONSE_TOPIC)) { /* SPEC: MQTT5-3.3.2-14 */
            struct slice topic = mqtt_props_text(&will->props, MQTT_PROP_RESPONSE_TOPIC);
            TRY(mqtt_lift(fault, mqtt_topic_check(topic, in->limits, fault), at));
        }
    }
    will->topic = rd_block16(r);
    TRY(mqtt_check_read(r, fault));
    TRY(mqtt_lift(fault, mqtt_topic_check(will->topic, in->limits, fault),
                  r->at - will->topic.n)); /* SPEC: MQTT5-3.1.3-11, MQTT3-3.1.3-10 */
    will->payload = rd_block16(r);
    TRY(mqtt_check_read(r, fault));
    if (mqtt_props_number(&will->props, MQTT_PROP_PAYLOAD_FORMAT, 0) == 1) {
        TRY(mqtt_check_text(will->payload, r->at - will->payload.n, fault,
                            MQTT_PAYLOAD_FORMAT_INVALID));
    }
    return OK;
}

/* In 3.1 the length of the packet goes before the flags: user name and password may be announced
 * and not be there. */
static bool has_field(const struct rd *r, enum mqtt_version version, bool is_announced)
{
    return is_announced && (version != MQTT_V31 || rd_left(r) > 0);
}

enum err mqtt_connect_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                             struct mqtt_connect *ret)
{
    if (fault != NULL) {
        fault->level = 0;
        fault->is_v31 = false;
    }
    struct rd r = rd_from(in->body);
    struct mqtt_connect m = {0};
    TRY(read_version(&r, in, fault, &m.version));
    uint8_t flags = rd_u8(&r);
    m.keep_alive_s = rd_u16(&r);
    TRY(mqtt_check_read(&r, fault));
    TRY(check_flags(flags, m.version, r.at - 3, fault));
    m.clean_start = (flags & FLAG_CLEAN_START) != 0;
    m.has_will = (flags & FLAG_WILL) != 0;
    m.has_username = (flags & FLAG_USERNAME) != 0;
    m.has_password = (flags & FLAG_PASSWORD) != 0;
    if (m.version == MQTT_V5) {
        TRY(read_props(&r, in, fault, &m.props));
    }
    TRY(read_client_id(&r, in, fault, &m)); /* SPEC: MQTT-3.1.3-1, the order of what follows */
    if (m.has_will) {                       /* SPEC: MQTT-3.1.2-9 */
        m.will.qos = (uint8_t)((flags & FLAG_WILL_QOS) >> FLAG_WILL_QOS_SHIFT);
        m.will.retain = (flags & FLAG_WILL_RETAIN) != 0;
        TRY(read_will(&r, in, m.version, fault, &m.will));
    }
    m.has_username = has_field(&r, m.version, m.has_username);
    if (m.has_username) {                            /* SPEC: MQTT5-3.1.2-17, MQTT3-3.1.2-19 */
        TRY(mqtt_read_text(&r, fault, &m.username)); /* SPEC: MQTT5-3.1.3-12, MQTT3-3.1.3-11 */
    }
    m.has_password = has_field(&r, m.version, m.has_password);
    if (m.has_password) { /* SPEC: MQTT5-3.1.2-19, MQTT3-3.1.2-21 */
        m.password = rd_block16(&r);
    }
    /* SPEC: MQTT5-3.1.2-16, MQTT5-3.1.2-18, MQTT3-3.1.2-18, MQTT3-3.1.2-20: no flag, no field */
    TRY(mqtt_check_end(&r, fault));
    *ret = m;
    return OK;
}

static struct slice name_of(const struct mqtt_connect *m)
{
    return slice_text(m->version == MQTT_V31 ? "MQIsdp" : "MQTT");
}

static size_t body_size(const struct mqtt_connect *m)
{
    bool v5 = m->version == MQTT_V5;
    size_t n = mqtt_block_size(name_of(m)) + 4 + mqtt_block_size(m->client_id);
    n += v5 ? mqtt_props_size(&m->props) : 0;
    if (m->has_will) {
        n += v5 ? mqtt_props_size(&m->will.props) : 0;
        n += mqtt_block_size(m->will.topic) + mqtt_block_size(m->will.payload);
    }
    n += m->has_username ? mqtt_block_size(m->username) : 0;
    n += m->has_password ? mqtt_block_size(m->password) : 0;
    return n;
}

static uint8_t flags_of(const struct mqtt_connect *m)
{
    unsigned flags = 0;
    flags |= m->clean_start ? FLAG_CLEAN_START : 0u;
    flags |= m->has_username ? FLAG_USERNAME : 0u;
    flags |= m->has_password ? FLAG_PASSWORD : 0u;
    if (m->has_will) {
        flags |= FLAG_WILL | (unsigned)m->will.qos << FLAG_WILL_QOS_SHIFT;
        flags |= m->will.retain ? FLAG_WILL_RETAIN : 0u;
    }
    return (uint8_t)flags;
}

enum err mqtt_connect_encode(const struct mqtt_connect *m, struct wr *w)
{
    assert(!m->has_will || m->will.qos <= 2);
    bool v5 = m->version == MQTT_V5;
    size_t end = 0;
    TRY(mqtt_encode_begin(w, MQTT_CONNECT, 0, body_size(m), 0, &end));
    wr_block16(w, name_of(m));
    wr_u8(w, (uint8_t)m->version);
    wr_u8(w, flags_of(m));
    wr_u16(w, m->keep_alive_s);
    if (v5) {
        mqtt_props_encode(&m->props, w);
    }
    wr_block16(w, m->client_id);
    if (m->has_will) {
        if (v5) {
            mqtt_props_encode(&m->will.props, w);
        }
        wr_block16(w, m->will.topic);
        wr_block16(w, m->will.payload);
    }
    if (m->has_username) {
        wr_block16(w, m->username);
    }
    if (m->has_password) {
        wr_block16(w, m->password);
    }
    return mqtt_encode_end(w, end);
}
