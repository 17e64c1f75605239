/* What MQTT 5 lets the two sides agree on, and what a client sees of it. */
#include "service/broker/worker_story_test.h"
#include "wire/mqtt/connack.h"

static const struct hello plain = {.client_id = "c"};

/* What is there of p's packets, one after the other. */
static struct mqtt_input next_packet(struct party *p, struct slice *in, enum mqtt_type *ret_type)
{
    static const struct mqtt_wire_limits most = {.topic_bytes = UINT16_MAX,
                                                 .topic_levels = 1000,
                                                 .filters_per_packet = 1000,
                                                 .user_properties = 1000,
                                                 .client_id_bytes = 1000,
                                                 .topic_alias_max = UINT16_MAX};
    struct mqtt_fixed f;
    struct mqtt_input m = {.version = p->version, .sender = MQTT_FROM_SERVER, .limits = &most};
    must(mqtt_packet_cut(in, OUT, NULL, &f, &m.body));
    m.flags = f.flags;
    *ret_type = f.type;
    return m;
}

static struct mqtt_connect connect_of(const char *client_id)
{
    return (struct mqtt_connect){.version = MQTT_V5,
                                 .clean_start = true,
                                 .keep_alive_s = 60,
                                 .client_id = slice_text(client_id)};
}

/* The CONNACK, which borrows from p until the next call. */
static struct mqtt_connack enters(struct bench *b, struct party *p, const char *name,
                                  const struct mqtt_connect *c)
{
    uint8_t bytes[512];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct mqtt_connack ret = {0};
    enum mqtt_type type;
    must(mqtt_connect_encode(c, &w));
    p->version = MQTT_V5;
    assert_true(arrives(b, p, 0, name));
    give_wr(b, p, &w);
    settle(b);
    struct slice in = slice_of(p->bytes, p->n);
    struct mqtt_input m = next_packet(p, &in, &type);
    assert_int_equal(type, MQTT_CONNACK);
    must(mqtt_connack_decode(&m, NULL, &ret));
    p->n = 0; /* the bytes stay until something else comes */
    return ret;
}

static struct mqtt_publish only_publish(struct party *p)
{
    struct slice in = slice_of(p->bytes, p->n);
    struct mqtt_publish ret = {0};
    enum mqtt_type type;
    assert_true(p->n > 0);
    struct mqtt_input m = next_packet(p, &in, &type);
    assert_int_equal(type, MQTT_PUBLISH);
    assert_int_equal(in.n, 0);
    must(mqtt_publish_decode(&m, NULL, &ret));
    p->n = 0;
    return ret;
}

static void publish_with(struct bench *b, struct party *p, const char *topic, enum mqtt_prop_id id,
                         uint32_t number, uint8_t qos, bool retain)
{
    uint8_t bytes[256];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct mqtt_publish m = {.topic = slice_text(topic),
                             .payload = slice_text("x"),
                             .qos = qos,
                             .retain = retain,
                             .packet_id = qos > 0 ? 1 : 0};
    mqtt_props_set_number(&m.props, id, number);
    must(mqtt_publish_encode(&m, MQTT_V5, &w));
    give_wr(b, p, &w);
    settle(b);
}

/* ---- CONNACK ---- */

static void keep_alive_of_the_server(void **state)
{
    struct bench *b = *state;
    struct mqtt_connect c = connect_of("c");
    for (unsigned i = 0; i < 4; i++) {
        static const struct {
            uint16_t asked;
            uint32_t told;
        } cases[] = {{60, 0}, {1200, 0}, {1201, 1200}, {0, 1200}};
        c.keep_alive_s = cases[i].asked;
        struct mqtt_connack a = enters(b, &b->parties[0], "d0", &c);
        assert_int_equal(mqtt_props_number(&a.props, MQTT_PROP_SERVER_KEEP_ALIVE, 0),
                         cases[i].told);
        /* SPEC: MQTT5-3.2.2-22, MQTT5-3.1.2-22: what is in force, half as long again */
        uint64_t silence_ms = (cases[i].told > 0 ? cases[i].told : cases[i].asked) * 1500;
        pass(b, silence_ms - 1);
        EXPECT(&b->parties[0], "");
        pass(b, 1);
        EXPECT(&b->parties[0], "disconnect 8d; ");
    }
}

