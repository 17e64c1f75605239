/* A message on its way: to the queues of local sessions, to other workers, to the journal.
 * docs/ORDER.md, rules 3 to 5, 7 and 8. */
#include "base/plant.h"
#include "service/broker/commit_private.h"
#include "service/broker/group_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/record_private.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"

enum {
    OVERFLOW_DROP = 16384 /* messages waiting for a full ring: QoS 0 is dropped above this */
};

/* Where a message goes, decided before anything is done: what comes after can fail at the journal
 * alone. */
struct plan {
    struct match match;
    struct choice choice; /* of members of groups on other workers */
    uint64_t to, owed;    /* bits of other workers; those whose deliver record is waited for */
};

/* As if its publisher had said so: everybody is told the same. */
static void set_life(struct worker *w, struct msg *m)
{
    struct account *a = map_find(&w->accounts, slice_of(&m->publisher, sizeof(m->publisher)));
    uint32_t ttl_s = a != NULL ? grants_limits(&a->grants)->retained_ttl_s : 0;
    if (m->payload.n > 0 && m->expires_at_ms == UINT64_MAX && ttl_s > 0) {
        m->expires_at_ms = w->now_ms + (uint64_t)ttl_s * 1000;
    }
}

static enum err plan_route(struct worker *w, const struct route *r, struct plan *p)
{
    struct msg *m = r->m;
    if (m->retain) {
        set_life(w, m);
    }
    TRY(filters_match(w->filters, m->topic, r->from, &p->match));
    if (p->match.n_groups > 0) {
        TRY(groups_choose(w, m, &p->match, &p->choice));
    }
    p->to = m->retain ? others(w) : p->match.remote_any | w->wants_all | p->choice.to;
    p->owed = m->qos > 0 ? p->match.remote_durable | w->wants_all | p->choice.owed : 0;
    if (m->retain || p->owed != 0 || (m->qos > 0 && p->match.local_durable)) {
        m->body_id = worker_id(w, &w->next_body);
    }
    if (m->retain) {
        m->number =
            atomic_fetch_add_explicit(w->setup.retained_counter, 1, memory_order_relaxed) + 1;
    }
    if (p->to != 0) {
        TRY(outbox_reserve(w, p->to));
    }
    if (r->token != 0 || m->body_id != 0) {
        TRY(pending_reserve(w, 1 + fan_pending(m, &p->match)));
    }
    return OK;
}

/* The body is on record and must not be: nobody answers for it, so nobody is waited for. */
static void disown_body(struct worker *w, const struct msg *m, uint64_t owed)
{
    uint64_t lsn;
    buf_clear(&w->record);
    for (unsigned i = 0; owed >> i != 0; i++) {
        if ((owed >> i & 1) != 0 && record_deliver(w, m->body_id, i, &lsn) != OK) {
            count_add(&counts(w)->dropped_memory, 1);
        }
        if (i == FILTERS_WORKERS_MAX - 1) {
            break;
        }
    }
}

/* All that may want memory but the records comes first: what is refused should be on none, for a
 * retained one counts from its body on. */
static enum err record_parts(struct worker *w, const struct msg *m, const struct plan *p,
                             uint64_t *ret_lsn)
{
    bool is_local = m->qos > 0 && p->match.local_durable;
    if (is_local) {
        TRY(fan_gather(w, m, &p->match));
    }
    enum err err = record_body(w, m, p->owed, ret_lsn);
    if (err != OK && is_local) {
        fan_take_back(w);
    }
    if (err == OK && is_local) {
        err = fan_record(w, m, w->setup.index, false, ret_lsn);
        if (err != OK) {
            disown_body(w, m, p->owed);
        }
    }
    return err;
}

static enum err record_message(struct worker *w, const struct route *r, const struct plan *p,
                               uint64_t *ret_lsn)
{
    const struct msg *m = r->m;
    if (m->body_id == 0) {
        return OK;
    }
    if (m->retain) { /* what is on record as retained must be so here, too */
        TRY(retained_reserve(w->retained, m));
    }
    uint64_t lsn = 0;
    enum err err = record_parts(w, m, p, &lsn);
    if (err != OK && m->retain) {
        retained_release(w->retained, m);
    }
    TRY(err);
    if (m->retain) {
        TRY(retain_locally(w, m));
    }
    *ret_lsn = lsn;
    return OK;
}

/* All that is written about this message, for one handover. *ret_lsn: the last of it; 0: nothing.
 */
static enum err record_route(struct worker *w, const struct route *r, const struct plan *p,
                             uint64_t *ret_lsn)
{
    uint64_t lsn = 0, settled;
    if (r->inbound != NULL) {
        TRY(record_packet(w, JOURNAL_INBOUND, r->inbound, r->packet_id, &lsn));
    }
    enum err err = record_message(w, r, p, &lsn);
    if (err != OK) {
        if (r->inbound != NULL &&
            record_packet(w, JOURNAL_RELEASED, r->inbound, r->packet_id, &settled) != OK) {
            count_add(&counts(w)->dropped_memory, 1);
        }
        return err;
    }
    if (r->will_of != NULL && !PLANTED(PLANT_WILL_AGAIN) &&
        record_will(w, r->will_of, NULL, 0, &settled) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* after a restart it is published again */
    }
    *ret_lsn = lsn;
    return OK;
}

