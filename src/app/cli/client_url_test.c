#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/cli/client_url.h"
#include "base/scope.h"

static const struct url_case {
    const char *url;
    enum err err;
    enum client_scheme scheme;
    const char *host;
    uint16_t port;
    const char *username, *password, *path;
} cases[] = {
    {"mqtts://h/a/b", OK, CLIENT_URL_MQTTS, "h", 0, "", "", "a/b"},
    {"mqtts://h", OK, CLIENT_URL_MQTTS, "h", 0, "", "", ""},
    {"mqtts://h/", OK, CLIENT_URL_MQTTS, "h", 0, "", "", ""},
    {"mqtts://h//a", OK, CLIENT_URL_MQTTS, "h", 0, "", "", "/a"},
    {"mqtts://h:1/sensors/#", OK, CLIENT_URL_MQTTS, "h", 1, "", "", "sensors/#"},
    {"mqtts://u@h:65535/+/%23", OK, CLIENT_URL_MQTTS, "h", 65535, "u", "", "+/%23"},
    {"mqtts://u:p%40%3a@x@h/t", OK, CLIENT_URL_MQTTS, "h", 0, "u", "p@:@x", "t"},
    {"mqtts://u:@h/t", OK, CLIENT_URL_MQTTS, "h", 0, "u", "", "t"},
    {"wss://h:8084/mqtt", OK, CLIENT_URL_WSS, "h", 8084, "", "", "mqtt"},
    {"wss://[::1]:8084/mqtt", OK, CLIENT_URL_WSS, "::1", 8084, "", "", "mqtt"},
    {"mqtts://[fe80::1]", OK, CLIENT_URL_MQTTS, "fe80::1", 0, "", "", ""},
    {"mqtt://h/t", OK, CLIENT_URL_MQTT, "h", 0, "", "", "t"},
    {"ws://h/t", OK, CLIENT_URL_WS, "h", 0, "", "", "t"},
    {.url = "", .err = ERR_UNSUPPORTED},
    {.url = "http://h/t", .err = ERR_UNSUPPORTED},
    {.url = "mqtts:/h", .err = ERR_UNSUPPORTED},
    {.url = "mqtts://", .err = ERR_MALFORMED},
    {.url = "mqtts:///t", .err = ERR_MALFORMED},
    {.url = "mqtts://:1/t", .err = ERR_MALFORMED},
    {.url = "mqtts://h:/t", .err = ERR_MALFORMED},
    {.url = "mqtts://h:0/t", .err = ERR_MALFORMED},
    {.url = "mqtts://h:65536/t", .err = ERR_MALFORMED},
    {.url = "mqtts://h:000001/t", .err = ERR_MALFORMED},
    {.url = "mqtts://h:8a/t", .err = ERR_MALFORMED},
    {.url = "mqtts://@h/t", .err = ERR_MALFORMED},
    {.url = "mqtts://:p@h/t", .err = ERR_MALFORMED},
    {.url = "mqtts://u:%4@h/t", .err = ERR_MALFORMED},
    {.url = "mqtts://u:%00@h/t", .err = ERR_MALFORMED},
    {.url = "mqtts://u:%zz@h/t", .err = ERR_MALFORMED},
    {.url = "mqtts://[::1/t", .err = ERR_MALFORMED},
    {.url = "mqtts://[::1]8/t", .err = ERR_MALFORMED},
    {.url = "mqtts://h\n/t", .err = ERR_MALFORMED},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct url_case *c = &cases[i];
        struct client_url u;
        enum err err = client_url_parse(slice_text(c->url), &u);
        if (err != c->err) {
            fail_msg("%s: %s, not %s", c->url, err_name(err), err_name(c->err));
        }
        if (err == OK) {
            assert_int_equal(u.scheme, c->scheme);
            assert_string_equal(u.host, c->host);
            assert_int_equal(u.port, c->port);
            assert_string_equal(u.username, c->username);
            assert_string_equal(u.password, c->password);
            assert_true(slice_is(u.path, c->path));
        }
    }
}

/* Every part at its limit and one over it. */
static void test_limits(void **state)
{
    (void)state;
    static const char *const shapes[][2] = {
        {"mqtts://", "/t"}, {"mqtts://", "@h/t"}, {"mqtts://u:", "@h/t"}};
    char name[CLIENT_URL_PART_MAX + 1], url[CLIENT_URL_MAX + 2];
    struct client_url u;
    memset(name, 'a', sizeof(name));
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        for (int over = 0; over < 2; over++) {
            (void)snprintf(url, sizeof(url), "%s%.*s%s", shapes[i][0], CLIENT_URL_PART_MAX + over,
                           name, shapes[i][1]);
            assert_int_equal(client_url_parse(slice_text(url), &u), over ? ERR_TOO_LARGE : OK);
        }
    }
    memset(url, 'a', sizeof(url));
    slice_copy(url, slice_text("mqtts://h/"));
    assert_int_equal(client_url_parse(slice_of(url, CLIENT_URL_MAX), &u), OK);
    assert_int_equal(client_url_parse(slice_of(url, CLIENT_URL_MAX + 1), &u), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
