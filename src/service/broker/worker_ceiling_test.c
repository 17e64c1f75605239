/* The memory ceiling in workers whose memory is what the test says: who is shed at which step, and
 * what is not. docs/ORDER.md rule 11. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/broker/worker_private.h"
#include "service/broker/worker_story_test.h"

enum { CEILING = 1000000, QOS0 = 800000, CONSUMERS = 900000, STRANGERS = 950000, FULL = 1000000 };

/* Bytes of the heap in use, and what the end of a consumer takes off. */
struct heap {
    uint64_t used;
};

static uint64_t heap_used(void *ctx)
{
    return ((struct heap *)ctx)->used;
}

static struct bench *bench_under(struct heap *h)
{
    struct bench *b = bench_open();
    b->ceiling.bytes = CEILING;
    b->ceiling.heap = heap_used;
    b->ceiling.ctx = h;
    return b;
}

static void enters(struct bench *b, struct party *p, const char *name, bool resume)
{
    connects(b, p, name, &(struct hello){.client_id = name, .resume = resume});
    settle(b);
    subscribes(b, p, "t/#", 1);
    settle(b);
    (void)said(p);
}

/* n messages of 900 bytes or so. */
static void floods(struct bench *b, struct party *p, unsigned n, uint8_t qos)
{
    char payload[801];
    memset(payload, 'x', sizeof(payload) - 1);
    payload[sizeof(payload) - 1] = '\0';
    for (unsigned i = 1; i <= n; i++) {
        publishes(b, p, "t/flood", payload, qos, (uint16_t)i, false);
        if (i % 10 == 0 || i == n) {
            settle(b); /* within its Receive Maximum */
        }
    }
}

static uint64_t total(const struct bench *b, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        sum += *(const _Atomic uint64_t *)(const void *)((const char *)&b->counters[i] + offset);
    }
    return sum;
}
#define TOTAL(b, field) total((b), offsetof(struct counters, field))

/* A reader whose socket takes nothing has n messages waiting. */
static void fills(struct bench *b, struct party *writer, struct party *reader, unsigned n,
                  uint8_t qos)
{
    reader->is_deaf = true;
    floods(b, writer, n, qos);
}

static void qos0_to_slow_readers_goes_first(void **state)
{
    (void)state;
    struct heap heap = {.used = QOS0 - 1};
    struct bench *b = bench_under(&heap);
    struct party *writer = &b->parties[0], *slow = &b->parties[1], *quick = &b->parties[2];
    enters(b, slow, device_at(b, 0, 0), false);
    connects(b, writer, device_at(b, 0, 1), &(struct hello){.client_id = "w"});
    settle(b);
    fills(b, writer, slow, 100, 0);
    assert_int_equal(TOTAL(b, dropped_pressure), 0);
    assert_int_equal(b->counters[0].queued_messages, 100);
    enters(b, quick, device_at(b, 1, 0), false);
    heap.used = QOS0;
    pass(b, 100);
    assert_int_equal(TOTAL(b, dropped_pressure), 100); /* what waited */
    assert_int_equal(b->counters[0].queued_messages, 0);
    publishes(b, writer, "t/a", "now", 0, 0, false); /* it has nothing waiting: it gets the next */
    settle(b);
    assert_int_equal(TOTAL(b, dropped_pressure), 100);
    assert_non_null(strstr(said(quick), "t/a now"));
    assert_true(slow->conn != 0 && quick->conn != 0);
    assert_int_equal(events_of(b, EVENT_slow_client), 1);
    bench_close(b);
}

