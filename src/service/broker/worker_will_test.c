/* Wills that wait: the delay, the session's end, who comes back in time, and what a restart makes
 * of them. */
#include "service/broker/sessions_private.h"
#include "service/broker/worker_story_test.h"

/* A session of a minute; its will waits ten seconds. */
static const struct hello mortal = {.client_id = "c",
                                    .resume = true,
                                    .expiry_s = 60,
                                    .will = "t/will",
                                    .will_qos = 1,
                                    .will_delay_s = 10};
static const struct hello short_lived = {.client_id = "c",
                                         .resume = true,
                                         .expiry_s = 5,
                                         .will = "t/will",
                                         .will_qos = 1,
                                         .will_delay_s = 10};
static const struct hello back = {.client_id = "c", .resume = true, .expiry_s = 60};

static struct party *listener(struct bench *b)
{
    struct party *sub = &b->parties[0];
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 1);
    return sub;
}

static struct party *mortal_is_cut(struct bench *b, const struct hello *h)
{
    struct party *p = &b->parties[1];
    is_in(b, p, device_at(b, 0, 0), h);
    is_cut(b, p);
    settle(b);
    return p;
}

static void returns(struct bench *b, struct party *p, const struct hello *h, const char *want)
{
    connects(b, p, device_at(b, 0, 0), h);
    settle(b);
    EXPECT(p, want);
}

static void listener_is_back(struct bench *b, const char *and_gets)
{
    char want[200];
    struct party *sub = &b->parties[0];
    connects(b, sub, device_at(b, 1, 0), &durable);
    settle(b);
    (void)snprintf(want, sizeof(want), "connack 00 present; %s", and_gets);
    EXPECT(sub, want);
}

/* SPEC: MQTT5-3.1.2-8 */
static void it_waits_for_its_delay(void **state)
{
    struct bench *b = *state;
    struct party *sub = listener(b);
    (void)mortal_is_cut(b, &mortal);
    pass(b, 9999);
    EXPECT(sub, "");
    pass(b, 1);
    EXPECT(sub, "publish1 t/will gone; ");
    assert_int_equal(events_of(b, EVENT_will), 1);
    pass(b, 50000); /* and the session ends when it would have */
    EXPECT(sub, "");
    returns(b, &b->parties[1], &back, "connack 00; ");
}

/* SPEC: MQTT5-3.1.3-9 */
static void who_comes_back_in_time_is_not_dead(void **state)
{
    struct bench *b = *state;
    struct party *sub = listener(b);
    struct party *p = mortal_is_cut(b, &mortal);
    pass(b, 9999);
    returns(b, p, &mortal, "connack 00 present; "); /* with a will of its own */
    pass(b, 20000);
    EXPECT(sub, "");
    is_cut(b, p);
    pass(b, 9999);
    EXPECT(sub, "");
    returns(b, p, &back, "connack 00 present; "); /* and without one */
    is_cut(b, p);
    pass(b, 70000);
    EXPECT(sub, "");
    assert_int_equal(events_of(b, EVENT_will), 0);
}

/* SPEC: MQTT5-3.1.3-9: a takeover is a return, too */
static void takeover_keeps_it_silent(void **state)
{
    struct bench *b = *state;
    struct party *sub = listener(b);
    is_in(b, &b->parties[1], device_at(b, 0, 0), &mortal);
    returns(b, &b->parties[2], &back, "connack 00 present; ");
    EXPECT(&b->parties[1], "disconnect 8e; ");
    pass(b, 70000);
    EXPECT(sub, "");
}

/* A session that ends takes its will with it, however long the delay. SPEC: MQTT5-3.1.2-8 */
static void it_fires_with_the_session(void **state)
{
    struct bench *b = *state;
    struct party *sub = listener(b);
    struct party *p = mortal_is_cut(b, &short_lived);
    pass(b, 4999);
    EXPECT(sub, "");
    pass(b, 1);
    EXPECT(sub, "publish1 t/will gone; ");
    p = mortal_is_cut(b, &mortal);
    EXPECT(sub, "");
    returns(b, p, &(struct hello){.client_id = "c"}, "connack 00; "); /* clean start */
    EXPECT(sub, "publish1 t/will gone; ");
    is_cut(b, p);
    is_in(b, p, device_at(b, 0, 0),
          &(struct hello){.client_id = "c", .will = "t/will", .will_delay_s = 10});
    is_cut(b, p); /* a session that does not outlive its connection */
    settle(b);
    EXPECT(sub, "publish0 t/will gone; ");
}

