#include "net/ws.h"

#include <stdio.h>

#include "base/rd.h"
#include "base/wr.h"
#include "net/stream_duo_test.h"
#include "wire/http1/request.h"

enum { FRAME_MAX = 1000, OUT_MAX = 64 * 1024 };

static const struct slice origins[] = {{(const uint8_t *)"https://dash.example", 20},
                                       {(const uint8_t *)"http://a:1", 10}};
static const struct ws_rules rules = {.path = {(const uint8_t *)"/mqtt", 5},
                                      .origins = origins,
                                      .n_origins = 2,
                                      .frame_max = FRAME_MAX};

#define GOOD_FIELDS                                                                                \
    "Host: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"                         \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"                 \
    "Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n"
#define GOOD "GET /mqtt HTTP/1.1\r\n" GOOD_FIELDS "\r\n"

/* What came out of one connection, however the bytes were cut. */
struct seen {
    struct buf data, words;
    enum err failure;
    unsigned status;
    bool open;
};

static void seen_done(struct seen *s)
{
    buf_done(&s->data);
    buf_done(&s->words);
}

static void feed(struct ws *w, struct slice piece, struct seen *s)
{
    uint8_t out[WS_OUTPUT_BYTES];
    uint8_t *copy = test_malloc(piece.n > 0 ? piece.n : 1);
    slice_copy(copy, piece);
    struct slice data = ws_input(w, copy, piece.n, 1000);
    assert_int_equal(buf_append(&s->data, data, OUT_MAX), OK);
    test_free(copy);
    size_t n = ws_output(w, out, sizeof(out));
    assert_int_equal(buf_append(&s->words, slice_of(out, n), OUT_MAX), OK);
    s->failure = ws_failure(w);
    s->status = ws_status(w);
    s->open = ws_is_open(w);
}

static struct seen run(struct slice in, size_t step)
{
    struct seen s = {0};
    AUTO(ws_autofree) struct ws *w = NULL;
    assert_int_equal(ws_new(&rules, NULL, &w), OK);
    while (in.n > 0) {
        feed(w, slice_head(in, step), &s);
        in = slice_from(in, step);
    }
    return s;
}

static const char *text_of(const struct buf *b, char *dst, size_t cap)
{
    (void)snprintf(dst, cap, "%.*s", (int)b->n, b->n > 0 ? (const char *)b->p : "");
    return dst;
}

