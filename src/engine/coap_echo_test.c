#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/coap_echo.h"

static const struct siphash_key key = {1, 2};
enum { TAG = 99, WINDOW_MS = 60000 };

static bool check(uint64_t tag, struct slice value, uint64_t now_ms)
{
    uint64_t age_ms = 0;
    return coap_echo_check(&key, tag, value, now_ms, WINDOW_MS, &age_ms);
}

static void window(void **state)
{
    (void)state;
    uint8_t value[COAP_ECHO_BYTES];
    uint64_t age_ms = 1;
    coap_echo_make(&key, TAG, 5999, value);
    struct slice echo = slice_of(value, sizeof(value));
    assert_true(coap_echo_check(&key, TAG, echo, 5999, WINDOW_MS, &age_ms));
    assert_int_equal(age_ms, 999); /* the value knows whole seconds: never taken for younger */
    assert_true(check(TAG, echo, 65000));
    assert_false(check(TAG, echo, 65001));
    assert_false(check(TAG, echo, 4999)); /* from the future */
}

static void forgeries(void **state)
{
    (void)state;
    uint8_t value[COAP_ECHO_BYTES + 1] = {0};
    coap_echo_make(&key, TAG, 5000, value);
    for (size_t bit = 0; bit < COAP_ECHO_BYTES * 8; bit++) {
        value[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_false(check(TAG, slice_of(value, COAP_ECHO_BYTES), 6000));
        value[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(check(TAG, slice_of(value, COAP_ECHO_BYTES), 6000));
    assert_false(check(TAG + 1, slice_of(value, COAP_ECHO_BYTES), 6000));
    assert_false(check(TAG, slice_of(value, COAP_ECHO_BYTES - 1), 6000));
    assert_false(check(TAG, slice_of(value, COAP_ECHO_BYTES + 1), 6000));
    assert_false(check(TAG, (struct slice){0}, 6000));
    const struct siphash_key other = {1, 3};
    uint64_t age_ms = 0;
    assert_false(
        coap_echo_check(&other, TAG, slice_of(value, COAP_ECHO_BYTES), 6000, WINDOW_MS, &age_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window),
        cmocka_unit_test(forgeries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
