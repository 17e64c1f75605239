/* rpc: a request, and the answer that carries its correlation data. SPEC: MQTT5 4.10 */
#include <unistd.h>

#include "app/cli/client_format.h"
#include "app/cli/client_mqtt.h"
#include "app/cli/commands.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/scope.h"
#include "wire/mqtt/subscribe.h"

enum { CORRELATION_BYTES = 16, WAIT_S = 10, REQUEST_MAX = 1024 * 1024, FILTER_BYTES = 65540 };

struct rpc {
    struct cli *cli;
    struct mqtt_publish message;
    struct buf text;
    const struct client_mqtt *m;
    struct client_print print;
    bool no_line_end, no_stale;
    const char *answer_topic;
    uint8_t correlation[CORRELATION_BYTES];
    uint64_t end_ms;
    long wait_s;
    struct clock clock;
};

static int on_open(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    struct rpc *r = ctx;
    uint8_t list[FILTER_BYTES];
    struct wr w = wr_into(list, sizeof(list));
    struct mqtt_subscription s = {.whole = slice_text(r->answer_topic), .qos = 1};
    mqtt_subscription_write(&w, &s, MQTT_V5);
    uint16_t id;
    enum err err = mqtt_client_subscribe(e, wr_slice(&w), 1,
                                         &r->m->props.of[CLIENT_PROPS_SUBSCRIBE], now_ms, &id);
    return err == OK ? CLIENT_GO_ON
                     : cli_fail(r->cli, "the subscription was not sent: %s", err_name(err));
}

static int send_request(struct rpc *r, struct mqtt_client *e, uint64_t now_ms)
{
    uint16_t id;
    enum err err = mqtt_client_publish(e, &r->message, now_ms, &id);
    return err == OK ? CLIENT_GO_ON
                     : cli_fail(r->cli, "the request was not sent: %s", err_name(err));
}

static int on_answer(struct rpc *r, struct mqtt_client *e, const struct mqtt_publish *m,
                     uint64_t now_ms)
{
    if (mqtt_client_accept(e, m, now_ms) != OK) {
        return cli_fail(r->cli, "no memory");
    }
    if (!slice_equal(mqtt_props_text(&m->props, MQTT_PROP_CORRELATION_DATA),
                     mqtt_props_text(&r->message.props, MQTT_PROP_CORRELATION_DATA))) {
        return CLIENT_GO_ON; /* somebody else's answer, or a late one */
    }
    if (r->no_stale && m->retain) {
        return CLIENT_GO_ON;
    }
    if (client_format_print(r->cli->out, &r->print, m, r->clock.wall_ms(r->clock.ctx)) != OK) {
        return cli_fail(r->cli, "the answer is no JSON, so %%J has nothing to print");
    }
    fputs(r->no_line_end ? "" : "\n", r->cli->out);
    return fflush(r->cli->out) == 0 ? CLI_DONE : cli_fail(r->cli, "cannot write");
}

static int on_event(void *ctx, struct mqtt_client *e, const struct mqtt_client_event *ev,
                    uint64_t now_ms)
{
    struct rpc *r = ctx;
    switch (ev->kind) {
    case MQTT_CLIENT_SUBACK:
        if (ev->suback.codes.p[0] < 0x80) {
            return send_request(r, e, now_ms);
        }
        return cli_fail(r->cli, "%s: the server refuses the subscription: %s (0x%02x)",
                        r->answer_topic, mqtt_reason_name(ev->suback.codes.p[0]),
                        ev->suback.codes.p[0]);
    case MQTT_CLIENT_PUBLISHED:
        if (ev->reason < 0x80 && ev->reason != MQTT_NO_MATCHING_SUBSCRIBERS) {
            return CLIENT_GO_ON;
        }
        return cli_fail(r->cli, "%.*s: %s (0x%02x)", SLICE_ARG(r->message.topic),
                        ev->reason == MQTT_NO_MATCHING_SUBSCRIBERS ? "nobody listens there"
                                                                   : mqtt_reason_name(ev->reason),
                        ev->reason);
    case MQTT_CLIENT_PUBLISH:
        return on_answer(r, e, &ev->publish, now_ms);
    case MQTT_CLIENT_CONNACK:
    case MQTT_CLIENT_UNSUBACK:
    case MQTT_CLIENT_DISCONNECT:
        break;
    }
    return CLIENT_GO_ON;
}

