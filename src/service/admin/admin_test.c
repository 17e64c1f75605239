/* Verbs that change something: devices, policy, exceptions. */
#include "service/admin/admin_test_private.h"
#include "service/pki/bundle.h"
#include "service/pki/ticket_file.h"
#include "store/keyring.h"

static const char narrow_policy[] = "version: 1\n"
                                    "roles:\n"
                                    "  console:\n"
                                    "    publish: [ \"only/this\" ]\n";

/* ---- devices ---- */

static void test_device_add(void **state)
{
    struct home *p = *state;
    struct answer a = ask(p, "device.add", order("meter-1", "psk"));
    assert_int_equal(a.exit_code, 0);
    assert_int_equal(json_array_size(a.lines), 1);
    const json_t *files = json_object_get(json_array_get(a.lines, 0), "bundle");
    struct bundle bundle = {0};
    assert_int_equal(bundle_from_json(files, &bundle), OK);
    assert_true(bundle.file[BUNDLE_PSK].n > 32);
    bundle_done(&bundle);
    answer_done(&a);

    const struct directory_version *v = directory_current(p->directory);
    assert_true(broker_realm_epoch(p->broker) >= directory_version_epoch(v)); /* everywhere */
    directory_version_unref(v);
    assert_int_equal(count_events(p, "device_change", "\"principal\":\"admin\""), 1);
    assert_int_equal(count_events(p, "credential_issued", "\"target\":\"meter-1\""), 1);
    assert_int_equal(count_events(p, "credential_issued", "\"protocol\":\"control\""), 1);

    expect(p, "device.add", order("meter-1", "psk"), 1, "is there already");
    expect(p, "device.add", order("meter 2", "psk"), 1, "names of devices");
    expect(p, "device.add", order("meter-2", "magic"), 1, "x509");
    expect(p, "device.add", json_pack("{s:s,s:s}", "name", "m", "role", "king"), 1, "no role");
    expect(p, "device.add", NULL, 1, "");
}

static void test_device_status(void **state)
{
    static const struct {
        const char *verb;
        int exit_code;
        const char *status; /* afterwards */
    } steps[] = {
        {"device.disable", 0, "disabled"}, {"device.enable", 0, "active"},
        {"device.revoke", 0, "revoked"},   {"device.enable", 1, "revoked"},
        {"device.disable", 1, "revoked"},  {"device.rotate", 1, "revoked"},
    };
    struct home *p = *state;
    add(p, "meter-1");
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        print_message("%s\n", steps[i].verb);
        expect(p, steps[i].verb, json_pack("{s:s}", "name", "meter-1"), steps[i].exit_code, NULL);
        struct answer a = ask(p, "device.show", json_pack("{s:s}", "name", "meter-1"));
        assert_string_equal(text_of(json_array_get(a.lines, 0), "status"), steps[i].status);
        answer_done(&a);
    }
    assert_int_equal(count_events(p, "revoked", "meter-1"), 1);
    expect(p, "device.remove", json_pack("{s:s}", "name", "meter-1"), 0, NULL);
    expect(p, "device.remove", json_pack("{s:s}", "name", "meter-1"), 1, "no device");
    expect(p, "device.show", json_pack("{s:s}", "name", "meter-1"), 1, "no device");
}

static void test_device_rotate(void **state)
{
    struct home *p = *state;
    add(p, "meter-1");
    struct answer a = ask(p, "device.rotate",
                          json_pack("{s:s,s:i,s:[],s:s}", "name", "meter-1", "overlap_s", 60,
                                    "credentials", "save_dir", "x"));
    assert_int_equal(a.exit_code, 0);
    const json_t *files = json_object_get(json_array_get(a.lines, 0), "bundle");
    assert_non_null(json_object_get(files, "psk.txt")); /* the kind that it has */
    assert_null(json_object_get(files, "key.pem"));
    answer_done(&a);
    a = ask(p, "device.show", json_pack("{s:s}", "name", "meter-1"));
    assert_int_equal(json_array_size(json_object_get(json_array_get(a.lines, 0), "credentials")),
                     2);
    answer_done(&a);
    assert_int_equal(count_events(p, "credential_rotated", "meter-1"), 1);
}

