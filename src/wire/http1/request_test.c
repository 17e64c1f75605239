#include "wire/http1/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/wr.h"

static const char golden[] = "GET /mqtt?a=b HTTP/1.1\r\n"
                             "Host: broker.example\r\n"
                             "Connection:keep-alive,\t Upgrade \r\n"
                             "connection: x\r\n"
                             "Empty:\r\n"
                             "\r\n";

static enum err decode_text(const char *text, struct http1_request *ret)
{
    return http1_request_decode(slice_text(text), ret);
}

static void test_golden(void **state)
{
    (void)state;
    struct http1_request r;
    struct slice value;
    size_t n = 0;
    assert_int_equal(http1_head_find(slice_text(golden), 0, &n), OK);
    assert_int_equal(n, sizeof(golden) - 1);
    (void)mem_fail_after(0); /* it asks for no memory */
    assert_int_equal(decode_text(golden, &r), OK);
    assert_false(mem_fail_after(-1));
    assert_true(slice_is(r.method, "GET") && slice_is(r.target, "/mqtt?a=b"));
    assert_int_equal(r.n_fields, 4);
    assert_true(http1_request_find(&r, "HOST", &value) && slice_is(value, "broker.example"));
    assert_true(http1_request_find(&r, "empty", &value) && value.n == 0);
    assert_false(http1_request_find(&r, "hos", &value));
    assert_int_equal(http1_request_count(&r, "connection"), 2);
    assert_int_equal(http1_request_count(&r, "origin"), 0);
    assert_true(http1_request_lists(&r, "connection", "upgrade", false));
    assert_false(http1_request_lists(&r, "connection", "upgrade", true));
    assert_true(http1_request_lists(&r, "connection", "x", true)); /* in the second field */
    assert_false(http1_request_lists(&r, "connection", "keep", false));
}

static void test_every_truncation(void **state)
{
    (void)state;
    struct http1_request r;
    size_t whole = sizeof(golden) - 1;
    for (size_t n = 0; n < whole; n++) {
        struct slice part = slice_of(golden, n);
        size_t at;
        assert_int_equal(http1_head_find(part, 0, &at), ERR_AGAIN);
        assert_int_equal(http1_request_decode(part, &r), ERR_MALFORMED);
    }
    for (size_t n = 1, at = 0; n <= whole; n++) { /* and piece by piece */
        assert_int_equal(http1_head_find(slice_of(golden, n), n - 1, &at),
                         n < whole ? ERR_AGAIN : OK);
    }
    char more[sizeof(golden) + 1];
    (void)snprintf(more, sizeof(more), "%sx", golden);
    assert_int_equal(decode_text(more, &r), ERR_MALFORMED); /* one byte behind it */
}

/* One changed bit gives another request or none, and never a read outside of it. */
static void test_every_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < (sizeof(golden) - 1) * 8; i++) {
        char *copy = test_malloc(sizeof(golden) - 1);
        struct http1_request r;
        memcpy(copy, golden, sizeof(golden) - 1);
        copy[i / 8] = (char)(copy[i / 8] ^ (1 << i % 8));
        enum err e = http1_request_decode(slice_of(copy, sizeof(golden) - 1), &r);
        assert_true(e != OK || r.n_fields <= 4);
        test_free(copy);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        enum err err;
    } cases[] = {
        {"no line", "\r\n\r\n", ERR_MALFORMED},
        {"no target", "GET\r\n\r\n", ERR_MALFORMED},
        {"no version", "GET /\r\n\r\n", ERR_MALFORMED},
        {"two spaces", "GET  / HTTP/1.1\r\n\r\n", ERR_MALFORMED},
        {"something behind", "GET / HTTP/1.1 x\r\n\r\n", ERR_MALFORMED},
        {"1.0", "GET / HTTP/1.0\r\n\r\n", ERR_UNSUPPORTED},
        {"2", "PRI * HTTP/2.0\r\n\r\n", ERR_MALFORMED},
        {"another protocol", "GET / RTSP/1.1\r\n\r\n", ERR_MALFORMED},
        {"method", "G@T / HTTP/1.1\r\n\r\n", ERR_MALFORMED},
        {"absolute form", "GET http://x/ HTTP/1.1\r\n\r\n", ERR_MALFORMED},
        {"target not ASCII", "GET /\xc3\xa4 HTTP/1.1\r\n\r\n", ERR_MALFORMED},
        {"no colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", ERR_MALFORMED},
        {"space before the colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", ERR_MALFORMED},
        {"no name", "GET / HTTP/1.1\r\n: x\r\n\r\n", ERR_MALFORMED},
        {"folded", "GET / HTTP/1.1\r\nA: x\r\n y\r\n\r\n", ERR_MALFORMED},
        {"control byte in a value", "GET / HTTP/1.1\r\nA: \x01\r\n\r\n", ERR_MALFORMED},
        {"DEL in a value", "GET / HTTP/1.1\r\nA: \x7f\r\n\r\n", ERR_MALFORMED},
        {"bare LF", "GET / HTTP/1.1\nA: x\r\n\r\n", ERR_MALFORMED},
        {"bare CR", "GET / HTTP/1.1\r\nA: x\ry\r\n\r\n", ERR_MALFORMED},
        {"good", "GET / HTTP/1.1\r\nA: \xc3\xa4\tb\r\n\r\n", OK},
    };
    struct http1_request r;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum err e = decode_text(cases[i].text, &r);
        if (e != cases[i].err) {
            fail_msg("%s: %s", cases[i].name, err_name(e));
        }
    }
}

