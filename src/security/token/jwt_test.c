#include "security/token/jwt.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/mem.h"
#include "security/crypto/sign_test.h"

#define NOW_S  1800000000
#define NOW_MS INT64_C(1800000000000)

static struct signer signers[SIGKEY_ALGS];
static const struct jwks *keys;
static char token[JWT_BYTES_MAX * 2];

static const char *const kids[SIGKEY_ALGS] = {"r", "e", "d"};

static struct jwt_rules rules(void)
{
    return (struct jwt_rules){
        .issuer = slice_text("https://id"), .audience = slice_text("sallyport"), .skew_s = 60};
}

static enum err verify(const char *presented, struct jwt_claims *ret)
{
    struct why why = {.text = ""};
    struct jwt_rules r = rules();
    enum err err = jwt_verify(slice_text(presented), keys, &r, NOW_MS, &why, ret);
    if (err != OK && err != ERR_NOMEM) {
        assert_true(why.text[0] != '\0');
    }
    return err;
}

#define GOOD_CLAIMS                                                                                \
    "{\"iss\":\"https://id\",\"aud\":\"sallyport\",\"sub\":\"pump-1\",\"exp\":1800000100,"         \
    "\"nbf\":1799999900,\"iat\":1799999900,\"scope\":\"anything\"}"

static int setup(void **state)
{
    static char set[8192];
    size_t at = (size_t)snprintf(set, sizeof set, "{\"keys\":[");
    (void)state;
    for (enum sigkey_alg a = SIGKEY_RS256; a < SIGKEY_ALGS; a++) {
        char more[32];
        signers[a] = signer_new(a, 2048);
        (void)snprintf(more, sizeof more, ",\"kid\":\"%s\"", kids[a]);
        signer_jwk(&signers[a], more, set + at, sizeof set - at);
        at += strlen(set + at);
        at += (size_t)snprintf(set + at, sizeof set - at, a + 1 < SIGKEY_ALGS ? "," : "]}");
    }
    return jwks_parse(slice_text(set), NULL, &keys) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    for (enum sigkey_alg a = SIGKEY_RS256; a < SIGKEY_ALGS; a++) {
        signer_done(&signers[a]);
    }
    keys = jwks_unref(keys);
    return 0;
}

static void good(void **state)
{
    (void)state;
    for (enum sigkey_alg a = SIGKEY_RS256; a < SIGKEY_ALGS; a++) {
        struct jwt_claims c;
        char header[128];
        (void)snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"JWT\"}",
                       sigkey_alg_name(a), kids[a]);
        signer_token(&signers[a], header, GOOD_CLAIMS, token, sizeof token);
        assert_int_equal(verify(token, &c), OK);
        assert_string_equal(c.subject, "pump-1");
        assert_int_equal(c.expires_wall_ms, NOW_MS + 160000);
    }
}

/* What the RFC's own tokens say is not for us, so their signatures are good and their claims are
 * not. SPEC: RFC7515 5.2 */
static void vectors(void **state)
{
    char path[512];
    const char *root = getenv("SALLYPORT_SOURCE_ROOT");
    (void)state;
    (void)snprintf(path, sizeof path, "%s/tests/vectors/jws-rfc7515-rfc8037.json",
                   root != NULL ? root : ".");
    json_t *file = json_load_file(path, 0, NULL);
    const json_t *list = json_object_get(file, "vectors");
    assert_int_equal(json_array_size(list), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *v = json_array_get(list, i);
        const struct jwks *set = NULL;
        struct jwt_claims c;
        struct jwt_rules r = rules();
        char *jwk = json_dumps(json_object_get(v, "jwk"), 0);
        (void)snprintf(token, sizeof token, "{\"keys\":[%s]}", jwk);
        free(jwk);
        assert_int_equal(jwks_parse(slice_text(token), NULL, &set), OK);
        struct slice text = slice_text(json_string_value(json_object_get(v, "token")));
        /* The third one's payload is no JSON; that shows only behind a good signature. */
        assert_int_equal(jwt_verify(text, set, &r, NOW_MS, NULL, &c),
                         i < 2 ? ERR_DENIED : ERR_MALFORMED);
        r.issuer = slice_text("joe");
        assert_int_equal(jwt_verify(text, set, &r, NOW_MS, NULL, &c),
                         i < 2 ? ERR_DENIED : ERR_MALFORMED);
        assert_int_equal(jwt_verify(text, keys, &r, NOW_MS, NULL, &c), ERR_NOT_FOUND);
        jwks_unref(set);
    }
    json_decref(file);
}

