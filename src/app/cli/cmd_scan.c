/* scan: what a server of MQTT or CoAP shows to strangers, asked from outside, port by port. */
#include <netdb.h>
#include <unistd.h>

#include "app/cli/client_target.h"
#include "app/cli/commands.h"
#include "app/scan/scan_look.h"
#include "app/scan/scan_report.h"
#include "base/mem.h"
#include "base/scope.h"
#include "net/stream.h"

enum {
    HOST_MAX = 253,
    ADDRESSES_MAX = 8,
    TIMEOUT_S = 2,
    TIMEOUT_MOST_S = 30,
    TIME_S = 90,
    TIME_MOST_S = 900
};

static const struct scan_door usual[] = {{SCAN_MQTT, 1883}, {SCAN_MQTTS, 8883}, {SCAN_WS, 8083},
                                         {SCAN_WSS, 8084},  {SCAN_WS, 9001},    {SCAN_COAP, 5683},
                                         {SCAN_COAPS, 5684}};

struct scan {
    struct cli *cli;
    const struct cli_command *self;
    struct scan_net net;
    struct net_peer addresses[ADDRESSES_MAX]; /* of the host, in the order of the resolver */
    size_t n_addresses;
    struct buf ca;
    char text[TLS_TEXT_BYTES];
    bool is_terminal;
    struct scan_seen *seen;
    struct scan_findings *findings;
};

static void scan_done(struct scan *s)
{
    s->net.tls = tls_free(s->net.tls);
    s->net.io = stream_io_free(s->net.io);
    s->seen = mem_free(s->seen);
    s->findings = mem_free(s->findings);
    buf_done(&s->ca);
}

/* ---- whom ---- */

/* It goes into the server name of TLS and the head of HTTP as it is. */
static bool is_host(const char *host)
{
    size_t n = strlen(host);
    for (size_t i = 0; i < n; i++) {
        bool is_plain = (host[i] >= '0' && host[i] <= '9') || (host[i] >= 'a' && host[i] <= 'z') ||
                        (host[i] >= 'A' && host[i] <= 'Z') || strchr(".:-_%", host[i]) != NULL;
        if (!is_plain) {
            return false;
        }
    }
    return n > 0 && n <= HOST_MAX && host[0] != '-';
}

/* Once for the whole scan: what is looked at is an address that was judged here. Sends nothing. */
static int resolve(struct scan *s, const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
    if (!is_host(host)) {
        return cli_usage(s->cli, s->self,
                         "the host is a name or an address, without a port or a URL");
    }
    int wrong = getaddrinfo(host, NULL, &hints, &all);
    if (wrong != 0) {
        return cli_fail(s->cli, "%s: %s; is the name right?", host, gai_strerror(wrong));
    }
    for (const struct addrinfo *a = all; a != NULL && s->n_addresses < ADDRESSES_MAX;
         a = a->ai_next) {
        struct sockaddr_storage at = {0};
        slice_copy(&at, slice_of(a->ai_addr, a->ai_addrlen));
        struct net_peer *to = &s->addresses[s->n_addresses];
        s->n_addresses += net_peer_from(&at, to) == OK ? 1 : 0;
    }
    freeaddrinfo(all);
    s->net.host = host;
    return s->n_addresses > 0 ? CLI_DONE : cli_fail(s->cli, "%s has no address of IP", host);
}

/* Every address that the name has counts. */
static int may_ask(struct scan *s, const struct cli_args *a)
{
    bool is_ours = true;
    for (size_t i = 0; i < s->n_addresses; i++) {
        if (net_peer_is_multicast(&s->addresses[i])) {
            return cli_usage(s->cli, s->self, "%s is the address of a group, not of a server",
                             s->net.host);
        }
        is_ours = is_ours && net_peer_is_loopback(&s->addresses[i]);
    }
    if (is_ours || cli_has(a, "--i-own-this")) {
        return CLI_DONE;
    }
    return cli_usage(s->cli, s->self,
                     "%s is another machine. A scan connects again and again, tries default "
                     "passwords and leaves entries in logs, so it is for servers that are yours, "
                     "or whose owner has asked you. If it is one, say so: --i-own-this",
                     s->net.host);
}

