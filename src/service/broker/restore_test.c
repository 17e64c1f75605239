/* What a crash may take away and what not: only what was committed is there afterwards, and all
 * that was acknowledged is. */
#include "service/broker/worker_story_test.h"

static const struct hello plain = {.client_id = "p"};

static void is_back(struct bench *b, struct party *p, const char *name, const char *and_gets)
{
    char want[400];
    connects(b, p, name, &durable);
    settle(b);
    (void)snprintf(want, sizeof(want), "connack 00 present; %s", and_gets);
    EXPECT(p, want);
}

/* A durable listener on one worker that sleeps, a publisher on the other. */
static void one_sleeps(struct bench *b, uint8_t qos)
{
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", qos);
    is_cut(b, sub);
    is_in(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "c", .resume = true});
    settle(b);
}

/* ---- queues ---- */

static void what_was_queued_comes_back(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    one_sleeps(b, 2);
    publishes(b, pub, "t/a", "one", 1, 1, false);
    publishes(b, pub, "t/a", "two", 2, 2, false);
    settle(b);
    EXPECT(pub, "puback 1; pubrec 2; ");
    bench_crash(b, 1000, &report);
    assert_int_equal(report.sessions, 2);
    assert_int_equal(report.subscriptions, 1);
    assert_int_equal(report.deliveries, 2);
    is_back(b, sub, device_at(b, 1, 0), "publish1d t/a one; publish2d t/a two; ");
    acks(b, sub, MQTT_PUBACK, 1);
    acks(b, sub, MQTT_PUBREC, 2);
    settle(b);
    EXPECT(sub, "pubrel 2; ");
    bench_crash(b, 1000, &report);
    is_back(b, sub, device_at(b, 1, 0), "pubrel 2; ");
    acks(b, sub, MQTT_PUBCOMP, 2);
    settle(b);
    bench_crash(b, 1000, &report);
    assert_int_equal(report.deliveries, 0);
    is_back(b, sub, device_at(b, 1, 0), "");
    /* The counter goes on, also over what nobody remembers. */
    is_back(b, pub, device_at(b, 0, 0), "");
    publishes(b, pub, "t/a", "three", 1, 3, false);
    settle(b);
    EXPECT(sub, "publish1 t/a three; ");
    acks(b, sub, MQTT_PUBACK, 1);
    settle(b);
    bench_crash(b, 1000, &report);
    assert_int_equal(report.deliveries, 1); /* 3 was its packet id, not 1 */
}

/* Acknowledged to nobody: it may be there or not, but never half of it. */
static void what_was_not_committed_is_gone(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    one_sleeps(b, 1);
    b->log_stands = true;
    publishes(b, pub, "t/a", "lost", 1, 1, true);
    settle(b);
    EXPECT(pub, "");
    bench_crash(b, 0, &report);
    b->log_stands = false;
    assert_int_equal(report.deliveries + report.retained + report.rematched, 0);
    is_back(b, sub, device_at(b, 1, 0), "");
}

/* The publisher's worker has recorded it, the listener's has not been heard: matched again, once.
 */
static void nobody_had_answered(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    one_sleeps(b, 2);
    publishes(b, pub, "t/a", "x", 2, 7, false);
    keeper_commit(b->log);
    bench_crash(b, 0, &report);
    assert_int_equal(report.rematched, 1);
    settle(b);
    is_back(b, pub, device_at(b, 0, 0), "");
    publishes(b, pub, "t/a", "x", 2, 7, false); /* the client heard nothing, and says it again */
    settle(b);
    EXPECT(pub, "pubrec 7; ");
    is_back(b, sub, device_at(b, 1, 0), "publish2 t/a x; ");
    bench_crash(b, 0, &report);
    assert_int_equal(report.rematched, 0);
    assert_int_equal(report.deliveries, 1);
}

