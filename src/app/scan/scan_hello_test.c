/* Hellos read back length by length, and answers cut at every byte. */
#include "app/scan/scan_hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/scope.h"

static const uint16_t suites[] = {0x1301, 0xc02b};

static size_t encode(uint16_t version, const char *host, uint8_t dst[SCAN_HELLO_BYTES])
{
    uint64_t seed = 1;
    struct random_source random = random_seeded(&seed);
    struct scan_hello h = {
        .version = version, .suites = suites, .n_suites = COUNT_OF(suites), .host = host};
    struct wr w = wr_into(dst, SCAN_HELLO_BYTES);
    size_t n = 0;
    assert_int_equal(scan_hello_encode(&h, &random, &w), OK);
    assert_int_equal(wr_done(&w, &n), OK);
    return n;
}

/* Reads a hello back, strictly: every length ends where what it counts does. */
static void read_back(struct slice hello, uint16_t version, const char *host)
{
    bool is_dtls = version == SCAN_DTLS12, has_name = false, has_version = false;
    struct rd r = rd_from(hello);
    assert_int_equal(rd_u8(&r), 22);
    assert_int_equal(rd_u16(&r), is_dtls ? 0xfeff : 0x0301);
    (void)rd_bytes(&r, is_dtls ? 8 : 0);
    struct rd record = rd_from(rd_block16(&r));
    assert_int_equal(rd_finish(&r), OK);
    assert_int_equal(rd_u8(&record), 1);
    size_t n = (size_t)rd_be(&record, 3);
    if (is_dtls) {
        assert_int_equal(rd_u16(&record), 0);
        assert_int_equal(rd_be(&record, 3), 0);
        assert_int_equal(rd_be(&record, 3), n);
    }
    assert_int_equal(rd_left(&record), n);
    assert_int_equal(rd_u16(&record), version == SCAN_TLS13 ? 0x0303 : version);
    (void)rd_bytes(&record, 32);
    assert_int_equal(rd_u8(&record), 0);
    assert_int_equal(is_dtls ? rd_u8(&record) : 0, 0);
    assert_int_equal(rd_block16(&record).n, sizeof(suites));
    assert_int_equal(rd_u16(&record), 0x0100);
    struct rd all = rd_from(rd_block16(&record));
    assert_int_equal(rd_finish(&record), OK);
    while (rd_left(&all) > 0) {
        uint16_t type = rd_u16(&all);
        struct rd body = rd_from(rd_block16(&all));
        if (type == 0) {
            struct rd list = rd_from(rd_block16(&body));
            assert_int_equal(rd_u8(&list), 0);
            assert_true(slice_is(rd_block16(&list), host));
            assert_int_equal(rd_finish(&list), OK);
            assert_int_equal(rd_finish(&body), OK);
            has_name = true;
        }
        has_version = has_version || type == 43;
    }
    assert_int_equal(rd_finish(&all), OK);
    assert_int_equal(has_name, host != NULL);
    assert_int_equal(has_version, version == SCAN_TLS13);
}

static void hellos_hold_together(void **state)
{
    (void)state;
    static const uint16_t versions[] = {SCAN_TLS10, SCAN_TLS11, SCAN_TLS12, SCAN_TLS13,
                                        SCAN_DTLS12};
    static const char *const hosts[] = {NULL, "broker.example"};
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        for (size_t k = 0; k < COUNT_OF(hosts); k++) {
            uint8_t bytes[SCAN_HELLO_BYTES];
            size_t n = encode(versions[i], hosts[k], bytes);
            read_back(slice_of(bytes, n), versions[i], hosts[k]);
        }
    }
}

static void a_hello_that_does_not_fit_is_none(void **state)
{
    (void)state;
    uint8_t bytes[SCAN_HELLO_BYTES];
    uint64_t seed = 1;
    struct random_source random = random_seeded(&seed);
    size_t n = encode(SCAN_DTLS12, "a", bytes);
    for (size_t cap = 0; cap <= n; cap++) {
        struct scan_hello h = {
            .version = SCAN_DTLS12, .suites = suites, .n_suites = COUNT_OF(suites), .host = "a"};
        struct wr w = wr_into(bytes, cap);
        assert_int_equal(scan_hello_encode(&h, &random, &w), cap < n ? ERR_SPACE : OK);
    }
}

#define RANDOM "0123456789abcdef0123456789abcdef"

struct answer {
    const char *bytes;
    size_t n;
    bool is_dtls;
    enum err err;
    struct scan_hello_answer is;
};

#define ANSWER(text) text, sizeof(text) - 1

