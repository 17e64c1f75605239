#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "app/cli/client_mqtt.h"
#include "base/scope.h"

enum { ARGS_MAX = 16, TEXT_BYTES = 4096 };

/* ---- command lines that end before anything is sent ---- */

static const struct usage_case {
    const char *name;
    const char *args[ARGS_MAX];
    int exit_code;
} usages[] = {
    {"pub alone", {"pub", NULL}, CLI_USAGE},
    {"no --insecure", {"pub", "-t", "a", "-m", "x", "--insecure", NULL}, CLI_USAGE},
    {"no --insecure for sub", {"sub", "-t", "a", "--insecure", NULL}, CLI_USAGE},
    {"no --insecure for coap", {"coap", "get", "coaps://h/a", "--insecure", NULL}, CLI_USAGE},
    {"nobody to trust", {"pub", "-t", "a", "-m", "x", "-h", "localhost", NULL}, CLI_USAGE},
    {"no such bundle", {"pub", "-t", "a", "-m", "x", "--bundle", "/nonexistent", NULL}, CLI_FAILED},
    {"no such authority",
     {"pub", "-t", "a", "-m", "x", "--cafile", "/nonexistent", NULL},
     CLI_FAILED},
    {"no payload", {"pub", "-t", "a", "--cafile", "/dev/null", NULL}, CLI_USAGE},
    {"port 0", {"sub", "-t", "a", "-p", "0", NULL}, CLI_USAGE},
    {"port 65536", {"sub", "-t", "a", "-p", "65536", NULL}, CLI_USAGE},
    {"a property of another packet",
     {"pub", "-D", "publish", "will-delay-interval", "1", NULL},
     CLI_USAGE},
    {"a property without value", {"pub", "-D", "publish", "user-property", "k", NULL}, CLI_USAGE},
    {"a number over its range",
     {"pub", "-D", "publish", "payload-format-indicator", "2", NULL},
     CLI_USAGE},
    {"coap:// is in the clear", {"coap", "get", "coap://localhost/a", NULL}, CLI_USAGE},
    {"not a URI", {"coap", "get", "localhost/a", NULL}, CLI_USAGE},
    {"not a method", {"coap", "melt", "coaps://localhost/a", NULL}, CLI_USAGE},
    {"bench is not for strangers", {"bench", "--plain", "-h", "192.0.2.1", NULL}, CLI_USAGE},
    {"nor with a shape that is none", {"bench", "--plain", "--scenario", "star", NULL}, CLI_USAGE},
    {"nor with less than a number", {"bench", "--plain", "--size", "11", NULL}, CLI_USAGE},
    {"nor unknown processes", {"bench", "--plain", "--pid", "1,x", NULL}, CLI_USAGE},
    {"rpc needs an answer topic",
     {"rpc", "-t", "a", "-m", "x", "--cafile", "/dev/null", NULL},
     CLI_USAGE},
};

static void test_usage(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(usages); i++) {
        char *argv[ARGS_MAX + 1] = {(char[]){"sallyport"}};
        int argc = 1;
        for (; usages[i].args[argc - 1] != NULL; argc++) {
            argv[argc] = (char *)(uintptr_t)usages[i].args[argc - 1]; /* cli_main changes none */
        }
        int code = cli_main(argc, argv);
        if (code != usages[i].exit_code) {
            fail_msg("%s: %d, not %d", usages[i].name, code, usages[i].exit_code);
        }
    }
}

/* ---- bundles ---- */

static const struct cli_option target_options[] = {CLIENT_TARGET_OPTIONS, {NULL, NULL, CLI_FLAG}};
static const struct cli_command command = {.name = "test"};

static void put(const char *dir, const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *to = text != NULL ? fopen(path, "w") : NULL;
    if (to != NULL) {
        fputs(text, to);
        fclose(to);
    } else {
        (void)unlink(path);
    }
}