static void a_message_expires_while_nobody_is_there(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    uint8_t bytes[128];
    struct wr w = wr_into(bytes, sizeof(bytes));
    one_sleeps(b, 1);
    struct mqtt_publish m = {
        .topic = slice_text("t/a"), .payload = slice_text("x"), .qos = 1, .packet_id = 1};
    mqtt_props_set_number(&m.props, MQTT_PROP_MESSAGE_EXPIRY, 60);
    must(mqtt_publish_encode(&m, MQTT_V5, &w));
    m.packet_id = 2;
    m.payload = slice_text("y");
    mqtt_props_set_number(&m.props, MQTT_PROP_MESSAGE_EXPIRY, 600);
    must(mqtt_publish_encode(&m, MQTT_V5, &w));
    give_wr(b, pub, &w);
    settle(b);
    bench_crash(b, 120000, &report);
    is_back(b, sub, device_at(b, 1, 0), "publish1d t/a y; ");
}

/* ---- QoS 2 from the client ---- */

static void taken_once(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    one_sleeps(b, 2);
    publishes(b, pub, "t/a", "x", 2, 7, false);
    settle(b);
    EXPECT(pub, "pubrec 7; ");
    bench_crash(b, 0, &report);
    is_back(b, pub, device_at(b, 0, 0), "");
    publishes(b, pub, "t/a", "x", 2, 7, false);
    settle(b);
    EXPECT(pub, "pubrec 7; ");
    acks(b, pub, MQTT_PUBREL, 7);
    settle(b);
    EXPECT(pub, "pubcomp 7; ");
    bench_crash(b, 0, &report);
    is_back(b, sub, device_at(b, 1, 0), "publish2d t/a x; ");
    is_back(b, pub, device_at(b, 0, 0), "");
    publishes(b, pub, "t/a", "new", 2, 7, false); /* the id was released: another message */
    settle(b);
    EXPECT(pub, "pubrec 7; ");
    EXPECT(sub, "publish2 t/a new; ");
}

/* ---- retained ---- */

static void retained_come_back(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[1], *reader = &b->parties[2];
    struct restore_report report;
    is_in(b, pub, device_at(b, 0, 0), &plain);
    publishes(b, pub, "t/a", "old", 0, 0, true);
    publishes(b, pub, "t/a", "new", 1, 1, true);
    publishes(b, pub, "t/b", "gone", 0, 0, true);
    publishes(b, pub, "t/b", "", 0, 0, true);
    settle(b);
    bench_crash(b, 1000, &report);
    assert_int_equal(report.retained, 1);
    for (unsigned home = 0; home < WORKERS; home++) {
        is_in(b, reader, device_at(b, home, 1), &plain);
        subscribes(b, reader, "t/#", 1);
        settle(b);
        EXPECT(reader, "suback 01; publish1r t/a new; ");
        is_cut(b, reader);
    }
    is_in(b, pub, device_at(b, 1, 0), &plain);
    publishes(b, pub, "t/a", "newest", 0, 0, true); /* numbers go on above those on record */
    settle(b);
    bench_crash(b, 1000, &report);
    is_in(b, reader, device_at(b, 0, 1), &plain);
    subscribes(b, reader, "t/#", 1);
    settle(b);
    EXPECT(reader, "suback 01; publish0r t/a newest; ");
}

/* What a new subscription brought is on record as soon as it is queued. */
static void a_replay_is_on_record(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    is_in(b, pub, device_at(b, 0, 0), &plain);
    publishes(b, pub, "t/a", "one", 1, 1, true);
    publishes(b, pub, "t/b", "two", 2, 2, true);
    settle(b);
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribes(b, sub, "t/#", 2);
    settle(b);
    EXPECT(sub, "suback 02; publish1r t/a one; publish2r t/b two; ");
    bench_crash(b, 1000, &report);
    assert_int_equal(report.deliveries, 2);
    is_back(b, sub, device_at(b, 1, 0), "publish1rd t/a one; publish2rd t/b two; ");
}

/* ---- sessions ---- */

