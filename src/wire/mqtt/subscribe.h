/* subscribe - the SUBSCRIBE packet. SPEC: MQTT311 3.8, MQTT5 3.8 */
#ifndef WIRE_MQTT_SUBSCRIBE_H
#define WIRE_MQTT_SUBSCRIBE_H

#include "wire/mqtt/props.h"

/* When retained messages are sent. SPEC: MQTT5-3.3.1-9, MQTT5-3.3.1-10, MQTT5-3.3.1-11 */
enum mqtt_retain_handling { MQTT_RETAIN_ALWAYS, MQTT_RETAIN_IF_NEW, MQTT_RETAIN_NEVER };

/* One requested subscription. */
struct mqtt_subscription {
    struct slice whole;  /* as sent, "$share/GROUP/" included: what UNSUBSCRIBE must repeat */
    struct slice group;  /* empty: not shared */
    struct slice filter; /* what is matched */
    uint8_t qos;         /* 0 to 2 */
    bool no_local, retain_as_published;        /* false in 3.1.1 */
    enum mqtt_retain_handling retain_handling; /* MQTT_RETAIN_ALWAYS in 3.1.1 */
};

struct mqtt_subscribe {
    uint16_t packet_id;      /* not 0 */
    struct slice list;       /* validated filters and options: read with mqtt_subscribe_next */
    size_t n_filters;        /* 1 or more */
    bool is_over_limit;      /* n_filters > limits->filters_per_packet: refuse every one of them */
    struct mqtt_props props; /* MQTT_PROP_SUBSCRIPTION_ID, absent = none */
};

/*
 * mqtt_subscribe_decode - read a SUBSCRIBE body and check every filter in it
 *
 * A packet with more filters than the limit is OK with is_over_limit set, because its answer is a
 * SUBACK that refuses each and not the end of the connection.
 *
 * ERR_MALFORMED  packet id 0, reserved option bits, QoS 3 in 3.1.1, a filter that is none (0x8F)
 * ERR_PROTOCOL   no filter, QoS 3 or retain handling 3 in MQTT 5, no-local on a shared
 * subscription, subscription identifier 0 or twice ERR_UTF8; ERR_TOO_LARGE, ERR_LIMIT (0x8F) a
 * filter over topic_bytes or topic_levels; user properties (0x97); ERR_TRUNCATED fault may be NULL.
 * O(bytes), no heap. SPEC: MQTT-3.8.3-1 to 5.
 */
MUST_USE enum err mqtt_subscribe_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                        struct mqtt_subscribe *ret);

/* mqtt_subscribe_next - takes one subscription off the front of *list, which starts as m->list;
 * false when none is left. Only for lists that the decoder accepted. O(filter). */
bool mqtt_subscribe_next(struct slice *list, struct mqtt_subscription *ret);

/* mqtt_subscription_write - appends one entry to a list for mqtt_subscribe_encode: `whole` and the
 * options; in 3.1.1 only the QoS. */
void mqtt_subscription_write(struct wr *w, const struct mqtt_subscription *s,
                             enum mqtt_version version);
/* mqtt_subscribe_encode - the whole packet; m->list must have been written for this version. */
MUST_USE enum err mqtt_subscribe_encode(const struct mqtt_subscribe *m, enum mqtt_version version,
                                        struct wr *w);

#endif
