/* bench: what a server does under load, and whether it does it right. */
#include <unistd.h>

#include "app/cli/bench_report.h"
#include "app/cli/client_load_coap.h"
#include "app/cli/commands.h"
#include "base/random.h"
#include "base/scope.h"
#include "core/topic.h"

enum { WARM_MS = 500 };

struct bench {
    struct client_target target;
    struct load_order order;
    char prefix[LOAD_PREFIX_BYTES];
    struct bench_watch watch;
    const char *plot;
};

/* What each scenario does when nothing else is said. connections: it has no subscribers. */
struct usual {
    uint32_t publishers, subscribers, count, window, rate;
    uint8_t qos_least, qos_most, qos;
    bool is_by_connections, is_coap;
};

static const struct usual usuals[] = {
    [LOAD_FAN_IN] = {.publishers = 50, .subscribers = 1, .window = 20, .qos_most = 2},
    [LOAD_FAN_OUT] = {.publishers = 1, .subscribers = 1000, .window = 20, .qos_most = 2},
    [LOAD_PAIRS] = {.publishers = 100, .subscribers = 100, .window = 20, .qos_most = 2},
    [LOAD_DURABLE] = {.publishers = 100,
                      .subscribers = 1,
                      .window = 20,
                      .qos_least = 1,
                      .qos_most = 1,
                      .qos = 1},
    [LOAD_LATENCY] = {.publishers = 100,
                      .subscribers = 100,
                      .window = LOAD_WINDOW_MAX,
                      .rate = 10000,
                      .qos_most = 2},
    [LOAD_CONNECT] = {.publishers = 32, .window = 1, .is_by_connections = true},
    [LOAD_RESUMED] = {.publishers = 32, .window = 1, .is_by_connections = true},
    [LOAD_IDLE] = {.publishers = 1000, .window = 1, .is_by_connections = true},
    [LOAD_RETAINED] = {.publishers = 1,
                       .subscribers = 1,
                       .count = 10000,
                       .window = 100,
                       .qos_least = 1,
                       .qos_most = 2,
                       .qos = 1},
    [LOAD_SUBSCRIPTIONS] =
        {.publishers = 10, .subscribers = 100, .count = 20000, .window = 20, .qos_most = 2},
    [LOAD_COAP_GET] = {.publishers = 100,
                       .window = LOAD_WINDOW_MAX,
                       .is_by_connections = true,
                       .is_coap = true},
    [LOAD_COAP_HANDSHAKE] = {
        .publishers = 16, .window = LOAD_WINDOW_MAX, .is_by_connections = true, .is_coap = true}};

/* ---- options ---- */

static bool read_pids(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                      struct bench_watch *w)
{
    const char *text = cli_value(a, "--pid");
    for (const char *at = text; at != NULL && *at != '\0';) {
        char *end;
        long pid = strtol(at, &end, 10);
        if (end == at || (*end != '\0' && *end != ',') || pid < 1 || pid > INT32_MAX ||
            w->n_pids == BENCH_PIDS_MAX) {
            (void)cli_usage(cli, self, "--pid takes process ids with commas between");
            return false;
        }
        w->pids[w->n_pids++] = (pid_t)pid;
        at = *end == ',' ? end + 1 : end;
    }
    return true;
}

static bool read_shape(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       struct load_order *o)
{
    const char *name = cli_value(a, "--scenario");
    for (size_t i = 0; name != NULL && bench_shape_name(i) != NULL; i++) {
        if (strcmp(name, bench_shape_name(i)) == 0) {
            o->shape = (enum load_shape)i;
            return true;
        }
    }
    if (name != NULL) {
        (void)cli_usage(cli, self,
                        "--scenario takes fan-in, fan-out, pairs, durable, latency, connect, "
                        "resumed, idle,\n  retained, subscriptions, coap-get or coap-handshake");
    }
    return name == NULL;
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0;
}

