#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "wire/json/merge_patch.h"

struct merging {
    const char *target, *patch, *result; /* target "": nothing */
};

/* SPEC: RFC7396 A: the table of its appendix, then what it leaves open. */
static const struct merging mergings[] = {
    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
    {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
    {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
    {"{\"a\":\"foo\"}", "null", "null"},
    {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
    {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
    {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    {"", "{\"a\":{\"b\":null,\"c\":2},\"d\":null}", "{\"a\":{\"c\":2}}"},
    {"", " 7 ", "7"},
    /* what is not named stays as it is written */
    {"{\"t\":21.30, \"n\":12345678901234567890,\"e\":1E400,\"s\":\"\\u00e9\\/\"}", "{\"x\":0.1}",
     "{\"t\":21.30,\"n\":12345678901234567890,\"e\":1E400,\"s\":\"\\u00e9\\/\",\"x\":0.1}"},
    {" { \"a\" : [ 1 , 2 ] , \"b\" : 3 } ", "\n{\t\"b\"\r:\n4 }", "{\"a\":[ 1 , 2 ],\"b\":4}"},
    /* a name is what it means */
    {"{\"caf\xc3\xa9\":1,\"\\ud83d\\ude00\":2,\"\\n\":3}",
     "{\"caf\\u00E9\":9,\"\xf0\x9f\x98\x80\":null,\"\\u000a\":8}", "{\"caf\xc3\xa9\":9,\"\\n\":8}"},
    {"{\"a\":1,\"ab\":2,\"\":3}", "{\"\":null,\"ab\":null}", "{\"a\":1}"},
    {"{\"a\":1,\"a\":2}", "{\"a\":3}", "{\"a\":3,\"a\":3}"}, /* twice there: both */
    {"{\"true\":true,\"n\":null}", "{\"n\":false}", "{\"true\":true,\"n\":false}"},
};

static void merges(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mergings) / sizeof(mergings[0]); i++) {
        const struct merging *c = &mergings[i];
        struct slice target = slice_text(c->target), patch = slice_text(c->patch);
        uint8_t out[256];
        struct wr w = wr_into(out, target.n + patch.n + 1);
        print_message("%s\n", c->patch);
        assert_true(target.n == 0 || json_check(target) == OK);
        assert_int_equal(merge_patch_check(patch), OK);
        merge_patch(target, patch, &w);
        assert_true(wr_ok(&w));
        assert_true(slice_is(wr_slice(&w), c->result));
        assert_int_equal(json_check(wr_slice(&w)), OK);
    }
}

static const char *const good[] = {"0",
                                   "-0",
                                   "10",
                                   "-1.5e+10",
                                   "1E-2",
                                   "\"\"",
                                   "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD834\\uDD1E\"",
                                   "[]",
                                   "[ ]",
                                   "{ }",
                                   "[[],{},[{}]]",
                                   "true",
                                   "false",
                                   " null\n"};
static const char *const bad[] = {"",
                                  " ",
                                  "01",
                                  "+1",
                                  "1.",
                                  ".5",
                                  "1e",
                                  "-",
                                  "\"",
                                  "\"\\x\"",
                                  "\"\\u12\"",
                                  "\"\n\"",
                                  "tru",
                                  "nul",
                                  "truex",
                                  "[",
                                  "[1,]",
                                  "[,1]",
                                  "[1 2]",
                                  "{",
                                  "{\"a\"}",
                                  "{\"a\":}",
                                  "{a:1}",
                                  "{\"a\":1,}",
                                  "{,}",
                                  "{\"a\" 1}",
                                  "1 2",
                                  "[1}",
                                  "{\"a\":1]",
                                  "\"\\ud834\"",
                                  "\"\\udd1e\"",
                                  "'a'",
                                  "NaN",
                                  "\"\\ud834\\u0041\"",
                                  "]"};

static void checks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(json_check(slice_text(good[i])), OK);
        struct slice whole = slice_text(good[i]);
        for (size_t n = 0; n + 1 < whole.n; n++) {
            (void)!json_check(slice_head(whole, n)); /* every truncation: no read past it */
        }
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        print_message("%s\n", bad[i]);
        assert_int_equal(json_check(slice_text(bad[i])), ERR_MALFORMED);
    }
    assert_int_equal(json_check(slice_text("\"\xff\"")), ERR_UTF8);
    assert_int_equal(json_check(slice_of("\"\0\"", 3)), ERR_UTF8);
}

static struct slice nested(char *dst, size_t n)
{
    memset(dst, '[', n);
    memset(dst + n, ']', n);
    return slice_of(dst, 2 * n);
}

static void limits(void **state)
{
    (void)state;
    static char text[2 * MERGE_PATCH_BYTES_MAX];
    assert_int_equal(json_check(nested(text, JSON_DEPTH_MAX)), OK);
    assert_int_equal(json_check(nested(text, JSON_DEPTH_MAX + 1)), ERR_LIMIT);
    assert_int_equal(json_check(nested(text, 1000)), ERR_LIMIT);
    memset(text, ' ', MERGE_PATCH_BYTES_MAX + 1);
    text[0] = '1';
    assert_int_equal(merge_patch_check(slice_of(text, MERGE_PATCH_BYTES_MAX)), OK);
    assert_int_equal(merge_patch_check(slice_of(text, MERGE_PATCH_BYTES_MAX + 1)), ERR_TOO_LARGE);
    assert_int_equal(merge_patch_check(slice_text("{\"a\":1,\"b\":2,\"\\u0061\":3}")), ERR_EXISTS);
    assert_int_equal(merge_patch_check(slice_text("{\"a\":{\"b\":1,\"b\":1}}")), ERR_EXISTS);
    assert_int_equal(merge_patch_check(slice_text("{\"a\":{\"b\":1},\"b\":1}")), OK);
    for (int more = 0; more < 2; more++) {
        size_t n = 0;
        for (int i = 0; i < MERGE_NAMES_MAX + more; i++) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%c\"n%d\":%d", i == 0 ? '{' : ',', i,
                                  i);
        }
        text[n++] = '}';
        assert_int_equal(merge_patch_check(slice_of(text, n)), more == 0 ? OK : ERR_LIMIT);
        uint8_t out[sizeof(text) + 8];
        struct wr w = wr_into(out, sizeof(out));
        if (more == 0) { /* all of them are there, and all of them change */
            merge_patch(slice_of(text, n), slice_of(text, n), &w);
            assert_true(slice_equal(wr_slice(&w), slice_of(text, n)));
        }
    }
}

/* Too little room is said, and nothing is written behind it. */
static void no_room(void **state)
{
    (void)state;
    struct slice target = slice_text("{\"a\":1,\"b\":{\"c\":2}}");
    struct slice patch = slice_text("{\"b\":{\"d\":3}}");
    uint8_t out[64];
    for (size_t n = 0; n < 25; n++) {
        struct wr w = wr_into(out, n);
        merge_patch(target, patch, &w);
        assert_int_equal(w.err, ERR_SPACE);
    }
    struct wr w = wr_into(out, 25);
    merge_patch(target, patch, &w);
    assert_true(slice_is(wr_slice(&w), "{\"a\":1,\"b\":{\"c\":2,\"d\":3}}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges),
        cmocka_unit_test(checks),
        cmocka_unit_test(limits),
        cmocka_unit_test(no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
