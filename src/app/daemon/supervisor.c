#include "app/daemon/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "app/daemon/porter.h"
#include "app/daemon/signer_main.h"
#include "app/daemon/supervisor_private.h"
#include "base/event.h"
#include "base/log.h"

enum {
    STOP_MS = 8200, /* then the broker is killed, so that a stop takes less than 10 s */
    AGAIN_MS = 1000,
    START_MS = 60000,    /* without READY until then, it hangs */
    OTHER_STOP_MS = 500, /* each of the others, after the broker has drained */
    /* Turns without a sign of life; one thing that the broker's service thread does may be long. */
    BROKER_SILENT_MAX = 20,
    SIGNER_SILENT_MAX = 10,
    SCRIBE_SILENT_MAX = 10,
    COURIER_SILENT_MAX = 5
};

/* The parts in the order in which they end: the scribe writes of the end of all others. */
enum { PARTS = 4, FIRST_SINK = 2 + PARTS /* of what is polled */ };

static struct part *part_at(struct supervisor *s, size_t i)
{
    struct part *const all[PARTS] = {
        &s->broker,
        &s->signer,
        &s->courier,
        &s->scribe,
    };
    return all[i];
}

/* The first that still lives; NULL: none does. */
static struct part *first_living(struct supervisor *s)
{
    for (size_t i = 0; i < PARTS; i++) {
        if (part_at(s, i)->child > 0) {
            return part_at(s, i);
        }
    }
    return NULL;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static uint64_t now_ms(const struct supervisor *s)
{
    return s->clock.mono_ms(s->clock.ctx);
}

/* ---- the parts' lives ---- */

/* The scribe hears of a broker before that can say a word. */
static void tell_scribe(struct supervisor *s)
{
    const struct boot *b = &s->broker.boot;
    s->scribe.boot.broker_generation = b->generation + 1;
    const struct message m = {
        .type = MESSAGE_BROKER,
        .life = {.generation = b->generation + 1, .last = b->last, .last_code = b->last_code}};
    if (s->scribe.child > 0 && message_send(s->scribe.link_fd, &m) != OK) {
        log_line(LOG_WARN, "the scribe does not take messages");
    }
}

static enum err start(struct supervisor *s, struct part *p)
{
    if (p->boot.generation > 0) {
        supervisor_reopen_key(s, p);
    }
    if (p == &s->courier && p->boot.generation > 0) {
        (void)sinks_renew(&s->sinks, p); /* it reads the same file as we */
    }
    if (p == &s->courier && s->sinks.dialler.n == 0) {
        return OK;
    }
    if (p == &s->broker) {
        tell_scribe(s);
    }
    return part_start(p, s->exe_fd, &s->user, now_ms(s));
}

static void tell(const struct part *p, const struct message *m)
{
    if (p->child > 0 && p->is_ready && message_send(p->link_fd, m) != OK) {
        log_line(LOG_WARN, "the %s does not take messages", p->what);
    }
}

static void tell_type(const struct part *p, enum message_type type)
{
    const struct message m = {.type = type};
    if (p->child > 0 && message_send(p->link_fd, &m) != OK) {
        log_line(LOG_WARN, "the %s does not take messages", p->what);
    }
}

static void tell_rules(struct supervisor *s)
{
    const struct message m = {.type = MESSAGE_RULES, .rules = s->rules};
    tell(&s->signer, &m);
}

/* The broker has found the whole file good; what the signer goes by is not the broker's word. */
static void renew_rules(struct supervisor *s)
{
    struct yaml_complaint complaint;
    struct config now;
    struct config_machine machine = config_machine_ask();
    int dir_fd = s->broker.fds[s->broker.boot.dir_fd - BOOT_FIRST_FD];
    if (config_load(dir_fd, s->dir, &machine, &complaint, &now) != OK) {
        log_line(LOG_ERROR, "the signer keeps its limits: %s", complaint.text);
        return;
    }
    s->rules = signer_rules_of(&now.settings);
    tell_rules(s);
}

static void renew_courier(struct supervisor *s);

static void on_reloaded(struct supervisor *s, const char *refused)
{
    if (refused[0] != '\0') {
        log_line(LOG_ERROR, "not reloaded, what was read before stays: %s", refused);
    } else {
        if (s->is_reloading) {
            renew_rules(s);
        }
        log_line(LOG_NOTICE, "reloaded");
        renew_courier(s);
    }
    s->is_reloading = false;
    (void)sd_notify(0, "READY=1");
}

static void give_up(struct supervisor *s);

static void begin_courier(struct supervisor *s);

/* The others come second: the broker brings a data directory of a former version up to date. Nobody
 * waits for the courier. At a stop they come as well: a broker drains into its scribe. */
static void on_ready(struct supervisor *s, struct part *p)
{
    p->is_ready = true;
    part_watch(p, now_ms(s));
    if (p == &s->courier) {
        if (p->boot.generation > 1) {
            log_line(LOG_NOTICE, "the courier serves again");
        }
        return;
    }
    if (p == &s->signer) {
        tell_rules(s);
    }
    if (s->is_up) {
        log_line(LOG_NOTICE, "the %s serves again", p->what);
        (void)sd_notify(0, "READY=1");
        return;
    }
    bool are_ready = true;
    for (size_t i = 0; i < PARTS; i++) {
        struct part *other = part_at(s, i);
        if (other == &s->courier) {
            continue;
        }
        if (p == &s->broker && other != p && start(s, other) != OK) {
            log_line(LOG_ERROR, "the %s cannot be started: %s", other->what, strerror(errno));
            give_up(s);
        }
        are_ready = are_ready && other->is_ready;
    }
    if (p == &s->broker && !s->is_stopping) {
        begin_courier(s);
    }
    if (are_ready && !s->is_stopping) {
        s->is_up = true;
        fputs("ready\n", stderr); /* a line of the contract, without a level */
        (void)sd_notify(0, "READY=1");
    }
}

static void on_event(struct supervisor *s, const struct part *p, const struct message *m)
{
    if (m->severity >= SEVERITY_ALERT) {
        log_line(LOG_ERROR, "%s: %s%s%s", p->what, m->name, m->name[0] != '\0' ? ": " : "",
                 m->text);
    }
    tell(&s->broker, m);
}

/* ---- the courier ---- */

static void begin_courier(struct supervisor *s)
{
    struct part *p = &s->courier;
    if (p->child == 0 && start(s, p) != OK) {
        (void)part_back_off(p, now_ms(s));
        log_line(LOG_ERROR, "the courier cannot be started: %s", strerror(errno));
    }
}

/* After a reload: other sinks are another courier's. */
static void renew_courier(struct supervisor *s)
{
    if (!s->is_stopping && sinks_renew(&s->sinks, &s->courier)) {
        tell_type(&s->courier, MESSAGE_STOP);
        s->courier.restart_at_ms = now_ms(s);
    }
}

static void on_broker_message(struct supervisor *s, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_READY:
        on_ready(s, &s->broker);
        return;
    case MESSAGE_RELOADED:
        on_reloaded(s, m->text);
        return;
    case MESSAGE_FAILED:
        log_line(LOG_ERROR, "%s", m->text);
        s->has_failed = true;
        return;
    case MESSAGE_STARTING:
        log_line(LOG_NOTICE, "%s", m->text);
        s->broker.started_ms = now_ms(s);
        (void)sd_notify(0, "EXTEND_TIMEOUT_USEC=30000000");
        return;
    case MESSAGE_BOOT:
    case MESSAGE_STOP:
    case MESSAGE_RELOAD:
    case MESSAGE_EVENT:
    case MESSAGE_ALIVE:
    case MESSAGE_RULES:
    case MESSAGE_BROKER:
        log_line(LOG_WARN, "the broker sent a message that is not its to send");
        return;
    }
}

