/* A line over UDP: DTLS, or OSCORE. */
#include <stdarg.h>

#include "app/cli/client_oscore.h"
#include "app/cli/client_trust.h"
#include "app/cli/coap_line.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "net/dtls.h"
#include "net/listener.h"
#include "net/oscore_client.h"
#include "net/udp.h"

#include <poll.h>

struct datagrams {
    struct coap_line line;
    struct udp *udp;
    struct client_oscore oscore;
    struct dtls *dtls;
    struct coap_endpoint *endpoint;
    struct coap_limits limits;
    struct coap_counters counters;
    struct net_peer peer;
    uint64_t association; /* 0: not open */
};

static struct datagrams *of(const struct coap_line *l)
{
    return CONTAINER_OF(l, struct datagrams, line);
}

static struct coap_line *on_free(struct coap_line *l)
{
    struct datagrams *d = of(l);
    coap_endpoint_free(d->endpoint);
    d->dtls = d->dtls != NULL ? dtls_free(d->dtls) : NULL;
    udp_free(d->udp);
    client_oscore_done(&d->oscore);
    return mem_free(d);
}

static void trace(const struct datagrams *d, const char *way, struct slice plain)
{
    static const char *const types[] = {"CON", "NON", "ACK", "RST"};
    struct coap_message m;
    if (d->line.ask->is_traced && coap_message_decode(plain, COAP_ENDPOINT_TOKEN_MAX, &m) == OK) {
        coap_line_trace(&d->line, way, types[m.type], &m);
    }
}

/* ---- DTLS, OSCORE ---- */

static void on_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    const struct datagrams *d = ctx;
    (void)!udp_send(d->udp, to, datagram); /* what is too long for UDP was too long before */
}

static void on_opened(void *ctx, const struct dtls_info *info)
{
    struct datagrams *d = ctx;
    d->association = info->id;
    d->line.is_open = true;
    d->line.owner.opened(d->line.owner.ctx);
}

static void on_received(void *ctx, uint64_t id, struct slice plain)
{
    struct datagrams *d = ctx;
    struct coap_line *l = &d->line;
    struct coap_event ev;
    (void)id;
    l->active_ms = coap_line_now(l);
    trace(d, "<", plain);
    if (l->code == COAP_LINE_GO_ON &&
        coap_endpoint_datagram(d->endpoint, plain, coap_line_now(l), &ev) == OK) {
        l->owner.event(l->owner.ctx, &ev);
    }
}

static void on_closed(void *ctx, uint64_t id, enum err why)
{
    struct datagrams *d = ctx;
    struct coap_line *l = &d->line;
    (void)id;
    (void)why;
    d->association = 0;
    l->is_open = false;
    if (l->code == COAP_LINE_GO_ON) {
        l->code = client_broken(l->cli, &l->ask->target, "");
    }
}

static void on_failed(void *ctx, const struct net_peer *peer, enum dtls_failure why,
                      struct slice psk_identity, const struct tls_refusal *how)
{
    struct datagrams *d = ctx;
    struct coap_line *l = &d->line;
    const struct client_target *t = &l->ask->target;
    char safe[TLS_TEXT_BYTES];
    (void)peer;
    (void)psk_identity;
    log_escape(how->text, strlen(how->text), safe, sizeof(safe));
    switch (why) {
    case DTLS_FAILED_TIMEOUT:
        coap_line_fail(l,
                       "%s port %u does not answer: is the server up, and the key the "
                       "one it knows?",
                       t->host, (unsigned)t->port);
        break;
    case DTLS_FAILED_CERTIFICATE:
        coap_line_fail(l,
                       "%s: nothing was sent to %s port %u. Use the ca.pem of this "
                       "server's own bundle, and a name that its certificate carries",
                       safe, t->host, (unsigned)t->port);
        break;
    case DTLS_FAILED_IDENTITY:
    case DTLS_FAILED_KEY:
    case DTLS_FAILED_PROTOCOL:
        coap_line_fail(l, "%s port %u refuses the handshake: %s; its log says why", t->host,
                       (unsigned)t->port, safe);
        break;
    }
}

static enum err on_number(void *ctx, uint64_t *ret)
{
    struct datagrams *d = ctx;
    enum err err = client_oscore_number(&d->oscore, ret);
    d->line.code = err == OK ? d->line.code : CLI_FAILED;
    return err;
}

