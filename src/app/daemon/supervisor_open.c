/* What is opened before a part is started, and what each of them gets of it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/daemon/signer_main.h"
#include "app/daemon/supervisor_private.h"
#include "base/log.h"
#include "base/random.h"
#include "net/listener.h"

/* Sockets to ask other CoAP servers by: each worker its own port, so that answers find it. */
static enum err open_asking(struct supervisor *s, const struct config_listener *l,
                            struct boot_listener *b)
{
    if (!b->udp || l->auth == CONFIG_AUTH_OSCORE || !config_has_proxy(&s->config)) {
        return OK;
    }
    for (unsigned k = 0; k < b->n_fds; k++) {
        int fd;
        enum err e = net_listen_udp(slice_text("[::]:0"), 1, &fd);
        if (e != OK) {
            e = net_listen_udp(slice_text("0.0.0.0:0"), 1, &fd); /* a machine without IPv6 */
        }
        if (e != OK) {
            log_line(LOG_ERROR, "proxy: no socket to ask other servers by: %s", err_name(e));
            return e;
        }
        (void)part_add_fd(&s->broker, fd);
    }
    b->asks = true;
    log_line(LOG_NOTICE, "listener %s: a proxy to %zu targets and %zu paths", l->name,
             s->config.proxy.n_targets, s->config.proxy.n_paths);
    return OK;
}

static enum err open_listeners(struct supervisor *s)
{
    for (size_t i = 0; i < s->config.n_listeners; i++) {
        const struct config_listener *l = &s->config.listeners[i];
        struct boot_listener *b = &s->broker.boot.listeners[s->broker.boot.n_listeners];
        struct why why = {{0}};
        int fds[BOOT_SOCKETS_MAX];
        enum err e = places_listener(l, s->config.workers, fds, b, &why);
        if (e == ERR_UNSUPPORTED || (e == ERR_EXISTS && config_needs_exception(l))) {
            log_line(LOG_WARN, "%s", why.text);
            continue;
        }
        if (e != OK) {
            log_line(LOG_ERROR, "%s", why.text);
            return e;
        }
        for (unsigned k = 0; k < b->n_fds; k++) {
            int at = part_add_fd(&s->broker, fds[k]);
            b->first_fd = k == 0 ? at : b->first_fd;
        }
        e = open_asking(s, l, b);
        if (e != OK) {
            return e;
        }
        s->broker.boot.n_listeners++;
        char from[200];
        net_networks_text(&l->from, from, sizeof from);
        if (l->multicast.n_groups > 0) {
            char groups[NET_MULTICAST_TEXT_BYTES];
            net_multicast_text(&l->multicast, groups);
            log_line(LOG_NOTICE, "listener %s: answers /.well-known/core in groups: %s", l->name,
                     groups);
        }
        log_line(LOG_NOTICE, "listener %s: port %u%s%s%s%s", l->name, b->port,
                 config_needs_exception(l) ? ", plain: closed until an exception names it" : "",
                 l->mqtt_3_1 ? ", takes the old MQTT 3.1" : "", l->from.n > 0 ? ", only from " : "",
                 from);
    }
    return OK;
}

/* For each part anew: a rotation has put another file in its place. */
static enum err open_key(struct supervisor *s, struct places_key *ret)
{
    struct why why = {{0}};
    const char *text = s->key_option != NULL ? s->key_option : s->config.master_key;
    enum err e = places_key(s->dir, text, ret, &why);
    if (e != OK) {
        log_line(LOG_ERROR, "%s", why.text);
    }
    return e;
}

void supervisor_reopen_key(struct supervisor *s, struct part *p)
{
    struct places_key key;
    if (open_key(s, &key) != OK) {
        return; /* it tries what we have */
    }
    close(p->fds[p->boot.key_fd - BOOT_FIRST_FD]);
    close(p->fds[p->boot.spare_key_fd - BOOT_FIRST_FD]);
    p->fds[p->boot.key_fd - BOOT_FIRST_FD] = key.fd;
    p->fds[p->boot.spare_key_fd - BOOT_FIRST_FD] = key.spare_fd;
}

/* The signer's descriptors, and the pair between it and the broker, which outlives both: a request
 * that nobody has read is answered by the next signer. */
