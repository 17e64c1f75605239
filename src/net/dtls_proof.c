/* What a client of the server of dtls.h has to prove, and by what: its address by a cookie, who it
 * is by a pre-shared key or a certificate. No association is known here. */
#include <openssl/err.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/secret.h"
#include "net/dtls_private.h"
#include "security/crypto/hmac.h"

static enum err set_fresh_key(const struct dtls_proof_keys *keys, struct hmac *h)
{
    uint8_t key[DTLS_PROOF_KEY_BYTES];
    keys->random->fill(keys->random->ctx, key, sizeof(key));
    enum err err = hmac_key(h, slice_of(key, sizeof(key)));
    mem_wipe(key, sizeof(key));
    return err;
}

enum err dtls_proof_init(struct dtls_proof_keys *keys, const struct random_source *random)
{
    *keys = (struct dtls_proof_keys){.random = random};
    struct hmac **all[] = {&keys->cookie[0], &keys->cookie[1], &keys->fake};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        TRY(hmac_new(all[i]));
        TRY(set_fresh_key(keys, *all[i]));
    }
    return OK;
}

void dtls_proof_done(struct dtls_proof_keys *keys)
{
    keys->cookie[0] = hmac_free(keys->cookie[0]);
    keys->cookie[1] = hmac_free(keys->cookie[1]);
    keys->fake = hmac_free(keys->fake);
}

/* What fails is done anew before the next hello. */
enum err dtls_proof_rotate(struct dtls_proof_keys *keys, uint64_t now_ms)
{
    uint64_t age = now_ms - keys->from_ms;
    if (age < DTLS_COOKIE_ROTATE_MS) {
        return OK;
    }
    struct hmac *oldest = keys->cookie[1];
    TRY(set_fresh_key(keys, oldest));
    if (age >= (uint64_t)2 * DTLS_COOKIE_ROTATE_MS) {
        TRY(set_fresh_key(keys, keys->cookie[0]));
    }
    keys->cookie[1] = keys->cookie[0];
    keys->cookie[0] = oldest;
    keys->from_ms = now_ms;
    return OK;
}

static const struct dtls_link *link_of(const SSL *ssl)
{
    struct tls_note *note = SSL_get_app_data(ssl);
    return CONTAINER_OF(note, struct dtls_link, note);
}

/* SPEC: RFC6347 4.2.1, the cookie is a keyed hash of the address */
static int make_cookie(SSL *ssl, unsigned char *cookie, unsigned *n)
{
    const struct dtls_link *link = link_of(ssl);
    const struct dtls_proof_keys *keys = link->claim->keys;
    struct digest made;
    if (hmac_next(keys->cookie[0], net_peer_key(&link->peer), &made) != OK) {
        return 0;
    }
    memcpy(cookie, made.bytes, sizeof(made.bytes));
    *n = sizeof(made.bytes);
    return 1;
}

static int check_cookie(SSL *ssl, const unsigned char *cookie, unsigned n)
{
    const struct dtls_link *link = link_of(ssl);
    const struct dtls_proof_keys *keys = link->claim->keys;
    for (size_t i = 0; i < COUNT_OF(keys->cookie); i++) {
        struct digest expected;
        if (hmac_next(keys->cookie[i], net_peer_key(&link->peer), &expected) == OK &&
            secret_equal(digest_slice(&expected), slice_of(cookie, n))) {
            return 1;
        }
    }
    return 0;
}

static unsigned on_psk(SSL *ssl, const char *identity, unsigned char *psk, unsigned max)
{
    const struct dtls_link *link = link_of(ssl);
    const struct dtls_handler *h = link->handler;
    struct dtls_claim *claim = link->claim;
    struct slice name = slice_text(identity);
    struct digest fake;
    uint8_t key[DTLS_PSK_MAX];
    size_t n = 0;
    uint64_t credential = 0;
    bool fits = name.n > 0 && name.n <= DTLS_IDENTITY_MAX;
    claim->used_psk = true;
    claim->identity_n = slice_head(name, DTLS_IDENTITY_MAX).n;
    memcpy(claim->identity, identity, claim->identity_n);
    /* Made always, so that known and unknown take the same time. */
    if (hmac_next(claim->keys->fake, name, &fake) != OK) {
        return 0;
    }
    /* A handshake that began before a renewal may ask when keys are not taken any more. */
    if (fits && h->find_psk != NULL && h->find_psk(h->ctx, name, key, &n, &credential) == OK &&
        n >= DTLS_PSK_MIN && n <= DTLS_PSK_MAX && n <= max) {
        claim->identity_known = true;
        claim->credential = credential;
        memcpy(psk, key, n);
    } else {
        n = sizeof(fake.bytes);
        memcpy(psk, fake.bytes, n);
    }
    mem_wipe(key, sizeof(key));
    mem_wipe(&fake, sizeof(fake));
    return (unsigned)n;
}

/* A handshake with a pre-shared key has nothing that a ticket would save, and whose key it was is
 * asked anew each time. */
static int gives_no_ticket(SSL *ssl, int is_forward_secure)
{
    (void)is_forward_secure;
    const SSL_CIPHER *suite = SSL_get_pending_cipher(ssl);
    return suite == NULL || SSL_CIPHER_get_auth_nid(suite) != NID_auth_ecdsa;
}

static enum err install_tickets(const struct dtls_server_config *c, SSL_CTX *ctx)
{
    struct tls_tickets_place place = {
        .name = c->name, .chain_pem = c->chain_pem, .client_ca_pem = c->client_ca_pem};
    TRY(tls_tickets_install(c->tickets, &place, ctx));
    SSL_CTX_set_not_resumable_session_callback(ctx, gives_no_ticket);
    return OK;
}

enum err dtls_proof_ctx_new(const struct dtls_server_config *c, bool has_psk,
                            struct tls_judge *judge, char *text, SSL_CTX **ret)
{
    AUTO(dtls_ctx_release) SSL_CTX *ctx = NULL;
    bool has_cert = c->chain_pem.n > 0;
    ERR_clear_error();
    if (!has_cert && !has_psk) {
        (void)snprintf(text, TLS_TEXT_BYTES, "neither a certificate nor pre-shared keys are given");
        return ERR_CONFIG;
    }
    TRY(dtls_ctx_new(true, has_cert, has_psk, &ctx));
    SSL_CTX_set_cookie_generate_cb(ctx, make_cookie);
    SSL_CTX_set_cookie_verify_cb(ctx, check_cookie);
    if (has_psk) {
        SSL_CTX_set_psk_server_callback(ctx, on_psk);
    }
    if (has_cert) {
        TRY(tls_ctx_identity(ctx, c->chain_pem, c->key_pem, text));
        TRY(tls_ctx_authorities(ctx, c->client_ca_pem, true, text));
        if (EVP_PKEY_get_base_id(SSL_CTX_get0_privatekey(ctx)) != EVP_PKEY_EC) {
            (void)snprintf(text, TLS_TEXT_BYTES, "the DTLS suites need an ECDSA certificate");
            return ERR_CONFIG;
        }
        /* OpenSSL asks only where the suite is not a PSK one. */
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_on_verify);
        tls_ctx_judge(ctx, judge);
        if (c->tickets != NULL) {
            TRY(install_tickets(c, ctx));
        }
    }
    *ret = TAKE(ctx);
    return OK;
}
