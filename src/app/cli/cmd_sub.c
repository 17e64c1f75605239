/* sub: print what is published. */
#include <errno.h>
#include <unistd.h>

#include "app/cli/client_format.h"
#include "app/cli/client_mqtt.h"
#include "app/cli/commands.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "wire/mqtt/subscribe.h"

enum {
    FILTERS_PER_PACKET = 8, /* a server of ours takes no more */
    LIST_BYTES = FILTERS_PER_PACKET * (UINT16_MAX + 3)
};

struct sub {
    struct cli *cli;
    const struct client_mqtt *m;
    const char *const *filters;
    size_t n_filters, n_asked, n_refused, n_answered;
    size_t first[CLI_VALUES_MAX]; /* of the packet with this index */
    uint16_t ids[CLI_VALUES_MAX];
    size_t n_packets;
    struct mqtt_subscription options; /* the filter is set for each */
    const char *format;
    bool no_line_end, no_stale, is_terminal;
    uint64_t n_seen, n_wanted; /* 0: no end */
    uint64_t end_ms;
    struct clock clock;
};

static int ask_some(struct sub *s, struct mqtt_client *e, uint64_t now_ms)
{
    uint8_t *list = mem_alloc(LIST_BYTES);
    if (list == NULL) {
        return cli_fail(s->cli, "no memory");
    }
    struct wr w = wr_into(list, LIST_BYTES);
    size_t n = s->n_filters - s->n_asked;
    n = n < FILTERS_PER_PACKET ? n : FILTERS_PER_PACKET;
    for (size_t i = 0; i < n; i++) {
        struct mqtt_subscription o = s->options;
        o.whole = slice_text(s->filters[s->n_asked + i]);
        mqtt_subscription_write(&w, &o, mqtt_client_version(e));
    }
    uint16_t id = 0;
    enum err err = mqtt_client_subscribe(e, wr_slice(&w), n, &s->m->props[CLIENT_PROPS_SUBSCRIBE],
                                         now_ms, &id);
    mem_free(list);
    if (err != OK) {
        return cli_fail(s->cli, "the subscription was not sent: %s", err_name(err));
    }
    s->ids[s->n_packets] = id;
    s->first[s->n_packets++] = s->n_asked;
    s->n_asked += n;
    return CLIENT_GO_ON;
}

static int on_open(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    struct sub *s = ctx;
    int code = CLIENT_GO_ON;
    while (code == CLIENT_GO_ON && s->n_asked < s->n_filters) {
        code = ask_some(s, e, now_ms);
    }
    return code;
}

static int on_suback(struct sub *s, const struct mqtt_client_event *ev)
{
    size_t at = 0;
    while (at < s->n_packets && s->ids[at] != ev->id) {
        at++;
    }
    for (size_t i = 0; at < s->n_packets && i < ev->suback.codes.n; i++) {
        uint8_t code = ev->suback.codes.p[i];
        s->n_answered++;
        if (code >= 0x80) {
            s->n_refused++;
            (void)cli_fail(s->cli, "%s: the server refuses the subscription: %s (0x%02x)",
                           s->filters[s->first[at] + i], mqtt_reason_name(code), code);
        }
    }
    bool all = s->n_answered == s->n_filters;
    return all && s->n_refused == s->n_filters ? CLI_FAILED : CLIENT_GO_ON;
}

static int on_message(struct sub *s, struct mqtt_client *e, const struct mqtt_publish *m,
                      uint64_t now_ms)
{
    if (!(s->no_stale && m->retain)) {
        client_format_print(s->cli->out, s->format, m, s->clock.wall_ms(s->clock.ctx),
                            s->is_terminal);
        if (!s->no_line_end) {
            fputc('\n', s->cli->out);
        }
        s->n_seen++;
    }
    bool is_last = s->n_wanted > 0 && s->n_seen == s->n_wanted;
    if (m->qos > 0 || is_last) {
        (void)fflush(s->cli->out); /* acknowledged means that it is out */
    }
    if (ferror(s->cli->out)) {
        return cli_fail(s->cli, "cannot write: %s", strerror(errno));
    }
    if (mqtt_client_accept(e, m, now_ms) != OK) {
        return cli_fail(s->cli, "no memory");
    }
    return is_last ? CLI_DONE : CLIENT_GO_ON;
}

static int on_event(void *ctx, struct mqtt_client *e, const struct mqtt_client_event *ev,
                    uint64_t now_ms)
{
    struct sub *s = ctx;
    if (ev->kind == MQTT_CLIENT_SUBACK) {
        return on_suback(s, ev);
    }
    return ev->kind == MQTT_CLIENT_PUBLISH ? on_message(s, e, &ev->publish, now_ms) : CLIENT_GO_ON;
}

