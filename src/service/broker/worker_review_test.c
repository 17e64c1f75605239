/* What a hostile or an unlucky client may do to a worker: each test is a defect that was there. */
#include "service/broker/record_private.h"
#include "service/broker/worker_private.h"
#include "service/broker/worker_story_test.h"
#include "wire/mqtt/unsubscribe.h"

static const struct hello plain = {.client_id = "c"};

/* Packets of this type since the last look; all that was sent is taken. */
static size_t count(struct party *p, enum mqtt_type type)
{
    struct slice in = slice_of(p->bytes, p->n), body;
    struct mqtt_fixed f;
    size_t n = 0;
    while (in.n > 0) {
        must(mqtt_packet_cut(&in, OUT, NULL, &f, &body));
        n += f.type == type ? 1 : 0;
    }
    p->n = 0;
    return n;
}

/* ---- back-pressure ---- */

/* Two publishers that were held go on together; when the first fills what was free, the turn ends
 * and both wait again. */
static void held_publishers_do_not_turn_for_ever(void **state)
{
    enum { EACH = 6000 };
    struct bench *b = *state;
    static uint8_t bytes[EACH * 16];
    struct party *reader = &b->parties[0];
    is_in(b, reader, device_at(b, 1, 0), &plain);
    subscribed(b, reader, "t/a", 0);
    struct wr w = wr_into(bytes, sizeof(bytes));
    for (int i = 0; i < EACH; i++) {
        write_publish(&w, MQTT_V5, "t/a", "x", 0, 0, false);
    }
    for (unsigned i = 1; i < 3; i++) {
        is_in(b, &b->parties[i], device_at(b, 0, i - 1), &plain);
    }
    for (unsigned i = 1; i < 3; i++) {
        give_wr(b, &b->parties[i], &w);
        assert_int_not_equal(b->parties[i].conn, 0);
    }
    size_t n = 0;
    for (int round = 0; round < 400 && n < 2 * EACH; round++) {
        b->now_ms += 20;
        settle(b);
        n += count(reader, MQTT_PUBLISH);
    }
    assert_int_equal(n, 2 * EACH);
}

/* ---- what settles ---- */

/* QoS 1 packets with these ids, in one input; their acknowledgements are taken. */
static void publishes_ids(struct bench *b, struct party *p, uint16_t from, uint16_t to)
{
    static uint8_t bytes[HANDOVER_RECORDS * 16];
    struct wr w = wr_into(bytes, sizeof(bytes));
    for (uint16_t id = from; id <= to; id++) {
        write_publish(&w, MQTT_V5, "t/a", "x", 1, id, false);
    }
    give_wr(b, p, &w);
    settle(b);
    p->n = 0;
}

static size_t calls_since(struct bench *b)
{
    size_t n = b->log->n_calls;
    b->log->n_calls = 0;
    return n;
}

/* SPEC: docs/ORDER.md rule 7: acknowledgements alone ask for a commit after a while, or when they
 * are many; they are with the log before, and go with what others wait for. */