/* SPEC: MQTT-3.1.3-6, MQTT5-3.2.2-16: a name of our own, told, and nobody else's */
static void client_id_of_the_server(void **state)
{
    struct bench *b = *state;
    struct mqtt_connect c = connect_of("");
    struct mqtt_connack first = enters(b, &b->parties[0], "d0", &c);
    struct mqtt_connack second = enters(b, &b->parties[1], "d0", &c);
    struct slice one = mqtt_props_text(&first.props, MQTT_PROP_ASSIGNED_CLIENT_ID);
    struct slice other = mqtt_props_text(&second.props, MQTT_PROP_ASSIGNED_CLIENT_ID);
    assert_true(one.n > 0 && other.n > 0 && !slice_equal(one, other));
    assert_true(b->parties[0].conn != 0 && b->parties[1].conn != 0);
    c = connect_of("own");
    first = enters(b, &b->parties[2], "d0", &c);
    assert_false(mqtt_props_has(&first.props, MQTT_PROP_ASSIGNED_CLIENT_ID));
}

/* A topic tree of its own, if the policy gives it one and it asks. SPEC: MQTT5-3.1.2-28 */
static void response_information(void **state)
{
    struct bench *b = *state;
    struct mqtt_connect c = connect_of("c");
    mqtt_props_set_number(&c.props, MQTT_PROP_REQUEST_RESPONSE_INFO, 1);
    struct mqtt_connack a = enters(b, &b->parties[0], "d0", &c);
    assert_false(mqtt_props_has(&a.props, MQTT_PROP_RESPONSE_INFO)); /* t/# is everybody's */
    must(role_add_topic(b->any, POLICY_SUBSCRIBE, slice_text("p/${device}"), false, 2, 1));
    must(role_add_topic(b->any, POLICY_SUBSCRIBE, slice_text("q/+/${device}/#"), false, 2, 1));
    must(role_add_topic(b->any, POLICY_PUBLISH, slice_text("r/${device}/#"), false, 2, 1));
    must(role_add_topic(b->any, POLICY_SUBSCRIBE, slice_text("answers/${device}/#"), false, 2, 1));
    must(role_add_topic(b->any, POLICY_SUBSCRIBE, slice_text("later/${device}/#"), false, 2, 1));
    a = enters(b, &b->parties[1], "d1", &c);
    assert_true(slice_is(mqtt_props_text(&a.props, MQTT_PROP_RESPONSE_INFO), "answers/d1/"));
    mqtt_props_set_number(&c.props, MQTT_PROP_REQUEST_RESPONSE_INFO, 0);
    a = enters(b, &b->parties[2], "d2", &c);
    assert_false(mqtt_props_has(&a.props, MQTT_PROP_RESPONSE_INFO));
    mqtt_props_clear(&c.props, MQTT_PROP_REQUEST_RESPONSE_INFO);
    a = enters(b, &b->parties[3], "d3", &c);
    assert_false(mqtt_props_has(&a.props, MQTT_PROP_RESPONSE_INFO));
}

/* SPEC: MQTT5-3.1.2-24: who cannot be told what is agreed does not get in */
static void connack_that_does_not_fit(void **state)
{
    struct bench *b = *state;
    struct mqtt_connect c = connect_of("c");
    mqtt_props_set_number(&c.props, MQTT_PROP_MAXIMUM_PACKET_SIZE, 15);
    struct mqtt_connack a = enters(b, &b->parties[0], "d0", &c);
    assert_int_equal(a.code, MQTT_PACKET_TOO_LARGE);
    assert_int_equal(b->parties[0].conn, 0);
    assert_int_equal(events_of(b, EVENT_quota), 1);
    is_in(b, &b->parties[0], "d0", &plain); /* nothing of it is left */
}

/* ---- refusals ---- */

static size_t bytes_said(struct party *p)
{
    size_t n = p->n;
    p->n = 0;
    return n;
}