/* SPEC: MQTT-3.1.2-10, MQTT-3.14.4-3 */
static void goodbye_forgets_it(void **state)
{
    struct bench *b = *state;
    struct party *sub = listener(b);
    struct party *p = &b->parties[1];
    struct restore_report report;
    uint8_t disconnect[] = {0xe0, 0}, with_will[] = {0xe0, 1, 4};
    is_in(b, p, device_at(b, 0, 0), &mortal);
    give(b, p, slice_of(disconnect, sizeof(disconnect)));
    settle(b);
    bench_crash(b, 0, &report);
    settle(b);
    pass(b, 20000);
    listener_is_back(b, "");
    returns(b, p, &mortal, "connack 00 present; ");
    give(b, p, slice_of(with_will, sizeof(with_will)));
    pass(b, 9999);
    EXPECT(sub, "");
    pass(b, 1);
    EXPECT(sub, "publish1 t/will gone; ");
}

/* Authorized at CONNECT, and again when it fires. */
static void policy_may_change_while_it_waits(void **state)
{
    struct bench *b = *state;
    struct hello narrow = mortal;
    narrow.will = "w/will";
    (void)listener(b);
    (void)mortal_is_cut(b, &narrow);
    bench_policy(b, true);
    realm_changes(b);
    b->n_events = 0;
    pass(b, 10000);
    assert_int_equal(events_of(b, EVENT_will), 0);
    assert_int_equal(events_of(b, EVENT_acl_deny), 1);
}

/* A connection that comes to nothing is no return: the will that waits fires when it would have. */
static void failed_return_changes_nothing(void **state)
{
    struct bench *b = *state;
    struct party *sub = listener(b);
    struct party *p = mortal_is_cut(b, &mortal);
    pass(b, 1000);
    b->log->refuse_at = 1; /* that it has a connection is taken, its new will is not */
    b->log->refusal = ERR_SPACE;
    returns(b, p, &mortal, "connack 97; ");
    pass(b, 8999);
    EXPECT(sub, "");
    pass(b, 1);
    EXPECT(sub, "publish1 t/will gone; ");
}

static void no_memory_changes_nothing(void **state)
{
    struct bench *b = *state;
    struct party *sub = listener(b);
    struct party *p = mortal_is_cut(b, &mortal);
    for (long n = 0; n < 40; n++) {
        (void)mem_fail_after(n);
        connects(b, p, device_at(b, 0, 0), &mortal);
        if (mem_fail_after(-1) == 0 || strstr(said(p), "connack 00") != NULL) {
            break;
        }
        is_cut(b, p);
        settle(b);
    }
    assert_true(p->conn != 0); /* in the end there was memory: it is back, and has gone again */
    is_cut(b, p);
    pass(b, 9999);
    EXPECT(sub, "");
    pass(b, 1);
    EXPECT(sub, "publish1 t/will gone; ");
}

/* ---- restarts ---- */

static void restart_ends_the_connection(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    (void)listener(b);
    is_in(b, &b->parties[1], device_at(b, 0, 0), &mortal);
    bench_crash(b, 30000, &report); /* nobody could have come back meanwhile */
    settle(b);
    listener_is_back(b, "");
    pass(b, 9999);
    EXPECT(&b->parties[0], "");
    pass(b, 1);
    EXPECT(&b->parties[0], "publish1 t/will gone; ");
    acks(b, &b->parties[0], MQTT_PUBACK, 1);
    settle(b);
    bench_crash(b, 0, &report);
    pass(b, 20000);
    listener_is_back(b, ""); /* once */
}

