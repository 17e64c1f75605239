#include "base/rd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"

static const uint8_t golden[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
                                 0x0c, 0x0d, 0x0e, 0x0f, 0x00, 0x02, 'h',  'i',  0x7f, 0x80};

/* One read of every kind: 15 bytes of numbers, a block, one byte, the rest. */
static enum err read_all(struct slice s, size_t *ret_at)
{
    struct rd r = rd_from(s);
    uint8_t a = rd_u8(&r);
    uint16_t b = rd_u16(&r);
    uint32_t c = rd_u32(&r);
    uint64_t d = rd_u64(&r);
    struct slice block = rd_block16(&r);
    uint8_t peeked = rd_peek_u8(&r);
    uint8_t e = rd_u8(&r);
    struct slice rest = rd_bytes(&r, 1);
    *ret_at = r.at;
    enum err result = rd_finish(&r);
    if (result == OK) {
        assert_int_equal(a, 1);
        assert_int_equal(b, 0x0203);
        assert_int_equal(c, 0x04050607);
        assert_true(d == UINT64_C(0x08090a0b0c0d0e0f));
        assert_true(slice_is(block, "hi"));
        assert_int_equal(peeked, 0x7f);
        assert_int_equal(e, 0x7f);
        assert_int_equal(rest.p[0], 0x80);
    }
    return result;
}

static void golden_bytes_and_every_truncation(void **state)
{
    (void)state;
    /* Where each truncation must be met: the start of the read that did not fit. */
    static const size_t starts[] = {0, 1, 3, 7, 15, 17, 19, 20};
    for (size_t n = 0; n <= sizeof golden; n++) {
        uint8_t *exact = mem_alloc(n); /* a read past it is seen by the sanitizer */
        assert_non_null(exact);
        memcpy(exact, golden, n);
        size_t at = 0;
        enum err e = read_all(slice_of(exact, n), &at);
        mem_free(exact);
        assert_int_equal(e, n == sizeof golden ? OK : ERR_TRUNCATED);
        size_t expected = sizeof golden;
        for (size_t i = COUNT_OF(starts); n < sizeof golden && i > 0; i--) {
            if (starts[i - 1] <= n) {
                expected = starts[i - 1];
                break;
            }
        }
        assert_int_equal(at, expected);
    }
}

static void one_byte_more_is_trailing(void **state)
{
    (void)state;
    uint8_t longer[sizeof golden + 1] = {0};
    memcpy(longer, golden, sizeof golden);
    size_t at = 0;
    assert_int_equal(read_all(slice_of(longer, sizeof longer), &at), ERR_TRAILING);
}

static void the_first_error_sticks(void **state)
{
    (void)state;
    struct rd r = rd_from(slice_of(golden, sizeof golden));
    (void)rd_u8(&r);
    rd_fail(&r, ERR_MALFORMED);
    rd_fail(&r, ERR_LIMIT);
    assert_int_equal(rd_u8(&r), 0);
    assert_int_equal(rd_u64(&r), 0);
    assert_int_equal(rd_bytes(&r, 1000).n, 0);
    assert_int_equal(rd_rest(&r).n, 0);
    assert_int_equal(rd_left(&r), 0);
    assert_int_equal(rd_peek_u8(&r), 0);
    assert_false(rd_ok(&r));
    assert_int_equal(r.at, 1);
    assert_int_equal(rd_finish(&r), ERR_MALFORMED);
    struct rd inner = rd_sub(&r, 1);
    assert_int_equal(rd_finish(&inner), ERR_MALFORMED);
}

static void a_sub_reader_sees_only_its_block(void **state)
{
    (void)state;
    struct rd r = rd_from(slice_of(golden, 4));
    struct rd inner = rd_sub(&r, 2);
    assert_int_equal(rd_u16(&inner), 0x0102);
    assert_int_equal(rd_u8(&inner), 0);
    assert_int_equal(rd_finish(&inner), ERR_TRUNCATED);
    assert_true(rd_ok(&r));
    assert_int_equal(rd_u16(&r), 0x0304);
    assert_int_equal(rd_finish(&r), OK);
    struct rd beyond = rd_sub(&r, 1);
    assert_int_equal(rd_finish(&beyond), ERR_TRUNCATED);
    assert_int_equal(rd_finish(&r), ERR_TRUNCATED);
}

static void huge_lengths_do_not_wrap(void **state)
{
    (void)state;
    struct rd r = rd_from(slice_of(golden, 4));
    (void)rd_u16(&r);
    assert_int_equal(rd_bytes(&r, SIZE_MAX).n, 0);
    assert_int_equal(r.err, ERR_TRUNCATED);
    assert_int_equal(r.at, 2);
}

static void empty_is_fine(void **state)
{
    (void)state;
    struct rd r = rd_from((struct slice){0});
    assert_int_equal(rd_bytes(&r, 0).n, 0);
    assert_int_equal(rd_rest(&r).n, 0);
    assert_int_equal(rd_peek_u8(&r), 0);
    assert_int_equal(rd_finish(&r), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_bytes_and_every_truncation),
        cmocka_unit_test(one_byte_more_is_trailing),
        cmocka_unit_test(the_first_error_sticks),
        cmocka_unit_test(a_sub_reader_sees_only_its_block),
        cmocka_unit_test(huge_lengths_do_not_wrap),
        cmocka_unit_test(empty_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
