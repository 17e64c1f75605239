/* What merge_patch_test does not reach: the parts of arrays, and what strings and numbers mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/json/text.h"

static void parts(void **state)
{
    (void)state;
    struct slice text =
        json_trim(slice_text(" [ 1 ,\t{\"a\" : [ ] , \"\\u0062\":null}, \"x\" ] \n"));
    struct rd elements = json_parts(text);
    struct slice element;
    struct json_member m;
    assert_true(json_is_array(text) && !json_is_object(text));
    assert_true(json_next_element(&elements, &element) && slice_is(element, "1"));
    assert_true(json_next_element(&elements, &element) && json_is_object(element));
    struct rd members = json_parts(element);
    assert_true(json_next_member(&members, &m) && slice_is(m.name, "a") && m.is_plain);
    assert_true(slice_is(m.value, "[ ]"));
    assert_true(json_next_member(&members, &m) && !m.is_plain && json_is_null(m.value));
    struct json_member b = {.name = slice_text("b"), .is_plain = true};
    assert_true(json_is_same_name(&m, &b));
    assert_false(json_next_member(&members, &m));
    assert_true(json_next_element(&elements, &element) && slice_is(json_content(element), "x"));
    assert_false(json_next_element(&elements, &element));
    elements = json_parts(slice_text("[]"));
    assert_false(json_next_element(&elements, &element));
    assert_true(json_is_bool(slice_text("false")) && !json_is_bool(slice_text("\"false\"")));
}

static void strings(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"plain", "plain"},
        {"\\u0041\\/\\n\\\"", "A/\n\""},
        {"caf\\u00e9 \\u20ac", "caf\xc3\xa9 \xe2\x82\xac"},
        {"\\uD83D\\uDE00", "\xf0\x9f\x98\x80"},
        {"\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9", "\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t out[32];
        struct slice want = slice_text(cases[i][1]);
        struct wr w = wr_into(out, sizeof(out)), small = wr_into(out, want.n - 1);
        json_string_write(slice_text(cases[i][0]), &w);
        assert_true(slice_equal(wr_slice(&w), want));
        json_string_write(slice_text(cases[i][0]), &small);
        assert_int_equal(small.err, ERR_SPACE);
    }
}

static void numbers(void **state)
{
    (void)state;
    static const char longest[] = "0.1234567890123456789012345678901234567890123456789012345678901";
    double number = 7;
    assert_int_equal(json_number(slice_text("-1.5e+2"), &number), OK);
    assert_true(number > -150.5 && number < -149.5);
    assert_int_equal(json_number(slice_text("\"1\""), &number), ERR_MALFORMED);
    assert_int_equal(json_number(slice_text("true"), &number), ERR_MALFORMED);
    assert_int_equal(json_number(slice_text("1e309"), &number), ERR_LIMIT);
    assert_int_equal(sizeof(longest) - 1, JSON_NUMBER_BYTES);
    assert_int_equal(json_number(slice_of(longest, JSON_NUMBER_BYTES), &number), OK);
    assert_int_equal(json_number(slice_text("0.12345678901234567890123456789012345678901234567890"
                                            "123456789012"),
                                 &number),
                     ERR_LIMIT);
    assert_true(number > 0.12 && number < 0.13); /* only ever written when it is one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts),
        cmocka_unit_test(strings),
        cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
