#include "wire/mqtt/reason.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The tables of the packets, each written out from its own section: what is in them is legal, every
 * other byte is not. SPEC: MQTT5-3.2.2-8, MQTT5-3.4.2-1, MQTT5-3.5.2-1, MQTT5-3.6.2-1,
 * MQTT5-3.7.2-1, MQTT5-3.9.3-2, MQTT5-3.11.3-2, MQTT5-3.14.2-1, MQTT5-3.15.2-1 */
static const struct {
    const char *name;
    enum mqtt_type type;
    enum mqtt_sender sender;
    const char *codes; /* as bytes */
    size_t n;
} tables[] = {
#define CODES(text) text, sizeof(text) - 1
    {"CONNACK", MQTT_CONNACK, MQTT_FROM_SERVER,
     CODES("\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8c\x90\x95\x97\x99\x9a\x9b\x9c\x9d"
           "\x9f")},
    {"PUBACK", MQTT_PUBACK, MQTT_FROM_CLIENT, CODES("\x00\x10\x80\x83\x87\x90\x91\x97\x99")},
    {"PUBACK", MQTT_PUBACK, MQTT_FROM_SERVER, CODES("\x00\x10\x80\x83\x87\x90\x91\x97\x99")},
    {"PUBREC", MQTT_PUBREC, MQTT_FROM_CLIENT, CODES("\x00\x10\x80\x83\x87\x90\x91\x97\x99")},
    {"PUBREL", MQTT_PUBREL, MQTT_FROM_SERVER, CODES("\x00\x92")},
    {"PUBCOMP", MQTT_PUBCOMP, MQTT_FROM_CLIENT, CODES("\x00\x92")},
    {"SUBACK", MQTT_SUBACK, MQTT_FROM_SERVER,
     CODES("\x00\x01\x02\x80\x83\x87\x8f\x91\x97\x9e\xa1\xa2")},
    {"UNSUBACK", MQTT_UNSUBACK, MQTT_FROM_SERVER, CODES("\x00\x11\x80\x83\x87\x8f\x91")},
    {"DISCONNECT", MQTT_DISCONNECT, MQTT_FROM_CLIENT,
     CODES("\x00\x04\x80\x81\x82\x83\x90\x93\x94\x95\x96\x97\x98\x99")},
    {"DISCONNECT", MQTT_DISCONNECT, MQTT_FROM_SERVER,
     CODES(
         "\x00\x80\x81\x82\x83\x87\x89\x8b\x8c\x8d\x8e\x8f\x90\x93\x94\x95\x96\x97\x98\x99\x9a\x9b"
         "\x9c\x9d\x9e\x9f\xa0\xa1\xa2")},
    {"AUTH", MQTT_AUTH, MQTT_FROM_CLIENT, CODES("\x18\x19")},
    {"AUTH", MQTT_AUTH, MQTT_FROM_SERVER, CODES("\x00\x18")},
    {"CONNACK", MQTT_CONNACK, MQTT_FROM_CLIENT, CODES("")},
    {"SUBACK", MQTT_SUBACK, MQTT_FROM_CLIENT, CODES("")},
    {"CONNECT", MQTT_CONNECT, MQTT_FROM_CLIENT, CODES("")},
    {"PUBLISH", MQTT_PUBLISH, MQTT_FROM_SERVER, CODES("")},
};

static void test_tables(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT_OF(tables); t++) {
        struct slice codes = slice_of(tables[t].codes, tables[t].n);
        for (unsigned code = 0; code < 256; code++) {
            bool want = slice_find(codes, (uint8_t)code) < codes.n;
            if (mqtt_reason_is_legal(tables[t].type, tables[t].sender, (uint8_t)code) != want) {
                fail_msg("%s 0x%02x", tables[t].name, code);
            }
        }
    }
}

static void test_names_and_v311(void **state)
{
    (void)state;
    assert_string_equal(mqtt_reason_name(0x87), "not authorized");
    assert_string_equal(mqtt_reason_name(0x03), "unknown");
    assert_string_equal(mqtt_connack_name(MQTT_V311, 0), "accepted");
    assert_string_equal(mqtt_connack_name(MQTT_V311, 5), "not authorized");
    assert_string_equal(mqtt_connack_name(MQTT_V311, 6), "unknown");
    assert_string_equal(mqtt_connack_name(MQTT_V5, 0x87), "not authorized");
    for (unsigned code = 0; code < 256; code++) {
        uint8_t c = (uint8_t)code;
        assert_in_range(mqtt_reason_v311_connack(c), c == 0 ? 0 : 1, c == 0 ? 0 : 5);
        assert_int_equal(mqtt_reason_v311_suback(c), c <= 2 ? c : 0x80);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_names_and_v311),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
