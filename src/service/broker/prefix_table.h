/*
 * prefix_table - how many connections a network (/24, /56) may begin without logging in.
 *
 * Each has a token bucket; who becomes known gives its token back. A fixed number of networks is
 * remembered, in sets that a keyed hash chooses. When a set is full, the network that has most of
 * its budget left is forgotten: a flood out of many networks pushes out those that did least, never
 * one that is over its budget. Pure: no socket, no clock. One table for each worker.
 */
#ifndef SERVICE_BROKER_PREFIX_TABLE_H
#define SERVICE_BROKER_PREFIX_TABLE_H

#include "base/siphash.h"
#include "core/quota.h"
#include "net/peer.h"

enum {
    PREFIX_SETS = 512, /* a power of two */
    PREFIX_WAYS = 8,
    PREFIX_TELL_MS = 10 * 1000, /* refusals of one network are one event in this time */
    PREFIX_SWEEP_MS = 100,      /* and the events are looked for so often */
    PREFIX_SWEEP_MAX = 16       /* events a sweep */
};

struct prefix_budget {
    struct net_prefix prefix;
    struct bucket bucket; /* burst 0: a free place */
    uint64_t tell_at_ms;
    uint32_t refused;  /* not told yet */
    unsigned listener; /* index: where the last refused one came in */
};

struct prefix_table {
    struct siphash_key key;
    uint32_t rate, burst;
    uint32_t
        share; /* workers that share a budget: a connection costs each of them so many tokens */
    uint64_t sweep_at_ms; /* UINT64_MAX: nothing to tell */
    uint64_t swept_at_ms;
    unsigned n_told; /* of this sweep */
    size_t at;       /* of this sweep */
    struct prefix_budget place[PREFIX_SETS * PREFIX_WAYS];
};

/* What there is to say about one network. */
struct prefix_report {
    struct net_prefix prefix;
    uint32_t refused;
    unsigned listener;
};

/* prefix_table_init - `share` workers divide the budget of rate (a second) and burst evenly; each
 * may begin at least one. */
void prefix_table_init(struct prefix_table *t, const struct siphash_key *key, uint32_t rate,
                       uint32_t burst, uint32_t share);
/* prefix_take - may a connection of this network begin? It costs a token. O(PREFIX_WAYS). */
bool prefix_take(struct prefix_table *t, const struct net_prefix *prefix, uint64_t now_ms);
/* prefix_table_set - another budget from here on; what was taken of the old one is taken. */
void prefix_table_set(struct prefix_table *t, uint32_t rate, uint32_t burst);
/* prefix_refused - one was turned away: remembered for a report. listener is the caller's. */
void prefix_refused(struct prefix_table *t, const struct net_prefix *prefix, unsigned listener,
                    uint64_t now_ms);
/* prefix_give - a connection that was let in is known now. */
void prefix_give(struct prefix_table *t, const struct net_prefix *prefix, uint64_t now_ms);
/* prefix_next_report - one network whose refusals should be told; false: none for now. */
bool prefix_next_report(struct prefix_table *t, uint64_t now_ms, struct prefix_report *ret);
/* prefix_deadline - when prefix_next_report may have something; UINT64_MAX: never. */
uint64_t prefix_deadline(const struct prefix_table *t);

#endif
