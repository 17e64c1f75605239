/* pub: one message, a file, or a message for each line of standard input. */
#include <errno.h>
#include <unistd.h>

#include "app/cli/client_mqtt.h"
#include "app/cli/client_progress.h"
#include "app/cli/commands.h"
#include "base/clock.h"
#include "base/scope.h"

enum { LINE_STEP = 64 * 1024, PAYLOAD_MAX = 1024 * 1024, REPEAT_DELAY_MAX_S = 86400 };

struct pub {
    struct cli *cli;
    struct mqtt_publish message; /* the payload is set for each */
    struct buf text;             /* the payload, or lines not sent yet */
    bool by_line, at_end;
    bool is_refused;           /* one of them was */
    uint64_t n_wanted, n_sent; /* --repeat */
    uint64_t delay_ms;
    uint64_t next_at_ms; /* UINT64_MAX: when the last one is delivered */
    struct client_progress progress;
    struct clock clock;
};

static uint64_t now_ms_of(const struct pub *p)
{
    return p->clock.mono_ms(p->clock.ctx);
}

static int told_unsent(const struct pub *p, enum err err, size_t bytes)
{
    if (err == ERR_TOO_LARGE) {
        return cli_fail(p->cli, "%zu bytes are more than the server accepts in one message", bytes);
    }
    if (err == ERR_UNSUPPORTED) {
        return cli_fail(p->cli, "the server takes no message with QoS %d%s%s", p->message.qos,
                        p->message.retain ? " that is to be retained" : "",
                        mqtt_props_has(&p->message.props, MQTT_PROP_TOPIC_ALIAS)
                            ? " and this topic alias"
                            : "");
    }
    return cli_fail(p->cli, "the message was not sent: %s", err_name(err));
}

/* CLIENT_GO_ON, also when there is no room now: *ret_sent says. */
static int send_one(struct pub *p, struct mqtt_client *e, struct slice payload, uint64_t now_ms,
                    bool *ret_sent)
{
    uint16_t id;
    struct mqtt_publish m = p->message;
    m.payload = payload;
    enum err err = mqtt_client_publish(e, &m, now_ms, &id);
    *ret_sent = err == OK;
    if (err == OK) {
        client_progress_count(&p->progress, payload.n);
    }
    return err == OK || err == ERR_AGAIN ? CLIENT_GO_ON : told_unsent(p, err, payload.n);
}

static int done(const struct pub *p)
{
    return p->is_refused ? CLI_FAILED : CLI_DONE;
}

/* What fits of the complete lines; a last line may lack its end. */
static int send_lines(struct pub *p, struct mqtt_client *e, uint64_t now_ms)
{
    struct slice all = buf_slice(&p->text);
    int code = CLIENT_GO_ON;
    bool sent = true;
    while (code == CLIENT_GO_ON && sent && all.n > 0) {
        size_t at = slice_find(all, '\n');
        if (at == all.n && !p->at_end) {
            break;
        }
        code = send_one(p, e, slice_head(all, at), now_ms, &sent);
        all = sent ? slice_from(all, at + 1) : all;
    }
    buf_drop(&p->text, p->text.n - all.n);
    if (code == CLIENT_GO_ON && p->at_end && p->text.n == 0 && mqtt_client_n_open(e) == 0) {
        return done(p);
    }
    return code;
}

/* The same message until it was sent often enough; the next one leaves when the one before was
 * delivered, and the delay has passed. */
static int send_repeats(struct pub *p, struct mqtt_client *e, uint64_t now_ms)
{
    int code = CLIENT_GO_ON;
    bool sent = true;
    while (code == CLIENT_GO_ON && sent && p->n_sent < p->n_wanted && now_ms >= p->next_at_ms &&
           mqtt_client_n_open(e) == 0) {
        code = send_one(p, e, buf_slice(&p->text), now_ms, &sent);
        if (sent) {
            p->n_sent++;
            p->next_at_ms =
                p->message.qos == 0 || p->delay_ms == 0 ? now_ms + p->delay_ms : UINT64_MAX;
        }
    }
    if (code == CLIENT_GO_ON && p->n_sent == p->n_wanted && mqtt_client_n_open(e) == 0) {
        return done(p);
    }
    return code;
}