/* QoS 1 that was acknowledged is not taken away from a session that lasts, at any step. */
static void what_was_acknowledged_stays(void **state)
{
    (void)state;
    struct heap heap = {.used = 0};
    struct bench *b = bench_under(&heap);
    struct party *writer = &b->parties[0], *slow = &b->parties[1];
    const char *name = device_at(b, 0, 0);
    enters(b, slow, name, true);
    connects(b, writer, device_at(b, 0, 1), &(struct hello){.client_id = "w"});
    settle(b);
    fills(b, writer, slow, 100, 1);
    for (heap.used = QOS0; heap.used <= FULL; heap.used += 50000) {
        pass(b, 100);
    }
    heap.used = FULL;
    pass(b, 2000);
    assert_int_equal(TOTAL(b, dropped_pressure), 0);
    assert_int_equal(b->counters[0].queued_messages, 100);
    heap.used = 0;
    pass(b, 100);
    is_cut(b, slow);
    slow->is_deaf = false;
    connects(b, slow, name, &(struct hello){.client_id = name, .resume = true});
    settle(b);
    for (uint16_t id = 1; id <= 100; id++) {
        acks(b, slow, MQTT_PUBACK, id);
        if (id % 10 == 0) {
            settle(b); /* within its window; what left memory comes back */
        }
    }
    assert_int_equal(b->counters[0].sent_qos1, 100);
    bench_close(b);
}

static void the_largest_of_all_workers_is_closed(void **state)
{
    (void)state;
    struct heap heap = {.used = 0};
    struct bench *b = bench_under(&heap);
    struct party *writer = &b->parties[0], *large = &b->parties[1], *small = &b->parties[2];
    enters(b, large, device_at(b, 1, 0), false);
    connects(b, writer, device_at(b, 0, 1), &(struct hello){.client_id = "w"});
    settle(b);
    fills(b, writer, large, 90, 1);
    enters(b, small, device_at(b, 0, 0), false);
    fills(b, writer, small, 90, 1);
    heap.used = CONSUMERS - 1;
    pass(b, 100); /* each says how much its worst holds */
    assert_true(large->conn != 0 && small->conn != 0);
    heap.used = CONSUMERS;
    pass(b, 50);
    assert_int_equal(TOTAL(b, shed_slow), 1);
    assert_true(large->conn == 0 && small->conn != 0 && writer->conn != 0);
    heap.used = CONSUMERS / 2;
    pass(b, 100);
    assert_int_equal(TOTAL(b, shed_slow), 1);
    assert_true(small->conn != 0);
    bench_close(b);
}

/* As many as are needed, and not one more, though their memory is not free yet. */
static void enough_are_closed_at_once(void **state)
{
    (void)state;
    struct heap heap = {.used = 0};
    struct bench *b = bench_under(&heap);
    struct party *writer = &b->parties[0];
    connects(b, writer, device_at(b, 0, 0), &(struct hello){.client_id = "w"});
    for (unsigned i = 1; i < PARTIES; i++) {
        enters(b, &b->parties[i], device_at(b, 0, i), false);
        b->parties[i].is_deaf = true;
        worker_backlog(b->workers[0], b->parties[i].conn, 90000 - i);
    }
    heap.used = QOS0;
    pass(b, 100);
    heap.used = FULL - 1;
    pass(b, 50); /* until 849,999 or less stay */
    assert_int_equal(TOTAL(b, shed_slow), 2);
    assert_true(b->parties[1].conn == 0 && b->parties[2].conn == 0 && b->parties[3].conn != 0);
    assert_true(writer->conn != 0);
    bench_close(b);
}

static void strangers_go_before_anybody_else_is_refused(void **state)
{
    (void)state;
    struct heap heap = {.used = STRANGERS - 1};
    struct bench *b = bench_under(&heap);
    struct party *friend = &b->parties[0], *stranger = &b->parties[1], *later = &b->parties[2];
    enters(b, friend, device_at(b, 0, 0), false);
    assert_true(arrives(b, stranger, 0, "d1"));
    pass(b, 100);
    assert_true(stranger->conn != 0);
    heap.used = STRANGERS;
    pass(b, 100);
    assert_true(stranger->conn == 0 && friend->conn != 0);
    assert_int_equal(TOTAL(b, shed_strangers), 1);
    assert_true(arrives(b, later, 0, "d2"));
    heap.used = FULL;
    pass(b, 100);
    assert_false(arrives(b, stranger, 0, "d1"));
    assert_int_equal(TOTAL(b, refused_memory), 1);
    heap.used = FULL - 1; /* and back only five percent lower */
    pass(b, 100);
    assert_false(arrives(b, stranger, 0, "d1"));
    heap.used = STRANGERS - 1;
    pass(b, 100);
    assert_true(arrives(b, stranger, 0, "d1"));
    assert_true(friend->conn != 0);
    bench_close(b);
}

