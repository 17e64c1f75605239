#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/coap/block.h"

static void values(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[4];
        size_t n;
        enum err err;
        uint32_t number;
        bool has_more;
        uint8_t szx;
        uint64_t offset;
    } cases[] = {
        {{0}, 0, OK, 0, false, 0, 0}, /* no bytes is the first and last block of 16 */
        {{0x06}, 1, OK, 0, false, 6, 0},
        {{0x0E}, 1, OK, 0, true, 6, 0},
        {{0x16}, 1, OK, 1, false, 6, 1024},
        {{0xF8}, 1, OK, 15, true, 0, 240},
        {{0x10, 0x0A}, 2, OK, 256, true, 2, 16384},
        {{0xFF, 0xFF, 0xFE}, 3, OK, COAP_BLOCK_NUMBER_MAX, true, 6, 1073740800},
        {{0x0F, 0xFF, 0xF6}, 3, OK, 0xFFFF, false, 6, 67107840}, /* past 16 bits of number */
        {{0x07}, 1, ERR_MALFORMED, 0, false, 0, 0},
        {{0xFF, 0xFF, 0xFF}, 3, ERR_MALFORMED, 0, false, 0, 0},
        {{0, 0, 0, 6}, 4, ERR_TOO_LARGE, 0, false, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct coap_block b = {.szx = 99}, back;
        assert_int_equal(coap_block_decode(slice_of(cases[i].bytes, cases[i].n), &b), cases[i].err);
        if (cases[i].err != OK) {
            assert_int_equal(b.szx, 99);
            continue;
        }
        assert_int_equal(b.number, cases[i].number);
        assert_int_equal(b.has_more, cases[i].has_more);
        assert_int_equal(b.szx, cases[i].szx);
        assert_true(coap_block_offset(b) == cases[i].offset);
        assert_int_equal(coap_block_at(cases[i].offset, b.szx, b.has_more, &back), OK);
        assert_int_equal(coap_block_value(back), coap_block_value(b));
    }
}

static void all_values_come_back(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 1 << 24; v += 251) {
        uint8_t bytes[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        struct coap_block b;
        if (coap_block_decode(slice_of(bytes, 3), &b) == OK) {
            assert_int_equal(coap_block_value(b), v);
        } else {
            assert_int_equal(v & 7, 7);
        }
    }
}

static void numbers_end(void **state)
{
    (void)state;
    struct coap_block b = {0};
    uint64_t last = (uint64_t)COAP_BLOCK_NUMBER_MAX * 16;
    assert_int_equal(coap_block_at(last, 0, false, &b), OK);
    assert_int_equal(b.number, COAP_BLOCK_NUMBER_MAX);
    assert_int_equal(coap_block_at(last + 16, 0, false, &b), ERR_LIMIT);
    assert_int_equal(coap_block_at(UINT64_MAX, 6, false, &b), ERR_LIMIT);
}

static void found_among_options(void **state)
{
    (void)state;
    uint8_t bytes[32];
    struct slice options;
    struct coap_block b;
    struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
    coap_option_add_uint(&o, COAP_OPTION_BLOCK2, 0x17);
    coap_option_add_uint(&o, COAP_OPTION_BLOCK1, 0x2E);
    assert_int_equal(coap_option_writer_done(&o, &options), OK);
    assert_int_equal(coap_block_find(options, COAP_OPTION_BLOCK1, &b), OK);
    assert_int_equal(b.number, 2);
    assert_int_equal(coap_block_find(options, COAP_OPTION_BLOCK2, &b), ERR_MALFORMED);
    assert_int_equal(coap_block_find(slice_text(""), COAP_OPTION_BLOCK1, &b), ERR_NOT_FOUND);
}

/* SPEC: RFC8323 6 */
static void many_at_once(void **state)
{
    uint8_t bytes[16];
    struct slice options;
    struct coap_block b;
    bool is_bert = false;
    struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
    (void)state;
    coap_option_add_uint(&o, COAP_OPTION_BLOCK2, 0x26);
    coap_option_add_uint(&o, COAP_OPTION_BLOCK1, 0x3F);
    assert_int_equal(coap_option_writer_done(&o, &options), OK);
    assert_int_equal(coap_block_find_bert(options, COAP_OPTION_BLOCK1, &b, &is_bert), OK);
    assert_true(is_bert && b.number == 3 && b.szx == COAP_BLOCK_SZX_MAX && b.has_more);
    assert_int_equal(coap_block_find_bert(options, COAP_OPTION_BLOCK2, &b, &is_bert), OK);
    assert_true(!is_bert && b.number == 2 && b.szx == COAP_BLOCK_SZX_MAX && !b.has_more);
    assert_int_equal(coap_block_find_bert(slice_text(""), COAP_OPTION_BLOCK1, &b, &is_bert),
                     ERR_NOT_FOUND);
}

static void cuts(void **state)
{
    (void)state;
    uint8_t body[40];
    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] = (uint8_t)i;
    }
    static const struct {
        size_t n;
        uint32_t number;
        enum err err;
        size_t piece;
        bool has_more;
    } cases[] = {
        {0, 0, OK, 0, false},
        {0, 1, ERR_NOT_FOUND, 0, false},
        {1, 0, OK, 1, false},
        {15, 0, OK, 15, false},
        {16, 0, OK, 16, false},
        {16, 1, ERR_NOT_FOUND, 0, false},
        {17, 0, OK, 16, true},
        {17, 1, OK, 1, false},
        {40, 1, OK, 16, true},
        {40, 2, OK, 8, false},
        {40, 3, ERR_NOT_FOUND, 0, false},
        {40, COAP_BLOCK_NUMBER_MAX, ERR_NOT_FOUND, 0, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct coap_block got, want = {.number = cases[i].number, .has_more = true};
        struct slice piece;
        enum err err = coap_block_cut(slice_of(body, cases[i].n), want, &got, &piece);
        assert_int_equal(err, cases[i].err);
        if (err == OK) {
            assert_int_equal(piece.n, cases[i].piece);
            assert_int_equal(got.has_more, cases[i].has_more);
            assert_true(piece.n == 0 || piece.p[0] == 16 * cases[i].number);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),      cmocka_unit_test(all_values_come_back),
        cmocka_unit_test(numbers_end), cmocka_unit_test(found_among_options),
        cmocka_unit_test(cuts),        cmocka_unit_test(many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