static enum err on_begin(void *ctx, struct slice id_context)
{
    struct datagrams *d = ctx;
    enum err err = client_oscore_begin(&d->oscore, id_context);
    d->line.code = err == OK ? d->line.code : CLI_FAILED;
    return err;
}

static void on_refused(void *ctx, uint8_t code)
{
    struct datagrams *d = ctx;
    struct coap_line *l = &d->line;
    const struct client_target *t = &l->ask->target;
    char number[COAP_CODE_TEXT_BYTES];
    coap_code_text(code, number);
    if (code == COAP_EMPTY) {
        coap_line_fail(l, "no keys could be derived: nothing was sent");
    } else if (code == COAP_UNAUTHORIZED) {
        coap_line_fail(l,
                       "%s port %u does not take this OSCORE context (4.01): was the device "
                       "removed, disabled\n  or rotated? Then its newest bundle has another. A "
                       "server that derives no context anew (RFC 8613,\n  Appendix B.2) takes "
                       "none whose numbers are not on record here",
                       t->host, (unsigned)t->port);
    } else {
        coap_line_fail(l,
                       "%s port %u answered %s without protection: that is not believed. Is it "
                       "a listener for OSCORE?",
                       t->host, (unsigned)t->port, number);
    }
}

/* ---- a turn ---- */

static int fd(const struct coap_line *l)
{
    return udp_fd(of(l)->udp);
}

static short wants(const struct coap_line *l)
{
    (void)l;
    return POLLIN;
}

static uint64_t deadline(const struct coap_line *l)
{
    const struct datagrams *d = of(l);
    uint64_t sealed = dtls_deadline(d->dtls), plain = coap_endpoint_deadline(d->endpoint);
    return sealed < plain ? sealed : plain;
}

static enum err request(struct coap_line *l, const struct coap_request *r, uint32_t *ret_id)
{
    return coap_endpoint_request(of(l)->endpoint, r, coap_line_now(l), ret_id);
}

static void forget(struct coap_line *l, uint32_t id)
{
    coap_endpoint_forget(of(l)->endpoint, id);
}

static void ping(struct coap_line *l)
{
    (void)!coap_endpoint_ping(of(l)->endpoint, coap_line_now(l)); /* another one comes */
}

static void input(struct coap_line *l)
{
    struct datagrams *d = of(l);
    const struct udp_datagram *got;
    size_t n;
    enum err err = udp_recv(d->udp, &got, &n);
    if (err != OK) {
        l->code = err == ERR_CLOSED ? client_unreached(l->cli, &l->ask->target, err)
                                    : cli_fail(l->cli, "the socket failed: %s", err_name(err));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        dtls_input(d->dtls, &d->peer, got[i].bytes, coap_line_now(l));
    }
}

static void tick(struct coap_line *l)
{
    struct datagrams *d = of(l);
    if (dtls_deadline(d->dtls) <= coap_line_now(l)) {
        dtls_tick(d->dtls, coap_line_now(l));
    }
    while (l->code == COAP_LINE_GO_ON && coap_endpoint_deadline(d->endpoint) <= coap_line_now(l)) {
        struct coap_event ev;
        if (coap_endpoint_tick(d->endpoint, coap_line_now(l), &ev) != OK) {
            coap_line_fail(l, "no memory");
        } else if (ev.kind == COAP_EVENT_NONE) {
            break;
        } else {
            l->owner.event(l->owner.ctx, &ev);
        }
    }
}

static void flush(struct coap_line *l)
{
    struct datagrams *d = of(l);
    uint8_t out[COAP_MESSAGE_BYTES];
    size_t n;
    while (d->association != 0 && (n = coap_endpoint_output(d->endpoint, out, sizeof(out))) > 0) {
        l->active_ms = coap_line_now(l);
        trace(d, ">", slice_of(out, n));
        enum err err = dtls_send(d->dtls, d->association, slice_of(out, n), coap_line_now(l));
        if (err == ERR_TOO_LARGE) {
            coap_line_fail(l, "the request does not fit into one datagram: a smaller -b, "
                              "or a shorter path");
        }
    }
    udp_flush(d->udp);
}

