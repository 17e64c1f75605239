/*
 * signer - the engine of the signer process: the bytes of a request in, the bytes of its answer
 * and what is worth an event out. No I/O, no clock.
 *
 * Who asks decides what is answered. The broker speaks for strangers and may itself be broken into:
 * it gets certificates of those that an operator, a token, a renewal, a maker or an approval
 * answers for, may revoke, and asks for the list; what makes somebody enrolled comes over the
 * operator's channel alone.
 */
#ifndef SERVICE_PKI_SIGNER_H
#define SERVICE_PKI_SIGNER_H

#include "base/event.h"
#include "service/pki/authority.h"

enum signer_channel { SIGNER_BROKER, SIGNER_OPERATOR };

enum {
    /* Requests of the broker in a second, and at once: what is read and refused costs, too. */
    SIGNER_ASKS_PER_SECOND = 500,
    SIGNER_ASKS_BURST = 3000,
    /* Events in a second, and at once: a flood of refusals is not a flood of lines. */
    SIGNER_EVENTS_PER_SECOND = 50,
    SIGNER_EVENTS_BURST = 200
};

/* What happened, for the audit trail. */
struct signer_event {
    enum event_category category;
    enum event_severity severity;
    char name[65];    /* the device's; empty: none */
    char reason[240]; /* a sentence */
};

struct signer;

/* signer_new - by is borrowed for life. ERR_NOMEM. */
MUST_USE enum err signer_new(struct authority *by, uint64_t now_ms, struct signer **ret);
struct signer *signer_free(struct signer *s);
AUTOFREE(signer, signer_free)

/* What became of a request. */
struct signer_reply {
    uint32_t id;
    struct buf bytes; /* the answer, whole; wiped by the caller */
    bool has_event;
    struct signer_event event;
};
/* signer_ask - always an answer, also to rubbish. now_ms is monotonic, of the limits. ERR_NOMEM:
 * none can be given. */
MUST_USE enum err signer_ask(struct signer *s, enum signer_channel from, struct slice request,
                             uint64_t now_ms, int64_t now_wall_ms, struct signer_reply *ret);
void signer_reply_done(struct signer_reply *r);

#endif
