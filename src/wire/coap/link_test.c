#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/coap/link.h"

static struct coap_link sample(void)
{
    return (struct coap_link){.href = slice_text("/sensors/temp"),
                              .rt = slice_text("temperature-c core.ps.data"),
                              .iface = slice_text("sensor"),
                              .title = slice_text("a \"quoted\" \\ title"),
                              .ct = {0, 60},
                              .n_ct = 2,
                              .sz = 1234,
                              .obs = true};
}

static void golden(void **state)
{
    (void)state;
    char text[512];
    struct wr w = wr_into(text, sizeof(text));
    struct coap_link l = sample();
    coap_link_write(&w, &l);
    l = (struct coap_link){.href = slice_text("/x"), .ct = {40}, .n_ct = 1};
    coap_link_write(&w, &l);
    const char *want = "</sensors/temp>;rt=\"temperature-c core.ps.data\";if=\"sensor\";"
                       "title=\"a \\\"quoted\\\" \\\\ title\";ct=\"0 60\";sz=1234;obs,</x>;ct=40";
    assert_true(slice_is(wr_slice(&w), want));
    for (size_t cap = 0; cap < strlen(want); cap++) {
        struct wr small = wr_into(text, cap);
        struct coap_link first = sample();
        coap_link_write(&small, &first);
        coap_link_write(&small, &l);
        assert_int_equal(small.err, ERR_SPACE);
    }
}

static void writer_refuses(void **state)
{
    (void)state;
    static const char *const hrefs[] = {"", "/a>b", "/a<b", "/a b", "/a\"b", "/a\x80"};
    for (size_t i = 0; i < COUNT_OF(hrefs); i++) {
        char text[64];
        struct wr w = wr_into(text, sizeof(text));
        struct coap_link l = {.href = slice_text(hrefs[i])};
        coap_link_write(&w, &l);
        assert_int_equal(w.err, ERR_MALFORMED);
    }
}

static void filters(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        bool matches;
    } cases[] = {
        {"", true},
        {"rt=temperature-c", true},
        {"rt=core.ps.data", true},
        {"rt=core.ps*", true},
        {"rt=core.ps", false},
        {"rt=temperature-c core.ps.data", false},
        {"rt=*", true},
        {"rt", true},
        {"if=sensor", true},
        {"if=sens*", true},
        {"if=actuator", false},
        {"ct=60", true},
        {"ct=0", true},
        {"ct=6", false},
        {"ct=6*", true},
        {"href=/sensors/temp", true},
        {"href=/sensors*", true},
        {"href=/sensors", false},
        {"href=*", true},
        {"sz=1234", true},
        {"sz=123", false},
        {"obs", true},
        {"obs=1", false},
        {"title=a*", true},
        {"unknown=1", false},
        {"unknown", false},
    };
    struct coap_link l = sample();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct coap_link_filter f;
        assert_int_equal(coap_link_filter_from(slice_text(cases[i].query), &f), OK);
        if (coap_link_matches(&f, &l) != cases[i].matches) {
            fail_msg("%s", cases[i].query);
        }
    }
    struct coap_link bare = {.href = slice_text("/b")};
    struct coap_link_filter f;
    static const char *const absent[] = {"rt=*", "if=*", "ct=*", "title=*", "sz=*", "obs"};
    for (size_t i = 0; i < COUNT_OF(absent); i++) {
        assert_int_equal(coap_link_filter_from(slice_text(absent[i]), &f), OK);
        assert_false(coap_link_matches(&f, &bare));
    }
    assert_int_equal(coap_link_filter_from(slice_text("=x"), &f), ERR_MALFORMED);
}

static enum err read_all(struct slice text, size_t *n_links, size_t *n_attributes)
{
    struct coap_link_reader it = coap_link_reader_from(text);
    struct coap_link_item item;
    *n_links = *n_attributes = 0;
    while (coap_link_next(&it, &item)) {
        struct coap_link_attribute a;
        struct slice rest = item.attributes;
        (*n_links)++;
        while (coap_link_attribute_next(&rest, &a)) {
            (*n_attributes)++;
        }
        assert_int_equal(rest.n, 0);
    }
    return coap_link_finish(&it);
}

