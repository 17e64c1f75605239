#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <unistd.h>

#include "app/cli/cli.h"
#include "base/scope.h"

enum { ARGS_MAX = 12 };

struct cli_case {
    const char *args[ARGS_MAX];
    int exit_code;
};

/* No daemon, no data directory: everything here ends by what the command line says. */
static const struct cli_case cases[] = {
    {{NULL}, CLI_USAGE},
    {{"--help", NULL}, CLI_DONE},
    {{"help", NULL}, CLI_DONE},
    {{"--version", NULL}, CLI_DONE},
    {{"--insecure", "status", NULL}, CLI_USAGE},
    {{"-C", NULL}, CLI_USAGE},
    {{"nonsense", NULL}, CLI_USAGE},
    {{"init", "--help", NULL}, CLI_DONE},
    {{"init", NULL}, CLI_USAGE},
    {{"init", "a", "b", NULL}, CLI_USAGE},
    {{"init", "/nonexistent/dir/x", "--set", "colour=red", NULL}, CLI_FAILED},
    {{"init", "/nonexistent/dir/x", "--listen", "mqtts=x", NULL}, CLI_FAILED},
    {{"init", "/nonexistent/dir/x", "--force", NULL}, CLI_USAGE},
    {{"init", "/nonexistent/dir/x", "--host", NULL}, CLI_USAGE},
    {{"init", "/proc", NULL}, CLI_FAILED},
    {{"serve", "a", "b", NULL}, CLI_USAGE},
    {{"check", "/nonexistent", NULL}, CLI_FAILED},
    {{"-C", "/nonexistent", "status", NULL}, CLI_FAILED},
    {{"-C", "/nonexistent", "metrics", NULL}, CLI_FAILED},
    {{"status", "x", NULL}, CLI_USAGE},
    {{"device", NULL}, CLI_USAGE},
    {{"device", "add", "a", NULL}, CLI_USAGE},
    {{"device", "add", "a/b", "--role", "sensor", NULL}, CLI_USAGE},
    {{"device", "add", "a", "--role", "r", "--attr", "x", NULL}, CLI_USAGE},
    {{"device", "add", "a", "--role", "r", "--credential", "none", NULL}, CLI_USAGE},
    {{"-C", "/nonexistent", "device", "add", "a", "--role", "r", NULL}, CLI_FAILED},
    {{"-C", "/nonexistent", "device", "list", NULL}, CLI_FAILED},
    {{"device", "melt", "a", NULL}, CLI_USAGE},
    {{"policy", "check", "/nonexistent", NULL}, CLI_FAILED},
    {{"policy", "learn", NULL}, CLI_FAILED},
    {{"policy", NULL}, CLI_USAGE},
    {{"exception", "add", "--listener", "mqtt", NULL}, CLI_USAGE},
    {{"exception", "add", "--listener", "mqtt", "--allow", "root", "--for", "2h", "--reason", "x",
      NULL},
     CLI_USAGE},
    {{"exception", "add", "--listener", "mqtt", "--allow", "plaintext", "--for", "8d", "--reason",
      "x", NULL},
     CLI_USAGE},
    {{"audit", "tail", "-n", "x", NULL}, CLI_USAGE},
    {{"audit", "verify", NULL}, CLI_FAILED},
    {{"scan", "host", NULL}, CLI_FAILED},
    {{"firmware", NULL}, CLI_FAILED},
    {{"help", "device", NULL}, CLI_DONE},
    {{"help", "nonsense", NULL}, CLI_USAGE},
    {{"help", "firmware", NULL}, CLI_FAILED},
};

static void test_exit_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *argv[ARGS_MAX + 2] = {"sallyport"};
        int argc = 1;
        for (size_t k = 0; cases[i].args[k] != NULL; k++) {
            argv[argc++] = (char *)(uintptr_t)cases[i].args[k];
        }
        int code = cli_main(argc, argv);
        if (code != cases[i].exit_code) {
            fail_msg("%s %s: exit code %d", argv[1], argc > 2 ? argv[2] : "", code);
        }
    }
}