static void acknowledgements_wait_for_company(void **state)
{
    enum { ONE_INPUT = 20, MANY = HANDOVER_RECORDS };
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/a", 1);
    is_in(b, pub, device_at(b, 1, 1), &plain);
    (void)calls_since(b);
    publishes_ids(b, pub, 1, 1);
    assert_int_equal(calls_since(b), 1);
    acks(b, sub, MQTT_PUBACK, 1);
    settle(b);
    assert_true(b->log->records[b->log->n - 1].kind == JOURNAL_ACK);
    assert_true(b->log->records[b->log->n - 1].is_handed);
    assert_int_equal(worker_deadline(b->workers[1]), b->now_ms + SETTLES_MS);
    pass(b, SETTLES_MS - 1);
    assert_int_equal(calls_since(b), 0);
    pass(b, 1);
    assert_int_equal(calls_since(b), 1);

    publishes_ids(b, pub, 2, 2);
    acks(b, sub, MQTT_PUBACK, 2);
    publishes_ids(b, pub, 3, 3);
    assert_int_equal(calls_since(b), 2); /* one each, and that was all */
    pass(b, SETTLES_MS);
    assert_int_equal(calls_since(b), 0);

    uint16_t acked = 2, sent = 3;
    for (; sent < MANY + 3; sent += ONE_INPUT) {
        publishes_ids(b, pub, sent + 1, sent + ONE_INPUT);
    }
    (void)calls_since(b);
    while (acked < MANY + 1) {
        acks(b, sub, MQTT_PUBACK, ++acked);
        turn(b, 1);
        sub->n = 0;
    }
    assert_int_equal(calls_since(b), 0);
    acks(b, sub, MQTT_PUBACK, ++acked);
    turn(b, 1);
    assert_int_equal(calls_since(b), 1);
}

/* ---- QoS 2 ---- */

/* What a client sends behind its SUBSCRIBE, without waiting for SUBACK, comes back to it. */
static void what_follows_a_subscribe_is_heard(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    static const enum mqtt_version versions[] = {MQTT_V311, MQTT_V5};
    static const char *const heard[] = {"publish0 t/a mine; ", "publish1 t/a mine; ",
                                        "publish2 t/a mine; "};
    static const char *const acked[] = {"", "puback 1; ", "pubrec 1; "};
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        for (uint8_t qos = 0; qos <= 2; qos++) {
            for (int is_durable = 0; is_durable < 2; is_durable++) {
                is_in(b, p, device_at(b, 1, 0),
                      &(struct hello){
                          .client_id = "c", .version = versions[i], .resume = is_durable == 1});
                subscribes_and_publishes(b, p, "t/a", qos);
                settle(b);
                const char *text = said(p);
                assert_ptr_equal(strstr(text, "suback 02; "), text);
                assert_non_null(strstr(text, heard[qos]));
                assert_non_null(strstr(text, acked[qos]));
                is_cut(b, p);
                connects(b, p, device_at(b, 1, 0), &(struct hello){.client_id = "c"});
                settle(b);
                is_cut(b, p);
                p->n = 0;
                settle(b);
            }
        }
    }
}

/* A disk that stands does not stop for ever what needs no disk. */
static void it_is_held_for_a_second_at_most(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0], *other = &b->parties[1];
    uint8_t ping[] = {0xc0, 0};
    is_in(b, other, device_at(b, 0, 0), &(struct hello){.client_id = "o"});
    subscribes(b, other, "t/a", 0);
    settle(b);
    (void)said(other);
    is_in(b, p, device_at(b, 1, 0), &durable);
    b->log_stands = true;
    subscribes(b, p, "t/b", 1);
    give(b, p, slice_of(ping, sizeof(ping)));
    settle(b);
    EXPECT(p, "pingresp; "); /* only a PUBLISH waits */
    publishes(b, p, "t/a", "x", 0, 0, false);
    pass(b, 999);
    EXPECT(other, "");
    pass(b, 11);
    EXPECT(other, "publish0 t/a x; ");
    EXPECT(p, "");
    b->log_stands = false;
    settle(b);
    EXPECT(p, "suback 01; ");
}

/* MQTT 3.1.1 has no Receive Maximum: whoever sends many before it reads its first PUBREC is right.
 */
static void old_clients_may_pipeline_qos_2(void **state)
{
    enum { MANY = 100 };
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    const struct hello h = {.client_id = "c", .version = MQTT_V311};
    static uint8_t bytes[MANY * 16];
    struct wr w = wr_into(bytes, sizeof(bytes));
    is_in(b, p, device_at(b, 0, 0), &h);
    for (unsigned id = 1; id <= MANY; id++) {
        write_publish(&w, MQTT_V311, "t/a", "x", 2, (uint16_t)id, false);
    }
    give_wr(b, p, &w);
    settle(b);
    assert_int_equal(count(p, MQTT_PUBREC), MANY);
    for (unsigned id = 1; id <= MANY; id++) {
        acks(b, p, MQTT_PUBREL, (uint16_t)id);
    }
    settle(b);
    assert_int_equal(count(p, MQTT_PUBCOMP), MANY);
}

