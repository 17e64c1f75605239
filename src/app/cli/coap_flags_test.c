#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <string.h>

#include "app/cli/coap_ask.h"
#include "app/cli/coap_flags.h"
#include "base/scope.h"

enum { TEXT_BYTES = 16 * 1024, ARGUMENTS_MAX = 48 };

static const struct cli_command command = {.name = "coap"};

static size_t find(const struct cli_option *options, const char *name)
{
    size_t i = 0;
    while (options[i].name != NULL && strcmp(options[i].name, name) != 0 &&
           (options[i].brief == NULL || strcmp(options[i].brief, name) != 0)) {
        i++;
    }
    return i;
}

/* No name means two things. */
static void test_names_are_unique(void **state)
{
    (void)state;
    struct cli_option options[CLI_OPTIONS_MAX];
    coap_flags_table(options);
    for (size_t i = 0; options[i].name != NULL; i++) {
        assert_int_equal(find(options, options[i].name), i);
        if (options[i].brief != NULL) {
            assert_int_equal(find(options, options[i].brief), i);
        }
    }
}

/* What coap-client of libcoap 4.3 takes, with or without a value. */
static void test_known_names(void **state)
{
    (void)state;
    static const char with_value[] = "abeflmopstvABGHKLOPTXhkucjCJMRSE";
    static const char alone[] = "rwNUn";
    struct cli_option options[CLI_OPTIONS_MAX];
    coap_flags_table(options);
    for (size_t i = 0; i < sizeof(with_value) + sizeof(alone) - 2; i++) {
        bool has_value = i < sizeof(with_value) - 1;
        char name[] = {'-', has_value ? with_value[i] : alone[i - sizeof(with_value) + 1], '\0'};
        size_t at = find(options, name);
        if (options[at].name == NULL || (options[at].arity != CLI_FLAG) != has_value) {
            fail_msg("%s is not there, or not so", name);
        }
    }
}

