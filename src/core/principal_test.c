#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "core/principal.h"

static struct principal_attr attr(const char *key, const char *value)
{
    struct principal_attr a = {0};
    snprintf(a.key, sizeof a.key, "%s", key);
    snprintf(a.value, sizeof a.value, "%s", value);
    return a;
}

static void test_names(void **state)
{
    (void)state;
    static const char *const GOOD[] = {"a", "A.b_c-9", "..", "0"};
    static const char *const BAD[] = {"", "a b", "a/b", "a+", "#", "\xc3\xa9", "a\n", "${device}"};
    for (size_t i = 0; i < COUNT_OF(GOOD); i++) {
        assert_true(principal_name_ok(slice_text(GOOD[i])));
    }
    for (size_t i = 0; i < COUNT_OF(BAD); i++) {
        assert_false(principal_name_ok(slice_text(BAD[i])));
    }
    assert_false(principal_name_ok(slice_of("a\0b", 3)));
    char text[PRINCIPAL_NAME_MAX + 1];
    memset(text, 'x', sizeof text);
    assert_true(principal_name_ok(slice_of(text, PRINCIPAL_NAME_MAX)));
    assert_false(principal_name_ok(slice_of(text, PRINCIPAL_NAME_MAX + 1)));
}

static void test_attrs(void **state)
{
    (void)state;
    struct principal_attr attrs[] = {attr("site", "b/1"), attr("device", "other"), attr("e", "")};
    struct principal *p = NULL;
    assert_int_equal(principal_new(7, slice_text("dev1"), slice_text("sensor"), attrs, 3, &p), OK);
    assert_int_equal(p->id, 7);
    assert_string_equal(principal_attr(p, slice_text("site")), "b/1");
    assert_string_equal(principal_attr(p, slice_text("device")), "dev1"); /* not to be posed as */
    assert_string_equal(principal_attr(p, slice_text("role")), "sensor");
    assert_string_equal(principal_attr(p, slice_text("e")), "");
    assert_null(principal_attr(p, slice_text("sit")));
    assert_null(principal_attr(p, slice_text("sites")));
    assert_ptr_equal(principal_ref(p), p);
    assert_null(principal_unref(p));
    assert_string_equal(p->name, "dev1");
    principal_unref(p);
    assert_null(principal_unref(NULL));
}

static void test_refusals(void **state)
{
    (void)state;
    struct principal *p = NULL;
    struct slice name = slice_text("n"), role = slice_text("r");
    static const char *const BAD_VALUES[] = {"a\n", "\x7f", "\xc2\x85", "\xff", "\xed\xa0\x80"};
    for (size_t i = 0; i < COUNT_OF(BAD_VALUES); i++) {
        struct principal_attr a = attr("k", BAD_VALUES[i]);
        assert_int_equal(principal_new(1, name, role, &a, 1, &p), ERR_MALFORMED);
    }
    struct principal_attr bad_key = attr("k/", "v");
    assert_int_equal(principal_new(1, name, role, &bad_key, 1, &p), ERR_MALFORMED);
    struct principal_attr twice[] = {attr("k", "v"), attr("k", "w")};
    assert_int_equal(principal_new(1, name, role, twice, 2, &p), ERR_MALFORMED);
    struct principal_attr open = attr("k", "");
    memset(open.value, 'x', sizeof open.value); /* no NUL */
    assert_int_equal(principal_new(1, name, role, &open, 1, &p), ERR_MALFORMED);
    assert_int_equal(principal_new(1, slice_text(""), role, NULL, 0, &p), ERR_MALFORMED);
    assert_int_equal(principal_new(1, name, slice_text("a b"), NULL, 0, &p), ERR_MALFORMED);
    mem_fail_after(0);
    assert_int_equal(principal_new(1, name, role, NULL, 0, &p), ERR_NOMEM);
    assert_int_equal(mem_fail_after(-1), 1);
    assert_null(p);

    struct principal_attr many[PRINCIPAL_ATTRS_MAX + 1];
    for (size_t i = 0; i < COUNT_OF(many); i++) {
        many[i] = attr("k", "v");
        many[i].key[1] = (char)('a' + i);
    }
    assert_int_equal(principal_new(1, name, role, many, COUNT_OF(many), &p), ERR_LIMIT);
    assert_int_equal(principal_new(1, name, role, many, PRINCIPAL_ATTRS_MAX, &p), OK);
    principal_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_attrs),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
