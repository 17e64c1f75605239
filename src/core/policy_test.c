#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "core/policy.h"

static struct principal *make_principal(const char *name, const char *role, const char *site)
{
    struct principal_attr a = {.key = "site"};
    struct principal *p = NULL;
    if (site != NULL) {
        snprintf(a.value, sizeof a.value, "%s", site);
    }
    assert_int_equal(
        principal_new(1, slice_text(name), slice_text(role), &a, site != NULL ? 1 : 0, &p), OK);
    return p;
}

static void grant(struct role *r, enum policy_action action, const char *filter, bool retain,
                  uint8_t qos, uint32_t line)
{
    assert_int_equal(role_add_topic(r, action, slice_text(filter), retain, qos, line), OK);
}

static struct policy *make_policy(void)
{
    struct policy *p = NULL;
    struct role *r = NULL;
    assert_int_equal(policy_new(&p), OK);
    assert_int_equal(policy_add_role(p, slice_text("sensor"), &r), OK);
    grant(r, POLICY_PUBLISH, "sensors/${site}/${device}/+", false, 2, 7);
    grant(r, POLICY_PUBLISH, "status/${device}", true, 1, 8);
    grant(r, POLICY_SUBSCRIBE, "commands/${device}/#", false, 2, 9);
    grant(r, POLICY_PUBLISH, "logs/${device}/#", false, 0, 11);
    assert_int_equal(role_add_resource(r, slice_text("/fw/${site}"), METHOD_GET, 10), OK);
    assert_int_equal(policy_add_role(p, slice_text("wide"), &r), OK);
    grant(r, POLICY_PUBLISH, "#", true, 2, 0);
    grant(r, POLICY_SUBSCRIBE, "#", false, 2, 0);
    assert_int_equal(role_set_client_id(r, slice_text("*")), OK);
    role_set_many(r, true);
    role_limits(r)->subscriptions = 3;
    assert_int_equal(policy_add_role(p, slice_text("empty"), &r), OK);
    return p;
}

/* Grants that hold all they need: the policy and principal are let go of here. */
static struct grants *make(const char *name, const char *role, const char *site)
{
    struct grants *g = NULL;
    struct policy *policy = make_policy();
    struct principal *p = make_principal(name, role, site);
    assert_int_equal(grants_new(policy, p, &g), OK);
    policy_unref(policy);
    principal_unref(p);
    return g;
}

struct publish_case {
    const char *site, *topic;
    uint8_t qos;
    bool retain;
    bool is_allowed;
};

static const struct publish_case PUBLISHES[] = {
    {"b1", "sensors/b1/dev1/t", 2, false, true},
    {"b1", "sensors/b1/dev1/t", 0, true, false},  /* no retain */
    {"b1", "sensors/b2/dev1/t", 0, false, false}, /* another site */
    {"b1", "sensors/b1/dev2/t", 0, false, false}, /* another device */
    {"b1", "sensors/b1/dev1", 0, false, false},
    {"b1", "sensors/b1/dev1/t/u", 0, false, false},
    {"b1", "sensors/b1/dev1/", 0, false, true},
    {"b1", "status/dev1", 1, true, true},
    {"b1", "status/dev1", 2, true, false}, /* over its QoS */
    {"b1", "status/dev10", 0, false, false},
    {"b1", "status/dev", 0, false, false},
    {"b1", "logs/dev1", 0, false, true}, /* the parent too */
    {"b1", "logs/dev1/a/b", 0, false, true},
    {"b1", "logs/dev10", 0, false, false},
    {"b1", "logs", 0, false, false},
    {"b1", "commands/dev1/x", 0, false, false}, /* a subscribe grant is no publish grant */
    {"b1", "sensors/${site}/dev1/t", 0, false, false},
    /* Values are one literal level, and never become more. */
    {"+", "sensors/b1/dev1/t", 0, false, false},
    {"+", "sensors/+/dev1/t", 0, false, false},
    {"#", "sensors/x", 0, false, false},
    {"b1/dev9", "sensors/b1/dev9/dev1/t", 0, false, false},
    {"a+b", "sensors/a+b/dev1/t", 0, false, false},
    {"${device}", "sensors/dev1/dev1/t", 0, false, false},
    {"${device}", "sensors/${device}/dev1/t", 0, false, true},
    {"$SYS", "sensors/$SYS/dev1/t", 0, false, true},
    {"b 1", "sensors/b 1/dev1/t", 0, false, true},
    /* Without a value the grant grants nothing, and the others stand. */
    {NULL, "sensors//dev1/t", 0, false, false},
    {NULL, "sensors/b1/dev1/t", 0, false, false},
    {NULL, "status/dev1", 0, false, true},
    {"", "sensors//dev1/t", 0, false, false},
    {"", "status/dev1", 0, false, true},
};

