/* serve, check */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/cli/commands.h"
#include "app/daemon/config.h"
#include "app/daemon/supervisor.h"
#include "core/pressure.h"
#include "service/admin/admin.h"
#include "service/directory/policy_yaml.h"
#include "store/log.h"

enum {
    KEEP_BYTES_DEFAULT = 256 << 20,
    OWN_BYTES = 12 << 20, /* of a server without clients, but for its workers */
    WORKER_BYTES = 6 << 20
};

int cmd_serve(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--master-key", NULL, CLI_VALUE},
                                                {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    if (a.n_words > 1) {
        return cli_usage(cli, self, "serve takes one DIR");
    }
    return supervisor_run(a.n_words == 1 ? a.words[0] : cli->dir, cli_value(&a, "--master-key"));
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static void policy_release(const struct policy **p)
{
    (void)policy_unref(*p);
}

static enum err check_policy(int dir_fd, const char *dir, const struct config *c,
                             struct yaml_complaint *ret)
{
    AUTO(buf_done) struct buf bytes = {0};
    AUTO(policy_release) const struct policy *policy = NULL;
    char shown[300];
    snprintf(shown, sizeof shown, "%s/policy.yaml", dir);
    TRY(config_read_file(dir_fd, "policy.yaml", shown, ret, &bytes));
    return policy_yaml_read(buf_slice(&bytes), shown, &c->role_limits, ret, &policy);
}

/* What the store takes of the disk: at least three files (the present one, the next, the spare). */
struct store_room {
    uint64_t segment_bytes, least_bytes, keep_bytes, free_bytes;
};

static struct store_room store_room(int dir_fd, const struct global_settings *s)
{
    struct statvfs disk = {0};
    (void)fstatvfs(dir_fd, &disk);
    struct store_room r = {.segment_bytes = s->segment_bytes,
                           .keep_bytes = s->keep_bytes,
                           .free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize};
    uint64_t total = (uint64_t)disk.f_blocks * disk.f_frsize;
    if (r.segment_bytes == 0) { /* as log_setup says */
        r.segment_bytes = total / 16 < SEGMENT_BYTES_DEFAULT ? total / 16 : SEGMENT_BYTES_DEFAULT;
    }
    if (r.keep_bytes == 0) {
        r.keep_bytes = total / 4 < KEEP_BYTES_DEFAULT ? total / 4 : KEEP_BYTES_DEFAULT;
    }
    r.least_bytes = 3 * r.segment_bytes;
    return r;
}

/* What of memory_bytes clients may use before slow readers are shed. */
struct memory_room {
    uint64_t own_bytes, clients_bytes;
};

static struct memory_room memory_room(const struct config *c)
{
    uint64_t most = c->settings.limits.memory_bytes / 100 * PRESSURE_QOS0_PERCENT;
    struct memory_room r = {.own_bytes = OWN_BYTES + (uint64_t)c->workers * WORKER_BYTES};
    r.clients_bytes = most > r.own_bytes ? most - r.own_bytes : 0;
    return r;
}

static void print_memory(const struct cli *cli, const struct config *c, const struct memory_room *r)
{
    if (r->clients_bytes == 0) {
        fprintf(cli->out,
                "memory_bytes is too small: the server itself takes about %llu MiB, and slow "
                "readers are shed from %u %% of it on.\n",
                (unsigned long long)(r->own_bytes >> 20), PRESSURE_QOS0_PERCENT);
        return;
    }
    uint64_t queue = c->role_limits.queue_bytes > 0 ? c->role_limits.queue_bytes : 1;
    fprintf(cli->out,
            "About %llu MiB are the server's own, %llu MiB its clients': %llu queues of "
            "queue_bytes (%llu MiB) can be full\nbefore slow readers are shed, at %u %%.\n",
            (unsigned long long)(r->own_bytes >> 20), (unsigned long long)(r->clients_bytes >> 20),
            (unsigned long long)(r->clients_bytes / queue), (unsigned long long)(queue >> 20),
            PRESSURE_QOS0_PERCENT);
}

static size_t count_absent(const struct config *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_listeners; i++) {
        n += config_is_absent(&c->listeners[i]) ? 1 : 0;
    }
    return n;
}

/* What works and still deserves a second look. */
static void print_doubts(struct cli *cli, const struct config *c)
{
    for (size_t i = 0; i < c->n_listeners; i++) {
        if (config_is_absent(&c->listeners[i])) {
            fprintf(cli->out,
                    "Listener %s is not opened: this kind of door is not there yet, and nothing "
                    "listens on %s. Take it out.\n",
                    c->listeners[i].name, c->listeners[i].bind);
        }
        if (c->listeners[i].mqtt_3_1) {
            fprintf(cli->out,
                    "Listener %s takes MQTT 3.1: such a client is never told of a refusal, its "
                    "connection just ends. Leave mqtt_3_1\nout once no device needs it.\n",
                    c->listeners[i].name);
        }
        if (c->listeners[i].multicast.n_groups > 0) {
            char groups[NET_MULTICAST_TEXT_BYTES];
            net_multicast_text(&c->listeners[i].multicast, groups);
            fprintf(cli->out,
                    "Listener %s answers /.well-known/core in groups (%s): whoever reaches them "
                    "learns without a name that\na server is here, and answers go to addresses "
                    "that nobody has proven. Leave multicast out once no device\nneeds it.\n",
                    c->listeners[i].name, groups);
        }
    }
}

static void print_capacity(struct cli *cli, const struct config *c, int dir_fd)
{
    struct store_room store = store_room(dir_fd, &c->settings);
    struct rlimit files = {0, 0};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    uint64_t by_files =
        files.rlim_max > ADMIN_OWN_DESCRIPTORS ? files.rlim_max - ADMIN_OWN_DESCRIPTORS : 0;
    struct memory_room memory = memory_room(c);
    uint64_t by_memory = memory.clients_bytes / ADMIN_IDLE_CONNECTION_BYTES;
    uint64_t fits = by_files < by_memory ? by_files : by_memory;
    if (cli->json) {
        fprintf(
            cli->out,
            "{\"ok\":true,\"workers\":%u,\"listeners\":%zu,\"unopened\":%zu,\"connections\":%llu,"
            "\"segment_bytes\":%llu,\"store_least_bytes\":%llu,\"keep_bytes\":%llu,"
            "\"disk_free_bytes\":%llu,\"memory_bytes\":%llu,\"memory_own_bytes\":%llu,"
            "\"memory_clients_bytes\":%llu}\n",
            c->workers, c->n_listeners - count_absent(c), count_absent(c), (unsigned long long)fits,
            (unsigned long long)store.segment_bytes, (unsigned long long)store.least_bytes,
            (unsigned long long)store.keep_bytes, (unsigned long long)store.free_bytes,
            (unsigned long long)c->settings.limits.memory_bytes,
            (unsigned long long)memory.own_bytes, (unsigned long long)memory.clients_bytes);
        return;
    }
    fprintf(cli->out,
            "sallyport.yaml and policy.yaml are right.\n"
            "%u workers, %zu listeners. About %llu connections fit: descriptors allow %llu, "
            "%llu MiB of memory %llu.\n",
            c->workers, c->n_listeners - count_absent(c), (unsigned long long)fits,
            (unsigned long long)by_files,
            (unsigned long long)(c->settings.limits.memory_bytes >> 20),
            (unsigned long long)by_memory);
    print_memory(cli, c, &memory);
    fprintf(cli->out,
            "The store takes files of %llu MiB, three at least (%llu MiB), and is cleaned above "
            "%llu MiB and\ntwice what is alive in it; %llu MiB are free on its disk%s.\n",
            (unsigned long long)(store.segment_bytes >> 20),
            (unsigned long long)(store.least_bytes >> 20),
            (unsigned long long)(store.keep_bytes >> 20),
            (unsigned long long)(store.free_bytes >> 20),
            store.free_bytes < store.segment_bytes ? ": LESS THAN ONE FILE" : "");
    print_doubts(cli, c);
}

int cmd_check(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    if (a.n_words > 1) {
        return cli_usage(cli, self, "check takes one DIR");
    }
    const char *dir = a.n_words == 1 ? a.words[0] : cli->dir;
    AUTO(close_fd) int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) {
        return cli_fail(cli, "%s cannot be opened; `sallyport init %s` makes it", dir, dir);
    }
    struct config_machine machine = config_machine_ask();
    struct yaml_complaint complaint;
    struct config config;
    enum err e = config_load(dir_fd, dir, &machine, &complaint, &config);
    if (e == OK) {
        e = check_policy(dir_fd, dir, &config, &complaint);
    }
    if (e == OK) {
        e = config_check_export(dir_fd, dir, &config.sinks, &complaint);
    }
    if (e != OK) {
        return cli_fail(cli, "%s", complaint.text);
    }
    print_capacity(cli, &config, dir_fd);
    return CLI_DONE;
}
