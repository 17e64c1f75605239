/* The memory ceiling at the CoAP door: which association is shed at which step, what an observer is
 * told later, and how a request is refused. docs/ORDER.md rule 11. */
#include "service/gateway/door_bench_test.h"

enum { CEILING = 1000000, QOS0 = 800000, CONSUMERS = 900000, STRANGERS = 950000, FULL = 1000000 };

static uint64_t heap_used(void *ctx)
{
    return *(const uint64_t *)ctx;
}

static void under(struct fortress *f, uint64_t *heap)
{
    f->ceiling.heap = heap_used;
    f->ceiling.ctx = heap;
    f->ceiling.bytes = CEILING;
}

static void presses(struct fortress *f, uint64_t *heap, uint64_t bytes)
{
    *heap = bytes;
    pass(f, 100);
}

static bool has_text(const struct coap_message *m, const char *text)
{
    return m->payload.n > 0 && memmem(m->payload.p, m->payload.n, text, strlen(text)) != NULL;
}

static uint32_t max_age_of(const struct coap_message *m)
{
    uint32_t value = UINT32_MAX;
    return coap_options_find_uint(m->options, COAP_OPTION_MAX_AGE, &value) ? value : UINT32_MAX;
}

/* So many requests that what is remembered of this association is over the mark of a slow one. */
static void fills(struct fortress *f, unsigned worker, uint64_t id, size_t n)
{
    uint8_t bytes[DATAGRAM];
    struct net_peer peer = peer_of(id);
    struct ask ask = {ASK(COAP_CON, COAP_GET, "/mq/s/dev1/nothing")};
    for (size_t i = 0; i < n; i++) {
        size_t len = build(f, &ask, bytes, sizeof(bytes));
        coap_door_datagram(f->doors[worker], &peer, slice_of(bytes, len), f->now_ms);
        forget_sent(f);
    }
    turns(f);
    f->n_events = 0; /* there is no room for that many */
}

static void the_largest_association_goes(void **state)
{
    enum { LARGE = 5000, SMALL = 100 }; /* the table of the large one has grown to 8192 entries */
    struct fortress *f = *state;
    uint64_t heap = 0;
    under(f, &heap);
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 0, 2, "dev2"));
    assert_true(link_device(f, 1, 3, "dev2"));
    fills(f, 0, 1, LARGE);
    fills(f, 0, 2, SMALL);
    fills(f, 1, 3, SMALL);
    presses(f, &heap, QOS0);
    assert_true(atomic_load(&f->counters[0].dropped_pressure) > 0); /* answers that were kept */
    assert_int_equal(atomic_load(&f->counters[1].dropped_pressure), 0);
    assert_true(f->fakes[0].open[1]);
    presses(f, &heap, CONSUMERS);
    pass(f, 100);
    assert_false(f->fakes[0].open[1]);
    assert_true(f->fakes[0].open[2] && f->fakes[1].open[3]); /* those are not slow */
    assert_int_equal(atomic_load(&f->counters[0].shed_slow), 1);
    assert_int_equal(atomic_load(&f->counters[1].shed_slow), 0);
    const struct event *e = find_event(f, EVENT_slow_client);
    assert_non_null(e);
    assert_string_equal(e->principal, "dev1");
    assert_non_null(strstr(e->reason, "memory_bytes"));
    e = find_event(f, EVENT_disconnect);
    assert_true(e != NULL && strcmp(e->reason, "memory") == 0);
    assert_int_equal(coap_door_count(f->doors[0]), 1);
}

static void strangers_go_and_nobody_comes(void **state)
{
    struct fortress *f = *state;
    struct fake *k = &f->fakes[0];
    struct net_peer peer = peer_of(9);
    uint64_t heap = 0;
    under(f, &heap);
    assert_true(link_device(f, 0, 1, "dev1"));
    k->n_strangers = 5;
    presses(f, &heap, STRANGERS - 1);
    pass(f, 100);
    assert_int_equal(k->n_strangers, 5);
    assert_true(k->handler.admit(k->handler.ctx, &peer));
    presses(f, &heap, STRANGERS);
    pass(f, 100);
    assert_int_equal(k->n_strangers, 0);
    assert_int_equal(atomic_load(&f->counters[0].shed_strangers), 5);
    assert_true(k->handler.admit(k->handler.ctx, &peer));
    presses(f, &heap, FULL);
    assert_false(k->handler.admit(k->handler.ctx, &peer));
    assert_int_equal(atomic_load(&f->counters[0].refused_memory), 1);
    pass(f, 1100);
    assert_non_null(find_event(f, EVENT_quota)); /* said once, with the number */
    assert_true(k->open[1]);
    presses(f, &heap, 0);
    assert_true(k->handler.admit(k->handler.ctx, &peer));
}

/* 5.03 with Max-Age, nothing is begun and nothing remembered; and when memory is back, all is as
 * before. */