static int read_plain(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                      struct bench *b)
{
    const char *host = cli_value(a, "--host");
    bool is_coap = usuals[b->order.shape].is_coap;
    long port;
    host = host != NULL ? host : "localhost";
    if (cli_has(a, "--bundle") || cli_has(a, "--cafile") || cli_has(a, "--cert") ||
        cli_has(a, "--url") || cli_has(a, "--psk")) {
        return cli_usage(cli, self,
                         "--plain goes without an identity: leave --bundle, --url, keys and "
                         "certificates away");
    }
    if (!is_loopback(host)) {
        return cli_usage(cli, self,
                         "--plain is for a broker on this machine, through the loopback: %s is "
                         "not. Use TLS: --bundle DIR",
                         host);
    }
    if (!client_number(cli, self, a, "--port", 1, UINT16_MAX, is_coap ? 5683 : 1883, &port)) {
        return CLI_USAGE;
    }
    (void)snprintf(b->target.host, sizeof(b->target.host), "%s", host);
    b->target.port = (uint16_t)port;
    return CLI_DONE;
}

static int read_target(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       struct bench *b)
{
    bool is_coap = usuals[b->order.shape].is_coap;
    if (b->order.shape == LOAD_RESUMED && cli_has(a, "--plain")) {
        return cli_usage(cli, self, "resumed is about TLS: without --plain");
    }
    if (b->order.shape == LOAD_COAP_HANDSHAKE && cli_has(a, "--plain")) {
        return cli_usage(cli, self, "coap-handshake is about DTLS: without --plain");
    }
    if (is_coap && cli_has(a, "--url")) {
        return cli_usage(cli, self, "-L is for MQTT; for CoAP --path says what is asked for");
    }
    return cli_has(a, "--plain")
               ? read_plain(cli, self, a, b)
               : client_target_read(cli, self, a, is_coap ? CLIENT_COAPS : CLIENT_MQTTS,
                                    &b->target);
}

static int read_connections(struct cli *cli, const struct cli_command *self,
                            const struct cli_args *a, struct load_order *o)
{
    const struct usual *u = &usuals[o->shape];
    long pubs = u->publishers, subs;
    if (u->is_by_connections) {
        if (cli_has(a, "--publishers") || cli_has(a, "--subscribers")) {
            return cli_usage(cli, self, "%s takes --connections", bench_shape_name(o->shape));
        }
        if (!client_number(cli, self, a, "--connections", 1, LOAD_CONNECTIONS_MAX, pubs, &pubs)) {
            return CLI_USAGE;
        }
        o->n_publishers = (uint32_t)pubs;
        return CLI_DONE;
    }
    if (cli_has(a, "--connections")) {
        return cli_usage(cli, self, "%s takes --publishers and --subscribers",
                         bench_shape_name(o->shape));
    }
    bool is_pairs = o->shape == LOAD_PAIRS || o->shape == LOAD_LATENCY;
    if (!client_number(cli, self, a, "--publishers", 1, LOAD_CONNECTIONS_MAX, pubs, &pubs) ||
        !client_number(cli, self, a, "--subscribers", o->shape == LOAD_DURABLE ? 0 : 1,
                       LOAD_CONNECTIONS_MAX, is_pairs ? pubs : (long)u->subscribers, &subs)) {
        return CLI_USAGE;
    }
    bool has_one_publisher = o->shape == LOAD_FAN_OUT || o->shape == LOAD_RETAINED;
    bool has_one_subscriber = o->shape == LOAD_FAN_IN || o->shape == LOAD_RETAINED;
    if ((has_one_subscriber && subs != 1) || (has_one_publisher && pubs != 1) ||
        (is_pairs && subs != pubs)) {
        return cli_usage(cli, self,
                         "fan-in has one subscriber, fan-out one publisher, retained one of each, "
                         "pairs and latency as many of each");
    }
    o->n_publishers = (uint32_t)pubs;
    o->n_subscribers = (uint32_t)subs;
    return CLI_DONE;
}

/* What a scenario has no use for is refused: who gives it expects that it counts. */
enum { OF_MQTT = 1, OF_COAP = 2, OF_MESSAGES = 4, OF_COUNT = 8, OF_RATE = 16 };

