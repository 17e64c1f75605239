/* One connection of an HTTP server: whole requests, answers in order, and what ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/http_server.h"

static const struct http_limits small = {.body_bytes = 8,
                                         .requests = 3,
                                         .request_ms = 100,
                                         .idle_ms = 1000,
                                         .answer_bytes = HTTP_ANSWER_MAX};

struct story {
    const char *name;
    const char *in;
    const char *requests; /* "METHOD path?query body|" of each, answered with 204 */
    unsigned refused;
};

static const struct story stories[] = {
    {"GET", "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a? |", 0},
    {"query", "GET /a?b=c?d HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a?b=c?d |", 0},
    {"POST", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "POST /a? abc|", 0},
    {"empty body", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "POST /a? |", 0},
    {"body at its limit", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nabcdefgh",
     "POST /a? abcdefgh|", 0},
    {"body over it", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabcdefghi", "", 413},
    {"two in one piece",
     "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
     "POST /a? ab|GET /b? |", 0},
    {"the last that it gets",
     "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n"
     "GET /3 HTTP/1.1\r\nHost: x\r\n\r\nGET /4 HTTP/1.1\r\nHost: x\r\n\r\n",
     "GET /1? |GET /2? |GET /3? |", 0},
    {"it said close",
     "GET /1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
     "GET /1? |", 0},
    /* Two readings of one request: SPEC: RFC9112 6.1, 6.3, 11.2 */
    {"chunks", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "",
     411},
    {"chunks and a length",
     "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
     "chunked\r\n\r\n0\r\n\r\n",
     "", 411},
    {"two lengths",
     "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "", 400},
    {"a list of lengths", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\nab", "", 400},
    {"a signed length", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\nab", "", 400},
    {"no digits", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\nab", "", 400},
    {"a length that wraps",
     "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551618\r\n\r\nab", "", 400},
    {"no host", "GET /a HTTP/1.1\r\n\r\n", "", 400},
    {"two hosts", "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "", 400},
    {"HTTP/1.0 ends with its answer", "GET /a HTTP/1.0\r\nHost: x\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
     "GET /a? |", 0},
    {"HTTP/1.0 without a host", "POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "POST /a? ab|",
     0},
    {"HTTP/1.0 with two", "GET /a HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", "", 400},
    {"HTTP/2.0", "GET /a HTTP/2.0\r\nHost: x\r\n\r\n", "", 505},
    {"no request", "MQTT\r\n\r\n", "", 400},
    {"a bare line feed", "GET /a HTTP/1.1\nHost: x\n\n", "", 400},
    {"a folded line", "GET /a HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", "", 400},
};

struct seen {
    char text[4096];
    size_t n;
};

static void note(struct seen *s, struct slice what)
{
    assert_true(s->n + what.n < sizeof s->text);
    slice_copy(s->text + s->n, what);
    s->n += what.n;
    s->text[s->n] = '\0';
}

static void note_request(struct seen *s, const struct http_request *r)
{
    note(s, r->head.method);
    note(s, slice_text(" "));
    note(s, r->path);
    note(s, slice_text("?"));
    note(s, r->query);
    note(s, slice_text(" "));
    note(s, r->body);
    note(s, slice_text("|"));
}

static enum err feed(struct http_server *h, struct slice in, struct seen *seen)
{
    static const struct http_answer done = {.status = 204};
    const struct http_request *r;
    enum err err;
    while ((err = http_server_next(h, &in, 0, &r)) == OK) {
        note_request(seen, r);
        assert_true(http_server_is_asked(h));
        assert_false(http_server_wants_input(h));
        TRY(http_server_answer(h, &done, 0));
    }
    return err == ERR_AGAIN ? OK : err;
}

static enum err play(const struct story *s, const struct http_limits *limits, size_t step,
                     struct seen *seen, unsigned *ret_refused)
{
    AUTO(http_server_autofree) struct http_server *h = NULL;
    TRY(http_server_new(limits, 0, &h));
    struct slice all = slice_text(s->in);
    for (size_t at = 0; at < all.n; at += step) {
        TRY(feed(h, slice_head(slice_from(all, at), step), seen));
    }
    const char *why;
    *ret_refused = http_server_refusal(h, &why);
    assert_true((*ret_refused != 0) == (why[0] != '\0'));
    return OK;
}

static void requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(stories); i++) {
        for (size_t step = 1; step <= strlen(stories[i].in); step++) {
            struct seen seen = {.n = 0};
            unsigned refused = 0;
            assert_int_equal(play(&stories[i], &small, step, &seen, &refused), OK);
            if (strcmp(seen.text, stories[i].requests) != 0 || refused != stories[i].refused) {
                fail_msg("%s, %zu at a time: %s, %u", stories[i].name, step, seen.text, refused);
            }
        }
    }
}

static void no_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(stories); i++) {
        enum err err = ERR_NOMEM;
        for (int at = 0; err == ERR_NOMEM; at++) {
            struct seen seen = {.n = 0};
            unsigned refused = 0;
            (void)mem_fail_after(at);
            err = play(&stories[i], &small, 7, &seen, &refused);
            (void)mem_fail_after(-1);
            assert_true(at < 100);
        }
        assert_int_equal(err, OK);
    }
}

static size_t output(struct http_server *h, char *dst, size_t cap)
{
    size_t n = http_server_output(h, (uint8_t *)dst, cap - 1);
    dst[n] = '\0';
    return n;
}

static void answers(void **state)
{
    (void)state;
    AUTO(http_server_autofree) struct http_server *h = NULL;
    struct slice in = slice_text("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET");
    const struct http_request *r;
    char out[1024];
    struct http_answer a = {.status = 202,
                            .type = "text/plain",
                            .body = slice_text("wait"),
                            .fields = {{"Retry-After", "5"}}};
    assert_int_equal(http_server_new(&small, 0, &h), OK);
    assert_int_equal(http_server_next(h, &in, 0, &r), OK);
    assert_int_equal(http_server_answer(h, &a, 0), OK);
    (void)output(h, out, sizeof out);
    assert_string_equal(out, "HTTP/1.1 202 Accepted\r\nContent-Type: text/plain\r\n"
                             "Content-Length: 4\r\nRetry-After: 5\r\nCache-Control: no-store\r\n"
                             "\r\nwait");
    assert_true(http_server_wants_input(h));
    in = slice_text(" /b HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(http_server_next(h, &in, 0, &r), OK);
    assert_true(slice_is(r->path, "/b"));
    a.close = true;
    assert_int_equal(http_server_answer(h, &a, 0), OK);
    assert_false(http_server_is_finished(h));
    while (output(h, out, 8) > 0) { /* resumable */
    }
    assert_true(http_server_is_finished(h));
}

/* A body there would be read as the beginning of the answer to the request behind it. */
static void head_has_no_body(void **state)
{
    (void)state;
    AUTO(http_server_autofree) struct http_server *h = NULL;
    struct slice in = slice_text("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n"
                                 "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    const struct http_request *r;
    char out[1024];
    struct http_answer a = {.status = 405,
                            .type = "text/plain",
                            .body = slice_text("HTTP/1.1 200 OK"),
                            .fields = {{"Allow", "GET"}}};
    assert_int_equal(http_server_new(&small, 0, &h), OK);
    assert_int_equal(http_server_next(h, &in, 0, &r), OK);
    assert_int_equal(http_server_answer(h, &a, 0), OK);
    (void)output(h, out, sizeof out);
    assert_string_equal(out, "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\n"
                             "Allow: GET\r\nCache-Control: no-store\r\n\r\n");
    assert_int_equal(http_server_next(h, &in, 0, &r), OK);
    assert_true(slice_is(r->path, "/b"));
    assert_int_equal(http_server_answer(h, &a, 0), OK);
    (void)output(h, out, sizeof out);
    assert_non_null(strstr(out, "Content-Length: 15\r\n"));
    assert_non_null(strstr(out, "\r\n\r\nHTTP/1.1 200 OK"));
}

static void too_long_an_answer(void **state)
{
    (void)state;
    static uint8_t body[HTTP_ANSWER_MAX];
    AUTO(http_server_autofree) struct http_server *h = NULL;
    struct slice in = slice_text("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    const struct http_request *r;
    struct http_answer a = {.status = 200, .type = "x/y", .body = slice_of(body, sizeof body)};
    assert_int_equal(http_server_new(&small, 0, &h), OK);
    assert_int_equal(http_server_next(h, &in, 0, &r), OK);
    assert_int_equal(http_server_answer(h, &a, 0), ERR_TOO_LARGE);
    assert_true(http_server_is_finished(h));
}

static void it_may_go_on(void **state)
{
    (void)state;
    AUTO(http_server_autofree) struct http_server *h = NULL;
    struct slice in = slice_text(
        "POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    const struct http_request *r;
    char out[128];
    assert_int_equal(http_server_new(&small, 0, &h), OK);
    assert_int_equal(http_server_next(h, &in, 0, &r), ERR_AGAIN);
    (void)output(h, out, sizeof out);
    assert_string_equal(out, "HTTP/1.1 100 Continue\r\n\r\n");
    in = slice_text("ab");
    assert_int_equal(http_server_next(h, &in, 0, &r), OK);
    assert_true(slice_is(r->body, "ab"));
}

static void deadlines(void **state)
{
    (void)state;
    AUTO(http_server_autofree) struct http_server *h = NULL;
    struct slice in = slice_text("GET");
    const struct http_request *r;
    const char *why;
    char out[1024];
    assert_int_equal(http_server_new(&small, 0, &h), OK);
    assert_int_equal(http_server_deadline(h), 1000);
    assert_int_equal(http_server_next(h, &in, 500, &r), ERR_AGAIN);
    assert_int_equal(http_server_deadline(h), 600);
    in = slice_text(" ");
    assert_int_equal(http_server_next(h, &in, 590, &r), ERR_AGAIN);
    assert_int_equal(http_server_deadline(h), 600); /* a byte now and then gains no time */
    http_server_tick(h, 599);
    assert_false(http_server_has_ended(h));
    http_server_tick(h, 600);
    assert_int_equal(http_server_refusal(h, &why), 408);
    assert_true(output(h, out, sizeof out) > 0);
    assert_true(http_server_is_finished(h));

    h = http_server_free(h);
    assert_int_equal(http_server_new(&small, 0, &h), OK);
    http_server_tick(h, 1000); /* idle: it ends without a word */
    assert_int_equal(http_server_refusal(h, &why), 0);
    assert_true(http_server_is_finished(h));
}

static void long_heads(void **state)
{
    (void)state;
    static char head[HTTP1_HEAD_MAX + 2];
    static const char begin[] = "GET /a HTTP/1.1\r\nHost: x\r\nA: ";
    for (size_t n = HTTP1_HEAD_MAX; n <= HTTP1_HEAD_MAX + 1; n++) {
        AUTO(http_server_autofree) struct http_server *h = NULL;
        const struct http_request *r;
        const char *why;
        memset(head, 'a', n);
        memcpy(head, begin, sizeof begin - 1);
        memcpy(head + n - 4, "\r\n\r\n", 4);
        struct slice in = slice_of(head, n);
        assert_int_equal(http_server_new(&small, 0, &h), OK);
        bool fits = n == HTTP1_HEAD_MAX;
        assert_int_equal(http_server_next(h, &in, 0, &r), fits ? OK : ERR_AGAIN);
        assert_int_equal(http_server_refusal(h, &why), fits ? 0 : 431);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),     cmocka_unit_test(no_memory),
        cmocka_unit_test(answers),      cmocka_unit_test(too_long_an_answer),
        cmocka_unit_test(it_may_go_on), cmocka_unit_test(deadlines),
        cmocka_unit_test(long_heads),   cmocka_unit_test(head_has_no_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
