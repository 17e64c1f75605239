#include "core/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "core/account.h"
#include "core/msg.h"
#include "core/passage.h"

static struct policy *empty(void)
{
    struct policy *p;
    assert_int_equal(policy_new(&p), OK);
    return p;
}

static struct flow *add(struct policy *p, const char *from, const char *to, const char *topic)
{
    struct flow *f = NULL;
    assert_int_equal(policy_add_flow(p, slice_text(from), slice_text(to), &f), OK);
    if (topic != NULL) {
        assert_int_equal(flow_add_topic(f, slice_text(topic)), OK);
    }
    return f;
}

static bool lets(const struct policy *p, const char *from, const char *to, const char *topic)
{
    return policy_lets_flow(p, flow_segment(slice_text(from)), flow_segment(slice_text(to)),
                            slice_text(topic));
}

static void deny_is_the_default(void **state)
{
    (void)state;
    struct policy *p = empty();
    assert_true(lets(p, "field", "field", "a/b"));
    assert_false(lets(p, "field", "control", "a/b"));
    add(p, "field", "control", NULL);
    assert_false(lets(p, "field", "control", "a/b"));
    policy_unref(p);
}

static void a_flow_has_one_direction_and_its_topics(void **state)
{
    (void)state;
    struct policy *p = empty();
    struct flow *f = add(p, "field", "control", "sensors/#");
    assert_int_equal(flow_add_topic(f, slice_text("state/+/on")), OK);
    add(p, "control", "field", "commands/#");
    add(p, "field", "office", "#");
    static const struct {
        const char *from, *to, *topic;
        bool passes;
    } cases[] = {
        {"field", "control", "sensors/a/b", true},   {"field", "control", "sensors", true},
        {"field", "control", "sensor", false},       {"field", "control", "state/a/on", true},
        {"field", "control", "state/a/b/on", false}, {"control", "field", "sensors/a", false},
        {"control", "field", "commands/a", true},    {"field", "office", "anything", true},
        {"field", "office", "$SYS/x", false},        {"control", "office", "sensors/a", false},
        {"office", "field", "anything", false},      {"nowhere", "control", "sensors/a", false},
        {"office", "office", "$SYS/x", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (lets(p, cases[i].from, cases[i].to, cases[i].topic) != cases[i].passes) {
            fail_msg("%s to %s: %s", cases[i].from, cases[i].to, cases[i].topic);
        }
    }
    policy_unref(p);
}

static void bad_flows_are_refused(void **state)
{
    (void)state;
    struct policy *p = empty();
    struct flow *f = NULL;
    static const char *const names[] = {"", "a b", "a/b", "+", "#", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(policy_add_flow(p, slice_text(names[i]), slice_text("b"), &f),
                         ERR_MALFORMED);
        assert_int_equal(policy_add_flow(p, slice_text("b"), slice_text(names[i]), &f),
                         ERR_MALFORMED);
    }
    assert_int_equal(policy_add_flow(p, slice_text("a"), slice_text("a"), &f), ERR_EXISTS);
    f = add(p, "a", "b", NULL);
    static const char *const topics[] = {"", "a/#/b", "a+", "$share/g/a", "#a"};
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        assert_int_equal(flow_add_topic(f, slice_text(topics[i])), ERR_MALFORMED);
    }
    for (size_t i = 0; i < FLOW_TOPICS_MAX; i++) {
        assert_int_equal(flow_add_topic(f, slice_text("t")), OK);
    }
    assert_int_equal(flow_add_topic(f, slice_text("t")), ERR_LIMIT);
    for (size_t i = 1; i < POLICY_FLOWS_MAX; i++) {
        add(p, "a", "b", NULL);
    }
    assert_int_equal(policy_add_flow(p, slice_text("a"), slice_text("b"), &f), ERR_LIMIT);
    policy_unref(p);
}

/* The number is on disk: it may never change. */
static void numbers_last(void **state)
{
    (void)state;
    assert_int_equal(flow_segment(slice_text("field")), 0x67826267);
    assert_true(flow_segment((struct slice){0}) >= FLOW_SEGMENT_LEAST);
    assert_int_not_equal(flow_segment(slice_text("a")), flow_segment(slice_text("b")));
}

static struct account *account(const struct policy *p, const char *segment)
{
    struct principal_attr attr = {.key = PRINCIPAL_SEGMENT};
    struct principal *who = NULL;
    struct account *a = NULL;
    (void)snprintf(attr.value, sizeof(attr.value), "%s", segment != NULL ? segment : "");
    assert_int_equal(
        principal_new(1, slice_text("dev"), slice_text("r"), &attr, segment != NULL ? 1 : 0, &who),
        OK);
    assert_int_equal(account_new(p, who, 1, 0, &a), OK);
    principal_unref(who);
    return a;
}

static void the_passage_asks(void **state)
{
    (void)state;
    struct policy *p = empty();
    add(p, "field", "control", "sensors/#");
    struct account *field = account(p, NULL), *control = account(p, "control");
    struct decision why;
    struct msg *m = NULL;
    assert_int_equal(msg_new(slice_text("sensors/a"), (struct slice){0}, slice_text("x"), &m), OK);
    m->segment = field->segment;
    assert_int_equal(field->segment, flow_segment(slice_text(PRINCIPAL_SEGMENT_DEFAULT)));
    assert_int_equal(passage_hear(field, m), OK);
    assert_int_equal(passage_hear(control, m), OK);
    m->segment = control->segment;
    assert_int_equal(passage_hear(control, m), OK);
    assert_int_equal(passage_hear(field, m), ERR_DENIED);
    assert_int_equal(passage_segment(control, "control", &why), OK);
    assert_int_equal(passage_segment(field, "field", &why), OK);
    assert_int_equal(passage_segment(control, "field", &why), ERR_DENIED);
    assert_non_null(strstr(why.rule, "segment control"));
    /* A new policy without the flow. */
    struct policy *none = empty();
    assert_int_equal(account_renew(control, none, control->principal, 2), OK);
    m->segment = field->segment;
    assert_int_equal(passage_hear(control, m), ERR_DENIED);
    account_free(field);
    account_free(control);
    msg_unref(m);
    policy_unref(p);
    policy_unref(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(deny_is_the_default),
                                       cmocka_unit_test(a_flow_has_one_direction_and_its_topics),
                                       cmocka_unit_test(bad_flows_are_refused),
                                       cmocka_unit_test(numbers_last),
                                       cmocka_unit_test(the_passage_asks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
