/* CoAP over TCP: connections, from their first byte to the last. */
#include "service/gateway/coap_stream.h"

#include "base/mem.h"
#include "security/identity/identity.h"
#include "service/gateway/door_private.h"

struct coap_stream {
    struct list_node node;  /* in door->streams */
    struct list_node dirty; /* in door->dirty_streams */
    struct coap_door *door;
    struct coap_channel *channel;
    struct association *a; /* NULL until it has logged in, and when that has ended */
    void *transport;
    struct timer deadline; /* of a stranger; then of the last words */
    size_t backlog;        /* bytes that its socket has not taken */
    struct buf kept;       /* came, and could not be used yet; in frames, each behind its length */
    struct buf part;       /* in frames: of a message that has not ended */
    enum coap_tcp_form form;
    uint64_t id;
    bool has_cert, is_resumed, is_known, is_shed, is_told, is_late;
    struct net_peer peer;
    struct digest spki, cert_id;
    int64_t ends_wall_ms;         /* of that certificate */
    const char *version, *cipher; /* static */
    char name[IDENTITY_NAME_BYTES];
};

struct coap_channel *stream_channel(const struct coap_stream *s)
{
    return s->channel;
}

size_t stream_backlog(const struct coap_stream *s)
{
    return s->backlog;
}

uint64_t stream_id(const struct coap_stream *s)
{
    return s->id;
}

void stream_mark(struct coap_stream *s)
{
    if (!list_is_linked(&s->dirty)) {
        list_append(&s->door->dirty_streams, &s->dirty);
    }
}

struct coap_stream *coap_door_next_dirty(struct coap_door *d)
{
    struct list_node *n = list_first(&d->dirty_streams);
    if (n == NULL) {
        return NULL;
    }
    list_unlink(n);
    return LIST_ENTRY(n, struct coap_stream, dirty);
}

struct coap_stream *coap_door_any_stream(const struct coap_door *d)
{
    struct list_node *n = list_first(&d->streams);
    return n != NULL ? LIST_ENTRY(n, struct coap_stream, node) : NULL;
}

/* ---- events ---- */

static struct event stream_event(const struct coap_stream *s, enum event_category category)
{
    char text[NET_PEER_TEXT_BYTES];
    if (s->a != NULL) {
        return association_event(s->a, category);
    }
    struct event e = door_event(s->door, category);
    net_peer_text(&s->peer, text);
    EVENT_TEXT(&e, peer, slice_text(text));
    EVENT_TEXT(&e, principal, slice_text(s->name)); /* our CA has signed it */
    return e;
}

static void report(const struct coap_stream *s, enum event_category category, const char *why,
                   const char *fix)
{
    struct event e = stream_event(s, category);
    event_reason(&e, "%s%s", why, fix);
    door_report(s->door, &e);
}

/* What it did wrong, as an event; what it did right needs none but its disconnect. */
static void report_end(const struct coap_stream *s)
{
    struct counters *counts = s->door->setup.counters;
    const char *why = coap_channel_why(s->channel);
    switch (coap_channel_ended(s->channel)) {
    case COAP_CHANNEL_MALFORMED:
        report(s, EVENT_malformed, why,
               " as CoAP over TCP: the connection was aborted. Fix the client");
        break;
    case COAP_CHANNEL_PROTOCOL:
        report(s, EVENT_protocol_error, why,
               ": the connection was aborted. Fix the client; it must speak CoAP over TCP (RFC "
               "8323)");
        break;
    case COAP_CHANNEL_TOO_LARGE:
        count_add(&counts->refused_limit, 1);
        count_limit(counts, LIMIT_packet_bytes);
        report(s, EVENT_quota, why,
               " (packet_bytes): the connection was aborted. Let it send larger values in blocks, "
               "or raise packet_bytes");
        break;
    case COAP_CHANNEL_NO_MEMORY:
        count_add(&counts->dropped_memory, 1);
        report(s, EVENT_quota, why,
               ": its connection was closed. Look at `sallyport alerts`, or raise memory_bytes");
        break;
    case COAP_CHANNEL_LIVES:
    case COAP_CHANNEL_ENDED_HERE:
    case COAP_CHANNEL_RELEASED:
    case COAP_CHANNEL_ABORTED:
    case COAP_CHANNEL_SILENT:
        break;
    }
}

