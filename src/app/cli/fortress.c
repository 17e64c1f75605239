#include "app/cli/fortress.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "service/admin/authority_place.h"
#include "service/directory/policy_yaml.h"
#include "service/pki/master_key.h"

void fortress_done(struct fortress *f)
{
    f->directory = directory_free(f->directory);
    authority_files_close(&f->signing);
    f->pki = pki_free(f->pki);
    f->policy = policy_unref(f->policy);
    vault_close(&f->vault);
    if (f->disk != NULL) {
        f->disk = f->disk->ops->free(f->disk);
    }
    if (f->dir_fd > 0) {
        close(f->dir_fd);
    }
    mem_wipe(f, sizeof *f);
}

uint16_t fortress_port(const struct fortress *f, const char *name)
{
    const struct config_listener *l = config_listener_find(&f->config, name);
    const char *colon = l != NULL ? strrchr(l->bind, ':') : NULL;
    return colon != NULL ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
}

static bool is_loopback_only(const struct config_init *init)
{
    bool any = false;
    for (size_t i = 0; i < init->n_listens; i++) {
        const char *equal = strchr(init->listens[i], '=');
        const char *where = equal != NULL ? equal + 1 : "";
        if (strncmp(where, "127.", 4) != 0 && strncmp(where, "[::1]", 5) != 0) {
            return false;
        }
        any = true;
    }
    return any;
}

/* The first host is the one that bundles name: what was asked for, else what others can reach. */
static enum err gather_hosts(const struct config_init *init, struct pki_hosts *ret, struct why *why)
{
    struct pki_hosts local = {0};
    pki_hosts_local(&local);
    for (size_t i = 0; i < init->n_hosts; i++) {
        if (pki_hosts_add(ret, slice_text(init->hosts[i])) != OK) {
            why_set(why, "--host %.80s is neither a DNS name nor an address", init->hosts[i]);
            return ERR_CONFIG;
        }
    }
    if (init->n_hosts == 0 && is_loopback_only(init)) {
        TRY(pki_hosts_add(ret, slice_text("localhost")));
    }
    /* pki_hosts_local puts addresses of interfaces last, so the last IPv4 one is the network's. */
    for (size_t i = local.n; i > 0 && ret->n == 0; i--) {
        const char *host = local.host[i - 1];
        if (strspn(host, "0123456789.") == strlen(host) && strncmp(host, "127.", 4) != 0) {
            TRY(pki_hosts_add(ret, slice_text(host)));
        }
    }
    for (size_t i = 0; i < local.n; i++) {
        enum err e = pki_hosts_add(ret, slice_text(local.host[i]));
        if (e != OK && e != ERR_LIMIT) {
            return e;
        }
    }
    return OK;
}

static bool is_empty(int dir_fd)
{
    int again = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again >= 0 ? fdopendir(again) : NULL;
    size_t n = 0;
    while (d != NULL && readdir(d) != NULL) {
        n++;
    }
    if (d != NULL) {
        closedir(d);
    }
    return n == 2; /* . and .. */
}

static enum err make_place(const char *dir, struct fortress *f, struct why *why)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        why_set(why, "cannot make %s: %s", dir, strerror(errno));
        return ERR_IO;
    }
    f->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0) {
        why_set(why, "cannot open %s: %s", dir, strerror(errno));
        return ERR_IO;
    }
    if (!is_empty(f->dir_fd)) {
        why_set(why, "%s is not empty; init only works in a new place", dir);
        return ERR_EXISTS;
    }
    if (fchmod(f->dir_fd, 0700) != 0) {
        why_set(why, "cannot make %s private: %s", dir, strerror(errno));
        return ERR_IO;
    }
    int copy = fcntl(f->dir_fd, F_DUPFD_CLOEXEC, 3);
    return copy >= 0 ? disk_system(copy, &f->disk) : ERR_IO;
}

static enum err key_place(const struct fortress_order *o, struct fortress *f, struct why *why)
{
    size_t n = strlen(o->dir);
    while (n > 1 && o->dir[n - 1] == '/') {
        n--;
    }
    int written;
    if (o->master_key == NULL) {
        written = snprintf(f->key_path, sizeof f->key_path, "%.*s.key", (int)n, o->dir);
    } else if (o->master_key[0] == '/') {
        written = snprintf(f->key_path, sizeof f->key_path, "%s", o->master_key);
    } else {
        char here[2048];
        if (getcwd(here, sizeof here) == NULL) {
            why_set(why, "cannot tell where we are: %s", strerror(errno));
            return ERR_IO;
        }
        written = snprintf(f->key_path, sizeof f->key_path, "%s/%s", here, o->master_key);
    }
    return written > 0 && (size_t)written < sizeof f->key_path ? OK : ERR_TOO_LARGE;
}

