/*
 * oscore_homes_bench_test - the bench of the doors (door_bench_test.h) with an OSCORE entrance at
 * both workers, and one device that speaks it.
 */
#ifndef SERVICE_GATEWAY_OSCORE_HOMES_BENCH_TEST_H
#define SERVICE_GATEWAY_OSCORE_HOMES_BENCH_TEST_H

#include "net/oscore_pair_test.h"
#include "service/broker/handed.h"
#include "service/gateway/door_bench_test.h"
#include "service/gateway/door_private.h"

enum { DOOR = 7 };

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

static inline int open_homes(void **state)
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

static inline int close_homes(void **state)
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

static inline uint8_t bare_code(const struct homes *h)
{
    struct coap_message m;
    struct slice value;
    assert_int_equal(coap_message_decode(slice_of(h->client.out, h->client.out_n), 8, &m), OK);
    return coap_options_find(m.options, COAP_OPTION_OSCORE, &value) ? 0 : m.code;
}

/* Asks by way of this worker and gives the code of the answer. */
static inline uint8_t client_asks(struct homes *h, unsigned worker, unsigned port,
                                  struct slice echo)
{
    uint8_t bytes[2048];
    h->n_sent = 0;
    comes(h, worker, port, pair_request(&h->client, echo, false, bytes));
    run(h);
    return h->n_sent == 1 ? answer_of(h, NULL) : 0;
}

/* Proves the address. */
static inline void comes_in(struct homes *h, unsigned worker, unsigned port)
{
    uint8_t bytes[2048], echo_bytes[64];
    struct slice echo = {0};
    comes(h, worker, port, pair_request(&h->client, (struct slice){0}, false, bytes));
    run(h);
    assert_int_equal(answer_of(h, &echo), COAP_UNAUTHORIZED);
    assert_int_equal(h->from, h->home);
    assert_true(echo.n > 0 && echo.n <= sizeof(echo_bytes));
    slice_copy(echo_bytes, echo);
    assert_int_equal(client_asks(h, worker, port, slice_of(echo_bytes, echo.n)), COAP_NOT_FOUND);
}

#endif