static enum err open_signer(struct supervisor *s, int dir_fd, const struct places_key *key)
{
    struct why why = {{0}};
    struct part *p = &s->signer;
    int sock_fd, pair[2];
    enum err e = places_signer(dir_fd, &sock_fd, &why);
    if (e != OK) {
        log_line(LOG_ERROR, "%s", why.text);
        return e;
    }
    p->boot.control_fd = part_add_fd(p, sock_fd);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return ERR_IO;
    }
    s->broker.boot.authority_fd = part_add_fd(&s->broker, pair[0]);
    p->boot.authority_fd = part_add_fd(p, pair[1]);
    p->boot.dir_fd = part_dup_fd(p, dir_fd);
    p->boot.key_fd = part_dup_fd(p, key->fd);
    p->boot.spare_key_fd = part_dup_fd(p, key->spare_fd);
    p->boot.key_source = key->source;
    p->boot.workers = 1;
    const struct global_settings *settings = &s->config.settings;
    p->boot.signs_per_second = settings->signs_per_second;
    p->boot.signs_burst = settings->signs_burst;
    p->boot.signs_per_name = settings->signs_per_name;
    s->rules = signer_rules_of(settings);
    (void)slice_to_text(slice_text(s->broker.boot.dir), p->boot.dir, sizeof p->boot.dir);
    return p->boot.dir_fd >= 0 && p->boot.key_fd >= 0 && p->boot.spare_key_fd >= 0 ? OK : ERR_IO;
}

/* The same for the scribe: what a broker that died had sent is still written down. */
static enum err open_scribe(struct supervisor *s, int dir_fd, const struct places_key *key)
{
    struct part *p = &s->scribe;
    struct random_source random = random_system();
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return ERR_IO;
    }
    s->broker.boot.scribe_fd = part_add_fd(&s->broker, pair[0]);
    p->boot.scribe_fd = part_add_fd(p, pair[1]);
    p->boot.control_fd = p->boot.authority_fd = p->boot.scribe_fd; /* it has neither */
    p->boot.dir_fd = part_dup_fd(p, dir_fd);
    p->boot.key_fd = part_dup_fd(p, key->fd);
    p->boot.spare_key_fd = part_dup_fd(p, key->spare_fd);
    p->boot.key_source = key->source;
    p->boot.workers = 1;
    p->boot.house = random_u64(&random);
    (void)slice_to_text(slice_text(s->broker.boot.dir), p->boot.dir, sizeof p->boot.dir);
    return p->boot.dir_fd >= 0 && p->boot.key_fd >= 0 && p->boot.spare_key_fd >= 0 ? OK : ERR_IO;
}

static enum err open_porter(struct supervisor *s)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return ERR_IO;
    }
    s->porter_fd = pair[0];
    s->broker.boot.porter_fd = part_add_fd(&s->broker, pair[1]);
    return OK;
}

enum err supervisor_open(struct supervisor *s, const char *dir, const char *key_option)
{
    struct yaml_complaint complaint;
    struct why why = {{0}};
    struct places_key key;
    int dir_fd, control_fd;
    enum err e = places_dir(dir, &dir_fd, &why);
    if (e != OK) {
        log_line(LOG_ERROR, "%s", why.text);
        return e;
    }
    s->broker.boot.dir_fd = part_add_fd(&s->broker, dir_fd);
    struct config_machine machine = config_machine_ask();
    e = config_load(dir_fd, dir, &machine, &complaint, &s->config);
    if (e != OK) {
        log_line(LOG_ERROR, "%s", complaint.text);
        return e;
    }
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    s->key_option = key_option;
    TRY(open_key(s, &key));
    s->broker.boot.key_fd = part_add_fd(&s->broker, key.fd);
    s->broker.boot.spare_key_fd = part_add_fd(&s->broker, key.spare_fd);
    s->broker.boot.key_source = key.source;
    if ((e = places_rooms(dir_fd, &why)) == OK) {
        e = places_control(dir_fd, &control_fd, &why);
    }
    if (e == OK) {
        s->broker.boot.control_fd = part_add_fd(&s->broker, control_fd);
        e = places_user_find(s->config.user, &s->user, &why);
    }
    if (e == OK) {
        log_line(LOG_NOTICE, "%s", why.text);
        e = places_own(dir_fd, &s->user, &why);
    }
    if (e != OK) {
        log_line(LOG_ERROR, "%s", why.text);
        return e;
    }
    s->broker.boot.workers = s->config.workers;
    (void)slice_to_text(slice_head(slice_text(dir), sizeof s->broker.boot.dir - 1),
                        s->broker.boot.dir, sizeof s->broker.boot.dir);
    TRY(open_signer(s, dir_fd, &key));
    TRY(open_scribe(s, dir_fd, &key));
    TRY(open_porter(s));
    TRY(sinks_open(&s->sinks, &s->config.sinks, &s->broker, &s->courier));
    return open_listeners(s);
}
