/* sub: print what is published. */
#include <errno.h>
#include <unistd.h>

#include "app/cli/client_format.h"
#include "app/cli/client_mqtt.h"
#include "app/cli/client_watch.h"
#include "app/cli/commands.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "core/topic.h"
#include "wire/mqtt/subscribe.h"

enum {
    FILTERS_PER_PACKET = 8, /* a server of ours takes no more */
    LIST_BYTES = FILTERS_PER_PACKET * (UINT16_MAX + 3),
    REMOVALS_MAX = 16 * 1024 * 1024, /* bytes of topics that wait to be removed */
    SECOND_MS = 1000,
    TOPIC_TEXT_BYTES = 256
};

/* SUBSCRIBEs, or UNSUBSCRIBEs: as many packets as it takes. */
struct asked {
    const char *const *filters;
    size_t n_filters, n_asked, n_answered, n_refused;
    size_t first[CLI_VALUES_MAX]; /* of the packet with this index */
    uint16_t ids[CLI_VALUES_MAX];
    size_t n_packets;
};

struct sub {
    struct cli *cli;
    const struct client_mqtt *m;
    const char *url_filter[1]; /* when there is no -t */
    struct asked on, off;
    struct mqtt_subscription options; /* the filter is set for each */
    const char *const *hidden;        /* -T */
    size_t n_hidden;
    struct client_print print;
    struct client_watch *watch; /* NULL: not wanted */
    bool no_line_end, no_stale, retained_only, removes, ends_when_answered, counts;
    bool is_over;              /* ends when what is to be removed is */
    struct buf removals;       /* topics, each behind its length */
    uint64_t n_seen, n_wanted; /* 0: no end */
    uint64_t n_second, second_at_ms;
    uint64_t end_ms;
    struct clock clock;
};

/* ---- SUBSCRIBE, UNSUBSCRIBE ---- */

static enum err ask_packet(struct sub *s, struct asked *a, struct mqtt_client *e, uint8_t *list,
                           uint64_t now_ms, size_t n, uint16_t *ret_id)
{
    struct wr w = wr_into(list, LIST_BYTES);
    bool is_on = a == &s->on;
    for (size_t i = 0; i < n; i++) {
        struct mqtt_subscription o = s->options;
        o.whole = slice_text(a->filters[a->n_asked + i]);
        /* What it removes itself is no news to it; a shared subscription may not say so. */
        o.no_local =
            o.no_local || (s->removes && !slice_has_prefix(o.whole, slice_text("$share/")));
        if (is_on) {
            mqtt_subscription_write(&w, &o, mqtt_client_version(e));
        } else {
            wr_block16(&w, o.whole);
        }
    }
    const struct mqtt_props *props =
        &s->m->props.of[is_on ? CLIENT_PROPS_SUBSCRIBE : CLIENT_PROPS_UNSUBSCRIBE];
    return is_on ? mqtt_client_subscribe(e, wr_slice(&w), n, props, now_ms, ret_id)
                 : mqtt_client_unsubscribe(e, wr_slice(&w), n, props, now_ms, ret_id);
}

static int ask_some(struct sub *s, struct asked *a, struct mqtt_client *e, uint64_t now_ms)
{
    uint8_t *list = mem_alloc(LIST_BYTES);
    if (list == NULL) {
        return cli_fail(s->cli, "no memory");
    }
    size_t n = a->n_filters - a->n_asked;
    n = n < FILTERS_PER_PACKET ? n : FILTERS_PER_PACKET;
    uint16_t id = 0;
    enum err err = ask_packet(s, a, e, list, now_ms, n, &id);
    mem_free(list);
    if (err != OK) {
        return cli_fail(s->cli, "the subscription was not sent: %s", err_name(err));
    }
    client_debug(s->cli, s->m, "%s id %d, %zu filters", a == &s->on ? "SUBSCRIBE" : "UNSUBSCRIBE",
                 id, n);
    a->ids[a->n_packets] = id;
    a->first[a->n_packets++] = a->n_asked;
    a->n_asked += n;
    return CLIENT_GO_ON;
}

