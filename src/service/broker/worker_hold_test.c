/* A disk that is slow for a moment: what would be on record is not read until the log has room for
 * it, nobody is refused, and nothing else stops. While its disk is behind the keeper
 * refuses whoever does not ask first. */
#include "service/broker/worker_story_test.h"

static const struct hello plain = {.client_id = "p"};

static void disk_is(struct bench *b, enum journal_lag lag)
{
    b->log->lag = lag;
    disk_is_full(b, lag != JOURNAL_KEEPS_UP);
}

static bool is_read(const struct bench *b, const struct party *p)
{
    return worker_wants_input(b->workers[p->worker], p->conn);
}

static void nothing_was_refused(const struct bench *b)
{
    assert_int_equal(events_of(b, EVENT_store_space), 0);
    assert_int_equal(atomic_load(&b->counters[0].refused_store), 0);
    assert_int_equal(atomic_load(&b->counters[1].refused_store), 0);
}

static void reason_has(const struct bench *b, const char *words)
{
    for (size_t i = 0; i < b->n_events; i++) {
        if (b->events[i].category == EVENT_store_space) {
            assert_non_null(strstr(b->events[i].reason, words));
            assert_true(strlen(b->events[i].reason) < sizeof(b->events[i].reason) - 1);
        }
    }
}

/* ---- held ---- */

static void what_would_be_on_record_waits(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1], *old = &b->parties[2];
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 2);
    is_in(b, pub, device_at(b, 0, 0), &durable);
    is_in(b, old, device_at(b, 0, 1), &(struct hello){.client_id = "o", .version = MQTT_V311});
    disk_is(b, JOURNAL_BEHIND);
    publishes(b, pub, "t/a", "one", 1, 1, false);
    publishes(b, pub, "t/a", "two", 2, 2, false);
    publishes(b, pub, "t/a", "kept", 0, 0, true);
    publishes(b, old, "t/b", "", 0, 0, true); /* a clear is on record, too */
    publishes(b, old, "t/b", "old", 1, 1, false);
    pass(b, 60000); /* as long as it takes; keep-alive and all */
    EXPECT(pub, "");
    EXPECT(old, "");
    EXPECT(sub, "");
    assert_false(is_read(b, pub));
    assert_false(is_read(b, old));
    nothing_was_refused(b);
    disk_is(b, JOURNAL_KEEPS_UP);
    settle(b);
    EXPECT(pub, "puback 1; pubrec 2; ");
    EXPECT(old, "puback 1; ");
    EXPECT(
        sub,
        "publish1 t/a one; publish2 t/a two; publish0 t/a kept; publish0 t/b ; publish1 t/b old; ");
    assert_true(is_read(b, pub));
    assert_true(is_read(b, old));
    assert_non_null(worker_retained(b->workers[0], NULL, slice_text("t/a"), b->now_ms));
    nothing_was_refused(b);
}

static void sessions_and_subscriptions_wait(void **state)
{
    struct bench *b = *state;
    struct party *old = &b->parties[0], *new = &b->parties[1], *pub = &b->parties[2];
    is_in(b, old, device_at(b, 1, 0), &durable);
    disk_is(b, JOURNAL_BEHIND);
    b->log_stands = true;
    subscribes(b, old, "t/a", 1);
    connects(b, new, device_at(b, 0, 0), &durable);
    settle(b);
    EXPECT(old, "");
    EXPECT(new, ""); /* CONNACK is a promise: it waits for the record */
    disk_is(b, JOURNAL_KEEPS_UP);
    b->log_stands = false;
    settle(b);
    EXPECT(old, "suback 01; ");
    EXPECT(new, "connack 00; ");
    is_in(b, pub, device_at(b, 0, 1), &plain);
    publishes(b, pub, "t/a", "x", 1, 1, false);
    settle(b);
    EXPECT(old, "publish1 t/a x; ");
    nothing_was_refused(b);
}

/* A packet that has not come in full is read on. */
static void a_packet_in_pieces_is_read_to_its_end(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    uint8_t bytes[64];
    struct wr w = wr_into(bytes, sizeof(bytes));
    is_in(b, pub, device_at(b, 0, 0), &plain);
    write_publish(&w, MQTT_V5, "t/a", "kept", 1, 1, true);
    disk_is(b, JOURNAL_BEHIND);
    for (size_t i = 0; i < w.at; i++) {
        assert_true(is_read(b, pub));
        give(b, pub, slice_of(&bytes[i], 1));
        settle(b);
    }
    assert_false(is_read(b, pub));
    disk_is(b, JOURNAL_KEEPS_UP);
    settle(b);
    EXPECT(pub, "puback 1; ");
    nothing_was_refused(b);
}

