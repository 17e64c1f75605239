/* Two workers from outside: hand-over, barriers, commits, takeover, policy in time. docs/ORDER.md
 * says the rules. */
#include "service/broker/worker_story_test.h"

static const struct hello plain = {.client_id = "c"};

/* ---- home ---- */

/* Rule 2: what was sent behind CONNECT, before anybody knew where home is, arrives there. */
static void handover_carries_what_follows(void **state)
{
    struct bench *b = *state;
    for (unsigned home = 0; home < WORKERS; home++) {
        struct party *p = &b->parties[home];
        static uint8_t bytes[32 * 1024];
        static char large[20000];
        struct wr w = wr_into(bytes, sizeof(bytes));
        p->version = MQTT_V5;
        memset(large, 'x', sizeof(large) - 1);
        write_hello(&plain, &w);
        write_subscribe(&w, MQTT_V5, "t/#", 1, 0);
        write_publish(&w, MQTT_V5, "t/a", large, 1, 3, false);
        assert_true(arrives(b, p, 0, device_at(b, home, 0)));
        give_wr(b, p, &w);
        settle(b);
        assert_int_equal(p->worker, home);
        assert_true(p->conn != 0);
        const char *text = said(p);
        assert_int_equal(occurs(text, "connack 00; "), 1);
        assert_int_equal(occurs(text, "suback 00; "), 1);
        assert_int_equal(occurs(text, "puback 3"), 1);
    }
}

/* A principal that was removed while its connection was between two workers stays out. */
static void handover_of_a_removed_principal(void **state)
{
    struct bench *b = *state;
    const char *name = device_at(b, 1, 0);
    struct party *p = &b->parties[0];
    assert_int_equal(directory_remove(b->directory, slice_text(name)), OK);
    bench_realm(b);
    realm_to(b, 1); /* home knows; the door does not */
    connects(b, p, name, &plain);
    turn(b, 1);
    EXPECT(p, "connack 87; ");
    assert_int_equal(p->conn, 0);
    realm_to(b, 0);
}

static void handover_of_a_disabled_principal(void **state)
{
    struct bench *b = *state;
    const char *name = device_at(b, 1, 0);
    struct party *p = &b->parties[0];
    assert_int_equal(directory_disable(b->directory, slice_text(name), slice_text("lost")), OK);
    bench_realm(b);
    realm_to(b, 1);
    connects(b, p, name, &plain);
    turn(b, 1);
    EXPECT(p, "connack 87; ");
    realm_to(b, 0);
}

/* ---- subscribing ---- */

/* Rule 3: no SUBACK before every worker knows; nothing falls between retained and live. */
static void suback_waits_for_all(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    is_in(b, sub, device_at(b, 0, 0), &plain);
    is_in(b, pub, device_at(b, 1, 0), &plain);
    subscribes(b, sub, "t/#", 1);
    turn(b, 0);
    turn(b, 0);
    EXPECT(sub, "");
    publishes(b, pub, "t/a", "just before", 1, 1, true);
    turn(b, 0);
    EXPECT(sub, "");
    turn(b, 1);
    turn(b, 0);
    settle(b);
    EXPECT(sub, "suback 01; publish1r t/a just before; ");
    publishes(b, pub, "t/a", "live", 0, 0, false);
    settle(b);
    EXPECT(sub, "publish0 t/a live; ");
}

/* SPEC: MQTT5-3.8.4-5, MQTT5-3.8.4-6 */
static void filters_refused(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    uint8_t bytes[2048];
    is_in(b, p, "d0", &plain);
    subscribes(b, p, "#", 0);
    settle(b);
    EXPECT(p, "suback 87; ");
    for (size_t over = 0; over < 2; over++) {
        struct wr w = wr_into(bytes, sizeof(bytes));
        write_subscribe(&w, MQTT_V5, "t/a", b->limits.filters_per_packet + over, 0);
        give_wr(b, p, &w);
        settle(b);
        if (over == 1) {
            /* type, length, id, properties with a reason string, and a code for each */
            size_t at = 2 + 2 + 1 + (size_t)p->bytes[4];
            assert_int_equal(p->n, at + b->limits.filters_per_packet + 1);
            for (size_t i = at; i < p->n; i++) {
                assert_int_equal(p->bytes[i], 0x97);
            }
        }
        EXPECT(p, over == 0 ? "suback 00; " : "suback 97; ");
    }
    assert_true(p->conn != 0);
}