/* SPEC: docs/ORDER.md rule 12 */
static void delay_goes_on_while_nobody_is_there(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    (void)listener(b);
    (void)mortal_is_cut(b, &mortal);
    pass(b, 4000);
    bench_crash(b, 3000, &report);
    settle(b);
    listener_is_back(b, "");
    pass(b, 2999);
    EXPECT(&b->parties[0], "");
    pass(b, 1);
    EXPECT(&b->parties[0], "publish1 t/will gone; ");
}

static void delay_that_passed_meanwhile(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    (void)listener(b);
    (void)mortal_is_cut(b, &mortal);
    bench_crash(b, 30000, &report);
    settle(b);
    listener_is_back(b, "publish1 t/will gone; ");
    returns(b, &b->parties[1], &back, "connack 00 present; ");
}

/* The session ended while nobody was there, and its will with it. SPEC: MQTT5-3.1.2-8 */
static void session_that_ended_meanwhile(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    (void)listener(b);
    (void)mortal_is_cut(b, &mortal);
    bench_crash(b, 90000, &report);
    assert_int_equal(report.ended, 1);
    settle(b);
    listener_is_back(b, "publish1 t/will gone; ");
    acks(b, &b->parties[0], MQTT_PUBACK, 1);
    settle(b);
    bench_crash(b, 0, &report);
    assert_int_equal(report.ended, 0);
    settle(b);
    listener_is_back(b, "");
    returns(b, &b->parties[1], &back, "connack 00; ");
}

/* SPEC: MQTT5-3.1.3-9: also when the server dies right behind its CONNACK */
static void return_is_on_record(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    (void)listener(b);
    struct party *p = mortal_is_cut(b, &mortal);
    returns(b, p, &back, "connack 00 present; ");
    bench_crash(b, 0, &report);
    pass(b, 20000);
    listener_is_back(b, "");
}

/* ---- orderly stops ---- */

/* Everybody is sent away, the process ends, and another begins down_ms later. */
static void stops(struct bench *b, uint64_t down_ms)
{
    struct restore_report report;
    for (unsigned i = 0; i < WORKERS; i++) {
        struct wmsg m = {.kind = WMSG_DRAIN};
        must(ring_push(&b->service[i], &m));
    }
    settle(b);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_true(worker_is_drained(b->workers[i]));
    }
    bench_crash(b, down_ms, &report);
    settle(b);
}

/* SPEC: MQTT5-3.1.2-8: the client has said no goodbye; its delay begins with the stop */
static void a_stop_is_no_goodbye(void **state)
{
    struct bench *b = *state;
    struct party *sub = listener(b), *p = &b->parties[1];
    is_in(b, p, device_at(b, 0, 0), &mortal);
    stops(b, 3000);
    EXPECT(p, "disconnect 8b; ");
    listener_is_back(b, "");
    pass(b, 6999);
    EXPECT(sub, "");
    pass(b, 1);
    EXPECT(sub, "publish1 t/will gone; ");
}

/* SPEC: MQTT5-3.1.3-9 */
static void who_comes_back_behind_a_stop_is_not_dead(void **state)
{
    struct bench *b = *state;
    struct party *sub = listener(b), *p = &b->parties[1];
    is_in(b, p, device_at(b, 0, 0), &mortal);
    stops(b, 3000);
    listener_is_back(b, "");
    returns(b, p, &back, "connack 00 present; ");
    pass(b, 20000);
    EXPECT(sub, "");
    assert_int_equal(events_of(b, EVENT_will), 0);
}

/* SPEC: MQTT-3.1.2-10: once; without a delay, and for a session that ends with its connection */
static void a_stop_publishes_what_does_not_wait(void **state)
{
    struct bench *b = *state;
    struct hello no_delay = mortal,
                 no_session = {.client_id = "c", .will = "t/will", .will_qos = 1};
    no_delay.will_delay_s = 0;
    (void)listener(b);
    is_in(b, &b->parties[1], device_at(b, 0, 0), &no_delay);
    stops(b, 3000);
    listener_is_back(b, "publish1d t/will gone; ");
    acks(b, &b->parties[0], MQTT_PUBACK, 1);
    settle(b);
    returns(b, &b->parties[1], &no_session, "connack 00; ");
    EXPECT(&b->parties[0], "");
    stops(b, 3000);
    listener_is_back(b, "publish1d t/will gone; ");
    acks(b, &b->parties[0], MQTT_PUBACK, 2);
    settle(b);
    stops(b, 0);
    listener_is_back(b, "");
}

