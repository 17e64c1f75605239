/* WebSocket for CoAP: its subprotocol, and where each message ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/wr.h"
#include "net/ws.h"

enum { ROOM = 256 };

static const struct ws_rules coap = {
    .path = {(const uint8_t *)"/.well-known/coap", 17}, .frame_max = 100, .is_coap = true};

#define ASKS(protocol)                                                                             \
    "GET /.well-known/coap HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"                         \
    "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"                        \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: " protocol "\r\n\r\n"

/* A copy of exactly that many bytes, because it is decoded in place. */
static struct slice feed(struct ws *w, struct slice piece, uint8_t *dst)
{
    uint8_t *copy = test_malloc(piece.n > 0 ? piece.n : 1);
    slice_copy(copy, piece);
    struct slice data = ws_input(w, copy, piece.n, 1000);
    slice_copy(dst, data);
    test_free(copy);
    return slice_of(dst, data.n);
}

static bool is_said(struct ws *w, const char *text)
{
    char words[WS_OUTPUT_BYTES + 1];
    size_t n = ws_output(w, (uint8_t *)words, WS_OUTPUT_BYTES);
    words[n] = '\0';
    return strstr(words, text) != NULL;
}

static struct ws *opened(void)
{
    struct ws *w = NULL;
    uint8_t none[ROOM];
    assert_int_equal(ws_new(&coap, NULL, &w), OK);
    assert_int_equal(feed(w, slice_text(ASKS("coap")), none).n, 0);
    assert_true(ws_is_open(w));
    assert_true(is_said(w, "Sec-WebSocket-Protocol: coap\r\n")); /* SPEC: RFC8323 4.1 */
    return w;
}

static void the_subprotocol_is_coap(void **state)
{
    AUTO(ws_autofree) struct ws *w = NULL;
    uint8_t none[ROOM];
    (void)state;
    assert_int_equal(ws_new(&coap, NULL, &w), OK);
    (void)feed(w, slice_text(ASKS("mqtt")), none);
    assert_int_equal(ws_status(w), 400);
    assert_true(is_said(w, "must offer coap"));
}

/* "ab", a ping, "cde" in two frames with a pong between, an empty message. SPEC: RFC8323 4.2 */
static const uint8_t frames[] = {0x82, 0x82, 0, 0, 0, 0, 'a', 'b',  0x89, 0x80, 0, 0, 0, 0,
                                 0x02, 0x82, 0, 0, 0, 0, 'c', 'd',  0x8a, 0x80, 0, 0, 0, 0,
                                 0x80, 0x81, 0, 0, 0, 0, 'e', 0x82, 0x80, 0,    0, 0, 0};

static void where_messages_end(void **state)
{
    static const size_t want[] = {2, 5, 5};
    (void)state;
    for (size_t step = 1; step <= sizeof(frames); step++) {
        AUTO(ws_autofree) struct ws *w = opened();
        uint8_t all[ROOM];
        size_t found = 0, at = 0, n = 0;
        struct slice in = slice_of(frames, sizeof(frames));
        for (; in.n > 0; in = slice_from(in, step)) {
            struct slice data = feed(w, slice_head(in, step), all + at);
            const uint32_t *ends = ws_ends(w, &n);
            for (size_t i = 0; i < n; i++) {
                assert_true(found < 3 && ends[i] <= data.n);
                assert_int_equal(at + ends[i], want[found++]);
            }
            at += data.n;
        }
        assert_int_equal(found, 3);
        assert_int_equal(ws_failure(w), OK);
        assert_true(slice_is(slice_of(all, at), "abcde"));
    }
}

/* Ours as a client: it asks for coap, takes nothing else, and is told the ends, too. */
static void a_client_of_coap(void **state)
{
    (void)state;
    const struct ws_target target = {
        .host = "h", .port = 443, .path = "/.well-known/coap", .is_coap = true};
    const struct random_source random = random_system();
    for (int agrees = 0; agrees < 2; agrees++) {
        AUTO(ws_autofree) struct ws *client = NULL;
        AUTO(ws_autofree) struct ws *server = NULL;
        uint8_t told[WS_OUTPUT_BYTES], all[WS_OUTPUT_BYTES];
        static const uint8_t two[] = {0x82, 1, 'x', 0x02, 1, 'y', 0x80, 1, 'z'};
        size_t n = 0;
        assert_int_equal(ws_client_new(&target, &random, 100, &client), OK);
        assert_int_equal(ws_new(&coap, NULL, &server), OK);
        n = ws_output(client, told, sizeof(told));
        assert_non_null(memmem(told, n, "Protocol: coap\r\n", 16));
        (void)feed(server, slice_of(told, n), all);
        n = ws_output(server, told, sizeof(told));
        if (!agrees) {
            slice_copy(memmem(told, n, "coap\r\n", 6), slice_text("mqtt"));
        }
        (void)feed(client, slice_of(told, n), all);
        assert_int_equal(ws_is_open(client), agrees);
        if (!agrees) {
            assert_string_equal(ws_error(client),
                                "the server speaks WebSocket, but not CoAP in it");
            continue;
        }
        assert_int_equal(feed(client, slice_of(two, sizeof(two)), all).n, 3);
        const uint32_t *ends = ws_ends(client, &n);
        assert_true(n == 2 && ends[0] == 1 && ends[1] == 3);
    }
}

static void without_memory_for_an_end(void **state)
{
    (void)state;
    for (long n = 0; n < 6; n++) {
        AUTO(ws_autofree) struct ws *w = opened();
        uint8_t all[ROOM];
        mem_fail_after(n);
        (void)feed(w, slice_of(frames, sizeof(frames)), all);
        mem_fail_after(-1);
        assert_true(ws_failure(w) == OK || ws_failure(w) == ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_subprotocol_is_coap),
        cmocka_unit_test(where_messages_end),
        cmocka_unit_test(a_client_of_coap),
        cmocka_unit_test(without_memory_for_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
