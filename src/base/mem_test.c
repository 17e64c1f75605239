#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/scope.h"

static void zero_bytes_are_an_object(void **state)
{
    (void)state;
    void *p = mem_alloc(0);
    assert_non_null(p);
    p = mem_grow(p, 0);
    assert_non_null(p);
    assert_null(mem_free(p));
    assert_null(mem_free(NULL));
}

static void zeroed_means_zeroed(void **state)
{
    (void)state;
    static const uint8_t zeros[100];
    uint8_t *p = mem_array(10, 10);
    assert_non_null(p);
    assert_memory_equal(p, zeros, 100);
    mem_free(p);
    p = mem_zalloc(100);
    assert_non_null(p);
    assert_memory_equal(p, zeros, 100);
    memset(p, 0xaa, 100);
    mem_wipe(p, 100);
    assert_memory_equal(p, zeros, 100);
    mem_wipe(NULL, 0);
    mem_free(p);
}

static void arrays_do_not_overflow(void **state)
{
    (void)state;
    /* volatile: else the compiler sees the overflow and warns */
    volatile size_t half = SIZE_MAX / 2 + 1;
    assert_null(mem_array(half, 2));
    assert_null(mem_array(2, half));
}

static void text_is_copied(void **state)
{
    (void)state;
    char *copy = mem_strdup("topic");
    assert_string_equal(copy, "topic");
    mem_free(copy);
}

static void the_named_allocation_fails_once(void **state)
{
    (void)state;
    assert_false(mem_fail_after(2));
    void *first = mem_alloc(1);
    void *second = mem_zalloc(1);
    assert_non_null(first);
    assert_non_null(second);
    assert_null(mem_grow(first, 100)); /* and leaves first as it was */
    void *after = mem_alloc(1);
    assert_non_null(after);
    assert_true(mem_fail_after(-1));
    assert_false(mem_fail_after(-1));
    mem_free(first);
    mem_free(second);
    mem_free(after);
}

static void every_way_in_can_fail(void **state)
{
    (void)state;
    (void)mem_fail_after(0);
    assert_null(mem_alloc(1));
    (void)mem_fail_after(0);
    assert_null(mem_zalloc(1));
    (void)mem_fail_after(0);
    assert_null(mem_array(1, 1));
    (void)mem_fail_after(0);
    assert_null(mem_grow(NULL, 1));
    (void)mem_fail_after(0);
    assert_null(mem_strdup(""));
    assert_true(mem_fail_after(-1));
}

/* By the size of the allocator's blocks: at least what was asked for, and back to where it was. */
static void what_is_in_use_is_counted(void **state)
{
    (void)state;
    uint64_t before = mem_used();
    void *small = mem_alloc(100);
    void *large = mem_array(1000, 1000);
    uint64_t held = mem_used();
    assert_true(held >= before + 1000100 && held < before + 1100000);
    large = mem_grow(large, 3000000);
    assert_true(mem_used() >= before + 3000100);
    large = mem_grow(large, 1000);
    assert_true(mem_used() >= before + 1100 && mem_used() < before + 20000);
    (void)mem_fail_after(0);
    assert_null(mem_grow(large, 5000000));
    (void)mem_fail_after(-1);
    assert_true(mem_used() < before + 20000);
    mem_free(small);
    mem_free(large);
    mem_free(NULL);
    mem_trim();
    mem_trim_own();
    assert_int_equal(mem_used(), before);
}

static void *takes_a_megabyte(void *arg)
{
    *(void **)arg = mem_alloc(1 << 20);
    return NULL;
}

/* A block that another thread took, and this one frees. */
static void threads_count_together(void **state)
{
    (void)state;
    uint64_t before = mem_used();
    void *block = NULL;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, takes_a_megabyte, &block), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(mem_used() >= before + (1 << 20));
    mem_free(block);
    assert_int_equal(mem_used(), before);
}

/* What is large is refused at the limit, what is small is not; other threads go on. */
static void *takes_much(void *arg)
{
    void **ret = arg;
    *ret = mem_alloc(1 << 20);
    return NULL;
}

static void a_limit_holds_for_what_is_large(void **state)
{
    (void)state;
    pthread_t other;
    void *theirs = NULL;
    uint64_t before = mem_used();
    mem_limit(before + (1 << 20) + 1000);
    void *first = mem_alloc(1 << 20);
    assert_non_null(first);
    assert_null(mem_alloc(MEM_LARGE));
    assert_null(mem_zalloc(MEM_LARGE));
    assert_null(mem_array(2, MEM_LARGE / 2));
    assert_null(mem_grow(NULL, MEM_LARGE));
    assert_null(mem_alloc(SIZE_MAX / 2 + 10)); /* nothing wraps around */
    void *grown = mem_grow(first, 2 << 20);
    assert_null(grown); /* and the old one stays */
    void *small = mem_alloc(MEM_LARGE - 1);
    assert_non_null(small);
    void *foreign = mem_alloc_foreign(MEM_LARGE);
    assert_non_null(foreign);
    assert_int_equal(pthread_create(&other, NULL, takes_much, &theirs), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_non_null(theirs);
    mem_free(theirs);
    mem_free(first);
    mem_free(small);
    assert_true(mem_glance() < before + 2 * MEM_LARGE);
    first = mem_alloc(1 << 19); /* there is room again */
    assert_non_null(first);
    mem_free(first);
    mem_free(foreign);
    mem_limit(0);
    first = mem_alloc(8 << 20);
    assert_non_null(first);
    mem_free(first);
    assert_true(mem_peak() >= before + (8 << 20) && mem_peak() < before + (10 << 20));
    assert_int_equal(mem_used(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_holds_for_what_is_large),
        cmocka_unit_test(zero_bytes_are_an_object),
        cmocka_unit_test(zeroed_means_zeroed),
        cmocka_unit_test(arrays_do_not_overflow),
        cmocka_unit_test(text_is_copied),
        cmocka_unit_test(the_named_allocation_fails_once),
        cmocka_unit_test(every_way_in_can_fail),
        cmocka_unit_test(what_is_in_use_is_counted),
        cmocka_unit_test(threads_count_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