static void test_publish(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(PUBLISHES); i++) {
        const struct publish_case *c = &PUBLISHES[i];
        struct grants *g = make("dev1", "sensor", c->site);
        struct decision d = {.err = ERR_COUNT};
        enum err e = grants_publish(g, slice_text(c->topic), c->qos, c->retain, &d);
        if (e != (c->is_allowed ? OK : ERR_DENIED) || d.err != e || d.rule[0] == '\0' ||
            grants_publish(g, slice_text(c->topic), c->qos, c->retain, NULL) != e) {
            fail_msg("site '%s', topic '%s': %s", c->site != NULL ? c->site : "(none)", c->topic,
                     d.rule);
        }
        grants_free(g);
    }
}

struct subscribe_case {
    const char *role, *filter;
    bool is_allowed;
};

static const struct subscribe_case SUBSCRIBES[] = {
    {"sensor", "commands/dev1/#", true},
    {"sensor", "commands/dev1", true},
    {"sensor", "commands/dev1/+/x", true},
    {"sensor", "$share/g/commands/dev1/+", true},
    {"sensor", "commands/+/x", false},
    {"sensor", "commands/#", false},
    {"sensor", "#", false},
    {"sensor", "+/#", false},
    {"sensor", "$share/g/#", false},
    {"sensor", "$share/commands/dev1/x", false}, /* asks about dev1/x */
    {"sensor", "commands/dev10/x", false},
    {"sensor", "status/dev1", false},
    {"wide", "#", true},
    {"wide", "+/x", true},
    {"wide", "$SYS/#", false}, /* a leading wildcard never covers $ */
    {"wide", "$share/g/$SYS/x", false},
    {"wide", "$share/g/#", true},
    {"empty", "x", false},
    {"unknown", "x", false},
};

static void test_subscribe(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(SUBSCRIBES); i++) {
        const struct subscribe_case *c = &SUBSCRIBES[i];
        struct grants *g = make("dev1", c->role, "b1");
        struct decision d = {.err = ERR_COUNT};
        enum err e = grants_subscribe(g, slice_text(c->filter), &d);
        if (e != (c->is_allowed ? OK : ERR_DENIED) || d.err != e || d.rule[0] == '\0') {
            fail_msg("%s, '%s': %s", c->role, c->filter, d.rule);
        }
        grants_free(g);
    }
}

static void test_resource(void **state)
{
    (void)state;
    struct grants *g = make("dev1", "sensor", "b1");
    struct slice path = slice_text("/fw/b1");
    assert_int_equal(grants_resource(g, path, METHOD_GET, NULL), OK);
    assert_int_equal(grants_resource(g, path, METHOD_PUT, NULL), ERR_DENIED);
    assert_int_equal(grants_resource(g, path, METHOD_GET | METHOD_PUT, NULL), ERR_DENIED);
    assert_int_equal(grants_resource(g, path, 0, NULL), ERR_DENIED);
    assert_int_equal(grants_resource(g, slice_text("/fw/b1/x"), METHOD_GET, NULL), ERR_DENIED);
    assert_int_equal(grants_resource(g, slice_text("fw/b1"), METHOD_GET, NULL), ERR_DENIED);
    struct decision d;
    assert_int_equal(grants_resource(g, path, METHOD_PUT, &d), ERR_DENIED);
    assert_string_equal(
        d.rule, "role sensor, line 10: /fw/${site} does not allow this method; add it there");
    grants_free(g);
}

