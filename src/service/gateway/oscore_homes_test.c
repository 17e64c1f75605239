/* OSCORE on two workers: each context at its principal's home, whoever its datagrams come to. */
#include "service/gateway/oscore_homes_bench_test.h"

enum { RING_ROOM = 32 };

static bool is_pinged(struct homes *h, unsigned worker, unsigned port)
{
    static const uint8_t ping[] = {0x40, 0, 0x12, 0x34};
    h->n_sent = 0;
    comes(h, worker, port, slice_of(ping, sizeof(ping)));
    run(h);
    return h->n_sent == 1 && h->from == h->home;
}

/* ---- tests ---- */

static void home_answers(void **state)
{
    struct homes *h = *state;
    comes_in(h, h->other, 50);
    assert_int_equal(coap_door_count(h->doors[h->home]), 1);
    assert_int_equal(coap_door_count(h->doors[h->other]), 0);
    assert_int_equal(h->from, h->home);
    assert_int_equal(h->client.sent_to.port, 50);
    /* from many ports, by whatever worker: one association, one window */
    for (unsigned port = 51; port < 60; port++) {
        comes_in(h, port % WORKERS, port);
        assert_int_equal(client_asks(h, port % WORKERS, port, (struct slice){0}), COAP_NOT_FOUND);
        assert_int_equal(coap_door_count(h->doors[h->home]), 1);
        assert_int_equal(coap_door_count(h->doors[h->other]), 0);
        h->f->now_ms += 1000;
    }
}

static void replay_by_the_other_worker(void **state)
{
    struct homes *h = *state;
    uint8_t bytes[2048];
    comes_in(h, h->home, 50);
    struct slice recorded = pair_request(&h->client, (struct slice){0}, false, bytes);
    comes(h, h->home, 50, recorded);
    run(h);
    assert_int_equal(answer_of(h, NULL), COAP_NOT_FOUND);
    comes(h, h->other, 60, recorded);
    run(h);
    assert_int_equal(bare_code(h), COAP_UNAUTHORIZED);
    assert_int_equal(h->from, h->home);
    assert_non_null(find_event(h->f, EVENT_replay));
    comes(h, h->other, 50, recorded); /* its owner's repeat gets the answer of before */
    run(h);
    assert_int_equal(answer_of(h, NULL), COAP_NOT_FOUND);
}

static void acknowledgements_find_home(void **state)
{
    struct homes *h = *state;
    assert_false(is_pinged(h, h->other, 50)); /* nobody is there */
    comes_in(h, h->other, 50);
    assert_true(is_pinged(h, h->other, 50));
    assert_false(is_pinged(h, h->other, 51));
    assert_int_equal(h->doors[h->other]->routes.n, 1);
    h->f->now_ms += 2000;
    comes_in(h, h->other, 51); /* it has moved */
    assert_false(is_pinged(h, h->other, 50));
    assert_true(is_pinged(h, h->other, 51));
    assert_int_equal(h->doors[h->other]->routes.n, 1);
    h->f->now_ms += 2000;
    comes_in(h, h->home, 52);
    assert_true(is_pinged(h, h->home, 52));
    assert_int_equal(h->doors[h->other]->routes.n, 0);
    assert_int_equal(h->doors[h->home]->aways.n, 0);
}

/* A Reset that the other worker hears ends the observation. */
static void an_observation_ends(void **state)
{
    struct homes *h = *state;
    uint8_t bytes[2048];
    struct coap_message news;
    comes_in(h, h->other, 50);
    h->client.path = "mq/s/osc/goal";
    struct oscore_binding first;
    comes(h, h->other, 50, pair_request(&h->client, (struct slice){0}, true, bytes));
    first = h->client.bound;
    run(h);
    assert_int_equal(answer_of(h, NULL), COAP_CONTENT);
    mqtt_open(h->f, "desk");
    mqtt_publish(h->f, "s/osc/goal", "up", false, NULL);
    h->n_sent = 0;
    run(h);
    h->client.bound = first;
    assert_int_equal(answer_of(h, NULL), COAP_CONTENT);
    assert_int_equal(h->n_sent, 1);
    assert_int_equal(coap_message_decode(slice_of(h->client.out, h->client.out_n), 8, &news), OK);
    uint8_t reset[] = {0x70, 0, (uint8_t)(news.mid >> 8), (uint8_t)news.mid};
    comes(h, h->other, 50, slice_of(reset, sizeof(reset)));
    run(h);
    h->n_sent = 0;
    mqtt_publish(h->f, "s/osc/goal", "down", false, NULL);
    run(h);
    assert_int_equal(h->n_sent, 0);
}