static const char *end_words(const struct coap_stream *s)
{
    const char *why = coap_channel_why(s->channel);
    if (coap_channel_ended(s->channel) == COAP_CHANNEL_RELEASED) {
        return "the client released it";
    }
    return why[0] != '\0' ? why : "closed by the server";
}

/* ---- life ---- */

enum err coap_stream_open(struct coap_door *d, const struct coap_caller *caller, uint64_t now_ms,
                          struct coap_stream **ret)
{
    if (d->is_draining || worker_takes_nobody(d->setup.worker)) {
        return ERR_DENIED;
    }
    struct coap_stream *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return ERR_NOMEM;
    }
    struct coap_channel_setup setup = {.limits = &d->coap,
                                       .counters = &d->counts,
                                       .form = caller->form,
                                       .message_bytes = d->setup.limits->packet_bytes};
    enum err err = coap_channel_new(&setup, now_ms, &s->channel);
    if (err != OK) {
        mem_free(s);
        return err;
    }
    door_enter(d, now_ms);
    s->door = d;
    s->id = ++d->next_stream;
    s->transport = caller->transport;
    s->form = caller->form;
    s->peer = *caller->peer;
    s->cipher = s->version = "";
    list_append(&d->streams, &s->node);
    wheel_arm(&d->callers, &s->deadline, caller->until_ms);
    door_leave(d);
    *ret = s;
    return OK;
}

static void stream_free(struct coap_stream *s)
{
    wheel_cancel(&s->door->callers, &s->deadline);
    list_unlink(&s->node);
    list_unlink(&s->dirty);
    coap_channel_free(s->channel);
    buf_done(&s->kept);
    buf_done(&s->part);
    mem_free(s);
}

void coap_stream_gone(struct coap_stream *s, const char *why, uint64_t now_ms)
{
    struct coap_door *d = s->door;
    door_enter(d, now_ms);
    if (s->a != NULL) {
        association_close(s->a, why);
    }
    door_leave(d); /* what the association borrows of the stream is not touched any more */
    stream_free(s);
}

/* Who does not read keeps nothing open. */
static void say_farewell(struct coap_stream *s)
{
    wheel_arm(&s->door->callers, &s->deadline, s->door->now_ms + COAP_STREAM_FAREWELL_MS);
    stream_mark(s);
}

void stream_leave(struct coap_stream *s)
{
    bool is_orderly = s->door->is_draining;
    s->a = NULL;
    s->is_shed = worker_pressure(s->door->setup.worker) >= PRESSURE_CONSUMERS;
    /* Why is for the operator. */
    coap_channel_close(s->channel, is_orderly ? COAP_RELEASE : COAP_ABORT,
                       is_orderly ? "the server goes down" : "the server has ended it");
    say_farewell(s);
}

void stream_follow(struct coap_stream *s)
{
    if (s->is_told || coap_channel_ended(s->channel) == COAP_CHANNEL_LIVES) {
        return;
    }
    s->is_told = true;
    report_end(s);
    buf_done(&s->kept);
    buf_done(&s->part);
    say_farewell(s);
    if (s->a != NULL) {
        association_close(s->a, end_words(s));
    }
}

/* ---- who it is ---- */

void coap_stream_present(struct coap_stream *s, struct slice name, const struct digest *spki,
                         const struct digest *id, const char *version, const char *cipher)
{
    s->has_cert = slice_to_text(name, s->name, sizeof(s->name));
    s->spki = *spki;
    s->cert_id = *id;
    s->version = version;
    s->cipher = cipher;
}

void coap_stream_resumed(struct coap_stream *s)
{
    s->is_resumed = true;
}

void coap_stream_certificate_ends(struct coap_stream *s, int64_t ends_wall_ms)
{
    s->ends_wall_ms = ends_wall_ms;
}

