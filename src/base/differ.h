/*
 * differ - a text as what it has of another one that is much like it: a line as what is new since
 * the line before. Both ends know the other text.
 *
 *   again and again, until the text is whole:
 *     n u8, n bytes                 what is new
 *     at u16, n u8                  n bytes of the other text, from `at` on
 */
#ifndef BASE_DIFFER_H
#define BASE_DIFFER_H

#include "base/rd.h"
#include "base/wr.h"

enum { DIFFER_TEXT_MAX = 16 * 1024 };

/* differ_most - what n bytes come to at the worst. */
static inline size_t differ_most(size_t n)
{
    return n + n / 255 * 4 + 1;
}
/* differ_write - text, of at most DIFFER_TEXT_MAX bytes as `like` is, and not empty. Fails when
 * there is no room for differ_most. */
void differ_write(struct wr *w, struct slice like, struct slice text);
/* differ_read - n bytes of text. ERR_MALFORMED, ERR_TRUNCATED, ERR_TRAILING: nobody wrote this for
 * `like` and n; ret is partly written. */
MUST_USE enum err differ_read(struct slice packed, struct slice like, uint8_t *ret, size_t n);

#endif
