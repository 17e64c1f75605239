#include "security/token/jwks.h"

#include "base/mem.h"
#include "security/crypto/sign_test.h"

static char text[JWKS_BYTES_MAX + 64];
static char jwk[SIGKEY_ALGS][2048];

static enum err parse(const char *set, const struct jwks **ret)
{
    struct why why = {.text = ""};
    enum err err = jwks_parse(slice_text(set), &why, ret);
    if (err != OK && err != ERR_NOMEM) {
        assert_true(why.text[0] != '\0');
    }
    return err;
}

static enum err parse_one(const char *key)
{
    const struct jwks *j = NULL;
    (void)snprintf(text, sizeof text, "{\"keys\":[%s]}", key);
    enum err err = parse(text, &j);
    jwks_unref(j);
    return err;
}

static int setup(void **state)
{
    static const char *const more[SIGKEY_ALGS] = {
        ",\"kid\":\"r\",\"use\":\"sig\",\"alg\":\"RS256\"", ",\"kid\":\"e\"",
        ",\"kid\":\"d\",\"key_ops\":[\"verify\"],\"x5c\":[\"not looked at\"]"};
    (void)state;
    for (enum sigkey_alg a = SIGKEY_RS256; a < SIGKEY_ALGS; a++) {
        struct signer s = signer_new(a, 2048);
        signer_jwk(&s, more[a], jwk[a], sizeof jwk[a]);
        signer_done(&s);
    }
    return 0;
}

static void finds_by_id(void **state)
{
    const struct jwks *j = NULL;
    (void)state;
    (void)snprintf(text, sizeof text, "{\"keys\":[%s,%s,%s],\"more\":1}", jwk[0], jwk[1], jwk[2]);
    assert_int_equal(parse(text, &j), OK);
    assert_int_equal(jwks_count(j), 3);
    assert_int_equal(sigkey_alg_of(jwks_find(j, true, slice_text("r"))), SIGKEY_RS256);
    assert_int_equal(sigkey_alg_of(jwks_find(j, true, slice_text("e"))), SIGKEY_ES256);
    assert_int_equal(sigkey_alg_of(jwks_find(j, true, slice_text("d"))), SIGKEY_EDDSA);
    assert_null(jwks_find(j, true, slice_text("R")));
    assert_null(jwks_find(j, true, (struct slice){0}));
    assert_null(jwks_find(j, false, (struct slice){0})); /* which one? */
    jwks_unref(jwks_ref(j));
    jwks_unref(j);
}

static void single_needs_no_id(void **state)
{
    const struct jwks *j = NULL;
    (void)state;
    (void)snprintf(text, sizeof text, "{\"keys\":[%s]}", jwk[1]);
    assert_int_equal(parse(text, &j), OK);
    assert_non_null(jwks_find(j, false, (struct slice){0}));
    assert_null(jwks_find(j, true, slice_text("other")));
    jwks_unref(j);
}

/* SPEC: RFC7517 5: what is not understood is passed over. */
static void passes_over(void **state)
{
    static const char *const others[] = {
        "{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\",\"use\":\"enc\"}",
        "{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\",\"alg\":\"RS512\"}",
        "{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\",\"alg\":7}",
        "{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\",\"key_ops\":[\"encrypt\"]}",
        "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AQ\",\"y\":\"AQ\"}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AQ\"}",
        "{\"kty\":\"AKP\",\"alg\":\"ML-DSA-44\",\"pub\":\"AQ\"}",
        "{}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const struct jwks *j = NULL;
        assert_int_equal(parse_one(others[i]), ERR_CONFIG); /* nothing left */
        (void)snprintf(text, sizeof text, "{\"keys\":[%s,%s]}", others[i], jwk[2]);
        assert_int_equal(parse(text, &j), OK);
        assert_int_equal(jwks_count(j), 1);
        jwks_unref(j);
    }
}

