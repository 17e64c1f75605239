/* From a known principal to an open connection: may it come in, session, takeover, CONNACK. */
#include "base/mem.h"
#include "service/broker/commit_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/group_private.h"
#include "service/broker/handover.h"
#include "service/broker/login_private.h"
#include "service/broker/record_private.h"
#include "service/broker/route_private.h"
#include "service/broker/sessions_private.h"
#include "service/broker/subscribe_private.h"
#include "service/broker/usage.h"
#include "service/broker/will_private.h"
#include "service/broker/worker_private.h"
#include "service/directory/late.h"
#include "wire/mqtt/connack.h"

enum { RESPONSE_PREFIX_MAX = 128, CLIENT_ID_SAID = 65 };

/* ---- a session that is present ---- */

static void interest_changed_by_session(void *ctx, struct slice filter,
                                        const struct interest_change *c)
{
    (void)interest_announce(ctx, filter, c->is_any, c->is_durable);
}

/* Returns whether there was a connection to be thrown out. */
static bool take_over(struct worker *w, struct session *s)
{
    struct conn *old = conn_find(w, s->conn);
    if (old == NULL) {
        return false;
    }
    bool was_open = old->phase == CONN_OPEN;
    if (was_open) { /* else it has said goodbye, and its last words still leave */
        struct event e = event_of(w, EVENT_takeover, old);
        event_reason(&e,
                     "a new connection of %s with client id '%.*s' took the session over; two "
                     "devices with one identity look like this",
                     old->account->principal->name,
                     (int)slice_head(session_client_id(s), CLIENT_ID_SAID).n,
                     (const char *)session_client_id(s).p);
        worker_report(w, &e);
    }
    conn_close(w, old, MQTT_SESSION_TAKEN_OVER); /* SPEC: MQTT5-3.1.4-3 */
    conn_release_session(w, old, "taken over");
    return was_open;
}

/* ---- CONNECT decided ---- */