static void sessions_end_in_their_time(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0];
    struct restore_report report;
    one_sleeps(b, 1);
    bench_crash(b, 3500 * 1000, &report); /* of an hour */
    assert_int_equal(report.sessions, 2);
    pass(b, 101 * 1000);
    bench_crash(b, 0, &report);
    assert_int_equal(report.sessions, 1); /* the other fell asleep with the process */
    bench_crash(b, 3600 * 1000, &report);
    assert_int_equal(report.sessions, 0);
    assert_int_equal(report.ended, 1);
    settle(b);
    bench_crash(b, 0, &report);
    assert_int_equal(report.ended, 0); /* that it has ended is on record */
    connects(b, sub, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(sub, "connack 00; ");
}

/* Resumed for this connection only: a crash ends the connection, and so the session. */
static void the_last_connection_counts(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0];
    struct restore_report report;
    uint8_t bytes[128];
    struct wr w = wr_into(bytes, sizeof(bytes));
    one_sleeps(b, 1);
    struct mqtt_connect c = {.version = MQTT_V5, .client_id = slice_text("c")};
    must(mqtt_connect_encode(&c, &w));
    assert_true(arrives(b, sub, 0, device_at(b, 1, 0)));
    b->log_stands = true;
    give_wr(b, sub, &w);
    settle(b);
    EXPECT(sub, ""); /* the end of a promise is one, too */
    b->log_stands = false;
    settle(b);
    EXPECT(sub, "connack 00 present; ");
    bench_crash(b, 0, &report);
    assert_int_equal(report.ended, 1);
}

static void who_is_removed_leaves_nothing(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    one_sleeps(b, 1);
    assert_int_equal(directory_remove(b->directory, slice_text(device_at(b, 1, 0))), OK);
    bench_realm(b);
    bench_crash(b, 0, &report);
    assert_int_equal(report.ended, 1);
    assert_int_equal(report.sessions, 1);
    settle(b);
    bench_crash(b, 0, &report);
    assert_int_equal(report.ended, 0);
}

static void the_policy_of_now_counts(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "w/#", 1);
    subscribed(b, sub, "t/#", 1);
    is_cut(b, sub);
    is_in(b, pub, device_at(b, 0, 0), &plain);
    publishes(b, pub, "w/a", "not any more", 1, 1, false);
    publishes(b, pub, "t/a", "still", 1, 2, false);
    settle(b);
    bench_policy(b, true);
    bench_realm(b);
    bench_crash(b, 0, &report);
    settle(b);
    is_back(b, sub, device_at(b, 1, 0), "publish1d t/a still; ");
    bench_policy(b, false);
    bench_realm(b);
    bench_crash(b, 0, &report);
    assert_int_equal(report.subscriptions, 1); /* it ended then, and does not come back */
}

static void unsubscribed_stays_unsubscribed(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0];
    struct restore_report report;
    uint8_t bytes[] = {0xa2, 8, 0, 5, 0, 0, 3, 't', '/', '#'};
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 1);
    b->log_stands = true;
    give(b, sub, slice_of(bytes, sizeof(bytes)));
    settle(b);
    EXPECT(sub, "");
    b->log_stands = false;
    settle(b);
    assert_true(strstr(said(sub), "unsuback") != NULL);
    bench_crash(b, 0, &report);
    assert_int_equal(report.subscriptions, 0);
}

static void connack_waits_for_a_new_session(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *other = &b->parties[1];
    b->log_stands = true;
    connects(b, sub, device_at(b, 0, 0), &durable);
    connects(b, other, device_at(b, 0, 1), &plain);
    settle(b);
    EXPECT(sub, "");
    EXPECT(other, "connack 00; ");
    b->log_stands = false;
    settle(b);
    EXPECT(sub, "connack 00; ");
    is_cut(b, sub);
    settle(b);
    b->log_stands = true; /* what is promised already needs no wait */
    connects(b, sub, device_at(b, 0, 0), &durable);
    settle(b);
    EXPECT(sub, "connack 00 present; ");
}

/* ---- wills ---- */

