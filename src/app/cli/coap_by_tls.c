/* A line over TCP: TLS, or WebSocket in it. SPEC: RFC8323. */
#include <errno.h>
#include <poll.h>

#include "app/cli/client_trust.h"
#include "app/cli/coap_line.h"
#include "base/mem.h"
#include "base/scope.h"
#include "engine/coap_channel.h"
#include "net/listener.h"
#include "net/stream.h"

enum {
    CONNECT_MS = 10 * 1000,
    GOODBYE_MS = 2 * 1000,
    MESSAGE_BYTES = COAP_ASK_BYTES_MAX + 64 * 1024, /* what is taken, unless -X says less */
    INPUT_BYTES = MESSAGE_BYTES + 2 * STREAM_RECV_BYTES
};

struct by_tls {
    struct coap_line line;
    struct tls *tls;
    struct stream_io *io;
    struct stream *stream;
    struct coap_channel *channel;
    struct coap_limits limits;
    struct coap_counters counters;
    struct buf part; /* over WebSocket: a message that is half there */
};

static struct by_tls *of(const struct coap_line *l)
{
    return CONTAINER_OF(l, struct by_tls, line);
}

static struct coap_line *on_free(struct coap_line *l)
{
    struct by_tls *b = of(l);
    b->stream = stream_free(b->stream);
    b->io = stream_io_free(b->io);
    b->tls = tls_free(b->tls);
    coap_channel_free(b->channel);
    buf_done(&b->part);
    return mem_free(b);
}

/* ---- in ---- */

/* Gives words when the channel has ended. */
static bool has_ended(struct by_tls *b)
{
    const struct client_target *t = &b->line.ask->target;
    const char *text = NULL;
    switch (coap_channel_ended(b->channel)) {
    case COAP_CHANNEL_LIVES:
        return false;
    case COAP_CHANNEL_RELEASED:
        text = "the server has released the connection: it goes down, or wants to be asked anew";
        break;
    case COAP_CHANNEL_SILENT:
        text = "the server does not answer any more";
        break;
    case COAP_CHANNEL_NO_MEMORY:
        text = "no memory";
        break;
    case COAP_CHANNEL_ABORTED:
        text = "the server has ended the connection (Abort); its log says why";
        break;
    case COAP_CHANNEL_ENDED_HERE:
    case COAP_CHANNEL_MALFORMED:
    case COAP_CHANNEL_PROTOCOL:
    case COAP_CHANNEL_TOO_LARGE:
        text = coap_channel_why(b->channel);
        break;
    }
    b->line.is_open = false;
    coap_line_fail(&b->line, "%s port %u: %s", t->host, (unsigned)t->port, text);
    return true;
}

static void take(struct by_tls *b, struct slice in)
{
    struct coap_line *l = &b->line;
    while (l->code == COAP_LINE_GO_ON && in.n > 0 && coap_channel_wants_input(b->channel)) {
        struct coap_event ev;
        coap_channel_next(b->channel, &in, coap_line_now(l), &ev);
        l->active_ms = coap_line_now(l);
        if (ev.kind == COAP_EVENT_RESPONSE) {
            coap_line_trace(l, "<", "", &ev.m);
            l->owner.event(l->owner.ctx, &ev);
        }
        if (!l->is_open && coap_channel_is_open(b->channel)) {
            l->is_open = true;
            l->owner.opened(l->owner.ctx);
        }
    }
    (void)has_ended(b);
}

/* Frames become messages, one by one. */
static void take_frames(struct by_tls *b, struct slice plain)
{
    size_t n_ends = 0, at = 0;
    const uint32_t *ends = stream_message_ends(b->stream, &n_ends);
    for (size_t i = 0; i < n_ends && b->line.code == COAP_LINE_GO_ON; i++) {
        struct slice rest = slice_from(slice_head(plain, ends[i]), at);
        at = ends[i];
        if (buf_append(&b->part, rest, INPUT_BYTES) != OK) {
            coap_line_fail(&b->line, "a message is too large, or there is no memory for it");
            return;
        }
        take(b, buf_slice(&b->part));
        buf_clear(&b->part);
    }
    if (buf_append(&b->part, slice_from(plain, at), INPUT_BYTES) != OK) {
        coap_line_fail(&b->line, "a message is too large, or there is no memory for it");
    }
}