static void at_the_ceiling_requests_are_put_off(void **state)
{
    static const uint8_t methods[] = {COAP_GET, COAP_PUT, COAP_POST, COAP_DELETE};
    struct fortress *f = *state;
    uint64_t heap = 0;
    under(f, &heap);
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/t")};
    put.payload = slice_text("1");
    assert_int_equal(asks(f, 0, 1, &put).code, COAP_CREATED);
    presses(f, &heap, FULL);
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        struct ask ask = {ASK(COAP_CON, methods[i], "/mq/s/dev1/t")};
        ask.payload = slice_text("2");
        ask.observe = methods[i] == COAP_GET ? 0 : -1;
        struct coap_message m = asks(f, 0, 1, &ask);
        assert_int_equal(m.code, COAP_UNAVAILABLE);
        assert_int_equal(max_age_of(&m), 10);
        ask.type = COAP_NON;
        assert_int_equal(asks(f, 0, 1, &ask).type, COAP_RST); /* silence */
    }
    assert_int_equal(atomic_load(&f->counters[0].refused_memory), 2 * COUNT_OF(methods));
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 0);
    const struct event *e = find_event(f, EVENT_quota);
    assert_non_null(e);
    assert_string_equal(e->principal, "dev1");
    assert_non_null(strstr(e->reason, "5.03"));
    presses(f, &heap, 0);
    struct ask get = {ASK(COAP_CON, COAP_GET, "/mq/s/dev1/t")};
    struct coap_message m = asks(f, 0, 1, &get);
    assert_true(has_text(&m, "1"));
}

/* An observer is told nothing while there is no room, and then the newest, once. */
static void observers_are_told_later(void **state)
{
    struct fortress *f = *state;
    uint64_t heap = 0;
    under(f, &heap);
    mqtt_open(f, "desk");
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 0, 2, "dev1"));
    struct ask watch = {ASK(COAP_CON, COAP_GET, "/mq/commands/dev1")};
    watch.observe = 0;
    assert_int_equal(asks(f, 0, 1, &watch).code, COAP_CONTENT);
    assert_int_equal(asks(f, 0, 2, &watch).code, COAP_CONTENT);
    fills(f, 0, 1, 5000); /* a slow one; the other is not */
    presses(f, &heap, QOS0);
    forget_sent(f);
    mqtt_publish(f, "commands/dev1", "one", false, NULL);
    mqtt_publish(f, "commands/dev1", "two", false, NULL);
    assert_int_equal(next_sent(f, 0, 1).type, COAP_RST);
    mqtt_publish(f, "commands/dev1", "three", false, NULL);
    struct coap_message m = next_sent(f, 0, 2);
    assert_true(has_text(&m, "three"));
    forget_sent(f);
    presses(f, &heap, 0);
    m = next_sent(f, 0, 1);
    assert_true(has_text(&m, "three"));
    assert_int_equal(next_sent(f, 0, 1).type, COAP_RST);
    forget_sent(f);
    /* what is held ends with its association */
    presses(f, &heap, QOS0);
    mqtt_publish(f, "commands/dev1", "four", false, NULL);
    f->fakes[0].open[1] = false;
    f->fakes[0].handler.closed(f->fakes[0].handler.ctx, 1, OK);
    presses(f, &heap, 0);
    m = next_sent(f, 0, 2);
    assert_true(has_text(&m, "four"));
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 1);
}

/* Who asks for more at a time than it may is told in its own terms. */
static void own_quotas_are_4_29(void **state)
{
    struct fortress *f = *state;
    uint8_t bytes[DATAGRAM];
    struct net_peer peer = peer_of(1);
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/t")};
    put.payload = slice_text("1");
    mqtt_open(f, "desk");
    mqtt_subscribe(f, "s/#");
    assert_true(link_device(f, 0, 1, "dev1"));
    f->log_stands = true;
    struct coap_message m = {.code = 0};
    for (int i = 0; i < 17; i++) { /* n_exchanges is 16 */
        put.observe = -1;
        size_t n = build(f, &put, bytes, sizeof(bytes));
        coap_door_datagram(f->doors[0], &peer, slice_of(bytes, n), f->now_ms);
    }
    while ((m = next_sent(f, 0, 1)).type != COAP_RST && m.code != COAP_TOO_MANY_REQUESTS) {
    }
    assert_int_equal(m.code, COAP_TOO_MANY_REQUESTS);
    assert_int_equal(max_age_of(&m), 10);
    const struct event *e = find_event(f, EVENT_rate);
    assert_true(e != NULL && strstr(e->reason, "4.29") != NULL);
    f->log_stands = false;
    turns(f);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fortress_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_largest_association_goes),
        TEST(strangers_go_and_nobody_comes),
        TEST(at_the_ceiling_requests_are_put_off),
        TEST(observers_are_told_later),
        TEST(own_quotas_are_4_29),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
