/*
 * authority - who signs: what the fortress asks of the holder of its authority's key.
 *
 * Two stand behind it. authority_own: in this process, over the sealed key files and the register
 * (the signer process; the command line before there is a daemon; tests). authority_remote: typed
 * messages to the signer process (the broker; it holds no authority's key). Both decide by the same
 * rules: a name is certified only while the register has it enrolled, only by a template (device,
 * server), never longer than policy, and every certificate that was signed is on record before it
 * is handed out.
 *
 * Calls block: about 0.2 ms, at most AUTHORITY_WAIT_MS (ERR_TIMEOUT). One thread at a time.
 */
#ifndef SERVICE_PKI_AUTHORITY_H
#define SERVICE_PKI_AUTHORITY_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/slice.h"
#include "base/why.h"
#include "security/crypto/digest.h"
#include "security/crypto/serial.h"

enum {
    AUTHORITY_CSR_MAX = 8 * 1024,
    AUTHORITY_TOKEN_BYTES = 32 + 1,
    AUTHORITY_TOKEN_ID_BYTES = 16 + 1,
    AUTHORITY_TOKENS_MAX_BYTES = 15 * 1024 * 1024, /* of a list of them */
    AUTHORITY_WAIT_MS = 5000, /* a signer that is only starved of its processor answers by then */
    AUTHORITY_SERIAL_BYTES = 20,
    AUTHORITY_TRUSTED_MAX = 64 * 1024
};

struct authority_serial {
    uint8_t n, bytes[AUTHORITY_SERIAL_BYTES];
};

/* authority_serial_plain - the same, as the rest of the tree has it. */
static inline struct serial authority_serial_plain(const struct authority_serial *s)
{
    struct serial plain = {.n = s->n};
    slice_copy(plain.bytes, slice_of(s->bytes, s->n));
    return plain;
}

/* What was signed. Release with authority_certificate_done. */
struct authority_certificate {
    struct buf leaf_der, chain_pem; /* leaf, then intermediate */
    struct buf trusted_pem;         /* of a server's: who is trusted now, roots first */
    struct buf key_pem;             /* of a pair made here (no csr); wiped */
    struct authority_serial serial;
    struct digest spki;
    int64_t not_before_wall_ms, not_after_wall_ms;
};
void authority_certificate_done(struct authority_certificate *c);

enum authority_proof {
    AUTHORITY_BY_OPERATOR, /* an operator enrolled the name; each time is good for one certificate
                            */
    AUTHORITY_BY_TOKEN,    /* `token` is good for one name; it is used up, and enrols the name */
    AUTHORITY_BY_RENEWAL,  /* `current` is a certificate of this name that was signed here, is not
                            * revoked, and ended no longer than the grace ago */
    AUTHORITY_BY_MAKER,   /* `current` and `chain_pem` chain to an allowed manufacturer's authority,
                           * which says which names it may claim */
    AUTHORITY_BY_APPROVAL /* an operator approved this name with this CSR's key */
};

/* Borrowed. */
struct authority_order {
    struct slice name;
    struct slice csr_der; /* empty: a pair is made (RFC 7030 4.4 serverkeygen) */
    int64_t lifetime_ms;  /* 0: as policy says; longer is cut to it */
    enum authority_proof proof;
    struct slice token;                  /* BY_TOKEN */
    struct slice current_der, chain_pem; /* BY_RENEWAL, BY_MAKER */
};

struct authority;
struct authority *authority_free(struct authority *a);
AUTOFREE(authority, authority_free)

/*
 * authority_issue - a client certificate with SAN URI urn:sallyport:device:NAME, on record
 *
 * ERR_MALFORMED: the request is none, or its signature is not its key's, or the name is none;
 * ERR_UNSUPPORTED: not P-256; ERR_NOT_FOUND: the name is not enrolled; ERR_AUTH: the proof is none;
 * ERR_EXPIRED: beyond the grace, or the token's end; ERR_DENIED: revoked, a CSR that asks for more
 * (another name, a CA), a key that another name has; ERR_LIMIT: too many in this minute; *why says
 * who, what, why, and the fix. *ret is written only on success.
 */
MUST_USE enum err authority_issue(struct authority *a, const struct authority_order *o,
                                  int64_t now_wall_ms, struct authority_certificate *ret,
                                  struct why *why);
/* authority_issue_server - the server's own, for those of its names that the CSR asks for; the key
 * is the caller's. ERR_DENIED: a name that is not this server's; else as above. */
MUST_USE enum err authority_issue_server(struct authority *a, struct slice csr_der,
                                         int64_t now_wall_ms, struct authority_certificate *ret,
                                         struct why *why);

/* ---- revocation: for good; the register keeps it ---- */
enum authority_reason { /* SPEC: RFC5280 5.3.1 */
                        AUTHORITY_UNSPECIFIED = 0,
                        AUTHORITY_KEY_COMPROMISE = 1,
                        AUTHORITY_SUPERSEDED = 4,
                        AUTHORITY_CESSATION = 5,
                        AUTHORITY_WITHDRAWN = 9
};
/* authority_revoke - all certificates of a name and the name itself (serial NULL or of no bytes),
 * or one serial (name is not read). ERR_NOT_FOUND. */
