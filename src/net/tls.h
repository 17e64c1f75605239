/*
 * tls - what a listener, or our own client, does by TLS: certificates, versions, verification.
 *
 * A struct tls is immutable after it was made and shared by all workers; every stream takes its own
 * share, so a reload makes a new one and frees the old at once. TLS 1.3 by default, 1.2 (ECDHE with
 * AEAD suites) when allowed; no 0-RTT, no renegotiation, no compression, security level 2; tickets
 * as tls_tickets.h says, where they are given. There is no way to switch verification of a server
 * off; tls_look.h, which only looks at one, relies on nothing. SPEC: RFC9325 3, 4.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/clock.h"
#include "base/err.h"
#include "base/slice.h"

struct tls;
struct tls_staple;
struct tls_tickets;

enum {
    TLS_KEY_UPDATES_PER_MIN = 100,
    TLS_TEXT_BYTES = 192,           /* room for an error text */
    TLS_CERT_LIST_BYTES = 16 * 1024 /* the longest certificate chain we read */
};

/* Why a certificate did not verify. */
enum tls_verify {
    TLS_VERIFY_OK,
    TLS_VERIFY_EXPIRED,
    TLS_VERIFY_NOT_YET_VALID,
    TLS_VERIFY_UNKNOWN_CA,
    TLS_VERIFY_SELF_SIGNED,
    TLS_VERIFY_WRONG_PURPOSE,
    TLS_VERIFY_WRONG_NAME,
    TLS_VERIFY_WEAK,   /* a key too short or a digest too old */
    TLS_VERIFY_FORGED, /* a signature does not fit */
    TLS_VERIFY_REVOKED,
    TLS_VERIFY_OTHER
};

/* What a handshake failed by. */
enum tls_failure {
    TLS_FAILED_OTHER,          /* see the text; also when nothing failed */
    TLS_FAILED_CERTIFICATE,    /* the peer's did not verify: enum tls_verify says why */
    TLS_FAILED_NO_CERTIFICATE, /* the peer sent none, and must */
    TLS_FAILED_VERSION,        /* the peer's newest version is older than what is allowed */
    TLS_FAILED_TERMS,          /* no suite, group or signature in common */
    TLS_FAILED_PROTOCOL,       /* no protocol name (ALPN) in common */
    TLS_FAILED_ALERT           /* the peer ended it, and said why */
};

/* A failed handshake; borrowed from who failed. */
struct tls_refusal {
    enum tls_failure failure;
    enum tls_verify verify;
    uint8_t alert;     /* of TLS_FAILED_ALERT. SPEC: RFC8446 6 */
    uint16_t version;  /* of TLS_FAILED_VERSION: 0x0302 is TLS 1.1; 0: not known */
    struct slice cert; /* DER of the leaf that did not verify, as it came: it proves nothing */
    const char *text;  /* one line for the log, without the peer's bytes */
};

struct tls_server_config {
    struct slice chain_pem;     /* leaf first */
    struct slice key_pem;       /* of the leaf */
    struct slice client_ca_pem; /* empty: clients are not asked for a certificate */
    bool client_cert_required;  /* refuse clients without one; false lets them log in otherwise */
    bool spare_browsers; /* do not ask what looks like a browser (RFC 8701): for WebSocket, which
                          * Chromium drops when it is asked. Not with client_cert_required */
    bool allow_tls12;
    uint32_t key_updates_per_minute; /* that a client may ask for; 0: TLS_KEY_UPDATES_PER_MIN */
    const char *alpn;          /* protocol name agreed to; NULL: "mqtt". A client may offer none. */
    const struct clock *clock; /* copied; by which certificates are judged; NULL: the system's */
    uint32_t late_s; /* a client's certificate that ended no longer ago is taken all the same: its
                      * owner looks at its end, and lets it do no more than renew. 0: none is */
    struct tls_tickets *tickets; /* shares; NULL: every handshake is a full one */
    const char *name;            /* of the listener, with tickets: they count nowhere else */
    struct tls_staple *staple;   /* shares; NULL: nothing is stapled */
};

struct tls_client_config {
    /* Who may sign the server's certificate: one of the four at least. */
    struct slice ca_pem;
    const char *ca_dir; /* a directory as `openssl rehash` leaves it; NULL: none */
    bool use_os_authorities;
    struct slice root_sha256; /* of the DER of a root that the server shows itself; empty: none */
    bool tls13_only;
    const char *alpn;    /* a protocol to ask for; NULL: none */
    const char *ciphers; /* NULL, or names with ':' between that narrow what is allowed anyway:
                          * those with TLS_ the suites of 1.3, the others those of 1.2 */
    const char *host;    /* required: name or address that the certificate must carry */
    bool takes_tickets;  /* keep what stream_session gives, for stream_resume */
    struct slice chain_pem, key_pem; /* our own; both or none */
};

/*
 * tls_server_new, tls_client_new - all slices are borrowed for the call; gives.
 *
 * ret_text  TLS_TEXT_BYTES; on error what is wrong, for the operator ("" otherwise)
 * ERR_CONFIG  a PEM that does not parse, a key that is not the certificate's, too weak, no host,
 *             nobody to trust, a cipher that is not allowed
 * ERR_NOMEM, ERR_CRYPTO
 */
MUST_USE enum err tls_server_new(const struct tls_server_config *c, char *ret_text,
                                 struct tls **ret);
MUST_USE enum err tls_client_new(const struct tls_client_config *c, char *ret_text,
                                 struct tls **ret);
struct tls *tls_free(struct tls *t);

/* tls_verify_text - for the log: "the client certificate has expired"; `peer` is "client" or
 * "server"; dst holds TLS_TEXT_BYTES. */
void tls_verify_text(enum tls_verify v, const char *peer, char *dst);
/* tls_verify_name - one word with underscores: "expired", "unknown_ca"; static. */
const char *tls_verify_name(enum tls_verify v);
/* tls_alert_name - "unknown CA"; "unknown" where the number means nothing. Static. */
const char *tls_alert_name(uint8_t alert);
/* tls_version_name - "TLS 1.1" of 0x0302; "a TLS version" of what is not known. Static. */
const char *tls_version_name(uint16_t version);
/* tls_error_text - takes the oldest entry of the library's error queue of this thread as a short
 * text, clears the queue. "" when the queue was empty. dst holds TLS_TEXT_BYTES. */
void tls_error_text(char *dst);

#endif
