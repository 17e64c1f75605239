/* Bodies of what waits leave memory and come back: workers whose memory is what the test says, and
 * a log that answers when it is told to. docs/ORDER.md rule 11, docs/decisions/0042. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/broker/worker_private.h"
#include "service/broker/worker_story_test.h"

enum { CEILING = 1000000, SHORT = 600000, LAST = 100, BODY = 300 };

struct spill {
    struct bench *b;
    uint64_t used; /* of memory */
    struct party *writer, *reader;
    const char *name; /* of the reader */
};

static uint64_t heap_used(void *ctx)
{
    return ((struct spill *)ctx)->used;
}

static int begin(void **state)
{
    struct spill *t = mem_zalloc(sizeof(*t));
    assert_non_null(t);
    t->b = bench_open();
    t->b->ceiling.bytes = CEILING;
    t->b->ceiling.heap = heap_used;
    t->b->ceiling.ctx = t;
    t->writer = &t->b->parties[0];
    t->reader = &t->b->parties[1];
    t->name = device_at(t->b, 0, 0);
    is_in(t->b, t->writer, device_at(t->b, 0, 1), &(struct hello){.client_id = "w"});
    *state = t;
    return 0;
}

static int end(void **state)
{
    struct spill *t = *state;
    bench_close(t->b);
    mem_free(t);
    return 0;
}

static void comes(struct spill *t, const char *connack)
{
    connects(t->b, t->reader, t->name, &(struct hello){.client_id = "c", .resume = true});
    settle(t->b);
    if (connack != NULL) {
        EXPECT(t->reader, connack);
    }
}

/* Subscribed to filter, and asleep. */
static void sleeps(struct spill *t, const char *filter, uint8_t qos)
{
    comes(t, "connack 00; ");
    subscribed(t->b, t->reader, filter, qos);
    is_cut(t->b, t->reader);
}

/* "NNN" and fill: long enough to be worth it. */
static const char *body_of(unsigned n)
{
    static char text[BODY + 1];
    memset(text, 'x', BODY);
    (void)snprintf(text, 4, "%03u", n % 1000);
    text[3] = ' ';
    return text;
}

static void says(struct spill *t, unsigned first, unsigned n, uint8_t qos)
{
    for (unsigned i = first; i < first + n; i++) {
        publishes(t->b, t->writer, "t/a", body_of(i), qos, (uint16_t)i, false);
        settle(t->b);
        if (qos == 2) {
            acks(t->b, t->writer, MQTT_PUBREL, (uint16_t)i);
            settle(t->b);
        }
    }
    (void)said(t->writer);
}

static void memory_is(struct spill *t, uint64_t used)
{
    t->used = used;
    pass(t->b, 100);
}

/* n messages from `first` on came, in order, each whole. */
static void heard(struct spill *t, unsigned first, unsigned n, uint8_t qos)
{
    const char *text = said(t->reader);
    for (unsigned i = first; i < first + n; i++) {
        char want[64];
        (void)snprintf(want, sizeof(want), "publish%u t/a %03u xxx", qos, i);
        const char *at = strstr(text, "publish");
        assert_non_null(at);
        if (strncmp(at, want, strlen(want)) != 0) {
            fail_msg("expected '%s', got '%.40s'", want, at);
        }
        text = strstr(at, "; ");
        assert_non_null(text);
        assert_int_equal(text - at, strlen("publish1 t/a ") + BODY);
    }
    assert_null(strstr(text, "publish"));
}

static uint64_t spilled(const struct spill *t)
{
    return t->b->counters[0].spilled;
}

/* Asleep, with n messages whose bodies have left memory. */
static void sleeps_without(struct spill *t, unsigned n)
{
    sleeps(t, "t/#", 1);
    says(t, 1, n, 1);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), n);
}

/* There is room again, and the reader comes: bodies are on their way until `they_arrive`. */
static void they_set_out(struct spill *t)
{
    memory_is(t, 0);
    t->b->reads_stand = true;
    comes(t, "connack 00 present; ");
}

static void they_arrive(struct spill *t)
{
    t->b->reads_stand = false;
    settle(t->b);
}

