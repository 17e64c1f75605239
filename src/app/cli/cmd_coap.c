/* coap: one request, or an observation, over DTLS or under OSCORE. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app/cli/client_format.h"
#include "app/cli/client_json.h"
#include "app/cli/client_oscore.h"
#include "app/cli/client_trust.h"
#include "app/cli/coap_ask.h"
#include "app/cli/coap_flags.h"
#include "app/cli/commands.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/scope.h"
#include "engine/coap_block_client.h"
#include "net/dtls.h"
#include "net/listener.h"
#include "net/oscore_client.h"
#include "net/udp.h"

enum {
    GO_ON = -1,
    ECHO_BYTES_MAX = 40 /* SPEC: RFC9175 2.2.1 */
};

struct asking {
    struct cli *cli;
    struct coap_ask ask;
    struct coap_transfer transfer;
    FILE *out;
    bool is_terminal;
    uint8_t echo[ECHO_BYTES_MAX]; /* goes with the next message */
    size_t echo_n;
    /* the connection */
    struct clock clock;
    struct random_source random;
    struct udp *udp;
    struct client_oscore oscore;
    struct dtls *dtls;
    struct coap_endpoint *endpoint;
    struct coap_limits limits;
    struct coap_counters counters;
    struct net_peer peer;
    uint64_t association; /* 0: not open yet */
    uint64_t start_ms, end_ms;
    uint64_t active_ms;    /* the last message either way */
    uint32_t id, fetch_id; /* of the request, or the observation; of the rest of what it brought */
    int signals, code;
    bool has_answer, has_echoed, is_observed;
};

static void asking_done(struct asking *a)
{
    a->endpoint = coap_endpoint_free(a->endpoint);
    a->dtls = a->dtls != NULL ? dtls_free(a->dtls) : NULL;
    a->udp = udp_free(a->udp);
    client_oscore_done(&a->oscore);
    coap_transfer_done(&a->transfer);
    coap_ask_done(&a->ask);
    if (a->out != NULL && a->out != a->cli->out) {
        (void)fclose(a->out);
    }
    if (a->signals >= 0) {
        (void)close(a->signals);
    }
}

static uint64_t now_of(const struct asking *a)
{
    return a->clock.mono_ms(a->clock.ctx);
}

/* -v: what a message is, without what it carries. */
static void trace(const struct asking *a, const char *way, struct slice plain)
{
    static const char *const types[] = {"CON", "NON", "ACK", "RST"};
    struct coap_message m;
    char code[COAP_CODE_TEXT_BYTES];
    if (!a->ask.is_traced || coap_message_decode(plain, COAP_ENDPOINT_TOKEN_MAX, &m) != OK) {
        return;
    }
    const char *name = coap_code_name(m.code);
    coap_code_text(m.code, code);
    fprintf(a->cli->err, "%s %s %s%s%s id %u, %zu bytes of payload, options", way, types[m.type],
            code, name != NULL ? " " : "", name != NULL ? name : "", (unsigned)m.mid, m.payload.n);
    struct coap_options it = coap_options_from(m.options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        fprintf(a->cli->err, " %u", (unsigned)o.number);
    }
    fputc('\n', a->cli->err);
}

/* ---- answers ---- */

/* The Echo that the server wants, among the options. */
static enum err add_echo(struct asking *a, uint8_t *dst, size_t cap, struct coap_request *request)
{
    struct coap_option_writer w = coap_option_writer_into(dst, cap);
    coap_option_add_merged(&w, request->options, COAP_OPTION_ECHO, slice_of(a->echo, a->echo_n));
    a->echo_n = 0;
    return coap_option_writer_done(&w, &request->options);
}

/* The next message of the transfer, or the one before it once more. is_rest: of what an observation
 * brought. */
