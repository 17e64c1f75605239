/* Who looks like a browser. SPEC: RFC8701 2 */
#include "net/tls_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GREASES(...)                                                                               \
    tls_hello_greases(                                                                             \
        slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})))

static void browsers_grease(void **state)
{
    (void)state;
    assert_true(GREASES(0x0a, 0x0a, 0x13, 0x01));
    assert_true(GREASES(0xfa, 0xfa, 0x13, 0x01, 0x13, 0x02));
    assert_true(GREASES(0x13, 0x01, 0x13, 0x02, 0xda, 0xda));
}

static void others_do_not(void **state)
{
    (void)state;
    assert_false(tls_hello_greases((struct slice){0}));
    assert_false(GREASES(0x0a));
    assert_false(GREASES(0x13, 0x01, 0x13, 0x02, 0x13, 0x03));
    assert_false(GREASES(0xcc, 0xcc, 0x0b, 0x0b)); /* alike, but of another kind */
    assert_false(GREASES(0x0a, 0x1a, 0x1a, 0x0a)); /* of the kind, but not alike */
    assert_false(GREASES(0x13, 0x0a, 0x0a, 0x13)); /* alike across two suites */
    assert_false(GREASES(0x13, 0x01, 0x0a));       /* half a suite */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(browsers_grease),
                                       cmocka_unit_test(others_do_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