static enum err log_in(struct coap_stream *s)
{
    struct coap_door *d = s->door;
    bool is_late = false;
    const struct directory_entry *entry = NULL;
    const struct credential *credential = NULL;
    char words[64];
    if (!s->has_cert) {
        report(s, EVENT_auth_fail, "a client of CoAP over TLS showed no certificate",
               ". Give it the one of its bundle");
        return ERR_AUTH;
    }
    struct late_claim claim = {.name = slice_text(s->name),
                               .spki = &s->spki,
                               .id = &s->cert_id,
                               .ends_wall_ms = s->ends_wall_ms};
    TRY(association_who(d, &s->peer, &claim, &entry, &credential, &is_late));
    (void)snprintf(words, sizeof(words), "%s with a certificate", s->version);
    struct dtls_info info = {
        .id = s->id, .peer = s->peer, .cipher = s->cipher, .is_resumed = s->is_resumed};
    TRY(stranger_steps_up(d, &info, entry->principal));
    TRY(association_begin(d, &info, s, entry, credential, is_late, words, &s->a));
    s->a->cert_id = &s->cert_id;
    return OK;
}

/* Its CSM has come. */
static void meet(struct coap_stream *s)
{
    struct coap_door *d = s->door;
    wheel_cancel(&d->callers, &s->deadline);
    if (log_in(s) != OK) {
        count_add(&d->setup.counters->refused_denied, 1);
        coap_channel_close(s->channel, COAP_ABORT, "refused: the log of the server says why");
        return;
    }
    s->is_known = true;
}

/* ---- bytes ---- */

/* One message, or the beginning of one. */
static void take_one(struct coap_stream *s, struct slice *in)
{
    struct coap_door *d = s->door;
    struct coap_event ev;
    struct coap_counters before = d->counts;
    shed_look(d);
    coap_channel_next(s->channel, in, d->now_ms, &ev);
    if (!s->is_known && coap_channel_is_open(s->channel)) {
        meet(s);
    }
    struct association *a = s->a;
    if (a != NULL) {
        a->heard_at_ms = d->now_ms;
        association_heard(a);
        association_report_refused(a, &before, (struct slice){0}, &ev.m);
        request_serve(a, &ev);
        errands_heard(a);
        association_serve(a);
    }
    stream_follow(s);
}

static void take(struct coap_stream *s, struct slice *in)
{
    while (in->n > 0 && coap_channel_wants_input(s->channel)) {
        take_one(s, in);
    }
}

static void put_by(struct coap_stream *s, struct buf *where, struct slice bytes)
{
    bool is_over = coap_channel_ended(s->channel) != COAP_CHANNEL_LIVES;
    if (bytes.n == 0 || is_over) {
        return;
    }
    if (buf_append(where, bytes, SIZE_MAX) != OK) {
        coap_channel_close(s->channel, COAP_ABORT, "no memory");
        report(s, EVENT_quota, "there was no memory for what it sent",
               ": its connection was closed. Look at `sallyport alerts`, or raise memory_bytes");
        stream_follow(s);
    }
}

static void take_framed(struct coap_stream *s, struct slice *in)
{
    while (in->n > 0 && coap_channel_wants_input(s->channel)) {
        struct rd r = rd_from(*in);
        struct slice message = rd_bytes(&r, rd_u32(&r));
        *in = slice_from(*in, r.at);
        take_one(s, &message);
    }
}

/* What was kept, as far as it can be used now. */
static void take_kept(struct coap_stream *s)
{
    struct slice in = buf_slice(&s->kept);
    size_t before = in.n;
    if (s->form == COAP_TCP_FRAMED) {
        take_framed(s, &in);
    } else {
        take(s, &in);
    }
    if (s->kept.n > 0 && in.n < before) { /* else its end has dropped it */
        buf_drop(&s->kept, before - in.n);
    }
    if (s->kept.n == 0) {
        buf_done(&s->kept);
    }
}