static const struct session *session_of(const struct spill *t)
{
    uint64_t id = directory_find(t->b->realm->directory, slice_text(t->name))->principal->id;
    const struct account *a = map_find(&t->b->workers[0]->accounts, slice_of(&id, sizeof(id)));
    return a != NULL ? session_set_find(&a->sessions, slice_text("c")) : NULL;
}

/* ---- out and back ---- */

static void all_of_it_comes_back_in_order(void **state)
{
    struct spill *t = *state;
    sleeps(t, "t/#", 1);
    says(t, 1, 90, 1);
    uint64_t bytes = session_of(t)->queue->queued_bytes;
    memory_is(t, SHORT - 1);
    assert_int_equal(spilled(t), 0);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 90);
    assert_int_equal(session_of(t)->queue->queued_bytes, bytes); /* it is charged as before */
    says(t, 91, 10, 1); /* memory is still short: they go as they come */
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), LAST);
    memory_is(t, 0);
    comes(t, NULL);
    for (unsigned i = 1; i <= LAST; i += 20) { /* its window */
        heard(t, i, 20, 1);
        for (unsigned id = i; id < i + 20; id++) {
            acks(t->b, t->reader, MQTT_PUBACK, (uint16_t)id);
        }
        settle(t->b);
    }
    assert_int_equal(t->b->counters[0].read_back, LAST);
    assert_int_equal(session_of(t)->queue->queued_bytes, 0);
    says(t, LAST + 1, 1, 1);
    heard(t, LAST + 1, 1, 1);
}

static void qos_2_comes_back_once(void **state)
{
    struct spill *t = *state;
    sleeps(t, "t/#", 2);
    says(t, 1, 5, 2);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 5);
    comes(t, NULL);
    heard(t, 1, 5, 2);
    for (uint16_t id = 1; id <= 5; id++) {
        acks(t->b, t->reader, MQTT_PUBREC, id);
    }
    settle(t->b);
    EXPECT(t->reader, "pubrel 1; pubrel 2; pubrel 3; pubrel 4; pubrel 5; ");
    is_cut(t->b, t->reader);
    memory_is(t, SHORT); /* what was received has no body at all any more */
    assert_int_equal(t->b->counters[0].read_back, 5);
    comes(t, "connack 00 present; pubrel 1; pubrel 2; pubrel 3; pubrel 4; pubrel 5; ");
    for (uint16_t id = 1; id <= 5; id++) {
        acks(t->b, t->reader, MQTT_PUBCOMP, id);
    }
    assert_int_equal(session_count(session_of(t)), 0);
}

/* Small ones, QoS 0, what is not committed, and sessions that do not last: nothing of it leaves. */
static void some_of_it_stays(void **state)
{
    struct spill *t = *state;
    struct party *fleeting = &t->b->parties[2];
    is_in(t->b, fleeting, device_at(t->b, 0, 2), &(struct hello){.client_id = "f"});
    subscribed(t->b, fleeting, "t/#", 1);
    fleeting->is_deaf = true;
    sleeps(t, "t/#", 1);
    for (unsigned i = 0; i < 30; i++) {
        publishes(t->b, t->writer, "w/0", body_of(i), 0, 0, false);
    }
    publishes(t->b, t->writer, "t/a", "small", 1, 1, false);
    settle(t->b);
    (void)said(t->writer);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 0);
    t->b->log_stands = true;
    publishes(t->b, t->writer, "t/a", body_of(2), 1, 2, false);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 0); /* it is on no disk */
    t->b->log_stands = false;
    memory_is(t, SHORT);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 1);
    assert_int_equal(t->b->counters[0].queued_messages, 4);
}

/* One message in many queues leaves with the last of them. */
static void the_last_one_lets_go(void **state)
{
    struct spill *t = *state;
    struct party *other = &t->b->parties[2];
    sleeps(t, "t/#", 1);
    is_in(t->b, other, device_at(t->b, 0, 2), &(struct hello){.client_id = "o", .resume = true});
    subscribed(t->b, other, "t/#", 1);
    is_cut(t->b, other);
    says(t, 1, 3, 1);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 6);
    const struct session *s = session_of(t);
    assert_true(msg_is_husk(s->queue->ring[0].msg));
    assert_int_equal(s->queue->ring[0].msg->refs,
                     2); /* one husk for both, and nothing else is left */
    comes(t, NULL);
    heard(t, 1, 3, 1);
}

