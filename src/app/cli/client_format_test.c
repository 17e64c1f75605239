#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/cli/client_format.h"
#include "base/scope.h"

enum { TEXT_BYTES = 4096, BLOCK_BYTES = 256, WALL_MS = 1500 };

#define HEAD                                                                                       \
    "{\"tst\":\"1970-01-01T00:00:01.500000+0000\",\"topic\":\"a/b\",\"qos\":1,\"retain\":1,"

static const struct format_case {
    const char *format, *payload, *want;
    bool is_terminal, with_props;
} formats[] = {
    {"%t %p", "21.5", "a/b 21.5", false, false},
    {"%q%r%l%m", "xyz", "1135", false, false},
    {"%x|%X", "\x01\xff", "01ff|01FF", false, false},
    {"%%\\n\\t\\r\\v\\a\\e\\\\", "", "%\n\t\r\v\a\x1b\\", false, false},
    {"%p", "\x1b]0;x\x07", "\x1b]0;x\x07", false, false},
    {"%p", "\x1b]0;x\x07", "\\x1b]0;x\\x07", true, false},
    {"%p",
     "\xc2\x9b"
     "2J",
     "\\xc2\\x9b2J", true, false},
    {"%p", "\xc3\xa9", "\xc3\xa9", true, false},
    {"%p", "\xff", "\\xff", true, false},
    {"%p", "a\n\tb\xe2\x80\xae/", "a\n\tb\\xe2\\x80\\xae/", true, false},
    {"%E%C%R%D%S%P%F%A", "", "", false, false},
    {"%E %C %R %D %S %P %F %A", "", "100 text/x r/t cd 7 8 k:v k:w 1 ", false, true},
    /* widths */
    {"%12t|%-12t|%3.3t|%.1t|%5.1t", "", "         a/b|a/b         |a/b|a|    a", false, false},
    {"%8p|%-8p|%2p", "hello", "   hello|hello   |hello", false, false},
    {"%05l|%-5l|%5l|%-05l", "hello", "00005|5    |    5|5    ", false, false},
    {"%03m|%3m", "", "005|  5", false, false},
    {"%6x|%-6x|%06X", "\xab", "    ab|ab    |0000AB", false, false},
    {"%10C|%-10C|%010E|%5F|%4A|%4S|", "", "          |          |0000000000|     |    |    |",
     false, false},
    {"%10C|%-10C|%.4C|%010E|%5F", "", "    text/x|text/x    |text|0000000100|    1", false, true},
    {"%10R|%-5R|%.1R", "", "       r/t|r/t  |r", false, true},
    {"%010t", "", "       a/b", false, false},
    /* time */
    {"%I|%30I|%-26I|%.4I", "",
     "1970-01-01T00:00:01+0000|      1970-01-01T00:00:01+0000|1970-01-01T00:00:01+0000  |1970",
     false, false},
    {"%U", "", "1.500000000", false, false},
    {"@Y-@m-@d @H:@M:@S @s.@N @@ @j", "", "1970-01-01 00:00:01 1.500000000 @ 001", false, false},
    /* JSON */
    {"%j", "x", HEAD "\"payloadlen\":1,\"mid\":5,\"payload\":\"x\"}", false, false},
    {"%j", "", HEAD "\"payloadlen\":0,\"mid\":5,\"payload\":null}", false, false},
    {"%j", "\"\n", HEAD "\"payloadlen\":2,\"mid\":5,\"payload\":\"\\\"\\n\"}", false, false},
    {"%j", "\xff", HEAD "\"payloadlen\":1,\"mid\":5,\"payload_hex\":\"ff\"}", false, false},
    {"%j", "\xc2\x9b", HEAD "\"payloadlen\":2,\"mid\":5,\"payload\":\"\\u009B\"}", true, false},
    {"%J", "{\"a\":0.10,\r\n \"b\":[1]}",
     HEAD "\"payloadlen\":21,\"mid\":5,\"payload\":{\"a\":0.10,   \"b\":[1]}}", false, false},
    {"%J", "12345678901234567890",
     HEAD "\"payloadlen\":20,\"mid\":5,\"payload\":12345678901234567890}", false, false},
    {"%J", "", HEAD "\"payloadlen\":0,\"mid\":5,\"payload\":null}", false, false},
    {"%j", "x",
     HEAD "\"payloadlen\":1,\"mid\":5,\"properties\":{\"payload-format-indicator\":1,"
          "\"message-expiry-interval\":100,\"content-type\":\"text/x\",\"response-topic\":\"r/t\","
          "\"correlation-data\":\"cd\",\"subscription-identifier\":[7,8],\"user-properties\":{"
          "\"k\":[\"v\",\"w\"]}},\"payload\":\"x\"}",
     false, true},
};