static int send_next(struct asking *a, bool is_rest)
{
    uint8_t options[COAP_TRANSFER_OPTIONS_BYTES + ECHO_BYTES_MAX + 4];
    struct coap_request next;
    uint32_t id = 0;
    enum err err = coap_transfer_next(&a->transfer, &next);
    if (err == OK && a->echo_n > 0) {
        err = add_echo(a, options, sizeof(options), &next);
    }
    if (err == OK) {
        err = coap_endpoint_request(a->endpoint, &next, now_of(a), &id);
    }
    if (err != OK) {
        return cli_fail(a->cli, "the request was not sent: %s",
                        err == ERR_TOO_LARGE ? "its options do not fit into one datagram"
                                             : err_name(err));
    }
    if (is_rest) {
        a->fetch_id = id;
    } else {
        a->id = id;
    }
    return GO_ON;
}

/* The server wants to know that we are there, and that the request is new: the same once more, with
 * what it gave us. SPEC: RFC9175 2.3 */
static bool is_challenge(struct asking *a, const struct coap_message *m)
{
    struct slice echo;
    bool is_one = m->code == COAP_UNAUTHORIZED && !a->has_echoed &&
                  coap_options_find(m->options, COAP_OPTION_ECHO, &echo) &&
                  echo.n <= sizeof(a->echo);
    a->has_echoed = is_one;
    if (is_one) {
        slice_copy(a->echo, echo);
        a->echo_n = echo.n;
    }
    return is_one;
}

static int print_refusal(struct asking *a, const char *number, const char *name)
{
    char said[256] = "";
    struct slice text = buf_slice(&a->transfer.body);
    log_escape(text.p, text.n, said, sizeof(said));
    return cli_fail(a->cli, "%s %s%s%s", number, name != NULL ? name : "",
                    said[0] != '\0' ? ": " : "", said);
}

static int print_body(struct asking *a, const struct coap_message *m, struct slice body)
{
    bool is_file = a->out != a->cli->out && !a->cli->json;
    if (a->cli->json) {
        client_json_print_coap(a->out, m, body, a->is_terminal);
    } else {
        client_payload_print(a->out, body, a->is_terminal);
    }
    if ((body.n > 0 || a->cli->json) && !is_file) {
        fputc('\n', a->out);
    }
    return fflush(a->out);
}

/* The whole answer, or state, is there. */
static int on_whole(struct asking *a, const struct coap_message *m)
{
    char number[COAP_CODE_TEXT_BYTES];
    const char *name = coap_code_name(a->transfer.code);
    struct slice body = buf_slice(&a->transfer.body);
    coap_code_text(a->transfer.code, number);
    if (!a->has_answer && a->ask.observes) {
        a->end_ms = a->ask.observe_ms > 0 ? a->start_ms + a->ask.observe_ms : UINT64_MAX;
    }
    a->has_answer = true;
    if (!coap_code_is_success(a->transfer.code)) {
        return print_refusal(a, number, name);
    }
    if (print_body(a, m, body) != 0) {
        return cli_fail(a->cli, "cannot write: %s", strerror(errno));
    }
    if (a->ask.observes && !a->is_observed) {
        return cli_fail(a->cli,
                        "%s %s, but it is not observed: the server has no room for more "
                        "observations, or the resource has none",
                        number, name != NULL ? name : "");
    }
    return a->is_observed ? GO_ON : CLI_DONE;
}

static int on_broken(struct asking *a, enum err err)
{
    switch ((unsigned)err) {
    case ERR_AGAIN:
        return cli_fail(a->cli, "the value changed each time it was being fetched: try again, or "
                                "let it change less often");
    case ERR_TOO_LARGE:
        return cli_fail(a->cli, "the value is over %d bytes", (int)COAP_ASK_BYTES_MAX);
    case ERR_NOMEM:
        return cli_fail(a->cli, "no memory");
    default:
        return cli_fail(a->cli, "the server sent blocks that do not fit together");
    }
}

