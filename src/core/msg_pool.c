#include "core/msg_pool.h"

#include <assert.h>

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
};

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

void *msg_pool_take(struct msg_pool *p, size_t n)
{
    size_t class = class_of(p, n);
    struct msg_pool_class *c = &p->classes[class];
    struct msg_block *block = c->first;
    if (block == NULL) { /* the whole of a class, for a pool that may come to keep it */
        return mem_alloc(class > 0 ? class_bytes(class) : n);
    }
    c->first = block->next;
    c->n--;
    c->least = c->n < c->least ? c->n : c->least;
    p->bytes -= class_bytes(class);
    return block;
}

void msg_pool_give(struct msg_pool *p, void *block, size_t n)
{
    size_t class = class_of(p, n), bytes = class_bytes(class);
    if (class == 0 || p->bytes + bytes > p->most) {
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
    for (size_t class = 1; p->bytes > 0 && class < MSG_POOL_CLASSES; class ++) {
        drop(p, class, p->classes[class].least);
    }
}

void msg_pool_clear(struct msg_pool *p)
{
    for (size_t class = 1; p->bytes > 0 && class < MSG_POOL_CLASSES; class ++) {
        drop(p, class, p->classes[class].n);
    }
}

struct msg_pool *msg_pool_own(void)
{
    return &own;
}

void msg_pool_open(void)
{
    own.most = MSG_POOL_BYTES;
}
