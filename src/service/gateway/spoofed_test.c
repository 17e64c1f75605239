/* Datagrams under false addresses: whatever a stranger sends, to the real DTLS and OSCORE servers
 * behind a door and to an endpoint in the clear, each gets at most three bytes for one, nothing is
 * remembered of it, and an operator reads a few lines. SALLYPORT_SPOOFED says how many. */
#include <inttypes.h>

#include "base/rd.h"
#include "net/unproven.h"
#include "security/crypto/prepare.h"
#include "service/gateway/door_bench_test.h"
#include "service/gateway/door_private.h"
#include "service/gateway/spoof.h"
#include "wire/coap/oscore.h"

enum {
    N_SPOOFED = 200000,
    HEARERS = 3,
    HALVES = 2,
    KINDS = 24,
    BATCH = 4096, /* datagrams between two turns */
    GROWN_MAX = 256 * 1024
};

struct spoofer {
    struct fortress *f;
    struct coap_door *dtls, *oscore;
    struct driver_ctx ctx[2];
    struct coap_endpoint *plain;
    struct coap_counters plain_counters;
    struct coap_limits plain_limits;
    struct siphash_key echo_key;
    uint64_t seed;
    /* of the datagram that is heard */
    struct net_peer from;
    size_t n_in, n_out;
    unsigned hearer;
    uint64_t bytes_in, bytes_out, n_at_doors;
    uint64_t n_answers[HEARERS];
};

static uint64_t draw(struct spoofer *s)
{
    /* xorshift64* */
    s->seed ^= s->seed >> 12;
    s->seed ^= s->seed << 25;
    s->seed ^= s->seed >> 27;
    return s->seed * UINT64_C(2685821657736338717);
}

static struct spoofer *the_spoofer;

/* An answer goes where its request came from, and is small. */
static void spoofed_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    struct spoofer *s = the_spoofer;
    (void)ctx;
    assert_true(net_peer_equal(to, &s->from));
    s->n_out += datagram.n;
    s->n_answers[s->hearer]++;
}

static enum err open_dtls(void *ctx, const struct dtls_handler *handler, struct dtls **ret)
{
    struct random_source random = random_system();
    char text[TLS_TEXT_BYTES];
    (void)ctx;
    return dtls_server_openssl(&(struct dtls_server_config){.random = &random}, handler, text, ret);
}

static struct coap_door *open_door(struct spoofer *s, const struct entrance *e, unsigned index)
{
    struct fortress *f = s->f;
    struct coap_door *d = NULL;
    struct coap_door_setup setup = {.worker = f->workers[0],
                                    .index = index,
                                    .entrance = e,
                                    .limits = &f->limits,
                                    .key = {5, 6},
                                    .random = random_seeded(&f->seed),
                                    .counters = &f->counters[0],
                                    .ctx = &f->contexts[0],
                                    .open = open_dtls,
                                    .transmit = spoofed_transmit,
                                    .event = worker_event};
    assert_int_equal(coap_door_new(&setup, f->now_ms, f->wall_ms, &d), OK);
    return d;
}

/* ---- what a stranger sends ---- */

/* A ClientHello with two suites: with a cookie that is not ours, cut, or of another version. */
static void hello(struct spoofer *s, struct wr *w, unsigned kind)
{
    static const uint8_t suites[] = {0, 4, 0x00, 0xa8, 0xc0, 0xa8, 1, 0};
    uint8_t body[256];
    struct wr b = wr_into(body, sizeof(body));
    wr_u16(&b, kind == 1 ? 0xfeff : 0xfefd);
    for (int i = 0; i < 4; i++) {
        wr_u64(&b, draw(s));
    }
    wr_u8(&b, 0); /* no session */
    wr_u8(&b, kind == 2 ? 32 : 0);
    for (int i = 0; kind == 2 && i < 4; i++) {
        wr_u64(&b, draw(s));
    }
    wr_bytes(&b, slice_of(suites, sizeof(suites)));
    struct slice whole = wr_slice(&b);
    /* the first fragment of one that is longer */
    struct slice part = kind == 3 ? slice_head(whole, 40) : whole;
    wr_u8(w, 22);
    wr_u16(w, kind == 4 ? 0xfe00 : 0xfeff);
    wr_be(w, 0, 8); /* epoch and number */
    wr_u16(w, (uint16_t)(part.n + 12));
    wr_u8(w, 1);
    wr_be(w, whole.n, 3);
    wr_be(w, 0, 5); /* message number, offset */
    wr_be(w, part.n, 3);
    wr_bytes(w, part);
}

