/* Bad input as the broker means it: each class of the engines' tests costs one event, one count
 * where there is one, and a connection; nobody hears of it, and nothing of it stays. */
#include "service/broker/worker_story_test.h"

#include "base/heap_test.h"
#include "engine/mqtt_reject_props_test.h"
#include "engine/mqtt_reject_rows_test.h"

/* A turn of both workers moves a connection home and its answer out; a few of them settle it. */
enum { TIMES = 100, TURNS = 4, BAD = 0, READER = 3 };

struct scene {
    struct bench *b;
    struct rejects rejects;
};

/* All numbers of both workers that a refused packet could move, by hand. */
struct tally {
    uint64_t limit, other, taken, sent, sessions, connections, subscriptions, retained, queued;
};

static uint64_t sum(const struct bench *b, size_t offset)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        const uint8_t *base = (const uint8_t *)&b->counters[i];
        n += atomic_load((const _Atomic uint64_t *)(const void *)(base + offset));
    }
    return n;
}
#define SUM(b, field) sum(b, offsetof(struct counters, field))

static struct tally tally_of(const struct bench *b)
{
    return (struct tally){
        .limit = SUM(b, refused_limit),
        .other = SUM(b, refused_rate) + SUM(b, refused_quota) + SUM(b, refused_denied) +
                 SUM(b, refused_store) + SUM(b, refused_version),
        .taken = SUM(b, received_qos0) + SUM(b, received_qos1) + SUM(b, received_qos2),
        .sent = SUM(b, sent_qos0) + SUM(b, sent_qos1) + SUM(b, sent_qos2),
        .sessions = SUM(b, sessions),
        .connections = SUM(b, connections_mqtt),
        .subscriptions = SUM(b, subscriptions),
        .retained = SUM(b, retained_messages),
        .queued = SUM(b, queued_messages)};
}

static void turns(struct bench *b)
{
    for (int round = 0; round < TURNS; round++) {
        for (unsigned i = 0; i < WORKERS; i++) {
            turn(b, i);
        }
    }
}

static struct slice ping(void)
{
    static const uint8_t bytes[] = {0xc0, 0};
    return slice_of(bytes, sizeof(bytes));
}

/* Those that deliver have a test of their own here, and the methods have theirs. */
static bool is_for_workers(const struct reject *c)
{
    return !c->has_good && c->place != REJECT_CHALLENGED;
}

/* ---- one class ---- */

/* Who does not want reasons in words gets the bytes that the class says. */
static void open_bad(struct bench *b, struct party *p, const char *name, enum mqtt_version version)
{
    static const char *const hellos[] = {[MQTT_V311] = "10[{'MQTT'} 04 02 003c {'c'}]",
                                         [MQTT_V5] = "10[{'MQTT'} 05 02 003c [1700] {'c'}]"};
    uint8_t hello[REJECT_IN];
    assert_true(arrives(b, p, 0, name));
    give(b, p, slice_of(hello, reject_bytes(hellos[version], hello)));
    turns(b);
    EXPECT(p, "connack 00; ");
}

/* Everything that the class says, to a worker that is `home` of who says it. */
static void send_bad(struct bench *b, const struct reject *c, unsigned home)
{
    struct party *p = &b->parties[BAD];
    const char *name = device_at(b, home, 0);
    b->now_ms++;
    p->version = c->version;
    if (c->place == REJECT_OPEN) {
        open_bad(b, p, name, c->version);
    } else {
        assert_true(arrives(b, p, 0, name));
    }
    b->n_events = 0;
    give(b, p, slice_of(c->in, c->n_in));
    turns(b);
    if (p->conn != 0 || !slice_equal(slice_of(p->bytes, p->n), slice_of(c->out, c->n_out))) {
        fail_msg("%s, home %u: an answer of %zu bytes, not %zu%s", c->name, home, p->n, c->n_out,
                 p->conn != 0 ? ", and it is still there" : "");
    }
}

/* What the decoders find, by their error. */
static enum event_category category_of(enum err err)
{
    static const struct {
        enum err err;
        enum event_category category;
    } rows[] = {{ERR_UTF8, EVENT_utf8},
                {ERR_TOO_LARGE, EVENT_quota},
                {ERR_LIMIT, EVENT_quota},
                {ERR_PROTOCOL, EVENT_protocol_error},
                {ERR_UNSUPPORTED, EVENT_protocol_error}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].err == err) {
            return rows[i].category;
        }
    }
    return EVENT_malformed;
}

