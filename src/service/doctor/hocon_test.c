#include "service/doctor/hocon.h"

#include "base/mem.h"
#include "service/doctor/doctor_case_test.h"

enum { ALL_BYTES = 2048 };

static struct hocon *parse(const char *text, const char *further, struct facts *f)
{
    const struct case_file files[] = {
        {"/h.conf", text, 0644, 1}, {"/more.conf", further, 0644, 1}, {NULL, NULL, 0, 0}};
    struct case_disk disk = {files};
    struct source source = case_source(&disk);
    struct hocon *h = NULL;
    assert_int_equal(hocon_read(&source, "/h.conf", f, &h), OK);
    return h;
}

/* "path=text@line " of each path asked for. */
static void ask(const struct hocon *h, const char *const *paths, char dst[ALL_BYTES])
{
    size_t n = 0;
    dst[0] = '\0';
    for (; *paths != NULL; paths++) {
        const struct hocon_entry *e = hocon_find(h, "%s", *paths);
        if (e != NULL) {
            n += (size_t)snprintf(dst + n, ALL_BYTES - n, "%s%s=%.*s@%u", n > 0 ? " " : "", *paths,
                                  SLICE_ARG(e->text), e->at.line);
        }
    }
}

static void test_good(void **state)
{
    static const struct {
        const char *text, *all;
    } cases[] = {
        {"", ""},
        {"a = 1", "a=1@1"},
        {"{ a : 1 }", "a=1@1"},
        {"a=1\n# b=2\n// b=3\nb : 4 # five", "a=1@1 b=4@4"},
        {"a.b = x\na { c = \"y z\", d = 2 }", "a.b=x@1 a.c=y z@2 a.d=2@2"},
        {"a { b { c = 1 }\n}\na.b.c = 2", "a.b.c=2@3"},
        {"a = [1, 2\n 3]", "a.0=1@1 a.1=2@1 a.2=3@2"},
        {"a = [1, 2]\na = [3]", "a.0=3@2"},
        {"a = [ { b = x }, { c = y } ]", "a.0.b=x@1 a.1.c=y@1"},
        {"a = \"q\\\"\\n\\\\\"", "a=q\"\n\\@1"},
        {"a = \"\"\"r\\\"s\n\"\"\"", "a=r\\\"s\n@1"},
        {"a = mqtt-tcp://h:1", "a=mqtt-tcp://h:1@1"},
        {"a = 5 MB, b = 2h", "a=5 MB@1 b=2h@1"},
        {"a = x\"y\"z", "a=xyz@1"},
        {"\"a\".\"b\" = 1", "a.b=1@1"},
        {"a += 1", "a=1@1"},
        {"include \"more.conf\"\nb = 1", "a=m@1 b=1@2"},
        {"a { include \"more.conf\" }", "a.a=m@1"},
        {"a = \"$SYS/#\"", "a=$SYS/#@1"},
        {"a = $SYS/x", "a=$SYS/x@1"},
    };
    static const char *const paths[] = {"a",   "a.0", "a.1", "a.2",   "a.0.b", "a.1.c", "a.a",
                                        "a.b", "a.c", "a.d", "a.b.c", "b",     NULL};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(facts_autofree) struct facts *f = NULL;
        AUTO(hocon_autofree) struct hocon *h = NULL;
        char got[ALL_BYTES], texts[ALL_BYTES];
        assert_int_equal(facts_new(FACTS_EMQX, CASE_NOW_MS, &f), OK);
        h = parse(cases[i].text, "a = m\n", f);
        ask(h, paths, got);
        /* What is an object has no text. */
        size_t n = 0;
        for (const char *s = got; *s != '\0'; s++) {
            texts[n++] = *s;
        }
        texts[n] = '\0';
        for (size_t k = 0; paths[k] != NULL; k++) {
            const struct hocon_entry *e = hocon_find(h, "%s", paths[k]);
            if (e != NULL && e->is_object) {
                char mark[64], *at;
                (void)snprintf(mark, sizeof mark, "%s=@%u ", paths[k], e->at.line);
                at = strstr(texts, mark);
                if (at != NULL) {
                    memmove(at, at + strlen(mark), strlen(at + strlen(mark)) + 1);
                }
            }
        }
        assert_string_equal(texts, cases[i].all);
        assert_int_equal(f->n_unread, 0);
    }
}

/* What does not read is said with its line; what came before is there. */
static void test_bad(void **state)
{
    static const struct {
        const char *text;
        uint32_t line;
    } cases[] = {{"a = 1\nb = \"x", 2},       {"a = 1\nb {\nc = 1", 3},
                 {"a = 1\n= 2", 2},           {"a = 1\nb = [1, 2", 2},
                 {"a = 1\nb c", 2},           {"a = 1\nb = x {y = 1}", 2},
                 {"a = 1\nb = \"\"\"x\"", 2}, {"a = 1\nb = [1 }", 2},
                 {"a = 1\ninclude more", 2},  {"a = 1\n}", 2},
                 {"a = 1\nb = ${a}", 2},      {"a = 1\ninclude \"no\"", 2}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(facts_autofree) struct facts *f = NULL;
        AUTO(hocon_autofree) struct hocon *h = NULL;
        assert_int_equal(facts_new(FACTS_EMQX, CASE_NOW_MS, &f), OK);
        h = parse(cases[i].text, "", f);
        assert_non_null(hocon_find(h, "a"));
        assert_int_equal(f->n_unread, 1);
        assert_int_equal(f->unread[0].at.line, cases[i].line);
    }
}

