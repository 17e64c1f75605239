#include <assert.h>

#include "store/index_private.h"

enum { SLOTS_MIN = 64, LOADS_SPARE = 64 };

void *object_get(struct index *x, size_t n)
{
    void *object = slab_get(&x->slab, n);
    if (object != NULL) {
        memset(object, 0, n);
    }
    return object;
}

/* ---- tables ---- */

static void slots_add(struct table *t, uint64_t key, uint32_t name)
{
    size_t i = table_at(t, key);
    while (t->slots[i] != 0) {
        i = table_behind(t, i);
    }
    t->slots[i] = name;
    t->n++;
}

/* By half: a table is from half to three quarters full. */
enum err table_room(struct table *t)
{
    if (t->n_slots > 0 && (t->n + 1) * 4 <= t->n_slots * 3) {
        return OK;
    }
    struct table more = {.slab = t->slab};
    more.n_slots = t->n_slots > 0 ? t->n_slots + t->n_slots / 2 : SLOTS_MIN;
    more.slots = more.n_slots < UINT32_MAX ? mem_array(more.n_slots, sizeof(*more.slots)) : NULL;
    if (more.slots == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < t->n_slots; i++) {
        if (t->slots[i] != 0) {
            slots_add(&more, table_slot(t, i)->key, t->slots[i]);
        }
    }
    mem_free(t->slots);
    *t = more;
    return OK;
}

void table_add(struct table *t, struct keyed *k)
{
    slots_add(t, k->key, slab_name(k));
}

/* From one slot to another, as a search goes. */
static size_t steps(const struct table *t, size_t from, size_t to)
{
    return to >= from ? to - from : to + t->n_slots - from;
}

void table_remove(struct table *t, const struct keyed *k)
{
    uint32_t name = slab_name(k);
    size_t i = table_at(t, k->key);
    while (t->slots[i] != name) {
        assert(t->slots[i] != 0);
        i = table_behind(t, i);
    }
    for (size_t at = table_behind(t, i); t->slots[at] != 0; at = table_behind(t, at)) {
        /* Whoever's search begins at the gap or before it moves into it. */
        size_t home = table_at(t, table_slot(t, at)->key);
        if (steps(t, home, at) >= steps(t, i, at)) {
            t->slots[i] = t->slots[at];
            i = at;
        }
    }
    t->slots[i] = 0;
    t->n--;
}

struct keyed *table_find(const struct table *t, uint64_t key)
{
    if (t->n == 0) {
        return NULL;
    }
    size_t i = table_at(t, key);
    struct keyed *k = table_slot(t, i);
    while (k != NULL && k->key != key) {
        i = table_behind(t, i);
        k = table_slot(t, i);
    }
    return k;
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
        uint32_t name = x->topics.slots[i];
        const struct topic *t = slab_at(&x->slab, name);
        struct body *b = t != NULL ? slab_at(&x->slab, t->winner) : NULL;
        if (b != NULL && (b->item.flags & ITEM_MARKER) != 0 && b->item.place.segment == segment) {
            body_forget(x, b); /* another one may have moved here: look again */
            if (x->topics.slots[i] == name) {
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