static int on_idle(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    const struct sub *s = ctx;
    (void)e;
    (void)now_ms;
    return fflush(s->cli->out) == 0 ? CLIENT_GO_ON
                                    : cli_fail(s->cli, "cannot write: %s", strerror(errno));
}

static uint64_t deadline(void *ctx)
{
    const struct sub *s = ctx;
    return s->end_ms;
}

static int on_end(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    const struct sub *s = ctx;
    (void)now_ms;
    if (!mqtt_client_is_open(e)) {
        return cli_fail(s->cli, "the server did not answer in time");
    }
    if (s->n_wanted > 0) {
        return cli_fail(s->cli, "%llu of %llu messages came in time", (unsigned long long)s->n_seen,
                        (unsigned long long)s->n_wanted);
    }
    return s->n_refused > 0 ? CLI_FAILED : CLI_DONE;
}

static int on_interrupt(void *ctx)
{
    const struct sub *s = ctx;
    return s->n_wanted > 0 || s->n_refused > 0 ? CLI_FAILED : CLI_DONE;
}

static int read_format(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       struct sub *s)
{
    const char *format = cli_value(a, "--format");
    s->format = format != NULL            ? format
                : cli->json               ? "%j"
                : cli_has(a, "--verbose") ? "%t %p"
                                          : "%p";
    const char *wrong = client_format_check(s->format);
    s->no_line_end = cli_has(a, "--no-eol");
    s->no_stale = cli_has(a, "--no-stale");
    s->is_terminal = isatty(fileno(cli->out)) == 1;
    return wrong == NULL ? CLI_DONE
                         : cli_usage(cli, self,
                                     "-F: %.2s is none of %%t %%p %%x %%q %%r %%l %%m "
                                     "%%C %%R %%D %%E %%S %%P %%I %%U %%j",
                                     wrong);
}

static int read_sub(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                    struct sub *s)
{
    long qos, count, seconds;
    s->n_filters = cli_values(a, "--topic", &s->filters);
    if (s->n_filters == 0 || a->n_words > 0) {
        return cli_usage(cli, self, "sub needs what to listen to: -t FILTER");
    }
    for (size_t i = 0; i < s->n_filters; i++) {
        if (!client_topic_ok(cli, self, s->filters[i], true)) {
            return CLI_USAGE;
        }
    }
    if (!client_number(cli, self, a, "--qos", 0, 2, 0, &qos) ||
        !client_number(cli, self, a, "-C", 1, INT32_MAX, 0, &count) ||
        !client_number(cli, self, a, "-W", 1, INT32_MAX, 0, &seconds)) {
        return CLI_USAGE;
    }
    s->options =
        (struct mqtt_subscription){.qos = (uint8_t)qos,
                                   .retain_as_published = cli_has(a, "--retain-as-published"),
                                   .no_local = cli_has(a, "--no-local")};
    s->n_wanted = (uint64_t)count;
    s->end_ms =
        seconds > 0 ? s->clock.mono_ms(s->clock.ctx) + (uint64_t)seconds * 1000 : UINT64_MAX;
    return read_format(cli, self, a, s);
}

int cmd_sub(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--topic", "-t", CLI_MANY},
                                                {"--qos", "-q", CLI_VALUE},
                                                {"--verbose", "-v", CLI_FLAG},
                                                {"--format", "-F", CLI_VALUE},
                                                {"-C", NULL, CLI_VALUE},
                                                {"-W", NULL, CLI_VALUE},
                                                {"--no-eol", "-N", CLI_FLAG},
                                                {"--no-stale", "-R", CLI_FLAG},
                                                {"--retain-as-published", NULL, CLI_FLAG},
                                                {"--no-local", NULL, CLI_FLAG},
                                                CLIENT_MQTT_OPTIONS,
                                                {NULL, NULL, CLI_FLAG}};
    AUTO(client_mqtt_done) struct client_mqtt m = {0};
    struct sub s = {.cli = cli, .m = &m, .clock = clock_system()};
    char *rest[CLIENT_ARGS_MAX];
    struct cli_args a;
    int code = client_mqtt_properties(cli, self, argc, argv, &m, &argc, rest);
    if (code != CLI_DONE || !cli_parse(cli, self, options, argc, rest, &a)) {
        return CLI_USAGE;
    }
    code = client_mqtt_read(cli, self, &a, &m);
    code = code == CLI_DONE ? read_sub(cli, self, &a, &s) : code;
    if (code != CLI_DONE) {
        return code;
    }
    struct client_handler h = {.ctx = &s,
                               .open = on_open,
                               .event = on_event,
                               .idle = on_idle,
                               .deadline = deadline,
                               .tick = on_end,
                               .interrupted = on_interrupt};
    return client_mqtt_run(cli, &m, &h);
}
