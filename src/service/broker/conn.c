/* Connections of a worker: bytes in, back-pressure, the end. */
#include "base/mem.h"
#include "service/broker/ceiling_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/login_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/record_private.h"
#include "service/broker/route_private.h"
#include "service/broker/sessions_private.h"
#include "service/broker/subscribe_private.h"
#include "service/broker/will_private.h"
#include "service/broker/worker_private.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/text.h"

enum {
    JOURNAL_LAG_PAUSE =
        65536, /* records appended and not committed: publishers are not read above this */
    CLOSE_LINGER_MS = 5000, /* for the last words of a connection to leave */
    PAUSED_TICK_MS = 1000,
    HANDOVER_BYTES =
        64 * 1024 /* of one packet: given to the log in between, so that the other workers see it */
};

/* ---- a stranger comes ---- */

/* A plain entrance is closed unless an exception names it (O7), and so is every one to anonymous
 * clients; its end closes what came in by it. */
bool entrance_is_open(const struct worker *w, const struct entrance *e, bool is_anonymous)
{
    const struct directory_version *v = w->realm->directory;
    struct slice name = slice_text(e->name);
    return (!e->is_plain ||
            directory_exception_find(v, name, DIRECTORY_ALLOW_PLAINTEXT, w->wall_ms) != NULL) &&
           (!is_anonymous ||
            directory_exception_find(v, name, DIRECTORY_ALLOW_ANONYMOUS, w->wall_ms) != NULL);
}

MUST_USE enum err worker_accept(struct worker *w, const struct entrance *entrance, const char *peer,
                                void *transport, uint64_t now_ms, uint64_t *ret_conn)
{
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    if (!entrance_is_open(w, entrance, false) || w->is_draining) {
        struct event e = event_make(EVENT_exposure);
        e.protocol = entrance->protocol;
        EVENT_TEXT(&e, listener, slice_text(entrance->name));
        EVENT_TEXT(&e, peer, slice_text(peer));
        event_reason(&e,
                     "a connection to listener %s was refused: no exception opens it. Use the "
                     "TLS listener",
                     entrance->name);
        if (!w->is_draining) {
            worker_report(w, &e);
        }
        return ERR_DENIED;
    }
    struct conn *c = NULL;
    if (ceiling_takes_nobody(w)) {
        return ERR_LIMIT;
    }
    TRY(conn_new(w, entrance, peer, transport, &c));
    /* The CONNECT decoder's limits are those of the process; strangers have no others. */
    enum err err = mqtt_gate_new(&w->wire, w->setup.limits->preauth_bytes, &c->gate);
    if (err != OK) {
        conn_forget(w, c);
        return err;
    }
    if (entrance->takes_v31) {
        mqtt_gate_take_v31(c->gate);
    }
    wheel_arm(&w->conn_wheel, &c->timer,
              w->now_ms + (uint64_t)w->setup.limits->preauth_seconds * 1000);
    *ret_conn = c->handle;
    return OK;
}

/* Its own, empty at first; NULL: no memory. */
static struct shown *shown_of(struct conn *c)
{
    if (c->login->shown == NULL && login_own(c) == OK) {
        c->login->shown = mem_zalloc(sizeof(*c->login->shown));
    }
    return c->login->shown;
}

void worker_present(struct worker *w, uint64_t conn, struct slice name, const struct digest *spki,
                    const struct digest *id)
{
    struct conn *c = conn_find(w, conn);
    if (c == NULL) {
        return;
    }
    struct shown *s = shown_of(c);
    if (s == NULL || !slice_to_text(name, s->name, sizeof(s->name))) {
        conn_close(w, c, MQTT_SUCCESS); /* nothing else lets it in: it would be judged by less */
        return;
    }
    s->spki = *spki;
    s->cert_id = *id;
}

void worker_certificate_ends(struct worker *w, uint64_t conn, int64_t ends_wall_ms)
{
    struct conn *c = conn_find(w, conn);
    if (c != NULL && lane_note_end(c, ends_wall_ms) != OK) {
        conn_close(w, c, MQTT_SUCCESS); /* it would be judged by less */
    }
}