/* The engine answers a ping on its way to the packet behind it. */
static void a_ping_in_front_lets_nothing_pass(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    uint8_t bytes[64];
    struct wr w = wr_into(bytes, sizeof(bytes));
    is_in(b, pub, device_at(b, 0, 0), &plain);
    wr_u8(&w, MQTT_PINGREQ << 4);
    wr_u8(&w, 0);
    write_publish(&w, MQTT_V5, "t/a", "kept", 1, 1, true);
    disk_is(b, JOURNAL_BEHIND);
    give_wr(b, pub, &w);
    settle(b);
    EXPECT(pub, "");
    disk_is(b, JOURNAL_KEEPS_UP);
    settle(b);
    EXPECT(pub, "pingresp; puback 1; ");
    nothing_was_refused(b);
}

/* Who came first goes first, also who is held again. */
static void the_line_keeps_its_order(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0];
    char want[128] = "";
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 1);
    for (size_t i = 1; i <= 3; i++) {
        is_in(b, &b->parties[i], device_at(b, 0, (unsigned)i), &plain);
    }
    disk_is(b, JOURNAL_BEHIND);
    for (size_t i = 3; i >= 1; i--) {
        char text[2] = {(char)('0' + i)};
        publishes(b, &b->parties[i], "t/a", text, 1, 1, false);
        (void)snprintf(want + strlen(want), sizeof(want) - strlen(want), "publish1 t/a %s; ", text);
        settle(b);
    }
    disk_is(b, JOURNAL_KEEPS_UP);
    settle(b);
    EXPECT(sub, want);
}

/* ---- what goes on ---- */

static void what_needs_no_disk_goes_on(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1], *sleeper = &b->parties[2],
                 *late = &b->parties[3];
    is_in(b, sleeper, device_at(b, 1, 1), &durable);
    subscribed(b, sleeper, "w/#", 2);
    is_in(b, pub, device_at(b, 0, 0), &plain);
    publishes(b, pub, "w/a", "one", 1, 1, false);
    settle(b);
    EXPECT(pub, "puback 1; ");
    EXPECT(sleeper, "publish1 w/a one; ");
    disk_is(b, JOURNAL_BEHIND);
    is_in(b, sub, device_at(b, 1, 0), &plain);
    subscribed(b, sub, "t/#", 2);
    publishes(b, pub, "t/a", "q0", 0, 0, false);
    publishes(b, pub, "t/a", "q1", 1, 2, false);
    publishes(b, pub, "t/a", "q2", 2, 3, false);
    publishes(b, pub, "w/a", "q0", 0, 0, false);
    settle(b);
    EXPECT(pub, "puback 2; pubrec 3; ");
    EXPECT(sub, "publish0 t/a q0; publish1 t/a q1; publish2 t/a q2; ");
    EXPECT(sleeper, "publish0 w/a q0; ");
    size_t n = b->log->n;
    acks(b, sleeper, MQTT_PUBACK, 1); /* what settles, and so makes room */
    settle(b);
    assert_true(b->log->n > n);
    is_in(b, late, device_at(b, 0, 1), &(struct hello){.client_id = "l"});
    is_cut(b, sleeper);
    connects(b, sleeper, device_at(b, 1, 1), &durable);
    settle(b);
    EXPECT(sleeper, "connack 00 present; ");
    nothing_was_refused(b);
}

/* A held client can be cut off, taken over, and leave; its will fires when there is room, and what
 * it said and nobody read was never said. */
static void who_is_held_can_go(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1], *again = &b->parties[2];
    const struct hello mortal = {.client_id = "m", .will = "t/will", .will_qos = 1};
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 2);
    is_in(b, pub, device_at(b, 0, 0), &mortal);
    disk_is(b, JOURNAL_BEHIND);
    publishes(b, pub, "t/a", "one", 1, 1, false);
    settle(b);
    connects(b, again, device_at(b, 0, 0), &(struct hello){.client_id = "n"});
    settle(b);
    EXPECT(again, "connack 00; ");
    is_cut(b, pub);
    pass(b, 3000);
    EXPECT(sub, "");
    reason_has(b, "a will waits");
    reason_has(b, "is behind");
    disk_is(b, JOURNAL_KEEPS_UP);
    pass(b, 1000);
    EXPECT(sub, "publish1 t/will gone; ");
    is_in(b, pub, device_at(b, 0, 0), &durable);
    disk_is(b, JOURNAL_BEHIND);
    publishes(b, pub, "t/a", "two", 1, 1, false);
    settle(b);
    connects(b, again, device_at(b, 0, 0), &durable); /* takes it over */
    settle(b);
    EXPECT(again, "connack 00 present; ");
    assert_int_equal(pub->conn, 0);
    publishes(b, again, "t/a", "three", 1, 1, false);
    disk_is(b, JOURNAL_KEEPS_UP);
    settle(b);
    EXPECT(again, "puback 1; ");
    EXPECT(sub, "publish1 t/a three; ");
}