/* SPEC: MQTT-3.14.4-3 */
static void goodbye_before_a_stop(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[1];
    uint8_t disconnect[] = {0xe0, 0};
    (void)listener(b);
    is_in(b, p, device_at(b, 0, 0), &mortal);
    give(b, p, slice_of(disconnect, sizeof(disconnect)));
    stops(b, 20000);
    listener_is_back(b, "");
}

/* ---- no room ---- */

/* It waits, says so once, and is published when there is room: whatever it was that let it fire. */
static void it_waits_for_room(void **state)
{
    static const struct {
        const char *name;
        struct hello hello;
        uint64_t due_ms;
        bool is_over; /* its session has ended meanwhile */
    } cases[] = {
        {"no delay", {.client_id = "c", .resume = true, .expiry_s = 60}, 0, false},
        {"delay",
         {.client_id = "c", .resume = true, .expiry_s = 60, .will_delay_s = 10},
         10000,
         false},
        {"the session's end",
         {.client_id = "c", .resume = true, .expiry_s = 5, .will_delay_s = 10},
         5000,
         true},
        {"a session without an hour", {.client_id = "c"}, 0, true},
    };
    struct bench *b = *state;
    struct party *sub = listener(b);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct hello h = cases[i].hello;
        h.will = "t/will";
        h.will_qos = 1;
        b->n_events = 0;
        struct party *p = &b->parties[1];
        is_in(b, p, device_at(b, 0, 0), &h);
        disk_is_full(b, true);
        is_cut(b, p);
        pass(b, cases[i].due_ms);
        for (int tick = 0; tick < 20; tick++) {
            pass(b, 1000);
        }
        EXPECT(sub, "");
        assert_int_equal(events_of(b, EVENT_will), 0);
        assert_int_equal(events_of(b, EVENT_store_space), 1);
        disk_is_full(b, false);
        pass(b, 1000);
        EXPECT(sub, "publish1 t/will gone; ");
        pass(b, 20000);
        EXPECT(sub, ""); /* once */
        assert_int_equal(events_of(b, EVENT_will), 1);
        assert_int_equal(b->workers[0]->n_held, 0);
        returns(b, p, &(struct hello){.client_id = "c", .resume = true, .expiry_s = 60},
                cases[i].is_over ? "connack 00; " : "connack 00 present; ");
        is_cut(b, p);
        pass(b, 70000);
        acks(b, sub, MQTT_PUBACK, (uint16_t)(i + 1));
        settle(b);
    }
    assert_int_equal(atomic_load(&b->counters[0].refused_store), 0); /* nothing was lost */
}

static void what_waits_for_room_survives_a_crash(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    (void)listener(b);
    struct party *p = mortal_is_cut(b, &mortal);
    disk_is_full(b, true);
    pass(b, 65000); /* the session is over, but for its will */
    assert_int_equal(b->workers[0]->n_held, 1);
    bench_crash(b, 0, &report);
    settle(b);
    assert_int_equal(b->workers[0]->n_held, 1); /* and there is no room yet */
    listener_is_back(b, "");
    disk_is_full(b, false);
    pass(b, 1000);
    EXPECT(&b->parties[0], "publish1 t/will gone; ");
    returns(b, p, &back, "connack 00; ");
}

