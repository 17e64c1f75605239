#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/ws.h"

enum { FRAME_MAX = 64 * 1024, SEEN_MAX = 256 * 1024, NOW_MS = 1000 };

static const struct ws_rules rules = {.path = {(const uint8_t *)"/mqtt", 5},
                                      .frame_max = FRAME_MAX};

static enum err client_new(struct ws **ret)
{
    static uint64_t seed;
    seed = 7; /* the same key and masks each time */
    struct random_source random = random_seeded(&seed);
    struct ws_target target = {.host = "h.example", .port = 8084, .path = "/mqtt"};
    return ws_client_new(&target, &random, FRAME_MAX, ret);
}

/* Gives `to` what was said, cut into pieces of step bytes; appends the data that comes of it. */
static void hear(struct ws *to, struct slice said, size_t step, struct buf *ret_data)
{
    while (said.n > 0) {
        uint8_t piece[SEEN_MAX];
        size_t n = said.n < step ? said.n : step;
        slice_copy(piece, slice_head(said, n));
        struct slice data = ws_input(to, piece, n, NOW_MS);
        assert_int_equal(buf_append(ret_data, data, SEEN_MAX), OK);
        said = slice_from(said, n);
    }
}

/* Everything that one side has to say of itself goes to the other. */
static void speak(struct ws *from, struct ws *to, size_t step, struct buf *ret_data)
{
    uint8_t out[WS_OUTPUT_BYTES];
    size_t n = ws_output(from, out, sizeof(out));
    hear(to, slice_of(out, n), step, ret_data);
}

static void test_client_and_server(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 2, 3, 7, 100, SEEN_MAX};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        AUTO(ws_autofree) struct ws *client = NULL;
        AUTO(ws_autofree) struct ws *server = NULL;
        AUTO(buf_done) struct buf at_client = {0};
        AUTO(buf_done) struct buf at_server = {0};
        uint8_t frame[WS_CLIENT_FRAME_BYTES];
        uint8_t back[] = {0x82, 2, 'h', 'i', 0x89, 1, 'p'}; /* data, then a ping */
        assert_int_equal(client_new(&client), OK);
        assert_int_equal(ws_new(&rules, NULL, &server), OK);
        assert_true(ws_is_client(client) && !ws_is_client(server) && !ws_is_open(client));
        speak(client, server, steps[i], &at_server);
        assert_true(ws_is_open(server));
        speak(server, client, steps[i], &at_client);
        assert_true(ws_is_open(client));
        size_t n = ws_client_frame(client, slice_text("hello"), frame);
        assert_int_equal(n, 2 + 4 + 5);
        assert_memory_not_equal(frame + 6, "hello", 5); /* masked. SPEC: RFC6455 5.3 */
        hear(server, slice_of(frame, n), steps[i], &at_server);
        assert_true(slice_is(buf_slice(&at_server), "hello"));
        hear(client, slice_of(back, sizeof(back)), steps[i], &at_client);
        assert_true(slice_is(buf_slice(&at_client), "hi"));
        speak(client, server, steps[i], &at_server); /* the pong is masked, or the server ends it */
        assert_int_equal(ws_failure(server), OK);
        ws_close(client);
        speak(client, server, steps[i], &at_server);
        assert_int_equal(ws_failure(server), ERR_CLOSED);
    }
}

/* Sizes around those of a frame's head. */
static void test_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 125, 126, WS_CLIENT_CHUNK};
    static uint8_t frame[WS_CLIENT_FRAME_BYTES], data[WS_CLIENT_CHUNK];
    memset(data, 'x', sizeof(data));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        AUTO(ws_autofree) struct ws *client = NULL;
        AUTO(ws_autofree) struct ws *server = NULL;
        AUTO(buf_done) struct buf got = {0};
        assert_int_equal(client_new(&client), OK);
        assert_int_equal(ws_new(&rules, NULL, &server), OK);
        speak(client, server, SEEN_MAX, &got);
        size_t n = ws_client_frame(client, slice_of(data, sizes[i]), frame);
        hear(server, slice_of(frame, n), SEEN_MAX, &got);
        assert_true(slice_equal(buf_slice(&got), slice_of(data, sizes[i])));
    }
}

