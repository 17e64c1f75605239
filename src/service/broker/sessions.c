/* Accounts and sessions whose home is this worker: how they begin, what becomes of a session that
 * has no connection, and how they end. */
#include <assert.h>

#include "service/broker/ceiling_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/group_private.h"
#include "service/broker/record_private.h"
#include "service/broker/replay_private.h"
#include "service/broker/sessions_private.h"
#include "service/broker/subscribe_private.h"
#include "service/broker/usage.h"
#include "service/broker/will_private.h"
#include "service/broker/worker_private.h"

/* ---- accounts ---- */

MUST_USE enum err account_of(struct worker *w, const struct principal *p, struct account **ret)
{
    struct account *a = map_find(&w->accounts, slice_of(&p->id, sizeof(p->id)));
    if (a == NULL) {
        TRY(account_new(w->realm->policy, p, w->realm->epoch, w->now_ms, &a));
        account_know(a, &w->people);
        a->load = &w->load;
        enum err err = map_add(&w->accounts, a);
        if (err != OK) {
            account_free(a);
            return err;
        }
    }
    *ret = a;
    return OK;
}

void account_drop_if_unused(struct worker *w, struct account *a)
{
    if (a->n_conns > 0 || a->sessions.n > 0 || a->n_retained > 0) {
        return;
    }
    bool may_return = !a->is_closed && !a->principal->is_anonymous;
    if (may_return && !account_is_rested(a, w->now_ms)) {
        w->has_tired_accounts = true; /* who reconnects does not get its budgets anew */
    } else {
        usage_leave(w, a);
        map_remove(&w->accounts, account_key(a));
        account_free(a);
    }
}

MUST_USE enum err worker_account(struct worker *w, const struct principal *principal,
                                 uint64_t now_ms, struct account **ret)
{
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    if (principal->status != PRINCIPAL_ACTIVE) {
        return ERR_DENIED;
    }
    struct account *a = NULL;
    TRY(account_of(w, principal, &a));
    a->n_conns++;
    *ret = a;
    return OK;
}

void worker_account_release(struct worker *w, struct account *a)
{
    a->n_conns--;
    account_drop_if_unused(w, a);
}

/* ---- sessions ---- */

MUST_USE enum err session_add(struct worker *w, struct account *a, uint64_t id,
                              struct slice client_id, bool is_durable, struct session **ret)
{
    struct session *s = NULL;
    TRY(session_new(id, a, client_id, is_durable, &s));
    enum err err = session_set_add(&a->sessions, &w->setup.key, s);
    if (err != OK) {
        session_free(s);
        return err;
    }
    w->n_sessions++;
    count_set(&counts(w)->sessions, w->n_sessions);
    *ret = s;
    return OK;
}

void session_forget(struct worker *w, struct session *s)
{
    subs_remove_all(w, &s->subscriber);
    session_disarm(w, s);
    session_set_remove(&s->account->sessions, s);
    session_free(s);
    w->n_sessions--;
    count_set(&counts(w)->sessions, w->n_sessions);
}

void session_end(struct worker *w, struct session *s)
{
    uint64_t lsn;
    will_fire(w, s, NULL); /* SPEC: MQTT5-3.1.2-8, MQTT3-3.1.2-8: however long its delay is */
    will_lose(w, s, "its session had to end");
    w->n_held -= s->is_held ? 1 : 0;
    subs_remove_all(w, &s->subscriber);
    enum err err = OK;
    /* While the bodies are on record, in the same handover. */
    if (groups_end_session(w, s)) {
        s->expiry_s = 0; /* a restart ends it, and passes on what waits; of who was removed it knows
                            nothing any more */
        err = s->account->is_closed ? OK : record_session(w, s, w->wall_ms, &lsn);
    } else if (s->is_on_record) {
        err = record_session_end(w, s->id, &lsn);
    }
    if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* it comes back at a restart, and ends then */
    }
    session_forget(w, s);
}

void session_over(struct worker *w, struct session *s)
{
    will_fire(w, s, NULL);
    if (s->rest->will == NULL || (!s->is_held && w->n_held == SESSIONS_HELD_MAX)) {
        session_end(w, s);
        return;
    }
    if (!s->is_held) {
        s->is_held = true;
        w->n_held++;
        subs_remove_all(w, &s->subscriber);
    }
    wheel_arm(&w->session_wheel, &s->rest->due, s->rest->will_at_ms);
}

void session_arm(struct worker *w, struct session *s)
{
    assert(session_has_rest(s));
    struct session_rest *r = s->rest;
    bool is_will_first = r->will != NULL && r->will_at_ms < r->ends_at_ms;
    wheel_arm(&w->session_wheel, &r->due, is_will_first ? r->will_at_ms : r->ends_at_ms);
}

void session_disarm(struct worker *w, struct session *s)
{
    if (session_has_rest(s)) {
        wheel_cancel(&w->session_wheel, &s->rest->due);
    }
}

void session_due(struct worker *w, struct session *s)
{
    struct account *a = s->account;
    if (s->rest->ends_at_ms <= w->now_ms) {
        session_over(w, s);
        account_drop_if_unused(w, a);
        return;
    }
    will_fire(w, s, NULL);
    session_arm(w, s);
}

/* SPEC: MQTT5 3.1.2.11.2 */
void session_fall_asleep(struct worker *w, struct session *s)
{
    uint64_t lsn;
    if (s->expiry_s == 0) {
        if (session_has_rest(s)) { /* and perhaps a will that keeps it */
            s->rest->ends_at_ms = w->now_ms;
        }
        session_over(w, s);
        return;
    }
    if (s->is_on_record && record_session(w, s, w->wall_ms, &lsn) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* after a restart it sleeps from then on */
    }
    s->rest->ends_at_ms = w->now_ms + (uint64_t)s->expiry_s * 1000;
    session_arm(w, s);
    groups_session_changed(w, s);
}

/* ---- the end of a connection ---- */

void conn_release_session(struct worker *w, struct conn *c, const char *why)
{
    struct session *s = c->session;
    struct account *a = c->account;
    if (s == NULL) {
        return;
    }
    struct event e = event_of(w, EVENT_disconnect, c);
    bool is_told = c->closed_for != MQTT_SUCCESS;
    event_reason(&e, "%s%s", is_told ? "closed by the server: " : "",
                 is_told ? mqtt_reason_name((uint8_t)c->closed_for)
                         : (c->is_clean_end ? "the client disconnected" : why));
    worker_report(w, &e);
    will_conn_ended(w, s, c);
    directory_left(w->realm->directory, a->principal, c->credential, w->wall_ms);
    c->session = NULL;
    c->account = NULL;
    s->conn = 0;
    count_add(&counts(w)->dropped_asleep, session_sleep(s));
    spill_slept(s);
    replays_forget(w, c, NULL);
    session_fall_asleep(w, s);
    a->n_conns--;
    account_drop_if_unused(w, a);
}
