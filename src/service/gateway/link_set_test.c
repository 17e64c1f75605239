/* What a device says of itself, and what it must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/scope.h"
#include "service/gateway/link_set.h"
#include "wire/coap/option.h"

static enum err check(const char *links, size_t most, uint32_t *ret_n)
{
    const char *why = NULL;
    enum err err = link_set_check(slice_text(links), most, ret_n, &why);
    assert_true((err == OK) == (why == NULL));
    return err;
}

static void links_are_of_the_device_itself(void **state)
{
    (void)state;
    static const struct {
        const char *name, *links;
        enum err err;
        uint32_t n;
    } cases[] = {
        {"none", "", OK, 0},
        {"one", "</light>", OK, 1},
        {"the root", "</>", OK, 1},
        {"with attributes", "</l/1>;rt=\"light lamp\";if=core.a;obs,</t>;ct=50", OK, 2},
        {"a query", "</l?x=1>", OK, 1},
        {"an escape", "</a%20b>", OK, 1},
        {"an anchor of its own", "</d>;rel=describedby;anchor=\"/l\"", OK, 1},
        {"escapes in a value", "</l>;title=\"a\\\"b\\\\\"", OK, 1},
        {"text in a value", "</l>;title=\"Malm\xc3\xb6\"", OK, 1},
        {"hreflang twice", "</l>;hreflang=sv;hreflang=en", OK, 1},
        {"another server", "<coap://192.0.2.1/l>", ERR_MALFORMED, 0},
        {"another authority", "<//192.0.2.1/l>", ERR_MALFORMED, 0},
        {"a relative path", "<l>", ERR_MALFORMED, 0},
        {"no target", "<>", ERR_MALFORMED, 0},
        {"a fragment", "</l#a>", ERR_MALFORMED, 0},
        {"dots", "</a/../b>", ERR_MALFORMED, 0},
        {"escaped dots", "</a/%2e%2e/b>", ERR_MALFORMED, 0},
        {"an escaped slash", "</a%2Fb>", ERR_MALFORMED, 0},
        {"an escaped NUL", "</a%00>", ERR_MALFORMED, 0},
        {"a broken escape", "</a%2>", ERR_MALFORMED, 0},
        {"a broken escape in the query", "</a?%zz>", ERR_MALFORMED, 0},
        {"escapes that are no UTF-8", "</a%ff>", ERR_MALFORMED, 0},
        {"an anchor elsewhere", "</l>;anchor=\"coap://x/l\"", ERR_MALFORMED, 0},
        {"an anchor with an escape", "</l>;anchor=\"/\\l\"", ERR_MALFORMED, 0},
        {"an anchor without a value", "</l>;anchor", ERR_MALFORMED, 0},
        {"rt twice", "</l>;rt=a;rt=b", ERR_MALFORMED, 0},
        {"a forged name", "</l>;ep=other", ERR_MALFORMED, 0},
        {"a forged base", "</l>;base=\"coap://x\"", ERR_MALFORMED, 0},
        {"a forged target", "</l>;href=\"/x\"", ERR_MALFORMED, 0},
        {"a name that is no word", "</l>;a@b=1", ERR_MALFORMED, 0},
        {"no UTF-8", "</l>;title=\"\xff\"", ERR_UTF8, 0},
        {"a control character", "</l>;title=\"\x01\"", ERR_MALFORMED, 0},
        {"no comma", "</l></m>", ERR_MALFORMED, 0},
        {"a comma too many", "</l>,", ERR_MALFORMED, 0},
        {"not closed", "</l", ERR_MALFORMED, 0},
        {"a value not closed", "</l>;rt=\"a", ERR_MALFORMED, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t n = 0;
        enum err err = check(cases[i].links, 64, &n);
        if (err != cases[i].err || n != cases[i].n) {
            fail_msg("%s: %s, %u links", cases[i].name, err_name(err), (unsigned)n);
        }
    }
}

static void links_have_a_bound(void **state)
{
    (void)state;
    uint32_t n = 0;
    assert_int_equal(check("</a>,</b>", 3, &n), OK);
    assert_int_equal(check("</a>,</b>,</c>", 3, &n), OK);
    assert_int_equal(n, 3);
    assert_int_equal(check("</a>,</b>,</c>,</d>", 3, &n), ERR_LIMIT);
    static char text[COAP_LINK_BYTES + 2];
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "</a>;title=\"", 12);
    text[COAP_LINK_BYTES - 1] = '"';
    text[COAP_LINK_BYTES] = '\0';
    assert_int_equal(check(text, 3, &n), OK);
    text[COAP_LINK_BYTES - 1] = 'a';
    text[COAP_LINK_BYTES] = '"';
    assert_int_equal(check(text, 3, &n), ERR_TOO_LARGE);
}

/* Parts with '&' between them. */
static enum err read_query(const char *query, uint8_t block[2048], struct link_set_query *ret)
{
    struct coap_option_writer o = coap_option_writer_into(block, 2048);
    struct slice rest = slice_text(query), options;
    const char *why = NULL;
    bool has_more = rest.n > 0;
    while (has_more) {
        coap_option_add(&o, COAP_OPTION_URI_QUERY, slice_cut(&rest, '&', &has_more));
    }
    assert_int_equal(coap_option_writer_done(&o, &options), OK);
    enum err err = link_set_query_read(options, ret, &why);
    assert_true((err == OK) == (why == NULL));
    return err;
}

