#include "service/gateway/door_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/coap/uri.h"

static const struct topic_limits limits = {16, 4};

struct row {
    const char *name;
    const char *segments[6]; /* raw bytes of each Uri-Path */
    enum err err;
    enum door_path_kind kind;
    const char *text;
};

static const struct row rows[] = {
    {"nothing", {NULL}, OK, DOOR_PATH_OTHER, "/"},
    {"a resource", {"fw", "x"}, OK, DOOR_PATH_OTHER, "/fw/x"},
    {"core", {".well-known", "core"}, OK, DOOR_PATH_CORE, "/.well-known/core"},
    {"more than core", {".well-known", "core", ""}, OK, DOOR_PATH_OTHER, "/.well-known/core/"},
    {"core in one segment", {".well-known/core"}, ERR_MALFORMED, DOOR_PATH_OTHER, NULL},
    {"a topic", {"mq", "a", "b"}, OK, DOOR_PATH_TOPIC, "a/b"},
    {"one level", {"mq", "a"}, OK, DOOR_PATH_TOPIC, "a"},
    {"EST", {".well-known", "est", "crts"}, OK, DOOR_PATH_EST, "crts"},
    {"EST, short", {"est", "att"}, OK, DOOR_PATH_EST, "att"},
    {"EST with a label", {"est", "a", "att"}, OK, DOOR_PATH_EST, "a/att"},
    {"EST of nothing", {"est", ""}, OK, DOOR_PATH_OTHER, "/est/"},
    {"near EST", {"estx", "att"}, OK, DOOR_PATH_OTHER, "/estx/att"},
    {"near mq", {"mqx", "a"}, OK, DOOR_PATH_OTHER, "/mqx/a"},
    {"mq below", {"x", "mq", "a"}, OK, DOOR_PATH_OTHER, "/x/mq/a"},
    {"mq alone", {"mq"}, ERR_MALFORMED, DOOR_PATH_TOPIC, NULL},
    {"mq and nothing", {"mq", ""}, ERR_MALFORMED, DOOR_PATH_TOPIC, NULL},
    {"empty first", {"mq", "", "a"}, ERR_MALFORMED, DOOR_PATH_TOPIC, NULL},
    {"empty inner", {"mq", "a", "", "b"}, OK, DOOR_PATH_TOPIC, "a//b"},
    {"empty last", {"mq", "a", ""}, OK, DOOR_PATH_TOPIC, "a/"},
    {"separator", {"mq", "a/b"}, ERR_MALFORMED, DOOR_PATH_TOPIC, NULL},
    {"separator alone", {"mq", "/"}, ERR_MALFORMED, DOOR_PATH_TOPIC, NULL},
    {"mq and separator", {"mq/a"}, ERR_MALFORMED, DOOR_PATH_TOPIC, NULL},
    {"plus", {"mq", "a", "+"}, ERR_MALFORMED, DOOR_PATH_TOPIC, NULL},
    {"plus inside", {"mq", "a+b"}, ERR_MALFORMED, DOOR_PATH_TOPIC, NULL},
    {"hash", {"mq", "#"}, ERR_MALFORMED, DOOR_PATH_TOPIC, NULL},
    {"wildcards elsewhere are text", {"fw", "+"}, OK, DOOR_PATH_OTHER, "/fw/+"},
    {"dollar", {"mq", "$SYS"}, ERR_DENIED, DOOR_PATH_TOPIC, NULL},
    {"dollar inside", {"mq", "a", "$b"}, OK, DOOR_PATH_TOPIC, "a/$b"},
    {"share", {"mq", "$share", "g", "a"}, ERR_DENIED, DOOR_PATH_TOPIC, NULL},
    {"dot", {"mq", "."}, ERR_MALFORMED, DOOR_PATH_TOPIC, NULL},
    {"dots", {"fw", ".."}, ERR_MALFORMED, DOOR_PATH_OTHER, NULL},
    {"three dots", {"mq", "..."}, OK, DOOR_PATH_TOPIC, "..."},
    {"UTF-8", {"mq", "\xC3\xA9"}, OK, DOOR_PATH_TOPIC, "\xC3\xA9"},
    {"broken UTF-8", {"mq", "\xC3"}, ERR_UTF8, DOOR_PATH_TOPIC, NULL},
    {"split UTF-8", {"mq", "\xC3", "\xA9"}, ERR_UTF8, DOOR_PATH_TOPIC, NULL},
    {"surrogate", {"mq", "\xED\xA0\x80"}, ERR_UTF8, DOOR_PATH_TOPIC, NULL},
    {"broken UTF-8 elsewhere", {"fw", "\xFF"}, ERR_UTF8, DOOR_PATH_OTHER, NULL},
    {"as many bytes as may be",
     {"mq", "0123456789abcdef"},
     OK,
     DOOR_PATH_TOPIC,
     "0123456789abcdef"},
    {"a byte more", {"mq", "0123456789abcdefg"}, ERR_TOO_LARGE, DOOR_PATH_TOPIC, NULL},
    {"as many levels as may be", {"mq", "1", "2", "3", "4"}, OK, DOOR_PATH_TOPIC, "1/2/3/4"},
    {"a level more", {"mq", "1", "2", "3", "4", "5"}, ERR_LIMIT, DOOR_PATH_TOPIC, NULL},
};

