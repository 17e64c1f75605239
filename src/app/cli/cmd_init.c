/* init, quickstart */
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "app/cli/commands.h"
#include "app/cli/fortress.h"

static const struct cli_option options[] = {{"--host", NULL, CLI_MANY},
                                            {"--listen", NULL, CLI_MANY},
                                            {"--set", NULL, CLI_MANY},
                                            {"--master-key", NULL, CLI_VALUE},
                                            {NULL, NULL, CLI_FLAG}};

/* The order that the command line gives; CLI_DONE, or the exit code after a message. */
static int read_order(struct cli *cli, const struct cli_command *self, int argc, char **argv,
                      struct cli_args *a, struct fortress_order *ret)
{
    if (!cli_parse(cli, self, options, argc, argv, a)) {
        return CLI_USAGE;
    }
    if (a->n_words != 1) {
        return cli_usage(cli, self, "%s needs one DIR", self->name);
    }
    struct fortress_order o = {.dir = a->words[0], .master_key = cli_value(a, "--master-key")};
    o.init.n_hosts = cli_values(a, "--host", &o.init.hosts);
    o.init.n_listens = cli_values(a, "--listen", &o.init.listens);
    o.init.n_sets = cli_values(a, "--set", &o.init.sets);
    *ret = o;
    return CLI_DONE;
}

/* What `serve` will not open is said where it was asked for. */
static void print_absent(struct cli *cli, const struct fortress *f)
{
    for (size_t i = 0; i < f->config.n_listeners; i++) {
        const struct config_listener *l = &f->config.listeners[i];
        if (config_is_absent(l)) {
            fprintf(cli->err,
                    "sallyport: listener %s: this kind of door is not there yet: it stands in "
                    "sallyport.yaml, and `serve` does not\n  open it, so nothing will listen on "
                    "%s. Take the listener out there, and administer with the\n  commands of "
                    "`%s --help`, on this machine\n",
                    l->name, l->bind, cli->program);
        }
    }
}

static void print_made(struct cli *cli, const struct fortress_order *o, const struct fortress *f)
{
    print_absent(cli, f);
    if (cli->json) {
        json_t *line =
            json_pack("{s:s,s:s,s:s,s:s,s:i,s:i}", "dir", o->dir, "master_key", f->key_path, "host",
                      f->config.hosts[0], "admin_secret", f->admin_secret, "mqtts_port",
                      (int)fortress_port(f, "mqtts"), "coaps_port", (int)fortress_port(f, "coaps"));
        json_dumpf(line, cli->out, JSON_COMPACT);
        fputc('\n', cli->out);
        json_decref(line);
        return;
    }
    fprintf(cli->out,
            "%s is ready: certificate authority, server certificate for %s and %zu more names,\n"
            "sallyport.yaml, policy.yaml.\n"
            "  master key:   %s   (keep a copy, apart from copies of %s)\n"
            "  admin secret: %s   (shown once, good for 24 hours)\n",
            o->dir, f->config.hosts[0], f->config.n_hosts - 1, f->key_path, o->dir,
            f->admin_secret);
}

int cmd_init(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    struct cli_args a;
    struct fortress_order order = {0};
    int code = read_order(cli, self, argc, argv, &a, &order);
    if (code != CLI_DONE) {
        return code;
    }
    AUTO(fortress_done) struct fortress f;
    struct why why = {{0}};
    if (fortress_make(&order, &f, &why) != OK) {
        return cli_fail(cli, "%s", why.text);
    }
    print_made(cli, &order, &f);
    if (!cli->json) {
        fprintf(cli->out,
                "Next:\n  %s serve %s\n"
                "  %s -C %s device add meter-1 --role sensor --attr site=lab --out meter-1\n",
                cli->program, order.dir, cli->program, order.dir);
    }
    return CLI_DONE;
}

struct first_device {
    const char *name, *role;
    unsigned credentials;
};