struct text_case {
    const char *role, *site, *topic;
    uint8_t qos;
    bool retain;
    const char *text;
};

static const struct text_case TEXTS[] = {
    {"sensor", "b1", "sensors/b1/dev1/t", 0, false,
     "role sensor, line 7: publish sensors/${site}/${device}/+"},
    {"wide", "b1", "x", 0, false, "role wide: publish #"},
    {"sensor", "b1", "x/y", 0, false,
     "no publish grant of role sensor matches 'x/y'; add one to role sensor in policy.yaml or "
     "publish under sensors/b1/dev1/+"},
    {"sensor", "b1", "sensors/b1/dev1/t", 0, true,
     "role sensor, line 7: sensors/${site}/${device}/+ is granted without retain; publish without "
     "it or add retain: yes there"},
    {"sensor", "b1", "status/dev1", 2, false,
     "role sensor, line 8: status/${device} is granted up to QoS 1; publish with that or raise qos "
     "there"},
    {"sensor", NULL, "sensors/b1/dev1/t", 0, false,
     "no publish grant of role sensor matches 'sensors/b1/dev1/t'; line 7 grants nothing: set "
     "attribute site of dev1 to one level"},
    {"empty", "b1", "x", 0, false,
     "no publish grant of role empty matches 'x'; add one to role empty in policy.yaml"},
    {"unknown", "b1", "x", 0, false, "role unknown of dev1 is not in policy.yaml; add it there"},
};

static void test_explanations(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(TEXTS); i++) {
        const struct text_case *c = &TEXTS[i];
        struct grants *g = make("dev1", c->role, c->site);
        struct decision d;
        grants_publish(g, slice_text(c->topic), c->qos, c->retain, &d);
        assert_string_equal(d.rule, c->text);
        grants_free(g);
    }
    /* A long topic is cut, so that the advice stays. */
    char topic[250];
    memset(topic, 'x', sizeof topic);
    struct grants *g = make("dev1", "sensor", "b1");
    struct decision d;
    grants_publish(g, slice_of(topic, sizeof topic), 0, false, &d);
    assert_non_null(strstr(d.rule, "x...'; add one to role sensor in policy.yaml"));
    grants_free(g);
}

static void test_client_id(void **state)
{
    (void)state;
    struct grants *g = make("dev1", "sensor", NULL);
    assert_true(grants_client_id_ok(g, slice_text("dev1")));
    assert_false(grants_client_id_ok(g, slice_text("dev2")));
    assert_false(grants_client_id_ok(g, slice_text("dev1x")));
    assert_false(grants_client_id_ok(g, slice_text("")));
    grants_free(g);
    g = make("dev1", "wide", NULL);
    assert_true(grants_client_id_ok(g, slice_text("anything")));
    assert_int_equal(grants_limits(g)->subscriptions, 3);
    grants_free(g);
    g = make("dev1", "unknown", NULL);
    assert_false(grants_client_id_ok(g, slice_text("dev1")));
    grants_free(g);

    struct policy *policy = NULL;
    struct role *r = NULL;
    assert_int_equal(policy_new(&policy), OK);
    assert_int_equal(policy_add_role(policy, slice_text("r"), &r), OK);
    assert_int_equal(role_set_client_id(r, slice_text("${site}-${device}")), OK);
    static const char *const SITES[] = {"a/b", NULL};
    for (size_t i = 0; i < COUNT_OF(SITES); i++) {
        struct principal *p = make_principal("d", "r", SITES[i]);
        assert_int_equal(grants_new(policy, p, &g), OK);
        assert_int_equal(grants_client_id_ok(g, slice_text("a/b-d")), SITES[i] != NULL);
        assert_false(grants_client_id_ok(g, slice_text("-d")));
        assert_false(grants_client_id_ok(g, slice_text("")));
        grants_free(g);
        principal_unref(p);
    }
    policy_unref(policy);
}

