#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/mem.h"
#include "service/directory/policy_yaml.h"
#include "service/review/difference.h"

#define ROLES "version: 1\nroles:\n"

static const struct policy *read_policy(const char *text)
{
    const struct policy *p = NULL;
    struct yaml_complaint complaint = {{0}};
    if (policy_yaml_read(slice_text(text), "p", NULL, &complaint, &p) != OK) {
        fail_msg("%s", complaint.text);
    }
    return p;
}

static void join(struct crowd *c, uint64_t id, const char *name, const char *role, const char *site)
{
    struct principal *p = NULL;
    struct principal_attr attr = {.key = "site"};
    (void)snprintf(attr.value, sizeof attr.value, "%s", site != NULL ? site : "");
    assert_int_equal(
        principal_new(id, slice_text(name), slice_text(role), &attr, site != NULL ? 1 : 0, &p), OK);
    p->status = name[0] == 'x' ? PRINCIPAL_REVOKED : PRINCIPAL_ACTIVE;
    assert_int_equal(crowd_add(c, p), OK);
}

/* a1, a2 of role r at site lab, a3 of role r nowhere, g of role gw; x1 is revoked. */
static struct crowd *make_crowd(void)
{
    struct crowd *c = NULL;
    assert_int_equal(crowd_new(&c), OK);
    join(c, 4, "g", "gw", "lab");
    join(c, 1, "a1", "r", "lab");
    join(c, 3, "a3", "r", NULL);
    join(c, 5, "x1", "r", "lab");
    join(c, 2, "a2", "r", "lab");
    assert_int_equal(crowd_sort(c), OK);
    return c;
}

enum { LINES = 4 };

