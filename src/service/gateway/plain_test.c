/* Plain CoAP at an OSCORE entrance: let in by an exception, behind an Echo, until its end. */
#include "service/gateway/oscore_homes_bench_test.h"

enum { FOR_MS = 3600 * 1000, FROM = 50 };

static uint64_t let_in(struct homes *h, const char *role)
{
    const struct directory_exception_order x = {.listener = slice_text("coap"),
                                                .role = slice_text(role),
                                                .reason = slice_text("an old meter"),
                                                .allow = DIRECTORY_ALLOW_PLAINTEXT |
                                                         DIRECTORY_ALLOW_ANONYMOUS,
                                                .for_ms = FOR_MS};
    struct why why;
    uint64_t id = 0;
    assert_int_equal(directory_exception_add(h->f->directory, &x, h->f->wall_ms, &id, &why), OK);
    publish_realm(h->f);
    run(h);
    return id;
}

/* A request from this port; what came back, in the client's buffer. code 0: nothing did. */
static struct coap_message asked(struct homes *h, unsigned port, uint8_t code, const char *path,
                                 struct slice echo, int observe)
{
    static uint16_t mid;
    uint8_t bytes[256], block[128];
    size_t n = 0;
    struct coap_option_writer w = coap_option_writer_into(block, sizeof(block));
    struct coap_message m = {
        .type = COAP_CON, .code = code, .mid = ++mid, .token = slice_text("t")};
    if (observe >= 0) {
        coap_option_add_uint(&w, COAP_OPTION_OBSERVE, (uint32_t)observe);
    }
    coap_uri_path_options(slice_text(path), &w);
    if (echo.n > 0) {
        coap_option_add(&w, COAP_OPTION_ECHO, echo);
    }
    assert_int_equal(coap_option_writer_done(&w, &m.options), OK);
    assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
    h->n_sent = 0;
    comes(h, 0, port, slice_of(bytes, n));
    run(h);
    struct coap_message answer = {.code = 0};
    if (h->n_sent > 0) {
        assert_int_equal(coap_message_decode(slice_of(h->client.out, h->client.out_n), 8, &answer),
                         OK);
    }
    return answer;
}

static uint8_t asks_for(struct homes *h, unsigned port, const char *path)
{
    return asked(h, port, COAP_GET, path, (struct slice){0}, -1).code;
}

/* Asked, and asked again with the Echo that came: the code then. */
static uint8_t proves(struct homes *h, unsigned port, const char *path, int observe)
{
    uint8_t value[64];
    struct slice echo = {0};
    struct coap_message m = asked(h, port, COAP_GET, path, (struct slice){0}, observe);
    assert_int_equal(m.code, COAP_UNAUTHORIZED);
    assert_true(coap_options_find(m.options, COAP_OPTION_ECHO, &echo));
    slice_copy(value, echo);
    return asked(h, port, COAP_GET, path, slice_of(value, echo.n), observe).code;
}

static bool is_challenged(struct homes *h, unsigned port)
{
    struct slice echo;
    struct coap_message m = asked(h, port, COAP_GET, "/mq/s/a/b", (struct slice){0}, -1);
    return m.code == COAP_UNAUTHORIZED && coap_options_find(m.options, COAP_OPTION_ECHO, &echo);
}

static size_t count(const struct homes *h)
{
    return coap_door_count(h->doors[0]);
}

static void goes(struct homes *h, uint64_t ms)
{
    h->f->now_ms += ms;
    h->f->wall_ms += (int64_t)ms;
    run(h);
}

/* ---- tests ---- */

static void only_an_exception(void **state)
{
    struct homes *h = *state;
    assert_int_equal(asks_for(h, FROM, "/mq/s/a/b"), COAP_UNAUTHORIZED);
    assert_false(is_challenged(h, FROM));
    assert_non_null(find_event(h->f, EVENT_tls_reject));
    (void)let_in(h, "sensor");
    assert_int_equal(count(h), 0);
    assert_int_equal(proves(h, FROM, "/mq/other/x", -1), COAP_FORBIDDEN); /* of the role's grants */
    assert_int_equal(count(h), 1);
    assert_int_equal(proves(h, FROM + 1, "/mq/other/x", -1), COAP_FORBIDDEN);
    assert_int_equal(count(h), 2); /* each port is somebody of its own */
    const struct event *e = find_event(h->f, EVENT_connect);
    assert_non_null(e);
    assert_non_null(strstr(e->reason, "PLAINTEXT"));
    assert_int_equal(strncmp(e->principal, "anonymous-0-", 12), 0);
}