/* SPEC: MQTT5-3.3.1-6, MQTT5-3.3.1-7 */
static void retained_is_cleared_everywhere(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    is_in(b, pub, device_at(b, 0, 0), &plain);
    publishes(b, pub, "t/a", "kept", 0, 0, true);
    publishes(b, pub, "t/b", "stays", 0, 0, true);
    publishes(b, pub, "t/a", "", 0, 0, true);
    settle(b);
    for (unsigned home = 0; home < WORKERS; home++) {
        struct party *sub = &b->parties[1 + home];
        is_in(b, sub, device_at(b, home, 1), &plain);
        subscribes(b, sub, "t/#", 0);
        settle(b);
        EXPECT(sub, "suback 00; publish0r t/b stays; ");
    }
}

/* ---- commits ---- */

/* Rule 7: PUBACK is a promise when somebody durable listens, and instant when nobody does. */
static void puback_waits_for_the_commit(void **state)
{
    struct bench *b = *state;
    for (unsigned home = 0; home < WORKERS; home++) {
        struct party *pub = &b->parties[0], *sub = &b->parties[1];
        const char *topic = home == 0 ? "t/0" : "t/1";
        b->log_stands = false;
        is_in(b, pub, device_at(b, 0, 0), &plain);
        is_in(b, sub, device_at(b, home, 1), &durable);
        b->log_stands = true;
        publishes(b, pub, topic, "nobody", 1, 1, false);
        const char *text = said(pub);
        assert_int_equal(occurs(text, "puback 1"), 1);
        b->log_stands = false;
        subscribed(b, sub, topic, 1);
        b->log_stands = true;
        publishes(b, pub, topic, "one", 1, 2, false);
        settle(b);
        EXPECT(pub, "");
        b->log_stands = false;
        settle(b);
        EXPECT(pub, "puback 2; ");
        assert_int_equal(occurs(said(sub), "publish1 t/"), 1);
        is_cut(b, pub);
        is_cut(b, sub);
    }
}

/* Rule 8, all four steps. SPEC: MQTT5-4.3.3-4, MQTT5-4.3.3-8, MQTT5-4.3.3-11 */
static void qos2_waits_at_every_step(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    is_in(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p", .resume = true});
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 2);
    b->log_stands = true;
    publishes(b, pub, "t/a", "x", 2, 7, false);
    settle(b);
    EXPECT(pub, "");
    EXPECT(sub, "");
    keeper_commit(b->log);
    settle(b);
    EXPECT(pub, "pubrec 7; ");
    EXPECT(sub, "publish2 t/a x; ");
    publishes(b, pub, "t/a", "x", 2, 7, false); /* again: taken once. SPEC: MQTT5-4.3.3-10 */
    settle(b);
    EXPECT(pub, "pubrec 7; ");
    acks(b, pub, MQTT_PUBREL, 7);
    acks(b, sub, MQTT_PUBREC, 1);
    settle(b);
    EXPECT(pub, "");
    EXPECT(sub, "");
    keeper_commit(b->log);
    settle(b);
    EXPECT(pub, "pubcomp 7; ");
    EXPECT(sub, "pubrel 1; ");
    acks(b, sub, MQTT_PUBCOMP, 1);
    acks(b, pub, MQTT_PUBREL, 7);
    settle(b);
    EXPECT(pub, "pubcomp 7 92; ");
    EXPECT(sub, "");
}

/* A session that comes back while its message is on the way to the disk gets it when it is there.
 */
static void commit_wakes_a_resumed_session(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    is_in(b, pub, device_at(b, 0, 0), &plain);
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 2);
    is_cut(b, sub);
    b->log_stands = true;
    publishes(b, pub, "t/a", "x", 2, 7, false);
    settle(b);
    connects(b, sub, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(sub, "connack 00 present; ");
    b->log_stands = false;
    settle(b);
    EXPECT(sub, "publish2 t/a x; ");
}