static void test_not_active(void **state)
{
    (void)state;
    struct policy *policy = make_policy();
    struct principal *p = make_principal("dev1", "wide", NULL);
    struct grants *g = NULL;
    struct decision d;
    p->status = PRINCIPAL_REVOKED;
    assert_int_equal(grants_new(policy, p, &g), OK);
    assert_int_equal(grants_publish(g, slice_text("x"), 0, false, &d), ERR_DENIED);
    assert_string_equal(d.rule, "dev1 is revoked; nothing is allowed");
    assert_false(grants_client_id_ok(g, slice_text("x")));
    grants_free(g);
    principal_unref(p);
    policy_unref(policy);
}

struct template_case {
    const char *text;
    enum err err;
};

static const struct template_case TEMPLATES[] = {
    {"a/b", OK},
    {"#", OK},
    {"+/+/#", OK},
    {"$SYS/#", OK},
    {"a$/b", OK},
    {"a/${k}-x${l}", OK},
    {"", ERR_MALFORMED},
    {"a+", ERR_MALFORMED},
    {"a/b#", ERR_MALFORMED},
    {"#/a", ERR_MALFORMED},
    {"a/#/b", ERR_MALFORMED},
    {"+${k}", ERR_MALFORMED},
    {"${k}#", ERR_MALFORMED},
    {"${k", ERR_MALFORMED},
    {"a/${", ERR_MALFORMED},
    {"${}", ERR_MALFORMED},
    {"${a/b}", ERR_MALFORMED},
    {"${a+}", ERR_MALFORMED},
    {"${${k}}", ERR_MALFORMED},
    {"$share/g/a", ERR_MALFORMED},
    {"$share", ERR_MALFORMED},
    {"a\xff", ERR_MALFORMED},
};

static void test_templates(void **state)
{
    (void)state;
    struct policy *p = NULL;
    struct role *r = NULL;
    assert_int_equal(policy_new(&p), OK);
    assert_int_equal(policy_add_role(p, slice_text("r"), &r), OK);
    for (size_t i = 0; i < COUNT_OF(TEMPLATES); i++) {
        struct slice text = slice_text(TEMPLATES[i].text);
        enum err e = role_add_topic(r, POLICY_SUBSCRIBE, text, false, 0, 0);
        if (e != TEMPLATES[i].err) {
            fail_msg("'%s': %s", TEMPLATES[i].text, err_name(e));
        }
    }
    assert_int_equal(role_add_topic(r, POLICY_PUBLISH, slice_text("a"), false, 3, 0),
                     ERR_MALFORMED);
    assert_int_equal(role_add_topic(r, POLICY_PUBLISH, slice_of("a\0", 2), false, 0, 0),
                     ERR_MALFORMED);
    assert_int_equal(role_add_resource(r, slice_text("fw"), METHOD_GET, 0), ERR_MALFORMED);
    assert_int_equal(role_add_resource(r, slice_text("/fw"), 0, 0), ERR_MALFORMED);
    assert_int_equal(role_add_resource(r, slice_text("/fw"), 128, 0), ERR_MALFORMED);
    assert_int_equal(role_set_client_id(r, slice_text("")), ERR_MALFORMED);
    assert_int_equal(role_set_client_id(r, slice_text("x*")), ERR_MALFORMED);
    assert_int_equal(role_set_client_id(r, slice_text("${x")), ERR_MALFORMED);
    char text[2 * POLICY_LEVELS_MAX + 2];
    memset(text, '/', sizeof text);
    assert_int_equal(
        role_add_topic(r, POLICY_PUBLISH, slice_of(text, POLICY_LEVELS_MAX - 1), false, 0, 0), OK);
    assert_int_equal(
        role_add_topic(r, POLICY_PUBLISH, slice_of(text, POLICY_LEVELS_MAX), false, 0, 0),
        ERR_LIMIT);
    policy_unref(p);
}

