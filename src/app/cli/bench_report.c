#include "app/cli/bench_report.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"

enum { TITLE_BYTES = CLIENT_HOST_BYTES + 64 };

static const char *const shapes[] = {
    [LOAD_FAN_IN] = "fan-in",     [LOAD_FAN_OUT] = "fan-out",
    [LOAD_PAIRS] = "pairs",       [LOAD_DURABLE] = "durable",
    [LOAD_LATENCY] = "latency",   [LOAD_CONNECT] = "connect",
    [LOAD_RESUMED] = "resumed",   [LOAD_IDLE] = "idle",
    [LOAD_RETAINED] = "retained", [LOAD_SUBSCRIPTIONS] = "subscriptions",
    [LOAD_COAP_GET] = "coap-get", [LOAD_COAP_HANDSHAKE] = "coap-handshake"};

const char *bench_shape_name(size_t shape)
{
    return shape < COUNT_OF(shapes) ? shapes[shape] : NULL;
}

const char *bench_unit(enum load_shape shape)
{
    switch (shape) {
    case LOAD_DURABLE:
        return "acknowledged";
    case LOAD_CONNECT:
    case LOAD_RESUMED:
        return "logins";
    case LOAD_IDLE:
        return "pings";
    case LOAD_COAP_GET:
        return "answers";
    case LOAD_COAP_HANDSHAKE:
        return "handshakes";
    case LOAD_FAN_IN:
    case LOAD_FAN_OUT:
    case LOAD_PAIRS:
    case LOAD_LATENCY:
    case LOAD_RETAINED:
    case LOAD_SUBSCRIPTIONS:
        break;
    }
    return "deliveries";
}

const char *bench_filling(enum load_shape shape)
{
    return shape == LOAD_IDLE            ? "connections"
           : shape == LOAD_RETAINED      ? "retained messages"
           : shape == LOAD_SUBSCRIPTIONS ? "filters"
           : shape == LOAD_COAP_GET      ? "associations"
                                         : NULL;
}

static bool is_coap(const struct load_order *o)
{
    return o->shape == LOAD_COAP_GET || o->shape == LOAD_COAP_HANDSHAKE;
}

static const char *carrier(const struct load_order *o, const struct load_result *r)
{
    return o->is_plain ? is_coap(o) ? "plain UDP" : "plain TCP" : r->version;
}

static double each(double whole, uint64_t n)
{
    return n > 0 ? whole / (double)n : 0;
}

/* ---- JSON ---- */

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void put_integer(json_t *j, const char *name, uint64_t n)
{
    (void)json_object_set_new(j, name, json_integer((json_int_t)n));
}

static void put_real(json_t *j, const char *name, double x)
{
    (void)json_object_set_new(j, name, json_real(x));
}

static void put_latency(json_t *j, const struct load_order *o, const struct load_result *r)
{
    bool is_durable = o->shape == LOAD_DURABLE;
    put_integer(j, is_durable ? "ack_p50_us" : "p50_us", r->p50_us);
    put_integer(j, is_durable ? "ack_p99_us" : "p99_us", r->p99_us);
    put_integer(j, is_durable ? "ack_p999_us" : "p999_us", r->p999_us);
    put_integer(j, is_durable ? "ack_max_us" : "max_us", r->max_us);
}

static void put_filled(json_t *j, const struct bench_watch *w, const struct load_result *r)
{
    json_t *fill = json_object();
    put_integer(fill, "n", r->filled);
    put_real(fill, "seconds", (double)r->fill_us / 1e6);
    if (bench_watch_knows(w)) {
        put_real(fill, "server_rss_bytes_each", each(bench_watch_rss_grown(w), r->filled));
        put_real(fill, "server_cpu_us_each",
                 each(bench_watch_cpu_us(w, LOAD_FILL_BEGINS, LOAD_FILL_ENDS), r->filled));
    }
    (void)json_object_set_new(j, "filled", fill);
}