void worker_resumed(struct worker *w, uint64_t conn)
{
    struct conn *c = conn_find(w, conn);
    if (c != NULL) {
        c->is_resumed = true;
    }
}

void worker_hurry(struct worker *w, uint64_t conn, uint64_t at_ms)
{
    struct conn *c = conn_find(w, conn);
    if (c != NULL && c->phase == CONN_GATE) {
        wheel_arm(&w->conn_wheel, &c->timer, at_ms);
    }
}

bool worker_is_known(const struct worker *w, uint64_t conn)
{
    const struct conn *c = conn_find(w, conn);
    return c != NULL && c->phase == CONN_OPEN;
}

void *worker_transport(const struct worker *w, uint64_t conn)
{
    struct conn *c = conn_find(w, conn);
    return c != NULL ? c->transport : NULL;
}

/* ---- the end ---- */

static struct slice reference_for(const struct worker *w, enum mqtt_reason reason)
{
    bool is_elsewhere = reason == MQTT_USE_ANOTHER_SERVER || reason == MQTT_SERVER_MOVED;
    return is_elsewhere ? w->setup.server_reference : (struct slice){0};
}

void conn_close(struct worker *w, struct conn *c, enum mqtt_reason reason)
{
    switch (c->phase) {
    case CONN_GATE:
    case CONN_ASKED:
        if (reason != MQTT_SUCCESS) {
            mqtt_gate_refer(c->gate, reason, reference_for(w, reason));
        }
        break;
    case CONN_OPEN:
        mqtt_server_refer(c->engine, reason, reference_for(w, reason));
        break;
    case CONN_CLOSING:
    case CONN_FREE:
        return;
    }
    c->phase = CONN_CLOSING;
    c->closed_for = reason;
    c->is_paused = false;
    list_unlink(&c->paused);
    c->unread = buf_free(c->unread);
    wheel_arm(&w->conn_wheel, &c->timer, w->now_ms + CLOSE_LINGER_MS);
    conn_mark_dirty(w, c);
}

bool worker_is_finished(const struct worker *w, uint64_t conn)
{
    const struct conn *c = conn_find(w, conn);
    return c != NULL && c->phase == CONN_CLOSING &&
           (c->is_abandoned || c->engine == NULL || !mqtt_server_has_output(c->engine));
}

bool worker_has_left(const struct worker *w, uint64_t conn)
{
    const struct conn *c = conn_find(w, conn);
    return c != NULL && c->has_left;
}

bool worker_is_shed(const struct worker *w, uint64_t conn)
{
    const struct conn *c = conn_find(w, conn);
    return c != NULL && c->is_shed;
}

void worker_backlog(struct worker *w, uint64_t conn, size_t n)
{
    struct conn *c = conn_find(w, conn);
    if (c != NULL) {
        c->backlog_bytes = n;
    }
}

void worker_gone(struct worker *w, uint64_t conn, const char *why, uint64_t now_ms)
{
    struct conn *c = conn_find(w, conn);
    if (c == NULL) {
        return;
    }
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    conn_release_session(w, c, why);
    conn_forget(w, c);
}

/* Its packets may be there, and we do not read them, or it waits for CONNACK before it sends any:
 * that is no silence of the client. */
static bool is_kept_waiting(const struct worker *w, const struct conn *c)
{
    return c->is_paused || c->hello_lsn > w->committed || mqtt_server_awaits_answer(c->engine);
}

/* CONNACK can leave. */
static void is_greeted(const struct worker *w, struct conn *c)
{
    if (c->hello_lsn != 0 && c->phase == CONN_OPEN) {
        mqtt_server_listen(c->engine, w->now_ms);
    }
    c->hello_lsn = 0;
}

