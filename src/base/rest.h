/*
 * rest - memory that waits to be used again without having been given back to the heap. While it
 * rests nobody may touch it: the address sanitizer stops who does, as with what was freed.
 */
#ifndef BASE_REST_H
#define BASE_REST_H

#include <stddef.h>

#ifdef __SANITIZE_ADDRESS__
void __asan_poison_memory_region(void const volatile *p, size_t n); /* of its runtime */
void __asan_unpoison_memory_region(void const volatile *p, size_t n);

static inline void rest_begin(const void *p, size_t n)
{
    __asan_poison_memory_region(p, n);
}

static inline void rest_end(const void *p, size_t n)
{
    __asan_unpoison_memory_region(p, n);
}
#else
/* rest_begin - p belongs to whoever keeps it; rest_end - before it is used again, or freed. */
static inline void rest_begin(const void *p, size_t n)
{
    (void)p, (void)n;
}

static inline void rest_end(const void *p, size_t n)
{
    (void)p, (void)n;
}
#endif

#endif
