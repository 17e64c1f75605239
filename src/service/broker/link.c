/* The bytes of one TCP connection, between its stream and the worker. */
#include <assert.h>
#include <unistd.h>

#include "base/mem.h"
#include "security/identity/identity.h"
#include "service/broker/driver_private.h"
#include "service/broker/handshake.h"
#include "wire/mqtt/fixed.h"

static void link_ready(void *owner, uint32_t events);
static bool write_some(struct link *l);

/* The stream sees to the rest. */
static void forget_glance(const struct link *l)
{
    struct driver *d = l->driver;
    d->glanced = d->glanced == l ? NULL : d->glanced;
}

/* What only the link knows of; nobody waits for it any more. */
static void release(struct link *l)
{
    stream_end(link_stream(l));
    edition_unref(l->edition);
    mem_free(l->name);
    mem_free(l);
}

void link_free(struct link *l)
{
    forget_glance(l);
    admit_gone(l);
    list_unlink(&l->waiting);
    release(l);
}

static char *peer_place(const struct link *l)
{
    return (char *)link_stream(l) + stream_bytes();
}

const char *link_peer(const struct link *l)
{
    return peer_place(l);
}

static struct event link_event(const struct link *l, enum event_category category)
{
    const struct driver *d = l->driver;
    struct event e = event_make(category);
    e.wall_ms = d->setup.clock.wall_ms(d->setup.clock.ctx);
    e.protocol = l->entrance->entrance.protocol;
    EVENT_TEXT(&e, peer, slice_text(link_peer(l)));
    EVENT_TEXT(&e, listener, slice_text(l->entrance->entrance.name));
    EVENT_TEXT(&e, principal, slice_text(l->name != NULL ? l->name : ""));
    return e;
}

static void report(struct link *l, enum event_category category, const char *before,
                   const char *text, const char *fix)
{
    struct driver *d = l->driver;
    struct event e = link_event(l, category);
    event_reason(&e, "%s%s%s", before, text, fix);
    d->setup.event(d->setup.ctx, d->index, &e);
}

/* ---- the beginning ---- */

void link_open(struct driver *d, const struct driver_entrance *e, int fd,
               const struct net_peer *peer, uint64_t until_ms)
{
    char text[NET_PEER_TEXT_BYTES];
    net_peer_text(peer, text);
    struct link *l = mem_zalloc(sizeof(*l) + stream_bytes() + strlen(text) + 1);
    if (l == NULL) {
        (void)close(fd);
        return;
    }
    if (stream_begin(link_stream(l), fd, STREAM_SERVER, e->tls) != OK) {
        mem_free(l); /* the stream has closed fd */
        return;
    }
    l->driver = d;
    l->entrance = e;
    l->edition = edition_ref(d->edition);
    memcpy(peer_place(l), text, strlen(text) + 1);
    if (e->ws != NULL && stream_upgrade(link_stream(l), e->ws) != OK) {
        link_free(l);
        return;
    }
    enum err err = admit_enter(l, peer);
    if (err == OK) {
        err = party_accept(l, peer, until_ms);
    }
    if (err == OK) {
        err = stream_attach(link_stream(l), d->loop, link_ready, l);
    }
    if (err != OK) {
        party_gone(l, "no descriptor or memory for it");
        link_free(l);
    }
}

/* ---- the end ---- */

/* The connection is over for the worker; the socket stays a moment, so that the last words are not
 * cut by a reset. */
static void linger(struct link *l)
{
    struct driver *d = l->driver;
    l->conn = 0;
    tickets_leave(l);
    stream_close(link_stream(l), d->io);
    l->waiting_to_ms = d->now_ms + LINGER_MS;
    list_append(&d->lingering, &l->waiting);
    if (l->is_held && stream_hold(link_stream(l), false) != OK) {
        link_free(l);
    }
}

static void drop(struct link *l, const char *why)
{
    party_gone(l, why);
    link_free(l);
}

void link_crowd_out(struct link *l)
{
    if (l->conn == 0) {
        link_free(l);
    } else {
        drop(l, "too many connections that had not logged in (preauth_connections)");
    }
}

