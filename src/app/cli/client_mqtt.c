#include "app/cli/client_mqtt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app/cli/client_trust.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"
#include "net/stream.h"

enum {
    CONNECT_MS = 10 * 1000,
    ANSWER_MS = 30 * 1000,
    GOODBYE_MS = 2 * 1000,
    OUTPUT_BYTES = CLIENT_PACKET_MAX + 64 * 1024,
    INPUT_BYTES = CLIENT_PACKET_MAX + 2 * STREAM_RECV_BYTES,
    REASON_BYTES = 256,
    AT_STREAM = 0,
    AT_SIGNAL,
    AT_INPUT,
    N_WATCHED
};

struct run {
    struct cli *cli;
    const struct client_mqtt *m;
    const struct client_target *target;
    const struct client_handler *h;
    struct clock clock;
    struct tls *tls;
    struct stream_io *io;
    struct stream *stream;
    struct mqtt_client *engine;
    struct buf in; /* packets not taken yet */
    int signals;
    int code;
    bool told_tls; /* for -d */
};

static void run_done(struct run *r)
{
    r->stream = stream_free(r->stream);
    r->io = stream_io_free(r->io);
    r->tls = tls_free(r->tls);
    r->engine = mqtt_client_free(r->engine);
    buf_done(&r->in);
    if (r->signals >= 0) {
        close(r->signals);
    }
}

static uint64_t now_of(const struct run *r)
{
    return r->clock.mono_ms(r->clock.ctx);
}

/* ---- -d ---- */

void client_debug(struct cli *cli, const struct client_mqtt *m, const char *format, ...)
{
    if (!m->debug) {
        return;
    }
    va_list args;
    va_start(args, format);
    fputs("sallyport: ", cli->err);
    vfprintf(cli->err, format, args);
    va_end(args);
    fputc('\n', cli->err);
}

static void debug_publish(struct run *r, const struct mqtt_publish *m)
{
    char topic[REASON_BYTES];
    log_escape(m->topic.p, m->topic.n, topic, sizeof(topic));
    client_debug(r->cli, r->m, "PUBLISH came: %s, QoS %d%s%s, id %d, %zu bytes", topic, m->qos,
                 m->retain ? ", retained" : "", m->dup ? ", again" : "", m->packet_id,
                 m->payload.n);
}

static void debug_event(struct run *r, const struct mqtt_client_event *ev)
{
    switch (ev->kind) {
    case MQTT_CLIENT_CONNACK:
        client_debug(r->cli, r->m, "CONNACK 0x%02x%s", ev->connack.code,
                     ev->connack.session_present ? ", the session was there" : "");
        break;
    case MQTT_CLIENT_PUBLISH:
        debug_publish(r, &ev->publish);
        break;
    case MQTT_CLIENT_PUBLISHED:
        client_debug(r->cli, r->m, "acknowledged: id %d, 0x%02x", ev->id, ev->reason);
        break;
    case MQTT_CLIENT_SUBACK:
        client_debug(r->cli, r->m, "SUBACK id %d, %zu filters", ev->id, ev->suback.codes.n);
        break;
    case MQTT_CLIENT_UNSUBACK:
        client_debug(r->cli, r->m, "UNSUBACK id %d", ev->id);
        break;
    case MQTT_CLIENT_DISCONNECT:
        client_debug(r->cli, r->m, "DISCONNECT 0x%02x", ev->disconnect.reason);
        break;
    }
}

/* ---- what the server says, in words ---- */

static const char *reason_string(const struct mqtt_props *p, char dst[REASON_BYTES])
{
    struct slice s = mqtt_props_text(p, MQTT_PROP_REASON_STRING);
    dst[0] = '\0';
    if (s.n > 0) {
        dst[0] = ':';
        dst[1] = ' ';
        log_escape(s.p, s.n, dst + 2, REASON_BYTES - 2);
    }
    return dst;
}

static int on_connack(struct run *r, const struct mqtt_connack *m)
{
    char text[REASON_BYTES];
    if (m->code == 0) {
        return r->h->open(r->h->ctx, r->engine, now_of(r));
    }
    return cli_fail(r->cli, "the server refuses the connection: %s (0x%02x)%s",
                    mqtt_connack_name(mqtt_client_version(r->engine), m->code), m->code,
                    reason_string(&m->props, text));
}

static int on_disconnect(struct run *r, const struct mqtt_disconnect *m)
{
    char text[REASON_BYTES];
    return cli_fail(r->cli, "the server ended the connection: %s (0x%02x)%s",
                    mqtt_reason_name(m->reason), m->reason, reason_string(&m->props, text));
}

static int on_event(struct run *r, const struct mqtt_client_event *ev)
{
    if (r->m->debug) {
        debug_event(r, ev);
    }
    switch (ev->kind) {
    case MQTT_CLIENT_CONNACK:
        return on_connack(r, &ev->connack);
    case MQTT_CLIENT_DISCONNECT:
        return on_disconnect(r, &ev->disconnect);
    case MQTT_CLIENT_PUBLISH:
    case MQTT_CLIENT_PUBLISHED:
    case MQTT_CLIENT_SUBACK:
    case MQTT_CLIENT_UNSUBACK:
        break;
    }
    return r->h->event(r->h->ctx, r->engine, ev, now_of(r));
}

