#include "base/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "base/mem.h"
#include "base/scope.h"

static void keeps_order_and_capacity(void **state)
{
    (void)state;
    AUTO(ring_done) struct ring r = {0};
    assert_int_equal(ring_init(&r, sizeof(uint32_t), 5), OK);
    assert_int_equal(r.capacity, 8);
    uint32_t in = 0;
    uint32_t out = 0;
    for (unsigned lap = 0; lap < 20; lap++) {
        uint32_t item = 0;
        for (unsigned i = 0; i < 8; i++) {
            item = in++;
            assert_int_equal(ring_push(&r, &item), OK);
        }
        item = 999;
        assert_int_equal(ring_push(&r, &item), ERR_AGAIN);
        assert_int_equal(ring_count(&r), 8);
        for (unsigned i = 0; i < 8 - lap % 3; i++) {
            const uint32_t *front = ring_front(&r);
            assert_non_null(front);
            assert_int_equal(*front, out);
            assert_ptr_equal(ring_front(&r), front); /* it stays until it is taken out */
            if (i % 2 == 0) {
                ring_drop(&r);
                out++;
                continue;
            }
            assert_true(ring_pop(&r, &item));
            assert_int_equal(item, out++);
        }
        while (ring_pop(&r, &item)) {
            assert_int_equal(item, out++);
        }
        assert_int_equal(ring_count(&r), 0);
        assert_null(ring_front(&r));
    }
    assert_int_equal(in, out);
}

static void counters_may_wrap(void **state)
{
    (void)state;
    AUTO(ring_done) struct ring r = {0};
    assert_int_equal(ring_init(&r, 1, 4), OK);
    atomic_store(&r.head, SIZE_MAX - 1);
    atomic_store(&r.tail, SIZE_MAX - 1);
    r.seen_tail = r.seen_head = SIZE_MAX - 1;
    for (uint8_t i = 0; i < 4; i++) {
        assert_int_equal(ring_push(&r, &i), OK);
    }
    assert_int_equal(ring_count(&r), 4);
    uint8_t item = 0;
    assert_int_equal(ring_push(&r, &item), ERR_AGAIN);
    for (uint8_t i = 0; i < 4; i++) {
        assert_true(ring_pop(&r, &item));
        assert_int_equal(item, i);
    }
    assert_false(ring_pop(&r, &item));
}

/* Where nothing waits long, the first places are used again and again; order and room are what they
 * are anyhow. */
static void rests_at_its_beginning(void **state)
{
    (void)state;
    AUTO(ring_done) struct ring r = {0};
    assert_int_equal(ring_init(&r, sizeof(uint32_t), 1024), OK);
    uint32_t in = 0;
    uint32_t out = 0;
    for (unsigned turn = 0; turn < 1000; turn++) {
        for (unsigned i = 0; i <= turn % 5; i++) {
            assert_int_equal(ring_push(&r, &in), OK);
            in++;
        }
        for (uint32_t item = 0; ring_pop(&r, &item);) {
            assert_int_equal(item, out++);
        }
    }
    assert_int_equal(in, out);
    const uint32_t *places = (const uint32_t *)(const void *)r.items;
    size_t n_touched = 0;
    for (size_t i = 0; i < r.capacity; i++) {
        n_touched += places[i] != 0 ? 1 : 0;
    }
    assert_in_range(n_touched, 1, 64);
    for (unsigned i = 0; i < 1024; i++) {
        assert_int_equal(ring_push(&r, &in), OK);
        in++;
    }
    assert_int_equal(ring_push(&r, &in), ERR_AGAIN);
    for (uint32_t item = 0; ring_pop(&r, &item);) {
        assert_int_equal(item, out++);
    }
    assert_int_equal(in, out);
}

/* All of a run, or nothing of it, across the end of the places too; and it begins again whatever
 * came before. */