static uint64_t deadline(void *ctx)
{
    const struct rpc *r = ctx;
    return r->end_ms;
}

static int on_end(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    const struct rpc *r = ctx;
    (void)e;
    (void)now_ms;
    return cli_fail(r->cli, "no answer on %s within %ld s", r->answer_topic, r->wait_s);
}

static int read_request(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                        struct rpc *r)
{
    const char *text = cli_value(a, "--message");
    bool from_stdin = cli_has(a, "--stdin-file");
    const char *file = from_stdin ? "-" : cli_value(a, "--file");
    if (text != NULL && buf_append(&r->text, slice_text(text), SIZE_MAX / 2) != OK) {
        return cli_fail(cli, "no memory");
    }
    if ((text != NULL) + cli_has(a, "--file") + from_stdin + cli_has(a, "--null-message") != 1) {
        return cli_usage(cli, self, "say what to ask, once: -m TEXT, -f FILE, -s or -n");
    }
    return file != NULL ? client_file(cli, file, REQUEST_MAX, &r->text) : CLI_DONE;
}

static int read_topics(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       struct rpc *r, const char **ret_topic)
{
    r->answer_topic = cli_value(a, "--response-topic");
    if (r->answer_topic == NULL || a->n_words > 0) {
        return cli_usage(cli, self,
                         "rpc takes -t TOPIC of the request and -e TOPIC of the answer, one that "
                         "your role may subscribe to, e.g. -e commands/NAME/answer");
    }
    if (r->m->connect.version != MQTT_V5) {
        return cli_usage(cli, self, "request and response are MQTT 5: leave -V away");
    }
    int code = client_mqtt_topic(cli, self, a, r->m, ret_topic);
    return code == CLI_DONE && !client_topic_ok(cli, self, r->answer_topic, "-e", false) ? CLI_USAGE
                                                                                         : code;
}

static int read_rpc(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                    struct rpc *r)
{
    const char *topic = NULL;
    long qos;
    int code = read_topics(cli, self, a, r, &topic);
    if (code != CLI_DONE || !client_number(cli, self, a, "--qos", 0, 2, 1, &qos) ||
        !client_number(cli, self, a, "-W", 1, INT32_MAX, WAIT_S, &r->wait_s)) {
        return CLI_USAGE;
    }
    r->no_line_end = cli_has(a, "--no-eol");
    r->no_stale = cli_has(a, "--no-stale");
    code = client_print_read(cli, self, a, false, &r->print);
    code = code == CLI_DONE ? read_request(cli, self, a, r) : code;
    if (code != CLI_DONE) {
        return code;
    }
    r->message = (struct mqtt_publish){.topic = slice_text(topic),
                                       .payload = buf_slice(&r->text),
                                       .qos = (uint8_t)qos,
                                       .props = r->m->props.of[CLIENT_PROPS_PUBLISH]};
    mqtt_props_set_text(&r->message.props, MQTT_PROP_RESPONSE_TOPIC, slice_text(r->answer_topic));
    /* One of the user's own is theirs to be unique; else one that nobody guesses. */
    if (!mqtt_props_has(&r->message.props, MQTT_PROP_CORRELATION_DATA)) {
        struct random_source random = random_system();
        random.fill(random.ctx, r->correlation, CORRELATION_BYTES);
        mqtt_props_set_text(&r->message.props, MQTT_PROP_CORRELATION_DATA,
                            slice_of(r->correlation, CORRELATION_BYTES));
    }
    r->end_ms = r->clock.mono_ms(r->clock.ctx) + (uint64_t)r->wait_s * 1000;
    return CLI_DONE;
}

static void rpc_done(struct rpc *r)
{
    buf_done(&r->text);
}

int cmd_rpc(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    AUTO(client_mqtt_done) struct client_mqtt m = {0};
    AUTO(rpc_done) struct rpc r = {.cli = cli, .m = &m, .clock = clock_system()};
    struct cli_args a;
    int code = client_mqtt_arguments(cli, self, MQTT_TOOL_RPC, argc, argv, &m, &a);
    code = code == CLI_DONE ? client_mqtt_read(cli, self, &a, &m) : code;
    code = code == CLI_DONE ? read_rpc(cli, self, &a, &r) : code;
    if (code != CLI_DONE) {
        return code;
    }
    struct client_handler h = {
        .ctx = &r, .open = on_open, .event = on_event, .deadline = deadline, .tick = on_end};
    return client_mqtt_run(cli, &m, &h);
}