/* Who is connected and far behind keeps what is near. */
static void a_slow_reader_keeps_what_is_next(void **state)
{
    struct spill *t = *state;
    sleeps(t, "t/#", 1);
    comes(t, "connack 00 present; ");
    says(t, 1, 200, 1);
    heard(t, 1, 20, 1);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 200 - 20 - SPILL_NEAR);
    for (unsigned i = 1; i <= 200; i++) {
        acks(t->b, t->reader, MQTT_PUBACK, (uint16_t)i);
        settle(t->b);
        if (i <= 180) {
            heard(t, i + 20, 1, 1);
        }
    }
    assert_int_equal(t->b->counters[0].read_back, 200 - 20 - SPILL_NEAR);
}

/* What was sent and not acknowledged leaves memory, too, and is sent again. */
static void what_was_sent_is_sent_again(void **state)
{
    struct spill *t = *state;
    sleeps(t, "t/#", 1);
    comes(t, "connack 00 present; ");
    says(t, 1, 3, 1);
    heard(t, 1, 3, 1);
    is_cut(t->b, t->reader);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 3);
    comes(t, NULL);
    const char *text = said(t->reader);
    assert_non_null(strstr(text, "publish1d t/a 001 "));
    assert_non_null(strstr(text, "publish1d t/a 003 "));
}

/* In the window it is a husk again: who wakes up with many others does not fill memory. */
static void what_is_in_flight_costs_no_memory(void **state)
{
    struct spill *t = *state;
    sleeps_without(t, 30);
    comes(t, NULL);
    heard(t, 1, 20, 1);
    const struct session *s = session_of(t);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(s->queue->ring[i].state, DELIVERY_SENT);
        assert_true(msg_is_husk(s->queue->ring[i].msg));
    }
    unsigned n_whole = 0;
    for (size_t i = 20; i < 30; i++) {
        n_whole += msg_is_husk(s->queue->ring[i].msg) ? 0 : 1;
    }
    assert_in_range(n_whole, 0, 2); /* and little is read ahead */
    is_cut(t->b, t->reader);
    memory_is(t, 0);
    comes(t, NULL);
    assert_non_null(strstr(said(t->reader), "publish1d t/a 020 "));
}

/* At 80 % what is near leaves, too, when the socket takes nothing; it is read when that ends. */
static void a_stalled_socket_keeps_nothing(void **state)
{
    struct spill *t = *state;
    sleeps(t, "t/#", 1);
    comes(t, "connack 00 present; ");
    t->reader->is_deaf = true;
    says(t, 1, 250, 1);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 250 - SPILL_NEAR);
    memory_is(t, CEILING / 100 * PRESSURE_QOS0_PERCENT);
    assert_int_equal(spilled(t), 250 - SPILL_NEAR);
    worker_backlog(t->b->workers[0], t->reader->conn, 1000);
    memory_is(t, CEILING / 100 * PRESSURE_QOS0_PERCENT);
    assert_int_equal(spilled(t), 250);
    t->reader->is_deaf = false;
    worker_backlog(t->b->workers[0], t->reader->conn, 0);
    memory_is(t, 0);
    says(t, 251, 1, 1);
    heard(t, 1, 20, 1);
}

/* ---- while it is on its way ---- */

static void nothing_overtakes_it(void **state)
{
    struct spill *t = *state;
    sleeps_without(t, 3);
    they_set_out(t);
    assert_int_equal(t->b->n_readings, 3); /* once each, however many turns pass */
    says(t, 4, 2, 1);                      /* these are whole */
    EXPECT(t->reader, "");
    they_arrive(t);
    heard(t, 1, 5, 1);
}