/* One event that names the one who did it and the fix; what else there is says only that somebody
 * came or went. */
static void one_event(const struct bench *b, const struct reject *c, unsigned home,
                      enum event_category category, const char *fix)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_events; i++) {
        const struct event *e = &b->events[i];
        if (e->category == EVENT_connect || e->category == EVENT_disconnect) {
            continue;
        }
        n++;
        if (e->category != category || e->severity != SEVERITY_WARNING) {
            fail_msg("%s: an event %s", c->name, event_category_name(e->category));
        }
        assert_string_equal(e->principal, device_at(b, home, 0));
        assert_string_equal(e->peer, "127.0.0.1:9");
        assert_string_equal(e->listener, "mqtts");
        if (strstr(e->reason, fix) == NULL || strchr(e->reason, '~') != NULL) {
            fail_msg("%s: %s", c->name, e->reason);
        }
    }
    if (n != 1) {
        fail_msg("%s: %zu events", c->name, n);
    }
}

/* Nothing but these has moved since. */
static void counted(const struct bench *b, const struct reject *c, const struct tally *before,
                    unsigned limit, unsigned other)
{
    struct tally want = *before;
    struct tally now = tally_of(b);
    want.limit += limit;
    want.other += other;
    if (memcmp(&now, &want, sizeof(now)) != 0) {
        fail_msg("%s: limit %d, other %d, taken %d, sent %d, sessions %d, connections %d", c->name,
                 (int)(now.limit - before->limit), (int)(now.other - before->other),
                 (int)(now.taken - before->taken), (int)(now.sent - before->sent),
                 (int)(now.sessions - before->sessions),
                 (int)(now.connections - before->connections));
    }
}

/* ---- the tests ---- */

static int set_up(void **state)
{
    static struct scene s;
    s.rejects = rejects_new();
    rejects_add_rows(&s.rejects);
    rejects_add_props(&s.rejects);
    s.b = bench_open();
    must(role_add_topic(s.b->any, POLICY_SUBSCRIBE, slice_text("#"), false, 2, 1));
    role_limits(s.b->any)->connect_rate = 1000000; /* who comes again at once is not the question */
    role_limits(s.b->any)->connect_burst = 1000000;
    is_in(s.b, &s.b->parties[READER], device_at(s.b, 1, 1), &(struct hello){.client_id = "r"});
    subscribed(s.b, &s.b->parties[READER], "#", 2);
    *state = &s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    bench_close(s->b);
    rejects_free(&s->rejects);
    return 0;
}

static void every_class(void **state)
{
    struct scene *s = *state;
    struct bench *b = s->b;
    for (size_t i = 0; i < s->rejects.n; i++) {
        const struct reject *c = &s->rejects.all[i];
        for (unsigned home = 0; home < WORKERS && is_for_workers(c); home++) {
            struct tally before = tally_of(b);
            send_bad(b, c, home);
            enum event_category category = category_of(c->err);
            bool is_version = c->err == ERR_UNSUPPORTED;
            one_event(b, c, home, category, is_version ? "pdate" : "Fix the client");
            counted(b, c, &before, category == EVENT_quota ? 1 : 0, is_version ? 1 : 0);
            EXPECT(&b->parties[READER], "");
        }
    }
}

/* The report is about the packet that is wrong, also when a ping came in the same read. */
static void the_report_names_the_packet(void **state)
{
    struct scene *s = *state;
    const struct reject_row row = {"behind pings", IN5,  "c000 c000 20[0000 00]",
                                   ERR_PROTOCOL,   0x82, "d000 d000 e0[82]"};
    struct rejects one = rejects_new();
    reject_add(&one, &row, REJECT_OPEN);
    send_bad(s->b, &one.all[0], 0);
    one_event(s->b, &one.all[0], 0, EVENT_protocol_error, "Fix the client");
    bool is_named = false;
    for (size_t i = 0; i < s->b->n_events; i++) {
        is_named = is_named || strncmp(s->b->events[i].reason, "CONNACK was refused", 19) == 0;
    }
    assert_true(is_named);
    rejects_free(&one);
}

