#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "core/msg.h"

static void test_new(void **state)
{
    (void)state;
    char topic[] = "a/b", props[] = "PP", payload[] = "hello";
    struct msg *m = NULL;
    assert_int_equal(msg_new(slice_text(topic), slice_text(props), slice_text(payload), &m), OK);
    memset(topic, 'x', 3);
    memset(props, 'x', 2);
    memset(payload, 'x', 5);
    assert_true(slice_is(m->topic, "a/b")); /* copied */
    assert_true(slice_is(m->props, "PP"));
    assert_true(slice_is(m->payload, "hello"));
    assert_true(m->expires_at_ms == UINT64_MAX);
    assert_int_equal(m->content_format, UINT16_MAX);
    assert_int_equal(m->qos + m->retain + m->is_utf8, 0);
    assert_true(m->publisher == 0 && m->session == 0 && m->epoch == 0 && m->number == 0);
    assert_int_equal(msg_cost(m), sizeof *m + 10);
    msg_unref(m);
}

static void test_empty_parts(void **state)
{
    (void)state;
    struct msg *m = NULL;
    struct slice none = {0};
    assert_int_equal(msg_new(slice_text("t"), none, none, &m), OK);
    assert_int_equal(m->props.n + m->payload.n, 0);
    assert_int_equal(msg_cost(m), sizeof *m + 1);
    msg_unref(m);
}

static void test_refs(void **state)
{
    (void)state;
    struct msg *m = NULL;
    struct slice none = {0};
    assert_int_equal(msg_new(slice_text("t"), none, none, &m), OK);
    assert_ptr_equal(msg_ref_n(m, 3), m);
    assert_ptr_equal(msg_ref(m), m);
    assert_int_equal(m->refs, 5);
    assert_ptr_equal(msg_ref_n(m, 0), m);
    for (int left = 5; left > 0; left--) {
        assert_int_equal(m->refs, left);
        assert_null(msg_unref(m));
    }
    assert_null(msg_unref(NULL));
}

static void test_no_memory(void **state)
{
    (void)state;
    struct msg *m = NULL;
    struct slice none = {0}, huge = {.p = (const uint8_t *)"", .n = SIZE_MAX - 8};
    mem_fail_after(0);
    assert_int_equal(msg_new(slice_text("t"), none, none, &m), ERR_NOMEM);
    mem_fail_after(-1);
    assert_int_equal(msg_new(huge, none, none, &m), ERR_NOMEM);
    assert_int_equal(msg_new(huge, huge, huge, &m), ERR_NOMEM);
    assert_null(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_empty_parts),
        cmocka_unit_test(test_refs),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
