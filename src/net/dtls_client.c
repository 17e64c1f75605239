/* The client of dtls.h: one association to one server. */
#include <openssl/err.h>

#include "base/mem.h"
#include "base/scope.h"
#include "net/dtls_private.h"

enum { CLIENT_ID = 1 };

enum state { IDLE, HANDSHAKING, OPEN, GONE };

struct client {
    struct dtls dtls;
    struct dtls_link link;
    struct dtls_handler handler;
    SSL_CTX *ctx;
    BIO_METHOD *method;
    enum state state;
    uint64_t give_up_at_ms, retransmit_at_ms;
    char identity[DTLS_IDENTITY_MAX + 1];
    uint8_t psk[DTLS_PSK_MAX];
    size_t psk_n;
    struct buf cert;
    struct dtls_counts counts;
    uint8_t plain[DTLS_DATAGRAM_MAX];
};

static struct client *client_of(struct dtls *d)
{
    return CONTAINER_OF(d, struct client, dtls);
}

static const struct client *client_of_const(const struct dtls *d)
{
    return (const struct client *)(const void *)d;
}

static bool waits(const struct client *c, int result)
{
    int why = SSL_get_error(c->link.ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static void fail(struct client *c, enum dtls_failure why, const char *text)
{
    c->state = GONE;
    c->counts.failed++;
    struct tls_refusal how = tls_refusal_of(&c->link.note, text);
    c->handler.failed(c->handler.ctx, &c->link.peer, why, slice_text(c->identity), &how);
}

static void fill_info(const struct client *c, struct dtls_info *ret)
{
    *ret = (struct dtls_info){.id = CLIENT_ID,
                              .peer = c->link.peer,
                              .psk_identity = slice_text(c->identity),
                              .peer_cert = buf_slice(&c->cert),
                              .cipher = SSL_get_cipher_name(c->link.ssl)};
}

static void step_handshake(struct client *c, uint64_t now_ms)
{
    int result = SSL_do_handshake(c->link.ssl);
    if (result != 1) {
        if (!waits(c, result)) {
            char text[TLS_TEXT_BYTES];
            enum dtls_failure why = dtls_link_failure(&c->link, "server", text);
            fail(c, why, text);
            return;
        }
        c->retransmit_at_ms = dtls_link_timer(&c->link, now_ms);
        return;
    }
    X509 *cert = SSL_get0_peer_certificate(c->link.ssl);
    if (cert != NULL && tls_cert_der(cert, &c->cert) != OK) {
        fail(c, DTLS_FAILED_PROTOCOL, "no memory for the certificate");
        return;
    }
    c->link.note.established = true;
    c->state = OPEN;
    c->counts.opened++;
    struct dtls_info info;
    fill_info(c, &info);
    c->handler.opened(c->handler.ctx, &info);
}

static void read_all(struct client *c)
{
    while (c->state == OPEN) {
        int n = SSL_read(c->link.ssl, c->plain, sizeof(c->plain));
        if (n > 0) {
            c->handler.received(c->handler.ctx, CLIENT_ID, slice_of(c->plain, (size_t)n));
        } else if (waits(c, n)) {
            return;
        } else {
            bool orderly = SSL_get_error(c->link.ssl, n) == SSL_ERROR_ZERO_RETURN;
            c->state = GONE;
            c->handler.closed(c->handler.ctx, CLIENT_ID, orderly ? OK : ERR_PROTOCOL);
        }
    }
}

static void client_input(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                         uint64_t now_ms)
{
    struct client *c = client_of(d);
    if (!net_peer_equal(peer, &c->link.peer) || datagram.n > DTLS_DATAGRAM_MAX ||
        dtls_kind_of(datagram, NULL) == DTLS_KIND_NONE) {
        c->counts.dropped++;
        return;
    }
    ERR_clear_error();
    c->link.in = datagram;
    if (c->state == HANDSHAKING) {
        step_handshake(c, now_ms);
    }
    read_all(c);
    c->link.in = (struct slice){0};
    ERR_clear_error();
}

static enum err client_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms)
{
    struct client *c = client_of(d);
    (void)now_ms;
    return id == CLIENT_ID && c->state == OPEN ? dtls_link_send(&c->link, plain) : ERR_NOT_FOUND;
}

static void client_close(struct dtls *d, uint64_t id)
{
    struct client *c = client_of(d);
    if (id == CLIENT_ID && c->state == OPEN) {
        ERR_clear_error();
        dtls_link_shutdown(&c->link);
        ERR_clear_error();
    }
    c->state = id == CLIENT_ID ? GONE : c->state;
}

static bool client_info(const struct dtls *d, uint64_t id, struct dtls_info *ret)
{
    const struct client *c = client_of_const(d);
    bool there = id == CLIENT_ID && c->state == OPEN;
    if (there) {
        fill_info(c, ret);
    }
    return there;
}

static uint64_t client_deadline(const struct dtls *d)
{
    const struct client *c = client_of_const(d);
    if (c->state == IDLE) {
        return 0;
    }
    if (c->state != HANDSHAKING) {
        return UINT64_MAX;
    }
    return c->give_up_at_ms < c->retransmit_at_ms ? c->give_up_at_ms : c->retransmit_at_ms;
}

static void client_tick(struct dtls *d, uint64_t now_ms)
{
    struct client *c = client_of(d);
    ERR_clear_error();
    if (c->state == IDLE) {
        c->state = HANDSHAKING;
        c->give_up_at_ms = now_ms + DTLS_HANDSHAKE_MS;
        step_handshake(c, now_ms);
    } else if (c->state == HANDSHAKING) {
        bool over = now_ms >= c->give_up_at_ms;
        if (!over && now_ms >= c->retransmit_at_ms) {
            over = DTLSv1_handle_timeout(c->link.ssl) < 0;
            c->retransmit_at_ms = dtls_link_timer(&c->link, now_ms);
        }
        if (over) {
            fail(c, DTLS_FAILED_TIMEOUT,
                 "the server does not answer: is the address right, and the key the one it knows?");
        }
    }
    ERR_clear_error();
}

static const struct dtls_counts *client_counts(const struct dtls *d)
{
    return &client_of_const(d)->counts;
}

static struct dtls *client_free(struct dtls *d)
{
    struct client *c = client_of(d);
    dtls_link_done(&c->link);
    buf_done(&c->cert);
    SSL_CTX_free(c->ctx);
    BIO_meth_free(c->method);
    mem_wipe(c->psk, sizeof(c->psk));
    (void)mem_free(c);
    return NULL;
}

static const struct dtls_ops client_ops = {.input = client_input,
                                           .send = client_send,
                                           .close = client_close,
                                           .info = client_info,
                                           .deadline = client_deadline,
                                           .tick = client_tick,
                                           .counts = client_counts,
                                           .free = client_free};

static unsigned on_psk(SSL *ssl, const char *hint, char *identity, unsigned max_identity,
                       unsigned char *psk, unsigned max_psk)
{
    (void)hint;
    struct tls_note *note = SSL_get_app_data(ssl);
    struct dtls_link *link = CONTAINER_OF(note, struct dtls_link, note);
    const struct client *c = CONTAINER_OF(link, struct client, link);
    if (!slice_to_text(slice_text(c->identity), identity, max_identity) || c->psk_n > max_psk) {
        return 0;
    }
    memcpy(psk, c->psk, c->psk_n);
    return (unsigned)c->psk_n;
}

static enum err use_psk(struct client *c, const struct dtls_client_config *config, char *text)
{
    if (!slice_to_text(config->psk_identity, c->identity, sizeof(c->identity)) ||
        config->psk_identity.n == 0 || config->psk.n < DTLS_PSK_MIN ||
        config->psk.n > DTLS_PSK_MAX) {
        (void)snprintf(text, TLS_TEXT_BYTES,
                       "a PSK needs an identity of 1 to %d bytes and a key of %d to %d",
                       DTLS_IDENTITY_MAX, DTLS_PSK_MIN, DTLS_PSK_MAX);
        return ERR_CONFIG;
    }
    memcpy(c->psk, config->psk.p, config->psk.n);
    c->psk_n = config->psk.n;
    SSL_CTX_set_psk_client_callback(c->ctx, on_psk);
    return OK;
}

static enum err use_certificates(struct client *c, const struct dtls_client_config *config,
                                 char *text)
{
    TRY(tls_ctx_authorities(c->ctx, config->ca_pem, false, text));
    TRY(tls_ctx_host(c->ctx, config->host, text));
    if (config->chain_pem.n > 0 || config->key_pem.n > 0) {
        TRY(tls_ctx_identity(c->ctx, config->chain_pem, config->key_pem, text));
    }
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, tls_on_verify);
    return OK;
}