static int send_more(struct pub *p, struct mqtt_client *e, uint64_t now_ms)
{
    return p->by_line ? send_lines(p, e, now_ms) : send_repeats(p, e, now_ms);
}

static int on_open(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    struct pub *p = ctx;
    client_progress_start(&p->progress, now_ms);
    return send_more(p, e, now_ms);
}

static int on_event(void *ctx, struct mqtt_client *e, const struct mqtt_client_event *ev,
                    uint64_t now_ms)
{
    struct pub *p = ctx;
    if (ev->kind != MQTT_CLIENT_PUBLISHED) {
        return CLIENT_GO_ON;
    }
    if (ev->reason >= 0x80) {
        p->is_refused = true;
        (void)cli_fail(p->cli, "%.*s: the server refuses the message: %s (0x%02x)",
                       SLICE_ARG(p->message.topic), mqtt_reason_name(ev->reason), ev->reason);
    }
    if (p->next_at_ms == UINT64_MAX) {
        p->next_at_ms = now_ms + p->delay_ms; /* counted from the delivery */
    }
    return send_more(p, e, now_ms);
}

static int on_idle(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    return send_more(ctx, e, now_ms);
}

static uint64_t deadline(void *ctx)
{
    const struct pub *p = ctx;
    uint64_t line = client_progress_deadline(&p->progress);
    uint64_t next = !p->by_line && p->n_sent > 0 && p->delay_ms > 0 ? p->next_at_ms : UINT64_MAX;
    return line < next ? line : next;
}

/* Also before the connection is open, where nothing is there to be done. */
static int on_tick(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    struct pub *p = ctx;
    client_progress_tick(&p->progress, mqtt_client_n_open(e), now_ms);
    return mqtt_client_is_open(e) ? send_more(p, e, now_ms) : CLIENT_GO_ON;
}

static bool wants_input(void *ctx, const struct mqtt_client *e)
{
    const struct pub *p = ctx;
    (void)e;
    return p->by_line && !p->at_end && slice_find(buf_slice(&p->text), '\n') == p->text.n;
}

static int on_input(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    struct pub *p = ctx;
    uint8_t *room;
    if (buf_room(&p->text, LINE_STEP, PAYLOAD_MAX + LINE_STEP, &room) != OK) {
        return cli_fail(p->cli, "a line is longer than %d bytes", (int)PAYLOAD_MAX);
    }
    ssize_t n = read(STDIN_FILENO, room, LINE_STEP);
    if (n < 0 && errno != EINTR && errno != EAGAIN) {
        return cli_fail(p->cli, "standard input: %s", strerror(errno));
    }
    p->text.n += n > 0 ? (size_t)n : 0;
    p->at_end = n == 0;
    return send_lines(p, e, now_ms);
}

static int read_payload(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                        struct pub *p)
{
    static const char *const sources[] = {"--message", "--file", "--stdin-line", "--null-message",
                                          "--stdin-file"};
    size_t given = 0;
    for (size_t i = 0; i < COUNT_OF(sources); i++) {
        given += cli_has(a, sources[i]);
    }
    if (given != 1) {
        return cli_usage(cli, self, "say what to send, once: -m TEXT, -f FILE, -l, -s or -n");
    }
    p->by_line = cli_has(a, "--stdin-line");
    const char *text = cli_value(a, "--message");
    const char *file = cli_has(a, "--stdin-file") ? "-" : cli_value(a, "--file");
    const char *secret = cli_value(a, "--password-file");
    bool reads_stdin = p->by_line || (file != NULL && strcmp(file, "-") == 0);
    if (reads_stdin && secret != NULL && strcmp(secret, "-") == 0) {
        return cli_usage(cli, self,
                         "standard input is the message already: give --password-file a "
                         "file");
    }
    if (text != NULL && buf_append(&p->text, slice_text(text), SIZE_MAX / 2) != OK) {
        return cli_fail(cli, "no memory");
    }
    return file != NULL ? client_file(cli, file, PAYLOAD_MAX, &p->text) : CLI_DONE;
}

