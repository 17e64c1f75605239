/* bench: what a server of MQTT does under load, and whether it does it right. */
#include <fcntl.h>
#include <unistd.h>

#include "app/cli/client_load.h"
#include "app/cli/commands.h"
#include "base/random.h"
#include "base/rd.h"
#include "base/scope.h"

enum { PIDS_MAX = 16, STAT_BYTES = 2048, WARM_MS = 500, STAT_UTIME = 14, STAT_STIME = 15 };

struct bench {
    struct client_target target;
    struct load_order order;
    char prefix[LOAD_PREFIX_BYTES];
    pid_t pids[PIDS_MAX];
    size_t n_pids;
    uint64_t cpu_us[2]; /* of the server, at both ends of the measured time */
    bool is_gone;       /* one of the processes was not there */
};

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

/* utime and stime of a process with all its threads. */
static bool cpu_of(pid_t pid, uint64_t *ret_us)
{
    char path[64], text[STAT_BYTES];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (n <= 0) {
        return false;
    }
    /* The name in brackets may hold anything: fields are counted from the last one on. */
    struct slice rest = slice_of(text, (size_t)n);
    for (size_t at = slice_find(rest, ')'); at < rest.n; at = slice_find(rest, ')')) {
        rest = slice_from(rest, at + 1);
    }
    uint64_t ticks = 0;
    bool more = true;
    for (int field = 2; field <= STAT_STIME && more; field++) {
        char number[32];
        struct slice word = slice_cut(&rest, ' ', &more);
        if (field >= STAT_UTIME && slice_to_text(word, number, sizeof(number))) {
            ticks += strtoull(number, NULL, 10);
        }
    }
    *ret_us = ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
    return more;
}

static void on_mark(void *ctx, bool is_end)
{
    struct bench *b = ctx;
    for (size_t i = 0; i < b->n_pids; i++) {
        uint64_t us = 0;
        b->is_gone = !cpu_of(b->pids[i], &us) || b->is_gone;
        b->cpu_us[is_end] += us;
    }
}

/* ---- what was measured ---- */

static const char *const shapes[] = {[LOAD_FAN_IN] = "fan-in",
                                     [LOAD_FAN_OUT] = "fan-out",
                                     [LOAD_PAIRS] = "pairs",
                                     [LOAD_DURABLE] = "durable"};

static bool is_right(const struct load_result *r)
{
    return r->lost == 0 && r->duplicates == 0 && r->misordered == 0 && r->foreign == 0;
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void print_json(struct cli *cli, const struct bench *b, const struct load_result *r,
                       double rate, double server_us, double own)
{
    AUTO(json_release)
    json_t *j = json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:b}",
        "scenario", shapes[b->order.shape], "qos", b->order.qos, "publishers",
        (int)b->order.n_publishers, "subscribers", (int)b->order.n_subscribers, "bytes",
        (int)b->order.payload_n, "window", (int)b->order.window, "tls", r->version,
        "deliveries_per_second", rate, "generator_cpu", own, "counted", (json_int_t)r->counted,
        "sent", (json_int_t)r->sent, "lost", (json_int_t)r->lost, "duplicates",
        (json_int_t)r->duplicates, "out_of_order", (json_int_t)r->misordered, "foreign",
        (json_int_t)r->foreign, "right", is_right(r) ? 1 : 0);
    if (j != NULL && b->n_pids > 0 && !b->is_gone && r->counted > 0) {
        (void)json_object_set_new(j, "server_cpu_us_per_delivery", json_real(server_us));
    }
    if (j != NULL && b->order.shape == LOAD_DURABLE) {
        (void)json_object_set_new(j, "ack_p50_us", json_integer((json_int_t)r->p50_us));
        (void)json_object_set_new(j, "ack_p99_us", json_integer((json_int_t)r->p99_us));
    }
    json_dumpf(j, cli->out, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fputc('\n', cli->out);
}