/* True: the last of them has the caller's reference, too, so nobody counts at two places. */
static bool send_others(struct worker *w, const struct route *r, const struct plan *p)
{
    const struct msg *m = r->m;
    if (p->to == 0) {
        return false;
    }
    if (m->qos == 0 && outboxes_are_full(w, OVERFLOW_DROP)) {
        count_add(&counts(w)->dropped_ring, 1);
        return false;
    }
    if (m->qos > 0 && (m->body_id != 0 || r->inbound != NULL)) {
        /* What they record stands on the body, and on the packet id, or it comes in again. */
        worker_handover(w);
    }
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        uint64_t bit = (uint64_t)1 << i;
        if ((p->to & bit) == 0) {
            continue;
        }
        bool is_owed = (p->owed & bit) != 0, is_last = p->to >> i == 1;
        struct wmsg out = {.kind = WMSG_PUBLISH,
                           .durable = is_owed,
                           .debtor = (uint8_t)i,
                           .asker = (uint8_t)w->setup.index,
                           .token = is_owed ? r->token : 0,
                           .chosen = chosen_ref(p->choice.chosen),
                           .msg = is_last ? m : msg_ref(m)};
        if (outbox_push(w, i, &out) != OK) {
            wmsg_done(&out); /* not reached: there is room */
            count_add(&counts(w)->dropped_memory, 1);
        }
    }
    return true;
}

MUST_USE enum err publish_route(struct worker *w, const struct route *r)
{
    struct plan p = {0};
    uint64_t lsn = 0;
    bool is_given = false;
    enum err err = plan_route(w, r, &p);
    if (err == OK) {
        err = record_route(w, r, &p, &lsn);
    }
    if (err == OK) {
        fan_others(w, r->m, &p.match);
        struct pending wait = {.lsn = lsn, .action = PENDING_TOKEN, .id = r->token};
        if (r->token != 0 && lsn > 0 && !PLANTED(PLANT_ACK_BEFORE_COMMIT)) {
            err = pending_add(w, &wait);
            token_open(w, r->token, 1 + (uint32_t)__builtin_popcountll(p.owed));
        }
        bool is_offered = topic_is_reserved(r->m->topic);
        const struct msg *kept = is_offered ? msg_ref(r->m) : NULL;
        is_given = send_others(w, r, &p);
        if (is_offered) {
            desk_offer(w, kept);
            msg_unref(kept);
        }
    }
    chosen_unref(p.choice.chosen);
    if (!is_given) {
        msg_unref(r->m);
    }
    return err;
}

/* The other worker waits for what this one records; whatever its publisher was to be promised, it
 * is not. */
static void remote_failed(struct worker *w, const struct wmsg *in)
{
    struct wmsg failed = {.kind = WMSG_TOKEN, .token = in->token, .id = 1};
    count_add(&counts(w)->dropped_memory, 1);
    if (in->token != 0 && in->asker == w->setup.index) {
        token_fail(w, in->token);
    } else if (in->token != 0 && outbox_push(w, in->asker, &failed) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* it waits until its connection ends */
    }
}

/* What goes on to a member of another worker takes the debt of this one along: the body stays until
 * that worker has written its record, needs no room for another, and nobody is answered before. */
static enum err take_here(struct worker *w, const struct wmsg *in, struct choice *onward)
{
    const struct msg *m = in->msg;
    struct match match;
    uint64_t lsn = 0;
    TRY(filters_match(w->filters, m->topic, NULL, &match));
    TRY(groups_chosen(w, in, &match, onward));
    bool goes_on = onward->chosen != NULL;
    bool is_owed = in->durable && (!goes_on || PLANTED(PLANT_GROUP_UNOWED));
    TRY(outbox_reserve(w, onward->to));
    if (in->token != 0 || m->body_id != 0) {
        TRY(pending_reserve(w, 1 + fan_pending(m, &match)));
    }
    if (m->body_id != 0 && (is_owed || (m->qos > 0 && match.local_durable))) {
        TRY(fan_durable(w, m, &match, is_owed ? in->debtor : in->asker, is_owed, &lsn));
    }
    fan_others(w, m, &match);
    if (goes_on) {
        group_send_on(w, in, onward->chosen, in->durable && !is_owed);
    }
    struct pending p = {.lsn = lsn, .action = PENDING_REMOTE, .worker = in->asker, .id = in->token};
    if (in->asker == w->setup.index) {
        p.action = PENDING_TOKEN; /* it came back to where its publisher is */
    }
    return is_owed && in->token != 0 ? pending_add(w, &p) : OK;
}

static enum err take_remote(struct worker *w, const struct wmsg *in)
{
    struct choice onward = {0};
    enum err err = take_here(w, in, &onward);
    chosen_unref(onward.chosen);
    return err;
}

/* A message of another worker's publisher. The other workers retain it, and the store: this one has
 * no choice. What somebody durable wants is not refused for want of memory either: others have it
 * already, and would get it twice when its publisher tries again. SPEC: docs/ORDER.md rules 4, 8 */
MUST_USE enum err publish_remote(struct worker *w, const struct wmsg *in)
{
    if (in->msg->retain && !in->is_for_groups) {
        TRY(retain_locally(w, in->msg));
    }
    enum err err = take_remote(w, in);
    if (err == ERR_NOMEM && in->durable) {
        return err;
    }
    if (err != OK) {
        remote_failed(w, in);
    }
    msg_unref(in->msg);
    chosen_unref(in->chosen);
    return OK;
}