static enum err write_config(const struct fortress_order *o, const struct fortress *f,
                             const struct pki_hosts *hosts, const struct config_machine *machine,
                             struct buf *ret, struct why *why)
{
    const char *names[CONFIG_HOSTS_MAX];
    size_t n = hosts->n < CONFIG_HOSTS_MAX ? hosts->n : CONFIG_HOSTS_MAX;
    for (size_t i = 0; i < n; i++) {
        names[i] = hosts->host[i];
    }
    struct config_init init = o->init;
    init.hosts = names;
    init.n_hosts = n;
    init.master_key = o->master_key != NULL ? f->key_path : NULL;
    struct yaml_complaint complaint;
    enum err e = config_write(&init, machine, &complaint, ret);
    if (e != OK) {
        why_set(why, "%.300s", complaint.text);
    }
    return e;
}

struct signing_key {
    uint8_t bytes[PKI_SIGNING_KEY_BYTES];
};

static void signing_key_wipe(struct signing_key *k)
{
    mem_wipe(k, sizeof *k);
}

/* After the place exists: keys, authority, files, directory. */
static enum err fill(struct fortress *f, const struct pki_hosts *hosts, struct slice config_text,
                     struct why *why)
{
    struct random_source random = random_system();
    struct clock clock = clock_system();
    int64_t now = clock.wall_ms(clock.ctx);
    AUTO(secret_autofree) struct secret *master = NULL;
    struct vault_setup setup = {.disk = f->disk,
                                .random = random,
                                .clock = clock,
                                .settings = &f->config.settings,
                                .n_workers = 1};
    TRY(master_key_create(f->key_path, &random, &master, why));
    TRY(vault_create(&setup, secret_bytes(master), &f->vault, why));
    struct slice root = keyring_root(f->vault.keyring);
    TRY(pki_init(f->dir_fd, root, hosts, &random, now));
    TRY(pki_open(f->disk, root, &f->pki, why));
    TRY(disk_save(f->disk, "sallyport.yaml", config_text));
    TRY(disk_save(f->disk, "policy.yaml", slice_text(policy_yaml_default())));
    struct directory_setup directory = {
        .log = f->vault.log, .keyring = f->vault.keyring, .random = random};
    TRY(directory_create(&directory, &f->directory));
    int64_t life_ms = (int64_t)f->config.settings.certificate_life_s * 1000;
    const struct authority_place place = {.disk = f->disk,
                                          .root = root,
                                          .random = random,
                                          .now_wall_ms = now,
                                          .pki = f->pki,
                                          .directory = f->directory};
    TRY(authority_place_prepare(&place, why));
    AUTO(signing_key_wipe) struct signing_key signing;
    TRY(pki_signing_key(root, signing.bytes));
    const struct authority_files_setup files = {.disk = f->disk,
                                                .signing_key =
                                                    slice_of(signing.bytes, sizeof signing.bytes),
                                                .random = random,
                                                .policy = {.device_lifetime_ms = life_ms},
                                                .now_wall_ms = now};
    TRY(authority_files_open(&files, &f->signing, why));
    return directory_admin_secret(f->directory, now, f->admin_secret);
}

enum err fortress_make(const struct fortress_order *o, struct fortress *ret, struct why *why)
{
    *ret = (struct fortress){.dir_fd = -1};
    AUTO(buf_done) struct buf text = {0};
    struct pki_hosts hosts = {0};
    struct config_machine machine = config_machine_ask();
    struct yaml_complaint complaint;
    /* All that a person can have written wrongly is found before anything is made. */
    TRY(gather_hosts(&o->init, &hosts, why));
    TRY(key_place(o, ret, why));
    TRY(write_config(o, ret, &hosts, &machine, &text, why));
    TRY(config_parse(buf_slice(&text), "sallyport.yaml", &machine, &complaint, &ret->config));
    TRY(policy_yaml_read(slice_text(policy_yaml_default()), "policy.yaml", &ret->config.role_limits,
                         &complaint, &ret->policy));
    TRY(make_place(o->dir, ret, why));
    enum err e = fill(ret, &hosts, buf_slice(&text), why);
    if (e != OK && (why == NULL || why->text[0] == '\0')) {
        why_set(why, "cannot fill %s: %s", o->dir, err_name(e));
    }
    return e;
}

enum err fortress_add(struct fortress *f, const struct provision_order *o, const char *save_dir,
                      struct why *why)
{
    struct clock clock = clock_system();
    const struct config_listener *wss = config_listener_find(&f->config, "wss");
    struct provision p = {.directory = f->directory,
                          .authority = f->signing.authority,
                          .ca_pem = pki_roots_pem(f->pki),
                          .policy = f->policy,
                          .random = random_system(),
                          .host = slice_text(f->config.hosts[0]),
                          .mqtts_port = fortress_port(f, "mqtts"),
                          .coaps_port = fortress_port(f, "coaps"),
                          .coap_port = fortress_port(f, "coap"),
                          .coaps_tcp_port = fortress_port(f, "coaps+tcp"),
                          .coaps_ws_port = fortress_port(f, "coaps+ws"),
                          .wss_port = fortress_port(f, "wss"),
                          .enrol_port = fortress_port(f, "enrol"),
                          .wss_path = slice_text(wss != NULL ? wss->path : NULL)};
    AUTO(bundle_done) struct bundle bundle = {0};
    TRY(provision_device(&p, o, clock.wall_ms(clock.ctx), &bundle, why));
    return bundle_save(&bundle, save_dir, why);
}
