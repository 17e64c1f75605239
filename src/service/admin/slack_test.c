#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/scope.h"
#include "service/admin/slack.h"

enum { MIB = 1 << 20 };

static void what_is_in_use_is_no_reason(void **state)
{
    struct slack s = {0};
    (void)state;
    assert_false(slack_is_due(&s, 20 * MIB, 10 * MIB));
    assert_false(slack_is_due(&s, 500 * MIB, 490 * MIB));
    assert_false(slack_is_due(&s, 510 * MIB, 500 * MIB));
    assert_false(slack_is_due(&s, 10 * MIB, 20 * MIB)); /* what is in use may have no page yet */
    assert_true(slack_is_due(&s, 10 * MIB, 10 * MIB));
}

static void what_was_freed_is_one(void **state)
{
    struct slack s = {0};
    (void)state;
    assert_false(slack_is_due(&s, 20 * MIB, 10 * MIB));
    assert_false(slack_is_due(&s, 60 * MIB, 50 * MIB));
    assert_false(slack_is_due(&s, 60 * MIB, 50 * MIB - SLACK_WORTH_BYTES + 1));
    assert_true(slack_is_due(&s, 60 * MIB, 50 * MIB - SLACK_WORTH_BYTES));
    assert_true(slack_is_due(&s, 60 * MIB, 10 * MIB)); /* until it is said that one was */
}

static void what_a_trim_could_not_give_back_is_none(void **state)
{
    struct slack s = {0};
    (void)state;
    assert_false(slack_is_due(&s, 20 * MIB, 10 * MIB));
    assert_true(slack_is_due(&s, 60 * MIB, 10 * MIB));
    for (int i = 0; i < SLACK_TRIES; i++) {
        assert_true(slack_is_due(&s, 30 * MIB, 10 * MIB)); /* the last tries were not enough */
        slack_trimmed(&s, 30 * MIB, 10 * MIB);
    }
    assert_false(slack_is_due(&s, 30 * MIB, 10 * MIB));
    assert_true(slack_is_due(&s, 30 * MIB + SLACK_WORTH_BYTES, 10 * MIB));
    /* Once it was less again, that counts. */
    assert_false(slack_is_due(&s, 30 * MIB, 25 * MIB));
    assert_true(slack_is_due(&s, 30 * MIB, 25 * MIB - SLACK_WORTH_BYTES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_use_is_no_reason),
        cmocka_unit_test(what_was_freed_is_one),
        cmocka_unit_test(what_a_trim_could_not_give_back_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