static void wills_of_the_cut_off_are_published(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *dead = &b->parties[1], *polite = &b->parties[2];
    struct hello mortal = {.client_id = "c", .resume = true, .will = "t/will", .will_qos = 1};
    struct restore_report report;
    uint8_t disconnect[] = {0xe0, 0};
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 1);
    is_in(b, dead, device_at(b, 0, 0), &mortal);
    is_in(b, polite, device_at(b, 0, 1), &mortal);
    give(b, polite, slice_of(disconnect, sizeof(disconnect)));
    settle(b);
    bench_crash(b, 0, &report);
    settle(b);
    is_back(b, sub, device_at(b, 1, 0), "publish1 t/will gone; ");
    acks(b, sub, MQTT_PUBACK, 1);
    settle(b);
    bench_crash(b, 0, &report);
    settle(b);
    is_back(b, sub, device_at(b, 1, 0), ""); /* once */
}

/* ---- what no client takes ---- */

static void a_poisonous_message_is_set_aside(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    one_sleeps(b, 1);
    publishes(b, pub, "t/a", "bad", 1, 1, false);
    settle(b);
    is_back(b, sub, device_at(b, 1, 0), "publish1 t/a bad; ");
    bench_crash(b, 0, &report); /* one try */
    for (int i = 0; i < 4; i++) {
        is_back(b, sub, device_at(b, 1, 0), "publish1d t/a bad; ");
        is_cut(b, sub);
    }
    assert_int_equal(events_of(b, EVENT_poison_message), 0);
    is_back(b, sub, device_at(b, 1, 0), "");
    assert_int_equal(events_of(b, EVENT_poison_message), 1);
    assert_int_equal(keeper_count(b->log, JOURNAL_SET_ASIDE), 1);
    bench_crash(b, 0, &report);
    assert_int_equal(report.set_aside, 1);
    assert_int_equal(report.deliveries, 0);
}

/* Who fails at a message and takes the server along each time does not get it for ever. */
static void restarts_do_not_reset_the_count(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    one_sleeps(b, 1);
    publishes(b, pub, "t/a", "bad", 1, 1, false);
    publishes(b, pub, "t/b", "good", 1, 2, false);
    settle(b);
    is_back(b, sub, device_at(b, 1, 0), "publish1 t/a bad; publish1 t/b good; ");
    acks(b, sub, MQTT_PUBACK, 2);
    settle(b);
    for (int i = 0; i < 4; i++) {
        bench_crash(b, 0, &report);
        assert_int_equal(report.deliveries, 1);
        is_back(b, sub, device_at(b, 1, 0), "publish1d t/a bad; ");
    }
    bench_crash(b, 0, &report);
    is_back(b, sub, device_at(b, 1, 0), "");
    assert_int_equal(keeper_count(b->log, JOURNAL_SET_ASIDE), 1);
    bench_crash(b, 0, &report);
    assert_int_equal(report.set_aside, 1);
    assert_int_equal(report.deliveries, 0);
}

/* Damage took the body: said once, on record. */
static void a_lost_body_is_dropped(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    one_sleeps(b, 1);
    publishes(b, pub, "t/a", "lost", 1, 1, false);
    publishes(b, pub, "t/a", "kept", 1, 2, false);
    settle(b);
    for (size_t i = 0; i < b->log->n; i++) {
        if (b->log->records[i].kind == JOURNAL_BODY) {
            b->log->records[i].kind = JOURNAL_ENTRY_END;
            break;
        }
    }
    bench_crash(b, 0, &report);
    assert_int_equal(report.lost, 1);
    is_back(b, sub, device_at(b, 1, 0), "publish1d t/a kept; ");
    bench_crash(b, 0, &report);
    assert_int_equal(report.lost, 0);
}

/* The end of a session was not taken for want of memory: the one that began after it is there. */
static void the_newer_of_two_comes_back(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct restore_report report;
    one_sleeps(b, 1);
    publishes(b, pub, "t/a", "old", 1, 1, false);
    settle(b);
    is_in(b, sub, device_at(b, 1, 0), &(struct hello){.client_id = "c"});
    is_cut(b, sub);
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 1);
    publishes(b, pub, "t/a", "new", 1, 2, false);
    settle(b);
    for (size_t i = 0; i < b->log->n; i++) {
        if (b->log->records[i].kind == JOURNAL_SESSION_END) {
            b->log->records[i].kind = JOURNAL_ENTRY_END;
        }
    }
    bench_crash(b, 0, &report);
    assert_int_equal(report.sessions, 2);
    assert_int_equal(report.ended, 1);
    assert_int_equal(report.subscriptions, 1);
    assert_int_equal(report.deliveries, 1);
    is_back(b, sub, device_at(b, 1, 0), "publish1d t/a new; ");
}

