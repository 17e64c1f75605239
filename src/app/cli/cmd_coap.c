/* coap: one request over DTLS, or an observation. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app/cli/client_format.h"
#include "app/cli/client_json.h"
#include "app/cli/client_trust.h"
#include "app/cli/commands.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/scope.h"
#include "engine/coap_block_client.h"
#include "net/dtls.h"
#include "net/listener.h"
#include "net/udp.h"
#include "wire/coap/uri.h"

enum {
    GO_ON = -1,
    WAIT_S = 10,
    PAYLOAD_BYTES_MAX = 16 * 1024 * 1024, /* either way, in blocks */
    OPTIONS_BYTES = 1024
};

static const struct method {
    const char *name;
    uint8_t code;
    bool observe, has_payload;
} methods[] = {
    {"get", COAP_GET, false, false},    {"put", COAP_PUT, false, true},
    {"post", COAP_POST, false, true},   {"delete", COAP_DELETE, false, false},
    {"observe", COAP_GET, true, false},
};

struct ask {
    struct cli *cli;
    struct client_target target;
    const struct method *method;
    struct coap_uri uri;
    struct buf payload;
    uint8_t options[OPTIONS_BYTES];
    struct coap_request request;
    struct coap_transfer transfer;
    uint8_t szx; /* of -b; UINT8_MAX: as the server likes */
    bool is_terminal;
    /* the connection */
    struct clock clock;
    struct udp *udp;
    struct dtls *dtls;
    struct coap_endpoint *endpoint;
    struct coap_limits limits;
    struct coap_counters counters;
    struct net_peer peer;
    uint64_t association; /* 0: not open yet */
    uint64_t end_ms, wait_ms;
    uint32_t id, fetch_id; /* of the request, or the observation; of the rest of what it brought */
    int signals, code;
    bool has_answer, has_asked, is_observed;
};

static void ask_done(struct ask *a)
{
    a->endpoint = coap_endpoint_free(a->endpoint);
    a->dtls = a->dtls != NULL ? dtls_free(a->dtls) : NULL;
    a->udp = udp_free(a->udp);
    coap_transfer_done(&a->transfer);
    client_target_done(&a->target);
    buf_done(&a->payload);
    if (a->signals >= 0) {
        (void)close(a->signals);
    }
}

static uint64_t now_of(const struct ask *a)
{
    return a->clock.mono_ms(a->clock.ctx);
}

/* ---- answers ---- */

/* The next message of the transfer. */
static int send_next(struct ask *a)
{
    struct coap_request next;
    uint32_t id = 0;
    enum err err = coap_transfer_next(&a->transfer, &next);
    if (err == OK) {
        err = coap_endpoint_request(a->endpoint, &next, now_of(a), &id);
    }
    if (err != OK) {
        return cli_fail(a->cli, "the request was not sent: %s",
                        err == ERR_TOO_LARGE ? "its options do not fit into one datagram"
                                             : err_name(err));
    }
    if (a->has_asked && a->method->observe) {
        a->fetch_id = id;
    } else {
        a->id = id;
    }
    a->has_asked = true;
    return GO_ON;
}

static int print_refusal(struct ask *a, const char *number, const char *name)
{
    char said[256] = "";
    struct slice text = buf_slice(&a->transfer.body);
    log_escape(text.p, text.n, said, sizeof(said));
    return cli_fail(a->cli, "%s %s%s%s", number, name != NULL ? name : "",
                    said[0] != '\0' ? ": " : "", said);
}

/* The whole answer, or state, is there. */
static int on_whole(struct ask *a, const struct coap_message *m)
{
    char number[COAP_CODE_TEXT_BYTES];
    const char *name = coap_code_name(a->transfer.code);
    struct slice body = buf_slice(&a->transfer.body);
    coap_code_text(a->transfer.code, number);
    a->has_answer = true;
    if (!coap_code_is_success(a->transfer.code)) {
        return print_refusal(a, number, name);
    }
    if (a->cli->json) {
        client_json_print_coap(a->cli->out, m, body, a->is_terminal);
    } else {
        client_payload_print(a->cli->out, body, a->is_terminal);
    }
    if (body.n > 0 || a->cli->json) {
        fputc('\n', a->cli->out);
    }
    if (fflush(a->cli->out) != 0) {
        return cli_fail(a->cli, "cannot write: %s", strerror(errno));
    }
    if (a->method->observe && !a->is_observed) {
        return cli_fail(a->cli,
                        "%s %s, but it is not observed: the server has no room for more "
                        "observations, or the resource has none",
                        number, name != NULL ? name : "");
    }
    return a->is_observed ? GO_ON : CLI_DONE;
}

