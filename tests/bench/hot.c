/*
 * hot - what a message costs between the bytes that came and the bytes that leave: one worker,
 * without sockets, TLS and the disk. By hand, in an optimized build with tests:
 *
 *   ninja -C build tests/bench/hot && build/tests/bench/hot [ROUNDS [ROW]]
 *   valgrind --tool=callgrind '--toggle-collect=load_in*' '--toggle-collect=load_out*' \
 *       build/tests/bench/hot 1 "fan-in QoS 0"
 *
 * Told are the nanoseconds of one delivery: the least and the median of ROUNDS (300) short rounds.
 * A machine that others use, too, changes the median more than the least; the instructions that
 * callgrind counts depend on nobody. tests/bench/ab runs two of these programs in turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/msg_pool.h"
#include "service/broker/worker_bench_test.h"

enum {
    ROUNDS = 300,
    ROUNDS_MAX = 10000,
    READS = 2,  /* of each publisher in a round */
    BATCH = 20, /* messages in one read, of one topic */
    PAYLOAD = 64,
    TOPICS = 50,
    MANY = 50, /* publishers of a fan-in, */
    FAN = 100, /* subscribers of a fan-out */
    BYTES = 16 * 1024,
    STEP_MS = 10
};

struct row {
    const char *name;
    enum mqtt_version version;
    uint8_t qos;
    unsigned n_publishers, n_subscribers;
    const char *filter; /* NULL: the topics one by one */
    bool is_new;        /* no topic ever comes again */
    bool is_pairs;      /* each publisher has a topic, and a subscriber, of its own */
    unsigned n_filters; /* as many filters, of which a message meets one; 0: see `filter` */
};

static const struct row rows[] = {
    {"fan-in QoS 0", MQTT_V311, 0, MANY, 1, "t/hot/#", false, false, 0},
    {"fan-in QoS 0, MQTT 5", MQTT_V5, 0, MANY, 1, "t/hot/#", false, false, 0},
    {"fan-in QoS 0, exact", MQTT_V311, 0, MANY, 1, NULL, false, false, 0},
    {"fan-in QoS 0, new topics", MQTT_V311, 0, MANY, 1, "t/hot/#", true, false, 0},
    {"fan-in QoS 1", MQTT_V311, 1, MANY, 1, "t/hot/#", false, false, 0},
    {"fan-in QoS 2", MQTT_V311, 2, MANY, 1, "t/hot/#", false, false, 0},
    {"pairs QoS 0", MQTT_V311, 0, TOPICS, TOPICS, NULL, false, true, 0},
    {"pairs QoS 1", MQTT_V311, 1, TOPICS, TOPICS, NULL, false, true, 0},
    {"pairs QoS 2", MQTT_V311, 2, TOPICS, TOPICS, NULL, false, true, 0},
    {"fan-out QoS 0", MQTT_V311, 0, 1, FAN, "t/hot/#", false, false, 0},
    {"fan-out QoS 1", MQTT_V311, 1, 1, FAN, "t/hot/#", false, false, 0},
    {"fan-out QoS 2", MQTT_V311, 2, 1, FAN, "t/hot/#", false, false, 0},
    {"subscriptions QoS 0", MQTT_V311, 0, 10, FAN, NULL, false, false, 200000},
};

/* A party, and what it says next. */
struct actor {
    struct party party; /* first */
    uint8_t bytes[BYTES];
    size_t n;
};

struct stage {
    struct bench *b;
    const struct row *row;
    struct actor *actors; /* the subscribers, and behind them the publishers */
    size_t n_actors;
    char topics[TOPICS][32], payload[PAYLOAD + 1];
    uint8_t *in, *out; /* BYTES, OUT: of all actors */
    uint16_t packet_id;
    uint64_t n_published, n_delivered, dice;
    double ns;
};

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- birth ---- */

static void join(struct stage *s, struct actor *a, const char *name, size_t n)
{
    char id[32];
    (void)snprintf(id, sizeof(id), "hot-%zu", n);
    struct hello h = {.client_id = id, .version = s->row->version};
    a->party.bytes = s->out;
    connects(s->b, &a->party, name, &h);
    settle(s->b);
    assert(a->party.conn != 0 && a->party.worker == 0);
    a->party.n = 0;
}

