/* What was set aside: asked about by an administrator, over crashes, refusals and want of memory.
 */
#include "service/broker/aside.h"
#include "service/broker/worker_story_test.h"

enum { HOME = 1, TRIES = 5, RECORDS_MAX = 6 };

static void is_back(struct bench *b, struct party *p, const char *and_gets)
{
    char want[400];
    connects(b, p, device_at(b, HOME, 0), &durable);
    settle(b);
    (void)snprintf(want, sizeof(want), "connack 00 present; %s", and_gets);
    EXPECT(p, want);
}

static void one_sleeps_for(struct bench *b, const char *filter, uint8_t qos)
{
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    is_in(b, sub, device_at(b, HOME, 0), &durable);
    subscribed(b, sub, filter, qos);
    is_cut(b, sub);
    is_in(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "c", .resume = true});
    settle(b);
}

static void one_sleeps(struct bench *b, uint8_t qos)
{
    one_sleeps_for(b, "t/#", qos);
}

/* All that waits for the sleeper is set aside. */
static void gives_up(struct bench *b)
{
    struct party *sub = &b->parties[0];
    for (int i = 0; i <= TRIES; i++) {
        connects(b, sub, device_at(b, HOME, 0), &durable);
        settle(b);
        (void)said(sub);
        is_cut(b, sub);
        settle(b);
    }
}

static void poison(struct bench *b, const char *topic, uint8_t qos)
{
    static uint16_t next_id = 1;
    struct party *pub = &b->parties[1];
    next_id = next_id < 1000 ? (uint16_t)(next_id + 1) : 1;
    publishes(b, pub, topic, "bad", qos, next_id, false);
    settle(b);
    if (qos == 2) {
        acks(b, pub, MQTT_PUBREL, next_id);
        settle(b);
    }
    (void)said(pub);
    gives_up(b);
}

static struct aside_ask *asked(struct bench *b, enum aside_verb verb, uint64_t id)
{
    struct aside_ask *ask = NULL;
    must(aside_ask_new(verb, &ask));
    ask->id = id;
    struct wmsg m = {.kind = WMSG_ASIDE, .ask = aside_ask_ref(ask)};
    must(ring_push(&b->service[HOME], &m));
    turn(b, HOME);
    return ask;
}

static enum aside_fate fate(struct bench *b, enum aside_verb verb)
{
    struct aside_ask *ask = asked(b, verb, 0);
    settle(b);
    assert_true(aside_ask_is_done(ask));
    assert_int_equal(ask->n_rows, 1);
    enum aside_fate f = ask->rows[0].fate;
    aside_ask_unref(ask);
    return f;
}

static size_t held(struct bench *b)
{
    struct aside_ask *ask = asked(b, ASIDE_LIST, 0);
    settle(b);
    assert_true(aside_ask_is_done(ask));
    size_t n = ask->n_rows;
    assert_int_equal(atomic_load(&b->counters[HOME].aside_messages), n);
    aside_ask_unref(ask);
    return n;
}

static bool was_said(const struct bench *b, const char *text)
{
    for (size_t i = 0; i < b->n_events; i++) {
        if (b->events[i].category == EVENT_poison_message &&
            strstr(b->events[i].reason, text) != NULL) {
            return true;
        }
    }
    return false;
}

/* ---- over a crash ---- */

/* Before the commit it is set aside, after it in the queue: never both, never neither. */
static void a_replay_is_one_handover(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    one_sleeps(b, 2);
    poison(b, "t/a", 2);
    b->log_stands = true;
    struct aside_ask *ask = asked(b, ASIDE_REPLAY, 0);
    settle(b);
    assert_false(aside_ask_is_done(ask)); /* it is not on disk */
    aside_ask_unref(ask);
    bench_crash(b, 0, &report);
    assert_int_equal(report.set_aside, 1);
    assert_int_equal(report.deliveries, 0);
    assert_true(was_said(b, "still set aside"));
    b->log_stands = false;
    settle(b);
    assert_int_equal(fate(b, ASIDE_REPLAY), ASIDE_REPLAYED);
    assert_true(was_said(b, "was queued again"));
    bench_crash(b, 0, &report);
    assert_int_equal(report.set_aside, 0);
    assert_int_equal(report.deliveries, 1);
    is_back(b, &b->parties[0], "publish2d t/a bad; ");
    acks(b, &b->parties[0], MQTT_PUBREC, 2);
    settle(b);
    EXPECT(&b->parties[0], "pubrel 2; ");
    acks(b, &b->parties[0], MQTT_PUBCOMP, 2);
    settle(b);
    bench_crash(b, 0, &report);
    assert_int_equal(report.deliveries, 0);
    is_back(b, &b->parties[0], "");
}

