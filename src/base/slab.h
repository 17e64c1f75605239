/*
 * slab - many small objects of one owner, side by side in chunks.
 *
 * The heap adds 8 bytes to each block and makes it a multiple of 16; here an object costs its size,
 * made a multiple of 8, and a sixtieth for the chunk. Objects of one size share chunks of less than
 * a page, which come from the heap (so they are counted as what it gives, and ceilings hold as
 * before) and go back to it when their last object does. One thread. Under the address sanitizer
 * what was given back is poisoned.
 */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

enum {
    SLAB_MOST = 256, /* bytes; what is larger comes from the heap itself */
    SLAB_STEP = 8,
    SLAB_CHUNK_BYTES = 4096, /* from one chunk to the next */
    SLAB_PLACES = SLAB_CHUNK_BYTES / SLAB_STEP,
    SLAB_CHUNKS_MAX = 1 << 23 /* what a name has bits for: 32 GiB; then there is no memory */
};

struct chunk;

/* A chunk by its number, or, of a number that is free, the next free one (1 + it), twice, and 1. */
union slab_chunk {
    struct chunk *chunk;
    size_t next_free;
};

struct slab_size {
    struct list rooms; /* chunks with room; those without are in no list, their objects know them */
    size_t n_chunks;
};

struct slab {
    union slab_chunk *chunks;
    size_t n_numbers, cap, free_number; /* numbers that were given out; 1 + one to use again */
    size_t n_chunks;
    bool is_warm; /* set by the owner, who ends with slab_clear: a chunk of each size stays */
    struct slab_size sizes[SLAB_MOST / SLAB_STEP];
};

void slab_init(struct slab *s);
/* slab_done - nothing of it may be in use. */
void slab_done(struct slab *s);
/* slab_clear - all of it goes, whatever is in use but what is larger than SLAB_MOST. */
void slab_clear(struct slab *s);
/* slab_get - n uninitialised bytes, n > 0, as aligned as a pointer; NULL when there are none. */
void *slab_get(struct slab *s, size_t n);
/* slab_put - gives back what slab_get gave for the same n; NULL is fine. Returns NULL. */
void *slab_put(struct slab *s, void *p, size_t n);
/* slab_name - of an object of at most SLAB_MOST bytes, until it is given back; never 0 but for
 * NULL.
 */
uint32_t slab_name(const void *p);
/* slab_there - the object of that name, which is not 0. slab_at - NULL for 0. */
static inline void *slab_there(const struct slab *s, uint32_t name)
{
    uint8_t *chunk = (uint8_t *)s->chunks[name / SLAB_PLACES].chunk;
    return chunk + (size_t)(name % SLAB_PLACES) * SLAB_STEP;
}
static inline void *slab_at(const struct slab *s, uint32_t name)
{
    return name != 0 ? slab_there(s, name) : NULL;
}

#endif
