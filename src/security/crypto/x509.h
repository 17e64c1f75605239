/*
 * x509 - certificates read and issued.
 *
 * Reading says what a certificate claims; it verifies nothing (the TLS layer verifies the chain).
 * Issuing knows four kinds and gives each exactly the extensions it needs.
 */
#ifndef SECURITY_CRYPTO_X509_H
#define SECURITY_CRYPTO_X509_H

#include "base/buf.h"
#include "base/err.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/slice.h"
#include "security/crypto/digest.h"
#include "security/crypto/key.h"

enum {
    X509_DER_MAX = 16 * 1024, /* one certificate */
    X509_SANS_MAX = 64        /* alternative names in one certificate */
};

struct x509;

enum x509_san_kind { X509_SAN_URI, X509_SAN_DNS, X509_SAN_IP, X509_SAN_OTHER };

/* value is as encoded, not checked: IP is 4 or 16 bytes, the others are text that may hold
 * anything. */
struct x509_san {
    enum x509_san_kind kind;
    struct slice value;
};

/* All slices are borrowed from the certificate. Times are wall milliseconds. */
struct x509_info {
    struct digest spki; /* SHA-256 of SubjectPublicKeyInfo */
    struct digest id;   /* SHA-256 of issuer and serial: this certificate and no other */
    int64_t not_before_wall_ms, not_after_wall_ms;
    bool is_ca;
    bool has_eku, is_client, is_server; /* without EKU both are true */
    size_t n_common_names;              /* CN may be repeated; more than one names nobody */
    struct slice common_name;           /* the last one; empty without one */
    struct slice issuer, subject;       /* DER of the names */
    struct slice serial;                /* big endian */
    size_t n_sans;
    struct x509_san sans[X509_SANS_MAX];
};

/* x509_from_der - ERR_MALFORMED (also trailing bytes), ERR_TOO_LARGE, ERR_LIMIT: over
 * X509_SANS_MAX; ERR_NOMEM. */
MUST_USE enum err x509_from_der(struct slice der, struct x509 **ret);
struct x509_st; /* OpenSSL's */
/* x509_share - one that TLS has read already (shares it): decoding is dear, a sixth of a handshake.
 * Errors as x509_from_der. */
MUST_USE enum err x509_share(struct x509_st *cert, struct x509 **ret);
/* x509_next_pem - the next certificate of a PEM file; *pem moves behind it. ERR_NOT_FOUND: no
 * further one; else as x509_from_der. */
MUST_USE enum err x509_next_pem(struct slice *pem, struct x509 **ret);
struct x509 *x509_free(struct x509 *x);
AUTOFREE(x509, x509_free)
/* x509_info - never NULL; lives as long as x. */
const struct x509_info *x509_info(const struct x509 *x);
/* x509_strength_bits - of its key and of its signature, the weaker; 0: unknown ones. P-256 has 128,
 * RSA of 2048 bits 112; a signature by SHA-1 has less than 80. Whoever signs itself has the key's
 * only: nobody verifies that signature. */
unsigned x509_strength_bits(const struct x509 *x);
/* x509_to_pem, x509_to_der - append to *ret. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err x509_to_pem(const struct x509 *x, struct buf *ret);
MUST_USE enum err x509_to_der(const struct x509 *x, struct buf *ret);

enum x509_kind {
    X509_KIND_ROOT,         /* 10 years, pathlen 1 */
    X509_KIND_INTERMEDIATE, /* 5 years, pathlen 0 */
    X509_KIND_SERVER,       /* 90 days, EKU serverAuth */
    X509_KIND_CLIENT        /* 90 days, EKU clientAuth */
};

/* Everything is borrowed. */
struct x509_order {
    enum x509_kind kind;
    struct slice common_name; /* 1..64 bytes of UTF-8 */
    const struct x509_san *sans;
    size_t n_sans;
    const struct key *subject;    /* the public half is enough */
    const struct x509 *issuer;    /* NULL: signs itself (X509_KIND_ROOT only) */
    const struct key *issuer_key; /* the key of `issuer`; for a root its own pair */
    int64_t now_wall_ms; /* validity begins an hour earlier, or a twelfth of a shorter life */
    int64_t lifetime_ms; /* 0: the kind's own; never past the issuer's end */
    /* Where peers hear of revocation: URL/crl.der and URL/ocsp go into a leaf. Empty: nowhere. Text
     * that x509_url_ok takes. */
    struct slice status_url;
};

enum { X509_URL_MAX = 200 };
/* x509_url_ok - "http://…" of at most X509_URL_MAX printable bytes, without a '/' at its end, and
 * none of those that mean something to who writes or reads it. https would need the very
 * certificates that are asked about. SPEC: RFC5280 8. */
bool x509_url_ok(struct slice url);

/* x509_issue - ECDSA with SHA-256, serial of 127 random bits. ERR_MALFORMED: common_name or a SAN
 * that cannot be encoded; ERR_CRYPTO: key and issuer do not belong together, or the library
 * refused; ERR_NOMEM. SPEC: RFC5280 4.1.2.2, 4.2.1. */
MUST_USE enum err x509_issue(const struct x509_order *order, const struct random_source *random,
                             struct x509 **ret);

/* x509_verify - does the chain leaf, intermediates (PEM), roots (PEM) hold at this time for this
 * kind of leaf (X509_KIND_SERVER or _CLIENT)? ERR_AUTH: no; *why says why. ERR_MALFORMED: the PEM.
 */
struct why;
MUST_USE enum err x509_verify(const struct x509 *leaf, struct slice intermediates_pem,
                              struct slice roots_pem, enum x509_kind kind, int64_t at_wall_ms,
                              struct why *why);

#endif