#define LINE   "HTTP/1.1 101 Switching Protocols\r\n"
#define FIELDS "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define MQTT   "Sec-WebSocket-Protocol: mqtt\r\n"

/* %s: the accept that fits the request. */
static const struct {
    const char *name, *answer;
    enum err err;
    unsigned status;
} answers[] = {
    {"good", LINE FIELDS MQTT "Sec-WebSocket-Accept: %s\r\n\r\n", OK, 0},
    {"good in other cases",
     LINE "UPGRADE: WebSocket\r\nconnection: upgrade\r\n" MQTT "sec-websocket-accept: %s\r\n\r\n",
     OK, 0},
    {"not found", "HTTP/1.1 404 Not Found\r\n\r\n", ERR_PROTOCOL, 404},
    {"a page", "HTTP/1.1 200 OK\r\n\r\n", ERR_PROTOCOL, 200},
    {"old", "HTTP/1.0 101 x\r\n\r\n", ERR_PROTOCOL, 0},
    {"MQTT", "\x20\x02\x01\x02", ERR_PROTOCOL, 0},
    {"no accept", LINE FIELDS MQTT "\r\n", ERR_PROTOCOL, 0},
    {"wrong accept", LINE FIELDS MQTT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
     ERR_PROTOCOL, 0},
    {"accept twice", LINE FIELDS MQTT "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Accept: x\r\n\r\n",
     ERR_PROTOCOL, 0},
    {"no upgrade", LINE "Connection: Upgrade\r\n" MQTT "Sec-WebSocket-Accept: %s\r\n\r\n",
     ERR_PROTOCOL, 0},
    {"no connection", LINE "Upgrade: websocket\r\n" MQTT "Sec-WebSocket-Accept: %s\r\n\r\n",
     ERR_PROTOCOL, 0},
    {"no subprotocol", LINE FIELDS "Sec-WebSocket-Accept: %s\r\n\r\n", ERR_PROTOCOL, 0},
    {"another subprotocol",
     LINE FIELDS "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: %s\r\n\r\n", ERR_PROTOCOL,
     0},
    {"an extension",
     LINE FIELDS MQTT
     "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
     ERR_PROTOCOL, 0},
};

/* The accept that the server of the tree gives to the client's key. */
static void find_accept(char dst[64])
{
    AUTO(ws_autofree) struct ws *client = NULL;
    AUTO(ws_autofree) struct ws *server = NULL;
    AUTO(buf_done) struct buf none = {0};
    char out[WS_OUTPUT_BYTES + 1] = "";
    assert_int_equal(client_new(&client), OK);
    assert_int_equal(ws_new(&rules, NULL, &server), OK);
    speak(client, server, SEEN_MAX, &none);
    (void)ws_output(server, (uint8_t *)out, WS_OUTPUT_BYTES);
    const char *at = strstr(out, "Accept: ");
    assert_non_null(at);
    at += strlen("Accept: ");
    assert_true(slice_to_text(slice_of(at, strcspn(at, "\r")), dst, 64));
}

static void test_answers(void **state)
{
    (void)state;
    char accept[64], text[1024];
    find_accept(accept);
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const char *at = strstr(answers[i].answer, "%s");
        size_t before = at != NULL ? (size_t)(at - answers[i].answer) : strlen(answers[i].answer);
        (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)before, answers[i].answer,
                       at != NULL ? accept : "", at != NULL ? at + 2 : "");
        for (size_t step = 1; step < 3; step++) {
            AUTO(ws_autofree) struct ws *client = NULL;
            AUTO(buf_done) struct buf none = {0};
            assert_int_equal(client_new(&client), OK);
            hear(client, slice_text(text), step == 1 ? 1 : SEEN_MAX, &none);
            if (ws_failure(client) != answers[i].err || ws_status(client) != answers[i].status) {
                fail_msg("%s: %s", answers[i].name, ws_error(client));
            }
            assert_int_equal(ws_is_open(client), answers[i].err == OK);
        }
    }
}

