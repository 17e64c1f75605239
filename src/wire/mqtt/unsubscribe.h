/* unsubscribe - the UNSUBSCRIBE packet. SPEC: MQTT311 3.10, MQTT5 3.10 */
#ifndef WIRE_MQTT_UNSUBSCRIBE_H
#define WIRE_MQTT_UNSUBSCRIBE_H

#include "wire/mqtt/props.h"

struct mqtt_unsubscribe {
    uint16_t packet_id; /* not 0 */
    struct slice list;  /* validated filters: read with mqtt_unsubscribe_next */
    size_t n_filters;   /* 1 or more */
    bool is_over_limit; /* n_filters > limits->filters_per_packet: refuse every one of them */
    struct mqtt_props props;
};

/* One filter to forget; slices borrow from the list. */
struct mqtt_unsubscription {
    struct slice whole;  /* as sent */
    struct slice group;  /* empty: not shared */
    struct slice filter; /* what was matched */
};

/* mqtt_unsubscribe_decode - as mqtt_subscribe_decode, without options. fault may be NULL. O(bytes),
 * no heap. SPEC: MQTT-3.10.3-1, MQTT-3.10.3-2 */
MUST_USE enum err mqtt_unsubscribe_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                          struct mqtt_unsubscribe *ret);
/* mqtt_unsubscribe_next - takes one filter off the front of *list, which starts as m->list; false
 * when none is left. */
bool mqtt_unsubscribe_next(struct slice *list, struct mqtt_unsubscription *ret);
/* mqtt_unsubscribe_encode - the whole packet; m->list is filters, each written with wr_block16. */
MUST_USE enum err mqtt_unsubscribe_encode(const struct mqtt_unsubscribe *m,
                                          enum mqtt_version version, struct wr *w);

#endif
