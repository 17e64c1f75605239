#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/cli/client_props.h"
#include "base/scope.h"

enum { WORDS_MAX = 6, TEXT_BYTES = 2048, BYTES_MAX = 128 };

static const struct cli_command command = {.name = "test"};

static int add(struct client_props *p, const char *const *words, int *ret_used,
               char told[TEXT_BYTES])
{
    FILE *err = fmemopen(told, TEXT_BYTES, "w");
    assert_non_null(err);
    struct cli cli = {.program = "sallyport", .out = stdout, .err = err};
    char *argv[WORDS_MAX];
    int n = 0;
    for (; words[n] != NULL; n++) {
        argv[n] = (char *)(uintptr_t)words[n]; /* nothing is written there */
    }
    int code = client_props_add(p, &cli, &command, argv, n, ret_used);
    fclose(err);
    return code;
}

/* hex: the property block that goes out. */
static const struct good_case {
    const char *words[WORDS_MAX];
    enum client_props_kind kind;
    int used;
    const char *hex;
} goods[] = {
    {{"publish", "payload-format-indicator", "1"}, CLIENT_PROPS_PUBLISH, 3, "020101"},
    {{"PUBLISH", "message-expiry-interval", "4294967295", "x"},
     CLIENT_PROPS_PUBLISH,
     3,
     "0502ffffffff"},
    {{"publish", "content-type", "a/b"}, CLIENT_PROPS_PUBLISH, 3, "06030003612f62"},
    {{"publish", "response-topic", "r"}, CLIENT_PROPS_PUBLISH, 3, "0408000172"},
    {{"publish", "correlation-data", "\xff"}, CLIENT_PROPS_PUBLISH, 3, "04090001ff"},
    {{"publish", "topic-alias", "7"}, CLIENT_PROPS_PUBLISH, 3, "03230007"},
    {{"publish", "user-property", "k", "v"},
     CLIENT_PROPS_PUBLISH,
     4,
     "07260001"
     "6b0001"
     "76"},
    {{"subscribe", "subscription-identifier", "268435455"},
     CLIENT_PROPS_SUBSCRIBE,
     3,
     "050bffffff7f"},
    {{"unsubscribe", "user-property", "k", ""}, CLIENT_PROPS_UNSUBSCRIBE, 4, "062600016b0000"},
    {{"connect", "session-expiry-interval", "0"}, CLIENT_PROPS_CONNECT, 3, "051100000000"},
    {{"connect", "receive-maximum", "1"}, CLIENT_PROPS_CONNECT, 3, "03210001"},
    {{"connect", "maximum-packet-size", "100"}, CLIENT_PROPS_CONNECT, 3, "052700000064"},
    {{"connect", "request-problem-information", "0"}, CLIENT_PROPS_CONNECT, 3, "021700"},
    {{"connect", "request-response-information", "1"}, CLIENT_PROPS_CONNECT, 3, "021901"},
    {{"will", "will-delay-interval", "5"}, CLIENT_PROPS_WILL, 3, "051800000005"},
    {{"disconnect", "session-expiry-interval", "9"}, CLIENT_PROPS_DISCONNECT, 3, "051100000009"},
};

static void test_goods(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(goods); i++) {
        struct client_props p;
        char told[TEXT_BYTES] = "", hex[2 * BYTES_MAX + 1] = "";
        uint8_t bytes[BYTES_MAX];
        int used = 0;
        client_props_init(&p);
        if (add(&p, goods[i].words, &used, told) != CLI_DONE) {
            fail_msg("%s %s: %s", goods[i].words[0], goods[i].words[1], told);
        }
        client_props_finish(&p);
        struct wr w = wr_into(bytes, sizeof(bytes));
        mqtt_props_encode(&p.of[goods[i].kind], &w);
        assert_true(wr_ok(&w));
        for (size_t k = 0; k < w.at; k++) {
            (void)snprintf(hex + 2 * k, 3, "%02x", bytes[k]);
        }
        assert_int_equal(used, goods[i].used);
        assert_string_equal(hex, goods[i].hex);
        assert_true(p.given);
    }
}

