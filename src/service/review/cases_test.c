#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "service/directory/policy_yaml.h"
#include "service/review/cases.h"

static const char policy_text[] =
    "version: 1\n"
    "roles:\n"
    "  sensor:\n"
    "    publish:\n"
    "      - { topic: \"s/${site}/${device}/+\", retain: yes, qos: 1 }\n"
    "      - \"plain/${device}\"\n"
    "    subscribe: [ \"c/${device}/#\" ]\n"
    "    resources: [ { path: \"/fw/${class}\", methods: [GET] } ]\n"
    "  hub:\n"
    "    publish: [ \"s/lab/${assigned}/+\" ]\n"
    "  desk:\n"
    "    client_id: \"*\"\n"
    "    subscribe: [ \"s/#\", \"plain/#\" ]\n"
    "flows: [ { from: field, to: control, topics: [ \"s/#\" ] } ]\n";

#define DEVICES                                                                                    \
    "version: 1\n"                                                                                 \
    "devices:\n"                                                                                   \
    "  m1: { role: sensor, attrs: { site: lab, class: a }, gateway: g }\n"                         \
    "  m2: { role: sensor }\n"                                                                     \
    "  g:  { role: hub }\n"                                                                        \
    "  d:  { role: desk, attrs: { segment: control } }\n"                                          \
    "  n:  { role: none }\n"                                                                       \
    "tests:\n"
enum { FIRST_LINE = 9 };

static const struct policy *read_policy(void)
{
    const struct policy *p = NULL;
    struct yaml_complaint complaint = {{0}};
    assert_int_equal(policy_yaml_read(slice_text(policy_text), "p", NULL, &complaint, &p), OK);
    return p;
}

/* The row of each case decides the other way when it says the other word. */
static const struct {
    const char *row, *rule;
} right[] = {
    {"device: m1, allow: publish, topic: s/lab/m1/t, qos: 1, retain: yes", "role sensor, line 5"},
    {"device: m1, deny: publish, topic: s/lab/m1/t, qos: 2", "granted up to QoS 1"},
    {"device: m1, allow: publish, topic: plain/m1, qos: 2, retain: no", "role sensor, line 6"},
    {"device: m1, deny: publish, topic: plain/m1, retain: true", "granted without retain"},
    {"device: m1, deny: publish, topic: s/lab/m2/t", "no publish grant"},
    {"device: m2, deny: publish, topic: s/lab/m2/t", "set attribute site"},
    {"device: m1, allow: subscribe, topic: \"c/m1/#\"", "role sensor, line 7"},
    {"device: m1, deny: subscribe, topic: \"#\"", "no subscribe grant"},
    {"device: m1, allow: GET, path: /fw/a", "role sensor, line 8"},
    {"device: m1, deny: PUT, path: /fw/a", "does not allow this method"},
    {"device: m1, allow: put, path: /mq/s/lab/m1/t", "role sensor, line 5"},
    {"device: m1, deny: get, path: /mq/s/lab/m1/t", "no subscribe grant"},
    {"device: m1, deny: get, path: \"coap://192.0.2.1/x\"", "role sensor"},
    {"device: m1, allow: connect, client_id: m1", "client_id of role sensor"},
    {"device: m1, deny: connect, client_id: m2", "client_id of role sensor is another"},
    {"device: d, allow: connect, client_id: whatever", "client_id of role desk"},
    {"device: n, deny: connect, client_id: n", "role none is not in the policy"},
    {"device: n, deny: publish, topic: a", "role none of n is not in policy.yaml"},
    {"device: g, allow: publish, topic: s/lab/m1/t", "role hub, line 10"},
    {"device: g, deny: publish, topic: s/lab/m2/t", "m2 is assigned to no gateway"},
    {"device: d, allow: hear, topic: s/lab/m1/t, from: m1", "role desk, line 13"},
    {"device: d, deny: hear, topic: plain/m1, from: m1", "no flow lets it pass from segment field"},
    {"device: d, deny: hear, topic: s/lab/m2/t, from: m2", "set attribute site"},
    {"device: m2, deny: hear, topic: plain/m1, from: m1", "no subscribe grant"},
};

struct seen {
    size_t n;
    bool is_turned; /* the rows say the other word */
};

static void look(void *ctx, const struct case_result *r)
{
    struct seen *s = ctx;
    assert_int_equal(r->line, FIRST_LINE + s->n);
    if ((r->allowed == r->expected) == s->is_turned || strstr(r->rule, right[s->n].rule) == NULL) {
        fail_msg("%s: came %s: %s", right[s->n].row, r->allowed ? "allow" : "deny", r->rule);
    }
    s->n++;
}

