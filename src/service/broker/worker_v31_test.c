/* MQTT 3.1: out unless the entrance takes it, and never told a lie when it is in. */
#include "service/broker/worker_story_test.h"
#include "wire/mqtt/unsubscribe.h"

static const struct hello old = {.client_id = "c", .version = MQTT_V31};
static const struct hello old_durable = {.client_id = "c", .version = MQTT_V31, .resume = true};

static int open_old(void **state)
{
    struct bench *b = bench_open();
    b->mqtts.takes_v31 = true;
    *state = b;
    return 0;
}

static const struct event *last_of(const struct bench *b, enum event_category c)
{
    const struct event *last = NULL;
    for (size_t i = 0; i < b->n_events; i++) {
        last = b->events[i].category == c ? &b->events[i] : last;
    }
    assert(last != NULL);
    return last;
}

static void refused_unless_taken(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    connects(b, p, device_at(b, 0, 0), &old);
    settle(b);
    EXPECT(p, "connack 01; ");
    assert_int_equal(p->conn, 0);
    assert_int_equal(b->n_events, 1);
    const struct event *e = last_of(b, EVENT_protocol_error);
    assert_string_equal(e->principal, device_at(b, 0, 0));
    assert_string_equal(e->listener, "mqtts");
    assert_non_null(strstr(e->reason, "Update it to MQTT 3.1.1 or 5.0"));
    assert_non_null(strstr(e->reason, "mqtt_3_1: yes at a listener"));
    assert_non_null(strstr(e->reason, "its connection just ends")); /* the whole text fits */
    assert_int_equal(atomic_load(&b->counters[0].refused_version), 1);
    assert_int_equal(atomic_load(&b->counters[0].sessions), 0);
}

/* The option is no way in for what only looks like 3.1, and its event does not praise it. */
static void others_are_refused_anyway(void **state)
{
    struct bench *b = *state;
    static const uint8_t names[][11] = {
        {0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 4, 2},
        {0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 0x83, 2},
        {0, 4, 'M', 'Q', 'T', 'T', 3, 2},
        {0, 4, 'M', 'Q', 'T', 'T', 0x84, 2},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct party *p = &b->parties[0];
        uint8_t bytes[32];
        struct wr w = wr_into(bytes, sizeof(bytes));
        mqtt_fixed_encode(&w, MQTT_CONNECT, 0, sizeof(names[i]) + 6);
        wr_bytes(&w, slice_of(names[i], sizeof(names[i])));
        wr_bytes(&w, slice_text("\0\1ccccc"));
        wr_bytes(&w, slice_text("cccccc"));
        assert_true(arrives(b, p, 0, device_at(b, 0, 0)));
        give(b, p, wr_slice(&w));
        settle(b);
        EXPECT(p, "connack 01; ");
        assert_int_equal(p->conn, 0);
        assert_null(strstr(last_of(b, EVENT_protocol_error)->reason, "mqtt_3_1"));
    }
    assert_int_equal(b->n_events, COUNT_OF(names));
    assert_int_equal(atomic_load(&b->counters[0].refused_version), COUNT_OF(names));
}

