/* HMAC-SHA-256 by its published cases (RFC 4231), and beside the library's at every length of a
 * key.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "security/crypto/hmac.h"

enum { KEY_MAX = 140 /* over two blocks of the digest */ };

/* SPEC: RFC4231 4.2, 4.3 */
static void published(void **state)
{
    (void)state;
    static const uint8_t hi_there[] = {0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53,
                                       0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b, 0xf1, 0x2b,
                                       0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83, 0x3d, 0xa7,
                                       0x26, 0xe9, 0x37, 0x6c, 0x2e, 0x32, 0xcf, 0xf7};
    static const uint8_t jefe[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                                   0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                                   0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    AUTO(hmac_autofree) struct hmac *h = NULL;
    struct digest d;
    uint8_t key[20];
    memset(key, 0x0b, sizeof(key));
    assert_int_equal(hmac_new(&h), OK);
    assert_int_equal(hmac_key(h, slice_of(key, sizeof(key))), OK);
    for (int i = 0; i < 3; i++) { /* one key, and not once only */
        assert_int_equal(hmac_next(h, slice_text("Hi There"), &d), OK);
        assert_memory_equal(d.bytes, hi_there, sizeof(hi_there));
    }
    assert_int_equal(hmac_key(h, slice_text("Jefe")), OK);
    assert_int_equal(hmac_next(h, slice_text("what do ya want for nothing?"), &d), OK);
    assert_memory_equal(d.bytes, jefe, sizeof(jefe));
}

static void as_the_library(void **state)
{
    (void)state;
    AUTO(hmac_autofree) struct hmac *h = NULL;
    uint8_t bytes[KEY_MAX];
    assert_int_equal(hmac_new(&h), OK);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 7 + 1);
    }
    for (size_t n = 0; n <= KEY_MAX; n++) {
        struct slice key = slice_of(bytes, n), text = slice_of(bytes + n / 2, (KEY_MAX - n) / 2);
        struct digest ours, theirs;
        assert_int_equal(hmac_key(h, key), OK);
        assert_int_equal(hmac_next(h, text, &ours), OK);
        assert_int_equal(digest_hmac(key, text, &theirs), OK);
        assert_memory_equal(ours.bytes, theirs.bytes, sizeof(ours.bytes));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published),
        cmocka_unit_test(as_the_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
