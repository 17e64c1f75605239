/* Bad input, class by class: the verdict, the answer, and a heap that is as it was. */
#include "engine/mqtt_reject_props_test.h"
#include "engine/mqtt_reject_rows_test.h"

#include "base/heap_test.h"
#include "engine/mqtt_gate.h"
#include "engine/mqtt_server.h"
#include "wire/mqtt/connack.h"

enum { TIMES = 1000, NOW_MS = 1000 };

static const struct mqtt_wire_limits *limits_of_all(void)
{
    static struct mqtt_wire_limits limits;
    limits = reject_limits();
    return &limits;
}

/* What came of a packet. */
struct verdict {
    enum err err;
    uint8_t reason;
    uint8_t type; /* of the packet that was refused; of an open connection */
    size_t n_out;
    uint8_t out[64];
};

static void meet_gate(struct slice in, size_t step, struct verdict *ret)
{
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
    struct mqtt_fault fault = {0};
    assert_int_equal(mqtt_gate_new(limits_of_all(), REJECT_PREAUTH_BYTES, &g), OK);
    ret->err = ERR_AGAIN;
    for (size_t n = step; ret->err == ERR_AGAIN && n <= in.n; n += step) {
        struct slice part = slice_head(in, n);
        ret->err = mqtt_gate_next(g, &part, &fault);
    }
    ret->reason = fault.reason;
    ret->n_out = mqtt_gate_output(g, ret->out, sizeof(ret->out));
}

/* The CONNECT was good, and asks for a method. */
static void meet_challenge(struct slice in, size_t step, struct verdict *ret)
{
    static const uint8_t connect[] = {0x10, 0x12, 0, 4,    'M', 'Q', 'T', 'T', 5, 2,
                                      0,    60,   4, 0x15, 0,   1,   'M', 0,   1, 'c'};
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
    struct slice hello = slice_of(connect, sizeof(connect));
    struct slice data;
    struct mqtt_fault fault = {0};
    assert_int_equal(mqtt_gate_new(limits_of_all(), REJECT_PREAUTH_BYTES, &g), OK);
    assert_int_equal(mqtt_gate_next(g, &hello, &fault), OK);
    assert_int_equal(mqtt_gate_challenge(g, slice_text("?")), OK);
    assert_true(mqtt_gate_output(g, ret->out, sizeof(ret->out)) > 0);
    ret->err = ERR_AGAIN;
    for (size_t n = step; ret->err == ERR_AGAIN && n <= in.n; n += step) {
        struct slice part = slice_head(in, n);
        ret->err = mqtt_gate_answer(g, &part, &fault, &data);
    }
    ret->reason = fault.reason;
    ret->n_out = mqtt_gate_output(g, ret->out, sizeof(ret->out));
}

static struct mqtt_server *open_server(enum mqtt_version version)
{
    struct mqtt_terms terms = {.version = version,
                               .packet_max = REJECT_PACKET_BYTES,
                               .client_packet_max = UINT32_MAX,
                               .receive_max = REJECT_RECEIVE_MAX,
                               .client_receive_max = UINT16_MAX,
                               .auth_method = "M",
                               .wire = limits_of_all()};
    struct mqtt_connack connack = {.code = MQTT_SUCCESS};
    struct mqtt_server *e = NULL;
    uint8_t drain[64];
    assert_int_equal(mqtt_server_new(&terms, &connack, NOW_MS, &e), OK);
    assert_true(mqtt_server_output(e, drain, sizeof(drain)) > 0);
    return e;
}

/* `step` bytes more at a time; nothing that is good is answered. */
static void meet_server(enum mqtt_version version, struct slice in, size_t step,
                        struct verdict *ret)
{
    AUTO(mqtt_server_autofree) struct mqtt_server *e = open_server(version);
    struct mqtt_fault fault = {0};
    struct mqtt_event ev;
    size_t taken = 0;
    ret->err = ERR_AGAIN;
    for (size_t n = step; n <= in.n && (ret->err == ERR_AGAIN || ret->err == OK); n += step) {
        struct slice part = slice_from(slice_head(in, n), taken);
        while ((ret->err = mqtt_server_next(e, &part, NOW_MS, &fault, &ev)) == OK) {
        }
        taken = n - part.n;
    }
    ret->reason = fault.reason;
    ret->n_out = mqtt_server_output(e, ret->out, sizeof(ret->out));
    assert_true(ret->err == ERR_AGAIN || mqtt_server_is_closing(e));
    assert_true(ret->err == ERR_AGAIN || fault.err == ret->err);
    ret->type = fault.type;
}