static void write_props(struct wr *w)
{
    mqtt_prop_write_number(w, MQTT_PROP_PAYLOAD_FORMAT, 1);
    mqtt_prop_write_number(w, MQTT_PROP_MESSAGE_EXPIRY, 100);
    mqtt_prop_write_text(w, MQTT_PROP_CONTENT_TYPE, slice_text("text/x"));
    mqtt_prop_write_text(w, MQTT_PROP_RESPONSE_TOPIC, slice_text("r/t"));
    mqtt_prop_write_text(w, MQTT_PROP_CORRELATION_DATA, slice_text("cd"));
    mqtt_prop_write_number(w, MQTT_PROP_SUBSCRIPTION_ID, 7);
    mqtt_prop_write_number(w, MQTT_PROP_SUBSCRIPTION_ID, 8);
    mqtt_prop_write_user(w, slice_text("k"), slice_text("v"));
    mqtt_prop_write_user(w, slice_text("k"), slice_text("w"));
}

/* As they come off the wire. */
static void make_props(uint8_t block[BLOCK_BYTES], struct mqtt_props *ret)
{
    struct wr w = wr_into(block + 1, BLOCK_BYTES - 1);
    write_props(&w);
    assert_true(wr_ok(&w) && w.at < 128);
    block[0] = (uint8_t)w.at;
    struct rd r = rd_from(slice_of(block, w.at + 1));
    assert_int_equal(mqtt_props_decode(&r, MQTT_PUBLISH, 10, NULL, ret), OK);
}

static enum err print(const struct client_print *how, const char *payload, bool with_props,
                      char text[TEXT_BYTES])
{
    uint8_t block[BLOCK_BYTES];
    struct mqtt_publish m = {.topic = slice_text("a/b"),
                             .payload = slice_text(payload),
                             .packet_id = 5,
                             .qos = 1,
                             .retain = true};
    if (with_props) {
        make_props(block, &m.props);
    }
    memset(text, 0, TEXT_BYTES);
    FILE *to = fmemopen(text, TEXT_BYTES, "w");
    assert_non_null(to);
    enum err err = client_format_print(to, how, &m, WALL_MS);
    fclose(to);
    return err;
}

static void test_formats(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        char text[TEXT_BYTES];
        struct client_print how = {.format = formats[i].format,
                                   .is_terminal = formats[i].is_terminal};
        assert_null(client_format_check(formats[i].format));
        assert_int_equal(print(&how, formats[i].payload, formats[i].with_props, text), OK);
        assert_string_equal(text, formats[i].want);
    }
}

