#include "service/broker/lane.h"

#include "base/mem.h"
#include "base/scope.h"
#include "service/broker/conn_private.h"
#include "service/broker/login_private.h"
#include "service/broker/worker_private.h"
#include "service/directory/late.h"
#include "wire/mqtt/props.h"

enum {
    SAY_MAX = WHY_BYTES + 64,
    CORRELATION_MAX = 1024,
    MS = 1000,
    JITTER_PART = 4 /* of the time that somebody is to wait, so much more at most */
};

/* ---- pace ---- */

enum err lane_note_end(struct conn *c, int64_t ends_wall_ms)
{
    if (ends_wall_ms == c->login->lane.ends_wall_ms) {
        return OK;
    }
    TRY(login_own(c));
    c->login->lane.ends_wall_ms = ends_wall_ms;
    return OK;
}

static uint32_t rate_of(const struct worker *w)
{
    uint32_t rate = w->setup.limits->renewal_rate / w->setup.n_workers;
    return rate > 0 ? rate : 1;
}

void lane_pace_init(struct worker *w)
{
    uint32_t rate = rate_of(w);
    bucket_init(&w->pace.starts, rate, rate * LANE_BURST_S, w->now_ms);
}

void lane_pace_follow(struct worker *w)
{
    uint32_t rate = rate_of(w);
    bucket_set(&w->pace.starts, rate, rate * LANE_BURST_S);
}

/* 0: now. Else so many seconds from now: each who is told gets a place behind the last one, so a
 * fleet that comes at once comes back as it can be served, and not at once. */
uint32_t worker_renewal_wait_s(struct worker *w)
{
    if (bucket_take(&w->pace.starts, 1, w->now_ms)) {
        return 0;
    }
    uint64_t place = w->pace.booked_to_ms > w->now_ms ? w->pace.booked_to_ms : w->now_ms;
    uint64_t last = w->now_ms + (uint64_t)LANE_WAIT_MAX_S * MS;
    place = place + MS / rate_of(w) < last ? place + MS / rate_of(w) : last;
    w->pace.booked_to_ms = place;
    uint32_t s = (uint32_t)((place - w->now_ms) / MS) + 1;
    return s + (uint32_t)(random_u64(&w->setup.random) % (s / JITTER_PART + 2));
}

/* ---- the way in ---- */

static void refuse_full(struct worker *w, struct conn *c, const char *name, uint32_t s)
{
    char advice[96];
    (void)snprintf(advice, sizeof(advice),
                   "the certificate has ended; too many are renewed now, come back in %u s", s);
    mqtt_gate_advise(c->gate, advice);
    struct event e = event_of(w, EVENT_rate, c);
    EVENT_TEXT(&e, principal, slice_text(name));
    event_reason(
        &e,
        "the certificate of %s has ended, and more than renewal_rate come to renew: it was "
        "told to come back in %u s. Nothing needs to be done; raise renewal_rate to have "
        "them all renewed sooner",
        name, s);
    count_add(&counts(w)->renewals_later, 1);
    count_limit(counts(w), LIMIT_renewal_rate);
    worker_report(w, &e);
    conn_close(w, c, MQTT_CONNECTION_RATE_EXCEEDED);
}

static void refuse_late(struct worker *w, struct conn *c, enum err err, const struct why *why)
{
    struct event e = event_of(w, err == ERR_AUTH ? EVENT_auth_fail : EVENT_credential_expiring, c);
    if (err != ERR_AUTH) {
        EVENT_TEXT(&e, principal, slice_text(c->login->shown->name));
    }
    event_reason(&e, "%s", why->text);
    count_add(&counts(w)->renewals_refused, 1);
    mqtt_gate_advise(c->gate, err == ERR_EXISTS
                                  ? "this certificate was renewed; use the newer one"
                                  : "this certificate has ended; a new bundle is needed");
    login_refuse(w, c, MQTT_NOT_AUTHORIZED, &e);
}

