/*
 * crl - revocation lists: which certificates their authority has taken back.
 *
 * A set is what all lists of one PEM file name, checked once: each is whole and signed by one of
 * our authorities. Immutable, shared by reference; looking is a search by bisection. The age of a
 * list takes no entry away: what was revoked stays so until a newer list comes, and a list that
 * is past its time keeps nobody else out. SPEC: RFC5280 5.
 */
#ifndef SECURITY_CRYPTO_CRL_H
#define SECURITY_CRYPTO_CRL_H

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"
#include "base/why.h"
#include "security/crypto/digest.h"

enum {
    CRL_ENTRIES_MAX = 200 * 1000,     /* certificates in one set */
    CRL_FILE_MAX = 16 * 1024 * 1024,  /* their PEM */
    CRL_CLOCK_SKEW_MS = 5 * 60 * 1000 /* a list may begin so far ahead of our clock */
};

struct crl_set;

/*
 * crl_set_new - all slices are borrowed for the call
 *
 * lists_pem        one list or more; what stands between them is skipped
 * authorities_pem  the certificates that may sign one
 *
 * ERR_MALFORMED    no list, one that does not parse, or one with a critical extension: a delta or a
 *                  list of some certificates alone, taken for the whole, would let others in
 * ERR_AUTH         signed by nobody of ours
 * ERR_EXPIRED      begins in the future: a clock is wrong
 * ERR_LIMIT        over CRL_ENTRIES_MAX; ERR_TOO_LARGE: over CRL_FILE_MAX; ERR_NOMEM
 */
MUST_USE enum err crl_set_new(struct slice lists_pem, struct slice authorities_pem,
                              int64_t now_wall_ms, const struct crl_set **ret, struct why *why);
const struct crl_set *crl_set_ref(const struct crl_set *s);
const struct crl_set *crl_set_unref(const struct crl_set *s); /* NULL is fine; gives NULL */
/* crl_set_lists - is the certificate with this id (x509_info.id) revoked? NULL lists nothing. */
bool crl_set_lists(const struct crl_set *s, const struct digest *id);
size_t crl_set_count(const struct crl_set *s);
/* crl_set_next_update - wall milliseconds: the earliest time by which an authority has promised
 * another list; INT64_MAX: none has. */
int64_t crl_set_next_update(const struct crl_set *s);

#endif
