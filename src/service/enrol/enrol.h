/*
 * enrol - who gets a certificate: the decisions of enrolment, whatever door a request came by. One
 * thread, the service's, which is the directory's one writer.
 *
 * Proofs, in this order: a claim token; a certificate that we gave (renewal); a manufacturer's
 * certificate; else a person, who finds the request in the queue. The authority judges each of them
 * once more and signs; here a name is bound to a principal and its key registered, before the
 * certificate leaves.
 *
 * The queue is in memory: a restart forgets it, and the devices ask again. What was approved is
 * with the authority and the directory, and survives.
 */
#ifndef SERVICE_ENROL_ENROL_H
#define SERVICE_ENROL_ENROL_H

#include <jansson.h>

#include "core/policy.h"
#include "net/network.h"
#include "service/broker/enrolment.h"
#include "service/directory/directory.h"
#include "service/enrol/makers.h"
#include "service/pki/authority.h"

enum {
    ENROL_QUEUE_MAX = 256,             /* requests that wait for a person */
    ENROL_QUEUE_PREFIX_MAX = 16,       /* of one network (/24, /56) */
    ENROL_QUEUE_MS = 24 * 3600 * 1000, /* since it asked last */
    ENROL_AGAIN_S = 5,                 /* what waits asks again after so long */
    ENROL_WRONG_MAX = 10,              /* wrong tokens of one network, */
    ENROL_WRONG_MS = 60 * 1000,        /* within this; then none of it is looked at until its end */
    ENROL_NETWORKS = 64,               /* that are counted so */
    ENROL_PEER_BYTES = NET_PEER_TEXT_BYTES
};

struct enrol;

/* All borrowed for life. */
struct enrol_setup {
    struct authority *authority;
    struct directory *directory;
    const struct enrol_makers *makers; /* NULL: none */
    struct slice ca_pem;               /* our authority: root and intermediate */
    void *ctx;
    void (*event)(void *ctx, const struct event *e);
    /* Is there such a role in the policy of now? */
    bool (*has_role)(void *ctx, struct slice role);
    /* For how long may a certificate be renewed after its end, as of now? */
    uint32_t (*grace_s)(void *ctx);
};

MUST_USE enum err enrol_new(const struct enrol_setup *s, struct enrol **ret);
struct enrol *enrol_free(struct enrol *d);
AUTOFREE(enrol, enrol_free)
/* enrol_set_ca - our authority's certificates, after a reload; borrowed for life. */
void enrol_set_ca(struct enrol *d, struct slice ca_pem);

/*
 * enrol_decide - fills the answer of e
 *
 * Returns whether the directory has changed: the answer leaves when the workers have that.
 * A few milliseconds: one commit of the directory, one of the authority's register.
 */
bool enrol_decide(struct enrol *d, struct enrolment *e, uint64_t now_ms, int64_t now_wall_ms);

/* ---- the queue ---- */

enum enrol_state { ENROL_PENDING, ENROL_APPROVED, ENROL_REJECTED };

struct enrol_waiting {
    uint64_t id; /* 0: a free row */
    enum enrol_state state;
    char name[PRINCIPAL_NAME_MAX + 1]; /* as the request says; nothing proves it */
    struct digest spki;
    struct net_peer peer; /* of the last time */
    int64_t first_wall_ms, last_wall_ms;
    uint64_t last_ms;
};

/* enrol_next - the next row: *at starts at 0; NULL at the end. */
const struct enrol_waiting *enrol_next(const struct enrol *d, size_t *at);

/* enrol_approve - a person says yes: the name gets this role. That it may have certificates for
 * this key is said to the authority by its own channel, between a call that only checks and the one
 * that does it. ERR_NOT_FOUND; ERR_EXISTS: a device of this name is there; ERR_MALFORMED: no such
 * role; what the directory says; *why in words. The directory has changed after OK. */
MUST_USE enum err enrol_approve(struct enrol *d, uint64_t id, struct slice role,
                                const struct principal_attr *attrs, size_t n_attrs, bool is_check,
                                int64_t now_wall_ms, struct why *why);
/* enrol_reject - it is told so, until it has not asked for ENROL_QUEUE_MS. ERR_NOT_FOUND. */
MUST_USE enum err enrol_reject(struct enrol *d, uint64_t id);

/* enrol_attrs - attributes out of a JSON object; NULL: none. ERR_MALFORMED, ERR_LIMIT with *why. */
MUST_USE enum err enrol_attrs(const json_t *o, struct principal_attr *dst, size_t cap,
                              size_t *ret_n, struct why *why);

#endif