/* Signed with the Ed25519 key, whatever the header says. */
static const struct {
    const char *header;
    enum err want;
} headers[] = {
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\"}", OK},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"typ\":\"at+JWT\"}", OK},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"typ\":\"application/at+jwt\"}", OK},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"jwk\":{},\"jku\":\"https://evil\"}", OK}, /* unread */
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"typ\":\"dpop+jwt\"}", ERR_UNSUPPORTED},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"typ\":7}", ERR_UNSUPPORTED},
    {"{\"alg\":\"none\",\"kid\":\"d\"}", ERR_UNSUPPORTED},
    {"{\"alg\":\"None\",\"kid\":\"d\"}", ERR_UNSUPPORTED},
    {"{\"alg\":\"HS256\",\"kid\":\"d\"}", ERR_UNSUPPORTED},
    {"{\"alg\":\"RS512\",\"kid\":\"d\"}", ERR_UNSUPPORTED},
    {"{\"alg\":\"eddsa\",\"kid\":\"d\"}", ERR_UNSUPPORTED},
    {"{\"alg\":\"\",\"kid\":\"d\"}", ERR_UNSUPPORTED},
    {"{\"alg\":\"ES256\",\"kid\":\"d\"}", ERR_UNSUPPORTED}, /* not this key's */
    {"{\"alg\":\"RS256\",\"kid\":\"d\"}", ERR_UNSUPPORTED},
    {"{\"alg\":\"EdDSA\",\"kid\":\"r\"}", ERR_UNSUPPORTED},
    {"{\"alg\":\"ES256\",\"kid\":\"e\"}", ERR_AUTH}, /* another's key */
    {"{\"alg\":\"EdDSA\",\"kid\":\"D\"}", ERR_NOT_FOUND},
    {"{\"alg\":\"EdDSA\",\"kid\":\"\"}", ERR_NOT_FOUND},
    {"{\"alg\":\"EdDSA\"}", ERR_NOT_FOUND},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"crit\":[\"exp\"]}", ERR_UNSUPPORTED},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"crit\":[]}", ERR_UNSUPPORTED},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"b64\":false,\"crit\":[\"b64\"]}", ERR_UNSUPPORTED},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"alg\":\"EdDSA\"}", ERR_MALFORMED},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"x\":{\"a\":1,\"a\":1}}", ERR_MALFORMED},
    {"{\"alg\":\"EdDSA\",\"kid\":7}", ERR_MALFORMED},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\\u0000\"}", ERR_MALFORMED},
    {"{\"alg\":7,\"kid\":\"d\"}", ERR_MALFORMED},
    {"{\"kid\":\"d\"}", ERR_MALFORMED},
    {"{\"alg\":\"EdDSA\",\"kid\":\"d\"} x", ERR_MALFORMED},
    {"[]", ERR_MALFORMED},
    {"7", ERR_MALFORMED},
};

static void header_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct jwt_claims c;
        signer_token(&signers[SIGKEY_EDDSA], headers[i].header, GOOD_CLAIMS, token, sizeof token);
        assert_int_equal(verify(token, &c), headers[i].want);
    }
}

#define WHO "\"iss\":\"https://id\",\"sub\":\"pump-1\""
#define ALL WHO ",\"aud\":\"sallyport\""