static void test_device_list(void **state)
{
    struct home *p = *state;
    add(p, "b");
    add(p, "a");
    struct answer a = ask(p, "device.list", NULL);
    assert_int_equal(json_array_size(a.lines), 2);
    assert_string_equal(text_of(json_array_get(a.lines, 0), "name"), "a");
    assert_string_equal(text_of(json_array_get(a.lines, 0), "credentials"), "psk");
    answer_done(&a);
    a = ask(p, "device.list", json_pack("{s:s}", "where", "name=b"));
    assert_int_equal(json_array_size(a.lines), 1);
    answer_done(&a);
    a = ask(p, "device.list", json_pack("{s:s}", "where", "site=elsewhere"));
    assert_int_equal(json_array_size(a.lines), 0);
    answer_done(&a);
    expect(p, "device.list", json_pack("{s:s}", "where", "site"), 1, "KEY=VALUE");
}

static void test_last_refusal(void **state)
{
    struct home *p = *state;
    add(p, "meter-1");
    struct event e = event_make(EVENT_acl_deny);
    e.protocol = EVENT_PROTOCOL_mqtt;
    EVENT_TEXT(&e, principal, slice_text("meter-1"));
    EVENT_TEXT(&e, target, slice_text("\x1b[31m\xff"));
    event_reason(&e, "no grant; add one to role sensor");
    admin_event(p->admin, &e);
    struct answer a = ask(p, "device.show", json_pack("{s:s}", "name", "meter-1"));
    assert_int_equal(a.exit_code, 0);
    const json_t *refusal = json_object_get(json_array_get(a.lines, 0), "last_refusal");
    assert_string_equal(text_of(refusal, "category"), "acl_deny");
    assert_string_equal(text_of(refusal, "target"), "\\x1b[31m\\xff");
    assert_non_null(strstr(text_of(json_array_get(a.lines, 0), "text"), "add one to role sensor"));
    answer_done(&a);
}

/* ---- policy ---- */

static void test_policy(void **state)
{
    struct home *p = *state;
    struct buf saved = {0};
    add(p, "meter-1");
    expect(p, "policy.check", json_pack("{s:s,s:s}", "text", "version: 2\n", "file", "p.yaml"), 1,
           "p.yaml:1:");
    expect(p, "policy.apply", json_pack("{s:s,s:s}", "text", "version: 1\nroles: 7\n", "file", "q"),
           1, "q:2:");
    assert_int_equal(count_events(p, "config_reject", "q:2:"), 1);
    expect(p, "policy.check", json_pack("{s:s}", "text", narrow_policy), 0, NULL);
    assert_int_equal(count_events(p, "policy_change", ""), 0);

    struct answer a = ask(p, "policy.apply", json_pack("{s:s}", "text", narrow_policy));
    assert_int_equal(a.exit_code, 0);
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(a.lines, 0), "without_role")), 1);
    answer_done(&a);
    assert_int_equal(count_events(p, "policy_change", "admin"), 1);
    assert_int_equal(disk_load(p->disk, ADMIN_POLICY_FILE, 65536, &saved), OK);
    assert_true(slice_is(buf_slice(&saved), narrow_policy));
    buf_done(&saved);
}