static void bounded_is_what_is_under_way(void **state)
{
    struct spill *t = *state;
    static const char *const ids[] = {"a", "b", "e"};
    sleeps(t, "t/#", 1);
    for (unsigned i = 0; i < COUNT_OF(ids); i++) { /* 4 sessions with 40 each */
        struct hello h = {.client_id = ids[i], .resume = true};
        is_in(t->b, t->reader, t->name, &h);
        subscribed(t->b, t->reader, "t/#", 1);
        is_cut(t->b, t->reader);
    }
    says(t, 1, 40, 1);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 160);
    memory_is(t, 0);
    t->b->reads_stand = true;
    struct party *parties[] = {t->reader, &t->b->parties[2], &t->b->parties[3]};
    for (unsigned i = 0; i < COUNT_OF(ids); i++) {
        struct hello h = {.client_id = ids[i], .resume = true};
        connects(t->b, parties[i], t->name, &h);
        settle(t->b);
        (void)said(parties[i]);
    }
    assert_int_equal(t->b->n_readings, READING_MAX);
    they_arrive(t);
    for (unsigned i = 0; i < COUNT_OF(ids); i++) {
        struct spill one = {.b = t->b, .reader = parties[i]};
        heard(&one, 1, 20, 1); /* everybody gets a turn */
    }
}

static void the_session_ends_meanwhile(void **state)
{
    struct spill *t = *state;
    sleeps_without(t, 3);
    they_set_out(t);
    assert_int_equal(t->b->n_readings, 3);
    is_cut(t->b, t->reader);
    connects(t->b, t->reader, t->name, &(struct hello){.client_id = "c"}); /* clean */
    they_arrive(t);
    EXPECT(t->reader, "connack 00; ");
    assert_int_equal(t->b->workers[0]->n_readings, 0);
    assert_int_equal(t->b->workers[0]->reading_bytes, 0);
}

static void it_is_taken_over_meanwhile(void **state)
{
    struct spill *t = *state;
    sleeps_without(t, 3);
    they_set_out(t);
    struct party *second = &t->b->parties[2];
    connects(t->b, second, t->name, &(struct hello){.client_id = "c", .resume = true});
    settle(t->b);
    EXPECT(t->reader, "disconnect 8e; ");
    EXPECT(second, "connack 00 present; ");
    assert_int_equal(t->b->n_readings, 6); /* the first three are for nobody */
    they_arrive(t);
    struct spill now = {.b = t->b, .reader = second};
    heard(&now, 1, 3, 1);
}

/* It is judged when it leaves, not when it was asked for. */
static void the_policy_changes_meanwhile(void **state)
{
    struct spill *t = *state;
    sleeps(t, "w/#", 1);
    for (unsigned i = 1; i <= 3; i++) {
        publishes(t->b, t->writer, "w/a", body_of(i), 1, (uint16_t)i, false);
        settle(t->b);
    }
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 3);
    they_set_out(t);
    assert_int_equal(t->b->n_readings, 3);
    bench_policy(t->b, true);
    realm_changes(t->b);
    t->b->reads_stand = false;
    size_t drops = keeper_count(t->b->log, JOURNAL_DROP);
    settle(t->b);
    assert_null(strstr(said(t->reader), "publish"));
    assert_int_equal(keeper_count(t->b->log, JOURNAL_DROP), drops + 3);
    assert_int_equal(t->b->counters[0].dropped_policy, 3);
}

/* What must not leave any more is not even asked for. */
static void what_is_denied_is_not_read(void **state)
{
    struct spill *t = *state;
    sleeps(t, "w/#", 1);
    publishes(t->b, t->writer, "w/a", body_of(1), 1, 1, false);
    settle(t->b);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 1);
    bench_policy(t->b, true);
    realm_changes(t->b);
    comes(t, "connack 00 present; ");
    assert_int_equal(t->b->n_read, 0);
    assert_int_equal(t->b->counters[0].dropped_policy, 1);
}