/* At the ceiling a publisher waits a moment; then it is told, and what it was promised stands. */
static void publishers_wait_and_are_refused(void **state)
{
    (void)state;
    struct heap heap = {.used = 0};
    struct bench *b = bench_under(&heap);
    struct party *writer = &b->parties[0], *old = &b->parties[1];
    connects(b, writer, device_at(b, 0, 0), &(struct hello){.client_id = "w"});
    connects(b, old, device_at(b, 0, 1), &(struct hello){.client_id = "o", .version = MQTT_V311});
    settle(b);
    (void)said(writer);
    (void)said(old);
    heap.used = FULL;
    pass(b, 10);
    publishes(b, writer, "t/a", "x", 1, 1, false);
    pass(b, 30);
    assert_string_equal(said(writer), ""); /* read later */
    heap.used = 0;
    pass(b, 30);
    assert_non_null(strstr(said(writer), "puback 1; "));
    heap.used = FULL;
    pass(b, 10);
    pass(b, 1000);
    publishes(b, writer, "t/a", "x", 1, 2, false);
    publishes(b, old, "t/a", "x", 1, 2, false);
    settle(b);
    assert_non_null(strstr(said(writer), "puback 2 97; "));
    assert_true(writer->conn != 0 && old->conn == 0);
    assert_int_equal(TOTAL(b, refused_memory), 2);
    bench_close(b);
}

/* What waits for a socket is of the budget. */
static void the_backlog_counts(void **state)
{
    (void)state;
    struct heap heap = {.used = 0};
    struct bench *b = bench_under(&heap);
    struct party *writer = &b->parties[0], *slow = &b->parties[1];
    enters(b, slow, device_at(b, 0, 0), false);
    connects(b, writer, device_at(b, 0, 1), &(struct hello){.client_id = "w"});
    settle(b);
    slow->is_deaf = true;
    worker_backlog(b->workers[0], slow->conn, 4 * 1024 * 1024 - 4096);
    floods(b, writer, 20, 0);
    assert_in_range(b->counters[0].queued_messages, 2, 4);
    assert_int_equal(TOTAL(b, dropped_queue), 20 - b->counters[0].queued_messages);
    heap.used = CONSUMERS;
    pass(b, 100);
    pass(b, 50);
    assert_true(slow->conn == 0); /* and counts for who is the largest */
    bench_close(b);
}

/* One line a second for each session, with the number. */
static void drops_are_said_once_a_second(void **state)
{
    (void)state;
    struct heap heap = {.used = 0};
    struct bench *b = bench_under(&heap);
    struct party *writer = &b->parties[0], *slow = &b->parties[1];
    bench_stop(b);
    b->say_every_ms = 1000;
    bench_workers(b);
    connects(b, slow, "s0", &(struct hello){.client_id = "s0"});
    settle(b);
    subscribes(b, slow, "t/#", 0);
    connects(b, writer, "d0", &(struct hello){.client_id = "w"});
    settle(b);
    fills(b, writer, slow, 50, 0);
    assert_int_equal(TOTAL(b, dropped_queue), 47);
    assert_int_equal(events_of(b, EVENT_slow_client), 1);
    pass(b, 1100);
    pass(b, 1100);
    assert_int_equal(events_of(b, EVENT_slow_client), 2);
    uint32_t said_in_all = 0;
    for (size_t i = 0; i < b->n_events; i++) {
        said_in_all += b->events[i].category == EVENT_slow_client ? b->events[i].count : 0;
    }
    assert_int_equal(said_in_all, 47);
    bench_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qos0_to_slow_readers_goes_first),
        cmocka_unit_test(what_was_acknowledged_stays),
        cmocka_unit_test(the_largest_of_all_workers_is_closed),
        cmocka_unit_test(enough_are_closed_at_once),
        cmocka_unit_test(strangers_go_before_anybody_else_is_refused),
        cmocka_unit_test(publishers_wait_and_are_refused),
        cmocka_unit_test(the_backlog_counts),
        cmocka_unit_test(drops_are_said_once_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
