/* The turns of two workers from outside: rings that fill, budgets, when what is queued is written
 * and what a read of many messages may ask for. docs/ORDER.md says the rules. */
#include "service/broker/worker_story_test.h"

static const struct hello plain = {.client_id = "c"};

/* Rule 11: what does not fit into the ring waits behind it. */
static void full_ring_loses_nothing(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    is_in(b, pub, device_at(b, 0, 0), &plain);
    is_in(b, sub, device_at(b, 1, 0), &plain);
    subscribed(b, sub, "t/#", 0);
    for (int i = 0; i < 10 * RING; i++) {
        char payload[8];
        (void)snprintf(payload, sizeof(payload), "%d", i);
        publishes(b, pub, "t/a", payload, 0, 0, false);
    }
    settle(b);
    const char *text = said(sub), *at = text;
    assert_int_equal(occurs(text, "publish0"), 10 * RING);
    for (int i = 0; i < 10 * RING; i++) {
        char want[40];
        (void)snprintf(want, sizeof(want), "publish0 t/a %d; ", i);
        assert_memory_equal(at, want, strlen(want)); /* in their order */
        at += strlen(want);
    }
}

static void qos0_is_dropped_at_the_limit(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[1];
    struct account *a = NULL;
    const char *name = device_at(b, 0, 0);
    is_in(b, sub, device_at(b, 1, 0), &plain);
    subscribed(b, sub, "t/#", 0);
    const struct principal *who = directory_find(b->realm->directory, slice_text(name))->principal;
    assert_int_equal(worker_account(b->workers[0], who, b->now_ms, &a), OK);
    for (int i = 0; i < 16384 + RING + 100; i++) {
        struct msg *m = NULL;
        bool done = false;
        assert_int_equal(msg_new(slice_text("t/a"), (struct slice){0}, slice_text("x"), &m), OK);
        assert_int_equal(worker_publish(b->workers[0], a, m, 1, b->now_ms, &done), OK);
        assert_true(done);
    }
    assert_int_equal(b->counters[0].dropped_ring, 100);
    worker_account_release(b->workers[0], a);
}

static void rate_delays_and_loses_nothing(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    uint8_t bytes[1024];
    struct wr w = wr_into(bytes, sizeof(bytes));
    is_in(b, pub, "s0", &plain);
    for (uint16_t i = 1; i <= 8; i++) {
        write_publish(&w, MQTT_V5, "t/a", "x", 1, i, false);
    }
    give_wr(b, pub, &w);
    settle(b);
    assert_int_equal(occurs(said(pub), "puback"), 5);
    assert_int_equal(events_of(b, EVENT_rate), 1);
    for (int i = 0; i < 4; i++) {
        pass(b, 1000);
    }
    assert_int_equal(occurs(said(pub), "puback"), 3);
}

/* What nobody here gets does not count; what somebody gets counts once, until all is sent. */
static void light_until_much_is_queued(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1], *other = &b->parties[2];
    struct worker *home = b->workers[0];
    uint8_t bytes[1024];
    char payload[801];
    memset(payload, 'x', 800);
    payload[800] = '\0';
    connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    connects(b, sub, device_at(b, 0, 1), &(struct hello){.client_id = "s"});
    connects(b, other, device_at(b, 0, 2), &(struct hello){.client_id = "o"});
    settle(b);
    subscribes(b, sub, "t/a", 0);
    subscribes(b, other, "t/a", 0);
    settle(b);
    struct wr nobody = wr_into(bytes, sizeof(bytes));
    write_publish(&nobody, pub->version, "t/b", payload, 0, 0, false);
    for (unsigned i = 0; i < 200; i++) {
        worker_input(home, pub->conn, wr_slice(&nobody), b->now_ms);
    }
    assert_true(worker_is_light(home));
    size_t cost = sizeof(struct msg) + strlen("t/a") + 800;
    struct wr both = wr_into(bytes, sizeof(bytes));
    write_publish(&both, pub->version, "t/a", payload, 0, 0, false);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t n = cost; n < WORKER_LIGHT_BYTES + cost; n += cost) {
            assert_true(worker_is_light(home));
            worker_input(home, pub->conn, wr_slice(&both), b->now_ms);
        }
        assert_false(worker_is_light(home));
        sub->n = other->n = 0;
        pump(b, 0);
        assert_true(worker_is_light(home));
        assert_true(sub->n > 0 && sub->n == other->n);
    }
}

/* What is dirty waits for the end of a rest, no longer, and for nothing without one. */
static void rests_with_what_is_dirty(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    struct worker *home = b->workers[0];
    uint8_t bytes[64];
    connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    connects(b, sub, device_at(b, 0, 1), &(struct hello){.client_id = "s"});
    settle(b);
    subscribes(b, sub, "t/a", 0);
    settle(b);
    worker_rest(home, b->now_ms + 3);
    assert_true(worker_deadline(home) > b->now_ms + 3); /* nobody is dirty */
    struct wr one = wr_into(bytes, sizeof(bytes));
    write_publish(&one, pub->version, "t/a", "x", 0, 0, false);
    worker_input(home, pub->conn, wr_slice(&one), b->now_ms);
    assert_int_equal(worker_deadline(home), b->now_ms + 3);
    worker_rest(home, b->now_ms);
    assert_true(worker_deadline(home) <= b->now_ms);
    assert_int_equal(worker_n_wide(home), 0); /* one subscriber is not many */
}

