/*
 * coap - what a request costs between the datagram that came and the one that leaves: one door, its
 * engine and worker, over a DTLS that is none; no sockets, no disk. By hand, in an optimized build
 * with tests:
 *
 *   ninja -C build tests/bench/coap && build/tests/bench/coap [ROUNDS [ROW]]
 *   valgrind --tool=callgrind --toggle-collect=hear --toggle-collect=end_turn \
 *       build/tests/bench/coap 300 GET
 *
 * Told are the nanoseconds of one request in ROUNDS (3000) turns of 15 devices, one each.
 */
#include <time.h>

#include "service/gateway/door_bench_test.h"

enum { ROUNDS = 3000, DEVICES = LINKS_MAX - 1, PAYLOAD_BYTES = 150 };

struct row {
    const char *name;
    uint8_t code;
    bool is_written;
};

static const struct row rows[] = {
    {"GET", COAP_GET, false}, {"PUT", COAP_PUT, true}, {"POST", COAP_POST, true}};

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

__attribute__((noinline)) static void hear(struct fortress *f, uint64_t id, struct slice datagram)
{
    struct net_peer peer = peer_of(id);
    coap_door_datagram(f->doors[0], &peer, datagram, f->now_ms);
}

__attribute__((noinline)) static void end_turn(struct fortress *f)
{
    worker_turn(f->workers[0], f->now_ms, f->wall_ms);
    coap_door_turn(f->doors[0], f->now_ms, f->wall_ms);
}

static void role_opens(struct fortress *f)
{
    struct role *r = NULL;
    assert_int_equal(policy_add_role(f->policy, slice_text("hot"), &r), OK);
    grant(r, POLICY_PUBLISH, "s/${device}/+", true, 2);
    grant(r, POLICY_SUBSCRIBE, "s/${device}/#", false, 2);
    struct role_limits *l = role_limits(r);
    l->publish_rate = l->publish_burst = l->replay_rate = 1000000;
    add_device(f, "hot", "hot");
    publish_realm(f);
}

static void run(struct fortress *f, const struct row *row, unsigned n_rounds)
{
    char payload[PAYLOAD_BYTES + 1] = {0};
    memset(payload, 'x', PAYLOAD_BYTES);
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/hot/0")};
    put.payload = slice_text(payload);
    EXPECT_CODE(asks(f, 0, 1, &put), COAP_CREATED);
    struct ask a = {ASK(COAP_CON, row->code, "/mq/s/hot/0")};
    a.payload = slice_text(row->is_written ? payload : "");
    double ns = 0;
    forget_sent(f);
    for (unsigned i = 0; i < n_rounds; i++) {
        f->now_ms += 10;
        f->wall_ms += 10;
        for (uint64_t id = 1; id <= DEVICES; id++) {
            uint8_t bytes[DATAGRAM];
            size_t n = build(f, &a, bytes, sizeof(bytes));
            double from = now_ns();
            hear(f, id, slice_of(bytes, n));
            ns += now_ns() - from;
        }
        (void)memlog_commit(f->log);
        double from = now_ns();
        end_turn(f);
        ns += now_ns() - from;
        assert_int_equal(f->fakes[0].n_sent, DEVICES);
        forget_sent(f);
        turns(f); /* the other worker */
    }
    printf("%-6s %8.0f ns a request\n", row->name, ns / n_rounds / DEVICES);
}

int main(int argc, char **argv)
{
    unsigned n_rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : ROUNDS;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (argc > 2 && strcmp(argv[2], rows[i].name) != 0) {
            continue;
        }
        void *state = NULL;
        (void)fortress_open(&state);
        struct fortress *f = state;
        role_opens(f);
        for (uint64_t id = 1; id <= DEVICES; id++) {
            assert_true(link_device(f, 0, id, "hot"));
        }
        run(f, &rows[i], n_rounds > 0 ? n_rounds : 1);
        (void)fortress_close(&state);
    }
    return 0;
}
