#include "base/wr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const uint8_t golden[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
                                 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x00, 0x02, 'h',  'i'};

static enum err write_all(uint8_t *dst, size_t cap, size_t *ret_n)
{
    struct wr w = wr_into(dst, cap);
    wr_u8(&w, 0x01);
    wr_u16(&w, 0x0203);
    wr_u32(&w, 0x04050607);
    wr_u64(&w, UINT64_C(0x08090a0b0c0d0e0f));
    wr_block16(&w, slice_text("hi"));
    assert_int_equal(wr_slice(&w).n, wr_ok(&w) ? sizeof golden : 0);
    assert_int_equal(wr_left(&w), wr_ok(&w) ? cap - sizeof golden : 0);
    return wr_done(&w, ret_n);
}

static void fits_exactly_or_not_at_all(void **state)
{
    (void)state;
    for (size_t cap = 0; cap <= sizeof golden + 1; cap++) {
        uint8_t dst[sizeof golden + 2];
        memset(dst, 0xee, sizeof dst);
        size_t n = 77;
        enum err e = write_all(dst, cap, &n);
        assert_int_equal(e, cap >= sizeof golden ? OK : ERR_SPACE);
        assert_int_equal(n, cap >= sizeof golden ? sizeof golden : 77);
        for (size_t i = cap; i < sizeof dst; i++) {
            assert_int_equal(dst[i], 0xee); /* never past cap */
        }
        if (e == OK) {
            assert_memory_equal(dst, golden, sizeof golden);
        }
    }
}

static void the_first_error_sticks(void **state)
{
    (void)state;
    uint8_t dst[8] = {0};
    struct wr w = wr_into(dst, sizeof dst);
    wr_u64(&w, 1);
    wr_u8(&w, 2); /* one too many */
    wr_fail(&w, ERR_LIMIT);
    assert_null(wr_reserve(&w, 0));
    size_t n = 0;
    assert_int_equal(wr_done(&w, &n), ERR_SPACE);
    assert_int_equal(wr_left(&w), 0);
}

static void a_later_smaller_write_does_not_sneak_in(void **state)
{
    (void)state;
    uint8_t dst[3] = {0};
    struct wr w = wr_into(dst, sizeof dst);
    wr_u32(&w, 0xffffffff);
    wr_u8(&w, 0xff);
    assert_int_equal(dst[0], 0);
    assert_false(wr_ok(&w));
}

static void blocks_end_at_65535(void **state)
{
    (void)state;
    static uint8_t block[65536];
    static uint8_t dst[sizeof block + 2];
    size_t n = 0;
    struct wr w = wr_into(dst, sizeof dst);
    wr_block16(&w, slice_of(block, 65535));
    assert_int_equal(wr_done(&w, &n), OK);
    assert_int_equal(n, 65537);
    w = wr_into(dst, sizeof dst);
    wr_block16(&w, slice_of(block, 65536));
    assert_int_equal(wr_done(&w, &n), ERR_TOO_LARGE);
}

static void huge_lengths_do_not_wrap(void **state)
{
    (void)state;
    uint8_t dst[8];
    struct wr w = wr_into(dst, sizeof dst);
    wr_u8(&w, 1);
    assert_null(wr_reserve(&w, SIZE_MAX));
    assert_int_equal(w.err, ERR_SPACE);
}

static void nothing_into_nothing(void **state)
{
    (void)state;
    struct wr w = wr_into(NULL, 0);
    wr_bytes(&w, (struct slice){0});
    size_t n = 5;
    assert_int_equal(wr_done(&w, &n), OK);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_exactly_or_not_at_all),
        cmocka_unit_test(the_first_error_sticks),
        cmocka_unit_test(a_later_smaller_write_does_not_sneak_in),
        cmocka_unit_test(blocks_end_at_65535),
        cmocka_unit_test(huge_lengths_do_not_wrap),
        cmocka_unit_test(nothing_into_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