static void reading(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err want;
        size_t n_links, n_attributes;
    } cases[] = {
        {"", OK, 0, 0},
        {"</a>", OK, 1, 0},
        {"<>", OK, 1, 0},
        {"</a>,</b>", OK, 2, 0},
        {"</a>;ct=40;obs , \r\n</b>;title=\"x,y;<z>\"", OK, 2, 3},
        {"</a>;rt=\"a\\\"b\"", OK, 1, 1},
        {"</a>;rt = \"b\" ;if=c", OK, 1, 2},
        {"/a", ERR_MALFORMED, 0, 0},
        {"</a", ERR_MALFORMED, 0, 0},
        {"<a b>", ERR_MALFORMED, 0, 0},
        {"</a>,", ERR_MALFORMED, 1, 0},
        {"</a></b>", ERR_MALFORMED, 1, 0},
        {"</a>;", ERR_MALFORMED, 0, 0},
        {"</a>;=x", ERR_MALFORMED, 0, 0},
        {"</a>;x=", ERR_MALFORMED, 0, 0},
        {"</a>;x=\"open", ERR_MALFORMED, 0, 0},
        {"</a>;x=\"open\\", ERR_MALFORMED, 0, 0},
        {"</a>;x=\"a\"b", ERR_MALFORMED, 1, 1},
        {"</a>x", ERR_MALFORMED, 1, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t n_links, n_attributes;
        enum err e = read_all(slice_text(cases[i].text), &n_links, &n_attributes);
        if (e != cases[i].want || n_links != cases[i].n_links ||
            n_attributes != cases[i].n_attributes) {
            fail_msg("%s: %s, %zu, %zu", cases[i].text, err_name(e), n_links, n_attributes);
        }
    }
}

static void reading_limits(void **state)
{
    (void)state;
    static char text[COAP_LINK_BYTES + 1];
    size_t n_links, n_attributes;
    for (size_t n = COAP_LINK_ATTRIBUTES; n <= COAP_LINK_ATTRIBUTES + 1; n++) {
        struct wr w = wr_into(text, sizeof(text));
        wr_bytes(&w, slice_text("<a>"));
        for (size_t i = 0; i < n; i++) {
            wr_bytes(&w, slice_text(";x"));
        }
        assert_int_equal(read_all(wr_slice(&w), &n_links, &n_attributes),
                         n == COAP_LINK_ATTRIBUTES ? OK : ERR_LIMIT);
    }
    memset(text, 'a', sizeof(text));
    text[0] = '<';
    text[COAP_LINK_BYTES - 1] = '>';
    assert_int_equal(read_all(slice_of(text, COAP_LINK_BYTES), &n_links, &n_attributes), OK);
    assert_int_equal(read_all(slice_of(text, COAP_LINK_BYTES + 1), &n_links, &n_attributes),
                     ERR_TOO_LARGE);
}

static void round_trip(void **state)
{
    (void)state;
    char text[256];
    struct wr w = wr_into(text, sizeof(text));
    struct coap_link l = sample();
    coap_link_write(&w, &l);
    struct coap_link_reader it = coap_link_reader_from(wr_slice(&w));
    struct coap_link_item item;
    struct coap_link_attribute a;
    assert_true(coap_link_next(&it, &item));
    assert_true(slice_equal(item.href, l.href));
    assert_true(coap_link_attribute_next(&item.attributes, &a));
    assert_true(slice_is(a.name, "rt"));
    assert_true(slice_equal(a.value, l.rt));
    assert_true(a.quoted);
    for (size_t n = 0; n < w.at; n++) {
        size_t n_links, n_attributes;
        (void)read_all(slice_head(wr_slice(&w), n), &n_links, &n_attributes);
    }
}

static void attributes_of_others_are_matched(void **state)
{
    (void)state;
    static const struct {
        const char *attributes, *query;
        bool is_match;
    } rows[] = {
        {";rt=\"a b\"", "rt=a", true},
        {";rt=\"a b\"", "rt=b", true},
        {";rt=\"a b\"", "rt=a b", false},
        {";title=\"a b\"", "title=a b", true},
        {";title=\"a b\"", "title=a", false},
        {";title=\"a b\"", "title=a*", true},
        {";title=\"a\\\"b\"", "title=a\"b", true},
        {";obs", "obs", true},
        {";obs", "obs=1", false},
        {";rt=a;ct=50", "ct=50", true},
        {"", "rt=*", false},
        {";rt=a", "rt=ab", false},
        {";rt=ab", "rt=a", false},
        {";rt=ab", "rt=a*", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct coap_link_filter f;
        assert_int_equal(coap_link_filter_from(slice_text(rows[i].query), &f), OK);
        if (coap_link_attributes_match(&f, slice_text(rows[i].attributes)) != rows[i].is_match) {
            fail_msg("%s %s", rows[i].attributes, rows[i].query);
        }
    }
    assert_true(coap_link_name_is_ok(slice_text("rt")) && coap_link_name_is_ok(slice_text("a*")));
    assert_false(coap_link_name_is_ok(slice_text("*")) || coap_link_name_is_ok(slice_text("a*b")));
    assert_false(coap_link_name_is_ok(slice_text("")) || coap_link_name_is_ok(slice_text("a b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden),
                                       cmocka_unit_test(writer_refuses),
                                       cmocka_unit_test(filters),
                                       cmocka_unit_test(reading),
                                       cmocka_unit_test(reading_limits),
                                       cmocka_unit_test(round_trip),
                                       cmocka_unit_test(attributes_of_others_are_matched)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
