/*
 * ocsp - questions about single certificates, and the authority's signed answers.
 *
 * A question is a stranger's: its size, the number of certificates it asks for and its nonce are
 * bounded, and what it cannot say right gets an answer without a signature. SPEC: RFC6960 2.3, 4.
 */
#ifndef SECURITY_CRYPTO_OCSP_H
#define SECURITY_CRYPTO_OCSP_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/why.h"
#include "security/crypto/x509.h"

enum {
    OCSP_REQUEST_MAX = 4 * 1024,
    OCSP_RESPONSE_MAX = 8 * 1024,
    OCSP_CERTIFICATES_MAX = 8, /* in one question */
    OCSP_NONCE_MAX = 128       /* bytes */
};

enum ocsp_standing { OCSP_GOOD, OCSP_REVOKED, OCSP_UNKNOWN };

struct ocsp_status {
    enum ocsp_standing standing;
    unsigned reason; /* of enum crl_reason, when revoked */
    int64_t revoked_wall_ms;
};

/* Everything is borrowed. */
struct ocsp_signer {
    const struct x509 *issuer; /* signs itself for what it has issued */
    const struct key *issuer_key;
    int64_t now_wall_ms, next_update_wall_ms;
    /* What is known of a serial of this issuer: OCSP_UNKNOWN when it never issued one. */
    void *ctx;
    enum err (*look)(void *ctx, struct slice serial, struct ocsp_status *ret);
};

/* ocsp_answer - appends an OCSPResponse to *ret, also to rubbish (malformedRequest). A nonce is
 * echoed. ERR_NOMEM, ERR_CRYPTO, what look says: nothing was appended. 0.1 ms.
 * SPEC: RFC6960 2.1, 4.2. */
MUST_USE enum err ocsp_answer(const struct ocsp_signer *s, struct slice request_der,
                              struct buf *ret);

/* The answers without a signature. SPEC: RFC6960 4.2.1 */
enum ocsp_refusal {
    OCSP_MALFORMED = 1, /* the question is none */
    OCSP_INTERNAL = 2,
    OCSP_TRY_LATER = 3
};
/* ocsp_refuse - appends one. ERR_NOMEM. */
MUST_USE enum err ocsp_refuse(enum ocsp_refusal how, struct buf *ret);

/* ocsp_request_has_nonce - may its answer not be given to another? Also true of what is no
 * question. */
bool ocsp_request_has_nonce(struct slice request_der);
/* ocsp_request - a question about leaf, without a nonce: what we ask for our own certificate.
 * ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err ocsp_request(const struct x509 *leaf, const struct x509 *issuer, struct buf *ret);

/* ocsp_read - is this the issuer's answer about leaf, good by its signature and at this time? What
 * it says, and until when. ERR_AUTH: not signed by issuer; ERR_NOT_FOUND: about another
 * certificate, or a refusal; ERR_EXPIRED: not yet, or no longer; ERR_MALFORMED; ERR_NOMEM. */
MUST_USE enum err ocsp_read(struct slice response_der, const struct x509 *leaf,
                            const struct x509 *issuer, int64_t now_wall_ms, struct ocsp_status *ret,
                            int64_t *ret_next_update_wall_ms);

#endif
