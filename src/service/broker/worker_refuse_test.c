/* The journal refuses: what it does not take is promised to nobody and leaves nothing behind, and
 * what needs no journal goes on. Every record of a story is refused once, for every reason. */
#include "service/broker/commit_private.h"
#include "service/broker/subscribe_private.h"
#include "service/broker/worker_story_test.h"

static const struct hello plain = {.client_id = "p"};
static const enum err refusals[] = {ERR_NOMEM, ERR_SPACE, ERR_IO}; /* ERR_SPACE: the log lags */

static void nothing_waits(const struct bench *b)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        for (uint32_t t = 0; t < b->workers[i]->n_tokens; t++) {
            assert_int_equal(b->workers[i]->tokens[t].n_open, 0);
        }
        assert_int_equal(b->workers[i]->pending_n, 0);
        assert_true(list_is_empty(&b->workers[i]->barriers));
    }
}

/* ---- a full disk ---- */

static void publishes_are_refused(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1], *old = &b->parties[2];
    is_in(b, sub, device_at(b, 1, 0), &durable);
    subscribed(b, sub, "t/#", 2);
    is_in(b, pub, device_at(b, 0, 0), &durable);
    is_in(b, old, device_at(b, 0, 1), &(struct hello){.client_id = "o", .version = MQTT_V311});
    disk_is_full(b, true);
    publishes(b, pub, "t/a", "one", 1, 1, false);
    publishes(b, pub, "t/a", "two", 2, 2, false);
    publishes(b, pub, "t/a", "kept", 0, 0, true);
    settle(b);
    EXPECT(pub, "puback 1 97; pubrec 2 97; ");
    EXPECT(sub, "");
    assert_int_equal(events_of(b, EVENT_store_space), 3);
    assert_int_equal(atomic_load(&b->counters[0].refused_store), 3);
    publishes(b, old, "t/a", "one", 1, 1, false);
    settle(b);
    assert_int_equal(old->conn, 0);
    nothing_waits(b);
    disk_is_full(b, false);
    publishes(b, pub, "t/a", "two", 2, 2, false); /* the same id is a new message */
    settle(b);
    EXPECT(pub, "pubrec 2; ");
    EXPECT(sub, "publish2 t/a two; ");
    assert_null(worker_retained(b->workers[0], NULL, slice_text("t/a"), b->now_ms));
}

static void what_needs_no_room_goes_on(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1], *sleeper = &b->parties[2];
    is_in(b, sleeper, device_at(b, 1, 1), &durable);
    subscribed(b, sleeper, "w/#", 2);
    is_in(b, pub, device_at(b, 0, 0), &plain);
    publishes(b, pub, "w/a", "one", 2, 1, false);
    settle(b);
    EXPECT(pub, "pubrec 1; ");
    EXPECT(sleeper, "publish2 w/a one; ");
    disk_is_full(b, true);
    is_in(b, sub, device_at(b, 1, 0), &plain);
    subscribed(b, sub, "t/#", 2);
    publishes(b, pub, "t/a", "q0", 0, 0, false);
    publishes(b, pub, "t/a", "q1", 1, 2, false);
    publishes(b, pub, "t/a", "q2", 2, 3, false);
    publishes(b, pub, "w/a", "q0", 0, 0, false); /* to a session that lasts: not promised */
    settle(b);
    EXPECT(pub, "puback 2; pubrec 3; ");
    EXPECT(sub, "publish0 t/a q0; publish1 t/a q1; publish2 t/a q2; ");
    EXPECT(sleeper, "publish0 w/a q0; ");
    acks(b, sleeper, MQTT_PUBREC, 1); /* what settles is taken */
    settle(b);
    EXPECT(sleeper, "pubrel 1; ");
    acks(b, sleeper, MQTT_PUBCOMP, 1);
    is_cut(b, sleeper);
    connects(b, sleeper, device_at(b, 1, 1), &durable);
    settle(b);
    EXPECT(sleeper, "connack 00 present; ");
    assert_int_equal(events_of(b, EVENT_store_space), 0);
}

static void subscriptions_are_refused(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[0], *pub = &b->parties[1], *old = &b->parties[2];
    is_in(b, sub, device_at(b, 1, 0), &durable);
    is_in(b, old, device_at(b, 1, 1),
          &(struct hello){.client_id = "c", .resume = true, .version = MQTT_V311});
    subscribed(b, sub, "t/b", 0);
    disk_is_full(b, true);
    subscribes(b, sub, "t/a", 1);
    subscribes(b, sub, "t/b", 1);
    subscribes(b, old, "t/a", 1);
    settle(b);
    EXPECT(sub, "suback 97; suback 97; ");
    EXPECT(old, "suback 80; ");
    disk_is_full(b, false);
    is_in(b, pub, device_at(b, 0, 0), &plain);
    publishes(b, pub, "t/a", "x", 1, 1, false);
    publishes(b, pub, "t/b", "x", 1, 2, false);
    settle(b);
    EXPECT(sub, "publish0 t/b x; "); /* as it was before */
    EXPECT(old, "");
}

