#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/coap/uri.h"

struct uri_case {
    const char *text;
    enum err want;
    bool secure, is_ip;
    const char *host;
    uint16_t port;
    const char *path, *query; /* of the options, written again */
};

static const struct uri_case uri_cases[] = {
    {"coap://h", OK, false, false, "h", 5683, "/", ""},
    {"COAPS://h/", OK, true, false, "h", 5684, "/", ""},
    {"coap://h:/a", OK, false, false, "h", 5683, "/a", ""},
    {"coap://h:61616/a/b?x=1&y", OK, false, false, "h", 61616, "/a/b", "x=1&y"},
    {"coap://[2001:db8::1]:1/a", OK, false, true, "2001:db8::1", 1, "/a", ""},
    {"coap://127.0.0.1", OK, false, true, "127.0.0.1", 5683, "/", ""},
    {"coap://1.2.3.4.5", OK, false, false, "1.2.3.4.5", 5683, "/", ""},
    {"coap://1.2.3.256", OK, false, false, "1.2.3.256", 5683, "/", ""},
    {"coap://h/a%2Fb/%c3%a4", OK, false, false, "h", 5683, "/a%2Fb/%C3%A4", ""},
    {"coap://h/a//b/", OK, false, false, "h", 5683, "/a//b/", ""},
    {"coap://h/a/./b/../c", OK, false, false, "h", 5683, "/a/c", ""},
    {"coap://h/../../x", OK, false, false, "h", 5683, "/x", ""},
    {"coap://h/a/..", OK, false, false, "h", 5683, "/", ""},
    {"coap://h?q", OK, false, false, "h", 5683, "/", "q"},
    {"coap://h/?a=%26&b", OK, false, false, "h", 5683, "/", "a=%26&b"},
    {"http://h/", ERR_UNSUPPORTED, 0, 0, NULL, 0, NULL, NULL},
    {"coap:h", ERR_UNSUPPORTED, 0, 0, NULL, 0, NULL, NULL},
    {"", ERR_UNSUPPORTED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap:///a", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://u@h/", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://h:0/", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://h:65536/", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://h:6553x/", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://h:000001/", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://[::1/", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://[::1]x/", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://h/#f", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://h/%", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://h/%4", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://h/%zz", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://h/a b", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
    {"coap://h/\x80", ERR_MALFORMED, 0, 0, NULL, 0, NULL, NULL},
};

/* The same, over TCP: for who asked for that. */
static void schemes_over_tcp(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum coap_uri_carrier carrier;
        bool secure;
        uint16_t port;
    } cases[] = {
        {"coap://h/a", COAP_URI_UDP, false, 5683},
        {"coaps://h/a", COAP_URI_UDP, true, 5684},
        {"coap+tcp://h/a", COAP_URI_TCP, false, 5683},
        {"coaps+tcp://h/a", COAP_URI_TCP, true, 5684},
        {"coap+ws://h/a", COAP_URI_WEBSOCKET, false, 80},
        {"CoAPs+WS://h/a", COAP_URI_WEBSOCKET, true, 443},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct coap_uri u, strict;
        assert_int_equal(coap_uri_parse_any(slice_text(cases[i].text), &u), OK);
        assert_int_equal(u.carrier, cases[i].carrier);
        assert_int_equal(u.secure, cases[i].secure);
        assert_int_equal(u.port, cases[i].port);
        assert_true(slice_is(u.host, "h") && slice_is(u.path, "/a"));
        assert_int_equal(coap_uri_parse(slice_text(cases[i].text), &strict),
                         cases[i].carrier == COAP_URI_UDP ? OK : ERR_UNSUPPORTED);
    }
    struct coap_uri u;
    assert_int_equal(coap_uri_parse_any(slice_text("coaps+udp://h/a"), &u), ERR_UNSUPPORTED);
    assert_int_equal(coap_uri_parse_any(slice_text("coaps+tcp://u@h/a"), &u), ERR_MALFORMED);
}

