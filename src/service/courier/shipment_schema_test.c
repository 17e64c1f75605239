/* What version 1.3 of the Open Cybersecurity Schema Framework demands of the classes that are used,
 * as facts: numbers, names, required attributes; and that each category of ours keeps to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/courier/shipment.h"
#include "service/watch/audit.h"

/* Of every class. */
static const char *const base[] = {"activity_id", "category_uid", "class_uid", "metadata",
                                   "severity_id", "time",         "type_uid"};

static const struct {
    uint16_t uid;
    const char *name;
    uint8_t activities[10]; /* that the class has, beside 0 and 99 */
    const char *required[3];
} classes[] = {
    {1008, "Event Log Activity", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {"log_name"}},
    {2004, "Detection Finding", {1, 2, 3}, {"finding_info"}},
    {3001, "Account Change", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {"user"}},
    {3002, "Authentication", {1, 2, 3, 4, 5, 6}, {"user", "service"}},
    {3004, "Entity Management", {1, 2, 3, 4}, {"entity"}},
    {4001, "Network Activity", {1, 2, 3, 4, 5, 6, 7}, {"src_endpoint"}},
    {6002, "Application Lifecycle", {1, 2, 3, 4, 5, 6, 7, 8}, {"app"}},
    {6003, "API Activity", {1, 2, 3, 4}, {"actor", "api", "src_endpoint"}},
};

static bool is_in(const uint8_t list[10], json_int_t v)
{
    bool found = v == 99;
    for (size_t i = 0; i < 10; i++) {
        found = found || (list[i] != 0 && list[i] == v);
    }
    return found;
}

static json_int_t number(const json_t *o, const char *key)
{
    assert_true(json_is_integer(json_object_get(o, key)));
    return json_integer_value(json_object_get(o, key));
}

static void check(const struct shipment *s, const char *what)
{
    struct buf out = {0};
    const json_t *found = NULL;
    assert_int_equal(shipment_ocsf(s, "plant", &out), OK);
    json_t *o = json_loadb((const char *)out.p, out.n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    for (size_t i = 0; i < COUNT_OF(base); i++) {
        assert_non_null(json_object_get(o, base[i]));
    }
    json_int_t uid = number(o, "class_uid"), activity = number(o, "activity_id");
    assert_int_equal(number(o, "category_uid"), uid / 1000);
    assert_int_equal(number(o, "type_uid"), uid * 100 + activity);
    assert_in_range(number(o, "severity_id"), 1, 6);
    assert_in_range(number(o, "status_id"), 1, 2);
    assert_int_equal(number(o, "time"), 1795334400123);
    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        if (classes[i].uid != uid) {
            continue;
        }
        found = o;
        assert_string_equal(json_string_value(json_object_get(o, "class_name")), classes[i].name);
        if (!is_in(classes[i].activities, activity)) {
            fail_msg("%s: class %d has no activity %d", what, (int)uid, (int)activity);
        }
        for (size_t k = 0; k < COUNT_OF(classes[i].required); k++) {
            const char *key = classes[i].required[k];
            if (key != NULL && json_object_get(o, key) == NULL) {
                fail_msg("%s: class %d demands %s", what, (int)uid, key);
            }
        }
    }
    assert_non_null(found);
    const json_t *metadata = json_object_get(o, "metadata");
    assert_string_equal(json_string_value(json_object_get(metadata, "version")), "1.3.0");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(metadata, "product"), "vendor_name")),
        "Sallyport");
    json_decref(o);
    buf_done(&out);
}

static void test_every_category(void **state)
{
    (void)state;
    for (int c = 0; c < EVENT_COUNT; c++) {
        struct event e = event_make((enum event_category)c);
        struct buf line = {0};
        struct shipment s;
        e.wall_ms = 1795334400123;
        event_reason(&e, "why");
        assert_int_equal(audit_encode(&e, &line), OK);
        assert_int_equal(shipment_read(buf_slice(&line), &s), OK);
        s.seq = 1;
        check(&s, event_category_name(e.category));
        shipment_done(&s);
        buf_done(&line);
    }
}

static void test_checkpoints(void **state)
{
    struct shipment s = shipment_checkpoint(1795334400123);
    (void)state;
    s.seq = 2;
    check(&s, "checkpoint");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_category),
        cmocka_unit_test(test_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
