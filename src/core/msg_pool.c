#include "core/msg_pool.h"

#include <assert.h>

#include "base/fetch.h"
#include "base/mem.h"

enum { SMALL_STEP = 32, LARGE_STEP = 256, SMALL_CLASSES = MSG_POOL_SMALL / SMALL_STEP };

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { POOL_EXACT = 1 };
#else
enum { POOL_EXACT = 0 };
#endif

struct msg_block {
    struct msg_block *next;
    struct msg_block *next_chain, *last; /* of the first of a chain, in a depot */
};

_Static_assert(sizeof(struct msg_block) <= SMALL_STEP, "a block of the smallest class holds it");

static _Thread_local struct msg_pool own = {.is_exact = POOL_EXACT}; /* no thread sees another's */

/* Class 0 is what is not kept. */
static size_t class_of(const struct msg_pool *p, size_t n)
{
    if (p->is_exact) {
        return 0;
    }
    if (n <= MSG_POOL_SMALL) {
        return (n + SMALL_STEP - 1) / SMALL_STEP;
    }
    return n <= MSG_POOL_LARGE ? SMALL_CLASSES + (n - MSG_POOL_SMALL + LARGE_STEP - 1) / LARGE_STEP
                               : 0;
}

static size_t class_bytes(size_t class)
{
    return class <= SMALL_CLASSES ? class * SMALL_STEP
                                  : MSG_POOL_SMALL + (class - SMALL_CLASSES) * LARGE_STEP;
}

/* ---- by the depot ---- */

static bool depot_takes(struct msg_depot *d, size_t bytes)
{
    if (atomic_fetch_add_explicit(&d->bytes, bytes, memory_order_relaxed) + bytes <=
        MSG_DEPOT_BYTES) {
        return true;
    }
    (void)atomic_fetch_sub_explicit(&d->bytes, bytes, memory_order_relaxed);
    return false;
}

/* The first blocks of a class, as one chain. */
static struct msg_block *cut_chain(struct msg_pool_class *c)
{
    struct msg_block *first = c->first;
    first->last = first;
    for (unsigned i = 1; i < MSG_POOL_CHAIN; i++) {
        first->last = first->last->next;
    }
    c->first = first->last->next;
    c->n -= MSG_POOL_CHAIN;
    c->least = c->n < c->least ? c->n : c->least;
    return first;
}

/* False: the pool stays as it is. */
static bool leave_chain(struct msg_pool *p, size_t class)
{
    struct msg_pool_class *c = &p->classes[class];
    size_t bytes = MSG_POOL_CHAIN * class_bytes(class);
    if (p->depot == NULL || c->n < MSG_POOL_CHAIN || !depot_takes(p->depot, bytes)) {
        return false;
    }
    struct msg_block *_Atomic *chains = &p->depot->chains[class];
    struct msg_block *first = cut_chain(c);
    p->bytes -= bytes;
    first->next_chain = atomic_load_explicit(chains, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(chains, &first->next_chain, first,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    return true;
}

/* All at once, so that no chain is looked at that another thread may take meanwhile. */
static void take_chains(struct msg_pool *p, size_t class)
{
    struct msg_pool_class *c = &p->classes[class];
    if (p->depot == NULL ||
        atomic_load_explicit(&p->depot->chains[class], memory_order_relaxed) == NULL) {
        return;
    }
    struct msg_block *chain =
        atomic_exchange_explicit(&p->depot->chains[class], NULL, memory_order_acquire);
    size_t bytes = MSG_POOL_CHAIN * class_bytes(class);
    while (chain != NULL) {
        struct msg_block *next = chain->next_chain;
        chain->last->next = c->first;
        c->first = chain;
        c->n += MSG_POOL_CHAIN;
        p->bytes += bytes;
        (void)atomic_fetch_sub_explicit(&p->depot->bytes, bytes, memory_order_relaxed);
        chain = next;
    }
}

/* ---- blocks ---- */

/* The next block will be written from its first line on, and its lines may be with another worker,
 * who released what was in it. */
static void fetch_ahead(const struct msg_block *next, size_t n)
{
    enum { MOST = 512 };
    if (next != NULL) {
        fetch_to_write(next, n < MOST ? n : MOST);
    }
}

void *msg_pool_take(struct msg_pool *p, size_t n)
{
    size_t class = class_of(p, n);
    struct msg_pool_class *c = &p->classes[class];
    if (c->first == NULL) {
        take_chains(p, class);
    }
    struct msg_block *block = c->first;
    if (block == NULL) { /* the whole of a class, for a pool that may come to keep it */
        return mem_alloc(class > 0 ? class_bytes(class) : n);
    }
    c->first = block->next;
    fetch_ahead(c->first, class_bytes(class));
    c->n--;
    c->least = c->n < c->least ? c->n : c->least;
    p->bytes -= class_bytes(class);
    return block;
}

void msg_pool_give(struct msg_pool *p, void *block, size_t n)
{
    size_t class = class_of(p, n), bytes = class_bytes(class);
    if (class == 0 || (p->bytes + bytes > p->most && !leave_chain(p, class))) {
        mem_free(block);
        return;
    }
    struct msg_pool_class *c = &p->classes[class];
    struct msg_block *kept = block;
    kept->next = c->first;
    c->first = kept;
    c->n++;
    p->bytes += bytes;
}

static void drop(struct msg_pool *p, size_t class, uint32_t n)
{
    struct msg_pool_class *c = &p->classes[class];
    for (uint32_t i = 0; i < n; i++) {
        struct msg_block *block = c->first;
        c->first = block->next;
        mem_free(block);
    }
    c->n -= n;
    c->least = c->n;
    p->bytes -= n * class_bytes(class);
}

void msg_pool_age(struct msg_pool *p)
{
    for (size_t class = 1; class < MSG_POOL_CLASSES; class ++) {
        drop(p, class, p->classes[class].least);
        take_chains(p, class);
        p->classes[class].least = p->classes[class].n;
    }
}

void msg_pool_clear(struct msg_pool *p)
{
    for (size_t class = 1; class < MSG_POOL_CLASSES; class ++) {
        take_chains(p, class);
        drop(p, class, p->classes[class].n);
    }
}

struct msg_pool *msg_pool_own(void)
{
    return &own;
}

void msg_pool_open(struct msg_depot *depot)
{
    own.most = MSG_POOL_BYTES;
    own.depot = depot;
}
