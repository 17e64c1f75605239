#include "core/topic.h"

static const char SHARE[] = "$share/";

static bool has_byte(struct slice s, uint8_t byte)
{
    return slice_find(s, byte) < s.n;
}

static size_t count_levels(struct slice s)
{
    size_t n = 1;
    for (size_t i = 0; i < s.n; i++) {
        n += s.p[i] == '/';
    }
    return n;
}

static bool is_wild(struct slice level)
{
    return level.n == 1 && (level.p[0] == '+' || level.p[0] == '#');
}

static bool is_hash(struct slice level)
{
    return level.n == 1 && level.p[0] == '#';
}

static bool is_plus(struct slice level)
{
    return level.n == 1 && level.p[0] == '+';
}

static bool has_dollar(struct slice s)
{
    return s.n > 0 && s.p[0] == '$';
}

enum err topic_name_check(struct slice name, const struct topic_limits *l)
{
    if (name.n > l->bytes) {
        return ERR_TOO_LARGE;
    }
    /* SPEC: MQTT-4.7.3-1, MQTT-4.7.3-2, MQTT-3.3.2-2 */
    if (name.n == 0 || has_byte(name, 0) || has_byte(name, '+') || has_byte(name, '#')) {
        return ERR_MALFORMED;
    }
    return count_levels(name) > l->levels ? ERR_LIMIT : OK;
}

static enum err levels_check(struct slice filter, const struct topic_limits *l)
{
    if (filter.n == 0 || has_byte(filter, 0)) {
        return ERR_MALFORMED; /* SPEC: MQTT-4.7.3-1, MQTT-4.7.3-2 */
    }
    struct slice rest = filter;
    bool more = true;
    size_t n = 0;
    while (more) {
        struct slice level = slice_cut(&rest, '/', &more);
        n++;
        if (is_hash(level)) {
            if (more) {
                return ERR_MALFORMED; /* SPEC: MQTT5-4.7.1-1, MQTT3-4.7.1-2 */
            }
        } else if (!is_plus(level) && (has_byte(level, '+') || has_byte(level, '#'))) {
            return ERR_MALFORMED; /* SPEC: MQTT5-4.7.1-1, MQTT3-4.7.1-2, MQTT5-4.7.1-2,
                                     MQTT3-4.7.1-3 */
        }
    }
    return n > l->levels ? ERR_LIMIT : OK;
}

enum err topic_filter_check(struct slice filter, const struct topic_limits *l)
{
    if (filter.n > l->bytes) {
        return ERR_TOO_LARGE;
    }
    if (!slice_has_prefix(filter, slice_text(SHARE))) {
        return levels_check(filter, l);
    }
    struct slice group, shared;
    if (!topic_share_split(filter, &group, &shared)) {
        return ERR_MALFORMED; /* SPEC: MQTT5-4.8.2-1, MQTT5-4.8.2-2 */
    }
    if (has_byte(group, 0) || has_byte(group, '+') || has_byte(group, '#')) {
        return ERR_MALFORMED; /* SPEC: MQTT5-4.8.2-2 */
    }
    return levels_check(shared, l);
}

bool topic_share_split(struct slice filter, struct slice *ret_group, struct slice *ret_filter)
{
    struct slice rest = filter;
    if (slice_has_prefix(filter, slice_text(SHARE))) {
        rest = slice_from(filter, sizeof SHARE - 1);
        bool more = false;
        struct slice group = slice_cut(&rest, '/', &more);
        if (group.n > 0 && rest.n > 0) {
            *ret_group = group;
            *ret_filter = rest;
            return true;
        }
    }
    *ret_filter = filter;
    return false;
}

bool topic_has_wildcard(struct slice filter)
{
    return has_byte(filter, '+') || has_byte(filter, '#');
}

bool topic_matches(struct slice filter, struct slice name)
{
    bool more_filter = true, more_name = true, is_first = true;
    while (more_filter) {
        struct slice want = slice_cut(&filter, '/', &more_filter);
        if (is_first && is_wild(want) && has_dollar(name)) {
            return false; /* SPEC: MQTT-4.7.2-1 */
        }
        if (is_hash(want)) {
            return true; /* also with no level left: the parent. SPEC: MQTT5 4.7.1.2 */
        }
        if (!more_name) {
            return false;
        }
        struct slice level = slice_cut(&name, '/', &more_name);
        if (!is_plus(want) && !slice_equal(want, level)) {
            return false;
        }
        is_first = false;
    }
    return !more_name;
}

bool topic_covers(struct slice grant, struct slice filter)
{
    /* No topic is empty, so two filters have no parent to match and mean the same as longer ones,
     * which can be compared level by level. */
    if (slice_is(filter, "#")) {
        filter = slice_text("+/#");
    } else if (slice_is(filter, "/#")) {
        filter = slice_text("/+/#");
    }
    bool more_grant = true, more_filter = true, is_first = true;
    while (more_grant) {
        struct slice may = slice_cut(&grant, '/', &more_grant);
        if (is_first && is_wild(may) && has_dollar(filter)) {
            return false; /* SPEC: MQTT-4.7.2-1 */
        }
        if (is_hash(may)) {
            return true;
        }
        if (!more_filter) {
            return false;
        }
        struct slice want = slice_cut(&filter, '/', &more_filter);
        /* A '#' asks for more depths than any levels that are counted one by one. */
        if (is_hash(want) || (!is_plus(may) && !slice_equal(may, want))) {
            return false;
        }
        is_first = false;
    }
    return !more_filter;
}