struct opening {
    const struct mqtt_connect *connect;
    struct account *account;
    struct slice client_id;
    uint32_t expiry_s;
    bool is_assigned, is_present, has_taken_over;
    bool may_open;            /* it was not refused */
    bool was_durable;         /* the session that is present: */
    uint32_t former_expiry_s; /* what it goes back to when this connection comes to nothing */
    uint64_t hello_lsn;       /* CONNACK promises what is recorded up to here */
    char assigned[PRINCIPAL_NAME_MAX + 20];
    char response[RESPONSE_PREFIX_MAX + 1]; /* topics for the answers to its requests; "": none */
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
    uint32_t most = grants_limits(&o->account->grants)->session_expiry_s;
    if (o->account->principal->is_late) {
        return 0; /* the device's own session is another, and sleeps on */
    }
    if (c->version != MQTT_V5) {
        return c->clean_start ? 0 : most; /* SPEC: MQTT5-3.1.2-4, MQTT3-3.1.2-4, MQTT3-3.1.2-6 */
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
        count_limit(counts(w), why.limit);
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
    if (passage_segment(o->account, entrance_segment(c->entrance), &why) != OK) {
        refuse_open(w, c, EVENT_identity_mismatch, MQTT_NOT_AUTHORIZED, claimed, why.rule);
        return false;
    }
    const struct mqtt_will *will = &o->connect->will;
    /* A device says what it always says: in the lane its will is not taken, and it comes in. */
    if (!o->connect->has_will || o->account->principal->is_late) {
        return true;
    }
    err =
        passage_will(o->account, will->topic, will->qos,
                     retain_wish(w, o->account, will->topic, will->retain), will->payload.n, &why);
    if (err != OK) {
        if (err != ERR_DENIED) {
            count_limit(counts(w), why.limit);
        }
        refuse_open(w, c, err == ERR_DENIED ? EVENT_acl_deny : EVENT_quota,
                    err == ERR_DENIED ? MQTT_NOT_AUTHORIZED : MQTT_QUOTA_EXCEEDED, will->topic,
                    why.rule);
        return false;
    }
    return true;
}

/* Its time is over, though the timer has not had its turn. */
static bool is_over(const struct worker *w, const struct session *s)
{
    return s->conn == 0 && list_is_linked(&s->rest->due.node) && s->rest->ends_at_ms <= w->now_ms;
}

static enum err find_session(struct worker *w, struct opening *o, struct session **ret)
{
    struct session *s = session_set_find(&o->account->sessions, o->client_id);
    bool is_durable = o->expiry_s > 0, is_promise = true;
    uint64_t lsn;
    if (is_durable && (s == NULL || !s->is_on_record || o->connect->clean_start)) {
        TRY(hold_admits(w)); /* before anything of it is done */
    }
    if (s != NULL) {
        o->has_taken_over = take_over(w, s);
        s = session_set_find(&o->account->sessions,
                             o->client_id); /* a session without expiry has ended */
    }
    if (s != NULL && (o->connect->clean_start || is_over(w, s))) {
        session_end(w, s); /* SPEC: MQTT5-3.1.2-4, MQTT3-3.1.2-4, MQTT5 3.1.2.11.2 */
        s = NULL;
    }
    o->is_present =
        s != NULL; /* SPEC: MQTT5-3.2.2-2, MQTT3-3.2.2-2, MQTT5-3.2.2-3, MQTT3-3.2.2-3 */
    if (s == NULL) {
        TRY(session_add(w, o->account, worker_id(w, &w->next_session), o->client_id, is_durable,
                        &s));
    } else {
        is_promise = s->expiry_s != o->expiry_s;
        o->was_durable = s->subscriber.is_durable;
        o->former_expiry_s = s->expiry_s;
        session_disarm(w, s);
        if (s->rest->will_at_ms <= w->now_ms || s->rest->is_will_late) {
            will_fire(w, s, NULL); /* it was due, though the timer has not had its turn */
        }
        session_resume(s);
        filters_set_durable(w->filters, &s->subscriber, is_durable, interest_changed_by_session, w);
    }
    s->expiry_s = o->expiry_s;
    *ret = s; /* also when the record fails: the caller ends it or lets it sleep */
    if (!is_durable && !s->is_on_record) {
        return OK;
    }
    enum err err = record_session(w, s, INT64_MAX, &lsn);
    if (!is_promise) {
        /* Nobody relies on the record that it has a connection. */
        o->hello_lsn = s->rest->promised_lsn;
        return OK;
    }
    o->hello_lsn = s->rest->promised_lsn = err == OK ? lsn : 0;
    return err;
}

/* A topic tree that the policy lets this principal alone listen in, as far as one grant tells: the
 * first `...NAME.../#` that it may subscribe to. */
static void take_own_prefix(void *ctx, enum policy_action action, struct slice filter,
                            bool is_exact)
{
    struct opening *o = ctx;
    struct slice rest = filter, level = {0};
    bool has_name = false, is_plain = true, has_more = !is_exact;
    while (has_more && is_plain) {
        level = slice_cut(&rest, '/', &has_more);
        has_name = has_name || slice_is(level, o->account->principal->name);
        is_plain = !slice_is(level, "+");
    }
    if (action == POLICY_SUBSCRIBE && has_name && is_plain && slice_is(level, "#") &&
        o->response[0] == '\0' && filter.n <= RESPONSE_PREFIX_MAX) {
        (void)slice_to_text(slice_head(filter, filter.n - 1), o->response, sizeof(o->response));
    }
}

static bool is_keep_alive_too_long(const struct worker *w, const struct mqtt_connect *c)
{
    return c->keep_alive_s == 0 || c->keep_alive_s > w->setup.limits->keep_alive_seconds;
}

static void set_terms(const struct worker *w, const struct opening *o, const struct mqtt_gate *gate,
                      struct mqtt_terms *terms)
{
    const struct mqtt_connect *c = o->connect;
    const struct role_limits *role = grants_limits(&o->account->grants);
    uint16_t inflight = (uint16_t)(role->inflight < UINT16_MAX ? role->inflight : UINT16_MAX);
    uint32_t most = w->setup.limits->keep_alive_seconds;
    uint32_t aliases = mqtt_props_number(&c->props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, 0);
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
        .client_alias_max =
            (uint16_t)(aliases < w->wire.topic_alias_max ? aliases : w->wire.topic_alias_max),
        .wants_reasons = mqtt_props_number(&c->props, MQTT_PROP_REQUEST_PROBLEM_INFO, 1) != 0,
        .keep_alive_s = is_keep_alive_too_long(w, c) ? (uint16_t)own : c->keep_alive_s,
        .auth_method = auth_method(mqtt_gate_method(gate)),
        .wire = &w->wire,
    };
}

