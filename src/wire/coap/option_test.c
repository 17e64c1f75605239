#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/coap/option.h"

static uint8_t block[4096];

static struct slice one(uint16_t number, size_t n_bytes)
{
    static uint8_t value[2048];
    memset(value, 'a', sizeof(value));
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_option_add(&o, number, slice_of(value, n_bytes));
    struct slice options = {0};
    assert_int_equal(coap_option_writer_done(&o, &options), OK);
    return options;
}

static void table_is_consistent(void **state)
{
    (void)state;
    size_t n = 0;
    for (uint32_t number = 0; number <= UINT16_MAX; number++) {
        const struct coap_option_info *info = coap_option_find((uint16_t)number);
        if (info == NULL) {
            continue;
        }
        n++;
        assert_int_equal(info->number, number);
        assert_true(info->min_bytes <= info->max_bytes);
        /* The bit set of understood options reaches every critical one. */
        assert_true(!coap_option_is_critical(info->number) || info->number < 64);
    }
    assert_int_equal(n, 27);
}

static void properties(void **state)
{
    (void)state;
    assert_true(coap_option_is_critical(COAP_OPTION_URI_PATH));
    assert_false(coap_option_is_critical(COAP_OPTION_OBSERVE));
    assert_true(coap_option_is_unsafe(COAP_OPTION_OBSERVE));
    assert_false(coap_option_is_unsafe(COAP_OPTION_ETAG));
    assert_true(coap_option_is_no_cache_key(COAP_OPTION_SIZE1));
    assert_true(coap_option_is_no_cache_key(COAP_OPTION_ECHO));
    assert_false(coap_option_is_no_cache_key(COAP_OPTION_ACCEPT));
}

/* Every row's lengths at min - 1, min, max, max + 1. */
static void lengths(void **state)
{
    (void)state;
    for (uint16_t number = 0; number < 300; number++) {
        const struct coap_option_info *info = coap_option_find(number);
        if (info == NULL) {
            continue;
        }
        const size_t sizes[] = {(size_t)info->min_bytes - 1, info->min_bytes, info->max_bytes,
                                (size_t)info->max_bytes + 1};
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            if (sizes[i] == SIZE_MAX) {
                continue;
            }
            bool is_valid = sizes[i] >= info->min_bytes && sizes[i] <= info->max_bytes;
            struct slice options = one(number, sizes[i]), value;
            uint16_t bad = 0;
            enum err e = coap_options_check(options, UINT64_MAX, &bad);
            bool is_refused = coap_option_is_critical(number) && !is_valid;
            assert_int_equal(e, is_refused ? ERR_UNSUPPORTED : OK);
            assert_int_equal(bad, is_refused ? number : 0);
            assert_int_equal(coap_options_find(options, number, &value), is_valid);
        }
    }
}

static void repetition(void **state)
{
    (void)state;
    for (uint16_t number = 0; number < 300; number++) {
        const struct coap_option_info *info = coap_option_find(number);
        if (info == NULL) {
            continue;
        }
        struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
        struct slice value = slice_of("aa", info->min_bytes), options;
        coap_option_add(&o, number, value);
        coap_option_add(&o, number, value);
        assert_int_equal(coap_option_writer_done(&o, &options), OK);
        uint16_t bad = 0;
        bool is_refused = coap_option_is_critical(number) && !info->repeatable;
        assert_int_equal(coap_options_check(options, UINT64_MAX, &bad),
                         is_refused ? ERR_UNSUPPORTED : OK);
    }
}

static void understanding(void **state)
{
    (void)state;
    uint16_t bad = 0;
    assert_int_equal(coap_options_check(one(COAP_OPTION_BLOCK1, 1), COAP_OPTIONS_SERVED, &bad),
                     ERR_UNSUPPORTED);
    assert_int_equal(bad, COAP_OPTION_BLOCK1);
    assert_int_equal(coap_options_check(one(COAP_OPTION_URI_PATH, 1), COAP_OPTIONS_SERVED, &bad),
                     OK);
    assert_int_equal(coap_options_check(one(65001, 0), UINT64_MAX, &bad), ERR_UNSUPPORTED);
    assert_int_equal(bad, 65001);
    assert_int_equal(coap_options_check(one(65000, 0), 0, &bad), OK);
    /* 75 = 11 + 64: a shift past the set's end must not find Uri-Path's bit. */
    assert_int_equal(coap_options_check(one(75, 0), UINT64_MAX, &bad), ERR_UNSUPPORTED);
    assert_int_equal(coap_options_check(slice_text("\xf0"), UINT64_MAX, &bad), ERR_MALFORMED);
}

static void bad_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"\xff", "\xc0\x80", "\xed\xa0\x80", "ab\xe2\x82"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
        coap_option_add(&o, COAP_OPTION_URI_PATH, slice_text(texts[i]));
        struct slice options;
        uint16_t bad = 0;
        assert_int_equal(coap_option_writer_done(&o, &options), OK);
        assert_int_equal(coap_options_check(options, UINT64_MAX, &bad), ERR_UNSUPPORTED);
    }
}

static void finding(void **state)
{
    (void)state;
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_option_add(&o, COAP_OPTION_ETAG, slice_text("far too long for one"));
    coap_option_add(&o, COAP_OPTION_ETAG, slice_text("good"));
    coap_option_add_uint(&o, COAP_OPTION_MAX_AGE, 300);
    struct slice options, value;
    uint32_t number = 0;
    assert_int_equal(coap_option_writer_done(&o, &options), OK);
    assert_true(coap_options_find(options, COAP_OPTION_ETAG, &value));
    assert_true(slice_is(value, "good"));
    assert_true(coap_options_find_uint(options, COAP_OPTION_MAX_AGE, &number));
    assert_int_equal(number, 300);
    assert_false(coap_options_find(options, COAP_OPTION_OBSERVE, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_consistent),
        cmocka_unit_test(properties),
        cmocka_unit_test(lengths),
        cmocka_unit_test(repetition),
        cmocka_unit_test(understanding),
        cmocka_unit_test(bad_text),
        cmocka_unit_test(finding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
