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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exit_codes),
                                       cmocka_unit_test(test_parse)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