/* What stands in a change: kind, what its text begins with, how many it concerns. */
static const struct {
    const char *name, *old, *new;
    struct {
        enum change_kind kind;
        const char *text;
        size_t n;
    } changes[LINES];
    size_t n_changes, n_concerned;
} cases[] = {
    {"the same",
     "  r: { publish: [ \"a/${device}\" ] }\n",
     "  r: { publish: [ \"a/${device}\" ] }\n",
     {{0}},
     0,
     0},
    {"another order",
     "  r: { subscribe: [ a, b ] }\n",
     "  r: { subscribe: [ b, a ] }\n",
     {{0}},
     0,
     0},
    {"one is lost",
     "  r: { subscribe: [ a, b ] }\n",
     "  r: { subscribe: [ a ] }\n",
     {{CHANGE_LOST, "subscribe b", 3}},
     1,
     3},
    {"an attribute that only some have",
     "  r: { subscribe: [ \"s/${site}\" ] }\n",
     "  r: {}\n",
     {{CHANGE_LOST, "subscribe s/${site}", 2}},
     1,
     2},
    {"covered by a wider one",
     "  r: { subscribe: [ \"s/a\" ] }\n",
     "  r: { subscribe: [ \"s/+\" ] }\n",
     {{CHANGE_GAINED, "subscribe s/+; of it there was s/a", 3}},
     1,
     3},
    {"a part remains",
     "  r: { subscribe: [ \"s/#\" ] }\n",
     "  r: { subscribe: [ \"s/a\" ] }\n",
     {{CHANGE_LOST, "subscribe s/#; of it remains s/a", 3}},
     1,
     3},
    {"covered for some",
     "  r: { subscribe: [ \"s/lab/x\" ] }\n",
     "  r: { subscribe: [ \"s/${site}/x\" ] }\n",
     {{CHANGE_LOST, "subscribe s/lab/x", 1}, {CHANGE_GAINED, "subscribe s/${site}/x", 0}},
     2,
     1},
    {"less QoS",
     "  r: { publish: [ \"a/${device}\" ] }\n",
     "  r: { publish: [ { topic: \"a/${device}\", qos: 1 } ] }\n",
     {{CHANGE_ALTERED, "publish a/${device}: QoS up to 2 -> 1", 3}},
     1,
     3},
    {"retain",
     "  r: { publish: [ \"a/${device}\" ] }\n",
     "  r: { publish: [ { topic: \"a/${device}\", retain: yes } ] }\n",
     {{CHANGE_ALTERED, "publish a/${device}: now with retain", 3}},
     1,
     3},
    {"freshness",
     "  r: { publish: [ \"a/${device}\" ] }\n",
     "  r: { publish: [ { topic: \"a/${device}\", freshness: 10s } ] }\n",
     {{CHANGE_ALTERED, "publish a/${device}: freshness 0 -> 10 s", 3}},
     1,
     3},
    {"methods",
     "  r: { resources: [ { path: /a, methods: [GET] } ] }\n",
     "  r: { resources: [ { path: /a, methods: [GET, PUT] } ] }\n",
     {{CHANGE_ALTERED, "resource /a: GET -> GET,PUT", 3}},
     1,
     3},
    {"settings",
     "  r: { client_id: \"*\" }\n",
     "  r: { limits: { publish_rate: 7/s } }\n",
     {{CHANGE_SETTING, "client_id: * -> ${device}", 3},
      {CHANGE_SETTING, "limits: publish_rate 100/s -> 7/s", 3},
      {CHANGE_SETTING, "limits: publish_burst 200 -> 14", 3}},
     3,
     3},
    {"many",
     "  r: { client_id: \"*\" }\n",
     "  r: { client_id: \"*\", many: yes }\n",
     {{CHANGE_SETTING, "many: no -> yes", 3}},
     1,
     3},
    {"a role vanishes",
     "  r: {}\n  gw: {}\n",
     "  r: {}\n",
     {{CHANGE_ROLE_GONE, "the role vanishes", 1}},
     1,
     1},
    {"a role comes",
     "  r: {}\n",
     "  r: {}\n  gw: { subscribe: [ a ] }\n",
     {{CHANGE_ROLE_NEW, "the role is new", 1}, {CHANGE_GAINED, "subscribe a", 1}},
     2,
     1},
    {"assigned is not everybody",
     "  gw: { subscribe: [ \"c/${assigned}\" ] }\n",
     "  gw: { subscribe: [ \"c/+\" ] }\n",
     {{CHANGE_GAINED, "subscribe c/+", 1}},
     1,
     1},
    {"everybody is not assigned",
     "  gw: { subscribe: [ \"c/+\" ] }\n",
     "  gw: { subscribe: [ \"c/${assigned}\" ] }\n",
     {{CHANGE_LOST, "subscribe c/+", 1}},
     1,
     1},
    {"flows",
     "  r: {}\nflows: [ { from: a, to: b, topics: [ x, \"y/z\" ] } ]\n",
     "  r: {}\nflows: [ { from: a, to: b, topics: [ \"y/#\" ] } ]\n",
     {{CHANGE_FLOW_LOST, "flow from a to b: x", 0},
      {CHANGE_FLOW_GAINED, "flow from a to b: y/#", 0}},
     2,
     0},
    {"wide",
     "  r: {}\n",
     "  r: { subscribe: [ \"+/x\" ] }\n",
     {{CHANGE_GAINED, "subscribe +/x", 3}, {CHANGE_WARNING, "subscribe +/x is every topic", 3}},
     2,
     3},
    {"wide as before",
     "  r: { subscribe: [ \"#\" ] }\n",
     "  r: { subscribe: [ \"+/x\", \"#\" ] }\n",
     {{0}},
     0,
     0},
    {"wide, a service",
     "  r: { kind: service }\n",
     "  r: { kind: service, publish: [ \"#\" ] }\n",
     {{CHANGE_GAINED, "publish #", 3}},
     1,
     3},
    {"no device",
     "  r: {}\n",
     "  r: { publish: [ \"s/${site}/+\" ] }\n",
     {{CHANGE_GAINED, "publish s/${site}/+", 2},
      {CHANGE_WARNING, "publish s/${site}/+ names no ${device}", 3}},
     2,
     2 + 0},
    {"commands of others",
     "  gw: { subscribe: [ \"c/${device}/#\" ] }\n",
     "  gw: { subscribe: [ \"c/${device}/#\" ], publish: [ \"c/+/set\" ] }\n",
     {{CHANGE_GAINED, "publish c/+/set", 1},
      {CHANGE_WARNING,
       "publish c/+/set lets every device of the role write commands of others: "
       "c/${device}/#",
       1}},
     2,
     1},
    {"its own commands",
     "  gw: { subscribe: [ \"c/${device}/#\" ] }\n",
     "  gw: { subscribe: [ \"c/${device}/#\" ], publish: [ \"c/${device}/set\" ] }\n",
     {{CHANGE_GAINED, "publish c/${device}/set", 1}},
     1,
     1},
};