static int ask_all(struct sub *s, struct asked *a, struct mqtt_client *e, uint64_t now_ms)
{
    int code = CLIENT_GO_ON;
    while (code == CLIENT_GO_ON && a->n_asked < a->n_filters) {
        code = ask_some(s, a, e, now_ms);
    }
    return code;
}

static bool all_answered(const struct sub *s)
{
    return s->on.n_answered == s->on.n_filters && s->off.n_answered == s->off.n_filters;
}

/* What was subscribed to is unsubscribed from afterwards, as people expect it of -t with -U. */
static int after_answer(struct sub *s, struct mqtt_client *e, uint64_t now_ms)
{
    if (s->on.n_filters > 0 && s->on.n_refused == s->on.n_filters) {
        return CLI_FAILED;
    }
    if (s->on.n_answered == s->on.n_filters && s->off.n_asked < s->off.n_filters) {
        return ask_all(s, &s->off, e, now_ms);
    }
    if (s->ends_when_answered && all_answered(s)) {
        return s->on.n_refused > 0 ? CLI_FAILED : CLI_DONE;
    }
    return CLIENT_GO_ON;
}

static int on_open(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    struct sub *s = ctx;
    int code = ask_all(s, &s->on, e, now_ms);
    return code == CLIENT_GO_ON ? after_answer(s, e, now_ms) : code;
}

/* codes: one for each filter of the packet; 3.1.1 has none for UNSUBSCRIBE. */
static void take_codes(struct sub *s, struct asked *a, uint16_t id, struct slice codes)
{
    size_t at = 0;
    while (at < a->n_packets && a->ids[at] != id) {
        at++;
    }
    if (at == a->n_packets) {
        return;
    }
    size_t end = at + 1 < a->n_packets ? a->first[at + 1] : a->n_asked;
    a->n_answered += end - a->first[at];
    for (size_t i = 0; i < codes.n; i++) {
        uint8_t code = codes.p[i];
        if (code >= 0x80) {
            a->n_refused++;
            (void)cli_fail(s->cli, "%s: the server refuses %s: %s (0x%02x)",
                           a->filters[a->first[at] + i],
                           a == &s->on ? "the subscription" : "to end the subscription",
                           mqtt_reason_name(code), code);
        }
    }
}

/* ---- retained messages that go ---- */

static int removal_add(struct sub *s, struct slice topic)
{
    uint8_t head[2];
    struct wr w = wr_into(head, sizeof(head));
    wr_u16(&w, (uint16_t)topic.n);
    enum err err = buf_append(&s->removals, wr_slice(&w), REMOVALS_MAX);
    err = err == OK ? buf_append(&s->removals, topic, REMOVALS_MAX) : err;
    return err == OK ? CLIENT_GO_ON
                     : cli_fail(s->cli, "no memory for so many retained messages at once: remove "
                                        "them in parts, with narrower filters");
}

static int removals_send(struct sub *s, struct mqtt_client *e, uint64_t now_ms)
{
    struct rd r = rd_from(buf_slice(&s->removals));
    size_t sent = 0;
    enum err err = OK;
    while (err == OK && rd_left(&r) > 0) {
        uint16_t id;
        struct mqtt_publish m = {.qos = 1, .retain = true};
        m.topic = rd_bytes(&r, rd_u16(&r));
        err = mqtt_client_publish(e, &m, now_ms, &id);
        sent = err == OK ? s->removals.n - rd_left(&r) : sent;
    }
    buf_drop(&s->removals, sent);
    return err == OK || err == ERR_AGAIN
               ? CLIENT_GO_ON
               : cli_fail(s->cli, "a retained message was not removed: %s", err_name(err));
}

/* ---- messages ---- */

