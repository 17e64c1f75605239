#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/mem.h"
#include "service/directory/policy_yaml.h"
#include "service/review/again.h"

static void json_release(json_t **j)
{
    json_decref(*j);
}

static json_t *line_of(const char *category, const char *protocol, const char *target,
                       const char *client_id, const char *reason)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "category", category, "protocol", protocol,
                     "principal", "a", "target", target, "client_id", client_id, "reason", reason);
}

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        const char *category, *protocol, *target, *client_id, *reason;
        bool is_act;
        enum act_kind kind;
        const char *what;
    } LINES[] = {
        {"allow", "mqtt", "t/a", "c", "first publish of this connection", true, ACT_PUBLISH, "t/a"},
        {"allow", "coap", "t/a", "", "first publish of this association", true, ACT_PUBLISH, "t/a"},
        {"allow", "mqtt", "$coap/d/PUT/x", "", "a command to d: 2.04", true, ACT_PUBLISH,
         "$coap/d/PUT/x"},
        {"allow", "mqtt", "t/#", "c", "subscribed with QoS 1", true, ACT_SUBSCRIBE, "t/#"},
        {"allow", "coap", "t/a", "", "observed", true, ACT_SUBSCRIBE, "t/a"},
        {"connect", "mqtt", "", "c", "accepted", true, ACT_CONNECT, "c"},
        {"connect", "coap", "", "", "an association", false, ACT_CONNECT, ""},
        {"allow", "coap", "/rd", "", "registers in the resource directory", false, 0, ""},
        {"allow", "coap", "/x", "", "first request of this association through the proxy", false, 0,
         ""},
        {"allow", "control", "backup", "", "admin", false, 0, ""},
        {"acl_deny", "mqtt", "t/a", "c", "no publish grant of role r matches 't/a'; add", true,
         ACT_PUBLISH, "t/a"},
        {"acl_deny", "mqtt", "t/#", "c", "no subscribe grant of role r covers 't/#'", true,
         ACT_SUBSCRIBE, "t/#"},
        {"acl_deny", "coap", "t/a", "", "no publish grant of role r", false, 0, ""},
        {"acl_deny", "mqtt", "t/a", "c", "first publish of this connection", false, 0, ""},
        {"connect", "mqtt", "", "0123456789012345678901234567890123456789012345678901234567890123~",
         "", false, 0, ""},
    };
    for (size_t i = 0; i < COUNT_OF(LINES); i++) {
        AUTO(json_release)
        json_t *line = line_of(LINES[i].category, LINES[i].protocol, LINES[i].target,
                               LINES[i].client_id, LINES[i].reason);
        struct act act;
        bool is_act = act_read(line, &act);
        if (is_act != LINES[i].is_act ||
            (is_act && (act.kind != LINES[i].kind || !slice_is(act.what, LINES[i].what)))) {
            fail_msg("%s %s", LINES[i].category, LINES[i].reason);
        }
        /* Who only says so proves nothing. */
        assert_int_equal(json_object_set_new(line, "claimed", json_true()), 0);
        assert_false(act_read(line, &act));
        assert_int_equal(json_object_del(line, "claimed"), 0);
        assert_int_equal(json_object_set_new(line, "principal", json_integer(1)), 0);
        assert_false(act_read(line, &act));
    }
}

static void test_what_was_refused_is_asked_as_it_was(void **state)
{
    (void)state;
    static const struct {
        const char *reason;
        uint8_t qos;
        bool retain;
    } ROWS[] = {
        {"role r, line 3: t/+ is granted without retain; publish without it", 0, true},
        {"role r, line 3: t/+ is granted up to QoS 0; publish with that", 1, false},
        {"role r, line 3: t/+ is granted up to QoS 1; publish with that", 2, false},
        {"no publish grant of role r matches 't/a'", 0, false},
    };
    for (size_t i = 0; i < COUNT_OF(ROWS); i++) {
        AUTO(json_release) json_t *line = line_of("acl_deny", "mqtt", "t/a", "c", ROWS[i].reason);
        struct act act;
        assert_true(act_read(line, &act));
        assert_int_equal(act.kind, ACT_PUBLISH);
        assert_int_equal(act.qos, ROWS[i].qos);
        assert_int_equal(act.retain, ROWS[i].retain);
    }
}

static const struct policy *read_policy(const char *text)
{
    const struct policy *p = NULL;
    struct yaml_complaint complaint = {{0}};
    assert_int_equal(policy_yaml_read(slice_text(text), "p", NULL, &complaint, &p), OK);
    return p;
}

static const char old_text[] =
    "version: 1\nroles:\n  r: { publish: [ { topic: \"t/#\", retain: yes "
    "} ], subscribe: [ \"a/#\" ], client_id: \"*\" }\n";