/* SPEC: MQTT5-3.1.2-29, MQTT5-3.4.2-2 */
static void reasons_on_request(void **state)
{
    struct bench *b = *state;
    for (uint32_t wants = 0; wants < 2; wants++) {
        struct party *p = &b->parties[wants];
        struct mqtt_connect c = connect_of("c");
        mqtt_props_set_number(&c.props, MQTT_PROP_REQUEST_PROBLEM_INFO, wants);
        (void)enters(b, p, wants == 0 ? "d0" : "d1", &c);
        publishes(b, p, "forbidden", "x", 1, 7, false);
        settle(b);
        assert_true(wants == 0 ? bytes_said(p) == 5 : bytes_said(p) > 40);
        publishes(b, p, "forbidden", "x", 2, 8, false);
        settle(b);
        assert_true(wants == 0 ? bytes_said(p) == 5 : bytes_said(p) > 40);
        subscribes(b, p, "#", 1);
        settle(b);
        assert_true(wants == 0 ? bytes_said(p) == 6 : bytes_said(p) > 40);
        give(b, p, slice_of("\xf0\0", 2)); /* AUTH that nobody agreed on */
        settle(b);
        assert_true(wants == 0 ? bytes_said(p) == 3 : bytes_said(p) > 40);
    }
}

/* ---- deliveries ---- */

/* SPEC: MQTT5-3.1.2-24, MQTT5-3.1.2-25: dropped for this client alone, and as if it had been sent
 */
static void message_too_large_for_one(void **state)
{
    struct bench *b = *state;
    struct party *small = &b->parties[0], *other = &b->parties[1], *pub = &b->parties[2];
    struct mqtt_connect c = connect_of("c");
    char large[200];
    mqtt_props_set_number(&c.props, MQTT_PROP_MAXIMUM_PACKET_SIZE, 100);
    assert_int_equal(enters(b, small, device_at(b, 1, 0), &c).code, MQTT_SUCCESS);
    is_in(b, other, device_at(b, 1, 1), &plain);
    is_in(b, pub, device_at(b, 0, 0), &plain);
    subscribed(b, small, "t/#", 1);
    subscribed(b, other, "t/#", 1);
    memset(large, 'x', sizeof(large) - 1);
    large[100 - 2 - 5 - 2 - 1] = '\0'; /* fixed header, topic, packet id, no properties */
    uint64_t before = atomic_load(&b->counters[1].dropped_size);
    publishes(b, pub, "t/a", large, 1, 1, false);
    settle(b);
    assert_int_equal(bytes_said(small), 100);
    assert_int_equal(bytes_said(other), 100);
    large[strlen(large)] = 'x'; /* one more */
    large[100 - 2 - 5 - 2 - 1 + 1] = '\0';
    publishes(b, pub, "t/a", large, 1, 2, false);
    publishes(b, pub, "t/b", "fits", 1, 3, false);
    settle(b);
    EXPECT(pub, "puback 1; puback 2; puback 3; ");
    EXPECT(small, "publish1 t/b fits; ");
    assert_true(strstr(said(other), "publish1 t/b fits; ") != NULL);
    assert_int_equal(atomic_load(&b->counters[1].dropped_size) - before, 1);
    assert_int_equal(atomic_load(&b->counters[1].dropped_queue), 0);
    assert_int_equal(events_of(b, EVENT_quota), 1);
}

/* SPEC: MQTT5-3.3.4-9: no more than the client can hold, the rest when it acknowledges */
static void receive_maximum_of_the_client(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct mqtt_connect c = connect_of("c");
    mqtt_props_set_number(&c.props, MQTT_PROP_RECEIVE_MAXIMUM, 2);
    (void)enters(b, sub, device_at(b, 1, 0), &c);
    is_in(b, pub, device_at(b, 0, 0), &plain);
    subscribed(b, sub, "t/#", 2);
    publishes(b, pub, "t/a", "1", 1, 1, false);
    publishes(b, pub, "t/a", "2", 2, 2, false);
    publishes(b, pub, "t/a", "3", 1, 3, false);
    settle(b);
    EXPECT(sub, "publish1 t/a 1; publish2 t/a 2; ");
    acks(b, sub, MQTT_PUBREC, 2);
    settle(b);
    EXPECT(sub, "pubrel 2; "); /* not over yet */
    acks(b, sub, MQTT_PUBACK, 1);
    settle(b);
    EXPECT(sub, "publish1 t/a 3; ");
}