static int on_response(struct asking *a, const struct coap_event *ev)
{
    enum coap_transfer_step step = COAP_TRANSFER_DONE;
    bool is_state = ev->id == a->id;
    if (!is_state && ev->id != a->fetch_id) {
        return GO_ON;
    }
    if (is_challenge(a, &ev->m)) {
        return send_next(a, !is_state);
    }
    if (is_state && a->ask.observes) {
        coap_endpoint_forget(a->endpoint, a->fetch_id); /* the rest of what is old now */
        a->is_observed = ev->is_notification;
    } else if (!is_state && !coap_code_is_success(ev->m.code)) {
        (void)fprintf(a->cli->err, "a state was gone before all of it was fetched\n");
        return GO_ON; /* the next one is notified */
    }
    enum err err = coap_transfer_take(&a->transfer, &ev->m, &step);
    if (err != OK) {
        return on_broken(a, err);
    }
    if (!a->ask.observes) {
        a->end_ms = now_of(a) + a->ask.wait_ms; /* -B is for each message */
    }
    return step == COAP_TRANSFER_SEND ? send_next(a, a->ask.observes) : on_whole(a, &ev->m);
}

static void on_coap(struct asking *a, const struct coap_event *ev)
{
    switch (ev->kind) {
    case COAP_EVENT_RESPONSE:
        a->code = on_response(a, ev);
        break;
    case COAP_EVENT_RESET:
        a->code = cli_fail(a->cli, "the server does not want this request (Reset)");
        break;
    case COAP_EVENT_GIVE_UP:
        a->code = cli_fail(a->cli, "%s port %u does not answer", a->ask.target.host,
                           (unsigned)a->ask.target.port);
        break;
    case COAP_EVENT_NONE:
    case COAP_EVENT_REQUEST: /* we serve nothing: the engine answers in time, or nobody does */
        break;
    }
}

/* ---- DTLS, OSCORE ---- */

static void start_transfer(struct asking *a)
{
    coap_transfer_done(&a->transfer);
    coap_transfer_init(&a->transfer, &a->ask.request, a->ask.szx, random_u64(&a->random),
                       COAP_ASK_BYTES_MAX);
}

static void on_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    const struct asking *a = ctx;
    (void)!udp_send(a->udp, to, datagram); /* what is too long for UDP was too long before */
}

static void on_opened(void *ctx, const struct dtls_info *info)
{
    struct asking *a = ctx;
    a->association = info->id;
    /* Under OSCORE it may be another one: nobody answers what was asked of the one before. */
    coap_endpoint_forget(a->endpoint, a->id);
    coap_endpoint_forget(a->endpoint, a->fetch_id);
    a->is_observed = a->has_echoed = false;
    if (a->ask.observes) {
        start_transfer(a);
    }
    a->code = a->code == GO_ON ? send_next(a, false) : a->code;
}

static void on_received(void *ctx, uint64_t id, struct slice plain)
{
    struct asking *a = ctx;
    struct coap_event ev;
    (void)id;
    a->active_ms = now_of(a);
    trace(a, "<", plain);
    if (a->code == GO_ON && coap_endpoint_datagram(a->endpoint, plain, now_of(a), &ev) == OK) {
        on_coap(a, &ev);
    }
}

static void on_closed(void *ctx, uint64_t id, enum err why)
{
    struct asking *a = ctx;
    (void)id;
    (void)why;
    a->association = 0;
    if (a->code == GO_ON) {
        a->code = client_broken(a->cli, &a->ask.target, "");
    }
}

static void on_failed(void *ctx, const struct net_peer *peer, enum dtls_failure why,
                      struct slice psk_identity, const struct tls_refusal *how)
{
    struct asking *a = ctx;
    char safe[TLS_TEXT_BYTES];
    (void)peer;
    (void)psk_identity;
    if (a->code != GO_ON) {
        return;
    }
    log_escape(how->text, strlen(how->text), safe, sizeof(safe));
    switch (why) {
    case DTLS_FAILED_TIMEOUT:
        a->code = cli_fail(a->cli,
                           "%s port %u does not answer: is the server up, and the key the "
                           "one it knows?",
                           a->ask.target.host, (unsigned)a->ask.target.port);
        break;
    case DTLS_FAILED_CERTIFICATE:
        a->code = cli_fail(a->cli,
                           "%s: nothing was sent to %s port %u. Use the ca.pem of this "
                           "server's own bundle, and a name that its certificate carries",
                           safe, a->ask.target.host, (unsigned)a->ask.target.port);
        break;
    case DTLS_FAILED_IDENTITY:
    case DTLS_FAILED_KEY:
    case DTLS_FAILED_PROTOCOL:
        a->code = cli_fail(a->cli, "%s port %u refuses the handshake: %s; its log says why",
                           a->ask.target.host, (unsigned)a->ask.target.port, safe);
        break;
    }
}