/* What came alone leaves before its publisher is looked at; nobody is calm until both are. */
static void lone_message_comes_first(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    struct worker *home = b->workers[0];
    uint8_t bytes[64];
    connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    connects(b, sub, device_at(b, 0, 1), &(struct hello){.client_id = "s"});
    settle(b);
    subscribes(b, sub, "t/a", 0);
    settle(b);
    assert_true(worker_is_calm(home));
    struct wr one = wr_into(bytes, sizeof(bytes));
    write_publish(&one, pub->version, "t/a", "x", 0, 0, false);
    worker_input(home, pub->conn, wr_slice(&one), b->now_ms);
    assert_true(worker_put_off(home, pub->conn));
    assert_true(worker_put_off(home, pub->conn)); /* once */
    assert_false(worker_put_off(home, UINT64_MAX));
    assert_false(worker_is_calm(home));
    assert_int_equal(worker_next_dirty(home), sub->conn);
    assert_true(worker_output(home, sub->conn, bytes, sizeof(bytes), NULL, b->now_ms) > 0);
    assert_false(worker_is_calm(home));
    assert_int_equal(worker_next_dirty(home), pub->conn);
    assert_int_equal(worker_next_dirty(home), 0);
    assert_true(worker_is_calm(home));
}

/* At the limit, and one message under it. */
static void full_until_all_are_written_to(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    struct worker *home = b->workers[0];
    uint8_t bytes[5000];
    char payload[4097];
    memset(payload, 'x', 4096);
    payload[4096] = '\0';
    connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    connects(b, sub, device_at(b, 0, 1), &(struct hello){.client_id = "s"});
    settle(b);
    subscribes(b, sub, "t/a", 0);
    settle(b);
    size_t cost = sizeof(struct msg) + strlen("t/a") + 4096;
    struct wr w = wr_into(bytes, sizeof(bytes));
    write_publish(&w, pub->version, "t/a", payload, 0, 0, false);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t n = cost; n < WORKER_FULL_BYTES + cost; n += cost) {
            assert_false(worker_is_full(home));
            worker_input(home, pub->conn, wr_slice(&w), b->now_ms);
        }
        assert_true(worker_is_full(home));
        sub->n = 0;
        pump(b, 0);
        assert_false(worker_is_full(home));
        assert_true(sub->n > WORKER_FULL_BYTES - 2 * cost);
    }
}

static void subscribes_many(struct bench *b, struct party *p)
{
    char filter[32];
    for (unsigned i = 0; i < FILTERS_MANY; i++) {
        (void)snprintf(filter, sizeof(filter), "t/%u/%s", i, i % 2 == 0 ? "+" : "x");
        subscribes(b, p, filter, 0);
        if (i % 128 == 0 || i == FILTERS_MANY - 1) {
            settle(b);
            p->n = 0;
        }
    }
}

/* Of many filters what a read needs is asked for ahead: who says what stays as it is, whatever
 * stands between two messages, and wherever the read ends. */
static void many_filters_one_read(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    static uint8_t bytes[4096];
    role_limits(b->any)->subscriptions = FILTERS_MANY + 1;
    realm_changes(b);
    is_in(b, sub, device_at(b, 0, 1), &(struct hello){.client_id = "s"});
    is_in(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    subscribes_many(b, sub);
    struct wr w = wr_into(bytes, sizeof(bytes));
    for (unsigned i = 0; i < 2 * FILTERS_AHEAD + 1; i++) {
        char topic[32], n[8];
        (void)snprintf(topic, sizeof(topic), i % 5 == 4 ? "t/none/%u" : "t/%u/x", i);
        (void)snprintf(n, sizeof(n), "%u", i);
        write_publish(&w, pub->version, topic, n, 0, 0, false);
        if (i == 3) {
            wr_u16(&w, 0xc000); /* PINGREQ */
        } else if (i == 6) {
            write_subscribe(&w, pub->version, "t/8/x", 1, 0);
        }
    }
    give(b, pub, slice_of(bytes, w.at - 3));
    give(b, pub, slice_of(bytes + w.at - 3, 3));
    settle(b);
    EXPECT(sub, "publish0 t/0/x 0; publish0 t/1/x 1; publish0 t/2/x 2; publish0 t/3/x 3; "
                "publish0 t/5/x 5; publish0 t/6/x 6; publish0 t/7/x 7; publish0 t/8/x 8; "
                "publish0 t/10/x 10; publish0 t/11/x 11; publish0 t/12/x 12; publish0 t/13/x 13; "
                "publish0 t/15/x 15; publish0 t/16/x 16; ");
    assert_int_equal(occurs(said(pub), "pingresp; "), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_bench, close_bench)
    const struct CMUnitTest tests[] = {
        CASE(full_ring_loses_nothing),       CASE(qos0_is_dropped_at_the_limit),
        CASE(rate_delays_and_loses_nothing), CASE(light_until_much_is_queued),
        CASE(rests_with_what_is_dirty),      CASE(lone_message_comes_first),
        CASE(full_until_all_are_written_to), CASE(many_filters_one_read),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
