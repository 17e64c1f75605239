/*
 * renewal - one request for a new certificate, on its way from a worker to the service thread and
 * back.
 */
#ifndef SERVICE_BROKER_RENEWAL_H
#define SERVICE_BROKER_RENEWAL_H

#include "base/buf.h"
#include "base/why.h"
#include "core/principal.h"

enum {
    RENEWAL_CSR_MAX = 8 * 1024,
    RENEWALS_MAX = 512 /* of one worker, waiting for the service thread */
};

struct renewal {
    unsigned worker;
    uint64_t conn;       /* who asked; 0: nobody waits any more */
    uint64_t credential; /* by which it came in */
    bool is_late;        /* the certificate's time is over */
    char name[PRINCIPAL_NAME_MAX + 1];
    struct buf csr;     /* DER */
    struct buf current; /* DER of the certificate that it has */
    /* the answer: */
    enum err result;  /* as authority_issue, and what the directory says */
    struct buf chain; /* PEM, leaf first */
    struct why why;   /* when result is not OK */
    uint64_t epoch;   /* the service thread's: told when every worker decides by it */
};

/* renewal_new - zeroed. ERR_NOMEM. */
MUST_USE enum err renewal_new(struct renewal **ret);
/* renewal_free - NULL is fine; returns NULL. */
struct renewal *renewal_free(struct renewal *r);

/* renewal_csr - appends the DER of a CSR that came as DER or as PEM. ERR_TOO_LARGE: over
 * RENEWAL_CSR_MAX; ERR_MALFORMED: neither; ERR_NOMEM. What it asks for is not looked at. */
MUST_USE enum err renewal_csr(struct slice text, struct buf *ret);

#endif
