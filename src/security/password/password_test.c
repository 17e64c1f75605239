#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/scope.h"
#include "security/password/password.h"

static void quality(void **state)
{
    (void)state;
    static const struct {
        const char *password, *name;
        enum err err;
    } cases[] = {
        {"plum-Garage7-ox", "dev", OK},
        {"twelve bytes", "dev", OK},
        {"elevenbytes", "dev", ERR_DENIED},
        {"", "dev", ERR_DENIED},
        {"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", "dev", ERR_DENIED}, /* 6 characters */
        {"password1234", "dev", ERR_DENIED},
        {"P4ssw0rd!!!!", "dev", ERR_DENIED},
        {"passwordpassword", "dev", ERR_DENIED},
        {"admin-password-1", "dev", ERR_DENIED},
        {"mosquitto2024", "dev", ERR_DENIED},
        {"123456789012", "dev", ERR_DENIED},
        {"847261938475", "dev", ERR_DENIED}, /* digits only */
        {"aaaaaaaaaaaa", "dev", ERR_DENIED},
        {"abcdefghijklm", "dev", ERR_DENIED},
        {"xk3xk3xk3xk3", "dev", ERR_DENIED},
        {"Boiler-room-7", "boiler-room-7", ERR_DENIED},
        {"1boiler-room-7!", "Boiler-Room-7", ERR_DENIED},
        {"boiler-room-7 is warm", "boiler-room-7", OK},
        {"sp1_not-generated", "dev", ERR_DENIED},
        {"sp1_abcdefghijklmnopqrstuvwxyz", "dev", OK},
        {"with\x01"
         "control!!",
         "dev", ERR_UTF8},
        {"broken utf8 \xff\xfe", "dev", ERR_UTF8},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct why why = {"untouched"};
        enum err err =
            password_check_new(slice_text(cases[i].password), slice_text(cases[i].name), &why);
        if (err != cases[i].err) {
            fail_msg("%s: %s", cases[i].password, err_name(err));
        }
        if (err != OK) {
            assert_string_not_equal(why.text, "untouched");
            assert_true(cases[i].password[0] == '\0' ||
                        strstr(why.text, cases[i].password) == NULL); /* never repeats it */
        }
        assert_int_equal(
            password_check_new(slice_text(cases[i].password), slice_text(cases[i].name), NULL),
            err);
    }
    char big[PASSWORD_MAX + 1];
    for (size_t i = 0; i < sizeof big; i++) {
        big[i] = (char)('a' + (i * i * 7 + i / 26) % 26);
    }
    assert_int_equal(password_check_new(slice_of(big, PASSWORD_MAX), slice_text("d"), NULL), OK);
    assert_int_equal(password_check_new(slice_of(big, sizeof big), slice_text("d"), NULL),
                     ERR_TOO_LARGE);
}

static void generated(void **state)
{
    (void)state;
    struct random_source random = random_system();
    char a[PASSWORD_GENERATED_BYTES];
    char b[PASSWORD_GENERATED_BYTES];
    char phc[PASSWORD_PHC_BYTES];
    enum password_profile profile;
    password_generate(&random, a);
    password_generate(&random, b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), PASSWORD_GENERATED_BYTES - 1);
    assert_int_equal(password_profile_of(slice_text(a)), PASSWORD_GENERATED);
    assert_int_equal(password_profile_of(slice_of(a, strlen(a) - 1)), PASSWORD_CHOSEN);
    assert_int_equal(password_check_new(slice_text(a), slice_text("dev"), NULL), OK);
    assert_int_equal(password_hash(slice_text(a), phc), OK);
    assert_true(password_phc_ok(slice_text(phc), &profile));
    assert_int_equal(profile, PASSWORD_GENERATED);
    const char *one[] = {phc};
    assert_int_equal(password_verify(slice_text(a), one, 1, NULL), OK);
    assert_int_equal(password_verify(slice_text(b), one, 1, NULL), ERR_AUTH);
    assert_int_equal(password_verify(slice_text(a), one, 0, NULL), ERR_AUTH);
}

static void chosen(void **state)
{
    (void)state;
    struct slice password = slice_text("plum-Garage7-ox");
    struct random_source random = random_system();
    char phc[PASSWORD_PHC_BYTES];
    char old_phc[PASSWORD_PHC_BYTES];
    char old[PASSWORD_GENERATED_BYTES];
    enum password_profile profile;
    password_generate(&random, old);
    assert_int_equal(password_hash(password, phc), OK);
    assert_int_equal(password_hash(slice_text(old), old_phc), OK);
    assert_true(password_phc_ok(slice_text(phc), &profile));
    assert_int_equal(profile, PASSWORD_CHOSEN);
    const char *both[] = {phc, old_phc};
    size_t at = 99;
    assert_int_equal(password_verify(password, both, 2, &at), OK);
    assert_int_equal(at, 0);
    assert_int_equal(password_verify(slice_text(old), both, 2, &at), OK);
    assert_int_equal(at, 1);
    assert_int_equal(password_verify(slice_text("plum-Garage7-oX"), both, 2, &at), ERR_AUTH);
    assert_int_equal(password_verify((struct slice){0}, both, 2, &at), ERR_AUTH);
    assert_int_equal(at, 1);
    /* a hash of nobody never matches, not even the empty password */
    assert_int_equal(password_verify((struct slice){0}, NULL, 0, &at), ERR_AUTH);
    char big[PASSWORD_MAX + 1] = {0};
    assert_int_equal(password_verify(slice_of(big, sizeof big), both, 2, &at), ERR_TOO_LARGE);
}

static void foreign_hashes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "$argon2id$v=19$m=256,t=1,p=1$",
        "$argon2i$v=19$m=256,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=4194304,t=99,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=256,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA*",
        "$argon2id$v=19$m=256,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        enum password_profile profile;
        assert_false(password_phc_ok(slice_text(bad[i]), &profile));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quality),
        cmocka_unit_test(generated),
        cmocka_unit_test(chosen),
        cmocka_unit_test(foreign_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