static void it_ends_with_its_exception(void **state)
{
    struct homes *h = *state;
    uint64_t id = let_in(h, "sensor");
    (void)proves(h, FROM, "/mq/other/x", -1);
    assert_int_equal(count(h), 1);
    assert_int_equal(directory_exception_end(h->f->directory, id), OK);
    publish_realm(h->f);
    run(h);
    assert_int_equal(count(h), 0);
    assert_non_null(find_event(h->f, EVENT_exception));
    assert_int_equal(asks_for(h, FROM, "/mq/s/a/b"), COAP_UNAUTHORIZED);
    assert_false(is_challenged(h, FROM));
}

/* Nobody has to tell the door: the time is enough. */
static void it_ends_with_its_time(void **state)
{
    struct homes *h = *state;
    (void)let_in(h, "sensor");
    (void)proves(h, FROM, "/mq/other/x", -1);
    for (unsigned i = 0; i < 5; i++) { /* it stays awake */
        goes(h, FOR_MS / 6);
        assert_int_equal(asks_for(h, FROM, "/mq/other/x"), COAP_FORBIDDEN);
    }
    goes(h, FOR_MS / 6 - 2);
    assert_int_equal(count(h), 1);
    goes(h, 3);
    assert_int_equal(count(h), 0);
    assert_non_null(find_event(h->f, EVENT_exception));
    assert_false(is_challenged(h, FROM));
}

static void it_ends_when_it_is_silent(void **state)
{
    struct homes *h = *state;
    (void)let_in(h, "sensor");
    (void)proves(h, FROM, "/mq/other/x", -1);
    goes(h, COAP_DOOR_PLAIN_IDLE_MS - 1);
    assert_int_equal(count(h), 1);
    assert_int_equal(asks_for(h, FROM, "/mq/other/x"), COAP_FORBIDDEN);
    goes(h, COAP_DOOR_PLAIN_IDLE_MS - 1);
    assert_int_equal(count(h), 1);
    goes(h, 2);
    assert_int_equal(count(h), 0);
    assert_true(is_challenged(h, FROM)); /* it may come again */
}

static void another_exception_is_another(void **state)
{
    struct homes *h = *state;
    uint64_t first = let_in(h, "sensor");
    (void)proves(h, FROM, "/mq/other/x", -1);
    (void)let_in(h, "sensor");
    assert_int_equal(count(h), 1);
    assert_int_equal(directory_exception_end(h->f->directory, first), OK);
    publish_realm(h->f);
    run(h);
    assert_int_equal(count(h), 0);
    assert_true(is_challenged(h, FROM));
}

static void oscore_beside_it(void **state)
{
    struct homes *h = *state;
    (void)let_in(h, "sensor");
    comes_in(h, h->home, FROM);
    assert_int_equal(coap_door_count(h->doors[h->home]), 1);
    (void)proves(h, FROM, "/mq/other/x", -1);
    assert_int_equal(coap_door_count(h->doors[0]), h->home == 0 ? 2 : 1);
    assert_int_equal(client_asks(h, h->home, FROM, (struct slice){0}), COAP_NOT_FOUND);
}

static void nobody_registers(void **state)
{
    struct homes *h = *state;
    (void)let_in(h, "sensor");
    (void)proves(h, FROM, "/mq/other/x", -1);
    assert_int_equal(asked(h, FROM, COAP_POST, "/rd", (struct slice){0}, -1).code, COAP_FORBIDDEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_an_exception, open_homes, close_homes),
        cmocka_unit_test_setup_teardown(it_ends_with_its_exception, open_homes, close_homes),
        cmocka_unit_test_setup_teardown(it_ends_with_its_time, open_homes, close_homes),
        cmocka_unit_test_setup_teardown(it_ends_when_it_is_silent, open_homes, close_homes),
        cmocka_unit_test_setup_teardown(another_exception_is_another, open_homes, close_homes),
        cmocka_unit_test_setup_teardown(oscore_beside_it, open_homes, close_homes),
        cmocka_unit_test_setup_teardown(nobody_registers, open_homes, close_homes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