/* SPEC: MQTT5-3.3.4-3, MQTT5-3.3.4-4: one copy with the largest QoS and all numbers */
static void overlapping_subscriptions(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    static const char *const filters[] = {"t/#", "t/+", "t/a", "t/b"};
    is_in(b, sub, device_at(b, 1, 0), &durable);
    is_in(b, pub, device_at(b, 0, 0), &plain);
    for (uint32_t i = 0; i < COUNT_OF(filters); i++) {
        uint8_t list[64], bytes[128];
        struct wr l = wr_into(list, sizeof(list)), w = wr_into(bytes, sizeof(bytes));
        struct mqtt_subscription s = {.whole = slice_text(filters[i]),
                                      .filter = slice_text(filters[i]),
                                      .qos = i == 1 ? 1 : 0};
        mqtt_subscription_write(&l, &s, MQTT_V5);
        struct mqtt_subscribe m = {.packet_id = 9, .list = wr_slice(&l), .n_filters = 1};
        mqtt_props_set_number(&m.props, MQTT_PROP_SUBSCRIPTION_ID, 100 + i);
        must(mqtt_subscribe_encode(&m, MQTT_V5, &w));
        give_wr(b, sub, &w);
        settle(b);
    }
    sub->n = 0;
    for (int round = 0; round < 2; round++) { /* awake, and from the queue of one that slept */
        publishes(b, pub, "t/a", "x", 1, 1, false);
        settle(b);
        if (round == 1) {
            connects(b, sub, device_at(b, 1, 0), &durable);
            settle(b);
            struct slice in = slice_of(sub->bytes, sub->n);
            enum mqtt_type type;
            (void)next_packet(sub, &in, &type);
            memmove(sub->bytes, in.p, in.n);
            sub->n = in.n;
        }
        struct mqtt_publish m = only_publish(sub);
        struct mqtt_props_iter it = mqtt_props_each(m.props.block);
        struct mqtt_prop prop;
        uint32_t seen = 0;
        while (mqtt_props_next(&it, &prop)) {
            seen |= prop.id == MQTT_PROP_SUBSCRIPTION_ID ? 1u << (prop.number - 100) : 0;
        }
        assert_int_equal(m.qos, 1);
        assert_int_equal(m.props.n_subscription_ids, 3);
        assert_int_equal(seen, 7); /* t/b does not match */
        acks(b, sub, MQTT_PUBACK, m.packet_id);
        settle(b);
        is_cut(b, sub);
    }
}

/* ---- expiry ---- */

static uint32_t expiry_of(struct party *p)
{
    struct slice in = slice_of(p->bytes, p->n);
    enum mqtt_type type = MQTT_CONNACK;
    struct mqtt_publish m = {0};
    while (type != MQTT_PUBLISH) {
        assert_true(in.n > 0);
        struct mqtt_input one = next_packet(p, &in, &type);
        if (type == MQTT_PUBLISH) {
            must(mqtt_publish_decode(&one, NULL, &m));
        }
    }
    p->n = 0;
    assert_true(mqtt_props_has(&m.props, MQTT_PROP_MESSAGE_EXPIRY));
    return mqtt_props_number(&m.props, MQTT_PROP_MESSAGE_EXPIRY, 0);
}

/* What is forwarded is what is left, in the queue and over a restart. SPEC: MQTT5-3.3.2-6 */
static void expiry_is_counted_down(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1], *late = &b->parties[2];
    struct restore_report report;
    is_in(b, sub, device_at(b, 1, 0), &durable);
    is_in(b, pub, device_at(b, 0, 0), &plain);
    subscribed(b, sub, "t/#", 1);
    publish_with(b, pub, "t/a", MQTT_PROP_MESSAGE_EXPIRY, 100, 1, true);
    assert_int_equal(expiry_of(sub), 100);
    is_cut(b, sub);
    pass(b, 10000);
    connects(b, sub, device_at(b, 1, 0), &durable); /* not acknowledged: again */
    settle(b);
    assert_int_equal(expiry_of(sub), 90);
    pass(b, 1);
    is_in(b, late, device_at(b, 0, 1), &plain);
    subscribes(b, late, "t/#", 1); /* the retained one */
    settle(b);
    assert_int_equal(expiry_of(late), 90); /* begun seconds count */
    bench_crash(b, 20000, &report);
    connects(b, sub, device_at(b, 1, 0), &durable);
    settle(b);
    assert_int_equal(expiry_of(sub), 70);
}

