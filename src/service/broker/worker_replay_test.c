/* What a new subscription brings from the retained index: paced, between what is live, and no more
 * than its role may ask for. */
#include "service/broker/worker_story_test.h"

enum { MANY = 300, RATE = 10 };

static const struct hello plain = {.client_id = "c"};

struct heard {
    size_t n_retained, n_live;
    unsigned times[MANY]; /* how often t/N came */
};

/* Publishes that came since the last look. */
static void hear(struct party *p, struct heard *h)
{
    struct slice in = slice_of(p->bytes, p->n), body;
    struct mqtt_fixed f;
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    while (in.n > 0) {
        struct mqtt_publish m;
        must(mqtt_packet_cut(&in, OUT, NULL, &f, &body));
        struct mqtt_input i = {.body = body,
                               .flags = f.flags,
                               .version = p->version,
                               .sender = MQTT_FROM_SERVER,
                               .limits = &limits};
        if (f.type == MQTT_PUBLISH) {
            must(mqtt_publish_decode(&i, NULL, &m));
            h->n_retained += m.retain;
            h->n_live += !m.retain;
            char text[8] = {0};
            assert_true(slice_to_text(slice_from(m.topic, 2), text, sizeof(text)));
            unsigned long k = strtoul(text, NULL, 10);
            assert_true(k < MANY);
            h->times[k]++;
        }
    }
    p->n = 0;
}

static const char *topic(unsigned k)
{
    static char text[8];
    (void)snprintf(text, sizeof(text), "t/%u", k);
    return text;
}

/* MANY retained messages of one who may have so many. */
static struct party *filled(struct bench *b, uint32_t rate, uint32_t most)
{
    struct party *writer = &b->parties[0];
    role_limits(b->any)->retained_count = MANY;
    role_limits(b->any)->replay_rate = rate;
    role_limits(b->any)->retained_replay = most;
    is_in(b, writer, device_at(b, 0, 0), &plain);
    for (unsigned k = 0; k < MANY; k++) {
        publishes(b, writer, topic(k), "old", 0, 0, true);
    }
    settle(b);
    return writer;
}

static void it_keeps_its_pace(void **state)
{
    struct bench *b = *state;
    struct party *reader = &b->parties[1];
    struct heard h = {0};
    (void)filled(b, RATE, MANY);
    is_in(b, reader, device_at(b, 1, 0), &plain);
    subscribes(b, reader, "t/#", 0);
    settle(b);
    hear(reader, &h);
    assert_int_equal(h.n_retained, RATE); /* what it may have at once */
    for (size_t s = 1; s * RATE < MANY; s++) {
        assert_true(worker_deadline(b->workers[1]) <= b->now_ms + 1000 / RATE);
        pass(b, 1000);
        hear(reader, &h);
        assert_int_equal(h.n_retained, (s + 1) * RATE);
    }
    for (unsigned k = 0; k < MANY; k++) {
        assert_int_equal(h.times[k], 1);
    }
    pass(b, 1000);
    hear(reader, &h);
    assert_int_equal(h.n_retained, MANY);
}

/* What is live does not wait for it, and is not followed by what it replaced. */
static void live_wins(void **state)
{
    struct bench *b = *state;
    struct party *reader = &b->parties[1], *writer = filled(b, RATE, MANY);
    struct heard h = {0};
    is_in(b, reader, device_at(b, 1, 0), &plain);
    subscribes(b, reader, "t/+", 0);
    settle(b);
    hear(reader, &h);
    assert_int_equal(h.n_retained, RATE);
    unsigned n_before[MANY];
    memcpy(n_before, h.times, sizeof(n_before));
    for (unsigned k = 0; k < MANY; k += 2) { /* half is said again, a third of that is cleared */
        publishes(b, writer, topic(k), k % 3 == 0 ? "" : "new", 0, 0, true);
    }
    settle(b);
    hear(reader, &h);
    assert_int_equal(h.n_live, MANY / 2); /* at once, though most of the replay is to come */
    for (unsigned s = 0; s < 2 * MANY / RATE; s++) {
        pass(b, 1000);
        hear(reader, &h);
    }
    for (unsigned k = 0; k < MANY; k++) {
        assert_int_equal(h.times[k], k % 2 == 0 ? n_before[k] + 1 : 1);
    }
}

