#include "base/ring.h"

#include <assert.h>

#include "base/mem.h"

enum err ring_init(struct ring *r, size_t item_bytes, size_t capacity)
{
    size_t rounded = 1;
    while (rounded < capacity) {
        if (rounded > SIZE_MAX / 2) {
            return ERR_NOMEM;
        }
        rounded *= 2;
    }
    uint8_t *items = mem_array(rounded, item_bytes);
    if (items == NULL) {
        return ERR_NOMEM;
    }
    *r = (struct ring){.items = items, .item_bytes = item_bytes, .capacity = rounded};
    atomic_init(&r->head, 0);
    atomic_init(&r->tail, 0);
    return OK;
}

void ring_done(struct ring *r)
{
    if (r != NULL) {
        r->items = mem_free(r->items);
        r->capacity = 0;
    }
}

static uint8_t *item_at(const struct ring *r, size_t index)
{
    return r->items + ((index - r->first) & (r->capacity - 1)) * r->item_bytes;
}

/* What the consumer has seen ends at its tail, so while that is head it looks at no place; what
 * `first` became it reads behind the head that names the next item. */
static void begin_again(struct ring *r, size_t head)
{
    if (head == r->first) {
        return;
    }
    r->seen_tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    if (r->seen_tail == head) {
        r->first = head;
    }
}

/* Each side looks at the other's counter only when its last look says full or empty: a busy ring
 * then passes the cache line once per lap instead of once per item. */
static bool has_room(struct ring *r, size_t head, size_t n)
{
    if (n <= r->capacity - (head - r->seen_tail)) {
        return true;
    }
    r->seen_tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    return n <= r->capacity - (head - r->seen_tail);
}

enum err ring_push(struct ring *r, const void *item)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (!has_room(r, head, 1)) {
        return ERR_AGAIN;
    }
    if ((head - r->first) % RING_LOOK == 0) {
        begin_again(r, head);
    }
    memcpy(item_at(r, head), item, r->item_bytes);
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    return OK;
}

enum err ring_push_run(struct ring *r, const void *items, size_t n)
{
    const uint8_t *from = items;
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (!has_room(r, head, n)) {
        return ERR_AGAIN;
    }
    begin_again(r, head);
    for (size_t i = 0; i < n; i++) {
        memcpy(item_at(r, head + i), from + i * r->item_bytes, r->item_bytes);
    }
    atomic_store_explicit(&r->head, head + n, memory_order_release);
    return OK;
}

void *ring_front(struct ring *r)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (tail == r->seen_head) {
        r->seen_head = atomic_load_explicit(&r->head, memory_order_acquire);
        if (tail == r->seen_head) {
            return NULL;
        }
    }
    return item_at(r, tail);
}

void ring_drop(struct ring *r)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    assert(tail != r->seen_head);
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
}

const void *ring_next(const struct ring *r, size_t n)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    return n < r->seen_head - tail ? item_at(r, tail + n) : NULL;
}

bool ring_pop(struct ring *r, void *ret_item)
{
    const void *item = ring_front(r);
    if (item == NULL) {
        return false;
    }
    memcpy(ret_item, item, r->item_bytes);
    ring_drop(r);
    return true;
}

size_t ring_count(const struct ring *r)
{
    /* tail first: head only grows, so the difference is never negative. */
    size_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    size_t n = atomic_load_explicit(&r->head, memory_order_acquire) - tail;
    return n < r->capacity ? n : r->capacity;
}
