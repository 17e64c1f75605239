#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <unistd.h>

#include "app/cli/client_mqtt.h"
#include "base/scope.h"

enum { TEXT_BYTES = 4096, WORDS_MAX = 12, LARGE_BYTES = 64 * 1024 };

static const struct cli_command command = {.name = "pub"};

struct parsed {
    struct client_mqtt m;
    struct cli_args args;
    char told[TEXT_BYTES];
};

static int parse(const char *const *words, struct parsed *ret)
{
    memset(ret, 0, sizeof(*ret));
    FILE *err = fmemopen(ret->told, TEXT_BYTES, "w");
    assert_non_null(err);
    struct cli cli = {.program = "sallyport", .out = stdout, .err = err};
    char *argv[WORDS_MAX];
    int n = 0;
    for (; words[n] != NULL; n++) {
        argv[n] = (char *)(uintptr_t)words[n]; /* nothing is written there */
    }
    int code = client_mqtt_arguments(&cli, &command, MQTT_TOOL_PUB, n, argv, &ret->m, &ret->args);
    fclose(err);
    return code;
}

static void make_file(char path[64], const char *text, size_t n)
{
    (void)snprintf(path, 64, "/tmp/sallyport-options-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), (ssize_t)n);
    close(fd);
}

static void test_file(void **state)
{
    (void)state;
    static const char text[] = "# a comment\n\n-t a/b c\r\n  --qos\t 1\n-r\n"
                               "-D publish user-property k a value\n-P secret";
    static struct parsed p;
    char path[64];
    make_file(path, text, sizeof(text) - 1);
    const char *const words[] = {"-o", path, "-q", "2", "-m", "-o", NULL};
    assert_int_equal(parse(words, &p), CLI_DONE);
    unlink(path);
    assert_string_equal(cli_value(&p.args, "--topic"), "a/b c");
    assert_string_equal(cli_value(&p.args, "--qos"), "2"); /* the command line wins */
    assert_string_equal(cli_value(&p.args, "--message"), "-o");
    assert_string_equal(cli_value(&p.args, "--pw"), "secret");
    assert_true(cli_has(&p.args, "--retain"));
    assert_int_equal(p.m.props.of[CLIENT_PROPS_PUBLISH].n_user, 1);
    assert_string_equal(p.told, ""); /* a password in a file is nobody else's to read */
    client_mqtt_done(&p.m);
}

static void test_warnings(void **state)
{
    (void)state;
    static struct parsed p;
    static const struct {
        const char *words[WORDS_MAX];
        bool warns;
    } cases[] = {{{"-P", "x", NULL}, true},
                 {{"--pw=x", NULL}, true},
                 {{"-L", "mqtts://u:p@h/t", NULL}, true},
                 {{"-L", "mqtts://u@h:1/t", NULL}, false},
                 {{"-L", "mqtts://h:1/t@u", NULL}, false},
                 {{"-m", "-P", NULL}, false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(parse(cases[i].words, &p), CLI_DONE);
        if ((strstr(p.told, "--password-file") != NULL) != cases[i].warns) {
            fail_msg("case %zu: %s", i, p.told);
        }
        client_mqtt_done(&p.m);
    }
}

static void test_bad_files(void **state)
{
    (void)state;
    static struct parsed p;
    static char large[LARGE_BYTES + 1];
    static const struct {
        const char *text;
        size_t n;
        int code;
    } cases[] = {{"-m a\0b", 6, CLI_USAGE},
                 {"--nonsense", 10, CLI_USAGE},
                 {"-D publish x", 12, CLI_USAGE},
                 {"--insecure", 10, CLI_USAGE},
                 {"", 0, CLI_DONE},
                 {large, LARGE_BYTES, CLI_DONE},
                 {large, LARGE_BYTES + 1, CLI_FAILED}};
    memset(large, ' ', sizeof(large));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char path[64];
        make_file(path, cases[i].text, cases[i].n);
        const char *const words[] = {"-o", path, NULL};
        int code = parse(words, &p);
        unlink(path);
        if (code != cases[i].code) {
            fail_msg("case %zu: %d %s", i, code, p.told);
        }
        client_mqtt_done(&p.m);
    }
    /* More words than there is room for. */
    char path[64];
    for (size_t i = 0; i + 3 < sizeof(large); i += 3) {
        slice_copy(&large[i], slice_text("-r\n"));
    }
    make_file(path, large, 3 * CLIENT_ARGS_MAX);
    const char *const words[] = {"-o", path, NULL};
    assert_int_equal(parse(words, &p), CLI_USAGE);
    unlink(path);
    client_mqtt_done(&p.m);
    const char *const missing[] = {"-o", "/nonexistent", NULL};
    assert_int_equal(parse(missing, &p), CLI_FAILED);
    client_mqtt_done(&p.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_file), cmocka_unit_test(test_warnings),
                                       cmocka_unit_test(test_bad_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