/* 3.1.1 is held back by not reading, and loses nothing when it goes on. */
static void held_back_and_resumed(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    uint8_t bytes[4096];
    struct wr w = wr_into(bytes, sizeof(bytes));
    is_in(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p", .version = MQTT_V311});
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 1);
    b->log_stands = true;
    for (uint16_t i = 1; i <= 50; i++) {
        write_publish(&w, MQTT_V311, "t/a", "x", 1, i, false);
    }
    give_wr(b, pub, &w);
    settle(b);
    EXPECT(pub, "");
    assert_false(worker_wants_input(b->workers[pub->worker], pub->conn));
    b->log_stands = false;
    settle(b);
    assert_int_equal(occurs(said(pub), "puback"), 50);
    assert_true(worker_wants_input(b->workers[pub->worker], pub->conn));
}

/* 3.1.1 knows no receive maximum: many QoS 2 messages may be open at once. */
static void many_open_qos2_of_311(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    uint8_t bytes[4096];
    struct wr w = wr_into(bytes, sizeof(bytes));
    is_in(b, pub, "d0", &(struct hello){.client_id = "p", .version = MQTT_V311});
    for (uint16_t i = 1; i <= 50; i++) {
        write_publish(&w, MQTT_V311, "t/a", "x", 2, i, false);
    }
    give_wr(b, pub, &w);
    settle(b);
    assert_int_equal(occurs(said(pub), "pubrec"), 50);
    assert_true(pub->conn != 0);
}

/* ---- sessions ---- */

/* SPEC: MQTT5-3.1.4-3 */
static void takeover(void **state)
{
    struct bench *b = *state;
    struct party *old = &b->parties[0], *young = &b->parties[1], *other = &b->parties[2];
    is_in(b, old, "d0", &durable);
    is_in(b, other, "d1", &durable); /* the same client id: another session */
    assert_true(old->conn != 0);
    EXPECT(old, "");
    assert_int_equal(events_of(b, EVENT_takeover), 0);
    connects(b, young, "d0", &durable);
    settle(b);
    EXPECT(old, "disconnect 8e; ");
    EXPECT(young, "connack 00 present; ");
    EXPECT(other, "");
    assert_int_equal(old->conn, 0);
    assert_int_equal(events_of(b, EVENT_takeover), 1);
}

/* SPEC: MQTT5-4.1.0-2 */
static void sessions_expire(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    is_in(b, p, "d0", &durable);
    is_cut(b, p);
    pass(b, 3599 * 1000);
    connects(b, p, "d0", &durable);
    settle(b);
    EXPECT(p, "connack 00 present; ");
    is_cut(b, p);
    pass(b, 3601 * 1000);
    is_in(b, p, "d0", &durable); /* absent */
}

static void queue_limit(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    char payload[] = "0";
    is_in(b, pub, "d0", &plain);
    is_in(b, sub, "s0", &durable);
    subscribed(b, sub, "t/#", 1);
    is_cut(b, sub);
    for (int i = 0; i < 5; i++) {
        payload[0] = (char)('0' + i);
        publishes(b, pub, "t/a", payload, 1, 1, false);
        settle(b);
    }
    assert_int_equal(occurs(said(pub), "puback 1"), 5);
    connects(b, sub, "s0", &durable);
    settle(b);
    EXPECT(sub, "connack 00 present; publish1 t/a 0; publish1 t/a 1; publish1 t/a 2; ");
    assert_int_equal(events_of(b, EVENT_quota), 2);
    assert_int_equal(b->counters[0].dropped_queue + b->counters[1].dropped_queue, 2);
}

/* ---- policy in time ---- */

static void revoked_goes_and_is_not_heard(void **state)
{
    struct bench *b = *state;
    struct party *bad = &b->parties[0], *sub = &b->parties[1];
    const char *name = device_at(b, 0, 0);
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 1);
    is_cut(b, sub);
    is_in(b, bad, name, &(struct hello){.client_id = "c", .will = "t/will"});
    publishes(b, bad, "t/a", "queued", 1, 1, false);
    publishes(b, bad, "t/r", "retained", 1, 2, true);
    settle(b);
    EXPECT(bad, "puback 1; puback 2; ");
    assert_int_equal(directory_revoke(b->directory, slice_text(name), slice_text("stolen")), OK);
    realm_changes(b);
    settle(b);
    EXPECT(bad, "disconnect 87; ");
    assert_int_equal(bad->conn, 0);
    connects(b, sub, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(sub, "connack 00 present; ");
    subscribed(b, sub, "t/r", 1);
    connects(b, bad, name, &plain);
    settle(b);
    EXPECT(bad, "connack 87; ");
}