void link_hold(struct link *l)
{
    if (stream_hold(link_stream(l), true) != OK) {
        link_crowd_out(l);
    }
}

void link_lingering_tick(struct driver *d)
{
    list_for_each_safe (n, next, &d->lingering) {
        struct link *l = LIST_ENTRY(n, struct link, waiting);
        if (l->waiting_to_ms <= d->now_ms) {
            link_free(l);
        }
    }
}

static void report_handshake(struct link *l)
{
    struct driver *d = l->driver;
    struct event e = link_event(l, EVENT_tls_reject);
    struct event words = {.reason = ""};
    struct tls_refusal refusal = stream_refusal_of_tls(link_stream(l));
    struct slice opening = stream_opening(link_stream(l), d->io);
    if (opening.n > 0 && opening_of(opening) != OPENING_TLS) {
        handshake_explain_foreign(opening, &e);
    } else {
        handshake_explain(&refusal, e.wall_ms, &e);
    }
    words = e;
    event_reason(&e, "the TLS handshake was refused: %s", words.reason);
    d->setup.event(d->setup.ctx, d->index, &e);
}

static void report_upgrade(struct link *l, unsigned status)
{
    static const struct {
        unsigned status;
        enum event_category category;
        const char *fix;
    } rows[] = {
        {403, EVENT_acl_deny,
         ". If that page is yours, add its origin (like https://dash.example) "
         "to `origins` of this listener"},
        {404, EVENT_probe, ". Let the client use it"},
        {405, EVENT_probe, ". Let the client open a WebSocket"},
        {426, EVENT_protocol_error, ". Let the client open a WebSocket of version 13"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].status == status) {
            report(l, rows[i].category,
                   "the WebSocket upgrade was refused: ", stream_error(link_stream(l)),
                   rows[i].fix);
            return;
        }
    }
    report(
        l, EVENT_malformed, "the WebSocket upgrade was refused: ", stream_error(link_stream(l)),
        l->entrance->entrance.is_stream
            ? ". Let the client open a WebSocket with the subprotocol coap"
            : ". Let the client open a WebSocket with the subprotocol mqtt; MQTT alone belongs to "
              "the port of the mqtts listener");
}

static void report_frame(struct link *l, enum err err)
{
    report(l, err == ERR_TOO_LARGE ? EVENT_quota : EVENT_protocol_error,
           stream_error(link_stream(l)), "",
           err == ERR_TOO_LARGE
               ? "; the connection was closed. Let the client send smaller frames, or raise "
                 "packet_bytes"
               : "; the connection was closed. Let the client send its messages in masked binary "
                 "frames");
}

/* Why WebSocket ended, as events where it was the client's doing. */
static void report_websocket(struct link *l, enum err err)
{
    unsigned status = stream_refusal(link_stream(l));
    if (status != 0) {
        report_upgrade(l, status);
    } else if (err == ERR_PROTOCOL || err == ERR_TOO_LARGE) {
        report_frame(l, err);
    }
}

/* Why a stream ended, as an event where it was a handshake, and in words for the disconnect event.
 */
static const char *explain_end(struct link *l, enum err err)
{
    bool in_handshake = stream_is_tls(link_stream(l)) && !stream_is_established(link_stream(l));
    if (stream_is_over(link_stream(l))) {
        report_websocket(l, err);
    }
    if (in_handshake && err != ERR_CLOSED) {
        count_add(&l->driver->counters->handshakes_failed, 1);
        report_handshake(l);
    }
    switch ((unsigned)err) {
    case ERR_CLOSED:
        return stream_closed_cleanly(link_stream(l))
                   ? !party_is_mqtt(l) ? "the client closed the connection"
                                       : "the client closed the connection without DISCONNECT"
                   : "the connection was lost";
    case ERR_QUOTA:
        report(l, EVENT_flood, stream_error(link_stream(l)),
               stream_is_over(link_stream(l)) ? "" : " (too many TLS key updates)",
               "; the connection was closed. Look at what runs on that client");
        return stream_is_over(link_stream(l)) ? stream_error(link_stream(l))
                                              : "too many TLS key updates";
    default:
        return stream_error(link_stream(l));
    }
}