static void on_other_message(struct supervisor *s, struct part *p, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_READY:
        on_ready(s, p);
        return;
    case MESSAGE_EVENT:
        on_event(s, p, m);
        return;
    case MESSAGE_FAILED:
        log_line(LOG_ERROR, "the %s: %s", p->what, m->text);
        return;
    case MESSAGE_RELOADED:
    case MESSAGE_STARTING:
    case MESSAGE_BOOT:
    case MESSAGE_STOP:
    case MESSAGE_RELOAD:
    case MESSAGE_ALIVE:
    case MESSAGE_RULES:
    case MESSAGE_BROKER:
        log_line(LOG_WARN, "the %s sent a message that is not its to send", p->what);
        return;
    }
}

static void read_link(struct supervisor *s, struct part *p)
{
    while (p->link_fd >= 0) {
        struct message m;
        enum err e = message_receive(p->link_fd, &m);
        if (e == OK && m.type == MESSAGE_ALIVE) {
            p->n_silent = 0;
        } else if (e == OK && p == &s->broker) {
            on_broker_message(s, &m);
        } else if (e == OK) {
            on_other_message(s, p, &m);
        } else {
            if (e != ERR_AGAIN) {
                close_fd(&p->link_fd); /* its end is reported by SIGCHLD */
            }
            return;
        }
    }
}

