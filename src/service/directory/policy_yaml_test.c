#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/mem.h"
#include "core/flow.h"
#include "service/directory/policy_yaml.h"

#define ROLE(body) "version: 1\nroles:\n  r:\n    " body "\n"

static const struct {
    const char *name, *text, *complaint;
} bad_cases[] = {
    {"no version", "roles: {}\n", "f:1:1: the policy must say version: 1"},
    {"flows are a list", "version: 1\nroles: {}\nflows: {}\n", "f:3:8: flows must be a list"},
    {"a flow without topics", "version: 1\nroles: {}\nflows: [ { from: a, to: b } ]\n",
     "f:3:10: a flow needs from, to and topics"},
    {"a flow in one segment", "version: 1\nroles: {}\nflows: [ { from: a, to: a, topics: [t] } ]\n",
     "f:3:25: a flow leads from one segment to another"},
    {"a segment that is no name",
     "version: 1\nroles: {}\nflows: [ { from: \"a b\", to: a, topics: [t] } ]\n",
     "f:3:10: a segment is a name"},
    {"a flow of everything", "version: 1\nroles: {}\nflows: [ { from: a, to: b, topics: [] } ]\n",
     "f:3:36: a flow needs at least one topic"},
    {"a flow's filter",
     "version: 1\nroles: {}\nflows: [ { from: a, to: b, topics: [t, \"a+\"] } ]\n",
     "f:3:40: topic \"a+\" is no topic filter"},
    {"a key of a flow", "version: 1\nroles: {}\nflows: [ { from: a, to: b, topic: t } ]\n",
     "f:3:28: unknown key \"topic\" in a flow"},
    {"no roles", "version: 1\n", "f:1:1: the policy needs roles"},
    {"unknown top key", "version: 1\nrole: {}\n", "f:2:1: unknown key \"role\" in the policy"},
    {"unknown role key", ROLE("publishes: []"), "f:4:5: unknown key \"publishes\" in a role"},
    {"role twice", "version: 1\nroles:\n  r: {}\n  r: {}\n", "f:4:3: key \"r\" is there twice"},
    {"role name", "version: 1\nroles:\n  a/b: {}\n", "f:3:3: role name \"a/b\""},
    {"role is a list", "version: 1\nroles:\n  r: []\n", "f:3:6: a role must be a mapping"},
    {"publish is text", ROLE("publish: a/b"), "f:4:14: publish must be a list"},
    {"plus inside a level", ROLE("publish: [ \"a+/b\" ]"), "f:4:16: topic \"a+/b\" is not valid"},
    {"hash not last", ROLE("subscribe: [ \"a/#/b\" ]"), "f:4:18: topic \"a/#/b\" is not valid"},
    {"empty topic", ROLE("publish: [ \"\" ]"), "f:4:16: topic \"\" is not valid"},
    {"placeholder open", ROLE("publish: [ \"a/${device\" ]"),
     "f:4:16: a placeholder is not closed"},
    {"placeholder name", ROLE("publish: [ \"a/${a b}\" ]"), "f:4:16: placeholder \"${a b}\""},
    {"shared", ROLE("subscribe: [ \"$share/g/a\" ]"), "f:4:18: topic \"$share/g/a\" is not valid"},
    {"qos 3", ROLE("publish: [ { topic: a, qos: 3 } ]"), "f:4:33: qos must be 0, 1 or 2"},
    {"retain maybe", ROLE("publish: [ { topic: a, retain: maybe } ]"),
     "f:4:36: retain must be yes"},
    {"no topic", ROLE("publish: [ { qos: 1 } ]"), "f:4:16: a grant needs its topic"},
    {"freshness too short", ROLE("publish: [ { topic: a, freshness: 1s } ]"), "f:4:39: freshness"},
    {"freshness too long", ROLE("publish: [ { topic: a, freshness: 61s } ]"), "f:4:39: freshness"},
    {"freshness on subscribe", ROLE("subscribe: [ { topic: a, freshness: 2s } ]"), "f:4:"},
    {"retain on subscribe", ROLE("subscribe: [ { topic: a, retain: yes } ]"),
     "f:4:30: unknown key \"retain\" in a subscribe grant"},
    {"many twice", ROLE("many: 2"), "f:4:11: many must be yes or no"},
    {"kind", ROLE("kind: robot"), "f:4:11: kind must be device or service"},
    {"limit", ROLE("limits: { speed: 5 }"), "f:4:15: unknown limit \"speed\""},
    {"rate", ROLE("limits: { publish_rate: 5/d }"), "f:4:29: publish_rate must be a rate"},
    {"path", ROLE("resources: [ { path: fw, methods: [GET] } ]"), "f:4:26: path must begin with /"},
    {"another scheme", ROLE("resources: [ { path: \"http://a\", methods: [GET] } ]"),
     "f:4:26: path must begin with /"},
    {"method", ROLE("resources: [ { path: /fw, methods: [get] } ]"), "f:4:41: a method is one of"},
    {"no methods", ROLE("resources: [ { path: /fw, methods: [] } ]"), "f:4:40: methods must name"},
    {"path alone", ROLE("resources: [ { path: /fw } ]"), "f:4:18: a resource needs path and"},
    {"client id", ROLE("client_id: [a]"), "f:4:16: client_id must be a single value"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_cases); i++) {
        struct yaml_complaint complaint = {{0}};
        const struct policy *p = NULL;
        enum err e = policy_yaml_read(slice_text(bad_cases[i].text), "f", NULL, &complaint, &p);
        const char *want = bad_cases[i].complaint;
        if (e != ERR_CONFIG || strncmp(complaint.text, want, strlen(want)) != 0 || p != NULL) {
            fail_msg("%s: %s: %s", bad_cases[i].name, err_name(e), complaint.text);
        }
    }
}

