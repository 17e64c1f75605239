#include "security/token/trust.h"

#include "base/mem.h"
#include "security/crypto/sign_test.h"

static char set[4096];
static struct signer signer;

static int setup(void **state)
{
    static char jwk[2048];
    (void)state;
    signer = signer_new(SIGKEY_EDDSA, 0);
    signer_jwk(&signer, "", jwk, sizeof jwk);
    (void)snprintf(set, sizeof set, "{\"keys\":[%s]}", jwk);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    signer_done(&signer);
    return 0;
}

static struct trust_order order(void)
{
    return (struct trust_order){
        .issuer = slice_text("https://id"), .audience = slice_text("sallyport"), .skew_s = 60};
}

static void bounds(void **state)
{
    char text[TRUST_ISSUER_MAX + 2];
    const struct trust *t = NULL;
    struct trust_order o = order();
    (void)state;
    memset(text, 'x', sizeof text);
    o.issuer = slice_of(text, TRUST_ISSUER_MAX);
    o.audience = slice_of(text, TRUST_AUDIENCE_MAX);
    o.skew_s = JWT_SKEW_MAX_S;
    assert_int_equal(trust_new(slice_text(set), &o, NULL, &t), OK);
    trust_unref(trust_ref(t));
    t = trust_unref(t);
    const struct trust_order bad[] = {
        {slice_of(text, TRUST_ISSUER_MAX + 1), o.audience, 0},
        {o.issuer, slice_of(text, TRUST_AUDIENCE_MAX + 1), 0},
        {(struct slice){0}, o.audience, 0},
        {o.issuer, (struct slice){0}, 0},
        {o.issuer, o.audience, JWT_SKEW_MAX_S + 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct why why = {""};
        assert_int_equal(trust_new(slice_text(set), &bad[i], &why, &t), ERR_MALFORMED);
        assert_true(why.text[0] != '\0');
    }
    assert_int_equal(trust_new(slice_text("{}"), &o, NULL, &t), ERR_CONFIG);
}

static void rules(void **state)
{
    const struct trust *t = NULL;
    struct trust_order o = order();
    struct jwt_claims c;
    char token[1024];
    (void)state;
    assert_int_equal(trust_new(slice_text(set), &o, NULL, &t), OK);
    signer_token(&signer, "{\"alg\":\"EdDSA\"}",
                 "{\"iss\":\"https://id\",\"aud\":\"sallyport\",\"sub\":\"a\",\"exp\":1000}", token,
                 sizeof token);
    assert_int_equal(trust_verify(t, slice_text(token), 1059999, NULL, &c), OK);
    assert_string_equal(c.subject, "a");
    assert_int_equal(trust_verify(t, slice_text(token), 1060000, NULL, &c), ERR_EXPIRED);
    assert_true(trust_looks_like_token(slice_text(token)));
    trust_unref(t);
}

static void looks(void **state)
{
    (void)state;
    static const char *const passwords[] = {"",       "eyJ",   "eyJ.",
                                            "eyJ...", "a.b.c", "sp1_abcdefghijklmnopqrstuvwxyz"};
    for (size_t i = 0; i < sizeof passwords / sizeof *passwords; i++) {
        assert_false(trust_looks_like_token(slice_text(passwords[i])));
    }
    assert_true(trust_looks_like_token(slice_text("eyJ..")));
}

static void no_memory(void **state)
{
    bool failed = true;
    struct trust_order o = order();
    (void)state;
    for (long at = 0; failed; at++) {
        const struct trust *t = NULL;
        (void)mem_fail_after(at);
        enum err err = trust_new(slice_text(set), &o, NULL, &t);
        failed = mem_fail_after(-1) != 0;
        assert_int_equal(err, failed ? ERR_NOMEM : OK);
        trust_unref(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds),
        cmocka_unit_test(rules),
        cmocka_unit_test(looks),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