/* SPEC: MQTT5-3.3.4-7: what was sent within the maximum is delivered, what is over it is not */
static void over_receive_maximum(void **state)
{
    struct bench *b = ((struct scene *)*state)->b;
    struct party *p = &b->parties[BAD];
    uint8_t bytes[REJECT_IN];
    b->n_events = 0;
    p->version = MQTT_V5;
    open_bad(b, p, device_at(b, 0, 0), MQTT_V5);
    give(b, p, slice_of(bytes, reject_bytes("(21:34[{'t/a'} @ 00 'x'])", bytes)));
    settle(b);
    assert_int_equal(p->conn, 0);
    assert_non_null(strstr(said(p), "disconnect 93; "));
    assert_int_equal(events_of(b, EVENT_protocol_error), 1);
    struct party *reader = &b->parties[READER];
    size_t n = 0;
    for (int round = 0; round < 3; round++) { /* its window is as large */
        const char *text = said(reader);
        for (const char *at = text; (at = strstr(at, "publish2 t/a x; ")) != NULL; at++) {
            n++;
        }
        for (unsigned id = 1; id <= REJECT_RECEIVE_MAX; id++) {
            acks(b, reader, MQTT_PUBREC, (uint16_t)id);
            acks(b, reader, MQTT_PUBCOMP, (uint16_t)id);
        }
        settle(b);
    }
    assert_int_equal(n, REJECT_RECEIVE_MAX);
    (void)said(reader);
}

/* What only the broker can find: the packet is well made, and asks for what may not be. */
static void refused_by_the_broker(void **state)
{
    static const struct {
        struct reject_row row;
        enum reject_place place;
        enum event_category category;
        unsigned denied; /* what refusals_total counts as denied */
        const char *fix;
    } rows[] = {
        {{"a method that is not spoken", IN5, "10[{'MQTT'} 05 02 003c [15{'X'} 1700] {'c'}]",
          ERR_UNSUPPORTED, 0x8c, NULL},
         REJECT_FIRST,
         EVENT_auth_fail,
         1,
         "use"},
        {{"a will that is not granted", IN4, "10[{'MQTT'} 04 06 003c {'c'} {'x/a'} {'x'}]",
          ERR_DENIED, 0x87, "20[00 05]"},
         REJECT_FIRST,
         EVENT_acl_deny,
         1,
         "grant"},
        {{"a will that is not granted", IN5,
          "10[{'MQTT'} 05 06 003c [1700] {'c'} 00 {'x/a'} {'x'}]", ERR_DENIED, 0x87, NULL},
         REJECT_FIRST,
         EVENT_acl_deny,
         1,
         "grant"},
        {{"an expiry where there was none", IN5, "e0[00 [11 0000000a]]", ERR_PROTOCOL, 0x82, NULL},
         REJECT_OPEN,
         EVENT_protocol_error,
         0,
         "Fix the client"},
    };
    struct scene *s = *state;
    struct rejects r = rejects_new();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        reject_add(&r, &rows[i].row, rows[i].place);
        struct tally before = tally_of(s->b);
        send_bad(s->b, &r.all[i], 0);
        one_event(s->b, &r.all[i], 0, rows[i].category, rows[i].fix);
        counted(s->b, &r.all[i], &before, 0, rows[i].denied);
        EXPECT(&s->b->parties[READER], "");
    }
    rejects_free(&r);
}

/* ---- what is wrong and does not end the connection ---- */