/* The delivery's commit is under way while its session wakes up: the commit must wake the new
 * connection, for nothing else will. */
static void commit_finds_the_resumed_connection(void **state)
{
    struct bench *b = *state;
    struct party *reader = &b->parties[0], *writer = &b->parties[1];
    const char *name = device_at(b, 1, 0);
    is_in(b, reader, name, &durable);
    subscribed(b, reader, "t/a", 2);
    is_cut(b, reader);
    is_in(b, writer, device_at(b, 0, 0), &plain);
    b->log_stands = true;
    publishes(b, writer, "t/a", "x", 2, 1, false);
    settle(b);
    connects(b, reader, name, &durable);
    settle(b);
    EXPECT(reader, "connack 00 present; ");
    b->log_stands = false;
    settle(b);
    EXPECT(reader, "publish2 t/a x; ");
}

/* SUBACK of a session that lasts promises that the subscription does. */
static void suback_waits_for_the_commit(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    is_in(b, p, device_at(b, 1, 0), &durable);
    b->log_stands = true;
    subscribes(b, p, "t/a", 1);
    settle(b);
    EXPECT(p, "");
    b->log_stands = false;
    settle(b);
    EXPECT(p, "suback 01; ");
}

/* ---- wills ---- */

/* Its expiry counts from when it is published. */
static void will_expiry_counts_from_its_end(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0], *reader = &b->parties[1];
    const struct hello h = {.client_id = "c", .will = "t/w", .will_expiry_s = 5};
    is_in(b, reader, device_at(b, 1, 0), &plain);
    subscribed(b, reader, "t/w", 0);
    is_in(b, p, device_at(b, 0, 0), &h);
    pass(b, 60000);
    is_cut(b, p);
    settle(b);
    EXPECT(reader, "publish0 t/w gone; ");
}

/* MQTT5 3.14.4: only reason 0x00 takes the will back. */
static void failing_disconnect_publishes_the_will(void **state)
{
    static const struct {
        uint8_t reason;
        const char *said;
    } cases[] = {{0x00, ""}, {0x04, "publish0 t/w gone; "}, {0x80, "publish0 t/w gone; "}};
    struct bench *b = *state;
    struct party *p = &b->parties[0], *reader = &b->parties[1];
    const struct hello h = {.client_id = "c", .will = "t/w"};
    is_in(b, reader, device_at(b, 1, 0), &plain);
    subscribed(b, reader, "t/w", 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t bytes[3] = {0xe0, 1, cases[i].reason};
        is_in(b, p, device_at(b, 0, 0), &h);
        give(b, p, slice_of(bytes, sizeof(bytes)));
        settle(b);
        EXPECT(reader, cases[i].said);
    }
}

/* A will on a topic whose message is the client's own replaces it: the count does not grow. */
static void will_may_replace_at_the_limit(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    uint8_t bytes[256];
    struct wr w = wr_into(bytes, sizeof(bytes));
    const char *name = device_at(b, 0, 0);
    is_in(b, p, name, &plain);
    for (unsigned i = 0; i < 101; i++) {
        char topic[8];
        (void)snprintf(topic, sizeof(topic), "t/%u", i);
        publishes(b, p, topic, "on", 0, 0, true);
    }
    assert_int_equal(events_of(b, EVENT_quota), 1); /* the limit is reached */
    is_cut(b, p);
    struct mqtt_connect c = {
        .version = MQTT_V5,
        .clean_start = true,
        .client_id = slice_text("c"),
        .has_will = true,
        .will = {.topic = slice_text("t/7"), .payload = slice_text("off"), .retain = true}};
    must(mqtt_connect_encode(&c, &w));
    assert_true(arrives(b, p, 0, name));
    give_wr(b, p, &w);
    settle(b);
    EXPECT(p, "connack 00; ");
    is_cut(b, p);
    assert_true(slice_is(
        worker_retained(b->workers[0], NULL, slice_text("t/7"), b->now_ms)->payload, "off"));
}

