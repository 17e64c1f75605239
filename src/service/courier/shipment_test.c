#include "service/courier/shipment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/watch/audit.h"

/* Turns the text behind it around; not as a literal, for those who read this file. */
static const uint8_t turner[] = {0xe2, 0x80, 0xae};

static struct event hostile(void)
{
    struct event e = event_make(EVENT_acl_deny);
    e.wall_ms = 1795334400123;
    e.protocol = EVENT_PROTOCOL_mqtt;
    EVENT_TEXT(&e, principal, slice_text("meter-7"));
    EVENT_TEXT(&e, client_id, slice_text("a\n<34>1 - - - - - - forged\r\x1b[2J"));
    EVENT_TEXT(&e, peer, slice_text("[2001:db8::1]:50123"));
    EVENT_TEXT(&e, target, slice_text("x\"] [fake@1 a=\"b\"]\\ ###\xc2\x9b \xff\xc3\xa4"));
    memcpy(strstr(e.target, "###"), turner, sizeof turner);
    event_reason(&e, "no grant\x07 \xc3\xa4");
    return e;
}

static struct shipment shipped(const struct event *e)
{
    struct buf line = {0};
    struct shipment s;
    assert_int_equal(audit_encode(e, &line), OK);
    assert_int_equal(shipment_read(buf_slice(&line), &s), OK);
    buf_done(&line);
    s.seq = 42;
    s.leaf.bytes[0] = 0xab;
    return s;
}

static void test_hostile_text_stays_text(void **state)
{
    struct event e = hostile();
    struct shipment s = shipped(&e);
    struct buf out = {0};
    (void)state;
    assert_int_equal(s.wall_ms, 1795334400123);
    assert_int_equal(shipment_syslog(&s, "plant", &out), OK);
    assert_int_equal(buf_append(&out, slice_of("", 1), SIZE_MAX), OK);
    const char *text = (const char *)out.p;
    for (const char *p = text; *p != '\0'; p++) {
        assert_true((uint8_t)*p >= 0x20 && *p != 0x7f);
    }
    assert_non_null(strstr(text, "<108>1 "));
    assert_non_null(
        strstr(text, "Z plant sallyport - acl_deny [sallyport@32473 seq=\"42\" leaf=\"ab"));
    assert_non_null(
        strstr(text, " client_id=\"a\\\\u000a<34>1 - - - - - - forged\\\\u000d\\\\u001b[2J\""));
    assert_non_null(
        strstr(text, " target=\"x\\\"\\] [fake@1 a=\\\"b\\\"\\]\\\\ \\\\u202e\\\\u009b "));
    assert_non_null(strstr(text, "\"] acl_deny: no grant\\u0007 \\u00e4"));
    assert_null(memmem(out.p, out.n, turner, sizeof turner));
    assert_null(strstr(text, "\xc2\x9b"));
    buf_done(&out);
    shipment_done(&s);
}

static void test_frames(void **state)
{
    struct event e = hostile();
    struct shipment s = shipped(&e);
    struct buf out = {0};
    (void)state;
    assert_int_equal(shipment_encode(SHIPMENT_SYSLOG, &s, "bad host", &out), OK);
    long n = strtol((const char *)out.p, NULL, 10);
    struct slice rest = slice_from(buf_slice(&out), slice_find(buf_slice(&out), ' ') + 1);
    assert_int_equal(rest.n, n);
    assert_true(slice_find(rest, '\n') == SIZE_MAX || slice_find(rest, '\n') >= rest.n);
    buf_clear(&out);
    assert_int_equal(shipment_encode(SHIPMENT_JSON, &s, "h", &out), OK);
    assert_int_equal(slice_find(buf_slice(&out), '\n'), out.n - 1);
    buf_clear(&out);
    assert_int_equal(shipment_encode(SHIPMENT_OCSF, &s, "h", &out), OK);
    assert_int_equal(slice_find(buf_slice(&out), '\n'), out.n - 1);
    buf_done(&out);
    shipment_done(&s);
}

