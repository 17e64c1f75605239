/*
 * account - what a home worker keeps for one principal: the rights in force, the budgets, the
 * sessions.
 *
 * All quotas of a principal live in one place, its home worker (docs/ORDER.md, rule 1).
 */
#ifndef CORE_ACCOUNT_H
#define CORE_ACCOUNT_H

#include "core/policy.h"
#include "core/quota.h"
#include "core/session_set.h"
#include "core/usage.h"

/* What waits in the sessions of all accounts of a worker. */
struct queue_load {
    uint64_t messages, bytes;
};

/* A bucket (core/quota.h) whose rate and burst the role knows. */
struct budget {
    uint64_t at_ms, millis;
};

enum account_budget {
    ACCOUNT_CONNECTS, /* connections, and associations that begin */
    ACCOUNT_REPLAYS,  /* retained messages for its new subscriptions */
    ACCOUNT_BUDGETS
};

/* By CoAP: service/broker/usage.c. */
struct account_heard {
    uint64_t by;      /* the association that spoke last; 0: none, or its address is new */
    uint64_t told_ms; /* when the detectors heard of it */
    uint32_t from;    /* hash of that address; 0: none */
};

struct account {
    const struct principal *principal; /* shared */
    struct grants grants;              /* compiled for this principal at `epoch` */
    uint64_t epoch;                    /* policy epoch of the grants */
    uint64_t flow_told_epoch;          /* a message that must not pass was reported in this epoch */
    uint32_t segment;                  /* of the principal: core/flow.h */
    uint32_t n_conns;                  /* connections and associations that use it */
    struct bucket publishes;           /* the other budgets: account_take */
    struct budget budgets[ACCOUNT_BUDGETS];
    uint32_t n_retained;
    bool is_quarantined;  /* what it publishes goes to QUARANTINE_ROOT, and it hears nothing */
    bool is_closed;       /* disabled, revoked, removed or stale: nothing is allowed */
    bool has_new_devices; /* of a gateway: an assignment changed, its subscriptions are due */
    bool is_stale;        /* its rights could not be renewed yet: what it may have is not known */
    uint64_t queued_bytes;
    struct queue_load *load; /* of the worker, borrowed: charged too. NULL: nobody counts */
    struct session_set sessions;
    struct usage *usage;         /* NULL: it has published nothing yet */
    struct account_heard *heard; /* owned; NULL: it has not spoken by CoAP */
};

/* account_new - shares principal, compiles grants. ERR_NOMEM. */
MUST_USE enum err account_new(const struct policy *policy, const struct principal *principal,
                              uint64_t epoch, uint64_t now_ms, struct account **ret);
/* account_know - whom its rights are looked up with when it is a gateway; borrowed for life, kept
 * over account_renew. */
void account_know(struct account *a, const struct people *people);
/* account_free - its sessions must be gone. */
struct account *account_free(struct account *a);
/* account_take, account_wait_ms - as bucket_take and bucket_wait_ms; account_rate - of that budget,
 * a second. */
bool account_take(struct account *a, enum account_budget which, uint32_t n, uint64_t now_ms);
uint64_t account_wait_ms(const struct account *a, enum account_budget which, uint32_t n,
                         uint64_t now_ms);
uint32_t account_rate(const struct account *a, enum account_budget which);
/* account_is_rested - its budgets are full again, so a new account would be the same as this one.
 */
bool account_is_rested(const struct account *a, uint64_t now_ms);
/* account_renew - the policy or the principal changed: new grants, new limits, same budgets spent.
 * principal NULL: it was removed, the account closes. ERR_NOMEM: the account closes (failure
 * closes), is stale and keeps its older epoch: the caller tries again. */
MUST_USE enum err account_renew(struct account *a, const struct policy *policy,
                                const struct principal *principal, uint64_t epoch);
struct slice
account_key(const void *account); /* map key: the principal's id, 8 bytes of the principal struct */

#endif
