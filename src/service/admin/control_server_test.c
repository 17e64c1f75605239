/* Verbs that only look, and the socket itself. */
#include "service/admin/admin_test_private.h"

/* ---- watching ---- */

static void test_status_and_metrics(void **state)
{
    struct home *p = *state;
    add(p, "meter-1");
    struct answer a = ask(p, "status", NULL);
    const json_t *line = json_array_get(a.lines, 0);
    assert_int_equal(json_integer_value(json_object_get(line, "workers")), 2);
    assert_true(json_is_true(json_object_get(line, "settled")));
    assert_non_null(strstr(text_of(line, "text"), "closed: plain"));
    answer_done(&a);
    a = ask(p, "metrics", NULL);
    line = json_array_get(a.lines, 0);
    assert_non_null(strstr(text_of(line, "text"),
                           "sallyport_events_total{category=\"credential_issued\"} 1\n"));
    assert_non_null(strstr(text_of(line, "text"), "sallyport_principals 1\n"));
    answer_done(&a);
}

static void test_audit_tail(void **state)
{
    struct home *p = *state;
    add(p, "meter-1");
    struct answer a = ask(p, "audit.tail", json_pack("{s:i}", "n", 1));
    assert_int_equal(json_array_size(a.lines), 1);
    assert_string_equal(text_of(json_array_get(a.lines, 0), "category"), "credential_issued");
    assert_int_equal(json_object_size(json_array_get(a.lines, 0)), 11);
    answer_done(&a);

    struct answer stream = {.lines = json_array(), .exit_code = -1};
    struct buf in = {0};
    int fd = send_request(p, "audit.tail", json_pack("{s:i,s:b}", "n", 0, "follow", 1));
    turn(p);
    take_lines(fd, &in, &stream);
    assert_int_equal(json_array_size(stream.lines), 0);
    add(p, "meter-2");
    turn(p);
    take_lines(fd, &in, &stream);
    assert_int_equal(json_array_size(stream.lines), 2);
    assert_int_equal(stream.exit_code, -1); /* it goes on */
    (void)close(fd);
    turn(p);
    add(p, "meter-3"); /* nobody follows any more */
    answer_done(&stream);
    buf_done(&in);
}

static void test_audit_anchor_and_key(void **state)
{
    struct home *p = *state;
    add(p, "meter-1");
    struct answer a = ask(p, "audit.anchor", NULL);
    struct answer b = ask(p, "audit.roll-key", NULL);
    struct answer c = ask(p, "audit.tail", json_pack("{s:i}", "n", 1));
    const json_t *before = json_array_get(a.lines, 0), *after = json_array_get(b.lines, 0);
    assert_int_equal(a.exit_code + b.exit_code, 0);
    assert_string_equal(text_of(before, "trail"), text_of(after, "trail"));
    assert_string_not_equal(text_of(before, "key"), text_of(after, "key"));
    assert_true(json_integer_value(json_object_get(before, "count")) <
                json_integer_value(json_object_get(after, "count")));
    assert_string_equal(text_of(json_array_get(c.lines, 0), "target"), "audit key");
    answer_done(&a);
    answer_done(&b);
    answer_done(&c);
}

static void test_alerts(void **state)
{
    struct home *p = *state;
    struct event e = event_make(EVENT_clone);
    EVENT_TEXT(&e, principal, slice_text("\xff\x1b"));
    event_reason(&e, "two places");
    admin_event(p->admin, &e);
    admin_event(p->admin, &e);
    struct answer a = ask(p, "alerts", NULL);
    assert_int_equal(json_array_size(a.lines), 1);
    const json_t *line = json_array_get(a.lines, 0);
    assert_int_equal(json_integer_value(json_object_get(line, "count")), 2);
    assert_non_null(strstr(text_of(line, "text"), "\\xff\\x1b"));
    answer_done(&a);
}

/* ---- the socket ---- */

static void test_requests_that_do_not_read(void **state)
{
    struct home *p = *state;
    expect(p, "no.such", NULL, 1, "does not know");
    struct answer a = {.lines = json_array(), .exit_code = -1};
    struct buf in = {0};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(admin_adopt(p->admin, pair[0]), OK);
    assert_int_equal(send(pair[1], "{]\n", 3, 0), 3);
    turn(p);
    take_lines(pair[1], &in, &a);
    assert_int_equal(a.exit_code, 1);
    (void)close(pair[1]);
    answer_done(&a);
    buf_done(&in);
}

static void test_half_closed_client_gets_its_answer(void **state)
{
    struct home *p = *state;
    struct answer a = {.lines = json_array(), .exit_code = -1};
    struct buf in = {0};
    int fd = send_request(p, "device.add", order("meter-1", "psk"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    for (unsigned i = 0; i < 1000 && a.exit_code < 0; i++) {
        turn(p);
        take_lines(fd, &in, &a);
    }
    assert_int_equal(a.exit_code, 0);
    (void)close(fd);
    answer_done(&a);
    buf_done(&in);
}

static void test_listening_socket(void **state)
{
    struct home *p = *state;
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    struct answer a = {.lines = json_array(), .exit_code = -1};
    struct buf in = {0};
    struct buf request = {0};
    snprintf(where.sun_path, sizeof where.sun_path, "%s/control.sock", p->dir);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(server, (const struct sockaddr *)&where, sizeof where), 0);
    assert_int_equal(listen(server, 64), 0);
    assert_int_equal(admin_attach(p->admin, server), OK);
    int idle[CONTROL_CLIENTS_MAX + 4]; /* more than are served at a time */
    for (size_t i = 0; i < COUNT_OF(idle); i++) {
        idle[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(idle[i], (const struct sockaddr *)&where, sizeof where), 0);
        turn(p);
    }
    for (size_t i = 0; i + 1 < COUNT_OF(idle); i++) {
        (void)close(idle[i]);
    }
    int last = idle[COUNT_OF(idle) - 1];
    assert_int_equal(control_request_encode("status", NULL, &request), OK);
    assert_int_equal(send(last, request.p, request.n, 0), (ssize_t)request.n);
    for (unsigned i = 0; i < 200 && a.exit_code < 0; i++) {
        turn(p);
        take_lines(last, &in, &a);
    }
    assert_int_equal(a.exit_code, 0);
    (void)close(last);
    p->admin = admin_free(p->admin);
    (void)close(server);
    answer_done(&a);
    buf_done(&in);
    buf_done(&request);
}

/* Workers that stand still: the answer says that not all have the change, and hands out the
 * bundle, whose credentials are registered. */
static void test_workers_that_do_not_follow(void **state)
{
    struct home *p = *state;
    struct answer a = ask(p, "device.add", order("meter-1", "psk"));
    assert_int_equal(a.exit_code, 1);
    assert_non_null(strstr(a.error, "not every worker"));
    assert_int_equal(json_array_size(a.lines), 1);
    answer_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status_and_metrics, setup, teardown),
        cmocka_unit_test_setup_teardown(test_audit_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_audit_anchor_and_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alerts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_that_do_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_closed_client_gets_its_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listening_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workers_that_do_not_follow, setup_stopped, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