static const struct answer answers[] = {
    /* TLS 1.2, without extensions and with one */
    {ANSWER("\x16\3\3\0\x2a\2\0\0\x26\3\3" RANDOM "\0\xc0\x2b\0"),
     false,
     OK,
     {SCAN_HELLO_SERVER, SCAN_TLS12, 0xc02b, 0}},
    {ANSWER("\x16\3\3\0\x31\2\0\0\x2d\3\3" RANDOM "\0\xc0\x2b\0\0\5\xff\1\0\1\0"),
     false,
     OK,
     {SCAN_HELLO_SERVER, SCAN_TLS12, 0xc02b, 0}},
    /* TLS 1.3 says so in an extension */
    {ANSWER("\x16\3\3\0\x32\2\0\0\x2e\3\3" RANDOM "\0\x13\1\0\0\6\0\x2b\0\2\3\4"),
     false,
     OK,
     {SCAN_HELLO_SERVER, SCAN_TLS13, 0x1301, 0}},
    {ANSWER("\x16\3\1\0\x2a\2\0\0\x26\3\1" RANDOM "\0\0\x05\0"),
     false,
     OK,
     {SCAN_HELLO_SERVER, SCAN_TLS10, 5, 0}},
    {ANSWER("\x15\3\1\0\2\2\x46"), false, OK, {SCAN_HELLO_ALERT, 0, 0, 70}},
    /* not TLS */
    {ANSWER("HTTP/1.1 400"), false, ERR_MALFORMED, {0}},
    {ANSWER("\x20\2\0\5"), false, ERR_MALFORMED, {0}},
    {ANSWER("\x16\4\3\0\1\2"), false, ERR_MALFORMED, {0}},
    {ANSWER("\x16\3\3\0\4\x0b\0\0\0"), false, ERR_MALFORMED, {0}},
    /* lengths that lie */
    {ANSWER("\x16\3\3\x40\1\2\0\0\0"), false, ERR_TOO_LARGE, {0}},
    {ANSWER("\x16\3\3\0\4\2\0\0\x26"), false, ERR_TRUNCATED, {0}},
    {ANSWER("\x16\3\3\0\x2a\2\0\0\x26\3\3" RANDOM "\xff\xc0\x2b\0"), false, ERR_TRUNCATED, {0}},
    {ANSWER("\x16\3\3\0\x32\2\0\0\x2e\3\3" RANDOM "\0\x13\1\0\0\6\0\x2b\0\3\3\4"),
     false,
     ERR_TRUNCATED,
     {0}},
    {ANSWER("\x15\3\1\0\1\2"), false, ERR_TRUNCATED, {0}},
    {ANSWER("\x16\3\3\0\0"), false, ERR_MALFORMED, {0}},
    /* DTLS */
    {ANSWER("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x0f\3\0\0\3\0\0\0\0\0\0\0\3\xfe\xff\0"),
     true,
     OK,
     {SCAN_HELLO_VERIFY, 0xfeff, 0, 0}},
    {ANSWER("\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x32\2\0\0\x26\0\0\0\0\0\0\0\x26\xfe\xfd" RANDOM
            "\0\xc0\xa8\0"),
     true,
     OK,
     {SCAN_HELLO_SERVER, SCAN_DTLS12, 0xc0a8, 0}},
    {ANSWER("\x15\xfe\xfd\0\0\0\0\0\0\0\0\0\2\2\x28"), true, OK, {SCAN_HELLO_ALERT, 0, 0, 40}},
    {ANSWER("\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x0f\2\0\0\3\0\0\0\0\1\0\0\3\xfe\xff\0"),
     true,
     ERR_MALFORMED,
     {0}},
    {ANSWER("\x16\3\3\0\x2a"), true, ERR_MALFORMED, {0}},
    {ANSWER("\x60\x45\x12\1"), true, ERR_MALFORMED, {0}},
};

static void answers_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct answer *c = &answers[i];
        struct scan_hello_answer a = {0};
        enum err err = scan_hello_decode(slice_of(c->bytes, c->n), c->is_dtls, &a);
        if (err != c->err || (err == OK && (a.kind != c->is.kind || a.version != c->is.version ||
                                            a.suite != c->is.suite || a.alert != c->is.alert))) {
            fail_msg("case %zu: %s", i, err_name(err));
        }
    }
}

/* A stream waits for the rest, a datagram has none; neither reads past its end. */
static void answers_are_read_at_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct answer *c = &answers[i];
        for (size_t n = 0; n < c->n && c->err == OK; n++) {
            uint8_t *copy = test_malloc(n + 1); /* so that the sanitizer sees its end */
            struct scan_hello_answer a;
            memcpy(copy, c->bytes, n);
            assert_int_equal(scan_hello_decode(slice_of(copy, n), c->is_dtls, &a),
                             c->is_dtls ? ERR_TRUNCATED : ERR_AGAIN);
            test_free(copy);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hellos_hold_together),
        cmocka_unit_test(a_hello_that_does_not_fit_is_none),
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(answers_are_read_at_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
