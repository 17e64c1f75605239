/* topic - are these bytes a topic name or a topic filter? Grammar only; matching is core's. */
#ifndef WIRE_MQTT_TOPIC_H
#define WIRE_MQTT_TOPIC_H

#include "wire/mqtt/mqtt.h"

/*
 * mqtt_topic_check - a topic name: 1 byte or more, MQTT's UTF-8, no wildcard, within the limits
 *
 * ERR_UTF8 (0x81), ERR_MALFORMED (0x90), ERR_TOO_LARGE or ERR_LIMIT over topic_bytes or
 * topic_levels (0x90). fault may be NULL; its `at` counts from the front of `topic`. O(n), no
 * recursion. SPEC: MQTT5-4.7.0-1, MQTT3-4.7.1-1, MQTT-4.7.3-1, MQTT-4.7.3-2, MQTT-3.3.2-2.
 */
MUST_USE enum err mqtt_topic_check(struct slice topic, const struct mqtt_wire_limits *limits,
                                   struct mqtt_fault *fault);

/*
 * mqtt_filter_check - a topic filter, with "$share/GROUP/" in front or without
 *
 * ret_group   GROUP; empty when the subscription is not shared. Borrows.
 * ret_filter  what is matched: the filter without the share prefix. Borrows.
 *
 * Errors as mqtt_topic_check, with 0x8F for 0x90. A filter whose first level is "$share" must be a
 * well-formed shared one in either version. O(n), no recursion.
 * SPEC: MQTT5-4.7.1-1, MQTT3-4.7.1-2, MQTT5-4.7.1-2, MQTT3-4.7.1-3, MQTT-4.7.3-1, MQTT5-4.8.2-1,
 * MQTT5-4.8.2-2.
 */
MUST_USE enum err mqtt_filter_check(struct slice filter, const struct mqtt_wire_limits *limits,
                                    struct mqtt_fault *fault, struct slice *ret_group,
                                    struct slice *ret_filter);

#endif