static int on_broken(struct ask *a, enum err err)
{
    switch ((unsigned)err) {
    case ERR_AGAIN:
        return cli_fail(a->cli, "the value changed each time it was being fetched: try again, or "
                                "let it change less often");
    case ERR_TOO_LARGE:
        return cli_fail(a->cli, "the value is over %d bytes", (int)PAYLOAD_BYTES_MAX);
    case ERR_NOMEM:
        return cli_fail(a->cli, "no memory");
    default:
        return cli_fail(a->cli, "the server sent blocks that do not fit together");
    }
}

static int on_response(struct ask *a, const struct coap_event *ev)
{
    enum coap_transfer_step step = COAP_TRANSFER_DONE;
    bool is_state = ev->id == a->id;
    if (!is_state && ev->id != a->fetch_id) {
        return GO_ON;
    }
    if (is_state && a->method->observe) {
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
    if (!a->method->observe) {
        a->end_ms = now_of(a) + a->wait_ms; /* -s is for each message */
    }
    return step == COAP_TRANSFER_SEND ? send_next(a) : on_whole(a, &ev->m);
}

static void on_coap(struct ask *a, const struct coap_event *ev)
{
    switch (ev->kind) {
    case COAP_EVENT_RESPONSE:
        a->code = on_response(a, ev);
        break;
    case COAP_EVENT_RESET:
        a->code = cli_fail(a->cli, "the server does not want this request (Reset)");
        break;
    case COAP_EVENT_GIVE_UP:
        a->code = cli_fail(a->cli, "%s port %u does not answer", a->target.host,
                           (unsigned)a->target.port);
        break;
    case COAP_EVENT_NONE:
    case COAP_EVENT_REQUEST: /* we serve nothing: the engine answers in time, or nobody does */
        break;
    }
}

/* ---- DTLS ---- */

static void on_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    const struct ask *a = ctx;
    (void)!udp_send(a->udp, to, datagram); /* what is too long for UDP was too long before */
}

static void on_opened(void *ctx, const struct dtls_info *info)
{
    struct ask *a = ctx;
    a->association = info->id;
    a->code = send_next(a);
}

static void on_received(void *ctx, uint64_t id, struct slice plain)
{
    struct ask *a = ctx;
    struct coap_event ev;
    (void)id;
    if (a->code == GO_ON && coap_endpoint_datagram(a->endpoint, plain, now_of(a), &ev) == OK) {
        on_coap(a, &ev);
    }
}

static void on_closed(void *ctx, uint64_t id, enum err why)
{
    struct ask *a = ctx;
    (void)id;
    (void)why;
    a->association = 0;
    if (a->code == GO_ON) {
        a->code = client_broken(a->cli, &a->target, "");
    }
}

static void on_failed(void *ctx, const struct net_peer *peer, enum dtls_failure why,
                      struct slice psk_identity, const struct tls_refusal *how)
{
    struct ask *a = ctx;
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
                           a->target.host, (unsigned)a->target.port);
        break;
    case DTLS_FAILED_CERTIFICATE:
        a->code = cli_fail(a->cli,
                           "%s: nothing was sent to %s port %u. Use the ca.pem of this "
                           "server's own bundle, and a name that its certificate carries",
                           safe, a->target.host, (unsigned)a->target.port);
        break;
    case DTLS_FAILED_IDENTITY:
    case DTLS_FAILED_KEY:
    case DTLS_FAILED_PROTOCOL:
        a->code = cli_fail(a->cli, "%s port %u refuses the handshake: %s; its log says why",
                           a->target.host, (unsigned)a->target.port, safe);
        break;
    }
}

/* ---- a turn ---- */

static void send_all(struct ask *a)
{
    uint8_t out[COAP_MESSAGE_BYTES];
    size_t n;
    while (a->association != 0 && (n = coap_endpoint_output(a->endpoint, out, sizeof(out))) > 0) {
        (void)!dtls_send(a->dtls, a->association, slice_of(out, n), now_of(a));
    }
    udp_flush(a->udp);
}