static void sessions_are_refused(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        b->log->refuse_at = 0;
        b->log->refusal = refusals[i];
        connects(b, p, device_at(b, 0, 0), &durable);
        settle(b);
        EXPECT(p, refusals[i] == ERR_NOMEM ? "connack 89; " : "connack 97; ");
        assert_int_equal(p->conn, 0);
        assert_int_equal(b->workers[0]->n_sessions, 0);
    }
    b->log->refuse_at = -1;
    is_in(b, p, device_at(b, 0, 0), &durable);
}

/* What is new asks for room; what is on record comes back, and what lasts no longer than its
 * connection asks for none. */
static void new_sessions_need_room(void **state)
{
    struct bench *b = *state;
    struct party *old = &b->parties[0], *new = &b->parties[1];
    const struct hello again = {.client_id = "c", .resume = true};
    is_in(b, old, device_at(b, 0, 0), &durable);
    is_cut(b, old);
    settle(b);
    disk_is_full(b, true);
    connects(b, new, device_at(b, 0, 1), &durable);
    settle(b);
    EXPECT(new, "connack 97; ");
    is_in(b, new, device_at(b, 0, 1), &plain);
    connects(b, old, device_at(b, 0, 0), &again);
    settle(b);
    EXPECT(old, "connack 00 present; ");
    is_cut(b, new);
    settle(b);
    disk_is_full(b, false);
    is_in(b, new, device_at(b, 0, 1), &durable);
}

/* ---- every record ---- */

struct story {
    bool is_subscribed, is_acked[3], is_received[3];
};

static const char *const payloads[3] = {"kept", "second", "third"};

static void speak(struct bench *b, struct story *s)
{
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    struct hello with_will = {.client_id = "p", .resume = true, .will = "t/will", .will_qos = 1};
    connects(b, sub, device_at(b, 1, 0), &durable);
    settle(b);
    subscribes(b, sub, "t/#", 2);
    settle(b);
    s->is_subscribed = strstr(said(sub), "suback 02") != NULL;
    connects(b, pub, device_at(b, 0, 0), &with_will);
    settle(b);
    publishes(b, pub, "t/a", payloads[0], 1, 1, true);
    publishes(b, pub, "t/b", payloads[1], 2, 2, false);
    settle(b);
    acks(b, pub, MQTT_PUBREL, 2);
    publishes(b, pub, "t/c", payloads[2], 1, 3, false);
    settle(b);
    const char *text = said(pub);
    s->is_acked[0] = strstr(text, "puback 1; ") != NULL;
    s->is_acked[1] = strstr(text, "pubrec 2; ") != NULL;
    s->is_acked[2] = strstr(text, "puback 3; ") != NULL;
}

static void hear(struct story *s, const char *text)
{
    for (size_t i = 0; i < 3; i++) {
        s->is_received[i] = s->is_received[i] || strstr(text, payloads[i]) != NULL;
    }
}

/* The listener takes what it gets, is cut off, and everything is read back. */
static void end_story(struct bench *b, struct story *s, bool crashes)
{
    struct party *sub = &b->parties[1];
    struct restore_report report;
    if (crashes) {
        bench_crash(b, 0, &report);
        assert_int_equal(report.lost, 0);
    } else {
        is_cut(b, &b->parties[0]);
        settle(b);
        hear(s, said(sub));
        is_cut(b, sub);
    }
    connects(b, sub, device_at(b, 1, 0), &durable);
    settle(b);
    hear(s, said(sub));
    nothing_waits(b);
}

static bool story_with(enum err refusal, long at, bool crashes)
{
    struct bench *b = bench_open();
    struct story s = {0};
    b->log->refuse_at = at;
    b->log->refusal = refusal;
    speak(b, &s);
    bool was_refused = b->log->n_refused > 0;
    b->log->refuse_at = -1;
    end_story(b, &s, crashes);
    for (size_t i = 0; i < 3; i++) {
        if (s.is_subscribed && s.is_acked[i] && !s.is_received[i]) {
            fail_msg("%s at record %ld: '%s' was acknowledged and lost", err_name(refusal), at,
                     payloads[i]);
        }
        assert_true(was_refused || (s.is_acked[i] && s.is_received[i]));
    }
    bench_close(b);
    return was_refused;
}

static void every_record_is_refused_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        for (int crashes = 0; crashes < 2; crashes++) {
            long at = 0;
            while (story_with(refusals[i], at, crashes == 1)) {
                at++;
            }
            assert_true(at > 10);
        }
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(publishes_are_refused),     CASE(what_needs_no_room_goes_on),
        CASE(subscriptions_are_refused), CASE(sessions_are_refused),
        CASE(new_sessions_need_room),    cmocka_unit_test(every_record_is_refused_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