static bool is_hidden(const struct sub *s, const struct mqtt_publish *m)
{
    for (size_t i = 0; i < s->n_hidden; i++) {
        if (topic_matches(slice_text(s->hidden[i]), m->topic)) {
            return true;
        }
    }
    return s->no_stale && m->retain;
}

static int show(struct sub *s, const struct mqtt_publish *m)
{
    int64_t wall_ms = s->clock.wall_ms(s->clock.ctx);
    s->n_seen++;
    s->n_second++;
    if (s->counts) {
        return CLIENT_GO_ON;
    }
    enum err err = s->watch != NULL
                       ? client_watch_print(s->watch, s->cli->out, &s->print, m, wall_ms)
                       : client_format_print(s->cli->out, &s->print, m, wall_ms);
    if (err == ERR_MALFORMED) {
        char topic[TOPIC_TEXT_BYTES]; /* a stranger's, and stderr may be a terminal */
        log_escape(m->topic.p, m->topic.n, topic, sizeof(topic));
        (void)cli_fail(s->cli, "%s: the payload is no JSON, so %%J has nothing to print", topic);
        return CLIENT_GO_ON;
    }
    if (err != OK) {
        return cli_fail(s->cli, "no memory");
    }
    if (!s->no_line_end && s->watch == NULL) {
        fputc('\n', s->cli->out);
    }
    return CLIENT_GO_ON;
}

/* Everything there was to do is done, but what is to be removed may be on its way. */
static int over(struct sub *s, const struct mqtt_client *e)
{
    s->is_over = true;
    return s->removals.n == 0 && mqtt_client_n_open(e) == 0 ? CLI_DONE : CLIENT_GO_ON;
}

static int take_message(struct sub *s, const struct mqtt_client *e, const struct mqtt_publish *m)
{
    if (s->is_over) {
        return CLIENT_GO_ON;
    }
    if (s->retained_only && !m->retain) {
        return over(s, e);
    }
    bool was_filtered = s->n_hidden > 0 && is_hidden(s, m) && !(s->no_stale && m->retain);
    int code = is_hidden(s, m) ? CLIENT_GO_ON : show(s, m);
    if (code == CLIENT_GO_ON && s->removes && m->retain && !was_filtered && m->payload.n > 0) {
        code = removal_add(s, m->topic);
    }
    bool is_last = s->n_wanted > 0 && s->n_seen == s->n_wanted;
    return code == CLIENT_GO_ON && is_last ? over(s, e) : code;
}

static int on_message(struct sub *s, struct mqtt_client *e, const struct mqtt_publish *m,
                      uint64_t now_ms)
{
    int code = take_message(s, e, m);
    if (m->qos > 0 || code != CLIENT_GO_ON) {
        (void)fflush(s->cli->out); /* acknowledged means that it is out */
    }
    if (ferror(s->cli->out)) {
        return cli_fail(s->cli, "cannot write: %s", strerror(errno));
    }
    if (mqtt_client_accept(e, m, now_ms) != OK) {
        return cli_fail(s->cli, "no memory");
    }
    return code;
}

static int on_event(void *ctx, struct mqtt_client *e, const struct mqtt_client_event *ev,
                    uint64_t now_ms)
{
    struct sub *s = ctx;
    switch (ev->kind) {
    case MQTT_CLIENT_SUBACK:
        take_codes(s, &s->on, ev->id, ev->suback.codes);
        return after_answer(s, e, now_ms);
    case MQTT_CLIENT_UNSUBACK:
        take_codes(s, &s->off, ev->id, ev->unsuback.codes);
        return after_answer(s, e, now_ms);
    case MQTT_CLIENT_PUBLISH:
        return on_message(s, e, &ev->publish, now_ms);
    case MQTT_CLIENT_PUBLISHED:
        return ev->reason < 0x80
                   ? CLIENT_GO_ON
                   : cli_fail(s->cli, "a retained message was not removed: %s (0x%02x)",
                              mqtt_reason_name(ev->reason), ev->reason);
    case MQTT_CLIENT_CONNACK:
    case MQTT_CLIENT_DISCONNECT:
        break;
    }
    return CLIENT_GO_ON;
}

