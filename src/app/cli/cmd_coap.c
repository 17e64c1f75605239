/* coap: one request, or an observation, by what carries it (coap_line). */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app/cli/client_format.h"
#include "app/cli/client_json.h"
#include "app/cli/client_trust.h"
#include "app/cli/coap_flags.h"
#include "app/cli/coap_line.h"
#include "app/cli/commands.h"
#include "base/log.h"
#include "base/scope.h"
#include "engine/coap_block_client.h"
#include "net/loop.h"

enum {
    GO_ON = COAP_LINE_GO_ON,
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
    struct coap_line *line;
    uint64_t start_ms, end_ms;
    uint32_t id, fetch_id; /* of the request, or the observation; of the rest of what it brought */
    int signals, code;
    bool has_answer, has_echoed, is_observed;
};

static void asking_done(struct asking *a)
{
    a->line = coap_line_free(a->line);
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
    return coap_line_now(a->line);
}

static void forget(struct asking *a, uint32_t id)
{
    a->line->ops->forget(a->line, id);
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
        err = a->line->ops->request(a->line, &next, &id);
    }
    if (err != OK) {
        return cli_fail(a->cli, "the request was not sent: %s",
                        err == ERR_TOO_LARGE ? "its options do not fit into one message"
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
        forget(a, a->fetch_id); /* the rest of what is old now */
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

static void on_event(void *ctx, const struct coap_event *ev)
{
    struct asking *a = ctx;
    if (a->code != GO_ON) {
        return;
    }
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
    a->line->code = a->code;
}

/* ---- the line ---- */

static void start_transfer(struct asking *a)
{
    coap_transfer_done(&a->transfer);
    coap_transfer_init(&a->transfer, &a->ask.request, a->ask.szx, random_u64(&a->line->random),
                       COAP_ASK_BYTES_MAX);
}

static void on_opened(void *ctx)
{
    struct asking *a = ctx;
    /* Under OSCORE it may be another one: nobody answers what was asked of the one before. */
    forget(a, a->id);
    forget(a, a->fetch_id);
    a->is_observed = a->has_echoed = false;
    if (a->ask.observes) {
        start_transfer(a);
    }
    a->code = a->code == GO_ON ? send_next(a, false) : a->code;
    a->line->code = a->code;
}

/* ---- a turn ---- */

/* What has ended the line ends the command. */
static void follow(struct asking *a)
{
    a->code = a->code == GO_ON ? a->line->code : a->code;
    a->line->code = a->code;
}

/* -K: when there was silence for so long. */
static uint64_t ping_at(const struct asking *a)
{
    bool pings = a->ask.ping_ms > 0 && a->line->is_open;
    return pings ? a->line->active_ms + a->ask.ping_ms : UINT64_MAX;
}

static void on_time(struct asking *a)
{
    a->line->ops->tick(a->line);
    follow(a);
    if (a->code == GO_ON && now_of(a) >= ping_at(a)) {
        a->line->active_ms = now_of(a);
        a->line->ops->ping(a->line);
    }
    if (a->code == GO_ON && now_of(a) >= a->end_ms) {
        a->code = a->ask.observes && a->has_answer
                      ? CLI_DONE
                      : cli_fail(a->cli, "%s port %u does not answer in time%s", a->ask.target.host,
                                 (unsigned)a->ask.target.port,
                                 !a->line->is_open ? ": is the server up, and the key the one "
                                                     "it knows?"
                                                   : "");
    }
}

static void turn(struct asking *a)
{
    const struct coap_line_ops *ops = a->line->ops;
    uint64_t next = a->end_ms, theirs = ops->deadline(a->line);
    next = theirs < next ? theirs : next;
    next = ping_at(a) < next ? ping_at(a) : next;
    struct pollfd watched[] = {{.fd = ops->fd(a->line), .events = ops->wants(a->line)},
                               {.fd = a->signals, .events = POLLIN}};
    if (poll(watched, COUNT_OF(watched), loop_timeout(now_of(a), next)) < 0 && errno != EINTR) {
        a->code = cli_fail(a->cli, "cannot wait for input: %s", strerror(errno));
        return;
    }
    if (watched[1].revents != 0) {
        a->code = a->ask.observes && a->has_answer ? CLI_DONE : CLI_FAILED;
        return;
    }
    if ((watched[0].revents & ~POLLOUT) != 0) {
        ops->input(a->line);
        follow(a);
    }
    if (a->code == GO_ON) {
        on_time(a);
    }
    ops->flush(a->line);
    follow(a);
}

static void end(struct asking *a)
{
    uint8_t options[COAP_ASK_OPTIONS_BYTES];
    struct coap_request cancel = {.code = a->ask.request.code, .payload = a->ask.request.payload};
    if (a->line == NULL || !a->line->is_open) {
        return;
    }
    bool cancels = a->ask.observes && a->code == CLI_DONE;
    if (cancels) {
        forget(a, a->id);
        cancels = coap_ask_cancel(&a->ask, options, &cancel.options) == OK;
    }
    a->line->ops->close(a->line, cancels ? &cancel : NULL);
}

/* ---- the start ---- */

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
    const struct coap_line_owner owner = {.ctx = a, .opened = on_opened, .event = on_event};
    int code = open_output(a);
    code = code == GO_ON ? coap_line_new(a->cli, &a->ask, &owner, &a->line) : code;
    if (code == GO_ON) {
        start_transfer(a);
        a->start_ms = a->line->active_ms = now_of(a);
        a->end_ms = a->start_ms + a->ask.wait_ms;
    }
    return code;
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
    struct asking a = {.cli = cli, .signals = -1, .code = GO_ON};
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