/* The stream gave an error. */
static void end(struct link *l, enum err err)
{
    const char *why = explain_end(l, err);
    if (stream_can_close(link_stream(l))) {
        party_gone(l, why);
        linger(l);
    } else {
        drop(l, why);
    }
}

void link_failed(struct link *l, enum err err)
{
    if (l->conn == 0) {
        link_free(l);
    } else {
        drop(l, explain_end(l, err));
    }
}

/* ---- identity ---- */

/* The leaf has been verified by TLS, now or when its ticket was given; whose it is says its name,
 * and the directory of now whether the key is theirs. */
static bool identify(struct link *l)
{
    struct driver *d = l->driver;
    AUTO(x509_autofree) struct x509 *x = NULL;
    enum err err = stream_peer_cert(link_stream(l), &x);
    l->is_identified = true;
    count_add(&d->counters->handshakes_ok, 1);
    if (stream_is_resumed(link_stream(l))) {
        count_add(&d->counters->handshakes_resumed, 1);
        party_resumed(l);
    }
    if (err == ERR_NOT_FOUND) {
        return true; /* it may log in by other means */
    }
    if (err == OK && party_judges(l, x)) {
        return true;
    }
    char name[IDENTITY_NAME_BYTES];
    if (err == OK) {
        err = identity_from_x509(x, IDENTITY_ANY, name);
    }
    if (err != OK) {
        report(l, EVENT_identity_mismatch,
               "the client's certificate names no principal (SAN URI urn:sallyport:device:NAME). "
               "Use the "
               "certificate of a bundle made by `sallyport device add`",
               "", "");
        return false;
    }
    l->name = mem_strdup(name);
    if (l->name == NULL) {
        return false;
    }
    party_present(l, slice_text(l->name), x509_info(x));
    return true;
}

enum err link_certificate(void *ctx, void *transport, struct buf *ret)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    const struct link *l = transport;
    (void)ctx;
    TRY(stream_peer_cert(link_stream(l), &x));
    return x509_to_der(x, ret);
}

/* ---- bytes ---- */

static bool has_departed(struct driver *d, const struct link *l)
{
    return d->departed == l;
}

/* Another protocol, by its first bytes: who made the mistake hears it, as far as it can be told in
 * what it speaks, and so does the operator. */
static bool refuse_opening(struct link *l, struct slice plain)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\n"
                               "Connection: close\r\n"
                               "Content-Type: text/plain\r\n"
                               "Content-Length: 29\r\n\r\n"
                               "This port speaks MQTT alone.\n";
    struct slice words = slice_text(http);
    bool is_judged = stream_is_upgraded(link_stream(l)) || !party_is_mqtt(l); /* elsewhere */
    enum opening opening = is_judged ? OPENING_OTHER : opening_of(plain);
    switch (opening) {
    case OPENING_HTTP:
        report(l, EVENT_malformed, "HTTP came to a listener that speaks MQTT. ",
               "A WebSocket client belongs to the port of the wss listener, ",
               "a browser nowhere here: look at what connects from there");
        (void)!stream_write(link_stream(l), l->driver->io, &words, 1); /* it ends in any case */
        return true;
    case OPENING_TLS:
        report(l, EVENT_malformed, "a TLS handshake came to a plaintext listener. ",
               "Let the client use the port of the mqtts listener", "");
        return true;
    case OPENING_MQTT:
    case OPENING_OTHER:
        break;
    }
    return false;
}

/* Who it is, as soon as the handshake has told: a mistake in the same read is theirs, too. False:
 * nobody that may stay. */
static bool is_somebody(struct link *l)
{
    bool has_proven = stream_is_tls(link_stream(l)) && stream_is_established(link_stream(l));
    return l->is_identified || !has_proven || identify(l);
}