static void unknown_kids_stay_where_they_came(void **state)
{
    struct homes *h = *state;
    uint8_t bytes[2048];
    struct oscore_id known = h->client.keys.sender;
    for (unsigned i = 0; i < WORKERS; i++) {
        h->client.keys.sender = (struct oscore_id){3, {0xde, 0xad, (uint8_t)i}};
        h->n_sent = 0;
        comes(h, i, 70, pair_request(&h->client, (struct slice){0}, false, bytes));
        assert_int_equal(h->n_sent, 1); /* at once */
        assert_int_equal(h->from, i);
        assert_int_equal(bare_code(h), COAP_UNAUTHORIZED);
        assert_int_equal(ring_count(&h->f->rings[i][1 - i]), 0);
    }
    h->client.keys.sender = known;
    comes_in(h, h->other, 50);
}

/* Datagrams have half of the ring; what is over is lost and counted, and the rest goes on. */
static void a_full_ring(void **state)
{
    struct homes *h = *state;
    static uint8_t bytes[2 * RING_ROOM][2048];
    comes_in(h, h->other, 50);
    struct counters *counts = &h->f->counters[h->other];
    uint64_t before = atomic_load(&counts->dropped_ring);
    h->n_sent = 0;
    for (unsigned i = 0; i < COUNT_OF(bytes); i++) {
        comes(h, h->other, 50, pair_request(&h->client, (struct slice){0}, false, bytes[i]));
    }
    assert_int_equal(ring_count(&h->f->rings[h->other][h->home]), RING_ROOM);
    assert_int_equal(atomic_load(&counts->dropped_ring) - before, RING_ROOM);
    run(h);
    assert_int_equal(h->n_sent, RING_ROOM);
    assert_int_equal(client_asks(h, h->other, 50, (struct slice){0}), COAP_NOT_FOUND);
}

static void a_removed_device(void **state)
{
    struct homes *h = *state;
    uint8_t bytes[2048];
    comes_in(h, h->other, 50);
    struct slice recorded = pair_request(&h->client, (struct slice){0}, false, bytes);
    comes(h, h->other, 50, recorded); /* under way to its home when the device is removed */
    assert_int_equal(directory_remove(h->f->directory, slice_text("osc")), OK);
    h->n_sent = 0;
    make_realm(h->f);
    coap_door_realm_changed(h->doors[h->home], h->f->now_ms, h->f->wall_ms);
    publish_realm(h->f);
    run(h);
    assert_int_equal(coap_door_count(h->doors[h->home]), 0);
    assert_int_equal(h->doors[h->other]->routes.n, 0);
    assert_int_equal(h->n_sent, 1);
    assert_int_equal(bare_code(h), COAP_UNAUTHORIZED);
    comes(h, h->other, 50, recorded);
    assert_int_equal(h->from, h->other); /* nobody's any more */
    assert_int_equal(bare_code(h), COAP_UNAUTHORIZED);
    assert_false(is_pinged(h, h->other, 50));
}

/* Whatever allocation fails, datagrams are lost and nothing else. */
static void no_memory(void **state)
{
    struct homes *h = *state;
    uint8_t bytes[2048];
    bool has_failed = true;
    comes_in(h, h->other, 50);
    for (long k = 0; has_failed; k++) {
        (void)mem_fail_after(k);
        comes(h, h->other, 50, pair_request(&h->client, (struct slice){0}, false, bytes));
        (void)mem_fail_after(k);
        run(h);
        has_failed = mem_fail_after(-1) != 0;
        h->f->now_ms += 1000;
        run(h);
    }
    assert_int_equal(client_asks(h, h->other, 50, (struct slice){0}), COAP_NOT_FOUND);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_homes, close_homes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(home_answers),
        CASE(replay_by_the_other_worker),
        CASE(acknowledgements_find_home),
        CASE(an_observation_ends),
        CASE(unknown_kids_stay_where_they_came),
        CASE(a_full_ring),
        CASE(a_removed_device),
        CASE(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