static enum err client_setup(struct client *c, const struct dtls_client_config *config, char *text)
{
    bool psk = config->psk_identity.n > 0 || config->psk.n > 0;
    c->method = dtls_method_new();
    if (c->method == NULL) {
        return ERR_NOMEM;
    }
    TRY(dtls_ctx_new(false, !psk, psk, &c->ctx));
    TRY(psk ? use_psk(c, config, text) : use_certificates(c, config, text));
    TRY(dtls_link_init(&c->link, c->ctx, c->method, &c->handler, config->retransmit_ms));
    SSL_set_connect_state(c->link.ssl);
    if (!psk && !tls_host_is_address(config->host) &&
        SSL_set_tlsext_host_name(c->link.ssl, config->host) != 1) {
        return ERR_CRYPTO;
    }
    return OK;
}

enum err dtls_client_openssl(const struct dtls_client_config *c, const struct net_peer *server,
                             const struct dtls_handler *handler, char *ret_text, struct dtls **ret)
{
    ret_text[0] = '\0';
    struct client *client = mem_zalloc(sizeof(*client));
    if (client == NULL) {
        return ERR_NOMEM;
    }
    client->dtls.ops = &client_ops;
    client->handler = *handler;
    client->link.peer = *server;
    ERR_clear_error();
    enum err e = client_setup(client, c, ret_text);
    if (e != OK) {
        (void)client_free(&client->dtls);
        return e;
    }
    *ret = &client->dtls;
    return OK;
}
