#include "wire/http1/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/scope.h"

static const char golden[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

static const struct {
    const char *text;
    enum err err;
    unsigned status;
} cases[] = {
    {golden, OK, 101},
    {"HTTP/1.1 404 \r\n\r\n", OK, 404},
    {"HTTP/1.1 200\r\n\r\n", OK, 200},
    {"HTTP/1.1 100 a b c\r\nA:\r\n\r\n", OK, 100},
    {"HTTP/1.1 599 x\r\n\r\n", OK, 599},
    {"HTTP/1.0 200 OK\r\n\r\n", ERR_UNSUPPORTED, 0},
    {"HTTP/2.0 200 OK\r\n\r\n", ERR_UNSUPPORTED, 0},
    {"HTTP/1.1 600 x\r\n\r\n", ERR_MALFORMED, 0},
    {"HTTP/1.1 099 x\r\n\r\n", ERR_MALFORMED, 0},
    {"HTTP/1.1 1010 x\r\n\r\n", ERR_MALFORMED, 0},
    {"HTTP/1.1 10 x\r\n\r\n", ERR_MALFORMED, 0},
    {"HTTP/1.1 1a1 x\r\n\r\n", ERR_MALFORMED, 0},
    {"HTTP/1.1  101 x\r\n\r\n", ERR_MALFORMED, 0},
    {"http/1.1 101 x\r\n\r\n", ERR_MALFORMED, 0},
    {"GET / HTTP/1.1\r\n\r\n", ERR_MALFORMED, 0},
    {"HTTP/1.1 101 x\r\nno colon\r\n\r\n", ERR_MALFORMED, 0},
    {"HTTP/1.1 101 x\r\n folded: y\r\n\r\n", ERR_MALFORMED, 0},
    {"HTTP/1.1 101 x\r\n\r\nmore", ERR_MALFORMED, 0},
    {"", ERR_MALFORMED, 0},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct http1_response r;
        enum err err = http1_response_decode(slice_text(cases[i].text), &r);
        if (err != cases[i].err || (err == OK && r.status != cases[i].status)) {
            fail_msg("%s: %s", cases[i].text, err_name(err));
        }
    }
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(golden) - 1; n++) {
        struct http1_response r;
        assert_int_equal(http1_response_decode(slice_of(golden, n), &r), ERR_MALFORMED);
    }
}

/* The status line, the fields and the whole at their limits and one over. */
static void test_limits(void **state)
{
    (void)state;
    static char text[HTTP1_HEAD_MAX + 64];
    struct http1_response r;
    for (size_t over = 0; over < 2; over++) {
        int n = snprintf(text, sizeof(text), "HTTP/1.1 101 %0*d\r\n\r\n",
                         (int)(HTTP1_LINE_MAX - 13 + over), 0);
        assert_int_equal(http1_response_decode(slice_of(text, (size_t)n), &r),
                         over ? ERR_TOO_LARGE : OK);
        n = snprintf(text, sizeof(text), "HTTP/1.1 101 x\r\n");
        for (size_t i = 0; i < HTTP1_FIELDS_MAX + over; i++) {
            n += snprintf(text + n, sizeof(text) - (size_t)n, "A:b\r\n");
        }
        n += snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
        assert_int_equal(http1_response_decode(slice_of(text, (size_t)n), &r),
                         over ? ERR_LIMIT : OK);
        n = snprintf(text, sizeof(text), "HTTP/1.1 101 x\r\nA:%0*d\r\n\r\n",
                     (int)(HTTP1_HEAD_MAX - 22 + over), 0);
        assert_int_equal(http1_response_decode(slice_of(text, (size_t)n), &r),
                         over ? ERR_TOO_LARGE : OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases),
                                       cmocka_unit_test(test_every_truncation),
                                       cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
