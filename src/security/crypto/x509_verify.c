#include <limits.h>

#include <openssl/pem.h>

#include "base/why.h"
#include "security/crypto/x509_private.h"

static void store_autofree(X509_STORE **store)
{
    X509_STORE_free(*store);
}

static void store_ctx_autofree(X509_STORE_CTX **ctx)
{
    X509_STORE_CTX_free(*ctx);
}

static void stack_autofree(STACK_OF(X509) * *stack)
{
    sk_X509_pop_free(*stack, X509_free);
}

static enum err read_pem_stack(struct slice pem, STACK_OF(X509) * stack)
{
    struct x509 *x = NULL;
    enum err err = OK;
    while ((err = x509_next_pem(&pem, &x)) == OK) {
        if (sk_X509_push(stack, x->cert) <= 0) {
            x509_free(x);
            return crypto_fail(ERR_NOMEM);
        }
        X509_up_ref(x->cert);
        x = x509_free(x);
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err x509_verify(const struct x509 *leaf, struct slice intermediates_pem,
                     struct slice roots_pem, enum x509_kind kind, int64_t at_wall_ms,
                     struct why *why)
{
    AUTO(stack_autofree) STACK_OF(X509) *untrusted = sk_X509_new_null();
    AUTO(stack_autofree) STACK_OF(X509) *roots = sk_X509_new_null();
    AUTO(store_autofree) X509_STORE *store = X509_STORE_new();
    AUTO(store_ctx_autofree) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (untrusted == NULL || roots == NULL || store == NULL || ctx == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    TRY(read_pem_stack(intermediates_pem, untrusted));
    TRY(read_pem_stack(roots_pem, roots));
    for (int i = 0; i < sk_X509_num(roots); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(roots, i)) != 1) {
            return crypto_fail(ERR_NOMEM);
        }
    }
    if (X509_STORE_CTX_init(ctx, store, leaf->cert, untrusted) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)(at_wall_ms / 1000));
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    int purpose = kind == X509_KIND_SERVER ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT;
    if (X509_VERIFY_PARAM_set_purpose(param, purpose) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    if (X509_verify_cert(ctx) != 1) {
        why_set(why, "%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
        return crypto_fail(ERR_AUTH);
    }
    return OK;
}
