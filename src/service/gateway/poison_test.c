/* What an observer never acknowledges: counted, held back from it alone, and given another chance.
 */
#include "service/gateway/door_bench_test.h"

enum { TRIES = 5, NOTIFIED_MAX = 16, HELD_MS = 3600 * 1000 };

static struct ask observing(uint8_t token)
{
    struct ask watch = {ASK(COAP_CON, COAP_GET, "/mq/commands/dev1")};
    watch.observe = 0;
    watch.token = token;
    return watch;
}

static size_t observed(struct fortress *f)
{
    return atomic_load(&f->counters[0].subscriptions);
}

/* Publishes the same until a notification is confirmable; nobody acknowledges. */
static void until_con(struct fortress *f, uint64_t id, const char *value)
{
    struct coap_message m = {.type = COAP_RST};
    for (int i = 0; i < NOTIFIED_MAX && m.type != COAP_CON; i++) {
        forget_sent(f);
        mqtt_publish(f, "commands/dev1", value, true, NULL);
        m = next_sent(f, 0, id);
        pass(f, 200);
    }
    assert_int_equal(m.type, COAP_CON);
}

/* One observation that ends because its notification is never acknowledged. */
static void fails(struct fortress *f, uint64_t id, const char *value)
{
    struct ask watch = observing(1);
    assert_int_equal(asks(f, 0, id, &watch).code, COAP_CONTENT);
    size_t before = observed(f);
    f->n_events = 0;
    until_con(f, id, value);
    for (int i = 0; i < 200 && observed(f) == before; i++) {
        forget_sent(f);
        pass(f, 1000);
    }
    assert_int_equal(observed(f), before - 1);
}

static void a_value_that_is_never_acknowledged_is_held_back(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    mqtt_publish(f, "commands/dev1", "fine", true, NULL);
    assert_true(link_device(f, 0, 1, "dev1"));
    for (int i = 1; i < TRIES; i++) {
        fails(f, 1, "bad");
        assert_int_equal(count_events(f, EVENT_poison_message), 0);
        const struct event *e = find_event(f, EVENT_slow_client);
        assert_true(e != NULL && strcmp(e->target, "commands/dev1") == 0);
    }
    fails(f, 1, "bad");
    const struct event *e = find_event(f, EVENT_poison_message);
    assert_non_null(e);
    assert_string_equal(e->principal, "dev1");
    assert_string_equal(e->target, "commands/dev1");
    /* It is put off; who asks for the value itself has it, and so has everybody else. */
    struct ask watch = observing(1), get = {ASK(COAP_CON, COAP_GET, "/mq/commands/dev1")};
    struct coap_message m = asks(f, 0, 1, &watch);
    uint32_t max_age = 0;
    assert_int_equal(m.code, COAP_UNAVAILABLE);
    assert_true(coap_options_find_uint(m.options, COAP_OPTION_MAX_AGE, &max_age));
    assert_int_equal(max_age, 60);
    assert_int_equal(observed(f), 0);
    assert_int_equal(asks(f, 0, 1, &get).code, COAP_CONTENT);
    assert_true(link_device(f, 0, 2, "desk"));
    assert_int_equal(asks(f, 0, 2, &watch).code, COAP_CONTENT);
    assert_int_equal(observed(f), 1);
    /* Another value is another matter, and the bad one is still not told. */
    mqtt_publish(f, "commands/dev1", "good", true, NULL);
    assert_int_equal(asks(f, 0, 1, &watch).code, COAP_CONTENT);
    forget_sent(f);
    mqtt_publish(f, "commands/dev1", "bad", true, NULL);
    assert_int_equal(next_sent(f, 0, 1).type, COAP_RST);
    mqtt_publish(f, "commands/dev1", "good", true, NULL);
    assert_int_equal(next_sent(f, 0, 1).code, COAP_CONTENT);
    assert_true(atomic_load(&f->counters[0].set_aside) >= 2);
    /* After an hour it may try again, and the alert ends. */
    f->n_events = 0;
    pass(f, HELD_MS);
    e = find_event(f, EVENT_poison_message);
    assert_true(e != NULL && e->severity == SEVERITY_NOTICE);
    mqtt_publish(f, "commands/dev1", "bad", true, NULL);
    m = asks(f, 0, 1, &watch);
    assert_int_equal(m.code, COAP_CONTENT);
}

/* A client that comes back before it has acknowledged has failed, too. */
static void a_new_association_instead_of_an_acknowledgement(void **state)
{
    struct fortress *f = *state;
    struct fake *k = &f->fakes[0];
    mqtt_open(f, "desk");
    for (int i = 0; i < TRIES; i++) {
        mqtt_publish(f, "commands/dev1", "fine", true, NULL);
        assert_true(link_device(f, 0, 1, "dev1"));
        struct ask watch = observing(1);
        assert_int_equal(asks(f, 0, 1, &watch).code, COAP_CONTENT);
        f->n_events = 0;
        until_con(f, 1, "bad");
        k->handler.closed(k->handler.ctx, 1, ERR_EXISTS);
        k->open[1] = false;
        pass(f, 2000);
    }
    assert_non_null(find_event(f, EVENT_poison_message));
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask watch = observing(1);
    assert_int_equal(asks(f, 0, 1, &watch).code, COAP_UNAVAILABLE);
}

/* An orderly end, a Reset and a cancellation are answers, and count for nothing. */
static void who_answers_has_not_failed(void **state)
{
    struct fortress *f = *state;
    struct fake *k = &f->fakes[0];
    struct net_peer peer = peer_of(1);
    mqtt_open(f, "desk");
    mqtt_publish(f, "commands/dev1", "fine", true, NULL);
    for (int i = 0; i < 2 * TRIES; i++) {
        assert_true(link_device(f, 0, 1, "dev1"));
        struct ask watch = observing(1);
        assert_int_equal(asks(f, 0, 1, &watch).code, COAP_CONTENT);
        forget_sent(f);
        mqtt_publish(f, "commands/dev1", "odd", true, NULL);
        struct coap_message m = next_sent(f, 0, 1);
        uint8_t reset[4] = {0x70, 0, (uint8_t)(m.mid >> 8), (uint8_t)m.mid};
        coap_door_datagram(f->doors[0], &peer, slice_of(reset, sizeof(reset)), f->now_ms);
        assert_int_equal(observed(f), 0);
        k->handler.closed(k->handler.ctx, 1, i % 2 == 0 ? OK : ERR_EXISTS);
        k->open[1] = false;
        pass(f, 2000);
    }
    assert_null(find_event(f, EVENT_poison_message));
    assert_null(find_event(f, EVENT_slow_client));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fortress_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_value_that_is_never_acknowledged_is_held_back),
        TEST(a_new_association_instead_of_an_acknowledgement),
        TEST(who_answers_has_not_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