/* Other records: an alert, a Finished of nobody, sealed ones, and what is cut short. */
static void record(struct spoofer *s, struct wr *w, unsigned kind)
{
    static const uint8_t types[] = {20, 21, 22, 23};
    wr_u8(w, types[kind % 4]);
    wr_u16(w, 0xfefd);
    wr_u16(w, (uint16_t)(kind & 1));
    wr_be(w, draw(s) & 0xffff, 6);
    wr_u16(w, kind == 3 ? 400 : 16);
    wr_u64(w, draw(s));
    wr_u64(w, draw(s));
}

struct shape {
    const char *name;
    uint8_t type, code;
    uint8_t token_n;
    uint16_t option; /* 0: none */
    uint8_t value_n;
    uint8_t payload_n;
};

static const struct shape shapes[] = {
    {"the shortest GET", COAP_CON, COAP_GET, 0, 0, 0, 0},
    {"a NON", COAP_NON, COAP_GET, 1, COAP_OPTION_URI_PATH, 4, 0},
    {"a ping", COAP_CON, COAP_EMPTY, 0, 0, 0, 0},
    {"an acknowledgement", COAP_ACK, COAP_EMPTY, 0, 0, 0, 0},
    {"a reset", COAP_RST, COAP_EMPTY, 0, 0, 0, 0},
    {"a response", COAP_CON, COAP_CONTENT, 2, 0, 0, 3},
    {"an unknown method", COAP_CON, 31, 8, 0, 0, 0},
    {"an unknown critical option", COAP_CON, COAP_GET, 1, 65, 1, 0},
    {"the list", COAP_CON, COAP_GET, 1, COAP_OPTION_URI_PATH, 11, 0},
    {"an observer", COAP_CON, COAP_GET, 8, COAP_OPTION_OBSERVE, 0, 0},
    {"a PUT", COAP_CON, COAP_PUT, 4, COAP_OPTION_URI_PATH, 2, 40},
    {"a long token", COAP_CON, COAP_GET, 12, 0, 0, 0},
    {"OSCORE of nobody", COAP_CON, COAP_POST, 1, COAP_OPTION_OSCORE, 4, 20},
    {"OSCORE that cannot be read", COAP_CON, COAP_POST, 1, COAP_OPTION_OSCORE, 1, 20},
    {"a reserved class", COAP_CON, 0xe1, 0, 0, 0, 0},
};

static void coap(struct spoofer *s, struct wr *w, const struct shape *k)
{
    uint8_t block[64], value[16], bytes[128];
    size_t n = 0;
    uint64_t random[2] = {draw(s), draw(s)};
    memcpy(value, random, sizeof(value));
    if (k->option == COAP_OPTION_OSCORE) {
        value[0] = k->value_n > 1 ? 0x09 : 0xe0; /* a kid and a one-byte number; reserved flags */
    } else if (k->value_n == 11) {
        slice_copy(value, slice_text(".well-known"));
    } else if (k->value_n == 4) {
        slice_copy(value, slice_text("time"));
    }
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    if (k->option != 0) {
        coap_option_add(&o, k->option, slice_of(value, k->value_n));
    }
    struct coap_message m = {.type = k->type,
                             .code = k->code,
                             .mid = (uint16_t)draw(s),
                             .token = slice_of(bytes, k->token_n),
                             .payload = slice_of(bytes, k->payload_n)};
    memset(bytes, 0x5a, sizeof(bytes));
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    uint8_t encoded[256];
    assert_int_equal(coap_message_encode(&m, encoded, sizeof(encoded), &n), OK);
    wr_bytes(w, slice_of(encoded, n));
}

/* Noise: any bytes; every other one begins as CoAP does. */
static void noise(struct spoofer *s, struct wr *w)
{
    uint64_t n = 1 + draw(s) % 8;
    uint64_t first = draw(s);
    wr_u64(w, first % 2 == 0 ? (first >> 8) | UINT64_C(0x40) << 56 : first);
    for (uint64_t i = 0; i < n; i++) {
        wr_u64(w, draw(s));
    }
}

static struct slice spoofed(struct spoofer *s, unsigned kind, uint8_t dst[512])
{
    enum { HELLOS = 5, RECORDS = 4 };
    struct wr w = wr_into(dst, 512);
    if (kind < HELLOS) {
        hello(s, &w, kind);
    } else if (kind < HELLOS + RECORDS) {
        record(s, &w, kind - HELLOS);
    } else if (kind - HELLOS - RECORDS < COUNT_OF(shapes)) {
        coap(s, &w, &shapes[kind - HELLOS - RECORDS]);
    } else {
        noise(s, &w);
    }
    assert_true(wr_ok(&w));
    return wr_slice(&w);
}

/* ---- the three that hear it ---- */