static void a_stop_does_not_wait(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    is_in(b, pub, device_at(b, 0, 0), &durable);
    disk_is(b, JOURNAL_BEHIND);
    publishes(b, pub, "t/a", "kept", 1, 1, true);
    settle(b);
    struct wmsg stop = {.kind = WMSG_DRAIN};
    must(ring_push(&b->service[0], &stop));
    settle(b);
    EXPECT(pub, "disconnect 8b; ");
    assert_int_equal(pub->conn, 0);
    assert_true(worker_is_drained(b->workers[0]));
}

/* ---- memory ---- */

static uint8_t large[60000];

static void write_large(struct wr *w, uint16_t packet_id)
{
    struct mqtt_publish m = {.topic = slice_text("t/a"),
                             .payload = slice_of(large, sizeof(large)),
                             .qos = 1,
                             .retain = true,
                             .packet_id = packet_id};
    must(mqtt_publish_encode(&m, MQTT_V5, w));
}

enum way_out { CUT_OFF, TAKEN_OVER, REFUSED, SERVED, WAYS_OUT };

/* Somebody is held with much unread, and goes. */
static void is_held_and_goes(struct bench *b, enum way_out how)
{
    static uint8_t bytes[3 * sizeof(large)];
    struct party *pub = &b->parties[1], *again = &b->parties[2];
    struct wr w = wr_into(bytes, sizeof(bytes));
    is_in(b, pub, device_at(b, 0, 0), &durable);
    write_large(&w, 1);
    write_large(&w, 2);
    disk_is(b, JOURNAL_BEHIND);
    uint64_t before = mem_used();
    give_wr(b, pub, &w);
    settle(b);
    assert_false(is_read(b, pub));
    assert_true(mem_used() >= before + 2 * sizeof(large));
    if (how == TAKEN_OVER) {
        connects(b, again, device_at(b, 0, 0), &durable);
        settle(b);
        EXPECT(again, "connack 00 present; ");
    } else if (how == REFUSED) {
        disk_is(b, JOURNAL_STANDS_STILL);
        settle(b);
        EXPECT(pub, "puback 1 97; puback 2 97; ");
    } else if (how == SERVED) {
        disk_is(b, JOURNAL_KEEPS_UP);
        settle(b);
        EXPECT(pub, "puback 1; puback 2; ");
    }
    disk_is(b, JOURNAL_KEEPS_UP);
    is_cut(b, how == TAKEN_OVER ? again : pub);
    pub->n = again->n = 0;
    /* The session ends, too. */
    connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = durable.client_id});
    settle(b);
    is_cut(b, pub);
    pub->n = 0;
}

static void nothing_stays_of_who_was_held(void **state)
{
    struct bench *b = *state;
    for (unsigned how = 0; how < WAYS_OUT; how++) {
        uint64_t used[3];
        for (size_t round = 0; round < COUNT_OF(used); round++) { /* the first fills pools */
            is_held_and_goes(b, (enum way_out)how);
            pass(b, 10000);
            used[round] = mem_used();
        }
        assert_true(used[2] <= used[1] + 4096); /* of the bench's own records */
    }
}

/* ---- keep-alive ---- */

enum { ALIVE_S = 5, SILENCE_MS = ALIVE_S * 1500 };

static void pings(struct bench *b, struct party *p)
{
    static const uint8_t ping[] = {MQTT_PINGREQ << 4, 0};
    give(b, p, slice_of(ping, sizeof(ping)));
    settle(b);
}

/* From now on the client says nothing, and is listened to. */
static void is_closed_for_silence(struct bench *b, struct party *p, const char *how)
{
    pass(b, SILENCE_MS - 1);
    EXPECT(p, "");
    assert_true(p->conn != 0);
    pass(b, 1);
    EXPECT(p, how);
    pass(b, 5000); /* and lingers */
    assert_int_equal(p->conn, 0);
}

/* Many times what keep-alive allows passes, in steps that a clock of any length meets. */
static void time_passes(struct bench *b, const struct party *p)
{
    for (unsigned i = 0; i < 100; i++) {
        pass(b, 997);
        assert_true(p->conn != 0);
    }
}

