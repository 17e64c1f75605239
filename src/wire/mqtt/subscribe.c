#include "wire/mqtt/subscribe.h"

#include "wire/mqtt/fault_private.h"
#include "wire/mqtt/topic.h"

/* Subscription options. SPEC: MQTT5 3.8.3.1 */
enum {
    OPTION_QOS = 0x03,
    OPTION_NO_LOCAL = 0x04,
    OPTION_RETAIN_AS_PUBLISHED = 0x08,
    OPTION_RETAIN_HANDLING_SHIFT = 4,
    OPTION_RESERVED = 0xc0,
    OPTION_RESERVED_V311 = 0xfc
};

static enum err check_options(uint8_t options, enum mqtt_version version, bool is_shared, size_t at,
                              struct mqtt_fault *fault)
{
    uint8_t reserved = version == MQTT_V5 ? OPTION_RESERVED : OPTION_RESERVED_V311;
    if ((options & reserved) != 0) {
        return mqtt_malformed(fault, at); /* SPEC: MQTT5-3.8.3-5, MQTT3-3.8.3-4 */
    }
    if ((options & OPTION_QOS) == 3) {
        return version == MQTT_V5 ? mqtt_protocol(fault, at) : mqtt_malformed(fault, at);
    }
    if (options >> OPTION_RETAIN_HANDLING_SHIFT == 3) {
        return mqtt_protocol(fault, at);
    }
    if (is_shared && (options & OPTION_NO_LOCAL) != 0) {
        return mqtt_protocol(fault, at); /* SPEC: MQTT5-3.8.3-4 */
    }
    return OK;
}

static struct mqtt_subscription subscription_of(struct slice whole, uint8_t options)
{
    return (struct mqtt_subscription){
        .whole = whole,
        .qos = options & OPTION_QOS,
        .no_local = (options & OPTION_NO_LOCAL) != 0,
        .retain_as_published = (options & OPTION_RETAIN_AS_PUBLISHED) != 0,
        .retain_handling = (enum mqtt_retain_handling)(options >> OPTION_RETAIN_HANDLING_SHIFT)};
}

static enum err check_one(struct rd *r, const struct mqtt_input *in, struct mqtt_fault *fault)
{
    struct slice whole = rd_block16(r), group = {0}, filter = {0};
    TRY(mqtt_check_read(r, fault));
    TRY(mqtt_lift(fault, mqtt_filter_check(whole, in->limits, fault, &group, &filter),
                  r->at - whole.n)); /* SPEC: MQTT-3.8.3-1 */
    uint8_t options = rd_u8(r);
    TRY(mqtt_check_read(r, fault));
    return check_options(options, in->version, group.n > 0, r->at - 1, fault);
}

enum err mqtt_subscribe_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                               struct mqtt_subscribe *ret)
{
    struct rd r = rd_from(in->body);
    struct mqtt_subscribe m = {0};
    TRY(mqtt_read_packet_id(&r, fault, &m.packet_id));
    if (in->version == MQTT_V5) {
        size_t user_max = in->limits->user_properties;
        TRY(mqtt_props_decode(&r, MQTT_SUBSCRIBE, user_max, fault, &m.props));
    }
    m.list = slice_from(in->body, r.at);
    while (rd_left(&r) > 0) {
        TRY(check_one(&r, in, fault));
        m.n_filters++;
    }
    if (m.n_filters == 0) {
        return mqtt_protocol(fault, r.at); /* SPEC: MQTT5-3.8.3-2, MQTT3-3.8.3-3 */
    }
    m.is_over_limit = m.n_filters > in->limits->filters_per_packet;
    *ret = m;
    return OK;
}

bool mqtt_subscribe_next(struct slice *list, struct mqtt_subscription *ret)
{
    struct rd r = rd_from(*list);
    struct slice whole = rd_block16(&r);
    struct mqtt_subscription s = subscription_of(whole, rd_u8(&r));
    if (!rd_ok(&r)) {
        return false;
    }
    struct mqtt_wire_limits limits = mqtt_wire_limits_max(); /* the decoder's were stricter */
    if (mqtt_filter_check(whole, &limits, NULL, &s.group, &s.filter) != OK) {
        return false;
    }
    *list = slice_from(*list, r.at);
    *ret = s;
    return true;
}

void mqtt_subscription_write(struct wr *w, const struct mqtt_subscription *s,
                             enum mqtt_version version)
{
    assert(s->qos <= 2);
    unsigned options = s->qos;
    if (version == MQTT_V5) {
        options |= s->no_local ? OPTION_NO_LOCAL : 0u;
        options |= s->retain_as_published ? OPTION_RETAIN_AS_PUBLISHED : 0u;
        options |= (unsigned)s->retain_handling << OPTION_RETAIN_HANDLING_SHIFT;
    }
    wr_block16(w, s->whole);
    wr_u8(w, (uint8_t)options);
}

enum err mqtt_subscribe_encode(const struct mqtt_subscribe *m, enum mqtt_version version,
                               struct wr *w)
{
    assert(m->packet_id != 0);
    bool v5 = version == MQTT_V5;
    size_t end = 0;
    size_t body_n = 2 + (v5 ? mqtt_props_size(&m->props) : 0) + m->list.n;
    TRY(mqtt_encode_begin(w, MQTT_SUBSCRIBE, 2, body_n, 0, &end)); /* SPEC: MQTT-3.8.1-1 */
    wr_u16(w, m->packet_id);
    if (v5) {
        mqtt_props_encode(&m->props, w);
    }
    wr_bytes(w, m->list);
    return mqtt_encode_end(w, end);
}
