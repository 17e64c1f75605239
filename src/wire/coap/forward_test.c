#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/coap/forward.h"

enum { UNKNOWN_SAFE_CRITICAL = 2049, UNKNOWN_UNSAFE_ELECTIVE = 2050, UNKNOWN_UNSAFE = 2051 };

struct given {
    uint16_t number;
    const char *value;
};

#define END                                                                                        \
    {                                                                                              \
        0, NULL                                                                                    \
    }

static struct slice block_of(const struct given *given, uint8_t *into, size_t cap)
{
    struct coap_option_writer w = coap_option_writer_into(into, cap);
    struct slice ret;
    for (; given->value != NULL; given++) {
        coap_option_add(&w, given->number, slice_text(given->value));
    }
    assert_int_equal(coap_option_writer_done(&w, &ret), OK);
    return ret;
}

static void assert_block(struct slice got, const struct given *want)
{
    uint8_t into[COAP_FORWARD_BYTES];
    struct slice expected = block_of(want, into, sizeof(into));
    assert_int_equal(got.n, expected.n);
    assert_memory_equal(got.p, expected.p, got.n);
}

/* ---- where to ---- */

static const struct {
    struct given options[8];
    enum err want;
    bool secure;
    const char *host;
    uint16_t port;
    struct given uri[5];
} targets[] = {
    {.options = {{35, "coap://192.0.2.1"}, END}, .host = "192.0.2.1", .port = 5683, .uri = {END}},
    {.options = {{35, "coaps://[2001:db8::1]:7/a/b?x=1&y"}, END},
     .secure = true,
     .host = "2001:db8::1",
     .port = 7,
     .uri = {{11, "a"}, {11, "b"}, {15, "x=1"}, {15, "y"}, END}},
    {.options = {{3, "ignored"}, {11, "too"}, {35, "coap://line/c%2Fd"}, END},
     .host = "line",
     .port = 5683,
     .uri = {{11, "c/d"}, END}},
    {.options = {{3, "[::1]"}, {11, "a"}, {15, "q"}, {39, "COAP"}, END},
     .host = "::1",
     .port = 5683,
     .uri = {{11, "a"}, {15, "q"}, END}},
    {.options = {{3, "h"}, {7, "\x16\x34"}, {39, "coaps"}, END},
     .secure = true,
     .host = "h",
     .port = 5684,
     .uri = {END}},
    {.options = {{35, "http://192.0.2.1/"}, END}, .want = ERR_UNSUPPORTED},
    {.options = {{3, "h"}, {39, "http"}, END}, .want = ERR_UNSUPPORTED},
    {.options = {{35, "coap://"}, END}, .want = ERR_MALFORMED},
    {.options = {{35, "coap://h/#f"}, END}, .want = ERR_MALFORMED},
    {.options = {{35, "coap://h/%zz"}, END}, .want = ERR_MALFORMED},
    {.options = {{35, "coap://h:65536/"}, END}, .want = ERR_MALFORMED},
    {.options = {{35, "coap://h"}, {35, "coap://i"}, END}, .want = ERR_MALFORMED},
    {.options = {{3, "h"}, {35, "coap://h"}, {39, "coap"}, END}, .want = ERR_MALFORMED},
    {.options = {{11, "a"}, {39, "coap"}, END}, .want = ERR_MALFORMED},
    {.options = {{3, "h"}, {7, ""}, {39, "coap"}, END}, .want = ERR_MALFORMED},
    {.options = {{11, "a"}, END}, .want = ERR_MALFORMED},
};

static void test_where_a_request_wants_to_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        uint8_t options[512], into[COAP_FORWARD_BYTES];
        struct coap_forward got;
        struct slice block = block_of(targets[i].options, options, sizeof(options));
        assert_int_equal(coap_forward_read(block, into, &got), targets[i].want);
        if (targets[i].want == OK) {
            assert_true(coap_forward_is_asked(block));
            assert_int_equal(got.secure, targets[i].secure);
            assert_true(slice_is(got.host, targets[i].host));
            assert_int_equal(got.port, targets[i].port);
            assert_block(got.uri, targets[i].uri);
        }
    }
}

static void test_a_uri_at_its_bound(void **state)
{
    uint8_t options[COAP_FORWARD_BYTES], into[COAP_FORWARD_BYTES];
    struct coap_forward got;
    (void)state;
    for (size_t n = COAP_URI_BYTES - 1; n <= COAP_URI_BYTES + 1; n++) {
        char uri[COAP_URI_BYTES + 2] = "coap://192.0.2.1/";
        for (size_t at = strlen(uri); at < n; at++) {
            uri[at] = at % 100 == 0 ? '/' : 'a';
        }
        struct given one[] = {{35, uri}, END};
        struct slice block = block_of(one, options, sizeof(options));
        enum err want = n <= COAP_URI_BYTES ? OK : ERR_TOO_LARGE;
        assert_int_equal(coap_forward_read(block, into, &got), want);
    }
}

/* ---- hops ---- */

static void test_hops_are_counted_down(void **state)
{
    static const struct {
        struct given options[2];
        enum err want;
        uint8_t hops;
    } rows[] = {{{END}, OK, 16},
                {{{16, "\xff"}, END}, OK, 254},
                {{{16, "\x02"}, END}, OK, 1},
                {{{16, "\x01"}, END}, ERR_LIMIT, 0},
                {{{16, ""}, END}, ERR_MALFORMED, 0},
                {{{16, "\x01\x01"}, END}, ERR_MALFORMED, 0}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t options[16], hops = 0;
        struct slice block = block_of(rows[i].options, options, sizeof(options));
        assert_int_equal(coap_forward_hops(block, &hops), rows[i].want);
        assert_int_equal(hops, rows[i].hops);
    }
    const uint8_t zero[] = {0xd1, 0x03, 0x00};
    uint8_t hops;
    assert_int_equal(coap_forward_hops(slice_of(zero, sizeof(zero)), &hops), ERR_MALFORMED);
}