static void it_expires_on_disk(void **state)
{
    struct spill *t = *state;
    uint8_t bytes[1024];
    struct wr w = wr_into(bytes, sizeof(bytes));
    sleeps(t, "t/#", 1);
    struct mqtt_publish m = {
        .topic = slice_text("t/a"), .payload = slice_text(body_of(1)), .qos = 1, .packet_id = 1};
    mqtt_props_set_number(&m.props, MQTT_PROP_MESSAGE_EXPIRY, 10);
    must(mqtt_publish_encode(&m, MQTT_V5, &w));
    give_wr(t->b, t->writer, &w);
    settle(t->b);
    says(t, 2, 1, 1);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 2);
    pass(t->b, 11000);
    comes(t, NULL);
    heard(t, 2, 1, 1);
    assert_int_equal(t->b->counters[0].dropped_expired, 1);
    assert_int_equal(keeper_count(t->b->log, JOURNAL_DROP), 1);
}

/* ---- when it does not come ---- */

static void what_is_damaged_is_dropped_on_record(void **state)
{
    struct spill *t = *state;
    const enum err lost[] = {ERR_CRYPTO, ERR_NOT_FOUND, ERR_MALFORMED};
    sleeps(t, "t/#", 1);
    for (unsigned i = 0; i < COUNT_OF(lost); i++) {
        says(t, 1 + 2 * i, 1, 1);
        memory_is(t, SHORT);
        assert_int_equal(spilled(t), i + 1);
        memory_is(t, 0);
        t->b->reads_result = lost[i];
        size_t n_events = events_of(t->b, EVENT_store_integrity);
        comes(t, "connack 00 present; ");
        assert_int_equal(t->b->counters[0].dropped_store, i + 1);
        assert_int_equal(keeper_count(t->b->log, JOURNAL_DROP), i + 1);
        assert_int_equal(events_of(t->b, EVENT_store_integrity), n_events + 1);
        t->b->reads_result = OK;
        says(t, 2 + 2 * i, 1, 1); /* and the rest goes on */
        heard(t, 2 + 2 * i, 1, 1);
        acks(t->b, t->reader, MQTT_PUBACK, (uint16_t)(2 + 2 * i));
        settle(t->b);
        is_cut(t->b, t->reader);
    }
}

static void what_the_disk_cannot_read_is_tried_again(void **state)
{
    struct spill *t = *state;
    sleeps_without(t, 2);
    memory_is(t, 0);
    t->b->reads_result = ERR_IO;
    comes(t, "connack 00 present; ");
    for (unsigned i = 0; i < 5; i++) {
        pass(t->b, 1000);
    }
    assert_int_equal(t->b->n_read, 12); /* once a second, with the one behind it */
    t->b->reads_result = OK;
    pass(t->b, 1000);
    heard(t, 1, 2, 1);
    assert_int_equal(t->b->counters[0].dropped_store, 0);
    is_cut(t->b, t->reader);
    memory_is(t, SHORT);
    memory_is(t, 0);
    t->b->reads_result = ERR_IO;
    comes(t, "connack 00 present; ");
    for (unsigned i = 0; i < 25; i++) {
        pass(t->b, 1000);
    }
    EXPECT(t->reader, "");
    assert_int_equal(t->b->counters[0].dropped_store, 2); /* ten times in vain, each */
    assert_int_equal(keeper_count(t->b->log, JOURNAL_DROP), 2);
}

/* The n-th allocation fails, from the first look on until all is there. */
static void no_memory(void **state)
{
    (void)state;
    bool is_done = false;
    for (long n = 0; !is_done; n++) {
        void *one = NULL;
        assert_int_equal(begin(&one), 0);
        struct spill *t = one;
        sleeps(t, "t/#", 1);
        says(t, 1, 4, 1);
        mem_fail_after(n);
        memory_is(t, SHORT);
        is_done = mem_fail_after(-1) == 0;
        memory_is(t, SHORT);
        assert_int_equal(spilled(t), 4);
        they_set_out(t);
        t->b->reads_stand = false;
        mem_fail_after(n);
        bench_answer(t->b);
        is_done = mem_fail_after(-1) == 0 && is_done;
        pass(t->b, 100);
        pass(t->b, 100);
        heard(t, 1, 4, 1);
        assert_int_equal(end(&one), 0);
        assert_true(n < 100);
    }
}

