#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/cli/mqtt_flags.h"
#include "base/scope.h"
#include "base/slice.h"

enum { TEXT_BYTES = 16 * 1024 };

static const enum mqtt_tool tools[] = {MQTT_TOOL_PUB, MQTT_TOOL_SUB, MQTT_TOOL_RPC};

/* No name means two things in one tool, and a value is always expected where one is. */
static void test_names_are_unique(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT_OF(tools); t++) {
        struct cli_option options[CLI_OPTIONS_MAX];
        mqtt_flags_table(tools[t], options);
        for (size_t i = 0; options[i].name != NULL; i++) {
            assert_int_equal(options[i].name[0], '-');
            for (size_t k = i + 1; options[k].name != NULL; k++) {
                assert_string_not_equal(options[i].name, options[k].name);
                if (options[i].brief != NULL && options[k].brief != NULL) {
                    assert_string_not_equal(options[i].brief, options[k].brief);
                }
            }
        }
    }
}

/* What people type, by tool; the tools take every one of them. */
static void test_known_names(void **state)
{
    (void)state;
    static const struct {
        enum mqtt_tool tool;
        const char *names;
    } known[] = {
        {MQTT_TOOL_PUB,
         "-h -p -u -P -t -m -f -l -n -s -q -r -i -I -k -c -x -V -A -L -d -o --cafile --capath "
         "--cert --key --ciphers --tls-version --tls-alpn --tls-use-os-certs --will-topic "
         "--will-payload --will-qos --will-retain --repeat --repeat-delay --host --port --username "
         "--pw --topic --message --file --stdin-line --null-message --stdin-file --qos --retain "
         "--id --id-prefix --keepalive --disable-clean-session --protocol-version --url --debug "
         "--nodelay"},
        {MQTT_TOOL_SUB,
         "-h -p -u -P -t -q -i -I -k -c -x -V -A -L -d -o -v -F -C -W -E -N -R -T -U -w "
         "--retained-only --remove-retained --retain-as-published --retain-handling --message-rate "
         "--pretty --verbose --unsubscribe --filter-out"},
        {MQTT_TOOL_RPC, "-h -p -u -P -t -e -m -f -n -s -q -i -I -k -c -x -V -A -L -d -o -F -N -R "
                        "-v -W --pretty"},
    };
    for (size_t t = 0; t < COUNT_OF(known); t++) {
        struct cli_option options[CLI_OPTIONS_MAX];
        mqtt_flags_table(known[t].tool, options);
        struct slice rest = slice_text(known[t].names);
        bool more = true;
        while (more) {
            struct slice name = slice_cut(&rest, ' ', &more);
            size_t i = 0;
            while (options[i].name != NULL && !slice_is(name, options[i].name) &&
                   !(options[i].brief != NULL && slice_is(name, options[i].brief))) {
                i++;
            }
            if (options[i].name == NULL) {
                fail_msg("%.*s is not there", SLICE_ARG(name));
            }
        }
    }
}

static const struct cli_command command = {.name = "pub"};

/* What is refused says why and what to do instead. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *says;
    } cases[] = {{"--insecure", NULL, "--cafile"},
                 {"--psk", "00", "coap"},
                 {"--psk-identity", "x", "--bundle"},
                 {"--proxy", "x", "ssh -L"},
                 {"--unix", "/x", "--bundle"},
                 {"-S", NULL, "-h"},
                 {"--keyform", "pem", "PEM"},
                 {"--tls-engine", "x", "PEM"},
                 {"--tls-engine-kpass-sha1", "x", "PEM"},
                 {"--quiet", NULL, "/dev/null"},
                 {"--random-filter", "5", "-C"},
                 {"-M", "5", "inflight"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char told[TEXT_BYTES] = "";
        FILE *err = fmemopen(told, sizeof(told), "w");
        assert_non_null(err);
        struct cli cli = {.program = "sallyport", .out = stdout, .err = err};
        struct cli_option options[CLI_OPTIONS_MAX];
        struct cli_args a;
        char *argv[] = {(char *)(uintptr_t)cases[i].name, (char *)(uintptr_t)cases[i].value};
        mqtt_flags_table(MQTT_TOOL_SUB, options);
        assert_true(cli_parse(&cli, &command, options, cases[i].value != NULL ? 2 : 1, argv, &a));
        assert_int_equal(mqtt_flags_refuse(&cli, &command, &a), CLI_USAGE);
        fclose(err);
        if (strstr(told, cases[i].says) == NULL) {
            fail_msg("%s: %s", cases[i].name, told);
        }
    }
}

/* --help has every option of the tool, and nothing is said for other commands. */
static void test_help(void **state)
{
    (void)state;
    static const char *const names[] = {"pub", "sub", "rpc"};
    for (size_t t = 0; t < COUNT_OF(tools); t++) {
        char text[TEXT_BYTES] = "";
        FILE *to = fmemopen(text, sizeof(text), "w");
        assert_non_null(to);
        mqtt_flags_help(to, names[t]);
        fclose(to);
        struct cli_option options[CLI_OPTIONS_MAX];
        mqtt_flags_table(tools[t], options);
        for (size_t i = 0; options[i].name != NULL; i++) {
            if (strstr(text, options[i].name) == NULL) {
                fail_msg("%s: %s", names[t], options[i].name);
            }
        }
    }
    char text[TEXT_BYTES] = "";
    FILE *to = fmemopen(text, sizeof(text), "w");
    mqtt_flags_help(to, "serve");
    fclose(to);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_unique), cmocka_unit_test(test_known_names),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_help)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
