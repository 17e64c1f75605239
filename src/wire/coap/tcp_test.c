#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/coap/tcp.h"

enum { ROOM = 200 * 1024, TOKEN_MAX = 32 };

static uint8_t room[ROOM];

static struct slice hex(const char *text, uint8_t *dst)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    for (const char *at = text; at[0] != '\0'; at += 2) {
        const char *high = strchr(digits, at[0]), *low = strchr(digits, at[1]);
        assert_true(high != NULL && low != NULL);
        dst[n++] = (uint8_t)((high - digits) * 16 + (low - digits));
    }
    return slice_of(dst, n);
}

/* A copy of exactly that many bytes, so that the sanitizer sees a read past the end. */
static enum err decode(struct slice bytes, enum coap_tcp_form form, size_t token_max,
                       struct coap_message *ret)
{
    static uint8_t *copy;
    free(copy);
    copy = malloc(bytes.n > 0 ? bytes.n : 1);
    assert_non_null(copy);
    slice_copy(copy, bytes);
    enum err err = coap_tcp_decode(slice_of(copy, bytes.n), form, token_max, ret);
    if (bytes.n == 0) {
        free(copy);
        copy = NULL;
    }
    return err;
}

/* SPEC: RFC8323 3.2, figure 5; 5.7, figures 11 and 12 */
static void golden_messages(void **state)
{
    static const struct {
        const char *name, *bytes;
        enum coap_tcp_form form;
        uint8_t code;
        size_t token_n, options_n, payload_n;
    } cases[] = {
        {"2.03 with a token", "01437f", COAP_TCP_STREAM, COAP_VALID, 1, 0, 0},
        {"Ping", "01e242", COAP_TCP_STREAM, COAP_PING, 1, 0, 0},
        {"Pong", "01e342", COAP_TCP_STREAM, COAP_PONG, 1, 0, 0},
        {"empty", "0000", COAP_TCP_STREAM, COAP_EMPTY, 0, 0, 0},
        {"empty with a token", "010042", COAP_TCP_STREAM, COAP_EMPTY, 1, 0, 0},
        {"CSM of 1152 and blocks", "40e122048020", COAP_TCP_STREAM, COAP_CSM, 0, 4, 0},
        {"GET of /mq", "3101aab26d71", COAP_TCP_STREAM, COAP_GET, 1, 3, 0},
        {"the same in a frame", "0101aab26d71", COAP_TCP_FRAMED, COAP_GET, 1, 3, 0},
        {"a payload", "2045ff61", COAP_TCP_STREAM, COAP_CONTENT, 0, 0, 1},
        {"12 bytes are no extended length", "c045ff6162636465666768696a6b", COAP_TCP_STREAM,
         COAP_CONTENT, 0, 0, 11},
        {"13 are", "d00045ff6162636465666768696a6b6c", COAP_TCP_STREAM, COAP_CONTENT, 0, 0, 12},
        {"a token of 13 bytes", "0d0200000102030405060708090a0b0c0d", COAP_TCP_STREAM, COAP_POST,
         13, 0, 0},
        {"a token of 9 bytes", "0902010203040506070809", COAP_TCP_STREAM, COAP_POST, 9, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t bytes[64], again[64];
        struct slice in = hex(cases[i].bytes, bytes);
        if (cases[i].token_n == 13) { /* its extended length stands behind the code */
            in = hex("0d02000102030405060708090a0b0c0d", bytes);
        }
        struct coap_message m, ignored;
        size_t n = 0;
        assert_int_equal(decode(in, cases[i].form, TOKEN_MAX, &ignored), OK);
        if (coap_tcp_decode(in, cases[i].form, TOKEN_MAX, &m) != OK || m.code != cases[i].code ||
            m.token.n != cases[i].token_n || m.options.n != cases[i].options_n ||
            m.payload.n != cases[i].payload_n || m.type != COAP_CON) {
            fail_msg("%s", cases[i].name);
        }
        assert_int_equal(coap_tcp_encode(&m, cases[i].form, again, sizeof(again), &n), OK);
        assert_true(slice_equal(slice_of(again, n), in));
        assert_int_equal(coap_tcp_bytes(&m, cases[i].form), n);
        if (cases[i].form == COAP_TCP_STREAM) {
            assert_int_equal(coap_tcp_size(in, 64, &n), OK);
            assert_int_equal(n, in.n);
        }
        for (size_t cut = 0; cut < in.n; cut++) { /* SPEC: RFC8323 3.2: the length says the end */
            enum err err = decode(slice_head(in, cut), COAP_TCP_STREAM, TOKEN_MAX, &ignored);
            assert_true(cases[i].form == COAP_TCP_FRAMED || err == ERR_MALFORMED);
            assert_int_equal(coap_tcp_encode(&m, cases[i].form, again, cut, &n), ERR_SPACE);
        }
        bytes[in.n] = 0;
        if (cases[i].form == COAP_TCP_STREAM) {
            assert_int_equal(
                decode(slice_of(bytes, in.n + 1), COAP_TCP_STREAM, TOKEN_MAX, &ignored),
                ERR_MALFORMED);
        }
    }
}

static void refused_messages(void **state)
{
    static const struct {
        const char *name, *bytes;
        enum coap_tcp_form form;
        enum err err;
    } cases[] = {
        {"a token length of 15", "0f01", COAP_TCP_STREAM, ERR_MALFORMED},
        {"a length in a frame", "3101aab26d71", COAP_TCP_FRAMED, ERR_MALFORMED},
        {"a marker without payload", "1045ff", COAP_TCP_STREAM, ERR_MALFORMED},
        {"an option past the end", "1001b5", COAP_TCP_STREAM, ERR_MALFORMED},
        {"an option delta of 15", "2001f100", COAP_TCP_STREAM, ERR_MALFORMED},
        {"class 1", "0020", COAP_TCP_STREAM, ERR_MALFORMED},
        {"class 3", "0060", COAP_TCP_STREAM, ERR_MALFORMED},
        {"class 6", "00c0", COAP_TCP_STREAM, ERR_MALFORMED},
        {"no code", "00", COAP_TCP_STREAM, ERR_MALFORMED},
        {"nothing", "", COAP_TCP_STREAM, ERR_MALFORMED},
        {"half an extended length", "e000", COAP_TCP_STREAM, ERR_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t bytes[32];
        struct coap_message m;
        enum err err = decode(hex(cases[i].bytes, bytes), cases[i].form, TOKEN_MAX, &m);
        if (err != cases[i].err) {
            fail_msg("%s: %s", cases[i].name, err_name(err));
        }
    }
}

static void a_token_is_as_long_as_is_wanted_at_most(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        struct coap_message m = {.code = COAP_GET, .token = slice_of(room, TOKEN_MAX + over)};
        uint8_t bytes[64];
        size_t n = 0;
        assert_int_equal(coap_tcp_encode(&m, COAP_TCP_STREAM, bytes, sizeof(bytes), &n), OK);
        assert_int_equal(decode(slice_of(bytes, n), COAP_TCP_STREAM, TOKEN_MAX, &m),
                         over == 0 ? OK : ERR_TOO_LARGE);
        assert_int_equal(decode(slice_of(bytes, n), COAP_TCP_STREAM, COAP_TOKEN_BYTES, &m),
                         ERR_MALFORMED);
    }
}

/* Every boundary of Len, and what is too much for the receiver. */
static void lengths(void **state)
{
    static const struct {
        size_t payload_n, head_n;
    } cases[] = {{0, 2}, {11, 2}, {12, 3}, {267, 3}, {268, 4}, {65803, 4}, {65804, 6}, {100000, 6}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        static const uint8_t payload[ROOM];
        struct coap_message m = {.code = COAP_CONTENT,
                                 .payload = slice_of(payload, cases[i].payload_n)};
        struct coap_message back;
        size_t n = 0, size = 0;
        size_t want = cases[i].head_n + (cases[i].payload_n > 0 ? 1 + cases[i].payload_n : 0);
        assert_int_equal(coap_tcp_encode(&m, COAP_TCP_STREAM, room, sizeof(room), &n), OK);
        assert_int_equal(n, want);
        assert_int_equal(coap_tcp_bytes(&m, COAP_TCP_STREAM), want);
        assert_int_equal(decode(slice_of(room, n), COAP_TCP_STREAM, 8, &back), OK);
        assert_int_equal(back.payload.n, m.payload.n);
        assert_int_equal(coap_tcp_size(slice_of(room, n), n, &size), OK);
        assert_int_equal(size, n);
        assert_int_equal(coap_tcp_size(slice_of(room, n), n - 1, &size), ERR_TOO_LARGE);
        for (size_t cut = 0; cut < cases[i].head_n; cut++) { /* the head alone tells */
            assert_int_equal(coap_tcp_size(slice_of(room, cut), n, &size), ERR_AGAIN);
        }
        assert_int_equal(coap_tcp_size(slice_of(room, cases[i].head_n), n, &size), OK);
    }
}

static void the_largest_length_is_no_small_one(void **state)
{
    uint8_t bytes[16];
    size_t n = 0;
    (void)state;
    assert_int_equal(coap_tcp_size(hex("f0ffffffff45", bytes), 1 << 20, &n), ERR_TOO_LARGE);
    /* SPEC: RFC8323 3.2: known as soon as the length is whole */
    assert_int_equal(coap_tcp_size(hex("f0ffffffff", bytes), 1 << 20, &n), ERR_TOO_LARGE);
    assert_int_equal(coap_tcp_size(hex("f0ffffff", bytes), 1 << 20, &n), ERR_AGAIN);
    assert_int_equal(coap_tcp_size(hex("0f", bytes), 1 << 20, &n), ERR_MALFORMED);
    assert_int_equal(coap_tcp_size(hex("0e01ffff", bytes), 1 << 10, &n), ERR_TOO_LARGE);
    assert_int_equal(coap_tcp_size(hex("0e01ff", bytes), 1 << 10, &n), ERR_AGAIN);
}

static void what_cannot_be_written(void **state)
{
    static const uint8_t bad_options[] = {0xF0};
    struct coap_message m = {.code = COAP_GET, .options = slice_of(bad_options, 1)};
    size_t n = 0;
    (void)state;
    assert_int_equal(coap_tcp_encode(&m, COAP_TCP_STREAM, room, sizeof(room), &n), ERR_MALFORMED);
    m = (struct coap_message){.code = COAP_GET, .token = slice_of(room, COAP_TOKEN_LIMIT + 1)};
    assert_int_equal(coap_tcp_encode(&m, COAP_TCP_STREAM, room, sizeof(room), &n), ERR_TOO_LARGE);
}

static void signals_have_names(void **state)
{
    static const uint8_t codes[] = {COAP_CSM, COAP_PING, COAP_PONG, COAP_RELEASE, COAP_ABORT};
    (void)state;
    for (size_t i = 0; i < sizeof(codes); i++) {
        assert_non_null(coap_signal_name(codes[i]));
        assert_true(coap_code_is_signal(codes[i]));
    }
    assert_null(coap_signal_name(0xE0));
    assert_false(coap_code_is_signal(COAP_CONTENT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_messages),
        cmocka_unit_test(refused_messages),
        cmocka_unit_test(a_token_is_as_long_as_is_wanted_at_most),
        cmocka_unit_test(lengths),
        cmocka_unit_test(the_largest_length_is_no_small_one),
        cmocka_unit_test(what_cannot_be_written),
        cmocka_unit_test(signals_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
