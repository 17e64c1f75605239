/* dtls_private - what the DTLS server and client share, one SSL object over single datagrams; and
 * what the server's clients have to prove (dtls_proof.c). */
#ifndef NET_DTLS_PRIVATE_H
#define NET_DTLS_PRIVATE_H

#include <openssl/err.h>

#include "net/dtls.h"
#include "net/dtls_taken.h"
#include "net/tls_private.h"
#include "net/unproven.h"

enum { DTLS_PROOF_KEY_BYTES = 32 };

/* The keys of one server, each in what hashes with it: no other knows them, and they are not kept
 * over its end. */
struct dtls_proof_keys {
    const struct random_source *random;
    uint64_t from_ms;       /* since when cookie[0] is the present one */
    struct hmac *cookie[2]; /* the present one and the one before */
    struct hmac *fake;      /* gives identities that nobody has a key */
};

/* Who the client of one link says it is; filled in when its handshake names a PSK identity. */
struct dtls_claim {
    const struct dtls_proof_keys *keys;
    char identity[DTLS_IDENTITY_MAX];
    size_t identity_n;
    bool used_psk, identity_known;
    uint64_t credential; /* what find_psk said with the key */
};

/* SSL_get_app_data gives the note, which is the first member. */
struct dtls_link {
    struct tls_note note;
    const struct dtls_handler *handler;
    struct dtls_claim *claim; /* of a server's link; the client's has none */
    struct net_peer peer;
    struct slice in; /* the datagram being served; empty between calls */
    bool peek;       /* the next read leaves it there */
    uint32_t retransmit_ms;
    struct dtls_sent *sent;    /* notes what leaves; NULL: nobody asks */
    struct unproven *unproven; /* while the peer's address is not proven; else NULL */
    SSL *ssl;
};

/* dtls_method_new - the datagram BIO of links; NULL when there is no memory. */
BIO_METHOD *dtls_method_new(void);

/* dtls_link_init - makes link->ssl on the caller's zeroed storage; borrows the rest.
 * dtls_link_done frees what was made. ERR_NOMEM. */
MUST_USE enum err dtls_link_init(struct dtls_link *link, SSL_CTX *ctx, const BIO_METHOD *method,
                                 const struct dtls_handler *handler, uint32_t retransmit_ms);
void dtls_link_done(struct dtls_link *link);

/* dtls_forget_errors - empties the library's queue of errors, which is empty nearly always: its own
 * function for it goes over all of its places even then. */
static inline void dtls_forget_errors(void)
{
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

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

/* dtls_link_plain_max - bytes of one plaintext datagram: no more than the peer asked for, when the
 * handshake is over. SPEC: RFC6066 4. */
uint16_t dtls_link_plain_max(const struct dtls_link *link);
/* dtls_link_send - seals one plaintext datagram. ERR_TOO_LARGE, ERR_CRYPTO, ERR_NOMEM. */
MUST_USE enum err dtls_link_send(struct dtls_link *link, struct slice plain);
/* dtls_link_shutdown - sends close_notify. */
void dtls_link_shutdown(struct dtls_link *link);

/* dtls_proof_init - fresh keys on the caller's storage; random is borrowed until dtls_proof_done,
 * which wipes the keys, also what a failed init has made. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err dtls_proof_init(struct dtls_proof_keys *keys, const struct random_source *random);
void dtls_proof_done(struct dtls_proof_keys *keys);
/* dtls_proof_rotate - to be called before a hello is heard: a cookie is good for at least
 * DTLS_COOKIE_ROTATE_MS and for less than three times that. now_ms: monotonic. ERR_CRYPTO: no hello
 * may be heard now. */
MUST_USE enum err dtls_proof_rotate(struct dtls_proof_keys *keys, uint64_t now_ms);

/*
 * dtls_proof_ctx_new - the context of a server's handshakes to come: cookies, pre-shared keys where
 * has_psk, the certificates of c where it has a chain.
 *
 * c      borrows for the call, but for its tickets: the caller holds them for the life of *ret.
 * judge  borrows for the life of *ret; certificates are judged so.
 * text   TLS_TEXT_BYTES, written where the configuration is wrong.
 * ret    gives. Each link made with it has a claim with keys, and a handler whose find_psk is asked
 *        for keys; without one, and for whom it does not know, the key is one that nobody has.
 *
 * ERR_CONFIG, ERR_NOMEM, ERR_CRYPTO. SPEC: RFC6347 4.2.1.
 */
MUST_USE enum err dtls_proof_ctx_new(const struct dtls_server_config *c, bool has_psk,
                                     struct tls_judge *judge, char *text, SSL_CTX **ret);

#endif