/* On a terminal a topic or a property begins no line: it would stand there like another message. */
static void test_one_line(void **state)
{
    (void)state;
    static const char forged[] = "a\ndoor/state open";
    uint8_t block[BLOCK_BYTES];
    struct wr w = wr_into(block + 1, BLOCK_BYTES - 1);
    struct mqtt_publish m = {.topic = slice_text(forged), .payload = slice_text("x\ny")};
    mqtt_prop_write_text(&w, MQTT_PROP_CONTENT_TYPE, slice_text("c\nd"));
    mqtt_prop_write_user(&w, slice_text("k\nl"), slice_text("v\nw"));
    block[0] = (uint8_t)w.at;
    struct rd r = rd_from(slice_of(block, w.at + 1));
    assert_int_equal(mqtt_props_decode(&r, MQTT_PUBLISH, 10, NULL, &m.props), OK);
    for (int is_terminal = 0; is_terminal < 2; is_terminal++) {
        char text[TEXT_BYTES] = "";
        struct client_print how = {.format = "%t %p %C %P", .is_terminal = is_terminal == 1};
        FILE *to = fmemopen(text, TEXT_BYTES, "w");
        assert_non_null(to);
        assert_int_equal(client_format_print(to, &how, &m, WALL_MS), OK);
        fclose(to);
        assert_string_equal(text, is_terminal == 1
                                      ? "a\\x0adoor/state open x\ny c\\x0ad k\\x0al:v\\x0aw"
                                      : "a\ndoor/state open x\ny c\nd k\nl:v\nw");
    }
}

static void test_nul(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    struct client_print how = {.format = "%t\\0%p"};
    assert_int_equal(print(&how, "x", false, text), OK);
    assert_memory_equal(text, "a/b\0x", 6);
}

static void test_more_json(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    struct client_print own = {.format = "%p", .own_json = true};
    assert_int_equal(print(&own, "x", false, text), OK);
    assert_string_equal(text, "{\"time\":\"1970-01-01T00:00:01.500Z\",\"topic\":\"a/b\",\"qos\":1,"
                              "\"retain\":true,\"bytes\":1,\"payload\":\"x\"}");
    assert_int_equal(print(&own, "\xff", false, text), OK);
    assert_string_equal(text, "{\"time\":\"1970-01-01T00:00:01.500Z\",\"topic\":\"a/b\",\"qos\":1,"
                              "\"retain\":true,\"bytes\":1,\"payload_hex\":\"ff\"}");
    struct client_print pretty = {.format = "%J", .pretty = true};
    assert_int_equal(print(&pretty, "[1]", false, text), OK);
    assert_string_equal(text, "{\n  \"tst\": \"1970-01-01T00:00:01.500000+0000\",\n  \"topic\": "
                              "\"a/b\",\n  \"qos\": 1,\n  \"retain\": 1,\n  \"payloadlen\": 3,\n  "
                              "\"mid\": 5,\n  \"payload\": [1]\n}");
}

/* Nothing is written when the payload is not what %J promises. */
static void test_not_json(void **state)
{
    (void)state;
    static const char *const payloads[] = {"hello", "{", "{}x", "\xff", "{\"a\":\"\n\"}"};
    for (size_t i = 0; i < COUNT_OF(payloads); i++) {
        char text[TEXT_BYTES];
        struct client_print how = {.format = "x%J"};
        assert_int_equal(print(&how, payloads[i], false, text), ERR_MALFORMED);
        assert_string_equal(text, "");
    }
}

static void test_check(void **state)
{
    (void)state;
    static const struct {
        const char *format, *wrong;
    } cases[] = {
        {"%t %z", "%z"},
        {"a%", "%"},
        {"\\q", "\\q"},
        {"\\", "\\"},
        {"@", "@"},
        {"@1", "@1"},
        {"%5q", "%5q"},
        {"%-r", "%-r"},
        {"%.3p", "%.3p"},
        {"%5%", "%5%"},
        {"%5j", "%5j"},
        {"%10001t", "%10001t"},
        {"%.10001t", "%.10001t"},
        {"%99999999999999999999t", "%99999999999999999999t"},
        {"%5", "%5"},
        {"%10000t%.10000t", NULL},
        {"%--00t", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *wrong = client_format_check(cases[i].format);
        if (cases[i].wrong == NULL) {
            assert_null(wrong);
        } else {
            assert_non_null(wrong);
            assert_string_equal(wrong, cases[i].wrong);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),  cmocka_unit_test(test_nul),
        cmocka_unit_test(test_one_line), cmocka_unit_test(test_more_json),
        cmocka_unit_test(test_not_json), cmocka_unit_test(test_check)};
    (void)setenv("TZ", "UTC0", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