static void test_upgrades(void **state)
{
    (void)state;
#define ASKS(line, fields) line "\r\n" fields "\r\n"
#define KEY                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define REST               "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
#define LAST               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
    static const struct {
        const char *name, *text;
        unsigned status;
    } cases[] = {
        {"good", GOOD, 0},
        {"query", ASKS("GET /mqtt?token=x HTTP/1.1", GOOD_FIELDS), 0},
        {"subprotocols in two fields",
         ASKS("GET /mqtt HTTP/1.1", REST KEY "Sec-WebSocket-Protocol: chat\r\n" LAST), 0},
        {"listed origin",
         ASKS("GET /mqtt HTTP/1.1", GOOD_FIELDS "Origin: https://dash.example\r\n"), 0},
        {"second origin", ASKS("GET /mqtt HTTP/1.1", GOOD_FIELDS "Origin: http://a:1\r\n"), 0},
        {"length 0", ASKS("GET /mqtt HTTP/1.1", GOOD_FIELDS "Content-Length: 0\r\n"), 0},
        {"foreign origin",
         ASKS("GET /mqtt HTTP/1.1", GOOD_FIELDS "Origin: https://evil.example\r\n"), 403},
        {"origin in capitals",
         ASKS("GET /mqtt HTTP/1.1", GOOD_FIELDS "Origin: https://DASH.example\r\n"), 403},
        {"empty origin", ASKS("GET /mqtt HTTP/1.1", GOOD_FIELDS "Origin:\r\n"), 403},
        {"two origins",
         ASKS("GET /mqtt HTTP/1.1",
              GOOD_FIELDS "Origin: https://dash.example\r\nOrigin: http://a:1\r\n"),
         400},
        {"path", ASKS("GET / HTTP/1.1", GOOD_FIELDS), 404},
        {"path in capitals", ASKS("GET /MQTT HTTP/1.1", GOOD_FIELDS), 404},
        {"path, escaped", ASKS("GET /%6dqtt HTTP/1.1", GOOD_FIELDS), 404},
        {"method", ASKS("POST /mqtt HTTP/1.1", GOOD_FIELDS), 405},
        {"method in small letters", ASKS("get /mqtt HTTP/1.1", GOOD_FIELDS), 405},
        {"two hosts", ASKS("GET /mqtt HTTP/1.1", GOOD_FIELDS "Host: b\r\n"), 400},
        {"body", ASKS("GET /mqtt HTTP/1.1", GOOD_FIELDS "Content-Length: 4\r\n"), 400},
        {"chunks", ASKS("GET /mqtt HTTP/1.1", GOOD_FIELDS "Transfer-Encoding: chunked\r\n"), 400},
        {"no upgrade", ASKS("GET /mqtt HTTP/1.1", "Host: h\r\n"), 426},
        {"upgrade to h2c",
         ASKS("GET /mqtt HTTP/1.1", "Host: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" KEY LAST),
         426},
        {"no version", ASKS("GET /mqtt HTTP/1.1", REST KEY "Sec-WebSocket-Protocol: mqtt\r\n"),
         426},
        {"version 14", ASKS("GET /mqtt HTTP/1.1", REST KEY "Sec-WebSocket-Version: 14\r\n"), 426},
        {"two versions", ASKS("GET /mqtt HTTP/1.1", GOOD_FIELDS "Sec-WebSocket-Version: 13\r\n"),
         426},
        {"no key", ASKS("GET /mqtt HTTP/1.1", REST LAST), 400},
        {"short key", ASKS("GET /mqtt HTTP/1.1", REST LAST "Sec-WebSocket-Key: AAAA\r\n"), 400},
        {"key not base64",
         ASKS("GET /mqtt HTTP/1.1", REST LAST "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!g==\r\n"),
         400},
        {"two keys", ASKS("GET /mqtt HTTP/1.1", REST LAST KEY KEY), 400},
        /* SPEC: MQTT-6.0.0-3 */
        {"no subprotocol", ASKS("GET /mqtt HTTP/1.1", REST KEY "Sec-WebSocket-Version: 13\r\n"),
         400},
        {"another subprotocol",
         ASKS("GET /mqtt HTTP/1.1",
              REST KEY "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1\r\n"),
         400},
        {"HTTP/1.0", ASKS("GET /mqtt HTTP/1.0", GOOD_FIELDS), 505},
        {"nonsense", "\x16\x03\x01", 400},
        {"nothing", "\r\n\r\n", 400},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char words[1024], first[32];
        struct slice in = slice_text(cases[i].text);
        struct seen whole = run(in, in.n), pieces = run(in, 1);
        (void)snprintf(first, sizeof(first), "HTTP/1.1 %u ",
                       cases[i].status != 0 ? cases[i].status : 101);
        bool good =
            whole.status == cases[i].status &&
            strncmp(text_of(&whole.words, words, sizeof(words)), first, strlen(first)) == 0 &&
            whole.open == (cases[i].status == 0) &&
            whole.failure == (cases[i].status == 0 ? OK : ERR_PROTOCOL) &&
            slice_equal(buf_slice(&whole.words), buf_slice(&pieces.words));
        if (!good) {
            fail_msg("%s: %u, %s", cases[i].name, whole.status, words);
        }
        seen_done(&whole);
        seen_done(&pieces);
    }
}

