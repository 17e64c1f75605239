#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/ring.h"
#include "base/scope.h"
#include "core/msg.h"
#include "core/msg_pool.h"

enum { ROOM = 64 * 1024 };

static void *take(struct msg_pool *p, size_t n)
{
    uint8_t *block = msg_pool_take(p, n);
    assert_non_null(block);
    memset(block, 0x5a, n); /* all of it is ours: the sanitizer looks */
    return block;
}

/* What is given is what the next one gets, when it is of the same class. */
static void test_reuse(void **state)
{
    (void)state;
    struct msg_pool p = {.most = ROOM};
    void *a = take(&p, 200), *b = take(&p, 200);
    msg_pool_give(&p, a, 200);
    assert_int_equal(p.bytes, 224);
    void *other = take(&p, 225);
    assert_ptr_not_equal(other, a);
    assert_ptr_equal(take(&p, 193), a); /* and has room for 224 */
    assert_int_equal(p.bytes, 0);
    memset(a, 1, 224);
    msg_pool_give(&p, a, 193);
    msg_pool_give(&p, b, 200);
    msg_pool_give(&p, other, 225);
    msg_pool_clear(&p);
    assert_int_equal(p.bytes, 0);
}

/* Each size about the steps: whatever is given back, a larger one of its class fits. */
static void test_every_size(void **state)
{
    (void)state;
    struct msg_pool p = {.most = ROOM};
    for (size_t n = 1; n <= MSG_POOL_LARGE + 300; n++) {
        msg_pool_give(&p, take(&p, n), n);
        assert_true(n > MSG_POOL_LARGE || (p.bytes >= n && p.bytes % 32 == 0));
        void *again = take(&p, n);
        assert_int_equal(p.bytes, 0);
        msg_pool_give(&p, again, n);
        msg_pool_clear(&p);
    }
}

static void test_bound(void **state)
{
    (void)state;
    struct msg_pool p = {.most = 3 * 1024}, none = {.most = 0};
    void *blocks[4];
    for (size_t i = 0; i < 4; i++) {
        blocks[i] = take(&p, 1024);
    }
    for (size_t i = 0; i < 4; i++) {
        msg_pool_give(&p, blocks[i], 1024);
    }
    assert_int_equal(p.bytes, 3 * 1024); /* the fourth went to the heap */
    msg_pool_clear(&p);
    void *large = take(&p, MSG_POOL_LARGE + 1); /* one over: never kept */
    msg_pool_give(&p, large, MSG_POOL_LARGE + 1);
    assert_int_equal(p.bytes, 0);
    msg_pool_give(&none, take(&none, 100), 100);
    assert_int_equal(none.bytes, 0);
}

/* Kept is in use; what nobody took from one age to the next is not kept any longer. */
static void test_counted_and_aged(void **state)
{
    (void)state;
    struct msg_pool p = {.most = ROOM};
    uint64_t before = mem_used();
    void *blocks[10];
    for (size_t i = 0; i < 10; i++) {
        blocks[i] = take(&p, 512);
    }
    for (size_t i = 0; i < 10; i++) {
        msg_pool_give(&p, blocks[i], 512);
    }
    assert_true(mem_used() >= before + 10 * 512);
    msg_pool_age(&p); /* what came since is young */
    assert_int_equal(p.bytes, 10 * 512);
    for (size_t i = 0; i < 4; i++) {
        blocks[i] = take(&p, 512);
    }
    for (size_t i = 0; i < 4; i++) {
        msg_pool_give(&p, blocks[i], 512);
    }
    msg_pool_age(&p); /* six were not needed */
    assert_int_equal(p.bytes, 4 * 512);
    msg_pool_age(&p);
    assert_int_equal(p.bytes, 0);
    assert_int_equal(mem_used(), before);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct msg_pool p = {.most = ROOM};
    mem_fail_after(0);
    assert_null(msg_pool_take(&p, 100));
    assert_true(mem_fail_after(-1));
}

static void test_exact(void **state)
{
    (void)state;
    struct msg_pool p = {.most = ROOM, .is_exact = true};
    msg_pool_give(&p, take(&p, 100), 100);
    assert_int_equal(p.bytes, 0);
}

static void *release(void *arg)
{
    msg_pool_open(NULL);
    msg_unref(arg);
    bool is_kept = msg_pool_own()->bytes > 0 || msg_pool_own()->is_exact;
    struct msg *again = NULL;
    is_kept = msg_new(slice_text("t"), slice_text(""), slice_text("xyz"), &again) == OK && is_kept;
    msg_unref(again);
    msg_pool_clear(msg_pool_own());
    return is_kept && msg_pool_own()->bytes == 0 ? arg : NULL;
}

/* A message that another thread lets go is that thread's to keep. */
static void test_threads(void **state)
{
    (void)state;
    struct msg *m = NULL;
    pthread_t thread;
    void *answer = NULL;
    assert_int_equal(msg_new(slice_text("t"), slice_text(""), slice_text("abc"), &m), OK);
    assert_int_equal(pthread_create(&thread, NULL, release, m), 0);
    assert_int_equal(pthread_join(thread, &answer), 0);
    assert_non_null(answer);
    assert_int_equal(msg_pool_own()->bytes, 0);
}

