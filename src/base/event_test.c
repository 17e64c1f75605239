#include "base/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/scope.h"

static void categories_are_found_by_their_names(void **state)
{
    (void)state;
    for (unsigned c = 0; c < EVENT_COUNT; c++) {
        enum event_category found = EVENT_COUNT;
        const char *name = event_category_name((enum event_category)c);
        assert_true(event_category_find(slice_text(name), &found));
        assert_int_equal(found, c);
        assert_true(strlen(event_category_meaning((enum event_category)c)) > 10);
    }
    enum event_category untouched = EVENT_flood;
    assert_false(event_category_find(slice_text("Connect"), &untouched));
    assert_false(event_category_find(slice_text("connec"), &untouched));
    assert_false(event_category_find((struct slice){0}, &untouched));
    assert_int_equal(untouched, EVENT_flood);
}

static void a_new_event_has_its_severity(void **state)
{
    (void)state;
    struct event e = event_make(EVENT_store_integrity);
    assert_int_equal(e.category, EVENT_store_integrity);
    assert_int_equal(e.severity, SEVERITY_ALERT);
    assert_int_equal(e.count, 1);
    assert_int_equal(e.wall_ms, 0);
    assert_string_equal(e.principal, "");
    assert_int_equal(event_make(EVENT_connect).severity, SEVERITY_INFO);
    assert_string_equal(event_severity_name(SEVERITY_WARNING), "warning");
    assert_string_equal(event_protocol_name(EVENT_PROTOCOL_coap), "coap");
}

static void text_is_cut_to_its_field(void **state)
{
    (void)state;
    static const struct {
        const char *name, *in;
        size_t n, cap;
        const char *out;
    } cases[] = {
        {"fits exactly", "abc", 3, 4, "abc"},
        {"one too long", "abcd", 4, 4, "ab~"},
        {"never half a character", "a\xc3\xa9xyz", 6, 4, "a~"},
        {"whole character kept", "a\xc3\xa9xyz", 6, 5, "a\xc3\xa9~"},
        {"NUL shows", "a\0b", 3, 10, "a?b"},
        {"smallest field", "ab", 2, 1, ""},
        {"mark only", "ab", 2, 2, "~"},
        {"empty", "", 0, 4, ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char field[16];
        memset(field, '!', sizeof field);
        event_text(field, cases[i].cap, slice_of(cases[i].in, cases[i].n));
        assert_string_equal(field, cases[i].out);
        assert_int_equal(field[cases[i].cap], '!');
    }
}

#define SAME(...)                                                                                  \
    do {                                                                                           \
        struct event joined = event_make(EVENT_connect), formatted = joined;                       \
        char text[2 * sizeof(formatted.reason)];                                                   \
        event_reason(&joined, __VA_ARGS__);                                                        \
        (void)snprintf(text, sizeof(text), __VA_ARGS__);                                           \
        EVENT_TEXT(&formatted, reason, slice_text(text));                                          \
        assert_string_equal(joined.reason, formatted.reason);                                      \
    } while (0)

/* Of texts alone it is joined without the formatter; what comes out is the same. */
static void texts_are_joined_as_the_formatter_would(void **state)
{
    (void)state;
    char longer[400];
    memset(longer, 'y', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    const char *const texts[] = {"", "one", "tw\xc3\xb6", longer};
    for (size_t i = 0; i < 64; i++) {
        const char *x = texts[i % 4], *y = texts[i / 4 % 4], *z = texts[i / 16];
        SAME("no text at all");
        SAME("%s", x);
        SAME("%s%s%s", x, y, z);
        SAME("a %s, b%s. %s c", x, y, z);
        SAME("100 %% of %s", x);
    }
    struct event e = event_make(EVENT_connect);
    event_text(e.reason, sizeof(e.reason), slice_of("a\0b\0", 4));
    assert_string_equal(e.reason, "a?b?");
}

static void a_reason_is_formatted_and_cut(void **state)
{
    (void)state;
    struct event e = event_make(EVENT_acl_deny);
    event_reason(&e, "publish to %s refused; add %d grant", "a/b", 1);
    assert_string_equal(e.reason, "publish to a/b refused; add 1 grant");
    static char text[3000];
    for (size_t n = 250; n < 2000; n++) {
        memset(text, 'x', n);
        text[n] = '\0';
        event_reason(&e, "%s", text);
        assert_int_equal(strlen(e.reason), n < 257 ? n : 257);
        assert_int_equal(e.reason[strlen(e.reason) - 1], n <= 257 ? 'x' : '~');
    }
    static char fill[70];
    memset(fill, 'p', 69);
    EVENT_TEXT(&e, principal, slice_text(fill));
    assert_int_equal(strlen(e.principal), sizeof e.principal - 1);
}

static void errors_have_different_names(void **state)
{
    (void)state;
    for (unsigned a = 0; a < ERR_COUNT; a++) {
        assert_string_not_equal(err_name((enum err)a), "unknown");
        for (unsigned b = 0; b < a; b++) {
            assert_string_not_equal(err_name((enum err)a), err_name((enum err)b));
        }
    }
    assert_string_equal(err_name(ERR_COUNT), "unknown");
    assert_string_equal(err_name(ERR_TRUNCATED), "truncated");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(categories_are_found_by_their_names),
        cmocka_unit_test(a_new_event_has_its_severity),
        cmocka_unit_test(text_is_cut_to_its_field),
        cmocka_unit_test(a_reason_is_formatted_and_cut),
        cmocka_unit_test(texts_are_joined_as_the_formatter_would),
        cmocka_unit_test(errors_have_different_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