/* Reads a line of words as `coap` would; what was told goes to `told`. */
static int reads(const char *line, struct coap_ask *ask, char told[TEXT_BYTES])
{
    static char words[TEXT_BYTES];
    char *argv[ARGUMENTS_MAX];
    int argc = 0;
    char *rest = words;
    struct cli_option options[CLI_OPTIONS_MAX];
    struct cli_args args;
    (void)snprintf(words, sizeof(words), "%s", line);
    for (char *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    told[0] = '\0';
    FILE *err = fmemopen(told, TEXT_BYTES, "w");
    assert_non_null(err);
    struct cli cli = {.program = "sallyport", .out = stdout, .err = err};
    coap_flags_table(options);
    *ask = (struct coap_ask){.szx = 0};
    int code = cli_parse(&cli, &command, options, argc, argv, &args)
                   ? coap_ask_read(&cli, &command, &args, ask)
                   : CLI_USAGE;
    fclose(err);
    return code;
}

/* What is refused says why and what to do instead. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"get coaps://h/a --insecure", "--cafile"},
        {"get coaps://h/a -n", "--cafile"},
        {"get coaps://h/a -T 1", "random"},
        {"get coaps://h/a -l 1", "netem"},
        {"get coaps://h/a -G 2", "for i in"},
        {"get coaps://h/a -L 1", "-b"},
        {"get coaps://h/a -p 1", "coaps://HOST:PORT"},
        {"get coaps://h/a -P coap://p", "OSCORE"},
        {"get coaps://h/a -r -u me -k 0123456789abcdef", "certificate"},
        {"get coaps+tcp://h/a -u me", "certificate"},
        {"get coaps+tcp://h/a -N", "datagrams"},
        {"get coaps+tcp://h/a -E f", "coap://"},
        {"get coaps+tcp://h/a -X 1151", "-X takes"},
        {"get coaps+ws://h/a", "--bundle"},
        {"get coaps://h/a -X 2000", "TCP"},
        {"get coap+tcp://h/a", "coaps+tcp://"},
        {"get coap://h/a -r", "coaps+tcp://"},
        {"get coaps://h/a -h f", "--bundle"},
        {"get coaps://h/a -J 1", "PEM"},
        {"get coaps://h/a -M f", "--bundle"},
        {"get coaps://h/a -S f", "bundle"},
        {"get coap://h/a", "OSCORE"},
        {"get coap://h/a --bundle /nowhere", "oscore.json"},
        {"get coap://h/a -E f,g", "FILE.state"},
        {"get coaps://h/a -E f", "coap://"},
        {"get coap://h/a -E f -k 0123456789abcdef", "coaps://"},
        {"get http://h/a", "coaps://"},
        {"get a b c", "each with one URI"},
        {"grab coaps://h/a", "ipatch"},
        {"get coaps://h/a -m put", "ipatch"},
        {"get coaps://h/a -u me -k 0123456789abcdef -b 17", "16, 32"},
        {"put coaps://h/a -u me -k 0123456789abcdef -s 5", "-B"},
        {"get coaps://h/a -u me -k 0123456789abcdef -e x", "-e TEXT"},
        {"get coaps://h/a -u me -k 0123456789abcdef -t 0", "-t takes"},
        {"put coaps://h/a -u me -k 0123456789abcdef -t no/such", "-t takes"},
        {"get coaps://h/a -u me -k 0123456789abcdef -A 65536", "-A takes"},
        {"get coaps://h/a -u me -k 0123456789abcdef -H 0", "1 to 255"},
        {"get coaps://h/a -u me -k 0123456789abcdef -O 15", "NUMBER,TEXT"},
        {"get coaps://h/a -u me -k 0123456789abcdef -O 70000,x", "NUMBER,TEXT"},
        {"get coaps://h/a -u me -k 0123456789abcdef -O 15,0xabc", "hexadecimal"},
        {"get coaps://h/a -u me -k 0123456789abcdef -O 6,x", "-s"},
        {"get coaps://h/a -u me -k 0123456789abcdef -O 9,x", "oscore.json"},
        {"get coaps://h/a -u me -k 0123456789abcdef -O 23,x", "-b"},
        {"get coaps://h/a -u me -k 0123456789abcdef -O 27,x", "-b"},
        {"get coaps://h/a -u me -k 0123456789abcdef -O 252,x", "by itself"},
        {"get coaps://h/a -u me -k 0123456789abcdef -O 292,x", "by itself"},
        {"get coaps://h/a -k 0123456789abcdef", "-u NAME"},
        {"get coaps://h/a", "--bundle"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct coap_ask ask;
        char told[TEXT_BYTES];
        if (reads(cases[i].line, &ask, told) != CLI_USAGE || strstr(told, cases[i].says) == NULL) {
            fail_msg("%s: %s", cases[i].line, told);
        }
        coap_ask_done(&ask);
    }
}

/* The options of a request are in order, whatever stood first. */
static void test_a_request(void **state)
{
    (void)state;
    static const uint16_t numbers[] = {3, 6, 11, 11, 12, 15, 15, 16, 17, 258, 2049};
    struct coap_ask ask;
    char told[TEXT_BYTES];
    struct coap_option o;
    size_t n = 0;
    assert_int_equal(
        reads("-m fetch coaps://h.example:99/a/b?c -u me -k 0123456789abcdef -s 7 -B 3 "
              "-K 2 -N -v 6 -b 32 -O 2049,x -O 15,0x64 -O 258,0x1A -A 50 -H 9 -t "
              "application/json -e yes -o file -a 127.0.0.2",
              &ask, told),
        CLI_DONE);
    struct coap_options it = coap_options_from(ask.request.options);
    while (coap_options_next(&it, &o)) {
        assert_true(n < COUNT_OF(numbers));
        assert_int_equal(o.number, numbers[n++]);
    }
    assert_int_equal(n, COUNT_OF(numbers));
    assert_int_equal(ask.request.code, COAP_FETCH);
    assert_false(ask.request.confirmable);
    assert_true(slice_is(ask.request.payload, "yes"));
    assert_true(ask.observes && ask.is_traced);
    assert_int_equal(ask.carrier, COAP_BY_DTLS);
    assert_int_equal(ask.observe_ms, 7000);
    assert_int_equal(ask.wait_ms, 3000);
    assert_int_equal(ask.ping_ms, 2000);
    assert_int_equal(ask.szx, 1);
    assert_string_equal(ask.target.host, "h.example");
    assert_int_equal(ask.target.port, 99);
    assert_string_equal(ask.target.from, "127.0.0.2");
    assert_string_equal(ask.output, "file");
    uint8_t room[COAP_ASK_OPTIONS_BYTES];
    struct slice cancel;
    uint32_t observe = 0;
    assert_int_equal(coap_ask_cancel(&ask, room, &cancel), OK);
    assert_true(coap_options_find_uint(cancel, COAP_OPTION_OBSERVE, &observe));
    assert_int_equal(observe, 1);
    coap_ask_done(&ask);
    assert_int_equal(reads("coaps://h -U -u me -k 0123456789abcdef", &ask, told), CLI_DONE);
    assert_int_equal(ask.request.code, COAP_GET);
    assert_int_equal(ask.request.options.n, 0);
    assert_true(ask.request.confirmable);
    coap_ask_done(&ask);
}

/* As many options as there is room for, and one more. */
static void test_too_many_options(void **state)
{
    (void)state;
    for (int n = 126; n <= 128; n++) { /* beside Uri-Host */
        char path[256] = "", line[TEXT_BYTES], told[TEXT_BYTES];
        memset(path, '/', (size_t)n); /* parts without a letter are parts, too */
        (void)snprintf(line, sizeof(line), "coaps://h%s -u me -k 0123456789abcdef", path);
        struct coap_ask ask;
        assert_int_equal(reads(line, &ask, told), n <= 127 ? CLI_DONE : CLI_USAGE);
        coap_ask_done(&ask);
    }
}

/* --help has every option, and nothing is said for other commands. */
static void test_help(void **state)
{
    (void)state;
    char text[TEXT_BYTES] = "";
    struct cli_option options[CLI_OPTIONS_MAX];
    FILE *to = fmemopen(text, sizeof(text), "w");
    assert_non_null(to);
    coap_flags_help(to, "serve");
    assert_int_equal(ftell(to), 0);
    coap_flags_help(to, "coap");
    fclose(to);
    coap_flags_table(options);
    for (size_t i = 0; options[i].name != NULL; i++) {
        if (strstr(text, options[i].name) == NULL) {
            fail_msg("%s", options[i].name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_unique), cmocka_unit_test(test_known_names),
        cmocka_unit_test(test_refusals),         cmocka_unit_test(test_a_request),
        cmocka_unit_test(test_too_many_options), cmocka_unit_test(test_help)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
