/* What a quarantined account says is moved; whose topics those are; what it may be told. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/scope.h"
#include "core/flow.h"
#include "core/passage.h"
#include "core/quarantine.h"

struct bench {
    struct policy *policy;
    struct principal *principal;
    struct account *account;
};

static void bench_make(struct bench *b, uint8_t answers)
{
    struct role *r = NULL;
    assert_int_equal(policy_new(&b->policy), OK);
    assert_int_equal(policy_add_role(b->policy, slice_text("sensor"), &r), OK);
    role_limits(r)->publish_rate = 11;
    role_limits(r)->publish_burst = 30;
    assert_int_equal(role_add_resource(r, slice_text("/fw"), METHOD_GET, 3), OK);
    assert_int_equal(
        principal_new(5, slice_text("d1"), slice_text("sensor"), NULL, 0, &b->principal), OK);
    b->principal->answers = answers;
    assert_int_equal(account_new(b->policy, b->principal, 1, 0, &b->account), OK);
}

static void bench_done(struct bench *b)
{
    account_free(b->account);
    principal_unref(b->principal);
    policy_unref(b->policy);
}

static struct msg *made(const struct bench *b)
{
    struct msg *m = NULL;
    assert_int_equal(msg_new(slice_text("a/b"), slice_text("props"), slice_text("payload"), &m),
                     OK);
    m->qos = 1;
    m->retain = true;
    m->is_utf8 = true;
    m->publisher = 5;
    m->segment = b->account->segment;
    m->epoch = 9;
    m->content_format = 50;
    m->expires_at_ms = 77;
    return m;
}

static void it_is_moved_whole_and_not_retained(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b;
    bench_make(&b, PRINCIPAL_QUARANTINED);
    struct msg *m = made(&b);
    assert_int_equal(quarantine_take(b.account, &m), OK);
    assert_true(slice_is(m->topic, "$quarantine/d1/a/b"));
    assert_true(slice_is(m->props, "props") && slice_is(m->payload, "payload"));
    assert_true(m->qos == 1 && !m->retain && m->is_utf8 && m->publisher == 5 && m->epoch == 9);
    assert_true(m->content_format == 50 && m->expires_at_ms == 77);
    assert_int_equal(m->segment, flow_segment_of(b.principal));
    assert_true(quarantine_is_of(b.principal, m->topic));
    msg_unref(m);
}

static void others_are_left_alone(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b;
    bench_make(&b, PRINCIPAL_THROTTLED | PRINCIPAL_STEPPED_UP);
    struct msg *m = made(&b), *before = m;
    assert_int_equal(quarantine_take(b.account, &m), OK);
    assert_ptr_equal(m, before);
    assert_int_equal(passage_hear(b.account, m), OK);
    msg_unref(m);
}

static void whose_topics_they_are(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b;
    bench_make(&b, 0);
    static const char *const no[] = {"a/b",
                                     "$quarantine",
                                     "$quarantine/d1",
                                     "$quarantine/d1/",
                                     "$quarantine/d12/a",
                                     "$quarantine/d/a",
                                     "$quarantine/",
                                     "x$quarantine/d1/a"};
    for (size_t i = 0; i < COUNT_OF(no); i++) {
        assert_false(quarantine_is_of(b.principal, slice_text(no[i])));
    }
    assert_true(quarantine_is_of(b.principal, slice_text("$quarantine/d1/a")));
    assert_false(topic_covers(slice_text("#"), slice_text("$quarantine/d1/a")));
    assert_false(topic_covers(slice_text("+/d1/a"), slice_text("$quarantine/d1/a")));
}

static void it_hears_nothing_and_reaches_no_resource(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b;
    struct decision why;
    bench_make(&b, PRINCIPAL_QUARANTINED);
    struct msg *m = made(&b);
    m->segment = flow_segment_of(b.principal);
    assert_int_equal(passage_hear(b.account, m), ERR_DENIED);
    assert_int_equal(passage_resource(b.account, slice_text("/fw"), METHOD_GET, &why), ERR_DENIED);
    b.principal->answers = 0; /* as the next version of it has */
    assert_int_equal(account_renew(b.account, b.policy, b.principal, 2), OK);
    assert_int_equal(passage_hear(b.account, m), OK);
    assert_int_equal(passage_resource(b.account, slice_text("/fw"), METHOD_GET, &why), OK);
    msg_unref(m);
}

static void a_throttled_one_has_a_tenth(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b;
    bench_make(&b, PRINCIPAL_THROTTLED);
    assert_int_equal(b.account->publishes.rate, 2); /* never nothing: it is rounded up */
    assert_int_equal(b.account->publishes.burst, 3);
    b.principal->answers = 0;
    assert_int_equal(account_renew(b.account, b.policy, b.principal, 2), OK);
    assert_int_equal(b.account->publishes.rate, 11);
    assert_int_equal(b.account->publishes.burst, 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_moved_whole_and_not_retained),
        cmocka_unit_test(others_are_left_alone),
        cmocka_unit_test(whose_topics_they_are),
        cmocka_unit_test(it_hears_nothing_and_reaches_no_resource),
        cmocka_unit_test(a_throttled_one_has_a_tenth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
