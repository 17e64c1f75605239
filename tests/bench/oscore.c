/*
 * oscore - what a CoAP request under OSCORE costs the server, beside the same request without. By
 * hand, on a quiet machine:
 *
 *   ninja -C build tests/bench/oscore && build/tests/bench/oscore [ROUNDS]
 *   (in an optimized build with tests)
 *
 * A GET of a retained value, one after the other, in ROUNDS (60) rounds of 250 of each kind in
 * turns; told is the median of the rounds, CPU nanoseconds of one request, from its datagram to
 * that of its answer:
 *
 *   engine    coap_endpoint alone, and the same behind oscore_server
 *   door      the CoAP door: policy, topic, retained index, on a DTLS that is none and on OSCORE
 *   AEAD      opening such a request and sealing such an answer, and nothing else
 *
 * The bar: OSCORE costs at most 1.5 of plain and the AEAD. Then what strangers cost, and a hop to
 * another worker. With ROUNDS and the name of one kind only that runs: for perf and callgrind.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "service/gateway/oscore_homes_bench_test.h"

enum { ROUNDS = 60, ROUNDS_MAX = 1000, BATCH = 250, STEP_MS = 5000, ROOM = 256, PORT = 50 };

enum kind {
    ENGINE_PLAIN,
    ENGINE_OSCORE,
    DOOR_PLAIN,
    DOOR_OSCORE,
    AEAD,
    STRANGER,
    STRANGER_OVER,
    HANDED,
    KINDS
};

static const char *const names[KINDS] = {"engine-plain", "engine-oscore", "door-plain",
                                         "door-oscore",  "aead",          "unknown-kid",
                                         "unknown-over", "handed"};

struct wire {
    size_t n;
    uint8_t bytes[ROOM];
};

struct stage {
    struct homes *h;
    struct pair pair; /* the engine's OSCORE: a server and a client */
    struct coap_endpoint *endpoints[2];
    struct coap_limits limits;
    struct coap_counters counters;
    uint64_t seed, now_ms;
    struct coap_answer answer;
    struct wire batch[BATCH];
    uint64_t n_answers;
    uint16_t mid;
    struct ccm *ccm;
};

static double cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- requests ---- */

static void plain_request(struct stage *s, const char *path, struct wire *ret)
{
    uint8_t options[64];
    struct coap_option_writer w = coap_option_writer_into(options, sizeof(options));
    struct coap_message m = {
        .type = COAP_CON, .code = COAP_GET, .mid = ++s->mid, .token = slice_text("tok")};
    coap_uri_path_options(slice_text(path), &w);
    assert_int_equal(coap_option_writer_done(&w, &m.options), OK);
    assert_int_equal(coap_message_encode(&m, ret->bytes, ROOM, &ret->n), OK);
}

static void sealed_request(struct pair *p, struct wire *ret)
{
    uint8_t bytes[2048];
    struct slice r = pair_request(p, (struct slice){0}, false, bytes);
    assert_true(r.n <= ROOM);
    ret->n = r.n;
    slice_copy(ret->bytes, r);
}

/* ---- the engine ---- */

static void serve(struct stage *s, struct coap_endpoint *e, struct slice plain, uint8_t *out,
                  size_t *ret_n)
{
    struct coap_event ev;
    assert_int_equal(coap_endpoint_datagram(e, plain, s->now_ms, &ev), OK);
    assert_int_equal(ev.kind, COAP_EVENT_REQUEST);
    assert_int_equal(coap_endpoint_respond(e, ev.id, &s->answer, s->now_ms), OK);
    *ret_n = coap_endpoint_output(e, out, DTLS_PLAIN_MAX);
    s->n_answers++;
}

static void on_plain(void *ctx, uint64_t id, struct slice plain)
{
    struct stage *s = ctx;
    uint8_t out[DTLS_PLAIN_MAX];
    size_t n = 0;
    serve(s, s->endpoints[1], plain, out, &n);
    assert_int_equal(dtls_send(s->pair.server, id, slice_of(out, n), s->now_ms), OK);
}

static void on_opened(void *ctx, const struct dtls_info *info)
{
    (void)ctx, (void)info;
}

static void on_sent(void *ctx, const struct net_peer *to, struct slice datagram)
{
    struct stage *s = ctx;
    pair_transmit(&s->pair, to, datagram);
}