/* ---- a turn ---- */

static void take_packets(struct run *r)
{
    struct slice all = buf_slice(&r->in);
    while (r->code == CLIENT_GO_ON) {
        struct mqtt_fault fault;
        struct mqtt_client_event ev;
        enum err err = mqtt_client_next(r->engine, &all, now_of(r), &fault, &ev);
        if (err == ERR_AGAIN) {
            break;
        }
        r->code = err == OK ? on_event(r, &ev)
                  : err == ERR_NOMEM
                      ? cli_fail(r->cli, "no memory")
                      : cli_fail(r->cli, "the server broke the protocol: %s (0x%02x)",
                                 mqtt_reason_name(fault.reason), fault.reason);
    }
    buf_drop(&r->in, r->in.n - all.n);
}

static int stream_failed(struct run *r, enum err err)
{
    if (err == ERR_AUTH) {
        return client_untrusted(r->cli, r->target, stream_verify(r->stream));
    }
    if (r->target->is_websocket && stream_refusal(r->stream) != 0) {
        return cli_fail(r->cli, "%s port %u%s: %s (HTTP %u)", r->target->host,
                        (unsigned)r->target->port, r->target->path, stream_error(r->stream),
                        stream_refusal(r->stream));
    }
    return client_broken(r->cli, r->target, stream_error(r->stream));
}

static void read_stream(struct run *r)
{
    do {
        struct slice plain;
        enum err err = stream_read(r->stream, r->io, &plain);
        if (err == OK && plain.n > 0) {
            err = buf_append(&r->in, plain, INPUT_BYTES);
        }
        if (err != OK) {
            take_packets(r); /* what came before the end counts */
            r->code = r->code == CLIENT_GO_ON ? stream_failed(r, err) : r->code;
            return;
        }
        take_packets(r);
    } while (r->code == CLIENT_GO_ON && stream_has_pending(r->stream));
}

/* Gives what the engine has to say to the stream. false: the connection is over. */
static bool flush(struct run *r)
{
    enum err err = stream_is_blocked(r->stream) ? stream_flush(r->stream, r->io) : OK;
    while (err == OK && stream_is_ready(r->stream) && mqtt_client_has_output(r->engine)) {
        uint8_t *dst = stream_io_out(r->io);
        struct slice part = slice_of(dst, mqtt_client_output(r->engine, dst, STREAM_SEND_BYTES));
        err = stream_write(r->stream, r->io, &part, 1);
        err = err == OK && stream_is_blocked(r->stream) ? ERR_AGAIN : err;
    }
    if (!r->told_tls && stream_is_ready(r->stream)) {
        r->told_tls = true;
        client_debug(r->cli, r->m, "%s, %s; CONNECT", stream_version(r->stream),
                     stream_cipher(r->stream));
    }
    return err == OK || err == ERR_AGAIN;
}

static uint64_t next_deadline(const struct run *r)
{
    uint64_t own = mqtt_client_deadline(r->engine);
    uint64_t theirs = r->h->deadline != NULL ? r->h->deadline(r->h->ctx) : UINT64_MAX;
    return own < theirs ? own : theirs;
}

static bool wants_input(const struct run *r)
{
    return r->h->wants_input != NULL && mqtt_client_is_open(r->engine) &&
           r->h->wants_input(r->h->ctx, r->engine);
}

static bool watch(struct run *r, struct pollfd watched[N_WATCHED])
{
    short out = stream_is_blocked(r->stream) ? POLLOUT : 0;
    watched[AT_STREAM] =
        (struct pollfd){.fd = stream_fd(r->stream), .events = (short)(POLLIN | out)};
    watched[AT_SIGNAL] = (struct pollfd){.fd = r->signals, .events = POLLIN};
    watched[AT_INPUT] = (struct pollfd){.fd = wants_input(r) ? STDIN_FILENO : -1, .events = POLLIN};
    int wait_ms = loop_timeout(now_of(r), next_deadline(r));
    return poll(watched, N_WATCHED, wait_ms) >= 0 || errno == EINTR;
}

static void on_time(struct run *r)
{
    if (mqtt_client_tick(r->engine, now_of(r)) != OK) {
        r->code = cli_fail(r->cli, "the server at %s port %u does not answer any more",
                           r->target->host, (unsigned)r->target->port);
        return;
    }
    if (r->h->deadline != NULL && r->h->deadline(r->h->ctx) <= now_of(r)) {
        r->code = r->h->tick(r->h->ctx, r->engine, now_of(r));
    }
}

