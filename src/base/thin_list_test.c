#include "base/thin_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { N_ITEMS = 6 };

struct item {
    int number;
    struct list_node node;
};

static struct item items[N_ITEMS];

static void begin(void)
{
    for (int i = 0; i < N_ITEMS; i++) {
        items[i] = (struct item){.number = i};
    }
}

/* The numbers of what is in c, as digits, from the first to the last. */
static uint32_t digits_of(const struct thin_list *c)
{
    uint32_t digits = 0;
    thin_for_each (n, c) {
        digits = digits * 10 + (uint32_t)LIST_ENTRY(n, struct item, node)->number;
    }
    return digits;
}

static void keeps_order(void **state)
{
    struct thin_list c = {0};
    (void)state;
    begin();
    assert_true(thin_is_empty(&c));
    assert_null(thin_first(&c));
    thin_for_each (n, &c) {
        fail();
    }
    for (int i = 1; i < N_ITEMS; i++) {
        thin_append(&c, &items[i].node);
    }
    assert_false(thin_is_empty(&c));
    assert_int_equal(digits_of(&c), 12345);
    assert_ptr_equal(thin_first(&c), &items[1].node);
    assert_null(thin_next(&c, &items[N_ITEMS - 1].node));
}

static void removes_anywhere(void **state)
{
    struct thin_list c = {0};
    (void)state;
    begin();
    for (int i = 1; i < N_ITEMS; i++) {
        thin_append(&c, &items[i].node);
    }
    thin_remove(&c, &items[1].node); /* the first */
    assert_false(list_is_linked(&items[1].node));
    assert_int_equal(digits_of(&c), 2345);
    thin_remove(&c, &items[1].node); /* it is in none */
    assert_int_equal(digits_of(&c), 2345);
    thin_remove(&c, &items[5].node); /* the last */
    assert_int_equal(digits_of(&c), 234);
    thin_remove(&c, &items[3].node);
    assert_int_equal(digits_of(&c), 24);
    thin_append(&c, &items[1].node);
    assert_int_equal(digits_of(&c), 241);
    thin_remove(&c, &items[2].node);
    thin_remove(&c, &items[4].node);
    assert_int_equal(digits_of(&c), 1);
    thin_remove(&c, &items[1].node); /* the only one */
    assert_true(thin_is_empty(&c));
    thin_append(&c, &items[3].node);
    assert_int_equal(digits_of(&c), 3);
}

/* Each subset is taken out while the list is walked: everybody is met once. */
static void removing_while_walking(void **state)
{
    (void)state;
    for (unsigned gone = 0; gone < 1U << (N_ITEMS - 1); gone++) {
        struct thin_list c = {0};
        uint32_t met = 0, left = 0;
        begin();
        for (int i = 1; i < N_ITEMS; i++) {
            thin_append(&c, &items[i].node);
            left = (gone >> (i - 1) & 1) != 0 ? left : left * 10 + (uint32_t)i;
        }
        thin_for_each_safe (n, next, &c) {
            int number = LIST_ENTRY(n, struct item, node)->number;
            met = met * 10 + (uint32_t)number;
            if ((gone >> (number - 1) & 1) != 0) {
                thin_remove(&c, n);
            }
        }
        assert_int_equal(met, 12345);
        assert_int_equal(digits_of(&c), left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(removes_anywhere),
        cmocka_unit_test(removing_while_walking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