void conn_timeout(struct worker *w, struct conn *c)
{
    if (c->phase == CONN_GATE || c->phase == CONN_ASKED) {
        struct event e = event_of(w, EVENT_slow_client, c);
        event_reason(&e, "no complete CONNECT and login within %u s; the connection was closed",
                     w->setup.limits->preauth_seconds);
        worker_report(w, &e);
        count_add(&counts(w)->refused_limit, 1);
        count_limit(counts(w), LIMIT_preauth_seconds);
        conn_close(w, c, MQTT_SUCCESS);
    } else if (c->phase == CONN_OPEN && auth_token_over(w, c)) {
        return;
    } else if (c->phase == CONN_OPEN && is_kept_waiting(w, c)) {
        wheel_arm(&w->conn_wheel, &c->timer, w->now_ms + PAUSED_TICK_MS);
    } else if (c->phase == CONN_OPEN && c->hello_lsn != 0) { /* committed in this very turn */
        is_greeted(w, c);
        conn_arm(w, c);
    } else if (c->phase == CONN_OPEN && mqtt_server_tick(c->engine, w->now_ms) == ERR_TIMEOUT) {
        conn_close(w, c, MQTT_KEEP_ALIVE_TIMEOUT);
    } else if (c->phase == CONN_CLOSING) {
        c->is_abandoned = true; /* it does not read its last words */
        conn_mark_dirty(w, c);
    } else {
        conn_arm(w, c);
    }
}

/* While OPEN the timer follows the engine, whose deadline only grows, so it is re-armed when it
 * fires; and the token, whose new end arms it anew. */
void conn_arm(struct worker *w, struct conn *c)
{
    if (c->phase == CONN_OPEN) {
        uint64_t at = mqtt_server_deadline(c->engine);
        wheel_arm(&w->conn_wheel, &c->timer,
                  at < c->login->token_until_ms ? at : c->login->token_until_ms);
    }
}

/* ---- back-pressure ---- */

void conn_pause(struct worker *w, struct conn *c, uint64_t until_ms)
{
    c->is_paused = true;
    c->is_held = false;
    c->paused_until_ms = until_ms;
    if (!list_is_linked(&c->paused)) {
        list_append(&w->paused, &c->paused);
    }
}

static bool worker_is_congested(const struct worker *w)
{
    return outboxes_are_full(w, OVERFLOW_PAUSE) || w->last_lsn - w->committed > JOURNAL_LAG_PAUSE;
}

void conns_resume(struct worker *w)
{
    /* Whoever is held again goes behind the last one, and waits for the next turn there. */
    const struct list_node *last = w->paused.head.prev;
    struct list_node *next = w->paused.head.next;
    bool is_last = list_is_empty(&w->paused);
    while (!is_last && !worker_is_congested(w)) {
        struct conn *c = LIST_ENTRY(next, struct conn, paused);
        is_last = next == last;
        next = next->next;
        if (c->is_held && hold_waits(w)) {
            continue; /* its place in front stays its own */
        }
        if (c->paused_until_ms == UINT64_MAX || c->paused_until_ms <= w->now_ms) {
            c->is_paused = false;
            list_unlink(&c->paused);
            mqtt_server_listen(c->engine, w->now_ms);
            conn_mark_dirty(w, c);
            conn_feed(w, c, (struct slice){0});
        }
    }
}

bool worker_wants_input(const struct worker *w, uint64_t conn)
{
    const struct conn *c = conn_find(w, conn);
    if (c == NULL) {
        return false;
    }
    switch (c->phase) {
    case CONN_GATE:
        return true;
    case CONN_OPEN:
        return !c->is_paused && !mqtt_server_is_blocked(c->engine);
    case CONN_ASKED:
    case CONN_CLOSING:
    case CONN_FREE:
        break;
    }
    return false;
}

/* May this publisher go on? Budget, rings and journal are asked before a packet is cut, so that a
 * full one delays a message and never loses it. */