/* ---- retained messages for a new subscription ---- */

static void retain_three(struct bench *b, struct party *writer, const char *payload)
{
    publishes(b, writer, "t/1", payload, 1, 1, true);
    publishes(b, writer, "t/2", payload, 1, 2, true);
    publishes(b, writer, "t/3", payload, 1, 3, true);
    settle(b);
    (void)said(writer);
}

/* Whether or not there is room for the old one: nobody hears the old value after the new one. */
static void old_value_never_follows_the_new_one(void **state)
{
    struct bench *b = *state;
    struct party *writer = &b->parties[0], *reader = &b->parties[1];
    is_in(b, writer, device_at(b, 0, 0), &plain);
    retain_three(b, writer, "old");
    is_in(b, reader, "s0", &plain);
    reader->is_deaf = true;
    subscribes(b, reader, "t/#", 0);
    settle(b);
    retain_three(b, writer, "new");
    reader->is_deaf = false;
    give(b, reader, slice_of("\xc0\0", 2)); /* its socket takes bytes again */
    settle(b);
    const char *text = said(reader);
    assert_non_null(strstr(text, "new"));
    assert_null(strstr(text, "old"));
}

static void unsubscribes(struct bench *b, struct party *p, const char *filter)
{
    uint8_t bytes[64];
    size_t n = strlen(filter);
    bytes[0] = 0xa2;
    bytes[1] = (uint8_t)(n + 5);
    bytes[2] = 0;
    bytes[3] = 8;
    bytes[4] = 0;
    bytes[5] = 0;
    bytes[6] = (uint8_t)n;
    memcpy(bytes + 7, filter, n);
    give(b, p, slice_of(bytes, n + 7));
}

/* SPEC: MQTT-3.10.4-2: after UNSUBSCRIBE nothing new is added for the client. */
static void unsubscribe_ends_the_replay(void **state)
{
    struct bench *b = *state;
    struct party *writer = &b->parties[0], *reader = &b->parties[1];
    is_in(b, writer, device_at(b, 0, 0), &plain);
    retain_three(b, writer, "old");
    is_in(b, reader, "s0", &plain);
    subscribes(b, reader, "t/#", 1);
    settle(b);
    assert_int_equal(count(reader, MQTT_PUBLISH), 2); /* half of its queue, unacknowledged */
    unsubscribes(b, reader, "t/#");
    settle(b);
    assert_int_equal(count(reader, MQTT_UNSUBACK), 1);
    acks(b, reader, MQTT_PUBACK, 1);
    acks(b, reader, MQTT_PUBACK, 2);
    settle(b);
    EXPECT(reader, "");
}

/* What an earlier SUBSCRIBE to the same filter has not brought yet is not brought twice: a client
 * that repeats it and reads nothing fills no memory. */
static void repeated_subscribe_replaces_its_replay(void **state)
{
    struct bench *b = *state;
    struct party *writer = &b->parties[0], *reader = &b->parties[1];
    size_t n = 0;
    is_in(b, writer, device_at(b, 0, 0), &plain);
    retain_three(b, writer, "old");
    is_in(b, reader, "s0", &plain);
    for (int i = 0; i < 3; i++) {
        subscribes(b, reader, "t/#", 1);
        settle(b);
        n += count(reader, MQTT_PUBLISH);
    }
    for (uint16_t id = 1; id < 20; id++) {
        b->now_ms += 2000; /* its budget is small */
        acks(b, reader, MQTT_PUBACK, id);
        settle(b);
        n += count(reader, MQTT_PUBLISH);
    }
    assert_int_equal(n, 2 + 3);
}

