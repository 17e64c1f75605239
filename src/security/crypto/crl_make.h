/*
 * crl_make - a revocation list, signed by the authority whose certificates it takes back.
 *
 * Version 2, whole (no delta), every entry sorted by its serial, each with its date and, where one
 * was said, its reason. SPEC: RFC5280 5.1, 5.2, 5.3.
 */
#ifndef SECURITY_CRYPTO_CRL_MAKE_H
#define SECURITY_CRYPTO_CRL_MAKE_H

#include "base/buf.h"
#include "security/crypto/crl.h"
#include "security/crypto/serial.h"
#include "security/crypto/x509.h"

/* Why one was taken back, as far as we say so. SPEC: RFC5280 5.3.1 */
enum crl_reason {
    CRL_UNSPECIFIED = 0,
    CRL_KEY_COMPROMISE = 1,
    CRL_AFFILIATION_CHANGED = 3,
    CRL_SUPERSEDED = 4,
    CRL_CESSATION = 5,
    CRL_WITHDRAWN = 9,
    CRL_REASON_LAST = 10 /* that there is */
};

struct crl_entry {
    struct serial serial;
    uint8_t reason;     /* of enum crl_reason */
    int64_t at_wall_ms; /* when it was revoked */
};

/* Everything is borrowed. */
struct crl_order {
    const struct x509 *issuer; /* an authority: the list bears its name and key identifier */
    const struct key *issuer_key;
    uint64_t number; /* greater than that of the list before */
    int64_t now_wall_ms, next_update_wall_ms;
    const struct crl_entry *entries; /* in any order, each serial once */
    size_t n;                        /* at most CRL_ENTRIES_MAX */
};

/* crl_make - appends the DER to *ret. ERR_MALFORMED: a serial that is none, or next_update before
 * now; ERR_LIMIT; ERR_CRYPTO: key and issuer do not belong together; ERR_NOMEM. O(n log n). */
MUST_USE enum err crl_make(const struct crl_order *o, struct buf *ret);
/* crl_to_pem - appends DER as PEM. ERR_MALFORMED, ERR_TOO_LARGE: over CRL_FILE_MAX; ERR_NOMEM. */
MUST_USE enum err crl_to_pem(struct slice der, struct buf *ret);
/* crl_reason_name - "key-compromise"; "unspecified" for what is none of ours. Static. */
const char *crl_reason_name(unsigned reason);
/* crl_reason_find - by that name; false when there is none. */
bool crl_reason_find(struct slice name, enum crl_reason *ret);

#endif
