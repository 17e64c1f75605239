#include "app/daemon/assembly.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "service/directory/policy_yaml.h"
#include "service/pki/master_key.h"

static enum err open_disk(struct assembly *a, int dir_fd, struct why *why)
{
    int fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        why_set(why, "no descriptor for the data directory: %s", strerror(errno));
        return ERR_IO;
    }
    return disk_system(fd, &a->disk);
}

MUST_USE enum err assembly_policy(const struct assembly *a, const char *dir,
                                  const struct policy **ret, struct why *why)
{
    AUTO(buf_done) struct buf text = {0};
    struct yaml_complaint complaint = {0};
    char shown[BOOT_TEXT_BYTES + 16];
    (void)snprintf(shown, sizeof(shown), "%s/policy.yaml", dir);
    enum err err = disk_load(a->disk, "policy.yaml", YAML_BYTES_MAX, &text);
    if (err != OK) {
        why_set(why, "%s cannot be read: %s", shown, err_name(err));
        return err;
    }
    err = policy_yaml_read(buf_slice(&text), shown, &a->config.role_limits, &complaint, ret);
    if (err != OK) {
        why_set(why, "%s", complaint.text);
    }
    return err;
}

static enum err open_records(struct assembly *a, const struct boot *boot, struct why *why)
{
    TRY(master_key_read(boot->key_fd, "the master key", &a->master, why));
    struct directory_setup setup = {
        .disk = a->disk, .master = secret_bytes(a->master), .random = a->random};
    enum err err = directory_open(&setup, &a->directory);
    if (err != OK) {
        why_set(why,
                "%s/" DIRECTORY_FILE
                " does not open: %s. Is it the master key that this directory was "
                "made with?",
                boot->dir, err_name(err));
        return err;
    }
    return pki_open(a->disk, secret_bytes(a->master), &a->pki, why);
}

static enum err open_tls(struct assembly *a, const struct config_listener *l, struct tls **ret,
                         struct why *why)
{
    char text[TLS_TEXT_BYTES];
    bool by_cert = (l->auth & CONFIG_AUTH_X509) != 0;
    struct tls_server_config c = {
        .chain_pem = pki_server_chain_pem(a->pki),
        .key_pem = pki_server_key_pem(a->pki),
        .client_ca_pem = by_cert ? pki_ca_pem(a->pki) : (struct slice){0},
        .client_cert_required = l->auth == CONFIG_AUTH_X509,
        .allow_tls12 = l->tls_min == CONFIG_TLS_1_2,
    };
    enum err err = tls_server_new(&c, text, ret);
    if (err != OK) {
        why_set(why, "TLS of listener %s: %s", l->name, text);
    }
    return err;
}

static void set_dtls(struct assembly *a, const struct config_listener *l,
                     struct dtls_server_config *ret)
{
    *ret = (struct dtls_server_config){.random = &a->random};
    if ((l->auth & CONFIG_AUTH_X509) != 0) {
        ret->chain_pem = pki_server_chain_pem(a->pki);
        ret->key_pem = pki_server_key_pem(a->pki);
        ret->client_ca_pem = pki_ca_pem(a->pki);
    }
}

/* A segment is a name to people and a number to messages: 1 and up, in the order of the
 * configuration. */
static uint32_t segment_number(const struct config *c, const char *segment)
{
    for (size_t i = 0; i < c->n_listeners; i++) {
        if (strcmp(c->listeners[i].segment, segment) == 0) {
            return (uint32_t)i + 1;
        }
    }
    return 0;
}