static void messages_both_ways(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    is_in(b, sub, device_at(b, 1, 0), &old);
    assert_non_null(strstr(last_of(b, EVENT_connect)->reason, "MQTT 3.1"));
    subscribed(b, sub, "t/#", 2);
    is_in(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p", .version = MQTT_V31});
    publishes(b, pub, "t/a", "zero", 0, 0, false);
    publishes(b, pub, "t/a", "one", 1, 1, false);
    publishes(b, pub, "t/a", "two", 2, 2, false);
    settle(b);
    EXPECT(pub, "puback 1; pubrec 2; ");
    give(b, pub, slice_of("\x6a\x02\0\x02", 4)); /* with DUP */
    settle(b);
    EXPECT(pub, "pubcomp 2; ");
    EXPECT(sub, "publish0 t/a zero; publish1 t/a one; publish2 t/a two; ");
    assert_int_equal(events_of(b, EVENT_malformed), 0);
}

/* One session, whatever its client speaks; 3.1 is never told that it is there. */
static void sessions_are_shared(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    is_in(b, sub, device_at(b, 1, 0), &old_durable);
    subscribed(b, sub, "t/#", 1);
    is_cut(b, sub);
    is_in(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    publishes(b, pub, "t/a", "one", 1, 1, false);
    settle(b);
    EXPECT(pub, "puback 1; ");
    connects(b, sub, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(sub, "connack 00 present; publish1 t/a one; ");
    is_cut(b, sub);
    connects(b, sub, device_at(b, 1, 0), &old_durable);
    settle(b);
    EXPECT(sub, "connack 00; publish1d t/a one; ");
    acks(b, sub, MQTT_PUBACK, 1);
    settle(b);
    struct restore_report report = {0};
    publishes(b, pub, "t/a", "two", 1, 2, false);
    settle(b);
    EXPECT(pub, "puback 2; ");
    bench_crash(b, 1000, &report);
    connects(b, sub, device_at(b, 1, 0), &old_durable);
    settle(b);
    EXPECT(sub, "connack 00; publish1d t/a two; ");
}

/* No SUBACK names a filter that it has not; what it may have of the same packet stays with a
 * session that lasts. */
static void refused_subscription_closes(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    uint8_t list[64], bytes[128];
    struct wr l = wr_into(list, sizeof(list)), w = wr_into(bytes, sizeof(bytes));
    struct mqtt_subscription may = {.whole = slice_text("t/#"), .qos = 1};
    struct mqtt_subscription may_not = {.whole = slice_text("secret/#"), .qos = 1};
    mqtt_subscription_write(&l, &may, MQTT_V31);
    mqtt_subscription_write(&l, &may_not, MQTT_V31);
    struct mqtt_subscribe m = {.packet_id = 9, .list = wr_slice(&l), .n_filters = 2};
    must(mqtt_subscribe_encode(&m, MQTT_V31, &w));
    is_in(b, sub, device_at(b, 1, 0), &old_durable);
    give_wr(b, sub, &w);
    settle(b);
    EXPECT(sub, "");
    assert_int_equal(sub->conn, 0);
    assert_int_equal(events_of(b, EVENT_acl_deny), 1);
    const struct event *e = last_of(b, EVENT_acl_deny);
    assert_string_equal(e->target, "secret/#");
    assert_non_null(strstr(e->reason, "MQTT 3.1 has no word for it, so the connection was closed"));
    is_in(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    publishes(b, pub, "t/a", "one", 1, 1, false);
    settle(b);
    connects(b, sub, device_at(b, 1, 0), &old_durable);
    settle(b);
    EXPECT(sub, "connack 00; publish1 t/a one; ");
}

static void too_many_filters_close(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    uint8_t bytes[2048];
    struct wr w = wr_into(bytes, sizeof(bytes));
    write_subscribe(&w, MQTT_V31, "t/#", b->limits.filters_per_packet + 1, 1);
    is_in(b, p, device_at(b, 0, 0), &old);
    give_wr(b, p, &w);
    settle(b);
    EXPECT(p, "");
    assert_int_equal(p->conn, 0);
    assert_int_equal(events_of(b, EVENT_quota), 1);
}

static void refused_publish_closes(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    is_in(b, p, device_at(b, 0, 0), &old);
    publishes(b, p, "secret/a", "zero", 0, 0, false);
    settle(b);
    EXPECT(p, "");
    assert_int_not_equal(p->conn, 0); /* nobody waits for an answer to it */
    publishes(b, p, "secret/a", "one", 1, 1, false);
    settle(b);
    EXPECT(p, "");
    assert_int_equal(p->conn, 0);
    assert_int_equal(events_of(b, EVENT_acl_deny), 2);
}

/* The end of an unsubscription that is not on record is not told, either. */
static void failed_unsubscription_closes(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    is_in(b, p, device_at(b, 0, 0), &old_durable);
    subscribed(b, p, "t/#", 1);
    b->log->refuse_at = 0;
    b->log->refusal = ERR_NOMEM;
    give(b, p, slice_of("\xa2\x07\0\x09\0\x03t/#", 9));
    settle(b);
    b->log->refuse_at = -1;
    EXPECT(p, "");
    assert_int_equal(p->conn, 0);
}

/* Nor one that was not looked at; 3.1.1 cannot be told either. */
static void too_many_unsubscriptions_close(void **state)
{
    struct bench *b = *state;
    static const enum mqtt_version versions[] = {MQTT_V31, MQTT_V311, MQTT_V5};
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        struct party *p = &b->parties[0];
        uint8_t list[2048], bytes[2100];
        struct wr l = wr_into(list, sizeof(list)), w = wr_into(bytes, sizeof(bytes));
        size_t n = b->limits.filters_per_packet + 1;
        for (size_t k = 0; k < n; k++) {
            wr_block16(&l, slice_text("t/#"));
        }
        struct mqtt_unsubscribe m = {.packet_id = 9, .list = wr_slice(&l), .n_filters = n};
        must(mqtt_unsubscribe_encode(&m, versions[i], &w));
        is_in(b, p, device_at(b, 0, 0), &(struct hello){.client_id = "c", .version = versions[i]});
        give_wr(b, p, &w);
        settle(b);
        bool is_v5 = versions[i] == MQTT_V5;
        assert_true(strncmp(said(p), is_v5 ? "unsuback 9" : "", is_v5 ? 10 : 1) == 0);
        assert_int_equal(p->conn != 0, is_v5);
        assert_int_equal(events_of(b, EVENT_quota), i + 1);
    }
}

static void will_is_published(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *p = &b->parties[1];
    is_in(b, sub, device_at(b, 1, 0), &old);
    subscribed(b, sub, "w/#", 1);
    is_in(b, p, device_at(b, 0, 0),
          &(struct hello){.client_id = "p", .version = MQTT_V31, .will = "w/a", .will_qos = 1});
    subscribes(b, p, "secret/#", 1); /* closed by us: that is no goodbye of its own */
    settle(b);
    assert_int_equal(p->conn, 0);
    EXPECT(sub, "publish1 w/a gone; ");
    connects(b, p, device_at(b, 0, 0),
             &(struct hello){.client_id = "p", .version = MQTT_V31, .will = "secret/a"});
    settle(b);
    EXPECT(p, "connack 05; ");
}

#define OFF(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)
#define ON(f)  cmocka_unit_test_setup_teardown(f, open_old, close_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OFF(refused_unless_taken),
        ON(others_are_refused_anyway),
        ON(messages_both_ways),
        ON(sessions_are_shared),
        ON(refused_subscription_closes),
        ON(too_many_filters_close),
        ON(refused_publish_closes),
        ON(failed_unsubscription_closes),
        ON(too_many_unsubscriptions_close),
        ON(will_is_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
