#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/coap/option.h"

struct bytes {
    uint8_t p[2048];
    size_t n;
};

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

static struct bytes from_hex(const char *hex)
{
    struct bytes b = {0};
    while (hex_digit(hex[0]) >= 0 && hex_digit(hex[1]) >= 0) {
        b.p[b.n++] = (uint8_t)(hex_digit(hex[0]) * 16 + hex_digit(hex[1]));
        hex += 2;
    }
    return b;
}

/* A copy of exactly n bytes, so that the sanitizer sees a read past the end. */
static enum err decode(const uint8_t *p, size_t n, size_t token_max, struct coap_message *ret)
{
    static uint8_t *copy;
    free(copy);
    copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    if (n > 0) {
        memcpy(copy, p, n);
    }
    enum err e = coap_message_decode((struct slice){copy, n}, token_max, ret);
    if (n == 0) {
        free(copy);
        copy = NULL;
    }
    return e;
}

/* Whatever decodes must encode to a message that decodes to the same. */
static void assert_stable(const struct coap_message *m)
{
    uint8_t again[4096];
    size_t n = 0;
    assert_int_equal(coap_message_encode(m, again, sizeof(again), &n), OK);
    struct coap_message second;
    assert_int_equal(coap_message_decode(slice_of(again, n), COAP_TOKEN_LIMIT, &second), OK);
    assert_true(slice_equal(m->token, second.token));
    assert_true(slice_equal(m->options, second.options));
    assert_true(slice_equal(m->payload, second.payload));
    assert_int_equal(m->mid, second.mid);
}

/* RFC 7252 appendix A: decode, encode, same bytes. */
static void given_vectors(void **state)
{
    (void)state;
    char path[512];
    const char *root = getenv("SALLYPORT_SOURCE_ROOT");
    snprintf(path, sizeof(path), "%s/tests/vectors/coap-rfc7252-appendix-a.json",
             root != NULL ? root : ".");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    static char text[8192];
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    fclose(f);
    size_t n_vectors = 0;
    for (const char *at = text; (at = strstr(at, "\"hex\": \"")) != NULL; n_vectors++) {
        at += strlen("\"hex\": \"");
        struct bytes b = from_hex(at);
        struct coap_message m;
        assert_int_equal(decode(b.p, b.n, COAP_TOKEN_BYTES, &m), OK);
        uint8_t again[64];
        size_t again_n = 0;
        assert_int_equal(coap_message_encode(&m, again, sizeof(again), &again_n), OK);
        assert_int_equal(again_n, b.n);
        assert_memory_equal(again, b.p, b.n);
    }
    assert_int_equal(n_vectors, 4);
}

static void golden_fields(void **state)
{
    (void)state;
    struct bytes b = from_hex("61457d3520ff32322e332043");
    struct coap_message m;
    assert_int_equal(decode(b.p, b.n, COAP_TOKEN_BYTES, &m), OK);
    assert_int_equal(m.type, COAP_ACK);
    assert_int_equal(m.code, COAP_CONTENT);
    assert_int_equal(m.mid, 0x7d35);
    assert_int_equal(m.token.n, 1);
    assert_int_equal(m.token.p[0], 0x20);
    assert_int_equal(m.options.n, 0);
    assert_true(slice_is(m.payload, "22.3 C"));

    b = from_hex("41017d3520bb74656d7065726174757265");
    assert_int_equal(decode(b.p, b.n, COAP_TOKEN_BYTES, &m), OK);
    struct slice value;
    assert_true(coap_options_find(m.options, COAP_OPTION_URI_PATH, &value));
    assert_true(slice_is(value, "temperature"));
}

struct decode_case {
    const char *name, *hex;
    size_t token_max;
    enum err want;
};

