#include "wire/mqtt/topic.h"

#include "wire/mqtt/golden_private.h"

/* SPEC: MQTT-3.3.2-2, MQTT-4.7.3-1, MQTT-4.7.3-2, MQTT3-1.5.3-3, MQTT3-4.7.1-1, MQTT5-4.7.0-1 */
static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *topic;
        enum err err;
        uint8_t reason;
    } cases[] = {
        {"'a'", OK, 0},
        {"'/'", OK, 0},
        {"'//'", OK, 0},
        {"'a b'", OK, 0},
        {"'$SYS/x'", OK, 0},
        {"'$foo'", OK, 0},
        {"ef bb bf 'a'", OK, 0}, /* U+FEFF is text. SPEC: MQTT5-1.5.4-3 */
        {"", ERR_MALFORMED, 0x90},
        {"'+'", ERR_MALFORMED, 0x90},
        {"'a/#'", ERR_MALFORMED, 0x90},
        {"'a+b'", ERR_MALFORMED, 0x90},
        {"'a' 00", ERR_UTF8, 0x81},
        {"c0 80", ERR_UTF8, 0x81},
        {"ed a0 80", ERR_UTF8, 0x81},
        {"f4 90 80 80", ERR_UTF8, 0x81},
        {"'a' c3", ERR_UTF8, 0x81},
    };
    struct mqtt_wire_limits limits = golden_limits();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t bytes[GOLDEN_MAX];
        struct mqtt_fault fault = {0};
        struct slice s = slice_of(bytes, golden_bytes(cases[i].topic, bytes));
        enum err e = mqtt_topic_check(s, &limits, &fault);
        if (e != cases[i].err || fault.reason != cases[i].reason) {
            fail_msg("%s: %s 0x%02x", cases[i].topic, err_name(e), fault.reason);
        }
    }
}

/* SPEC: MQTT3-4.7.1-2, MQTT3-4.7.1-3, MQTT5-4.7.1-1, MQTT5-4.7.1-2, MQTT5-4.8.2-1, MQTT5-4.8.2-2 */
static void test_filters(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        bool ok;
        const char *group, *inner;
    } cases[] = {
        {"a", true, "", "a"},
        {"#", true, "", "#"},
        {"+", true, "", "+"},
        {"/", true, "", "/"},
        {"a/#", true, "", "a/#"},
        {"/#", true, "", "/#"},
        {"+/+/#", true, "", "+/+/#"},
        {"a/+/b", true, "", "a/+/b"},
        {"$SYS/#", true, "", "$SYS/#"},
        {"$shared/x", true, "", "$shared/x"},
        {"x/$share/g", true, "", "x/$share/g"},
        {"$share/g/a", true, "g", "a"},
        {"$share/g/#", true, "g", "#"},
        {"$share/g//", true, "g", "/"},
        {"$share/g/$SYS/x", true, "g", "$SYS/x"},
        {"", false, NULL, NULL},
        {"a#", false, NULL, NULL},
        {"a+", false, NULL, NULL},
        {"+a", false, NULL, NULL},
        {"##", false, NULL, NULL},
        {"#/a", false, NULL, NULL},
        {"a/#/b", false, NULL, NULL},
        {"#/", false, NULL, NULL},
        {"a/+b/c", false, NULL, NULL},
        {"$share", false, NULL, NULL},
        {"$share/", false, NULL, NULL},
        {"$share/g", false, NULL, NULL},
        {"$share/g/", false, NULL, NULL},
        {"$share//x", false, NULL, NULL},
        {"$share/+/x", false, NULL, NULL},
        {"$share/g#/x", false, NULL, NULL},
        {"$share/g/x#", false, NULL, NULL},
        {"$share/g/$share/h/x", false, NULL, NULL},
    };
    struct mqtt_wire_limits limits = golden_limits();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct mqtt_fault fault = {0};
        struct slice group, inner;
        enum err e =
            mqtt_filter_check(slice_text(cases[i].filter), &limits, &fault, &group, &inner);
        if (e != (cases[i].ok ? OK : ERR_MALFORMED) || fault.reason != (cases[i].ok ? 0 : 0x8f)) {
            fail_msg("%s: %s 0x%02x", cases[i].filter, err_name(e), fault.reason);
        }
        if (e == OK) {
            assert_true(slice_is(group, cases[i].group) && slice_is(inner, cases[i].inner));
        }
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct mqtt_wire_limits limits = {.topic_bytes = 9, .topic_levels = 2};
    struct mqtt_fault fault = {0};
    struct slice group, inner;
    assert_int_equal(mqtt_topic_check(slice_text("aaaa/bbbb"), &limits, &fault), OK);
    assert_int_equal(mqtt_topic_check(slice_text("aaaa/bbbbb"), &limits, &fault), ERR_TOO_LARGE);
    assert_int_equal(mqtt_topic_check(slice_text("a/b/c"), &limits, &fault), ERR_LIMIT);
    assert_int_equal(fault.reason, 0x90);
    assert_int_equal(mqtt_filter_check(slice_text("a/b/c"), &limits, &fault, &group, &inner),
                     ERR_LIMIT);
    assert_int_equal(fault.reason, 0x8f);
    limits.topic_bytes = 12;
    /* the prefix of a shared one is no level */
    assert_int_equal(mqtt_filter_check(slice_text("$share/g/a/b"), &limits, &fault, &group, &inner),
                     OK);
    limits.topic_bytes = 11;
    assert_int_equal(mqtt_filter_check(slice_text("$share/g/a/b"), &limits, &fault, &group, &inner),
                     ERR_TOO_LARGE);
}

/* SPEC: MQTT-3.3.2-2, MQTT-4.7.3-2: each byte in each place of a name. */
static void test_every_byte(void **state)
{
    (void)state;
    struct mqtt_wire_limits limits = {.topic_bytes = 99, .topic_levels = 4};
    for (unsigned v = 0; v < 256; v++) {
        char name[] = "sensor/hall/7";
        for (size_t at = 0; at + 1 < sizeof(name); at++) {
            char before = name[at];
            struct mqtt_fault fault = {0};
            name[at] = (char)v;
            enum err want = v == 0 || v > 0x7f     ? ERR_UTF8
                            : v == '+' || v == '#' ? ERR_MALFORMED
                                                   : OK;
            assert_int_equal(mqtt_topic_check(slice_of(name, sizeof(name) - 1), &limits, &fault),
                             want);
            assert_int_equal(fault.reason, want == OK ? 0 : want == ERR_UTF8 ? 0x81 : 0x90);
            name[at] = before;
        }
    }
    assert_int_equal(mqtt_topic_check(slice_text("s/h/7/\xc3\xa4"), &limits, NULL), OK);
    assert_int_equal(mqtt_topic_check(slice_text("s/h/7/8/9"), &limits, NULL), ERR_LIMIT);
    assert_int_equal(mqtt_topic_check(slice_text("s/h/7/8/\xc3\xa4"), &limits, NULL), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
