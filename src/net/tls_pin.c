/* A client that knows of its authority no more than a fingerprint. */
#include <openssl/x509.h>
#include <string.h>

#include "net/tls_private.h"

static bool is_pinned(const X509 *cert, const uint8_t *pin)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    return X509_digest(cert, EVP_sha256(), md, &n) == 1 && n == TLS_PIN_BYTES &&
           CRYPTO_memcmp(md, pin, n) == 0;
}

/* The fingerprint says which of the certificates that were shown is the authority; all else is
 * verified as ever: the chain up to it, names, times, purposes. */
static int verify(X509_STORE_CTX *ctx, void *pin)
{
    STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(ctx);
    STACK_OF(X509) *trusted = sk_X509_new_null();
    int ok = 0;
    for (int i = 0; trusted != NULL && i < sk_X509_num(shown); i++) {
        X509 *cert = sk_X509_value(shown, i);
        if (is_pinned(cert, pin) && sk_X509_push(trusted, cert) <= 0) {
            sk_X509_free(trusted);
            trusted = NULL;
        }
    }
    if (trusted == NULL) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_OUT_OF_MEM);
        return 0;
    }
    X509_STORE_CTX_set0_trusted_stack(ctx, trusted);
    ok = X509_verify_cert(ctx);
    sk_X509_free(trusted); /* not its certificates: they are the peer's */
    return ok;
}

void tls_ctx_pin(SSL_CTX *ctx, const uint8_t pin[TLS_PIN_BYTES])
{
    SSL_CTX_set_cert_verify_callback(ctx, verify, (void *)(uintptr_t)pin);
}
