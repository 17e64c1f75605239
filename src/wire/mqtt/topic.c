#include "wire/mqtt/topic.h"

#include "wire/mqtt/fault_private.h"

/* What names and filters have in common. The size comes first: it bounds the rest of the work. */
static enum err check_text(struct slice s, const struct mqtt_wire_limits *limits,
                           struct mqtt_fault *fault, uint8_t reason)
{
    if (s.n == 0) {
        return mqtt_fail(fault, ERR_MALFORMED, 0, reason); /* SPEC: MQTT-4.7.3-1 */
    }
    if (s.n > limits->topic_bytes) {
        return mqtt_fail(fault, ERR_TOO_LARGE, limits->topic_bytes, reason);
    }
    return mqtt_check_text(s, 0, fault, MQTT_MALFORMED_PACKET); /* SPEC: MQTT-4.7.3-2 */
}

static enum err check_levels(struct slice s, const struct mqtt_wire_limits *limits,
                             struct mqtt_fault *fault, uint8_t reason)
{
    size_t n_levels = 1;
    for (size_t i = 0; i < s.n; i++) {
        n_levels += s.p[i] == '/';
    }
    return n_levels <= limits->topic_levels ? OK : mqtt_fail(fault, ERR_LIMIT, 0, reason);
}

static bool has_wildcard(struct slice s)
{
    return slice_find(s, '+') < s.n || slice_find(s, '#') < s.n;
}

/* What a byte of a name adds to a sum that one comparison judges: separators are counted, and what
 * must be looked at closely is more than all separators together. */
enum { BYTE_SEPARATOR = 1, BYTE_ODD = 0x10000 };
static const uint32_t meaning[256] = {[0] = BYTE_ODD,
                                      ['+'] = BYTE_ODD,
                                      ['#'] = BYTE_ODD,
                                      [0x80 ... 0xff] = BYTE_ODD,
                                      ['/'] = BYTE_SEPARATOR};

/* Nearly all names are ASCII without a wildcard: one pass is enough for them. */
static bool is_plain_name(struct slice topic, const struct mqtt_wire_limits *limits)
{
    uint64_t sum = 0;
    if (topic.n == 0 || topic.n > limits->topic_bytes) {
        return false;
    }
    for (size_t i = 0; i < topic.n; i++) {
        sum += meaning[topic.p[i]];
    }
    return sum < BYTE_ODD && sum < limits->topic_levels;
}

enum err mqtt_topic_check(struct slice topic, const struct mqtt_wire_limits *limits,
                          struct mqtt_fault *fault)
{
    if (is_plain_name(topic, limits)) {
        return OK;
    }
    TRY(check_text(topic, limits, fault, MQTT_TOPIC_NAME_INVALID));
    TRY(check_levels(topic, limits, fault, MQTT_TOPIC_NAME_INVALID));
    if (has_wildcard(topic)) { /* SPEC: MQTT-3.3.2-2, MQTT5-4.7.0-1, MQTT3-4.7.1-1 */
        return mqtt_fail(fault, ERR_MALFORMED, 0, MQTT_TOPIC_NAME_INVALID);
    }
    return OK;
}

/* Each wildcard alone in its level, '#' only in the last. */
static bool has_placed_wildcards(struct slice filter)
{
    struct slice rest = filter;
    bool more = true;
    while (more) {
        struct slice level = slice_cut(&rest, '/', &more);
        if (has_wildcard(level) && level.n != 1) {
            return false; /* SPEC: MQTT5-4.7.1-2, MQTT3-4.7.1-3 */
        }
        if (slice_is(level, "#") && more) {
            return false; /* SPEC: MQTT5-4.7.1-1, MQTT3-4.7.1-2 */
        }
    }
    return true;
}

static bool is_share_level(struct slice filter)
{
    bool more = false;
    return slice_is(slice_cut(&filter, '/', &more), "$share");
}

enum err mqtt_filter_check(struct slice filter, const struct mqtt_wire_limits *limits,
                           struct mqtt_fault *fault, struct slice *ret_group,
                           struct slice *ret_filter)
{
    TRY(check_text(filter, limits, fault, MQTT_TOPIC_FILTER_INVALID));
    struct slice rest = filter, group = {0};
    if (is_share_level(filter)) {
        bool more = false;
        (void)slice_cut(&rest, '/', &more);
        group = slice_cut(&rest, '/', &more);
        /* SPEC: MQTT5-4.8.2-1, MQTT5-4.8.2-2. A share of a share would be two subscriptions in one.
         */
        if (group.n == 0 || has_wildcard(group) || rest.n == 0 || is_share_level(rest)) {
            return mqtt_fail(fault, ERR_MALFORMED, 0, MQTT_TOPIC_FILTER_INVALID);
        }
    }
    TRY(check_levels(rest, limits, fault, MQTT_TOPIC_FILTER_INVALID));
    if (!has_placed_wildcards(rest)) {
        return mqtt_fail(fault, ERR_MALFORMED, filter.n - rest.n, MQTT_TOPIC_FILTER_INVALID);
    }
    *ret_group = group;
    *ret_filter = rest;
    return OK;
}
