/*
 * coap_cache - answers of other servers that may be given again, each to its owner alone.
 *
 * An answer is kept under who asked (the owner) and what was asked, byte by byte; nobody else is
 * ever given it. It is fresh for its Max-Age; older, it may still be confirmed by its ETag. Bounded
 * for an owner and in all; what was used longest ago goes first. No clock of its own.
 * SPEC: RFC7252 5.6, 5.9.
 */
#ifndef ENGINE_COAP_CACHE_H
#define ENGINE_COAP_CACHE_H

#include "base/list.h"
#include "base/map.h"

struct coap_cache_limits {
    uint32_t entries, owner_entries;
    uint64_t bytes, owner_bytes; /* of what is kept, with what names it */
};

/* One answer. Slices borrow from it. */
struct coap_cached {
    struct list_node node;
    uint64_t owner;
    uint64_t resource;       /* what a change makes old, whoever asked for it */
    uint64_t fresh_until_ms; /* at this time it is not fresh any more */
    struct slice key, options, payload, etag;
    size_t bytes;
    uint8_t held[];
};

struct coap_cache {
    struct coap_cache_limits limits;
    struct map by_key;
    struct list oldest_first;
    uint64_t bytes;
};

/* coap_cache_init - borrows nothing; the key is that of the map. */
void coap_cache_init(struct coap_cache *c, const struct coap_cache_limits *limits,
                     const struct siphash_key *key);
void coap_cache_done(struct coap_cache *c);

/* coap_cache_find - what this owner was answered, fresh or not; NULL: nothing. Borrowed until the
 * next call that changes the cache. */
struct coap_cached *coap_cache_find(struct coap_cache *c, uint64_t owner, struct slice key);

/*
 * coap_cache_put - keeps an answer in the place of the one before
 *
 * options  without Max-Age and Observe; its first ETag is what confirms it.
 * What is over limits.owner_bytes alone, or meets no memory, is not kept: then nothing is. Copies
 * all. O(entries) at a bound.
 */
void coap_cache_put(struct coap_cache *c, uint64_t owner, struct slice key, uint64_t resource,
                    struct slice options, struct slice payload, uint64_t fresh_until_ms);
/* coap_cache_drop - of one owner, if it is there. */
void coap_cache_drop(struct coap_cache *c, uint64_t owner, struct slice key);
/* coap_cache_changed - the resource is another now: all answers about it go, whoever's they are.
 * O(entries). */
void coap_cache_changed(struct coap_cache *c, uint64_t resource);
/* coap_cache_shed - drops all; gives how many. */
size_t coap_cache_shed(struct coap_cache *c);

#endif
