#include "net/tls_staple.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "net/tls_private.h"
#include "security/crypto/x509.h"

struct tls_staple {
    atomic_uint refs;
    pthread_mutex_t lock; /* over what follows; held for a copy */
    struct digest certificate;
    size_t n;
    uint8_t response[TLS_STAPLE_MAX];
};

enum err tls_staple_new(struct tls_staple **ret)
{
    struct tls_staple *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return ERR_NOMEM;
    }
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        mem_free(s);
        return ERR_NOMEM;
    }
    atomic_init(&s->refs, 1);
    *ret = s;
    return OK;
}

struct tls_staple *tls_staple_ref(struct tls_staple *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

struct tls_staple *tls_staple_free(struct tls_staple *s)
{
    if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) {
        (void)pthread_mutex_destroy(&s->lock);
        mem_free(s);
    }
    return NULL;
}

enum err tls_staple_set(struct tls_staple *s, const struct digest *certificate,
                        struct slice response_der)
{
    if (response_der.n > TLS_STAPLE_MAX) {
        return ERR_TOO_LARGE;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->certificate = *certificate;
    s->n = response_der.n;
    slice_copy(s->response, response_der);
    (void)pthread_mutex_unlock(&s->lock);
    return OK;
}

size_t tls_staple_copy(struct tls_staple *s, const struct digest *certificate,
                       uint8_t dst[TLS_STAPLE_MAX])
{
    (void)pthread_mutex_lock(&s->lock);
    bool is_its = s->n > 0 && slice_equal(digest_slice(&s->certificate), digest_slice(certificate));
    size_t n = is_its ? s->n : 0;
    slice_copy(dst, slice_of(s->response, n));
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- in a handshake ---- */

static int on_status(SSL *ssl, void *ctx)
{
    const struct tls_stapler *by = ctx;
    uint8_t word[TLS_STAPLE_MAX];
    size_t n = tls_staple_copy(by->staple, &by->certificate, word);
    uint8_t *own = n > 0 ? OPENSSL_memdup(word, n) : NULL;
    if (own == NULL) {
        return SSL_TLSEXT_ERR_NOACK; /* nobody has to staple: RFC6066 8 */
    }
    if (SSL_set_tlsext_status_ocsp_resp(ssl, own, (long)n) != 1) {
        OPENSSL_free(own);
        return SSL_TLSEXT_ERR_NOACK;
    }
    return SSL_TLSEXT_ERR_OK;
}

enum err tls_stapler_install(struct tls_stapler *by, struct tls_staple *staple, SSL_CTX *ctx)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    TRY(x509_share(SSL_CTX_get0_certificate(ctx), &x));
    by->certificate = x509_info(x)->id;
    by->staple = tls_staple_ref(staple);
    return SSL_CTX_set_tlsext_status_cb(ctx, on_status) == 1 &&
                   SSL_CTX_set_tlsext_status_arg(ctx, by) == 1
               ? OK
               : ERR_CRYPTO;
}
