#include "wire/mqtt/varint.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* SPEC: MQTT5-1.5.5-1 */
static void test_edges(void **state)
{
    (void)state;
    static const struct {
        uint32_t v;
        uint8_t bytes[4];
        size_t n;
    } cases[] = {
        {0, {0}, 1},
        {127, {0x7f}, 1},
        {128, {0x80, 0x01}, 2},
        {16383, {0xff, 0x7f}, 2},
        {16384, {0x80, 0x80, 0x01}, 3},
        {2097151, {0xff, 0xff, 0x7f}, 3},
        {2097152, {0x80, 0x80, 0x80, 0x01}, 4},
        {MQTT_VARINT_MAX, {0xff, 0xff, 0xff, 0x7f}, 4},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t out[4];
        struct wr w = wr_into(out, sizeof out);
        mqtt_varint_write(&w, cases[i].v);
        assert_true(slice_equal(wr_slice(&w), slice_of(cases[i].bytes, cases[i].n)));
        assert_int_equal(mqtt_varint_size(cases[i].v), cases[i].n);
        struct rd r = rd_from(slice_of(cases[i].bytes, cases[i].n));
        assert_int_equal(mqtt_varint_read(&r), cases[i].v);
        assert_int_equal(rd_finish(&r), OK);
    }
}

static void test_too_large_to_write(void **state)
{
    (void)state;
    uint8_t out[8];
    struct wr w = wr_into(out, sizeof out);
    mqtt_varint_write(&w, (size_t)MQTT_VARINT_MAX + 1);
    assert_int_equal(w.err, ERR_TOO_LARGE);
    assert_int_equal(w.at, 0);
}

/* What every input of up to three bytes, and every fourth byte, must give, worked out by another
 * rule: the value is the sum of the seven-bit groups; the form is the shortest when the last group
 * is not zero or stands alone. */
static enum err expected(const uint8_t *p, size_t n, uint32_t *ret)
{
    uint32_t v = 0, factor = 1;
    for (size_t i = 0; i < n && i < 4; i++) {
        v += (p[i] % 128u) * factor;
        factor *= 128;
        if (p[i] < 128) {
            *ret = v;
            return i > 0 && p[i] == 0 ? ERR_MALFORMED : OK;
        }
    }
    return n >= 4 ? ERR_MALFORMED : ERR_TRUNCATED;
}

static void check_bytes(const uint8_t *p, size_t n)
{
    uint32_t want = 0;
    enum err e = expected(p, n, &want);
    struct rd r = rd_from(slice_of(p, n));
    uint32_t got = mqtt_varint_read(&r);
    if (r.err != e || got != (e == OK ? want : 0)) {
        fail_msg("%02x %02x %02x %02x (%zu)", p[0], p[1], p[2], p[3], n);
    }
}

static void test_every_small_input(void **state)
{
    (void)state;
    uint8_t p[5] = {0};
    for (uint32_t v = 0; v < 1u << 16; v++) {
        p[0] = (uint8_t)v;
        p[1] = (uint8_t)(v >> 8);
        for (size_t n = 0; n <= 2; n++) {
            check_bytes(p, n);
        }
        p[2] = 0x80 | (uint8_t)(v >> 3);
        for (unsigned last = 0; last < 256; last += 1 + (v & 0xff) % 7) {
            p[3] = (uint8_t)last;
            check_bytes(p, 3);
            check_bytes(p, 4);
            check_bytes(p, 5); /* a fifth byte is never read. SPEC: MQTT5 1.5.5 */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_too_large_to_write),
        cmocka_unit_test(test_every_small_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