/* ---- memory ---- */

static void story(struct bench *b)
{
    struct party *pub = &b->parties[1];
    one_sleeps(b, 2);
    publishes(b, pub, "t/a", "one", 1, 1, true);
    publishes(b, pub, "t/a", "two", 2, 2, false);
    settle(b);
    publishes(b, pub, "t/a", "three", 1, 3, false);
    keeper_commit(b->log);
    bench_stop(b);
    keeper_crash(b->log);
}

/* The process does not serve then; nothing leaks, and the next try works. */
static void every_allocation_fails_once(void **state)
{
    (void)state;
    bool failed = true;
    long at = 0;
    for (; failed; at++) {
        struct bench *b = bench_open();
        struct restore r;
        struct restore_report report;
        story(b);
        struct store_ids ids = keeper_ids(b->log);
        bench_workers(b);
        restore_init(&r, (struct worker *const *)b->workers, WORKERS, b->now_ms, b->wall_ms,
                     &report);
        struct log_sink sink = restore_sink(&r);
        (void)mem_fail_after(at);
        enum err err = keeper_restore(b->log, &sink);
        err = err == OK ? restore_finish(&r, &ids) : err;
        failed = mem_fail_after(-1) != 0;
        restore_done(&r);
        assert_true(err == OK || (failed && err == ERR_NOMEM));
        if (!failed) {
            assert_int_equal(report.rematched, 1);
            is_back(b, &b->parties[0], device_at(b, 1, 0),
                    "publish1d t/a one; publish2d t/a two; publish1 t/a three; ");
        }
        bench_close(b);
    }
    assert_true(at > 20);
}

/* ---- a stop ---- */

/* All was read, and nobody wants the rest: nothing of it is on record, and the next start does all
 * of it. */
static void a_restart_is_given_up(void **state)
{
    struct bench *b = *state;
    struct restore r;
    struct restore_report report;
    struct progress progress = {0};
    story(b);
    struct store_ids ids = keeper_ids(b->log);
    size_t n = b->log->n;
    bench_workers(b);
    restore_init(&r, (struct worker *const *)b->workers, WORKERS, b->now_ms, b->wall_ms, &report);
    r.progress = &progress;
    struct log_sink sink = restore_sink(&r);
    must(keeper_restore(b->log, &sink));
    atomic_store(&progress.is_given_up, true);
    assert_int_equal(restore_finish(&r, &ids), ERR_CLOSED);
    restore_done(&r);
    bench_stop(b);
    assert_int_equal(b->log->n, n);
    bench_restore(b, &report);
    assert_int_equal(report.rematched, 1);
    is_back(b, &b->parties[0], device_at(b, 1, 0),
            "publish1d t/a one; publish2d t/a two; publish1 t/a three; ");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_was_queued_comes_back),
        CASE(what_was_not_committed_is_gone),
        CASE(nobody_had_answered),
        CASE(a_message_expires_while_nobody_is_there),
        CASE(taken_once),
        CASE(retained_come_back),
        CASE(a_replay_is_on_record),
        CASE(sessions_end_in_their_time),
        CASE(the_last_connection_counts),
        CASE(who_is_removed_leaves_nothing),
        CASE(the_policy_of_now_counts),
        CASE(unsubscribed_stays_unsubscribed),
        CASE(connack_waits_for_a_new_session),
        CASE(wills_of_the_cut_off_are_published),
        CASE(a_poisonous_message_is_set_aside),
        CASE(restarts_do_not_reset_the_count),
        CASE(a_lost_body_is_dropped),
        CASE(the_newer_of_two_comes_back),
        CASE(a_restart_is_given_up),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