static void meet(const struct reject *c, size_t step, struct verdict *ret)
{
    struct slice in = slice_of(c->in, c->n_in);
    switch (c->place) {
    case REJECT_FIRST:
        meet_gate(in, step, ret);
        break;
    case REJECT_CHALLENGED:
        meet_challenge(in, step, ret);
        break;
    case REJECT_OPEN:
        meet_server(c->version, in, step, ret);
        break;
    }
}

/* The first byte of the last packet of the class: what the report names. */
static uint8_t last_type(const struct reject *c)
{
    struct slice in = slice_of(c->in, c->n_in), body;
    struct mqtt_fixed fixed;
    uint8_t first = 0;
    while (in.n > 0) {
        first = c->in[c->n_in - in.n];
        if (mqtt_packet_cut(&in, REJECT_PACKET_BYTES, NULL, &fixed, &body) != OK) {
            break;
        }
    }
    return first >> 4;
}

static void refused(const struct reject *c, size_t step)
{
    struct verdict v;
    meet(c, step, &v);
    if (v.err != c->err || v.reason != c->reason) {
        fail_msg("%s: %s 0x%02x, not %s 0x%02x", c->name, err_name(v.err), v.reason,
                 err_name(c->err), c->reason);
    }
    if (!slice_equal(slice_of(v.out, v.n_out), slice_of(c->out, c->n_out))) {
        fail_msg("%s: an answer of %zu bytes, 0x%02x .. 0x%02x", c->name, v.n_out, v.out[0],
                 v.out[v.n_out > 2 ? 2 : 0]);
    }
    if (c->place == REJECT_OPEN) {
        assert_int_equal(v.type, last_type(c));
    }
}

static int gather(void **state)
{
    static struct rejects r;
    r = rejects_new();
    rejects_add_rows(&r);
    rejects_add_props(&r);
    *state = &r;
    return 0;
}

static int drop(void **state)
{
    rejects_free(*state);
    return 0;
}

/* SPEC: MQTT5-4.13.1-1, MQTT-3.1.0-1, MQTT-3.1.0-2, MQTT-3.1.2-3, MQTT-3.1.4-1, MQTT5-3.1.2-11,
 * MQTT5-3.1.2-12, MQTT5-3.1.2-13, MQTT3-3.1.2-11, MQTT3-3.1.2-13, MQTT3-3.1.2-14, MQTT3-3.1.2-15,
 * MQTT3-3.1.2-22, MQTT3-3.1.3-8, MQTT5-1.5.5-1, MQTT5-1.5.7-1, MQTT-3.3.1-2, MQTT-3.3.1-4,
 * MQTT-3.3.2-2, MQTT5-3.3.2-8, MQTT5-3.3.2-9, MQTT5-3.3.2-14, MQTT-3.6.1-1, MQTT-3.8.1-1,
 * MQTT5-3.8.3-2, MQTT5-3.8.3-4, MQTT5-3.8.3-5, MQTT3-3.8.3-3, MQTT3-3.8.3-4, MQTT-3.10.1-1,
 * MQTT-3.10.3-2, MQTT-3.14.1-1, MQTT5-3.14.2-2, MQTT5-3.15.1-1, MQTT5-3.15.2-1, MQTT-4.7.3-1,
 * MQTT5-4.7.1-1, MQTT5-4.7.1-2, MQTT3-4.7.1-2, MQTT3-4.7.1-3, MQTT5-4.8.2-1, MQTT5-4.8.2-2,
 * MQTT5-3.1.2-30, MQTT5-4.12.0-3, MQTT5-4.12.0-5, MQTT5-4.12.0-7 */
static void every_class_is_refused(void **state)
{
    const struct rejects *r = *state;
    for (size_t i = 0; i < r->n; i++) {
        refused(&r->all[i], r->all[i].n_in);
        refused(&r->all[i], 1);
    }
}

/* ---- what stands beside the classes is good: they are refused for what their names say ---- */

static void is_taken(const char *name, enum mqtt_version version, enum reject_place place,
                     const char *text)
{
    struct reject c = {.version = version, .place = place};
    struct verdict v;
    c.n_in = reject_bytes(text, c.in);
    meet(&c, c.n_in, &v);
    if (v.err != (place == REJECT_OPEN ? ERR_AGAIN : OK)) {
        fail_msg("%s: %s 0x%02x", name, err_name(v.err), v.reason);
    }
}