/* What CONNACK says of these terms, and of what was asked for. */
static void set_connack(const struct worker *w, struct opening *o, const struct mqtt_gate *gate,
                        const struct mqtt_terms *terms, struct mqtt_connack *connack)
{
    const struct mqtt_connect *c = o->connect;
    struct slice method = mqtt_gate_method(gate);
    *connack = (struct mqtt_connack){.code = MQTT_SUCCESS, .session_present = o->is_present};
    struct mqtt_props *p = &connack->props;
    uint32_t asked = mqtt_props_number(&c->props, MQTT_PROP_SESSION_EXPIRY, 0);
    mqtt_props_set_number(p, MQTT_PROP_RECEIVE_MAXIMUM, terms->receive_max);
    mqtt_props_set_number(p, MQTT_PROP_MAXIMUM_PACKET_SIZE, terms->packet_max);
    mqtt_props_set_number(p, MQTT_PROP_SHARED_AVAILABLE, 1);
    if (terms->wire->topic_alias_max > 0) {
        mqtt_props_set_number(p, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, terms->wire->topic_alias_max);
    }
    if (asked != o->expiry_s) {
        mqtt_props_set_number(p, MQTT_PROP_SESSION_EXPIRY, o->expiry_s);
    }
    if (is_keep_alive_too_long(w, c)) {
        mqtt_props_set_number(p, MQTT_PROP_SERVER_KEEP_ALIVE, w->setup.limits->keep_alive_seconds);
    }
    if (mqtt_props_number(&c->props, MQTT_PROP_REQUEST_RESPONSE_INFO, 0) != 0 &&
        !o->account->principal->is_anonymous) { /* SPEC: MQTT5-3.1.2-28 */
        grants_each(&o->account->grants, take_own_prefix, o);
        if (o->response[0] != '\0') {
            mqtt_props_set_text(p, MQTT_PROP_RESPONSE_INFO, slice_text(o->response));
        }
    }
    if (method.n > 0) { /* SPEC: MQTT5-4.12.0-5, MQTT5-4.12.0-6 */
        mqtt_props_set_text(p, MQTT_PROP_AUTH_METHOD, method);
        if (mqtt_gate_conclusion(gate).n > 0) {
            mqtt_props_set_text(p, MQTT_PROP_AUTH_DATA, mqtt_gate_conclusion(gate));
        }
    }
    if (o->is_assigned) { /* SPEC: MQTT5-3.2.2-16 */
        mqtt_props_set_text(p, MQTT_PROP_ASSIGNED_CLIENT_ID, o->client_id);
    }
}

