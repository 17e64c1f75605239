/*
 * tls_look - TLS to a server whose certificate is to be looked at, not relied on.
 *
 * For `scan` alone, which has to see what a foreign server shows, above all what is wrong with it:
 * a handshake that ends at the first fault says nothing about the others. Such a stream proves
 * nobody, so nothing secret may go over it: what is sent is what could be sent in the clear to
 * anybody. Old versions and weak suites are offered, too. It is the only file of the tree where a
 * handshake with a server goes on without verification.
 */
#ifndef NET_TLS_LOOK_H
#define NET_TLS_LOOK_H

#include "net/tls.h"

struct stream;

/* What a certificate says, and what is wrong with it. */
struct tls_look {
    enum tls_verify verify;          /* the first fault of the chain; names are not part of it */
    bool is_named;                   /* it carries the host's name or address */
    bool is_self_signed;             /* the leaf, by its own key */
    bool is_digest_weak;             /* it is signed over MD5 or SHA-1 */
    const char *key;                 /* "RSA", "EC", …; static */
    unsigned key_bits, key_strength; /* strength: of a symmetric key worth the same */
    unsigned n_chain;                /* certificates shown */
    int64_t not_before_wall_ms, not_after_wall_ms;
};

/* tls_look_new - a client that goes on whatever it is shown. ca_pem: whom to believe for `verify`;
 * empty: the system's authorities. host is sent as the server's name, when it is one. Gives;
 * ret_text and errors as tls_client_new. */
MUST_USE enum err tls_look_new(struct slice ca_pem, const char *host, char *ret_text,
                               struct tls **ret);

/* tls_look_at - the certificate that the server of this stream has shown, also when the handshake
 * failed behind it. ERR_NOT_FOUND: none; ERR_MALFORMED: it has no times or key that can be read. */
MUST_USE enum err tls_look_at(const struct stream *s, struct tls_look *ret);

/* tls_look_suite - the name of a suite by its number, of those that this client could offer; NULL.
 * Static. */
const char *tls_look_suite(const struct tls *look, uint16_t number);

#endif