static bool may_take(struct worker *w, struct conn *c, struct slice in)
{
    uint8_t first = in.p[0];
    /* Its subscription is not in force yet, and would miss it. */
    bool is_early = first >> 4 == MQTT_PUBLISH && c->n_subacks > 0 && w->now_ms < c->held_until_ms;
    if (is_early || worker_is_congested(w)) {
        conn_pause(w, c, UINT64_MAX);
        return false;
    }
    if (first >> 4 == MQTT_PUBLISH && ceiling_holds(w, c)) {
        return false;
    }
    uint64_t wait_ms = bucket_wait_ms(&c->account->publishes, 1, w->now_ms);
    if (wait_ms == 0) {
        return hold_takes(w, c, in);
    }
    if (c->reported_rate_ms + 1000 <= w->now_ms) {
        c->reported_rate_ms = w->now_ms;
        struct event e = event_of(w, EVENT_rate, c);
        bool is_throttled = (c->account->principal->answers & PRINCIPAL_THROTTLED) != 0;
        event_reason(&e,
                     "the publish rate of %s is used up; its connection is read more slowly. %s",
                     c->account->principal->name,
                     is_throttled ? "It is throttled: see `sallyport respond list`"
                                  : "Raise publish_rate of its role if this is its normal load");
        worker_report(w, &e);
        count_add(&counts(w)->refused_rate, 1);
        count_limit(counts(w), LIMIT_publish_rate);
    }
    conn_pause(w, c, w->now_ms + wait_ms);
    return false;
}

/* ---- bytes in ---- */

/* SPEC: MQTT-3.14.4-3: a normal end forgets the will; every other reason keeps it. */
static void disconnect_event(struct worker *w, struct conn *c, const struct mqtt_disconnect *m)
{
    if (mqtt_props_has(&m->props, MQTT_PROP_SESSION_EXPIRY)) {
        uint32_t asked = mqtt_props_number(&m->props, MQTT_PROP_SESSION_EXPIRY, 0);
        if (c->session->expiry_s == 0 && asked > 0) {
            /* SPEC: MQTT5 3.14.2.2.2 */
            struct mqtt_fault fault = {.err = ERR_PROTOCOL, .reason = MQTT_PROTOCOL_ERROR};
            report_fault(w, c, &fault, "DISCONNECT");
            conn_close(w, c, MQTT_PROTOCOL_ERROR);
            return;
        }
        uint32_t most = grants_limits(&c->account->grants)->session_expiry_s;
        uint64_t lsn;
        c->session->expiry_s = asked < most ? asked : most;
        if (c->session->is_on_record && record_session(w, c->session, INT64_MAX, &lsn) != OK) {
            count_add(&counts(w)->dropped_memory, 1); /* said again when it falls asleep */
        }
    }
    c->is_clean_end = m->reason == MQTT_SUCCESS;
    if (c->is_clean_end) {
        will_forget(w, c->session);
    }
    c->has_left = true;
    conn_close(w, c, MQTT_SUCCESS);
}

static void take_event(struct worker *w, struct conn *c, const struct mqtt_event *ev)
{
    switch (ev->kind) {
    case MQTT_EVENT_PUBLISH:
    case MQTT_EVENT_PUBREL:
        publish_event(w, c, ev);
        break;
    case MQTT_EVENT_PUBACK:
    case MQTT_EVENT_PUBREC:
    case MQTT_EVENT_PUBCOMP:
        ack_event(w, c, ev);
        break;
    case MQTT_EVENT_SUBSCRIBE:
        (void)bucket_take(&c->account->publishes, 1, w->now_ms); /* it costs all workers as much */
        subscribe_event(w, c, &ev->subscribe);
        break;
    case MQTT_EVENT_UNSUBSCRIBE:
        (void)bucket_take(&c->account->publishes, 1, w->now_ms);
        unsubscribe_event(w, c, &ev->unsubscribe);
        break;
    case MQTT_EVENT_DISCONNECT:
        disconnect_event(w, c, &ev->disconnect);
        break;
    case MQTT_EVENT_AUTH:
        (void)bucket_take(&c->account->publishes, 1, w->now_ms); /* hashes, or a signature */
        reauth_event(w, c, &ev->auth);
        break;
    }
}