/* Half of them without wildcard, in the order of `sallyport bench`. */
static void subscribe_share(struct stage *s, struct actor *a, unsigned n)
{
    enum { KINDS = 4 };
    static const char *const ends[KINDS] = {"x", "x", "+", "#"};
    char filter[32];
    for (unsigned i = n * KINDS; i < s->row->n_filters; i += s->row->n_subscribers * KINDS) {
        for (unsigned k = 0; k < KINDS; k++) {
            (void)snprintf(filter, sizeof(filter), "t/hot/%08x/%s", i + k, ends[k]);
            subscribes(s->b, &a->party, filter, s->row->qos);
        }
        settle(s->b);
        a->party.n = 0;
    }
}

static void subscribe_all(struct stage *s, struct actor *a, unsigned n)
{
    if (s->row->n_filters > 0) {
        subscribe_share(s, a, n);
        return;
    }
    unsigned first = s->row->is_pairs ? n : 0;
    unsigned end = s->row->filter != NULL || s->row->is_pairs ? first + 1 : TOPICS;
    for (unsigned i = first; i < end; i++) {
        const char *filter = s->row->filter == NULL ? s->topics[i] : s->row->filter;
        subscribes(s->b, &a->party, filter, s->row->qos);
        settle(s->b);
        a->party.n = 0;
    }
}

static void stage_open(struct stage *s, const struct row *row)
{
    *s = (struct stage){.b = bench_open(),
                        .row = row,
                        .n_actors = row->n_subscribers + row->n_publishers,
                        .in = mem_alloc(BYTES),
                        .out = mem_alloc(OUT)};
    s->actors = mem_array(s->n_actors, sizeof(*s->actors));
    assert(s->actors != NULL && s->in != NULL && s->out != NULL);
    const char *name = device_at(s->b, 0, 0);
    struct role_limits *l = role_limits(s->b->any);
    l->publish_rate = l->publish_burst = 5000000;
    l->inflight = 2000;
    l->subscriptions = 10000;
    realm_changes(s->b);
    memset(s->payload, 'x', PAYLOAD);
    for (unsigned i = 0; i < TOPICS; i++) {
        (void)snprintf(s->topics[i], sizeof(s->topics[i]), "t/hot/1f2e3d/%u", i);
    }
    for (size_t i = 0; i < s->n_actors; i++) {
        join(s, &s->actors[i], name, i);
        if (i < row->n_subscribers) {
            subscribe_all(s, &s->actors[i], (unsigned)i);
        }
    }
}

static void stage_close(struct stage *s)
{
    for (size_t i = 0; i < s->n_actors; i++) {
        is_cut(s->b, &s->actors[i].party);
    }
    bench_close(s->b);
    mem_free(s->actors);
    mem_free(s->in);
    mem_free(s->out);
}

/* ---- the parties ---- */

static void say_ack(struct actor *a, enum mqtt_type type, uint16_t packet_id)
{
    struct wr w = wr_into(a->bytes + a->n, BYTES - a->n);
    wr_u8(&w, (uint8_t)((unsigned)type << 4 | (type == MQTT_PUBREL ? 2u : 0u)));
    wr_u8(&w, 2);
    wr_u16(&w, packet_id);
    assert(wr_ok(&w));
    a->n += w.at;
}

static void say_publishes(struct stage *s, struct actor *a)
{
    char own[40];
    /* Publishers speak in turns, so in pairs each has always the same topic. */
    bool is_own = s->row->is_new || s->row->n_filters > 0;
    const char *topic = is_own ? own : s->topics[s->n_published / BATCH % TOPICS];
    struct wr w = wr_into(a->bytes, BYTES);
    for (unsigned i = 0; i < BATCH; i++) {
        (void)snprintf(own, sizeof(own), "t/hot/1f2e3d/%llu",
                       (unsigned long long)(s->n_published + i));
        if (s->row->n_filters > 0) {
            s->dice = s->dice * 6364136223846793005 + 1442695040888963407;
            (void)snprintf(own, sizeof(own), "t/hot/%08x/x",
                           (unsigned)((s->dice >> 33) % s->row->n_filters));
        }
        s->packet_id = s->packet_id == UINT16_MAX ? 1 : (uint16_t)(s->packet_id + 1);
        write_publish(&w, s->row->version, topic, s->payload, s->row->qos, s->packet_id, false);
    }
    assert(wr_ok(&w));
    a->n = w.at;
    s->n_published += BATCH;
}