MUST_USE enum err authority_revoke(struct authority *a, struct slice name,
                                   const struct authority_serial *serial,
                                   enum authority_reason reason, int64_t now_wall_ms);
/* authority_crl - DER of the list in force, signed anew when it changed or half its time is over.
 */
MUST_USE enum err authority_crl(struct authority *a, int64_t now_wall_ms, struct buf *ret_der,
                                int64_t *ret_next_update_wall_ms);
/* authority_ocsp - an OCSPResponse for this OCSPRequest (RFC 6960); always an answer, also to
 * rubbish; over a rate it is tryLater. */
MUST_USE enum err authority_ocsp(struct authority *a, struct slice request_der, int64_t now_wall_ms,
                                 struct buf *ret_der);

/* ---- only by the operator's channel, never by the broker's: ERR_DENIED there ---- */

/* authority_enrol - this name may have certificates from now on; spki NULL: one with any key, by
 * the operator's word; else by approval, any number with this key. Again is
 * fine. ERR_MALFORMED; ERR_DENIED: it is revoked. */
MUST_USE enum err authority_enrol(struct authority *a, struct slice name, const struct digest *spki,
                                  int64_t now_wall_ms, struct why *why);
/* authority_allow - the operator's word once more, for who is enrolled: one certificate. Errors as
 * authority_enrol; ERR_NOT_FOUND: it is not enrolled, and stays so. */
MUST_USE enum err authority_allow(struct authority *a, struct slice name, int64_t now_wall_ms,
                                  struct why *why);
/* authority_forget - it was removed; its certificates are revoked. ERR_NOT_FOUND. */
MUST_USE enum err authority_forget(struct authority *a, struct slice name, int64_t now_wall_ms);

struct authority_claim {
    struct slice name;    /* empty: the device chooses, what matches `pattern` */
    struct slice pattern; /* '*' stands for any run of characters */
    struct slice role, attrs_json;
    int64_t expires_wall_ms;
    unsigned uses;
};
/* authority_token_make - 100 random bits, in groups that a person can type. ERR_MALFORMED with
 * *why; ERR_LIMIT. */
MUST_USE enum err authority_token_make(struct authority *a, const struct authority_claim *c,
                                       int64_t now_wall_ms, char ret[AUTHORITY_TOKEN_BYTES],
                                       struct why *why);

/* authority_tokens - appends those in force, one JSON object a line: {"id", "name", "pattern",
 * "role", "uses", "expires"}; of the token itself there is nothing. ERR_TOO_LARGE: over
 * AUTHORITY_TOKENS_MAX_BYTES; ERR_NOMEM. */
MUST_USE enum err authority_tokens(struct authority *a, int64_t now_wall_ms, struct buf *ret_lines);
/* authority_token_cancel - the one of this id, or this token: it is good for nothing any more, and
 * stays so. ERR_NOT_FOUND with *why: none in force. */
MUST_USE enum err authority_token_cancel(struct authority *a, struct slice which,
                                         int64_t now_wall_ms, char ret_id[AUTHORITY_TOKEN_ID_BYTES],
                                         struct why *why);

enum authority_roll_step {
    AUTHORITY_ROLL_PREPARE,
    AUTHORITY_ROLL_SWITCH,
    AUTHORITY_ROLL_FINISH,
    AUTHORITY_ROLL_STEPS
};
/* authority_roll - a step of the roll-over (pki_roll.c), in force for who signs from then on.
 * Errors of that step. */
MUST_USE enum err authority_roll(struct authority *a, enum authority_roll_step step,
                                 int64_t now_wall_ms, struct why *why);
/* authority_host - the server's certificates may have this name, too: a DNS name or an IP address,
 * as text. ERR_MALFORMED, ERR_LIMIT. */
MUST_USE enum err authority_host(struct authority *a, struct slice host, struct why *why);

/* ---- by any channel ---- */
/* authority_is_operators - may those above be asked of this one? */
bool authority_is_operators(const struct authority *a);
/* authority_reload - reads the authority's files anew: what opens is what signs from then on. *why
 * names the file that does not, and what signed before goes on. Errors as pki_open_signing. */
MUST_USE enum err authority_reload(struct authority *a, struct why *why);
/* authority_token_ask - what the token is good for, without using it: {"name", "pattern", "role",
 * "attrs", "expires", "uses"}. ERR_AUTH: there is none in force; it costs the same. */
MUST_USE enum err authority_token_ask(struct authority *a, struct slice token, int64_t now_wall_ms,
                                      struct buf *ret_json);

/* authority_token_text - the token as it was made, out of what a person typed: small letters,
 * other dashes or none, O for 0, I and L for 1. ERR_MALFORMED. */
MUST_USE enum err authority_token_text(struct slice typed, char ret[AUTHORITY_TOKEN_BYTES]);
/* authority_pattern_matches - '*' stands for any run of characters. */
bool authority_pattern_matches(struct slice pattern, struct slice name);

#endif
