#include "base/event_ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "base/mem.h"
#include "base/scope.h"

/* Every field with a text of its own, as long as it may be or n bytes. */
static struct event filled(size_t n)
{
    struct event e = event_make(EVENT_acl_deny);
    struct {
        char *field;
        size_t cap;
    } fields[] = {{e.principal, sizeof e.principal}, {e.client_id, sizeof e.client_id},
                  {e.peer, sizeof e.peer},           {e.listener, sizeof e.listener},
                  {e.target, sizeof e.target},       {e.reason, sizeof e.reason}};
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        size_t most = fields[i].cap - 1;
        memset(fields[i].field, 'a' + (int)i, n < most ? n : most);
    }
    e.wall_ms = INT64_MAX - (int64_t)n;
    e.protocol = EVENT_PROTOCOL_coap;
    e.count = (uint32_t)n;
    e.is_claimed = n % 2 == 0;
    e.is_unasked = n % 3 == 0;
    e.is_foreign_key = n % 5 == 0;
    return e;
}

static void assert_same(const struct event *a, const struct event *b)
{
    assert_memory_equal(a, b, offsetof(struct event, principal));
    assert_string_equal(a->principal, b->principal);
    assert_string_equal(a->client_id, b->client_id);
    assert_string_equal(a->peer, b->peer);
    assert_string_equal(a->listener, b->listener);
    assert_string_equal(a->target, b->target);
    assert_string_equal(a->reason, b->reason);
}

static void each_comes_out_as_it_went_in(void **state)
{
    (void)state;
    AUTO(ring_done) struct ring r = {0};
    struct event out;
    assert_int_equal(event_ring_init(&r, 2), OK);
    for (size_t n = 0; n <= sizeof out.reason; n++) {
        struct event in = filled(n);
        memset(&out, 0xff, sizeof out);
        assert_int_equal(event_ring_push(&r, &in), OK);
        assert_true(event_ring_pop(&r, &out));
        assert_same(&in, &out);
        assert_false(event_ring_pop(&r, &out));
    }
}

/* So many of the largest as was asked for, and none in part; what is shorter takes less. */
static void room_is_for_the_largest(void **state)
{
    (void)state;
    enum { ROOM = 4 };
    AUTO(ring_done) struct ring r = {0};
    struct event out, large = filled(1000), small = filled(3);
    assert_int_equal(event_ring_init(&r, ROOM), OK);
    for (unsigned i = 0; i < ROOM; i++) {
        large.count = i;
        assert_int_equal(event_ring_push(&r, &large), OK);
    }
    assert_int_equal(event_ring_push(&r, &small), ERR_AGAIN);
    assert_true(event_ring_pop(&r, &out));
    assert_int_equal(out.count, 0);
    for (unsigned i = 0; i < EVENT_PIECES_MAX - 1; i++) {
        assert_int_equal(event_ring_push(&r, &small), OK);
    }
    assert_int_equal(event_ring_push(&r, &large), ERR_AGAIN);
    for (unsigned i = 1; i < ROOM; i++) {
        assert_true(event_ring_pop(&r, &out));
        assert_int_equal(out.count, i);
        assert_string_equal(out.reason, large.reason);
    }
    for (unsigned i = 0; i < EVENT_PIECES_MAX - 1; i++) {
        assert_true(event_ring_pop(&r, &out));
        assert_same(&small, &out);
    }
    assert_false(event_ring_pop(&r, &out));
}

/* Whatever lengths come: where nothing waits long, only the first pieces are ever touched. */
static void rests_at_its_beginning(void **state)
{
    (void)state;
    AUTO(ring_done) struct ring r = {0};
    struct event out;
    assert_int_equal(event_ring_init(&r, 1024), OK);
    for (unsigned turn = 0; turn < 3000; turn++) {
        struct event in = filled(turn == 0 ? 40 : 8);
        assert_int_equal(event_ring_push(&r, &in), OK);
        assert_true(event_ring_pop(&r, &out));
    }
    for (size_t i = 16 * EVENT_PIECE_BYTES; i < r.capacity * EVENT_PIECE_BYTES; i++) {
        assert_int_equal(r.items[i], 0);
    }
}

static void no_memory_is_told(void **state)
{
    (void)state;
    struct ring r = {0};
    (void)mem_fail_after(0);
    assert_int_equal(event_ring_init(&r, 8), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_int_equal(event_ring_init(&r, SIZE_MAX / 2), ERR_NOMEM);
}

enum { N_EVENTS = 20000 };

static void *produce(void *arg)
{
    for (uint32_t i = 0; i < N_EVENTS; i++) {
        struct event e = filled(i % 300);
        e.count = i;
        while (event_ring_push(arg, &e) != OK) {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void two_threads(void **state)
{
    (void)state;
    AUTO(ring_done) struct ring r = {0};
    assert_int_equal(event_ring_init(&r, 8), OK);
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, produce, &r), 0);
    for (uint32_t i = 0; i < N_EVENTS;) {
        struct event e;
        if (!event_ring_pop(&r, &e)) {
            (void)sched_yield();
            continue;
        }
        struct event expected = filled(i % 300);
        expected.count = i;
        assert_same(&expected, &e);
        i++;
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
    assert_int_equal(ring_count(&r), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_comes_out_as_it_went_in),
        cmocka_unit_test(room_is_for_the_largest),
        cmocka_unit_test(rests_at_its_beginning),
        cmocka_unit_test(no_memory_is_told),
        cmocka_unit_test(two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
