/* Shared subscriptions on two workers: whose turn, who takes over. docs/ORDER.md, rule 6. */
#include "service/broker/worker_group_story_test.h"

/* ---- whose turn ---- */

/* SPEC: MQTT5 4.8.2 */
static void each_message_has_one_reader(void **state)
{
    struct bench *b = *state;
    enum { MESSAGES = 60, READERS = 3 };
    struct party *p = publisher(b);
    size_t total[READERS] = {0};
    joins(b, &b->parties[0], device_at(b, 0, 0), &clean);
    joins(b, &b->parties[1], device_at(b, 1, 0), &durable);
    joins(b, &b->parties[2], device_at(b, 0, 1), &durable);
    for (int i = 0; i < MESSAGES; i++) {
        char text[16];
        size_t n = 0;
        (void)snprintf(text, sizeof(text), "m%02d", i);
        says(b, p, text, (uint8_t)(i % 3 == 2 ? 0 : i % 3));
        for (int r = 0; r < READERS; r++) {
            size_t its = occurs(said(&b->parties[r]), text);
            total[r] += its;
            n += its;
        }
        assert_int_equal(n, 1);
        acks(b, p, MQTT_PUBREL, 7);
        settle(b);
    }
    for (int r = 0; r < READERS; r++) {
        assert_int_equal(total[r], MESSAGES / READERS);
    }
}

/* SPEC: MQTT5-4.8.2-3: that of the member whose turn it is */
static void each_with_its_own_qos(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b);
    for (unsigned i = 0; i < 3; i++) {
        is_in(b, &b->parties[i], device_at(b, i % 2, 3),
              &(struct hello){.client_id = i < 2 ? "c" : "d"});
        subscribed(b, &b->parties[i], share, (uint8_t)i);
    }
    for (uint16_t i = 0; i < 3; i++) {
        publishes(b, p, "t/a", "x", 2, (uint16_t)(i + 1), false);
        settle(b);
    }
    EXPECT(&b->parties[0], "publish0 t/a x; ");
    EXPECT(&b->parties[1], "publish1 t/a x; ");
    EXPECT(&b->parties[2], "publish2 t/a x; ");
}

/* Two groups and an ordinary subscriber: a copy each. One session, both ways: two. */
static void groups_do_not_disturb_each_other(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &clean);
    subscribed(b, a, "t/#", 1);
    is_in(b, c, device_at(b, 1, 0), &clean);
    subscribed(b, c, "$share/h/t/#", 1);
    says(b, p, "x", 1);
    EXPECT(c, "publish1 t/a x; ");
    EXPECT(a, "publish1 t/a x; publish1 t/a x; ");
}

/* A busy reader is passed over: its window is full. */
static void a_full_window_is_passed_over(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b), *slow = &b->parties[0], *quick = &b->parties[1];
    role_limits(b->any)->inflight = 2;
    realm_changes(b);
    joins(b, slow, device_at(b, 1, 0), &clean);
    joins(b, quick, device_at(b, 1, 1), &clean);
    for (uint16_t i = 0; i < 10; i++) {
        says(b, p, "x", 1);
        const char *got = said(quick);
        if (*got != '\0') {
            acks(b, quick, MQTT_PUBACK, (uint16_t)(i < 4 ? i / 2 + 1 : i - 1));
            settle(b);
        }
    }
    assert_int_equal(occurs(said(slow), "publish1"), 2);
}

/* SPEC: MQTT5-3.8.4-4: and no retained message comes with it. */
static void no_retained_for_a_group(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b), *a = &b->parties[0];
    publishes(b, p, "t/a", "old", 1, 1, true);
    settle(b);
    joins(b, a, device_at(b, 0, 0), &clean);
    EXPECT(a, "");
    subscribed(b, a, share, 2);
    EXPECT(a, "");
}

static void not_what_policy_denies(void **state)
{
    struct bench *b = *state;
    struct party *a = &b->parties[0];
    is_in(b, a, device_at(b, 0, 0), &clean);
    subscribes(b, a, "$share/g/#", 0);
    settle(b);
    EXPECT(a, "suback 87; ");
    assert_int_equal(events_of(b, EVENT_acl_deny), 1);
}

