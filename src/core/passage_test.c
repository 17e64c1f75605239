#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "core/passage.h"

static const struct siphash_key KEY = {.k0 = 1, .k1 = 2};

struct bench {
    struct policy *policy;
    struct role *role;
    struct principal *principal;
    struct account *account;
};

static struct policy *make_policy(const char *subscribe, struct role **ret_role)
{
    struct policy *p = NULL;
    assert_int_equal(policy_new(&p), OK);
    assert_int_equal(policy_add_role(p, slice_text("sensor"), ret_role), OK);
    struct role *r = *ret_role;
    assert_int_equal(role_add_topic(r, POLICY_PUBLISH, slice_text("s/${device}/+"), true, 1, 1),
                     OK);
    assert_int_equal(role_add_topic(r, POLICY_SUBSCRIBE, slice_text(subscribe), false, 2, 2), OK);
    assert_int_equal(role_add_resource(r, slice_text("/fw"), METHOD_GET, 3), OK);
    struct role_limits *l = role_limits(r);
    l->connect_rate = 1;
    l->connect_burst = 2;
    l->publish_rate = 10;
    l->publish_burst = 3;
    l->subscriptions = 2;
    l->retained_count = 2;
    l->retained_bytes = 100;
    return p;
}

static struct principal *make_principal(enum principal_status status)
{
    struct principal *p = NULL;
    assert_int_equal(principal_new(5, slice_text("d1"), slice_text("sensor"), NULL, 0, &p), OK);
    p->status = status;
    return p;
}

static int setup(void **state)
{
    static struct bench b;
    b.policy = make_policy("c/#", &b.role);
    b.principal = make_principal(PRINCIPAL_ACTIVE);
    assert_int_equal(account_new(b.policy, b.principal, 1, 0, &b.account), OK);
    *state = &b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    account_free(b->account);
    policy_unref(b->policy);
    principal_unref(b->principal);
    return 0;
}

static enum err publish(struct account *a, const char *topic, enum passage_retain retain,
                        size_t payload_bytes, uint64_t now_ms, struct decision *d)
{
    *d = (struct decision){.err = ERR_COUNT};
    enum err e = passage_publish(a, slice_text(topic), 1, retain, payload_bytes, now_ms, d);
    assert_int_equal(d->err, e);
    assert_int_equal(d->rule[0] == '\0', e == OK);
    return e;
}

static void test_connect(void **state)
{
    struct account *a = ((struct bench *)*state)->account;
    struct decision d;
    assert_int_equal(passage_connect(a, slice_text("d2"), 0, &d), ERR_DENIED);
    assert_non_null(strstr(d.rule, "'d2'"));
    assert_int_equal(passage_connect(a, slice_text("d1"), 0, &d), OK);
    assert_int_equal(passage_connect(a, slice_text("d1"), 0, &d), OK);
    assert_int_equal(passage_connect(a, slice_text("d1"), 999, &d), ERR_QUOTA);
    assert_int_equal(passage_connect(a, slice_text("d1"), 1000, &d), OK);
    assert_true(slice_equal(account_key(a), slice_of(&a->principal->id, 8)));
}

static void test_publish(void **state)
{
    struct account *a = ((struct bench *)*state)->account;
    struct decision d;
    assert_int_equal(publish(a, "s/d2/t", RETAIN_NO, 1, 0, &d), ERR_DENIED);
    assert_non_null(strstr(d.rule, "publish under s/d1/+"));
    for (int i = 0; i < 3; i++) { /* a refusal spent nothing */
        assert_int_equal(publish(a, "s/d1/t", RETAIN_NO, 1, 0, &d), OK);
    }
    assert_int_equal(publish(a, "s/d1/t", RETAIN_NO, 1, 0, &d), ERR_QUOTA);
    assert_int_equal(publish(a, "s/d1/t", RETAIN_NO, 1, 100, &d), OK);
    assert_int_equal(passage_will(a, slice_text("s/d1/t"), 1, RETAIN_NO, 1, &d), OK);
    assert_int_equal(passage_will(a, slice_text("s/d2/t"), 1, RETAIN_NO, 1, &d), ERR_DENIED);
}

/* Whatever a role grants: only the server says what its alerts are, and all segments hear it. */
static void test_alerts_are_the_servers(void **state)
{
    struct role *role = NULL;
    struct policy *policy = make_policy("$sallyport/alerts/#", &role);
    struct principal *p = make_principal(PRINCIPAL_ACTIVE);
    struct account *a = NULL;
    struct decision d;
    struct msg *m = NULL;
    const struct slice topic = slice_text(PASSAGE_ALERTS "/sink"), none = {0};
    (void)state;
    assert_int_equal(role_add_topic(role, POLICY_PUBLISH, slice_text("$sallyport/#"), true, 1, 9),
                     OK);
    assert_int_equal(account_new(policy, p, 1, 0, &a), OK);
    assert_int_equal(publish(a, "$sallyport/alert", RETAIN_NO, 1, 0, &d), OK);
    assert_int_equal(publish(a, PASSAGE_ALERTS, RETAIN_NO, 1, 0, &d), ERR_DENIED);
    assert_int_equal(publish(a, PASSAGE_ALERTS "/sink", RETAIN_NEW, 0, 0, &d), ERR_DENIED);
    assert_non_null(strstr(d.rule, "server's own"));
    assert_int_equal(passage_will(a, topic, 1, RETAIN_NO, 1, &d), ERR_DENIED);
    assert_int_equal(msg_new(topic, none, none, &m), OK);
    m->segment = a->segment + 1;
    assert_int_equal(passage_hear(a, m), ERR_DENIED);
    m->publisher = PASSAGE_SERVER;
    assert_int_equal(passage_hear(a, m), OK);
    msg_unref(m);
    account_free(a);
    policy_unref(policy);
    principal_unref(p);
}

