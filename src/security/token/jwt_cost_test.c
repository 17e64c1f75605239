/* A token of an unknown key costs the work of one with a bad signature: counted verifications. */
#include "security/token/jwt.h"

#include "security/crypto/sign_test.h"

static unsigned n_verified;

static enum err counted_verify(const struct sigkey *key, struct slice text, struct slice signature)
{
    n_verified++;
    return sigkey_verify(key, text, signature);
}

#define sigkey_verify counted_verify
#include "security/token/jwt.c"

static void unknown_kid_and_bad_signature_verify_alike(void **state)
{
    static const struct {
        const char *header;
        unsigned n;
        enum err err;
    } cases[] = {
        {"{\"alg\":\"ES256\",\"kid\":\"known\"}", 1, ERR_AUTH},
        {"{\"alg\":\"ES256\",\"kid\":\"other\"}", 1, ERR_NOT_FOUND},
        {"{\"alg\":\"ES256\",\"kid\":\"\"}", 1, ERR_NOT_FOUND},
        {"{\"alg\":\"ES256\",\"kid\":\"edwards\"}", 1, ERR_UNSUPPORTED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"known\"}", 1, ERR_UNSUPPORTED},
        {"{\"alg\":\"ES256\"}", 1, ERR_NOT_FOUND},
        /* Nobody has a key for this: there is nothing to learn. */
        {"{\"alg\":\"RS256\",\"kid\":\"known\"}", 0, ERR_UNSUPPORTED},
        {"{\"alg\":\"RS256\",\"kid\":\"other\"}", 0, ERR_NOT_FOUND},
    };
    static char set[4096];
    static char token[2048];
    struct signer known = signer_new(SIGKEY_ES256, 0);
    struct signer edwards = signer_new(SIGKEY_EDDSA, 0);
    struct signer stranger = signer_new(SIGKEY_ES256, 0);
    struct jwt_rules rules = {
        .issuer = slice_text("https://id"), .audience = slice_text("sallyport"), .skew_s = 60};
    const struct jwks *keys = NULL;
    (void)state;
    size_t at = (size_t)snprintf(set, sizeof set, "{\"keys\":[");
    signer_jwk(&known, ",\"kid\":\"known\"", set + at, sizeof set - at);
    at += strlen(set + at);
    at += (size_t)snprintf(set + at, sizeof set - at, ",");
    signer_jwk(&edwards, ",\"kid\":\"edwards\"", set + at, sizeof set - at);
    at += strlen(set + at);
    (void)snprintf(set + at, sizeof set - at, "]}");
    assert_int_equal(jwks_parse(slice_text(set), NULL, &keys), OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct why why = {""};
        struct jwt_claims claims;
        signer_token(&stranger, cases[i].header, "{}", token, sizeof token);
        n_verified = 0;
        assert_int_equal(jwt_verify(slice_text(token), keys, &rules, 0, &why, &claims),
                         cases[i].err);
        bool blames_signature = strstr(why.text, "signature") != NULL;
        assert_true(why.text[0] != '\0' && blames_signature == (cases[i].err == ERR_AUTH));
        assert_int_equal(n_verified, cases[i].n);
    }
    jwks_unref(keys);
    signer_done(&known);
    signer_done(&edwards);
    signer_done(&stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_kid_and_bad_signature_verify_alike)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
