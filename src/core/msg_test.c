#include <pthread.h>
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

/* Workers share messages: each thread takes and gives back references of its own. */
static void *share(void *arg)
{
    const struct msg *m = arg;
    for (int i = 0; i < 20000; i++) {
        msg_ref_n(m, 3);
        msg_unref(m);
        msg_unref(m);
        msg_unref(m);
    }
    return NULL;
}

static void *let_go(void *arg)
{
    const struct msg *m = arg;
    assert_int_equal(m->payload.n, 5);
    msg_unref(m);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct msg *m = NULL;
    pthread_t threads[2];
    assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, slice_text("hello"), &m), OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, share, m), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(m->refs, 1);
    msg_ref(m);
    for (int i = 0; i < 2; i++) { /* the last one frees it, whichever that is */
        assert_int_equal(pthread_create(&threads[i], NULL, let_go, m), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
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
        cmocka_unit_test(test_new),       cmocka_unit_test(test_empty_parts),
        cmocka_unit_test(test_refs),      cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