/* Each a bug class of a peer, or a limit at n and n + 1. */
static const struct decode_case decode_cases[] = {
    {"empty datagram", "", 8, ERR_TRUNCATED},
    {"three bytes", "400100", 8, ERR_TRUNCATED},
    {"version 0", "00010001", 8, ERR_MALFORMED},
    {"version 2", "80010001", 8, ERR_MALFORMED},
    {"version 3", "c0010001", 8, ERR_MALFORMED},
    {"empty CON", "40000001", 8, OK},
    {"empty with a token", "4100000101", 8, ERR_MALFORMED},
    {"empty with an option", "40000001b161", 8, ERR_MALFORMED},
    {"empty with a payload", "40000001ff61", 8, ERR_MALFORMED},
    {"class 1", "40200001", 8, ERR_MALFORMED},
    {"class 3", "40600001", 8, ERR_MALFORMED},
    {"class 6", "40c00001", 8, ERR_MALFORMED},
    {"class 7", "40e10001", 8, ERR_MALFORMED},
    {"token of 8", "480100010102030405060708", 8, OK},
    {"token of 9, plain CoAP", "49010001010203040506070809", 8, ERR_MALFORMED},
    {"token of 9, extended", "49010001010203040506070809", 9, OK},
    {"token of 12, extended", "4c010001010203040506070809101112", 12, OK},
    {"token length 15", "4f010001000000000000000000000000", COAP_TOKEN_LIMIT, ERR_MALFORMED},
    {"token length 13 in 4 bytes", "4d010001", COAP_TOKEN_LIMIT, ERR_MALFORMED},
    {"token length 14 in 4 bytes", "4e010001", COAP_TOKEN_LIMIT, ERR_MALFORMED},
    {"token length 14 in 5 bytes", "4e01000100", COAP_TOKEN_LIMIT, ERR_MALFORMED},
    {"token of 13 cut short", "4d010001000102030405060708091011", 32, ERR_MALFORMED},
    {"token of 13 whole", "4d0100010001020304050607080910111213", 13, OK},
    {"token of 13, 12 wanted", "4d0100010001020304050607080910111213", 12, ERR_TOO_LARGE},
    {"token past the end", "44010001010203", 8, ERR_MALFORMED},
    {"lone marker", "40010001ff", 8, ERR_MALFORMED},
    {"payload", "40010001ff00", 8, OK},
    {"option delta 15", "40010001f0", 8, ERR_MALFORMED},
    {"option length 15", "400100010f", 8, ERR_MALFORMED},
    {"option past the end", "40010001b2", 8, ERR_MALFORMED},
    {"option value cut", "40010001b261", 8, ERR_MALFORMED},
    {"extended delta missing", "40010001d0", 8, ERR_MALFORMED},
    {"extended delta half", "40010001e000", 8, ERR_MALFORMED},
    {"extended length missing", "400100010d", 8, ERR_MALFORMED},
    {"extended length past the end", "400100010e0000", 8, ERR_MALFORMED},
    {"option 65535", "40010001e0fef2", 8, OK},
    {"option 65536", "40010001e0fef3", 8, ERR_MALFORMED},
    {"options wrap to 0", "40010001e0fef210", 8, ERR_MALFORMED},
    {"options wrap to a path", "40010001e0fef2c0", 8, ERR_MALFORMED},
    {"delta of 65804 alone", "40010001e0ffff", 8, ERR_MALFORMED},
};

static void decode_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(decode_cases); i++) {
        const struct decode_case *c = &decode_cases[i];
        struct bytes b = from_hex(c->hex);
        struct coap_message m = {.mid = 0xABCD};
        enum err e = decode(b.p, b.n, c->token_max, &m);
        if (e != c->want) {
            fail_msg("%s: %s, not %s", c->name, err_name(e), err_name(c->want));
        }
        if (e != OK) {
            assert_int_equal(m.mid, 0xABCD);
        } else {
            assert_stable(&m);
        }
    }
}

/* Options of every extended form, a token and a payload. */
static struct bytes rich_message(void)
{
    uint8_t options[1024], value[300];
    memset(value, 'v', sizeof(value));
    struct coap_option_writer o = coap_option_writer_into(options, sizeof(options));
    coap_option_add(&o, COAP_OPTION_URI_HOST, slice_text("h"));
    coap_option_add(&o, COAP_OPTION_URI_PATH, slice_text("a-path-of-15-by"));
    coap_option_add(&o, COAP_OPTION_URI_PATH, slice_of(value, 13));
    coap_option_add(&o, COAP_OPTION_URI_QUERY, slice_of(value, 300));
    coap_option_add_uint(&o, COAP_OPTION_SIZE1, 0x10000);
    coap_option_add(&o, COAP_OPTION_REQUEST_TAG, slice_of(value, 3));
    coap_option_add(&o, 3000, (struct slice){0});
    struct coap_message m = {.type = COAP_NON,
                             .code = COAP_PUT,
                             .mid = 0x1234,
                             .token = slice_text("tok"),
                             .payload = slice_text("body")};
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    struct bytes b = {0};
    assert_int_equal(coap_message_encode(&m, b.p, sizeof(b.p), &b.n), OK);
    return b;
}

static void every_truncation(void **state)
{
    (void)state;
    struct bytes b = rich_message();
    for (size_t n = 0; n <= b.n; n++) {
        struct coap_message m;
        enum err e = decode(b.p, n, COAP_TOKEN_BYTES, &m);
        if (e == OK) {
            assert_stable(&m);
        }
        if (n < COAP_HEADER_BYTES + 3) {
            assert_int_not_equal(e, OK);
        }
    }
}

static void every_bit_flipped(void **state)
{
    (void)state;
    struct bytes b = rich_message();
    for (size_t bit = 0; bit < b.n * 8; bit++) {
        struct bytes flipped = b;
        flipped.p[bit / 8] ^= (uint8_t)(1U << bit % 8);
        struct coap_message m;
        if (decode(flipped.p, flipped.n, COAP_TOKEN_BYTES, &m) == OK) {
            assert_stable(&m);
        }
    }
}