static void add_row(struct buf *text, const char *row, bool is_turned)
{
    char line[256];
    const char *word = strstr(row, "allow:") != NULL ? "allow" : "deny";
    const char *at = strstr(row, word);
    const char *other = (word[0] == 'a') == is_turned ? "deny" : "allow";
    (void)snprintf(line, sizeof line, "  - { %.*s%s%s }\n", (int)(at - row), row, other,
                   at + strlen(word));
    assert_int_equal(buf_append(text, slice_text(line), 1 << 20), OK);
}

static void test_answers(void **state)
{
    (void)state;
    const struct policy *policy = read_policy();
    for (int turned = 0; turned < 2; turned++) {
        AUTO(buf_done) struct buf text = {0};
        AUTO(cases_autofree) struct cases *c = NULL;
        struct yaml_complaint complaint = {{0}};
        struct seen seen = {.is_turned = turned != 0};
        assert_int_equal(buf_append(&text, slice_text(DEVICES), 1 << 20), OK);
        for (size_t i = 0; i < COUNT_OF(right); i++) {
            add_row(&text, right[i].row, seen.is_turned);
        }
        if (cases_read(buf_slice(&text), "t", &complaint, &c) != OK) {
            fail_msg("%s", complaint.text);
        }
        assert_int_equal(cases_count(c), COUNT_OF(right));
        assert_int_equal(cases_run(c, policy, look, &seen), OK);
        assert_int_equal(seen.n, COUNT_OF(right));
    }
    (void)policy_unref(policy);
}

static const struct {
    const char *text, *complaint;
} wrong[] = {
    {"tests: []\n", "t:1:1: the tests must say version: 1"},
    {"version: 2\ntests: []\n", "t:1:10: the tests must say version: 1"},
    {"version: 1\n", "t:1:1: there are no tests"},
    {"version: 1\ntests: []\n", "t:2:8: a file has 1 to 10000 tests"},
    {"version: 1\ntests: {}\n", "t:2:8: tests must be a list"},
    {"version: 1\nroles: {}\n", "t:2:1: unknown key \"roles\""},
    {"version: 1\ndevices: { a: { role: b }, a: { role: b } }\n", "t:2:28: key \"a\" is there"},
    {"version: 1\ndevices: { a b: { role: b } }\n", "t:2:17: name and role of a device"},
    {"version: 1\ndevices: { a: {} }\n", "t:2:15: a device needs its role"},
    {"version: 1\ndevices: { a: { role: \"b/c\" } }\n", "t:2:15: name and role of a device"},
    {"version: 1\ndevices: { a: { role: b, site: c } }\n", "t:2:26: unknown key \"site\""},
    {"version: 1\ndevices: { a: { role: b, attrs: { \"x y\": c } } }\n", "an attribute has a name"},
    {"version: 1\ndevices: { a: { role: b, attrs: { x: \"\\t\" } } }\n", "without control bytes"},
    {"version: 1\ndevices: { a: { role: b, attrs: { segment: \"x/y\" } } }\n", "a segment is"},
    {"version: 1\ndevices: { a: { role: b, gateway: c } }\n", "t:2:35: gateway c is not among"},
    {DEVICES "  - a\n", "t:9:5: a test must be a mapping"},
    {DEVICES "  - { device: m1, topic: a }\n", "t:9:5: a test needs device, and allow or deny"},
    {DEVICES "  - { device: m1, allow: publish, deny: publish, topic: a }\n",
     "t:9:5: a test needs"},
    {DEVICES "  - { allow: publish, topic: a }\n", "t:9:5: a test needs device"},
    {DEVICES "  - { device: m3, allow: publish, topic: a }\n", "t:9:15: m3 is not among the dev"},
    {DEVICES "  - { device: m1, allow: retain, topic: a }\n", "t:9:26: what is allowed or denied"},
    {DEVICES "  - { device: m1, allow: publish, path: /a }\n", "t:9:35: unknown key \"path\""},
    {DEVICES "  - { device: m1, allow: GET, topic: a }\n", "t:9:31: unknown key \"topic\""},
    {DEVICES "  - { device: m1, allow: subscribe, topic: a, qos: 1 }\n", "unknown key \"qos\""},
    {DEVICES "  - { device: m1, allow: publish }\n", "t:9:5: this test needs topic"},
    {DEVICES "  - { device: m1, allow: hear, topic: a }\n", "this test needs topic and from"},
    {DEVICES "  - { device: m1, allow: publish, topic: \"a/#\" }\n", "t:9:42: that is no topic to"},
    {DEVICES "  - { device: m1, allow: hear, topic: \"a/#\", from: m1 }\n", "that is no topic to"},
    {DEVICES "  - { device: m1, allow: subscribe, topic: \"a#\" }\n", "that is no topic filter"},
    {DEVICES "  - { device: m1, allow: GET, path: /mq/a/%2f }\n", "a path is like"},
    {DEVICES "  - { device: m1, allow: publish, topic: a, qos: 3 }\n", "qos must be 0, 1 or 2"},
    {DEVICES "  - { device: m1, allow: publish, topic: a, retain: 1 }\n", "retain must be yes"},
};

