/*
 * match_cache - which filters matched a topic the last time it was published.
 *
 * Devices say the same few topics over and over, so a filter tree (core/filters.h) asks here before
 * it walks. One place for each hash, and whoever comes second takes it: nothing is searched, grows
 * or is allocated. What is kept is true until a filter is made or dropped, which forgets all of it;
 * subs that come to a filter or leave it change nothing here. The hash is quick, not strong: who
 * picks topics that share a place only brings back the walk. A topic is kept when it comes a second
 * time, so topics that never come again cost a hash.
 */
#ifndef CORE_MATCH_CACHE_H
#define CORE_MATCH_CACHE_H

#include <stdbool.h>

#include "base/siphash.h"
#include "base/slice.h"

enum {
    MATCH_CACHE_PLACES = 256,
    MATCH_CACHE_FILTERS = 4,     /* a topic that more filters match is not kept, */
    MATCH_CACHE_TOPIC_BYTES = 78 /* nor one that is longer */
};

struct filter;

struct match_place {
    uint64_t hash;  /* of the topic that was asked for last */
    uint64_t epoch; /* of the cache when this was kept; another: nothing is kept */
    struct filter *filters[MATCH_CACHE_FILTERS];
    uint8_t n_filters, topic_n;
    uint8_t topic[MATCH_CACHE_TOPIC_BYTES];
};

struct match_cache {
    uint64_t seed, epoch;
    struct match_place places[MATCH_CACHE_PLACES];
};

void match_cache_init(struct match_cache *c, const struct siphash_key *key);
/* match_cache_find - what was kept for this topic; NULL: nothing. Borrowed until the next call of
 * another function here. O(bytes of the topic). */
const struct match_place *match_cache_find(const struct match_cache *c, struct slice topic);
/* match_cache_keep - these filters match the topic, which was not found; any order, no two alike.
 */
void match_cache_keep(struct match_cache *c, struct slice topic, struct filter *const *filters,
                      size_t n);
/* match_cache_forget - a filter is made or dropped. O(1). */
void match_cache_forget(struct match_cache *c);

#endif
