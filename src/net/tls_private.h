/* tls_private - what tls, stream and dtls share of OpenSSL; not for other folders. */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "base/buf.h"
#include "net/tls.h"
#include "net/tls_staple.h"
#include "net/tls_tickets.h"

/* What the callbacks of one connection write down; SSL_set_app_data points at it. */
struct tls_note {
    enum tls_verify verify; /* the first certificate error */
    char *text;             /* why TLS failed; owned, NULL: it did not */
    struct buf cert;        /* DER of the leaf it was about; empty without memory for it */
    enum tls_failure failure;
    uint8_t alert;
    uint16_t version;
    bool established;
    uint32_t n_handshake_records; /* handshake messages that came in after the handshake */
    uint32_t n_updates;           /* of them, in the minute since */
    uint64_t updates_from_ms;
    SSL_SESSION *session;          /* a client's: the newest ticket, owned; NULL: none came */
    const struct tls_judge *judge; /* of its certificates, and when that was: set where they are */
    time_t judged_s;
    bool is_settled; /* tls_settle was here */
    int64_t chain_ends_wall_ms;
};

/* How a server judges the certificates of clients. */
struct tls_judge {
    struct clock clock;
    uint32_t late_s; /* as in tls_server_config */
};

void tls_note_done(struct tls_note *note);
/* tls_settle - a server's handshake is over: of the client's certificates only the leaf stays, and
 * when the first of the chain ends. */
void tls_settle(SSL *ssl, struct tls_note *note);
/* tls_chain_end - that moment: INT64_MAX without a certificate, INT64_MIN where it does not read.
 */
int64_t tls_chain_end(SSL *ssl, const struct tls_note *note);
/* tls_judge - why did this SSL call fail? Fills the note's failure and its details, and text
 * (TLS_TEXT_BYTES); clears the library's queue. ERR_AUTH: the peer's certificate, or that there is
 * none; ERR_QUOTA: too many key updates, which some releases count themselves; else ERR_PROTOCOL.
 */
MUST_USE enum err tls_judge(SSL *ssl, struct tls_note *note, const char *peer, char *text);
/* tls_refusal_of - borrows note and text. */
struct tls_refusal tls_refusal_of(const struct tls_note *note, const char *text);

/* tls_ctx_identity - chain and key out of PEM; text as tls_server_new. */
MUST_USE enum err tls_ctx_identity(SSL_CTX *ctx, struct slice chain_pem, struct slice key_pem,
                                   char *text);
/* tls_ctx_authorities - whom to believe; with `announce` their names go to the clients. */
MUST_USE enum err tls_ctx_authorities(SSL_CTX *ctx, struct slice ca_pem, bool announce, char *text);
/* tls_ctx_pin - a server is trusted when its chain ends in a root of this SHA-256 that it shows
 * itself; the pin is borrowed for life. */
enum { TLS_PIN_BYTES = 32 };
void tls_ctx_pin(SSL_CTX *ctx, const uint8_t pin[TLS_PIN_BYTES]);
/* tls_ctx_host - the name or address that the peer's certificate must carry. */
MUST_USE enum err tls_ctx_host(SSL_CTX *ctx, const char *host, char *text);
/* tls_ctx_common - what holds for TLS and DTLS, both sides: no renegotiation, no compression, no
 * tickets, no session cache, bounded chains, strong curves and signatures. */
MUST_USE enum err tls_ctx_common(SSL_CTX *ctx);
/* tls_on_verify - the verification callback: writes the reason into the note, accepts nothing that
 * the library refused, but what tls_takes_late takes. */
int tls_on_verify(int ok, X509_STORE_CTX *store);
/* tls_ctx_judge - certificates are judged so (borrowed for the life of ctx). */
void tls_ctx_judge(SSL_CTX *ctx, struct tls_judge *judge);
/* tls_takes_late - (tls_late.c) is the error that the library has found this one, that the leaf has
 * ended, and no longer ago than the judge allows? *store says then that there is no error. */
bool tls_takes_late(X509_STORE_CTX *store, const struct tls_note *note);
/* tls_on_session - the callback of a client that got a ticket: into the note. */
int tls_on_session(SSL *ssl, SSL_SESSION *session);
bool tls_host_is_address(const char *host);

/* tls_hello_greases - is one of these cipher suites (two bytes each; an odd last byte is ignored) a
 * GREASE value? RFC 8701 2. */
bool tls_hello_greases(struct slice suites);
/* tls_hello_spare_browsers - a client whose hello greases is not asked for a certificate. */
void tls_hello_spare_browsers(SSL_CTX *ctx);

/* tls_hello_ticket - the first ticket that a ClientHello offers, out of the first bytes of a
 * connection; empty where there is none, or the bytes end before it. Borrows. O(bytes). SPEC:
 * RFC8446 4.2.11, RFC5077 3.2. */
struct slice tls_hello_ticket(struct slice bytes);

/* Where a ticket counts: what a full handshake there would show and ask for. */
struct tls_tickets_place {
    const char *name; /* of the listener */
    struct slice chain_pem, client_ca_pem;
};
/* tls_tickets_install - ctx (a server's) seals and opens tickets by t, which outlives it. All
 * slices are borrowed for the call. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err tls_tickets_install(struct tls_tickets *t, const struct tls_tickets_place *place,
                                      SSL_CTX *ctx);
/* tls_tickets_period_ms - how often keys, and the tickets of connections that last, are renewed. */
uint64_t tls_tickets_period_ms(const struct tls_tickets *t);
/* tls_tickets_of - of a server that has some, else NULL. Borrowed. */
struct tls_tickets *tls_tickets_of(const struct tls *t);

/* What a context of a server staples, and to which certificate. */
struct tls_stapler {
    struct tls_staple *staple; /* owned reference; NULL: nothing */
    struct digest certificate;
};
/* tls_stapler_install - by (which outlives ctx) shares staple, and answers for the certificate that
 * ctx has. ERR_NOMEM, ERR_CRYPTO, ERR_MALFORMED. */
MUST_USE enum err tls_stapler_install(struct tls_stapler *by, struct tls_staple *staple,
                                      SSL_CTX *ctx);

/* tls_client_bare - a client that verifies nothing, for tls_look.c and nobody else. ERR_NOMEM,
 * ERR_CRYPTO. */
MUST_USE enum err tls_client_bare(const char *host, struct tls **ret);

SSL_CTX *tls_ctx(const struct tls *t);
uint32_t tls_key_updates(const struct tls *t);
bool tls_is_server(const struct tls *t);
/* tls_is_named - whether a server's own certificate carries this DNS name or address (no brackets).
 * Any bytes may be asked about. */
bool tls_is_named(const struct tls *t, struct slice name);
/* tls_host - the server's name for a client, else NULL. */
const char *tls_host(const struct tls *t);
struct tls *tls_ref(struct tls *t);

/* tls_cert_der - appends the DER of a certificate. ERR_NOMEM, ERR_CRYPTO, ERR_TOO_LARGE. */
MUST_USE enum err tls_cert_der(X509 *cert, struct buf *ret);

/* tls_bio_method - how its streams read and write; made by stream_bio_method_new (stream.c), lives
 * as long as the struct tls. */
const BIO_METHOD *tls_bio_method(const struct tls *t);
BIO_METHOD *stream_bio_method_new(void);

#endif