static int failed(struct by_tls *b, enum err err)
{
    const struct client_target *t = &b->line.ask->target;
    if (err == ERR_AUTH) {
        return client_untrusted(b->line.cli, t, stream_verify(b->stream));
    }
    if (stream_refusal(b->stream) != 0) {
        return cli_fail(b->line.cli, "%s port %u%s: %s (HTTP %u)", t->host, (unsigned)t->port,
                        t->path, stream_error(b->stream), stream_refusal(b->stream));
    }
    return client_broken(b->line.cli, t, stream_error(b->stream));
}

static void input(struct coap_line *l)
{
    struct by_tls *b = of(l);
    stream_io_now(b->io, coap_line_now(l));
    do {
        struct slice plain;
        enum err err = stream_read(b->stream, b->io, &plain);
        if (plain.n > 0 && err == OK && l->ask->carrier == COAP_BY_WEBSOCKET) {
            take_frames(b, plain);
        } else if (plain.n > 0 && err == OK) {
            take(b, plain);
        }
        if (err != OK && l->code == COAP_LINE_GO_ON) {
            l->is_open = false;
            l->code = failed(b, err);
        }
    } while (l->code == COAP_LINE_GO_ON && stream_has_pending(b->stream));
}

/* ---- out ---- */

static void flush(struct coap_line *l)
{
    struct by_tls *b = of(l);
    size_t n = 1;
    enum err err = stream_is_blocked(b->stream) ? stream_flush(b->stream, b->io) : OK;
    while (err == OK && n > 0 && stream_is_ready(b->stream) && !stream_is_blocked(b->stream)) {
        uint8_t *dst = stream_io_out(b->io);
        n = coap_channel_output(b->channel, dst, STREAM_SEND_BYTES);
        struct slice part = slice_of(dst, n);
        err = n > 0 ? stream_write(b->stream, b->io, &part, 1) : OK;
        l->active_ms = n > 0 ? coap_line_now(l) : l->active_ms;
    }
    if (err != OK && err != ERR_AGAIN && l->code == COAP_LINE_GO_ON) {
        input(l); /* the server's last words may say why */
        l->is_open = false;
        l->code = l->code == COAP_LINE_GO_ON ? failed(b, ERR_CLOSED) : l->code;
    }
}