/* The example of RFC 6455 1.3. SPEC: MQTT-6.0.0-4 */
static void test_answer(void **state)
{
    (void)state;
    char words[1024];
    struct seen s = run(slice_text(GOOD), sizeof(GOOD));
    (void)text_of(&s.words, words, sizeof(words));
    assert_non_null(strstr(words, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(strstr(words, "\r\nSec-WebSocket-Protocol: mqtt\r\n"));
    assert_null(strstr(words, "Extensions"));
    seen_done(&s);
}

static unsigned status_of_flood(const char *begin, size_t n, size_t step)
{
    struct buf in = {0};
    assert_int_equal(buf_append(&in, slice_text(begin), OUT_MAX), OK);
    uint8_t *p;
    assert_int_equal(buf_room(&in, n - in.n, OUT_MAX, &p), OK);
    memset(p, 'a', n - in.n);
    in.n = n;
    struct seen s = run(buf_slice(&in), step);
    unsigned status = s.status;
    seen_done(&s);
    buf_done(&in);
    return status;
}

static void test_request_limits(void **state)
{
    (void)state;
    static const char header[] = "GET /mqtt HTTP/1.1\r\nA: ";
    for (size_t step = 1; step <= OUT_MAX; step *= 64) {
        assert_int_equal(status_of_flood("GET /", HTTP1_LINE_MAX, step), 0);
        assert_int_equal(status_of_flood("GET /", HTTP1_LINE_MAX + 1, step), 414);
        assert_int_equal(status_of_flood(header, HTTP1_HEAD_MAX - 1, step), 0);
        assert_int_equal(status_of_flood(header, HTTP1_HEAD_MAX, step), 431);
        assert_int_equal(status_of_flood(header, HTTP1_HEAD_MAX + 100, step), 431);
    }
}

/* ---- frames ---- */

enum { FIN = 0x80, CONT = 0, TEXT = 1, BIN = 2, CLOSE = 8, PING = 9, PONG = 10, MASK = 0x80 };

static void put_frame(struct buf *b, unsigned first, struct slice payload)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t head[14];
    struct wr w = wr_into(head, sizeof(head));
    wr_u8(&w, (uint8_t)first);
    wr_u8(&w, (uint8_t)(MASK | (payload.n < 126           ? payload.n
                                : payload.n <= UINT16_MAX ? 126
                                                          : 127)));
    if (payload.n > UINT16_MAX) {
        wr_u64(&w, payload.n);
    } else if (payload.n >= 126) {
        wr_u16(&w, (uint16_t)payload.n);
    }
    wr_bytes(&w, slice_of(mask, 4));
    assert_int_equal(buf_append(b, wr_slice(&w), OUT_MAX), OK);
    for (size_t i = 0; i < payload.n; i++) {
        uint8_t c = payload.p[i] ^ mask[i % 4];
        assert_int_equal(buf_append(b, slice_of(&c, 1), OUT_MAX), OK);
    }
}

static void put_text(struct buf *b, unsigned first, const char *payload)
{
    put_frame(b, first, slice_text(payload));
}

static struct buf opened(void)
{
    struct buf b = {0};
    assert_int_equal(buf_append(&b, slice_text(GOOD), OUT_MAX), OK);
    return b;
}

/* What was said behind the answer to the request. */
static struct slice said(const struct seen *s)
{
    size_t n = 0;
    assert_int_equal(http1_head_find(buf_slice(&s->words), 0, &n), OK);
    return slice_from(buf_slice(&s->words), n);
}

/* However it is cut, the same comes out; gives what the whole gave. */
static struct seen run_all(struct buf *in, size_t max_step)
{
    struct seen whole = run(buf_slice(in), in->n);
    for (size_t step = 1; step < max_step; step++) {
        struct seen cut = run(buf_slice(in), step);
        assert_true(slice_equal(buf_slice(&whole.data), buf_slice(&cut.data)));
        assert_int_equal(whole.failure, cut.failure);
        assert_int_equal(whole.open, cut.open);
        seen_done(&cut);
    }
    buf_done(in);
    return whole;
}

/* SPEC: MQTT-6.0.0-2 */
static void test_data(void **state)
{
    (void)state;
    struct buf in = opened();
    put_text(&in, FIN | BIN, "one");
    put_text(&in, BIN, "two");
    put_text(&in, FIN | PING, "?");
    put_text(&in, CONT, "three");
    put_text(&in, FIN | PONG, "nobody asked");
    put_text(&in, FIN | CONT, "");
    put_text(&in, FIN | BIN, "four");
    struct seen s = run_all(&in, 40);
    assert_true(s.open && slice_is(buf_slice(&s.data), "onetwothreefour"));
    assert_true(slice_equal(said(&s), slice_of("\x8a\x01?", 3)));
    seen_done(&s);
}

static void test_lengths(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 127, FRAME_MAX - 1, FRAME_MAX};
    uint8_t bytes[FRAME_MAX + 1];
    memset(bytes, 'x', sizeof(bytes));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct buf in = opened();
        put_frame(&in, FIN | BIN, slice_of(bytes, sizes[i]));
        struct seen s = run_all(&in, 20);
        assert_true(s.open);
        assert_int_equal(s.data.n, sizes[i]);
        seen_done(&s);
    }
    struct buf in = opened();
    put_frame(&in, FIN | BIN, slice_of(bytes, FRAME_MAX + 1));
    struct seen s = run_all(&in, 20);
    assert_int_equal(s.failure, ERR_TOO_LARGE);
    assert_int_equal(s.data.n, 0);
    seen_done(&s);
}

