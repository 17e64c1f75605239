#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/cli/client_load_private.h"
#include "base/mem.h"
#include "base/scope.h"

enum { N_PUBLISHERS = 3, N_EACH = 4, WINDOW = 5, ERROR_BYTES = 512 };

/* Three publishers and the one subscriber of a fan-in, all connected to nobody. */
struct plant {
    struct cli cli;
    char error[ERROR_BYTES];
    struct load_order order;
    struct load load;
    struct conn conns[N_PUBLISHERS + 1];
    struct conn *dirty[2 * (N_PUBLISHERS + 1)];
    struct seen seen[N_PUBLISHERS + 1];
    uint8_t *bytes; /* what the server passes on: N_EACH messages of each */
    size_t n_bytes;
};

static struct conn *subscriber(struct plant *p)
{
    return &p->conns[N_PUBLISHERS];
}

static void plant_begin(struct plant *p, enum mqtt_version version, uint8_t qos, uint32_t payload_n)
{
    *p = (struct plant){.order = {.prefix = "bench/1",
                                  .shape = LOAD_FAN_IN,
                                  .version = version,
                                  .n_publishers = N_PUBLISHERS,
                                  .n_subscribers = 1,
                                  .payload_n = payload_n,
                                  .window = WINDOW,
                                  .qos = qos}};
    p->cli = (struct cli){.program = "t", .err = fmemopen(p->error, sizeof(p->error), "w")};
    assert_non_null(p->cli.err);
    p->load = (struct load){.cli = &p->cli,
                            .o = &p->order,
                            .conns = p->conns,
                            .n_conns = COUNT_OF(p->conns),
                            .fan = 1,
                            .dirty = p->dirty,
                            .seen = p->seen,
                            .seen_by_pub = 1,
                            .is_sending = true,
                            .n_limit = UINT64_MAX,
                            .code = GO_ON};
    size_t cap = (size_t)N_PUBLISHERS * N_EACH * (payload_n + 64);
    p->bytes = mem_zalloc(cap);
    assert_non_null(p->bytes);
    for (uint32_t i = 0; i <= N_PUBLISHERS; i++) {
        p->conns[i] = (struct conn){.load = &p->load,
                                    .index = i % N_PUBLISHERS,
                                    .is_publisher = i < N_PUBLISHERS,
                                    .phase = READY};
        assert_int_equal(load_make_packet(&p->conns[i], payload_n), OK);
    }
    struct wr w = wr_into(p->bytes, cap);
    for (uint32_t i = 0; i < N_PUBLISHERS * N_EACH; i++) {
        load_put_publish(&p->conns[i % N_PUBLISHERS], &w);
    }
    assert_int_equal(wr_done(&w, &p->n_bytes), OK);
}

static void plant_end(struct plant *p)
{
    for (size_t i = 0; i < COUNT_OF(p->conns); i++) {
        mem_free(p->conns[i].packet);
        buf_done(&p->conns[i].rest);
        buf_done(&p->conns[i].acks);
    }
    mem_free(p->bytes);
    (void)fclose(p->cli.err);
}

/* In a block of their own, so that the sanitizer sees a read past what came. */
static void take(struct plant *p, size_t from, size_t n)
{
    uint8_t *exact = mem_alloc(n);
    assert_non_null(exact);
    slice_copy(exact, slice_of(&p->bytes[from], n));
    load_take(subscriber(p), slice_of(exact, n));
    mem_free(exact);
}

static void assert_all_came(struct plant *p)
{
    enum { ACK_BYTES = 4 };
    const struct load_result *r = &p->load.r;
    const struct conn *sub = subscriber(p);
    assert_int_equal(p->load.code, GO_ON);
    assert_int_equal(r->delivered, N_PUBLISHERS * N_EACH);
    assert_int_equal(r->duplicates + r->misordered + r->foreign, 0);
    assert_int_equal(sub->rest.n, 0);
    assert_int_equal(sub->acks.n, p->order.qos > 0 ? N_PUBLISHERS * N_EACH * ACK_BYTES : 0);
    for (size_t i = 0; i < sub->acks.n / ACK_BYTES; i++) { /* of publishers in turns */
        const uint8_t expected[ACK_BYTES] = {p->order.qos == 1 ? 0x40 : 0x50, 2, 0,
                                             (uint8_t)(i / N_PUBLISHERS + 1)};
        assert_memory_equal(&sub->acks.p[i * ACK_BYTES], expected, sizeof(expected));
    }
}