static int on_idle(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    struct sub *s = ctx;
    int code = removals_send(s, e, now_ms);
    if (fflush(s->cli->out) != 0) {
        return cli_fail(s->cli, "cannot write: %s", strerror(errno));
    }
    return code == CLIENT_GO_ON && s->is_over ? over(s, e) : code;
}

/* ---- time ---- */

static uint64_t deadline(void *ctx)
{
    const struct sub *s = ctx;
    uint64_t second = s->counts ? s->second_at_ms + SECOND_MS : UINT64_MAX;
    return second < s->end_ms ? second : s->end_ms;
}

static int on_end(struct sub *s, const struct mqtt_client *e)
{
    if (!mqtt_client_is_open(e)) {
        return cli_fail(s->cli, "the server did not answer in time");
    }
    if (s->removals.n > 0 || (s->is_over && mqtt_client_n_open(e) > 0)) {
        return cli_fail(s->cli, "not every retained message was removed in time");
    }
    if (s->ends_when_answered) {
        return cli_fail(s->cli, "the server did not answer every subscription in time");
    }
    if (s->n_wanted > 0) {
        return cli_fail(s->cli, "%llu of %llu messages came in time", (unsigned long long)s->n_seen,
                        (unsigned long long)s->n_wanted);
    }
    return s->on.n_refused > 0 ? CLI_FAILED : CLI_DONE;
}

static int on_tick(void *ctx, struct mqtt_client *e, uint64_t now_ms)
{
    struct sub *s = ctx;
    if (s->counts && now_ms >= s->second_at_ms + SECOND_MS) {
        fprintf(s->cli->out, "%llu\n", (unsigned long long)s->n_second);
        (void)fflush(s->cli->out);
        s->n_second = 0;
        s->second_at_ms = now_ms;
    }
    return now_ms >= s->end_ms ? on_end(s, e) : CLIENT_GO_ON;
}

static int on_interrupt(void *ctx)
{
    const struct sub *s = ctx;
    return s->n_wanted > 0 || s->on.n_refused > 0 ? CLI_FAILED : CLI_DONE;
}

/* ---- options ---- */

static bool filters_ok(struct cli *cli, const struct cli_command *self, const char *const *filters,
                       size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!client_topic_ok(cli, self, filters[i], "-t", true)) {
            return false;
        }
    }
    return true;
}

static int read_filters(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                        struct sub *s)
{
    s->on.n_filters = cli_values(a, "--topic", &s->on.filters);
    s->off.n_filters = cli_values(a, "--unsubscribe", &s->off.filters);
    s->n_hidden = cli_values(a, "--filter-out", &s->hidden);
    if (s->on.n_filters == 0 && s->m->target.topic[0] != '\0') {
        s->url_filter[0] = s->m->target.topic;
        s->on.filters = s->url_filter;
        s->on.n_filters = 1;
    }
    if (a->n_words > 0) {
        return cli_usage(cli, self, "\"%s\" belongs to no option", a->words[0]);
    }
    if (s->on.n_filters + s->off.n_filters == 0) {
        return cli_usage(cli, self, "sub needs what to listen to: -t FILTER");
    }
    return filters_ok(cli, self, s->on.filters, s->on.n_filters) &&
                   filters_ok(cli, self, s->off.filters, s->off.n_filters) &&
                   filters_ok(cli, self, s->hidden, s->n_hidden)
               ? CLI_DONE
               : CLI_USAGE;
}

