#include "service/courier/webhook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "security/crypto/digest.h"
#include "wire/http1/request.h"

#define SECRET "0123456789abcdef0123456789abcdef"

static void test_urls(void **state)
{
    static const struct {
        const char *text, *host, *path;
        unsigned port;
    } good[] = {
        {"https://192.0.2.7:8443/alerts", "192.0.2.7", "/alerts", 8443},
        {"https://siem.plant", "siem.plant", "/", 443},
        {"https://[2001:db8::7]:8443/a/b?c=d&e=%20", "2001:db8::7", "/a/b?c=d&e=%20", 8443},
        {"https://[2001:db8::7]/", "2001:db8::7", "/", 443},
    };
    static const char *const bad[] = {
        "",
        "https://",
        "https:///x",
        "ftp://a/",
        "https://user@host/",
        "https://host:0/",
        "https://host:65536/",
        "https://host:/",
        "https://host/a b",
        "https://host/a\r\nX: y",
        "https://host/\x7f",
        "https://host/\xc3\xa4",
        "https://host/#frag",
        "https://[::1/",
        "https://[::1]x/",
        "https://ho st/",
    };
    struct webhook_url u;
    const char *why;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(webhook_url_read(slice_text(good[i].text), &u, &why), OK);
        assert_true(slice_is(u.host, good[i].host) && slice_is(u.path, good[i].path));
        assert_int_equal(u.port, good[i].port);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(webhook_url_read(slice_text(bad[i]), &u, &why), ERR_MALFORMED);
    }
    assert_int_equal(webhook_url_read(slice_text("http://192.0.2.7/"), &u, &why), ERR_MALFORMED);
    assert_non_null(strstr(why, "https://"));
    assert_non_null(strstr(why, "certificate"));
}

static void test_the_length_of_a_url(void **state)
{
    char text[WEBHOOK_URL_BYTES + 1];
    struct webhook_url u;
    const char *why;
    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "https://h/", 10);
    for (size_t n = WEBHOOK_URL_BYTES - 2; n <= WEBHOOK_URL_BYTES; n++) {
        assert_int_equal(webhook_url_read(slice_of(text, n), &u, &why),
                         n < WEBHOOK_URL_BYTES ? OK : ERR_MALFORMED);
    }
}

static void test_secrets(void **state)
{
    static char text[WEBHOOK_SECRET_MAX + 2];
    struct slice secret;
    (void)state;
    memset(text, 's', sizeof text);
    const struct {
        size_t n;
        enum err err;
    } cases[] = {{WEBHOOK_SECRET_MIN - 1, ERR_MALFORMED},
                 {WEBHOOK_SECRET_MIN, OK},
                 {WEBHOOK_SECRET_MIN + 1, OK},
                 {WEBHOOK_SECRET_MAX - 1, OK},
                 {WEBHOOK_SECRET_MAX, OK},
                 {WEBHOOK_SECRET_MAX + 1, ERR_MALFORMED}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(webhook_secret_read(slice_of(text, cases[i].n), &secret), cases[i].err);
    }
    assert_int_equal(webhook_secret_read(slice_text(SECRET "\r\n"), &secret), OK);
    assert_true(slice_is(secret, SECRET));
    assert_int_equal(webhook_secret_read(slice_text(SECRET "\n" SECRET), &secret), ERR_MALFORMED);
    assert_int_equal(webhook_secret_read(slice_of(SECRET "\0" SECRET, 65), &secret), ERR_MALFORMED);
}

/* The body is what lies behind the empty line, and the signature is over "TIME." and the body. */
static void test_a_request(void **state)
{
    const struct webhook_request r = {.url = "https://siem.plant:8443/hook",
                                      .sink = "soc",
                                      .host = "plant",
                                      .secret = slice_text(SECRET),
                                      .first = 41,
                                      .last = 42,
                                      .lines = slice_text("{\"seq\":41}\n{\"seq\":42}\n"),
                                      .wall_ms = 1795334400123};
    static const char body[] = "{\"sink\":\"soc\",\"host\":\"plant\",\"first\":41,\"last\":42,"
                               "\"records\":[{\"seq\":41},{\"seq\":42}]}";
    AUTO(buf_done) struct buf out = {0}, text = {0};
    char hex[DIGEST_HEX_BYTES], want[1024];
    struct digest mac;
    (void)state;
    assert_int_equal(webhook_request_write(&r, &out), OK);
    assert_int_equal(buf_append(&text, slice_text("1795334400."), SIZE_MAX), OK);
    assert_int_equal(buf_append(&text, slice_text(body), SIZE_MAX), OK);
    assert_int_equal(digest_hmac(slice_text(SECRET), buf_slice(&text), &mac), OK);
    digest_hex(&mac, hex);
    (void)snprintf(want, sizeof want,
                   "POST /hook HTTP/1.1\r\nHost: siem.plant:8443\r\nUser-Agent: sallyport\r\n"
                   "Content-Type: application/json\r\nContent-Length: %zu\r\n"
                   "Sallyport-Timestamp: 1795334400\r\nSallyport-Signature: sha256=%s\r\n\r\n%s",
                   sizeof body - 1, hex, body);
    assert_true(slice_is(buf_slice(&out), want));
}

