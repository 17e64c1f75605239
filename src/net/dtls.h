/*
 * dtls - DTLS 1.2 associations behind one interface, so that the record layer can change.
 *
 * Datagrams in by dtls_input, datagrams and events out by the handler; no socket; the clock is the
 * caller's but for the retransmission timer inside OpenSSL. A stranger costs nothing before it has
 * proven its address with a cookie. Associations are named by an id that is never used again, so a
 * late answer misses safely. Who has shown a certificate may resume by a ticket
 * (net/tls_tickets.h), where they are given: then neither side sends one again. SPEC:
 * RFC6347 4.2.1, 4.2.8; RFC7925 4.4.3.
 */
#ifndef NET_DTLS_H
#define NET_DTLS_H

#include "base/random.h"
#include "engine/coap_endpoint.h"
#include "net/peer.h"
#include "net/tls.h"

enum {
    DTLS_IDENTITY_MAX = 128, /* bytes of a PSK identity */
    DTLS_PSK_MIN = 16,       /* bytes of a key */
    DTLS_PSK_MAX = 64,
    DTLS_MTU = 1280,                /* of the path, IP and UDP headers included */
    DTLS_HANDSHAKE_MS = 60 * 1000,  /* a handshake takes at most so long */
    DTLS_HALF_OPEN_MAX = 256,       /* handshakes at a time; then the oldest goes */
    DTLS_ASSOCIATIONS_MAX = 100000, /* associations at a time */
    DTLS_COOKIE_ROTATE_MS = 60 * 1000,
    DTLS_DATAGRAM_MAX = 2048, /* bytes of one datagram on the wire */
    DTLS_PLAIN_MAX = 1984,    /* bytes of one plaintext datagram */
    DTLS_RETRANSMIT_MS = 1000 /* first wait; doubles up to a minute. SPEC: RFC6347 4.2.4.1 */
};

struct dtls;

enum dtls_failure {
    DTLS_FAILED_TIMEOUT,     /* the peer stopped answering */
    DTLS_FAILED_IDENTITY,    /* nobody has this PSK identity */
    DTLS_FAILED_KEY,         /* the identity is known, the key is another */
    DTLS_FAILED_CERTIFICATE, /* the certificate did not verify */
    DTLS_FAILED_PROTOCOL     /* no common suite, broken messages, an alert */
};

struct dtls_info {
    uint64_t id;
    struct net_peer peer;
    struct slice psk_identity; /* said in `opened` alone; empty when a certificate was used */
    uint64_t psk_credential;   /* the same: what find_psk said with the key; 0 with a certificate */
    struct slice peer_cert;    /* DER of the leaf, empty with PSK */
    const char *cipher;        /* the suite by its OpenSSL name */
    bool is_resumed;           /* the handshake was done by a ticket */
    uint16_t plain_max;        /* bytes of one plaintext datagram to the peer; 0: DTLS_PLAIN_MAX */
    uint64_t credential;       /* of an OSCORE context (net/oscore_server.h); 0: DTLS */
    struct slice kid;          /* of the same */
    uint64_t permission;       /* of a plain peer (net/plain_server.h), who is nobody; else 0 */
};

/* All slices and structs are borrowed for the call. opened, received, closed and failed may call
 * dtls_send, dtls_close and dtls_info; transmit and find_psk nothing of the dtls. */
struct dtls_handler {
    void *ctx;
    /* one datagram leaves */
    void (*transmit)(void *ctx, const struct net_peer *to, struct slice datagram);
    /* a stranger that has proven its address begins a handshake: may it? NULL: all may. Not used by
     * a client. */
    bool (*admit)(void *ctx, const struct net_peer *peer);
    /* a handshake finished; info.peer_cert lasts as long as the association */
    void (*opened)(void *ctx, const struct dtls_info *info);
    /* one plaintext datagram */
    void (*received)(void *ctx, uint64_t id, struct slice plain);
    /* an open association ended: by the peer (OK), replaced by a newer one of the same address
     * (ERR_EXISTS), by an error (ERR_PROTOCOL). Not called for dtls_close. */
    void (*closed)(void *ctx, uint64_t id, enum err why);
    /* a handshake failed, reported once */
    void (*failed)(void *ctx, const struct net_peer *peer, enum dtls_failure why,
                   struct slice psk_identity, const struct tls_refusal *how);
    /* the key of an identity: at most DTLS_PSK_MAX bytes to key, and which of its keys it is, for
     * `opened`. ERR_NOT_FOUND: goes on with a key
     * that nobody has, so that a stranger cannot tell. NULL: no PSK. Not used by a client. */
    enum err (*find_psk)(void *ctx, struct slice identity, uint8_t *key, size_t *ret_n,
                         uint64_t *ret_credential);
    /* a datagram that is no DTLS, from an address that anybody can write there; NULL: it is only
     * counted */
    void (*foreign)(void *ctx, const struct net_peer *peer, struct slice datagram);
    /* a record came again that an open association has taken before, or one was forged to look so:
     * it was dropped. NULL: nobody wants to know. Not used by a client. */
    void (*replayed)(void *ctx, uint64_t id);
    /* what unproven addresses send and get is counted there; borrowed for life; NULL: nowhere. Not
     * used by a client. */
    struct coap_counters *counters;
};

struct dtls_counts {
    uint64_t hellos;      /* ClientHello without a valid cookie, answered with one */
    uint64_t cookies;     /* addresses proven */
    uint64_t dropped;     /* datagrams for nobody, or not DTLS */
    uint64_t refused;     /* proven, but a limit was reached */
    uint64_t crowded_out; /* unfinished handshakes that newer ones took the place of */
    uint64_t opened, failed;
    uint64_t taken; /* of the opened ones: their records are ours */
    uint64_t
        unreadable; /* sealed records that were not the peer's; OpenSSL does not tell of its own */
    size_t half_open, open; /* now */
};