/* One is not the other, also when the filter is the same. SPEC: MQTT-3.10.4-1 */
static void unsubscribing_names_the_group(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b), *a = &b->parties[0];
    joins(b, a, device_at(b, 0, 0), &clean);
    unsubscribes(b, a, "t/#");
    unsubscribes(b, a, "$share/h/t/#");
    (void)said(a);
    says(b, p, "still", 0);
    EXPECT(a, "publish0 t/a still; ");
    unsubscribes(b, a, share);
    (void)said(a);
    says(b, p, "gone", 0);
    EXPECT(a, "");
    assert_int_equal(filters_count(b->workers[0]->filters), 0);
    assert_int_equal(filters_count(b->workers[1]->filters), 0);
}

/* ---- nobody there ---- */

static void the_durable_one_keeps_it(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    joins(b, c, device_at(b, 1, 0), &durable);
    is_cut(b, a);
    settle(b);
    says(b, p, "one", 1);
    EXPECT(c, "publish1 t/a one; ");
    acks(b, c, MQTT_PUBACK, 1);
    is_cut(b, c);
    settle(b);
    says(b, p, "two", 1);
    says(b, p, "three", 1);
    connects(b, a, device_at(b, 0, 0), &durable);
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    size_t n = occurs(said(a), "publish1") + occurs(said(c), "publish1");
    assert_int_equal(n, 2);
    assert_int_equal(occurs(a->text, "publish1"), 1); /* the shortest queue */
}

/* ---- a member goes ---- */

/* Of the same worker (0) or of the other (1); lost is lost with its connection. */
static void a_clean_one_is_lost(struct bench *b, unsigned home)
{
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &clean);
    says(b, p, "x", 1);
    EXPECT(a, "publish1 t/a x; ");
    joins(b, c, device_at(b, home, 1), &clean);
    is_cut(b, a);
    settle(b);
    EXPECT(c, "publish1 t/a x; ");
    acks(b, c, MQTT_PUBACK, 1);
    settle(b);
    is_cut(b, c);
    settle(b);
}

static void unacknowledged_goes_to_another_here(void **state)
{
    a_clean_one_is_lost(*state, 0);
}

static void unacknowledged_goes_to_another_there(void **state)
{
    a_clean_one_is_lost(*state, 1);
}

/* SPEC: MQTT5-4.8.2-5: what has left with QoS 2 is nobody else's, ever. */
static void qos2_that_has_left_stays(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    says(b, p, "left", 2);
    acks(b, p, MQTT_PUBREL, 7);
    settle(b);
    EXPECT(a, "publish2 t/a left; ");
    is_cut(b, a);
    settle(b);
    publishes(b, p, "t/a", "waits", 2, 8, false);
    settle(b);
    joins(b, c, device_at(b, 1, 0), &clean);
    EXPECT(c, "");
    connects(b, a, device_at(b, 0, 0), &clean); /* the session of before ends */
    settle(b);
    EXPECT(c, "publish2 t/a waits; ");
    EXPECT(a, "connack 00; ");
}

/* SPEC: MQTT5-4.8.2-4 */
static void qos2_is_completed_by_who_had_it(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    says(b, p, "left", 2);
    EXPECT(a, "publish2 t/a left; ");
    is_cut(b, a);
    joins(b, c, device_at(b, 1, 0), &clean);
    connects(b, a, device_at(b, 0, 0), &durable);
    settle(b);
    EXPECT(a, "connack 00 present; publish2d t/a left; ");
    EXPECT(c, "");
}