static const char good_text[] =
    "version: 1\n"
    "roles:\n"
    "  sensor:\n"
    "    publish: [ \"sensors/${site}/${device}/+\", { topic: \"status/${device}\", retain: yes, "
    "qos: 1 }, { topic: v, freshness: 30s } ]\n"
    "    subscribe: [ \"commands/${device}/#\" ]\n"
    "    resources: [ { path: \"/fw/${class}\", methods: [GET, PUT] }, { path: \"/all/#\", "
    "methods: [GET] "
    "}, "
    "{ path: \"coap://plc/#\", methods: [GET] }, { path: \"coap://192.0.2.1:5683/${class}\", "
    "methods: "
    "[GET] } ]\n"
    "    limits: { publish_rate: 5/s }\n"
    "  hub: { kind: service, client_id: \"*\", many: yes, subscribe: [ { topic: \"sensors/#\" } ] "
    "}\n"
    "flows:\n"
    "  - { from: field, to: control, topics: [ \"sensors/#\", \"status/+\" ] }\n"
    "  - { from: control, to: field, topics: [ \"commands/#\" ] }\n";

static struct grants *grants_of(const struct policy *p, const char *name, const char *role)
{
    static const struct principal_attr attrs[] = {{"site", "lab"}, {"class", "c1"}};
    struct principal *principal;
    struct grants *g;
    assert_int_equal(principal_new(1, slice_text(name), slice_text(role), attrs, 2, &principal),
                     OK);
    assert_int_equal(grants_new(p, principal, &g), OK);
    (void)principal_unref(principal);
    return g;
}

static enum err may_publish(const struct grants *g, const char *topic, uint8_t qos, bool retain)
{
    return grants_publish(g, slice_text(topic), qos, retain, NULL);
}