/* ---- events and counters ---- */

/* A refusal costs its client budget, or whoever is refused fills the audit trail. */
static void refused_publishes_are_metered(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    is_in(b, p, "s0", &plain);
    for (int i = 0; i < 100; i++) {
        publishes(b, p, "forbidden", "x", 0, 0, false);
    }
    settle(b);
    assert_in_range(events_of(b, EVENT_acl_deny), 1, 6);
}

static void subscribes_are_metered(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    is_in(b, p, "s0", &plain);
    for (int i = 0; i < 100; i++) {
        subscribes(b, p, "forbidden", 0);
    }
    settle(b);
    assert_in_range(count(p, MQTT_SUBACK), 1, 6);
}

static void queues_are_counted(void **state)
{
    struct bench *b = *state;
    struct party *writer = &b->parties[0], *reader = &b->parties[1];
    const char *name = device_at(b, 1, 0);
    is_in(b, reader, name, &durable);
    subscribed(b, reader, "t/a", 1);
    is_cut(b, reader);
    is_in(b, writer, device_at(b, 0, 0), &plain);
    for (uint16_t i = 1; i <= 3; i++) {
        publishes(b, writer, "t/a", "x", 1, i, false);
    }
    settle(b);
    assert_int_equal(b->counters[1].queued_messages, 3);
    assert_true(b->counters[1].queued_bytes > 0);
    connects(b, reader, name, &durable);
    settle(b);
    for (uint16_t i = 1; i <= 3; i++) {
        acks(b, reader, MQTT_PUBACK, i);
    }
    settle(b);
    assert_int_equal(b->counters[1].queued_messages, 0);
    assert_int_equal(b->counters[1].queued_bytes, 0);
}

/* Its time is over, whether or not the timer has had its turn before the client is there. */
static void what_is_over_is_not_resumed(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    for (unsigned home = 0; home < WORKERS; home++) {
        const char *name = device_at(b, home, 0);
        is_in(b, p, name, &durable);
        is_cut(b, p);
        b->now_ms += 3599 * 1000;
        connects(b, p, name, &durable);
        settle(b);
        EXPECT(p, "connack 00 present; ");
        is_cut(b, p);
        b->now_ms += 3600 * 1000;
        is_in(b, p, name, &durable);
        is_cut(b, p);
    }
}

static void principals_are_found_by_id(void **state)
{
    struct bench *b = *state;
    const struct directory_version *v = b->realm->directory;
    size_t at = 0, n = 0;
    const struct directory_entry *e;
    while ((e = directory_next(v, &at)) != NULL) {
        assert_ptr_equal(directory_find_id(v, e->principal->id), e);
        n++;
    }
    assert_int_equal(n, DEVICES + 2);
    assert_null(directory_find_id(v, 12345));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(acknowledgements_wait_for_company),
        TEST(old_clients_may_pipeline_qos_2),
        TEST(what_follows_a_subscribe_is_heard),
        TEST(it_is_held_for_a_second_at_most),
        TEST(commit_finds_the_resumed_connection),
        TEST(suback_waits_for_the_commit),
        TEST(will_expiry_counts_from_its_end),
        TEST(failing_disconnect_publishes_the_will),
        TEST(will_may_replace_at_the_limit),
        TEST(old_value_never_follows_the_new_one),
        TEST(unsubscribe_ends_the_replay),
        TEST(repeated_subscribe_replaces_its_replay),
        TEST(refused_publishes_are_metered),
        TEST(subscribes_are_metered),
        TEST(queues_are_counted),
        TEST(what_is_over_is_not_resumed),
        TEST(principals_are_found_by_id),
        TEST(held_publishers_do_not_turn_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