static void every_property_where_it_belongs(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(prop_places); p++) {
        for (size_t i = 0; i < COUNT_OF(prop_cases); i++) {
            const struct prop_case *c = &prop_cases[i];
            char props[64];
            char in[256];
            if (prop_is_at(c->places, &prop_places[p])) {
                (void)snprintf(props, sizeof(props), "%s%s", c->id, c->good);
                prop_write(&prop_places[p], c->id, props, in, sizeof(in));
                is_taken(c->name, MQTT_V5, prop_places[p].place, in);
            }
        }
        char in[256]; /* as many as may be, of the one that may come again */
        prop_write(&prop_places[p], "26", "(64:26{'k'}{'v'})", in, sizeof(in));
        is_taken("64 user properties", MQTT_V5, prop_places[p].place, in);
    }
}

static void at_the_limit(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum mqtt_version version;
        enum reject_place place;
        const char *in;
    } rows[] = {
        {"client id", MQTT_V311, REJECT_FIRST, "10[{'MQTT'} 04 02 003c {(64:'c')}]"},
        {"client id", MQTT_V5, REJECT_FIRST, "10[{'MQTT'} 05 02 003c 00 {(64:'c')}]"},
        {"will topic", MQTT_V311, REJECT_FIRST, "10[{'MQTT'} 04 06 003c {'c'} {(256:'t')} {'x'}]"},
        {"will levels", MQTT_V311, REJECT_FIRST,
         "10[{'MQTT'} 04 06 003c {'c'} {'t'(15:'/t')} {'x'}]"},
        {"answer", MQTT_V5, REJECT_CHALLENGED, "f0[18 [15{'M'} 16{(1000:'d')}]]"},
        {"topic", MQTT_V5, REJECT_OPEN, "30[{(256:'t')} 00]"},
        {"topic levels", MQTT_V5, REJECT_OPEN, "30[{'t'(15:'/t')} 00]"},
        {"topic alias", MQTT_V5, REJECT_OPEN, "30[{'t'} [23 0010]] 30[{} [23 0010] 'x']"},
        {"filter", MQTT_V5, REJECT_OPEN, "82[0009 00 {(256:'t')} 00]"},
        {"filter levels", MQTT_V5, REJECT_OPEN, "82[0009 00 {'t'(15:'/+')} 00]"},
        {"receive maximum", MQTT_V5, REJECT_OPEN, "(20:32[{'t'} @ 00])"},
        {"subscription identifier", MQTT_V5, REJECT_OPEN, "82[0009 [0b ffffff7f] {'t'} 00]"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        is_taken(rows[i].name, rows[i].version, rows[i].place, rows[i].in);
    }
    struct verdict v;
    static const uint8_t largest[] = {0x30, 0xfc, 0xbf, 0x10}; /* and the rest does not come */
    static const uint8_t connect[] = {0x10, 0xfd, 0x3f};
    meet_server(MQTT_V5, slice_of(largest, sizeof(largest)), sizeof(largest), &v);
    assert_int_equal(v.err, ERR_AGAIN);
    meet_gate(slice_of(connect, sizeof(connect)), sizeof(connect), &v);
    assert_int_equal(v.err, ERR_AGAIN);
}

/* ---- memory ---- */

/* A number that did not move with the heap would prove nothing. */
static void the_heap_is_measured(void **state)
{
    (void)state;
    size_t before = heap_in_use();
    void *p = mem_alloc(4000); /* more than allocators keep aside */
    assert_true(heap_in_use() >= before + 4000);
    p = mem_free(p);
    assert_int_equal(heap_in_use(), before);
}

/* Every class so many times, each on a connection of its own. */
static void send_all(const struct rejects *r, unsigned long times)
{
    for (unsigned long round = 0; round < times; round++) {
        for (size_t i = 0; i < r->n; i++) {
            struct verdict v;
            meet(&r->all[i], r->all[i].n_in, &v);
            if (v.err != r->all[i].err || v.n_out != r->all[i].n_out) {
                fail_msg("%s: round %lu", r->all[i].name, round);
            }
        }
    }
}

static void the_heap_is_as_it_was(void **state)
{
    const struct rejects *r = *state;
    unsigned long times = reject_times(TIMES);
    send_all(r, 3);
    size_t before = heap_in_use();
    send_all(r, times);
    size_t after = heap_in_use();
    print_message("%zu classes, %lu times each: heap %zu bytes before, %zu after\n", r->n, times,
                  before, after);
    assert_int_equal(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_is_refused), cmocka_unit_test(every_property_where_it_belongs),
        cmocka_unit_test(at_the_limit),           cmocka_unit_test(the_heap_is_measured),
        cmocka_unit_test(the_heap_is_as_it_was),
    };
    return cmocka_run_group_tests(tests, gather, drop);
}