static void refused_and_still_there(void **state)
{
    struct bench *b = ((struct scene *)*state)->b;
    static const struct {
        const char *name;
        enum mqtt_version version;
        const char *in, *said;
    } rows[] = {
        {"nine filters", MQTT_V311, "82[0009 (9:{'t/a'} 01)]", "suback 80; "},
        {"nine filters", MQTT_V5, "82[0009 00 (9:{'t/a'} 01)]", "suback 97; "},
        {"nine filters to leave", MQTT_V5, "a2[0009 00 (9:{'t/a'})]", "unsuback 9 00; "},
        {"PUBACK of nothing", MQTT_V5, "40[0007]", ""},
        {"PUBREC of nothing", MQTT_V311, "50[0007]", "pubrel 7; "},
        {"PUBREC of nothing", MQTT_V5, "50[0007]", "pubrel 7 92; "},
        {"PUBREL of nothing", MQTT_V311, "62[0007]", "pubcomp 7; "},
        {"PUBREL of nothing", MQTT_V5, "62[0007]", "pubcomp 7 92; "},
        {"PUBCOMP of nothing", MQTT_V5, "70[0007]", ""},
        {"to a topic of the server's", MQTT_V5, "32[{'$SYS/a'} 0007 00]", "puback 7 87; "},
        {"to a topic that is not granted", MQTT_V5, "34[{'x/a'} 0007 00]", "pubrec 7 87; "},
    };
    struct party *p = &b->parties[BAD];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t bytes[REJECT_IN];
        p->version = rows[i].version;
        open_bad(b, p, device_at(b, 0, 0), rows[i].version);
        give(b, p, slice_of(bytes, reject_bytes(rows[i].in, bytes)));
        settle(b);
        const char *text = said(p);
        if (strcmp(text, rows[i].said) != 0) {
            fail_msg("%s: %s", rows[i].name, text);
        }
        EXPECT(&b->parties[READER], "");
        give(b, p, ping());
        EXPECT(p, "pingresp; ");
        is_cut(b, p);
        settle(b);
    }
}

/* ---- memory ---- */

static void send_all(struct scene *s, unsigned long times)
{
    for (unsigned long round = 0; round < times; round++) {
        for (size_t i = 0; i < s->rejects.n; i++) {
            if (is_for_workers(&s->rejects.all[i])) {
                send_bad(s->b, &s->rejects.all[i], round % WORKERS);
            }
        }
        give(s->b, &s->b->parties[READER], ping());
        EXPECT(&s->b->parties[READER], "pingresp; ");
    }
}

static void the_heap_is_as_it_was(void **state)
{
    struct scene *s = *state;
    unsigned long times = reject_times(TIMES);
    send_all(s, 4);
    size_t before = heap_in_use();
    send_all(s, times);
    size_t after = heap_in_use();
    print_message("%zu classes, %lu times each: heap %zu bytes before, %zu after\n", s->rejects.n,
                  times, before, after);
    assert_int_equal(before, after);
}

/* Who is anonymous comes under a new name each time: an account that waits for its budgets to be
 * full again would wait for nobody, and as long as the role's rates say. */
static void anonymous_clients_leave_nothing(void **state)
{
    struct scene *s = *state;
    struct bench *b = s->b;
    struct party *p = &b->parties[BAD];
    const struct directory_exception_order x = {.listener = slice_text("mqtts"),
                                                .role = slice_text("small"),
                                                .reason = slice_text("a test"),
                                                .allow = DIRECTORY_ALLOW_ANONYMOUS,
                                                .for_ms = 1000000};
    uint64_t id;
    uint8_t hello[REJECT_IN];
    size_t before = 0;
    size_t n = reject_bytes("10[{'MQTT'} 04 02 003c {'c'}] 20[0000]", hello);
    must(directory_exception_add(b->directory, &x, b->wall_ms, &id, NULL));
    realm_changes(b);
    p->version = MQTT_V311;
    for (int i = 0; i < 2000; i++) {
        before = i == 500 ? heap_in_use() : before;
        p->n = 0;
        p->worker = 0;
        must(worker_accept(b->workers[0], &b->mqtts, "127.0.0.1:9", p, b->now_ms, &p->conn));
        give(b, p, slice_of(hello, n));
        turns(b);
        EXPECT(p, "connack 00; ");
        assert_int_equal(p->conn, 0);
    }
    assert_int_equal(before, heap_in_use());
    must(directory_exception_end(b->directory, id));
    realm_changes(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class),
        cmocka_unit_test(the_report_names_the_packet),
        cmocka_unit_test(over_receive_maximum),
        cmocka_unit_test(refused_by_the_broker),
        cmocka_unit_test(refused_and_still_there),
        cmocka_unit_test(the_heap_is_as_it_was),
        cmocka_unit_test(anonymous_clients_leave_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