static const struct {
    const char *option;
    unsigned of;
} kept_for[] = {{"--qos", OF_MQTT},      {"--protocol-version", OF_MQTT},
                {"--topic", OF_MQTT},    {"--path", OF_COAP},
                {"--psk", OF_COAP},      {"--psk-identity", OF_COAP},
                {"--size", OF_MESSAGES}, {"--keep", OF_MESSAGES},
                {"--count", OF_COUNT},   {"--rate", OF_RATE}};

static unsigned takes(enum load_shape shape)
{
    const struct usual *u = &usuals[shape];
    bool has_messages = !u->is_by_connections;
    return (u->is_coap ? OF_COAP : OF_MQTT) | (has_messages ? OF_MESSAGES : 0u) |
           (u->count > 0 ? OF_COUNT : 0u) | (has_messages && shape != LOAD_RETAINED ? OF_RATE : 0u);
}

static int check_use(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                     enum load_shape shape)
{
    if (a->n_words > 0) {
        return cli_usage(cli, self, "\"%s\" belongs to no option", a->words[0]);
    }
    for (size_t i = 0; i < COUNT_OF(kept_for); i++) {
        if (cli_has(a, kept_for[i].option) && (takes(shape) & kept_for[i].of) == 0) {
            return cli_usage(cli, self, "%s has no use for %s: leave it away",
                             bench_shape_name(shape), kept_for[i].option);
        }
    }
    return CLI_DONE;
}

static int read_prefix(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       struct bench *b)
{
    const char *prefix = cli_value(a, "--topic");
    const struct topic_limits limits = {.bytes = LOAD_PREFIX_BYTES - 1, .levels = 64};
    if (prefix != NULL && topic_name_check(slice_text(prefix), &limits) != OK) {
        return cli_usage(
            cli, self, "--topic %s is no PREFIX: 1 to %d bytes without + and #, 64 levels at most",
            prefix, LOAD_PREFIX_BYTES - 1);
    }
    struct random_source random = random_system();
    if (prefix != NULL) {
        (void)snprintf(b->prefix, sizeof(b->prefix), "%s", prefix);
    } else {
        (void)snprintf(b->prefix, sizeof(b->prefix), "bench/%06x",
                       (unsigned)(random_u64(&random) & 0xFFFFFF));
    }
    return CLI_DONE;
}

static int read_order(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                      struct bench *b)
{
    struct load_order *o = &b->order;
    const char *version = cli_value(a, "--protocol-version");
    long qos, size, window, seconds, rate, count;
    if (!read_shape(cli, self, a, o) || !read_pids(cli, self, a, &b->watch)) {
        return CLI_USAGE;
    }
    const struct usual *u = &usuals[o->shape];
    const char *path = cli_value(a, "--path");
    int code = check_use(cli, self, a, o->shape);
    code = code == CLI_DONE ? read_connections(cli, self, a, o) : code;
    code = code == CLI_DONE ? read_prefix(cli, self, a, b) : code;
    if (code != CLI_DONE) {
        return code;
    }
    if (!client_number(cli, self, a, "--qos", u->qos_least, u->qos_most, u->qos, &qos) ||
        !client_number(cli, self, a, "--rate", o->shape == LOAD_LATENCY ? 1 : 0, 10000000, u->rate,
                       &rate) ||
        !client_number(cli, self, a, "--count", 1, LOAD_COUNT_MAX, u->count, &count) ||
        !client_number(cli, self, a, "--size", LOAD_PAYLOAD_MIN, LOAD_PAYLOAD_MAX, 64, &size) ||
        !client_number(cli, self, a, "--window", 1, LOAD_WINDOW_MAX, u->window, &window) ||
        !client_number(cli, self, a, "--seconds", 1, 3600, 3, &seconds)) {
        return CLI_USAGE;
    }
    bool is_v5 = version != NULL && strcmp(version, "5") == 0;
    if (version != NULL && !is_v5 && strcmp(version, "311") != 0) {
        return cli_usage(cli, self, "-V takes 5 or 311");
    }
    o->target = &b->target;
    o->prefix = b->prefix;
    o->path = path != NULL ? path : "/";
    o->version = is_v5 ? MQTT_V5 : MQTT_V311;
    o->payload_n = (uint32_t)size;
    o->window = (uint32_t)window;
    o->count = (uint32_t)count;
    o->warm_ms = WARM_MS;
    o->measure_ms = (uint32_t)seconds * 1000;
    o->qos = (uint8_t)qos;
    o->rate = (uint32_t)rate;
    o->is_plain = cli_has(a, "--plain");
    o->is_kept = cli_has(a, "--keep");
    b->plot = cli_value(a, "--plot");
    return CLI_DONE;
}

