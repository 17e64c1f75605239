/* OSCORE on two workers: each context at its principal's home, whoever its datagrams come to. */
#include "net/oscore_pair_test.h"
#include "service/broker/handed.h"
#include "service/gateway/door_bench_test.h"
#include "service/gateway/door_private.h"

enum { DOOR = 7, RING_ROOM = 32 };

struct heard {
    struct homes *h;
    unsigned worker;
};

struct homes {
    struct fortress *f;
    struct coap_door *doors[WORKERS];
    struct entrance entrance;
    struct heard heard[WORKERS];
    struct pair client; /* its side alone */
    unsigned home, other, n_sent;
    unsigned from; /* the worker that sent last */
};

static void sent(void *ctx, const struct net_peer *to, struct slice datagram)
{
    const struct heard *at = ctx;
    struct pair *c = &at->h->client;
    at->h->from = at->worker;
    at->h->n_sent++;
    c->sent_to = *to;
    c->out_n = datagram.n;
    slice_copy(c->out, datagram);
}

static void heard_event(void *ctx, const struct event *e)
{
    keep_event(((const struct heard *)ctx)->h->f, e);
}

static void run(struct homes *h)
{
    for (int round = 0; round < 4; round++) {
        turns(h->f);
        for (unsigned i = 0; i < WORKERS; i++) {
            coap_door_turn(h->doors[i], h->f->now_ms, h->f->wall_ms);
        }
    }
}

/* ---- birth and end ---- */

static void derive(struct pair *c, const struct oscore_secret *s)
{
    static const uint8_t our_id[] = {OSCORE_OUR_ID};
    struct oscore_material m = {.secret = slice_of(s->secret, sizeof(s->secret)),
                                .salt = slice_of(s->salt, sizeof(s->salt)),
                                .sender_id = oscore_kid_slice(&s->kid),
                                .recipient_id = slice_of(our_id, sizeof(our_id))};
    assert_int_equal(oscore_keys_derive(&m, &c->keys), OK);
    assert_int_equal(ccm_new(&c->ccm), OK);
}

static void add_oscore_device(struct homes *h)
{
    struct random_source random = random_seeded(&h->f->seed);
    struct oscore_secret s;
    uint64_t id;
    struct why why = {.text = ""};
    oscore_secret_generate(&random, OSCORE_KID_MIN, &s);
    struct directory_secret secret = {
        .kind = CREDENTIAL_OSCORE, .expires_wall_ms = CREDENTIAL_NEVER, .oscore = &s};
    struct directory_order o = {.name = slice_text("osc"),
                                .role = slice_text("sensor"),
                                .secrets = &secret,
                                .n_secrets = 1};
    assert_int_equal(directory_add(h->f->directory, &o, WALL, &id, &why), OK);
    publish_realm(h->f);
    const struct directory_entry *e =
        directory_find(worker_realm(h->f->workers[0])->directory, slice_text("osc"));
    h->home = worker_home(h->f->workers[0], e->principal);
    h->other = 1 - h->home;
    derive(&h->client, &s);
    h->client.path = "mq/s/osc/x";
}

static int open_homes(void **state)
{
    struct homes *h = mem_zalloc(sizeof(*h));
    void *fortress = NULL;
    assert_non_null(h);
    (void)fortress_open(&fortress);
    h->f = fortress;
    h->entrance = (struct entrance){
        .name = "coap", .protocol = EVENT_PROTOCOL_coap, .is_oscore = true, .index = 1};
    for (unsigned i = 0; i < WORKERS; i++) {
        h->heard[i] = (struct heard){h, i};
        struct coap_door_setup s = {.worker = h->f->workers[i],
                                    .index = DOOR,
                                    .entrance = &h->entrance,
                                    .limits = &h->f->limits,
                                    .key = {3, 4},
                                    .random = random_seeded(&h->f->seed),
                                    .counters = &h->f->counters[i],
                                    .ctx = &h->heard[i],
                                    .transmit = sent,
                                    .event = heard_event};
        assert_int_equal(coap_door_new(&s, h->f->now_ms, h->f->wall_ms, &h->doors[i]), OK);
    }
    add_oscore_device(h);
    *state = h;
    return 0;
}

static int close_homes(void **state)
{
    struct homes *h = *state;
    void *fortress = h->f;
    for (unsigned i = 0; i < WORKERS; i++) {
        coap_door_free(h->doors[i]);
    }
    ccm_free(h->client.ccm);
    mem_free(h);
    return fortress_close(&fortress);
}

/* ---- a client ---- */

static void comes(struct homes *h, unsigned worker, unsigned port, struct slice datagram)
{
    struct net_peer peer = peer_of(port);
    coap_door_datagram(h->doors[worker], &peer, datagram, h->f->now_ms);
}

/* What the last datagram says when it is opened; 0: it does not open. */
static uint8_t answer_of(struct homes *h, struct slice *ret_echo)
{
    static uint8_t room[OSCORE_MESSAGE_MAX]; /* the echo points there */
    struct coap_oscore option;
    struct coap_message m;
    if (pair_answer(&h->client, room, &m, &option) != OK) {
        return 0;
    }
    if (ret_echo != NULL && !coap_options_find(m.options, COAP_OPTION_ECHO, ret_echo)) {
        *ret_echo = (struct slice){0};
    }
    return m.code;
}

static uint8_t bare_code(const struct homes *h)
{
    struct coap_message m;
    struct slice value;
    assert_int_equal(coap_message_decode(slice_of(h->client.out, h->client.out_n), 8, &m), OK);
    return coap_options_find(m.options, COAP_OPTION_OSCORE, &value) ? 0 : m.code;
}

/* Asks by way of this worker and gives the code of the answer. */
static uint8_t ask(struct homes *h, unsigned worker, unsigned port, struct slice echo)
{
    uint8_t bytes[2048];
    h->n_sent = 0;
    comes(h, worker, port, pair_request(&h->client, echo, false, bytes));
    run(h);
    return h->n_sent == 1 ? answer_of(h, NULL) : 0;
}

/* Proves the address. */
static void comes_in(struct homes *h, unsigned worker, unsigned port)
{
    uint8_t bytes[2048], echo_bytes[64];
    struct slice echo;
    comes(h, worker, port, pair_request(&h->client, (struct slice){0}, false, bytes));
    run(h);
    assert_int_equal(answer_of(h, &echo), COAP_UNAUTHORIZED);
    assert_int_equal(h->from, h->home);
    assert_true(echo.n > 0 && echo.n <= sizeof(echo_bytes));
    slice_copy(echo_bytes, echo);
    assert_int_equal(ask(h, worker, port, slice_of(echo_bytes, echo.n)), COAP_NOT_FOUND);
}

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
        assert_int_equal(ask(h, port % WORKERS, port, (struct slice){0}), COAP_NOT_FOUND);
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
    assert_int_equal(ask(h, h->other, 50, (struct slice){0}), COAP_NOT_FOUND);
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
    assert_int_equal(ask(h, h->other, 50, (struct slice){0}), COAP_NOT_FOUND);
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
