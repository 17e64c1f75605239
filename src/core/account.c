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
    const struct role_limits *l = grants_limits(&a->grants);
    bool is_slow = (p->answers & PRINCIPAL_THROTTLED) != 0;
    a->is_quarantined = (p->answers & PRINCIPAL_QUARANTINED) != 0;
    /* Of no segment: nobody's message is for it, and no flow leads there. */
    a->segment = a->is_quarantined ? FLOW_SEGMENT_NONE : flow_segment_of(p);
    bucket_set(&a->publishes, is_slow ? throttled(l->publish_rate) : l->publish_rate,
               is_slow ? throttled(l->publish_burst) : l->publish_burst);
}

struct rate {
    uint32_t rate, burst;
};

static struct rate rate_of(const struct account *a, enum account_budget which)
{
    const struct role_limits *l = grants_limits(&a->grants);
    return which == ACCOUNT_CONNECTS ? (struct rate){l->connect_rate, l->connect_burst}
                                     : (struct rate){l->replay_rate, l->replay_rate};
}

/* With the rate and burst of now, cut to the burst. */
static struct bucket bucket_of(const struct account *a, enum account_budget which)
{
    const struct budget *left = &a->budgets[which];
    struct rate r = rate_of(a, which);
    struct bucket b = {.at_ms = left->at_ms, .millis = left->millis};
    bucket_set(&b, r.rate, r.burst);
    return b;
}

static void keep(struct account *a, enum account_budget which, const struct bucket *b)
{
    a->budgets[which] = (struct budget){.at_ms = b->at_ms, .millis = b->millis};
}

bool account_take(struct account *a, enum account_budget which, uint32_t n, uint64_t now_ms)
{
    struct bucket b = bucket_of(a, which);
    bool is_taken = bucket_take(&b, n, now_ms);
    keep(a, which, &b);
    return is_taken;
}

uint64_t account_wait_ms(const struct account *a, enum account_budget which, uint32_t n,
                         uint64_t now_ms)
{
    struct bucket b = bucket_of(a, which);
    return bucket_wait_ms(&b, n, now_ms);
}

uint32_t account_rate(const struct account *a, enum account_budget which)
{
    return rate_of(a, which).rate;
}

enum err account_new(const struct policy *policy, const struct principal *principal, uint64_t epoch,
                     uint64_t now_ms, struct account **ret)
{
    struct account *a = mem_zalloc(sizeof *a);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    enum err e = grants_init(&a->grants, policy, principal);
    if (e != OK) {
        mem_free(a);
        return e;
    }
    a->principal = principal_ref(principal);
    a->epoch = epoch;
    a->is_closed = principal->status != PRINCIPAL_ACTIVE;
    const struct role_limits *l = grants_limits(&a->grants);
    bucket_init(&a->publishes, l->publish_rate, l->publish_burst, now_ms);
    for (unsigned i = 0; i < ACCOUNT_BUDGETS; i++) {
        struct bucket b;
        bucket_init(&b, rate_of(a, i).rate, rate_of(a, i).burst, now_ms);
        keep(a, i, &b);
    }
    take_answers(a);
    *ret = a;
    return OK;
}

void account_know(struct account *a, const struct people *people)
{
    grants_know(&a->grants, people);
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
    mem_free(a->heard);
    session_set_done(&a->sessions);
    grants_done(&a->grants);
    principal_unref(a->principal);
    return mem_free(a);
}

bool account_is_rested(const struct account *a, uint64_t now_ms)
{
    return account_wait_ms(a, ACCOUNT_CONNECTS, rate_of(a, ACCOUNT_CONNECTS).burst, now_ms) == 0 &&
           bucket_wait_ms(&a->publishes, a->publishes.burst, now_ms) == 0 &&
           account_wait_ms(a, ACCOUNT_REPLAYS, rate_of(a, ACCOUNT_REPLAYS).burst, now_ms) == 0;
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
    struct grants grants;
    enum err err = grants_init(&grants, policy, principal);
    if (err != OK) {
        a->is_stale = true;
        return err;
    }
    grants_know(&grants, grants_people(&a->grants));
    grants_done(&a->grants);
    a->grants = grants;
    a->epoch = epoch;
    principal_ref(principal);
    principal_unref(a->principal);
    a->principal = principal;
    take_answers(a);
    for (unsigned i = 0; i < ACCOUNT_BUDGETS; i++) {
        struct bucket b = bucket_of(a, i);
        keep(a, i, &b);
    }
    a->is_closed = principal->status != PRINCIPAL_ACTIVE;
    return OK;
}

struct slice account_key(const void *account)
{
    const struct account *a = account;
    return slice_of(&a->principal->id, sizeof a->principal->id);
}
