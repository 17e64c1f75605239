/* What was read back, into the present: ends that were missed, interest, the policy of now, wills.
 */
#include "base/mem.h"
#include "service/broker/aside_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/record_private.h"
#include "service/broker/restore_private.h"
#include "service/broker/route_private.h"
#include "service/broker/sessions_private.h"
#include "service/broker/will_private.h"

enum { RESTORE_TURNS_MAX = 1000000 };

static void begin_above(struct restore *r, const struct store_ids *ids)
{
    for (unsigned i = 0; i < r->n; i++) {
        r->workers[i]->next_session = (ids->session >> WORKER_ID_BITS) + 1;
        r->workers[i]->next_body = (ids->body >> WORKER_ID_BITS) + 1;
        r->workers[i]->next_set_aside = (ids->set_aside >> WORKER_ID_BITS) + 1;
    }
    _Atomic uint64_t *number = r->workers[0]->setup.retained_counter;
    if (atomic_load_explicit(number, memory_order_relaxed) < ids->retained) {
        atomic_store_explicit(number, ids->retained, memory_order_relaxed);
    }
}

/* What is not there any more, and who is not connected any more, is said so in the store. */
static enum err record_ends(struct restore *r)
{
    uint64_t lsn;
    const uint64_t *ended = (const uint64_t *)(const void *)r->ended.p;
    for (size_t i = 0; i < r->ended.n / sizeof(*ended); i++) {
        TRY(progress_check(r->progress));
        TRY(record_session_end(r->workers[0], ended[i], &lsn));
    }
    const uint64_t *asides = (const uint64_t *)(const void *)r->ended_asides.p;
    for (size_t i = 0; i < r->ended_asides.n / sizeof(*asides); i++) {
        TRY(progress_check(r->progress));
        TRY(record_set_aside_end(r->workers[0], asides[i]));
    }
    const struct restore_note *notes = (const struct restore_note *)(const void *)r->notes.p;
    for (size_t i = 0; i < r->notes.n / sizeof(*notes); i++) {
        TRY(progress_check(r->progress));
        if (notes[i].seq > 0) {
            record_drop(notes[i].home, notes[i].s, notes[i].seq, (uint8_t)EVENT_store_integrity);
        } else {
            TRY(record_session(notes[i].home, notes[i].s, r->wall_ms, &lsn));
        }
    }
    return OK;
}

/* Both ends of every subscription are judged under the policy of now. */
static enum err judge(struct restore *r)
{
    progress_begin(r->progress, "principals judged", 0);
    for (unsigned i = 0; i < r->n; i++) {
        size_t at = 0;
        struct account *a;
        while ((a = map_next(&r->workers[i]->accounts, &at)) != NULL) {
            TRY(progress_step(r->progress));
            if (!a->is_closed) { /* else nothing reaches it, and enabling it brings all back */
                recheck_subs(r->workers[i], a);
            }
        }
    }
    return OK;
}

struct telling {
    const struct restore *r;
    unsigned from;
    enum err err;
};

static void tell_one(void *ctx, struct slice filter, bool durable)
{
    struct telling *t = ctx;
    t->err = t->err == OK ? progress_step(t->r->progress) : t->err;
    for (unsigned i = 0; i < t->r->n; i++) {
        if (i != t->from && t->err == OK) {
            t->err = filters_set_remote(t->r->workers[i]->filters, filter, t->from, true, durable);
        }
    }
}

static enum err tell_interest(const struct restore *r)
{
    progress_begin(r->progress, "filters told to the other workers", 0);
    for (unsigned i = 0; i < r->n; i++) {
        struct telling t = {.r = r, .from = i};
        filters_each_local(r->workers[i]->filters, tell_one, &t);
        TRY(t.err);
    }
    return OK;
}

/* Whoever had it has it; everybody else who wants it now gets it. After that nobody owes anything
 * about this body. */
