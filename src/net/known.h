/*
 * known - whom a server of datagrams knows under two names: by the id of an association, and by the
 * address that it is at. What stands in maps under these keys begins with a struct known.
 */
#ifndef NET_KNOWN_H
#define NET_KNOWN_H

#include "base/map.h"
#include "net/peer.h"

struct known {
    uint64_t id;
    struct net_peer peer;
};

/* known_id_key, known_peer_key - the keys of such maps (map_key_of). */
static inline struct slice known_id_key(const void *value)
{
    const struct known *k = value;
    return slice_of(&k->id, sizeof(k->id));
}

static inline struct slice known_peer_key(const void *value)
{
    const struct known *k = value;
    return net_peer_key(&k->peer);
}

/* known_of_id, known_at - what stands there, or NULL. */
static inline void *known_of_id(const struct map *by_id, uint64_t id)
{
    return map_find(by_id, slice_of(&id, sizeof(id)));
}

static inline void *known_at(const struct map *by_peer, const struct net_peer *peer)
{
    return map_find(by_peer, net_peer_key(peer));
}

#endif
