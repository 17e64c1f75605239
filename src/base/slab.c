#include "base/slab.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/poison.h"

/*
 * A chunk begins at a multiple of CHUNK_ALIGN, so an object finds its chunk in its own address. It
 * is as much smaller as the heap needs for itself between two chunks: then they lie without a gap.
 * It counts as a small allocation (MEM_LARGE), as its objects would by themselves.
 */
enum {
    CHUNK_ALIGN = SLAB_CHUNK_BYTES,
    CHUNK_BYTES = CHUNK_ALIGN - 8,
    NO_SLOT = UINT16_MAX,
    FIRST_NUMBERS = 16
};

struct chunk {
    struct list_node node; /* in slab.rooms while it has room */
    uint16_t n_used, n_made, n_slots;
    uint16_t free; /* the slot that was given back last, whose first bytes name the one before */
    uint32_t number;
    uint64_t slots[];
};

_Static_assert((int)CHUNK_BYTES < (int)MEM_LARGE, "refused by no limit, as small objects are");

static size_t class_of(size_t n)
{
    return (n - 1) / SLAB_STEP;
}

/* From one slot to the next. */
static size_t stride_of(size_t n)
{
    return (class_of(n) + 1) * SLAB_STEP + POISON_GAP;
}

static uint8_t *slot_at(struct chunk *c, size_t i, size_t stride)
{
    return (uint8_t *)c->slots + i * stride;
}

void slab_init(struct slab *s)
{
    s->chunks = NULL;
    s->n_numbers = s->cap = s->free_number = s->n_chunks = 0;
    s->is_warm = false;
    for (size_t i = 0; i < COUNT_OF(s->sizes); i++) {
        s->sizes[i].n_chunks = 0;
        list_init(&s->sizes[i].rooms);
    }
}

static enum err number_room(struct slab *s)
{
    if (s->free_number != 0 || s->n_numbers < s->cap) {
        return OK;
    }
    size_t cap = s->cap > 0 ? 2 * s->cap : FIRST_NUMBERS;
    union slab_chunk *more =
        cap <= SLAB_CHUNKS_MAX ? mem_grow(s->chunks, cap * sizeof(*more)) : NULL;
    if (more == NULL) {
        return ERR_NOMEM;
    }
    s->chunks = more;
    s->cap = cap;
    return OK;
}

static uint32_t number_take(struct slab *s, struct chunk *c)
{
    size_t number = s->n_numbers;
    if (s->free_number != 0) {
        number = s->free_number - 1;
        s->free_number = s->chunks[number].next_free / 2;
    } else {
        s->n_numbers++;
    }
    s->chunks[number].chunk = c;
    s->n_chunks++;
    return (uint32_t)number;
}

static void number_put(struct slab *s, uint32_t number)
{
    s->chunks[number].next_free = s->free_number * 2 + 1;
    s->free_number = number + 1U;
    if (--s->n_chunks == 0) {
        s->chunks = mem_free(s->chunks);
        s->n_numbers = s->cap = s->free_number = 0;
    }
}

static struct chunk *chunk_new(struct slab *s, struct slab_size *size, size_t stride)
{
    struct chunk *c = number_room(s) == OK ? mem_aligned(CHUNK_ALIGN, CHUNK_BYTES) : NULL;
    if (c == NULL) {
        return NULL;
    }
    size_t room = CHUNK_BYTES - sizeof(*c);
    *c = (struct chunk){.n_slots = (uint16_t)(room / stride), .free = NO_SLOT};
    c->number = number_take(s, c);
    poison(c->slots, room);
    list_append(&size->rooms, &c->node);
    size->n_chunks++;
    return c;
}

static void chunk_free(struct slab *s, struct slab_size *size, struct chunk *c)
{
    list_unlink(&c->node);
    number_put(s, c->number);
    unpoison(c->slots, CHUNK_BYTES - sizeof(*c));
    mem_free(c);
    size->n_chunks--;
}