static void test_parse(void **state)
{
    (void)state;
    static const struct cli_option options[] = {{"--name", "-n", CLI_VALUE},
                                                {"--many", NULL, CLI_MANY},
                                                {"--flag", "-f", CLI_FLAG},
                                                {NULL, NULL, CLI_FLAG}};
    struct cli cli = {.program = "t", .out = stdout, .err = stderr};
    struct cli_args a;
    char *argv[] = {"w", "-n", "1", "--many=a", "-f", "--many", "b", "--json", "--", "-x"};
    assert_true(cli_parse(&cli, NULL, options, COUNT_OF(argv), argv, &a));
    assert_string_equal(cli_value(&a, "--name"), "1");
    const char *const *values;
    assert_int_equal(cli_values(&a, "--many", &values), 2);
    assert_string_equal(values[0], "a");
    assert_string_equal(values[1], "b");
    assert_true(cli_has(&a, "--flag"));
    assert_true(cli.json);
    assert_int_equal(a.n_words, 2);
    assert_string_equal(a.words[1], "-x");
    char *unknown[] = {"--names"};
    assert_false(cli_parse(&cli, NULL, options, 1, unknown, &a));
    char *with_value[] = {"--flag=1"};
    assert_false(cli_parse(&cli, NULL, options, 1, with_value, &a));
    char *without[] = {"--name"};
    assert_false(cli_parse(&cli, NULL, options, 1, without, &a));
}

static int ran(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    (void)cli;
    (void)self;
    return 100 + (int)a->n_words;
}

static void test_verbs(void **state)
{
    (void)state;
    static const struct cli_option options[] = {
        {"--all", "-a", CLI_FLAG}, {"--all-of", NULL, CLI_VALUE}, {NULL, NULL, CLI_FLAG}};
    static const struct cli_verb verbs[] = {{"list", "", "--all-of", ran},
                                            {"show", "NAME [KIND]", "", ran},
                                            {"drop", "ID|all", "--all --all-of", ran},
                                            {NULL, NULL, NULL, NULL}};
    static const struct cli_command self = {.name = "t"};
    static const struct {
        const char *args[5];
        int code;
        const char *told;
    } rows[] = {
        {{NULL}, CLI_USAGE, "t does: list, show NAME [KIND], drop ID|all\n"},
        {{"fly", NULL}, CLI_USAGE, "there is no \"t fly\"; t does: list, show"},
        {{"list", NULL}, 101, ""},
        {{"list", "x", NULL}, CLI_USAGE, "t list takes no further word: \"x\""},
        {{"show", NULL}, CLI_USAGE, "t show takes NAME [KIND], and not 0 words"},
        {{"show", "a", NULL}, 102, ""},
        {{"show", "a", "b", NULL}, 103, ""},
        {{"show", "a", "b", "c", NULL}, CLI_USAGE, "and not 3 words"},
        {{"drop", "1", "-a", NULL}, 102, ""},
        {{"list", "-a", NULL}, CLI_USAGE, "--all is not for t list: it belongs to t drop\n"},
        {{"show", "a", "--all-of", "x", NULL}, CLI_USAGE, "belongs to t list, t drop\n"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *told = NULL;
        size_t n = 0;
        char *argv[5];
        int argc = 0;
        for (; rows[i].args[argc] != NULL; argc++) {
            argv[argc] = (char *)(uintptr_t)rows[i].args[argc];
        }
        FILE *err = open_memstream(&told, &n);
        assert_non_null(err);
        struct cli cli = {.program = "p", .out = stdout, .err = err};
        struct cli_args a;
        assert_true(cli_parse(&cli, &self, options, argc, argv, &a));
        assert_int_equal(cli_verbs(&cli, &self, verbs, &a), rows[i].code);
        assert_int_equal(cli_verb_is(verbs, &a), argc > 0 && strcmp(argv[0], "fly") != 0);
        assert_int_equal(fclose(err), 0);
        if (strstr(told, rows[i].told) == NULL) {
            fail_msg("row %zu: %s", i, told);
        }
        free(told);
    }
}

static void test_digits(void **state)
{
    (void)state;
    uint64_t n = 7;
    assert_true(cli_digits("1", 1, &n));
    assert_int_equal(n, 1);
    assert_true(cli_digits("0100", 100, &n));
    assert_int_equal(n, 100);
    assert_true(cli_digits("18446744073709551615", UINT64_MAX, &n));
    assert_true(n == UINT64_MAX);
    static const char *const wrong[] = {"", "0", "-1", "+1", " 1", "1 ", "1x", "101"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_false(cli_digits(wrong[i], 100, &n));
    }
    assert_false(cli_digits("18446744073709551616", UINT64_MAX, &n));
    assert_false(cli_digits("5", 4, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exit_codes),
                                       cmocka_unit_test(test_parse), cmocka_unit_test(test_verbs),
                                       cmocka_unit_test(test_digits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