static void test_bad_frames(void **state)
{
    (void)state;
    char long_ping[127];
    memset(long_ping, 'p', 126);
    long_ping[126] = '\0';
    const struct {
        const char *name;
        unsigned first[2];
        const char *payload;
        size_t n;
        enum err failure;
        unsigned code; /* of the close; 0: none */
    } cases[] = {
        {"text", {FIN | TEXT}, "x", 1, ERR_PROTOCOL, 1003}, /* SPEC: MQTT-6.0.0-1 */
        {"empty text", {FIN | TEXT}, "", 0, ERR_PROTOCOL, 1003},
        {"rsv1", {FIN | BIN | 0x40}, "x", 1, ERR_PROTOCOL, 1002},
        {"rsv3", {FIN | BIN | 0x10}, "x", 1, ERR_PROTOCOL, 1002},
        {"opcode 3", {FIN | 3}, "x", 1, ERR_PROTOCOL, 1002},
        {"opcode 11", {FIN | 11}, "x", 1, ERR_PROTOCOL, 1002},
        {"opcode 15", {FIN | 15}, "", 0, ERR_PROTOCOL, 1002},
        {"continuation of nothing", {FIN | CONT}, "x", 1, ERR_PROTOCOL, 1002},
        {"continuation behind the end", {FIN | BIN, FIN | CONT}, "x", 1, ERR_PROTOCOL, 1002},
        {"a message in a message", {BIN, FIN | BIN}, "x", 1, ERR_PROTOCOL, 1002},
        {"ping in pieces", {PING}, "x", 1, ERR_PROTOCOL, 1002},
        {"long ping", {FIN | PING}, long_ping, 126, ERR_PROTOCOL, 1002},
        {"close", {FIN | CLOSE}, "", 0, ERR_CLOSED, 0},
        {"close 1000", {FIN | CLOSE}, "\x03\xe8", 2, ERR_CLOSED, 1000},
        {"close 4999 and words", {FIN | CLOSE}, "\x13\x87 bye", 6, ERR_CLOSED, 4999},
        {"close of one byte", {FIN | CLOSE}, "\x03", 1, ERR_PROTOCOL, 1002},
        {"close 1004", {FIN | CLOSE}, "\x03\xec", 2, ERR_PROTOCOL, 1002},
        {"close 1005", {FIN | CLOSE}, "\x03\xed", 2, ERR_PROTOCOL, 1002},
        {"close 1015", {FIN | CLOSE}, "\x03\xf7", 2, ERR_PROTOCOL, 1002},
        {"close 999", {FIN | CLOSE}, "\x03\xe7", 2, ERR_PROTOCOL, 1002},
        {"close 5000", {FIN | CLOSE}, "\x13\x88", 2, ERR_PROTOCOL, 1002},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf in = opened();
        for (size_t k = 0; k < 2 && (k == 0 || cases[i].first[k] != 0); k++) {
            put_frame(&in, cases[i].first[k], slice_of(cases[i].payload, cases[i].n));
        }
        put_text(&in, FIN | BIN, "nobody looks at this");
        struct seen s = run_all(&in, 30);
        struct rd r = rd_from(said(&s));
        bool is_close = rd_u8(&r) == (FIN | CLOSE);
        unsigned n = rd_u8(&r);
        unsigned code = n == 2 ? rd_u16(&r) : 0;
        if (!is_close || code != cases[i].code || s.failure != cases[i].failure || s.open ||
            s.data.n > 1 || rd_finish(&r) != OK) {
            fail_msg("%s: %s, close %u", cases[i].name, err_name(s.failure), code);
        }
        seen_done(&s);
    }
}

