/* buf - owned, growing bytes with a limit that the owner names. { 0 } is an empty one. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"

struct buf {
    uint8_t *p;
    size_t n, cap;
};

/* buf_room - makes room for `more` bytes behind the n there are, and gives their place. The
 * contents may move. ERR_TOO_LARGE when n + more > limit, ERR_NOMEM; nothing changed then.
 * Amortised O(more). */
MUST_USE enum err buf_room(struct buf *b, size_t more, size_t limit, uint8_t **ret);
/* buf_append - copies s behind what is there. Errors as buf_room. */
MUST_USE enum err buf_append(struct buf *b, struct slice s, size_t limit);
/* buf_drop - forgets the first n (<= b->n) bytes, moving the rest to the front. O(rest). */
void buf_drop(struct buf *b, size_t n);
/* buf_clear - n = 0, the memory stays. */
void buf_clear(struct buf *b);
/* buf_done - releases the memory; the buf is empty and usable again. */
void buf_done(struct buf *b);
/* buf_wipe - the same, overwriting what was there first: for secrets. */
void buf_wipe(struct buf *b);
/* buf_free - the same for one that stands on the heap itself, and it goes, too. NULL is fine. */
struct buf *buf_free(struct buf *b);
AUTOFREE(buf, buf_free)

static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->p, b->n);
}

#endif