/* The broker drains first: what it still wants to have signed is signed. */
static void begin_stop(struct supervisor *s)
{
    struct part *p = first_living(s);
    if (s->is_stopping) {
        /* Asked again: at once. But one Ctrl-C may come twice, from the terminal and from a script.
         */
        if (p != NULL && now_ms(s) + STOP_MS - AGAIN_MS > s->stop_at_ms) {
            kill(p->child, SIGKILL);
        }
        return;
    }
    s->is_stopping = true;
    s->stop_at_ms = now_ms(s) + STOP_MS;
    (void)sd_notify(0, "STOPPING=1");
    log_line(LOG_NOTICE, "stopping");
    if (p != NULL) {
        tell_type(p, MESSAGE_STOP);
    }
}

static const char *how_ended(const struct part *p)
{
    return p->boot.last == BOOT_LAST_EXIT ? "exit code" : "signal";
}

static void stop_next(struct supervisor *s)
{
    struct part *p = first_living(s);
    s->is_stopping = true;
    s->stop_at_ms = now_ms(s) + OTHER_STOP_MS;
    if (p != NULL) {
        tell_type(p, MESSAGE_STOP);
    }
}

/* It will not serve any more; the others have nothing to do then. */
static void give_up(struct supervisor *s)
{
    s->has_failed = true;
    if (!s->is_stopping && s->broker.child > 0) {
        begin_stop(s);
    } else if (s->broker.child == 0) {
        stop_next(s);
    }
}

static void restart_later(struct supervisor *s, struct part *p)
{
    uint64_t wait_ms = part_back_off(p, now_ms(s));
    log_line(LOG_ERROR, "the %s ended unexpectedly (%s %u); it is started again in %llu ms",
             p->what, how_ended(p), p->boot.last_code, (unsigned long long)wait_ms);
    if (p != &s->broker) {
        struct message m = {
            .type = MESSAGE_EVENT, .category = EVENT_crash_recovery, .severity = SEVERITY_WARNING};
        (void)snprintf(m.text, sizeof m.text, "the %s %s by %s %u and is started again; %s",
                       p->what, p->hung ? "hung, was ended" : "ended", how_ended(p),
                       p->boot.last_code,
                       p == &s->courier ? "what no sink has confirmed is sent again"
                                        : "nothing that it had answered is lost");
        tell(&s->broker, &m);
    }
}