static void print_json(struct cli *cli, const struct load_order *o, const struct bench_watch *w,
                       const struct load_result *r)
{
    double rate = each((double)r->counted * 1e6, r->measured_us);
    AUTO(json_release) json_t *j = json_object();
    (void)json_object_set_new(j, "scenario", json_string(shapes[o->shape]));
    (void)json_object_set_new(j, "unit", json_string(bench_unit(o->shape)));
    (void)json_object_set_new(j, "tls", json_string(r->version));
    (void)json_object_set_new(j, "cipher", json_string(r->cipher));
    (void)json_object_set_new(j, "websocket", json_boolean(!is_coap(o) && o->target->is_websocket));
    if (!is_coap(o)) {
        put_integer(j, "mqtt", o->version == MQTT_V5 ? 5 : 311);
        put_integer(j, "qos", o->qos);
    }
    put_integer(j, "publishers", o->n_publishers);
    put_integer(j, "subscribers", o->n_subscribers);
    put_integer(j, "bytes", o->payload_n);
    put_integer(j, "window", o->window);
    put_integer(j, "rate", o->rate);
    put_real(j, "seconds", (double)r->measured_us / 1e6);
    put_real(j, "per_second", rate);
    put_real(j, "deliveries_per_second", rate);
    put_real(j, "generator_cpu", each((double)r->own_cpu_us, r->measured_us));
    if (r->filled > 0) {
        put_filled(j, w, r);
    }
    if (r->has_latency) {
        put_latency(j, o, r);
    }
    if (bench_watch_knows(w) && r->counted > 0) {
        double us = each(bench_watch_cpu_us(w, LOAD_BEGINS, LOAD_ENDS), r->counted);
        put_real(j, "server_cpu_us_each", us);
        put_real(j, "server_cpu_us_per_delivery", us);
    }
    put_integer(j, "counted", r->counted);
    put_integer(j, "sent", r->sent);
    put_integer(j, "lost", r->lost);
    put_integer(j, "duplicates", r->duplicates);
    put_integer(j, "out_of_order", r->misordered);
    put_integer(j, "foreign", r->foreign);
    put_integer(j, "unasked", r->unasked);
    put_integer(j, "repeated", r->repeated);
    put_integer(j, "unresumed", r->unresumed);
    put_integer(j, "forgotten", r->forgotten);
    (void)json_object_set_new(j, "right", json_boolean(client_load_is_right(r)));
    json_dumpf(j, cli->out, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fputc('\n', cli->out);
}

/* ---- text ---- */

static void print_head(struct cli *cli, const struct load_order *o, const struct load_result *r)
{
    fprintf(cli->out, "%s, ", shapes[o->shape]);
    if (is_coap(o)) {
        fprintf(cli->out, "%u at a time, ", o->n_publishers);
    } else if (o->n_subscribers == 0 && o->shape != LOAD_DURABLE) {
        fprintf(cli->out, "%u connections, ", o->n_publishers);
    } else {
        fprintf(cli->out, "QoS %d, %u publishers, %u subscribers, %u bytes, window %u, ", o->qos,
                o->n_publishers, o->n_subscribers, o->payload_n, o->window);
    }
    fprintf(cli->out, "%s%s%s%s\n", carrier(o, r),
            !is_coap(o) && o->target->is_websocket ? ", WebSocket" : "",
            is_coap(o) && !o->is_plain ? ", " : "", is_coap(o) && !o->is_plain ? r->cipher : "");
}

static void print_filled(struct cli *cli, const struct load_order *o, const struct bench_watch *w,
                         const struct load_result *r)
{
    fprintf(cli->out, "  %llu %s in %.2f s (%.0f/s)", (unsigned long long)r->filled,
            bench_filling(o->shape), (double)r->fill_us / 1e6,
            each((double)r->filled * 1e6, r->fill_us));
    if (bench_watch_knows(w)) {
        fprintf(cli->out, ", %.0f bytes of the server's memory and %.2f us of its CPU each",
                each(bench_watch_rss_grown(w), r->filled),
                each(bench_watch_cpu_us(w, LOAD_FILL_BEGINS, LOAD_FILL_ENDS), r->filled));
    }
    fputc('\n', cli->out);
}

static void print_latency(struct cli *cli, const struct load_order *o, const struct load_result *r)
{
    const char *what = o->shape == LOAD_DURABLE   ? "acknowledged after"
                       : o->shape == LOAD_LATENCY ? "there after"
                       : is_coap(o)               ? "answered after"
                                                  : "logged in after";
    fprintf(cli->out,
            "  %s %.3f ms (half of them), %.3f ms (99 %%), %.3f ms (99.9 %%), %.3f ms "
            "(all)\n",
            what, (double)r->p50_us / 1000, (double)r->p99_us / 1000, (double)r->p999_us / 1000,
            (double)r->max_us / 1000);
}

static void print_text(struct cli *cli, const struct load_order *o, const struct bench_watch *w,
                       const struct load_result *r)
{
    double cpu_us = bench_watch_cpu_us(w, LOAD_BEGINS, LOAD_ENDS);
    print_head(cli, o, r);
    if (r->filled > 0) {
        print_filled(cli, o, w, r);
    }
    fprintf(cli->out, "  %.0f %s/s over %.1f s (the generator at %.0f %% of a core)\n",
            each((double)r->counted * 1e6, r->measured_us), bench_unit(o->shape),
            (double)r->measured_us / 1e6, each((double)r->own_cpu_us, r->measured_us) * 100);
    if (r->has_latency) {
        print_latency(cli, o, r);
    }
    if (bench_watch_knows(w)) {
        fprintf(cli->out, "  %.2f us of server CPU for each (%.0f %% of a core)\n",
                each(cpu_us, r->counted), each(cpu_us, r->measured_us) * 100);
    }
    fprintf(cli->out, "  %llu sent; %llu lost, %llu twice, %llu out of order, %llu not ours",
            (unsigned long long)r->sent, (unsigned long long)r->lost,
            (unsigned long long)r->duplicates, (unsigned long long)r->misordered,
            (unsigned long long)r->foreign);
    if (is_coap(o)) {
        fprintf(cli->out, ", %llu sent again", (unsigned long long)r->repeated);
    } else if (o->shape == LOAD_RESUMED) {
        fprintf(cli->out, ", %llu not by their ticket", (unsigned long long)r->unresumed);
    }
    if (r->unasked > 0) {
        fprintf(cli->out, ", %llu acknowledged that were not sent", (unsigned long long)r->unasked);
    }
    fputc('\n', cli->out);
}

int bench_report(struct cli *cli, const struct load_order *o, const struct bench_watch *w,
                 const struct load_result *r)
{
    if (cli->json) {
        print_json(cli, o, w, r);
    } else {
        print_text(cli, o, w, r);
    }
    if (w->is_gone) {
        return cli_fail(cli, "--pid: a process ended during the run: the CPU is not known");
    }
    if (r->unresumed > 0) {
        return cli_fail(cli, "%llu handshakes were in full although a ticket was offered",
                        (unsigned long long)r->unresumed);
    }
    if (r->forgotten > 0) {
        return cli_fail(cli,
                        "the server had no session any more for %llu of %u sleepers, nor what was "
                        "acknowledged for them:\n  durable needs an identity whose sessions last; "
                        "who is anonymous has none with Sallyport",
                        (unsigned long long)r->forgotten, o->n_subscribers);
    }
    return client_load_is_right(r) ? CLI_DONE
           : is_coap(o)            ? cli_fail(cli, "the server left requests without an answer, or "
                                                              "answered what was not asked")
                        : cli_fail(cli, "the server lost, repeated or reordered messages, or "
                                        "acknowledged what was not sent");
}

/* ---- the plot ---- */

int bench_plot_check(struct cli *cli, const char *path)
{
    struct stat st;
    int wrong = 0;
    if (stat(path, &st) == 0) { /* it stays as it is until there is something to write */
        wrong = S_ISDIR(st.st_mode) ? EISDIR : access(path, W_OK) != 0 ? errno : 0;
    } else {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        wrong = fd < 0 ? errno : 0;
        if (fd >= 0) {
            (void)close(fd);
            (void)unlink(path);
        }
    }
    return wrong == 0 ? CLI_DONE
                      : cli_fail(cli,
                                 "--plot %s cannot be written: %s. Nothing was sent to the server; "
                                 "name a file in a folder that you may write to",
                                 path, strerror(wrong));
}

int bench_plot(struct cli *cli, const char *path, const struct load_order *o,
               const struct bench_watch *w)
{
    char title[TITLE_BYTES];
    (void)snprintf(title, sizeof(title), "sallyport bench: %s, %s port %u", shapes[o->shape],
                   o->target->host, (unsigned)o->target->port);
    FILE *to = fopen(path, "we");
    if (to == NULL) {
        return cli_fail(cli, "%s cannot be written: %s", path, strerror(errno));
    }
    client_plot_write(to, &(struct client_plot){.title = title,
                                                .unit = bench_unit(o->shape),
                                                .points = w->points,
                                                .n_points = w->n_points,
                                                .has_cpu = bench_watch_knows(w)});
    bool was_bad = ferror(to) != 0;
    was_bad = fclose(to) != 0 || was_bad;
    return was_bad ? cli_fail(cli, "%s was not written: %s", path, strerror(errno)) : CLI_DONE;
}
