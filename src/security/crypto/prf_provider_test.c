/* The PRF as the library asks for it: the same bytes as its own, for every digest that a suite may
 * have; who does not ask for ours first, or asks in another way, is served as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include "base/mem.h"
#include "security/crypto/crypto_private.h"
#include "security/crypto/prf_provider.h"

enum { OUT = 100, SECRET_MAX = 200, MANY = HMAC_PRF_SEEDS + 1 };

static uint8_t bytes[SECRET_MAX];

static OSSL_PARAM octets(const char *name, size_t n)
{
    return OSSL_PARAM_construct_octet_string(name, bytes, n);
}

/* By what `first` finds; n_seeds pieces. Says whether it derived. */
static bool derive(const char *first, const char *provider, const char *digest, size_t secret_n,
                   size_t n_seeds, uint8_t out[OUT])
{
    OSSL_PARAM params[MANY + 3];
    char name[16];
    size_t n = 0;
    (void)snprintf(name, sizeof(name), "%s", digest);
    params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, name, 0);
    params[n++] = octets(OSSL_KDF_PARAM_SECRET, secret_n);
    for (size_t i = 0; i < n_seeds; i++) {
        params[n++] = octets(OSSL_KDF_PARAM_SEED, 13 + i);
    }
    params[n] = OSSL_PARAM_construct_end();
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_PRF, first);
    assert_non_null(kdf);
    if (provider != NULL) {
        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)), provider);
    }
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    EVP_KDF_free(kdf);
    assert_non_null(ctx);
    bool is_done = EVP_KDF_derive(ctx, out, OUT, params) == 1;
    EVP_KDF_CTX_free(ctx);
    ERR_clear_error();
    return is_done;
}

static void as_the_library(void **state)
{
    (void)state;
    static const char *const digests[] = {"SHA256", "SHA2-256", "SHA384", "SHA512"};
    for (size_t i = 0; i < COUNT_OF(digests); i++) {
        for (size_t n = 1; n <= SECRET_MAX; n += 7) { /* over a block of each */
            for (size_t n_seeds = 1; n_seeds <= HMAC_PRF_SEEDS; n_seeds++) {
                uint8_t ours[OUT], theirs[OUT];
                assert_true(
                    derive(PRF_PROVIDER_FIRST, PRF_PROVIDER_NAME, digests[i], n, n_seeds, ours));
                assert_true(derive("provider=default", "default", digests[i], n, n_seeds, theirs));
                assert_memory_equal(ours, theirs, OUT);
            }
        }
    }
}

static void what_it_does_not_do(void **state)
{
    (void)state;
    uint8_t out[OUT];
    assert_false(derive(PRF_PROVIDER_FIRST, PRF_PROVIDER_NAME, "MD5-SHA1", 48, 2, out));
    assert_false(derive(PRF_PROVIDER_FIRST, PRF_PROVIDER_NAME, "no digest", 48, 2, out));
    assert_false(derive(PRF_PROVIDER_FIRST, PRF_PROVIDER_NAME, "SHA256", 0, 2, out));
    assert_false(derive(PRF_PROVIDER_FIRST, PRF_PROVIDER_NAME, "SHA256", 48, 0, out));
    assert_false(derive(PRF_PROVIDER_FIRST, PRF_PROVIDER_NAME, "SHA256", 48, MANY, out));
}

/* Other algorithms are the library's, and its default provider stays loaded. */
static void the_library_stays(void **state)
{
    (void)state;
    uint8_t ours[OUT], any[OUT];
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA2-256", PRF_PROVIDER_FIRST);
    assert_non_null(md);
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_MD_get0_provider(md)), "default");
    EVP_MD_free(md);
    assert_true(derive(PRF_PROVIDER_FIRST, PRF_PROVIDER_NAME, "SHA384", 48, 3, ours));
    assert_true(derive(NULL, NULL, "SHA384", 48, 3, any)); /* whichever it is */
    assert_memory_equal(ours, any, OUT);
    assert_int_equal(prf_provider_load(), OK); /* once is enough, twice is fine */
}

static int load(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 11 + 3);
    }
    return prf_provider_load() == OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_library),
        cmocka_unit_test(what_it_does_not_do),
        cmocka_unit_test(the_library_stays),
    };
    return cmocka_run_group_tests(tests, load, NULL);
}