/* Whoever is held is not listened to: that is no silence. */
static void nobody_is_silent_who_is_held(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    is_in(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p", .keep_alive_s = ALIVE_S});
    pass(b, SILENCE_MS - 1);
    disk_is(b, JOURNAL_BEHIND);
    publishes(b, pub, "t/a", "kept", 1, 1, true);
    pings(b, pub);
    time_passes(b, pub);
    EXPECT(pub, "");
    disk_is(b, JOURNAL_KEEPS_UP);
    settle(b);
    EXPECT(pub, "pingresp; puback 1; "); /* which waits for the commit */
    is_closed_for_silence(b, pub, "disconnect 8d; ");
}

/* Nor is who has all open that it may, and waits for the commit. MQTT 3.1.1 is not read then. */
static void nobody_is_silent_who_waits_for_acknowledgements(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    const struct hello old = {.client_id = "o", .version = MQTT_V311, .keep_alive_s = ALIVE_S};
    uint16_t n = 0;
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 1);
    is_in(b, pub, device_at(b, 0, 0), &old);
    pass(b, SILENCE_MS - 1);
    b->log_stands = true;
    while (is_read(b, pub)) {
        publishes(b, pub, "t/a", "x", 1, ++n, false);
        settle(b);
        assert_true(n < 2000);
    }
    time_passes(b, pub);
    EXPECT(pub, "");
    /* It may go on in the very turn in which it would have been silent for too long. */
    pass(b, 2 * SILENCE_MS);
    b->log_stands = false;
    pass(b, SILENCE_MS);
    assert_true(is_read(b, pub) && said(pub)[0] == 'p');
    pings(b, pub);
    EXPECT(pub, "pingresp; ");
    is_closed_for_silence(b, pub, "");
}

/* Nor is who waits for CONNACK, which promises a session that is to be on record. */
static void nobody_is_silent_before_connack(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    struct hello h = durable;
    h.keep_alive_s = ALIVE_S;
    b->log_stands = true;
    connects(b, p, device_at(b, 0, 0), &h);
    settle(b);
    time_passes(b, p);
    EXPECT(p, "");
    b->log_stands = false;
    settle(b);
    EXPECT(p, "connack 00; ");
    is_closed_for_silence(b, p, "disconnect 8d; ");
}

/* ---- and not for ever ---- */

static void a_disk_that_stands_still_refuses(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1], *late = &b->parties[2];
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 2);
    is_in(b, pub, device_at(b, 0, 0), &durable);
    disk_is(b, JOURNAL_BEHIND);
    publishes(b, pub, "t/a", "one", 1, 1, false);
    publishes(b, pub, "t/a", "two", 2, 2, false);
    publishes(b, pub, "t/a", "kept", 0, 0, true);
    settle(b);
    EXPECT(pub, "");
    disk_is(b, JOURNAL_STANDS_STILL);
    settle(b);
    EXPECT(pub, "puback 1 97; pubrec 2 97; ");
    connects(b, late, device_at(b, 0, 1), &durable);
    settle(b);
    EXPECT(late, "connack 97; ");
    EXPECT(sub, "");
    assert_int_equal(events_of(b, EVENT_store_space), 4);
    assert_int_equal(atomic_load(&b->counters[0].refused_store), 4);
    reason_has(b, "too slow: it has taken nothing for 10 s");
    disk_is(b, JOURNAL_KEEPS_UP);
    publishes(b, pub, "t/a", "two", 2, 2, false); /* the same id is a new message */
    settle(b);
    EXPECT(pub, "pubrec 2; ");
    EXPECT(sub, "publish2 t/a two; ");
}

static void a_full_disk_refuses_at_once(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    is_in(b, pub, device_at(b, 0, 0), &plain);
    disk_is_full(b, true);
    publishes(b, pub, "t/a", "kept", 1, 1, true);
    settle(b);
    EXPECT(pub, "puback 1 97; ");
    reason_has(b, "Free space on the disk of DIR/store");
    assert_int_equal(events_of(b, EVENT_store_space), 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_would_be_on_record_waits),
        CASE(sessions_and_subscriptions_wait),
        CASE(a_packet_in_pieces_is_read_to_its_end),
        CASE(a_ping_in_front_lets_nothing_pass),
        CASE(the_line_keeps_its_order),
        CASE(what_needs_no_disk_goes_on),
        CASE(who_is_held_can_go),
        CASE(a_stop_does_not_wait),
        CASE(nothing_stays_of_who_was_held),
        CASE(nobody_is_silent_who_is_held),
        CASE(nobody_is_silent_who_waits_for_acknowledgements),
        CASE(nobody_is_silent_before_connack),
        CASE(a_disk_that_stands_still_refuses),
        CASE(a_full_disk_refuses_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
