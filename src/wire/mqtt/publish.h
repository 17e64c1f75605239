/* publish - the PUBLISH packet. SPEC: MQTT311 3.3, MQTT5 3.3 */
#ifndef WIRE_MQTT_PUBLISH_H
#define WIRE_MQTT_PUBLISH_H

#include "wire/mqtt/props.h"

struct mqtt_publish {
    struct slice topic; /* a checked name; empty only in MQTT 5 with a topic alias */
    struct slice payload;
    uint16_t packet_id; /* 0 when qos is 0, else not 0 */
    uint8_t qos;        /* 0 to 2 */
    bool retain, dup;
    struct mqtt_props props;
};

/* A copy on its way to one receiver. */
struct mqtt_publish_out {
    struct slice topic;   /* borrowed; empty only with an alias the receiver knows */
    struct slice forward; /* borrowed: what mqtt_props_copy_forward wrote; MQTT 5 only */
    const uint32_t *subscription_ids; /* borrowed, each 1 to MQTT_VARINT_MAX; MQTT 5 only */
    size_t n_subscription_ids;
    size_t payload_n;   /* bytes of payload that the caller sends right behind the head */
    uint32_t expiry_s;  /* seconds left; only when has_expiry; MQTT 5 only */
    uint16_t packet_id; /* not 0 when qos is not 0 */
    uint16_t alias;     /* 0: none; MQTT 5 only */
    uint8_t qos;
    bool retain, dup, has_expiry;
};

/*
 * mqtt_publish_decode - read a PUBLISH body
 *
 * ERR_PROTOCOL   no topic and no alias (0x82), alias 0 or over limits->topic_alias_max (0x94), a
 *                subscription identifier from a client
 * ERR_MALFORMED  packet id 0, wildcard in topic or response topic (0x90)
 * ERR_UTF8       topic, strings; a payload declared as text that is none (0x99)
 * ERR_TOO_LARGE, ERR_LIMIT  topic over topic_bytes or topic_levels (0x90), user properties (0x97)
 * ERR_TRUNCATED
 * fault may be NULL; *ret holds nothing of use after an error. O(bytes up to the payload); the
 * payload is read only when declared as text.
 */
MUST_USE enum err mqtt_publish_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                      struct mqtt_publish *ret);
/* mqtt_publish_encode - the whole packet, payload included, properties as they are in m->props. */
MUST_USE enum err mqtt_publish_encode(const struct mqtt_publish *m, enum mqtt_version version,
                                      struct wr *w);

/* mqtt_publish_packet_size - bytes of the whole packet, payload included: compare it with the
 * receiver's maximum packet size. O(subscription ids). */
size_t mqtt_publish_packet_size(const struct mqtt_publish_out *m, enum mqtt_version version);
/* mqtt_publish_encode_head - everything before the payload, lengths counting the payload; takes
 * mqtt_publish_packet_size - payload_n bytes. The writer's error sticks; ERR_TOO_LARGE also when
 * the packet has no encoding. SPEC: MQTT-3.3.1-2, MQTT5-3.3.2-6, MQTT5-3.3.4-4 */
MUST_USE enum err mqtt_publish_encode_head(const struct mqtt_publish_out *m,
                                           enum mqtt_version version, struct wr *w);

#endif
