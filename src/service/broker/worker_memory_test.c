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
    connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p", .will = "t/will"});
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
