#include "core/account.h"

#include <assert.h>

#include "base/mem.h"
#include "core/flow.h"

enum { THROTTLE_PART = 10, THROTTLE_UNLIMITED = 10 };

/* A tenth of what the role may, never nothing. */
static uint32_t throttled(uint32_t most)
{
    return most == 0 ? THROTTLE_UNLIMITED : (most + THROTTLE_PART - 1) / THROTTLE_PART;
}

/* What the answers to its misuse make of it, besides `is_closed`. */
static void take_answers(struct account *a)
{
    const struct principal *p = a->principal;
    const struct role_limits *l = grants_limits(a->grants);
    bool is_slow = (p->answers & PRINCIPAL_THROTTLED) != 0;
    a->is_quarantined = (p->answers & PRINCIPAL_QUARANTINED) != 0;
    /* Of no segment: nobody's message is for it, and no flow leads there. */
    a->segment = a->is_quarantined ? FLOW_SEGMENT_NONE : flow_segment_of(p);
    bucket_set(&a->publishes, is_slow ? throttled(l->publish_rate) : l->publish_rate,
               is_slow ? throttled(l->publish_burst) : l->publish_burst);
}

enum err account_new(const struct policy *policy, const struct principal *principal, uint64_t epoch,
                     uint64_t now_ms, struct account **ret)
{
    struct account *a = mem_zalloc(sizeof *a);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    enum err e = grants_new(policy, principal, &a->grants);
    if (e != OK) {
        mem_free(a);
        return e;
    }
    a->principal = principal_ref(principal);
    a->epoch = epoch;
    a->is_closed = principal->status != PRINCIPAL_ACTIVE;
    const struct role_limits *l = grants_limits(a->grants);
    bucket_init(&a->connects, l->connect_rate, l->connect_burst, now_ms);
    bucket_init(&a->publishes, l->publish_rate, l->publish_burst, now_ms);
    bucket_init(&a->replays, l->replay_rate, l->replay_rate, now_ms);
    take_answers(a);
    *ret = a;
    return OK;
}

void account_know(struct account *a, const struct people *people)
{
    grants_know(a->grants, people);
}

struct account *account_free(struct account *a)
{
    if (a == NULL) {
        return NULL;
    }
    assert(a->sessions.n == 0);
    if (a->usage != NULL) {
        list_unlink(&a->usage->node);
        mem_free(a->usage);
    }
    session_set_done(&a->sessions);
    grants_free(a->grants);
    principal_unref(a->principal);
    return mem_free(a);
}

bool account_is_rested(const struct account *a, uint64_t now_ms)
{
    return bucket_wait_ms(&a->connects, a->connects.burst, now_ms) == 0 &&
           bucket_wait_ms(&a->publishes, a->publishes.burst, now_ms) == 0 &&
           bucket_wait_ms(&a->replays, a->replays.burst, now_ms) == 0;
}

enum err account_renew(struct account *a, const struct policy *policy,
                       const struct principal *principal, uint64_t epoch)
{
    /* Closed until the new rights are in force: a failure leaves no old ones behind. */
    a->is_closed = true;
    a->is_stale = false;
    if (principal == NULL) {
        a->epoch = epoch;
        return OK;
    }
    assert(principal->id == a->principal->id);
    struct grants *grants = NULL;
    enum err err = grants_new(policy, principal, &grants);
    if (err != OK) {
        a->is_stale = true;
        return err;
    }
    grants_know(grants, grants_people(a->grants));
    grants_free(a->grants);
    a->grants = grants;
    a->epoch = epoch;
    principal_ref(principal);
    principal_unref(a->principal);
    a->principal = principal;
    const struct role_limits *l = grants_limits(grants);
    bucket_set(&a->connects, l->connect_rate, l->connect_burst);
    take_answers(a);
    bucket_set(&a->replays, l->replay_rate, l->replay_rate);
    a->is_closed = principal->status != PRINCIPAL_ACTIVE;
    return OK;
}

struct slice account_key(const void *account)
{
    const struct account *a = account;
    return slice_of(&a->principal->id, sizeof a->principal->id);
}