/* Heads that the helper above does not write. */
static void test_bad_heads(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *bytes;
        size_t n;
        enum err failure;
    } cases[] = {
        {"unmasked", "\x82\x01x", 3, ERR_PROTOCOL}, /* SPEC: RFC6455 5.1 */
        {"unmasked and empty", "\x82\x00", 2, ERR_PROTOCOL},
        {"unmasked close", "\x88\x00", 2, ERR_PROTOCOL},
        {"16 bits for a small length", "\x82\xfe\x00\x7d\0\0\0\0x", 9, ERR_PROTOCOL},
        {"64 bits for a small length", "\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0x", 15, ERR_PROTOCOL},
        {"the top bit of 64", "\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0x", 15, ERR_PROTOCOL},
        {"2^63 - 1", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x", 15, ERR_TOO_LARGE},
        {"half a head", "\x82", 1, OK},
        {"a head without payload", "\x82\x85\0\0\0\0", 6, OK},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf in = opened();
        assert_int_equal(buf_append(&in, slice_of(cases[i].bytes, cases[i].n), OUT_MAX), OK);
        struct seen s = run_all(&in, 20);
        if (s.failure != cases[i].failure || s.open != (s.failure == OK) || s.data.n > 0) {
            fail_msg("%s: %s", cases[i].name, err_name(s.failure));
        }
        seen_done(&s);
    }
}

static void test_idle_frames(void **state)
{
    (void)state;
    AUTO(ws_autofree) struct ws *w = NULL;
    struct seen s = {0};
    struct buf ping = {0}, many = {0};
    put_text(&ping, FIN | PING, "x");
    for (unsigned i = 0; i < WS_IDLE_FRAMES_PER_MIN - 1; i++) {
        put_text(&many, FIN | BIN, "");
    }
    assert_int_equal(ws_new(&rules, NULL, &w), OK);
    feed(w, slice_text(GOOD), &s);
    feed(w, buf_slice(&many), &s);
    feed(w, buf_slice(&ping), &s);
    assert_true(s.open); /* the last one that may come */
    uint8_t copy[16];
    slice_copy(copy, buf_slice(&ping));
    (void)ws_input(w, copy, ping.n, 1000 + 60 * 1000); /* another minute */
    assert_true(ws_is_open(w));
    for (unsigned i = 0; i < WS_IDLE_FRAMES_PER_MIN - 1 && ws_is_open(w); i++) {
        slice_copy(copy, buf_slice(&ping));
        (void)ws_input(w, copy, ping.n, 1000 + 119 * 1000);
    }
    assert_true(ws_is_open(w));
    slice_copy(copy, buf_slice(&ping));
    (void)ws_input(w, copy, ping.n, 1000 + 119 * 1000);
    assert_int_equal(ws_failure(w), ERR_QUOTA);
    seen_done(&s);
    buf_done(&ping);
    buf_done(&many);
}

