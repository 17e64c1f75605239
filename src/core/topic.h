/*
 * topic - topic names and topic filters: validity, levels, matching, covering. SPEC:
 * MQTT5 4.7, 4.8.2.
 *
 * No recursion on input, no allocation. All functions expect UTF-8 already checked.
 */
#ifndef CORE_TOPIC_H
#define CORE_TOPIC_H

#include "base/err.h"
#include "base/slice.h"

struct topic_limits {
    uint32_t bytes, levels;
};

/* topic_name_check - fit to publish to: not empty, no '+' '#' U+0000, within limits. ERR_MALFORMED,
 * ERR_TOO_LARGE (bytes), ERR_LIMIT (levels). */
MUST_USE enum err topic_name_check(struct slice name, const struct topic_limits *l);
/* topic_filter_check - fit to subscribe to; a `$share/G/F` is checked in both parts. Errors as
 * above. */
MUST_USE enum err topic_filter_check(struct slice filter, const struct topic_limits *l);

/* topic_share_split - true for `$share/G/F`: *ret_group = G, *ret_filter = F. Otherwise false and
 * *ret_filter = filter. */
bool topic_share_split(struct slice filter, struct slice *ret_group, struct slice *ret_filter);
bool topic_has_wildcard(struct slice filter);

/* topic_matches - SPEC: MQTT-4.7.2-1: a leading wildcard never matches a topic that starts with
 * '$'. O(bytes). */
bool topic_matches(struct slice filter, struct slice name);
/* topic_covers - does `grant` match every topic that `filter` matches? A leading wildcard never
 * covers `$...`. O(bytes). */
bool topic_covers(struct slice grant, struct slice filter);

#endif