static enum err add_entrance(struct assembly *a, const struct boot_listener *b,
                             const struct config_listener *l, struct why *why)
{
    struct driver_entrance *e = &a->entrances[a->n_entrances];
    e->entrance.protocol = b->udp ? EVENT_PROTOCOL_coap : EVENT_PROTOCOL_mqtt;
    e->entrance.auth_x509 = (l->auth & CONFIG_AUTH_X509) != 0 && !l->plain;
    e->entrance.auth_password = (l->auth & CONFIG_AUTH_PASSWORD) != 0;
    e->entrance.auth_psk = (l->auth & CONFIG_AUTH_PSK) != 0;
    e->entrance.is_plain = l->plain;
    e->entrance.index = (unsigned)a->n_entrances;
    e->entrance.segment = segment_number(&a->config, l->segment);
    EVENT_TEXT(&e->entrance, name, slice_text(l->name));
    e->is_udp = b->udp;
    e->fds = a->fds[a->n_entrances];
    e->n_fds = b->n_fds;
    for (unsigned k = 0; k < b->n_fds; k++) {
        a->fds[a->n_entrances][k] = b->first_fd + (int)k;
    }
    if (b->udp) {
        set_dtls(a, l, &a->dtls[a->n_entrances]);
        e->dtls = &a->dtls[a->n_entrances];
    } else if (!l->plain) {
        TRY(open_tls(a, l, &a->tls[a->n_entrances], why));
        e->tls = a->tls[a->n_entrances];
    }
    a->n_entrances++;
    return OK;
}

static enum err add_entrances(struct assembly *a, const struct boot *boot, struct why *why)
{
    for (size_t i = 0; i < boot->n_listeners; i++) {
        const struct boot_listener *b = &boot->listeners[i];
        const struct config_listener *l = config_listener_find(&a->config, b->name);
        if (l == NULL) {
            why_set(why, "listener %s is not in sallyport.yaml any more: restart", b->name);
            return ERR_CONFIG;
        }
        TRY(add_entrance(a, b, l, why));
    }
    return OK;
}

static enum err open_broker(struct assembly *a, const struct boot *boot, void (*notify)(void *ctx),
                            void *ctx)
{
    const struct directory_version *version = directory_current(a->directory);
    const struct realm *realm = NULL;
    enum err err = realm_new(version, a->policy, &realm);
    directory_version_unref(version);
    if (err != OK) {
        return err;
    }
    struct broker_setup setup = {.n_workers = boot->workers,
                                 .limits = a->config.settings.limits,
                                 .clock = clock_system(),
                                 .random = a->random,
                                 .entrances = a->entrances,
                                 .n_entrances = a->n_entrances,
                                 .realm = realm,
                                 .ctx = ctx,
                                 .notify = notify};
    err = broker_new(&setup, &a->broker);
    realm_unref(realm);
    return err;
}

MUST_USE enum err assembly_open(const struct boot *boot, void (*notify)(void *ctx), void *ctx,
                                struct assembly *ret, struct why *why)
{
    struct config_machine machine = config_machine_ask();
    struct yaml_complaint complaint = {0};
    *ret = (struct assembly){.random = random_system()};
    enum err err = config_load(boot->dir_fd, boot->dir, &machine, &complaint, &ret->config);
    if (err != OK) {
        why_set(why, "%s", complaint.text);
        return err;
    }
    TRY(open_disk(ret, boot->dir_fd, why));
    TRY(open_records(ret, boot, why));
    TRY(assembly_policy(ret, boot->dir, &ret->policy, why));
    TRY(add_entrances(ret, boot, why));
    err = open_broker(ret, boot, notify, ctx);
    if (err != OK) {
        why_set(why, "the workers cannot start: %s", err_name(err));
    }
    return err;
}

void assembly_close(struct assembly *a)
{
    a->broker = broker_free(a->broker);
    for (size_t i = 0; i < a->n_entrances; i++) {
        a->tls[i] = tls_free(a->tls[i]);
    }
    a->policy = policy_unref(a->policy);
    a->pki = pki_free(a->pki);
    a->directory = directory_free(a->directory);
    a->master = secret_free(a->master);
    if (a->disk != NULL) {
        a->disk = a->disk->ops->free(a->disk);
    }
}