static void give_many(struct msg_pool *p, size_t n_bytes, size_t n)
{
    void *blocks[128];
    assert_true(n <= COUNT_OF(blocks));
    for (size_t i = 0; i < n; i++) {
        blocks[i] = mem_alloc(n_bytes);
        assert_non_null(blocks[i]);
    }
    for (size_t i = 0; i < n; i++) {
        msg_pool_give(p, blocks[i], n_bytes);
    }
}

/* A pool that is full leaves a chain, and one that has nothing takes it; what does not fit into the
 * depot goes to the heap, and the class alone counts, not what else is in the pool. */
static void test_depot(void **state)
{
    (void)state;
    struct msg_depot d = {0};
    struct msg_pool full = {.most = 40 * 1024, .depot = &d}, empty = {.most = 0, .depot = &d};
    uint64_t before = mem_used();
    give_many(&full, 1024, 40);
    assert_int_equal(d.bytes, 0); /* at its limit, not over */
    give_many(&full, 512, 1);     /* over, without a chain of this class: the heap's */
    assert_int_equal(d.bytes, 0);
    give_many(&full, 1024, 1);
    assert_int_equal(d.bytes, MSG_POOL_CHAIN * 1024);
    assert_int_equal(full.bytes, 9 * 1024);
    void *block = take(&empty, 1000);
    assert_int_equal(d.bytes, 0);
    assert_int_equal(empty.bytes, (MSG_POOL_CHAIN - 1) * 1024);
    msg_pool_give(&empty, block, 1000);
    for (size_t i = 0; i < 2 * MSG_DEPOT_BYTES / 1024; i++) {
        give_many(&full, 1024, 1);
    }
    assert_int_equal(d.bytes, MSG_DEPOT_BYTES); /* and not more */
    assert_true(mem_used() <= before + 40 * 1024 + 2 * MSG_DEPOT_BYTES + 64 * 1024);
    msg_pool_clear(&full);
    msg_pool_clear(&empty);
    assert_int_equal(d.bytes + full.bytes + empty.bytes, 0);
    assert_int_equal(mem_used(), before);
}

/* What nobody takes goes back by who ages, in two steps; and by who sheds at once. */
static void test_depot_ages(void **state)
{
    (void)state;
    struct msg_depot d = {0};
    struct msg_pool p = {.most = 32 * 1024, .depot = &d}, other = {.most = 0, .depot = &d};
    uint64_t before = mem_used();
    give_many(&p, 1024, 33);
    assert_int_equal(d.bytes, 32 * 1024);
    msg_pool_age(&other);
    assert_int_equal(d.bytes, 0);
    assert_int_equal(other.bytes, 32 * 1024);
    msg_pool_age(&other);
    assert_int_equal(other.bytes, 0);
    give_many(&p, 1024, 32);
    assert_int_equal(d.bytes, 32 * 1024);
    msg_pool_clear(&other);
    msg_pool_clear(&p);
    assert_int_equal(d.bytes, 0);
    assert_int_equal(mem_used(), before);
}

struct line {
    struct msg_depot depot;
    struct ring ring;
};

enum { PASSED = 100 * 1000, PASSED_BYTES = 300 };

static void *makes(void *arg)
{
    struct line *l = arg;
    struct msg_pool p = {.most = ROOM, .depot = &l->depot};
    for (size_t i = 0; i < PASSED; i++) {
        void *block = msg_pool_take(&p, PASSED_BYTES);
        memset(block, (int)(i % 251), PASSED_BYTES);
        while (ring_push(&l->ring, &block) != OK) {
            (void)sched_yield();
        }
    }
    msg_pool_clear(&p);
    return NULL;
}

static void *releases(void *arg)
{
    struct line *l = arg;
    struct msg_pool p = {.most = ROOM, .depot = &l->depot};
    bool is_whole = true;
    for (size_t i = 0; i < PASSED;) {
        uint8_t *block;
        if (!ring_pop(&l->ring, &block)) {
            (void)sched_yield();
            continue;
        }
        is_whole = is_whole && block[0] == i % 251 && block[PASSED_BYTES - 1] == i % 251;
        msg_pool_give(&p, block, PASSED_BYTES);
        i++;
    }
    msg_pool_clear(&p);
    return is_whole ? arg : NULL;
}

/* One makes, one releases: nobody's block is another's, and at the end there is none. */
static void test_depot_between_threads(void **state)
{
    (void)state;
    struct line l = {0};
    pthread_t threads[2];
    void *answer = NULL;
    assert_int_equal(ring_init(&l.ring, sizeof(void *), 256), OK);
    assert_int_equal(pthread_create(&threads[0], NULL, makes, &l), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, releases, &l), 0);
    assert_int_equal(pthread_join(threads[0], NULL), 0);
    assert_int_equal(pthread_join(threads[1], &answer), 0);
    assert_non_null(answer);
    ring_done(&l.ring);
    struct msg_pool rest = {.depot = &l.depot};
    msg_pool_clear(&rest);
    assert_int_equal(l.depot.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reuse),      cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_bound),      cmocka_unit_test(test_counted_and_aged),
        cmocka_unit_test(test_no_memory),  cmocka_unit_test(test_exact),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_depot),
        cmocka_unit_test(test_depot_ages), cmocka_unit_test(test_depot_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