/* ---- the whole ---- */

static void bench_done(struct bench *b)
{
    client_target_done(&b->target);
    bench_watch_done(&b->watch);
}

/* Before a server is loaded: what could be told only behind the run. */
static int check_places(struct cli *cli, const struct bench *b)
{
    pid_t absent = bench_watch_absent(&b->watch);
    if (absent != 0) {
        return cli_fail(cli,
                        "--pid %d: no such process can be read. Nothing was sent to the server; "
                        "`pidof sallyport` says which processes it has",
                        (int)absent);
    }
    return b->plot != NULL ? bench_plot_check(cli, b->plot) : CLI_DONE;
}

static int run(struct cli *cli, struct bench *b)
{
    const struct load_order *o = &b->order;
    size_t points = b->plot != NULL ? o->measure_ms / LOAD_TICK_MS + 64 : 0;
    FILE *progress = isatty(fileno(cli->err)) == 1 ? cli->err : NULL;
    if (bench_watch_init(&b->watch, points, bench_unit(o->shape), bench_filling(o->shape),
                         progress) != OK) {
        return cli_fail(cli, "no memory");
    }
    const struct load_watch watch = bench_watch_of(&b->watch);
    struct load_result result = {0};
    int code = usuals[o->shape].is_coap ? client_load_coap_run(cli, o, &watch, &result)
                                        : client_load_run(cli, o, &watch, &result);
    if (code != CLI_DONE) {
        return code;
    }
    code = b->plot != NULL ? bench_plot(cli, b->plot, o, &b->watch) : CLI_DONE;
    int said = bench_report(cli, o, &b->watch, &result);
    return said != CLI_DONE ? said : code;
}

int cmd_bench(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--scenario", NULL, CLI_VALUE},
                                                {"--publishers", NULL, CLI_VALUE},
                                                {"--subscribers", NULL, CLI_VALUE},
                                                {"--connections", NULL, CLI_VALUE},
                                                {"--count", NULL, CLI_VALUE},
                                                {"--qos", "-q", CLI_VALUE},
                                                {"--size", NULL, CLI_VALUE},
                                                {"--window", NULL, CLI_VALUE},
                                                {"--seconds", NULL, CLI_VALUE},
                                                {"--rate", NULL, CLI_VALUE},
                                                {"--pid", NULL, CLI_VALUE},
                                                {"--plot", NULL, CLI_VALUE},
                                                {"--path", NULL, CLI_VALUE},
                                                {"--psk-identity", NULL, CLI_VALUE},
                                                {"--psk", NULL, CLI_VALUE},
                                                {"--topic", "-t", CLI_VALUE},
                                                {"--url", "-L", CLI_VALUE},
                                                {"--protocol-version", "-V", CLI_VALUE},
                                                {"--plain", NULL, CLI_FLAG},
                                                {"--keep", NULL, CLI_FLAG},
                                                CLIENT_TARGET_OPTIONS,
                                                {NULL, NULL, CLI_FLAG}};
    AUTO(bench_done) struct bench b = {.order = {.shape = LOAD_PAIRS}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    int code = read_order(cli, self, &a, &b);
    code = code == CLI_DONE ? read_target(cli, self, &a, &b) : code;
    code = code == CLI_DONE ? check_places(cli, &b) : code;
    return code == CLI_DONE ? run(cli, &b) : code;
}