static void test_good(void **state)
{
    (void)state;
    struct yaml_complaint complaint = {{0}};
    const struct policy *p = NULL;
    enum err e = policy_yaml_read(slice_text(good_text), "f", NULL, &complaint, &p);
    if (e != OK) {
        fail_msg("%s", complaint.text);
    }
    struct grants *g = grants_of(p, "m1", "sensor");
    assert_int_equal(may_publish(g, "sensors/lab/m1/t", 2, false), OK);
    assert_int_equal(may_publish(g, "sensors/lab/m1/t", 0, true), ERR_DENIED);
    assert_int_equal(may_publish(g, "sensors/lab/m2/t", 0, false), ERR_DENIED);
    assert_int_equal(may_publish(g, "status/m1", 1, true), OK);
    assert_int_equal(may_publish(g, "status/m1", 2, true), ERR_DENIED);
    assert_int_equal(grants_subscribe(g, slice_text("commands/m1/#"), NULL), OK);
    assert_int_equal(grants_subscribe(g, slice_text("commands/#"), NULL), ERR_DENIED);
    assert_int_equal(grants_resource(g, slice_text("/fw/c1"), METHOD_PUT, NULL), OK);
    assert_int_equal(grants_resource(g, slice_text("/fw/c1"), METHOD_DELETE, NULL), ERR_DENIED);
    assert_int_equal(grants_resource(g, slice_text("coap://plc"), METHOD_GET, NULL), OK);
    assert_int_equal(grants_resource(g, slice_text("coap://plc/a"), METHOD_GET, NULL), OK);
    assert_int_equal(grants_resource(g, slice_text("coap://plc/a"), METHOD_PUT, NULL), ERR_DENIED);
    assert_int_equal(grants_resource(g, slice_text("coap://plc2/a"), METHOD_GET, NULL), ERR_DENIED);
    assert_int_equal(grants_resource(g, slice_text("coap://192.0.2.1:5683/c1"), METHOD_GET, NULL),
                     OK);
    assert_int_equal(grants_resource(g, slice_text("coap://192.0.2.1:5683"), METHOD_GET, NULL),
                     ERR_DENIED);
    assert_int_equal(grants_limits(g)->publish_rate, 5);
    assert_int_equal(grants_limits(g)->inflight, 20);
    struct decision why;
    assert_int_equal(grants_publish(g, slice_text("sensors/lab/m1/t"), 0, false, &why), OK);
    assert_non_null(strstr(why.rule, "line 4"));
    assert_int_equal(grants_freshness(g, slice_text("v")), 30);
    assert_int_equal(grants_publish(g, slice_text("v"), 0, false, &why), OK);
    assert_non_null(strstr(why.rule, "Echo not older than 30 s"));
    (void)grants_free(g);
    uint32_t field = flow_segment(slice_text("field")),
             control = flow_segment(slice_text("control"));
    assert_true(policy_lets_flow(p, field, control, slice_text("status/m1")));
    assert_false(policy_lets_flow(p, control, field, slice_text("status/m1")));
    assert_true(policy_lets_flow(p, control, field, slice_text("commands/m1/x")));
    g = grants_of(p, "h1", "hub");
    assert_true(policy_is_many(p, slice_text("hub")));
    assert_false(policy_is_many(p, slice_text("sensor")));
    assert_true(grants_client_id_ok(g, slice_text("anything")));
    assert_int_equal(grants_limits(g)->publish_rate, 50000);
    (void)grants_free(g);
    (void)policy_unref(p);
}

static void test_default(void **state)
{
    (void)state;
    struct yaml_complaint complaint = {{0}};
    const struct policy *p = NULL;
    struct slice text = slice_text(policy_yaml_default());
    if (policy_yaml_read(text, "policy.yaml", NULL, &complaint, &p) != OK) {
        fail_msg("%s", complaint.text);
    }
    static const char *const roles[] = {"sensor", "actuator", "console"};
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        assert_true(policy_has_role(p, slice_text(roles[i])));
        struct grants *g = grants_of(p, "d", roles[i]);
        assert_int_equal(grants_subscribe(g, slice_text("#"), NULL), ERR_DENIED);
        assert_int_equal(grants_subscribe(g, slice_text("$SYS/#"), NULL), ERR_DENIED);
        (void)grants_free(g);
    }
    (void)policy_unref(p);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        struct yaml_complaint complaint = {{0}};
        const struct policy *p = NULL;
        mem_fail_after(n);
        enum err e = policy_yaml_read(slice_text(good_text), "f", NULL, &complaint, &p);
        if (!mem_fail_after(-1)) {
            assert_int_equal(e, OK);
            (void)policy_unref(p);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_null(p);
        assert_string_not_equal(complaint.text, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