static void policy_ends_a_subscription(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    is_in(b, pub, device_at(b, 0, 0), &plain);
    is_in(b, sub, device_at(b, 1, 0), &plain);
    subscribed(b, sub, "t/#", 0);
    subscribed(b, sub, "w/#", 0);
    publishes(b, pub, "w/a", "x", 0, 0, false);
    settle(b);
    EXPECT(sub, "publish0 w/a x; ");
    bench_policy(b, true);
    uint64_t epoch;
    assert_int_equal(directory_policy_changed(b->directory, &epoch), OK);
    realm_changes(b);
    publishes(b, pub, "w/a", "x", 1, 5, false);
    publishes(b, pub, "t/a", "y", 0, 0, false);
    settle(b);
    EXPECT(pub, "puback 5 87; ");
    EXPECT(sub, "publish0 t/a y; ");
    assert_true(events_of(b, EVENT_acl_deny) >= 2);
}

/* ---- wills ---- */

/* SPEC: MQTT5-3.1.2-8, MQTT-3.1.2-10 */
static void wills(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0], *sub = &b->parties[1];
    struct hello h = {.client_id = "p", .will = "t/will", .will_expiry_s = 60};
    static const uint8_t bye[] = {0xe0, 0}, with_will[] = {0xe0, 1, 4};
    is_in(b, sub, device_at(b, 1, 0), &plain);
    subscribed(b, sub, "t/#", 0);
    is_in(b, p, device_at(b, 0, 0), &h);
    pass(b, 600 * 1000); /* its lifetime begins when it is published */
    is_cut(b, p);
    settle(b);
    EXPECT(sub, "publish0 t/will gone; ");
    is_in(b, p, device_at(b, 0, 0), &h);
    give(b, p, slice_of(bye, sizeof(bye)));
    settle(b);
    assert_int_equal(p->conn, 0);
    EXPECT(sub, "");
    is_in(b, p, device_at(b, 0, 0), &h);
    give(b, p, slice_of(with_will, sizeof(with_will)));
    settle(b);
    EXPECT(sub, "publish0 t/will gone; ");
}

static void wills_are_asked_twice(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0], *sub = &b->parties[1];
    connects(b, p, device_at(b, 0, 0), &(struct hello){.client_id = "p", .will = "x/no"});
    settle(b);
    EXPECT(p, "connack 87; ");
    assert_int_equal(events_of(b, EVENT_acl_deny), 1);
    is_in(b, p, device_at(b, 0, 0), &(struct hello){.client_id = "p", .will = "w/will"});
    bench_policy(b, true);
    uint64_t epoch;
    assert_int_equal(directory_policy_changed(b->directory, &epoch), OK);
    realm_changes(b);
    is_in(b, sub, device_at(b, 1, 0), &plain);
    is_cut(b, p);
    settle(b);
    assert_int_equal(events_of(b, EVENT_will), 0);
    assert_int_equal(events_of(b, EVENT_acl_deny), 2);
}

/* SPEC: MQTT5 3.14.2.2.2 */
static void wrong_disconnect(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    static const uint8_t bytes[] = {0xe0, 7, 0, 5, 0x11, 0, 0, 0x0e, 0x10};
    is_in(b, p, "d0", &plain);
    give(b, p, slice_of(bytes, sizeof(bytes)));
    settle(b);
    EXPECT(p, "disconnect 82; ");
    assert_int_equal(p->conn, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_bench, close_bench)
    const struct CMUnitTest tests[] = {
        CASE(handover_carries_what_follows),
        CASE(handover_of_a_removed_principal),
        CASE(handover_of_a_disabled_principal),
        CASE(suback_waits_for_all),
        CASE(filters_refused),
        CASE(retained_is_cleared_everywhere),
        CASE(puback_waits_for_the_commit),
        CASE(qos2_waits_at_every_step),
        CASE(commit_wakes_a_resumed_session),
        CASE(held_back_and_resumed),
        CASE(many_open_qos2_of_311),
        CASE(takeover),
        CASE(sessions_expire),
        CASE(queue_limit),
        CASE(revoked_goes_and_is_not_heard),
        CASE(policy_ends_a_subscription),
        CASE(wills),
        CASE(wills_are_asked_twice),
        CASE(wrong_disconnect),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