static void test_close(void **state)
{
    (void)state;
    uint8_t out[WS_OUTPUT_BYTES];
    struct ws *w = NULL;
    struct seen s = {0};
    assert_int_equal(ws_new(&rules, NULL, &w), OK);
    ws_close(w); /* nothing came: nothing is said */
    assert_true(ws_is_over(w) && ws_output(w, out, sizeof(out)) == 0);
    w = ws_free(w);

    assert_int_equal(ws_new(&rules, NULL, &w), OK);
    feed(w, slice_text("GET /mqtt HTTP/1.1\r\n"), &s);
    ws_close(w);
    assert_true(slice_has_prefix(slice_of(out, ws_output(w, out, sizeof(out))),
                                 slice_text("HTTP/1.1 408 ")));
    w = ws_free(w);

    assert_int_equal(ws_new(&rules, NULL, &w), OK);
    feed(w, slice_text(GOOD), &s);
    ws_close(w);
    ws_close(w);
    assert_true(slice_equal(slice_of(out, ws_output(w, out, sizeof(out))),
                            slice_of("\x88\x02\x03\xe8", 4)));
    assert_int_equal(ws_output(w, out, sizeof(out)), 0);
    feed(w, slice_text("anything"), &s);
    assert_int_equal(s.data.n, 0);
    w = ws_free(w);
    seen_done(&s);
}

static void test_frame_heads(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        struct slice head;
    } cases[] = {{1, {(const uint8_t *)"\x82\x01", 2}},
                 {125, {(const uint8_t *)"\x82\x7d", 2}},
                 {126, {(const uint8_t *)"\x82\x7e\x00\x7e", 4}},
                 {65535, {(const uint8_t *)"\x82\x7e\xff\xff", 4}},
                 {65536, {(const uint8_t *)"\x82\x7f\0\0\0\0\0\x01\0\0", 10}}};
    uint8_t head[WS_FRAME_HEAD_BYTES];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t n = ws_frame_head(cases[i].n, head);
        assert_true(slice_equal(slice_of(head, n), cases[i].head));
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    struct ws *w = NULL;
    struct seen s = {0};
    (void)mem_fail_after(0);
    assert_int_equal(ws_new(&rules, NULL, &w), ERR_NOMEM);
    assert_int_equal(ws_new(&rules, NULL, &w), OK);
    (void)mem_fail_after(0);
    uint8_t copy[sizeof(GOOD)];
    memcpy(copy, GOOD, sizeof(GOOD));
    (void)ws_input(w, copy, sizeof(GOOD) - 1, 0);
    assert_true(mem_fail_after(-1));
    assert_int_equal(ws_failure(w), ERR_NOMEM);
    w = ws_free(w);
    seen_done(&s);
}

/* ---- behind a stream ---- */

/* A frame that ends it, and what the client is told then. */
struct ws_case {
    unsigned first;
    const char *payload;
    enum err failure;
    bool reads_on;
    const char *answer;
};

static void client_says(struct duo *d, struct slice bytes)
{
    assert_int_equal(write_text(&d->client, bytes), OK);
    for (int i = 0; i < 4; i++) {
        duo_turn(d);
    }
}

static void over_streams(struct tls *client, struct tls *server)
{
    struct duo d;
    duo_init(&d, client, server);
    assert_int_equal(stream_upgrade(d.server.s, &rules), OK);
    for (int i = 0; i < 6; i++) {
        duo_turn(&d);
    }
    assert_true(stream_is_established(d.server.s));
    assert_false(stream_is_ready(d.server.s));
    struct slice hello = slice_text("hello");
    assert_int_equal(write_text(&d.server, hello), ERR_AGAIN);
    client_says(&d, slice_text(GOOD));
    assert_true(stream_is_ready(d.server.s));
    size_t answer = d.client.got.n;
    struct buf in = {0};
    put_text(&in, FIN | BIN, "data");
    put_text(&in, FIN | PING, "!");
    client_says(&d, buf_slice(&in));
    assert_got(&d.server, slice_text("data"));
    struct slice parts[] = {slice_text("two "), slice_text("parts")};
    assert_int_equal(stream_write(d.server.s, d.server.io, parts, 2), OK);
    for (int i = 0; i < 4; i++) {
        duo_turn(&d);
    }
    assert_true(
        slice_is(slice_from(buf_slice(&d.client.got), answer), "\x8a\x01!\x82\x09two parts"));

    buf_clear(&in);
    put_text(&in, FIN | BIN, "more");
    put_text(&in, FIN | TEXT, "text");
    client_says(&d, buf_slice(&in));
    assert_got(&d.server, slice_text("datamore")); /* first what was good */
    assert_int_equal(d.server.err, ERR_PROTOCOL);
    assert_true(stream_can_close(d.server.s));
    assert_int_equal(stream_refusal(d.server.s), 0);
    assert_non_null(strstr(stream_error(d.server.s), "binary"));
    stream_close(d.server.s, d.server.io);
    for (int i = 0; i < 4; i++) {
        side_turn(&d.client);
    }
    assert_int_equal(d.client.err, ERR_CLOSED);
    assert_true(slice_is(slice_from(buf_slice(&d.client.got), answer),
                         "\x8a\x01!\x82\x09two parts\x88\x02\x03\xeb"));
    buf_done(&in);
    duo_done(&d);
}