static void test_bounds(void **state)
{
    (void)state;
    struct policy *p = NULL;
    struct role *r = NULL;
    assert_int_equal(policy_new(&p), OK);
    for (int i = 0; i < POLICY_ROLES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%d", i);
        assert_int_equal(policy_add_role(p, slice_text(name), &r), OK);
    }
    assert_int_equal(policy_add_role(p, slice_text("one-more"), &r), ERR_LIMIT);
    assert_int_equal(policy_add_role(p, slice_text("r5"), &r), ERR_EXISTS);
    assert_int_equal(policy_add_role(p, slice_text("r 5"), &r), ERR_MALFORMED);
    assert_true(policy_has_role(p, slice_text("r1023")));
    assert_false(policy_has_role(p, slice_text("r1024")));
    for (int i = 0; i < POLICY_GRANTS_MAX; i++) {
        grant(r, i % 2 == 0 ? POLICY_PUBLISH : POLICY_SUBSCRIBE, "a", false, 0, 0);
    }
    assert_int_equal(role_add_topic(r, POLICY_PUBLISH, slice_text("a"), false, 0, 0), ERR_LIMIT);
    assert_int_equal(role_add_resource(r, slice_text("/a"), METHOD_GET, 0), ERR_LIMIT);
    policy_unref(p);
}

static enum err try_all(struct grants **ret)
{
    struct policy *p = NULL;
    struct role *r = NULL;
    TRY(policy_new(&p));
    enum err e = policy_add_role(p, slice_text("sensor"), &r);
    if (e == OK) {
        e = role_set_client_id(r, slice_text("${device}-1"));
    }
    if (e == OK) {
        e = role_add_topic(r, POLICY_PUBLISH, slice_text("a/${device}"), false, 0, 0);
    }
    if (e == OK) {
        struct principal *who = NULL;
        e = principal_new(1, slice_text("d"), slice_text("sensor"), NULL, 0, &who);
        if (e == OK) {
            e = grants_new(p, who, ret);
        }
        principal_unref(who);
    }
    policy_unref(p);
    return e;
}

static void test_no_memory(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        struct grants *g = NULL;
        mem_fail_after(n);
        enum err e = try_all(&g);
        bool injected = mem_fail_after(-1) != 0;
        assert_int_equal(e, injected ? ERR_NOMEM : OK);
        assert_int_equal(g == NULL, injected);
        if (!injected) {
            assert_int_equal(grants_publish(g, slice_text("a/d"), 0, false, NULL), OK);
            grants_free(g);
            assert_true(n >= 8);
            return;
        }
    }
}

/* The strictest grant for a topic counts, whatever else reaches it. */
/* Who has a role whose rules name nobody has the same rights as the next one, which cost nothing
 * more; who it is, is asked of each. Where a rule says ${device} each has their own. */