static void turn(struct run *r)
{
    struct pollfd watched[N_WATCHED] = {0};
    if (!watch(r, watched)) {
        r->code = cli_fail(r->cli, "cannot wait for input: %s", strerror(errno));
        return;
    }
    stream_io_now(r->io, now_of(r));
    if (watched[AT_SIGNAL].revents != 0) {
        r->code = r->h->interrupted != NULL ? r->h->interrupted(r->h->ctx) : CLI_FAILED;
        return;
    }
    if (watched[AT_STREAM].revents != 0) {
        read_stream(r);
    }
    if (r->code == CLIENT_GO_ON && watched[AT_INPUT].revents != 0) {
        r->code = r->h->input(r->h->ctx, r->engine, now_of(r));
    }
    if (r->code == CLIENT_GO_ON) {
        on_time(r);
    }
    if (r->code == CLIENT_GO_ON && r->h->idle != NULL && mqtt_client_is_open(r->engine)) {
        r->code = r->h->idle(r->h->ctx, r->engine, now_of(r));
    }
    if (!flush(r) && r->code == CLIENT_GO_ON) {
        read_stream(r); /* the server's last words may say why */
        r->code = r->code == CLIENT_GO_ON ? stream_failed(r, ERR_CLOSED) : r->code;
    }
    if (r->code == CLIENT_GO_ON && r->in.n > 0) {
        take_packets(r); /* those that waited for room in the output */
    }
}

/* DISCONNECT, close_notify, and a short wait until the server has it all. */
static void say_goodbye(struct run *r)
{
    uint64_t end_ms = now_of(r) + GOODBYE_MS;
    client_debug(r->cli, r->m, "DISCONNECT");
    mqtt_client_disconnect_with(r->engine, MQTT_SUCCESS, &r->m->props.of[CLIENT_PROPS_DISCONNECT]);
    bool alive = flush(r);
    bool has_closed = false;
    while (alive && now_of(r) < end_ms) {
        if (!has_closed && !mqtt_client_has_output(r->engine) && !stream_is_blocked(r->stream)) {
            stream_close(r->stream, r->io);
            has_closed = true;
        }
        short out = stream_is_blocked(r->stream) ? POLLOUT : 0;
        struct pollfd p = {.fd = stream_fd(r->stream), .events = (short)(POLLIN | out)};
        if (poll(&p, 1, loop_timeout(now_of(r), end_ms)) < 0 && errno != EINTR) {
            return;
        }
        struct slice rest;
        alive = flush(r);
        if (alive && (p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            alive = stream_read(r->stream, r->io, &rest) == OK;
        }
    }
}

/* ---- the whole ---- */

/* So that Ctrl-C ends the connection in order instead of leaving a will behind. */
static int take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return -1;
    }
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int start(struct run *r, const struct client_mqtt *m)
{
    const struct client_target *t = r->target;
    struct mqtt_client_setup setup = {.packet_max = m->packet_max,
                                      .output_max = OUTPUT_BYTES,
                                      .answer_ms = ANSWER_MS,
                                      .receive_max = m->receive_max,
                                      .window = m->window};
    /* Not in the initializer: gcc 12 with -ftrivial-auto-var-init clears what it takes for padding
     * of the copy, and that is the will's content type. */
    setup.connect = m->connect;
    struct tls_client_config tls = {.ca_pem = buf_slice(&t->ca),
                                    .ca_dir = t->ca_dir,
                                    .use_os_authorities = t->use_os_authorities,
                                    .tls13_only = t->tls13_only,
                                    .alpn = t->alpn,
                                    .ciphers = t->ciphers,
                                    .host = t->host,
                                    .chain_pem = buf_slice(&t->chain),
                                    .key_pem = buf_slice(&t->key)};
    char text[TLS_TEXT_BYTES];
    int fd;
    if (tls_client_new(&tls, text, &r->tls) != OK) {
        return cli_fail(r->cli, "certificates: %s", text);
    }
    client_debug(r->cli, r->m, "connecting to %s port %u", t->host, (unsigned)t->port);
    enum err err = net_connect_tcp_from(t->host, t->port, t->from, CONNECT_MS, &fd);
    if (err == ERR_CONFIG) {
        return cli_fail(r->cli, "-A %s is no address of this machine from which %s can be reached",
                        t->from, t->host);
    }
    if (err != OK) {
        return client_unreached(r->cli, t, err);
    }
    if (stream_new(fd, STREAM_CLIENT, r->tls, &r->stream) != OK || stream_io_new(&r->io) != OK ||
        mqtt_client_new(&setup, now_of(r), &r->engine) != OK) {
        return cli_fail(r->cli, "no memory, or an option is too long");
    }
    stream_io_now(r->io, now_of(r));
    struct ws_target ws = {.host = t->host, .port = t->port, .path = t->path};
    err = t->is_websocket ? stream_upgrade_client(r->stream, &ws, CLIENT_PACKET_MAX) : OK;
    err = err == OK ? stream_start(r->stream, r->io) : err;
    return err == OK ? CLIENT_GO_ON : stream_failed(r, err);
}

int client_mqtt_run(struct cli *cli, struct client_mqtt *m, const struct client_handler *h)
{
    AUTO(run_done)
    struct run r = {.cli = cli,
                    .m = m,
                    .target = &m->target,
                    .h = h,
                    .clock = clock_system(),
                    .signals = take_signals()};
    r.code = start(&r, m);
    if (r.code != CLIENT_GO_ON) {
        return r.code;
    }
    while (r.code == CLIENT_GO_ON) {
        turn(&r);
    }
    say_goodbye(&r);
    return r.code;
}
