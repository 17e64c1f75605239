/* A new realm binds what is alive: accounts, subscriptions, connections. docs/ORDER.md, rules 9
 * and 10. */
#include "core/filters.h"
#include "core/groups.h"
#include "service/broker/aside_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/login_private.h"
#include "service/broker/route_private.h"
#include "service/broker/sessions_private.h"
#include "service/broker/subscribe_private.h"
#include "service/broker/worker_private.h"
#include "service/directory/late.h"

/* ---- gateways: whom they speak for ---- */

static const struct principal *principal_of(const struct directory_entry *e)
{
    return e != NULL ? e->principal : NULL;
}

static const struct principal *person_by_name(void *ctx, struct slice name)
{
    const struct worker *w = ctx;
    return principal_of(directory_find(w->realm->directory, name));
}

static const struct principal *person_by_id(void *ctx, uint64_t id)
{
    const struct worker *w = ctx;
    return principal_of(directory_find_id(w->realm->directory, id));
}

void people_init(struct worker *w)
{
    w->people = (struct people){.ctx = w, .by_name = person_by_name, .by_id = person_by_id};
}

static void mark_gateway(struct worker *w, const struct principal *device)
{
    uint64_t id = device != NULL ? device->gateway : 0;
    struct account *a = id != 0 ? map_find(&w->accounts, slice_of(&id, sizeof(id))) : NULL;
    if (a != NULL) {
        a->has_new_devices = true;
    }
}

/* A device that came, went or changed: who speaks for it, or spoke for it, is judged again. */
static enum err mark_changed(void *ctx, const struct directory_entry *before,
                             const struct directory_entry *after)
{
    mark_gateway(ctx, principal_of(before));
    mark_gateway(ctx, principal_of(after));
    return OK;
}

/* ---- accounts ---- */

/* What of it may be sent now was held: it is not in quarantine any more. */
static void wake_conns_of(struct worker *w, const struct account *a)
{
    for (size_t i = 0; i < w->n_slots; i++) {
        if (w->conns[i] != NULL && w->conns[i]->account == a && w->conns[i]->phase == CONN_OPEN) {
            conn_mark_dirty(w, w->conns[i]);
        }
    }
}

static const char *why_closed(const struct principal *p)
{
    bool is_answered = (p->answers & PRINCIPAL_SHUT_OUT) != 0;
    return p->status != PRINCIPAL_ACTIVE && is_answered
               ? "is shut out by a response: its connection was closed"
           : p->status == PRINCIPAL_ACTIVE && p->step_up != 0
               ? "must prove itself anew, by a response: its connection was closed"
               : "is not active any more: its connection was closed";
}

static void close_conns_of(struct worker *w, const struct account *a)
{
    for (size_t i = 0; i < w->n_slots; i++) {
        struct conn *c = w->conns[i];
        if (c != NULL && c->account == a && c->phase == CONN_OPEN) {
            struct event e = event_of(w, EVENT_revoked, c);
            e.is_unasked = true;
            event_reason(&e, "%s %s", a->principal->name, why_closed(a->principal));
            worker_report(w, &e);
            conn_close(w, c, MQTT_NOT_AUTHORIZED);
        }
    }
}

/* A subscription that no grant covers any more ends; what it queued is asked about when it would
 * leave. */
void recheck_subs(struct worker *w, struct account *a)
{
    size_t at = 0;
    struct session *s;
    struct decision why;
    while ((s = session_set_next(&a->sessions, &at)) != NULL) {
        if (session_has_queue(s)) {
            s->queue->judged_seq = s->next_seq;
        }
        list_for_each_safe (n, next, &s->subscriber.subs) {
            struct sub *sub = LIST_ENTRY(n, struct sub, in_subscriber);
            if (passage_deliver(a, sub, &why) == OK) {
                continue;
            }
            struct event e = event_of(w, EVENT_acl_deny, conn_find(w, s->conn));
            e.is_unasked = true;
            EVENT_TEXT(&e, principal, slice_text(a->principal->name));
            EVENT_TEXT(&e, client_id, session_client_id(s));
            EVENT_TEXT(&e, target, sub_text(sub));
            event_reason(&e, "the subscription ended with the new policy or assignment: %s",
                         why.rule);
            worker_report(w, &e);
            unsub_recorded(w, s, sub_text(sub));
            sub_remove(w, sub);
        }
    }
}

/* A removed principal leaves nothing behind: its sleeping sessions end. */
static void end_sessions_of(struct worker *w, struct account *a)
{
    size_t at = 0;
    struct session *s;
    while ((s = session_set_next(&a->sessions, &at)) != NULL) {
        if (s->conn == 0) {
            session_end(w, s);
        } else {
            s->expiry_s = 0; /* with its connection */
        }
    }
}

