#include "net/tls_look.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "net/stream_private.h"

/* The reason goes into the note, and the handshake goes on: who looks wants to see all of it. */
static int on_verify(int ok, X509_STORE_CTX *store)
{
    (void)tls_on_verify(ok, store);
    return 1;
}

static enum err offer_everything(SSL_CTX *ctx)
{
    SSL_CTX_set_security_level(ctx, 0);
    (void)SSL_CTX_set_options(ctx, SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_NO_COMPRESSION);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION) == 1 &&
                   SSL_CTX_set_cipher_list(ctx, "ALL:!aNULL:!eNULL:!PSK:!SRP") == 1
               ? OK
               : ERR_CRYPTO;
}

enum err tls_look_new(struct slice ca_pem, const char *host, char *ret_text, struct tls **ret)
{
    struct tls *t = NULL;
    ret_text[0] = '\0';
    ERR_clear_error();
    TRY(tls_client_bare(host, &t));
    SSL_CTX *ctx = tls_ctx(t);
    enum err err = offer_everything(ctx);
    if (err == OK && ca_pem.n > 0) {
        err = tls_ctx_authorities(ctx, ca_pem, false, ret_text);
    } else if (err == OK) {
        err = SSL_CTX_set_default_verify_paths(ctx) == 1 ? OK : ERR_CRYPTO;
    }
    if (err != OK) {
        (void)tls_free(t);
        return err;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, on_verify);
    *ret = t;
    return OK;
}

static bool read_time(const ASN1_TIME *time, int64_t *ret_wall_ms)
{
    struct tm tm;
    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1) {
        return false;
    }
    *ret_wall_ms = (int64_t)timegm(&tm) * 1000;
    return true;
}

static const char *key_name(int type)
{
    switch (type) {
    case EVP_PKEY_RSA:
        return "RSA";
    case EVP_PKEY_RSA_PSS:
        return "RSA-PSS";
    case EVP_PKEY_EC:
        return "EC";
    case EVP_PKEY_ED25519:
        return "Ed25519";
    case EVP_PKEY_ED448:
        return "Ed448";
    case EVP_PKEY_DSA:
        return "DSA";
    default:
        return "other";
    }
}

static bool is_digest_weak(X509 *cert)
{
    int digest = NID_undef;
    return X509_get_signature_info(cert, &digest, NULL, NULL, NULL) == 1 &&
           (digest == NID_md5 || digest == NID_sha1 || digest == NID_md5_sha1);
}

/* The names are strangers' bytes: the library compares them, and nothing of them is kept. */
static bool is_named(X509 *cert, const char *host)
{
    return host != NULL &&
           (tls_host_is_address(host) ? X509_check_ip_asc(cert, host, 0)
                                      : X509_check_host(cert, host, 0, 0, NULL)) == 1;
}

enum err tls_look_at(const struct stream *s, struct tls_look *ret)
{
    X509 *cert = s->tls != NULL ? SSL_get0_peer_certificate(s->tls->ssl) : NULL;
    if (cert == NULL) {
        return ERR_NOT_FOUND;
    }
    struct tls_look l = {.verify = s->tls->note.verify,
                         .is_named = is_named(cert, tls_host(s->tls->shared))};
    EVP_PKEY *key = X509_get0_pubkey(cert);
    if (key == NULL || !read_time(X509_get0_notBefore(cert), &l.not_before_wall_ms) ||
        !read_time(X509_get0_notAfter(cert), &l.not_after_wall_ms)) {
        ERR_clear_error();
        return ERR_MALFORMED;
    }
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(s->tls->ssl);
    l.n_chain = chain != NULL && sk_X509_num(chain) > 0 ? (unsigned)sk_X509_num(chain) : 1;
    l.key = key_name(EVP_PKEY_get_base_id(key));
    l.key_bits = (unsigned)EVP_PKEY_get_bits(key);
    l.key_strength = (unsigned)EVP_PKEY_get_security_bits(key);
    l.is_self_signed = X509_self_signed(cert, 1) == 1;
    l.is_digest_weak = is_digest_weak(cert);
    ERR_clear_error();
    *ret = l;
    return OK;
}

const char *tls_look_suite(const struct tls *look, uint16_t number)
{
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(tls_ctx(look));
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);
        if (SSL_CIPHER_get_protocol_id(c) == number) {
            return SSL_CIPHER_standard_name(c);
        }
    }
    return NULL;
}