static void test_changes(void **state)
{
    (void)state;
    AUTO(crowd_autofree) struct crowd *crowd = make_crowd();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(difference_autofree) struct difference *d = NULL;
        char text[512];
        (void)snprintf(text, sizeof text, ROLES "%s", cases[i].old);
        const struct policy *old = read_policy(text);
        (void)snprintf(text, sizeof text, ROLES "%s", cases[i].new);
        const struct policy *new = read_policy(text);
        assert_int_equal(difference_new(old, new, crowd, &d), OK);
        (void)policy_unref(old);
        (void)policy_unref(new);
        for (size_t k = 0; k < difference_count(d); k++) {
            const struct change *c = difference_at(d, k);
            if (k >= cases[i].n_changes || c->kind != cases[i].changes[k].kind ||
                c->n_concerned != cases[i].changes[k].n ||
                strncmp(c->text, cases[i].changes[k].text, strlen(cases[i].changes[k].text)) != 0) {
                fail_msg("%s: %zu: kind %d, %zu: %s", cases[i].name, k, (int)c->kind,
                         c->n_concerned, c->text);
            }
            assert_int_equal(c->n_names, c->n_concerned); /* so few */
        }
        if (difference_count(d) != cases[i].n_changes ||
            difference_concerned(d) != cases[i].n_concerned) {
            fail_msg("%s: %zu changes, %zu concerned", cases[i].name, difference_count(d),
                     difference_concerned(d));
        }
    }
}

static void test_names_are_bounded(void **state)
{
    (void)state;
    AUTO(crowd_autofree) struct crowd *crowd = NULL;
    AUTO(difference_autofree) struct difference *d = NULL;
    const struct policy *old = read_policy(ROLES "  r: {}\n"),
                        *new = read_policy(ROLES "  q: {}\n");
    char name[16];
    assert_int_equal(crowd_new(&crowd), OK);
    for (uint64_t i = 1; i <= 1000; i++) {
        (void)snprintf(name, sizeof name, "d%04u", (unsigned)i);
        join(crowd, i, name, "r", NULL);
    }
    assert_int_equal(crowd_sort(crowd), OK);
    assert_int_equal(difference_new(old, new, crowd, &d), OK);
    const struct change *c = difference_at(d, 1);
    assert_int_equal(c->kind, CHANGE_ROLE_GONE);
    assert_int_equal(c->n_concerned, 1000);
    assert_int_equal(c->n_names, CHANGE_NAMES);
    assert_string_equal(c->names[CHANGE_NAMES - 1], "d0005");
    (void)policy_unref(old);
    (void)policy_unref(new);
}

static void test_a_crowd_has_each_once(void **state)
{
    (void)state;
    static const struct {
        uint64_t id;
        const char *name;
    } second[] = {{2, "a"}, {1, "b"}};
    for (size_t i = 0; i < COUNT_OF(second); i++) {
        AUTO(crowd_autofree) struct crowd *c = NULL;
        assert_int_equal(crowd_new(&c), OK);
        join(c, 1, "a", "r", NULL);
        join(c, second[i].id, second[i].name, "r", NULL);
        assert_int_equal(crowd_sort(c), ERR_EXISTS);
    }
    AUTO(crowd_autofree) struct crowd *c = make_crowd();
    struct people people = crowd_people(c);
    size_t at = 0;
    assert_true(crowd_find(c, slice_text("a3"), &at));
    assert_int_equal(crowd_at(c, at)->id, 3);
    assert_false(crowd_find(c, slice_text("a"), &at));
    assert_false(crowd_find(c, slice_text("a33"), &at));
    assert_string_equal(people.by_id(people.ctx, 4)->name, "g");
    assert_null(people.by_id(people.ctx, 6));
    assert_null(people.by_name(people.ctx, slice_text("z")));
}

static void test_no_memory(void **state)
{
    (void)state;
    AUTO(crowd_autofree) struct crowd *crowd = make_crowd();
    const struct policy *old = read_policy(ROLES "  r: { publish: [ \"a/${device}\", b ] }\n");
    const struct policy *new = read_policy(ROLES "  r: { publish: [ \"#\" ] }\n  gw: {}\n");
    enum err e = ERR_NOMEM;
    for (long n = 0; e != OK; n++) {
        AUTO(difference_autofree) struct difference *d = NULL;
        (void)mem_fail_after(n);
        e = difference_new(old, new, crowd, &d);
        int failed = mem_fail_after(-1);
        assert_int_equal(e, failed != 0 ? ERR_NOMEM : OK);
    }
    (void)policy_unref(old);
    (void)policy_unref(new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_names_are_bounded),
        cmocka_unit_test(test_a_crowd_has_each_once),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("difference", tests, NULL, NULL);
}
