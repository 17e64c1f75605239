/*
 * map - open addressing hash map from bytes to a pointer, keyed by SipHash.
 *
 * The map borrows nothing: the caller's value must hold its own key, which `key_of` finds. So an
 * entry costs 16 bytes and no allocation of its own; the first one costs nothing, for a worker has
 * many maps with one entry. NULL is not a value.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/err.h"
#include "base/siphash.h"
#include "base/slice.h"

typedef struct slice map_key_of(const void *value);

struct map_slot {
    uint64_t hash;
    void *value;
};

struct map {
    struct siphash_key key;
    map_key_of *key_of;
    union {
        struct map_slot *slots; /* n_slots > 0 */
        void *only;             /* n_slots == 0: the one value, NULL when there is none */
    };
    uint32_t n, n_slots, n_tombs;
};

/* map_init - an empty map; allocates nothing. */
void map_init(struct map *m, const struct siphash_key *key, map_key_of *key_of);
/* map_done - releases the slots, not the values. */
void map_done(struct map *m);
/* map_find - the value under key, or NULL. O(1). */
void *map_find(const struct map *m, struct slice key);
/* map_add - puts value under its own key. ERR_EXISTS, ERR_NOMEM: nothing changed. */
MUST_USE enum err map_add(struct map *m, void *value);
/* map_remove - takes the value under key out and gives it, or NULL. Never allocates. */
void *map_remove(struct map *m, struct slice key);
/* map_fit - a table that is nearly empty becomes smaller; without memory for that it stays. Not
 * while walking. Cheap when there is nothing to do. */
void map_fit(struct map *m);
/* map_next - walks all values in no order: *at starts at 0; NULL at the end. Removing the value
 * just returned is fine, adding while walking is not. */
void *map_next(const struct map *m, size_t *at);

#endif
