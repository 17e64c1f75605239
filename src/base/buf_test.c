#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"

static void grows_and_keeps_contents(void **state)
{
    (void)state;
    AUTO(buf_done) struct buf b = {0};
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        assert_int_equal(buf_append(&b, slice_of(&byte, 1), 3000), OK);
    }
    assert_int_equal(b.n, 3000);
    assert_true(b.cap <= 3000);
    for (unsigned i = 0; i < 3000; i++) {
        assert_int_equal(b.p[i], (uint8_t)(i * 7));
    }
}

static void the_limit_is_exact(void **state)
{
    (void)state;
    AUTO(buf_done) struct buf b = {0};
    uint8_t *p = NULL;
    assert_int_equal(buf_append(&b, slice_text("12345"), 5), OK);
    assert_int_equal(buf_append(&b, slice_text("6"), 5), ERR_TOO_LARGE);
    assert_int_equal(buf_room(&b, SIZE_MAX, SIZE_MAX, &p), ERR_TOO_LARGE);
    assert_int_equal(buf_room(&b, 0, 4, &p), ERR_TOO_LARGE); /* more there than allowed now */
    assert_null(p);
    assert_true(slice_is(buf_slice(&b), "12345"));
    assert_int_equal(buf_append(&b, slice_text("6"), 6), OK);
}

static void nothing_is_a_size_too(void **state)
{
    (void)state;
    AUTO(buf_done) struct buf b = {0};
    uint8_t *p = NULL;
    assert_int_equal(buf_append(&b, (struct slice){0}, 0), OK);
    assert_int_equal(buf_room(&b, 0, 0, &p), OK);
    assert_int_equal(buf_slice(&b).n, 0);
    buf_drop(&b, 0);
}

static void dropping_moves_the_rest(void **state)
{
    (void)state;
    AUTO(buf_done) struct buf b = {0};
    assert_int_equal(buf_append(&b, slice_text("abcdef"), 100), OK);
    buf_drop(&b, 2);
    assert_true(slice_is(buf_slice(&b), "cdef"));
    buf_drop(&b, 4);
    assert_int_equal(b.n, 0);
    assert_int_equal(buf_append(&b, slice_text("x"), 100), OK);
    size_t cap = b.cap;
    buf_clear(&b);
    assert_int_equal(b.n, 0);
    assert_int_equal(b.cap, cap);
}

static void no_memory_changes_nothing(void **state)
{
    (void)state;
    AUTO(buf_wipe) struct buf b = {0};
    (void)mem_fail_after(0);
    assert_int_equal(buf_append(&b, slice_text("a"), 1000), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_int_equal(buf_append(&b, slice_text("a"), 1000), OK);
    static const uint8_t large[500];
    (void)mem_fail_after(0);
    assert_int_equal(buf_append(&b, slice_of(large, sizeof large), 1000), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_true(slice_is(buf_slice(&b), "a"));
}

static void releasing_leaves_an_empty_one(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_append(&b, slice_text("secret"), 100), OK);
    buf_wipe(&b);
    assert_null(b.p);
    assert_int_equal(b.n + b.cap, 0);
    assert_int_equal(buf_append(&b, slice_text("again"), 100), OK);
    buf_done(&b);
    buf_done(&b);
    buf_done(NULL);
    buf_wipe(NULL);
    assert_null(buf_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_keeps_contents),
        cmocka_unit_test(the_limit_is_exact),
        cmocka_unit_test(nothing_is_a_size_too),
        cmocka_unit_test(dropping_moves_the_rest),
        cmocka_unit_test(no_memory_changes_nothing),
        cmocka_unit_test(releasing_leaves_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
