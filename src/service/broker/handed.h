/*
 * handed - what a door of one worker hands to the same door of another: a datagram that only the
 * other can open, or where somebody is heard (docs/ORDER.md, rule 15).
 *
 * A datagram may get lost, as on any network: it is handed only while less than half of the ring is
 * used, so that a flood of them never delays what the workers owe each other. What is said of where
 * somebody is heard is never dropped for want of room.
 */
#ifndef SERVICE_BROKER_HANDED_H
#define SERVICE_BROKER_HANDED_H

#include "base/list.h"
#include "net/peer.h"
#include "service/broker/worker.h"

enum handed_kind {
    HANDED_DATAGRAM, /* for your side: it is yours to answer */
    HANDED_HERE,     /* what has no name of its own, from this address, is for me from now on */
    HANDED_GONE      /* not any more */
};

struct handed {
    struct list_node node;
    enum handed_kind kind;
    unsigned door; /* its index, the same at every worker */
    unsigned from; /* the worker that hands it */
    struct net_peer peer;
    size_t n;
    uint8_t bytes[];
};

/* handed_new - copies peer and bytes. ERR_NOMEM. */
MUST_USE enum err handed_new(enum handed_kind kind, unsigned door, const struct net_peer *peer,
                             struct slice bytes, struct handed **ret);

/* worker_home - where a principal has what it has once: numbers and windows of OSCORE. */
unsigned worker_home(const struct worker *w, const struct principal *p);
unsigned worker_index(const struct worker *w);
unsigned worker_count(const struct worker *w); /* of the process */

/* worker_hand - takes h, also on an error. ERR_AGAIN: a datagram for which the ring has no room,
 * counted as dropped; ERR_NOMEM. */
MUST_USE enum err worker_hand(struct worker *w, unsigned to, struct handed *h);
/* worker_next_handed - gives the next for this door, in the order of each sender; NULL: none. */
struct handed *worker_next_handed(struct worker *w, unsigned door);

#endif