static void renew_account(struct worker *w, struct account *a, bool policy_changed)
{
    const struct principal *now = a->principal;
    if (a->principal->is_late) {
        const struct directory_entry *entry = late_entry(w->realm->directory, a->principal);
        bool is_active = entry != NULL && entry->principal->status == PRINCIPAL_ACTIVE;
        now = is_active ? a->principal : NULL;
    } else if (!a->principal->is_anonymous) {
        const struct directory_entry *entry =
            directory_find(w->realm->directory, slice_text(a->principal->name));
        now = entry != NULL && entry->principal->id == a->principal->id ? entry->principal : NULL;
    }
    bool has_new_devices = a->has_new_devices && grants_is_gateway(&a->grants);
    a->has_new_devices = false;
    if (now == a->principal && !policy_changed) {
        a->epoch = w->realm->epoch;
        if (has_new_devices && !a->is_closed) {
            recheck_subs(w, a);
        }
        return;
    }
    bool steps_up = now != NULL && now->step_up != 0 && now->step_up != a->principal->step_up;
    bool was_quarantined = a->is_quarantined;
    enum err err = account_renew(a, w->realm->policy, now, w->realm->epoch);
    w->has_stale_accounts = w->has_stale_accounts || err != OK;
    bool inactive = now == NULL || now->status != PRINCIPAL_ACTIVE;
    if (err != OK || inactive) {
        a->is_closed = true; /* failure closes */
        close_conns_of(w, a);
    } else {
        recheck_subs(w, a);
        if (steps_up) {
            close_conns_of(w, a);
        } else if (was_quarantined && !a->is_quarantined) {
            wake_conns_of(w, a);
        }
    }
    if (now == NULL) {
        end_sessions_of(w, a);
    }
}

void accounts_retry(struct worker *w)
{
    if (!w->has_stale_accounts) {
        return;
    }
    w->has_stale_accounts = false; /* set again by each that has to wait on */
    size_t at = 0;
    struct account *a;
    while ((a = map_next(&w->accounts, &at)) != NULL) {
        if (a->epoch != w->realm->epoch) {
            renew_account(w, a, true);
        }
    }
}

/* Who came in with a credential that was replaced must come back with the new one. */
static void close_replaced(struct worker *w)
{
    for (size_t i = 0; i < w->n_slots; i++) {
        struct conn *c = w->conns[i];
        if (c == NULL || c->phase == CONN_CLOSING || c->account == NULL ||
            credential_stands(w, c, c->account->principal)) {
            continue;
        }
        if (!c->login->lane.is_late && c->credential != 0 &&
            late_is(c->login->lane.ends_wall_ms, w->wall_ms)) {
            lane_is_over(w, c);
            continue;
        }
        struct event e = event_of(w, EVENT_revoked, c);
        e.is_unasked = true;
        event_reason(&e, conn_is_taken_back(w, c)
                             ? "the certificate it connected with is revoked. Give it a new one"
                             : "the credential it connected with was replaced or revoked. Use the "
                               "newest bundle");
        worker_report(w, &e);
        conn_close(w, c, MQTT_NOT_AUTHORIZED);
    }
}

/* What came in by a plain entrance whose exception has ended must go. */
static void close_plain(struct worker *w)
{
    for (size_t i = 0; i < w->n_slots; i++) {
        struct conn *c = w->conns[i];
        if (c == NULL || c->phase == CONN_CLOSING) {
            continue;
        }
        bool is_anonymous = c->account != NULL && c->account->principal->is_anonymous;
        if (!entrance_is_open(w, c->entrance, is_anonymous)) {
            struct event e = event_of(w, EVENT_exception, c);
            event_reason(&e, "the exception that let this connection in has ended");
            worker_report(w, &e);
            conn_close(w, c, MQTT_ADMINISTRATIVE_ACTION);
        }
    }
}

void realm_changed(struct worker *w, const struct realm *realm)
{
    const struct realm *old = w->realm;
    bool policy_changed = old->policy != realm->policy;
    w->realm = realm; /* the message's reference becomes ours */
    publishers_clear(w);
    enum err err = directory_changes(old->directory, realm->directory, mark_changed, w);
    (void)err; /* mark_changed has none */
    size_t at = 0;
    struct account *a;
    while ((a = map_next(&w->accounts, &at)) != NULL) {
        renew_account(w, a, policy_changed || a->epoch != old->epoch);
        account_drop_if_unused(w, a);
    }
    asides_recheck(w);
    roster_recheck(w);
    close_replaced(w);
    close_plain(w);
    realm_unref(old);
    worker_handover(w); /* before anybody erases what removed ones have */
    atomic_store_explicit(&w->realm_epoch, realm->epoch, memory_order_release);
}

/* Who has not logged in is not told where else to go. */
enum mqtt_reason drain_reason(const struct worker *w)
{
    return w->setup.server_reference.n > 0 ? MQTT_USE_ANOTHER_SERVER : MQTT_SERVER_SHUTTING_DOWN;
}

void worker_drain(struct worker *w)
{
    w->is_draining = true;
    for (size_t i = 0; i < w->n_slots; i++) {
        struct conn *c = w->conns[i];
        if (c != NULL) {
            conn_close(w, c, c->phase == CONN_OPEN ? drain_reason(w) : MQTT_SERVER_SHUTTING_DOWN);
        }
    }
}
