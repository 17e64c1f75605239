/*
 * poison - tells the address sanitizer which bytes of a block nobody may touch now, so that a use
 * after free is found in what an allocator of ours hands out. Without the sanitizer: nothing.
 */
#ifndef BASE_POISON_H
#define BASE_POISON_H

#include <stddef.h>

#ifndef __has_feature
#define __has_feature(x) 0 /* gcc before 14 has none */
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)

#include <sanitizer/asan_interface.h>

enum { POISON_GAP = 16 }; /* bytes between two objects that are never touched */

static inline void poison(const volatile void *p, size_t n)
{
    __asan_poison_memory_region(p, n);
}

static inline void unpoison(const volatile void *p, size_t n)
{
    __asan_unpoison_memory_region(p, n);
}

#else

enum { POISON_GAP = 0 };

static inline void poison(const volatile void *p, size_t n)
{
    (void)p;
    (void)n;
}

static inline void unpoison(const volatile void *p, size_t n)
{
    (void)p;
    (void)n;
}

#endif

#endif