static void a_drop_is_on_record(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    one_sleeps(b, 1);
    poison(b, "t/a", 1);
    assert_int_equal(fate(b, ASIDE_DROP), ASIDE_DROPPED);
    assert_int_equal(held(b), 0);
    bench_crash(b, 0, &report);
    assert_int_equal(report.set_aside, 0);
    is_back(b, &b->parties[0], "");
}

/* Who is connected gets it at once, with a fresh count: not as a duplicate. */
static void a_replay_to_who_is_there(void **state)
{
    struct bench *b = *state;
    one_sleeps(b, 2);
    poison(b, "t/a", 2);
    is_back(b, &b->parties[0], "");
    assert_int_equal(fate(b, ASIDE_REPLAY), ASIDE_REPLAYED);
    EXPECT(&b->parties[0], "publish2 t/a bad; ");
    is_cut(b, &b->parties[0]);
    settle(b);
    gives_up(b);
    assert_int_equal(held(b), 1);
}

/* ---- refusals ---- */

static void it_stays(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0];
    one_sleeps(b, 1);
    poison(b, "t/a", 1);
    bench_policy(b, false);
    role_limits(b->any)->queue_messages = 0;
    realm_changes(b);
    settle(b);
    assert_int_equal(fate(b, ASIDE_REPLAY), ASIDE_QUEUE_FULL);
    connects(b, sub, device_at(b, HOME, 0), &(struct hello){.client_id = "c"}); /* begun anew */
    settle(b);
    (void)said(sub);
    assert_int_equal(fate(b, ASIDE_REPLAY), ASIDE_NO_SESSION);
    assert_int_equal(held(b), 1);
    assert_string_not_equal(aside_fate_text(ASIDE_NO_SESSION), "");
    assert_int_equal(fate(b, ASIDE_DROP), ASIDE_DROPPED);
}

static void the_policy_of_now(void **state)
{
    struct bench *b = *state;
    one_sleeps_for(b, "w/#", 1);
    poison(b, "w/a", 1);
    bench_policy(b, true);
    realm_changes(b);
    settle(b);
    enum aside_fate f = fate(b, ASIDE_REPLAY);
    assert_true(f == ASIDE_PUBLISHER_DENIED || f == ASIDE_SUBSCRIBER_DENIED);
    bench_policy(b, false);
    realm_changes(b);
    settle(b);
    assert_int_equal(fate(b, ASIDE_REPLAY), ASIDE_REPLAYED);
}

static void a_device_is_removed(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    one_sleeps(b, 1);
    poison(b, "t/a", 1);
    must(directory_remove(b->directory, slice_text(device_at(b, HOME, 0))));
    realm_changes(b);
    settle(b);
    assert_int_equal(held(b), 0);
    bench_crash(b, 0, &report);
    assert_int_equal(report.set_aside, 0);
}

/* Whatever record is refused, and however: the message is in one place at least, and told. */
static void the_journal_refuses_once(void **state)
{
    static const enum err refusals[] = {ERR_NOMEM, ERR_SPACE, ERR_IO};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        for (long at = 0; at < RECORDS_MAX; at++) {
            struct bench *b = bench_open();
            struct restore_report report;
            one_sleeps(b, 1);
            poison(b, "t/a", 1);
            b->log->refusal = refusals[i];
            b->log->refuse_at = at;
            enum aside_fate f = fate(b, ASIDE_REPLAY);
            b->log->refuse_at = -1;
            assert_int_equal(held(b), f == ASIDE_REPLAYED ? 0 : 1);
            bench_crash(b, 0, &report);
            assert_int_equal(report.deliveries, f == ASIDE_REPLAYED ? 1 : 0);
            assert_true(report.set_aside + report.deliveries >= 1);
            bench_close(b);
        }
    }
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    bool failed = true;
    for (long at = 0; failed; at++) {
        struct bench *b = bench_open();
        struct restore_report report;
        struct aside_ask *ask = NULL;
        one_sleeps(b, 1);
        poison(b, "t/a", 1);
        must(aside_ask_new(ASIDE_REPLAY, &ask));
        struct wmsg m = {.kind = WMSG_ASIDE, .ask = aside_ask_ref(ask)};
        must(ring_push(&b->service[HOME], &m));
        (void)mem_fail_after(at);
        worker_turn(b->workers[HOME], b->now_ms, b->wall_ms);
        failed = mem_fail_after(-1) != 0;
        settle(b);
        assert_true(aside_ask_is_done(ask));
        assert_true(ask->n_rows == 1 || ask->err == ERR_NOMEM);
        bool is_replayed = ask->n_rows == 1 && ask->rows[0].fate == ASIDE_REPLAYED;
        assert_true(failed || is_replayed);
        bench_crash(b, 0, &report);
        assert_int_equal(report.deliveries, is_replayed ? 1 : 0);
        assert_true(report.deliveries + report.set_aside >= 1);
        aside_ask_unref(ask);
        bench_close(b);
    }
}