static int read_handling(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                         struct sub *s)
{
    static const char *const words[] = {"always", "new", "never"};
    const char *word = cli_value(a, "--retain-handling");
    bool needs_v5 = word != NULL || cli_has(a, "--retain-as-published") || cli_has(a, "--no-local");
    if (needs_v5 && s->m->connect.version != MQTT_V5) {
        return cli_usage(cli, self,
                         "--retain-handling, --retain-as-published and --no-local are MQTT 5: "
                         "leave -V away");
    }
    size_t at = 0;
    while (word != NULL && at < COUNT_OF(words) && strcmp(words[at], word) != 0) {
        at++;
    }
    if (at == COUNT_OF(words)) {
        return cli_usage(cli, self, "--retain-handling takes always, new or never");
    }
    s->options.retain_handling = (enum mqtt_retain_handling)at;
    s->options.retain_as_published = cli_has(a, "--retain-as-published");
    s->options.no_local = cli_has(a, "--no-local");
    return CLI_DONE;
}

static int read_format(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       struct sub *s)
{
    bool is_terminal = isatty(fileno(cli->out)) == 1;
    s->no_line_end = cli_has(a, "--no-eol");
    s->counts = cli_has(a, "--message-rate");
    if (cli_has(a, "--watch") && !is_terminal) {
        return cli_usage(cli, self, "-w needs a terminal; without one, -v prints every message");
    }
    if (cli_has(a, "--watch") && s->counts) {
        return cli_usage(cli, self, "-w and --message-rate exclude each other");
    }
    return client_print_read(cli, self, a, cli_has(a, "--watch"), &s->print);
}

static int read_sub(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                    struct sub *s)
{
    long qos, count, seconds;
    int code = read_filters(cli, self, a, s);
    code = code == CLI_DONE ? read_handling(cli, self, a, s) : code;
    if (code != CLI_DONE) {
        return code;
    }
    if (!client_number(cli, self, a, "--qos", 0, 2, 0, &qos) ||
        !client_number(cli, self, a, "-C", 1, INT32_MAX, 0, &count) ||
        !client_number(cli, self, a, "-W", 1, INT32_MAX, 0, &seconds)) {
        return CLI_USAGE;
    }
    uint64_t now_ms = s->clock.mono_ms(s->clock.ctx);
    s->options.qos = (uint8_t)qos;
    s->no_stale = cli_has(a, "--no-stale");
    s->retained_only = cli_has(a, "--retained-only");
    s->removes = cli_has(a, "--remove-retained");
    s->ends_when_answered = cli_has(a, "-E");
    s->n_wanted = (uint64_t)count;
    s->second_at_ms = now_ms;
    s->end_ms = seconds > 0 ? now_ms + (uint64_t)seconds * SECOND_MS : UINT64_MAX;
    if (s->no_stale && s->retained_only) {
        return cli_usage(cli, self, "-R and --retained-only leave nothing to print");
    }
    return read_format(cli, self, a, s);
}

static void sub_done(struct sub *s)
{
    buf_done(&s->removals);
    if (s->watch != NULL) {
        client_watch_done(s->watch);
        s->watch = mem_free(s->watch);
    }
}

int cmd_sub(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    AUTO(client_mqtt_done) struct client_mqtt m = {0};
    AUTO(sub_done) struct sub s = {.cli = cli, .m = &m, .clock = clock_system()};
    struct cli_args a;
    int code = client_mqtt_arguments(cli, self, MQTT_TOOL_SUB, argc, argv, &m, &a);
    code = code == CLI_DONE ? client_mqtt_read(cli, self, &a, &m) : code;
    code = code == CLI_DONE ? read_sub(cli, self, &a, &s) : code;
    if (code != CLI_DONE) {
        return code;
    }
    if (cli_has(&a, "--watch")) {
        s.watch = mem_zalloc(sizeof(*s.watch));
        if (s.watch == NULL) {
            return cli_fail(cli, "no memory");
        }
    }
    struct client_handler h = {.ctx = &s,
                               .open = on_open,
                               .event = on_event,
                               .idle = on_idle,
                               .deadline = deadline,
                               .tick = on_tick,
                               .interrupted = on_interrupt};
    code = client_mqtt_run(cli, &m, &h);
    if (s.watch != NULL) {
        client_watch_end(s.watch, cli->out);
    }
    return code;
}