/* SPEC: MQTT5-3.3.2-5 */
static void what_has_expired_is_not_sent(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 1);
    is_cut(b, sub);
    is_in(b, pub, device_at(b, 0, 0), &plain);
    publish_with(b, pub, "t/a", MQTT_PROP_MESSAGE_EXPIRY, 10, 1, true);
    pass(b, 10000);
    connects(b, sub, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(sub, "connack 00 present; ");
    subscribes(b, sub, "t/#", 1);
    settle(b);
    EXPECT(sub, "suback 01; ");
}

/* ---- topic aliases ---- */

/* The policy is asked about the topic, each time, and nobody else sees a number. */
static void alias_is_judged_as_its_topic(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    is_in(b, sub, device_at(b, 1, 0), &plain);
    subscribed(b, sub, "w/#", 1);
    struct mqtt_connect c = connect_of("c");
    struct mqtt_connack a = enters(b, pub, device_at(b, 0, 0), &c);
    assert_int_equal(mqtt_props_number(&a.props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, 0),
                     b->limits.topic_aliases);
    publish_with(b, pub, "w/a", MQTT_PROP_TOPIC_ALIAS, b->limits.topic_aliases, 1, false);
    publish_with(b, pub, "", MQTT_PROP_TOPIC_ALIAS, b->limits.topic_aliases, 1, false);
    EXPECT(sub, "publish1 w/a x; publish1 w/a x; ");
    EXPECT(pub, "puback 1; puback 1; ");
    publish_with(b, pub, "secret", MQTT_PROP_TOPIC_ALIAS, 1, 1, false);
    publish_with(b, pub, "", MQTT_PROP_TOPIC_ALIAS, 1, 1, false);
    EXPECT(pub, "puback 1 87; puback 1 87; ");
    bench_policy(b, true); /* without w/ */
    realm_changes(b);
    publish_with(b, pub, "", MQTT_PROP_TOPIC_ALIAS, b->limits.topic_aliases, 1, false);
    EXPECT(pub, "puback 1 87; ");
    EXPECT(sub, "");
    publish_with(b, pub, "t/a", MQTT_PROP_TOPIC_ALIAS, b->limits.topic_aliases + 1, 1, false);
    EXPECT(pub, "disconnect 94; ");
}

/* SPEC: MQTT5-3.3.2-7: what stands for nothing on this connection stood for something on the last
 */
static void aliases_end_with_the_connection(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1];
    struct mqtt_connect c = connect_of("c");
    is_in(b, pub, device_at(b, 0, 0), &plain);
    c.clean_start = false;
    mqtt_props_set_number(&c.props, MQTT_PROP_SESSION_EXPIRY, 3600);
    mqtt_props_set_number(&c.props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, 1);
    (void)enters(b, sub, device_at(b, 1, 0), &c);
    subscribed(b, sub, "t/#", 0);
    for (int round = 0; round < 2; round++) {
        publishes(b, pub, "t/long", "x", 0, 0, false);
        settle(b);
        struct mqtt_publish m = only_publish(sub);
        assert_true(slice_is(m.topic, "t/long"));
        assert_int_equal(mqtt_props_number(&m.props, MQTT_PROP_TOPIC_ALIAS, 0), 1);
        publishes(b, pub, "t/long", "x", 0, 0, false);
        settle(b);
        m = only_publish(sub);
        assert_int_equal(m.topic.n, 0);
        assert_int_equal(mqtt_props_number(&m.props, MQTT_PROP_TOPIC_ALIAS, 0), 1);
        is_cut(b, sub);
        assert_true(enters(b, sub, device_at(b, 1, 0), &c).session_present);
    }
    publish_with(b, pub, "t/long", MQTT_PROP_TOPIC_ALIAS, 1, 0, false);
    is_cut(b, pub);
    is_in(b, pub, device_at(b, 0, 0), &plain);
    publish_with(b, pub, "", MQTT_PROP_TOPIC_ALIAS, 1, 0, false);
    EXPECT(pub, "disconnect 82; ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keep_alive_of_the_server),
        TEST(client_id_of_the_server),
        TEST(response_information),
        TEST(connack_that_does_not_fit),
        TEST(reasons_on_request),
        TEST(message_too_large_for_one),
        TEST(receive_maximum_of_the_client),
        TEST(overlapping_subscriptions),
        TEST(expiry_is_counted_down),
        TEST(what_has_expired_is_not_sent),
        TEST(alias_is_judged_as_its_topic),
        TEST(aliases_end_with_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
