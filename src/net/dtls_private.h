/* dtls_private - what the DTLS server and client share: one SSL object over single datagrams. */
#ifndef NET_DTLS_PRIVATE_H
#define NET_DTLS_PRIVATE_H

#include "net/dtls.h"
#include "net/tls_private.h"

/* SSL_get_app_data gives the note, which is the first member. */
struct dtls_link {
    struct tls_note note;
    const struct dtls_handler *handler;
    struct net_peer peer;
    struct slice in; /* the datagram being served; empty between calls */
    bool peek;       /* the next read leaves it there */
    uint32_t retransmit_ms;
    SSL *ssl;
};

/* dtls_method_new - the datagram BIO of links; NULL when there is no memory. */
BIO_METHOD *dtls_method_new(void);

/* dtls_link_init - makes link->ssl on the caller's zeroed storage; borrows the rest.
 * dtls_link_done frees what was made. ERR_NOMEM. */
MUST_USE enum err dtls_link_init(struct dtls_link *link, SSL_CTX *ctx, const BIO_METHOD *method,
                                 const struct dtls_handler *handler, uint32_t retransmit_ms);
void dtls_link_done(struct dtls_link *link);

/* dtls_link_timer - when OpenSSL wants DTLSv1_handle_timeout; UINT64_MAX: never. */
uint64_t dtls_link_timer(struct dtls_link *link, uint64_t now_ms);

/* dtls_link_failure - the reason behind a failed SSL call, its text (TLS_TEXT_BYTES) for the log;
 * clears the library's queue. */
enum dtls_failure dtls_link_failure(struct dtls_link *link, const char *peer, char *text);

static inline void dtls_ctx_release(SSL_CTX **ctx)
{
    SSL_CTX_free(*ctx);
}

/* dtls_ctx_new - DTLS 1.2 and nothing else, with the suites that suit the credentials. */
MUST_USE enum err dtls_ctx_new(bool server, bool has_cert, bool has_psk, SSL_CTX **ret);

/* dtls_link_send - seals one plaintext datagram. ERR_TOO_LARGE, ERR_CRYPTO, ERR_NOMEM. */
MUST_USE enum err dtls_link_send(struct dtls_link *link, struct slice plain);
/* dtls_link_shutdown - sends close_notify. */
void dtls_link_shutdown(struct dtls_link *link);

#endif