static enum err on_number(void *ctx, uint64_t *ret)
{
    struct asking *a = ctx;
    enum err err = client_oscore_number(&a->oscore, ret);
    a->code = err == OK ? a->code : CLI_FAILED;
    return err;
}

static enum err on_begin(void *ctx, struct slice id_context)
{
    struct asking *a = ctx;
    enum err err = client_oscore_begin(&a->oscore, id_context);
    a->code = err == OK ? a->code : CLI_FAILED;
    return err;
}

static void on_refused(void *ctx, uint8_t code)
{
    struct asking *a = ctx;
    char number[COAP_CODE_TEXT_BYTES];
    coap_code_text(code, number);
    if (a->code != GO_ON) {
        return;
    }
    if (code == COAP_EMPTY) {
        a->code = cli_fail(a->cli, "no keys could be derived: nothing was sent");
        return;
    }
    a->code =
        code == COAP_UNAUTHORIZED
            ? cli_fail(a->cli,
                       "%s port %u does not take this OSCORE context (4.01): was the device "
                       "removed, disabled\n  or rotated? Then its newest bundle has another. A "
                       "server that derives no context anew (RFC 8613,\n  Appendix B.2) takes "
                       "none whose numbers are not on record here",
                       a->ask.target.host, (unsigned)a->ask.target.port)
            : cli_fail(a->cli,
                       "%s port %u answered %s without protection: that is not believed. Is it "
                       "a listener for OSCORE?",
                       a->ask.target.host, (unsigned)a->ask.target.port, number);
}

/* ---- a turn ---- */

static void send_all(struct asking *a)
{
    uint8_t out[COAP_MESSAGE_BYTES];
    size_t n;
    while (a->association != 0 && (n = coap_endpoint_output(a->endpoint, out, sizeof(out))) > 0) {
        a->active_ms = now_of(a);
        trace(a, ">", slice_of(out, n));
        enum err err = dtls_send(a->dtls, a->association, slice_of(out, n), now_of(a));
        if (err == ERR_TOO_LARGE && a->code == GO_ON) {
            a->code = cli_fail(a->cli, "the request does not fit into one datagram: a smaller -b, "
                                       "or a shorter path");
        }
    }
    udp_flush(a->udp);
}

static void read_all(struct asking *a)
{
    const struct udp_datagram *datagrams;
    size_t n;
    enum err err = udp_recv(a->udp, &datagrams, &n);
    if (err != OK) {
        a->code = err == ERR_CLOSED ? client_unreached(a->cli, &a->ask.target, err)
                                    : cli_fail(a->cli, "the socket failed: %s", err_name(err));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        dtls_input(a->dtls, &a->peer, datagrams[i].bytes, now_of(a));
    }
}

/* -K: when there was silence for so long. */
static uint64_t ping_at(const struct asking *a)
{
    bool pings = a->ask.ping_ms > 0 && a->association != 0;
    return pings ? a->active_ms + a->ask.ping_ms : UINT64_MAX;
}