static void on_end(struct supervisor *s, struct part *p, int status)
{
    read_link(s, p); /* its last words */
    part_ended(p, status);
    if (s->is_stopping) {
        if (status != 0 && p == &s->broker) {
            s->has_failed = true;
            log_line(LOG_ERROR, "the broker did not drain (%s %u)", how_ended(p),
                     p->boot.last_code);
        }
        if (s->broker.child == 0) {
            stop_next(s);
        }
        return;
    }
    if (p == &s->courier) {
        if (status == 0) {
            p->restart_at_ms = now_ms(s); /* by itself, or told: the files are others */
        } else {
            restart_later(s, p);
        }
        return;
    }
    if (!s->is_up) {
        /* a start that fails once fails again: say so and end */
        log_line(LOG_ERROR, "the %s did not start (%s %u)", p->what, how_ended(p),
                 p->boot.last_code);
        give_up(s);
        return;
    }
    if (s->has_failed && p == &s->broker) {
        give_up(s);
        return;
    }
    restart_later(s, p);
}

static void reap(struct supervisor *s, struct part *p)
{
    int status;
    if (p->child > 0 && waitpid(p->child, &status, WNOHANG) == p->child) {
        on_end(s, p, status);
    }
}

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        switch (info.ssi_signo) {
        case SIGTERM:
        case SIGINT:
            begin_stop(s);
            break;
        case SIGHUP:
            log_line(LOG_NOTICE, "reloading");
            s->is_reloading = true;
            tell_type(&s->broker, MESSAGE_RELOAD);
            break;
        case SIGCHLD:
            for (size_t i = 0; i < PARTS; i++) {
                reap(s, part_at(s, i));
            }
            break;
        default:
            break;
        }
    }
}

/* Before the broker has been ready once, there is no signer to wait for. */
static uint64_t part_deadline(const struct supervisor *s, const struct part *p)
{
    if (p->child == 0) {
        bool is_wanted = p != &s->courier || s->sinks.dialler.n > 0;
        return s->is_up && is_wanted ? p->restart_at_ms : UINT64_MAX;
    }
    return p->is_ready ? p->alive_at_ms : p->started_ms + START_MS;
}

static uint64_t deadline_of(struct supervisor *s)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < PARTS; i++) {
        uint64_t at = part_deadline(s, part_at(s, i));
        first = at < first ? at : first;
    }
    return s->is_stopping ? s->stop_at_ms : first;
}

static void end_late(struct supervisor *s)
{
    struct part *p = first_living(s);
    if (p != NULL) {
        log_line(LOG_WARN, "the %s did not drain in time and is ended", p->what);
        kill(p->child, SIGKILL);
    }
    s->stop_at_ms = UINT64_MAX;
}

static enum err part_turn(struct supervisor *s, struct part *p)
{
    if (part_deadline(s, p) > now_ms(s)) {
        return OK;
    }
    if (p == &s->courier && p->child == 0) {
        begin_courier(s); /* without it, we go on */
        return OK;
    }
    if (p->child == 0) {
        return start(s, p);
    }
    if (p->is_ready && part_is_alive(p, now_ms(s))) {
        return OK;
    }
    if (p->is_ready) {
        log_line(LOG_ERROR, "the %s has not answered for %u s and is ended", p->what,
                 p->silent_max * PART_ALIVE_MS / 1000);
    } else {
        log_line(LOG_ERROR, "the %s does not become ready and is ended", p->what);
    }
    p->hung = true;
    p->started_ms = now_ms(s);
    p->is_ready = false;
    kill(p->child, SIGKILL);
    return OK;
}

static enum err on_deadline(struct supervisor *s)
{
    if (s->is_stopping) {
        end_late(s);
        return OK;
    }
    for (size_t i = 0; i < PARTS; i++) {
        TRY(part_turn(s, part_at(s, i)));
    }
    return OK;
}

static int poll_timeout(uint64_t deadline_ms, uint64_t now)
{
    if (deadline_ms == UINT64_MAX) {
        return -1;
    }
    uint64_t left = deadline_ms > now ? deadline_ms - now : 0;
    return left < 60000 ? (int)left : 60000;
}

static bool is_over(struct supervisor *s)
{
    return first_living(s) == NULL && (s->is_stopping || s->has_failed);
}

