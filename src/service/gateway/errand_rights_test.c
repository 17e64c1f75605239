/* Commands over MQTT 5: which are refused, and where their answers may go. */
#include "service/gateway/errand_bench_test.h"

struct refused {
    const char *name;
    struct order order;
    const char *says;
};

static const struct refused refusals[] = {
    {"no response topic", {.topic = "$coap/dev1/GET/t"}, "Response Topic"},
    {"no method", {ORDER("$coap/dev1")}, "$coap/DEVICE/METHOD/PATH"},
    {"no such method", {ORDER("$coap/dev1/get/t")}, "the method of a command"},
    {"no such name", {ORDER("$coap/dev 1/GET")}, "$coap/DEVICE/METHOD/PATH"},
    {"upwards", {ORDER("$coap/dev1/GET/a/../b")}, "'..'"},
    {"retained", {ORDER("$coap/dev1/PUT/t"), .retain = true}, ""},
    {"answer is a command",
     {.topic = "$coap/dev1/GET/t", .response = "$coap/dev2/PUT/t"},
     "not below '$'"},
};

static void what_is_no_command_is_refused(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct order o = refusals[i].order;
        o.qos = 1;
        f->n_events = 0;
        command(f, &o);
        const struct event *e = find_event(f, EVENT_acl_deny);
        if (e == NULL || strstr(e->reason, refusals[i].says) == NULL) {
            fail_msg("%s: %s", refusals[i].name, e != NULL ? e->reason : "no event");
        }
        assert_int_equal(f->mqtt.bytes[0], 0x40); /* PUBACK */
        assert_int_equal(f->mqtt.bytes[4], 0x87);
        assert_false(asked_at(f, 0, 1).is_there);
    }
}

/* The sensor's own device may not ask; and who asks hears its answer only where it may hear and
 * speak itself. */
static void an_answer_gives_no_right(void **state)
{
    struct fortress *f = *state;
    add_device(f, "operator", "operator");
    struct role *r = NULL;
    policy_unref(f->policy);
    f->policy = make_policy(false);
    assert_int_equal(policy_add_role(f->policy, slice_text("operator"), &r), OK);
    grant(r, POLICY_PUBLISH, "$coap/+/GET/#", false, 1);
    grant(r, POLICY_PUBLISH, "replies/${device}/+", false, 1);
    grant(r, POLICY_SUBSCRIBE, "replies/${device}/+", false, 1);
    grant(r, POLICY_SUBSCRIBE, "s/#", false, 1);
    grant(r, POLICY_PUBLISH, "orders/#", false, 1);
    publish_realm(f);
    mqtt_open(f, "operator");
    assert_true(link_device(f, 0, 1, "dev1"));
    static const struct {
        const char *topic, *response, *says;
    } rows[] = {
        {"$coap/dev1/PUT/t", "replies/operator/1", "no publish grant"},
        {"$coap/dev1/GET/t", "s/dev1/t", "does not let it publish"},     /* forged telemetry */
        {"$coap/dev1/GET/t", "orders/all", "does not let it subscribe"}, /* what it cannot hear */
        {"$coap/dev1/GET/t", "replies/other/1", "does not let it subscribe"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct order o = {.topic = rows[i].topic, .response = rows[i].response, .qos = 1};
        forget_sent(f);
        f->n_events = 0;
        command(f, &o);
        const struct event *e = find_event(f, EVENT_acl_deny);
        if (e == NULL || strstr(e->reason, rows[i].says) == NULL) {
            fail_msg("%s: %s", rows[i].topic, e != NULL ? e->reason : "no event");
        }
        assert_int_equal(f->mqtt.bytes[4], 0x87);
        assert_false(asked_at(f, 0, 1).is_there);
    }
    struct order o = {.topic = "$coap/dev1/GET/t", .response = "replies/operator/1", .qos = 1};
    command(f, &o);
    assert_true(asked_at(f, 0, 1).is_there);
}

/* A right that ends while the command waits ends the command. */
static void a_right_that_ends_counts(void **state)
{
    struct fortress *f = *state;
    ready(f);
    ask(f, "$coap/dev1/PUT/valve");
    policy_unref(f->policy);
    f->policy = make_policy(true);
    publish_realm(f);
    f->n_events = 0;
    assert_true(link_device(f, 0, 1, "dev1"));
    turns(f);
    assert_false(asked_at(f, 0, 1).is_there);
    assert_non_null(find_event(f, EVENT_acl_deny));
    assert_int_equal(SUM(f, commands_waiting), 0);
    assert_int_equal(SUM(f, commands_refused), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fortress_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_no_command_is_refused),
        TEST(an_answer_gives_no_right),
        TEST(a_right_that_ends_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
