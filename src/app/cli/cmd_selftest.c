/* selftest amplification: what the server's own listeners answer to strangers, measured */
#include "app/cli/amplify.h"
#include "app/cli/commands.h"
#include "base/scope.h"

enum { TARGETS_MAX = 16 };

/* A listener while it is measured. */
struct target {
    char name[64];
    char address[NET_PEER_TEXT_BYTES];
    struct amplify a;
};

/* What is known so far: the answer's JSON, and whether all of it is within the bound. */
struct measure {
    struct target targets[TARGETS_MAX];
    size_t n;
    json_t *listeners;
    double worst;
    double server_ratio, server_worst; /* as the server counts, since it started; -1: unknown */
    bool is_refused;
};

static double ratio_of(const struct amplify_probe *p)
{
    return (double)p->received / (double)p->sent;
}

static void print_probe(struct cli *cli, const struct amplify_probe *p)
{
    if (!cli->json) {
        fprintf(cli->out, "  %-38s %5zu %5zu %8u %6.2f%s\n", p->name, p->sent, p->received,
                p->answers, ratio_of(p), amplify_is_over(p) ? "  OVER THE BOUND" : "");
    }
}

static json_t *probe_json(const struct amplify_probe *p)
{
    return json_pack("{s:s,s:I,s:I,s:I,s:f,s:b}", "request", p->name, "bytes_in",
                     (json_int_t)p->sent, "bytes_out", (json_int_t)p->received, "answers",
                     (json_int_t)p->answers, "ratio", ratio_of(p), "over",
                     amplify_is_over(p) ? 1 : 0);
}

/* Bound to all addresses: this machine's own. */
static enum err address_of(const char *bind, json_int_t port, struct net_peer *ret)
{
    static const struct slice any[] = {{(const uint8_t *)"0.0.0.0:0", 9},
                                       {(const uint8_t *)"[::]:0", 6}};
    static const struct slice own[] = {{(const uint8_t *)"127.0.0.1:0", 11},
                                       {(const uint8_t *)"[::1]:0", 7}};
    struct net_peer p, wide;
    TRY(net_peer_parse(slice_text(bind), &p));
    p.port = 0;
    for (size_t i = 0; i < COUNT_OF(any); i++) {
        TRY(net_peer_parse(any[i], &wide));
        if (net_peer_equal(&p, &wide)) {
            TRY(net_peer_parse(own[i], &p));
            break;
        }
    }
    p.port = (uint32_t)port;
    *ret = p;
    return OK;
}

static void report_one(struct cli *cli, struct measure *m, const struct target *t)
{
    unsigned answers = 0;
    double worst = 0;
    json_t *probes = json_array();
    if (!cli->json) {
        fprintf(cli->out, "%s  %s\n  %-38s %5s %5s %8s %6s\n", t->name, t->address, "request", "in",
                "out", "answers", "ratio");
    }
    for (size_t i = 0; i < t->a.n; i++) {
        const struct amplify_probe *p = &t->a.probe[i];
        if (p->sent == 0) {
            continue;
        }
        print_probe(cli, p);
        (void)json_array_append_new(probes, probe_json(p));
        answers += p->answers;
        worst = ratio_of(p) > worst ? ratio_of(p) : worst;
        m->is_refused = m->is_refused || amplify_is_over(p);
    }
    if (answers == 0) {
        m->is_refused = true;
        (void)cli_fail(cli,
                       "listener %s was not measured: nothing answered at %s. Does its `from` "
                       "leave out this machine?",
                       t->name, t->address);
    }
    m->worst = worst > m->worst ? worst : m->worst;
    (void)json_array_append_new(m->listeners,
                                json_pack("{s:s,s:s,s:f,s:o}", "name", t->name, "address",
                                          t->address, "worst", worst, "requests", probes));
}

