#include "service/enrol/shown.h"

#include "security/crypto/x509.h"
#include "security/identity/identity.h"
#include "service/broker/realm.h"
#include "service/directory/late.h"
#include "service/watch/counters.h"

/* Who may not has no place, and hears from who decides why not. */
static bool may_renew_late(const struct worker *w, const struct x509_info *i, const char *name,
                           int64_t now_wall_ms)
{
    const struct directory_entry *entry = NULL;
    const struct credential *credential = NULL;
    struct why why = {{0}};
    const struct late_claim claim = {.name = slice_text(name),
                                     .spki = &i->spki,
                                     .id = &i->id,
                                     .ends_wall_ms = i->not_after_wall_ms};
    return late_is(claim.ends_wall_ms, now_wall_ms) &&
           late_look(worker_realm(w)->directory, &claim, worker_limits(w)->renewal_grace_s,
                     now_wall_ms, &entry, &credential, &why) == OK;
}

static void report(const struct shown_door *door, struct enrolment *e, const char *name,
                   int64_t now_wall_ms)
{
    char peer[NET_PEER_TEXT_BYTES];
    bool is_later = e->result == ENROLMENT_BUSY;
    struct event ev = event_make(is_later ? EVENT_rate : EVENT_revoked);
    net_peer_text(&e->peer, peer);
    ev.wall_ms = now_wall_ms;
    ev.protocol = e->protocol;
    EVENT_TEXT(&ev, peer, slice_text(peer));
    EVENT_TEXT(&ev, listener, slice_text(e->listener));
    EVENT_TEXT(&ev, principal, slice_text(name));
    event_reason(&ev, "%s%s", e->why.text,
                 is_later ? ". Nothing needs to be done; raise renewal_rate to have them all "
                            "renewed sooner"
                          : "");
    count_limit(door->counters, is_later ? LIMIT_renewal_rate : LIMIT_none);
    count_add(is_later ? &door->counters->renewals_later : &door->counters->refused_revoked, 1);
    e->is_told = true;
    door->event(door->ctx, &ev);
}

bool shown_look(const struct shown_door *door, struct enrolment *e, int64_t now_wall_ms)
{
    struct worker *w = door->worker;
    AUTO(x509_autofree) struct x509 *x = NULL;
    char name[IDENTITY_NAME_BYTES];
    if (e->secret[0] != '\0' || e->current_der.n == 0 ||
        x509_from_der(buf_slice(&e->current_der), &x) != OK ||
        identity_from_x509(x, IDENTITY_URI, name) != OK) {
        return true; /* nothing of ours: who decides says so */
    }
    if (realm_revokes(worker_realm(w), &x509_info(x)->id)) {
        e->result = ENROLMENT_REFUSED;
        why_set(&e->why,
                "the certificate of %s is revoked. Give it a new one: `sallyport device rotate %s`",
                name, name);
        report(door, e, name, now_wall_ms);
        return false;
    }
    if (!door->paces_all && !may_renew_late(w, x509_info(x), name, now_wall_ms)) {
        return true;
    }
    e->retry_after_s = worker_renewal_wait_s(w);
    if (e->retry_after_s > 0) {
        e->result = ENROLMENT_BUSY;
        why_set(&e->why,
                "%s may not renew its certificate now: more come to renew than renewal_rate. Come "
                "again in %u s",
                name, e->retry_after_s);
        report(door, e, name, now_wall_ms);
        return false;
    }
    return true;
}