/* SPEC: MQTT5-4.8.2-6: what a member refuses is refused for all */
static void refused_by_its_reader(void **state)
{
    struct bench *b = *state;
    static const uint8_t no[2][5] = {{0x40, 3, 0, 1, 0x80}, {0x50, 3, 0, 2, 0x97}};
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &clean);
    says(b, p, "one", 1);
    says(b, p, "two", 2);
    EXPECT(a, "publish1 t/a one; publish2 t/a two; ");
    joins(b, c, device_at(b, 1, 0), &clean);
    for (size_t i = 0; i < 2; i++) {
        give(b, a, slice_of(no[i], sizeof(no[i])));
        settle(b);
    }
    is_cut(b, a);
    settle(b);
    EXPECT(c, "");
}

/* The one that was chosen on the other worker has left when the message arrives. */
static void gone_before_it_arrives(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &clean);
    says(b, p, "warm up", 0);
    (void)said(a);
    joins(b, c, device_at(b, 1, 1), &clean);
    is_cut(b, c); /* so a is chosen for sure */
    settle(b);
    publishes(b, p, "t/a", "x", 1, 9, false);
    joins(b, &b->parties[2], device_at(b, 1, 0), &clean);
    (void)said(&b->parties[2]);
    is_cut(b, a);
    settle(b);
    EXPECT(&b->parties[2], "publish1 t/a x; ");
}

/* The grant ends: the queue of who may not have it any more goes to who may. */
static void without_a_grant_it_is_anothers(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    is_cut(b, a);
    settle(b);
    says(b, p, "waits", 1);
    joins(b, c, device_at(b, 1, 0), &clean);
    assert_int_equal(
        directory_disable(b->directory, slice_text(device_at(b, 0, 0)), slice_text("lost")), OK);
    realm_changes(b);
    settle(b);
    EXPECT(c, ""); /* it may be enabled again */
    says(b, p, "next", 1);
    EXPECT(c, "publish1 t/a next; ");
    assert_int_equal(directory_remove(b->directory, slice_text(device_at(b, 0, 0))), OK);
    realm_changes(b);
    settle(b);
    EXPECT(c, "publish1 t/a waits; ");
}

/* Role any has no topics under w/ any more, role small still has. */
static void any_loses_a_grant(struct bench *b)
{
    struct role *small = NULL;
    uint64_t epoch;
    policy_unref(b->policy);
    b->policy = NULL;
    must(policy_new(&b->policy));
    bench_role(b->policy, "any", true, &b->any);
    bench_role(b->policy, "small", false, &small);
    assert_int_equal(directory_policy_changed(b->directory, &epoch), OK);
    realm_changes(b);
    settle(b);
}

/* The policy takes the filter away from one role: its members' subscriptions end, and what waits
 * for them is asked about when it would leave, and is another's then. */
static void policy_ends_the_subscription(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[3], *a = &b->parties[0], *c = &b->parties[1];
    is_in(b, p, "s1", &clean);
    is_in(b, a, device_at(b, 0, 0), &durable);
    subscribed(b, a, "$share/g/w/#", 1);
    is_cut(b, a);
    settle(b);
    publishes(b, p, "w/a", "waits", 1, 7, false);
    settle(b);
    is_in(b, c, "s0", &clean);
    subscribed(b, c, "$share/g/w/#", 1);
    any_loses_a_grant(b);
    EXPECT(c, "");
    publishes(b, p, "w/a", "next", 1, 8, false);
    settle(b);
    EXPECT(c, "publish1 w/a next; ");
    connects(b, a, device_at(b, 0, 0), &durable);
    settle(b);
    EXPECT(a, "connack 00 present; ");
    EXPECT(c, "publish1 w/a waits; ");
}

/* What left with QoS 2 before the grant ended is dropped with it: another member may not have what
 * the first one may have. SPEC: MQTT5-4.8.2-5 */
static void without_a_grant_qos2_that_has_left_is_nobodys(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[3], *a = &b->parties[0], *c = &b->parties[1];
    is_in(b, p, "s1", &clean);
    is_in(b, a, device_at(b, 0, 0), &durable);
    subscribed(b, a, "$share/g/w/#", 2);
    publishes(b, p, "w/a", "left", 2, 7, false);
    settle(b);
    EXPECT(a, "publish2 w/a left; ");
    is_cut(b, a);
    settle(b);
    publishes(b, p, "w/a", "waits", 2, 8, false);
    settle(b);
    is_in(b, c, "s0", &clean);
    subscribed(b, c, "$share/g/w/#", 2);
    any_loses_a_grant(b);
    connects(b, a, device_at(b, 0, 0), &durable);
    settle(b);
    EXPECT(a, "connack 00 present; ");
    EXPECT(c, "publish2 w/a waits; ");
}