static const struct {
    enum mqtt_version version;
    uint8_t qos;
    uint32_t payload_n; /* so that the length takes one byte, two and three */
} loads[] = {{MQTT_V311, 0, LOAD_PAYLOAD_MIN},
             {MQTT_V5, 0, 64},
             {MQTT_V311, 1, 256},
             {MQTT_V5, 2, 300},
             {MQTT_V311, 1, 20000},
             {MQTT_V5, 0, 20000}};

static void test_bytes_in_pieces(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 2, 3, 5, 64, 100, 1000, 20000, SIZE_MAX};
    for (size_t i = 0; i < COUNT_OF(loads) * COUNT_OF(pieces); i++) {
        struct plant p;
        size_t piece = pieces[i % COUNT_OF(pieces)], which = i / COUNT_OF(pieces);
        plant_begin(&p, loads[which].version, loads[which].qos, loads[which].payload_n);
        for (size_t at = 0; at < p.n_bytes; at += piece < p.n_bytes ? piece : p.n_bytes) {
            take(&p, at, piece < p.n_bytes - at ? piece : p.n_bytes - at);
        }
        assert_all_came(&p);
        plant_end(&p);
    }
}

/* Two pieces that meet at each byte, and nothing between them once. */
static void test_bytes_split_anywhere(void **state)
{
    (void)state;
    for (size_t which = 0; which < COUNT_OF(loads); which++) {
        size_t step = loads[which].payload_n > 1000 ? 997 : 1, n = 1;
        for (size_t at = 0; at <= n; at += step) {
            struct plant p;
            plant_begin(&p, loads[which].version, loads[which].qos, loads[which].payload_n);
            n = p.n_bytes;
            take(&p, 0, at);
            take(&p, at, 0);
            take(&p, at, n - at);
            assert_all_came(&p);
            plant_end(&p);
        }
    }
}

static void test_what_is_wrong_is_counted(void **state)
{
    (void)state;
    struct plant p;
    plant_begin(&p, MQTT_V311, 0, 64);
    size_t n = p.n_bytes, one = n / N_PUBLISHERS / N_EACH;
    take(&p, 0, n);
    take(&p, 0, n);
    assert_int_equal(p.load.r.duplicates, N_PUBLISHERS * N_EACH);
    plant_end(&p);
    plant_begin(&p, MQTT_V311, 0, 64);
    take(&p, one * N_PUBLISHERS, one); /* a publisher's second before its first */
    take(&p, 0, one);
    assert_int_equal(p.load.r.misordered, 1);
    p.bytes[one - 64] = 1; /* the index */
    take(&p, 0, one);
    p.bytes[one - 64] = 0;
    p.bytes[one - 64 + 4] = 1; /* a number that was never sent */
    take(&p, 0, one);
    assert_int_equal(p.load.r.foreign, 2);
    assert_int_equal(p.load.r.delivered, 2);
    p.order.payload_n = 63; /* longer than it was sent */
    take(&p, 0, one);
    assert_int_equal(p.load.r.foreign, 3);
    plant_end(&p);
}

/* A server says so of a message that it has sent before; the first of them that comes counts. */
static void test_a_message_may_be_marked_as_sent_again(void **state)
{
    (void)state;
    struct plant p;
    plant_begin(&p, MQTT_V311, 1, 64);
    size_t one = p.n_bytes / N_PUBLISHERS / N_EACH;
    p.bytes[0] |= 8;
    take(&p, 0, one);
    assert_int_equal(p.load.code, GO_ON);
    assert_int_equal(p.load.r.delivered, 1);
    assert_int_equal(subscriber(&p)->acks.n, 4);
    plant_end(&p);
}

/* The window of the first publisher is under way, ids 1 to 4; of QoS 2 the first two were received
 * before. What it says then to what comes, and what is counted. */
