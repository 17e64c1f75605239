#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

static void cutting_gives_every_part(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t n_parts;
        const char *parts[4];
    } cases[] = {
        {"", 1, {""}},        {"a", 1, {"a"}},    {"a/", 2, {"a", ""}},
        {"/a", 2, {"", "a"}}, {"/", 2, {"", ""}}, {"a//bc/d", 4, {"a", "", "bc", "d"}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct slice rest = slice_text(cases[i].in);
        bool more = true;
        size_t n = 0;
        for (; more; n++) {
            struct slice part = slice_cut(&rest, '/', &more);
            assert_true(n < 4);
            assert_true(slice_is(part, cases[i].parts[n]));
        }
        assert_int_equal(n, cases[i].n_parts);
        assert_int_equal(rest.n, 0);
    }
}

static void comparing(void **state)
{
    (void)state;
    assert_true(slice_equal((struct slice){0}, slice_text("")));
    assert_true(slice_equal(slice_text(NULL), slice_text("")));
    assert_false(slice_equal(slice_text("ab"), slice_text("ac")));
    assert_false(slice_equal(slice_text("ab"), slice_text("a")));
    assert_true(slice_has_prefix(slice_text("$SYS/x"), slice_text("$SYS")));
    assert_true(slice_has_prefix(slice_text("x"), (struct slice){0}));
    assert_false(slice_has_prefix(slice_text("$SY"), slice_text("$SYS")));
}

static void parts_stay_inside(void **state)
{
    (void)state;
    struct slice s = slice_text("abc");
    assert_true(slice_is(slice_from(s, 1), "bc"));
    assert_int_equal(slice_from(s, 3).n, 0);
    assert_int_equal(slice_from(s, SIZE_MAX).n, 0);
    assert_true(slice_is(slice_head(s, 2), "ab"));
    assert_int_equal(slice_head(s, SIZE_MAX).n, 3);
    assert_int_equal(slice_find(s, 'c'), 2);
    assert_int_equal(slice_find(s, 'x'), 3);
    assert_int_equal(slice_find((struct slice){0}, 'x'), 0);
}

static void text_needs_room_and_no_nul(void **state)
{
    (void)state;
    char dst[4] = "???";
    assert_true(slice_to_text(slice_text("abc"), dst, 4));
    assert_string_equal(dst, "abc");
    assert_false(slice_to_text(slice_text("abcd"), dst, 4));
    assert_string_equal(dst, "");
    assert_false(slice_to_text(slice_of("a\0b", 3), dst, 4));
    assert_false(slice_to_text(slice_text("a"), dst, 0));
    assert_true(slice_to_text((struct slice){0}, dst, 1));
}

static void copying_nothing_touches_nothing(void **state)
{
    (void)state;
    char dst[4] = "???";
    slice_copy(dst, (struct slice){0});
    slice_copy(NULL, (struct slice){0});
    assert_string_equal(dst, "???");
    slice_copy(dst, slice_text("ab"));
    assert_string_equal(dst, "ab?");
}

struct entry {
    int number;
    struct list_node node;
};

static int numbers(const struct list *l)
{
    int all = 0;
    list_for_each (node, l) {
        all = all * 10 + LIST_ENTRY(node, struct entry, node)->number;
    }
    return all;
}

static void lists_link_and_unlink(void **state)
{
    (void)state;
    struct list l;
    struct entry entries[5] = {0};
    list_init(&l);
    assert_true(list_is_empty(&l));
    assert_null(list_first(&l));
    for (int i = 0; i < 5; i++) {
        entries[i].number = i + 1;
        assert_false(list_is_linked(&entries[i].node));
        list_append(&l, &entries[i].node);
    }
    assert_int_equal(numbers(&l), 12345);
    list_unlink(&entries[2].node);
    list_unlink(&entries[2].node);
    assert_int_equal(numbers(&l), 1245);
    list_append(&l, &entries[2].node);
    assert_int_equal(numbers(&l), 12453);
    list_for_each_safe (node, next, &l) {
        if (LIST_ENTRY(node, struct entry, node)->number % 2 == 1) {
            list_unlink(node);
        }
    }
    assert_int_equal(numbers(&l), 24);
    assert_ptr_equal(list_first(&l), &entries[1].node);
}

static void text_is_cut_between_characters(void **state)
{
    (void)state;
    const struct slice text = slice_text("a\xc3\xa9\xe2\x82\xac");
    static const size_t whole[] = {0, 1, 1, 3, 3, 3, 6, 6};
    for (size_t n = 0; n < COUNT_OF(whole); n++) {
        assert_int_equal(slice_head_text(text, n).n, whole[n]);
    }
    assert_int_equal(slice_head_text(slice_text("\xa9\xa9"), 1).n, 0);
    assert_int_equal(slice_head_text((struct slice){0}, 3).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cutting_gives_every_part),
        cmocka_unit_test(comparing),
        cmocka_unit_test(text_is_cut_between_characters),
        cmocka_unit_test(parts_stay_inside),
        cmocka_unit_test(text_needs_room_and_no_nul),
        cmocka_unit_test(copying_nothing_touches_nothing),
        cmocka_unit_test(lists_link_and_unlink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