/* As if this connection had not come; a new session was promised to nobody. */
static void undo(struct worker *w, const struct opening *o, struct session *s)
{
    s->expiry_s = o->is_present ? o->former_expiry_s : 0;
    if (o->is_present) {
        filters_set_durable(w->filters, &s->subscriber, o->was_durable, interest_changed_by_session,
                            w);
    }
    session_fall_asleep(w, s);
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
    set_terms(w, o, c->gate, &terms);
    set_connack(w, o, c->gate, &terms, &connack);
    if (err == OK) {
        err = pending_reserve(w, 1);
    }
    if (err == OK) {
        err = mqtt_server_new(&terms, &connack, w->now_ms, &c->engine);
    }
    if (err == OK && !o->account->principal->is_late) { /* last, or a will that waits would be lost
                                                           with a connection that fails */
        err = will_take(w, s, o->connect, &o->hello_lsn);
    }
    if (err != OK) {
        c->engine = mqtt_server_free(c->engine);
        undo(w, o, s);
        return err;
    }
    c->gate = mqtt_gate_free(c->gate); /* connect borrows from it: nothing reads it from here on */
    c->account = o->account;
    c->session = s;
    s->conn = c->handle;
    c->phase = CONN_OPEN;
    c->hello_lsn = o->hello_lsn;
    groups_session_changed(w, s);
    auth_token_begins(w, c);
    lane_begins(w, c);
    /* CONNACK waits for this, and so may what was queued while the session slept: it was to wake
     * the connection before this one. */
    struct pending wake = {.lsn = w->last_lsn, .action = PENDING_WAKE, .id = c->handle};
    return w->last_lsn > w->committed ? pending_add(w, &wake) : OK;
}

bool credential_stands(const struct worker *w, const struct conn *c, const struct principal *p)
{
    if (conn_is_taken_back(w, c)) {
        return false;
    }
    if (p->is_anonymous || c->credential == 0) {
        return true;
    }
    if (p->is_late) {
        return late_stands(w->realm->directory, p, c->credential);
    }
    const struct directory_entry *e = directory_find(w->realm->directory, slice_text(p->name));
    for (size_t i = 0; e != NULL && e->principal->id == p->id && i < e->n_credentials; i++) {
        if (e->credentials[i]->id == c->credential) {
            return directory_is_live(w->realm->directory, e->credentials[i], w->wall_ms);
        }
    }
    return false;
}

/* Only those that have proven who they are learn where the server has gone. */
static void refer(struct worker *w, struct conn *c, const struct principal *principal)
{
    struct event e = event_of(w, EVENT_disconnect, c);
    EVENT_TEXT(&e, principal, slice_text(principal->name));
    EVENT_TEXT(&e, target, w->setup.server_reference);
    event_reason(&e,
                 "listener %s has moved: the client was sent to server_reference. Give it that "
                 "address, or take `moved` from the listener",
                 c->entrance->name);
    worker_report(w, &e);
    conn_close(w, c, c->entrance->is_moved_for_good ? MQTT_SERVER_MOVED : MQTT_USE_ANOTHER_SERVER);
}

static const struct credential *credential_find(const struct directory_entry *e, uint64_t id)
{
    for (size_t i = 0; e != NULL && i < e->n_credentials; i++) {
        if (e->credentials[i]->id == id) {
            return e->credentials[i];
        }
    }
    return NULL;
}

static bool has_key(const struct worker *w, const struct directory_entry *e)
{
    for (size_t i = 0; e != NULL && i < e->n_credentials; i++) {
        if (e->credentials[i]->kind == CREDENTIAL_X509 &&
            directory_is_live(w->realm->directory, e->credentials[i], w->wall_ms)) {
            return true;
        }
    }
    return false;
}

/* Who is asked for more shows it now: not by a ticket of before, and by its own key where it has
 * one, not by a word that anybody can repeat. NULL: it does. */
static const char *step_up_misses(const struct worker *w, const struct conn *c,
                                  const struct principal *p)
{
    if ((p->answers & PRINCIPAL_STEPPED_UP) == 0) {
        return NULL;
    }
    const struct directory_entry *e = directory_find(w->realm->directory, slice_text(p->name));
    const struct credential *by = credential_find(e, c->credential);
    bool is_bearer =
        c->login->token_wall_ms != 0 || (by != NULL && by->kind == CREDENTIAL_PASSWORD);
    if (c->is_resumed) {
        return "a response asks it for a full handshake: a ticket does not let it in. Let it "
               "connect without one; `sallyport respond list` says until when";
    }
    return is_bearer && has_key(w, e)
               ? "a response asks it for its certificate: a password or token does not let it in. "
                 "`sallyport respond list` says until when"
               : NULL;
}