/* Asking itself may fail, too: the connection is looked at again. */
static void no_memory_to_ask(void **state)
{
    (void)state;
    for (long n = 0; n < 40; n++) {
        void *one = NULL;
        assert_int_equal(begin(&one), 0);
        struct spill *t = one;
        sleeps_without(t, 4);
        they_set_out(t);
        bench_answer(t->b); /* the first of them have come: what is behind is asked for */
        for (unsigned i = 5; i <= 30; i++) {
            says(t, i, 1, 1);
        }
        mem_fail_after(n);
        for (unsigned i = 0; i < WORKERS; i++) {
            turn(t->b, i);
        }
        (void)mem_fail_after(-1);
        t->b->reads_stand = false;
        for (unsigned i = 0; i < 5; i++) {
            pass(t->b, 100);
        }
        if (t->reader->conn != 0) {
            heard(t, 1, 20, 1);
        }
        assert_int_equal(end(&one), 0);
    }
}

/* ---- with the rest of the world ---- */

/* What waits for a member of a group may have to go to another at once, so it stays whole. */
static void what_came_by_a_group_stays(void **state)
{
    struct spill *t = *state;
    struct party *other = &t->b->parties[2];
    sleeps(t, "$share/g/t/#", 1);
    says(t, 1, 3, 1);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 0);
    is_in(t->b, other, device_at(t->b, 0, 2), &(struct hello){.client_id = "o"});
    subscribed(t->b, other, "$share/g/t/#", 1);
    connects(t->b, t->reader, t->name, &(struct hello){.client_id = "c"}); /* clean */
    settle(t->b);
    struct spill now = {.b = t->b, .reader = other};
    heard(&now, 1, 3, 1);
}

/* Set aside is the message, not what is left of it. */
static void set_aside_is_the_whole_message(void **state)
{
    struct spill *t = *state;
    role_limits(t->b->any)->redeliveries = 1;
    realm_changes(t->b);
    sleeps(t, "t/#", 1);
    comes(t, "connack 00 present; ");
    says(t, 1, 1, 1);
    heard(t, 1, 1, 1);
    is_cut(t->b, t->reader);
    memory_is(t, SHORT);
    assert_int_equal(spilled(t), 1);
    comes(t, "connack 00 present; ");
    assert_int_equal(t->b->counters[0].set_aside, 1);
    assert_true(t->b->counters[0].aside_bytes > BODY);
}

static void a_crash_while_it_is_away(void **state)
{
    struct spill *t = *state;
    struct restore_report report;
    sleeps_without(t, 5);
    t->b->reads_stand = true;
    comes(t, "connack 00 present; ");
    bench_crash(t->b, 1000, &report);
    assert_int_equal(report.deliveries, 5);
    t->b->reads_stand = false;
    t->used = 0;
    comes(t, NULL);
    const char *text = said(t->reader);
    assert_non_null(strstr(text, "publish1d t/a 001 "));
    assert_non_null(strstr(text, "publish1d t/a 005 "));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(all_of_it_comes_back_in_order),
        TEST(qos_2_comes_back_once),
        TEST(some_of_it_stays),
        TEST(the_last_one_lets_go),
        TEST(a_slow_reader_keeps_what_is_next),
        TEST(what_was_sent_is_sent_again),
        TEST(what_is_in_flight_costs_no_memory),
        TEST(a_stalled_socket_keeps_nothing),
        TEST(nothing_overtakes_it),
        TEST(bounded_is_what_is_under_way),
        TEST(the_session_ends_meanwhile),
        TEST(it_is_taken_over_meanwhile),
        TEST(the_policy_changes_meanwhile),
        TEST(what_is_denied_is_not_read),
        TEST(it_expires_on_disk),
        TEST(what_is_damaged_is_dropped_on_record),
        TEST(what_the_disk_cannot_read_is_tried_again),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(no_memory_to_ask),
        TEST(what_came_by_a_group_stays),
        TEST(set_aside_is_the_whole_message),
        TEST(a_crash_while_it_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
