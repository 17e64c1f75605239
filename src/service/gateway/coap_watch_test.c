/* Observation through the door, over days: who is slow, who has gone, who only listens. */
#include "service/gateway/door_bench_test.h"

#include "base/heap_test.h"
#include "service/gateway/door_private.h"

#define PATH "/mq/commands/dev1"

enum { MINUTE_MS = 60 * 1000, GIVEN_UP_MS = 100 * 1000 };

static struct coap_message observes(struct fortress *f, uint64_t id, const char *path)
{
    struct ask watch = {ASK(COAP_CON, COAP_GET, path)};
    watch.observe = 0;
    return asks(f, 0, id, &watch);
}

/* A state that another device writes, on another worker. */
static void state_is(struct fortress *f, const char *path, const char *text)
{
    struct ask put = {ASK(COAP_CON, COAP_PUT, path)};
    put.payload = slice_text(text);
    struct coap_message m = asks(f, 1, 9, &put);
    assert_true(coap_code_is_success(m.code));
}

static void replies(struct fortress *f, uint64_t id, enum coap_type type, uint16_t mid)
{
    uint8_t bytes[4];
    size_t n;
    struct net_peer peer = peer_of(id);
    struct coap_message m = {.type = type, .mid = mid};
    assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
    coap_door_datagram(f->doors[0], &peer, slice_of(bytes, n), f->now_ms);
    turns(f);
}

static void open_both(struct fortress *f)
{
    assert_true(link_device(f, 1, 9, "desk"));
    assert_true(link_device(f, 0, 1, "dev1"));
}

/* Notifications until one is confirmable; gives it. */
static struct coap_message until_confirmable(struct fortress *f)
{
    struct coap_message m;
    char text[16];
    int i = 0;
    do {
        pass(f, 1000);
        (void)snprintf(text, sizeof(text), "%d", i++);
        state_is(f, PATH, text);
        m = next_sent(f, 0, 1);
        EXPECT_CODE(m, COAP_CONTENT);
        assert_true(i <= 8);
    } while (m.type != COAP_CON);
    assert_int_equal(i, 8);
    return m;
}

static size_t n_subscriptions(struct fortress *f)
{
    return atomic_load(&f->counters[0].subscriptions);
}

/* Minute by minute, as a driver that sleeps until the deadline would at least. */
static void pass_minutes(struct fortress *f, unsigned minutes)
{
    for (unsigned i = 0; i < minutes; i++) {
        pass(f, MINUTE_MS);
    }
}

static void who_does_not_acknowledge_observes_no_more(void **state)
{
    struct fortress *f = *state;
    open_both(f);
    EXPECT_CODE(observes(f, 1, PATH), COAP_CONTENT);
    assert_int_equal(n_subscriptions(f), 1);
    (void)until_confirmable(f);
    for (unsigned i = 0; i < GIVEN_UP_MS / 1000; i++) {
        pass(f, 1000);
    }
    assert_int_equal(n_subscriptions(f), 0); /* SPEC: RFC7641 4.5 */
    forget_sent(f);
    state_is(f, PATH, "unheard");
    assert_int_equal(next_sent(f, 0, 1).type, COAP_RST);
    assert_int_equal(coap_door_count(f->doors[0]), 1); /* it may still ask */
    EXPECT_CODE(observes(f, 1, PATH), COAP_CONTENT);
}

static void a_reset_ends_one_observation(void **state)
{
    struct fortress *f = *state;
    open_both(f);
    EXPECT_CODE(observes(f, 1, PATH), COAP_CONTENT);
    struct ask second = {ASK(COAP_CON, COAP_GET, PATH)};
    second.observe = 0;
    second.token = 2;
    EXPECT_CODE(asks(f, 0, 1, &second), COAP_CONTENT);
    state_is(f, PATH, "1");
    struct coap_message m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_CONTENT);
    replies(f, 1, COAP_RST, m.mid);
    forget_sent(f);
    state_is(f, PATH, "2");
    m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(m.token.n == 1 && m.token.p[0] == 2);
    assert_int_equal(next_sent(f, 0, 1).type, COAP_RST); /* and no other */
    assert_int_equal(n_subscriptions(f), 1);
    state_is(f, PATH, "3");
    m = next_sent(f, 0, 1);
    replies(f, 1, COAP_RST, m.mid);
    assert_int_equal(n_subscriptions(f), 0);
}

/* While it does not acknowledge, a thousand states are one: the latest. Only the repetitions of
 * the one it has not acknowledged leave, and they carry the state of then. */