static struct net_peer anybody(struct spoofer *s)
{
    struct net_peer p = {.port = (uint32_t)(draw(s) % 65535 + 1)};
    uint64_t high = draw(s), low = draw(s);
    if ((high & 1) != 0) {
        p.address[10] = p.address[11] = 0xff;
        memcpy(p.address + 12, &low, 4);
    } else {
        memcpy(p.address, &high, sizeof(high));
        memcpy(p.address + 8, &low, sizeof(low));
        p.address[0] = 0x20;
    }
    return p;
}

/* In the clear an address has an endpoint of its own, which ends with the datagram. */
static void hear_plain(struct spoofer *s, struct slice datagram)
{
    struct coap_endpoint *e = NULL;
    struct coap_event ev;
    uint8_t out[DATAGRAM];
    size_t n;
    struct coap_endpoint_setup setup = {.limits = &s->plain_limits,
                                        .counters = &s->plain_counters,
                                        .echo_key = &s->echo_key,
                                        .peer = net_peer_key(&s->from),
                                        .seed = draw(s)};
    assert_int_equal(coap_endpoint_new(&setup, s->f->now_ms, &e), OK);
    assert_int_equal(coap_endpoint_datagram(e, datagram, s->f->now_ms, &ev), OK);
    if (ev.kind == COAP_EVENT_REQUEST) {
        uint8_t large[600] = {0};
        struct coap_answer a = {.code = COAP_CONTENT, .payload = slice_of(large, sizeof(large))};
        assert_int_equal(coap_endpoint_observe(e, ev.id, 1, s->f->now_ms),
                         ev.observe == COAP_OBSERVE_REGISTER ? ERR_DENIED : ERR_PROTOCOL);
        assert_int_equal(coap_endpoint_respond(e, ev.id, &a, s->f->now_ms), OK);
    }
    while ((n = coap_endpoint_output(e, out, sizeof(out))) > 0) {
        spoofed_transmit(NULL, &s->from, slice_of(out, n));
    }
    (void)coap_endpoint_free(e);
}

static void hear(struct spoofer *s, uint64_t i)
{
    uint8_t bytes[512];
    unsigned kind = (unsigned)(i % (KINDS + 1));
    static const char *const names[HEARERS] = {"DTLS", "OSCORE", "in the clear"};
    struct slice datagram = spoofed(s, kind, bytes);
    s->from = anybody(s);
    s->n_in = datagram.n;
    s->n_out = 0;
    s->hearer = (unsigned)(i / (KINDS + 1) % HEARERS);
    if (s->hearer == HEARERS - 1) {
        hear_plain(s, datagram);
    } else {
        struct coap_door *d = s->hearer == 0 ? s->dtls : s->oscore;
        coap_door_datagram(d, &s->from, datagram, s->f->now_ms);
        s->n_at_doors++;
    }
    if (s->n_out > UNPROVEN_TIMES * s->n_in) {
        fail_msg("%s, kind %u: %zu bytes for %zu", names[s->hearer], kind, s->n_out, s->n_in);
    }
    s->bytes_in += s->n_in;
    s->bytes_out += s->n_out;
}

static void turn(struct spoofer *s)
{
    struct fortress *f = s->f;
    f->now_ms += 10;
    f->wall_ms += 10;
    worker_turn(f->workers[0], f->now_ms, f->wall_ms);
    coap_door_turn(s->dtls, f->now_ms, f->wall_ms);
    coap_door_turn(s->oscore, f->now_ms, f->wall_ms);
}

