/*
 * signer_message - what the signer is asked, and what it answers: typed, binary, decoded by
 * cursors.
 *
 * One request is one datagram of a SOCK_SEQPACKET socket; an answer is one or more, each
 * {id, is there more, a piece}. Every request has one answer; a request that does not read is
 * answered with id 0. The time is never in a request: the signer has its own clock.
 */
#ifndef SERVICE_PKI_SIGNER_MESSAGE_H
#define SERVICE_PKI_SIGNER_MESSAGE_H

#include "base/rd.h"
#include "base/wr.h"
#include "service/pki/authority.h"

enum {
    SIGNER_REQUEST_MAX = 64 * 1024,
    SIGNER_CERTIFICATE_MAX = 16 * 1024, /* one, DER */
    SIGNER_CHAIN_MAX = 32 * 1024,       /* PEM, of a manufacturer */
    SIGNER_TEXT_MAX = 2048,
    SIGNER_HOST_MAX = 254,
    SIGNER_OCSP_MAX = 8 * 1024,
    SIGNER_PIECE_MAX = 32 * 1024,
    SIGNER_PIECE_HEAD_BYTES = 5,
    SIGNER_ANSWER_MAX = 16 * 1024 * 1024
};

enum signer_request_type {
    SIGNER_ISSUE = 1,
    SIGNER_ISSUE_SERVER,
    SIGNER_REVOKE,
    SIGNER_CRL,
    SIGNER_OCSP,
    SIGNER_TOKEN_ASK,
    /* by the operator's channel only */
    SIGNER_ENROL,
    SIGNER_ALLOW,
    SIGNER_FORGET,
    SIGNER_TOKEN_MAKE,
    /* by both */
    SIGNER_RELOAD,
    /* by the operator's channel only */
    SIGNER_ROLL,
    SIGNER_HOST,
    SIGNER_TOKENS,
    SIGNER_TOKEN_CANCEL,
    SIGNER_TYPES
};

/* Slices borrow from the datagram. */
struct signer_request {
    enum signer_request_type type;
    uint32_t id;
    struct authority_order order; /* ISSUE; of the others its name, csr_der, token (TOKEN_CANCEL: or
                                   * an id) */
    struct authority_serial serial; /* REVOKE: n == 0: all of the name */
    enum authority_reason reason;
    bool has_spki; /* ENROL */
    struct digest spki;
    struct slice ocsp;             /* OCSP */
    struct authority_claim claim;  /* TOKEN_MAKE */
    enum authority_roll_step step; /* ROLL */
    struct slice host;             /* HOST: as text */
};

/* signer_request_encode - appended. ERR_TOO_LARGE: one of its parts; ERR_NOMEM. */
MUST_USE enum err signer_request_encode(const struct signer_request *q, struct buf *ret);
/* signer_request_decode - all of bytes. ERR_TRUNCATED, ERR_TRAILING, ERR_MALFORMED, ERR_TOO_LARGE.
 */
MUST_USE enum err signer_request_decode(struct slice bytes, struct signer_request *ret);
bool signer_request_is_operators(enum signer_request_type t);

/* What comes back; only what its request asks for is set. Release with signer_answer_done. */
struct signer_answer {
    enum err err;
    struct why why;
    struct authority_certificate certificate; /* ISSUE, ISSUE_SERVER */
    struct buf bytes;                         /* CRL, OCSP: DER; TOKEN_ASK, TOKENS: JSON */
    int64_t next_update_wall_ms;              /* CRL */
    char token[AUTHORITY_TOKEN_BYTES];        /* TOKEN_MAKE; TOKEN_CANCEL: the id */
};
void signer_answer_done(struct signer_answer *a);
/* signer_answer_encode - appended, without its cutting into pieces. ERR_TOO_LARGE, ERR_NOMEM. */
MUST_USE enum err signer_answer_encode(enum signer_request_type t, const struct signer_answer *a,
                                       struct buf *ret);
/* signer_answer_decode - *ret is written only on success. Errors as signer_request_decode. */
MUST_USE enum err signer_answer_decode(enum signer_request_type t, struct slice bytes,
                                       struct signer_answer *ret);

/* One datagram of an answer. */
struct signer_piece {
    uint32_t id;
    bool is_last;
    struct slice bytes; /* at most SIGNER_PIECE_MAX */
};
void signer_piece_head(const struct signer_piece *p, uint8_t dst[SIGNER_PIECE_HEAD_BYTES]);
MUST_USE enum err signer_piece_decode(struct slice bytes, struct signer_piece *ret);

#endif