/* A clear behind the walk and one under its feet, an end in the middle: nothing is left behind. */
static void it_ends_with_its_subscription(void **state)
{
    struct bench *b = *state;
    struct party *reader = &b->parties[1], *writer = filled(b, RATE, MANY);
    struct heard h = {0};
    is_in(b, reader, device_at(b, 1, 0), &plain);
    subscribes(b, reader, "t/#", 1);
    settle(b);
    hear(reader, &h);
    for (unsigned k = 0; k < MANY; k++) {
        publishes(b, writer, topic(k), "", 0, 0, true);
    }
    settle(b);
    pass(b, 60000);
    hear(reader, &h);
    assert_int_equal(h.n_retained, RATE);
    assert_int_equal(h.n_live, MANY);
    publishes(b, writer, "t/1", "again", 0, 0, true);
    settle(b);
    subscribes(b, reader, "t/#", 1);
    is_cut(b, reader);
    settle(b);
}

/* Two clients of one principal share what it may have; another principal has its own. */
static void the_budget_is_the_principals(void **state)
{
    struct bench *b = *state;
    struct party *one = &b->parties[1], *two = &b->parties[2], *other = &b->parties[3];
    const struct hello second = {.client_id = "e"};
    struct heard h = {0}, o = {0};
    (void)filled(b, RATE, MANY);
    is_in(b, one, device_at(b, 1, 0), &plain);
    is_in(b, two, device_at(b, 1, 0), &second);
    is_in(b, other, device_at(b, 1, 1), &plain);
    subscribes(b, one, "t/#", 0);
    subscribes(b, two, "t/#", 0);
    subscribes(b, other, "t/#", 0);
    for (size_t s = 1; s < 5; s++) {
        settle(b);
        hear(one, &h);
        hear(two, &h);
        hear(other, &o);
        assert_int_equal(h.n_retained, s * RATE);
        assert_int_equal(o.n_retained, s * RATE);
        b->now_ms += 1000;
    }
}

/* Without a pace to speak of: all of it, however small the send buffer and the queue are. */
static void it_goes_on_when_there_is_room(void **state)
{
    struct bench *b = *state;
    struct party *reader = &b->parties[1];
    struct heard h = {0};
    role_limits(b->any)->queue_messages = 5;
    (void)filled(b, 100000, MANY);
    is_in(b, reader, device_at(b, 1, 0), &plain);
    subscribes(b, reader, "t/#", 0);
    settle(b);
    hear(reader, &h);
    assert_int_equal(h.n_retained, MANY);
}

static void asked_for(struct bench *b, uint32_t most, const char *answer)
{
    struct party *reader = &b->parties[1];
    (void)filled(b, RATE, most);
    is_in(b, reader, device_at(b, 1, 0), &plain);
    subscribes(b, reader, "t/#", 0);
    settle(b);
    assert_memory_equal(said(reader), answer, strlen(answer));
}

static void at_the_limit_it_is_granted(void **state)
{
    struct bench *b = *state;
    asked_for(b, MANY, "suback 00; publish0r t/");
    assert_int_equal(events_of(b, EVENT_wildcard), 0);
}

