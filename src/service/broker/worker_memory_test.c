/* Every allocation of a short story fails once: no crash, no leak, and nothing that was
 * acknowledged is lost. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/broker/worker_bench_test.h"

/* What happened: a promise is an acknowledgement that the client has read. */
struct story {
    bool is_subscribed, is_acked, is_received;
};

static void tell_story(struct bench *b, struct story *s)
{
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    struct hello listener = {.client_id = "l", .resume = true};
    connects(b, sub, device_at(b, 1, 0), &listener);
    settle(b);
    subscribes(b, sub, "t/#", 1);
    settle(b);
    s->is_subscribed = strstr(said(sub), "suback 01") != NULL;
    connects(b, pub, device_at(b, 0, 0),
             &(struct hello){.client_id = "p", .resume = true, .will = "t/will", .will_qos = 1});
    settle(b);
    publishes(b, pub, "t/a", "kept", 1, 1, true);
    settle(b);
    s->is_acked = strstr(said(pub), "puback 1; ") != NULL;
    publishes(b, pub, "t/b", "second", 2, 2, false);
    settle(b);
    acks(b, pub, MQTT_PUBREL, 2);
    settle(b);
}

/* With memory again, whoever listens and was cut off comes back. */
static void end_story(struct bench *b, struct story *s)
{
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    struct hello listener = {.client_id = "l", .resume = true};
    is_cut(b, pub);
    settle(b);
    s->is_received = strstr(said(sub), "t/a kept") != NULL;
    is_cut(b, sub);
    connects(b, sub, device_at(b, 1, 0), &listener);
    settle(b);
    s->is_received = s->is_received || strstr(said(sub), "t/a kept") != NULL;
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    bool failed = true;
    long at = 0;
    for (; failed; at++) {
        struct bench *b = bench_open();
        struct story s = {0};
        (void)mem_fail_after(at);
        tell_story(b, &s);
        failed = mem_fail_after(-1) != 0;
        end_story(b, &s);
        if (s.is_subscribed && s.is_acked && !s.is_received) {
            fail_msg("allocation %ld: acknowledged and lost", at);
        }
        if (!failed) {
            assert_true(s.is_subscribed && s.is_acked && s.is_received);
        }
        bench_close(b);
    }
    assert_true(at > 20);
}

/* A message costs one allocation, its own: none for who receives it, on which worker, and whether
 * it is recorded. */
static void a_delivery_allocates_nothing(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    struct party *pub = &b->parties[0];
    connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    for (unsigned home = 0; home < WORKERS; home++) {
        struct party *sub = &b->parties[1 + home];
        struct hello h = {.client_id = "l", .resume = true};
        connects(b, sub, device_at(b, home, 1), &h);
        settle(b);
        subscribes(b, sub, "t/#", 1);
        settle(b);
    }
    for (uint16_t id = 1; id <= 300; id++) {
        (void)mem_fail_after(id <= 100 ? -1 : 2);
        publishes(b, pub, "t/a", "x", 1, id, false);
        settle(b);
        assert_int_equal(mem_fail_after(-1), 0);
        for (unsigned home = 0; home < WORKERS; home++) {
            assert_non_null(strstr(said(&b->parties[1 + home]), "publish1 t/a x; "));
            acks(b, &b->parties[1 + home], MQTT_PUBACK, id);
        }
        assert_non_null(strstr(said(pub), "puback"));
    }
    bench_close(b);
}

static void connect_twice(struct bench *b, const struct hello *h, long at)
{
    connects(b, &b->parties[0], "d0", h);
    settle(b);
    (void)mem_fail_after(at);
    connects(b, &b->parties[1], "d0", h);
    settle(b);
}

/* A role whose clients are spread by client id: what memory is left never decides where one is at
 * home, or it would have two sessions and two connections. */