static void test_policy_explain(void **state)
{
    static const struct {
        const char *action, *topic, *decision; /* NULL: refused */
    } cases[] = {
        {"publish", "sensors/lab/meter-1/temperature", "allow"},
        {"publish", "sensors/lab/meter-2/temperature", "deny"},
        {"publish", "sensors/#", NULL},
        {"subscribe", "commands/meter-1/#", "allow"},
        {"subscribe", "#", "deny"},
        {"subscribe", "a#", NULL},
        {"get", "/none", "deny"},
        {"get", "/mq/commands/meter-1/a", "allow"},
        {"get", "/mq/sensors/lab/meter-1/temperature", "deny"},
        {"PUT", "/mq/commands/meter-1/a", "deny"},
        {"post", "/mq/sensors/lab/meter-1/temperature", "allow"},
        {"put", "/mq/a/../b", "deny"}, /* /mq/b */
        {"put", "/mq/a+", NULL},
        {"put", "/mq/%zz", NULL},
        {"put", "/mq", NULL},
        {"dance", "a", NULL},
        {"", "", NULL},
    };
    struct home *p = *state;
    add(p, "meter-1");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        print_message("%s %s\n", cases[i].action, cases[i].topic);
        struct answer a = ask(p, "policy.explain",
                              json_pack("{s:s,s:s,s:s}", "name", "meter-1", "action",
                                        cases[i].action, "topic", cases[i].topic));
        assert_int_equal(a.exit_code, cases[i].decision != NULL ? 0 : 1);
        if (cases[i].decision != NULL) {
            const json_t *line = json_array_get(a.lines, 0);
            assert_string_equal(text_of(line, "decision"), cases[i].decision);
            assert_true(strlen(text_of(line, "rule")) > 0);
        }
        answer_done(&a);
    }
    expect(p, "device.disable", json_pack("{s:s}", "name", "meter-1"), 0, NULL);
    struct answer a = ask(p, "policy.explain",
                          json_pack("{s:s,s:s,s:s}", "name", "meter-1", "action", "publish",
                                    "topic", "sensors/lab/meter-1/temperature"));
    assert_string_equal(text_of(json_array_get(a.lines, 0), "decision"), "deny");
    answer_done(&a);
}

/* A policy that was sent along answers in place of the one in force. */
static void test_policy_explain_another(void **state)
{
    struct home *p = *state;
    add(p, "meter-1");
    json_t *args = json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", "meter-1", "action", "publish",
                             "topic", "sensors/lab/meter-1/temperature", "text",
                             "version: 1\nroles: {}\n", "file", "new.yaml");
    struct answer a = ask(p, "policy.explain", args);
    assert_string_equal(text_of(json_array_get(a.lines, 0), "decision"), "deny");
    answer_done(&a);
    expect(p, "policy.explain",
           json_pack("{s:s,s:s,s:s,s:s}", "name", "meter-1", "action", "publish", "topic", "a",
                     "text", "version: 2\n"),
           1, "the policy must say version: 1");
    expect(p, "policy.explain",
           json_pack("{s:s,s:s,s:s,s:i}", "name", "meter-1", "action", "publish", "topic",
                     "sensors/lab/meter-1/temperature", "text", 1),
           1, "policy.yaml:"); /* never the one in force instead */
}

/* The policy once, everybody once, no secret. */
static void test_policy_crowd(void **state)
{
    struct home *p = *state;
    size_t n = 0;
    json_int_t page = 0;
    add(p, "meter-1");
    add(p, "meter-2");
    expect(p, "policy.apply", json_pack("{s:s}", "text", narrow_policy), 0, NULL);
    while (page >= 0) {
        struct answer a = ask(p, "policy.crowd", json_pack("{s:I}", "page", page));
        size_t last = json_array_size(a.lines) - 1;
        assert_int_equal(last, page == 0 ? 1 : 0);
        if (page == 0) {
            const json_t *first = json_array_get(a.lines, 0);
            assert_string_equal(text_of(first, "policy"), narrow_policy);
            assert_true(
                json_is_integer(json_object_get(json_object_get(first, "start"), "publish_rate")));
        }
        const json_t *line = json_array_get(a.lines, last);
        const json_t *members = json_object_get(line, "members");
        for (size_t i = 0; i < json_array_size(members); i++) {
            const json_t *m = json_array_get(members, i);
            assert_int_equal(json_object_size(m), 6); /* id name role status gateway attrs */
            assert_int_equal(strncmp(text_of(m, "name"), "meter-", 6), 0);
            n++;
        }
        page = json_integer_value(json_object_get(line, "page"));
        answer_done(&a);
    }
    assert_int_equal(n, 2);
}