void lane_login(struct worker *w, struct conn *c)
{
    struct why why = {""};
    const struct directory_entry *entry = NULL;
    const struct credential *credential = NULL;
    const struct principal *late = NULL;
    struct late_claim claim = {.name = slice_text(c->login->shown->name),
                               .spki = &c->login->shown->spki,
                               .ends_wall_ms = c->login->lane.ends_wall_ms};
    enum err err = late_look(w->realm->directory, &claim, w->setup.limits->renewal_grace_s,
                             w->wall_ms, &entry, &credential, &why);
    if (err == ERR_DENIED) {
        login_refuse_inactive(w, c, entry);
        return;
    }
    if (err != OK) {
        refuse_late(w, c, err, &why);
        return;
    }
    uint32_t s = worker_renewal_wait_s(w);
    if (s > 0) {
        refuse_full(w, c, entry->principal->name, s);
        return;
    }
    if (late_principal(entry, &late) != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
        return;
    }
    c->credential = credential->id;
    c->login->lane.is_late = true;
    open_here(w, c, late); /* its sessions, which are elsewhere, are none of its business */
    principal_unref(late);
}

/* ---- the end ---- */

void lane_begins(struct worker *w, struct conn *c)
{
    int64_t left = c->login->lane.ends_wall_ms - w->wall_ms;
    if (c->login->lane.is_late) {
        c->login->token_until_ms = w->now_ms + (uint64_t)LANE_SECONDS * MS;
    } else if (c->login->lane.ends_wall_ms != 0 && c->credential != 0) {
        c->login->token_until_ms = w->now_ms + (left > 0 ? (uint64_t)left : 0);
    }
}

void lane_is_over(struct worker *w, struct conn *c)
{
    if (!c->login->lane.is_late && !late_is(c->login->lane.ends_wall_ms, w->wall_ms)) {
        lane_begins(w, c);
        conn_arm(w, c);
        return;
    }
    struct event e = event_of(w, EVENT_credential_expiring, c);
    if (c->login->lane.is_late) {
        event_reason(&e,
                     "its time in the renewal lane (%d s) is over without a renewal. It may come "
                     "again; look whether the device can renew, or `sallyport device rotate %s`",
                     LANE_SECONDS, c->account->principal->name);
    } else {
        event_reason(&e, "the certificate it came in by has ended: its connection was closed. It "
                         "may come again to renew it, and its session waits meanwhile");
    }
    worker_report(w, &e);
    conn_close(w, c, MQTT_NOT_AUTHORIZED);
}

/* ---- the topic of the answers ---- */

bool lane_is_answer(struct slice filter)
{
    return slice_is(filter, LANE_ANSWER);
}

uint8_t lane_hear(struct worker *w, struct conn *c)
{
    if (c->login->lane.ends_wall_ms == 0) {
        struct event e = event_of(w, EVENT_acl_deny, c);
        EVENT_TEXT(&e, target, slice_text(LANE_ANSWER));
        event_reason(&e, "%s did not come in by a certificate, so there is none to renew here",
                     c->account->principal->name);
        count_add(&counts(w)->refused_denied, 1);
        worker_report(w, &e);
        return MQTT_NOT_AUTHORIZED;
    }
    c->login->lane.hears = true;
    return MQTT_SUCCESS; /* QoS 0: who has lost the answer asks once more */
}

uint8_t lane_unhear(struct conn *c)
{
    if (!c->login->lane.hears) {
        return MQTT_NO_SUBSCRIPTION_EXISTED;
    }
    c->login->lane.hears = false;
    return MQTT_SUCCESS;
}

void lane_output(struct worker *w, struct conn *c, struct wr *wr)
{
    struct delivery d = {.msg = c->login->lane.answer};
    if (d.msg == NULL) {
        return;
    }
    enum err err = mqtt_server_deliver(c->engine, &d, w->now_ms, wr, NULL);
    if (err == ERR_SPACE && wr->at > 0) {
        conn_mark_dirty(w, c);
        return;
    }
    count_add(err == OK ? &counts(w)->sent_qos0 : &counts(w)->dropped_size, 1);
    c->login->lane.answer = msg_unref(d.msg);
}

