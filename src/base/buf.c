#include "base/buf.h"

#include <assert.h>

#include "base/mem.h"

enum { BUF_FIRST_BYTES = 64 };

/* Growing goes through a fresh block instead of a resize: a buf may hold secrets, and a resize
 * would leave a copy of them behind in free memory. */
static enum err buf_grow(struct buf *b, size_t need, size_t limit)
{
    size_t cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
    if (cap < BUF_FIRST_BYTES) {
        cap = BUF_FIRST_BYTES;
    }
    if (cap > limit) {
        cap = limit;
    }
    if (cap < need) {
        cap = need;
    }
    uint8_t *p = mem_alloc(cap);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    if (b->n > 0) {
        slice_copy(p, slice_of(b->p, b->n));
        mem_wipe(b->p, b->n);
    }
    mem_free(b->p);
    b->p = p;
    b->cap = cap;
    return OK;
}

enum err buf_room(struct buf *b, size_t more, size_t limit, uint8_t **ret)
{
    if (b->n > limit || more > limit - b->n) {
        return ERR_TOO_LARGE;
    }
    if (b->p == NULL || more > b->cap - b->n) {
        TRY(buf_grow(b, b->n + more, limit));
    }
    *ret = b->p + b->n;
    return OK;
}

enum err buf_append(struct buf *b, struct slice s, size_t limit)
{
    uint8_t *p = NULL;
    TRY(buf_room(b, s.n, limit, &p));
    slice_copy(p, s);
    b->n += s.n;
    return OK;
}

void buf_drop(struct buf *b, size_t n)
{
    assert(n <= b->n);
    if (n > 0 && n < b->n) {
        memmove(b->p, b->p + n, b->n - n);
    }
    b->n -= n;
}

void buf_clear(struct buf *b)
{
    b->n = 0;
}

void buf_done(struct buf *b)
{
    if (b != NULL) {
        mem_free(b->p);
        *b = (struct buf){0};
    }
}

void buf_wipe(struct buf *b)
{
    if (b != NULL) {
        /* All of cap: what was dropped or cleared before was a secret too. */
        mem_wipe(b->p, b->cap);
        buf_done(b);
    }
}

struct buf *buf_free(struct buf *b)
{
    buf_wipe(b);
    return mem_free(b);
}