static void fill(struct buf *b, const char *piece, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(buf_append(b, slice_text(piece), SOURCE_BYTES_MAX), OK);
    }
}

static size_t n_unread_of(const struct buf *text)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(hocon_autofree) struct hocon *h = NULL;
    assert_int_equal(facts_new(FACTS_EMQX, CASE_NOW_MS, &f), OK);
    h = parse((const char *)text->p, "", f);
    return f->n_unread + f->n_dropped;
}

/* Each limit at and over. */
static void test_limits(void **state)
{
    static const struct {
        const char *head, *piece, *tail;
        size_t at;
    } cases[] = {{"", "a{", "", HOCON_DEPTH_MAX + 1},
                 {"a=\"", "x", "\"", HOCON_VALUE_MAX},
                 {"a=", "x", "", HOCON_VALUE_MAX},
                 {"", "a", "=1", HOCON_PATH_MAX},
                 {"", "a=1\n", "", HOCON_ENTRIES_MAX}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t over = 0; over < 2; over++) {
            AUTO(buf_done) struct buf text = {0};
            fill(&text, cases[i].head, 1);
            fill(&text, cases[i].piece, cases[i].at + over);
            fill(&text, cases[i].tail, 1);
            fill(&text, i == 0 ? "}" : "", cases[i].at + over);
            assert_int_equal(buf_append(&text, slice_of("", 1), SOURCE_BYTES_MAX), OK);
            assert_int_equal(n_unread_of(&text), over);
        }
    }
    /* It includes itself. */
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(hocon_autofree) struct hocon *h = NULL;
    assert_int_equal(facts_new(FACTS_EMQX, CASE_NOW_MS, &f), OK);
    h = parse("include \"more.conf\"", "include \"more.conf\"\ninclude \"more.conf\"", f);
    assert_true(f->n_unread > 0 && f->n_files <= 1 + HOCON_INCLUDES_MAX);
}

static void test_children(void **state)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(hocon_autofree) struct hocon *h = NULL;
    char name[FACTS_TEXT], all[ALL_BYTES] = "";
    size_t at = 0, n = 0;
    (void)state;
    assert_int_equal(facts_new(FACTS_EMQX, CASE_NOW_MS, &f), OK);
    h = parse("l.t.a.x = 1\nl.t { b { x = 1 } a.y = 2 }\nl.ta.c = 1\nl.t = 5", "", f);
    while (hocon_child(h, "l.t", &at, name)) {
        n += (size_t)snprintf(all + n, sizeof all - n, "%s ", name);
    }
    assert_string_equal(all, "a b ");
}

static void test_meanings(void **state)
{
    static const struct {
        hocon_meaning *meaning;
        const char *text;
        int64_t n; /* -1: malformed */
    } cases[] = {{hocon_bytes, "1024", 1024},
                 {hocon_bytes, "1MB", 1048576},
                 {hocon_bytes, "10 kb", 10240},
                 {hocon_bytes, "infinity", 0},
                 {hocon_bytes, "-1", -1},
                 {hocon_bytes, "1XB", -1},
                 {hocon_bytes, "999999999999999999GB", -1},
                 {hocon_seconds, "15s", 15},
                 {hocon_seconds, "2h", 7200},
                 {hocon_seconds, "7d", 604800},
                 {hocon_seconds, "300ms", 1},
                 {hocon_seconds, "60", 60},
                 {hocon_seconds, "s", -1},
                 {hocon_count, "5", 5},
                 {hocon_count, "infinity", 0},
                 {hocon_count, "5x", -1},
                 {hocon_switch, "true", 1},
                 {hocon_switch, "off", 0},
                 {hocon_switch, "maybe", -1}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t n = -1;
        enum err e = cases[i].meaning(slice_text(cases[i].text), &n);
        assert_int_equal(e, cases[i].n < 0 ? ERR_MALFORMED : OK);
        assert_true(e != OK || n == cases[i].n);
    }
}

static void test_memory(void **state)
{
    (void)state;
    enum err e = ERR_NOMEM;
    for (long n = 0; e != OK; n++) {
        AUTO(facts_autofree) struct facts *f = NULL;
        AUTO(hocon_autofree) struct hocon *h = NULL;
        const struct case_file files[] = {{"/h.conf", "a { b = [\"x\", y] }\nc = ${d}", 0644, 1},
                                          {NULL, NULL, 0, 0}};
        struct case_disk disk = {files};
        struct source source = case_source(&disk);
        (void)mem_fail_after(n);
        e = facts_new(FACTS_EMQX, CASE_NOW_MS, &f);
        e = e == OK ? hocon_read(&source, "/h.conf", f, &h) : e;
        bool has_failed = mem_fail_after(-1) != 0;
        assert_true(e == OK ? !has_failed : has_failed && e == ERR_NOMEM);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),     cmocka_unit_test(test_bad),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_children),
        cmocka_unit_test(test_meanings), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
