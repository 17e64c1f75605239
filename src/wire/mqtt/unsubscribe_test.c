#include "wire/mqtt/unsubscribe.h"

#include "wire/mqtt/golden_private.h"

static const struct golden goldens[] = {
    {"3.1.1 one", C4, "a2 07 00 01 00 03 'a/b'", 0, ERR_TRUNCATED},
    {"3.1.1 two", C4, "a2 09 00 01 00 01 'a' 00 02 '+/'", 1, ERR_TRUNCATED},
    {"5 shared, user property", C5, "a2 14 00 01 05 26 00 00 00 00 00 0a '$share/g/#'", 0,
     ERR_TRUNCATED},
};

static const struct refused refusals[] = {
    {"no filter", C4, "a2 02 00 01", ERR_PROTOCOL, 0x82},
    {"5 no filter", C5, "a2 03 00 01 00", ERR_PROTOCOL, 0x82},
    {"id 0", C4, "a2 05 00 00 00 01 'a'", ERR_MALFORMED, 0x81},
    {"flags 0", C4, "a0 05 00 01 00 01 'a'", ERR_MALFORMED, 0x81},
    {"empty filter", C4, "a2 04 00 01 00 00", ERR_MALFORMED, 0x8f},
    {"surrogate", C4, "a2 07 00 01 00 03 ed a0 80", ERR_UTF8, 0x81},
    {"wildcard inside a level", C5, "a2 09 00 01 00 00 04 'a/+b'", ERR_MALFORMED, 0x8f},
    {"subscription identifier", C5, "a2 08 00 01 02 0b 01 00 01 'a'", ERR_MALFORMED, 0x81},
    {"filter longer than the packet", C4, "a2 05 00 01 00 02 'a'", ERR_TRUNCATED, 0x81},
};

static void test_goldens(void **state)
{
    (void)state;
    GOLDEN_CHECK(goldens);
}

/* SPEC: MQTT-3.10.3-2, MQTT3-3.10.3-1 */
static void test_refusals(void **state)
{
    (void)state;
    REFUSED_CHECK(refusals);
}

static void test_iterator_and_limit(void **state)
{
    (void)state;
    uint8_t bytes[] = {0, 1, 0, 1, 'a', 0, 10, '$', 's', 'h', 'a', 'r', 'e', '/', 'g', '/', '#'};
    struct mqtt_wire_limits limits = golden_limits();
    struct mqtt_input in = {
        .body = slice_of(bytes, sizeof bytes), .version = MQTT_V311, .limits = &limits};
    struct mqtt_unsubscribe m;
    struct mqtt_unsubscription u;
    limits.filters_per_packet = 2;
    assert_int_equal(mqtt_unsubscribe_decode(&in, NULL, &m), OK);
    assert_int_equal(m.n_filters, 2);
    assert_false(m.is_over_limit);
    assert_true(mqtt_unsubscribe_next(&m.list, &u));
    assert_true(slice_is(u.whole, "a") && slice_is(u.filter, "a") && u.group.n == 0);
    assert_true(mqtt_unsubscribe_next(&m.list, &u));
    assert_true(slice_is(u.whole, "$share/g/#") && slice_is(u.filter, "#") &&
                slice_is(u.group, "g"));
    assert_false(mqtt_unsubscribe_next(&m.list, &u));
    limits.filters_per_packet = 1;
    assert_int_equal(mqtt_unsubscribe_decode(&in, NULL, &m), OK);
    assert_true(m.is_over_limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_iterator_and_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
