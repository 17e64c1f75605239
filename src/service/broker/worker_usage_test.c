/* What principals publish is told to the detectors: once in a while, summed up, never lost when
 * nobody listens just now. */
#include "net/peer.h"
#include "service/broker/worker_story_test.h"

enum { EVERY_MS = 5000 };

/* Of TRAFFIC; NULL: there is none. */
static const struct detect_sample *traffic(const struct bench *b)
{
    for (size_t i = b->n_samples; i > 0; i--) {
        if (b->samples[i - 1].kind == DETECT_SAMPLE_TRAFFIC) {
            return &b->samples[i - 1];
        }
    }
    return NULL;
}

static void later(struct bench *b, uint64_t ms)
{
    b->now_ms += ms;
    settle(b);
}

static void it_is_summed_up(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    is_in(b, p, "d0", &durable);
    publishes(b, p, "t/a", "1234", 0, 0, true);
    publishes(b, p, "t/a", "123456", 0, 0, false);
    publishes(b, p, "t/d0/x", "", 0, 0, false);
    settle(b);
    assert_int_equal(b->n_samples, 2); /* topics are told at once */
    assert_int_equal(b->samples[0].kind, DETECT_SAMPLE_TOPIC);
    assert_string_equal(b->samples[0].text, "t/a");
    uint64_t published_ms = b->now_ms;
    later(b, EVERY_MS - 1);
    assert_null(traffic(b));
    later(b, 1);
    const struct detect_sample *s = traffic(b);
    assert_non_null(s);
    assert_int_equal(s->n, 3);
    assert_int_equal(s->n_retained, 1);
    assert_int_equal(s->bytes, 10);
    assert_int_equal(s->at_ms, published_ms);
    assert_int_equal(s->n_held, 0);
    size_t n = b->n_samples;
    later(b, 10 * EVERY_MS);
    assert_int_equal(b->n_samples, n); /* who says nothing is not told */
}

static void shapes_leave_the_name_out(void **state)
{
    struct bench *b = *state;
    for (unsigned i = 0; i < 2; i++) {
        struct party *p = &b->parties[i];
        const char *name = i == 0 ? "d0" : "d1";
        const struct hello h = {.client_id = name};
        char topic[16];
        is_in(b, p, name, &h);
        (void)snprintf(topic, sizeof topic, "t/%s/x", name);
        publishes(b, p, topic, "", 0, 0, false);
        publishes(b, p, "t/other/x", "", 0, 0, false);
        publishes(b, p, "t/x/other", "", 0, 0, false);
    }
    settle(b);
    assert_int_equal(b->n_samples, 6);
    assert_int_equal(b->samples[0].shape, b->samples[3].shape);
    assert_int_not_equal(b->samples[0].topic, b->samples[3].topic);
    assert_int_not_equal(b->samples[0].shape, b->samples[1].shape);
    assert_int_not_equal(b->samples[1].shape, b->samples[2].shape); /* order counts */
}

static void a_few_topics_are_told(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    char topic[16];
    is_in(b, p, "d0", &durable);
    for (unsigned i = 0; i < 3 * USAGE_TOPICS; i++) {
        (void)snprintf(topic, sizeof topic, "t/%u", i % (2 * USAGE_TOPICS));
        publishes(b, p, topic, "", 0, 0, false);
    }
    settle(b);
    assert_int_equal(b->n_samples, USAGE_TOPICS);
}

/* Who publishes faster than a person reads is looked at in part. */
static void hashing_has_a_bound(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    is_in(b, p, "d0", &durable);
    for (unsigned i = 0; i < 64; i++) {
        publishes(b, p, "t/a", "", 0, 0, false);
    }
    publishes(b, p, "t/b", "", 0, 0, false);
    settle(b);
    assert_int_equal(b->n_samples, 1);
    later(b, EVERY_MS);
    assert_int_equal(traffic(b)->n, 65);
    publishes(b, p, "t/b", "", 0, 0, false);
    settle(b);
    assert_string_equal(b->samples[b->n_samples - 1].text, "t/b");
}

static void what_nobody_takes_adds_up(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    is_in(b, p, "d0", &durable);
    b->samples_stand = true;
    for (unsigned i = 0; i < 5; i++) {
        publishes(b, p, "t/a", "x", 0, 0, false);
        later(b, EVERY_MS);
    }
    assert_int_equal(b->n_samples, 0);
    b->samples_stand = false;
    later(b, EVERY_MS);
    assert_int_equal(traffic(b)->n, 5);
    publishes(b, p, "t/a", "x", 0, 0, false); /* and its topic now */
    settle(b);
    assert_string_equal(b->samples[b->n_samples - 1].text, "t/a");
}

static void held_packet_ids_are_told_again(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    is_in(b, p, "d0", &durable);
    for (uint16_t id = 1; id <= 16; id++) {
        publishes(b, p, "t/a", "x", 2, id, false);
    }
    settle(b);
    for (unsigned i = 0; i < 3; i++) {
        size_t n = b->n_samples;
        later(b, EVERY_MS);
        assert_int_equal(b->n_samples, n + 1);
        assert_int_equal(traffic(b)->n_held, 16);
        assert_int_equal(traffic(b)->n, i == 0 ? 16 : 0);
    }
}

static void who_leaves_is_told(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    const struct hello h = {.client_id = "d0"};
    is_in(b, p, "d0", &h);
    publishes(b, p, "t/a", "x", 0, 0, false);
    is_cut(b, p); /* and with it its session, and the account when it is rested */
    for (unsigned i = 0; i < 10; i++) {
        later(b, EVERY_MS / 5);
    }
    assert_int_equal(b->n_samples, 2);
    assert_int_equal(traffic(b)->n, 1);
}