static void feed_open(struct worker *w, struct conn *c, struct slice *in)
{
    struct mqtt_event ev;
    size_t unseen = in->n; /* bytes that were not looked at ahead */
    while (c->phase == CONN_OPEN && !c->is_paused && in->n > 0 && may_take(w, c, *in)) {
        struct mqtt_fault fault = {0};
        size_t before = in->n;
        unseen = in->n <= unseen ? ahead_input(w, *in) : unseen;
        enum err err = mqtt_server_next(c->engine, in, w->now_ms, &fault, &ev);
        if (err == OK) {
            take_event(w, c, &ev);
            if (w->last_lsn - w->handed_lsn >= HANDOVER_RECORDS ||
                before - in->n >= HANDOVER_BYTES) {
                worker_handover(w);
            }
        } else {
            if (err != ERR_AGAIN) {
                report_fault(w, c, &fault, mqtt_type_name((enum mqtt_type)fault.type));
                conn_close(w, c, (enum mqtt_reason)fault.reason);
            }
            c->is_stalled = err == ERR_AGAIN && mqtt_server_is_blocked(c->engine);
            break;
        }
    }
    conn_mark_dirty(w, c);
}

static void feed_challenged(struct worker *w, struct conn *c, struct slice *in)
{
    struct mqtt_fault fault = {0};
    struct slice data;
    enum err err = mqtt_gate_answer(c->gate, in, &fault, &data);
    if (err == OK) {
        auth_answered(w, c, data);
    } else if (err == ERR_CLOSED) {
        conn_close(w, c, MQTT_SUCCESS);
    } else if (err != ERR_AGAIN) {
        report_fault(w, c, &fault, "the answer to a challenge");
        conn_close(w, c, MQTT_SUCCESS);
    }
}

static void feed_gate(struct worker *w, struct conn *c, struct slice *in)
{
    struct mqtt_fault fault = {0};
    if (mqtt_gate_is_challenged(c->gate)) {
        feed_challenged(w, c, in);
        return;
    }
    enum err err = mqtt_gate_next(c->gate, in, &fault);
    if (err == OK) {
        login_begin(w, c);
    } else if (err != ERR_AGAIN) {
        report_fault(w, c, &fault, "the first packet");
        conn_close(w, c, MQTT_SUCCESS); /* the gate has said what can be said */
    }
}

/* What arrived cannot be kept: too much from a stranger, or more than a client may have waiting. */
static void overrun(struct worker *w, struct conn *c)
{
    struct event e = event_of(w, EVENT_quota, c);
    if (c->phase == CONN_OPEN) {
        event_reason(
            &e,
            "%zu bytes wait unread and there is no room or memory for more; the connection "
            "was closed. Let the client send more slowly, or raise packet_bytes",
            conn_unread(c).n);
    } else {
        event_reason(&e,
                     "more than %u bytes arrived before the login was complete; the connection was "
                     "closed. Send what follows CONNECT after CONNACK",
                     w->setup.limits->preauth_bytes);
    }
    worker_report(w, &e);
    count_add(&counts(w)->refused_limit, 1);
    count_limit(counts(w), c->phase == CONN_OPEN ? LIMIT_packet_bytes : LIMIT_preauth_bytes);
    conn_close(w, c, c->phase == CONN_OPEN ? MQTT_QUOTA_EXCEEDED : MQTT_PACKET_TOO_LARGE);
}

MUST_USE enum err conn_keep(struct conn *c, struct slice more, size_t most)
{
    AUTO(buf_autofree) struct buf *first = NULL;
    if (c->unread == NULL) {
        first = mem_zalloc(sizeof(*first));
        if (first == NULL) {
            return ERR_NOMEM;
        }
    }
    TRY(buf_append(first != NULL ? first : c->unread, more, most));
    c->unread = first != NULL ? TAKE(first) : c->unread;
    return OK;
}