void slab_done(struct slab *s)
{
    for (size_t i = 0; i < COUNT_OF(s->sizes); i++) {
        assert(s->sizes[i].n_chunks == 0);
    }
    s->chunks = mem_free(s->chunks); /* room for a chunk that there was no memory for */
    s->cap = 0;
}

void slab_clear(struct slab *s)
{
    for (size_t i = 0; i < s->n_numbers; i++) {
        if (s->chunks[i].next_free % 2 == 0) {
            unpoison(s->chunks[i].chunk->slots, CHUNK_BYTES - sizeof(struct chunk));
            mem_free(s->chunks[i].chunk);
        }
    }
    mem_free(s->chunks);
    slab_init(s);
}

static struct chunk *chunk_of(const void *p)
{
    return (struct chunk *)(void *)((uint8_t *)(uintptr_t)p - (uintptr_t)p % CHUNK_ALIGN);
}

uint32_t slab_name(const void *p)
{
    return p != NULL ? chunk_of(p)->number * SLAB_PLACES +
                           (uint32_t)((uintptr_t)p % CHUNK_ALIGN / SLAB_STEP)
                     : 0;
}

/* A chunk with room for one more of this size. */
static struct chunk *chunk_get(struct slab *s, struct slab_size *size, size_t stride)
{
    struct list_node *first = list_first(&size->rooms);
    if (first == NULL) {
        return chunk_new(s, size, stride);
    }
    return !s->is_warm && mem_fails_now() ? NULL : LIST_ENTRY(first, struct chunk, node);
}

void *slab_get(struct slab *s, size_t n)
{
    assert(n > 0);
    if (n > SLAB_MOST) {
        return mem_alloc(n);
    }
    size_t stride = stride_of(n);
    struct chunk *c = chunk_get(s, &s->sizes[class_of(n)], stride);
    if (c == NULL) {
        return NULL;
    }
    uint8_t *slot = slot_at(c, c->free != NO_SLOT ? c->free : c->n_made, stride);
    unpoison(slot, stride - POISON_GAP);
    if (c->free != NO_SLOT) {
        memcpy(&c->free, slot, sizeof(c->free));
    } else {
        c->n_made++;
    }
    poison(slot, stride);
    unpoison(slot, n);
    if (++c->n_used == c->n_slots) {
        list_unlink(&c->node);
    }
    return slot;
}

/* An empty chunk stays while it is the only one with room, so that one object that comes and goes
 * does not ask the heap each time; of a size that nothing has, no chunk stays, but where it is
 * warm. */
static void give_back(struct slab *s, struct slab_size *size, struct chunk *c)
{
    if (c->n_used == 0 && size->rooms.head.next != size->rooms.head.prev) {
        chunk_free(s, size, c);
    }
    struct chunk *last = LIST_ENTRY(list_first(&size->rooms), struct chunk, node);
    if (size->n_chunks == 1 && last->n_used == 0 && !s->is_warm) {
        chunk_free(s, size, last);
    }
}

void *slab_put(struct slab *s, void *p, size_t n)
{
    if (p == NULL || n > SLAB_MOST) {
        return mem_free(p);
    }
    struct slab_size *size = &s->sizes[class_of(n)];
    size_t stride = stride_of(n);
    struct chunk *c = chunk_of(p);
    size_t at = (size_t)((uint8_t *)p - (uint8_t *)c->slots);
    assert(c->n_used > 0 && at % stride == 0 && at / stride < c->n_made);
    (void)*(volatile uint8_t *)p; /* what was given back already is found here */
    unpoison(p, SLAB_STEP);
    memcpy(p, &c->free, sizeof(c->free));
    c->free = (uint16_t)(at / stride);
    poison(p, stride);
    if (c->n_used-- == c->n_slots) {
        list_append(&size->rooms, &c->node);
    }
    give_back(s, size, c);
    return NULL;
}
