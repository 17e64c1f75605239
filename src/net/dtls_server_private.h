/* dtls_server_private - the server of dtls.h inside: its associations (dtls_association.c), those
 * that OpenSSL runs (dtls_library.c) and those whose records are ours (dtls_own.c). */
#ifndef NET_DTLS_SERVER_PRIVATE_H
#define NET_DTLS_SERVER_PRIVATE_H

#include "base/list.h"
#include "base/map.h"
#include "engine/oscore_context.h"
#include "net/dtls_private.h"
#include "net/dtls_taken.h"

enum dtls_state { DTLS_HANDSHAKING, DTLS_OPEN, DTLS_GONE };

/* What is known about one address. It exists while it has an association. */
struct dtls_place {
    struct net_peer address;
    struct dtls_association *open;    /* lives on while a new handshake from there is unfinished */
    struct dtls_association *pending; /* the newest handshake */
};

/* What OpenSSL's part of an association needs: gone when the records are ours. */
struct dtls_library {
    struct dtls_link link;
    struct dtls_claim claim;
    struct dtls_sent sent;
    struct dtls_heard heard;
    uint64_t give_up_at_ms, retransmit_at_ms;
    uint64_t n_read;             /* plaintext datagrams */
    bool saw_change, saw_sealed; /* of the client's last flight */
    bool failure_told;
    /* Of records that were opened: the library keeps a window of its own, but says nothing. */
    struct oscore_window window;
};

struct dtls_association {
    struct dtls_place *place;     /* NULL while it is the spare */
    struct list_node node;        /* in half_open, flights or gone; see dtls_server */
    struct dtls_library *library; /* NULL: the records are ours */
    struct dtls_taken taken;      /* while library is NULL */
    uint64_t id;
    uint64_t forget_at_ms; /* the flight, while one is kept */
    uint64_t hello;        /* hash of its random: tells a repeated hello from a new one */
    const char *cipher;    /* the library's, for good */
    uint8_t *cert;         /* DER of the leaf, cert_n bytes; NULL: a PSK was used */
    uint32_t cert_n;
    uint16_t plain_max;
    uint8_t state; /* enum dtls_state */
    bool is_resumed;
};

struct dtls_server {
    struct dtls dtls;
    struct dtls_handler handler;
    SSL_CTX *ctx;
    BIO_METHOD *method;
    BIO_ADDR *listen_address; /* what DTLSv1_listen insists on; unused */
    struct record_aead *aead;
    struct prf *prf;
    bool keeps_openssl; /* handshakes that begin now end with OpenSSL's records */
    struct tls_judge judge;
    struct tls_tickets *tickets; /* NULL: none */
    size_t half_open_max, associations_max;
    uint32_t retransmit_ms, handshake_ms;
    struct map by_address, by_id;
    struct list half_open;
    struct list flights; /* open ones that may have to repeat their last flight, oldest first */
    struct list gone;    /* freed when no callback is on the stack */
    unsigned depth;
    struct dtls_association *spare; /* answers hellos of strangers; becomes an association */
    uint64_t next_id, now_ms;
    struct dtls_proof_keys keys;
    struct unproven unproven;
    struct dtls_counts counts;
    uint8_t plain[DTLS_DATAGRAM_MAX], sealed[DTLS_DATAGRAM_MAX];
};

/* ---- dtls_association.c ---- */

MUST_USE enum err dtls_association_new(struct dtls_server *s, struct dtls_association **ret);
struct dtls_association *dtls_association_free(struct dtls_association *a);
struct dtls_library *dtls_library_free(struct dtls_library *l);
struct slice dtls_place_key(const void *value);
struct slice dtls_id_key(const void *value);
/* dtls_association_admit - the spare has heard a proven hello: it becomes the newest handshake of
 * its address. ERR_NOMEM: it is as before. */
MUST_USE enum err dtls_association_admit(struct dtls_server *s, struct dtls_association *a);
/* dtls_association_open - its handshake is over: it replaces an older one of the same address, and
 * its records become ours where they can. */
void dtls_association_open(struct dtls_server *s, struct dtls_association *a);
/* dtls_association_remove - out of all tables; the memory goes when the outermost call returns. */
void dtls_association_remove(struct dtls_server *s, struct dtls_association *a);
void dtls_association_info(const struct dtls_association *a, struct dtls_info *ret);
void dtls_association_failed(struct dtls_server *s, struct dtls_association *a,
                             enum dtls_failure why, const char *text);
/* dtls_server_enter, dtls_server_leave - around what may call the handler. */
void dtls_server_enter(struct dtls_server *s);
void dtls_server_leave(struct dtls_server *s);

/* ---- dtls_library.c ---- */

/* dtls_library_serve - a datagram for an association that OpenSSL runs. */
void dtls_library_serve(struct dtls_server *s, struct dtls_association *a, struct slice datagram);
MUST_USE enum err dtls_library_send(const struct dtls_server *s, struct dtls_association *a,
                                    struct slice plain);

/* ---- dtls_own.c ---- */

/* dtls_own_serve - a datagram for an association whose records are ours. is_alone: no handshake of
 * the same address is under way, so that a sealed record can be nobody else's. */
void dtls_own_serve(struct dtls_server *s, struct dtls_association *a, struct slice datagram,
                    bool is_alone);
MUST_USE enum err dtls_own_send(struct dtls_server *s, struct dtls_association *a,
                                struct slice plain);
void dtls_own_close(struct dtls_server *s, struct dtls_association *a);
/* dtls_own_take - of an open association: the records become ours, where that can be. */
void dtls_own_take(struct dtls_server *s, struct dtls_association *a);
/* dtls_own_forget_flight - the peer has heard it, or will never ask. */
void dtls_own_forget_flight(struct dtls_association *a);

#endif
