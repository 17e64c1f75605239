/*
 * ring - bounded queue of fixed-size items from one thread to one other, without locks.
 *
 * One producer calls ring_push, one consumer ring_pop. The items of a batch become visible in
 * order. The ring knows nothing of waking: the owner wakes the consumer once per batch (ring_push
 * says when it was empty).
 */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/slice.h"

struct ring {
    _Alignas(64) atomic_size_t head; /* written by the producer */
    _Alignas(64) atomic_size_t tail; /* written by the consumer */
    _Alignas(64) uint8_t *items;
    size_t item_bytes, capacity; /* capacity is a power of two */
};

/* ring_init - room for `capacity` (rounded up to a power of two) items. ERR_NOMEM. */
MUST_USE enum err ring_init(struct ring *r, size_t item_bytes, size_t capacity);
void ring_done(struct ring *r);
/* ring_push - copies item_bytes from item. ERR_AGAIN when full; nothing changed. Producer only. */
MUST_USE enum err ring_push(struct ring *r, const void *item);
/* ring_pop - copies the oldest item out; false when empty. Consumer only. */
bool ring_pop(struct ring *r, void *ret_item);
/* ring_count - items in the ring, exact only when the other side rests. */
size_t ring_count(const struct ring *r);

#endif