static int report(struct cli *cli, const struct bench *b, const struct load_result *r)
{
    double seconds = (double)r->measured_us / 1e6;
    double rate = (double)r->counted / seconds;
    double cpu_us = (double)(b->cpu_us[1] - b->cpu_us[0]);
    double server_us = r->counted > 0 ? cpu_us / (double)r->counted : 0;
    double own = (double)r->own_cpu_us / (double)r->measured_us;
    const struct load_order *o = &b->order;
    if (cli->json) {
        print_json(cli, b, r, rate, server_us, own);
    } else {
        fprintf(cli->out, "%s, QoS %d, %u publishers, %u subscribers, %u bytes, window %u, %s\n",
                shapes[o->shape], o->qos, o->n_publishers, o->n_subscribers, o->payload_n,
                o->window, o->is_plain ? "plain TCP" : r->version);
        bool is_durable = o->shape == LOAD_DURABLE;
        fprintf(cli->out, "  %.0f %s/s over %.1f s (the generator at %.0f %% of a core)\n", rate,
                is_durable ? "acknowledged" : "deliveries", seconds, own * 100);
        if (is_durable) {
            fprintf(cli->out, "  acknowledged after %.2f ms (half of them) and %.2f ms (99 %%)\n",
                    (double)r->p50_us / 1000, (double)r->p99_us / 1000);
        }
        if (b->n_pids > 0 && !b->is_gone) {
            fprintf(cli->out, "  %.2f us of server CPU a delivery (%.0f %% of a core)\n", server_us,
                    cpu_us / (double)r->measured_us * 100);
        }
        fprintf(cli->out, "  %llu sent; %llu lost, %llu twice, %llu out of order, %llu not ours\n",
                (unsigned long long)r->sent, (unsigned long long)r->lost,
                (unsigned long long)r->duplicates, (unsigned long long)r->misordered,
                (unsigned long long)r->foreign);
    }
    if (b->is_gone) {
        return cli_fail(cli, "--pid: a process was not there: its CPU is not known");
    }
    return is_right(r) ? CLI_DONE
                       : cli_fail(cli, "the server lost, repeated or reordered messages");
}

/* ---- options ---- */

static bool read_pids(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                      struct bench *b)
{
    const char *text = cli_value(a, "--pid");
    for (const char *at = text; at != NULL && *at != '\0';) {
        char *end;
        long pid = strtol(at, &end, 10);
        if (end == at || (*end != '\0' && *end != ',') || pid < 1 || pid > INT32_MAX ||
            b->n_pids == PIDS_MAX) {
            (void)cli_usage(cli, self, "--pid takes process ids with commas between");
            return false;
        }
        b->pids[b->n_pids++] = (pid_t)pid;
        at = *end == ',' ? end + 1 : end;
    }
    return true;
}

static bool read_shape(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       struct load_order *o)
{
    const char *name = cli_value(a, "--scenario");
    for (size_t i = 0; name != NULL && i < COUNT_OF(shapes); i++) {
        if (strcmp(name, shapes[i]) == 0) {
            o->shape = (enum load_shape)i;
            return true;
        }
    }
    if (name != NULL) {
        (void)cli_usage(cli, self, "--scenario takes fan-in, fan-out, pairs or durable");
    }
    return name == NULL;
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0;
}

static int read_target(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       struct bench *b)
{
    const char *host = cli_value(a, "--host");
    long port;
    if (!cli_has(a, "--plain")) {
        return client_target_read(cli, self, a, CLIENT_MQTTS, &b->target);
    }
    host = host != NULL ? host : "localhost";
    if (cli_has(a, "--bundle") || cli_has(a, "--cafile") || cli_has(a, "--cert")) {
        return cli_usage(cli, self,
                         "--plain goes without an identity: leave --bundle and "
                         "certificates away");
    }
    if (!is_loopback(host)) {
        return cli_usage(cli, self,
                         "--plain is for a broker on this machine, through the loopback: %s is "
                         "not. Use TLS: --bundle DIR",
                         host);
    }
    if (!client_number(cli, self, a, "--port", 1, UINT16_MAX, 1883, &port)) {
        return CLI_USAGE;
    }
    (void)snprintf(b->target.host, sizeof(b->target.host), "%s", host);
    b->target.port = (uint16_t)port;
    return CLI_DONE;
}

