/* authority_own_private - what the parts of the authority in this process share. */
#ifndef SERVICE_PKI_AUTHORITY_OWN_PRIVATE_H
#define SERVICE_PKI_AUTHORITY_OWN_PRIVATE_H

#include "core/quota.h"
#include "service/pki/authority_own.h"
#include "service/pki/authority_private.h"

#define AUTHORITY_CRL_LIFE_MS  (INT64_C(7) * 86400 * 1000)
#define AUTHORITY_OCSP_LIFE_MS (INT64_C(12) * 3600 * 1000)

enum {
    AUTHORITY_OCSP_RATE = 200, /* answers that are signed in a second; twice that at once */
    AUTHORITY_ANSWERS_KEPT = 256
};

/* An answer that was signed, for who asks the same without a nonce. */
struct authority_answer {
    struct digest question;
    struct buf der;
    uint64_t revision; /* of the register */
    int64_t made_wall_ms;
};

/* What the authority says of its certificates (authority_status.c). */
struct authority_word {
    struct buf crl_der;
    uint64_t revision;
    const struct x509 *issuer;
    int64_t made_wall_ms;
    struct bucket answers;
    struct authority_answer kept[AUTHORITY_ANSWERS_KEPT];
};
void authority_word_init(struct authority_word *w);
void authority_word_done(struct authority_word *w);

struct authority_own {
    struct authority base;
    struct authority_own_setup setup;
    struct authority_policy policy; /* with its defaults */
    struct bucket all;
    struct authority_word word;
    struct pki *newer; /* owned: what setup.pki is since it was read anew; else NULL */
};

static inline struct authority_own *authority_own_of(struct authority *a)
{
    return CONTAINER_OF(a, struct authority_own, base);
}

/* As authority_crl and authority_ocsp. */
MUST_USE enum err authority_own_crl(struct authority_own *a, int64_t now_wall_ms,
                                    struct buf *ret_der, int64_t *ret_next_update_wall_ms);
MUST_USE enum err authority_own_ocsp(struct authority_own *a, struct slice request_der,
                                     int64_t now_wall_ms, struct buf *ret_der);

/* authority_tokens.c: as authority_token_make, _ask, authority_tokens, authority_token_cancel. */
MUST_USE enum err authority_own_token_make(struct authority *base, const struct authority_claim *c,
                                           int64_t now_wall_ms, char ret[AUTHORITY_TOKEN_BYTES],
                                           struct why *why);
MUST_USE enum err authority_own_token_ask(struct authority *base, struct slice token,
                                          int64_t now_wall_ms, struct buf *ret_json);
MUST_USE enum err authority_own_tokens(struct authority *base, int64_t now_wall_ms,
                                       struct buf *ret_lines);
MUST_USE enum err authority_own_token_cancel(struct authority *base, struct slice which,
                                             int64_t now_wall_ms,
                                             char ret_id[AUTHORITY_TOKEN_ID_BYTES],
                                             struct why *why);

/* authority_serial_of - ERR_MALFORMED: none, or too long. */
MUST_USE enum err authority_serial_of(struct slice serial, struct authority_serial *ret);

#endif
