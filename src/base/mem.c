#include "base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Test state, one per thread, so that a failing test never touches another thread's allocations. */
static _Thread_local long allocations_until_failure = -1;
static _Thread_local bool failure_injected;

/* What the threads have handed in, and what this one has not yet. A block may be freed by another
 * thread than took it, so a thread's part can be negative. */
static _Atomic int64_t counted, peak; /* peak: the most that was counted at a time */
static _Thread_local int64_t uncounted;
static _Thread_local int64_t limit_bytes; /* 0: none */

static void note_peak(int64_t now)
{
    int64_t seen = atomic_load_explicit(&peak, memory_order_relaxed);
    while (seen < now && !atomic_compare_exchange_weak_explicit(
                             &peak, &seen, now, memory_order_relaxed, memory_order_relaxed)) {
    }
}

static void hand_in(void)
{
    note_peak(atomic_fetch_add_explicit(&counted, uncounted, memory_order_relaxed) + uncounted);
    uncounted = 0;
}

/* The allocator knows the size of its blocks, so a free needs no record of ours. */
static void count(int64_t n)
{
    uncounted += n;
    if (uncounted >= MEM_COUNT_STEP || uncounted <= -MEM_COUNT_STEP) {
        hand_in();
    }
}

static void *took(void *p)
{
    if (p != NULL) {
        count((int64_t)malloc_usable_size(p));
    }
    return p;
}

uint64_t mem_used(void)
{
    hand_in();
    int64_t n = atomic_load_explicit(&counted, memory_order_relaxed);
    return n > 0 ? (uint64_t)n : 0;
}

uint64_t mem_glance(void)
{
    int64_t n = atomic_load_explicit(&counted, memory_order_relaxed) + uncounted;
    return n > 0 ? (uint64_t)n : 0;
}

uint64_t mem_peak(void)
{
    int64_t n = atomic_load_explicit(&peak, memory_order_relaxed);
    return n > 0 ? (uint64_t)n : 0;
}

void mem_limit(uint64_t bytes)
{
    limit_bytes = bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX;
}

/* Room for n more bytes is taken before it is there, so that two threads never share the last of
 * it. This thread owes them until they are counted as what they came to, or are not. */
static bool take_room(size_t n)
{
    if (limit_bytes == 0 || n < MEM_LARGE) {
        return true;
    }
    int64_t more = n < INT64_MAX / 2 ? (int64_t)n : INT64_MAX / 2;
    int64_t now = atomic_fetch_add_explicit(&counted, more, memory_order_relaxed) + more;
    if (now + uncounted > limit_bytes) {
        (void)atomic_fetch_sub_explicit(&counted, more, memory_order_relaxed);
        return false;
    }
    note_peak(now);
    uncounted -= more;
    return true;
}

void mem_trim(void)
{
    (void)malloc_trim(0);
}

/* Only a free of so much makes the allocator look at the end of a thread's heap: what small frees
 * gathered there stays until then, however much it is. */
void mem_trim_own(void)
{
    enum { ENOUGH_BYTES = 96 * 1024 }; /* and too little for a mapping of its own */
    void *volatile block = malloc(ENOUGH_BYTES);
    free(block);
}

bool mem_fails_now(void)
{
    if (allocations_until_failure < 0) {
        return false;
    }
    if (allocations_until_failure-- > 0) {
        return false;
    }
    failure_injected = true;
    return true;
}

/* Zero bytes still need a place of their own: NULL would read as "no memory". */
static size_t at_least_one(size_t n)
{
    return n > 0 ? n : 1;
}

void *mem_alloc_foreign(size_t n)
{
    return mem_fails_now() ? NULL : took(malloc(at_least_one(n)));
}

void *mem_alloc(size_t n)
{
    return take_room(n) ? mem_alloc_foreign(n) : NULL;
}

void *mem_aligned(size_t align, size_t n)
{
    return take_room(n) && !mem_fails_now() ? took(memalign(align, at_least_one(n))) : NULL;
}

void *mem_zalloc(size_t n)
{
    return take_room(n) && !mem_fails_now() ? took(calloc(1, at_least_one(n))) : NULL;
}

void *mem_array(size_t count, size_t size)
{
    size_t n = 0;
    if (__builtin_mul_overflow(count, size, &n)) {
        return NULL;
    }
    return mem_zalloc(n);
}

void *mem_grow_foreign(void *p, size_t n)
{
    if (mem_fails_now()) {
        return NULL;
    }
    int64_t before = p != NULL ? (int64_t)malloc_usable_size(p) : 0;
    void *grown = realloc(p, at_least_one(n));
    if (grown != NULL) {
        count((int64_t)malloc_usable_size(grown) - before);
    }
    return grown;
}

/* Old and new may both be there for a moment, so all of the new counts. */
void *mem_grow(void *p, size_t n)
{
    return take_room(n) ? mem_grow_foreign(p, n) : NULL;
}

void *mem_free(void *p)
{
    if (p != NULL) {
        count(-(int64_t)malloc_usable_size(p));
        free(p);
    }
    return NULL;
}

char *mem_strdup(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = mem_alloc(n);
    if (copy != NULL) {
        memcpy(copy, text, n);
    }
    return copy;
}

void mem_wipe(void *p, size_t n)
{
    if (n > 0) {
        explicit_bzero(p, n);
    }
}

int mem_fail_after(long n)
{
    bool injected = failure_injected;
    failure_injected = false;
    allocations_until_failure = n < 0 ? -1 : n;
    return injected;
}