/* What there is no memory for is not said; the acknowledgement is. */
static void say(struct worker *w, struct conn *c, struct slice correlation, struct slice text)
{
    AUTO(buf_done) struct buf props = {0};
    struct msg *m = NULL;
    uint8_t *dst = NULL;
    enum err err = OK;
    if (!c->login->lane.hears) {
        return;
    }
    if (correlation.n > 0) {
        size_t n = correlation.n + 3; /* id, length */
        err = buf_room(&props, n, CORRELATION_MAX + 3, &dst);
        if (err == OK) {
            struct wr wr = wr_into(dst, n);
            mqtt_prop_write_text(&wr, MQTT_PROP_CORRELATION_DATA, correlation);
            err = wr_done(&wr, &props.n);
        }
    }
    if (err == OK) {
        err = msg_new(slice_text(LANE_ANSWER), buf_slice(&props), text, &m);
    }
    if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1);
        return;
    }
    m->is_utf8 = true;
    msg_unref(c->login->lane.answer);
    c->login->lane.answer = m;
    conn_mark_dirty(w, c);
}

/* ---- asking ---- */

static void acknowledge(struct worker *w, struct conn *c, uint32_t ask, enum mqtt_reason reason)
{
    if (ask != 0) {
        mqtt_server_answer(c->engine, ask, reason);
        conn_mark_dirty(w, c);
    }
}

static enum mqtt_reason reason_of(enum err err)
{
    switch ((unsigned)err) {
    case OK:
        return MQTT_SUCCESS;
    case ERR_DENIED:
    case ERR_AUTH:
    case ERR_NOT_FOUND:
    case ERR_EXPIRED:
        return MQTT_NOT_AUTHORIZED;
    case ERR_LIMIT:
    case ERR_AGAIN:
    case ERR_NOMEM:
    case ERR_SPACE:
        return MQTT_QUOTA_EXCEEDED;
    default:
        return MQTT_IMPLEMENTATION_ERROR;
    }
}

/* Said to the client, to whoever reads the audit trail, and counted. */
static void refuse(struct worker *w, struct conn *c, uint32_t ask, struct slice correlation,
                   enum err err, const char *text)
{
    char line[SAY_MAX];
    bool is_later = reason_of(err) == MQTT_QUOTA_EXCEEDED;
    struct event e = event_of(w, EVENT_enrolment, c);
    e.severity = SEVERITY_WARNING;
    event_reason(&e, "no new certificate for %s: %s", c->account->principal->name, text);
    worker_report(w, &e);
    count_add(is_later ? &counts(w)->renewals_later : &counts(w)->renewals_refused, 1);
    (void)snprintf(line, sizeof(line), "refused: %s\n", text);
    if (c->login->lane.answer == NULL) { /* one that has not left is worth more */
        say(w, c, correlation, slice_text(line));
    }
    if (c->login->lane.hears || mqtt_server_terms(c->engine)->version == MQTT_V5) {
        acknowledge(w, c, ask, reason_of(err));
    } else {
        conn_close(w, c, reason_of(err)); /* there is no other way to tell it */
    }
}

/* More than anybody needs is not given back. */
static struct slice correlation_of(const struct mqtt_publish *p)
{
    return slice_head(mqtt_props_text(&p->props, MQTT_PROP_CORRELATION_DATA), CORRELATION_MAX);
}

/* What can be judged here. */
static enum err check(struct worker *w, struct conn *c, const struct mqtt_publish *p,
                      struct why *why)
{
    struct slice to = mqtt_props_text(&p->props, MQTT_PROP_RESPONSE_TOPIC);
    if (c->login->lane.ends_wall_ms == 0 || w->setup.driver.renew == NULL ||
        w->setup.driver.certificate == NULL) {
        why_set(why, "who renews a certificate must have come in by it");
        return ERR_DENIED;
    }
    if (p->qos == 2 || p->retain) {
        why_set(why, "publish the CSR with QoS 1, and without retain");
        return ERR_PROTOCOL;
    }
    if (!c->login->lane.hears || (to.n > 0 && !lane_is_answer(to))) {
        why_set(why,
                "subscribe to " LANE_ANSWER " first: the answer comes there, and nowhere else");
        return ERR_PROTOCOL;
    }
    if (c->login->lane.is_asked) {
        why_set(why, "one renewal after the other: the answer to the last is on its way");
        return ERR_LIMIT;
    }
    if (c->login->lane.is_late && c->login->lane.n_asks == LANE_ASKS_MAX) {
        why_set(why, "%d requests were refused on this connection; look at the CSR, and come again",
                LANE_ASKS_MAX);
        return ERR_LIMIT;
    }
    return OK;
}

