/* The tables of topic aliases: limits, replaced names, memory. */
#include "engine/topic_alias.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"

static void names_are_copied(void **state)
{
    (void)state;
    struct topic_aliases t = {0};
    char name[] = "plant/a";
    assert_int_equal(topic_alias_name(&t, 1).n, 0);
    assert_int_equal(topic_alias_set(&t, 1, slice_text(name)), OK);
    name[0] = 'X';
    assert_true(slice_is(topic_alias_name(&t, 1), "plant/a"));
    assert_int_equal(topic_alias_set(&t, 1, topic_alias_name(&t, 1)), OK); /* itself */
    assert_true(slice_is(topic_alias_name(&t, 1), "plant/a"));
    assert_int_equal(topic_alias_set(&t, TOPIC_ALIASES_MAX, slice_text("last")), OK);
    assert_true(slice_is(topic_alias_name(&t, TOPIC_ALIASES_MAX), "last"));
    assert_int_equal(topic_alias_name(&t, TOPIC_ALIASES_MAX + 1).n, 0);
    assert_int_equal(topic_alias_name(&t, 0).n, 0);
    assert_int_equal(topic_alias_name(&t, 2).n, 0);
    topic_aliases_done(&t);
    assert_int_equal(topic_alias_name(&t, 1).n, 0);
}

/* The first ones keep their numbers for good, at most as many as there are. */
static void first_come(void **state)
{
    (void)state;
    struct topic_aliases t = {0};
    char name[16];
    for (unsigned i = 1; i <= TOPIC_ALIASES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "topic/%u", i);
        assert_int_equal(topic_alias_find(&t, slice_text(name)), 0);
        assert_int_equal(topic_alias_next(&t, slice_text(name), (uint16_t)(i - 1)), 0);
        assert_int_equal(topic_alias_next(&t, slice_text(name), UINT16_MAX), i);
        assert_int_equal(topic_alias_add(&t, slice_text(name)), OK);
        assert_int_equal(topic_alias_find(&t, slice_text(name)), i);
    }
    assert_int_equal(topic_alias_next(&t, slice_text("one more"), UINT16_MAX), 0);
    assert_int_equal(topic_alias_find(&t, slice_text("topic/1")), 1);
    topic_aliases_done(&t);
    assert_int_equal(topic_alias_next(&t, slice_text("abc"), 8), 0);
    assert_int_equal(topic_alias_next(&t, slice_text("abcd"), 8), 1);
}

static void no_memory(void **state)
{
    (void)state;
    struct topic_aliases t = {0};
    for (long n = 0; n < 2; n++) {
        (void)mem_fail_after(n);
        assert_int_equal(topic_alias_add(&t, slice_text("name")), ERR_NOMEM);
        assert_int_equal(topic_alias_find(&t, slice_text("name")), 0);
    }
    (void)mem_fail_after(-1);
    assert_int_equal(topic_alias_add(&t, slice_text("name")), OK);
    (void)mem_fail_after(0);
    assert_int_equal(topic_alias_set(&t, 1, slice_text("other")), ERR_NOMEM);
    (void)mem_fail_after(-1);
    assert_true(slice_is(topic_alias_name(&t, 1), "name"));
    topic_aliases_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_copied),
        cmocka_unit_test(first_come),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
