/*
 * spoof - networks in whose name many requests come that nobody follows up.
 *
 * Whoever is not proven is answered by a challenge (a cookie, an Echo), and an honest client comes
 * back with it. Who writes somebody else's address on its datagrams never sees the challenge. So
 * what counts for a network (/24, /56) are the requests that were challenged, less the addresses
 * that came back: those of one interval are looked at when another one has passed. A fixed number
 * of networks is remembered, in sets that a keyed hash chooses; the one with the fewest gives way.
 * Pure: no socket, no clock. One table for each door.
 */
#ifndef SERVICE_GATEWAY_SPOOF_H
#define SERVICE_GATEWAY_SPOOF_H

#include "base/siphash.h"
#include "net/peer.h"

enum {
    SPOOF_SETS = 64,
    SPOOF_WAYS = 8,
    SPOOF_INTERVAL_MS = 2000,
    SPOOF_SUSPECT = 100,         /* so many of one network in an interval are no accident */
    SPOOF_SUSPECT_SPREAD = 1000, /* so many of all others together */
    SPOOF_TELL_MS = 60 * 1000,   /* a network is told once in this time */
    SPOOF_TELL_MAX = 8           /* networks that are told in an interval */
};

struct spoof_count {
    uint64_t n_new, n_old; /* of this interval and the one before: challenged, not come back */
    uint64_t n_untold;     /* of earlier intervals, when they were too many */
    uint64_t tell_at_ms;   /* not before; 0: at once */
};

struct spoof_network {
    struct net_prefix prefix;
    struct net_peer last; /* whose name it was */
    struct spoof_count count;
    bool is_used;
};

struct spoof_table {
    struct siphash_key key;
    uint64_t tick_at_ms; /* the end of the interval; UINT64_MAX: nothing is remembered */
    size_t at;           /* of the reports of this interval; COUNT_OF(network): none left */
    unsigned n_told;
    struct spoof_count all; /* n_untold, tell_at_ms: of what no network by itself accounts for */
    struct spoof_network network[SPOOF_SETS * SPOOF_WAYS];
};

struct spoof_report {
    bool is_spread; /* many networks, each with few; the rest is about the last one */
    struct net_prefix prefix;
    struct net_peer last;
    uint64_t n;
};

void spoof_init(struct spoof_table *t, const struct siphash_key *key);
/* spoof_challenged - a request in this name was challenged. O(SPOOF_WAYS), as the next. */
void spoof_challenged(struct spoof_table *t, const struct net_peer *peer, uint64_t now_ms);
/* spoof_came_back - this address has proven itself, after n requests that were challenged. */
void spoof_came_back(struct spoof_table *t, const struct net_peer *peer, unsigned n);
/* spoof_next_report - what should be told now; false: nothing more. O(networks) once in an
 * interval. */
bool spoof_next_report(struct spoof_table *t, uint64_t now_ms, struct spoof_report *ret);
/* spoof_deadline - when spoof_next_report may have something; UINT64_MAX: never. */
uint64_t spoof_deadline(const struct spoof_table *t);

#endif