static void on_time(struct asking *a)
{
    assert(a->endpoint != NULL);
    if (dtls_deadline(a->dtls) <= now_of(a)) {
        dtls_tick(a->dtls, now_of(a));
    }
    while (a->code == GO_ON && coap_endpoint_deadline(a->endpoint) <= now_of(a)) {
        struct coap_event ev;
        if (coap_endpoint_tick(a->endpoint, now_of(a), &ev) != OK) {
            a->code = cli_fail(a->cli, "no memory");
        } else if (ev.kind == COAP_EVENT_NONE) {
            break;
        } else {
            on_coap(a, &ev);
        }
    }
    if (a->code == GO_ON && now_of(a) >= ping_at(a)) {
        a->active_ms = now_of(a);
        (void)!coap_endpoint_ping(a->endpoint, now_of(a)); /* another one comes */
    }
    if (a->code == GO_ON && now_of(a) >= a->end_ms) {
        a->code = a->ask.observes && a->has_answer
                      ? CLI_DONE
                      : cli_fail(a->cli, "%s port %u does not answer in time%s", a->ask.target.host,
                                 (unsigned)a->ask.target.port,
                                 a->association == 0 ? ": is the server up, and the key the one "
                                                       "it knows?"
                                                     : "");
    }
}

static void turn(struct asking *a)
{
    assert(a->endpoint != NULL);
    uint64_t next = a->end_ms;
    next = dtls_deadline(a->dtls) < next ? dtls_deadline(a->dtls) : next;
    next = ping_at(a) < next ? ping_at(a) : next;
    next = coap_endpoint_deadline(a->endpoint) < next ? coap_endpoint_deadline(a->endpoint) : next;
    struct pollfd watched[] = {{.fd = udp_fd(a->udp), .events = POLLIN},
                               {.fd = a->signals, .events = POLLIN}};
    if (poll(watched, COUNT_OF(watched), loop_timeout(now_of(a), next)) < 0 && errno != EINTR) {
        a->code = cli_fail(a->cli, "cannot wait for input: %s", strerror(errno));
        return;
    }
    if (watched[1].revents != 0) {
        a->code = a->ask.observes && a->has_answer ? CLI_DONE : CLI_FAILED;
        return;
    }
    if (watched[0].revents != 0) {
        read_all(a);
    }
    if (a->code == GO_ON) {
        on_time(a);
    }
    send_all(a);
}

/* A goodbye that costs nothing to lose: deregister, and close_notify. */
static void end(struct asking *a)
{
    if (a->association == 0) {
        return;
    }
    if (a->ask.observes && a->code == CLI_DONE) {
        uint8_t options[COAP_ASK_OPTIONS_BYTES];
        struct coap_request cancel = {.code = a->ask.request.code,
                                      .payload = a->ask.request.payload};
        coap_endpoint_forget(a->endpoint, a->id);
        if (coap_ask_cancel(&a->ask, options, &cancel.options) == OK) {
            (void)!coap_endpoint_request(a->endpoint, &cancel, now_of(a), &a->id);
        }
    }
    send_all(a);
    dtls_close(a->dtls, a->association);
    udp_flush(a->udp);
}

/* ---- the start ---- */

static int open_dtls(struct asking *a, const struct dtls_handler *handler)
{
    const struct client_target *t = &a->ask.target;
    char text[TLS_TEXT_BYTES];
    struct dtls_client_config dtls = {.psk_identity = buf_slice(&t->psk_identity),
                                      .psk = buf_slice(&t->psk)};
    if (t->psk.n == 0) {
        dtls = (struct dtls_client_config){.ca_pem = buf_slice(&t->ca),
                                           .host = t->host,
                                           .chain_pem = buf_slice(&t->chain),
                                           .key_pem = buf_slice(&t->key)};
    }
    return dtls_client_openssl(&dtls, &a->peer, handler, text, &a->dtls) == OK
               ? GO_ON
               : cli_fail(a->cli, "credentials: %s", text);
}

