/* What sinks other than syslog get: records of JSON, fields of journald; and what a stranger wrote
 * stays a value in each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rd.h"
#include "service/courier/shipment.h"
#include "service/watch/audit.h"

static struct shipment shipped(struct event *e)
{
    struct buf line = {0};
    struct shipment s;
    e->wall_ms = 1795334400123;
    assert_int_equal(audit_encode(e, &line), OK);
    assert_int_equal(shipment_read(buf_slice(&line), &s), OK);
    buf_done(&line);
    s.seq = 42;
    s.leaf.bytes[0] = 0xab;
    return s;
}

static struct event hostile(void)
{
    static const uint8_t turner[] = {0xe2, 0x80, 0xae, '\0'};
    struct event e = event_make(EVENT_acl_deny);
    EVENT_TEXT(&e, principal, slice_text("meter-7"));
    EVENT_TEXT(&e, client_id, slice_text("a\nPRIORITY=0\r\n\x1b[2J\\u000a\",\"seq\":1,\"x\":\""));
    EVENT_TEXT(&e, target, slice_text("t\xc2\x9b\x7f]"));
    memcpy(e.target + strlen(e.target), turner, sizeof turner);
    event_reason(&e, "no\ngrant");
    return e;
}

/* The value of one field, or NULL; there is no second one of that name. */
static const char *field(char *text, const char *key, char dst[512])
{
    const char *found = NULL;
    size_t n = strlen(key);
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strncmp(line, key, n) == 0 && line[n] == '=') {
            assert_null(found);
            (void)snprintf(dst, 512, "%.*s", (int)(strcspn(line, "\n") - n - 1), line + n + 1);
            found = dst;
        }
    }
    return found;
}

static void test_fields_of_journald(void **state)
{
    struct event e = hostile();
    struct shipment s = shipped(&e);
    struct buf out = {0};
    char dst[512];
    (void)state;
    assert_int_equal(shipment_encode(SHIPMENT_JOURNAL, &s, "plant", &out), OK);
    struct rd r = rd_from(buf_slice(&out));
    size_t n = rd_u32(&r);
    assert_int_equal(n, rd_left(&r));
    assert_int_equal(buf_append(&out, slice_of("", 1), SIZE_MAX), OK);
    char *text = (char *)out.p + SHIPMENT_FRAME_BYTES;
    assert_int_equal(text[n - 1], '\n');
    for (size_t i = 0; i < n; i++) {
        assert_true(text[i] == '\n' || ((uint8_t)text[i] >= 0x20 && text[i] != 0x7f));
    }
    assert_string_equal(field(text, "PRIORITY", dst), "4");
    assert_string_equal(field(text, "SALLYPORT_SEQ", dst), "42");
    assert_string_equal(field(text, "SYSLOG_IDENTIFIER", dst), "sallyport");
    assert_string_equal(field(text, "MESSAGE", dst), "acl_deny: no\\u000agrant");
    assert_string_equal(field(text, "SALLYPORT_CLIENT_ID", dst),
                        "a\\u000aPRIORITY=0\\u000d\\u000a\\u001b[2J\\\\u000a\",\"seq\":1,\"x\":\"");
    assert_string_equal(field(text, "SALLYPORT_TARGET", dst), "t\\u009b\\\\x7f]\\u202e");
    assert_int_equal(strncmp(field(text, "SALLYPORT_LEAF", dst), "ab00", 4), 0);
    buf_done(&out);
    shipment_done(&s);
}

static void test_a_record_carries_its_number(void **state)
{
    struct event e = hostile();
    struct shipment s = shipped(&e);
    struct buf out = {0};
    (void)state;
    assert_int_equal(shipment_encode(SHIPMENT_RECORD, &s, "plant", &out), OK);
    for (size_t i = 0; i + 1 < out.n; i++) {
        assert_true(out.p[i] >= 0x20 && out.p[i] < 0x7f);
    }
    json_t *o = json_loadb((const char *)out.p, out.n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_int_equal(json_integer_value(json_object_get(o, "seq")), 42);
    assert_int_equal(json_string_length(json_object_get(o, "leaf")), 64);
    assert_string_equal(json_string_value(json_object_get(o, "category")), "acl_deny");
    assert_string_equal(json_string_value(json_object_get(o, "client_id")), s.client_id);
    json_decref(o);
    buf_done(&out);
    shipment_done(&s);
}

static void test_checkpoints(void **state)
{
    struct shipment s = shipment_checkpoint(1795334400123);
    struct buf out = {0};
    (void)state;
    s.seq = 43;
    assert_int_equal(shipment_encode(SHIPMENT_RECORD, &s, "plant", &out), OK);
    json_t *o = json_loadb((const char *)out.p, out.n, JSON_REJECT_DUPLICATES, NULL);
    assert_string_equal(json_string_value(json_object_get(o, "category")), "checkpoint");
    assert_int_equal(json_integer_value(json_object_get(o, "seq")), 43);
    json_decref(o);
    buf_clear(&out);
    assert_int_equal(shipment_encode(SHIPMENT_JOURNAL, &s, "plant", &out), OK);
    assert_true(out.n > SHIPMENT_FRAME_BYTES);
    buf_done(&out);
}

/* The largest event there can be fits: so journald needs no file for it. */
static void test_the_largest_event(void **state)
{
    struct event e = event_make(EVENT_acl_deny);
    (void)state;
    memset(e.principal, 1, sizeof e.principal - 1);
    memset(e.client_id, 1, sizeof e.client_id - 1);
    memset(e.peer, 1, sizeof e.peer - 1);
    memset(e.listener, 1, sizeof e.listener - 1);
    memset(e.target, 1, sizeof e.target - 1);
    memset(e.reason, 1, sizeof e.reason - 1);
    struct shipment s = shipped(&e);
    for (int f = SHIPMENT_SYSLOG; f <= SHIPMENT_JOURNAL; f++) {
        struct buf out = {0};
        assert_int_equal(shipment_encode((enum shipment_format)f, &s, "plant", &out), OK);
        assert_true(out.n < SHIPMENT_BYTES_MAX);
        buf_done(&out);
    }
    shipment_done(&s);
}

static void test_formats_of_sinks_have_no_name(void **state)
{
    enum shipment_format f;
    (void)state;
    assert_true(shipment_format_find(slice_text("json"), &f));
    assert_false(shipment_format_find(slice_text("record"), &f));
    assert_false(shipment_format_find(slice_text("journal"), &f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_of_journald),
        cmocka_unit_test(test_a_record_carries_its_number),
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_the_largest_event),
        cmocka_unit_test(test_formats_of_sinks_have_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
