#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/scope.h"
#include "security/password/psk.h"

static void generated(void **state)
{
    (void)state;
    struct random_source random = random_system();
    bool seen[256] = {false};
    size_t n_seen = 0;
    for (size_t round = 0; round < 200; round++) {
        char key[PSK_KEY_BYTES];
        psk_generate(&random, key);
        assert_int_equal(strlen(key), PSK_KEY_CHARS);
        assert_int_equal(psk_check_new(slice_text(key), slice_text("dev"), NULL), OK);
        for (size_t i = 0; i < PSK_KEY_CHARS; i++) {
            uint8_t c = (uint8_t)key[i];
            assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
            n_seen += seen[c] ? 0 : 1;
            seen[c] = true;
        }
    }
    assert_int_equal(n_seen, 62);
}

static void brought(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t n;
        enum err err;
    } cases[] = {
        {"9f86d081884c7d659a2feaa0c55ad015", 32, OK},        /* 128 bits in hexadecimal */
        {"9f86d081884c7d659a2feaa0c55ad01", 31, ERR_DENIED}, /* 124 */
        {"Zk3vQ8mT1xWr7bLp0sYd2a", 22, OK},                  /* 130.9 */
        {"Zk3vQ8mT1xWr7bLp0sYd2", 21, ERR_DENIED},           /* 124.95 */
        {"\x01\x9e\x42\xf0\x17\x88\xc3\x5a\xe1\x2b\x74\xdd\x06\x93\x3f\xaa", 16, OK},
        {"\x01\x9e\x42\xf0\x17\x88\xc3\x5a\xe1\x2b\x74\xdd\x06\x93\x3f", 15, ERR_DENIED},
        {"31415926535897932384626433832795028841", 38, ERR_DENIED},
        {"314159265358979323846264338327950288419", 39, OK},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 32, ERR_DENIED},
        {"0123456789abcdef0123456789abcdef", 32, ERR_DENIED},
        {"secret", 6, ERR_DENIED},
        {"", 0, ERR_DENIED},
        {"building-7.floor-3.boiler-room-1!", 33, ERR_DENIED}, /* the name */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct why why;
        enum err err = psk_check_new(slice_of(cases[i].key, cases[i].n),
                                     slice_text("Building-7.floor-3.boiler-room-1"), &why);
        if (err != cases[i].err) {
            fail_msg("%s: %s", cases[i].key, err_name(err));
        }
    }
    char big[PSK_KEY_MAX + 1];
    for (size_t i = 0; i < sizeof big; i++) {
        big[i] = (char)(i * 37 % 251);
    }
    assert_int_equal(psk_check_new(slice_of(big, PSK_KEY_MAX), slice_text("d"), NULL), OK);
    assert_int_equal(psk_check_new(slice_of(big, sizeof big), slice_text("d"), NULL),
                     ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(generated), cmocka_unit_test(brought)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