static int read_order(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                      struct bench *b)
{
    struct load_order *o = &b->order;
    const char *prefix = cli_value(a, "--topic");
    long pubs, subs, qos, size, window, seconds, version, rate;
    bool is_durable;
    if (!read_shape(cli, self, a, o) || !read_pids(cli, self, a, b)) {
        return CLI_USAGE;
    }
    is_durable = o->shape == LOAD_DURABLE;
    long pubs_usual = o->shape == LOAD_FAN_IN ? 50 : o->shape == LOAD_FAN_OUT ? 1 : 100;
    long subs_usual = o->shape == LOAD_FAN_OUT ? 1000 : o->shape == LOAD_PAIRS ? 100 : 1;
    if (!client_number(cli, self, a, "--publishers", 1, LOAD_CONNECTIONS_MAX, pubs_usual, &pubs) ||
        !client_number(cli, self, a, "--subscribers", is_durable ? 0 : 1, LOAD_CONNECTIONS_MAX,
                       o->shape == LOAD_PAIRS ? pubs : subs_usual, &subs) ||
        !client_number(cli, self, a, "--qos", is_durable ? 1 : 0, is_durable ? 1 : 2,
                       is_durable ? 1 : 0, &qos) ||
        !client_number(cli, self, a, "--rate", 0, 10000000, 0, &rate) ||
        !client_number(cli, self, a, "--size", LOAD_PAYLOAD_MIN, LOAD_PAYLOAD_MAX, 64, &size) ||
        !client_number(cli, self, a, "--window", 1, LOAD_WINDOW_MAX, 20, &window) ||
        !client_number(cli, self, a, "--seconds", 1, 3600, 3, &seconds) ||
        !client_number(cli, self, a, "--protocol-version", 5, 311, 311, &version)) {
        return CLI_USAGE;
    }
    if ((o->shape == LOAD_FAN_IN && subs != 1) || (o->shape == LOAD_FAN_OUT && pubs != 1) ||
        (o->shape == LOAD_PAIRS && subs != pubs) || (version != 5 && version != 311)) {
        return cli_usage(cli, self,
                         "fan-in has one subscriber, fan-out one publisher, pairs as "
                         "many of each; -V takes 5 or 311");
    }
    if (prefix != NULL && strlen(prefix) >= LOAD_PREFIX_BYTES) {
        return cli_usage(cli, self, "--topic is too long");
    }
    struct random_source random = random_system();
    if (prefix != NULL) {
        (void)snprintf(b->prefix, sizeof(b->prefix), "%s", prefix);
    } else {
        (void)snprintf(b->prefix, sizeof(b->prefix), "bench/%06x",
                       (unsigned)(random_u64(&random) & 0xFFFFFF));
    }
    o->target = &b->target;
    o->prefix = b->prefix;
    o->version = version == 5 ? MQTT_V5 : MQTT_V311;
    o->n_publishers = (uint32_t)pubs;
    o->n_subscribers = (uint32_t)subs;
    o->payload_n = (uint32_t)size;
    o->window = (uint32_t)window;
    o->warm_ms = WARM_MS;
    o->measure_ms = (uint32_t)seconds * 1000;
    o->qos = (uint8_t)qos;
    o->rate = (uint32_t)rate;
    o->is_plain = cli_has(a, "--plain");
    o->is_kept = cli_has(a, "--keep");
    return CLI_DONE;
}

static void bench_done(struct bench *b)
{
    client_target_done(&b->target);
}

int cmd_bench(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--scenario", NULL, CLI_VALUE},
                                                {"--publishers", NULL, CLI_VALUE},
                                                {"--subscribers", NULL, CLI_VALUE},
                                                {"--qos", "-q", CLI_VALUE},
                                                {"--size", NULL, CLI_VALUE},
                                                {"--window", NULL, CLI_VALUE},
                                                {"--seconds", NULL, CLI_VALUE},
                                                {"--rate", NULL, CLI_VALUE},
                                                {"--pid", NULL, CLI_VALUE},
                                                {"--topic", "-t", CLI_VALUE},
                                                {"--protocol-version", "-V", CLI_VALUE},
                                                {"--plain", NULL, CLI_FLAG},
                                                {"--keep", NULL, CLI_FLAG},
                                                CLIENT_TARGET_OPTIONS,
                                                {NULL, NULL, CLI_FLAG}};
    AUTO(bench_done) struct bench b = {.order = {.shape = LOAD_PAIRS}};
    struct load_result result;
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    int code = read_order(cli, self, &a, &b);
    code = code == CLI_DONE ? read_target(cli, self, &a, &b) : code;
    code = code == CLI_DONE ? client_load_run(cli, &b.order, on_mark, &b, &result) : code;
    return code == CLI_DONE ? report(cli, &b, &result) : code;
}