static void test_endless_answer(void **state)
{
    (void)state;
    AUTO(ws_autofree) struct ws *client = NULL;
    AUTO(buf_done) struct buf none = {0};
    static char text[16 * 1024];
    memset(text, 'a', sizeof(text));
    memcpy(text, LINE "A: ", sizeof(LINE "A: ") - 1);
    assert_int_equal(client_new(&client), OK);
    hear(client, slice_of(text, sizeof(text)), 1000, &none);
    assert_int_equal(ws_failure(client), ERR_PROTOCOL);
}

static void test_masked_server(void **state)
{
    (void)state;
    AUTO(ws_autofree) struct ws *client = NULL;
    AUTO(ws_autofree) struct ws *server = NULL;
    AUTO(buf_done) struct buf none = {0};
    uint8_t masked[] = {0x82, 0x81, 1, 2, 3, 4, 'x'};
    assert_int_equal(client_new(&client), OK);
    assert_int_equal(ws_new(&rules, NULL, &server), OK);
    speak(client, server, SEEN_MAX, &none);
    speak(server, client, SEEN_MAX, &none);
    hear(client, slice_of(masked, sizeof(masked)), SEEN_MAX, &none);
    assert_int_equal(ws_failure(client), ERR_PROTOCOL);
}

static void test_targets(void **state)
{
    (void)state;
    static char path[WS_TARGET_PATH_MAX + 2];
    struct random_source random = random_system();
    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    const struct {
        const char *host, *path, *says;
        enum err err;
    } cases[] = {
        {"::1", "/", "Host: [::1]:1\r\n", OK},
        {"h", "/a?b", "GET /a?b HTTP/1.1\r\nHost: h:1\r\n", OK},
        {"", "/", "", ERR_MALFORMED},
        {"h", "", "", ERR_MALFORMED},
        {"h", "a", "", ERR_MALFORMED},
        {"h", "/a b", "", ERR_MALFORMED},
        {"h\r\nX: y", "/", "", ERR_MALFORMED},
        {"h", "/\r\n", "", ERR_MALFORMED},
        {"h", "/\xc3\xa9", "", ERR_MALFORMED},
        {"h", path, "", ERR_MALFORMED},
        {"h", path + 1, "", ERR_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(ws_autofree) struct ws *w = NULL;
        char out[WS_OUTPUT_BYTES + 1] = "";
        struct ws_target target = {.host = cases[i].host, .port = 1, .path = cases[i].path};
        assert_int_equal(ws_client_new(&target, &random, FRAME_MAX, &w), cases[i].err);
        if (w != NULL) {
            (void)ws_output(w, (uint8_t *)out, WS_OUTPUT_BYTES);
            assert_non_null(strstr(out, cases[i].says));
        }
    }
    path[WS_TARGET_PATH_MAX] = '\0';
    AUTO(ws_autofree) struct ws *w = NULL;
    struct ws_target target = {.host = "h", .port = 65535, .path = path};
    assert_int_equal(ws_client_new(&target, &random, FRAME_MAX, &w), OK);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (long after = 0; after < 2; after++) {
        struct ws *w = NULL;
        (void)mem_fail_after(after);
        enum err err = client_new(&w);
        (void)mem_fail_after(-1);
        assert_int_equal(err, ERR_NOMEM);
        assert_null(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_and_server), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_answers),           cmocka_unit_test(test_endless_answer),
        cmocka_unit_test(test_masked_server),     cmocka_unit_test(test_targets),
        cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
