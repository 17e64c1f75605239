/*
 * enrolment - a client's wish for a certificate, on its way from the door where it came to the
 * service thread, which decides (service/enrol), and back. A door says what it has heard and what
 * the connection has proven; it decides nothing. Heap; secrets are wiped.
 */
#ifndef SERVICE_BROKER_ENROLMENT_H
#define SERVICE_BROKER_ENROLMENT_H

#include "base/buf.h"
#include "base/event.h"
#include "base/list.h"
#include "base/why.h"
#include "net/peer.h"

enum {
    ENROLMENTS_WAITING =
        128, /* of one worker, for the service thread; more are told to come again */
    ENROLMENT_SECRET_MAX = 128,
    ENROLMENT_NAME_BYTES = 66,
    ENROLMENT_CSR_MAX = 8 * 1024,
    ENROLMENT_CERT_MAX = 16 * 1024
};

enum enrolment_want {
    ENROLMENT_FIRST, /* a certificate for this request's key */
    ENROLMENT_AGAIN, /* the same, by whom we certified before */
    ENROLMENT_PAIR,  /* with a key that is made here */
    ENROLMENT_STATUS /* no certificate, but what the authority says of those it gave */
};

enum enrolment_result {
    ENROLMENT_ISSUED,
    ENROLMENT_WAITS,     /* for an operator: ask again */
    ENROLMENT_UNPROVEN,  /* nothing proved who it is, or what should is not good */
    ENROLMENT_REFUSED,   /* it is proven, and may not */
    ENROLMENT_MALFORMED, /* no request, or one for a key that is not taken */
    ENROLMENT_TOO_MANY,  /* too often wrong, from its network */
    ENROLMENT_BUSY       /* could not be decided: ask again */
};

struct enrolment {
    struct list_node node; /* of who has it */
    unsigned worker, door; /* entrance.index of where it came */
    uint64_t client;       /* the door's name for who asks */
    enum enrolment_want want;
    enum event_protocol protocol;
    char listener[34];
    struct net_peer peer;
    char user[ENROLMENT_NAME_BYTES];       /* said beside the secret; proves nothing */
    char secret[ENROLMENT_SECRET_MAX + 1]; /* a claim token as typed; empty: none */
    unsigned status_kind;   /* STATUS: enum status_kind (service/pki/status_door.h) */
    struct buf csr_der;     /* STATUS: the OCSPRequest */
    struct buf current_der; /* the client's certificate, as TLS has proven that it owns it; judged
                             * by who decides. Empty: none */

    /* ---- the answer ---- */
    enum enrolment_result result;
    uint64_t epoch;       /* of the realm that lets it in; the answer waits for that */
    uint64_t until_ms;    /* so long */
    const char *type;     /* STATUS, ISSUED: of the body, static */
    struct buf certs_der; /* ISSUED: PKCS#7 of leaf and intermediate; STATUS: the body */
    struct buf leaf_der, chain_pem;
    struct buf bundle_json; /* ISSUED: what else the device needs, as bundle_to_json has it, and no
                             * key */
    char name[ENROLMENT_NAME_BYTES]; /* ISSUED: to whom */
    struct buf key_der;              /* ISSUED, of a PAIR: PKCS#8 */
    unsigned retry_after_s;          /* WAITS, TOO_MANY, BUSY */
    bool is_told;                    /* not ISSUED: an event says so already */
    struct why why;                  /* not ISSUED: for who asked */
};

/* enrolment_new - ERR_NOMEM. */
MUST_USE enum err enrolment_new(struct enrolment **ret);
struct enrolment *enrolment_free(struct enrolment *e);
static inline void enrolment_autofree(struct enrolment **e)
{
    *e = enrolment_free(*e);
}

struct worker;
/* worker_next_enrolled - gives the next answer for this door; NULL: none. */
struct enrolment *worker_next_enrolled(struct worker *w, unsigned door);
/* For the worker: an answer has come; all that nobody took go. */
void enrolled_arrived(struct worker *w, struct enrolment *e);
void enrolled_clear(struct worker *w);

#endif