static void runs_stay_together(void **state)
{
    (void)state;
    AUTO(ring_done) struct ring r = {0};
    static const uint32_t run[] = {1, 2, 3, 4, 5};
    uint32_t item = 9;
    assert_int_equal(ring_init(&r, sizeof(uint32_t), 8), OK);
    assert_int_equal(ring_push(&r, &item), OK);
    assert_int_equal(ring_push_run(&r, run, COUNT_OF(run)), OK);
    assert_int_equal(ring_push_run(&r, run, 3), ERR_AGAIN);
    assert_int_equal(ring_count(&r), 6);
    assert_true(ring_pop(&r, &item));
    assert_int_equal(item, 9);
    assert_int_equal(ring_push_run(&r, run, 3), OK);
    assert_int_equal(ring_push(&r, &item), ERR_AGAIN);
    for (unsigned i = 0; i < 8; i++) {
        assert_true(ring_pop(&r, &item));
        assert_int_equal(item, i < 5 ? run[i] : run[i - 5]);
    }
    assert_int_equal(ring_push_run(&r, run, 9), ERR_AGAIN);
    assert_int_equal(ring_push_run(&r, run, 5), OK);
    assert_int_equal(((const uint32_t *)(const void *)r.items)[0], 1);
}

static void next_is_what_was_seen(void **state)
{
    (void)state;
    AUTO(ring_done) struct ring r = {0};
    assert_int_equal(ring_init(&r, sizeof(uint32_t), 4), OK);
    for (uint32_t lap = 0; lap < 20; lap++) {
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(ring_push(&r, &i), OK);
        }
        assert_null(ring_next(&r, 0)); /* nobody has looked */
        assert_non_null(ring_front(&r));
        uint32_t late = 3;
        assert_int_equal(ring_push(&r, &late), OK);
        for (uint32_t i = 0; i < 3; i++) {
            for (uint32_t n = 0; n < 3 - i; n++) {
                assert_int_equal(*(const uint32_t *)ring_next(&r, n), i + n);
            }
            assert_null(ring_next(&r, 3 - i)); /* it came behind the look */
            ring_drop(&r);
        }
        assert_null(ring_next(&r, 0));
        assert_non_null(ring_front(&r));
        assert_int_equal(*(const uint32_t *)ring_next(&r, 0), late);
        assert_null(ring_next(&r, SIZE_MAX));
        ring_drop(&r);
    }
}

static void no_memory_is_told(void **state)
{
    (void)state;
    struct ring r = {0};
    (void)mem_fail_after(0);
    assert_int_equal(ring_init(&r, 8, 8), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_int_equal(ring_init(&r, 8, SIZE_MAX), ERR_NOMEM);
    assert_int_equal(ring_init(&r, SIZE_MAX / 4, 1024), ERR_NOMEM);
    ring_done(&r);
    ring_done(NULL);
}

enum { N_ITEMS = 200000 };

/* Three words that belong together: a torn or early read shows. In a full ring every item is read
 * where it lies while the producer waits for that place. */
struct item {
    uint64_t number, twice, inverse;
};

static void *produce(void *arg)
{
    struct ring *r = arg;
    for (uint64_t i = 0; i < N_ITEMS; i++) {
        struct item item = {i, 2 * i, ~i};
        while (ring_push(r, &item) != OK) {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void two_threads(void **state)
{
    (void)state;
    AUTO(ring_done) struct ring r = {0};
    assert_int_equal(ring_init(&r, sizeof(struct item), 64), OK);
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, produce, &r), 0);
    uint64_t n_wrong = 0;
    for (uint64_t i = 0; i < N_ITEMS;) {
        const struct item *item = ring_front(&r);
        if (item == NULL) {
            (void)sched_yield();
            continue;
        }
        n_wrong += item->number != i || item->twice != 2 * i || item->inverse != ~i ? 1 : 0;
        ring_drop(&r);
        i++;
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
    assert_int_equal(n_wrong, 0);
    assert_int_equal(ring_count(&r), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_capacity),
        cmocka_unit_test(counters_may_wrap),
        cmocka_unit_test(rests_at_its_beginning),
        cmocka_unit_test(runs_stay_together),
        cmocka_unit_test(next_is_what_was_seen),
        cmocka_unit_test(no_memory_is_told),
        cmocka_unit_test(two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