static void a_client_has_one_home(void **state)
{
    (void)state;
    static const char *const ids[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        bool failed = true;
        for (long at = 0; failed; at++) {
            struct bench *b = bench_open();
            role_set_many(b->any, true);
            connect_twice(b, &(struct hello){.client_id = ids[i], .resume = true}, at);
            failed = mem_fail_after(-1) != 0;
            settle(b);
            assert_true(b->counters[0].sessions + b->counters[1].sessions <= 1);
            bench_close(b);
        }
    }
}

static void asleep_with_a_message(struct bench *b, const struct hello *h)
{
    struct party *writer = &b->parties[0], *reader = &b->parties[1];
    connects(b, reader, device_at(b, 1, 0), h);
    settle(b);
    subscribes(b, reader, "t/#", 1);
    settle(b);
    is_cut(b, reader);
    connects(b, writer, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    settle(b);
    publishes(b, writer, "t/a", "kept", 1, 1, false);
    settle(b);
    assert_non_null(strstr(said(writer), "puback 1; "));
    (void)said(reader);
}

static void new_policy(struct bench *b)
{
    uint64_t epoch;
    bench_policy(b, false);
    must(directory_policy_changed(b->directory, &epoch));
}

/* After a change of policy both ends of what waits are asked again. When there is no memory for the
 * question, the message waits on: it is not taken for one that is denied. */
static void what_cannot_be_asked_is_not_dropped(void **state)
{
    (void)state;
    const struct hello h = {.client_id = "l", .resume = true};
    bool failed = true;
    for (long at = 0; failed; at++) {
        struct bench *b = bench_open();
        struct party *reader = &b->parties[1];
        asleep_with_a_message(b, &h);
        new_policy(b);
        realm_changes(b);
        (void)mem_fail_after(at);
        connects(b, reader, device_at(b, 1, 0), &h);
        settle(b);
        failed = mem_fail_after(-1) != 0;
        is_cut(b, reader);
        connects(b, reader, device_at(b, 1, 0), &h);
        settle(b);
        if (strstr(said(reader), "t/a kept; ") == NULL) {
            fail_msg("allocation %ld: dropped", at);
        }
        bench_close(b);
    }
}

/* New rights that cannot be made close the account, but not for good. */
static void rights_are_renewed_when_memory_is_back(void **state)
{
    (void)state;
    const struct hello h = {.client_id = "l", .resume = true};
    struct bench *b = bench_open();
    struct party *reader = &b->parties[1];
    asleep_with_a_message(b, &h);
    new_policy(b);
    bench_realm(b);
    (void)mem_fail_after(0);
    realm_to(b, 1);
    assert_true(mem_fail_after(-1));
    realm_to(b, 0);
    pass(b, 2000);
    connects(b, reader, device_at(b, 1, 0), &h);
    settle(b);
    assert_string_equal(said(reader), "connack 00 present; publish1 t/a kept; ");
    bench_close(b);
}

/* While nobody knows what the sleeper may have, nothing is acknowledged and dropped as denied. */
static void what_comes_before_the_rights_is_not_lost(void **state)
{
    (void)state;
    const struct hello h = {.client_id = "l", .resume = true};
    struct bench *b = bench_open();
    struct party *reader = &b->parties[1], *writer = &b->parties[2];
    asleep_with_a_message(b, &h);
    connects(b, writer, device_at(b, 1, 1), &(struct hello){.client_id = "w"});
    settle(b);
    (void)said(writer);
    new_policy(b);
    bench_realm(b);
    (void)mem_fail_after(0);
    realm_to(b, 1);
    assert_true(mem_fail_after(-1));
    publishes(b, writer, "t/b", "more", 1, 1, false);
    assert_string_equal(said(writer), "disconnect 89; ");
    realm_to(b, 0);
    settle(b);
    is_cut(b, writer);
    connects(b, writer, device_at(b, 1, 1), &(struct hello){.client_id = "w"});
    settle(b);
    (void)said(writer);
    publishes(b, writer, "t/b", "more", 1, 1, false);
    settle(b);
    assert_string_equal(said(writer), "puback 1; ");
    connects(b, reader, device_at(b, 1, 0), &h);
    settle(b);
    assert_string_equal(said(reader), "connack 00 present; publish1 t/a kept; publish1 t/b more; ");
    bench_close(b);
}

/* The others have it, and the store: a worker without memory for a retained message takes it in
 * later, and what came behind it, too. */
static void all_workers_retain_the_same(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    struct party *writer = &b->parties[0], *reader = &b->parties[1];
    connects(b, writer, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    settle(b);
    publishes(b, writer, "t/a", "first", 0, 0, true);
    publishes(b, writer, "t/a", "second", 0, 0, true);
    for (int i = 0; i < 3; i++) {
        (void)mem_fail_after(0);
        turn(b, 1);
        assert_true(mem_fail_after(-1));
        assert_true(worker_deadline(b->workers[1]) > b->now_ms); /* it does not spin */
        assert_true(worker_deadline(b->workers[1]) <= b->now_ms + 10);
    }
    connects(b, reader, device_at(b, 1, 0), &(struct hello){.client_id = "l"});
    settle(b);
    subscribes(b, reader, "t/#", 0);
    settle(b);
    assert_non_null(strstr(said(reader), "publish0r t/a second; "));
    bench_close(b);
}

/* A retained message with QoS 0 that meets the end of the memory is lost: also after a restart. */
static void what_is_not_retained_is_not_on_record(void **state)
{
    (void)state;
    bool failed = true;
    for (long at = 0; failed; at++) {
        struct bench *b = bench_open();
        struct party *writer = &b->parties[0];
        struct restore_report report = {0};
        connects(b, writer, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
        settle(b);
        (void)mem_fail_after(at);
        publishes(b, writer, "t/a", "x", 0, 0, true);
        failed = mem_fail_after(-1) != 0;
        settle(b);
        size_t n = b->counters[0].retained_messages;
        assert_int_equal(b->counters[1].retained_messages, n);
        bench_crash(b, 1000, &report);
        assert_int_equal(report.retained, n);
        bench_close(b);
    }
}

/* Exactly once, also for who got it before another worker met the end of its memory. */
static void short_memory_elsewhere_doubles_nothing(void **state)
{
    (void)state;
    for (long at = 0; at < 4; at++) {
        struct bench *b = bench_open();
        struct party *writer = &b->parties[0], *near = &b->parties[1], *far = &b->parties[2];
        const struct hello h = {.client_id = "l", .resume = true};
        connects(b, near, device_at(b, 0, 1), &h);
        connects(b, far, device_at(b, 1, 0), &h);
        connects(b, writer, device_at(b, 0, 0), &(struct hello){.client_id = "p", .resume = true});
        settle(b);
        subscribes(b, near, "t/#", 2);
        subscribes(b, far, "t/#", 2);
        settle(b);
        (void)said(near);
        (void)said(far);
        publishes(b, writer, "t/a", "x", 2, 1, false);
        (void)mem_fail_after(at);
        turn(b, 1);
        (void)mem_fail_after(-1);
        settle(b);
        assert_non_null(strstr(said(writer), "pubrec 1; "));
        assert_string_equal(said(near), "publish2 t/a x; ");
        assert_string_equal(said(far), "publish2 t/a x; ");
        bench_close(b);
    }
}

/* Who is told that it has subscribed gets what is retained, or loses the connection. */
static void a_suback_brings_what_is_retained(void **state)
{
    (void)state;
    bool failed = true;
    for (long at = 0; failed; at++) {
        struct bench *b = bench_open();
        struct party *writer = &b->parties[0], *reader = &b->parties[1];
        connects(b, writer, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
        connects(b, reader, device_at(b, 1, 0), &(struct hello){.client_id = "l"});
        settle(b);
        publishes(b, writer, "t/a", "kept", 1, 1, true);
        settle(b);
        new_policy(b);
        realm_changes(b);
        (void)said(reader);
        (void)mem_fail_after(at);
        subscribes(b, reader, "t/#", 1);
        settle(b);
        failed = mem_fail_after(-1) != 0;
        settle(b);
        const char *text = said(reader);
        if (strstr(text, "suback 01; ") != NULL && strstr(text, "t/a kept; ") == NULL &&
            reader->conn != 0) {
            fail_msg("allocation %ld: subscribed, and not given what is retained", at);
        }
        assert_true(failed || strstr(text, "publish1r t/a kept; ") != NULL);
        bench_close(b);
    }
}

/* A CONNECT that fails changes nothing about the session: it does not end by the expiry that was
 * asked for. */
static void a_failed_connect_leaves_the_session(void **state)
{
    (void)state;
    bool failed = true;
    for (long at = 0; failed; at++) {
        struct bench *b = bench_open();
        struct party *p = &b->parties[1];
        const char *name = device_at(b, 1, 0);
        const struct hello h = {.client_id = "l", .resume = true};
        asleep_with_a_message(b, &h);
        (void)mem_fail_after(at);
        connects(b, p, name,
                 &(struct hello){.client_id = "l", .resume = true, .is_last = true, .will = "t/w"});
        settle(b);
        failed = mem_fail_after(-1) != 0;
        bool is_admitted = strstr(said(p), "connack 00") != NULL;
        is_cut(b, p);
        connects(b, p, name, &h);
        settle(b);
        bool is_kept = strstr(said(p), "connack 00 present; publish1 t/a kept; ") != NULL;
        assert_int_equal(is_kept, !is_admitted);
        bench_close(b);
    }
}

static bool retains(struct bench *b, const char *name)
{
    struct party *p = &b->parties[2];
    connects(b, p, name, &(struct hello){.client_id = "r"});
    settle(b);
    subscribes(b, p, "t/#", 1);
    settle(b);
    bool has = strstr(said(p), "t/a old") != NULL;
    is_cut(b, p);
    settle(b);
    return has;
}

/* A message, or the end of one, that met the end of the memory is nowhere: a retained one counts
 * from its body on, so there is none before those that last have theirs in their queues. */
static void what_is_refused_clears_nothing_on_record(void **state)
{
    (void)state;
    bool failed = true;
    for (long at = 0; failed; at++) {
        struct bench *b = bench_open();
        struct restore_report report;
        struct party *pub = &b->parties[0], *sub = &b->parties[1];
        connects(b, sub, device_at(b, 0, 1), &(struct hello){.client_id = "l", .resume = true});
        settle(b);
        subscribes(b, sub, "t/#", 1);
        settle(b);
        connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
        settle(b);
        publishes(b, pub, "t/a", "old", 1, 1, true);
        for (uint16_t id = 2; id <= 8; id++) { /* as many as its queue has room for at first */
            publishes(b, pub, "t/b", "x", 1, id, false);
        }
        settle(b);
        (void)mem_fail_after(at);
        publishes(b, pub, "t/a", "", 1, 9, true);
        failed = mem_fail_after(-1) != 0;
        settle(b);
        bool is_here = retains(b, device_at(b, 0, 2)), is_there = retains(b, device_at(b, 1, 2));
        bench_crash(b, 1000, &report);
        bool is_kept = retains(b, device_at(b, 0, 2));
        if (is_here != is_kept || is_there != is_kept) {
            fail_msg("allocation %ld: worker 0 %d, worker 1 %d, on record %d", at, is_here,
                     is_there, is_kept);
        }
        bench_close(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails_once),
                                       cmocka_unit_test(a_delivery_allocates_nothing),
                                       cmocka_unit_test(a_client_has_one_home),
                                       cmocka_unit_test(what_cannot_be_asked_is_not_dropped),
                                       cmocka_unit_test(all_workers_retain_the_same),
                                       cmocka_unit_test(what_is_not_retained_is_not_on_record),
                                       cmocka_unit_test(what_is_refused_clears_nothing_on_record),
                                       cmocka_unit_test(short_memory_elsewhere_doubles_nothing),
                                       cmocka_unit_test(a_suback_brings_what_is_retained),
                                       cmocka_unit_test(a_failed_connect_leaves_the_session),
                                       cmocka_unit_test(rights_are_renewed_when_memory_is_back),
                                       cmocka_unit_test(what_comes_before_the_rights_is_not_lost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
