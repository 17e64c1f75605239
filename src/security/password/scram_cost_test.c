/* SCRAM for somebody unknown does the work that it does for a wrong proof: counted. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "security/crypto/digest.h"

static unsigned n_hashes;

static enum err counted_hmac(struct slice key, struct slice text, struct digest *ret)
{
    n_hashes++;
    return digest_hmac(key, text, ret);
}

#define digest_hmac counted_hmac
#include "security/password/scram.c"

static unsigned hashes_for(size_t n_keys)
{
    static const char nonce[] = "0123456789abcdef01234567";
    static const char last[] = "c=biws,r=abcdefgh0123456789abcdef01234567,"
                               "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    AUTO(scram_autofree) struct scram *s = NULL;
    uint8_t answer[SCRAM_ANSWER_MAX];
    struct wr out = wr_into(answer, sizeof answer);
    struct scram_salt salt = {.iterations = SCRAM_ITERATIONS};
    struct scram_keys keys[SCRAM_KEYS_MAX] = {{.stored_key = {{1}}}, {.stored_key = {{2}}}};
    assert_int_equal(scram_new(slice_text("n,,n=user,r=abcdefgh"), &s), OK);
    n_hashes = 0;
    assert_int_equal(scram_challenge(s, &salt, keys, n_keys, slice_text(nonce), &out), OK);
    assert_int_equal(scram_finish(s, slice_text(last), NULL, &out), ERR_AUTH);
    return n_hashes;
}

static void unknown_and_wrong_hash_alike(void **state)
{
    unsigned unknown = hashes_for(0);
    (void)state;
    assert_true(unknown >= SCRAM_KEYS_MAX);
    for (size_t n = 1; n <= SCRAM_KEYS_MAX; n++) {
        assert_int_equal(hashes_for(n), unknown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(unknown_and_wrong_hash_alike)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
