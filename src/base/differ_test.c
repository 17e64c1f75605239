#include "base/differ.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static uint8_t packed[2 * DIFFER_TEXT_MAX], back[DIFFER_TEXT_MAX];

/* How many bytes it took. */
static size_t there_and_back(struct slice like, struct slice text)
{
    struct wr w = wr_into(packed, differ_most(text.n));
    differ_write(&w, like, text);
    assert_true(wr_ok(&w));
    memset(back, 0, sizeof back);
    assert_int_equal(differ_read(wr_slice(&w), like, back, text.n), OK);
    assert_true(slice_equal(slice_of(back, text.n), text));
    return w.at;
}

static void like_lines_are_short(void **state)
{
    (void)state;
    struct slice a = slice_text("{\"time\":\"2026-11-22T17:58:05.123Z\",\"category\":\"allow\","
                                "\"client_id\":\"c-17\",\"target\":\"a/0012/+\",\"count\":1}\n");
    struct slice b = slice_text("{\"time\":\"2026-11-22T17:58:05.204Z\",\"category\":\"allow\","
                                "\"client_id\":\"c-4\",\"target\":\"a/0099/x\",\"count\":1}\n");
    assert_true(there_and_back(a, b) < 40);
    assert_true(there_and_back(a, a) < 10);
    assert_int_equal(there_and_back((struct slice){0}, slice_text("x")), 2);
    there_and_back(slice_text("x"), slice_text("abcd"));
    there_and_back(slice_text("abcd"), slice_text("abcd"));
    there_and_back(slice_text("abcde"), slice_text("abcde"));
}

/* Pieces and new bytes around the longest that one length says; all bytes new; the longest text. */
static void every_length(void **state)
{
    (void)state;
    static uint8_t text[DIFFER_TEXT_MAX], like[DIFFER_TEXT_MAX];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof text; i++) {
        x = x * 1664525U + 1013904223U;
        text[i] = (uint8_t)(x >> 24);
        like[i] = (uint8_t)(x >> 16);
    }
    for (size_t n = 1; n < 1100; n++) {
        there_and_back(slice_of(like, n), slice_of(text, n));
        assert_true(there_and_back(slice_of(text, n), slice_of(text, n)) <= n / 255 * 4 + 16);
        there_and_back(slice_of(text, n), slice_of(text + n / 2, 600));
    }
    there_and_back(slice_of(like, sizeof like), slice_of(text, sizeof text));
    there_and_back(slice_of(text, sizeof text), slice_of(text, sizeof text));
}

static void what_nobody_wrote_is_refused(void **state)
{
    (void)state;
    struct slice like = slice_text("0123456789");
    static const struct {
        uint8_t bytes[8];
        size_t n, text_n;
        enum err err;
    } bad[] = {
        {{0}, 0, 1, ERR_TRUNCATED},
        {{2, 'a'}, 2, 2, ERR_TRUNCATED},
        {{1, 'a', 0, 0}, 4, 2, ERR_TRUNCATED},
        {{0, 0, 11, 1}, 4, 1, ERR_MALFORMED}, /* behind the end */
        {{0, 0, 9, 2}, 4, 2, ERR_MALFORMED},  /* over the end */
        {{0, 0, 0, 4}, 4, 3, ERR_MALFORMED},  /* more than the text */
        {{2, 'a', 'b'}, 3, 1, ERR_MALFORMED}, /* the same with new bytes */
        {{1, 'a', 'b'}, 3, 1, ERR_TRAILING},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(differ_read(slice_of(bad[i].bytes, bad[i].n), like, back, bad[i].text_n),
                         bad[i].err);
    }
    static const uint8_t good[] = {0, 0, 9, 1};
    assert_int_equal(differ_read(slice_of(good, sizeof good), like, back, 1), OK);
    assert_int_equal(back[0], '9');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(like_lines_are_short),
        cmocka_unit_test(every_length),
        cmocka_unit_test(what_nobody_wrote_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
