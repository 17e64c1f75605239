#include "base/map.h"

#include <assert.h>

#include "base/mem.h"

/*
 * Linear probing. A slot without a value is free, or a tomb that a search must pass over; tombs
 * carry SLOT_TOMB in `hash`, free slots are all zero, so a zeroed table is an empty one. Free slots
 * and tombs together stay above a quarter of the table, so every search ends. There is no table
 * before the second value.
 */
enum {
    MAP_FIRST_SLOTS = 4,
    MAP_FIT_SLOTS = 1024, /* a smaller table is not worth it */
    MAP_FIT_SHARE = 16    /* of the slots used: then a quarter of the table has to fill or empty
                             before the next rebuild */
};

static const uint64_t SLOT_TOMB = 1;

static bool is_free(const struct map_slot *s)
{
    return s->value == NULL && s->hash != SLOT_TOMB;
}

static bool is_tomb(const struct map_slot *s)
{
    return s->value == NULL && s->hash == SLOT_TOMB;
}

void map_init(struct map *m, const struct siphash_key *key, map_key_of *key_of)
{
    *m = (struct map){.key = *key, .key_of = key_of};
}

void map_done(struct map *m)
{
    if (m != NULL) {
        mem_free(m->n_slots > 0 ? m->slots : NULL);
        m->slots = NULL;
        m->n = m->n_slots = m->n_tombs = 0;
    }
}

static struct map_slot *slot_find(const struct map *m, struct slice key, uint64_t hash)
{
    size_t mask = m->n_slots - 1;
    for (size_t i = hash & mask; m->n_slots > 0 && !is_free(&m->slots[i]); i = (i + 1) & mask) {
        struct map_slot *s = &m->slots[i];
        if (s->value != NULL && s->hash == hash && slice_equal(m->key_of(s->value), key)) {
            return s;
        }
    }
    return NULL;
}

/* slot_place - the first slot of the probe sequence that can take a new value. */
static struct map_slot *slot_place(struct map_slot *slots, size_t n_slots, uint64_t hash)
{
    size_t i = hash & (n_slots - 1);
    while (slots[i].value != NULL) {
        i = (i + 1) & (n_slots - 1);
    }
    return &slots[i];
}

/* Rebuilds at a size that is at most half full: at least a quarter of the new size in additions
 * lies between two rebuilds, and tombs are gone after each. */
static enum err map_rebuild(struct map *m)
{
    size_t n_slots = MAP_FIRST_SLOTS;
    while (n_slots / 2 < m->n + 1) {
        if (n_slots > UINT32_MAX / 2) {
            return ERR_NOMEM;
        }
        n_slots *= 2;
    }
    struct map_slot *slots = mem_array(n_slots, sizeof *slots);
    if (slots == NULL) {
        return ERR_NOMEM;
    }
    if (m->n_slots == 0 && m->only != NULL) {
        uint64_t hash = siphash(&m->key, m->key_of(m->only));
        *slot_place(slots, n_slots, hash) = (struct map_slot){.hash = hash, .value = m->only};
    }
    for (size_t i = 0; i < m->n_slots; i++) {
        if (m->slots[i].value != NULL) {
            *slot_place(slots, n_slots, m->slots[i].hash) = m->slots[i];
        }
    }
    mem_free(m->n_slots > 0 ? m->slots : NULL);
    m->slots = slots;
    m->n_slots = (uint32_t)n_slots;
    m->n_tombs = 0;
    return OK;
}

static bool is_only(const struct map *m, struct slice key)
{
    return m->n_slots == 0 && m->n > 0 && slice_equal(m->key_of(m->only), key);
}

void *map_find(const struct map *m, struct slice key)
{
    if (m->n_slots == 0) {
        return is_only(m, key) ? m->only : NULL;
    }
    struct map_slot *s = m->n > 0 ? slot_find(m, key, siphash(&m->key, key)) : NULL;
    return s != NULL ? s->value : NULL;
}

enum err map_add(struct map *m, void *value)
{
    assert(value != NULL);
    struct slice key = m->key_of(value);
    if (is_only(m, key)) {
        return ERR_EXISTS;
    }
    if (m->n_slots == 0 && m->n == 0) {
        m->only = value;
        m->n = 1;
        return OK;
    }
    uint64_t hash = siphash(&m->key, key);
    if (slot_find(m, key, hash) != NULL) {
        return ERR_EXISTS;
    }
    if (m->n + m->n_tombs + 1 > m->n_slots - m->n_slots / 4) {
        TRY(map_rebuild(m));
    }
    struct map_slot *s = slot_place(m->slots, m->n_slots, hash);
    m->n_tombs -= is_tomb(s) ? 1 : 0;
    m->n++;
    *s = (struct map_slot){.hash = hash, .value = value};
    return OK;
}

static void *only_remove(struct map *m, struct slice key)
{
    void *value = is_only(m, key) ? m->only : NULL;
    if (value != NULL) {
        m->only = NULL;
        m->n = 0;
    }
    return value;
}

void *map_remove(struct map *m, struct slice key)
{
    if (m->n_slots == 0) {
        return only_remove(m, key);
    }
    struct map_slot *s = m->n > 0 ? slot_find(m, key, siphash(&m->key, key)) : NULL;
    if (s == NULL) {
        return NULL;
    }
    void *value = s->value;
    m->n--;
    m->n_tombs++;
    *s = (struct map_slot){.hash = SLOT_TOMB};
    /* Tombs at the end of a run of slots lead no search any further: free them. */
    size_t mask = m->n_slots - 1;
    size_t i = (size_t)(s - m->slots);
    if (is_free(&m->slots[(i + 1) & mask])) {
        for (; is_tomb(&m->slots[i]); i = (i - 1) & mask) {
            m->slots[i] = (struct map_slot){0};
            m->n_tombs--;
        }
    }
    return value;
}

void map_fit(struct map *m)
{
    if (m->n_slots > MAP_FIT_SLOTS && m->n < m->n_slots / MAP_FIT_SHARE) {
        enum err ignored = map_rebuild(m);
        (void)ignored;
    }
}

void *map_next(const struct map *m, size_t *at)
{
    if (m->n_slots == 0) {
        return (*at)++ == 0 ? m->only : NULL;
    }
    while (*at < m->n_slots) {
        void *value = m->slots[(*at)++].value;
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}