static void paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        uint8_t block[128], text[DOOR_PATH_BYTES];
        struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
        struct slice options;
        struct door_path path = {.kind = DOOR_PATH_OTHER};
        const char *why = NULL;
        for (size_t j = 0; j < COUNT_OF(row->segments) && row->segments[j] != NULL; j++) {
            coap_option_add(&o, COAP_OPTION_URI_PATH, slice_text(row->segments[j]));
        }
        assert_int_equal(coap_option_writer_done(&o, &options), OK);
        enum err err = door_path_read(options, &limits, text, &path, &why);
        if (err != row->err) {
            fail_msg("%s: %s", row->name, err_name(err));
        }
        if (err == OK && (path.kind != row->kind || !slice_is(path.text, row->text))) {
            fail_msg("%s: '%.*s'", row->name, SLICE_ARG(path.text));
        }
        if (err != OK) {
            assert_true(why != NULL && why[0] != '\0');
        }
    }
}

static void nul_is_no_text(void **state)
{
    (void)state;
    static const uint8_t options[] = {0xB2, 'm', 'q', 0x02, 'a', 0};
    uint8_t text[DOOR_PATH_BYTES];
    struct door_path path;
    const char *why;
    assert_int_equal(door_path_read(slice_of(options, sizeof(options)), &limits, text, &path, &why),
                     ERR_UTF8);
}

/* What is written is read back as the same topic. */
static void links(void **state)
{
    (void)state;
    static const struct {
        const char *topic, *href;
    } cases[] = {
        {"a", "/mq/a"},
        {"a/b", "/mq/a/b"},
        {"a b/%", "/mq/a%20b/%25"},
        {"a//b", "/mq/a//b"},
        {"a/", "/mq/a/"},
        {"\xC3\xA9", "/mq/%C3%A9"},
        {"", NULL},
        {"/a", NULL},
        {"$SYS/x", NULL},
        {"a/+", NULL},
        {"#", NULL},
        {"a/..", NULL},
        {"a\"<>b", "/mq/a%22%3C%3Eb"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char dst[64];
        struct slice href = {0};
        bool written = door_path_write(slice_text(cases[i].topic), dst, sizeof(dst), &href);
        if (written != (cases[i].href != NULL) || (written && !slice_is(href, cases[i].href))) {
            fail_msg("%s: '%.*s'", cases[i].topic, SLICE_ARG(href));
        }
        if (written) {
            uint8_t block[128], text[DOOR_PATH_BYTES];
            struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
            struct slice options;
            struct door_path path;
            const char *why;
            coap_uri_path_options(href, &o);
            assert_int_equal(coap_option_writer_done(&o, &options), OK);
            assert_int_equal(door_path_read(options, &limits, text, &path, &why), OK);
            assert_true(slice_is(path.text, cases[i].topic));
        }
    }
    char small[4];
    struct slice href;
    assert_false(door_path_write(slice_text("abc"), small, sizeof(small), &href));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(nul_is_no_text),
        cmocka_unit_test(links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
