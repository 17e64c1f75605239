#include <assert.h>

#include "store/index_private.h"

enum {
    CHUNK_BYTES = 32 * 1024,
    SLOTS_MIN = 64,
    SHIFT_MIN = 64 - 6, /* of so many slots */
    LOADS_SPARE = 64
};

/* ---- pools ---- */

struct chunk {
    void *next;
    uint64_t objects[];
};

void *pool_get(struct pool *p)
{
    if (p->free == NULL) {
        struct chunk *c = mem_alloc(CHUNK_BYTES);
        if (c == NULL) {
            return NULL;
        }
        c->next = p->chunks;
        p->chunks = c;
        size_t words = p->bytes / sizeof(uint64_t);
        size_t n = (CHUNK_BYTES - sizeof(*c)) / p->bytes;
        for (size_t i = n; i > 0; i--) {
            pool_put(p, &c->objects[(i - 1) * words]);
        }
    }
    void *object = p->free;
    assert(object != NULL); /* a chunk holds one at least */
    memcpy(&p->free, object, sizeof(p->free));
    memset(object, 0, p->bytes);
    return object;
}

void pool_put(struct pool *p, void *object)
{
    memcpy(object, &p->free, sizeof(p->free));
    p->free = object;
}

void pool_done(struct pool *p)
{
    while (p->chunks != NULL) {
        struct chunk *c = p->chunks;
        p->chunks = c->next;
        mem_free(c);
    }
}

/* ---- tables ---- */

enum err table_room(struct table *t)
{
    if (t->n_slots > 0 && (t->n + 1) * 4 <= t->n_slots * 3) {
        return OK;
    }
    struct table more = {.n_slots = t->n_slots > 0 ? 2 * t->n_slots : SLOTS_MIN};
    more.shift = t->n_slots > 0 ? t->shift - 1 : SHIFT_MIN;
    more.slots = mem_array(more.n_slots, sizeof(*more.slots));
    if (more.slots == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < t->n_slots; i++) {
        if (t->slots[i] != NULL) {
            table_add(&more, t->slots[i]);
        }
    }
    mem_free(t->slots);
    *t = more;
    return OK;
}

void table_add(struct table *t, struct keyed *k)
{
    size_t i = table_at(t, k->key);
    while (t->slots[i] != NULL) {
        i = (i + 1) & (t->n_slots - 1);
    }
    t->slots[i] = k;
    t->n++;
}

void table_remove(struct table *t, const struct keyed *k)
{
    size_t mask = t->n_slots - 1, i = table_at(t, k->key);
    while (t->slots[i] != k) {
        assert(t->slots[i] != NULL);
        i = (i + 1) & mask;
    }
    for (size_t at = (i + 1) & mask; t->slots[at] != NULL; at = (at + 1) & mask) {
        /* Whoever's search begins at the gap or before it moves into it. */
        size_t home = table_at(t, t->slots[at]->key);
        if (((at - home) & mask) >= ((at - i) & mask)) {
            t->slots[i] = t->slots[at];
            i = at;
        }
    }
    t->slots[i] = NULL;
    t->n--;
}

struct keyed *table_find(const struct table *t, uint64_t key)
{
    if (t->n == 0) {
        return NULL;
    }
    size_t i = table_at(t, key);
    while (t->slots[i] != NULL && t->slots[i]->key != key) {
        i = (i + 1) & (t->n_slots - 1);
    }
    return t->slots[i];
}

/* ---- bytes of segments ---- */

/* The first one that is not before segment. */
static size_t load_at(const struct index *x, uint32_t segment)
{
    if (x->last_load < x->n_loads && x->loads[x->last_load].segment == segment) {
        return x->last_load;
    }
    size_t low = 0, high = x->n_loads;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (x->loads[mid].segment < segment) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

enum err load_reserve(struct index *x)
{
    if (x->loads_cap - x->n_loads >= LOADS_SPARE) {
        return OK;
    }
    size_t cap = 2 * (x->loads_cap + LOADS_SPARE);
    struct load *more = mem_grow(x->loads, cap * sizeof(*more));
    if (more == NULL) {
        return ERR_NOMEM;
    }
    x->loads = more;
    x->loads_cap = cap;
    return OK;
}

void load_begin(struct index *x, uint32_t segment)
{
    size_t at = load_at(x, segment);
    if (segment == 0 || (at < x->n_loads && x->loads[at].segment == segment)) {
        return;
    }
    assert(x->n_loads < x->loads_cap);
    memmove(&x->loads[at + 1], &x->loads[at], (x->n_loads - at) * sizeof(*x->loads));
    x->loads[at] = (struct load){.segment = segment};
    x->n_loads++;
}

void load_change(struct index *x, struct place place, bool is_more)
{
    if (place.segment == 0) {
        return;
    }
    size_t at = load_at(x, place.segment);
    assert(at < x->n_loads && x->loads[at].segment == place.segment);
    x->last_load = at;
    if (is_more) {
        x->loads[at].bytes += place.bytes;
        x->living += place.bytes;
    } else {
        x->loads[at].bytes -= place.bytes;
        x->living -= place.bytes;
    }
}

uint64_t index_living(const struct index *x, uint32_t segment)
{
    size_t at = load_at(x, segment);
    return at < x->n_loads && x->loads[at].segment == segment ? x->loads[at].bytes : 0;
}

uint64_t index_living_all(const struct index *x)
{
    return x->living;
}

void index_segment_gone(struct index *x, uint32_t segment)
{
    for (size_t i = 0; i < x->topics.n_slots && x->n_markers > 0;) {
        struct topic *t = (struct topic *)(void *)x->topics.slots[i];
        if (t != NULL && t->winner != NULL && (t->winner->item.flags & ITEM_MARKER) != 0 &&
            t->winner->item.place.segment == segment) {
            body_forget(x, t->winner); /* another one may have moved here: look again */
            if (x->topics.slots[i] == (struct keyed *)(void *)t) {
                i++;
            }
        } else {
            i++;
        }
    }
    size_t at = load_at(x, segment);
    if (at < x->n_loads && x->loads[at].segment == segment && x->loads[at].bytes == 0) {
        memmove(&x->loads[at], &x->loads[at + 1], (x->n_loads - at - 1) * sizeof(*x->loads));
        x->n_loads--;
    }
}
