/* The newest time of a pack, in both forms: which times are of the calendar, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/senml_cbor_test.h"

static uint8_t bytes[8 * SENML_PACK_BYTES_MAX];

/* The same in both forms; -1: there is none. */
static int64_t newest(const char *pack)
{
    int64_t json_ms = -1, cbor_ms = -1;
    bool is_json = senml_newest(SENML_JSON, slice_text(pack), &json_ms);
    bool is_cbor =
        senml_newest(SENML_CBOR, in_cbor(slice_text(pack), bytes, sizeof(bytes)), &cbor_ms);
    assert_int_equal(is_json, is_cbor);
    assert_true(!is_json || json_ms == cbor_ms);
    return is_json ? json_ms : -1;
}

static void it_is_the_newest(void **state)
{
    (void)state;
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":1320067464.5,\"v\":1}]"), 1320067464500);
    assert_int_equal(newest("[{\"bn\":\"a\",\"bt\":1320067464,\"v\":1},{\"t\":60,\"v\":2},"
                            "{\"t\":-60,\"v\":3}]"),
                     1320067524000);
    assert_int_equal(newest("[{\"bn\":\"a\",\"bt\":1320067464},{\"v\":1},"
                            "{\"bt\":1320060000,\"v\":2}]"),
                     1320067464000);
    assert_int_equal(newest("[{\"n\":\"a\",\"v\":1},{\"n\":\"a\",\"t\":1320067464,\"v\":2},"
                            "{\"n\":\"a\",\"t\":60,\"v\":3}]"),
                     1320067464000);
}

/* SPEC: RFC8428 4.5.3 */
static void below_is_from_now(void **state)
{
    (void)state;
    assert_int_equal(newest("[{\"n\":\"a\",\"v\":1}]"), -1);
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":-5,\"v\":1}]"), -1);
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":3600,\"v\":1}]"), -1);
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":268435455,\"v\":1}]"), -1);
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":268435456,\"v\":1}]"), 268435456000);
    assert_int_equal(newest("[{\"bn\":\"a\",\"bt\":268435455,\"t\":1,\"v\":1}]"), 268435456000);
}

static void beyond_the_calendar(void **state)
{
    (void)state;
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":253402300799,\"v\":1}]"), 253402300799000);
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":253402300800,\"v\":1}]"), -1);
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":1e308,\"v\":1}]"), -1);
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":1e308,\"v\":1},{\"n\":\"a\",\"t\":1320067464,"
                            "\"v\":1}]"),
                     1320067464000);
}

static void what_is_no_pack_tells_nothing(void **state)
{
    static char large[SENML_PACK_BYTES_MAX + 2];
    static const char pack[] = "[{\"n\":\"a\",\"t\":1320067464,\"v\":1}]";
    (void)state;
    assert_int_equal(newest(""), -1);
    assert_int_equal(newest("[]"), -1);
    assert_int_equal(newest("{\"n\":\"a\",\"t\":1320067464,\"v\":1}"), -1);
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":1320067464,\"v\":1},{\"n\":\"b\"}]"), -1);
    assert_int_equal(newest("[{\"n\":\"a\",\"t\":1320067464,\"v\":1},{\"n\":\"a\",\"v\":1,"
                            "\"x_\":1}]"),
                     -1);
    memset(large, ' ', sizeof(large) - 1);
    memcpy(large, pack, sizeof(pack) - 1);
    int64_t ms = 0;
    assert_false(senml_newest(SENML_JSON, slice_text(large), &ms));
    large[SENML_PACK_BYTES_MAX] = '\0';
    assert_true(senml_newest(SENML_JSON, slice_text(large), &ms));
    assert_int_equal(ms, 1320067464000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_newest),
        cmocka_unit_test(below_is_from_now),
        cmocka_unit_test(beyond_the_calendar),
        cmocka_unit_test(what_is_no_pack_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
