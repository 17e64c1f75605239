/*
 * perimeter - who may reach an entrance at all, asked before the first byte is looked at: the
 * networks of its `from`; and whether an entrance without networks is seen from public addresses.
 */
#ifndef SERVICE_BROKER_PERIMETER_H
#define SERVICE_BROKER_PERIMETER_H

#include <stdatomic.h>

#include "base/event.h"
#include "net/network.h"
#include "service/broker/worker.h"

enum {
    PERIMETER_EVENTS_PER_SECOND = 20, /* of one post; what is refused beyond is only counted */
    PERIMETER_EXPOSURE_MS = 24 * 3600 * 1000 /* between two exposure events of one entrance */
};

/* One entrance's, shared by all workers. Zeroed: everybody may come. */
struct perimeter {
    struct net_networks from; /* immutable; as old as its edition */
    /* When a peer from a public address is news again. Only for an entrance without networks. */
    _Atomic uint64_t exposure_due_ms;
};

/* What one worker has of one entrance. */
struct perimeter_post {
    struct perimeter *perimeter; /* borrowed with entrance; NULL: everybody, and nothing is said */
    const struct entrance *entrance;
    struct counters *counters;
    void *ctx;
    void (*event)(void *ctx, const struct event *e);
    uint64_t second_ends_ms; /* of the events counted in n_events */
    uint32_t n_events;
};

/* perimeter_admits - false: the peer is outside the networks; close or drop it without a byte.
 * Counts (refused_from) and reports. O(networks), no allocation. */
bool perimeter_admits(struct perimeter_post *post, const struct net_peer *peer, uint64_t now_ms);

#endif