static void test_plain_stream(void **state)
{
    (void)state;
    over_streams(NULL, NULL);
}

/* Data and the end in one read: what the server has to say to the data goes in front of its close,
 * whoever ended it; behind the close nothing goes. */
static void answers_go_first(const struct ws_case *c)
{
    struct duo d;
    struct slice got;
    duo_init(&d, NULL, NULL);
    assert_int_equal(stream_upgrade(d.server.s, &rules), OK);
    client_says(&d, slice_text(GOOD));
    size_t answer = d.client.got.n;
    struct buf in = {0};
    put_text(&in, FIN | BIN, "data");
    put_text(&in, FIN | PING, "!");
    put_text(&in, c->first, c->payload);
    put_text(&in, FIN | BIN, "never");
    assert_int_equal(write_text(&d.client, buf_slice(&in)), OK);
    assert_int_equal(stream_read(d.server.s, d.server.io, &got), OK);
    assert_true(slice_is(got, "data"));
    assert_true(stream_has_pending(d.server.s));
    assert_true(stream_is_ready(d.server.s));
    assert_int_equal(write_text(&d.server, slice_text("ok")), OK);
    if (c->reads_on) {
        assert_int_equal(stream_read(d.server.s, d.server.io, &got), c->failure);
        assert_false(stream_is_ready(d.server.s));
        assert_false(stream_has_pending(d.server.s));
        assert_int_equal(write_text(&d.server, slice_text("too late")), ERR_AGAIN);
    }
    stream_close(d.server.s, d.server.io);
    for (int i = 0; i < 4; i++) {
        side_turn(&d.client);
    }
    assert_true(slice_equal(slice_from(buf_slice(&d.client.got), answer), slice_text(c->answer)));
    buf_done(&in);
    duo_done(&d);
}

static void test_answers_go_first(void **state)
{
    (void)state;
    static const struct ws_case cases[] = {
        {FIN | TEXT, "x", ERR_PROTOCOL, true, "\x82\x02ok\x88\x02\x03\xeb"},
        {FIN | TEXT, "x", ERR_PROTOCOL, false, "\x82\x02ok\x88\x02\x03\xeb"},
        {FIN | CLOSE, "\x03\xe9", ERR_CLOSED, true, "\x82\x02ok\x88\x02\x03\xe9"},
        {FIN | CLOSE, "\x03\xe9", ERR_CLOSED, false, "\x82\x02ok\x88\x02\x03\xe9"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        answers_go_first(&cases[i]);
    }
}

static size_t first_byte_is_size(struct slice bytes)
{
    return bytes.p[0];
}

/* What the client gets for n packets of one byte. */
static void packets_over_streams(size_t n)
{
    static uint8_t bytes[STREAM_FRAMES_MAX + 100];
    struct duo d;
    size_t n_framed = n < STREAM_FRAMES_MAX ? n : STREAM_FRAMES_MAX;
    assert_in_range(n, 1, sizeof(bytes));
    memset(bytes, 1, n);
    duo_init(&d, client_tls("localhost", NULL), server_tls(SERVER, false, false));
    assert_int_equal(stream_upgrade(d.server.s, &rules), OK);
    for (int i = 0; i < 6; i++) {
        duo_turn(&d);
    }
    struct slice all = slice_of(bytes, n);
    assert_int_equal(stream_write_packets(d.server.s, d.server.io, all, first_byte_is_size),
                     ERR_AGAIN); /* no upgrade yet */
    client_says(&d, slice_text(GOOD));
    size_t answer = d.client.got.n;
    assert_int_equal(stream_write_packets(d.server.s, d.server.io, all, first_byte_is_size), OK);
    for (int i = 0; i < 200; i++) {
        duo_turn(&d);
    }
    struct slice got = slice_from(buf_slice(&d.client.got), answer);
    for (size_t i = 0; i < n_framed; i++) {
        assert_true(slice_has_prefix(got, slice_of("\x82\x01\x01", 3)));
        got = slice_from(got, 3);
    }
    assert_int_equal(got.n, n > n_framed ? 2 + n - n_framed : 0);
    assert_true(got.n == 0 || (got.p[0] == 0x82 && got.p[1] == n - n_framed));
    duo_done(&d);
}

static void test_packets_have_frames_of_their_own(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,
                                   2,
                                   31,
                                   32,
                                   33,
                                   STREAM_FRAMES_MAX - 1,
                                   STREAM_FRAMES_MAX,
                                   STREAM_FRAMES_MAX + 1,
                                   STREAM_FRAMES_MAX + 100};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        packets_over_streams(sizes[i]);
    }
}

