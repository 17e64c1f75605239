#include "base/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_reading(void **state)
{
    static const struct {
        const char *name, *text;
        enum err err;
    } cases[] = {{"both cases", "00fFA9", OK},           {"nothing", "", OK},
                 {"an odd digit", "00f", ERR_MALFORMED}, {"a g", "0g", ERR_MALFORMED},
                 {"a blank", " 0", ERR_MALFORMED},       {"one too many", "00112233", ERR_SPACE}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[3];
        size_t n = 0;
        print_message("%s\n", cases[i].name);
        assert_int_equal(hex_read(slice_text(cases[i].text), bytes, sizeof bytes, &n),
                         cases[i].err);
    }
}

static void test_there_and_back(void **state)
{
    uint8_t bytes[256], again[256];
    char text[2 * sizeof bytes + 1];
    size_t n;
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    hex_write(slice_of(bytes, sizeof bytes), text);
    assert_int_equal(hex_read(slice_text(text), again, sizeof again, &n), OK);
    assert_int_equal(n, sizeof bytes);
    assert_memory_equal(bytes, again, n);
    hex_write((struct slice){0}, text);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reading),
                                       cmocka_unit_test(test_there_and_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