/* Policy and edition reach the workers together; who asks for a change then waits for both. */
static void test_reload(void **state)
{
    static struct edition edition = {.number = 7, .limits = LIMITS_DEFAULT};
    struct home *p = *state;
    struct yaml_complaint complaint = {{0}};
    struct admin_reload n = {.pki = p->pki, .edition = &edition};
    uint64_t epoch = 0;
    add(p, "meter-1");
    atomic_store(&edition.refs, 1); /* ours, for good */
    edition.limits.memory_bytes = UINT64_C(77) << 20;
    assert_int_equal(policy_yaml_read(slice_text(narrow_policy), "p", NULL, &complaint, &n.policy),
                     OK);
    assert_int_equal(admin_reload(p->admin, &n, &epoch), OK);
    policy_unref(n.policy);
    assert_int_equal(count_events(p, "policy_change", "policy.yaml"), 1);
    assert_int_equal(broker_ceiling(p->broker)->bytes, UINT64_C(77) << 20);
    for (unsigned i = 0; i < 1000 && (broker_realm_epoch(p->broker) < epoch ||
                                      broker_edition(p->broker) < edition.number);
         i++) {
        turn(p);
    }
    assert_true(broker_realm_epoch(p->broker) >= epoch);
    assert_int_equal(broker_edition(p->broker), edition.number);
    expect(p, "device.disable", json_pack("{s:s}", "name", "meter-1"), 0, NULL);
    struct answer a = ask(p, "status", NULL);
    assert_non_null(strstr(text_of(json_array_get(a.lines, 0), "text"), "77 MiB"));
    answer_done(&a);
    expect(p, "device.add", order("meter-2", "psk"), 1, "has no role sensor");
}

/* ---- exceptions ---- */

static json_t *exception_order(const char *listener, const char *allow, int seconds)
{
    return json_pack("{s:s,s:[s],s:i,s:s,s:s}", "listener", listener, "allow", allow, "for_s",
                     seconds, "reason", "old plc", "role", "sensor");
}

static void test_exceptions(void **state)
{
    struct home *p = *state;
    expect(p, "exception.add", exception_order("telnet", "plaintext", 60), 1, "no listener");
    expect(p, "exception.add", exception_order("mqtts", "plaintext", 60), 1, "TLS");
    expect(p, "exception.add", exception_order("mqtt", "everything", 60), 1, "plaintext");
    expect(p, "exception.add", exception_order("mqtt", "plaintext", 7 * 86400 + 1), 1, "7 days");
    expect(p, "exception.add", exception_order("mqtt", "plaintext", 0), 1, "7 days");
    assert_int_equal(count_events(p, "exception", ""), 0);

    struct answer a = ask(p, "exception.add", exception_order("mqtt", "plaintext", 60));
    assert_int_equal(a.exit_code, 0);
    char id[32];
    snprintf(id, sizeof id, "%s", text_of(json_array_get(a.lines, 0), "text"));
    assert_string_equal(id, text_of(json_array_get(a.lines, 0), "id"));
    answer_done(&a);
    assert_int_equal(count_events(p, "exception", "added"), 1);
    a = ask(p, "exception.list", NULL);
    assert_int_equal(json_array_size(a.lines), 1);
    answer_done(&a);
    a = ask(p, "status", NULL);
    assert_non_null(strstr(text_of(json_array_get(a.lines, 0), "text"), "OPEN IN PLAINTEXT"));
    answer_done(&a);
    a = ask(p, "alerts", NULL);
    assert_int_equal(json_array_size(a.lines), 1);
    answer_done(&a);

    expect(p, "exception.end", json_pack("{s:s}", "id", "999"), 1, "999");
    expect(p, "exception.end", json_pack("{s:s}", "id", "x"), 1, "number");
    expect(p, "exception.end", json_pack("{s:s}", "id", id), 0, NULL);
    expect(p, "exception.end", json_pack("{s:s}", "id", id), 1, "no exception");
    assert_int_equal(count_events(p, "exception", "ended"), 1);
}

static void test_exceptions_end_by_themselves(void **state)
{
    struct home *p = *state;
    expect(p, "exception.add", exception_order("mqtt", "plaintext", 60), 0, NULL);

    /* A restart says that it is in force. */
    p->admin = admin_free(p->admin);
    assert_int_equal(admin_new(&p->setup, &p->admin), OK);
    assert_int_equal(count_events(p, "exception", "still in force"), 1);

    __atomic_store_n(&p->shift_ms, 59000, __ATOMIC_RELAXED);
    uint64_t next = admin_tick(p->admin);
    assert_true(next <= test_mono_ms(NULL) + 1000); /* awake when it ends */
    assert_int_equal(count_events(p, "exception", "its time is over"), 0);
    __atomic_store_n(&p->shift_ms, 60001, __ATOMIC_RELAXED);
    turn(p);
    assert_int_equal(count_events(p, "exception", "its time is over"), 1);
    struct answer a = ask(p, "exception.list", NULL);
    assert_int_equal(json_array_size(a.lines), 0);
    answer_done(&a);
    const struct directory_version *v = directory_current(p->directory);
    for (unsigned i = 0; i < 1000 && broker_realm_epoch(p->broker) < directory_version_epoch(v);
         i++) {
        turn(p);
    }
    assert_true(broker_realm_epoch(p->broker) >= directory_version_epoch(v));
    directory_version_unref(v);
}