static void check_case(const struct uri_case *c)
{
    struct coap_uri u;
    enum err e = coap_uri_parse(slice_text(c->text), &u);
    if (e != c->want) {
        fail_msg("%s: %s, not %s", c->text, err_name(e), err_name(c->want));
    }
    if (e != OK) {
        return;
    }
    assert_int_equal(u.secure, c->secure);
    assert_int_equal(u.is_ip_literal, c->is_ip);
    assert_true(slice_is(u.host, c->host));
    assert_int_equal(u.port, c->port);
    uint8_t block[512];
    char text[512];
    struct slice options, host;
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_uri_options(&u, &o);
    assert_int_equal(coap_option_writer_done(&o, &options), OK);
    assert_int_equal(coap_options_find(options, COAP_OPTION_URI_HOST, &host), !c->is_ip);
    struct wr w = wr_into(text, sizeof(text));
    coap_uri_path_write(options, &w);
    if (!slice_is(wr_slice(&w), c->path)) {
        fail_msg("%s: path %.*s", c->text, SLICE_ARG(wr_slice(&w)));
    }
    w = wr_into(text, sizeof(text));
    coap_uri_query_write(options, &w);
    assert_true(slice_is(wr_slice(&w), c->query));
}

static void parse_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(uri_cases); i++) {
        check_case(&uri_cases[i]);
    }
}

static void limits(void **state)
{
    (void)state;
    char text[COAP_URI_BYTES + 2] = "coap://h/";
    uint8_t block[2048];
    struct coap_uri u;
    struct slice options;
    for (size_t n = 254; n <= 257; n++) {
        memset(text + 9, 'a', n);
        text[9 + n] = '\0';
        assert_int_equal(coap_uri_parse(slice_text(text), &u), OK);
        struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
        coap_uri_options(&u, &o);
        assert_int_equal(coap_option_writer_done(&o, &options), n <= 255 ? OK : ERR_TOO_LARGE);
    }
    memset(text + 9, '/', sizeof(text) - 10);
    text[COAP_URI_BYTES + 1] = '\0';
    assert_int_equal(coap_uri_parse(slice_text(text), &u), ERR_TOO_LARGE);
    text[COAP_URI_BYTES] = '\0';
    assert_int_equal(coap_uri_parse(slice_text(text), &u), OK);
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_uri_options(&u, &o);
    assert_int_equal(coap_option_writer_done(&o, &options), ERR_TOO_LARGE);
}

static struct slice path_options(const char *path, uint8_t *block, size_t cap)
{
    struct coap_option_writer o = coap_option_writer_into(block, cap);
    struct slice options = {0};
    coap_uri_path_options(slice_text(path), &o);
    assert_int_equal(coap_option_writer_done(&o, &options), OK);
    return options;
}

static void path_comparison(void **state)
{
    (void)state;
    uint8_t block[128];
    assert_true(
        coap_uri_path_is(path_options("/.well-known/core", block, 128), "/.well-known/core"));
    assert_true(coap_uri_path_is(path_options("/", block, 128), "/"));
    assert_false(coap_uri_path_is(path_options("/a", block, 128), "/"));
    assert_false(coap_uri_path_is(path_options("/", block, 128), "/a"));
    assert_false(coap_uri_path_is(path_options("/a/b", block, 128), "/a"));
    assert_false(coap_uri_path_is(path_options("/a", block, 128), "/a/b"));
    /* One segment that contains a slash is not two segments. */
    assert_false(coap_uri_path_is(path_options("/a%2Fb", block, 128), "/a/b"));
}

static void query_values(void **state)
{
    (void)state;
    uint8_t block[64];
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_option_add(&o, COAP_OPTION_URI_QUERY, slice_text("rt=a=b"));
    coap_option_add(&o, COAP_OPTION_URI_QUERY, slice_text("flag"));
    struct slice options, value;
    assert_int_equal(coap_option_writer_done(&o, &options), OK);
    assert_true(coap_uri_query_find(options, "rt", &value));
    assert_true(slice_is(value, "a=b"));
    assert_true(coap_uri_query_find(options, "flag", &value));
    assert_int_equal(value.n, 0);
    assert_false(coap_uri_query_find(options, "r", &value));
}

static void percent(void **state)
{
    (void)state;
    char dst[4];
    size_t n = 9;
    assert_int_equal(coap_percent_decode(slice_text("%41b%00%7E"), dst, 4, &n), OK);
    assert_int_equal(n, 4);
    assert_memory_equal(dst, "Ab\0~", 4);
    assert_int_equal(coap_percent_decode(slice_text("abcde"), dst, 4, &n), ERR_SPACE);
    assert_int_equal(coap_percent_decode(slice_text("%4"), dst, 4, &n), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_table),     cmocka_unit_test(limits),
        cmocka_unit_test(path_comparison), cmocka_unit_test(query_values),
        cmocka_unit_test(percent),         cmocka_unit_test(schemes_over_tcp)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
