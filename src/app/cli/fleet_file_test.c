#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "app/cli/fleet_file.h"
#include "base/buf.h"
#include "base/scope.h"
#include "core/principal.h"

static void json_release(json_t **j)
{
    json_decref(*j);
}

/* The rows as one line of text, or what is wrong. */
static enum err read(const char *text, char *ret, size_t cap)
{
    AUTO(json_release) json_t *rows = NULL;
    struct why why = {{0}};
    enum err e = fleet_file_read(slice_text(text), &rows, &why);
    if (e != OK) {
        (void)snprintf(ret, cap, "%s", why.text);
        return e;
    }
    size_t n = json_dumpb(rows, ret, cap - 1, JSON_COMPACT | JSON_SORT_KEYS);
    assert_true(n < cap);
    ret[n] = '\0';
    return OK;
}

static void test_good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *rows;
    } CASES[] = {
        {"name\na\n", "[{\"attrs\":{},\"name\":\"a\"}]"},
        {"name\r\na\r\n\r\nb", "[{\"attrs\":{},\"name\":\"a\"},{\"attrs\":{},\"name\":\"b\"}]"},
        {"site,name,role,gateway,credentials\nb1,a,r,g,x509+psk\n,b,,,\n",
         "[{\"attrs\":{\"site\":\"b1\"},\"credentials\":[\"x509\",\"psk\"],\"gateway\":\"g\","
         "\"name\":\"a\",\"role\":\"r\"},{\"attrs\":{},\"name\":\"b\"}]"},
        {"name,note\na,\"x, \"\"y\"\"\"\n\"b\",\"\"\n",
         "[{\"attrs\":{\"note\":\"x, \\\"y\\\"\"},\"name\":\"a\"},{\"attrs\":{},\"name\":\"b\"}]"},
        {"{\"name\":\"a\"}\n\n{\"name\":\"b\",\"role\":\"r\",\"credentials\":[\"scram\"],"
         "\"attrs\":{\"k\":\"\"}}",
         "[{\"attrs\":{},\"name\":\"a\"},{\"attrs\":{\"k\":\"\"},\"credentials\":[\"scram\"],"
         "\"name\":\"b\",\"role\":\"r\"}]"},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        char got[512];
        assert_int_equal(read(CASES[i].text, got, sizeof got), OK);
        assert_string_equal(got, CASES[i].rows);
    }
}

static void test_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } CASES[] = {
        {"", "there is no device"},
        {"name\n", "line 1: there is no device"},
        {"role\nr\n", "line 1: the heading has no column name"},
        {"name,name\na,a\n", "line 1: column name is there twice"},
        {"name,a b\na,1\n", "line 1: the heading names the columns"},
        {"name,\na,1\n", "line 1: the heading names the columns"},
        {"name,x\na\n", "line 2: fewer fields"},
        {"name\na,b\n", "line 2: more fields"},
        {"name\na\n\na\n", "line 4: a is in the list twice"},
        {"name\n../a\n", "line 2: a device's name"},
        {"name\n..\n", "line 2: a device's name"},
        {"name\n\"a\n", "line 2: a quote is not closed"},
        {"name\na\"b\n", "line 2: a quote inside a field"},
        {"name\n\"a\"b\n", "line 2: a comma follows a quoted field"},
        {"name,role\na,a b\n", "line 2: role and gateway are names"},
        {"name,gateway\na,#\n", "line 2: role and gateway are names"},
        {"name,credentials\na,key\n", "line 2: kinds of credentials"},
        {"name,credentials\na,x509+\n", "line 2: kinds of credentials"},
        {"name,credentials\na,\xff\n", "line 2: kinds of credentials"},
        {"name,site\na,\xff\n", "line 2: attribute site"},
        {"name,site\na,x\x01\n", "line 2: attribute site"},
        {"{\"name\":\"a\"} x\n", "line 1: not one JSON object"},
        {"{\"name\":\"a\",\"name\":\"b\"}\n", "line 1: not one JSON object"},
        {"{\"name\":\"a\"}\nname\n", "line 2: not one JSON object"},
        {"{\"name\":1}\n", "line 1: name is text"},
        {"{\"role\":\"r\"}\n", "line 1: a device's name"},
        {"{\"name\":\"a\",\"bundle\":1}\n", "line 1: members are"},
        {"{\"name\":\"a\",\"credentials\":[1]}\n", "line 1: kinds of credentials"},
        {"{\"name\":\"a\",\"credentials\":\"x509\"}\n", "line 1: credentials is a list"},
        {"{\"name\":\"a\",\"attrs\":[]}\n", "line 1: attrs is an object"},
        {"{\"name\":\"a\",\"attrs\":{\"k\":1}}\n", "line 1: attribute k is text"},
        {"{\"name\":\"a\",\"attrs\":{\"k/\":\"\"}}\n", "line 1: an attribute's name"},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        char got[512];
        assert_int_equal(read(CASES[i].text, got, sizeof got), ERR_MALFORMED);
        if (strstr(got, CASES[i].why) == NULL) {
            fail_msg("%s: %s", CASES[i].text, got);
        }
    }
}

