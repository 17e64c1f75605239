#include "wire/mqtt/publish.h"

#include "wire/mqtt/fault_private.h"
#include "wire/mqtt/topic.h"

enum { FLAG_RETAIN = 1, FLAG_QOS_SHIFT = 1, FLAG_DUP = 8 };

static uint8_t flags_of(uint8_t qos, bool retain, bool dup)
{
    assert(qos <= 2);
    unsigned flags = (unsigned)qos << FLAG_QOS_SHIFT;
    flags |= retain ? FLAG_RETAIN : 0u;
    flags |= dup && qos > 0 ? FLAG_DUP : 0u; /* SPEC: MQTT-3.3.1-2 */
    return (uint8_t)flags;
}

/* What the properties of a PUBLISH must fulfil beyond their own table. */
static enum err check_props(const struct mqtt_input *in, const struct mqtt_props *p, size_t at,
                            struct mqtt_fault *fault)
{
    if (in->sender == MQTT_FROM_CLIENT && p->n_subscription_ids > 0) {
        return mqtt_protocol(fault, at); /* SPEC: MQTT5-3.3.4-6 */
    }
    if (mqtt_props_number(p, MQTT_PROP_TOPIC_ALIAS, 0) > in->limits->topic_alias_max) {
        /* SPEC: MQTT5-3.3.2-9, MQTT5-3.3.2-12 */
        return mqtt_fail(fault, ERR_PROTOCOL, at, MQTT_TOPIC_ALIAS_INVALID);
    }
    if (mqtt_props_has(p, MQTT_PROP_RESPONSE_TOPIC)) { /* SPEC: MQTT5-3.3.2-13, MQTT5-3.3.2-14 */
        struct slice topic = mqtt_props_text(p, MQTT_PROP_RESPONSE_TOPIC);
        TRY(mqtt_lift(fault, mqtt_topic_check(topic, in->limits, fault), at));
    }
    return OK;
}

/* The topic is judged last, because an alias may stand for an empty one. */
static enum err check_topic(const struct mqtt_input *in, const struct mqtt_publish *m,
                            struct mqtt_fault *fault)
{
    if (m->topic.n == 0 && in->version == MQTT_V5) {
        return mqtt_props_has(&m->props, MQTT_PROP_TOPIC_ALIAS) ? OK : mqtt_protocol(fault, 0);
    }
    /* SPEC: MQTT-3.3.2-1, MQTT-3.3.2-2; the name starts behind its two bytes of length */
    return mqtt_lift(fault, mqtt_topic_check(m->topic, in->limits, fault), 2);
}

enum err mqtt_publish_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                             struct mqtt_publish *ret)
{
    struct rd r = rd_from(in->body);
    ret->qos = (in->flags >> FLAG_QOS_SHIFT) & 3;
    ret->retain = (in->flags & FLAG_RETAIN) != 0;
    ret->dup = (in->flags & FLAG_DUP) != 0;
    ret->packet_id = 0;
    mqtt_props_none(&ret->props);
    if (ret->qos == 3 || (ret->qos == 0 && ret->dup)) {
        return mqtt_malformed(fault, 0); /* SPEC: MQTT-3.3.1-4, MQTT-3.3.1-2 */
    }
    ret->topic = rd_block16(&r);
    TRY(mqtt_check_read(&r, fault));
    if (ret->qos > 0) { /* SPEC: MQTT5-2.2.1-2 */
        TRY(mqtt_read_packet_id(&r, fault, &ret->packet_id));
    }
    if (in->version == MQTT_V5) {
        size_t at = r.at, user_max = in->limits->user_properties;
        TRY(mqtt_props_decode(&r, MQTT_PUBLISH, user_max, fault, &ret->props));
        if (!mqtt_props_is_empty(&ret->props)) {
            TRY(check_props(in, &ret->props, at, fault));
        }
    }
    TRY(check_topic(in, ret, fault));
    size_t at = r.at;
    ret->payload = rd_rest(&r);
    if (!mqtt_props_is_empty(&ret->props) &&
        mqtt_props_number(&ret->props, MQTT_PROP_PAYLOAD_FORMAT, 0) == 1) {
        TRY(mqtt_check_text(ret->payload, at, fault, MQTT_PAYLOAD_FORMAT_INVALID));
    }
    return OK;
}