/* In the lane its place was taken when it came in. */
static enum err take_place(struct worker *w, const struct conn *c, struct why *why)
{
    uint32_t s = c->login->lane.is_late ? 0 : worker_renewal_wait_s(w);
    if (s > 0) {
        why_set(why, "more than renewal_rate are renewed now; try again in %u s", s);
        return ERR_LIMIT;
    }
    return OK;
}

static enum err fill(struct worker *w, struct conn *c, const struct mqtt_publish *p,
                     struct renewal *r, struct why *why)
{
    enum err err = renewal_csr(p->payload, &r->csr);
    if (err != OK) {
        why_set(why, "the payload is no CSR: PKCS #10 as DER or PEM, at most %d bytes, is",
                RENEWAL_CSR_MAX);
        return err;
    }
    TRY(w->setup.driver.certificate(w->setup.driver.ctx, c->transport, &r->current));
    EVENT_TEXT(r, name, slice_text(c->account->principal->name));
    r->worker = w->setup.index;
    r->conn = c->handle;
    r->credential = c->credential;
    r->is_late = c->login->lane.is_late;
    return OK;
}

static enum err ask(struct worker *w, struct conn *c, const struct mqtt_publish *p, struct why *why)
{
    struct renewal *r = NULL;
    TRY(check(w, c, p, why));
    TRY(take_place(w, c, why));
    TRY(renewal_new(&r));
    c->login->lane.n_asks = (uint8_t)(c->login->lane.n_asks + (c->login->lane.is_late ? 1 : 0));
    enum err err = fill(w, c, p, r, why);
    if (err == OK) {
        buf_done(&c->login->lane.correlation);
        err = buf_append(&c->login->lane.correlation, correlation_of(p), CORRELATION_MAX);
    }
    if (err != OK) {
        renewal_free(r);
        return err;
    }
    err = w->setup.driver.renew(w->setup.driver.ctx, r);
    if (err != OK) {
        why_set(why, "too many wait to be renewed; try again in %u s", LANE_BURST_S);
    }
    return err;
}

bool lane_takes(struct worker *w, struct conn *c, const struct mqtt_event *ev)
{
    if (!slice_is(ev->publish.topic, LANE_ASK)) {
        return false;
    }
    struct why why = {"there is no memory for it now; try again"};
    (void)bucket_take(&c->account->publishes, 1, w->now_ms);
    enum err err = ask(w, c, &ev->publish, &why);
    if (err != OK) {
        refuse(w, c, ev->ask, correlation_of(&ev->publish), err, why.text);
    } else {
        c->login->lane.is_asked = true;
        c->login->lane.ask = ev->ask;
    }
    return true;
}

/* ---- the answer ---- */

void lane_answered(struct worker *w, struct renewal *r)
{
    struct conn *c = conn_find(w, r->conn);
    if (c != NULL && c->phase == CONN_OPEN && c->login->lane.is_asked) {
        c->login->lane.is_asked = false;
        if (r->result != OK) {
            refuse(w, c, c->login->lane.ask, buf_slice(&c->login->lane.correlation), r->result,
                   r->why.text);
        } else {
            say(w, c, buf_slice(&c->login->lane.correlation), buf_slice(&r->chain));
            acknowledge(w, c, c->login->lane.ask, MQTT_SUCCESS);
        }
    }
    if (r->result == OK) {
        count_add(&counts(w)->renewals_ok, 1); /* whoever does not hear it asks once more */
    }
    renewal_free(r);
}

void lane_done(struct lane *l)
{
    buf_done(&l->correlation);
    msg_unref(l->answer);
}