/* Who has logged in and speaks alone is listened to with a glance. */
static enum err receive(struct link *l, struct slice *ret_plain)
{
    struct driver *d = l->driver;
    bool is_first = d->glanced == NULL || d->glanced == l;
    if (!d->is_lone || !is_first || l->admitted != NULL || !party_is_mqtt(l)) {
        return stream_read(link_stream(l), d->io, ret_plain);
    }
    d->glanced = l;
    return stream_glance(link_stream(l), d->io, ret_plain);
}

/* WebSocket has ended behind what was just taken: as over TCP, the answers to that go in front of
 * the last words. False: the link is gone. */
static bool answer_first(struct link *l)
{
    bool is_last = stream_can_close(link_stream(l)) && stream_is_ready(link_stream(l)) &&
                   !stream_is_blocked(link_stream(l));
    return !is_last || write_some(l);
}

/* One receive, and what TLS still holds. False: the link is gone from this driver. */
static bool read_some(struct link *l)
{
    struct driver *d = l->driver;
    struct slice plain;
    count_add(&d->counters->reads, 1);
    do {
        enum err err = receive(l, &plain);
        bool may_stay = is_somebody(l);
        if (err != OK) {
            end(l, err);
            return false;
        }
        if (!may_stay) {
            drop(l, "no identity");
            return false;
        }
        if (!l->has_spoken && plain.n > 0) {
            l->has_spoken = true;
            if (refuse_opening(l, plain)) {
                party_gone(l, "it speaks another protocol");
                linger(l);
                return false;
            }
            admit_spoke(l);
        }
        d->departed = NULL;
        party_input(l, plain);
        if (has_departed(d, l) || !answer_first(l)) {
            return false;
        }
    } while (stream_has_pending(link_stream(l)) && party_wants_input(l));
    return true;
}

static void discard_input(struct link *l)
{
    struct slice plain;
    if (stream_read(link_stream(l), l->driver->io, &plain) != OK) {
        link_free(l);
    }
}

static void serve_input(struct link *l)
{
    if (l->conn == 0) {
        discard_input(l);
    } else if (read_some(l) && !party_is_dirty(l) && !(l->driver->is_lone && party_put_off(l))) {
        link_pump(l); /* else this turn's dirty pass does, once, with what others have for it; and
                         behind who gets what came alone */
    }
}

void link_step(struct link *l)
{
    if (stream_hold(link_stream(l), false) != OK) {
        link_crowd_out(l);
    } else {
        serve_input(l);
    }
}

static void link_ready(void *owner, uint32_t events)
{
    struct link *l = owner;
    struct driver *d = l->driver;
    bool has_input = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
    if ((events & EPOLLOUT) != 0) {
        enum err err = stream_flush(link_stream(l), d->io);
        if (err != OK && err != ERR_AGAIN) {
            link_failed(l, err);
            return;
        }
    }
    if (has_input && stream_is_tls(link_stream(l)) && !stream_is_established(link_stream(l))) {
        admit_wait(l);
    } else if (has_input || l->conn == 0) {
        serve_input(l);
    } else {
        link_pump(l);
    }
}

/* True while there is something to do: the link may have more to read than epoll will say. */
static bool update_hold(struct link *l)
{
    bool wants = party_wants_input(l);
    if (l->is_held == !wants) {
        /* The output of this very pump may have made room for what TLS holds since the last read.
         */
        return wants && stream_has_pending(link_stream(l));
    }
    l->is_held = !wants;
    if (stream_hold(link_stream(l), !wants) != OK) {
        drop(l, "the event loop failed");
        return false;
    }
    return wants && stream_has_pending(link_stream(l));
}

/* What party_output gave is one message then. */
static size_t whole_message(struct slice bytes)
{
    return bytes.n;
}

static size_t first_packet(struct slice bytes)
{
    struct mqtt_fixed f;
    /* They are our own: each one decodes. */
    return mqtt_fixed_decode(bytes, bytes.n, NULL, &f) == OK ? f.packet_n : bytes.n;
}

static_assert((unsigned)LENDING_PARTS <= (unsigned)STREAM_PARTS_ONCE, "one send a turn");

