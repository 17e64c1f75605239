#include "security/crypto/prf_provider.h"

#include <stdatomic.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include "base/mem.h"
#include "security/crypto/crypto_private.h"

/* What all contexts share: the digest is fetched by the first of them, for while a provider is
 * being loaded nothing can be. */
struct prf_provider {
    _Atomic(EVP_MD *) sha256;
};

struct prf {
    EVP_MD *sha256; /* borrowed */
    struct hmac *hmac;
};

static EVP_MD *digest_of(struct prf_provider *p)
{
    EVP_MD *md = atomic_load(&p->sha256), *first = NULL;
    if (md != NULL) {
        return md;
    }
    md = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    if (md != NULL && !atomic_compare_exchange_strong(&p->sha256, &first, md)) {
        EVP_MD_free(md);
        md = first;
    }
    return md;
}

static void prf_freectx(void *ctx)
{
    struct prf *prf = ctx;
    if (prf != NULL) {
        prf->hmac = hmac_free(prf->hmac);
    }
    (void)mem_free(prf);
}

static void *prf_newctx(void *provctx)
{
    struct prf *prf = mem_zalloc(sizeof(*prf));
    if (prf == NULL) {
        return NULL;
    }
    prf->sha256 = digest_of(provctx);
    if (prf->sha256 == NULL || hmac_over(prf->sha256, &prf->hmac) != OK) {
        prf_freectx(prf);
        return NULL;
    }
    return prf;
}

static void prf_reset(void *ctx)
{
    (void)ctx; /* nothing is kept between calls */
}

/* Of an octet string or a text; empty: there is none. */
static struct slice bytes_of(const OSSL_PARAM *p, unsigned type)
{
    return p != NULL && p->data_type == type && p->data != NULL ? slice_of(p->data, p->data_size)
                                                                : (struct slice){0};
}

/* Other digests are asked for by nobody here, but whoever finds this PRF may. */
static enum err derive_by(const char *name, struct slice secret, const struct slice *seeds,
                          size_t n_seeds, void *dst, size_t n)
{
    AUTO(hmac_autofree) struct hmac *h = NULL;
    EVP_MD *md = EVP_MD_fetch(NULL, name, NULL);
    bool is_plain = md != NULL && EVP_MD_is_a(md, "MD5-SHA1") != 1; /* that of TLS 1.1 is another */
    enum err err = is_plain ? hmac_over(md, &h) : ERR_UNSUPPORTED;
    EVP_MD_free(md);
    TRY(err);
    return hmac_prf(h, secret, seeds, n_seeds, dst, n);
}

static int prf_derive(void *ctx, unsigned char *dst, size_t n, const OSSL_PARAM *params)
{
    struct prf *prf = ctx;
    struct slice seeds[HMAC_PRF_SEEDS];
    size_t n_seeds = 0;
    const OSSL_PARAM *name = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_DIGEST);
    struct slice secret =
        bytes_of(OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_SECRET), OSSL_PARAM_OCTET_STRING);
    if (bytes_of(name, OSSL_PARAM_UTF8_STRING).p == NULL) {
        return 0;
    }
    for (const OSSL_PARAM *p = params; p->key != NULL; p++) {
        struct slice seed = bytes_of(p, OSSL_PARAM_OCTET_STRING);
        if (strcmp(p->key, OSSL_KDF_PARAM_SEED) != 0 || seed.n == 0) {
            continue;
        }
        if (n_seeds == COUNT_OF(seeds)) {
            return 0;
        }
        seeds[n_seeds++] = seed;
    }
    enum err err = EVP_MD_is_a(prf->sha256, name->data) == 1
                       ? hmac_prf(prf->hmac, secret, seeds, n_seeds, dst, n)
                       : derive_by(name->data, secret, seeds, n_seeds, dst, n);
    return err == OK ? 1 : 0;
}

static const OSSL_DISPATCH prf_functions[] = {{OSSL_FUNC_KDF_NEWCTX, (void (*)(void))prf_newctx},
                                              {OSSL_FUNC_KDF_FREECTX, (void (*)(void))prf_freectx},
                                              {OSSL_FUNC_KDF_RESET, (void (*)(void))prf_reset},
                                              {OSSL_FUNC_KDF_DERIVE, (void (*)(void))prf_derive},
                                              {0, NULL}};

static const OSSL_ALGORITHM kdfs[] = {
    {OSSL_KDF_NAME_TLS1_PRF, "provider=" PRF_PROVIDER_NAME, prf_functions, "the PRF of TLS 1.2"},
    {NULL, NULL, NULL, NULL}};

static const OSSL_ALGORITHM *query(void *provctx, int operation, int *ret_no_cache)
{
    (void)provctx;
    *ret_no_cache = 0;
    return operation == OSSL_OP_KDF ? kdfs : NULL;
}

static void teardown(void *provctx)
{
    struct prf_provider *p = provctx;
    EVP_MD_free(atomic_load(&p->sha256));
    (void)mem_free(p);
}

static const OSSL_DISPATCH provider_functions[] = {
    {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown},
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
    {0, NULL}};

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                         const OSSL_DISPATCH **ret_functions, void **ret_provctx)
{
    (void)handle;
    (void)in;
    struct prf_provider *p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return 0;
    }
    atomic_init(&p->sha256, NULL);
    *ret_provctx = p;
    *ret_functions = provider_functions;
    return 1;
}

static int find(OSSL_PROVIDER *p, void *ret)
{
    if (strcmp(OSSL_PROVIDER_get0_name(p), PRF_PROVIDER_NAME) == 0) {
        *(OSSL_PROVIDER **)ret = p;
    }
    return 1;
}

/* Whoever has loaded a provider unloads it, or the library ends without it. */
static void unload(void)
{
    OSSL_PROVIDER *ours = NULL;
    if (OSSL_PROVIDER_do_all(NULL, find, (void *)&ours) == 1 && ours != NULL) {
        (void)OSSL_PROVIDER_unload(ours);
    }
}

enum err prf_provider_load(void)
{
    if (OSSL_PROVIDER_available(NULL, PRF_PROVIDER_NAME) == 1) {
        return OK;
    }
    /* The last argument keeps what the library falls back to: its default provider. */
    if (OPENSSL_atexit(unload) != 1 ||
        OSSL_PROVIDER_add_builtin(NULL, PRF_PROVIDER_NAME, provider_init) != 1 ||
        OSSL_PROVIDER_try_load(NULL, PRF_PROVIDER_NAME, 1) == NULL) {
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}