/* Each limit at n and n + 1. */
static void test_limits(void **state)
{
    (void)state;
    char text[FLEET_LINE_MAX + 64], got[4096];
    for (int over = 0; over < 2; over++) {
        int n = snprintf(text, sizeof text, "name,x\na,\"%0*d\"\n", PRINCIPAL_ATTR_MAX + over, 1);
        assert_true(n > 0);
        assert_int_equal(read(text, got, sizeof got), over ? ERR_MALFORMED : OK);
        /* A line of nothing but quotes that stand for one byte each. */
        memcpy(text, "name\n", 5);
        size_t n_quotes = FLEET_LINE_MAX - 1 + (size_t)over;
        memset(text + 5, '"', n_quotes);
        text[5 + n_quotes] = '\0';
        assert_int_equal(read(text, got, sizeof got), over ? ERR_LIMIT : ERR_MALFORMED);
        assert_true((strstr(got, "longer than") != NULL) == (over == 1));
        /* Attributes: a column for each, beside the name. */
        size_t at = 4, n_attrs = (size_t)PRINCIPAL_ATTRS_MAX + (size_t)over;
        for (size_t i = 0; i < n_attrs; i++) {
            at += (size_t)snprintf(text + at, sizeof text - at, ",k%zu", i);
        }
        at += (size_t)snprintf(text + at, sizeof text - at, "\nd");
        for (size_t i = 0; i < n_attrs; i++) {
            at += (size_t)snprintf(text + at, sizeof text - at, ",v");
        }
        memcpy(text, "name", 4);
        assert_int_equal(read(text, got, sizeof got), over ? ERR_LIMIT : OK);
        at = 4;
        for (int i = 1; i < FLEET_COLUMNS_MAX + over; i++) {
            at += (size_t)snprintf(text + at, sizeof text - at, ",c%d", i);
        }
        (void)snprintf(text + at, sizeof text - at, "\nd%.*s", FLEET_COLUMNS_MAX - 1 + over,
                       ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,");
        assert_int_equal(read(text, got, sizeof got), over ? ERR_LIMIT : OK);
    }
}

/* No prefix of a good list is read past its end or crashes. */
static void test_truncations(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {
        "name,role,credentials,note\na,r,x509+psk,\"x, \"\"y\"\"\"\nb,r,,\n",
        "{\"name\":\"a\",\"role\":\"r\",\"credentials\":[\"psk\"],\"attrs\":{\"k\":\"v\"}}\n"};
    for (size_t i = 0; i < COUNT_OF(TEXTS); i++) {
        for (size_t n = 0; n <= strlen(TEXTS[i]); n++) {
            AUTO(buf_wipe) struct buf copy = {0}; /* of exactly n bytes */
            AUTO(json_release) json_t *rows = NULL;
            struct why why = {{0}};
            assert_int_equal(buf_append(&copy, slice_of(TEXTS[i], n), n + 1), OK);
            enum err e = fleet_file_read(buf_slice(&copy), &rows, &why);
            assert_true(e == OK || (e == ERR_MALFORMED && why.text[0] != '\0'));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_truncations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