static const struct first_device first_devices[] = {
    {"meter-1", "sensor", PROVISION_X509 | PROVISION_PASSWORD | PROVISION_PSK},
    {"lamp-1", "actuator", PROVISION_X509 | PROVISION_PASSWORD | PROVISION_PSK},
    {"console-1", "console", PROVISION_X509 | PROVISION_PASSWORD | PROVISION_PSK},
};

static enum err add_devices(struct fortress *f, const char *dir, struct why *why)
{
    static const struct principal_attr attrs[] = {{"site", "demo"}, {"class", "basic"}};
    if (mkdirat(f->dir_fd, "bundles", 0700) != 0) {
        why_set(why, "cannot make %s/bundles: %s", dir, strerror(errno));
        return ERR_IO;
    }
    for (size_t i = 0; i < COUNT_OF(first_devices); i++) {
        const struct first_device *d = &first_devices[i];
        char place[PATH_MAX + 64];
        char whole[PATH_MAX];
        snprintf(place, sizeof place, "%s/bundles/%s", realpath(dir, whole) != NULL ? whole : dir,
                 d->name);
        struct provision_order o = {.name = slice_text(d->name),
                                    .role = slice_text(d->role),
                                    .attrs = attrs,
                                    .n_attrs = COUNT_OF(attrs),
                                    .credentials = d->credentials,
                                    .save_dir = slice_text(place)};
        TRY(fortress_add(f, &o, place, why));
    }
    return OK;
}

static void print_next(struct cli *cli, const struct fortress_order *o, const struct fortress *f)
{
    char whole[PATH_MAX]; /* the lines change directory, so what they name must not be relative */
    const char *dir = realpath(o->dir, whole) != NULL ? whole : o->dir;
    const char *host = f->config.hosts[0];
    unsigned mqtts = fortress_port(f, "mqtts"), coaps = fortress_port(f, "coaps");
    fprintf(
        cli->out,
        "Devices: meter-1 (sensor), lamp-1 (actuator), console-1 (console), in %s/bundles.\n\n"
        "1. Start it:\n"
        "  %s serve %s\n\n"
        "2. Watch, as the console:\n"
        "  cd %s/bundles/console-1 && mosquitto_sub -h %s -p %u --cafile ca.pem --cert cert.pem "
        "--key key.pem -i console-1 -t 'sensors/#' -t 'state/#' -v\n\n"
        "3. Measure, as the sensor, by MQTT:\n"
        "  cd %s/bundles/meter-1 && mosquitto_pub -h %s -p %u --cafile ca.pem --cert cert.pem "
        "--key key.pem -i meter-1 -q 1 -t sensors/demo/meter-1/temperature -m 21.5\n\n"
        "4. Report, as the lamp, by CoAP:\n"
        "  cd %s/bundles/lamp-1 && coap-client-openssl -m put -u lamp-1 -k \"$(cut -d: -f2 "
        "psk.txt)\" "
        "-e on coaps://%s:%u/mq/state/demo/lamp-1/power\n\n"
        "5. Arduino and others: %s/bundles/meter-1/howto.txt\n",
        o->dir, cli->program, o->dir, dir, host, mqtts, dir, host, mqtts, dir, host, coaps, dir);
}

int cmd_quickstart(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    struct cli_args a;
    struct fortress_order order = {0};
    int code = read_order(cli, self, argc, argv, &a, &order);
    if (code != CLI_DONE) {
        return code;
    }
    AUTO(fortress_done) struct fortress f;
    struct why why = {{0}};
    enum err e = fortress_make(&order, &f, &why);
    if (e == OK) {
        e = add_devices(&f, order.dir, &why);
    }
    if (e != OK) {
        return cli_fail(cli, "%s", why.text[0] != '\0' ? why.text : err_name(e));
    }
    print_made(cli, &order, &f);
    if (!cli->json) {
        print_next(cli, &order, &f);
    }
    return CLI_DONE;
}