static const struct bad_case {
    const char *words[WORDS_MAX];
    const char *says;
} bads[] = {
    {{NULL}, "connect|publish"},
    {{"publish", NULL}, "connect|publish"},
    {{"puback", "user-property", "a", "b"}, "connect|publish"},
    {{"publish", "content-type", NULL}, "needs a value"},
    {{"publish", "user-property", "k", NULL}, "a key and a value"},
    {{"publish", "will-delay-interval", "1"}, "valid are: payload-format-indicator"},
    {{"publish", "nonsense", "1"}, "topic-alias user-property"},
    {{"subscribe", "content-type", "x"}, "valid are: subscription-identifier user-property"},
    {{"publish", "payload-format-indicator", "2"}, "from 0 to 1"},
    {{"publish", "payload-format-indicator", "-1"}, "from 0 to 1"},
    {{"publish", "payload-format-indicator", ""}, "from 0 to 1"},
    {{"publish", "topic-alias", "0"}, "from 1 to 65535"},
    {{"publish", "topic-alias", "65536"}, "from 1 to 65535"},
    {{"subscribe", "subscription-identifier", "268435456"}, "from 1 to 268435455"},
    {{"connect", "session-expiry-interval", "4294967296"}, "to 4294967295"},
    {{"connect", "session-expiry-interval", "99999999999999999999"}, "to 4294967295"},
    {{"publish", "content-type", "\xff"}, "UTF-8"},
    {{"publish", "user-property", "k", "\xc0\x80"}, "UTF-8"},
    {{"connect", "topic-alias-maximum", "5"}, "takes no topic aliases"},
    {{"connect", "authentication-method", "x"}, "--bundle"},
};

static void test_bads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bads); i++) {
        struct client_props p;
        char told[TEXT_BYTES] = "";
        int used = 0;
        client_props_init(&p);
        assert_int_equal(add(&p, bads[i].words, &used, told), CLI_USAGE);
        if (strstr(told, bads[i].says) == NULL) {
            fail_msg("case %zu: \"%s\" is not in: %s", i, bads[i].says, told);
        }
    }
}

/* So many user properties as there is room for, and one more. */
static void test_room(void **state)
{
    (void)state;
    static const char *const words[] = {"publish", "user-property", "kkkkkkkkkkk",
                                        "vvvvvvvvvvvvvvvv", NULL};
    enum { EACH = 1 + 2 + 11 + 2 + 16 };
    struct client_props p;
    char told[TEXT_BYTES] = "";
    int used;
    client_props_init(&p);
    for (size_t i = 0; i < CLIENT_PROPS_USER_BYTES / EACH; i++) {
        assert_int_equal(add(&p, words, &used, told), CLI_DONE);
    }
    assert_int_equal(add(&p, words, &used, told), CLI_USAGE);
}

/* An identifier and user properties, whichever comes first. */
static void test_together(void **state)
{
    (void)state;
    static const char *const id[] = {"subscribe", "subscription-identifier", "9", NULL};
    static const char *const user[] = {"subscribe", "user-property", "k", "v", NULL};
    for (size_t i = 0; i < 2; i++) {
        struct client_props p;
        char told[TEXT_BYTES] = "";
        uint8_t bytes[BYTES_MAX];
        int used;
        client_props_init(&p);
        assert_int_equal(add(&p, i == 0 ? id : user, &used, told), CLI_DONE);
        assert_int_equal(add(&p, i == 0 ? user : id, &used, told), CLI_DONE);
        client_props_finish(&p);
        struct wr w = wr_into(bytes, sizeof(bytes));
        mqtt_props_encode(&p.of[CLIENT_PROPS_SUBSCRIBE], &w);
        assert_true(slice_equal(wr_slice(&w), slice_of("\x09\x26\0\1k\0\1v\x0b\x09", 10)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goods), cmocka_unit_test(test_bads),
                                       cmocka_unit_test(test_room),
                                       cmocka_unit_test(test_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