static void test_a_request_has_bounds(void **state)
{
    static char lines[WEBHOOK_REQUEST_MAX];
    struct webhook_request r = {
        .url = "https://h/", .sink = "s", .host = "h", .secret = slice_text(SECRET)};
    (void)state;
    memset(lines, '1', sizeof lines);
    for (size_t n = WEBHOOK_REQUEST_MAX - 1024; n <= WEBHOOK_REQUEST_MAX; n += 1024) {
        AUTO(buf_done) struct buf out = {0};
        r.lines = slice_of(lines, n);
        assert_int_equal(webhook_request_write(&r, &out),
                         n < WEBHOOK_REQUEST_MAX ? OK : ERR_TOO_LARGE);
    }
}

#define OKAY "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void test_answers(void **state)
{
    static const struct {
        const char *text;
        enum err err;
        unsigned status;
        enum webhook_verdict verdict;
        uint32_t retry;
        bool may_stay;
    } cases[] = {
        {OKAY, OK, 200, WEBHOOK_TAKEN, 0, true},
        {"HTTP/1.1 100 Continue\r\n\r\n" OKAY, OK, 200, WEBHOOK_TAKEN, 0, true},
        {"HTTP/1.1 204 No Content\r\n\r\n", OK, 204, WEBHOOK_TAKEN, 0, true},
        {"HTTP/1.0 200 OK\r\n\r\n", OK, 200, WEBHOOK_TAKEN, 0, false},
        {"HTTP/1.1 202 A\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", OK, 202, WEBHOOK_TAKEN,
         0, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", OK, 200, WEBHOOK_TAKEN,
         0, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", OK, 200, WEBHOOK_TAKEN, 0, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", OK, 200,
         WEBHOOK_TAKEN, 0, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", ERR_AGAIN, 0, 0, 0, false},
        {"HTTP/1.1 301 Moved\r\nLocation: https://x/\r\n\r\n", OK, 301, WEBHOOK_REFUSED, 0, false},
        {"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", OK, 400, WEBHOOK_REFUSED, 0, true},
        {"HTTP/1.1 408 T\r\nContent-Length: 0\r\n\r\n", OK, 408, WEBHOOK_LATER, 0, true},
        {"HTTP/1.1 429 T\r\nRetry-After: 7\r\n\r\n", OK, 429, WEBHOOK_LATER, 7, false},
        {"HTTP/1.1 503 B\r\nRetry-After: 299\r\n\r\n", OK, 503, WEBHOOK_LATER, 299, false},
        {"HTTP/1.1 503 B\r\nRetry-After: 300\r\n\r\n", OK, 503, WEBHOOK_LATER, 300, false},
        {"HTTP/1.1 503 B\r\nRetry-After: 301\r\n\r\n", OK, 503, WEBHOOK_LATER, 300, false},
        {"HTTP/1.1 503 B\r\nRetry-After: 4294967303\r\n\r\n", OK, 503, WEBHOOK_LATER, 300, false},
        {"HTTP/1.1 503 B\r\nRetry-After: -1\r\n\r\n", OK, 503, WEBHOOK_LATER, 0, false},
        {"HTTP/1.1 503 B\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n", OK, 503,
         WEBHOOK_LATER, 0, false},
        {"HTTP/1.1 101 Switching\r\n\r\n", ERR_UNSUPPORTED, 0, 0, 0, false},
        {"HTTP/2.0 200 OK\r\n\r\n", ERR_UNSUPPORTED, 0, 0, 0, false},
        {"220 mail.plant ESMTP\r\n\r\n", ERR_MALFORMED, 0, 0, 0, false},
        {"HTTP/1.1 200 OK\n\n", ERR_MALFORMED, 0, 0, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct webhook_answer a = {0};
        assert_int_equal(webhook_answer_read(slice_text(cases[i].text), &a), cases[i].err);
        if (cases[i].err == OK) {
            assert_int_equal(a.status, cases[i].status);
            assert_int_equal(a.verdict, cases[i].verdict);
            assert_int_equal(a.retry_after_s, cases[i].retry);
            assert_int_equal(a.may_stay, cases[i].may_stay);
            assert_true(webhook_answer_text(&a)[0] != '\0');
        }
    }
}

static void test_an_answer_in_pieces(void **state)
{
    struct webhook_answer a;
    struct slice all = slice_text("HTTP/1.1 100 C\r\n\r\n" OKAY);
    (void)state;
    for (size_t i = 0; i < all.n; i++) {
        assert_int_equal(webhook_answer_read(slice_head(all, i), &a), ERR_AGAIN);
    }
    assert_int_equal(webhook_answer_read(all, &a), OK);
}

static void test_endless_answers(void **state)
{
    static char head[HTTP1_HEAD_MAX + 2];
    AUTO(buf_done) struct buf many = {0};
    struct webhook_answer a;
    (void)state;
    memset(head, 'a', sizeof head);
    assert_int_equal(webhook_answer_read(slice_of(head, HTTP1_HEAD_MAX), &a), ERR_AGAIN);
    assert_int_equal(webhook_answer_read(slice_of(head, HTTP1_HEAD_MAX + 1), &a), ERR_TOO_LARGE);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(buf_append(&many, slice_text("HTTP/1.1 102 P\r\n\r\n"), SIZE_MAX), OK);
    }
    assert_int_equal(webhook_answer_read(buf_slice(&many), &a), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_the_length_of_a_url),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_a_request),
        cmocka_unit_test(test_a_request_has_bounds),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_an_answer_in_pieces),
        cmocka_unit_test(test_endless_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