static void nothing_queues_for_the_slow(void **state)
{
    struct fortress *f = *state;
    char text[16], heard[16] = "";
    open_both(f);
    EXPECT_CODE(observes(f, 1, PATH), COAP_CONTENT);
    uint16_t mid = until_confirmable(f).mid;
    size_t before = heap_in_use(), n_sent = 0;
    for (unsigned i = 0; i < 1000; i++) {
        forget_sent(f);
        pass(f, 20);
        struct coap_message m = next_sent(f, 0, 1);
        (void)snprintf(text, sizeof(text), "s%06u", i);
        if (m.code == COAP_CONTENT) {
            assert_int_equal(m.type, COAP_CON);
            assert_true(slice_to_text(m.payload, heard, sizeof(heard)));
            mid = m.mid;
            n_sent++;
        }
        state_is(f, PATH, text);
    }
    assert_true(n_sent > 0 && n_sent < 5);
    /* What grows is what is remembered of the writer's requests. */
    assert_true(heap_in_use() < before + 64 * (size_t)1000);
    forget_sent(f);
    replies(f, 1, COAP_ACK, mid);
    struct coap_message m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(slice_is(m.payload, "s000999") && strcmp(heard, "s000999") != 0);
    assert_int_equal(next_sent(f, 0, 1).type, COAP_RST);
}

/* Nothing changes for days: whoever answers the nudges stays. */
static void who_only_listens_is_asked(void **state)
{
    struct fortress *f = *state;
    open_both(f);
    state_is(f, PATH, "calm");
    EXPECT_CODE(observes(f, 1, "/mq/empty/a/level/b"), COAP_CONTENT);
    struct ask second = {ASK(COAP_CON, COAP_GET, PATH)};
    second.observe = 0;
    second.token = 2;
    EXPECT_CODE(asks(f, 0, 1, &second), COAP_CONTENT);
    for (int half_day = 0; half_day < 6; half_day++) {
        forget_sent(f);
        assert_true(coap_door_deadline(f->doors[0]) <= f->now_ms + COAP_DOOR_NUDGE_MS);
        pass_minutes(f, 12 * 60);
        struct coap_message m = next_sent(f, 0, 1);
        EXPECT_CODE(m, COAP_CONTENT);
        assert_int_equal(m.type, COAP_CON);
        assert_true(slice_is(m.payload, "calm")); /* of the topic that has a value */
        assert_int_equal(next_sent(f, 0, 1).type, COAP_RST);
        replies(f, 1, COAP_ACK, m.mid);
    }
    assert_int_equal(n_subscriptions(f), 2);
}

static void who_has_gone_is_found_out(void **state)
{
    struct fortress *f = *state;
    open_both(f);
    EXPECT_CODE(observes(f, 1, PATH), COAP_CONTENT);
    forget_sent(f);
    pass_minutes(f, 12 * 60);
    struct coap_message m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(m.type, COAP_CON);
    assert_int_equal(m.payload.n, 0); /* nothing is retained there */
    pass_minutes(f, 10);
    assert_int_equal(n_subscriptions(f), 0);
    forget_sent(f);
    pass_minutes(f, 12 * 60);
    assert_int_equal(coap_door_count(f->doors[0]), 0);
}

/* The order of what one association is told goes up, whatever it observes and however often anew.
 */
static void numbers_rise(void **state)
{
    struct fortress *f = *state;
    open_both(f);
    uint32_t latest = 0;
    for (int i = 0; i < 40; i++) {
        struct coap_message m = observes(f, 1, PATH);
        uint32_t number = option_of(&m, COAP_OPTION_OBSERVE);
        assert_true(i == 0 || number > latest);
        latest = number;
        pass(f, 1000);
        state_is(f, PATH, i % 2 == 0 ? "even" : "odd");
        m = next_sent(f, 0, 1);
        number = option_of(&m, COAP_OPTION_OBSERVE);
        assert_true(number != UINT32_MAX && number > latest);
        latest = number;
        if (m.type == COAP_CON) {
            replies(f, 1, COAP_ACK, m.mid);
        }
    }
}

static void nothing_observed_survives_its_association(void **state)
{
    struct fortress *f = *state;
    open_both(f);
    EXPECT_CODE(observes(f, 1, PATH), COAP_CONTENT);
    assert_int_equal(n_subscriptions(f), 1);
    f->fakes[0].handler.closed(f->fakes[0].handler.ctx, 1, OK);
    turns(f);
    assert_int_equal(n_subscriptions(f), 0);
    assert_int_equal(f->doors[0]->n_watches, 0);
    state_is(f, PATH, "to nobody");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fortress_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(who_does_not_acknowledge_observes_no_more),
        CASE(a_reset_ends_one_observation),
        CASE(nothing_queues_for_the_slow),
        CASE(who_only_listens_is_asked),
        CASE(who_has_gone_is_found_out),
        CASE(numbers_rise),
        CASE(nothing_observed_survives_its_association),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
