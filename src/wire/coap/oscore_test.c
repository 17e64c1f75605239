#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/coap/oscore.h"

#define BYTES(...) slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* RFC 8613, 6.3: the examples; then the options of Appendix C. */
static void goldens(void **state)
{
    (void)state;
    const struct {
        const char *name;
        struct slice bytes;
        struct coap_oscore o;
    } cases[] = {
        {"nothing", {0}, {0}},
        {"kid and Partial IV", BYTES(0x09, 0x05, 0x25), {true, true, false, 5, BYTES(0x25), {0}}},
        {"empty kid", BYTES(0x09, 0x00), {true, true, false, 0, {0}, {0}}},
        {"kid context too",
         BYTES(0x19, 0x05, 0x03, 0x44, 0x61, 0x6c),
         {true, true, true, 5, {0}, BYTES(0x44, 0x61, 0x6c)}},
        {"Partial IV alone", BYTES(0x01, 0x07), {true, false, false, 7, {0}, {0}}},
        {"longest Partial IV",
         BYTES(0x05, 0xff, 0xff, 0xff, 0xff, 0xff),
         {true, false, false, COAP_OSCORE_PIV_MAX, {0}, {0}}},
        {"empty kid context", BYTES(0x10, 0x00), {false, false, true, 0, {0}, {0}}},
        {"kid alone", BYTES(0x08, 0x01, 0x02), {false, true, false, 0, BYTES(0x01, 0x02), {0}}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct coap_oscore o;
        uint8_t again[64];
        struct wr w = wr_into(again, sizeof(again));
        print_message("%s\n", cases[i].name);
        assert_int_equal(coap_oscore_decode(cases[i].bytes, &o), OK);
        assert_int_equal(o.has_piv, cases[i].o.has_piv);
        assert_int_equal(o.has_kid, cases[i].o.has_kid);
        assert_int_equal(o.has_kid_context, cases[i].o.has_kid_context);
        assert_true(o.piv == cases[i].o.piv);
        assert_true(slice_equal(o.kid, cases[i].o.kid));
        assert_true(slice_equal(o.kid_context, cases[i].o.kid_context));
        coap_oscore_encode(&cases[i].o, &w);
        assert_true(wr_ok(&w));
        assert_true(slice_equal(wr_slice(&w), cases[i].bytes));
    }
}

static void refusals(void **state)
{
    (void)state;
    const struct {
        const char *name;
        struct slice bytes;
        enum err err;
    } cases[] = {
        {"flags all zero, but written", BYTES(0x00), ERR_MALFORMED},
        {"reserved length 6", BYTES(0x06, 1, 2, 3, 4, 5, 6), ERR_MALFORMED},
        {"reserved length 7", BYTES(0x07, 1, 2, 3, 4, 5, 6, 7), ERR_MALFORMED},
        {"reserved bit 5", BYTES(0x21, 1), ERR_MALFORMED},
        {"reserved bit 6", BYTES(0x41, 1), ERR_MALFORMED},
        {"reserved bit 7", BYTES(0x81, 1), ERR_MALFORMED},
        {"Partial IV cut", BYTES(0x02, 1), ERR_TRUNCATED},
        {"Partial IV with a leading zero", BYTES(0x02, 0, 1), ERR_MALFORMED},
        {"Partial IV 0 in two bytes", BYTES(0x02, 0, 0), ERR_MALFORMED},
        {"no length of the kid context", BYTES(0x11, 1), ERR_TRUNCATED},
        {"kid context past the end", BYTES(0x11, 1, 3, 'a', 'b'), ERR_TRUNCATED},
        {"a byte more", BYTES(0x01, 1, 2), ERR_MALFORMED},
        {"a byte behind the kid context", BYTES(0x10, 1, 'a', 'b'), ERR_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct coap_oscore o;
        print_message("%s\n", cases[i].name);
        assert_int_equal(coap_oscore_decode(cases[i].bytes, &o), cases[i].err);
    }
}

/* Each limit at n and n + 1. */
static void limits(void **state)
{
    (void)state;
    uint8_t value[COAP_OSCORE_OPTION_MAX + 1] = {0x08};
    uint8_t again[2 * COAP_OSCORE_OPTION_MAX];
    struct coap_oscore o;
    assert_int_equal(coap_oscore_decode(slice_of(value, COAP_OSCORE_OPTION_MAX), &o), OK);
    assert_int_equal(coap_oscore_decode(slice_of(value, sizeof(value)), &o), ERR_TOO_LARGE);
    o = (struct coap_oscore){.has_kid = true, .kid = slice_of(value, COAP_OSCORE_OPTION_MAX - 1)};
    struct wr fits = wr_into(again, sizeof(again));
    coap_oscore_encode(&o, &fits);
    assert_true(wr_ok(&fits));
    o.kid.n++;
    struct wr over = wr_into(again, sizeof(again));
    coap_oscore_encode(&o, &over);
    assert_int_equal(over.err, ERR_TOO_LARGE);
    o = (struct coap_oscore){.has_piv = true, .piv = COAP_OSCORE_PIV_MAX + 1};
    struct wr large = wr_into(again, sizeof(again));
    coap_oscore_encode(&o, &large);
    assert_int_equal(large.err, ERR_TOO_LARGE);
    o = (struct coap_oscore){.has_kid_context = true, .kid_context = slice_of(again, 256)};
    struct wr context = wr_into(again, sizeof(again));
    coap_oscore_encode(&o, &context);
    assert_int_equal(context.err, ERR_TOO_LARGE);
}

/* Every truncation of a golden, and each of its bits flipped, decodes or not, but never twice the
 * same value from different bytes. */
static void mutations(void **state)
{
    (void)state;
    const uint8_t golden[] = {0x1b, 1, 2, 3, 2, 'c', 'x', 'k', 'i', 'd'};
    uint8_t bytes[sizeof(golden)], again[64];
    for (size_t n = 0; n <= sizeof(golden); n++) {
        for (size_t bit = 0; bit <= 8 * n; bit++) {
            struct coap_oscore o;
            struct wr w = wr_into(again, sizeof(again));
            memcpy(bytes, golden, sizeof(bytes));
            if (bit < 8 * n) {
                bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
            if (coap_oscore_decode(slice_of(bytes, n), &o) == OK) {
                coap_oscore_encode(&o, &w);
                assert_true(slice_equal(wr_slice(&w), slice_of(bytes, n)));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goldens),
        cmocka_unit_test(refusals),
        cmocka_unit_test(limits),
        cmocka_unit_test(mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
