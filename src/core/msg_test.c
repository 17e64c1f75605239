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

static struct msg *on_record(void)
{
    struct msg *m = NULL;
    assert_int_equal(msg_new(slice_text("t/a"), slice_text("prop"), slice_text("hello"), &m), OK);
    m->qos = 1;
    m->retain = m->is_utf8 = true;
    m->expires_at_ms = 77;
    m->publisher = 3;
    m->session = 4;
    m->epoch = 5;
    m->number = 6;
    m->body_id = 7;
    m->for_group = 8;
    m->segment = 9;
    m->content_format = 10;
    return m;
}

static void assert_same_facts(const struct msg *a, const struct msg *b)
{
    assert_true(slice_equal(a->topic, b->topic));
    assert_int_equal(a->qos, b->qos);
    assert_true(a->retain == b->retain && a->is_utf8 == b->is_utf8);
    assert_int_equal(a->expires_at_ms, b->expires_at_ms);
    assert_int_equal(a->publisher, b->publisher);
    assert_int_equal(a->session, b->session);
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->number, b->number);
    assert_int_equal(a->body_id, b->body_id);
    assert_int_equal(a->for_group, b->for_group);
    assert_int_equal(a->segment, b->segment);
    assert_int_equal(a->content_format, b->content_format);
    assert_int_equal(msg_cost(a), msg_cost(b));
}

static void test_husk(void **state)
{
    (void)state;
    struct msg *m = on_record();
    const struct msg *husk = NULL, *again = NULL, *whole = NULL;
    assert_false(msg_is_husk(m));
    assert_int_equal(msg_away(m), 9);
    mem_fail_after(0);
    assert_int_equal(msg_husk(m, &husk), ERR_NOMEM);
    mem_fail_after(-1);
    assert_int_equal(msg_husk(m, &husk), OK);
    assert_int_equal(msg_husk(m, &again), OK);
    assert_ptr_equal(husk, again); /* who else lets go shares it */
    msg_unref(again);
    assert_true(msg_is_husk(husk));
    assert_int_equal(msg_away(husk), 0);
    assert_same_facts(m, husk);
    msg_unref(m);
    const struct {
        struct slice props, payload;
        enum err want;
    } cases[] = {
        {slice_text("prop"), slice_text("hell"), ERR_MALFORMED},
        {slice_text("prop"), slice_text("hello!"), ERR_MALFORMED},
        {slice_text(""), slice_text("hello"), ERR_MALFORMED},
        {slice_text("prop"), slice_text("hello"), OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(msg_whole(husk, cases[i].props, cases[i].payload, &whole), cases[i].want);
    }
    assert_same_facts(whole, husk);
    assert_true(slice_is(whole->payload, "hello") && slice_is(whole->props, "prop"));
    msg_unref(husk);
    assert_int_equal(msg_husk(whole, &again), OK); /* back to the one it came from */
    assert_ptr_equal(again, husk);
    mem_fail_after(0);
    const struct msg *none = NULL;
    assert_int_equal(msg_whole(again, slice_text("prop"), slice_text("hello"), &none), ERR_NOMEM);
    mem_fail_after(-1);
    assert_null(none);
    msg_unref(whole);
    msg_unref(again);
}

enum { HUSKS = 2000 };

static void *ask_for_husks(void *arg)
{
    const struct msg *const *all = arg;
    for (int i = 0; i < HUSKS; i++) {
        const struct msg *husk = NULL;
        assert_int_equal(msg_husk(all[i], &husk), OK);
        assert_true(msg_is_husk(husk));
        msg_unref(all[i]);
        msg_unref(husk);
    }
    return NULL;
}

/* Workers let go of the same messages at once: one husk each, and nothing is left. */
static void test_husk_threads(void **state)
{
    (void)state;
    static const struct msg *all[HUSKS];
    pthread_t threads[2];
    for (int i = 0; i < HUSKS; i++) {
        all[i] = msg_ref(on_record());
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_husks, all), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),          cmocka_unit_test(test_empty_parts),
        cmocka_unit_test(test_refs),         cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_memory),    cmocka_unit_test(test_husk),
        cmocka_unit_test(test_husk_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