/* A goodbye that costs nothing to lose: deregister, and close_notify. */
static void on_close(struct coap_line *l, const struct coap_request *cancel)
{
    struct datagrams *d = of(l);
    uint32_t ignored;
    if (cancel != NULL) {
        (void)!coap_endpoint_request(d->endpoint, cancel, coap_line_now(l), &ignored);
    }
    flush(l);
    dtls_close(d->dtls, d->association);
    udp_flush(d->udp);
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

static int open_dtls(struct datagrams *d, const struct dtls_handler *handler)
{
    const struct client_target *t = &d->line.ask->target;
    char text[TLS_TEXT_BYTES];
    struct dtls_client_config dtls = {.psk_identity = buf_slice(&t->psk_identity),
                                      .psk = buf_slice(&t->psk)};
    if (t->psk.n == 0) {
        dtls = (struct dtls_client_config){.ca_pem = buf_slice(&t->ca),
                                           .host = t->host,
                                           .chain_pem = buf_slice(&t->chain),
                                           .key_pem = buf_slice(&t->key)};
    }
    return dtls_client_openssl(&dtls, &d->peer, handler, text, &d->dtls) == OK
               ? COAP_LINE_GO_ON
               : cli_fail(d->line.cli, "credentials: %s", text);
}

static int open_oscore(struct datagrams *d, const struct dtls_handler *handler)
{
    const struct coap_ask *ask = d->line.ask;
    int code = client_oscore_open(d->line.cli, ask->oscore_path, ask->wait_ms, &d->oscore);
    if (code != CLI_DONE) {
        return code;
    }
    const struct client_oscore *o = &d->oscore;
    struct slice kept = slice_of(o->record.id_context, o->has_record ? o->record.id_context_n : 0);
    struct oscore_client_config config = {.ctx = d,
                                          .material = oscore_given_material(&o->given),
                                          .id_context = kept,
                                          .number = on_number,
                                          .begin = on_begin,
                                          .refused = on_refused,
                                          .random = &d->line.random};
    enum err err = oscore_client_new(&config, &d->peer, handler, &d->dtls);
    return err == OK
               ? COAP_LINE_GO_ON
               : cli_fail(d->line.cli, "%s cannot be used: %s", ask->oscore_path, err_name(err));
}

static int open_socket(struct datagrams *d)
{
    const struct client_target *t = &d->line.ask->target;
    struct cli *cli = d->line.cli;
    struct sockaddr_storage to;
    socklen_t to_n = sizeof(to);
    int socket;
    enum err err = net_connect_udp_from(t->host, t->port, t->from, &socket);
    if (err == ERR_CONFIG) {
        return cli_fail(cli, "-a %s is no address of this machine from which %s can be asked",
                        t->from, t->host);
    }
    if (err != OK) {
        return client_unreached(cli, t, err);
    }
    bool is_named = getpeername(socket, (struct sockaddr *)&to, &to_n) == 0;
    if (udp_new(socket, &d->udp) != OK || !is_named || net_peer_from(&to, &d->peer) != OK) {
        return cli_fail(cli, "no memory for a socket");
    }
    return COAP_LINE_GO_ON;
}

static int open_endpoint(struct datagrams *d)
{
    d->limits = coap_limits_default();
    d->limits.understood |=
        COAP_OPTION_BIT(COAP_OPTION_BLOCK1) | COAP_OPTION_BIT(COAP_OPTION_BLOCK2);
    struct coap_endpoint_setup setup = {.limits = &d->limits,
                                        .counters = &d->counters,
                                        .peer = net_peer_key(&d->peer),
                                        .seed = random_u64(&d->line.random),
                                        .proven = true};
    return coap_endpoint_new(&setup, coap_line_now(&d->line), &d->endpoint) == OK
               ? COAP_LINE_GO_ON
               : cli_fail(d->line.cli, "no memory");
}

int coap_datagrams_new(const struct coap_line *base, struct coap_line **ret)
{
    struct datagrams *d = mem_zalloc(sizeof(*d));
    if (d == NULL) {
        return cli_fail(base->cli, "no memory");
    }
    struct dtls_handler handler = {.ctx = d,
                                   .transmit = on_transmit,
                                   .opened = on_opened,
                                   .received = on_received,
                                   .closed = on_closed,
                                   .failed = on_failed};
    d->line = *base;
    d->line.ops = &ops;
    d->oscore.lock = -1;
    *ret = &d->line;
    int code = open_socket(d);
    code = code == COAP_LINE_GO_ON ? open_endpoint(d) : code;
    if (code == COAP_LINE_GO_ON) {
        code =
            base->ask->carrier == COAP_BY_DTLS ? open_dtls(d, &handler) : open_oscore(d, &handler);
    }
    return code;
}