static const char new_text[] =
    "version: 1\nroles:\n  r: { publish: [ \"t/#\" ], subscribe: [ \"b/#\" ] }\n";

static struct crowd *make_crowd(void)
{
    struct crowd *c = NULL;
    struct principal *p = NULL;
    assert_int_equal(crowd_new(&c), OK);
    assert_int_equal(principal_new(1, slice_text("d"), slice_text("r"), NULL, 0, &p), OK);
    assert_int_equal(crowd_add(c, p), OK);
    assert_int_equal(crowd_sort(c), OK);
    return c;
}

static void test_asked_again(void **state)
{
    (void)state;
    static const struct {
        enum act_kind kind;
        const char *who, *what;
        bool retain;
        enum again_answer answer;
        const char *rule;
    } ACTS[] = {
        {ACT_PUBLISH, "d", "t/x", false, AGAIN_SAME, ""},
        {ACT_PUBLISH, "d", "t/x", true, AGAIN_REFUSED, "without retain"},
        {ACT_PUBLISH, "d", "z", false, AGAIN_SAME, ""},
        {ACT_SUBSCRIBE, "d", "a/+", false, AGAIN_REFUSED, "no subscribe grant"},
        {ACT_SUBSCRIBE, "d", "b/+", false, AGAIN_ALLOWED, ""},
        {ACT_SUBSCRIBE, "d", "$share/g/a/+", false, AGAIN_REFUSED, "no subscribe grant"},
        {ACT_SUBSCRIBE, "d", "a/#/b", false, AGAIN_UNKNOWN, ""},
        {ACT_CONNECT, "d", "other", false, AGAIN_REFUSED, "client_id of role r is another"},
        {ACT_CONNECT, "d", "d", false, AGAIN_SAME, ""},
        {ACT_PUBLISH, "gone", "t/x", true, AGAIN_UNKNOWN, ""},
    };
    AUTO(crowd_autofree) struct crowd *crowd = make_crowd();
    AUTO(again_autofree) struct again *again = NULL;
    const struct policy *old = read_policy(old_text), *new = read_policy(new_text);
    assert_int_equal(again_new(old, new, crowd, &again), OK);
    for (size_t i = 0; i < COUNT_OF(ACTS); i++) {
        const struct act act = {.kind = ACTS[i].kind,
                                .who = ACTS[i].who,
                                .what = slice_text(ACTS[i].what),
                                .retain = ACTS[i].retain};
        enum again_answer answer = AGAIN_UNKNOWN;
        struct decision d = {0};
        assert_int_equal(again_ask(again, &act, &answer, &d), OK);
        if (answer != ACTS[i].answer ||
            (answer == AGAIN_REFUSED && strstr(d.rule, ACTS[i].rule) == NULL)) {
            fail_msg("%s %s: %d, %s", ACTS[i].who, ACTS[i].what, (int)answer, d.rule);
        }
    }
    (void)policy_unref(old);
    (void)policy_unref(new);
}

static void test_retained(void **state)
{
    (void)state;
    struct act act;
    AUTO(json_release)
    json_t *line = json_pack("{s:s,s:s,s:i}", "topic", "t/a", "principal", "d", "qos", 1);
    assert_true(act_read_retained(line, &act));
    assert_true(act.retain && act.qos == 1 && slice_is(act.what, "t/a"));
    assert_int_equal(json_object_set_new(line, "qos", json_integer(3)), 0);
    assert_true(act_read_retained(line, &act) && act.qos == 0);
    assert_int_equal(json_object_del(line, "topic"), 0);
    assert_false(act_read_retained(line, &act)); /* the sum at the end of a list */
}

static void test_no_memory(void **state)
{
    (void)state;
    AUTO(crowd_autofree) struct crowd *crowd = make_crowd();
    const struct policy *old = read_policy(old_text), *new = read_policy(new_text);
    const struct act act = {.kind = ACT_PUBLISH, .who = "d", .what = slice_text("t/x")};
    enum err e = ERR_NOMEM;
    for (long n = 0; e != OK; n++) {
        AUTO(again_autofree) struct again *again = NULL;
        enum again_answer answer;
        struct decision d;
        (void)mem_fail_after(n);
        e = again_new(old, new, crowd, &again);
        e = e == OK ? again_ask(again, &act, &answer, &d) : e;
        int failed = mem_fail_after(-1);
        assert_int_equal(e, failed != 0 ? ERR_NOMEM : OK);
    }
    (void)policy_unref(old);
    (void)policy_unref(new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_what_was_refused_is_asked_as_it_was),
        cmocka_unit_test(test_asked_again),
        cmocka_unit_test(test_retained),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("again", tests, NULL, NULL);
}