/* ---- which ports ---- */

static bool read_door(const char *text, struct scan_door *ret)
{
    struct slice rest = slice_text(text);
    bool has_kind = slice_find(rest, ':') < rest.n, more;
    struct slice kind = has_kind ? slice_cut(&rest, ':', &more) : (struct slice){0};
    unsigned long port = 0;
    for (size_t i = 0; i < rest.n; i++) {
        if (rest.p[i] < '0' || rest.p[i] > '9' || i == 5) {
            return false;
        }
        port = port * 10 + (unsigned long)(rest.p[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX) {
        return false;
    }
    *ret = (struct scan_door){.port = (uint16_t)port};
    for (size_t i = 0; !has_kind && i < COUNT_OF(usual); i++) {
        if (usual[i].port == port) {
            *ret = usual[i];
            return true;
        }
    }
    for (int k = SCAN_MQTT; has_kind && k <= SCAN_COAPS; k++) {
        if (slice_is(kind, scan_kind_name((enum scan_kind)k))) {
            ret->kind = (enum scan_kind)k;
            return true;
        }
    }
    return false;
}

static int read_doors(struct scan *s, const struct cli_args *a)
{
    const char *const *ports;
    size_t n = cli_values(a, "--port", &ports);
    for (size_t i = 0; i < n; i++) {
        if (i == SCAN_DOORS_MAX) {
            return cli_usage(s->cli, s->self, "at most %d ports at a time", SCAN_DOORS_MAX);
        }
        if (!read_door(ports[i], &s->seen->doors[i].door)) {
            return cli_usage(s->cli, s->self,
                             "--port %s: write KIND:PORT, KIND is mqtt, mqtts, ws, wss, coap or "
                             "coaps; the usual ports go without",
                             ports[i]);
        }
    }
    s->seen->n_doors = n > 0 ? n : COUNT_OF(usual);
    for (size_t i = 0; n == 0 && i < COUNT_OF(usual); i++) {
        s->seen->doors[i].door = usual[i];
    }
    return CLI_DONE;
}

/* ---- one after the other ---- */

static void tell(void *ctx, const struct scan_door *door, const char *what)
{
    struct scan *s = ctx;
    if (s->is_terminal) {
        fprintf(s->cli->err, "\r\033[K%s %u: %s", scan_kind_name(door->kind), (unsigned)door->port,
                what);
        (void)fflush(s->cli->err);
    }
}

static void look_at(struct scan *s, const struct net_peer *address)
{
    s->net.address = *address;
    s->net.address.port = 0;
    for (size_t i = 0; i < s->seen->n_doors; i++) {
        struct scan_door_seen *d = &s->seen->doors[i];
        *d = (struct scan_door_seen){.door = d->door};
        if (scan_net_is_over(&s->net)) {
            continue;
        }
        if (scan_kind_is_mqtt(d->door.kind)) {
            scan_look_mqtt(&s->net, d);
        } else if (d->door.kind == SCAN_COAP) {
            scan_look_coap(&s->net, d);
        } else {
            scan_look_coaps(&s->net, d);
        }
    }
}

/* The first address that has a server on it: the name of this very machine, for one, is ::1 and
 * 127.0.0.1, and the server may be at the second alone. */
static void look(struct scan *s)
{
    bool goes_on = true;
    for (size_t i = 0; goes_on && i < s->n_addresses; i++) {
        look_at(s, &s->addresses[i]);
        goes_on = !scan_has_answers(s->seen) && !scan_net_is_over(&s->net);
    }
    s->seen->is_cut = scan_net_is_over(&s->net);
    if (s->is_terminal) {
        fputs("\r\033[K", s->cli->err);
    }
}

static int report(struct scan *s, bool as_sarif)
{
    char address[NET_PEER_TEXT_BYTES];
    net_peer_text(&s->net.address, address);
    address[strlen(address) - 2] = '\0'; /* its port, ":0" */
    struct scan_report r = {
        .host = s->net.host, .address = address, .seen = s->seen, .findings = s->findings};
    if (!as_sarif && !s->cli->json) {
        scan_report_text(&r, s->cli->out);
        return CLI_DONE;
    }
    json_t *all = as_sarif ? scan_report_sarif(&r) : scan_report_json(&r);
    if (all == NULL) {
        return cli_fail(s->cli, "no memory");
    }
    json_dumpf(all, s->cli->out, JSON_INDENT(1) | JSON_ENSURE_ASCII);
    fputc('\n', s->cli->out);
    json_decref(all);
    return CLI_DONE;
}

static int prepare(struct scan *s, const struct cli_args *a)
{
    long timeout_s = 0, time_s = 0;
    if (!client_number(s->cli, s->self, a, "--timeout", 1, TIMEOUT_MOST_S, TIMEOUT_S, &timeout_s) ||
        !client_number(s->cli, s->self, a, "--time", 1, TIME_MOST_S, TIME_S, &time_s)) {
        return CLI_USAGE;
    }
    const char *path = cli_value(a, "--ws-path"), *ca = cli_value(a, "--cafile");
    s->net.ws_path = path != NULL ? path : "/mqtt";
    if (s->net.ws_path[0] != '/' || strpbrk(s->net.ws_path, " \r\n\t") != NULL ||
        strlen(s->net.ws_path) > WS_TARGET_PATH_MAX) {
        return cli_usage(s->cli, s->self, "--ws-path begins with / and has no blanks");
    }
    s->net.clock = clock_system();
    s->net.random = random_system();
    s->net.probe_ms = (uint32_t)timeout_s * 1000;
    s->net.end_ms = scan_net_now(&s->net) + (uint64_t)time_s * 1000;
    s->net.tell = tell;
    s->net.ctx = s;
    s->net.may_try_passwords = !cli_has(a, "--no-passwords");
    s->is_terminal = isatty(fileno(s->cli->err)) == 1;
    s->seen->wall_ms = s->net.clock.wall_ms(s->net.clock.ctx);
    s->seen->has_authorities = ca != NULL;
    int code = ca != NULL ? client_file(s->cli, ca, CLIENT_CA_BYTES_MAX, &s->ca) : CLI_DONE;
    if (code != CLI_DONE) {
        return code;
    }
    enum err err = tls_look_new(buf_slice(&s->ca), s->net.host, s->text, &s->net.tls);
    if (err == OK) {
        err = stream_io_new(&s->net.io);
    }
    return err == OK ? CLI_DONE
           : s->text[0] != '\0'
               ? cli_fail(s->cli, "--cafile: %s", s->text)
               : cli_fail(s->cli, "no memory, or the system's authorities cannot be read");
}

int cmd_scan(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--port", "-p", CLI_MANY},     {"--i-own-this", NULL, CLI_FLAG},
        {"--sarif", NULL, CLI_FLAG},    {"--cafile", NULL, CLI_VALUE},
        {"--timeout", NULL, CLI_VALUE}, {"--time", NULL, CLI_VALUE},
        {"--ws-path", NULL, CLI_VALUE}, {"--no-passwords", NULL, CLI_FLAG},
        {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    AUTO(scan_done) struct scan s = {.cli = cli, .self = self};
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    if (a.n_words != 1 || (cli->json && cli_has(&a, "--sarif"))) {
        return cli_usage(cli, self,
                         a.n_words != 1 ? "name one host" : "--json or --sarif, not both");
    }
    s.seen = mem_zalloc(sizeof(*s.seen));
    s.findings = mem_zalloc(sizeof(*s.findings));
    if (s.seen == NULL || s.findings == NULL) {
        return cli_fail(cli, "no memory");
    }
    int code = read_doors(&s, &a);
    code = code == CLI_DONE ? resolve(&s, a.words[0]) : code;
    code = code == CLI_DONE ? may_ask(&s, &a) : code;
    code = code == CLI_DONE ? prepare(&s, &a) : code;
    if (code != CLI_DONE) {
        return code;
    }
    look(&s);
    scan_judge(s.seen, s.findings);
    code = report(&s, cli_has(&a, "--sarif"));
    bool is_clean = scan_has_answers(s.seen) && !s.seen->is_cut && !scan_is_grave(s.findings);
    return code != CLI_DONE || !is_clean ? CLI_FAILED : CLI_DONE;
}
