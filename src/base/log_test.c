#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/slice.h"

struct kept {
    unsigned n_lines;
    enum log_level level;
    char line[4096];
};

static void keep(void *ctx, enum log_level level, const char *line)
{
    struct kept *k = ctx;
    k->n_lines++;
    k->level = level;
    assert_true(slice_to_text(slice_text(line), k->line, sizeof k->line));
}

static void strangers_cannot_write_lines(void **state)
{
    (void)state;
    static const struct {
        const char *name, *in, *out;
    } cases[] = {
        {"plain", "all \"well\" \\ fine", "all \"well\" \\ fine"},
        {"a line of its own", "x\nerror: forged", "x\\x0aerror: forged"},
        {"terminal escape", "\x1b[2J", "\\x1b[2J"},
        {"delete", "a\x7f", "a\\x7f"},
        {"C1 in UTF-8",
         "\xc2\x9b"
         "2J",
         "\\xc2\\x9b"
         "2J"},
        {"C1 as a byte",
         "\x9b"
         "2J",
         "\\x9b"
         "2J"},
        {"text stays", "temp\xc3\xa9rature", "temp\xc3\xa9rature"},
        {"order turned", "a\xe2\x80\xae/tcejer", "a\\xe2\\x80\\xae/tcejer"},
        {"cut character", "ab\xe2\x82", "ab\\xe2\\x82"},
        {"empty", "", ""},
    };
    struct kept k = {0};
    log_to(keep, &k, LOG_DEBUG);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        log_line(LOG_WARN, "%s", cases[i].in);
        assert_string_equal(k.line, cases[i].out);
        assert_int_equal(k.level, LOG_WARN);
    }
    log_to(NULL, NULL, LOG_INFO);
}

static void only_as_much_as_asked_for(void **state)
{
    (void)state;
    struct kept k = {0};
    log_to(keep, &k, LOG_NOTICE);
    log_line(LOG_DEBUG, "no");
    log_line(LOG_INFO, "no");
    log_line(LOG_NOTICE, "yes %d", 1);
    log_line(LOG_ERROR, "yes %d", 2);
    assert_int_equal(k.n_lines, 2);
    assert_string_equal(k.line, "yes 2");
    log_to(NULL, NULL, LOG_INFO);
}

static void long_lines_are_cut_and_say_so(void **state)
{
    (void)state;
    struct kept k = {0};
    log_to(keep, &k, LOG_DEBUG);
    static char text[8000];
    static const char fills[] = {'a', '\n'};
    for (size_t f = 0; f < sizeof fills; f++) {
        for (size_t n = 1; n < sizeof text; n += 97) {
            memset(text, fills[f], n);
            text[n] = '\0';
            log_line(LOG_ERROR, "%s", text);
            size_t n_line = strlen(k.line);
            bool is_whole = n_line == n * (fills[f] == 'a' ? 1 : 4);
            assert_true(is_whole || strcmp(k.line + n_line - 3, "...") == 0);
            assert_true(n > 400 || is_whole);
        }
    }
    log_to(NULL, NULL, LOG_INFO);
}

static void escape_cuts_between_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t cap;
        const char *out;
    } cases[] = {
        {"abcdef", 7, "abcdef"},
        {"abcdef", 6, "ab..."},
        {"a\nb", 7, "a\\x0ab"},
        {"a\nb", 6, "a..."},
        {"\n\n", 9, "\\x0a\\x0a"},
        {"\n\n", 8, "\\x0a..."},
        {"say \"x\"", 40, "say \\x22x\\x22"},
        {"\\", 10, "\\x5c"},
        {"\xc2\x9b[2J", 40, "\\xc2\\x9b[2J"},
        {"a\xe2\x80\xae", 40, "a\\xe2\\x80\\xae"},
        {"\xff\x7f", 40, "\\xff\\x7f"},
        {"\xc3\xa9\xc3\xa9", 5, "\xc3\xa9\xc3\xa9"},
        {"\xc3\xa9\xc3\xa9\xc3\xa9", 6, "\xc3\xa9..."},
        {"\xc3\xa9\xc3\xa9\xc3\xa9", 5, "..."},
        {"abc", 1, ""},
        {"abc", 3, ".."},
        {"", 1, ""},
        {"abcdef", 4, "..."},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char dst[64];
        memset(dst, '!', sizeof dst);
        log_escape(cases[i].in, strlen(cases[i].in), dst, cases[i].cap);
        assert_string_equal(dst, cases[i].out);
        assert_int_equal(dst[cases[i].cap], '!');
    }
    char untouched = '!';
    log_escape("abc", 3, &untouched, 0);
    assert_int_equal(untouched, '!');
}

static void *write_lines(void *arg)
{
    for (unsigned i = 0; i < 200; i++) {
        log_line(LOG_INFO, "%s", (const char *)arg);
    }
    return NULL;
}

/* Standard error is a pipe here; every line must come out whole, with its level word. */
static void threads_write_whole_lines(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int real = dup(STDERR_FILENO);
    assert_true(real >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    static char texts[2][100];
    memset(texts[0], 'a', 99);
    memset(texts[1], 'b', 99);
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, texts[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(dup2(real, STDERR_FILENO) >= 0);
    (void)close(real);
    (void)close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    assert_non_null(f);
    char line[300];
    unsigned n_lines = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        assert_int_equal(strlen(line), 6 + 99 + 1);
        assert_memory_equal(line, "info: ", 6);
        assert_memory_equal(line + 6, line[6] == 'a' ? texts[0] : texts[1], 99);
        n_lines++;
    }
    (void)fclose(f);
    assert_int_equal(n_lines, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_cannot_write_lines),
        cmocka_unit_test(only_as_much_as_asked_for),
        cmocka_unit_test(long_lines_are_cut_and_say_so),
        cmocka_unit_test(escape_cuts_between_pieces),
        cmocka_unit_test(threads_write_whole_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