/* May it come in here, before anything is asked about its session? False: said, and closed. */
static bool is_let_in(struct worker *w, struct conn *c, const struct principal *principal)
{
    const char *missing = step_up_misses(w, c, principal);
    if (!credential_stands(w, c, principal)) {
        refuse_open(w, c, EVENT_revoked, MQTT_NOT_AUTHORIZED, slice_text(principal->name),
                    "its credential was replaced or revoked while it connected. Use the newest "
                    "bundle");
    } else if (missing != NULL) {
        refuse_open(w, c, EVENT_auth_fail, MQTT_NOT_AUTHORIZED, slice_text(principal->name),
                    missing);
    } else if (c->entrance->is_moved) {
        refer(w, c, principal);
    } else {
        return true;
    }
    return false;
}

static void report_opened(struct worker *w, const struct conn *c, const struct opening *o)
{
    struct event e = event_of(w, EVENT_connect, c);
    event_reason(&e, "connected%s%s%s%s%s", o->is_present ? ", session resumed" : "",
                 c->is_resumed ? ", by a TLS ticket" : "",
                 c->login->lane.is_late ? ", in the renewal lane: its certificate has ended" : "",
                 mqtt_server_terms(c->engine)->version == MQTT_V31 ? ", by the old MQTT 3.1" : "",
                 c->entrance->is_plain ? ", in PLAINTEXT by an exception" : "");
    worker_report(w, &e);
}

/* It did not open; ERR_DENIED: that was said already, but for a stop. */
static void close_unopened(struct worker *w, struct conn *c, const struct opening *o, enum err err)
{
    if (err == ERR_TOO_LARGE) {
        c->account = o->account;
        refuse_open(w, c, EVENT_quota, MQTT_PACKET_TOO_LARGE, o->client_id,
                    "CONNACK is larger than the packets that the client accepts. Raise its maximum "
                    "packet size, at least to 512");
        c->account = NULL;
    } else if (err == ERR_SPACE || err == ERR_IO) {
        report_store(w, c, o->client_id, err, "a session that lasts");
        conn_close(w, c, MQTT_QUOTA_EXCEEDED);
    } else if (o->may_open || w->is_draining) {
        conn_close(w, c, w->is_draining ? drain_reason(w) : MQTT_SERVER_BUSY);
    }
    worker_account_release(w, o->account);
}

void open_here(struct worker *w, struct conn *c, const struct principal *principal)
{
    if (!is_let_in(w, c, principal)) {
        return;
    }
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
    o.may_open = !w->is_draining && passes(w, c, &o);
    c->account = NULL;
    struct detect_sample hello;
    bool is_watched = usage_hello(w, o.account, o.connect, o.is_assigned, c->peer, &hello);
    err = o.may_open ? bind(w, c, &o) : ERR_DENIED;
    if (err != OK) {
        close_unopened(w, c, &o, err);
        return;
    }
    report_opened(w, c, &o);
    hello.has_taken_over = o.has_taken_over;
    if (is_watched) {
        usage_hello_tell(w, &hello);
    }
    conn_arm(w, c);
    conn_mark_dirty(w, c);
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
    c->unread = TAKE(h->unread);
    c->credential = h->credential;
    login_put(c, TAKE(h->login));
    c->is_resumed = h->is_resumed;
    if (w->setup.driver.arrive(w->setup.driver.ctx, h->transport, c->handle) != OK) {
        conn_forget(w, c);
    } else {
        const struct principal *now = principal_now(w, h->principal);
        if (!entrance_is_open(w, h->entrance, h->principal->is_anonymous)) {
            refuse_open(w, c, EVENT_exception, MQTT_NOT_AUTHORIZED, slice_text(h->entrance->name),
                        "the exception that let this connection in has ended");
        } else if (now != NULL) {
            open_here(w, c, now);
        } else {
            refuse_open(w, c, EVENT_revoked, MQTT_NOT_AUTHORIZED, slice_text(h->principal->name),
                        "the principal was removed while its connection went to its home worker");
        }
        conn_feed(w, c, (struct slice){0});
    }
    handover_free(h);
}