static void a_query_is_read(void **state)
{
    (void)state;
    uint8_t block[2048];
    struct link_set_query q;
    assert_int_equal(read_query("ep=lamp&lt=3600&d=field&base=coaps://192.0.2.1&et=x", block, &q),
                     OK);
    assert_true(q.has_ep && q.has_lt && q.has_d && q.has_base);
    assert_true(slice_is(q.ep, "lamp") && slice_is(q.d, "field"));
    assert_true(slice_is(q.base, "coaps://192.0.2.1"));
    assert_int_equal(q.lt, 3600);
    assert_int_equal(q.n_extras, 1);
    assert_true(slice_is(q.extras[0].name, "et") && slice_is(q.extras[0].value, "x"));
    assert_int_equal(read_query("", block, &q), OK);
    assert_false(q.has_ep || q.has_lt || q.n_extras > 0);
    static const struct {
        const char *query;
        enum err err;
    } cases[] = {
        {"ep=a&ep=b", ERR_MALFORMED},
        {"lt=1&lt=2", ERR_MALFORMED},
        {"lt=", ERR_MALFORMED},
        {"lt", ERR_MALFORMED},
        {"lt=-1", ERR_MALFORMED},
        {"lt=1e3", ERR_MALFORMED},
        {"lt=99999999999", ERR_MALFORMED},
        {"lt=4294967296", OK},
        {"=x", ERR_MALFORMED},
        {"rt=core.rd-ep", ERR_MALFORMED},
        {"href=/x", ERR_MALFORMED},
        {"a@b=1", ERR_MALFORMED},
        {"et=a&et=b", ERR_MALFORMED},
        {"ep=\x01", ERR_UTF8},
        {"ep=\xc2\x85", ERR_UTF8},
        {"et=\xff", ERR_UTF8},
        {"a=1&b=1&c=1&e=1&f=1&g=1&h=1", OK},
        {"a=1&b=1&c=1&e=1&f=1&g=1&h=1&i=1", OK},
        {"a=1&b=1&c=1&e=1&f=1&g=1&h=1&i=1&j=1", ERR_LIMIT},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum err err = read_query(cases[i].query, block, &q);
        if (err != cases[i].err) {
            fail_msg("%s: %s", cases[i].query, err_name(err));
        }
    }
}

static void attributes_are_kept_and_replaced(void **state)
{
    (void)state;
    uint8_t block[2048], one[512], two[512];
    struct link_set_query q;
    struct wr w = wr_into(one, sizeof(one)), v = wr_into(two, sizeof(two));
    assert_int_equal(read_query("et=a\"b&x=1", block, &q), OK);
    assert_int_equal(link_set_attributes((struct slice){0}, &q, &w), OK);
    assert_true(slice_is(wr_slice(&w), ";et=\"a\\\"b\";x=\"1\""));
    assert_int_equal(read_query("x=2&y=3", block, &q), OK);
    assert_int_equal(link_set_attributes(wr_slice(&w), &q, &v), OK);
    assert_true(slice_is(wr_slice(&v), ";et=\"a\\\"b\";x=\"2\";y=\"3\""));
    assert_int_equal(read_query("a=1&b=1&c=1&e=1&f=1&g=1", block, &q), OK);
    w = wr_into(one, sizeof(one));
    assert_int_equal(link_set_attributes(wr_slice(&v), &q, &w), ERR_LIMIT);
}

static void a_path_becomes_levels(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"/", ""}, {"/light/1?x=2", "light/1"}, {"/a%20b", "a b"}, {"/a/", "a/"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[64];
        struct wr w = wr_into(text, sizeof(text));
        assert_true(link_set_topic(slice_text(cases[i][0]), &w));
        assert_true(slice_is(wr_slice(&w), cases[i][1]));
    }
    char small[4];
    struct wr w = wr_into(small, sizeof(small));
    assert_false(link_set_topic(slice_text("/light"), &w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_are_of_the_device_itself), cmocka_unit_test(links_have_a_bound),
        cmocka_unit_test(a_query_is_read), cmocka_unit_test(attributes_are_kept_and_replaced),
        cmocka_unit_test(a_path_becomes_levels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
