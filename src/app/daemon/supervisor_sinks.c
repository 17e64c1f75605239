#include "app/daemon/supervisor_sinks.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

static enum err place(struct sinks *s, const struct config_export *c, struct part *p)
{
    int theirs[COURIER_SINKS_MAX];
    dialler_close(&s->dialler);
    for (size_t i = s->n_other_fds; i < p->n_fds; i++) {
        (void)close(p->fds[i]);
    }
    p->n_fds = s->n_other_fds;
    p->boot.n_sinks = 0;
    s->config = *c;
    TRY(dialler_open(c, &s->dialler, theirs));
    for (size_t i = 0; i < s->dialler.n; i++) {
        int at = part_add_fd(p, theirs[i]);
        p->boot.first_sink_fd = i == 0 ? at : p->boot.first_sink_fd;
        log_line(LOG_NOTICE, "export %s: the audit trail goes to %s", c->sinks[i].name,
                 c->sinks[i].to);
    }
    p->boot.n_sinks = (unsigned)s->dialler.n;
    return OK;
}

enum err sinks_open(struct sinks *s, const struct config_export *c, struct part *broker,
                    struct part *courier)
{
    struct part *p = courier;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return ERR_IO;
    }
    broker->boot.courier_fd = part_add_fd(broker, pair[0]);
    p->boot.courier_fd = part_add_fd(p, pair[1]);
    p->boot.dir_fd = part_dup_fd(p, broker->fds[broker->boot.dir_fd - BOOT_FIRST_FD]);
    p->boot.key_fd = part_dup_fd(p, broker->fds[broker->boot.key_fd - BOOT_FIRST_FD]);
    p->boot.spare_key_fd = part_dup_fd(p, broker->fds[broker->boot.spare_key_fd - BOOT_FIRST_FD]);
    p->boot.key_source = broker->boot.key_source;
    p->boot.workers = 1;
    memcpy(p->boot.dir, broker->boot.dir, sizeof p->boot.dir);
    s->n_other_fds = p->n_fds;
    bool good = p->boot.dir_fd >= 0 && p->boot.key_fd >= 0 && p->boot.spare_key_fd >= 0;
    return good ? place(s, c, p) : ERR_IO;
}

bool sinks_renew(struct sinks *s, struct part *courier)
{
    struct config_machine machine = config_machine_ask();
    struct yaml_complaint complaint;
    int dir_fd = courier->fds[courier->boot.dir_fd - BOOT_FIRST_FD];
    struct config *c = mem_zalloc(sizeof *c);
    bool is_read =
        c != NULL && config_load(dir_fd, courier->boot.dir, &machine, &complaint, c) == OK;
    bool is_other = is_read && !config_export_equal(&c->sinks, &s->config);
    if (is_other && place(s, &c->sinks, courier) != OK) {
        log_line(LOG_ERROR, "export: no sockets to ask for connections by");
    }
    mem_free(c);
    return is_other;
}
