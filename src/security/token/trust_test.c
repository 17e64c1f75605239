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
    return (struct trust_order){.keys = slice_text(set),
                                .issuer = slice_text("https://id"),
                                .audience = slice_text("sallyport"),
                                .skew_s = 60};
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
    assert_int_equal(trust_new(&o, 1, NULL, NULL, &t), OK);
    trust_unref(trust_ref(t));
    t = trust_unref(t);
    const struct trust_order bad[] = {
        {o.keys, slice_of(text, TRUST_ISSUER_MAX + 1), o.audience, 0},
        {o.keys, o.issuer, slice_of(text, TRUST_AUDIENCE_MAX + 1), 0},
        {o.keys, (struct slice){0}, o.audience, 0},
        {o.keys, o.issuer, (struct slice){0}, 0},
        {o.keys, o.issuer, o.audience, JWT_SKEW_MAX_S + 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct why why = {""};
        assert_int_equal(trust_new(&bad[i], 1, &why, NULL, &t), ERR_MALFORMED);
        assert_true(why.text[0] != '\0');
    }
    o.keys = slice_text("{}");
    assert_int_equal(trust_new(&o, 1, NULL, NULL, &t), ERR_CONFIG);
}

static void rules(void **state)
{
    const struct trust *t = NULL;
    struct trust_order o = order();
    struct jwt_claims c;
    char token[1024];
    (void)state;
    assert_int_equal(trust_new(&o, 1, NULL, NULL, &t), OK);
    signer_token(&signer, "{\"alg\":\"EdDSA\"}",
                 "{\"iss\":\"https://id\",\"aud\":\"sallyport\",\"sub\":\"a\",\"exp\":1000}", token,
                 sizeof token);
    assert_int_equal(trust_verify(t, slice_text(token), 1059999, NULL, &c), OK);
    assert_string_equal(c.subject, "a");
    assert_int_equal(trust_verify(t, slice_text(token), 1060000, NULL, &c), ERR_EXPIRED);
    assert_true(trust_looks_like_token(slice_text(token)));
    trust_unref(t);
}

static enum err verify(const struct trust *t, const struct signer *by, const char *issuer,
                       const char *audience, struct why *why)
{
    char claims[400];
    char token[1024];
    struct jwt_claims c;
    (void)snprintf(claims, sizeof claims,
                   "{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"a\",\"exp\":1000}", issuer, audience);
    signer_token(by, "{\"alg\":\"EdDSA\"}", claims, token, sizeof token);
    return trust_verify(t, slice_text(token), 0, why, &c);
}

/* Each with its own keys and audience, and no key stands for another issuer. */
static void several_issuers(void **state)
{
    char jwk[2048];
    char other_set[2100];
    const struct trust *t = NULL;
    struct why why = {""};
    size_t at = 0;
    (void)state;
    struct signer other = signer_new(SIGKEY_EDDSA, 0);
    signer_jwk(&other, "", jwk, sizeof jwk);
    (void)snprintf(other_set, sizeof other_set, "{\"keys\":[%s]}", jwk);
    struct trust_order o[TRUST_ISSUERS_MAX] = {order(), order()};
    o[1].keys = slice_text(other_set);
    o[1].issuer = slice_text("https://other");
    o[1].audience = slice_text("there");
    assert_int_equal(trust_new(o, 2, &why, NULL, &t), OK);
    assert_int_equal(verify(t, &signer, "https://id", "sallyport", &why), OK);
    assert_int_equal(verify(t, &other, "https://other", "there", &why), OK);
    assert_int_equal(verify(t, &other, "https://id", "sallyport", &why), ERR_AUTH);
    assert_int_equal(verify(t, &signer, "https://other", "there", &why), ERR_AUTH);
    assert_int_equal(verify(t, &other, "https://other", "sallyport", &why), ERR_DENIED);
    assert_int_equal(verify(t, &signer, "https://i", "sallyport", &why), ERR_DENIED);
    assert_non_null(strstr(why.text, "none of those"));
    assert_null(strstr(why.text, "https://i")); /* a stranger's word is not repeated */
    struct jwt_claims c;
    assert_int_equal(trust_verify(t, slice_text("eyJ.eyJ.AA"), 0, &why, &c), ERR_MALFORMED);
    char large[JWT_BYTES_MAX + 1];
    memset(large, 'x', sizeof large);
    assert_int_equal(trust_verify(t, slice_of(large, sizeof large), 0, &why, &c), ERR_TOO_LARGE);
    trust_unref(t);
    o[1].issuer = o[0].issuer;
    assert_int_equal(trust_new(o, 2, &why, &at, &t), ERR_MALFORMED);
    assert_int_equal(at, 1);
    assert_non_null(strstr(why.text, "twice"));
    o[1].issuer = slice_text("https://other");
    o[1].keys = slice_text("{}");
    assert_int_equal(trust_new(o, 2, &why, &at, &t), ERR_CONFIG);
    static const char *const names[TRUST_ISSUERS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (size_t i = 0; i < TRUST_ISSUERS_MAX; i++) {
        o[i] = order();
        o[i].issuer = slice_text(names[i]);
    }
    assert_int_equal(trust_new(o, TRUST_ISSUERS_MAX, &why, NULL, &t), OK);
    assert_int_equal(verify(t, &signer, "h", "sallyport", &why), OK);
    trust_unref(t);
    signer_done(&other);
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
    struct trust_order o[] = {order(), order()};
    (void)state;
    o[1].issuer = slice_text("https://other");
    for (long at = 0; failed; at++) {
        const struct trust *t = NULL;
        (void)mem_fail_after(at);
        enum err err = trust_new(o, 2, NULL, NULL, &t);
        failed = mem_fail_after(-1) != 0;
        assert_int_equal(err, failed ? ERR_NOMEM : OK);
        trust_unref(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds), cmocka_unit_test(rules),     cmocka_unit_test(several_issuers),
        cmocka_unit_test(looks),  cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