struct dtls_server_config;

struct dtls_ops {
    void (*input)(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                  uint64_t now_ms);
    enum err (*send)(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms);
    void (*close)(struct dtls *d, uint64_t id);
    bool (*info)(const struct dtls *d, uint64_t id, struct dtls_info *ret);
    uint64_t (*deadline)(const struct dtls *d);
    void (*tick)(struct dtls *d, uint64_t now_ms);
    size_t (*turn_away)(struct dtls *d); /* NULL: it keeps nothing of strangers */
    const struct dtls_counts *(*counts)(const struct dtls *d);
    struct dtls *(*free)(struct dtls *d);
    /* NULL: it has nothing that could be renewed */
    enum err (*renew)(struct dtls *d, const struct dtls_server_config *c,
                      const struct dtls_handler *handler, char *ret_text);
};

struct dtls {
    const struct dtls_ops *ops;
};

struct dtls_server_config {
    struct slice chain_pem, key_pem; /* empty: PSK only */
    struct slice client_ca_pem;  /* with a chain: required, and so is the client's certificate */
    const struct clock *clock;   /* copied; by which certificates are judged; NULL: the system's */
    uint32_t late_s;             /* as in tls_server_config */
    struct tls_tickets *tickets; /* shares, for good; NULL, or without a chain: none */
    const char *name;            /* as in tls_server_config; not NULL with tickets */
    const struct random_source *random;
    size_t half_open_max, associations_max; /* 0: the named limits above */
    uint32_t retransmit_ms;                 /* 0: DTLS_RETRANSMIT_MS */
    uint32_t handshake_ms;                  /* 0: DTLS_HANDSHAKE_MS */
    bool keeps_openssl;                     /* all records are OpenSSL's, in every suite */
};

struct dtls_client_config {
    struct slice ca_pem;             /* certificates: who may sign the server's */
    const char *host;                /* and the name or address it must carry */
    struct slice chain_pem, key_pem; /* our own */
    struct slice psk_identity, psk;  /* or these two; then no certificates */
    uint32_t retransmit_ms;          /* 0: DTLS_RETRANSMIT_MS */
};

/*
 * dtls_server_openssl - the server of one UDP socket. OpenSSL runs cookies and handshakes; behind
 * them the records are ours, but for ECDHE-PSK or where c keeps OpenSSL. Suites: ECDHE-ECDSA and
 * PSK with AES-128 CCM8 and GCM, ECDHE-PSK with CHACHA20. Copies handler; slices are borrowed for
 * the call; gives. ret_text as tls_server_new. ERR_CONFIG, ERR_NOMEM, ERR_CRYPTO.
 */
MUST_USE enum err dtls_server_openssl(const struct dtls_server_config *c,
                                      const struct dtls_handler *handler, char *ret_text,
                                      struct dtls **ret);

/*
 * dtls_client_openssl - one association to one server, through the same interface; the id is 1.
 * The first dtls_tick sends the hello. The server's certificate and name are always verified.
 * Errors as above.
 */
MUST_USE enum err dtls_client_openssl(const struct dtls_client_config *c,
                                      const struct net_peer *server,
                                      const struct dtls_handler *handler, char *ret_text,
                                      struct dtls **ret);

/* dtls_input - one datagram from the network; calls the handler for what it brings. */
void dtls_input(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                uint64_t now_ms);
/* dtls_send - one plaintext datagram. ERR_NOT_FOUND: the association is gone or not open yet.
 * ERR_TOO_LARGE: over what the peer takes (dtls_info.plain_max). ERR_CRYPTO. */
MUST_USE enum err dtls_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms);
/* dtls_close - close_notify, and the association is gone. Fine when it is gone already. */
void dtls_close(struct dtls *d, uint64_t id);
/* dtls_info - false when it is gone or not open yet. Slices in *ret last as long as it does. */
bool dtls_info(const struct dtls *d, uint64_t id, struct dtls_info *ret);
/* dtls_deadline - when dtls_tick has something to do (retransmission, time-out); UINT64_MAX. */
uint64_t dtls_deadline(const struct dtls *d);
void dtls_tick(struct dtls *d, uint64_t now_ms);
/* dtls_turn_away - every handshake that is not finished ends, without a word to its peer or to
 * handler.failed; open associations stay. Gives how many. */
size_t dtls_turn_away(struct dtls *d);
const struct dtls_counts *dtls_counts(const struct dtls *d);
struct dtls *dtls_free(struct dtls *d);
/* dtls_renew - what a server shows and asks for in handshakes from here on: the certificates of c
 * and its time for one, who runs the records behind them, and find_psk of handler; nothing else of
 * both is looked at. Open associations and handshakes under way go on as they began. Not inside a
 * call of the handler. Errors and ret_text as dtls_server_openssl; the old ones stay then. */
MUST_USE enum err dtls_renew(struct dtls *d, const struct dtls_server_config *c,
                             const struct dtls_handler *handler, char *ret_text);

/* What the first record of a datagram is: decides where it goes, before any state is touched. */
enum dtls_kind {
    DTLS_KIND_NONE,  /* not a DTLS record */
    DTLS_KIND_HELLO, /* epoch 0 ClientHello */
    DTLS_KIND_PLAIN, /* epoch 0, anything else */
    DTLS_KIND_SEALED /* epoch 1 and later */
};

/* dtls_kind_of - *ret_random (may be NULL): the client random of a hello, else empty; borrows. */
enum dtls_kind dtls_kind_of(struct slice datagram, struct slice *ret_random);

#endif
