/*
 * heap_test - how much of the heap is in use, for tests that must not see it grow. Exact with the
 * address sanitizer; without it a block that waits in a cache of the allocator counts as in use, so
 * two numbers compare only when the same things happened before both.
 */
#ifndef BASE_HEAP_TEST_H
#define BASE_HEAP_TEST_H

#include <stddef.h>

#ifdef __SANITIZE_ADDRESS__
size_t __sanitizer_get_current_allocated_bytes(void); /* of its runtime */

static inline size_t heap_in_use(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
#include <malloc.h>

static inline size_t heap_in_use(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}
#endif

#endif
