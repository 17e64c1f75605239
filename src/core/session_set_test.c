#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "core/session_set.h"

static const struct siphash_key KEY = {.k0 = 1, .k1 = 2};

enum { MANY = 40 };

static struct session *session_of(const char *client_id)
{
    struct session *s = NULL;
    assert_int_equal(session_new(1, NULL, slice_text(client_id), false, &s), OK);
    return s;
}

static unsigned count(const struct session_set *set)
{
    size_t at = 0;
    unsigned n = 0;
    while (session_set_next(set, &at) != NULL) {
        n++;
    }
    assert_int_equal(n, set->n);
    return n;
}

static void the_first_needs_no_memory(void **state)
{
    (void)state;
    struct session_set set = {0};
    struct session *a = session_of("a"), *again = session_of("a");
    assert_null(session_set_find(&set, slice_text("a")));
    assert_int_equal(count(&set), 0);
    mem_fail_after(0);
    assert_int_equal(session_set_add(&set, &KEY, a), OK);
    assert_false(mem_fail_after(-1));
    assert_false(set.has_table);
    assert_ptr_equal(session_set_find(&set, slice_text("a")), a);
    assert_null(session_set_find(&set, slice_text("b")));
    assert_int_equal(session_set_add(&set, &KEY, again), ERR_EXISTS);
    assert_int_equal(count(&set), 1);
    session_set_remove(&set, a);
    assert_int_equal(count(&set), 0);
    assert_null(session_set_find(&set, slice_text("a")));
    session_set_done(&set);
    session_free(a);
    session_free(again);
}

static void the_second_takes_a_table_or_changes_nothing(void **state)
{
    (void)state;
    struct session_set set = {0};
    struct session *a = session_of("a"), *b = session_of("b");
    assert_int_equal(session_set_add(&set, &KEY, a), OK);
    for (long i = 0; i < 2; i++) {
        mem_fail_after(i);
        assert_int_equal(session_set_add(&set, &KEY, b), ERR_NOMEM);
        assert_true(mem_fail_after(-1));
        assert_false(set.has_table);
        assert_ptr_equal(session_set_find(&set, slice_text("a")), a);
        assert_int_equal(count(&set), 1);
    }
    assert_int_equal(session_set_add(&set, &KEY, b), OK);
    assert_int_equal(session_set_add(&set, &KEY, b), ERR_EXISTS);
    assert_int_equal(count(&set), 2);
    session_set_remove(&set, a);
    assert_null(session_set_find(&set, slice_text("a")));
    assert_ptr_equal(session_set_find(&set, slice_text("b")), b);
    session_set_remove(&set, b);
    assert_int_equal(session_set_add(&set, &KEY, a), OK); /* the table stays */
    assert_ptr_equal(session_set_find(&set, slice_text("a")), a);
    assert_int_equal(count(&set), 1);
    session_set_done(&set);
    session_free(a);
    session_free(b);
}

static void what_was_returned_may_go(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= MANY; n += MANY - 1) {
        struct session_set set = {0};
        for (unsigned i = 0; i < n; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "c%u", i);
            assert_int_equal(session_set_add(&set, &KEY, session_of(name)), OK);
        }
        assert_int_equal(count(&set), n);
        size_t at = 0;
        struct session *s;
        while ((s = session_set_next(&set, &at)) != NULL) {
            session_set_remove(&set, s);
            session_free(s);
        }
        assert_int_equal(count(&set), 0);
        session_set_done(&set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_needs_no_memory),
        cmocka_unit_test(the_second_takes_a_table_or_changes_nothing),
        cmocka_unit_test(what_was_returned_may_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