static enum err match_again(struct restore *r, uint64_t body_id, const uint64_t *sessions, size_t n)
{
    struct restore_body *b = restore_body_of(r, body_id);
    uint64_t lsn;
    if (b == NULL) {
        return OK;
    }
    TRY(restore_body_whole(r, b)); /* a group's, for one */
    for (unsigned i = 0; i < r->n; i++) {
        TRY(fan_missed(r->workers[i], b->msg, sessions, n));
    }
    for (unsigned i = 0; i < r->n;
         i++) { /* before the answer: without these it would end the body */
        journal_handover(r->workers[i]->setup.journal, true);
    }
    buf_clear(&r->workers[0]->record);
    for (unsigned i = 0; i < FILTERS_WORKERS_MAX; i++) {
        if ((b->owed >> i & 1) != 0) {
            TRY(record_deliver(r->workers[0], body_id, i, &lsn));
        }
    }
    r->report->rematched++;
    return OK;
}

static enum err match_missed(struct restore *r)
{
    const uint64_t *at = (const uint64_t *)(const void *)r->missed.p;
    progress_begin(r->progress, "messages matched again", 0);
    for (size_t i = 0; i < r->missed.n / sizeof(*at);) {
        size_t n = (size_t)at[i + 1];
        TRY(progress_step(r->progress));
        TRY(match_again(r, at[i], at + i + 2, n));
        i += 2 + n;
    }
    return OK;
}

/* A will that is still on record has not been published: its connection ended with the process, or
 * its delay has not passed yet. */
static enum err publish_wills(struct restore *r)
{
    progress_begin(r->progress, "sessions asked for their wills", 0);
    for (unsigned i = 0; i < r->n; i++) {
        struct worker *w = r->workers[i];
        size_t at = 0;
        struct account *a;
        while ((a = map_next(&w->accounts, &at)) != NULL) {
            size_t session_at = 0;
            struct session *s;
            while ((s = session_set_next(&a->sessions, &session_at)) != NULL) {
                TRY(progress_step(r->progress));
                if (s->rest->will_at_ms <= w->now_ms) {
                    will_fire(w, s, NULL);
                }
            }
        }
    }
    return OK;
}

/* Sessions whose time is over: their wills are published, and what other members of their groups
 * may have goes there. */
static enum err end_sessions(const struct restore *r)
{
    progress_begin(r->progress, "sessions asked whether they are over", 0);
    for (unsigned i = 0; i < r->n; i++) {
        struct worker *w = r->workers[i];
        size_t at = 0;
        struct account *a;
        while ((a = map_next(&w->accounts, &at)) != NULL) {
            size_t session_at = 0;
            struct session *s;
            while ((s = session_set_next(&a->sessions, &session_at)) != NULL) {
                TRY(progress_step(r->progress));
                if (s->expiry_s == 0) {
                    session_over(w, s);
                }
            }
            account_drop_if_unused(w, a);
        }
    }
    return OK;
}

static bool is_quiet(const struct worker *w)
{
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        if (w->setup.from[i] != NULL && ring_count(w->setup.from[i]) > 0) {
            return false;
        }
    }
    return !outboxes_are_full(w, 1);
}

static enum err run_until_quiet(const struct restore *r)
{
    bool all = false;
    for (unsigned round = 0; !all && round < RESTORE_TURNS_MAX; round++) {
        TRY(progress_check(r->progress));
        all = true;
        for (unsigned i = 0; i < r->n; i++) {
            worker_turn(r->workers[i], r->now_ms, r->wall_ms);
        }
        for (unsigned i = 0; i < r->n; i++) {
            all = all && is_quiet(r->workers[i]);
        }
    }
    return OK;
}

MUST_USE enum err restore_finish(struct restore *r, const struct store_ids *ids)
{
    restore_leave_session(r);
    begin_above(r, ids);
    TRY(record_ends(r));
    TRY(tell_interest(r));
    TRY(judge(r));
    TRY(run_until_quiet(r)); /* all know the members of all groups */
    TRY(end_sessions(r));
    TRY(run_until_quiet(r));
    TRY(match_missed(r));
    TRY(publish_wills(r));
    TRY(run_until_quiet(r));
    for (unsigned i = 0; i < r->n; i++) {
        asides_report(r->workers[i]);
    }
    return OK;
}