static void test_complaints(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct yaml_complaint complaint = {{0}};
        struct cases *c = NULL;
        assert_int_equal(cases_read(slice_text(wrong[i].text), "t", &complaint, &c), ERR_CONFIG);
        assert_null(c);
        if (strstr(complaint.text, wrong[i].complaint) == NULL) {
            fail_msg("%s: %s", wrong[i].complaint, complaint.text);
        }
    }
}

static enum err read_many(size_t devices, size_t tests, size_t attrs, struct yaml_complaint *said)
{
    AUTO(buf_done) struct buf text = {0};
    AUTO(cases_autofree) struct cases *c = NULL;
    char line[64];
    *said = (struct yaml_complaint){{0}};
    assert_int_equal(buf_append(&text, slice_text("version: 1\ndevices:\n"), 1 << 20), OK);
    for (size_t i = 0; i < devices; i++) {
        (void)snprintf(line, sizeof line, "  d%zu: { role: r, attrs: {", i);
        assert_int_equal(buf_append(&text, slice_text(line), 1 << 20), OK);
        for (size_t k = 0; k < attrs; k++) {
            (void)snprintf(line, sizeof line, " a%zu: b%s", k, k + 1 < attrs ? "," : "");
            assert_int_equal(buf_append(&text, slice_text(line), 1 << 20), OK);
        }
        assert_int_equal(buf_append(&text, slice_text(" } }\n"), 1 << 20), OK);
    }
    assert_int_equal(buf_append(&text, slice_text("tests:\n"), 1 << 20), OK);
    for (size_t i = 0; i < tests; i++) {
        static const char row[] = "  - { device: d0, deny: publish, topic: a }\n";
        assert_int_equal(buf_append(&text, slice_text(row), 1 << 20), OK);
    }
    enum err e = cases_read(buf_slice(&text), "t", said, &c);
    assert_true(e != OK || cases_count(c) == tests);
    return e;
}

static void test_limits(void **state)
{
    (void)state;
    struct yaml_complaint said;
    assert_int_equal(read_many(CASES_DEVICES_MAX, 1, 0, &said), OK);
    assert_int_equal(read_many(CASES_DEVICES_MAX + 1, 1, 0, &said), ERR_CONFIG);
    assert_non_null(strstr(said.text, "more than 1000 devices"));
    assert_int_equal(read_many(1, CASES_MAX, 0, &said), OK);
    assert_int_equal(read_many(1, CASES_MAX + 1, 0, &said), ERR_CONFIG);
    assert_non_null(strstr(said.text, "a file has 1 to 10000 tests"));
    assert_int_equal(read_many(1, 1, PRINCIPAL_ATTRS_MAX, &said), OK);
    assert_int_equal(read_many(1, 1, PRINCIPAL_ATTRS_MAX + 1, &said), ERR_CONFIG);
    assert_non_null(strstr(said.text, "at most 16 attributes"));
}

static void ignore(void *ctx, const struct case_result *r)
{
    (void)ctx;
    (void)r;
}

/* Every allocation fails once: no memory, nothing left behind. */
static void test_no_memory(void **state)
{
    (void)state;
    static const char text[] =
        DEVICES "  - { device: d, deny: hear, topic: s/lab/m1/t, from: m1 }\n"
                "  - { device: g, allow: publish, topic: s/lab/m1/t }\n";
    const struct policy *policy = read_policy();
    enum err e = ERR_NOMEM;
    for (long n = 0; e != OK; n++) {
        AUTO(cases_autofree) struct cases *c = NULL;
        struct yaml_complaint complaint = {{0}};
        (void)mem_fail_after(n);
        e = cases_read(slice_text(text), "t", &complaint, &c);
        if (e == OK) {
            e = cases_run(c, policy, ignore, NULL);
        }
        int failed = mem_fail_after(-1);
        assert_int_equal(e, failed != 0 ? ERR_NOMEM : OK);
    }
    (void)policy_unref(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_complaints),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("cases", tests, NULL, NULL);
}