/* ---- bounds ---- */

static void at_and_over_the_limits(void **state)
{
    struct bench *b = *state;
    char topic[8];
    b->limits.aside_messages = 2 * WORKERS;
    one_sleeps(b, 1);
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(topic, sizeof(topic), "t/%u", i);
        poison(b, topic, 1);
        assert_int_equal(held(b), i < 2 ? i + 1 : 2);
        assert_true(was_said(b, "setaside_messages") == (i >= 2));
    }
    struct aside_ask *ask = asked(b, ASIDE_LIST, 0);
    settle(b);
    assert_true(slice_is(ask->rows[0].msg->topic, "t/2")); /* the oldest went */
    assert_true(slice_is(ask->rows[1].msg->topic, "t/3"));
    assert_string_equal(ask->rows[0].client_id, "c");
    assert_string_equal(ask->rows[0].principal, device_at(b, HOME, 0));
    assert_int_equal(ask->rows[0].n_tries, TRIES);
    aside_ask_unref(ask);
    b->limits.aside_bytes = 1;
    poison(b, "t/9", 1);
    assert_int_equal(held(b), 1); /* one stays, however large */
    assert_true(was_said(b, "setaside_bytes"));
    struct restore_report report;
    bench_crash(b, 0, &report);
    assert_int_equal(report.set_aside, 1);
}

static void their_time_is_over(void **state)
{
    struct bench *b = *state;
    b->limits.aside_seconds = 60;
    one_sleeps(b, 1);
    poison(b, "t/a", 1);
    pass(b, 50000);
    assert_int_equal(held(b), 1);
    pass(b, 11000);
    assert_int_equal(held(b), 0);
    assert_true(was_said(b, "setaside_expiry"));
}

static void pages_and_names(void **state)
{
    struct bench *b = *state;
    char topic[8];
    one_sleeps(b, 1);
    for (unsigned i = 0; i < 3; i++) {
        (void)snprintf(topic, sizeof(topic), "t/%u", i);
        poison(b, topic, 1);
    }
    uint64_t after = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct aside_ask *ask = NULL;
        must(aside_ask_new(ASIDE_LIST, &ask));
        ask->most = 1;
        ask->after = after;
        (void)snprintf(ask->principal, sizeof(ask->principal), "%s", device_at(b, HOME, 0));
        struct wmsg m = {.kind = WMSG_ASIDE, .ask = aside_ask_ref(ask)};
        must(ring_push(&b->service[HOME], &m));
        settle(b);
        assert_int_equal(ask->n_rows, 1);
        assert_int_equal(ask->has_more, i < 2);
        (void)snprintf(topic, sizeof(topic), "t/%u", i);
        assert_true(slice_is(ask->rows[0].msg->topic, topic));
        after = ask->rows[0].id;
        aside_ask_unref(ask);
    }
    struct aside_ask *other = asked(b, ASIDE_DROP, after + 1);
    settle(b);
    assert_int_equal(other->n_rows, 0);
    aside_ask_unref(other);
    assert_int_equal(held(b), 3);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_replay_is_one_handover),
        CASE(a_drop_is_on_record),
        CASE(a_replay_to_who_is_there),
        CASE(it_stays),
        CASE(the_policy_of_now),
        CASE(a_device_is_removed),
        cmocka_unit_test(the_journal_refuses_once),
        cmocka_unit_test(every_allocation_fails_once),
        CASE(at_and_over_the_limits),
        CASE(their_time_is_over),
        CASE(pages_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