static void hear_publish(struct stage *s, struct actor *a, struct slice body)
{
    struct rd r = rd_from(body);
    s->n_delivered++;
    (void)rd_block16(&r);
    if (s->row->qos > 0) {
        say_ack(a, s->row->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, rd_u16(&r));
    }
}

static void hear(struct stage *s, struct actor *a, size_t n)
{
    struct slice in = slice_of(s->out, n), body;
    struct mqtt_fixed f;
    while (mqtt_packet_cut(&in, OUT, NULL, &f, &body) == OK) {
        if (f.type == MQTT_PUBLISH) {
            hear_publish(s, a, body);
        } else if (f.type == MQTT_PUBREC || f.type == MQTT_PUBREL) {
            struct rd r = rd_from(body);
            say_ack(a, f.type == MQTT_PUBREC ? MQTT_PUBREL : MQTT_PUBCOMP, rd_u16(&r));
        }
    }
}

/* ---- the load ---- */

__attribute__((noinline)) static void load_in(struct stage *s, uint64_t conn, struct slice bytes)
{
    worker_input(s->b->workers[0], conn, bytes, s->b->now_ms);
}

__attribute__((noinline)) static size_t load_out(struct stage *s, uint64_t conn)
{
    return worker_output(s->b->workers[0], conn, s->out, OUT, NULL, s->b->now_ms);
}

/* What everybody has to say, and what they get for it. False: nobody said anything. */
static bool turn_of_all(struct stage *s)
{
    bool has_said = false;
    uint64_t conn;
    for (size_t i = 0; i < s->n_actors; i++) {
        struct actor *a = &s->actors[i];
        struct slice bytes = slice_of(s->in, a->n);
        slice_copy(s->in, slice_of(a->bytes, a->n));
        a->n = 0;
        if (bytes.n > 0) {
            has_said = true;
            double at = now_ns();
            load_in(s, a->party.conn, bytes);
            s->ns += now_ns() - at;
        }
    }
    while ((conn = worker_next_dirty(s->b->workers[0])) != 0) {
        struct actor *a = worker_transport(s->b->workers[0], conn);
        double at = now_ns();
        size_t n = load_out(s, conn);
        s->ns += now_ns() - at;
        hear(s, a, n);
    }
    return has_said;
}

/* Nanoseconds of one delivery. */
static double round_of(struct stage *s)
{
    uint64_t n = s->n_delivered;
    s->ns = 0;
    for (unsigned i = 0; i < READS; i++) {
        s->b->now_ms += STEP_MS;
        s->b->wall_ms += STEP_MS;
        worker_turn(s->b->workers[0], s->b->now_ms, s->b->wall_ms);
        for (size_t p = s->row->n_subscribers; p < s->n_actors; p++) {
            say_publishes(s, &s->actors[p]);
        }
        while (turn_of_all(s)) {
        }
    }
    uint64_t n_due = (uint64_t)READS * BATCH * s->row->n_publishers *
                     (s->row->is_pairs || s->row->n_filters > 0 ? 1 : s->row->n_subscribers);
    assert(s->n_delivered - n == n_due);
    (void)n_due;
    return s->ns / (double)(s->n_delivered - n);
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void measure(const struct row *row, size_t n_rounds)
{
    static double ns[ROUNDS_MAX];
    struct stage s;
    stage_open(&s, row);
    (void)round_of(&s); /* memory is there now, and names are known */
    for (size_t i = 0; i < n_rounds; i++) {
        ns[i] = round_of(&s);
    }
    qsort(ns, n_rounds, sizeof(ns[0]), by_size);
    printf("%-24s %8.1f %8.1f\n", row->name, ns[0], ns[n_rounds / 2]);
    stage_close(&s);
}

int main(int argc, char **argv)
{
    size_t n_rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : ROUNDS;
    if (n_rounds == 0 || n_rounds > ROUNDS_MAX) {
        return 2;
    }
    msg_pool_open(NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (argc < 3 || strcmp(argv[2], rows[i].name) == 0) {
            measure(&rows[i], n_rounds);
        }
    }
    return 0;
}