static void test_retained_bounds(void **state)
{
    struct account *a = ((struct bench *)*state)->account;
    struct decision d;
    assert_int_equal(publish(a, "s/d1/t", RETAIN_NEW, 101, 0, &d), ERR_TOO_LARGE);
    assert_int_equal(publish(a, "s/d1/t", RETAIN_NO, 101, 0, &d), OK);
    assert_int_equal(publish(a, "s/d1/t", RETAIN_NEW, 100, 0, &d), OK);
    a->n_retained = 2;
    assert_int_equal(publish(a, "s/d1/t", RETAIN_NEW, 1, 1000, &d), ERR_QUOTA);
    assert_int_equal(publish(a, "s/d1/t", RETAIN_REPLACE, 1, 1000, &d), OK);
    assert_int_equal(publish(a, "s/d1/t", RETAIN_NEW, 0, 1000, &d), OK); /* a clear */
}

static void test_subscribe_and_deliver(void **state)
{
    struct bench *b = *state;
    struct account *a = b->account;
    struct session *s = NULL;
    struct filters *f = NULL;
    struct sub *sub = NULL;
    struct interest_change change;
    struct decision d;
    assert_int_equal(session_new(1, a, slice_text("d1"), true, &s), OK);
    assert_int_equal(session_set_add(&a->sessions, &KEY, s), OK);
    assert_ptr_equal(session_set_find(&a->sessions, slice_text("d1")), s);
    assert_int_equal(filters_new(&KEY, &f), OK);
    assert_int_equal(passage_subscribe(a, s, slice_text("x"), true, &d), ERR_DENIED);
    assert_int_equal(passage_subscribe(a, s, slice_text("c/+"), true, &d), OK);
    assert_int_equal(filters_add(f, slice_text("c/+"), &s->subscriber, &sub, &change), OK);
    sub->epoch = a->epoch;
    s->subscriber.n_subs = 2;
    assert_int_equal(passage_subscribe(a, s, slice_text("c/x"), true, &d), ERR_QUOTA);
    assert_int_equal(passage_subscribe(a, s, slice_text("c/+"), false, &d), OK);
    assert_int_equal(passage_subscribe(a, NULL, slice_text("c/x"), true, &d), OK);
    s->subscriber.n_subs = 1;

    /* A newer policy still covers it: asked once, then one compare. */
    assert_int_equal(passage_deliver(a, sub, &d), OK);
    assert_int_equal(account_renew(a, b->policy, b->principal, 2), OK);
    assert_int_equal(passage_deliver(a, sub, &d), OK);
    assert_int_equal(sub->epoch, 2);
    /* One that does not cover it any more stops live deliveries. */
    struct role *r = NULL;
    struct policy *narrow = make_policy("c/only", &r);
    assert_int_equal(account_renew(a, narrow, b->principal, 3), OK);
    policy_unref(narrow);
    assert_int_equal(passage_deliver(a, sub, &d), ERR_DENIED);
    assert_int_equal(sub->epoch, 2);
    assert_int_equal(passage_resource(a, slice_text("/fw"), METHOD_GET, &d), OK);
    assert_int_equal(passage_resource(a, slice_text("/fw"), METHOD_PUT, &d), ERR_DENIED);

    filters_remove(f, sub, &change);
    filters_free(f);
    session_set_remove(&a->sessions, s);
    session_free(s);
}

static void expect_refusals(struct account *a, const char *word, enum err deliver)
{
    struct decision d;
    struct sub sub = {.epoch = a->epoch};
    assert_true(a->is_closed);
    assert_int_equal(passage_connect(a, slice_text("d1"), 0, &d), ERR_DENIED);
    assert_non_null(strstr(d.rule, word));
    assert_int_equal(publish(a, "s/d1/t", RETAIN_NO, 1, 0, &d), ERR_DENIED);
    assert_int_equal(passage_will(a, slice_text("s/d1/t"), 0, RETAIN_NO, 1, &d), ERR_DENIED);
    assert_int_equal(passage_subscribe(a, NULL, slice_text("c/x"), true, &d), ERR_DENIED);
    assert_int_equal(passage_deliver(a, &sub, &d), deliver);
    assert_int_equal(passage_resource(a, slice_text("/fw"), METHOD_GET, &d), ERR_DENIED);
}

static void expect_closed(struct account *a, const char *word)
{
    expect_refusals(a, word, ERR_DENIED);
}