/* What the client may do instead is what the event says. */
static void over_the_limit_it_is_refused(void **state)
{
    struct bench *b = *state;
    struct party *reader = &b->parties[1];
    asked_for(b, MANY - 1, "suback 97; ");
    assert_int_equal(events_of(b, EVENT_wildcard), 1);
    for (size_t i = 0; i < b->n_events; i++) {
        if (b->events[i].category == EVENT_wildcard) {
            assert_string_equal(b->events[i].target, "t/#");
            assert_non_null(strstr(b->events[i].reason, "300 retained messages"));
            assert_non_null(strstr(b->events[i].reason, "retained_replay 299 of role any"));
            assert_non_null(strstr(b->events[i].reason, "Subscribe to less"));
        }
    }
    pass(b, 1000);
    EXPECT(reader, "");
    subscribes(b, reader, "t/7", 0);
    settle(b);
    EXPECT(reader, "suback 00; publish0r t/7 old; ");
    uint8_t list[32], bytes[64];
    struct wr l = wr_into(list, sizeof(list)), w = wr_into(bytes, sizeof(bytes));
    struct mqtt_subscription s = {.whole = slice_text("t/#"),
                                  .filter = slice_text("t/#"),
                                  .retain_handling = MQTT_RETAIN_NEVER};
    mqtt_subscription_write(&l, &s, MQTT_V5);
    struct mqtt_subscribe m = {.packet_id = 9, .list = wr_slice(&l), .n_filters = 1};
    must(mqtt_subscribe_encode(&m, MQTT_V5, &w));
    give_wr(b, reader, &w);
    settle(b);
    EXPECT(reader, "suback 00; ");
}

/* ---- how much there may be ---- */

/* Of all principals; a clear is always taken, and makes room. */
static void the_total_is_bounded(void **state)
{
    struct bench *b = *state;
    struct party *one = &b->parties[1], *two = &b->parties[2];
    b->limits.retained_total = 2;
    is_in(b, one, device_at(b, 0, 0), &plain);
    is_in(b, two, device_at(b, 1, 0), &plain);
    publishes(b, one, "t/1", "x", 1, 1, true);
    publishes(b, two, "t/2", "x", 1, 1, true);
    settle(b);
    EXPECT(one, "puback 1; ");
    EXPECT(two, "puback 1; ");
    publishes(b, one, "t/3", "x", 1, 2, true);
    publishes(b, two, "t/2", "new", 1, 2, true); /* replaces */
    settle(b);
    EXPECT(one, "puback 2 97; ");
    EXPECT(two, "puback 2; ");
    assert_non_null(strstr(b->events[b->n_events - 1].reason, "retained_total"));
    publishes(b, two, "t/2", "", 1, 3, true);
    settle(b);
    publishes(b, one, "t/3", "x", 1, 3, true);
    settle(b);
    EXPECT(one, "puback 3; ");
    b->limits.retained_total_bytes = b->counters[0].retained_bytes + 1;
    publishes(b, one, "t/3", "y", 1, 4, true); /* under */
    settle(b);
    EXPECT(one, "puback 4; ");
    b->limits.retained_total_bytes = b->counters[0].retained_bytes;
    publishes(b, one, "t/3", "z", 1, 5, true); /* at: nothing may grow */
    publishes(b, one, "t/3", "", 1, 6, true);
    settle(b);
    EXPECT(one, "puback 5 97; puback 6; ");
}

/* What has no expiry gets the role's, what has one keeps it; the end of it gives memory and quota
 * back on every worker, though nobody reads it. */
static void a_role_may_give_a_life(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[1];
    role_limits(b->any)->retained_ttl_s = 60;
    role_limits(b->any)->retained_count = 2;
    is_in(b, p, device_at(b, 0, 0), &plain);
    publishes(b, p, "t/1", "x", 1, 1, true);
    publishes(b, p, "t/2", "x", 1, 2, true);
    publishes(b, p, "t/3", "x", 1, 3, true);
    settle(b);
    EXPECT(p, "puback 1; puback 2; puback 3 97; ");
    pass(b, 59000);
    assert_int_equal(b->counters[0].retained_messages, 2);
    pass(b, 3000);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(b->counters[i].retained_messages, 0);
        assert_int_equal(b->counters[i].retained_bytes, 0);
    }
    publishes(b, p, "t/3", "x", 1, 4, true);
    settle(b);
    EXPECT(p, "puback 4; ");
    struct restore_report report;
    bench_crash(b, 61000, &report);
    assert_int_equal(report.retained, 0); /* its life goes on over a restart */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_keeps_its_pace),
        TEST(live_wins),
        TEST(it_ends_with_its_subscription),
        TEST(the_budget_is_the_principals),
        TEST(it_goes_on_when_there_is_room),
        TEST(at_the_limit_it_is_granted),
        TEST(over_the_limit_it_is_refused),
        TEST(the_total_is_bounded),
        TEST(a_role_may_give_a_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