static void test_heads_that_never_end(void **state)
{
    (void)state;
    static const char *const cases[] = {"GET / HTTP/1.1\n", "GET /\rx", "\x10\x10", "GET /\x7f",
                                        "\n"};
    size_t n;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(http1_head_find(slice_text(cases[i]), 0, &n), ERR_MALFORMED);
    }
    assert_int_equal(http1_head_find(slice_of("GET\0", 4), 0, &n), ERR_MALFORMED);
}

static void fill(struct wr *w, size_t n)
{
    uint8_t *p = wr_reserve(w, n);
    assert_non_null(p);
    memset(p, 'a', n);
}

static enum err with_line(size_t n)
{
    uint8_t bytes[HTTP1_HEAD_MAX];
    struct http1_request r;
    struct wr w = wr_into(bytes, sizeof(bytes));
    wr_bytes(&w, slice_text("GET /"));
    fill(&w, n - strlen("GET / HTTP/1.1"));
    wr_bytes(&w, slice_text(" HTTP/1.1\r\n\r\n"));
    return http1_request_decode(wr_slice(&w), &r);
}

static enum err with_fields(size_t n)
{
    uint8_t bytes[HTTP1_HEAD_MAX];
    struct http1_request r;
    struct wr w = wr_into(bytes, sizeof(bytes));
    wr_bytes(&w, slice_text("GET / HTTP/1.1\r\n"));
    for (size_t i = 0; i < n; i++) {
        wr_bytes(&w, slice_text("A: b\r\n"));
    }
    wr_bytes(&w, slice_text("\r\n"));
    return http1_request_decode(wr_slice(&w), &r);
}

static enum err with_size(size_t n)
{
    uint8_t bytes[HTTP1_HEAD_MAX + 1];
    struct http1_request r;
    struct wr w = wr_into(bytes, sizeof(bytes));
    wr_bytes(&w, slice_text("GET / HTTP/1.1\r\nA: "));
    fill(&w, n - strlen("GET / HTTP/1.1\r\nA: \r\n\r\n"));
    wr_bytes(&w, slice_text("\r\n\r\n"));
    assert_int_equal(w.at, n);
    return http1_request_decode(wr_slice(&w), &r);
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(with_line(HTTP1_LINE_MAX), OK);
    assert_int_equal(with_line(HTTP1_LINE_MAX + 1), ERR_TOO_LARGE);
    assert_int_equal(with_fields(HTTP1_FIELDS_MAX), OK);
    assert_int_equal(with_fields(HTTP1_FIELDS_MAX + 1), ERR_LIMIT);
    assert_int_equal(with_size(HTTP1_HEAD_MAX), OK);
    assert_int_equal(with_size(HTTP1_HEAD_MAX + 1), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),    cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_bit), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_heads_that_never_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