static const struct ack_case {
    const char *name;
    uint8_t qos, first, id, expected_says;
    uint64_t unasked, n_acked, n_received;
    bool is_end, is_by_reader;
} ack_cases[] = {
    {"the first", .qos = 1, .first = 0x40, .id = 1, .n_acked = 1},
    {"not the first", .qos = 1, .first = 0x40, .id = 2, .is_end = true},
    {"the last but not the first", .qos = 1, .first = 0x40, .id = N_EACH, .is_end = true},
    {"one more than were sent", .qos = 1, .first = 0x40, .id = N_EACH + 1, .unasked = 1},
    {"no id", .qos = 1, .first = 0x40, .id = 0, .unasked = 1},
    {"PUBREC of QoS 1", .qos = 1, .first = 0x50, .id = 1, .unasked = 1},
    {"PUBCOMP of QoS 1", .qos = 1, .first = 0x70, .id = 1, .unasked = 1},
    {"PUBACK of QoS 0", .qos = 0, .first = 0x40, .id = 1, .unasked = 1},
    {"PUBREC of QoS 0", .qos = 0, .first = 0x50, .id = 1, .unasked = 1},
    {"PUBACK of QoS 2", .qos = 2, .first = 0x40, .id = 1, .unasked = 1, .n_received = 2},
    {"PUBREC in its turn", .qos = 2, .first = 0x50, .id = 3, .expected_says = 0x62,
     .n_received = 3},
    {"PUBREC out of turn", .qos = 2, .first = 0x50, .id = 4, .is_end = true, .n_received = 2},
    {"PUBREC again", .qos = 2, .first = 0x50, .id = 2, .unasked = 1, .n_received = 2},
    {"PUBREC of what was not sent", .qos = 2, .first = 0x50, .id = N_EACH + 1, .unasked = 1,
     .n_received = 2},
    {"PUBCOMP in its turn", .qos = 2, .first = 0x70, .id = 1, .n_acked = 1, .n_received = 2},
    {"PUBCOMP out of turn", .qos = 2, .first = 0x70, .id = 2, .is_end = true, .n_received = 2},
    {"PUBCOMP before PUBREC", .qos = 2, .first = 0x70, .id = 3, .unasked = 1, .n_received = 2},
    {"PUBACK to who sends nothing", .qos = 1, .first = 0x40, .id = 1, .unasked = 1,
     .is_by_reader = true},
};

static void test_what_was_not_sent_is_not_acknowledged(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ack_cases); i++) {
        const struct ack_case *k = &ack_cases[i];
        struct plant p;
        plant_begin(&p, MQTT_V311, k->qos, 64);
        struct conn *c = k->is_by_reader ? subscriber(&p) : &p.conns[0];
        c->n_received = k->qos == 2 ? 2 : 0;
        const uint8_t ack[] = {k->first, 2, 0, k->id};
        print_message("%s\n", k->name);
        load_take(c, slice_of(ack, sizeof(ack)));
        assert_int_equal(p.load.code, k->is_end ? CLI_FAILED : GO_ON);
        assert_int_equal(p.load.r.unasked, k->unasked);
        assert_int_equal(client_load_is_right(&p.load.r), k->unasked == 0);
        assert_int_equal(c->n_acked, k->n_acked);
        assert_int_equal(c->n_received, k->n_received);
        assert_int_equal(c->acks.n > 0 ? c->acks.p[0] : 0, k->expected_says);
        plant_end(&p);
    }
}

/* Ids begin anew behind the last one; there is room for the window, before and behind it. */
static void test_acknowledgements_go_round_with_the_ids(void **state)
{
    (void)state;
    struct plant p;
    plant_begin(&p, MQTT_V311, 1, 64);
    struct conn *c = &p.conns[0];
    c->n_acked = 3 * (uint64_t)UINT16_MAX - 2; /* ids 65534, 65535, 1, 2 */
    c->n_sent = c->n_acked + N_EACH;
    static const uint16_t ids[] = {3, 65533, 65534, 65535, 1, 2, 3, 0};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        const uint8_t ack[] = {0x40, 2, (uint8_t)(ids[i] >> 8), (uint8_t)ids[i]};
        load_take(c, slice_of(ack, sizeof(ack)));
    }
    assert_int_equal(p.load.code, GO_ON);
    assert_int_equal(c->n_acked, c->n_sent);
    assert_int_equal(p.load.r.unasked, 4);
    plant_end(&p);
}

static const struct {
    const char *name;
    uint8_t bytes[6];
    size_t n;
} breaches[] = {{"no such type", {0}, 1},
                {"a length of five bytes", {0x30, 0xff, 0xff, 0xff, 0xff, 1}, 6},
                {"a length over the limit", {0x30, 0xff, 0xff, 0x7f}, 4},
                {"a length of more bytes than it takes", {0x30, 0x85, 0, 0, 1, 'a'}, 6},
                {"DUP of QoS 0", {0x38, 2, 0, 0}, 4},
                {"QoS 3", {0x36, 2, 0, 0}, 4},
                {"flags of a PUBACK", {0x41, 2, 0, 1}, 4},
                {"no flags of a PUBREL", {0x60, 2, 0, 1}, 4},
                {"a PINGRESP", {0xd0, 0}, 2}};