/* Its client needs its name: it is let in, and the will that nobody can keep is said to be lost. */
static void who_comes_back_takes_the_place(void **state)
{
    struct bench *b = *state;
    const struct hello brief = {.client_id = "c", .will = "t/will", .will_qos = 1};
    const struct hello again = {.client_id = "c"};
    struct party *sub = listener(b), *p = &b->parties[1];
    is_in(b, p, device_at(b, 0, 0), &brief);
    disk_is_full(b, true);
    is_cut(b, p);
    settle(b);
    assert_int_equal(b->workers[0]->n_sessions, 1);
    returns(b, p, &again, "connack 00; ");
    assert_int_equal(atomic_load(&b->counters[0].refused_store), 1);
    assert_int_equal(events_of(b, EVENT_store_space), 2);
    returns(b, &b->parties[2], &brief, "connack 00; "); /* a takeover is the same */
    returns(b, p, &again, "connack 00; ");
    assert_int_equal(atomic_load(&b->counters[0].refused_store), 2);
    is_cut(b, p);
    disk_is_full(b, false);
    is_in(b, p, device_at(b, 0, 0), &mortal);
    disk_is_full(b, true);
    is_cut(b, p);
    pass(b, 10000);
    returns(b, p, &back, "connack 00 present; "); /* it was due, and is replaced by none */
    assert_int_equal(atomic_load(&b->counters[0].refused_store), 3);
    disk_is_full(b, false);
    pass(b, 20000);
    EXPECT(sub, "");
    assert_int_equal(b->workers[0]->n_held, 0);
}

/* A full disk does not let sessions pile up without end. */
static void so_many_may_wait(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[1];
    (void)listener(b);
    disk_is_full(b, true);
    for (unsigned i = 0; i <= SESSIONS_HELD_MAX; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "c%u", i);
        connects(b, p, device_at(b, 0, 0),
                 &(struct hello){.client_id = id, .will = "t/will", .will_qos = 1});
        assert_int_equal(atomic_load(&b->counters[0].refused_store), 0);
        is_cut(b, p);
        p->n = 0;
    }
    assert_int_equal(b->workers[0]->n_sessions, SESSIONS_HELD_MAX);
    assert_int_equal(atomic_load(&b->counters[0].refused_store), 1);
    disk_is_full(b, false);
    pass(b, 1000);
    assert_int_equal(b->workers[0]->n_sessions, 0);
    assert_int_equal(b->workers[0]->n_held, 0);
}

/* However often memory is short when it fires, it is published once. */
static void it_waits_for_memory(void **state)
{
    struct bench *b = *state;
    struct party *sub = listener(b);
    for (long n = 0;; n++) {
        struct party *p = mortal_is_cut(b, &mortal);
        b->now_ms += 10000;
        b->wall_ms += 10000;
        (void)mem_fail_after(n);
        worker_turn(b->workers[0], b->now_ms, b->wall_ms);
        bool failed = mem_fail_after(-1) != 0;
        settle(b);
        pass(b, 1000);
        EXPECT(sub, "publish1 t/will gone; ");
        acks(b, sub, MQTT_PUBACK, (uint16_t)(n + 1));
        returns(b, p, &(struct hello){.client_id = "c"}, "connack 00; ");
        is_cut(b, p);
        if (!failed) {
            assert_true(n > 0);
            break;
        }
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_waits_for_its_delay),
        TEST(who_comes_back_in_time_is_not_dead),
        TEST(takeover_keeps_it_silent),
        TEST(it_fires_with_the_session),
        TEST(goodbye_forgets_it),
        TEST(policy_may_change_while_it_waits),
        TEST(failed_return_changes_nothing),
        TEST(no_memory_changes_nothing),
        TEST(restart_ends_the_connection),
        TEST(delay_goes_on_while_nobody_is_there),
        TEST(delay_that_passed_meanwhile),
        TEST(session_that_ended_meanwhile),
        TEST(return_is_on_record),
        TEST(a_stop_is_no_goodbye),
        TEST(who_comes_back_behind_a_stop_is_not_dead),
        TEST(a_stop_publishes_what_does_not_wait),
        TEST(goodbye_before_a_stop),
        TEST(it_waits_for_room),
        TEST(what_waits_for_room_survives_a_crash),
        TEST(who_comes_back_takes_the_place),
        TEST(so_many_may_wait),
        TEST(it_waits_for_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