/* ---- what goes on ---- */

static const struct {
    struct given options[10];
    enum err want;
    uint16_t number;
    struct given gone[12];
} requests[] = {
    /* what is of this hop is written anew; OSCORE, conditions, blocks and Echo go as they are */
    {.options = {{1, "e"},
                 {3, "us"},
                 {7, "p"},
                 {9, "\x09\x14"},
                 {11, "proxied"},
                 {27, "\x0e"},
                 {35, "coap://h"},
                 {252, "echo"},
                 {258, "\x1a"},
                 END},
     .gone = {{1, "e"},
              {9, "\x09\x14"},
              {11, "a"},
              {15, "q"},
              {16, "\x05"},
              {27, "\x0e"},
              {252, "echo"},
              END}},
    {.options = {{6, ""}, {UNKNOWN_SAFE_CRITICAL, "x"}, END},
     .gone = {{6, ""}, {11, "a"}, {15, "q"}, {16, "\x05"}, {UNKNOWN_SAFE_CRITICAL, "x"}, END}},
    {.options = {{UNKNOWN_UNSAFE, ""}, END}, .want = ERR_UNSUPPORTED, .number = UNKNOWN_UNSAFE},
    {.options = {{UNKNOWN_UNSAFE_ELECTIVE, ""}, END},
     .want = ERR_UNSUPPORTED,
     .number = UNKNOWN_UNSAFE_ELECTIVE},
    {.options = {{19, ""}, END}, .want = ERR_UNSUPPORTED, .number = 19}, /* Q-Block1 */
    {.options = {{9, "a"}, {9, "b"}, END}, .want = ERR_UNSUPPORTED, .number = 9},
    {.options = {{23, "1234"}, END}, .want = ERR_UNSUPPORTED, .number = 23},
    /* elective and wrong: as if it were not there */
    {.options = {{14, "12345"}, END}, .gone = {{11, "a"}, {15, "q"}, {16, "\x05"}, END}},
};

static void test_what_goes_on(void **state)
{
    static const struct given uri[] = {{11, "a"}, {15, "q"}, END};
    uint8_t options[256], target[32], dst[COAP_FORWARD_BYTES];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct slice got, block = block_of(requests[i].options, options, sizeof(options));
        uint16_t number = 0;
        struct coap_forward_change change = {.uri = block_of(uri, target, sizeof(target)),
                                             .hops = 5};
        enum err err = coap_forward_request(block, &change, dst, &got, &number);
        assert_int_equal(err, requests[i].want);
        assert_int_equal(number, requests[i].number);
        if (err == OK) {
            assert_block(got, requests[i].gone);
        }
    }
}

static void test_what_the_proxy_adds(void **state)
{
    static const struct given own[] = {{4, "mine"}, {6, ""}, {292, "r1"}, {292, "r2"}, END};
    static const struct given uri[] = {{3, "line"}, {11, "a"}, END};
    static const struct given want[] = {{3, "line"},  {4, "kept"}, {4, "mine"}, {11, "a"},
                                        {16, "\x10"}, {292, "t"},  END};
    uint8_t options[64], target[32], dst[COAP_FORWARD_BYTES];
    struct slice got;
    uint16_t number;
    (void)state;
    struct coap_forward_change change = {.uri = block_of(uri, target, sizeof(target)),
                                         .hops = COAP_FORWARD_HOPS,
                                         .etag = slice_text("kept"),
                                         .tag = slice_text("t"),
                                         .drops_observe = true};
    struct slice block = block_of(own, options, sizeof(options));
    assert_int_equal(coap_forward_request(block, &change, dst, &got, &number), OK);
    assert_block(got, want);
}

static void test_what_comes_back(void **state)
{
    static const struct {
        struct given options[8];
        enum err want;
        struct given back[8];
    } rows[] = {
        {.options = {{4, "e"}, {6, "\x07"}, {9, ""}, {12, "*"}, {14, "<"}, {23, "\x06"}, END},
         .back = {{4, "e"}, {9, ""}, {12, "*"}, {14, "<"}, {23, "\x06"}, END}},
        {.options = {{8, "new"}, END}, .back = {{8, "line"}, {8, "new"}, END}},
        {.options = {{UNKNOWN_SAFE_CRITICAL, "x"}, END},
         .back = {{UNKNOWN_SAFE_CRITICAL, "x"}, END}},
        {.options = {{UNKNOWN_UNSAFE, "x"}, END}, .want = ERR_UNSUPPORTED},
        {.options = {{UNKNOWN_UNSAFE_ELECTIVE, "x"}, END}, .want = ERR_UNSUPPORTED},
        {.options = {{35, "coap://h"}, END}, .want = ERR_UNSUPPORTED},
    };
    static const struct given where[] = {{8, "line"}, END};
    uint8_t options[128], before[16], dst[COAP_FORWARD_BYTES];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct slice got, block = block_of(rows[i].options, options, sizeof(options));
        uint16_t number;
        enum err err =
            coap_forward_answer(block, block_of(where, before, sizeof(before)), dst, &got, &number);
        assert_int_equal(err, rows[i].want);
        if (err == OK) {
            assert_block(got, rows[i].back);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_a_request_wants_to_go),
        cmocka_unit_test(test_a_uri_at_its_bound),
        cmocka_unit_test(test_hops_are_counted_down),
        cmocka_unit_test(test_what_goes_on),
        cmocka_unit_test(test_what_the_proxy_adds),
        cmocka_unit_test(test_what_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