static int read_target(char *dir, enum client_door door, struct client_target *t)
{
    struct cli cli = {.program = "sallyport", .out = stdout, .err = stderr};
    char *argv[] = {(char[]){"--bundle"}, dir};
    struct cli_args a;
    assert_true(cli_parse(&cli, &command, target_options, 2, argv, &a));
    return client_target_read(&cli, &command, &a, door, t);
}

#define BUNDLE "{\"device\":\"m-1\",\"host\":\"h.example\",\"ports\":{\"mqtts\":1,\"coaps\":2}}"

static void test_bundle(void **state)
{
    (void)state;
    char dir[] = "/tmp/sallyport-client-XXXXXX";
    assert_non_null(mkdtemp(dir));
    static const struct bundle_case {
        const char *name, *json, *ca, *cert, *key, *password, *psk;
        int mqtts, coaps; /* exit codes */
        const char *username, *identity, *secret;
    } cases[] = {
        {"everything", BUNDLE, "ca", "cert", "key", "pw\n", "m-1:abc\n", CLI_DONE, CLI_DONE, "",
         "m-1", "abc"},
        {"password only", BUNDLE, "ca", NULL, NULL, "pw\r\n", NULL, CLI_DONE, CLI_FAILED, "m-1", "",
         ""},
        {"key with a colon before it", BUNDLE, "ca", NULL, NULL, NULL, "a:b:abc", CLI_DONE,
         CLI_DONE, "", "a:b", "abc"},
        {"psk without a name", BUNDLE, "ca", NULL, NULL, NULL, ":abc", CLI_FAILED, CLI_FAILED, "",
         "", ""},
        {"psk without a key", BUNDLE, "ca", NULL, NULL, NULL, "m-1:\n", CLI_FAILED, CLI_FAILED, "",
         "", ""},
        {"certificate without key", BUNDLE, "ca", "cert", NULL, NULL, "m:k", CLI_USAGE, CLI_USAGE,
         "", "m", "k"},
        {"no authority", BUNDLE, NULL, NULL, NULL, "pw", NULL, CLI_USAGE, CLI_FAILED, "m-1", "",
         ""},
        {"no ports", "{\"device\":\"m-1\",\"host\":\"h\"}", "ca", "c", "k", NULL, "m:k", CLI_FAILED,
         CLI_FAILED, "", "m", "k"},
        {"no host", "{\"device\":\"m-1\"}", "ca", "c", "k", NULL, NULL, CLI_FAILED, CLI_FAILED, "",
         "", ""},
        {"not JSON", "{", "ca", "c", "k", NULL, NULL, CLI_FAILED, CLI_FAILED, "", "", ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(client_target_done) struct client_target m = {0};
        AUTO(client_target_done) struct client_target c = {0};
        put(dir, "bundle.json", cases[i].json);
        put(dir, "ca.pem", cases[i].ca);
        put(dir, "cert.pem", cases[i].cert);
        put(dir, "key.pem", cases[i].key);
        put(dir, "password.txt", cases[i].password);
        put(dir, "psk.txt", cases[i].psk);
        if (read_target(dir, CLIENT_MQTTS, &m) != cases[i].mqtts ||
            read_target(dir, CLIENT_COAPS, &c) != cases[i].coaps) {
            fail_msg("%s", cases[i].name);
        }
        if (cases[i].mqtts == CLI_DONE) {
            assert_string_equal(m.host, "h.example");
            assert_int_equal(m.port, 1);
            assert_true(slice_is(buf_slice(&m.username), cases[i].username));
        }
        if (cases[i].coaps == CLI_DONE) {
            assert_int_equal(c.port, 2);
            assert_true(slice_is(buf_slice(&c.psk_identity), cases[i].identity));
            assert_true(slice_is(buf_slice(&c.psk), cases[i].secret));
        }
    }
    static const char *const names[] = {"bundle.json", "ca.pem",       "cert.pem",
                                        "key.pem",     "password.txt", "psk.txt"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        put(dir, names[i], NULL);
    }
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_usage), cmocka_unit_test(test_bundle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