static int open_oscore(struct asking *a, const struct dtls_handler *handler)
{
    int code = client_oscore_open(a->cli, a->ask.oscore_path, a->ask.wait_ms, &a->oscore);
    if (code != CLI_DONE) {
        return code;
    }
    const struct client_oscore *o = &a->oscore;
    struct slice kept = slice_of(o->record.id_context, o->has_record ? o->record.id_context_n : 0);
    struct oscore_client_config config = {.ctx = a,
                                          .material = oscore_given_material(&o->given),
                                          .id_context = kept,
                                          .number = on_number,
                                          .begin = on_begin,
                                          .refused = on_refused,
                                          .random = &a->random};
    enum err err = oscore_client_new(&config, &a->peer, handler, &a->dtls);
    return err == OK ? GO_ON
                     : cli_fail(a->cli, "%s cannot be used: %s", a->ask.oscore_path, err_name(err));
}

static int open_socket(struct asking *a)
{
    const struct client_target *t = &a->ask.target;
    struct sockaddr_storage to;
    socklen_t to_n = sizeof(to);
    int fd;
    enum err err = net_connect_udp_from(t->host, t->port, t->from, &fd);
    if (err == ERR_CONFIG) {
        return cli_fail(a->cli, "-a %s is no address of this machine from which %s can be asked",
                        t->from, t->host);
    }
    if (err != OK) {
        return client_unreached(a->cli, t, err);
    }
    bool is_named = getpeername(fd, (struct sockaddr *)&to, &to_n) == 0;
    if (udp_new(fd, &a->udp) != OK || !is_named || net_peer_from(&to, &a->peer) != OK) {
        return cli_fail(a->cli, "no memory for a socket");
    }
    return GO_ON;
}

static int open_output(struct asking *a)
{
    const char *path = a->ask.output;
    bool is_file = path != NULL && strcmp(path, "-") != 0;
    a->out = is_file ? fopen(path, "we") : a->cli->out;
    if (a->out == NULL) {
        return cli_fail(a->cli, "%s: %s", path, strerror(errno));
    }
    a->is_terminal = isatty(fileno(a->out)) == 1;
    return GO_ON;
}

static int open_all(struct asking *a)
{
    struct dtls_handler handler = {.ctx = a,
                                   .transmit = on_transmit,
                                   .opened = on_opened,
                                   .received = on_received,
                                   .closed = on_closed,
                                   .failed = on_failed};
    int code = open_output(a);
    code = code == GO_ON ? open_socket(a) : code;
    if (code != GO_ON) {
        return code;
    }
    code = a->ask.carrier == COAP_BY_DTLS ? open_dtls(a, &handler) : open_oscore(a, &handler);
    if (code != GO_ON) {
        return code;
    }
    a->limits = coap_limits_default();
    a->limits.understood |=
        COAP_OPTION_BIT(COAP_OPTION_BLOCK1) | COAP_OPTION_BIT(COAP_OPTION_BLOCK2);
    start_transfer(a);
    a->start_ms = a->active_ms = now_of(a);
    a->end_ms = a->start_ms + a->ask.wait_ms;
    struct coap_endpoint_setup setup = {.limits = &a->limits,
                                        .counters = &a->counters,
                                        .peer = net_peer_key(&a->peer),
                                        .seed = random_u64(&a->random),
                                        .proven = true};
    return coap_endpoint_new(&setup, now_of(a), &a->endpoint) == OK ? GO_ON
                                                                    : cli_fail(a->cli, "no memory");
}

static int take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return sigprocmask(SIG_BLOCK, &set, NULL) == 0 ? signalfd(-1, &set, SFD_CLOEXEC) : -1;
}

int cmd_coap(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    struct cli_option options[CLI_OPTIONS_MAX];
    AUTO(asking_done)
    struct asking a = {.cli = cli,
                       .clock = clock_system(),
                       .random = random_system(),
                       .oscore = {.lock = -1},
                       .signals = -1,
                       .code = GO_ON};
    struct cli_args args;
    coap_flags_table(options);
    if (!cli_parse(cli, self, options, argc, argv, &args)) {
        return CLI_USAGE;
    }
    int code = coap_ask_read(cli, self, &args, &a.ask);
    if (code != CLI_DONE) {
        return code;
    }
    a.signals = take_signals();
    a.code = open_all(&a);
    while (a.code == GO_ON) {
        turn(&a);
    }
    end(&a);
    return a.code;
}