static enum err keep_rest(struct worker *w, struct conn *c, struct slice rest)
{
    size_t most = c->phase == CONN_OPEN ? (size_t)w->packet_most + UNREAD_SLACK : w->preauth_most;
    return conn_keep(c, rest, most);
}

/* Parses straight from what was read when nothing is left over from before; else from the joined
 * bytes. */
static void feed(struct worker *w, struct conn *c, struct slice plain)
{
    AUTO(buf_autofree) struct buf *joined = NULL;
    struct slice in = plain;
    uint64_t handle = c->handle;
    if (c->unread != NULL) {
        if (keep_rest(w, c, plain) != OK) {
            overrun(w, c);
            return;
        }
        joined = TAKE(c->unread);
        in = buf_slice(joined);
    }
    w->feeding = &in; /* a connection that moves or asks takes the rest from here */
    for (size_t before = in.n + 1; c != NULL && c->phase == CONN_GATE && in.n < before;) {
        before = in.n;
        feed_gate(w, c, &in);
        c = conn_find(w, handle);
    }
    if (c != NULL && c->phase == CONN_OPEN) {
        feed_open(w, c, &in);
    }
    w->feeding = NULL;
    if (c != NULL && c->phase != CONN_CLOSING && in.n > 0 && keep_rest(w, c, in) != OK) {
        overrun(w, c);
    }
}

/* What the packet in front of `unread` lacks; 0: it is whole and waits for something else, or its
 * length is not known yet. */
static size_t missing(const struct conn *c, struct slice plain)
{
    uint8_t bytes[MQTT_FIXED_MAX];
    struct wr head = wr_into(bytes, sizeof(bytes));
    struct mqtt_fixed f;
    wr_bytes(&head, slice_head(conn_unread(c), wr_left(&head)));
    wr_bytes(&head, slice_head(plain, wr_left(&head)));
    bool is_known = mqtt_fixed_decode(wr_slice(&head), SIZE_MAX, NULL, &f) == OK;
    return is_known && f.packet_n > conn_unread(c).n ? f.packet_n - conn_unread(c).n : 0;
}

/* A packet that came in pieces is joined, and it alone: what is behind it stays where it is. */
void conn_feed(struct worker *w, struct conn *c, struct slice plain)
{
    bool is_joined = c->phase == CONN_OPEN && c->unread != NULL && plain.n > 0;
    size_t n = is_joined ? missing(c, plain) : 0;
    uint64_t handle = c->handle;
    if (n > plain.n && conn_unread(c).n >= MQTT_FIXED_MAX) { /* the engine knows how long it is */
        if (keep_rest(w, c, plain) != OK) {
            overrun(w, c);
        }
        return;
    }
    if (n > 0 && n < plain.n) {
        feed(w, c, slice_head(plain, n));
        c = conn_find(w, handle);
        plain = slice_from(plain, n);
    }
    if (c != NULL) {
        feed(w, c, plain);
    }
}

void worker_input(struct worker *w, uint64_t conn, struct slice plain, uint64_t now_ms)
{
    struct conn *c = conn_find(w, conn);
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    if (c == NULL || plain.n == 0) {
        return;
    }
    conn_feed(w, c, plain);
}

size_t worker_output(struct worker *w, uint64_t conn, uint8_t *dst, size_t cap,
                     struct lending *lending, uint64_t now_ms)
{
    struct conn *c = conn_find(w, conn);
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    if (c == NULL || c->hello_lsn > w->committed) {
        return 0; /* CONNACK is a promise, too, and the first thing that leaves */
    }
    is_greeted(w, c);
    if (c->engine != NULL) {
        size_t n = deliver_output(w, c, dst, cap, lending);
        if (c->is_stalled && c->phase == CONN_OPEN && !mqtt_server_is_blocked(c->engine)) {
            /* What an answer or this output has made room for was read long ago: no socket will
             * say so. */
            c->is_stalled = false;
            conn_feed(w, c, (struct slice){0});
        }
        return n;
    }
    return c->gate != NULL ? mqtt_gate_output(c->gate, dst, cap) : 0;
}