static uint64_t n_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void nobody_gets_more_than_three_times(void **state)
{
    struct fortress *f = *state;
    struct spoofer *s = mem_zalloc(sizeof(*s));
    struct entrance coap = {.name = "coap", .protocol = EVENT_PROTOCOL_coap, .is_oscore = true};
    uint64_t n = n_of("SALLYPORT_SPOOFED", N_SPOOFED);
    assert_non_null(s);
    the_spoofer = s;
    *s = (struct spoofer){.f = f, .seed = 88172645463325252ULL, .echo_key = {7, 8}};
    s->plain_limits = coap_limits_default();
    s->dtls = open_door(s, &f->coaps, 2);
    s->oscore = open_door(s, &coap, 3);
    uint64_t used[HALVES] = {0};
    for (uint64_t i = 0; i < n; i++) {
        hear(s, i);
        if (i % BATCH == 0) {
            turn(s);
        }
        if (i == n / 10 || i == n - 1) { /* what is made once is there by then */
            used[i == n - 1 ? 1 : 0] = mem_used();
        }
    }
    for (int i = 0; i < 600; i++) { /* the last intervals are told */
        turn(s);
    }
    uint64_t n_answers = 0;
    for (int i = 0; i < HEARERS; i++) {
        n_answers += s->n_answers[i];
        assert_true(s->n_answers[i] > n / 20); /* each did say something */
    }
    print_message("%" PRIu64 " datagrams: %" PRIu64 " bytes in, %" PRIu64 " answers of %" PRIu64
                  " bytes; memory %+" PRId64 "\n",
                  n, s->bytes_in, n_answers, s->bytes_out, (int64_t)(used[1] - used[0]));
    const struct counters *c = &f->counters[0];
    assert_true(used[1] <= used[0] + GROWN_MAX);
    assert_int_equal(coap_door_count(s->dtls) + coap_door_count(s->oscore), 0);
    assert_true(c->coap_worst_per_mille <= UNPROVEN_TIMES * UNPROVEN_PER_MILLE);
    assert_true(c->coap_worst_per_mille > 0);
    assert_true(c->coap_out_bytes <= UNPROVEN_TIMES * c->coap_in_bytes);
    assert_int_equal(c->coap_withheld, 0); /* nothing above even wants to */
    assert_int_equal(c->coap_unproven, s->n_at_doors);
    const struct event *e = find_event(f, EVENT_amplification);
    assert_non_null(e);
    assert_true(strstr(e->reason, "many networks") != NULL);
    /* a few lines for all of it: each kind of refusal once a second, the doubt once a minute */
    assert_true(f->n_events < EVENTS_MAX);
    coap_door_free(s->dtls);
    coap_door_free(s->oscore);
    (void)mem_free(s);
}

/* One network is named, with how many; who proves its address is nobody's suspect. */
static void one_network_is_named(void **state)
{
    struct fortress *f = *state;
    struct spoofer *s = mem_zalloc(sizeof(*s));
    uint8_t bytes[512];
    assert_non_null(s);
    the_spoofer = s;
    *s = (struct spoofer){.f = f, .seed = 5};
    s->dtls = open_door(s, &f->coaps, 2);
    s->oscore = open_door(s, &f->coaps, 3);
    for (uint32_t i = 0; i < SPOOF_SUSPECT; i++) {
        s->from = (struct net_peer){.address = {[10] = 0xff, [11] = 0xff, 192, 0, 2, (uint8_t)i},
                                    .port = 1000 + i};
        struct slice datagram = spoofed(s, 0, bytes);
        coap_door_datagram(s->dtls, &s->from, datagram, f->now_ms);
    }
    for (unsigned i = 0; i < 2 * SPOOF_INTERVAL_MS / 10 + 1; i++) {
        turn(s);
    }
    assert_int_equal(count_events(f, EVENT_amplification), 1);
    const struct event *e = find_event(f, EVENT_amplification);
    assert_string_equal(e->target, "192.0.2.0/24");
    assert_int_equal(e->count, SPOOF_SUSPECT);
    assert_true(strstr(e->peer, "192.0.2.") != NULL);
    assert_true(strstr(e->reason, "`from`") != NULL); /* the fix is not cut off */
    coap_door_free(s->dtls);
    coap_door_free(s->oscore);
    (void)mem_free(s);
}

/* A network repeats now and then; a burst is one event in ten seconds, with all of them. */
static void repeated_records_are_told_once(void **state)
{
    struct fortress *f = *state;
    struct dtls_handler *h = &f->fakes[0].handler;
    assert_true(link_device(f, 0, 1, "dev1"));
    for (unsigned i = 0; i < REPLAYS_BURST - 1; i++) {
        h->replayed(h->ctx, 1);
    }
    assert_int_equal(count_events(f, EVENT_replay), 0);
    pass(f, REPLAYS_INTERVAL_MS); /* few in an interval are forgotten */
    for (unsigned i = 0; i < REPLAYS_BURST * 10; i++) {
        h->replayed(h->ctx, 1);
    }
    assert_int_equal(count_events(f, EVENT_replay), 1);
    const struct event *e = find_event(f, EVENT_replay);
    assert_int_equal(e->count, REPLAYS_BURST);
    assert_string_equal(e->principal, "dev1");
    pass(f, REPLAYS_INTERVAL_MS);
    for (unsigned i = 0; i < REPLAYS_BURST; i++) {
        h->replayed(h->ctx, 1);
    }
    assert_int_equal(count_events(f, EVENT_replay), 2);
    assert_int_equal(find_event(f, EVENT_replay)->count, REPLAYS_BURST * 10);
    h->replayed(h->ctx, 99); /* whose association has ended meanwhile */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(repeated_records_are_told_once, fortress_open,
                                        fortress_close),
        cmocka_unit_test_setup_teardown(one_network_is_named, fortress_open, fortress_close),
        cmocka_unit_test_setup_teardown(nobody_gets_more_than_three_times, fortress_open,
                                        fortress_close),
    };
    if (crypto_prepare() != OK) { /* the library's memory counts, too */
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
