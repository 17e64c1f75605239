/* pub: one message, a file, or a message for each line of standard input. */
#include <errno.h>
#include <unistd.h>

#include "app/cli/client_mqtt.h"
#include "app/cli/commands.h"
#include "base/scope.h"

enum { LINE_STEP = 64 * 1024, PAYLOAD_MAX = 1024 * 1024 };

struct pub {
    struct cli *cli;
    struct mqtt_publish message; /* the payload is set for each */
    struct buf text;             /* the payload, or lines not sent yet */
    bool by_line, at_end;
    bool is_refused; /* one of them was */
};

static int told_unsent(const struct pub *p, enum err err, size_t bytes)
{
    if (err == ERR_TOO_LARGE) {
        return cli_fail(p->cli, "%zu bytes are more than the server accepts in one message", bytes);
    }
    if (err == ERR_UNSUPPORTED) {
        return cli_fail(p->cli, "the server takes no message with QoS %d%s", p->message.qos,
                        p->message.retain ? " that is to be retained" : "");
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

static int on_open(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    struct pub *p = ctx;
    if (p->by_line) {
        return send_lines(p, e, now_ms);
    }
    bool sent;
    int code = send_one(p, e, buf_slice(&p->text), now_ms, &sent);
    if (code == CLIENT_GO_ON && !sent) {
        return told_unsent(p, ERR_TOO_LARGE, p->text.n); /* nothing else could have been waiting */
    }
    return code == CLIENT_GO_ON && p->message.qos == 0 ? CLI_DONE : code;
}

static int on_event(void *ctx, struct mqtt_client *e, const struct mqtt_client_event *ev,
                    uint64_t now_ms)
{
    struct pub *p = ctx;
    if (ev->kind == MQTT_CLIENT_PUBLISHED) {
        if (ev->reason >= 0x80) {
            p->is_refused = true;
            (void)cli_fail(p->cli, "%.*s: the server refuses the message: %s (0x%02x)",
                           SLICE_ARG(p->message.topic), mqtt_reason_name(ev->reason), ev->reason);
        }
        return p->by_line ? send_lines(p, e, now_ms) : done(p);
    }
    return CLIENT_GO_ON;
}

static int on_idle(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    struct pub *p = ctx;
    return p->by_line ? send_lines(p, e, now_ms) : CLIENT_GO_ON;
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
    if (text != NULL && buf_append(&p->text, slice_text(text), SIZE_MAX / 2) != OK) {
        return cli_fail(cli, "no memory");
    }
    return file != NULL ? client_file(cli, file, PAYLOAD_MAX, &p->text) : CLI_DONE;
}

static int read_message(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                        const struct client_mqtt *m, struct pub *p)
{
    const char *topic = cli_value(a, "--topic");
    long qos;
    if (topic == NULL || a->n_words > 0) {
        return cli_usage(cli, self, "pub takes one topic: -t TOPIC");
    }
    if (!client_topic_ok(cli, self, topic, false) ||
        !client_number(cli, self, a, "--qos", 0, 2, 0, &qos)) {
        return CLI_USAGE;
    }
    p->message = (struct mqtt_publish){.topic = slice_text(topic),
                                       .qos = (uint8_t)qos,
                                       .retain = cli_has(a, "--retain"),
                                       .props = m->props[CLIENT_PROPS_PUBLISH]};
    return CLI_DONE;
}

static void pub_done(struct pub *p)
{
    buf_done(&p->text);
}

int cmd_pub(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--topic", "-t", CLI_VALUE},
                                                {"--message", "-m", CLI_VALUE},
                                                {"--file", "-f", CLI_VALUE},
                                                {"--stdin-line", "-l", CLI_FLAG},
                                                {"--null-message", "-n", CLI_FLAG},
                                                {"--stdin-file", "-s", CLI_FLAG},
                                                {"--qos", "-q", CLI_VALUE},
                                                {"--retain", "-r", CLI_FLAG},
                                                CLIENT_MQTT_OPTIONS,
                                                {NULL, NULL, CLI_FLAG}};
    AUTO(client_mqtt_done) struct client_mqtt m = {0};
    AUTO(pub_done) struct pub p = {.cli = cli};
    char *rest[CLIENT_ARGS_MAX];
    struct cli_args a;
    int code = client_mqtt_properties(cli, self, argc, argv, &m, &argc, rest);
    if (code != CLI_DONE || !cli_parse(cli, self, options, argc, rest, &a)) {
        return CLI_USAGE;
    }
    code = client_mqtt_read(cli, self, &a, &m);
    code = code == CLI_DONE ? read_message(cli, self, &a, &m, &p) : code;
    code = code == CLI_DONE ? read_payload(cli, self, &a, &p) : code;
    if (code != CLI_DONE) {
        return code;
    }
    struct client_handler h = {.ctx = &p,
                               .open = on_open,
                               .event = on_event,
                               .idle = on_idle,
                               .wants_input = wants_input,
                               .input = on_input};
    return client_mqtt_run(cli, &m, &h);
}
