/* serve, check */
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/cli/commands.h"
#include "app/daemon/config.h"
#include "app/daemon/supervisor.h"
#include "service/directory/policy_yaml.h"

enum { IDLE_CONNECTION_BYTES = 24 * 1024, OWN_DESCRIPTORS = 64 };

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

static void print_capacity(struct cli *cli, const struct config *c)
{
    struct rlimit files = {0, 0};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    uint64_t by_files = files.rlim_max > OWN_DESCRIPTORS ? files.rlim_max - OWN_DESCRIPTORS : 0;
    uint64_t by_memory = c->settings.limits.memory_bytes / IDLE_CONNECTION_BYTES;
    uint64_t fits = by_files < by_memory ? by_files : by_memory;
    if (cli->json) {
        fprintf(cli->out, "{\"ok\":true,\"workers\":%u,\"listeners\":%zu,\"connections\":%llu}\n",
                c->workers, c->n_listeners, (unsigned long long)fits);
        return;
    }
    fprintf(cli->out,
            "sallyport.yaml and policy.yaml are right.\n"
            "%u workers, %zu listeners. About %llu connections fit: descriptors allow %llu, "
            "%llu MiB of memory %llu.\n",
            c->workers, c->n_listeners, (unsigned long long)fits, (unsigned long long)by_files,
            (unsigned long long)(c->settings.limits.memory_bytes >> 20),
            (unsigned long long)by_memory);
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
    if (e != OK) {
        return cli_fail(cli, "%s", complaint.text);
    }
    print_capacity(cli, &config);
    return CLI_DONE;
}