static void open_engine(struct stage *s)
{
    s->limits = coap_limits_default();
    for (int i = 0; i < 2; i++) {
        struct coap_endpoint_setup setup = {
            .limits = &s->limits, .counters = &s->counters, .proven = true, .seed = 5};
        assert_int_equal(coap_endpoint_new(&setup, s->now_ms, &s->endpoints[i]), OK);
    }
    pair_init(&s->pair);
    dtls_free(s->pair.server);
    struct oscore_server_config config = {.ctx = &s->pair,
                                          .knows = pair_knows,
                                          .find = pair_find,
                                          .reserve = pair_reserve,
                                          .refused = pair_refused,
                                          .moved = pair_moved,
                                          .random = &s->pair.random,
                                          .counters = &s->counters};
    struct dtls_handler handler = {
        .ctx = s, .transmit = on_sent, .opened = on_opened, .received = on_plain};
    assert_int_equal(oscore_server_new(&config, &handler, &s->pair.server), OK);
    /* it asks for numbers, gets them, and is let in by its Echo */
    uint8_t bytes[2048], room[OSCORE_MESSAGE_MAX];
    struct coap_message m = {0};
    struct coap_oscore option;
    struct slice echo = {0};
    struct oscore_id kid = s->pair.keys.sender;
    s->pair.now_ms = s->now_ms;
    pair_input(&s->pair, 1, pair_request(&s->pair, (struct slice){0}, false, bytes));
    oscore_server_numbers(s->pair.server, &kid, PAIR_CREDENTIAL, 0, 256, s->now_ms);
    assert_int_equal(pair_answer(&s->pair, room, &m, &option), OK);
    assert_true(coap_options_find(m.options, COAP_OPTION_ECHO, &echo));
    pair_input(&s->pair, 1, pair_request(&s->pair, echo, false, bytes));
    s->pair.path = "mq/s/osc/x";
}

/* ---- the door ---- */

static void open_door(struct stage *s)
{
    void *h = NULL;
    (void)open_homes(&h);
    s->h = h;
    comes_in(s->h, s->h->home, PORT);
    assert_true(link_device(s->h->f, s->h->home, 5, "dev1"));
    mqtt_open(s->h->f, "desk");
    mqtt_publish(s->h->f, "s/osc/x", "twenty bytes of value", true, NULL);
    mqtt_publish(s->h->f, "s/dev1/x", "twenty bytes of value", true, NULL);
    assert_int_equal(client_asks(s->h, s->h->home, PORT, (struct slice){0}), COAP_CONTENT);
}

/* ---- rounds ---- */

static void prepare(struct stage *s, enum kind kind)
{
    struct pair *client = &s->h->client;
    struct oscore_id own = client->keys.sender;
    for (unsigned i = 0; i < BATCH; i++) {
        struct wire *w = &s->batch[i];
        switch (kind) {
        case ENGINE_PLAIN:
            plain_request(s, "mq/s/osc/x", w);
            break;
        case DOOR_PLAIN:
            plain_request(s, "mq/s/dev1/x", w);
            break;
        case ENGINE_OSCORE:
            sealed_request(&s->pair, w);
            break;
        case AEAD:
        case DOOR_OSCORE:
        case HANDED:
            sealed_request(client, w);
            break;
        case STRANGER:
        case STRANGER_OVER:
            /* over the budget: one kid, again and again */
            client->keys.sender =
                (struct oscore_id){3, {0xee, kind == STRANGER ? (uint8_t)i : 0, 1}};
            sealed_request(client, w);
            client->keys.sender = own;
            break;
        case KINDS:
            break;
        }
    }
}

/* One of each, with what the server makes of the request that it opens. */
static void aead(struct stage *s, struct wire *w)
{
    static const uint8_t key[CCM_KEY_BYTES] = {1}, nonce[CCM_NONCE_BYTES] = {2};
    enum { INNER = 22, ANSWER = 40 }; /* code, options, payload marker and payload of both */
    uint8_t aad_bytes[OSCORE_AAD_MAX], out[128];
    struct oscore_binding b = {.piv = s->h->client.piv, .kid = s->h->client.keys.sender};
    struct slice aad = oscore_aad(&b, aad_bytes);
    assert_int_equal(ccm_open(s->ccm, key, nonce, aad, slice_of(w->bytes, INNER), out), OK);
    assert_int_equal(ccm_seal(s->ccm, key, nonce, aad, slice_of(out, ANSWER), out), OK);
}

static void seal_for_aead(struct stage *s)
{
    static const uint8_t key[CCM_KEY_BYTES] = {1}, nonce[CCM_NONCE_BYTES] = {2};
    enum { INNER = 22 };
    uint8_t aad_bytes[OSCORE_AAD_MAX];
    struct oscore_binding b = {.piv = s->h->client.piv, .kid = s->h->client.keys.sender};
    for (unsigned i = 0; i < BATCH; i++) {
        struct slice plain = slice_of(s->batch[i].bytes, INNER - CCM_TAG_BYTES);
        assert_int_equal(
            ccm_seal(s->ccm, key, nonce, oscore_aad(&b, aad_bytes), plain, s->batch[i].bytes), OK);
    }
}

