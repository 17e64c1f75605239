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

#include "base/list.h"

enum { SLAB_MOST = 256 /* bytes; what is larger comes from the heap itself */, SLAB_STEP = 8 };

struct slab_size {
    struct list rooms; /* chunks with room; those without are in no list, their objects know them */
    size_t n_chunks;
};

struct slab {
    struct slab_size sizes[SLAB_MOST / SLAB_STEP];
};

void slab_init(struct slab *s);
/* slab_done - nothing of it may be in use. */
void slab_done(struct slab *s);
/* slab_get - n uninitialised bytes, n > 0, as aligned as a pointer; NULL when there are none. */
void *slab_get(struct slab *s, size_t n);
/* slab_put - gives back what slab_get gave for the same n; NULL is fine. Returns NULL. */
void *slab_put(struct slab *s, void *p, size_t n);

#endif
