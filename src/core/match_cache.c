#include "core/match_cache.h"

_Static_assert(MATCH_CACHE_TOPIC_BYTES <= UINT8_MAX, "topic_n holds it");
_Static_assert(sizeof(struct match_place) == 128, "two cache lines");

void match_cache_init(struct match_cache *c, const struct siphash_key *key)
{
    c->seed = key->k0 ^ key->k1;
    c->epoch = 1; /* places are zero */
}

void match_cache_forget(struct match_cache *c)
{
    c->epoch++;
}

static uint64_t word_at(struct slice s, size_t at)
{
    uint64_t word = 0;
    memcpy(&word, s.p + at, sizeof(word));
    return word;
}

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 32;
}

/* Of a long one the length and three words, for they are enough to tell topics of one fleet apart.
 */
static uint64_t topic_hash(const struct match_cache *c, struct slice topic)
{
    uint64_t h = c->seed + topic.n;
    if (topic.n >= sizeof(uint64_t)) {
        size_t last = topic.n - sizeof(uint64_t);
        return mix(mix(mix(h, word_at(topic, 0)), word_at(topic, last / 2)), word_at(topic, last));
    }
    uint64_t word = 0;
    for (size_t i = 0; i < topic.n; i++) {
        word = word << 8 | topic.p[i];
    }
    return mix(h, word);
}

static size_t place_of(uint64_t hash)
{
    return hash % MATCH_CACHE_PLACES;
}

const struct match_place *match_cache_find(const struct match_cache *c, struct slice topic)
{
    if (topic.n > MATCH_CACHE_TOPIC_BYTES) {
        return NULL;
    }
    uint64_t hash = topic_hash(c, topic);
    const struct match_place *place = &c->places[place_of(hash)];
    bool is_kept = place->hash == hash && place->epoch == c->epoch &&
                   slice_equal(slice_of(place->topic, place->topic_n), topic);
    return is_kept ? place : NULL;
}

void match_cache_keep(struct match_cache *c, struct slice topic, struct filter *const *filters,
                      size_t n)
{
    if (topic.n > MATCH_CACHE_TOPIC_BYTES || n > MATCH_CACHE_FILTERS) {
        return;
    }
    uint64_t hash = topic_hash(c, topic);
    struct match_place *place = &c->places[place_of(hash)];
    if (place->hash != hash) {
        place->hash = hash;
        place->epoch = 0; /* it has a place when it comes again */
        return;
    }
    place->epoch = c->epoch;
    place->n_filters = (uint8_t)n;
    for (size_t i = 0; i < n; i++) {
        place->filters[i] = filters[i];
    }
    place->topic_n = (uint8_t)topic.n;
    slice_copy(place->topic, topic);
}