static const struct {
    const char *claims;
    enum err want;
} claims_cases[] = {
    {"{" ALL ",\"exp\":1800000000}", OK},
    {"{" ALL ",\"exp\":1799999941}", OK},          /* 59 s over, 60 are allowed */
    {"{" ALL ",\"exp\":1799999940}", ERR_EXPIRED}, /* the first moment */
    {"{" ALL ",\"exp\":1799999940.5}", OK},
    {"{" ALL ",\"exp\":0}", ERR_EXPIRED},
    {"{" ALL ",\"exp\":253402300799}", OK},
    {"{" ALL ",\"exp\":253402300800}", ERR_MALFORMED},
    {"{" ALL ",\"exp\":1e300}", ERR_MALFORMED},
    {"{" ALL ",\"exp\":1e999}", ERR_MALFORMED},
    {"{" ALL ",\"exp\":99999999999999999999}", ERR_MALFORMED},
    {"{" ALL ",\"exp\":-1}", ERR_MALFORMED},
    {"{" ALL ",\"exp\":\"1800000100\"}", ERR_MALFORMED},
    {"{" ALL ",\"exp\":null}", ERR_MALFORMED},
    {"{" ALL "}", ERR_DENIED}, /* no end */
    {"{" ALL ",\"exp\":1800000100,\"exp\":1900000000}", ERR_MALFORMED},
    {"{" ALL ",\"exp\":1800000100,\"nbf\":1800000060}", OK},
    {"{" ALL ",\"exp\":1800000100,\"nbf\":1800000061}", ERR_DENIED},
    {"{" ALL ",\"exp\":1800000100,\"nbf\":true}", ERR_MALFORMED},
    {"{" ALL ",\"exp\":1800000100,\"iat\":1800000060}", OK},
    {"{" ALL ",\"exp\":1800000100,\"iat\":1800000061}", ERR_DENIED},
    {"{" ALL ",\"exp\":1800000100,\"iat\":[]}", ERR_MALFORMED},
    {"{" WHO ",\"exp\":1800000100}", ERR_DENIED},
    {"{" WHO ",\"exp\":1800000100,\"aud\":\"Sallyport\"}", ERR_DENIED},
    {"{" WHO ",\"exp\":1800000100,\"aud\":\"sallyport2\"}", ERR_DENIED},
    {"{" WHO ",\"exp\":1800000100,\"aud\":\"\"}", ERR_DENIED},
    {"{" WHO ",\"exp\":1800000100,\"aud\":[]}", ERR_DENIED},
    {"{" WHO ",\"exp\":1800000100,\"aud\":[\"a\",\"sallyport\"]}", OK},
    {"{" WHO ",\"exp\":1800000100,\"aud\":[\"sallyport\",7]}", ERR_MALFORMED},
    {"{" WHO ",\"exp\":1800000100,\"aud\":{\"sallyport\":1}}", ERR_MALFORMED},
    {"{" WHO ",\"exp\":1800000100,\"aud\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}",
     ERR_MALFORMED},
    {"{\"iss\":\"https://id/\",\"sub\":\"pump-1\",\"aud\":\"sallyport\",\"exp\":1800000100}",
     ERR_DENIED},
    {"{\"sub\":\"pump-1\",\"aud\":\"sallyport\",\"exp\":1800000100}", ERR_DENIED},
    {"{\"iss\":[\"https://id\"],\"sub\":\"p\",\"aud\":\"sallyport\",\"exp\":1800000100}",
     ERR_MALFORMED},
    {"{\"iss\":\"https://id\",\"aud\":\"sallyport\",\"exp\":1800000100}", ERR_DENIED},
    {"{\"iss\":\"https://id\",\"aud\":\"sallyport\",\"exp\":1800000100,\"sub\":\"\"}", ERR_DENIED},
    {"{\"iss\":\"https://id\",\"aud\":\"sallyport\",\"exp\":1800000100,\"sub\":7}", ERR_MALFORMED},
    {"{\"iss\":\"https://id\",\"aud\":\"sallyport\",\"exp\":1800000100,\"sub\":"
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
     OK}, /* 64 */
    {"{\"iss\":\"https://id\",\"aud\":\"sallyport\",\"exp\":1800000100,\"sub\":"
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
     ERR_DENIED}, /* 65 */
    {"[]", ERR_MALFORMED},
    {"pump-1", ERR_MALFORMED},
};