static enum err watch(struct supervisor *s)
{
    TRY(start(s, &s->broker));
    while (!is_over(s)) {
        struct dialler *d = &s->sinks.dialler;
        struct pollfd polled[FIRST_SINK + COURIER_SINKS_MAX] = {
            {.fd = s->signal_fd, .events = POLLIN}};
        for (size_t i = 0; i < PARTS; i++) {
            polled[1 + i] = (struct pollfd){.fd = part_at(s, i)->link_fd, .events = POLLIN};
        }
        polled[1 + PARTS] = (struct pollfd){.fd = s->porter_fd, .events = POLLIN};
        for (size_t i = 0; i < d->n; i++) {
            polled[FIRST_SINK + i] = (struct pollfd){.fd = d->fds[i], .events = POLLIN};
        }
        int n = poll(polled, FIRST_SINK + d->n, poll_timeout(deadline_of(s), now_ms(s)));
        if (n < 0 && errno != EINTR) {
            return ERR_IO;
        }
        /* First, because a message may bring other sinks. */
        for (size_t i = 0; n > 0 && i < d->n; i++) {
            if (polled[FIRST_SINK + i].revents != 0) {
                dialler_answer(d, i);
            }
        }
        for (size_t i = 0; n > 0 && i < PARTS; i++) {
            if (polled[1 + i].revents != 0) {
                read_link(s, part_at(s, i));
            }
        }
        if (n > 0 && polled[1 + PARTS].revents != 0) {
            porter_answer(s->porter_fd, s->broker.fds[s->broker.boot.dir_fd - BOOT_FIRST_FD],
                          &s->user);
        }
        if (n > 0 && polled[0].revents != 0) {
            on_signal(s);
        }
        if (!is_over(s) && deadline_of(s) <= now_ms(s)) {
            TRY(on_deadline(s));
        }
    }
    return OK;
}

static enum err prepare_process(struct supervisor *s)
{
    struct rlimit files, no_core = {0, 0};
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigaddset(&mask, SIGCHLD);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &no_core) != 0 ||
        sigaction(SIGPIPE, &ignore, NULL) != 0 || sigaction(SIGXFSZ, &ignore, NULL) != 0 ||
        sigprocmask(SIG_BLOCK, &mask, NULL) != 0) {
        return ERR_IO;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    s->exe_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    return s->signal_fd >= 0 && s->exe_fd >= 0 ? OK : ERR_IO;
}

int supervisor_run(const char *dir, const char *key_option)
{
    struct supervisor s = {.exe_fd = -1,
                           .signal_fd = -1,
                           .porter_fd = -1,
                           .broker = {.what = "broker",
                                      .flag = SUPERVISOR_BROKER_FLAG,
                                      .link_fd = -1,
                                      .silent_max = BROKER_SILENT_MAX},
                           .signer = {.what = "signer",
                                      .flag = SUPERVISOR_SIGNER_FLAG,
                                      .link_fd = -1,
                                      .silent_max = SIGNER_SILENT_MAX},
                           .courier = {.what = "courier",
                                       .flag = SUPERVISOR_COURIER_FLAG,
                                       .link_fd = -1,
                                       .silent_max = COURIER_SILENT_MAX},
                           .scribe = {.what = "scribe",
                                      .flag = SUPERVISOR_SCRIBE_FLAG,
                                      .link_fd = -1,
                                      .silent_max = SCRIBE_SILENT_MAX},
                           .clock = clock_system()};
    enum err e = prepare_process(&s);
    if (e == OK) {
        e = supervisor_open(&s, dir, key_option);
        if (e == OK && (e = watch(&s)) != OK) {
            log_line(LOG_ERROR, "the supervisor cannot go on: %s", err_name(e));
        }
    } else {
        log_line(LOG_ERROR, "cannot prepare the process: %s", strerror(errno));
    }
    for (size_t i = 0; i < PARTS; i++) {
        part_done(part_at(&s, i));
    }
    dialler_close(&s.sinks.dialler);
    close_fd(&s.signal_fd);
    close_fd(&s.exe_fd);
    close_fd(&s.porter_fd);
    return e == OK && !s.has_failed ? 0 : 1;
}