/* ---- clocks ---- */

static const char *const types[] = {"application/senml+json", "application/senml+cbor",
                                    "Application/SenML+JSON"};

/* A pack with one reading of this second, since 1970. */
static void reads_at(struct bench *b, struct party *p, const char *type, int64_t at_s)
{
    char json[64];
    uint8_t cbor[64], bytes[256];
    (void)snprintf(json, sizeof json, "[{\"n\":\"a\",\"t\":%lld,\"v\":1}]", (long long)at_s);
    struct wr w = wr_into(bytes, sizeof(bytes)), c = wr_into(cbor, sizeof(cbor));
    wr_u32(&c, 0x81A30061); /* [{0: "a", 6: time, 2: 1}] */
    wr_u32(&c, 0x61061B00);
    wr_be(&c, (uint64_t)at_s, 7);
    wr_u16(&c, 0x0201);
    struct slice pack = slice_is(slice_text(type), types[1]) ? wr_slice(&c) : slice_text(json);
    struct mqtt_publish m = {.topic = slice_text("t/a"), .payload = pack};
    mqtt_props_set_text(&m.props, MQTT_PROP_CONTENT_TYPE, slice_text(type));
    assert_int_equal(mqtt_publish_encode(&m, MQTT_V5, &w), OK);
    give_wr(b, p, &w);
    settle(b);
}

static size_t clocks(const struct bench *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_samples && i < SAMPLES_MAX; i++) {
        n += b->samples[i].kind == DETECT_SAMPLE_CLOCK ? 1 : 0;
    }
    return n;
}

static void a_clock_is_read_once_a_minute(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    int64_t now_s = b->wall_ms / 1000;
    is_in(b, p, "d0", &durable);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        reads_at(b, p, types[i], now_s + 3600);
        assert_int_equal(clocks(b), i + 1);
        const struct detect_sample *s = &b->samples[b->n_samples - 1];
        assert_int_equal(s->kind, DETECT_SAMPLE_CLOCK);
        assert_int_equal(s->clock_ms, (now_s + 3600) * 1000);
        assert_int_equal(s->wall_ms, b->wall_ms);
        reads_at(b, p, types[i], now_s + 7200);
        assert_int_equal(clocks(b), i + 1);
        later(b, 60 * 1000);
    }
}

/* What is late may have waited, and another message says more of the clock. */
static void a_few_are_read_while_they_are_late(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    int64_t now_s = b->wall_ms / 1000;
    is_in(b, p, "d0", &durable);
    reads_at(b, p, types[0], now_s - 301);
    reads_at(b, p, types[0], 5); /* from now */
    reads_at(b, p, types[0], now_s - 300);
    assert_int_equal(clocks(b), 2);
    reads_at(b, p, types[0], now_s - 301);
    assert_int_equal(clocks(b), 2);
    later(b, 60 * 1000);
    for (unsigned i = 0; i < 20; i++) {
        reads_at(b, p, types[0], now_s - 3600);
    }
    assert_int_equal(clocks(b), 2 + 8);
}

static void what_is_no_senml_is_not_read(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    int64_t now_s = b->wall_ms / 1000;
    is_in(b, p, "d0", &durable);
    reads_at(b, p, "application/json", now_s + 3600);
    reads_at(b, p, "application/sensml+xml", now_s + 3600);
    publishes(b, p, "t/a", "[{\"n\":\"a\",\"t\":1900000000,\"v\":1}]", 0, 0, false);
    reads_at(b, p, types[1], INT64_MAX); /* of no calendar */
    settle(b);
    assert_int_equal(clocks(b), 0);
}

/* A message of CoAP by this association, from its own address; gives whether it was told. */
static bool is_told(struct bench *b, struct account *a, uint64_t association)
{
    struct net_peer from = {.address = {[10] = 0xff, [11] = 0xff, 192, 0, 2, (uint8_t)association}};
    size_t n = b->n_came;
    worker_heard(b->workers[0], a, association, &from, b->now_ms);
    return b->n_came > n;
}

/* Two in the name of one device are told at each turn; of many, one now and then. */
static void turns_are_told_of_one(void **state)
{
    struct bench *b = *state;
    for (unsigned many = 0; many < 2; many++) {
        struct account *a = NULL;
        role_set_many(b->any, many == 1);
        realm_changes(b);
        const struct directory_entry *e =
            directory_find(worker_realm(b->workers[0])->directory, slice_text("d0"));
        assert_int_equal(worker_account(b->workers[0], e->principal, b->now_ms, &a), OK);
        b->now_ms += EVERY_MS;
        assert_true(is_told(b, a, 1));
        assert_false(is_told(b, a, 1));
        assert_int_equal(is_told(b, a, 2), many == 0);
        assert_int_equal(is_told(b, a, 1), many == 0);
        b->now_ms += EVERY_MS;
        assert_true(is_told(b, a, 2));
        assert_false(is_told(b, a, 2));
        worker_account_release(b->workers[0], a);
    }
}

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)
    const struct CMUnitTest tests[] = {
        STORY(it_is_summed_up),
        STORY(shapes_leave_the_name_out),
        STORY(a_few_topics_are_told),
        STORY(hashing_has_a_bound),
        STORY(what_nobody_takes_adds_up),
        STORY(held_packet_ids_are_told_again),
        STORY(who_leaves_is_told),
        STORY(a_clock_is_read_once_a_minute),
        STORY(a_few_are_read_while_they_are_late),
        STORY(what_is_no_senml_is_not_read),
        STORY(turns_are_told_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