static void claims_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof claims_cases / sizeof *claims_cases; i++) {
        struct jwt_claims c;
        signer_token(&signers[SIGKEY_EDDSA], "{\"alg\":\"EdDSA\",\"kid\":\"d\"}",
                     claims_cases[i].claims, token, sizeof token);
        assert_int_equal(verify(token, &c), claims_cases[i].want);
    }
}

/* Nothing shorter, longer or otherwise written than the token itself is good. */
static void form(void **state)
{
    struct jwt_claims c;
    char bad[sizeof token];
    (void)state;
    signer_token(&signers[SIGKEY_EDDSA], "{\"alg\":\"EdDSA\",\"kid\":\"d\"}", GOOD_CLAIMS, token,
                 sizeof token);
    size_t n = strlen(token);
    for (size_t cut = 0; cut < n; cut++) {
        memcpy(bad, token, cut);
        bad[cut] = '\0';
        assert_int_not_equal(verify(bad, &c), OK);
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(bad, token, n + 1);
        bad[i] = (char)(bad[i] ^ 1);
        assert_int_not_equal(verify(bad, &c), OK);
    }
    static const char *const tails[] = {"=", ".", ".AA", "A", "AA", "\n", " "};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        (void)snprintf(bad, sizeof bad, "%s%s", token, tails[i]);
        assert_int_not_equal(verify(bad, &c), OK);
    }
    static const char *const others[] = {"", ".", "..", "...", "a.b", ".e30.", "e30..e30"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(verify(others[i], &c), ERR_MALFORMED);
    }
}

/* The last character of an Ed25519 signature has two bits to spare: four spellings, one is good. */
static void not_canonical(void **state)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct jwt_claims c;
    (void)state;
    signer_token(&signers[SIGKEY_EDDSA], "{\"alg\":\"EdDSA\",\"kid\":\"d\"}", GOOD_CLAIMS, token,
                 sizeof token);
    char *last = &token[strlen(token) - 1];
    size_t at = (size_t)(strchr(letters, *last) - letters);
    for (size_t i = 1; i < 4; i++) {
        *last = letters[at + i];
        assert_int_equal(verify(token, &c), ERR_MALFORMED);
    }
}

static void sizes(void **state)
{
    struct jwt_claims c;
    static char claims[JWT_BYTES_MAX];
    char header[JWT_HEADER_MAX + 64];
    (void)state;
    /* the longest token: padded inside its claims, 3 bytes of them are 4 of it */
    signer_token(&signers[SIGKEY_EDDSA], "{\"alg\":\"EdDSA\",\"kid\":\"d\"}", GOOD_CLAIMS, token,
                 sizeof token);
    size_t n = strlen(GOOD_CLAIMS);
    memcpy(claims, GOOD_CLAIMS, n);
    while (strlen(token) <= JWT_BYTES_MAX) {
        assert_int_equal(verify(token, &c), OK);
        claims[n++] = ' ';
        claims[n] = '\0';
        signer_token(&signers[SIGKEY_EDDSA], "{\"alg\":\"EdDSA\",\"kid\":\"d\"}", claims, token,
                     sizeof token);
    }
    assert_int_equal(verify(token, &c), ERR_TOO_LARGE);
    for (size_t width = JWT_HEADER_MAX; width <= JWT_HEADER_MAX + 1; width++) {
        (void)snprintf(header, sizeof header, "%-*s", (int)width,
                       "{\"alg\":\"EdDSA\",\"kid\":\"d\"}");
        signer_token(&signers[SIGKEY_EDDSA], header, GOOD_CLAIMS, token, sizeof token);
        assert_int_equal(verify(token, &c), width <= JWT_HEADER_MAX ? OK : ERR_TOO_LARGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),         cmocka_unit_test(vectors), cmocka_unit_test(header_table),
        cmocka_unit_test(claims_table), cmocka_unit_test(form),    cmocka_unit_test(not_canonical),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