static void test_what_all_have_is_made_once(void **state)
{
    (void)state;
    enum { OWN_BYTES = 64 };
    struct policy *policy = make_policy();
    struct principal *one = make_principal("one", "wide", NULL);
    struct principal *two = make_principal("two", "wide", NULL);
    two->status = PRINCIPAL_DISABLED;
    struct grants *first = NULL, *second = NULL;
    assert_int_equal(grants_new(policy, one, &first), OK);
    uint64_t before = mem_used();
    assert_int_equal(grants_new(policy, two, &second), OK);
    assert_in_range(mem_used() - before, 1, OWN_BYTES);
    assert_int_equal(grants_publish(first, slice_text("a"), 2, true, NULL), OK);
    assert_int_equal(grants_publish(second, slice_text("a"), 2, true, NULL), ERR_DENIED);
    first = grants_free(first); /* the second one's stay */
    two->status = PRINCIPAL_ACTIVE;
    assert_int_equal(grants_subscribe(second, slice_text("a/#"), NULL), OK);
    assert_true(grants_client_id_ok(second, slice_text("any")));
    second = grants_free(second);
    for (long n = 0; n < 2; n++) {
        struct policy *fresh = make_policy();
        (void)mem_fail_after(n);
        assert_int_equal(grants_new(fresh, one, &first), ERR_NOMEM);
        assert_true(mem_fail_after(-1));
        policy_unref(fresh);
    }
    policy_unref(policy);
    principal_unref(one);
    principal_unref(two);
    struct grants *a = make("dev1", "sensor", "b1"), *b = make("dev2", "sensor", "b1");
    assert_int_equal(grants_publish(a, slice_text("status/dev1"), 1, false, NULL), OK);
    assert_int_equal(grants_publish(b, slice_text("status/dev1"), 1, false, NULL), ERR_DENIED);
    grants_free(a);
    grants_free(b);
}

static void test_freshness(void **state)
{
    (void)state;
    struct policy *policy = NULL;
    struct role *r = NULL;
    struct grants *g = NULL;
    struct decision d;
    struct principal *p = make_principal("dev1", "r", NULL);
    assert_int_equal(policy_new(&policy), OK);
    assert_int_equal(policy_add_role(policy, slice_text("r"), &r), OK);
    assert_int_equal(role_add_topic(r, POLICY_PUBLISH, slice_text("#"), true, 2, 1), OK);
    assert_int_equal(grants_new(policy, p, &g), OK);
    assert_int_equal(grants_freshness(g, slice_text("valves/1")), 0);
    grants_free(g);
    assert_int_equal(role_add_topic(r, POLICY_PUBLISH, slice_text("valves/#"), true, 2, 2), OK);
    role_set_freshness(r, POLICY_FRESHNESS_MAX_S);
    assert_int_equal(role_add_topic(r, POLICY_PUBLISH, slice_text("valves/${device}"), true, 2, 3),
                     OK);
    role_set_freshness(r, POLICY_FRESHNESS_MIN_S);
    assert_int_equal(role_add_topic(r, POLICY_SUBSCRIBE, slice_text("valves/#"), true, 2, 4), OK);
    assert_int_equal(grants_new(policy, p, &g), OK);
    assert_int_equal(grants_freshness(g, slice_text("valves/1")), POLICY_FRESHNESS_MAX_S);
    assert_int_equal(grants_freshness(g, slice_text("valves/dev1")), POLICY_FRESHNESS_MIN_S);
    assert_int_equal(grants_freshness(g, slice_text("lamps/1")), 0);
    assert_int_equal(grants_publish(g, slice_text("lamps/1"), 0, false, &d), OK);
    assert_null(strstr(d.rule, "Echo"));
    grants_free(g);
    principal_unref(p);
    policy_unref(policy);
}

static void test_asking_allocates_nothing(void **state)
{
    (void)state;
    struct grants *g = make("dev1", "sensor", "b1");
    struct decision d;
    mem_fail_after(0);
    assert_int_equal(grants_publish(g, slice_text("sensors/b1/dev1/t"), 1, false, NULL), OK);
    assert_int_equal(grants_publish(g, slice_text("x"), 1, false, NULL), ERR_DENIED);
    assert_int_equal(grants_publish(g, slice_text("x"), 1, false, &d), ERR_DENIED);
    assert_int_equal(grants_subscribe(g, slice_text("commands/dev1/+"), NULL), OK);
    assert_int_equal(mem_fail_after(-1), 0);
    grants_free(g);
}

/* ---- gateways ---- */

