/*
 * topic_alias - the short numbers of topics on one MQTT 5 connection, one table for each direction.
 * Die with the connection. Names are copied; a table holds at most TOPIC_ALIASES_MAX of them.
 * SPEC: MQTT5 3.3.2.3.4
 */
#ifndef ENGINE_TOPIC_ALIAS_H
#define ENGINE_TOPIC_ALIAS_H

#include "base/err.h"
#include "base/slice.h"

enum {
    TOPIC_ALIASES_MAX = 64,   /* of one table; limits.topic_aliases is not larger */
    TOPIC_ALIAS_BYTES_MIN = 4 /* a shorter name costs less than its number */
};

struct topic_alias_table {
    uint16_t n;                            /* the next one that topic_alias_add gives is n + 1 */
    struct slice names[TOPIC_ALIASES_MAX]; /* owned; by alias - 1 */
};

/* { 0 } is an empty one. */
struct topic_aliases {
    struct topic_alias_table *table; /* owned; NULL until there is one */
};

/* topic_alias_set - from now on `alias`, 1 to TOPIC_ALIASES_MAX, stands for this name.
 * ERR_NOMEM: it stands for what it did. */
MUST_USE enum err topic_alias_set(struct topic_aliases *t, uint16_t alias, struct slice name);
/* topic_alias_name - borrowed until the alias is set again; empty: it stands for nothing. O(1). */
struct slice topic_alias_name(const struct topic_aliases *t, uint16_t alias);
/* topic_alias_find - the number of a name, 0: it has none. O(names). */
uint16_t topic_alias_find(const struct topic_aliases *t, struct slice name);
/* topic_alias_next - the number that a name would get from topic_alias_add, or 0: the first `max`
 * names have theirs for good, and a name that is short needs none. */
uint16_t topic_alias_next(const struct topic_aliases *t, struct slice name, uint16_t max);
/* topic_alias_add - the name gets the number of topic_alias_next, which was not 0. ERR_NOMEM. */
MUST_USE enum err topic_alias_add(struct topic_aliases *t, struct slice name);
void topic_aliases_done(struct topic_aliases *t);

#endif
