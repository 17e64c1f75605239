/* Vectors: RFC 4648, section 10; the two alphabets' last characters: its tables 1 and 2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"

static const struct {
    const char *bytes, *padded, *url;
} goldens[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff\xbf", "+/+/", "-_-_"},
};

static void golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        for (enum base64_kind kind = BASE64_PADDED; kind <= BASE64_URL; kind++) {
            struct slice text =
                slice_text(kind == BASE64_PADDED ? goldens[i].padded : goldens[i].url);
            uint8_t bytes[8];
            char back[16];
            size_t n = 99;
            assert_int_equal(base64_decode(kind, text, bytes, sizeof bytes, &n), OK);
            assert_true(slice_is(slice_of(bytes, n), goldens[i].bytes));
            struct wr w = wr_into(back, sizeof back);
            base64_encode(kind, slice_text(goldens[i].bytes), &w);
            assert_true(slice_equal(wr_slice(&w), text));
            if (n > 0) {
                assert_int_equal(base64_decode(kind, text, bytes, n - 1, &n), ERR_SPACE);
            }
        }
    }
}

/* SPEC: RFC4648 3.5 */
static void not_canonical(void **state)
{
    static const char *const padded[] = {"Zg",    "Zg=",  "Zh==",   "Zm9=",     "Zg==\n",
                                         "Z===",  "=",    "====",   "Zg==Zg==", "Zm 9v",
                                         "Zm9v=", "-_-_", "Zm9\xc3"};
    static const char *const url[] = {
        "Z", "Zh", "Zm9", "Zm9vY", "Zg==", "Zm8=", "+/+/", "Zm9v\n", " Zm9v", "Zm.v"};
    uint8_t bytes[16];
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof padded / sizeof *padded; i++) {
        assert_int_equal(
            base64_decode(BASE64_PADDED, slice_text(padded[i]), bytes, sizeof bytes, &n),
            ERR_MALFORMED);
    }
    for (size_t i = 0; i < sizeof url / sizeof *url; i++) {
        assert_int_equal(base64_decode(BASE64_URL, slice_text(url[i]), bytes, sizeof bytes, &n),
                         ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(not_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