/* The gateway is gw (1); d1 is its device, d2 gw2's (9), d3 nobody's, d4 its own but disabled. */
static const struct principal *crowd_by_name(void *ctx, struct slice name)
{
    struct principal *const *all = ctx;
    for (size_t i = 0; all[i] != NULL; i++) {
        if (slice_is(name, all[i]->name)) {
            return all[i];
        }
    }
    return NULL;
}

static const struct principal *crowd_by_id(void *ctx, uint64_t id)
{
    struct principal *const *all = ctx;
    for (size_t i = 0; all[i] != NULL; i++) {
        if (all[i]->id == id) {
            return all[i];
        }
    }
    return NULL;
}

static struct principal *person(uint64_t id, const char *name, uint64_t gateway)
{
    struct principal *p = NULL;
    assert_int_equal(principal_new(id, slice_text(name), slice_text("gateway"), NULL, 0, &p), OK);
    p->gateway = gateway;
    return p;
}

static void add_gateway_role(struct policy *policy)
{
    struct role *r = NULL;
    assert_int_equal(policy_add_role(policy, slice_text("gateway"), &r), OK);
    assert_false(policy_is_gateway(policy, slice_text("gateway")));
    grant(r, POLICY_PUBLISH, "sensors/${assigned}/+", false, 1, 3);
    grant(r, POLICY_SUBSCRIBE, "commands/${assigned}/#", false, 2, 4);
    grant(r, POLICY_PUBLISH, "status/${device}", true, 1, 5);
    assert_int_equal(role_add_resource(r, slice_text("/fw/${assigned}"), METHOD_GET, 6), OK);
    assert_true(policy_is_gateway(policy, slice_text("gateway")));
    assert_false(policy_is_gateway(policy, slice_text("sensor")));
}

struct gateway_case {
    enum policy_action action;
    const char *topic;
    const char *why; /* NULL: allowed; else the explanation says this */
};

static const struct gateway_case GATEWAYS[] = {
    {POLICY_PUBLISH, "sensors/d1/t", NULL},
    {POLICY_PUBLISH, "status/gw", NULL},
    {POLICY_PUBLISH, "sensors/d2/t", "d2 is assigned to gateway gw2, not to gw"},
    {POLICY_PUBLISH, "sensors/d3/t", "d3 is assigned to no gateway"},
    {POLICY_PUBLISH, "sensors/d4/t", "d4, assigned to gateway gw, is disabled"},
    {POLICY_PUBLISH, "sensors/gw/t", "gw is assigned to no gateway"}, /* it is not its own device */
    {POLICY_PUBLISH, "sensors/d9/t", "'d9' is no device"},
    {POLICY_PUBLISH, "sensors//t", "'' is no device"},
    {POLICY_PUBLISH, "sensors/${assigned}/t", "'${assigned}' is no device"},
    {POLICY_PUBLISH, "sensors/d1/t/u", "no publish grant"},
    {POLICY_PUBLISH, "sensors/d1", "no publish grant"},
    {POLICY_PUBLISH, "commands/d1/x", "no publish grant"},
    {POLICY_SUBSCRIBE, "commands/d1/#", NULL},
    {POLICY_SUBSCRIBE, "commands/d1", NULL},
    {POLICY_SUBSCRIBE, "$share/g/commands/d1/+", NULL},
    {POLICY_SUBSCRIBE, "$share/g/commands/d2/+", "d2 is assigned to gateway gw2"},
    {POLICY_SUBSCRIBE, "commands/+/x", "names one device of the gateway in place of '+'"},
    {POLICY_SUBSCRIBE, "commands/+/#", "in place of '+'"},
    {POLICY_SUBSCRIBE, "commands/#", "no subscribe grant"},
    {POLICY_SUBSCRIBE, "+/d1/#", "no subscribe grant"},
    {POLICY_SUBSCRIBE, "#", "no subscribe grant"},
};