/* At once, and when it comes byte by byte behind a message. */
static void test_what_is_no_mqtt_ends_the_run(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(breaches); i++) {
        struct plant p;
        size_t which = i / 2;
        plant_begin(&p, MQTT_V311, 0, 64);
        if (i % 2 == 0) {
            load_take(subscriber(&p), slice_of(breaches[which].bytes, breaches[which].n));
        }
        take(&p, 0, i % 2 == 1 ? p.n_bytes : 0);
        for (size_t at = 0; i % 2 == 1 && at < breaches[which].n; at++) {
            load_take(subscriber(&p), slice_of(&breaches[which].bytes[at], 1));
        }
        assert_int_equal(p.load.code, CLI_FAILED);
        plant_end(&p);
    }
}

static const struct room_case {
    const char *name;
    uint64_t n_sent, n_acked, n_delivered, n_limit, n_owed, expected;
    uint32_t fan, rate;
    uint8_t qos;
    enum load_shape shape;
    bool is_quiet;
} rooms[] = {
    {"a whole window", .expected = WINDOW},
    {"one is left", .n_sent = WINDOW - 1, .expected = 1},
    {"none", .n_sent = WINDOW},
    {"one came", .n_sent = WINDOW, .n_delivered = 1, .expected = 1},
    {"two of three receivers", .n_sent = WINDOW, .n_delivered = 2, .fan = 3},
    {"all three", .n_sent = WINDOW, .n_delivered = 3, .fan = 3, .expected = 1},
    {"five of six", .n_sent = WINDOW, .n_delivered = 5, .fan = 3, .expected = 1},
    {"six of six", .n_sent = WINDOW, .n_delivered = 6, .fan = 3, .expected = 2},
    {"came, not acknowledged", .n_sent = WINDOW, .n_delivered = WINDOW, .qos = 1},
    {"one acknowledged", .n_sent = WINDOW, .n_delivered = WINDOW, .n_acked = 1, .qos = 1,
     .expected = 1},
    {"all that was asked for but one", .n_limit = 1, .expected = 1},
    {"all that was asked for", .n_sent = 1, .n_limit = 1},
    {"the time is over", .is_quiet = true},
    {"none is due", .rate = 1000, .n_sent = 2, .n_delivered = 2},
    {"two are due", .rate = 2000, .n_sent = 2, .n_delivered = 2, .expected = 2},
    {"what is owed is sent later, too", .shape = LOAD_LATENCY, .is_quiet = true, .rate = 1,
     .n_sent = 1, .n_delivered = 1, .n_owed = 4, .expected = 3},
};

static void test_how_many_may_be_sent(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rooms); i++) {
        const struct room_case *r = &rooms[i];
        struct plant p;
        plant_begin(&p, MQTT_V311, r->qos, 64);
        struct conn *c = &p.conns[0];
        c->n_sent = p.load.n_sent = r->n_sent;
        c->n_acked = r->n_acked;
        c->n_delivered = r->n_delivered;
        c->n_owed = r->n_owed;
        p.order.shape = r->shape;
        p.order.rate = r->rate;
        p.load.fan = r->fan > 0 ? r->fan : 1;
        p.load.n_limit = r->n_limit > 0 ? r->n_limit : UINT64_MAX;
        p.load.is_sending = !r->is_quiet;
        p.load.now_us = 2500; /* two whole milliseconds */
        if (load_room(c) != r->expected) {
            fail_msg("%s: %llu", r->name, (unsigned long long)load_room(c));
        }
        c->phase = CONNECTING;
        assert_int_equal(load_room(c), 0);
        assert_int_equal(load_room(subscriber(&p)), 0);
        plant_end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_in_pieces),
        cmocka_unit_test(test_bytes_split_anywhere),
        cmocka_unit_test(test_what_is_wrong_is_counted),
        cmocka_unit_test(test_a_message_may_be_marked_as_sent_again),
        cmocka_unit_test(test_what_was_not_sent_is_not_acknowledged),
        cmocka_unit_test(test_acknowledgements_go_round_with_the_ids),
        cmocka_unit_test(test_what_is_no_mqtt_ends_the_run),
        cmocka_unit_test(test_how_many_may_be_sent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