/* Release, close_notify, and a short wait until the server has it all. */
static void on_close(struct coap_line *l, const struct coap_request *cancel)
{
    struct by_tls *b = of(l);
    uint64_t end_ms = coap_line_now(l) + GOODBYE_MS;
    bool is_alive = true, has_closed = false;
    (void)cancel; /* observations end with the connection. SPEC: RFC8323 7.4 */
    coap_channel_close(b->channel, COAP_RELEASE, "");
    while (is_alive && coap_line_now(l) < end_ms) {
        flush(l);
        bool is_out = !coap_channel_has_output(b->channel) && !stream_is_blocked(b->stream);
        if (!has_closed && is_out) {
            stream_close(b->stream, b->io);
            has_closed = true;
        }
        short out = stream_is_blocked(b->stream) ? POLLOUT : 0;
        struct pollfd p = {.fd = stream_fd(b->stream), .events = (short)(POLLIN | out)};
        if (poll(&p, 1, loop_timeout(coap_line_now(l), end_ms)) < 0 && errno != EINTR) {
            return;
        }
        struct slice rest;
        if ((p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            is_alive = stream_read(b->stream, b->io, &rest) == OK;
        }
    }
}

/* ---- the rest ---- */

static int fd(const struct coap_line *l)
{
    return stream_fd(of(l)->stream);
}

static short wants(const struct coap_line *l)
{
    return (short)(POLLIN | (stream_is_blocked(of(l)->stream) ? POLLOUT : 0));
}

static uint64_t deadline(const struct coap_line *l)
{
    return coap_channel_deadline(of(l)->channel);
}

static enum err request(struct coap_line *l, const struct coap_request *r, uint32_t *ret_id)
{
    struct coap_message m = {.code = r->code, .options = r->options, .payload = r->payload};
    coap_line_trace(l, ">", "", &m);
    return coap_channel_request(of(l)->channel, r, ret_id);
}

static void forget(struct coap_line *l, uint32_t id)
{
    coap_channel_forget(of(l)->channel, id);
}

static void ping(struct coap_line *l)
{
    coap_channel_ping(of(l)->channel, coap_line_now(l));
}

static void tick(struct coap_line *l)
{
    struct by_tls *b = of(l);
    coap_channel_tick(b->channel, coap_line_now(l));
    (void)has_ended(b);
}

static const struct coap_line_ops ops = {.fd = fd,
                                         .wants = wants,
                                         .deadline = deadline,
                                         .request = request,
                                         .forget = forget,
                                         .ping = ping,
                                         .input = input,
                                         .tick = tick,
                                         .flush = flush,
                                         .close = on_close,
                                         .free = on_free};

/* ---- the start ---- */

static int open_channel(struct by_tls *b)
{
    const struct coap_line *l = &b->line;
    struct coap_channel_setup setup = {
        .limits = &b->limits,
        .counters = &b->counters,
        .form = l->ask->carrier == COAP_BY_WEBSOCKET ? COAP_TCP_FRAMED : COAP_TCP_STREAM,
        .message_bytes = l->ask->message_bytes > 0 ? l->ask->message_bytes : MESSAGE_BYTES,
        .is_client = true,
        .token_key = {random_u64(&l->random), random_u64(&l->random)}};
    b->limits = coap_limits_default();
    return coap_channel_new(&setup, coap_line_now(l), &b->channel) == OK &&
                   stream_io_new(&b->io) == OK
               ? COAP_LINE_GO_ON
               : cli_fail(l->cli, "no memory");
}

static int open_tls(struct by_tls *b)
{
    const struct client_target *t = &b->line.ask->target;
    bool is_websocket = b->line.ask->carrier == COAP_BY_WEBSOCKET;
    char text[TLS_TEXT_BYTES];
    struct tls_client_config tls = {.ca_pem = buf_slice(&t->ca),
                                    .alpn = is_websocket ? NULL : "coap", /* SPEC: RFC8323 8.2 */
                                    .host = t->host,
                                    .chain_pem = buf_slice(&t->chain),
                                    .key_pem = buf_slice(&t->key)};
    return tls_client_new(&tls, text, &b->tls) == OK
               ? COAP_LINE_GO_ON
               : cli_fail(b->line.cli, "certificates: %s", text);
}

static int open_stream(struct by_tls *b)
{
    const struct client_target *t = &b->line.ask->target;
    struct cli *cli = b->line.cli;
    int socket;
    enum err err = net_connect_tcp_from(t->host, t->port, t->from, CONNECT_MS, &socket);
    if (err == ERR_CONFIG) {
        return cli_fail(cli, "-a %s is no address of this machine from which %s can be asked",
                        t->from, t->host);
    }
    if (err != OK) {
        return client_unreached(cli, t, err);
    }
    if (stream_new(socket, STREAM_CLIENT, b->tls, &b->stream) != OK) {
        return cli_fail(cli, "no memory");
    }
    stream_io_now(b->io, coap_line_now(&b->line));
    struct ws_target ws = {.host = t->host, .port = t->port, .path = t->path, .is_coap = true};
    err = b->line.ask->carrier == COAP_BY_WEBSOCKET
              ? stream_upgrade_client(b->stream, &ws, MESSAGE_BYTES)
              : OK;
    err = err == OK ? stream_start(b->stream, b->io) : err;
    return err == OK ? COAP_LINE_GO_ON : failed(b, err);
}

int coap_by_tls_new(const struct coap_line *base, struct coap_line **ret)
{
    struct by_tls *b = mem_zalloc(sizeof(*b));
    if (b == NULL) {
        return cli_fail(base->cli, "no memory");
    }
    b->line = *base;
    b->line.ops = &ops;
    *ret = &b->line;
    int code = open_channel(b);
    code = code == COAP_LINE_GO_ON ? open_tls(b) : code;
    return code == COAP_LINE_GO_ON ? open_stream(b) : code;
}
