#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/coap/code.h"

static void texts_and_names(void **state)
{
    (void)state;
    char text[COAP_CODE_TEXT_BYTES];
    coap_code_text(COAP_CONTENT, text);
    assert_string_equal(text, "2.05");
    coap_code_text(COAP_TOO_MANY_REQUESTS, text);
    assert_string_equal(text, "4.29");
    coap_code_text(0xFF, text);
    assert_string_equal(text, "7.31");
    assert_string_equal(coap_code_name(COAP_CONTINUE), "Continue");
    assert_string_equal(coap_code_name(COAP_HOP_LIMIT_REACHED), "Hop Limit Reached");
    assert_null(coap_code_name(0x1F));
}

static void every_code_is_one_thing(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        int n = (code == COAP_EMPTY) + coap_code_is_request((uint8_t)code) +
                coap_code_is_response((uint8_t)code) + coap_code_is_reserved((uint8_t)code);
        assert_int_equal(n, 1);
    }
}

static void formats(void **state)
{
    (void)state;
    uint16_t format = 9999;
    assert_int_equal(coap_format_find(slice_text("Application/JSON"), &format), OK);
    assert_int_equal(format, COAP_FORMAT_JSON);
    assert_int_equal(coap_format_find(slice_text("text/plain"), &format), OK);
    assert_int_equal(format, COAP_FORMAT_TEXT);
    assert_int_equal(coap_format_find(slice_text("text/plain; charset=latin1"), &format), OK);
    assert_int_equal(coap_format_find(slice_text("image/x-none"), &format), ERR_NOT_FOUND);
    assert_string_equal(coap_format_name(COAP_FORMAT_LINK), "application/link-format");
    assert_null(coap_format_name(9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_and_names),
        cmocka_unit_test(every_code_is_one_thing),
        cmocka_unit_test(formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