static void test_closing(void **state)
{
    struct bench *b = *state;
    struct account *a = b->account;
    static const enum principal_status STATUS[] = {PRINCIPAL_DISABLED, PRINCIPAL_REVOKED};
    static const char *const WORD[] = {"disabled", "revoked"};
    for (size_t i = 0; i < COUNT_OF(STATUS); i++) {
        struct principal *p = make_principal(STATUS[i]);
        assert_int_equal(account_renew(a, b->policy, p, 2), OK);
        principal_unref(p);
        expect_closed(a, WORD[i]);
    }
    assert_int_equal(account_renew(a, b->policy, b->principal, 3), OK); /* enabled again */
    assert_false(a->is_closed);
    struct decision d;
    assert_int_equal(passage_connect(a, slice_text("d1"), 0, &d), OK);
    mem_fail_after(0); /* failure closes */
    assert_int_equal(account_renew(a, b->policy, b->principal, 4), ERR_NOMEM);
    mem_fail_after(-1);
    expect_refusals(a, "could not be renewed", ERR_NOMEM);
    assert_int_equal(account_renew(a, b->policy, b->principal, 5), OK);
    assert_int_equal(account_renew(a, b->policy, NULL, 6), OK);
    expect_closed(a, "removed");
}

static void test_renewal_keeps_budgets(void **state)
{
    struct bench *b = *state;
    struct account *a = b->account;
    struct decision d;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(publish(a, "s/d1/t", RETAIN_NO, 1, 0, &d), OK);
    }
    assert_int_equal(account_renew(a, b->policy, b->principal, 2), OK);
    assert_int_equal(publish(a, "s/d1/t", RETAIN_NO, 1, 0, &d), ERR_QUOTA);
}

/* Rate and burst are the role's of now; what was spent stays spent. */
static void test_budgets_of_the_role(void **state)
{
    struct bench *b = *state;
    struct account *a = b->account;
    struct role *role = NULL;
    assert_int_equal(account_rate(a, ACCOUNT_CONNECTS), 1);
    assert_true(account_take(a, ACCOUNT_CONNECTS, 1, 0));
    struct policy *wide = make_policy("c/#", &role);
    role_limits(role)->connect_rate = 4;
    role_limits(role)->connect_burst = 10;
    role_limits(role)->replay_rate = 5;
    assert_int_equal(account_renew(a, wide, b->principal, 2), OK);
    assert_int_equal(account_rate(a, ACCOUNT_CONNECTS), 4);
    assert_int_equal(account_wait_ms(a, ACCOUNT_CONNECTS, 1, 0), 0);
    assert_int_equal(account_wait_ms(a, ACCOUNT_CONNECTS, 2, 0), 250);
    assert_int_equal(account_wait_ms(a, ACCOUNT_CONNECTS, 11, 0), UINT64_MAX);
    assert_false(account_is_rested(a, 2249));
    assert_true(account_take(a, ACCOUNT_CONNECTS, 10, 2250));
    assert_true(account_is_rested(a, 5000));
    /* Fuller than the next role allows: cut to its burst, also when another one follows. */
    struct policy *narrow = make_policy("c/#", &role);
    role_limits(role)->replay_rate = 2;
    assert_int_equal(account_renew(a, narrow, b->principal, 3), OK);
    assert_int_equal(account_renew(a, wide, b->principal, 4), OK);
    assert_true(account_take(a, ACCOUNT_REPLAYS, 2, 0));
    assert_false(account_take(a, ACCOUNT_REPLAYS, 1, 0));
    assert_int_equal(account_wait_ms(a, ACCOUNT_REPLAYS, 1, 0), 200);
    policy_unref(wide);
    policy_unref(narrow);
}

static void test_new_no_memory(void **state)
{
    struct bench *b = *state;
    struct account *a = NULL;
    for (long n = 0; n < 2; n++) {
        mem_fail_after(n);
        assert_int_equal(account_new(b->policy, b->principal, 1, 0, &a), ERR_NOMEM);
        mem_fail_after(-1);
        assert_null(a);
    }
    assert_null(account_free(NULL));
}

static void test_publish_allocates_nothing(void **state)
{
    struct account *a = ((struct bench *)*state)->account;
    struct decision d;
    mem_fail_after(0);
    assert_int_equal(publish(a, "s/d1/t", RETAIN_NEW, 1, 0, &d), OK);
    assert_int_equal(publish(a, "s/d2/t", RETAIN_NEW, 1, 0, &d), ERR_DENIED);
    assert_int_equal(mem_fail_after(-1), 0);
}

#define PASSAGE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alerts_are_the_servers),
        PASSAGE_TEST(test_connect),
        PASSAGE_TEST(test_publish),
        PASSAGE_TEST(test_retained_bounds),
        PASSAGE_TEST(test_subscribe_and_deliver),
        PASSAGE_TEST(test_closing),
        PASSAGE_TEST(test_renewal_keeps_budgets),
        PASSAGE_TEST(test_budgets_of_the_role),
        PASSAGE_TEST(test_new_no_memory),
        PASSAGE_TEST(test_publish_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