/* ---- retained messages ---- */

static void test_retained(void **state)
{
    struct home *p = *state;
    expect(p, "retained.list", json_pack("{s:s}", "filter", "a/#/b"), 1, "no topic filter");
    expect(p, "retained.list", json_pack("{s:s}", "filter", "$share/g/a"), 1, "no topic filter");
    expect(p, "retained.purge", NULL, 1, "say which");
    expect(p, "retained.undo", NULL, 1, "say which");
    expect(p, "retained.undo", json_pack("{s:i}", "id", 7), 1, "no undo record 7");
    struct answer a = ask(p, "retained.list", NULL);
    assert_int_equal(a.exit_code, 0);
    assert_int_equal(json_array_size(a.lines), 0);
    answer_done(&a);
    a = ask(p, "retained.list", json_pack("{s:b}", "sum", 1));
    assert_int_equal(json_integer_value(json_object_get(json_array_get(a.lines, 0), "messages")),
                     0);
    answer_done(&a);
    a = ask(p, "retained.purge", json_pack("{s:s}", "filter", "#"));
    assert_int_equal(a.exit_code, 0);
    assert_non_null(strstr(text_of(json_array_get(a.lines, 0), "text"), "nothing was purged"));
    answer_done(&a);
    assert_int_equal(count_events(p, "config_change", "retained purge: 0 messages"), 1);
}

/* Who goes away in the middle leaves nothing behind, and the rows are not used up. */
static void test_retained_askers_go(void **state)
{
    struct home *p = *state;
    for (unsigned i = 0; i < 3 * ADMIN_INQUIRIES_MAX; i++) {
        int fd = send_request(p, "retained.list", NULL);
        (void)close(fd);
        turn(p);
        turn(p);
    }
    expect(p, "retained.list", NULL, 0, NULL);
}

/* The keys of TLS tickets: replaced and saved when it is time, and not before. */
static void test_ticket_keys(void **state)
{
    struct home *p = *state;
    struct tls_tickets_setup setup = {
        .life_s = 2 * 3600, .clock = p->setup.clock, .random = p->random};
    AUTO(buf_wipe) struct buf ours = {0};
    AUTO(buf_wipe) struct buf saved = {0};
    AUTO(tls_tickets_autofree) struct tls_tickets *read = NULL;
    assert_int_equal(tls_tickets_new(&setup, &p->setup.tickets), OK);
    assert_int_equal(tls_tickets_new(&setup, &read), OK);
    for (int64_t i = 0; i < 2; i++) {
        __atomic_store_n(&p->shift_ms, i * 3600 * 1000, __ATOMIC_RELAXED);
        p->admin = admin_free(p->admin); /* it looks at once, then now and then */
        assert_int_equal(admin_new(&p->setup, &p->admin), OK);
        (void)admin_tick(p->admin);
        assert_int_equal(ticket_file_load(p->disk, keyring_root(p->setup.keyring), read),
                         i == 0 ? ERR_NOT_FOUND : OK);
    }
    assert_int_equal(tls_tickets_save(p->setup.tickets, &ours), OK);
    assert_int_equal(tls_tickets_save(read, &saved), OK);
    assert_true(slice_equal(buf_slice(&ours), buf_slice(&saved)));
    p->admin = admin_free(p->admin);
    p->setup.tickets = tls_tickets_free(p->setup.tickets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ticket_keys, setup_stopped, teardown),
        cmocka_unit_test_setup_teardown(test_device_add, setup, teardown),
        cmocka_unit_test_setup_teardown(test_device_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_device_rotate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_device_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_refusal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_policy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_policy_explain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_policy_explain_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_policy_crowd, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retained, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retained_askers_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exceptions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exceptions_end_by_themselves, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