static void test_tls_stream(void **state)
{
    (void)state;
    over_streams(client_tls("localhost", &certs[CLIENT]), server_tls(SERVER, true, false));
}

/* A client that is refused and gone in the same moment is refused all the same. */
static void test_refused_and_gone(void **state)
{
    (void)state;
    struct duo d;
    duo_init(&d, client_tls("localhost", &certs[CLIENT]), server_tls(SERVER, true, false));
    assert_int_equal(stream_upgrade(d.server.s, &rules), OK);
    for (int i = 0; i < 6; i++) {
        duo_turn(&d);
    }
    assert_int_equal(write_text(&d.client, slice_text("POST /mqtt HTTP/1.1\r\n\r\n")), OK);
    stream_close(d.client.s, d.client.io); /* close_notify comes with it, in one receive */
    side_turn(&d.server);
    assert_int_equal(d.server.err, ERR_PROTOCOL);
    assert_true(stream_is_over(d.server.s));
    assert_false(stream_can_close(d.server.s));
    assert_int_equal(stream_refusal(d.server.s), 405);
    duo_done(&d);
}

/* A client that pings and does not read: one pong waits, not all of them. */
static void test_pings_of_a_slow_reader(void **state)
{
    (void)state;
    struct duo d;
    duo_init(&d, NULL, NULL);
    assert_int_equal(stream_upgrade(d.server.s, &rules), OK);
    client_says(&d, slice_text(GOOD));
    struct slice much = slice_of(stream_io_out(d.server.io), STREAM_SEND_BYTES);
    assert_int_equal(write_text(&d.server, much), OK);
    assert_true(stream_is_blocked(d.server.s));
    size_t waits = stream_pending_bytes(d.server.s);
    struct buf in = {0};
    for (char c = 'a'; c <= 'z'; c++) {
        const char text[2] = {c, '\0'};
        put_text(&in, FIN | PING, text);
    }
    assert_int_equal(write_text(&d.client, buf_slice(&in)), OK);
    struct slice none;
    assert_int_equal(stream_read(d.server.s, d.server.io, &none), OK);
    assert_int_equal(stream_pending_bytes(d.server.s), waits);
    for (int i = 0; i < 200; i++) {
        duo_turn(&d);
    }
    assert_false(stream_is_blocked(d.server.s));
    struct slice got = buf_slice(&d.client.got);
    assert_true(slice_is(slice_from(got, got.n - 3), "\x8a\x01z"));
    buf_done(&in);
    duo_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upgrades),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_answers_go_first),
        cmocka_unit_test(test_data),
        cmocka_unit_test(test_request_limits),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_idle_frames),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_frame_heads),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_plain_stream),
        cmocka_unit_test(test_refused_and_gone),
        cmocka_unit_test(test_tls_stream),
        cmocka_unit_test(test_packets_have_frames_of_their_own),
        cmocka_unit_test(test_pings_of_a_slow_reader),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