static json_t *ocsf_of(const struct shipment *s)
{
    struct buf out = {0};
    assert_int_equal(shipment_ocsf(s, "plant", &out), OK);
    json_t *o = json_loadb((const char *)out.p, out.n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    buf_done(&out);
    return o;
}

static int number(const json_t *o, const char *name)
{
    assert_true(json_is_integer(json_object_get(o, name)));
    return (int)json_integer_value(json_object_get(o, name));
}

/* Every category has a class, and every object what that class cannot do without. */
static void test_every_category_is_in_ocsf(void **state)
{
    static const struct {
        int class_uid;
        const char *required;
    } needs[] = {{3001, "user"},  {3002, "user"},         {3004, "entity"}, {6003, "api"},
                 {6003, "actor"}, {6003, "src_endpoint"}, {6002, "app"},    {2004, "finding_info"}};
    (void)state;
    for (int c = 0; c < EVENT_COUNT; c++) {
        struct event e = hostile();
        e.category = (enum event_category)c;
        struct shipment s = shipped(&e);
        json_t *o = ocsf_of(&s);
        int class_uid = number(o, "class_uid"), activity = number(o, "activity_id");
        assert_non_null(ocsf_class_name((uint16_t)class_uid));
        assert_true(activity > 0);
        assert_int_equal(number(o, "category_uid"), class_uid / 1000);
        assert_int_equal(number(o, "type_uid"), class_uid * 100 + activity);
        assert_int_equal(json_integer_value(json_object_get(o, "time")), 1795334400123);
        for (size_t i = 0; i < COUNT_OF(needs); i++) {
            assert_true(needs[i].class_uid != class_uid ||
                        json_object_get(o, needs[i].required) != NULL);
        }
        json_t *unmapped = json_object_get(o, "unmapped");
        assert_string_equal(json_string_value(json_object_get(unmapped, "category")),
                            event_category_name(e.category));
        json_decref(o);
        shipment_done(&s);
    }
}

static void test_endpoints(void **state)
{
    static const struct {
        const char *peer, *ip;
        int port;
    } cases[] = {{"[2001:db8::1]:50123", "2001:db8::1", 50123},
                 {"192.0.2.1:99999", NULL, 0},
                 {"192.0.2.1:1", "192.0.2.1", 1},
                 {"local", NULL, 0},
                 {":", NULL, 0},
                 {"a:x1", NULL, 0}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct event e = hostile();
        EVENT_TEXT(&e, peer, slice_text(cases[i].peer));
        struct shipment s = shipped(&e);
        json_t *o = ocsf_of(&s);
        json_t *at = json_object_get(o, "src_endpoint");
        const char *ip = json_string_value(json_object_get(at, "ip"));
        if (cases[i].ip != NULL) {
            assert_string_equal(ip, cases[i].ip);
            assert_int_equal(number(at, "port"), cases[i].port);
        } else {
            assert_null(ip);
        }
        json_decref(o);
        shipment_done(&s);
    }
}

static void test_checkpoints_keep_numbers_whole(void **state)
{
    struct shipment s = shipment_checkpoint(5);
    struct buf out = {0};
    (void)state;
    s.seq = 7;
    json_t *o = ocsf_of(&s);
    assert_int_equal(number(o, "class_uid"), 1008);
    assert_int_equal(number(json_object_get(o, "metadata"), "sequence"), 7);
    json_decref(o);
    assert_int_equal(shipment_syslog(&s, "", &out), OK);
    assert_true(
        slice_has_prefix(buf_slice(&out), slice_text("<110>1 1970-01-01T00:00:00.005Z - ")));
    buf_done(&out);
}

static void test_what_is_no_line(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "nonsense",
        "{\"time\":\"2026\"}",
        "{\"time\":\"2026-11-22T08:00:00.12xZ\",\"category\":\"connect\",\"severity\":\"info\","
        "\"principal\":\"-\",\"client_id\":\"-\",\"peer\":\"-\",\"listener\":\"-\",\"protocol\":"
        "\"-\",\"target\":\"-\",\"reason\":\"-\",\"count\":1}",
        "{\"time\":\"2026-11-22T08:00:00.120Z\",\"category\":\"none such\",\"severity\":\"info\","
        "\"principal\":\"-\",\"client_id\":\"-\",\"peer\":\"-\",\"listener\":\"-\",\"protocol\":"
        "\"-\",\"target\":\"-\",\"reason\":\"-\",\"count\":1}",
        "{\"time\":\"2026-11-22T08:00:00.120Z\",\"category\":\"connect\",\"severity\":\"info\","
        "\"principal\":\"-\",\"client_id\":\"-\",\"peer\":\"-\",\"listener\":\"-\",\"protocol\":"
        "\"-\",\"target\":\"-\",\"reason\":\"-\",\"count\":0}"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct shipment s;
        assert_int_equal(shipment_read(slice_text(bad[i]), &s), ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hostile_text_stays_text),
                                       cmocka_unit_test(test_frames),
                                       cmocka_unit_test(test_every_category_is_in_ocsf),
                                       cmocka_unit_test(test_endpoints),
                                       cmocka_unit_test(test_checkpoints_keep_numbers_whole),
                                       cmocka_unit_test(test_what_is_no_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