static void refuses(void **state)
{
    static const char *const sets[] = {
        "",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"keys\":[7]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AQAB\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQ\",\"d\":\"AQ\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQ\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":7}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQ==\",\"e\":\"AQAB\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"kty\":\"EC\"}]}",
        "{\"keys\":[]} x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        const struct jwks *j = NULL;
        assert_int_equal(parse(sets[i], &j), ERR_CONFIG);
        assert_null(j);
    }
}

static void weak(void **state)
{
    struct signer s = signer_new(SIGKEY_RS256, 1024);
    char key[1024];
    (void)state;
    signer_jwk(&s, "", key, sizeof key);
    signer_done(&s);
    assert_int_equal(parse_one(key), ERR_CONFIG);
}

static void key_ids(void **state)
{
    static const struct {
        size_t n;
        enum err want;
    } lengths[] = {{0, ERR_CONFIG}, {1, OK}, {JWKS_KID_MAX, OK}, {JWKS_KID_MAX + 1, ERR_CONFIG}};
    struct signer s = signer_new(SIGKEY_EDDSA, 0);
    char kid[JWKS_KID_MAX + 2];
    char more[JWKS_KID_MAX + 32];
    char key[1024];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        memset(kid, 'k', sizeof kid);
        kid[lengths[i].n] = '\0';
        (void)snprintf(more, sizeof more, ",\"kid\":\"%s\"", kid);
        signer_jwk(&s, more, key, sizeof key);
        assert_int_equal(parse_one(key), lengths[i].want);
    }
    signer_jwk(&s, ",\"kid\":7", key, sizeof key);
    assert_int_equal(parse_one(key), ERR_CONFIG);
    signer_jwk(&s, ",\"kid\":\"a\\u0000b\"", key, sizeof key);
    assert_int_equal(parse_one(key), ERR_CONFIG);
    const struct jwks *j = NULL;
    (void)snprintf(text, sizeof text, "{\"keys\":[%s,%s]}", jwk[2], jwk[2]);
    assert_int_equal(parse(text, &j), ERR_CONFIG); /* twice */
    signer_done(&s);
}

static void limits(void **state)
{
    (void)state;
    for (size_t n = JWKS_KEYS_MAX; n <= JWKS_KEYS_MAX + 1; n++) {
        const struct jwks *j = NULL;
        size_t at = (size_t)snprintf(text, sizeof text, "{\"keys\":[%s", jwk[1]);
        for (size_t i = 1; i < n; i++) {
            at += (size_t)snprintf(text + at, sizeof text - at, ",{\"kty\":\"?\"}");
        }
        (void)snprintf(text + at, sizeof text - at, "]}");
        assert_int_equal(parse(text, &j), n <= JWKS_KEYS_MAX ? OK : ERR_LIMIT);
        jwks_unref(j);
    }
    for (size_t n = JWKS_BYTES_MAX; n <= JWKS_BYTES_MAX + 1; n++) {
        const struct jwks *j = NULL;
        memset(text, ' ', sizeof text);
        size_t used = (size_t)snprintf(text, sizeof text, "{\"keys\":[%s]}", jwk[1]);
        text[used] = ' ';
        text[n] = '\0';
        assert_int_equal(parse(text, &j), n <= JWKS_BYTES_MAX ? OK : ERR_TOO_LARGE);
        jwks_unref(j);
    }
}

static void no_memory(void **state)
{
    bool failed = true;
    (void)state;
    for (long at = 0; failed; at++) {
        const struct jwks *j = NULL;
        (void)snprintf(text, sizeof text, "{\"keys\":[%s,%s,%s]}", jwk[0], jwk[1], jwk[2]);
        (void)mem_fail_after(at);
        enum err err = parse(text, &j);
        failed = mem_fail_after(-1) != 0;
        assert_int_equal(err, failed ? ERR_NOMEM : OK);
        jwks_unref(j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_by_id), cmocka_unit_test(single_needs_no_id),
        cmocka_unit_test(passes_over), cmocka_unit_test(refuses),
        cmocka_unit_test(weak),        cmocka_unit_test(key_ids),
        cmocka_unit_test(limits),      cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
