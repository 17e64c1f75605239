#include "base/mem.h"

#include <stdbool.h>

/* Test state, one per thread, so that a failing test never touches another thread's allocations. */
static _Thread_local long allocations_until_failure = -1;
static _Thread_local bool failure_injected;

static bool fails_now(void)
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

void *mem_alloc(size_t n)
{
    return fails_now() ? NULL : malloc(at_least_one(n));
}

void *mem_zalloc(size_t n)
{
    return fails_now() ? NULL : calloc(1, at_least_one(n));
}

void *mem_array(size_t count, size_t size)
{
    size_t n = 0;
    if (__builtin_mul_overflow(count, size, &n)) {
        return NULL;
    }
    return mem_zalloc(n);
}

void *mem_grow(void *p, size_t n)
{
    return fails_now() ? NULL : realloc(p, at_least_one(n));
}

void *mem_free(void *p)
{
    free(p);
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