enum err mqtt_publish_encode(const struct mqtt_publish *m, enum mqtt_version version, struct wr *w)
{
    bool v5 = version == MQTT_V5;
    size_t end = 0;
    size_t body_n = mqtt_block_size(m->topic) + (m->qos > 0 ? 2u : 0u) +
                    (v5 ? mqtt_props_size(&m->props) : 0) + m->payload.n;
    uint8_t flags = flags_of(m->qos, m->retain, m->dup);
    TRY(mqtt_encode_begin(w, MQTT_PUBLISH, flags, body_n, 0, &end));
    wr_block16(w, m->topic);
    if (m->qos > 0) {
        assert(m->packet_id != 0);
        wr_u16(w, m->packet_id);
    }
    if (v5) {
        mqtt_props_encode(&m->props, w);
    }
    wr_bytes(w, m->payload);
    return mqtt_encode_end(w, end);
}

/* The property block of an outgoing copy: what is forwarded, and what is this copy's own. */
static size_t out_props_size(const struct mqtt_publish_out *m)
{
    size_t n = m->forward.n;
    n += m->has_expiry ? 1 + 4 : 0;
    n += m->alias != 0 ? 1 + 2 : 0;
    for (size_t i = 0; i < m->n_subscription_ids; i++) {
        n += 1 + mqtt_varint_size(m->subscription_ids[i]);
    }
    return n;
}

static size_t out_body_size(const struct mqtt_publish_out *m, enum mqtt_version version,
                            size_t props_n)
{
    size_t n = mqtt_block_size(m->topic) + (m->qos > 0 ? 2u : 0u) + m->payload_n;
    return version == MQTT_V5 ? n + mqtt_varint_size(props_n) + props_n : n;
}

size_t mqtt_publish_packet_size(const struct mqtt_publish_out *m, enum mqtt_version version)
{
    return mqtt_packet_size(out_body_size(m, version, version == MQTT_V5 ? out_props_size(m) : 0));
}

enum err mqtt_publish_encode_head(const struct mqtt_publish_out *m, enum mqtt_version version,
                                  struct wr *w)
{
    assert(m->qos == 0 || m->packet_id != 0);
    size_t end = 0, props_n = version == MQTT_V5 ? out_props_size(m) : 0;
    size_t body_n = out_body_size(m, version, props_n);
    uint8_t flags = flags_of(m->qos, m->retain, m->dup);
    TRY(mqtt_encode_begin(w, MQTT_PUBLISH, flags, body_n, m->payload_n, &end));
    wr_block16(w, m->topic);
    if (m->qos > 0) {
        wr_u16(w, m->packet_id);
    }
    if (version == MQTT_V5) {
        mqtt_varint_write(w, props_n);
        if (m->has_expiry) { /* SPEC: MQTT5-3.3.2-6 */
            mqtt_prop_write_number(w, MQTT_PROP_MESSAGE_EXPIRY, m->expiry_s);
        }
        if (m->alias != 0) {
            mqtt_prop_write_number(w, MQTT_PROP_TOPIC_ALIAS, m->alias);
        }
        for (size_t i = 0; i < m->n_subscription_ids; i++) { /* SPEC: MQTT5-3.3.4-4 */
            assert(m->subscription_ids[i] != 0);
            mqtt_prop_write_number(w, MQTT_PROP_SUBSCRIPTION_ID, m->subscription_ids[i]);
        }
        wr_bytes(w, m->forward);
    }
    return mqtt_encode_end(w, end);
}
