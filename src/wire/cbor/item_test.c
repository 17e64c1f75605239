/* CBOR items: what is well-formed, what they say, their parts, and heads that are put in front. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/cbor/item.h"

#define BYTES(text)                                                                                \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
#define ITEM(text) ((struct slice)BYTES(text))

/* SPEC: RFC8949 A, F */
static void checks(void **state)
{
    (void)state;
    static const struct {
        struct slice item;
        enum err err;
    } cases[] = {
        {BYTES("\x00"), OK},
        {BYTES("\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), OK},
        {BYTES("\x5f\x42\x01\x02\x43\x03\x04\x05\xff"), OK},
        {BYTES("\x7f\x65strea\x64ming\xff"), OK},
        {BYTES("\x9f\x01\x82\x02\x03\x9f\x04\x05\xff\xff"), OK},
        {BYTES("\xbf\x61\x61\x01\x61\x62\x9f\x02\x03\xff\xff"), OK},
        {BYTES("\xc1\x1a\x51\x4b\x67\xb0"), OK},
        {BYTES("\xf6"), OK},
        {BYTES("\xf8\xff"), OK},
        {BYTES("\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00"), OK},
        {BYTES(""), ERR_MALFORMED},
        {BYTES("\x00\x00"), ERR_MALFORMED}, /* more than one */
        {BYTES("\x18"), ERR_MALFORMED},     /* cut off in its head, */
        {BYTES("\x1b\x00\x00\x00"), ERR_MALFORMED},
        {BYTES("\x62\x61"), ERR_MALFORMED}, /* in what it holds, */
        {BYTES("\x5b\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_MALFORMED},
        {BYTES("\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_MALFORMED},
        {BYTES("\xa1\x01"), ERR_MALFORMED},
        {BYTES("\xc0"), ERR_MALFORMED},
        {BYTES("\x9f\x01"), ERR_MALFORMED},     /* and before its break */
        {BYTES("\xbf\x01\xff"), ERR_MALFORMED}, /* a key of nothing */
        {BYTES("\xff"), ERR_MALFORMED},
        {BYTES("\x81\xff"), ERR_MALFORMED},
        {BYTES("\x1c"), ERR_MALFORMED},
        {BYTES("\x1f"), ERR_MALFORMED},
        {BYTES("\x3f"), ERR_MALFORMED},
        {BYTES("\xdf"), ERR_MALFORMED},
        {BYTES("\xf8\x18"), ERR_MALFORMED},
        {BYTES("\x5f\x61\x61\xff"), ERR_MALFORMED}, /* text among bytes */
        {BYTES("\x5f\x5f\xff\xff"), ERR_MALFORMED},
        {BYTES("\x61\xff"), ERR_UTF8},
        {BYTES("\x7f\x61\xc3\x61\xa9\xff"), ERR_UTF8}, /* each piece is text by itself */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        print_message("%zu\n", i);
        assert_int_equal(cbor_check(cases[i].item), cases[i].err);
    }
}

static void depth(void **state)
{
    (void)state;
    static const uint8_t kinds[] = {0x81, 0x9f, 0xc1};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        for (size_t more = 0; more < 2; more++) {
            uint8_t bytes[2 * CBOR_DEPTH_MAX + 4];
            size_t n = CBOR_DEPTH_MAX + more, end = kinds[i] == 0x9f ? n : 0;
            memset(bytes, kinds[i], n);
            bytes[n] = 0;
            memset(bytes + n + 1, 0xff, end);
            assert_int_equal(cbor_check(slice_of(bytes, n + 1 + end)), more == 0 ? OK : ERR_LIMIT);
        }
    }
}

static void numbers(void **state)
{
    (void)state;
    static const struct {
        struct slice item;
        enum err err;
        double is;
    } cases[] = {
        {BYTES("\x17"), OK, 23},
        {BYTES("\x20"), OK, -1},
        {BYTES("\x39\x03\xe7"), OK, -1000},
        {BYTES("\x3b\xff\xff\xff\xff\xff\xff\xff\xff"), OK, -18446744073709551616.0},
        {BYTES("\xf9\x00\x01"), OK, 5.960464477539063e-8},
        {BYTES("\xf9\x04\x00"), OK, 0.00006103515625},
        {BYTES("\xf9\xc4\x00"), OK, -4},
        {BYTES("\xf9\x7b\xff"), OK, 65504},
        {BYTES("\xfa\x47\xc3\x50\x00"), OK, 100000},
        {BYTES("\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a"), OK, 1.1},
        {BYTES("\xc4\x82\x21\x19\x6a\xb3"), OK, 273.15},
        {BYTES("\xc4\x82\x02\x38\x62"), OK, -9900},
        {BYTES("\xf9\x7c\x00"), ERR_LIMIT, 0},
        {BYTES("\xf9\x7e\x00"), ERR_LIMIT, 0},
        {BYTES("\xfa\x7f\x80\x00\x00"), ERR_LIMIT, 0},
        {BYTES("\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00"), ERR_LIMIT, 0},
        {BYTES("\xc4\x82\x19\x03\xe8\x01"), ERR_LIMIT, 0}, /* 1e1000 */
        {BYTES("\xc4\x82\x1b\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_LIMIT, 0},
        {BYTES("\xc4\x82\x01\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), ERR_LIMIT, 0},
        {BYTES("\xc4\x01"), ERR_MALFORMED, 0},
        {BYTES("\xc4\x81\x01"), ERR_MALFORMED, 0},
        {BYTES("\xc4\x83\x01\x01\x01"), ERR_MALFORMED, 0},
        {BYTES("\xc4\x82\x01\xc2\x41\x01"), ERR_MALFORMED, 0},
        {BYTES("\xc2\x41\x01"), ERR_MALFORMED, 0},
        {BYTES("\xf5"), ERR_MALFORMED, 0},
        {BYTES("\x61\x31"), ERR_MALFORMED, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        double is = 7;
        print_message("%zu\n", i);
        assert_int_equal(cbor_check(cases[i].item), OK);
        assert_int_equal(cbor_number(cases[i].item, &is), cases[i].err);
        double want = cases[i].err == OK ? cases[i].is : 7; /* only ever written when it is one */
        assert_true(is >= want && is <= want);
    }
}

static void parts(void **state)
{
    (void)state;
    static const struct slice lists[] = {BYTES("\x83\x01\x61\x61\x9f\x02\xff"),
                                         BYTES("\x9f\x01\x61\x61\x9f\x02\xff\xff")};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct rd r = cbor_parts(lists[i]);
        struct slice item;
        uint64_t value = 0;
        assert_true(cbor_major(lists[i]) == CBOR_ARRAY);
        assert_true(cbor_next(&r, &item) && cbor_integer(item, &value) && value == 1);
        assert_true(cbor_next(&r, &item) && slice_is(cbor_string(item), "a"));
        assert_true(cbor_next(&r, &item) && slice_equal(item, ITEM("\x9f\x02\xff")));
        assert_false(cbor_next(&r, &item));
    }
    struct rd none = cbor_parts(ITEM("\x80"));
    struct slice item;
    assert_false(cbor_next(&none, &item));
    assert_true(cbor_is_null(ITEM("\xf6")) && cbor_is_bool(ITEM("\xf4")));
    assert_false(cbor_is_null(ITEM("\xf7")) || cbor_is_bool(ITEM("\xf6")));
    assert_true(cbor_is_definite(ITEM("\x60")) && !cbor_is_definite(ITEM("\x7f\xff")));
    assert_int_equal(cbor_string(ITEM("\x7f\x61\x61\xff")).n, 0);
}

static void heads(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        struct slice item;
    } cases[] = {
        {0, BYTES("\x80xy")},
        {23, BYTES("\x97xy")},
        {24, BYTES("\x98\x18xy")},
        {255, BYTES("\x98\xffxy")},
        {256, BYTES("\x99\x01\x00xy")},
        {65536, BYTES("\x9a\x00\x01\x00\x00xy")},
        {UINT64_C(1) << 32, BYTES("\x9b\x00\x00\x00\x01\x00\x00\x00\x00xy")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t less = 0; less < 2; less++) {
            uint8_t bytes[16] = ".xy";
            struct wr w = wr_into(bytes, 1 + cases[i].item.n - less);
            w.at = 3;
            cbor_wrap(&w, 1, CBOR_ARRAY, cases[i].value);
            assert_int_equal(w.err, less == 0 ? OK : ERR_SPACE);
            assert_true(less == 1 || slice_equal(slice_from(wr_slice(&w), 1), cases[i].item));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks), cmocka_unit_test(depth), cmocka_unit_test(numbers),
        cmocka_unit_test(parts),  cmocka_unit_test(heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