/* ---- without memory ---- */

static void tell_story(struct bench *b, bool *ret_is_acked)
{
    struct party *p = &b->parties[3];
    for (unsigned i = 0; i < 2; i++) {
        connects(b, &b->parties[i], device_at(b, i, 0), &durable);
        settle(b);
        subscribes(b, &b->parties[i], share, 1);
        settle(b);
    }
    connects(b, p, device_at(b, 1, 2), &clean);
    settle(b);
    publishes(b, p, "t/a", "kept", 1, 1, false);
    publishes(b, p, "t/a", "kept", 1, 2, false);
    settle(b);
    *ret_is_acked = strstr(said(p), "puback 1; puback 2; ") != NULL;
}

/* What was acknowledged is some member's. */
static void every_allocation_fails_once(void **state)
{
    (void)state;
    bool failed = true;
    long at = 0;
    for (; failed; at++) {
        struct bench *b = bench_open();
        bool is_acked = false, is_subscribed = true;
        size_t n = 0;
        (void)mem_fail_after(at);
        tell_story(b, &is_acked);
        failed = mem_fail_after(-1) != 0;
        for (unsigned i = 0; i < 2; i++) {
            struct party *p = &b->parties[i];
            is_subscribed = is_subscribed && strstr(said(p), "suback 01") != NULL;
            n += occurs(p->text, "kept");
            is_cut(b, p);
            connects(b, p, device_at(b, i, 0), &durable);
            settle(b);
            n += occurs(said(p), "publish1 t/a kept");
        }
        if (is_acked && is_subscribed && n < 2) {
            fail_msg("allocation %ld: acknowledged, and %zu of 2 received", at, n);
        }
        assert_true(failed || (is_acked && is_subscribed && n == 2));
        bench_close(b);
    }
    assert_true(at > 20);
}

/* The end of a session with something left behind: any allocation may fail: it comes whole, or not
 * at all and is counted. */
static void passing_on_without_memory(void **state)
{
    (void)state;
    bool failed = true;
    for (long at = 0; failed; at++) {
        struct bench *b = bench_open();
        struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
        joins(b, a, device_at(b, 0, 0), &clean);
        says(b, p, "x", 1);
        EXPECT(a, "publish1 t/a x; ");
        joins(b, c, device_at(b, (unsigned)at % 2, 1), &durable);
        (void)mem_fail_after(at / 2);
        is_cut(b, a);
        settle(b);
        failed = mem_fail_after(-1) != 0;
        size_t n = occurs(said(c), "publish1 t/a x; ");
        assert_true(n == 1 || (n == 0 && b->counters[0].dropped_memory > 0));
        bench_close(b);
    }
}

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)
    const struct CMUnitTest tests[] = {
        STORY(each_message_has_one_reader),
        STORY(each_with_its_own_qos),
        STORY(groups_do_not_disturb_each_other),
        STORY(a_full_window_is_passed_over),
        STORY(no_retained_for_a_group),
        STORY(not_what_policy_denies),
        STORY(unsubscribing_names_the_group),
        STORY(the_durable_one_keeps_it),
        STORY(unacknowledged_goes_to_another_here),
        STORY(unacknowledged_goes_to_another_there),
        STORY(qos2_that_has_left_stays),
        STORY(qos2_is_completed_by_who_had_it),
        STORY(refused_by_its_reader),
        STORY(gone_before_it_arrives),
        STORY(without_a_grant_it_is_anothers),
        STORY(policy_ends_the_subscription),
        STORY(without_a_grant_qos2_that_has_left_is_nobodys),
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(passing_on_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
