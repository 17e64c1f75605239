/* Unknown, wrong and right cost the same: counted hashes, because a time in a test would be luck.
 */
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>

#include <cmocka.h>

static unsigned n_hashes;

static int counted_verify(const char *phc, const char *password, unsigned long long n)
{
    n_hashes++;
    return crypto_pwhash_argon2id_str_verify(phc, password, n);
}

#define crypto_pwhash_argon2id_str_verify counted_verify
#include "security/password/password.c"

#define MINE  "sp1_abcdefghijklmnopqrstuvwxyz"
#define OTHER "sp1_zzzzzzzzzzzzzzzzzzzzzzzzzz"

static void every_login_computes_as_many_hashes(void **state)
{
    static const struct {
        const char *name, *presented;
        size_t n; /* hashes on record */
        enum err err;
    } cases[] = {
        {"unknown", MINE, 0, ERR_AUTH},
        {"wrong", OTHER, 1, ERR_AUTH},
        {"right", MINE, 1, OK},
        {"wrong in a rotation", OTHER, 2, ERR_AUTH},
        {"right in a rotation", MINE, 2, OK},
        {"unknown, chosen", "correct horse battery", 0, ERR_AUTH},
        {"wrong, chosen, but its own is a generated one", "correct horse battery", 1, ERR_AUTH},
    };
    char mine[PASSWORD_PHC_BYTES];
    char other[PASSWORD_PHC_BYTES];
    const char *phc[] = {mine, other};
    (void)state;
    assert_int_equal(password_hash(slice_text(MINE), mine), OK);
    assert_int_equal(password_hash(slice_text("sp1_bbbbbbbbbbbbbbbbbbbbbbbbbb"), other), OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        n_hashes = 0;
        print_message("%s\n", cases[i].name);
        assert_int_equal(password_verify(slice_text(cases[i].presented), phc, cases[i].n, NULL),
                         cases[i].err);
        assert_int_equal(n_hashes, PASSWORD_HASHES_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_login_computes_as_many_hashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
