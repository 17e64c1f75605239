/*
 * ring - bounded queue of fixed-size items from one thread to one other, without locks.
 *
 * One producer calls ring_push, one consumer ring_pop. The items of a batch become visible in
 * order. The ring knows nothing of waking: the owner wakes the consumer once per batch.
 *
 * A producer that finds it empty begins at its first place again: so a ring touches as much memory
 * as ever waited in it, not all that it has.
 */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/slice.h"

enum {
    RING_APART = 64 - 2 * sizeof(size_t),
    RING_LOOK = 8 /* items between two looks for that; before each run there is one */
};

/* Each side writes a cache line of its own, and what both only read is in neither, nor in one of
 * the next ring of an array. Spacing, not alignment, keeps them apart, so that a ring may live in
 * any heap object. head and tail count items for ever and wrap. */
struct ring {
    atomic_size_t head; /* written by the producer */
    size_t seen_tail;   /* the producer's last look at tail */
    uint8_t apart_1[RING_APART];
    atomic_size_t tail; /* written by the consumer */
    size_t seen_head;   /* the consumer's last look at head */
    uint8_t apart_2[RING_APART];
    uint8_t *items;
    size_t item_bytes, capacity; /* capacity is a power of two */
    size_t first; /* the count that stands at the first place; changes only while it is empty */
    uint8_t apart_3[64];
};

/* ring_init - room for `capacity` (rounded up to a power of two) items. ERR_NOMEM. */
MUST_USE enum err ring_init(struct ring *r, size_t item_bytes, size_t capacity);
void ring_done(struct ring *r);
/* ring_push - copies item_bytes from item. ERR_AGAIN when full; nothing changed. Producer only. */
MUST_USE enum err ring_push(struct ring *r, const void *item);
/* ring_push_run - n of them that belong together, n > 0: the consumer sees all of them or none.
 * ERR_AGAIN when there is no room for all; nothing changed. Producer only. */
MUST_USE enum err ring_push_run(struct ring *r, const void *items, size_t n);
/* ring_pop - copies the oldest item out; false when empty. Consumer only. */
bool ring_pop(struct ring *r, void *ret_item);
/* ring_front - the oldest item where it lies, the consumer's until ring_drop takes it out: nothing
 * is copied, and one that cannot be used yet stays. NULL: empty. ring_drop only behind a ring_front
 * that gave one. Consumer only. */
void *ring_front(struct ring *r);
void ring_drop(struct ring *r);
/* ring_next - the item n places behind the front; NULL: the last look did not see so many. Consumer
 * only. */
const void *ring_next(const struct ring *r, size_t n);
/* ring_count - items in the ring, exact only when the other side rests. */
size_t ring_count(const struct ring *r);

#endif