static void test_gateway(void **state)
{
    (void)state;
    struct principal *all[] = {person(1, "gw", 0),
                               person(2, "d1", 1),
                               person(3, "d2", 9),
                               person(4, "d3", 0),
                               person(5, "d4", 1),
                               person(9, "gw2", 0),
                               NULL};
    all[4]->status = PRINCIPAL_DISABLED;
    const struct people people = {.ctx = all, .by_name = crowd_by_name, .by_id = crowd_by_id};
    struct policy *policy = make_policy();
    struct grants *g = NULL;
    struct decision d;
    add_gateway_role(policy);
    assert_int_equal(grants_new(policy, all[0], &g), OK);
    assert_true(grants_is_gateway(g));
    /* Nobody is known before it is said who: failure closes. */
    assert_int_equal(grants_publish(g, slice_text("sensors/d1/t"), 0, false, &d), ERR_DENIED);
    grants_know(g, &people);
    for (size_t i = 0; i < COUNT_OF(GATEWAYS); i++) {
        const struct gateway_case *c = &GATEWAYS[i];
        enum err e = c->action == POLICY_PUBLISH
                         ? grants_publish(g, slice_text(c->topic), 1, false, &d)
                         : grants_subscribe(g, slice_text(c->topic), &d);
        if (e != (c->why == NULL ? OK : ERR_DENIED) ||
            (c->why != NULL && strstr(d.rule, c->why) == NULL)) {
            fail_msg("%s: %s", c->topic, d.rule);
        }
    }
    assert_int_equal(grants_publish(g, slice_text("sensors/d1/t"), 2, false, &d), ERR_DENIED);
    assert_non_null(strstr(d.rule, "QoS 1"));
    assert_int_equal(grants_resource(g, slice_text("/fw/d1"), METHOD_GET, &d), OK);
    assert_int_equal(grants_resource(g, slice_text("/fw/d2"), METHOD_GET, &d), ERR_DENIED);
    /* It is asked anew each time: an assignment is followed at once. */
    all[1]->gateway = 9;
    all[2]->gateway = 1;
    mem_fail_after(0);
    assert_int_equal(grants_publish(g, slice_text("sensors/d1/t"), 0, false, NULL), ERR_DENIED);
    assert_int_equal(grants_publish(g, slice_text("sensors/d2/t"), 0, false, NULL), OK);
    assert_int_equal(mem_fail_after(-1), 0);
    grants_free(g);
    policy_unref(policy);
    for (size_t i = 0; all[i] != NULL; i++) {
        principal_unref(all[i]);
    }
}

static void test_gateway_templates(void **state)
{
    (void)state;
    static const char *const BAD[] = {"a/${assigned}x", "a/x${assigned}", "${assigned}${assigned}",
                                      "${assigned}/${assigned}", "a/${device}${assigned}"};
    struct policy *policy = make_policy();
    struct role *r = NULL;
    assert_int_equal(policy_add_role(policy, slice_text("g"), &r), OK);
    for (size_t i = 0; i < COUNT_OF(BAD); i++) {
        assert_int_equal(role_add_topic(r, POLICY_PUBLISH, slice_text(BAD[i]), false, 0, 1),
                         ERR_MALFORMED);
    }
    assert_int_equal(role_set_client_id(r, slice_text("${assigned}")), ERR_MALFORMED);
    assert_int_equal(role_set_client_id(r, slice_text("x-${assigned}")), ERR_MALFORMED);
    assert_int_equal(role_add_topic(r, POLICY_PUBLISH, slice_text("${assigned}"), false, 0, 1), OK);
    policy_unref(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publish),
        cmocka_unit_test(test_subscribe),
        cmocka_unit_test(test_resource),
        cmocka_unit_test(test_explanations),
        cmocka_unit_test(test_client_id),
        cmocka_unit_test(test_not_active),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_asking_allocates_nothing),
        cmocka_unit_test(test_what_all_have_is_made_once),
        cmocka_unit_test(test_freshness),
        cmocka_unit_test(test_gateway),
        cmocka_unit_test(test_gateway_templates),
        cmocka_unit_test(test_what_all_have_is_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