static enum err write_lent(struct link *l, struct slice copied)
{
    struct driver *d = l->driver;
    struct slice parts[LENDING_PARTS];
    size_t n = lending_parts(&d->lending, copied, parts);
    enum err err = stream_write(link_stream(l), d->io, parts, n);
    lending_done(&d->lending);
    return err;
}

static enum err write_output(struct link *l, struct slice copied)
{
    return l->driver->lending.n > 0
               ? write_lent(l, copied)
               : stream_write_packets(link_stream(l), l->driver->io, copied,
                                      party_is_mqtt(l) ? first_packet : whole_message);
}

/* WebSocket has ended: nobody is there to read it. */
static bool is_unheard(const struct link *l)
{
    return stream_can_close(link_stream(l)) && !stream_is_ready(link_stream(l));
}

static bool write_some(struct link *l)
{
    struct driver *d = l->driver;
    uint8_t *out = stream_io_out(d->io);
    /* A frame of WebSocket is cut from what lies together, a record of TLS is sealed from it. */
    bool may_lend = !stream_is_upgraded(link_stream(l)) && !stream_is_tls(link_stream(l));
    size_t n = party_output(l, out, STREAM_SEND_BYTES, may_lend ? &d->lending : NULL);
    if (n == 0 || is_unheard(l)) {
        return true;
    }
    count_add(&d->counters->writes, 1);
    pace_sent(&d->pace, d->now_ms, n + d->lending.bytes);
    enum err err = write_output(l, slice_of(out, n));
    if (err == ERR_NOMEM) {
        report(l, EVENT_slow_client,
               "disconnected: what its socket did not take could not be kept: memory is at "
               "memory_bytes. ",
               "Let it read faster, lower queue_bytes of its role, or raise memory_bytes", "");
        count_add(&d->counters->shed_slow, 1);
        drop(l, "memory");
        return false;
    }
    if (err != OK) {
        drop(l, "the connection was lost");
        return false;
    }
    return true;
}

void link_pump(struct link *l)
{
    bool is_known = party_is_known(l);
    if (is_known) {
        admit_known(l);
        tickets_join(l);
    }
    bool can_write = stream_is_ready(link_stream(l)) && !stream_is_blocked(link_stream(l));
    if ((can_write || is_unheard(l)) && !write_some(l)) {
        return;
    }
    party_backlog(l, stream_pending_bytes(link_stream(l)));
    if (party_is_shed(l) && stream_is_blocked(link_stream(l))) {
        drop(l, "memory");
        return;
    }
    if (party_is_finished(l)) {
        if (!stream_is_established(link_stream(l))) {
            drop(l, "closed by the server"); /* there is nobody yet to say a last word to */
            return;
        }
        bool is_done = party_has_left(l) && stream_is_bare(link_stream(l));
        party_gone(l, "closed by the server");
        if (is_done) {
            link_free(l); /* nothing comes any more that would turn its last words into a reset */
        } else {
            linger(l);
        }
        return;
    }
    if (update_hold(l) && read_some(l)) {
        /* What this reads becomes output in this turn's dirty pass. */
        return;
    }
}

/* ---- hand-over ---- */

void link_depart(void *ctx, void *transport)
{
    struct driver *d = ctx;
    struct link *l = transport;
    admit_known(l); /* who moves has logged in */
    tickets_leave(l);
    forget_glance(l);
    stream_detach(link_stream(l));
    d->departed = l;
}

enum err link_arrive(void *ctx, void *transport, uint64_t conn)
{
    struct driver *d = ctx;
    struct link *l = transport;
    l->driver = d;
    l->conn = conn;
    l->is_held = true; /* the pump after CONNACK lifts it, and reads what TLS holds already */
    enum err err = stream_attach(link_stream(l), d->loop, link_ready, l);
    if (err == OK) {
        err = stream_hold(link_stream(l), true);
    }
    if (err != OK) {
        link_free(l);
    }
    return err;
}

void link_discard(void *ctx, void *transport)
{
    (void)ctx;
    release(transport);
}