static void one(struct stage *s, enum kind kind, struct wire *w)
{
    struct slice datagram = slice_of(w->bytes, w->n);
    struct homes *h = s->h;
    struct fortress *f = h->f;
    struct net_peer peer = peer_of(kind == DOOR_PLAIN ? 5 : PORT);
    uint8_t out[DTLS_PLAIN_MAX];
    size_t n = 0;
    switch (kind) {
    case ENGINE_PLAIN:
        serve(s, s->endpoints[0], datagram, out, &n);
        on_sent(s, &peer, slice_of(out, n));
        break;
    case ENGINE_OSCORE:
        s->pair.now_ms = s->now_ms;
        pair_input(&s->pair, 1, datagram);
        break;
    case DOOR_PLAIN:
        f->fakes[h->home].n_sent = 0;
        coap_door_datagram(f->doors[h->home], &peer, datagram, f->now_ms);
        s->n_answers += f->fakes[h->home].n_sent;
        break;
    case DOOR_OSCORE:
    case STRANGER:
    case STRANGER_OVER:
        coap_door_datagram(h->doors[h->home], &peer, datagram, f->now_ms);
        break;
    case HANDED:
        coap_door_datagram(h->doors[h->other], &peer, datagram, f->now_ms);
        break;
    case AEAD:
        aead(s, w);
        break;
    case KINDS:
        break;
    }
}

/* Requests come five seconds apart, so that as many are remembered as are from a busy client;
 * strangers over the budget come at once. Gives the nanoseconds of one. */
static double measure(struct stage *s, enum kind kind)
{
    struct homes *h = s->h;
    assert(h != NULL);
    uint64_t n_sent = h->n_sent, n_answers = s->n_answers;
    unsigned n = kind == HANDED ? 30 : BATCH; /* what a ring of the bench has room for */
    prepare(s, kind);
    if (kind == AEAD) {
        seal_for_aead(s);
    }
    double begin = cpu_ns();
    for (unsigned i = 0; i < n; i++) {
        s->now_ms += STEP_MS;
        h->f->now_ms += kind == STRANGER_OVER ? 0 : STEP_MS;
        one(s, kind, &s->batch[i]);
    }
    double took = cpu_ns() - begin;
    if (kind == ENGINE_PLAIN || kind == ENGINE_OSCORE || kind == DOOR_PLAIN) {
        assert_int_equal(s->n_answers - n_answers, n);
    } else if (kind == DOOR_OSCORE) {
        assert_int_equal(h->n_sent - n_sent, n);
    }
    h->f->n_events = 0;
    run(h);
    return took / n;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *of, unsigned n)
{
    qsort(of, n, sizeof(*of), by_size);
    return of[n / 2];
}

static void say(const double *ns)
{
    for (unsigned k = 0; k < KINDS; k++) {
        (void)printf("%-14s %8.0f ns\n", names[k], ns[k]);
    }
    (void)printf("engine: oscore less the AEAD is %.2f of plain\n",
                 (ns[ENGINE_OSCORE] - ns[AEAD]) / ns[ENGINE_PLAIN]);
    (void)printf("door:   oscore less the AEAD is %.2f of plain (the bar is 1.50)\n",
                 (ns[DOOR_OSCORE] - ns[AEAD]) / ns[DOOR_PLAIN]);
}

int main(int argc, char **argv)
{
    static struct stage s = {.seed = 3, .now_ms = 1000000};
    static double all[KINDS][ROUNDS_MAX];
    double ns[KINDS];
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : ROUNDS;
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    s.answer =
        (struct coap_answer){.code = COAP_CONTENT, .payload = slice_text("twenty bytes of value")};
    open_door(&s);
    open_engine(&s);
    assert_int_equal(ccm_new(&s.ccm), OK);
    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned k = 0; k < KINDS; k++) {
            bool is_wanted = argc < 3 || strcmp(argv[2], names[k]) == 0;
            all[k][r] = is_wanted ? measure(&s, k) : 0;
        }
    }
    for (unsigned k = 0; k < KINDS; k++) {
        ns[k] = median(all[k], rounds);
    }
    say(ns);
    return ns[DOOR_OSCORE] <= 1.5 * ns[DOOR_PLAIN] + ns[AEAD] ? 0 : 1;
}
