#include "security/crypto/sign_test.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/mem.h"

static struct slice decoded(const json_t *object, const char *name, uint8_t dst[512])
{
    struct slice text = slice_text(json_string_value(json_object_get(object, name)));
    size_t n = 0;
    assert_int_equal(base64_decode(BASE64_URL, text, dst, 512, &n), OK);
    return slice_of(dst, n);
}

static struct sigkey *key_of_jwk(const json_t *jwk, enum sigkey_alg alg)
{
    uint8_t a[512];
    uint8_t b[512];
    struct sigkey *k = NULL;
    if (alg == SIGKEY_RS256) {
        assert_int_equal(sigkey_rsa(decoded(jwk, "n", a), decoded(jwk, "e", b), &k), OK);
    } else if (alg == SIGKEY_ES256) {
        assert_int_equal(sigkey_p256(decoded(jwk, "x", a), decoded(jwk, "y", b), &k), OK);
    } else {
        assert_int_equal(sigkey_ed25519(decoded(jwk, "x", a), &k), OK);
    }
    return k;
}

/* Every bit of a good signature and of the text matters. */
static void assert_tight(const struct sigkey *k, struct slice text, struct slice signature)
{
    uint8_t bad[512];
    assert_int_equal(sigkey_verify(k, text, signature), OK);
    for (size_t bit = 0; bit < 8 * signature.n; bit += 7) {
        memcpy(bad, signature.p, signature.n);
        bad[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(sigkey_verify(k, text, slice_of(bad, signature.n)), ERR_AUTH);
    }
    assert_int_equal(sigkey_verify(k, slice_head(text, text.n - 1), signature), ERR_AUTH);
    assert_int_equal(sigkey_verify(k, (struct slice){0}, signature), ERR_AUTH);
    assert_int_equal(sigkey_verify(k, text, slice_head(signature, signature.n - 1)), ERR_AUTH);
    assert_int_equal(sigkey_verify(k, text, (struct slice){0}), ERR_AUTH);
    memcpy(bad, signature.p, signature.n);
    bad[signature.n < 512 ? signature.n : 511] = 0;
    if (signature.n < 512) {
        assert_int_equal(sigkey_verify(k, text, slice_of(bad, signature.n + 1)), ERR_AUTH);
    }
    memset(bad, 0, sizeof bad);
    assert_int_equal(sigkey_verify(k, text, slice_of(bad, signature.n)), ERR_AUTH);
}

/* SPEC: RFC7518 3.3, 3.4, RFC8037 3.1 */
static void vectors(void **state)
{
    char path[512];
    const char *root = getenv("SALLYPORT_SOURCE_ROOT");
    (void)state;
    (void)snprintf(path, sizeof path, "%s/tests/vectors/jws-rfc7515-rfc8037.json",
                   root != NULL ? root : ".");
    json_t *file = json_load_file(path, 0, NULL);
    const json_t *list = json_object_get(file, "vectors");
    assert_int_equal(json_array_size(list), SIGKEY_ALGS);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        enum sigkey_alg alg = (enum sigkey_alg)i;
        assert_string_equal(json_string_value(json_object_get(v, "alg")), sigkey_alg_name(alg));
        struct sigkey *k = key_of_jwk(json_object_get(v, "jwk"), alg);
        assert_int_equal(sigkey_alg_of(k), alg);
        const char *token = json_string_value(json_object_get(v, "token"));
        const char *dot = strrchr(token, '.');
        uint8_t bytes[512];
        size_t n = 0;
        assert_int_equal(base64_decode(BASE64_URL, slice_text(dot + 1), bytes, sizeof bytes, &n),
                         OK);
        assert_tight(k, slice_of(token, (size_t)(dot - token)), slice_of(bytes, n));
        sigkey_free(k);
    }
    json_decref(file);
}

static void weak_rsa(void **state)
{
    uint8_t n[SIGKEY_BYTES_MAX + 1];
    static const uint8_t e[] = {1, 0, 1};
    static const uint8_t e3[] = {3};
    static const uint8_t e_even[] = {1, 0, 2};
    static const uint8_t e_zero[] = {0, 1, 0, 1};
    static const uint8_t e_long[] = {1, 0, 0, 0, 1};
    struct sigkey *k = NULL;
    (void)state;
    memset(n, 0xff, sizeof n);
    assert_int_equal(sigkey_rsa(slice_of(n, 256), slice_of(e, 3), &k), OK);
    k = sigkey_free(k);
    assert_int_equal(sigkey_rsa(slice_of(n, 512), slice_of(e, 3), &k), OK);
    k = sigkey_free(k);
    assert_int_equal(sigkey_rsa(slice_of(n, 513), slice_of(e, 3), &k), ERR_TOO_LARGE);
    assert_int_equal(sigkey_rsa(slice_of(n, 255), slice_of(e, 3), &k), ERR_DENIED);
    n[0] = 0x7f; /* 2047 bits */
    assert_int_equal(sigkey_rsa(slice_of(n, 256), slice_of(e, 3), &k), ERR_DENIED);
    n[0] = 0;
    assert_int_equal(sigkey_rsa(slice_of(n, 257), slice_of(e, 3), &k), ERR_MALFORMED);
    n[0] = 0x80;
    assert_int_equal(sigkey_rsa(slice_of(n, 256), slice_of(e3, 1), &k), ERR_DENIED);
    assert_int_equal(sigkey_rsa(slice_of(n, 256), slice_of(e_even, 3), &k), ERR_DENIED);
    assert_int_equal(sigkey_rsa(slice_of(n, 256), slice_of(e_zero, 4), &k), ERR_MALFORMED);
    assert_int_equal(sigkey_rsa(slice_of(n, 256), slice_of(e_long, 5), &k), ERR_TOO_LARGE);
    assert_int_equal(sigkey_rsa(slice_of(n, 256), (struct slice){0}, &k), ERR_MALFORMED);
    assert_int_equal(sigkey_rsa((struct slice){0}, slice_of(e, 3), &k), ERR_MALFORMED);
    n[255] = 0xfe; /* an even modulus is nobody's */
    assert_int_equal(sigkey_rsa(slice_of(n, 256), slice_of(e, 3), &k), ERR_MALFORMED);
    assert_null(k);
}

static void broken_points(void **state)
{
    uint8_t x[33] = {1};
    struct sigkey *k = NULL;
    (void)state;
    assert_int_equal(sigkey_p256(slice_of(x, 32), slice_of(x, 32), &k), ERR_MALFORMED);
    assert_int_equal(sigkey_p256(slice_of(x, 31), slice_of(x, 32), &k), ERR_MALFORMED);
    assert_int_equal(sigkey_p256(slice_of(x, 32), slice_of(x, 33), &k), ERR_MALFORMED);
    memset(x, 0, sizeof x);
    assert_int_equal(sigkey_p256(slice_of(x, 32), slice_of(x, 32), &k), ERR_MALFORMED);
    assert_int_equal(sigkey_ed25519(slice_of(x, 31), &k), ERR_MALFORMED);
    assert_int_equal(sigkey_ed25519(slice_of(x, 33), &k), ERR_MALFORMED);
    assert_null(k);
}

static void no_memory(void **state)
{
    uint8_t x[32];
    struct sigkey *k = NULL;
    (void)state;
    memset(x, 9, sizeof x);
    (void)mem_fail_after(0);
    assert_int_equal(sigkey_ed25519(slice_of(x, 32), &k), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_null(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(weak_rsa),
        cmocka_unit_test(broken_points),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
