/* What principals publish is told to the detectors: once in a while, summed up, never lost when
 * nobody listens just now. */
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

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)
    const struct CMUnitTest tests[] = {
        STORY(it_is_summed_up),           STORY(shapes_leave_the_name_out),
        STORY(a_few_topics_are_told),     STORY(hashing_has_a_bound),
        STORY(what_nobody_takes_adds_up), STORY(held_packet_ids_are_told_again),
        STORY(who_leaves_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
