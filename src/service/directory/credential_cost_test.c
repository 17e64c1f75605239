/* The key of a PSK identity that nobody has costs what a known one costs: counted derivations. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "security/crypto/kdf.h"

static unsigned n_derived;

static enum err counted_hkdf(struct slice key, struct slice salt, struct slice info, uint8_t *dst,
                             size_t n)
{
    n_derived++;
    return kdf_hkdf(key, salt, info, dst, n);
}

#define kdf_hkdf counted_hkdf
#include "service/directory/credential.c"

static void a_key_of_nobody_is_derived_too(void **state)
{
    static const char text[] = "0123456789abcdefghijklmnopqrstuv";
    struct random_source random = random_system();
    const struct credential_guard *guard = NULL;
    uint8_t key[PSK_KEY_MAX];
    size_t n = 1;
    (void)state;
    assert_int_equal(credential_guard_new(&random, &guard), OK);
    struct credential *c = credential_new(7, CREDENTIAL_PSK, 0);
    assert_non_null(c);
    assert_int_equal(credential_set_psk(c, guard, slice_text(text)), OK);
    n_derived = 0;
    assert_int_equal(credential_psk(c, key, &n), OK);
    assert_int_equal(n_derived, 1);
    assert_true(slice_equal(slice_of(key, n), slice_text(text)));
    assert_int_equal(credential_psk(NULL, key, &n), OK);
    assert_int_equal(n_derived, 2);
    assert_int_equal(n, 0);
    credential_unref(c);
    credential_guard_unref(guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_key_of_nobody_is_derived_too)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
