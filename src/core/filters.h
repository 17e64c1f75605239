/*
 * filters - one worker's filter tree: which local subscribers, and which other workers, want a
 * topic.
 *
 * Exact filters live in one hash, wildcard filters in a trie of levels. A match allocates nothing
 * once its scratch has grown, copies no string and recurses over no input. Other workers appear as
 * bits of two masks on a filter (docs/ORDER.md, rule 3): who has subscribers for it, and who has
 * durable ones.
 */
#ifndef CORE_FILTERS_H
#define CORE_FILTERS_H

#include "base/list.h"
#include "base/siphash.h"
#include "base/slice.h"
#include "core/topic.h"

enum { FILTERS_WORKERS_MAX = 64 };

struct filters;
struct filter; /* one distinct filter text; lives while a sub or a remote bit holds it */

/* A group (core/groups.h) is a subscriber of its own: whoever matched chooses the member. */
enum subscriber_kind { SUBSCRIBER_SESSION, SUBSCRIBER_OBSERVER, SUBSCRIBER_GROUP };

/* Embedded first in whatever receives messages (core/session.h, service/gateway). */
struct subscriber {
    enum subscriber_kind kind;
    bool is_durable; /* what it is sent must be committed before the publisher is acknowledged */
    uint32_t n_subs;
    uint32_t match_at;   /* where that match has it */
    struct list subs;    /* struct sub.in_subscriber */
    uint64_t match_mark; /* the last match that saw it: several filters, one delivery */
};

void subscriber_init(struct subscriber *s, enum subscriber_kind kind, bool is_durable);

struct member;

struct sub {
    struct list_node in_subscriber;
    union {
        struct list_node in_filter;
        struct member *member; /* is_member: its group matches in its place */
    };
    struct subscriber *subscriber;
    struct filter *filter;
    uint64_t epoch;          /* policy epoch at which it was last found covered */
    uint32_t id;             /* subscription identifier; 0 = none */
    uint8_t qos;             /* granted */
    uint8_t retain_handling; /* 0, 1, 2: SPEC: MQTT5 3.8.3.1 */
    bool no_local : 1, retain_as_published : 1;
    bool
        is_pending : 1; /* set by the owner until the SUBACK barrier has passed: no match sees it */
    bool is_member : 1; /* of a shared subscription */
};

/* What other workers must be told after a change here: nothing when both pairs are equal. Groups
 * are known everywhere and do not count. */
struct interest_change {
    bool was_any, was_durable, is_any, is_durable;
};
static inline bool interest_changed(const struct interest_change *c)
{
    return c->was_any != c->is_any || c->was_durable != c->is_durable;
}

MUST_USE enum err filters_new(const struct siphash_key *key, struct filters **ret);
/* filters_free - all subs must be gone (remote bits may remain). */
struct filters *filters_free(struct filters *f);

/* filters_add - a new sub for s. The filter text is copied into the tree. ERR_EXISTS: s has this
 * filter already
 * (*ret_sub is then that sub, to be changed in place); ERR_NOMEM: nothing changed. */
MUST_USE enum err filters_add(struct filters *f, struct slice filter, struct subscriber *s,
                              struct sub **ret_sub, struct interest_change *ret_change);
/* filters_add_member - a sub of s that no match finds, that of `member`, under the filter of
 * `group`, which is the group's own sub and must outlive it. It says nothing to other workers.
 * ERR_NOMEM. */
MUST_USE enum err filters_add_member(struct filters *f, const struct sub *group,
                                     struct subscriber *s, struct member *member, struct sub **ret);
/* filters_find - the ordinary sub of s under this filter, or NULL. */
struct sub *filters_find(struct filters *f, struct slice filter, const struct subscriber *s);
/* filters_remove - takes the sub out of the tree and frees it. Copy sub_filter() before when it is
 * still needed. */
void filters_remove(struct filters *f, struct sub *sub, struct interest_change *ret_change);
/* filters_set_durable - s changes between durable and not; calls `changed` for each of its filters
 * whose interest changed by it. */
void filters_set_durable(struct filters *f, struct subscriber *s, bool is_durable,
                         void (*changed)(void *ctx, struct slice filter,
                                         const struct interest_change *c),
                         void *ctx);
struct slice sub_filter(const struct sub *sub);

/* filters_set_remote - what worker w says it has for this filter. ERR_NOMEM: nothing changed. */
MUST_USE enum err filters_set_remote(struct filters *f, struct slice filter, unsigned worker,
                                     bool any, bool durable);
/* filters_each_local - for every filter with local subs, groups aside: used to tell a worker that
 * starts. */
void filters_each_local(const struct filters *f,
                        void (*each)(void *ctx, struct slice filter, bool durable), void *ctx);
size_t filters_count(const struct filters *f);     /* distinct filters */
size_t filters_sub_count(const struct filters *f); /* local subs */

/* One subscriber that a topic reached, however many of its filters matched. */
struct match_hit {
    struct subscriber *subscriber;
    struct sub *first;        /* one of the matching subs */
    uint8_t qos;              /* highest granted of all matching subs */
    bool retain_as_published; /* of any matching sub */
    uint16_t n_ids;           /* subscription identifiers, in filters_match_ids() order */
    uint32_t ids_at;          /* index into match.ids */
    uint32_t group;           /* number of the group that chose this subscriber; 0: none */
};

struct match {
    struct match_hit *hits; /* hits and ids: whoever matched may change them in place */
    size_t n_hits;
    size_t n_groups; /* of the hits; each has room for one identifier */
    uint32_t *ids;
    uint64_t remote_any, remote_durable; /* worker bits */
    bool local_durable;                  /* some hit is durable */
};

/* filters_match - all that want `topic`. from_session: subs with no_local of the subscriber `from`
 * are skipped (NULL: none), and pending ones. Borrowed until the next call on f. ERR_NOMEM when
 * scratch cannot grow: then nothing may be delivered. O(levels * branching + hits). */
MUST_USE enum err filters_match(struct filters *f, struct slice topic,
                                const struct subscriber *from, struct match *ret);

enum { FILTERS_AHEAD = 8, FILTERS_MANY = 4096 };
/* filters_are_many - at least FILTERS_MANY: what a match touches is hardly ever near. */
bool filters_are_many(const struct filters *f);
/* filters_ahead - n topics, at most FILTERS_AHEAD, will be matched soon: what that touches is asked
 * for. A hint, whose answer is one, too: ret[i] is a subscriber that topic i seems to reach, or
 * NULL; until the next change. O(bytes of the topics). */
void filters_ahead(const struct filters *f, const struct slice *topics, size_t n,
                   struct subscriber **ret);

#endif