static void every_capacity(void **state)
{
    (void)state;
    struct bytes b = rich_message();
    struct coap_message m;
    assert_int_equal(decode(b.p, b.n, COAP_TOKEN_BYTES, &m), OK);
    for (size_t cap = 0; cap < b.n; cap++) {
        uint8_t *dst = malloc(cap + 1);
        size_t n = 77;
        assert_non_null(dst);
        assert_int_equal(coap_message_encode(&m, dst, cap, &n), ERR_SPACE);
        assert_int_equal(n, 77);
        free(dst);
    }
}

static void encoder_refuses(void **state)
{
    (void)state;
    uint8_t dst[64], block[16];
    size_t n = 0;
    struct coap_message empty = {.type = COAP_ACK, .payload = slice_text("x")};
    assert_int_equal(coap_message_encode(&empty, dst, sizeof(dst), &n), ERR_MALFORMED);
    struct coap_message bad = {.code = COAP_GET, .options = slice_text("\xf0")};
    assert_int_equal(coap_message_encode(&bad, dst, sizeof(dst), &n), ERR_MALFORMED);

    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_option_add(&o, 12, (struct slice){0});
    coap_option_add(&o, 11, (struct slice){0});
    coap_option_add(&o, 12, (struct slice){0});
    struct slice options = slice_text("untouched");
    assert_int_equal(coap_option_writer_done(&o, &options), ERR_MALFORMED);
    assert_true(slice_is(options, "untouched"));
}

static void extended_tokens_encode(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 8, 12, 13, 268, 269, 300};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        uint8_t token[300] = {1}, dst[400];
        size_t n = 0;
        struct coap_message m = {.code = COAP_GET, .token = slice_of(token, lengths[i])};
        assert_int_equal(coap_message_encode(&m, dst, sizeof(dst), &n), OK);
        struct coap_message back;
        assert_int_equal(decode(dst, n, 300, &back), OK);
        assert_int_equal(back.token.n, lengths[i]);
    }
}

static void uints(void **state)
{
    (void)state;
    static const struct {
        uint32_t value;
        size_t n;
    } cases[] = {{0, 0}, {1, 1}, {255, 1}, {256, 2}, {65535, 2}, {65536, 3}, {0xFFFFFFFF, 4}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t block[8];
        struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
        coap_option_add_uint(&o, COAP_OPTION_SIZE1, cases[i].value);
        struct slice options, value;
        assert_int_equal(coap_option_writer_done(&o, &options), OK);
        assert_true(coap_options_find(options, COAP_OPTION_SIZE1, &value));
        assert_int_equal(value.n, cases[i].n);
        uint32_t back = 0;
        assert_int_equal(coap_option_uint(value, &back), OK);
        assert_int_equal(back, cases[i].value);
    }
    uint32_t kept = 7;
    assert_int_equal(coap_option_uint(slice_of("\0\0\0\0\1", 5), &kept), ERR_TOO_LARGE);
    assert_int_equal(coap_option_uint(slice_of("\0\0\0\1", 4), &kept), OK);
    assert_int_equal(kept, 1);
}

static void merging(void **state)
{
    (void)state;
    static const uint16_t places[] = {1, 6, 12, 14, 60};
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        uint8_t block[32], merged[32];
        struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
        coap_option_add(&o, 4, slice_text("e"));
        coap_option_add_uint(&o, 12, 40);
        coap_option_add_uint(&o, 14, 60);
        struct slice options;
        assert_int_equal(coap_option_writer_done(&o, &options), OK);
        o = coap_option_writer_into(merged, sizeof(merged));
        coap_option_add_merged(&o, options, places[i], slice_text("m"));
        assert_int_equal(coap_option_writer_done(&o, &options), OK);
        struct coap_options it = coap_options_from(options);
        struct coap_option option;
        size_t n = 0, n_of_it = 0;
        while (coap_options_next(&it, &option)) {
            n++;
            n_of_it += option.number == places[i] && slice_is(option.value, "m");
        }
        assert_int_equal(coap_options_finish(&it), OK);
        assert_int_equal(n_of_it, 1);
        assert_int_equal(n, places[i] == 12 || places[i] == 14 ? 3 : 4);
    }
}

static void header_peek(void **state)
{
    (void)state;
    struct coap_message m;
    assert_int_equal(coap_header_peek(slice_of("\x4f\x01\x12\x34", 4), &m), OK);
    assert_int_equal(m.type, COAP_CON);
    assert_int_equal(m.mid, 0x1234);
    assert_int_equal(coap_header_peek(slice_of("\x4f\x01\x12", 3), &m), ERR_TRUNCATED);
    assert_int_equal(coap_header_peek(slice_of("\x8f\x01\x12\x34", 4), &m), ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(given_vectors),
        cmocka_unit_test(golden_fields),
        cmocka_unit_test(decode_table),
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(every_bit_flipped),
        cmocka_unit_test(every_capacity),
        cmocka_unit_test(encoder_refuses),
        cmocka_unit_test(extended_tokens_encode),
        cmocka_unit_test(uints),
        cmocka_unit_test(merging),
        cmocka_unit_test(header_peek),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
