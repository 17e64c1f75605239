#include "base/slab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

enum { MANY = 5000 };

static struct slab s;
static uint8_t *objects[MANY];

static size_t n_chunks(void)
{
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(s.sizes); i++) {
        n += s.sizes[i].n_chunks;
    }
    return n;
}

static void take(size_t i, size_t n)
{
    objects[i] = slab_get(&s, n);
    assert_non_null(objects[i]);
    assert_int_equal((uintptr_t)objects[i] % sizeof(void *), 0);
    memset(objects[i], (int)(i % 251), n);
}

static void give(size_t i, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        assert_int_equal(objects[i][k], i % 251);
    }
    objects[i] = slab_put(&s, objects[i], n);
}

/* One, a step and around it, the largest one of a chunk and the first that is none. */
static void every_size_has_its_bytes(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 7, 8, 9, 64, 255, SLAB_MOST, SLAB_MOST + 1, 5000};
    slab_init(&s);
    assert_null(slab_put(&s, NULL, 8));
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        for (size_t i = 0; i < 200; i++) {
            take(i, sizes[k]);
        }
        for (size_t i = 0; i < 200; i++) {
            give(i, sizes[k]);
        }
        assert_int_equal(n_chunks(), 0);
    }
    slab_done(&s);
}

/* What is free is used before another chunk is asked for. */
static void a_slot_is_used_again(void **state)
{
    (void)state;
    slab_init(&s);
    for (size_t i = 0; i < MANY; i++) {
        take(i, 40);
    }
    size_t full = n_chunks();
    for (size_t i = 0; i < MANY; i += 3) {
        give(i, 40);
    }
    assert_int_equal(n_chunks(), full);
    for (size_t i = 0; i < MANY; i += 3) {
        take(i, 40);
    }
    assert_int_equal(n_chunks(), full);
    for (size_t i = 0; i < MANY; i++) {
        give(i, 40);
    }
    slab_done(&s);
}

/* Chunks are counted as the heap's, and are there again when they are empty. */
static void empty_chunks_go_back(void **state)
{
    (void)state;
    slab_init(&s);
    uint64_t before = mem_used();
    for (size_t i = 0; i < MANY; i++) {
        take(i, 100);
    }
    assert_true(mem_used() - before >= (uint64_t)MANY * 100);
    assert_true(mem_used() - before <= (uint64_t)MANY * (100 + SLAB_STEP + 60));
    for (size_t i = MANY - 1; i > 0; i--) {
        give(i, 100);
    }
    assert_true(n_chunks() <= 2); /* the one in use, and a spare one */
    give(0, 100);
    assert_int_equal(n_chunks(), 0);
    assert_int_equal(mem_used(), before);
    slab_done(&s);
}

static void one_that_comes_and_goes_asks_for_no_chunk(void **state)
{
    (void)state;
    slab_init(&s);
    size_t n = 0;
    for (; n_chunks() < 2; n++) {
        take(n, 64);
    }
    uint64_t before = mem_used();
    for (size_t i = 0; i < 100; i++) {
        give(n - 1, 64);
        assert_int_equal(mem_used(), before);
        take(n - 1, 64);
    }
    for (size_t i = 0; i < n; i++) {
        give(i, 64);
    }
    assert_int_equal(n_chunks(), 0);
    slab_done(&s);
}

static void a_warm_one_needs_no_memory_again(void **state)
{
    (void)state;
    slab_init(&s);
    s.is_warm = true;
    take(0, 64);
    give(0, 64);
    assert_int_equal(n_chunks(), 1);
    mem_fail_after(0);
    take(0, 64);
    assert_null(slab_get(&s, 128));
    assert_true(mem_fail_after(-1));
    give(0, 64);
    slab_clear(&s);
    assert_int_equal(n_chunks(), 0);
}

/* Each object may be the one that there is no memory for. */
static void no_memory(void **state)
{
    (void)state;
    slab_init(&s);
    mem_fail_after(0);
    assert_null(slab_get(&s, 16));
    assert_int_equal(n_chunks(), 0);
    take(0, 16);
    mem_fail_after(0);
    assert_null(slab_get(&s, 16));
    mem_fail_after(0);
    assert_null(slab_get(&s, SLAB_MOST + 1));
    assert_true(mem_fail_after(-1));
    take(1, 16);
    give(0, 16);
    give(1, 16);
    slab_done(&s);
}

/* Of all sizes, also behind chunks that went and whose numbers are given again. */
static void objects_have_names(void **state)
{
    (void)state;
    static uint32_t names[MANY];
    slab_init(&s);
    assert_int_equal(slab_name(NULL), 0);
    assert_null(slab_at(&s, 0));
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < MANY; i++) {
            if (objects[i] == NULL) {
                take(i, i % SLAB_MOST + 1);
                names[i] = slab_name(objects[i]);
                assert_int_not_equal(names[i], 0);
            }
        }
        for (size_t i = 0; i < MANY; i++) {
            assert_ptr_equal(slab_at(&s, names[i]), objects[i]);
        }
        for (size_t i = round; i < MANY; i += round + 1) {
            give(i, i % SLAB_MOST + 1);
        }
    }
    size_t most = n_chunks();
    assert_true(s.n_numbers < 2 * most + 256);
    for (size_t i = 0; i < MANY; i++) {
        if (objects[i] != NULL) {
            give(i, i % SLAB_MOST + 1);
        }
    }
    assert_int_equal(n_chunks(), 0);
    assert_null(s.chunks);
    slab_done(&s);
}

/* With free numbers among those that are in use. */
static void all_goes_at_once(void **state)
{
    (void)state;
    slab_init(&s);
    uint64_t before = mem_used();
    slab_clear(&s);
    for (size_t i = 0; i < MANY; i++) {
        take(i, 100);
    }
    for (size_t i = MANY / 4; i < MANY / 2; i++) {
        give(i, 100);
    }
    assert_int_not_equal(s.free_number, 0);
    slab_clear(&s);
    assert_int_equal(mem_used(), before);
    take(0, 100);
    give(0, 100);
    slab_done(&s);
    memset(objects, 0, sizeof(objects));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_has_its_bytes),
        cmocka_unit_test(a_slot_is_used_again),
        cmocka_unit_test(empty_chunks_go_back),
        cmocka_unit_test(one_that_comes_and_goes_asks_for_no_chunk),
        cmocka_unit_test(objects_have_names),
        cmocka_unit_test(all_goes_at_once),
        cmocka_unit_test(a_warm_one_needs_no_memory_again),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