void coap_stream_input(struct coap_stream *s, struct slice plain, uint64_t now_ms)
{
    struct slice in = plain;
    door_enter(s->door, now_ms);
    if (s->kept.n == 0) {
        take(s, &in);
    }
    put_by(s, &s->kept, in);
    stream_mark(s);
    door_leave(s->door);
}

static void take_whole(struct coap_stream *s, struct slice message)
{
    if (s->kept.n == 0 && coap_channel_wants_input(s->channel)) {
        take_one(s, &message);
        return;
    }
    uint8_t length[4];
    struct wr w = wr_into(length, sizeof(length));
    wr_u32(&w, (uint32_t)message.n);
    put_by(s, &s->kept, wr_slice(&w));
    put_by(s, &s->kept, message);
}

/* What is longer than any message may be is judged by its beginning: it is none of ours to keep. */
void coap_stream_piece(struct coap_stream *s, struct slice piece, bool is_end, uint64_t now_ms)
{
    bool is_too_long = s->part.n + piece.n > coap_channel_message_max(s->channel);
    door_enter(s->door, now_ms);
    if (s->part.n > 0 || !is_end) {
        put_by(s, &s->part, piece);
        piece = buf_slice(&s->part);
    }
    if (is_end || is_too_long) {
        AUTO(buf_done) struct buf whole = s->part;
        s->part = (struct buf){0};
        take_whole(s, piece);
    }
    stream_mark(s);
    door_leave(s->door);
}

bool coap_stream_wants_input(const struct coap_stream *s)
{
    return s->kept.n == 0 && coap_channel_wants_input(s->channel);
}

size_t coap_stream_output(struct coap_stream *s, uint8_t *dst, size_t cap, uint64_t now_ms)
{
    door_enter(s->door, now_ms);
    if (s->kept.n > 0) {
        take_kept(s);
    }
    size_t n = coap_channel_output(s->channel, dst, cap);
    bool has_more = coap_channel_has_output(s->channel) ||
                    (s->kept.n > 0 && coap_channel_wants_input(s->channel));
    if (n > 0 && has_more) {
        stream_mark(s);
    }
    door_leave(s->door);
    return n;
}

void coap_stream_backlog(struct coap_stream *s, size_t n)
{
    s->backlog = n;
}

bool coap_stream_has_ended(const struct coap_stream *s)
{
    return coap_channel_ended(s->channel) != COAP_CHANNEL_LIVES;
}

bool coap_stream_is_finished(const struct coap_stream *s)
{
    return coap_stream_has_ended(s) && (s->is_late || !coap_channel_has_output(s->channel));
}

bool coap_stream_is_shed(const struct coap_stream *s)
{
    return s->is_shed;
}

bool coap_stream_is_known(const struct coap_stream *s)
{
    return s->is_known;
}

void *coap_stream_transport(const struct coap_stream *s)
{
    return s->transport;
}

/* ---- strangers ---- */

void streams_turn(struct coap_door *d)
{
    struct timer *t;
    wheel_advance(&d->callers, d->now_ms);
    while ((t = wheel_next(&d->callers)) != NULL) {
        struct coap_stream *s = CONTAINER_OF(t, struct coap_stream, deadline);
        if (coap_stream_has_ended(s)) {
            s->is_late = true;
            stream_mark(s);
            continue;
        }
        report(s, EVENT_slow_client, "no CSM came within preauth_seconds",
               ": the connection was closed. If it is one of ours, look at its network, or at what "
               "it speaks");
        coap_channel_close(s->channel, COAP_ABORT, "no CSM came in time");
        stream_follow(s);
    }
}

size_t streams_turn_away(struct coap_door *d)
{
    size_t n = 0;
    list_for_each (node, &d->streams) {
        struct coap_stream *s = LIST_ENTRY(node, struct coap_stream, node);
        if (!s->is_known && coap_channel_ended(s->channel) == COAP_CHANNEL_LIVES) {
            coap_channel_close(s->channel, COAP_RELEASE, "come again later");
            s->is_shed = true;
            stream_follow(s);
            n++;
        }
    }
    return n;
}
