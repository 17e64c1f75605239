/* fetch - memory is asked for before it is needed. A hint: it reads nothing, and fails nowhere. */
#ifndef BASE_FETCH_H
#define BASE_FETCH_H

#include <stddef.h>
#include <stdint.h>

enum { FETCH_LINE = 64 };

/* fetch_to_write - the same as fetch, for bytes that will be written: the line is asked for alone.
 */
static inline void fetch_to_write(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i += FETCH_LINE) {
        __builtin_prefetch((const void *)((uintptr_t)p + i), 1);
    }
}

/* fetch - the lines of the n bytes at p, n > 0; whatever p is. */
static inline void fetch(const void *p, size_t n)
{
    const uint8_t *at = p;
    for (size_t i = 0; i < n; i += FETCH_LINE) {
        __builtin_prefetch((const void *)((uintptr_t)at + i));
    }
    __builtin_prefetch((const void *)((uintptr_t)at + n - 1));
}

#endif