static int read_message(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                        const struct client_mqtt *m, struct pub *p)
{
    const char *topic = NULL;
    long qos;
    if (a->n_words > 0) {
        return cli_usage(cli, self, "\"%s\" belongs to no option", a->words[0]);
    }
    int code = client_mqtt_topic(cli, self, a, m, &topic);
    if (code != CLI_DONE || !client_number(cli, self, a, "--qos", 0, 2, 0, &qos)) {
        return CLI_USAGE;
    }
    p->message = (struct mqtt_publish){.topic = slice_text(topic),
                                       .qos = (uint8_t)qos,
                                       .retain = cli_has(a, "--retain"),
                                       .props = m->props.of[CLIENT_PROPS_PUBLISH]};
    return CLI_DONE;
}

/* Seconds with a part, e.g. 0.25. */
static bool read_delay(const char *text, uint64_t *ret_ms)
{
    char *end;
    errno = 0;
    double s = text != NULL ? strtod(text, &end) : 0;
    if (text != NULL &&
        (end == text || *end != '\0' || errno != 0 || !(s >= 0 && s <= REPEAT_DELAY_MAX_S))) {
        return false;
    }
    *ret_ms = (uint64_t)(s * 1000);
    return true;
}

static int read_repeat(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       struct pub *p)
{
    long n;
    if (!client_number(cli, self, a, "--repeat", 1, INT32_MAX, 1, &n)) {
        return CLI_USAGE;
    }
    if (!read_delay(cli_value(a, "--repeat-delay"), &p->delay_ms)) {
        return cli_usage(cli, self, "--repeat-delay takes seconds from 0 to %d, e.g. 0.5",
                         (int)REPEAT_DELAY_MAX_S);
    }
    if (p->by_line && (cli_has(a, "--repeat") || cli_has(a, "--repeat-delay"))) {
        return cli_usage(cli, self,
                         "--repeat sends one message several times; with -l each line "
                         "is one");
    }
    p->n_wanted = (uint64_t)n;
    return CLI_DONE;
}

static void pub_done(struct pub *p)
{
    buf_done(&p->text);
}

int cmd_pub(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    AUTO(client_mqtt_done) struct client_mqtt m = {0};
    AUTO(pub_done) struct pub p = {.cli = cli, .clock = clock_system()};
    struct cli_args a;
    int code = client_mqtt_arguments(cli, self, MQTT_TOOL_PUB, argc, argv, &m, &a);
    code = code == CLI_DONE ? client_mqtt_read(cli, self, &a, &m) : code;
    code = code == CLI_DONE ? read_message(cli, self, &a, &m, &p) : code;
    code = code == CLI_DONE ? read_payload(cli, self, &a, &p) : code;
    code = code == CLI_DONE ? read_repeat(cli, self, &a, &p) : code;
    if (code != CLI_DONE) {
        return code;
    }
    client_progress_init(&p.progress, cli->err, cli_has(&a, "--progress"),
                         p.by_line || p.n_wanted > 1);
    struct client_handler h = {.ctx = &p,
                               .open = on_open,
                               .event = on_event,
                               .idle = on_idle,
                               .wants_input = wants_input,
                               .input = on_input,
                               .deadline = deadline,
                               .tick = on_tick};
    code = client_mqtt_run(cli, &m, &h);
    client_progress_end(&p.progress, code == CLI_DONE, now_ms_of(&p));
    return code;
}
