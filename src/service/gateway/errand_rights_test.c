/* Commands over MQTT 5: which are refused, and where their answers may go. */
#include "core/flow.h"
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

/* ---- segments ---- */

static void policy_with_flows(struct fortress *f, bool there, bool back)
{
    struct flow *flow = NULL;
    policy_unref(f->policy);
    f->policy = make_policy(false);
    if (there) {
        assert_int_equal(
            policy_add_flow(f->policy, slice_text("field"), slice_text("plant"), &flow), OK);
        assert_int_equal(flow_add_topic(flow, slice_text("$coap/#")), OK);
    }
    if (back) {
        assert_int_equal(
            policy_add_flow(f->policy, slice_text("plant"), slice_text("field"), &flow), OK);
        assert_int_equal(flow_add_topic(flow, slice_text("replies/#")), OK);
    }
    publish_realm(f);
}

static void add_in_plant(struct fortress *f, const char *name)
{
    static const struct principal_attr attrs[] = {{"segment", "plant"}};
    char text[DIGEST_HEX_BYTES];
    uint64_t id;
    struct why why = {.text = ""};
    struct directory_secret secret = {
        .kind = CREDENTIAL_PSK, .expires_wall_ms = CREDENTIAL_NEVER, .psk = psk_of(name, text)};
    struct directory_order o = {.name = slice_text(name),
                                .role = slice_text("sensor"),
                                .attrs = attrs,
                                .n_attrs = 1,
                                .secrets = &secret,
                                .n_secrets = 1};
    assert_int_equal(directory_add(f->directory, &o, WALL, &id, &why), OK);
}

/* A command needs a flow to the segment of its device, and what the device says one back. */
static void segments_divide_commands_too(void **state)
{
    struct fortress *f = *state;
    add_in_plant(f, "valve1");
    memcpy(f->coaps.segment, "plant", sizeof("plant"));
    policy_with_flows(f, false, false);
    ready(f);
    assert_true(link_device(f, 0, 1, "valve1"));
    forget_sent(f);
    ask(f, "$coap/valve1/PUT/v");
    assert_true(mqtt_has_seen(f, "4.03"));
    assert_true(mqtt_has_seen(f, "no flow"));
    assert_false(asked_at(f, 0, 1).is_there);
    for (unsigned back = 0; back < 2; back++) {
        policy_with_flows(f, true, back == 1);
        ask(f, "$coap/valve1/PUT/v");
        struct asked a = asked_at(f, 0, 1);
        assert_int_equal(a.is_there, back == 1);
        assert_int_equal(mqtt_has_seen(f, "brings the answer of the device back"), back == 0);
        if (a.is_there) {
            struct said s = {SAID(COAP_CHANGED), .payload = "moved"};
            say(f, 0, 1, &a, &s);
            assert_true(mqtt_has_seen(f, "moved"));
        }
        assert_int_equal(SUM(f, commands_waiting), 0);
    }
}

/* A will may be a command: it is judged as one when it fires. */
static void a_will_may_be_a_command(void **state)
{
    struct fortress *f = *state;
    for (unsigned may = 0; may < 2; may++) {
        uint8_t bytes[512];
        struct wr w = wr_into(bytes, sizeof(bytes));
        struct digest spki;
        spki_of("desk", &spki);
        f->mqtt = (struct mqtt_peer){.worker = 0};
        assert_int_equal(worker_accept(f->workers[0], &f->mqtts, "127.0.0.1:9", &f->mqtt, f->now_ms,
                                       &f->mqtt.conn),
                         OK);
        worker_present(f->workers[0], f->mqtt.conn, slice_text("desk"), &spki, &spki);
        struct mqtt_connect c = {.version = MQTT_V5,
                                 .clean_start = true,
                                 .client_id = slice_text("desk"),
                                 .has_will = true,
                                 .will = {.topic = slice_text("$coap/dev1/PUT/safe")}};
        mqtt_props_set_text(&c.will.props, MQTT_PROP_RESPONSE_TOPIC,
                            slice_text(may == 0 ? "$coap/dev2/PUT/x" : REPLY));
        assert_int_equal(mqtt_connect_encode(&c, &w), OK);
        mqtt_send(f, &w);
        if (may == 0) {
            assert_true(link_device(f, 1, 1, "dev1"));
        }
        f->n_events = 0;
        forget_sent(f);
        worker_gone(f->workers[f->mqtt.worker], f->mqtt.conn, "lost", f->now_ms);
        f->mqtt = (struct mqtt_peer){.worker = 0};
        turns(f);
        struct asked a = asked_at(f, 1, 1);
        assert_int_equal(a.is_there, may == 1);
        assert_int_equal(find_event(f, EVENT_acl_deny) != NULL, may == 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fortress_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_no_command_is_refused), TEST(an_answer_gives_no_right),
        TEST(a_right_that_ends_counts),      TEST(segments_divide_commands_too),
        TEST(a_will_may_be_a_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
