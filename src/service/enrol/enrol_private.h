/* enrol_private - what the files of this folder share of the decisions. */
#ifndef SERVICE_ENROL_ENROL_PRIVATE_H
#define SERVICE_ENROL_ENROL_PRIVATE_H

#include "security/crypto/x509_request.h"
#include "security/identity/identity.h"
#include "service/enrol/enrol.h"

/* Wrong tokens of one network. */
struct enrol_network {
    struct net_prefix prefix;
    unsigned n; /* 0: a free row */
    uint64_t until_ms;
    bool is_told;
};

struct enrol {
    struct enrol_setup setup;
    struct enrol_waiting waiting[ENROL_QUEUE_MAX];
    struct enrol_network networks[ENROL_NETWORKS];
    uint64_t next_id;
};

/* One request as it is judged. */
struct enrol_case {
    struct enrol *d;
    struct enrolment *e;
    uint64_t now_ms;
    int64_t now_wall_ms;
    const struct directory_version *version;
    char name[PRINCIPAL_NAME_MAX + 1]; /* what the request asks for; empty: nothing */
    struct digest spki;
    bool has_changed; /* the directory */
};

/* enrol_answer - the end of a case, in words: who, what, why and the fix. */
void enrol_answer(struct enrol_case *c, enum enrolment_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* guess.c: networks that try tokens. _is_blocked: for so many seconds more; 0: not. */
unsigned enrol_guess_blocked(const struct enrol *d, const struct net_peer *peer, uint64_t now_ms);
/* enrol_guess_wrong - one more; true: it is the one too many, and news. */
bool enrol_guess_wrong(struct enrol *d, const struct net_peer *peer, uint64_t now_ms);

/* queue.c: enrol_queue - the request waits for a person, or has its answer already. */
void enrol_queue(struct enrol_case *c);

/* What the connection's certificate proves. */
enum enrol_proof {
    ENROL_NO_PROOF,
    ENROL_OURS,    /* we certified `name` with this key */
    ENROL_MAKERS,  /* a manufacturer did: `maker` */
    ENROL_NOT_GOOD /* it is nobody's that counts: `why` */
};
struct enrol_proven {
    enum enrol_proof proof;
    const struct enrol_maker *maker;
    char name[PRINCIPAL_NAME_MAX + 1];
    struct digest spki, id;
    int64_t ends_wall_ms; /* of the certificate */
    bool is_late;         /* ENROL_OURS: it has ended, all else being right */
    struct why why;
};
/* est_proof_of_connection - judged anew, by the certificate alone: TLS has only shown that the
 * client owns its key. One of ours that has ended proves what it did a second before; a maker's
 * proves nothing then. */
void est_proof_of_connection(const struct enrol_case *c, struct enrol_proven *ret);

#endif
