#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "core/groups.h"

enum { MEMBERS = 4 };

static const struct siphash_key key = {1, 2};
static const char *const text = "$share/g/t/+";

struct table {
    struct filters *filters;
    struct groups *groups;
    struct subscriber sessions[MEMBERS];
    uint64_t loads[MEMBERS + 1]; /* by id */
};

static int open_table(void **state)
{
    struct table *t = mem_zalloc(sizeof(*t));
    assert_int_equal(filters_new(&key, &t->filters), OK);
    assert_int_equal(groups_new(&key, t->filters, &t->groups), OK);
    for (size_t i = 0; i < MEMBERS; i++) {
        subscriber_init(&t->sessions[i], SUBSCRIBER_SESSION, i % 2 == 1);
    }
    *state = t;
    return 0;
}

static int close_table(void **state)
{
    struct table *t = *state;
    for (size_t i = 0; i < MEMBERS; i++) {
        struct list_node *n;
        while ((n = list_first(&t->sessions[i].subs)) != NULL) {
            struct sub *sub = LIST_ENTRY(n, struct sub, in_subscriber);
            struct interest_change ignored;
            if (sub->is_member) {
                groups_leave(t->groups, sub->member);
            } else {
                filters_remove(t->filters, sub, &ignored);
            }
        }
    }
    groups_free(t->groups);
    filters_free(t->filters);
    mem_free(t);
    return 0;
}

/* Member `id`; session `at` of this worker, or (MEMBERS) one on another. */
static struct member *put(struct table *t, const char *filter, uint64_t id, size_t at)
{
    struct member_facts facts = {
        .id = id, .session = id, .worker = at < MEMBERS ? 0 : 1, .is_connected = true};
    struct member *m = NULL;
    assert_int_equal(groups_put(t->groups, slice_text(filter), &facts,
                                at < MEMBERS ? &t->sessions[at] : NULL, &m),
                     OK);
    return m;
}

static uint64_t load(void *ctx, const struct member *m)
{
    return ((const struct table *)ctx)->loads[m->facts.id];
}

static uint64_t picked(struct table *t, const char *filter)
{
    const struct member *m = group_pick(groups_find(t->groups, slice_text(filter)), load, t);
    return m != NULL ? m->facts.id : 0;
}

/* SPEC: MQTT5 4.8.2 */
static void everybody_has_a_turn(void **state)
{
    struct table *t = *state;
    put(t, text, 1, 0);
    put(t, text, 2, MEMBERS);
    put(t, text, 3, 2);
    for (uint64_t i = 0; i < 9; i++) {
        assert_int_equal(picked(t, text), i % 3 + 1);
    }
}

static void the_least_loaded_is_picked(void **state)
{
    struct table *t = *state;
    static const struct {
        uint64_t loads[3], picked;
    } cases[] = {
        {{5, 0, 0}, 2},
        {{5, GROUP_ASLEEP, 9}, 1},
        {{GROUP_ASLEEP + 2, GROUP_ASLEEP + 1, GROUP_NEVER}, 2},
        {{GROUP_FULL, GROUP_ASLEEP + 1000, GROUP_NEVER}, 2},
        {{GROUP_NEVER, GROUP_NEVER, GROUP_FULL}, 3},
        {{GROUP_NEVER, GROUP_NEVER, GROUP_NEVER}, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct member *members[3];
        for (uint64_t id = 1; id <= 3; id++) {
            members[id - 1] = put(t, text, id, (size_t)id - 1);
            t->loads[id] = cases[i].loads[id - 1];
        }
        assert_int_equal(picked(t, text), cases[i].picked);
        for (size_t m = 0; m < 3; m++) {
            groups_leave(t->groups, members[m]);
        }
    }
}

/* One place in a match for each group, with room for one identifier; members are not found, and no
 * other worker is told. */
static void a_group_is_one_subscriber(void **state)
{
    struct table *t = *state;
    struct interest_change change;
    struct match match;
    struct sub *sub = NULL;
    put(t, text, 1, 0);
    put(t, text, 2, 1);
    put(t, "$share/h/t/+", 3, 0);
    put(t, "$share/g/t/#", 4, MEMBERS);
    assert_int_equal(filters_sub_count(t->filters), 3);
    assert_null(filters_find(t->filters, slice_text("t/+"), &t->sessions[0]));
    assert_int_equal(filters_add(t->filters, slice_text("t/+"), &t->sessions[0], &sub, &change),
                     OK);
    assert_true(!change.was_any && change.is_any);
    assert_int_equal(filters_match(t->filters, slice_text("t/a"), NULL, &match), OK);
    assert_int_equal(match.n_hits, 4);
    assert_int_equal(match.n_groups, 3);
    assert_false(match.local_durable);
    for (size_t i = 0; i < match.n_hits; i++) {
        bool is_group = match.hits[i].subscriber->kind == SUBSCRIBER_GROUP;
        assert_int_equal(match.hits[i].n_ids, is_group ? 1 : 0);
    }
    filters_remove(t->filters, sub, &change);
    assert_true(change.was_any && !change.is_any);
}

static void a_group_ends_with_its_last_member(void **state)
{
    struct table *t = *state;
    struct member *one = put(t, text, 1, 0), *two = put(t, text, 2, MEMBERS);
    uint32_t number = one->group->number;
    assert_ptr_equal(groups_numbered(t->groups, number), one->group);
    assert_ptr_equal(group_sub_of(&t->sessions[0], slice_text(text)), one->sub);
    assert_null(group_sub_of(&t->sessions[0], slice_text("t/+")));
    assert_true(slice_is(sub_text(one->sub), text) && slice_is(sub_filter(one->sub), "t/+"));
    groups_leave(t->groups, one);
    assert_non_null(groups_numbered(t->groups, number));
    groups_leave(t->groups, two);
    assert_null(groups_numbered(t->groups, number));
    assert_null(groups_find(t->groups, slice_text(text)));
    assert_int_equal(filters_count(t->filters), 0);
    assert_true(put(t, text, 3, 0)->group->number != number);
}

static void durable_changes_nothing_for_members(void **state)
{
    struct table *t = *state;
    put(t, text, 1, 0);
    filters_set_durable(t->filters, &t->sessions[0], true, NULL, NULL);
    filters_set_durable(t->filters, &t->sessions[0], false, NULL, NULL);
}

static void without_memory_nothing_changes(void **state)
{
    struct table *t = *state;
    struct member_facts facts = {.id = 1, .session = 1};
    enum err err = ERR_NOMEM;
    for (long fail = 0; err == ERR_NOMEM && fail < 100; fail++) {
        struct member *m = NULL;
        (void)mem_fail_after(fail);
        err = groups_put(t->groups, slice_text(text), &facts, &t->sessions[0], &m);
        (void)mem_fail_after(-1);
        if (err != OK) {
            assert_null(groups_find(t->groups, slice_text(text)));
            assert_null(groups_member(t->groups, 1));
            assert_int_equal(filters_count(t->filters), 0);
            assert_int_equal(t->sessions[0].n_subs, 0);
        }
    }
    assert_int_equal(err, OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everybody_has_a_turn, open_table, close_table),
        cmocka_unit_test_setup_teardown(the_least_loaded_is_picked, open_table, close_table),
        cmocka_unit_test_setup_teardown(a_group_is_one_subscriber, open_table, close_table),
        cmocka_unit_test_setup_teardown(a_group_ends_with_its_last_member, open_table, close_table),
        cmocka_unit_test_setup_teardown(durable_changes_nothing_for_members, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(without_memory_nothing_changes, open_table, close_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
