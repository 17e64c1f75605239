/*
 * strangers - the bounded pool of those who have not logged in, by the network (/24, /56) they come
 * from. When it is full, the oldest one of the network that has most there goes first, so that who
 * fills the pool pays for it. Pure; no socket, no clock. One pool for each worker.
 */
#ifndef SERVICE_BROKER_STRANGERS_H
#define SERVICE_BROKER_STRANGERS_H

#include "base/list.h"
#include "base/map.h"
#include "net/peer.h"

struct stranger_group;

/* Lies in its owner's struct; { 0 } is in no pool. */
struct stranger {
    struct list_node node; /* in its group, by age */
    struct stranger_group *group;
};

struct strangers {
    struct map groups;
    struct list *by_count; /* by_count[n]: the groups with n members, the oldest of them first */
    size_t n, max;
    size_t room;    /* by_count[room] is the last one */
    size_t largest; /* no group has more members */
};

/* strangers_init - a pool of at most max > 0. ERR_NOMEM. */
MUST_USE enum err strangers_init(struct strangers *s, const struct siphash_key *key, size_t max);
/* strangers_set_max - another max > 0; who is over it stays until strangers_victim names him.
 * ERR_NOMEM: nothing changed. O(max). */
MUST_USE enum err strangers_set_max(struct strangers *s, size_t max);
/* strangers_done - all members have been removed; { 0 } is fine. */
void strangers_done(struct strangers *s);
/* strangers_add - the newest. ERR_LIMIT: the pool is full; ERR_NOMEM. Nothing changed then. O(1).
 */
MUST_USE enum err strangers_add(struct strangers *s, struct stranger *m,
                                const struct net_prefix *prefix);
/* strangers_remove - fine when it is in no pool. O(1). */
void strangers_remove(struct strangers *s, struct stranger *m);
/* strangers_count - how many of this network are in. O(1). */
size_t strangers_count(const struct strangers *s, const struct net_prefix *prefix);
/* strangers_victim - who must go before another comes in; NULL while there is room. To be called
 * until then. O(1). */
struct stranger *strangers_victim(const struct strangers *s);

#endif
