#include "wire/mqtt/unsubscribe.h"

#include "wire/mqtt/fault_private.h"
#include "wire/mqtt/topic.h"

enum err mqtt_unsubscribe_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                 struct mqtt_unsubscribe *ret)
{
    struct rd r = rd_from(in->body);
    struct mqtt_unsubscribe m = {0};
    TRY(mqtt_read_packet_id(&r, fault, &m.packet_id));
    if (in->version == MQTT_V5) {
        size_t user_max = in->limits->user_properties;
        TRY(mqtt_props_decode(&r, MQTT_UNSUBSCRIBE, user_max, fault, &m.props));
    }
    m.list = slice_from(in->body, r.at);
    while (rd_left(&r) > 0) {
        struct slice whole = rd_block16(&r), group = {0}, filter = {0};
        TRY(mqtt_check_read(&r, fault));
        TRY(mqtt_lift(fault, mqtt_filter_check(whole, in->limits, fault, &group, &filter),
                      r.at - whole.n)); /* SPEC: MQTT-3.10.3-1 */
        m.n_filters++;
    }
    if (m.n_filters == 0) {
        return mqtt_protocol(fault, r.at); /* SPEC: MQTT-3.10.3-2 */
    }
    m.is_over_limit = m.n_filters > in->limits->filters_per_packet;
    *ret = m;
    return OK;
}

bool mqtt_unsubscribe_next(struct slice *list, struct mqtt_unsubscription *ret)
{
    struct rd r = rd_from(*list);
    struct mqtt_unsubscription u = {.whole = rd_block16(&r)};
    struct mqtt_wire_limits limits = mqtt_wire_limits_max(); /* the decoder's were stricter */
    if (!rd_ok(&r) || mqtt_filter_check(u.whole, &limits, NULL, &u.group, &u.filter) != OK) {
        return false;
    }
    *list = slice_from(*list, r.at);
    *ret = u;
    return true;
}

enum err mqtt_unsubscribe_encode(const struct mqtt_unsubscribe *m, enum mqtt_version version,
                                 struct wr *w)
{
    assert(m->packet_id != 0);
    bool v5 = version == MQTT_V5;
    size_t end = 0;
    size_t body_n = 2 + (v5 ? mqtt_props_size(&m->props) : 0) + m->list.n;
    TRY(mqtt_encode_begin(w, MQTT_UNSUBSCRIBE, 2, body_n, 0, &end)); /* SPEC: MQTT-3.10.1-1 */
    wr_u16(w, m->packet_id);
    if (v5) {
        mqtt_props_encode(&m->props, w);
    }
    wr_bytes(w, m->list);
    return mqtt_encode_end(w, end);
}
