/* From a known principal to an open connection: account, session, takeover, CONNACK; and back to
 * sleep at its end. */
#include "base/mem.h"
#include "service/broker/worker_private.h"
#include "wire/mqtt/connack.h"

/* ---- accounts ---- */

MUST_USE enum err account_of(struct worker *w, const struct principal *p, struct account **ret)
{
    struct account *a = map_find(&w->accounts, slice_of(&p->id, sizeof(p->id)));
    if (a == NULL) {
        TRY(account_new(w->realm->policy, p, w->realm->epoch, &w->setup.key, w->now_ms, &a));
        enum err err = map_add(&w->accounts, a);
        if (err != OK) {
            account_free(a);
            return err;
        }
        a->queues = &w->queues;
    }
    *ret = a;
    return OK;
}

void account_drop_if_unused(struct worker *w, struct account *a)
{
    if (a->n_conns > 0 || a->sessions.n > 0 || a->n_retained > 0) {
        return;
    }
    if (!a->is_closed && !account_is_rested(a, w->now_ms)) {
        w->has_tired_accounts = true; /* who reconnects does not get its budgets anew */
    } else {
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

void session_end(struct worker *w, struct session *s)
{
    struct account *a = s->account;
    uint64_t lsn;
    if (s->subscriber.is_durable &&
        record_text(w, JOURNAL_SESSION_END, s->id, 0, (struct slice){0}, &lsn) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* it comes back at a restart and expires then */
    }
    replays_forget(w, s);
    subs_remove_all(w, &s->subscriber);
    wheel_cancel(&w->session_wheel, &s->expiry);
    map_remove(&a->sessions, s->client_id);
    session_free(s);
    w->n_sessions--;
    count_set(&counts(w)->sessions, w->n_sessions);
}

static void interest_changed_by_session(void *ctx, struct slice filter,
                                        const struct interest_change *c)
{
    (void)interest_announce(ctx, filter, c->is_any, c->is_durable);
}

static enum err session_start(struct worker *w, struct account *a, struct slice client_id,
                              bool is_durable, struct session **ret)
{
    struct session *s = NULL;
    /* 16 bits of worker in front: unique over workers without a shared counter. */
    uint64_t id = (uint64_t)(w->setup.index + 1) << 48 | ++w->next_session_id;
    TRY(session_new(id, a, client_id, is_durable, &s));
    enum err err = map_add(&a->sessions, s);
    if (err != OK) {
        session_free(s);
        return err;
    }
    w->n_sessions++;
    count_set(&counts(w)->sessions, w->n_sessions);
    *ret = s;
    return OK;
}

static void take_over(struct worker *w, struct session *s)
{
    struct conn *old = conn_find(w, s->conn);
    if (old == NULL) {
        return;
    }
    struct event e = event_of(w, EVENT_takeover, old);
    event_reason(&e,
                 "a new connection of %s with client id '%s' took the session over; two devices "
                 "with one identity look like this",
                 old->account->principal->name, old->client_id);
    worker_report(w, &e);
    conn_close(w, old, MQTT_SESSION_TAKEN_OVER); /* SPEC: MQTT-3.1.4-3 */
    conn_release_session(w, old, "taken over");
}

/* ---- CONNECT decided ---- */

struct opening {
    const struct mqtt_connect *connect;
    struct account *account;
    struct slice client_id;
    uint32_t expiry_s;
    bool is_assigned, is_present;
    char assigned[PRINCIPAL_NAME_MAX + 20];
};

static void refuse_open(struct worker *w, struct conn *c, enum event_category category,
                        enum mqtt_reason reason, struct slice target, const char *text)
{
    struct event e = event_of(w, category, c);
    EVENT_TEXT(&e, target, target);
    event_reason(&e, "%s", text);
    count_add(&counts(w)->refused_denied, 1);
    worker_report(w, &e);
    conn_close(w, c, reason);
}

static void choose_client_id(struct worker *w, struct opening *o)
{
    o->client_id = o->connect->client_id;
    if (o->client_id.n == 0) { /* SPEC: MQTT-3.1.3-6 */
        (void)snprintf(o->assigned, sizeof(o->assigned), "%s-%08x", o->account->principal->name,
                       (unsigned)(random_u64(&w->setup.random) & 0xffffffff));
        o->client_id = slice_text(o->assigned);
        o->is_assigned = true;
    }
}

static uint32_t choose_expiry(const struct opening *o)
{
    const struct mqtt_connect *c = o->connect;
    uint32_t most = grants_limits(o->account->grants)->session_expiry_s;
    if (c->version == MQTT_V311) {
        return c->clean_start ? 0 : most; /* SPEC: MQTT-3.1.2-4, MQTT-3.1.2-6 */
    }
    uint32_t asked = mqtt_props_number(&c->props, MQTT_PROP_SESSION_EXPIRY, 0);
    return asked < most ? asked : most;
}

/* Who may come in under this client id, with this will. False: refused, and said so. */
static bool passes(struct worker *w, struct conn *c, const struct opening *o)
{
    struct decision why;
    /* An assigned id is ours, not a claim of the client's. */
    struct slice claimed = o->is_assigned ? slice_text(o->account->principal->name) : o->client_id;
    enum err err = passage_connect(o->account, claimed, w->now_ms, &why);
    if (err == ERR_QUOTA) {
        count_add(&counts(w)->refused_rate, 1);
        refuse_open(
            w, c, EVENT_rate, MQTT_CONNECTION_RATE_EXCEEDED, claimed,
            "it connects too often; look for a client that loses its connection, or for two "
            "with one identity");
        return false;
    }
    if (err == ERR_DENIED && o->account->is_closed) {
        refuse_open(w, c, EVENT_revoked, MQTT_NOT_AUTHORIZED, claimed, why.rule);
        return false;
    }
    if (err != OK && !(o->is_assigned && err == ERR_DENIED)) {
        refuse_open(w, c, EVENT_identity_mismatch, MQTT_CLIENT_ID_INVALID, claimed, why.rule);
        return false;
    }
    const struct mqtt_will *will = &o->connect->will;
    if (!o->connect->has_will) {
        return true;
    }
    err = passage_will(o->account, will->topic, will->qos, will->retain ? RETAIN_NEW : RETAIN_NO,
                       will->payload.n, &why);
    if (err != OK) {
        refuse_open(w, c, err == ERR_DENIED ? EVENT_acl_deny : EVENT_quota,
                    err == ERR_DENIED ? MQTT_NOT_AUTHORIZED : MQTT_QUOTA_EXCEEDED, will->topic,
                    why.rule);
        return false;
    }
    return true;
}

static enum err find_session(struct worker *w, struct opening *o, struct session **ret)
{
    struct session *s = map_find(&o->account->sessions, o->client_id);
    bool is_durable = o->expiry_s > 0;
    uint64_t lsn;
    if (s != NULL) {
        take_over(w, s);
        s = map_find(&o->account->sessions, o->client_id); /* a session without expiry has ended */
    }
    if (s != NULL && o->connect->clean_start) {
        session_end(w, s); /* SPEC: MQTT-3.1.2-4 */
        s = NULL;
    }
    o->is_present = s != NULL; /* SPEC: MQTT-3.2.2-2, MQTT-3.2.2-3 */
    if (s == NULL) {
        TRY(session_start(w, o->account, o->client_id, is_durable, &s));
    } else {
        wheel_cancel(&w->session_wheel, &s->expiry);
        session_resume(s);
        filters_set_durable(w->filters, &s->subscriber, is_durable, interest_changed_by_session, w);
    }
    s->expiry_s = o->expiry_s;
    *ret = s; /* also when the record fails: the caller ends it or lets it sleep */
    return is_durable ? record_text(w, JOURNAL_SESSION, s->id, o->expiry_s, s->client_id, &lsn)
                      : OK;
}

static enum err take_will(struct worker *w, const struct opening *o, struct session *s)
{
    s->will = msg_unref(s->will);
    if (!o->connect->has_will) {
        return OK;
    }
    const struct mqtt_will *will = &o->connect->will;
    struct mqtt_publish p = {.topic = will->topic,
                             .payload = will->payload,
                             .qos = will->qos,
                             .retain = will->retain,
                             .props = will->props};
    struct msg *m = NULL;
    TRY(msg_from_publish(w, o->account, &p, &m));
    if (m->expires_at_ms != UINT64_MAX) {
        m->expires_at_ms -= w->now_ms; /* a lifetime, that begins when it is published */
    }
    s->will = m;
    return OK;
}

static void set_terms(const struct worker *w, const struct opening *o, struct mqtt_terms *terms,
                      struct mqtt_connack *connack)
{
    const struct mqtt_connect *c = o->connect;
    const struct role_limits *role = grants_limits(o->account->grants);
    uint16_t inflight = (uint16_t)(role->inflight < UINT16_MAX ? role->inflight : UINT16_MAX);
    uint32_t most = w->setup.limits->keep_alive_seconds;
    bool too_long = c->keep_alive_s == 0 || c->keep_alive_s > most;
    /* The engine waits half as long again. */
    uint32_t own = c->version == MQTT_V5 ? most : w->setup.limits->silence_seconds * 2 / 3;
    *terms = (struct mqtt_terms){
        .version = c->version,
        .packet_max = w->setup.limits->packet_bytes,
        .client_packet_max =
            mqtt_props_number(&c->props, MQTT_PROP_MAXIMUM_PACKET_SIZE, UINT32_MAX),
        .receive_max = inflight > 0 ? inflight : 1,
        .client_receive_max =
            (uint16_t)mqtt_props_number(&c->props, MQTT_PROP_RECEIVE_MAXIMUM, UINT16_MAX),
        .keep_alive_s = too_long ? (uint16_t)own : c->keep_alive_s,
        .wire = w->wire,
    };
    *connack = (struct mqtt_connack){.code = MQTT_SUCCESS, .session_present = o->is_present};
    struct mqtt_props *p = &connack->props;
    uint32_t asked = mqtt_props_number(&c->props, MQTT_PROP_SESSION_EXPIRY, 0);
    mqtt_props_set_number(p, MQTT_PROP_RECEIVE_MAXIMUM, terms->receive_max);
    mqtt_props_set_number(p, MQTT_PROP_MAXIMUM_PACKET_SIZE, terms->packet_max);
    mqtt_props_set_number(p, MQTT_PROP_SHARED_AVAILABLE, 0);
    if (asked != o->expiry_s) {
        mqtt_props_set_number(p, MQTT_PROP_SESSION_EXPIRY, o->expiry_s);
    }
    if (too_long) {
        mqtt_props_set_number(p, MQTT_PROP_SERVER_KEEP_ALIVE, most);
    }
    if (o->is_assigned) { /* SPEC: MQTT-3.2.2-16 */
        mqtt_props_set_text(p, MQTT_PROP_ASSIGNED_CLIENT_ID, o->client_id);
    }
}

/* All that can fail comes before the session is bound to the connection. */
static enum err bind(struct worker *w, struct conn *c, struct opening *o)
{
    struct session *s = NULL;
    struct mqtt_terms terms;
    struct mqtt_connack connack;
    enum err err = find_session(w, o, &s);
    if (s == NULL) {
        return err;
    }
    set_terms(w, o, &terms, &connack);
    if (err == OK) {
        err = take_will(w, o, s);
    }
    if (err == OK) {
        err = mqtt_server_new(&terms, &connack, w->now_ms, &c->engine);
    }
    if (err != OK) {
        if (s->expiry_s == 0) {
            session_end(w, s);
        } else {
            wheel_arm(&w->session_wheel, &s->expiry, w->now_ms + (uint64_t)s->expiry_s * 1000);
        }
        return err;
    }
    EVENT_TEXT(c, client_id, s->client_id);
    c->gate = mqtt_gate_free(c->gate); /* connect borrows from it: nothing reads it from here on */
    c->account = o->account;
    c->session = s;
    s->conn = c->handle;
    c->phase = CONN_OPEN;
    return OK;
}

/* What was queued while the session slept may still be on its way to the disk. */
static void wake_at_commit(struct worker *w, const struct conn *c)
{
    struct pending wake = {.lsn = w->last_lsn, .action = PENDING_WAKE, .id = c->handle};
    if (w->last_lsn > w->committed && pending_add(w, &wake) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* the next thing it is sent takes it along */
    }
}

void open_here(struct worker *w, struct conn *c, const struct principal *principal)
{
    struct opening o = {.connect = mqtt_gate_connect(c->gate)};
    enum err err = account_of(w, principal, &o.account);
    if (err != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
        return;
    }
    o.account->n_conns++;   /* held: a takeover below may end its last session */
    c->account = o.account; /* for the events of a refusal */
    choose_client_id(w, &o);
    o.expiry_s = choose_expiry(&o);
    bool may_open = !w->is_draining && passes(w, c, &o);
    c->account = NULL;
    if (may_open && bind(w, c, &o) == OK) {
        struct event e = event_of(w, EVENT_connect, c);
        event_reason(&e, "connected%s%s", o.is_present ? ", session resumed" : "",
                     c->entrance->is_plain ? ", in PLAINTEXT by an exception" : "");
        worker_report(w, &e);
        conn_arm(w, c);
        conn_mark_dirty(w, c);
        wake_at_commit(w, c);
        return;
    }
    if (may_open || w->is_draining) {
        conn_close(w, c, w->is_draining ? MQTT_SERVER_SHUTTING_DOWN : MQTT_SERVER_BUSY);
    }
    worker_account_release(w, o.account);
}

/* The principal may have changed while the connection was between two workers; NULL: it was
 * removed.
 */
static const struct principal *principal_now(const struct worker *w, const struct principal *p)
{
    if (p->is_anonymous) {
        return p;
    }
    const struct directory_entry *entry = directory_find(w->realm->directory, slice_text(p->name));
    return entry != NULL && entry->principal->id == p->id ? entry->principal : NULL;
}

void handover_arrived(struct worker *w, struct handover *h)
{
    struct conn *c = NULL;
    if (conn_new(w, h->entrance, h->peer, h->transport, &c) != OK) {
        w->setup.driver.discard(w->setup.driver.ctx, h->transport);
        handover_free(h);
        return;
    }
    c->gate = TAKE(h->gate);
    c->unread = h->unread;
    h->unread = (struct buf){0};
    EVENT_TEXT(c, client_id, mqtt_gate_connect(c->gate)->client_id);
    if (w->setup.driver.arrive(w->setup.driver.ctx, h->transport, c->handle) != OK) {
        conn_forget(w, c);
    } else {
        const struct principal *now = principal_now(w, h->principal);
        if (now != NULL) {
            open_here(w, c, now);
        } else {
            refuse_open(w, c, EVENT_revoked, MQTT_NOT_AUTHORIZED, slice_text(h->principal->name),
                        "the principal was removed while its connection went to its home worker");
        }
        conn_feed(w, c, (struct slice){0});
    }
    handover_free(h);
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
    event_reason(&e, "%s", c->is_clean_end ? "the client disconnected" : why);
    worker_report(w, &e);
    if (s->will != NULL && !c->is_clean_end) {
        publish_will(w, c); /* SPEC: MQTT-3.1.2-8 */
    }
    s->will = msg_unref(s->will); /* SPEC: MQTT-3.1.2-10 */
    c->session = NULL;
    c->account = NULL;
    s->conn = 0;
    count_add(&counts(w)->dropped_asleep, session_sleep(s));
    replays_forget(w, s);
    if (s->expiry_s == 0) {
        session_end(w, s); /* SPEC: MQTT5 3.1.2.11.2 */
    } else {
        wheel_arm(&w->session_wheel, &s->expiry, w->now_ms + (uint64_t)s->expiry_s * 1000);
    }
    a->n_conns--;
    account_drop_if_unused(w, a);
}
