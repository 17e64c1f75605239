/*
 * groups - shared subscriptions as one worker knows them: every group of the process with all its
 * members, wherever they live, and whose turn it is. SPEC: MQTT5 4.8.2.
 *
 * A group is named by the whole text `$share/NAME/FILTER` and is one subscriber in the filter tree;
 * whoever matched a message chooses one member for it. No I/O, no clock, no policy: the caller says
 * who may have a message and how long it would wait there.
 * docs/decisions/0024-shared-subscriptions.md.
 */
#ifndef CORE_GROUPS_H
#define CORE_GROUPS_H

#include "base/map.h"
#include "core/filters.h"

struct groups;

struct group {
    struct subscriber subscriber; /* first */
    uint32_t number;              /* of this worker, never 0, never reused: deliveries carry it */
    uint64_t hash;                /* of the text, never 0: the same in every process */
    struct sub *sub;              /* its own, in the filter tree */
    struct list members;          /* struct member, whose turn it is first */
    size_t n_durable;             /* of them, that last */
    struct slice text;            /* behind the struct */
};

/* What everybody knows of a member. */
struct member_facts {
    uint64_t id;      /* unique in the process */
    uint64_t session; /* session id */
    unsigned worker;  /* where that lives */
    bool is_connected, is_durable;
};

struct member {
    struct list_node in_group;
    struct group *group;
    struct member_facts facts;
    struct sub *sub;  /* of a session of this worker; NULL: it lives elsewhere */
    uint64_t n_given; /* since its facts changed: how much a sleeping one on another worker holds */
};

/* groups_new - filters is borrowed for life. ERR_NOMEM. */
MUST_USE enum err groups_new(const struct siphash_key *key, struct filters *filters,
                             struct groups **ret);
/* groups_free - members of this worker must have left; all others leave. NULL is fine. */
struct groups *groups_free(struct groups *g);

/*
 * groups_put - this member is in the group of `text`, with these facts
 *
 * text  a valid `$share/NAME/FILTER`; copied when the group is new.
 * s     its session, borrowed while it is a member, which gets a sub; NULL: on another worker.
 *
 * OK, also for a member that was there; ERR_NOMEM: nothing changed. O(1).
 */
MUST_USE enum err groups_put(struct groups *g, struct slice text, const struct member_facts *facts,
                             struct subscriber *s, struct member **ret);
/* groups_change - other facts of the same member. */
void groups_change(struct member *m, const struct member_facts *facts);
/* groups_leave - takes m out, with its sub, and frees it; the last one ends the group. */
void groups_leave(struct groups *g, struct member *m);

struct group *groups_find(const struct groups *g, struct slice text);
struct group *groups_numbered(const struct groups *g, uint32_t number);
struct member *groups_member(const struct groups *g, uint64_t id);
/* groups_next - walks all groups: *at starts at 0; NULL at the end. */
struct group *groups_next(const struct groups *g, size_t *at);
/* group_sub_of - the sub by which s is a member of `text`, or NULL. O(subs of s). */
struct sub *group_sub_of(const struct subscriber *s, struct slice text);

/* sub_text - what its client asked for: the whole text when it is a member's. */
struct slice sub_text(const struct sub *sub);

/* What a message would meet at a member, from best to worst. */
#define GROUP_AT_ONCE UINT64_C(0)         /* it may have it now; else how many are before it */
#define GROUP_ASLEEP  (UINT64_C(1) << 32) /* added for one without a connection */
#define GROUP_FULL    (UINT64_MAX - 1)    /* its queue has no room */
#define GROUP_NEVER   UINT64_MAX          /* it must not, or it could not get it */

/* group_pick - whose turn it is: the first member with the least load, which goes to the back of
 * the line; NULL when all are GROUP_NEVER. O(1) as long as somebody can have it at once, else
 * O(members). */
struct member *group_pick(struct group *group, uint64_t (*load)(void *ctx, const struct member *m),
                          void *ctx);

#endif