static void read_all(struct ask *a)
{
    const struct udp_datagram *datagrams;
    size_t n;
    enum err err = udp_recv(a->udp, &datagrams, &n);
    if (err != OK) {
        a->code = err == ERR_CLOSED ? client_unreached(a->cli, &a->target, err)
                                    : cli_fail(a->cli, "the socket failed: %s", err_name(err));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        dtls_input(a->dtls, &a->peer, datagrams[i].bytes, now_of(a));
    }
}

static void on_time(struct ask *a)
{
    assert(a->method != NULL);
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
    if (a->code == GO_ON && now_of(a) >= a->end_ms) {
        a->code = a->method->observe && a->has_answer
                      ? CLI_DONE
                      : cli_fail(a->cli, "%s port %u does not answer in time%s", a->target.host,
                                 (unsigned)a->target.port,
                                 a->association == 0 ? ": is the server up, and the key the one "
                                                       "it knows?"
                                                     : "");
    }
}

static void turn(struct ask *a)
{
    assert(a->method != NULL);
    uint64_t next = a->end_ms;
    next = dtls_deadline(a->dtls) < next ? dtls_deadline(a->dtls) : next;
    next = coap_endpoint_deadline(a->endpoint) < next ? coap_endpoint_deadline(a->endpoint) : next;
    struct pollfd watched[] = {{.fd = udp_fd(a->udp), .events = POLLIN},
                               {.fd = a->signals, .events = POLLIN}};
    if (poll(watched, COUNT_OF(watched), loop_timeout(now_of(a), next)) < 0 && errno != EINTR) {
        a->code = cli_fail(a->cli, "cannot wait for input: %s", strerror(errno));
        return;
    }
    if (watched[1].revents != 0) {
        a->code = a->method->observe && a->has_answer ? CLI_DONE : CLI_FAILED;
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
static void end(struct ask *a)
{
    if (a->association == 0) {
        return;
    }
    if (a->method->observe && a->code == CLI_DONE) {
        uint8_t options[OPTIONS_BYTES];
        struct coap_option_writer o = coap_option_writer_into(options, sizeof(options));
        struct slice block;
        struct coap_request cancel = {.code = COAP_GET};
        coap_option_add_merged(&o, a->request.options, COAP_OPTION_OBSERVE,
                               slice_of((const uint8_t[]){1}, 1));
        coap_endpoint_forget(a->endpoint, a->id);
        if (coap_option_writer_done(&o, &block) == OK) {
            cancel.options = block;
            (void)!coap_endpoint_request(a->endpoint, &cancel, now_of(a), &a->id);
        }
    }
    send_all(a);
    dtls_close(a->dtls, a->association);
    udp_flush(a->udp);
}

/* ---- the start ---- */

static int open_all(struct ask *a)
{
    const struct client_target *t = &a->target;
    struct random_source random = random_system();
    struct sockaddr_storage to;
    socklen_t to_n = sizeof(to);
    char text[TLS_TEXT_BYTES];
    int fd;
    enum err err = net_connect_udp(t->host, t->port, &fd);
    if (err != OK) {
        return client_unreached(a->cli, t, err);
    }
    bool named = getpeername(fd, (struct sockaddr *)&to, &to_n) == 0;
    if (udp_new(fd, &a->udp) != OK || !named || net_peer_from(&to, &a->peer) != OK) {
        return cli_fail(a->cli, "no memory for a socket");
    }
    struct dtls_client_config dtls = {.psk_identity = buf_slice(&t->psk_identity),
                                      .psk = buf_slice(&t->psk)};
    if (t->psk.n == 0) {
        dtls = (struct dtls_client_config){.ca_pem = buf_slice(&t->ca),
                                           .host = t->host,
                                           .chain_pem = buf_slice(&t->chain),
                                           .key_pem = buf_slice(&t->key)};
    }
    struct dtls_handler handler = {.ctx = a,
                                   .transmit = on_transmit,
                                   .opened = on_opened,
                                   .received = on_received,
                                   .closed = on_closed,
                                   .failed = on_failed};
    if (dtls_client_openssl(&dtls, &a->peer, &handler, text, &a->dtls) != OK) {
        return cli_fail(a->cli, "credentials: %s", text);
    }
    a->limits = coap_limits_default();
    a->limits.understood |=
        COAP_OPTION_BIT(COAP_OPTION_BLOCK1) | COAP_OPTION_BIT(COAP_OPTION_BLOCK2);
    coap_transfer_init(&a->transfer, &a->request, a->szx, random_u64(&random), PAYLOAD_BYTES_MAX);
    struct coap_endpoint_setup setup = {.limits = &a->limits,
                                        .counters = &a->counters,
                                        .peer = net_peer_key(&a->peer),
                                        .seed = random_u64(&random),
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

/* ---- what is asked ---- */

/* A content format by number or media type, in CoAP's shortest form. */
static bool read_format(const char *text, uint8_t bytes[2], struct slice *ret)
{
    char *stop;
    long number = strtol(text, &stop, 10);
    uint16_t format = (uint16_t)number;
    bool is_number = stop != text && *stop == '\0' && number >= 0 && number <= UINT16_MAX;
    if (!is_number && coap_format_find(slice_text(text), &format) != OK) {
        return false;
    }
    bytes[0] = (uint8_t)(format >> 8);
    bytes[1] = (uint8_t)format;
    *ret = format == 0 ? (struct slice){0}
                       : slice_of(format < 256 ? bytes + 1 : bytes, format < 256 ? 1 : 2);
    return true;
}

/* Where the request goes, and one option in its place among them: Observe, or the payload's format;
 * and what is accepted. */
static int write_options(struct ask *a, struct cli *cli, const struct cli_command *self,
                         const struct cli_args *args)
{
    uint8_t plain[OPTIONS_BYTES], target[OPTIONS_BYTES], bytes[2];
    struct coap_option_writer uri = coap_option_writer_into(target, sizeof(target));
    struct coap_option_writer with = coap_option_writer_into(plain, sizeof(plain));
    struct coap_option_writer o = coap_option_writer_into(a->options, sizeof(a->options));
    struct slice block, value = {0};
    const char *format = cli_value(args, "--content-format"), *accept = cli_value(args, "-A");
    if (accept != NULL && !read_format(accept, bytes, &value)) {
        return cli_usage(cli, self, "-A takes a content format: a number or a media type");
    }
    coap_uri_options(&a->uri, &uri);
    enum err err = coap_option_writer_done(&uri, &block);
    if (err == OK && accept != NULL) {
        coap_option_add_merged(&with, block, COAP_OPTION_ACCEPT, value);
        err = coap_option_writer_done(&with, &block);
    }
    value = (struct slice){0};
    if (format != NULL && (!a->method->has_payload || !read_format(format, bytes, &value))) {
        return cli_usage(cli, self,
                         "-t takes the content format of what put or post sends: a "
                         "number or a media type");
    }
    if (err == OK && a->method->observe) {
        coap_option_add_merged(&o, block, COAP_OPTION_OBSERVE, value); /* 0 has no bytes */
    } else if (err == OK && format != NULL) {
        coap_option_add_merged(&o, block, COAP_OPTION_CONTENT_FORMAT, value);
    } else if (err == OK) {
        coap_option_add_block(&o, block);
    }
    err = err == OK ? coap_option_writer_done(&o, &a->request.options) : err;
    return err == OK ? CLI_DONE : cli_usage(cli, self, "the path is too long");
}

static int read_uri(struct cli *cli, const struct cli_command *self, const char *text,
                    struct ask *a)
{
    enum err err = coap_uri_parse(slice_text(text), &a->uri);
    if (err != OK || !slice_to_text(a->uri.host, a->target.host, sizeof(a->target.host))) {
        return cli_usage(cli, self, "%s is not a URI coaps://HOST[:PORT]/PATH", text);
    }
    if (!a->uri.secure) {
        return cli_usage(
            cli, self,
            "coap:// travels in the clear, and this client does not speak what protects it "
            "(OSCORE): ask by\n  coaps:// with --bundle DIR");
    }
    a->target.port = a->uri.port;
    return CLI_DONE;
}

static int read_payload(struct cli *cli, const struct cli_command *self,
                        const struct cli_args *args, struct ask *a)
{
    const char *text = cli_value(args, "--payload");
    const char *file = cli_value(args, "--file");
    bool given = text != NULL || file != NULL;
    if ((text != NULL && file != NULL) || (given && !a->method->has_payload)) {
        return cli_usage(cli, self, "put and post take one payload: -e TEXT or -f FILE");
    }
    int code = file != NULL ? client_file(cli, file, PAYLOAD_BYTES_MAX, &a->payload) : CLI_DONE;
    if (code == CLI_DONE && text != NULL &&
        buf_append(&a->payload, slice_text(text), PAYLOAD_BYTES_MAX) != OK) {
        code = cli_fail(cli, "more than %d bytes are not sent", (int)PAYLOAD_BYTES_MAX);
    }
    return code;
}

/* -b: a power of two from 16 to 1024. */
static bool read_block_size(const struct cli_args *args, uint8_t *ret)
{
    const char *text = cli_value(args, "-b");
    char size[8];
    *ret = UINT8_MAX;
    for (uint8_t szx = 0; text != NULL && szx <= COAP_BLOCK_SZX_MAX; szx++) {
        (void)snprintf(size, sizeof(size), "%zu", coap_block_bytes(szx));
        if (strcmp(text, size) == 0) {
            *ret = szx;
        }
    }
    return text == NULL || *ret != UINT8_MAX;
}

static int read_ask(struct cli *cli, const struct cli_command *self, const struct cli_args *args,
                    struct ask *a)
{
    long seconds;
    for (size_t i = 0; args->n_words == 2 && i < COUNT_OF(methods); i++) {
        if (strcmp(args->words[0], methods[i].name) == 0) {
            a->method = &methods[i];
        }
    }
    if (a->method == NULL) {
        return cli_usage(cli, self, "coap does: get, put, post, delete, observe, each with a URI");
    }
    if (!client_number(cli, self, args, "-s", 1, INT32_MAX, 0, &seconds)) {
        return CLI_USAGE;
    }
    if (!read_block_size(args, &a->szx)) {
        return cli_usage(cli, self,
                         "-b takes the size of a block: 16, 32, 64, 128, 256, 512, 1024");
    }
    int code = read_uri(cli, self, args->words[1], a);
    if (code != CLI_DONE) {
        return code;
    }
    /* What the URI says of host and port stands above the bundle's. */
    struct client_target where = a->target;
    code = client_target_read(cli, self, args, CLIENT_COAPS, &a->target);
    (void)snprintf(a->target.host, sizeof(a->target.host), "%s", where.host);
    a->target.port = where.port;
    code = code == CLI_DONE ? read_payload(cli, self, args, a) : code;
    code = code == CLI_DONE ? write_options(a, cli, self, args) : code;
    bool for_ever = a->method->observe && seconds == 0;
    a->wait_ms = (uint64_t)(seconds > 0 ? seconds : WAIT_S) * 1000;
    a->end_ms = for_ever ? UINT64_MAX : now_of(a) + a->wait_ms;
    a->is_terminal = isatty(fileno(cli->out)) == 1;
    a->request.confirmable = !cli_has(args, "--non");
    a->request.code = a->method->code;
    a->request.payload = buf_slice(&a->payload);
    return code;
}

int cmd_coap(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--payload", "-e", CLI_VALUE},
                                                {"--file", "-f", CLI_VALUE},
                                                {"--content-format", "-t", CLI_VALUE},
                                                {"-A", NULL, CLI_VALUE},
                                                {"-b", NULL, CLI_VALUE},
                                                {"--non", "-N", CLI_FLAG},
                                                {"-s", NULL, CLI_VALUE},
                                                {"--bundle", NULL, CLI_VALUE},
                                                {"--cafile", NULL, CLI_VALUE},
                                                {"--cert", NULL, CLI_VALUE},
                                                {"--key", NULL, CLI_VALUE},
                                                {"--insecure", NULL, CLI_FLAG},
                                                {NULL, NULL, CLI_FLAG}};
    AUTO(ask_done)
    struct ask a = {.cli = cli, .clock = clock_system(), .signals = -1, .code = GO_ON};
    struct cli_args args;
    if (!cli_parse(cli, self, options, argc, argv, &args)) {
        return CLI_USAGE;
    }
    int code = read_ask(cli, self, &args, &a);
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
