/*
 * mem - the heap, behind one door, so that a test can make the n-th allocation fail.
 *
 * Nothing outside this module calls malloc, calloc, realloc or free on its own objects.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* mem_alloc - n uninitialised bytes; NULL when there are none. n may be 0. mem_free releases. */
void *mem_alloc(size_t n);
/* mem_zalloc - the same, zeroed. */
void *mem_zalloc(size_t n);
/* mem_array - count zeroed elements; NULL also when count * size overflows. */
void *mem_array(size_t count, size_t size);
/* mem_grow - resize to n bytes; NULL leaves p as it was. */
void *mem_grow(void *p, size_t n);
/* mem_aligned - n uninitialised bytes at a multiple of `align`, a power of two. */
void *mem_aligned(size_t align, size_t n);
/* mem_free - NULL is fine; returns NULL so that `x = mem_free(x)` leaves nothing dangling. */
void *mem_free(void *p);
/* mem_strdup - a heap copy of text; NULL when there is no memory. */
char *mem_strdup(const char *text);
/* mem_wipe - overwrite n bytes in a way the compiler keeps. */
void mem_wipe(void *p, size_t n);

/* mem_alloc_foreign, mem_grow_foreign - the same for a library that cannot bear to be refused:
 * counted, but mem_limit does not hold for them. */
void *mem_alloc_foreign(size_t n);
void *mem_grow_foreign(void *p, size_t n);

/* mem_used - bytes of the heap in use, by all threads. Each thread counts for itself and adds to
 * the sum when MEM_COUNT_STEP have gathered, so the answer is off by that much for each other
 * thread. */
uint64_t mem_used(void);
/* mem_glance - the same without a word to other threads: for every message, where mem_used is for
 * every turn. */
uint64_t mem_glance(void);
/* mem_peak - the most that mem_used has ever been, as far as threads had handed in. */
uint64_t mem_peak(void);
/* mem_limit - on this thread, an allocation of MEM_LARGE or more that would bring the heap in use
 * over `bytes` is refused as if there was no memory; what is smaller is not. 0: no limit. */
void mem_limit(uint64_t bytes);
/* mem_trim - gives what is free back to the kernel. Slow: not on a hot path. */
void mem_trim(void);
/* mem_trim_own - the same for the end of this thread's heap, where mem_trim does not reach. */
void mem_trim_own(void);

enum { MEM_COUNT_STEP = 64 * 1024, MEM_LARGE = 4096 };

/* For tests: the allocation after the next n ones fails, once, on this thread; n < 0 switches it
 * off. Returns whether a failure was injected since the last call. */
int mem_fail_after(long n);
/* mem_fails_now - for an allocator that stands on this one (base/slab.h), whose objects are
 * allocations, too: must this one fail? */
bool mem_fails_now(void);

#endif