/* All at the same time: what came for the later ones meanwhile is there at once. */
static void collect(struct cli *cli, struct measure *m)
{
    for (size_t i = 0; i < m->n; i++) {
        amplify_collect(&m->targets[i].a, i == 0 ? AMPLIFY_WAIT_MS : 1);
        amplify_done(&m->targets[i].a);
    }
    for (size_t i = 0; i < m->n; i++) {
        report_one(cli, m, &m->targets[i]);
    }
}

static int on_status(struct cli *cli, void *ctx, const json_t *line)
{
    struct measure *m = ctx;
    size_t i;
    json_t *l;
    json_array_foreach(json_object_get(line, "listeners"), i, l)
    {
        struct net_peer to;
        const char *door = json_string_value(json_object_get(l, "door"));
        const char *name = json_string_value(json_object_get(l, "name"));
        const char *bind = json_string_value(json_object_get(l, "bind"));
        if (door == NULL || name == NULL || strcmp(door, "coap") != 0 ||
            json_object_get(l, "port") == NULL || m->n == TARGETS_MAX) {
            continue; /* one without a port is not open */
        }
        if (bind == NULL ||
            address_of(bind, json_integer_value(json_object_get(l, "port")), &to) != OK) {
            return cli_fail(cli, "the daemon does not say where listener %s is", name);
        }
        struct target *t = &m->targets[m->n++];
        (void)snprintf(t->name, sizeof(t->name), "%s", name);
        net_peer_text(&to, t->address);
        /* What could not be sent has no answer, and that is told. */
        enum err ignored = amplify_send(&to, &t->a);
        (void)ignored;
    }
    collect(cli, m);
    return CLI_DONE;
}

static double number_behind(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at != NULL ? strtod(at + strlen(name), NULL) : -1;
}

static int on_metrics(struct cli *cli, void *ctx, const json_t *line)
{
    struct measure *m = ctx;
    const char *text = json_string_value(json_object_get(line, "text"));
    (void)cli;
    if (text != NULL) {
        m->server_ratio = number_behind(text, "\nsallyport_coap_amplification_ratio ");
        m->server_worst = number_behind(text, "\nsallyport_coap_amplification_worst_ratio ");
    }
    return CLI_DONE;
}

static void conclude(struct cli *cli, const struct measure *m)
{
    if (cli->json) {
        json_t *all = json_pack("{s:O,s:f,s:i,s:f,s:f,s:b}", "listeners", m->listeners, "worst",
                                m->worst, "bound", AMPLIFY_MOST, "server_ratio", m->server_ratio,
                                "server_worst", m->server_worst, "passed", m->is_refused ? 0 : 1);
        json_dumpf(all, cli->out, JSON_COMPACT);
        fprintf(cli->out, "\n");
        json_decref(all);
    } else if (json_array_size(m->listeners) == 0) {
        fprintf(cli->out, "no listener takes CoAP: there is nothing to measure\n");
    } else {
        fprintf(cli->out,
                "worst          %.2f bytes out for one in; the bound is %d\n"
                "by the server  %.3f since it started, %.3f for the worst datagram\n",
                m->worst, AMPLIFY_MOST, m->server_ratio, m->server_worst);
    }
}

int cmd_selftest(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    if (a.n_words != 1 || strcmp(a.words[0], "amplification") != 0) {
        return cli_usage(cli, self, "selftest does: amplification");
    }
    struct measure m = {.listeners = json_array(), .server_ratio = -1, .server_worst = -1};
    int code = cli_call(cli, "status", NULL, on_status, &m);
    if (code == CLI_DONE) {
        code = cli_call(cli, "metrics", NULL, on_metrics, &m);
    }
    if (code == CLI_DONE) {
        conclude(cli, &m);
    }
    json_decref(m.listeners);
    m.is_refused = m.is_refused || m.server_worst > AMPLIFY_MOST;
    return code == CLI_DONE && m.is_refused ? CLI_FAILED : code;
}
