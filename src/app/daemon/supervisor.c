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

#include "app/daemon/places.h"
#include "app/daemon/sandbox.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"

enum {
    STOP_MS = 9000, /* then the broker is killed, so that a stop takes less than 10 s */
    AGAIN_MS = 1000,
    START_MS = 60000, /* without READY until then, it hangs */
    BACKOFF_MS = 100, /* before the first restart; doubles */
    BACKOFF_MAX_MS = 10000,
    STEADY_MS = 60000 /* a broker that lived so long starts the back-off anew */
};

/* One run of `serve`. */
struct supervisor {
    struct config config;
    struct places_user user;
    struct boot boot;
    int fds[PLACES_FDS_MAX]; /* in the order of their numbers in the broker */
    size_t n_fds;
    char dir[4096];         /* as given: the key is opened anew for each broker */
    const char *key_option; /* of the command line, or NULL */
    int exe_fd, signal_fd;
    struct clock clock;
    /* the present broker */
    pid_t child; /* 0: none */
    int link_fd;
    uint64_t started_ms, stop_at_ms, restart_at_ms, backoff_ms;
    bool is_ready, was_ready, is_stopping, has_failed, hung;
};

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

/* ---- opening ---- */

static int add_fd(struct supervisor *s, int fd)
{
    s->fds[s->n_fds] = fd;
    return BOOT_FIRST_FD + (int)s->n_fds++;
}

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
        (void)add_fd(s, fd);
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
        struct boot_listener *b = &s->boot.listeners[s->boot.n_listeners];
        struct why why = {{0}};
        int fds[BOOT_SOCKETS_MAX];
        enum err e = places_listener(l, s->config.workers, fds, b, &why);
        if (e == ERR_UNSUPPORTED || (e != OK && l->plain)) {
            /* A plain listener is closed anyway; that its port is taken is no reason not to serve.
             */
            log_line(LOG_WARN, "%s", why.text);
            continue;
        }
        if (e != OK) {
            log_line(LOG_ERROR, "%s", why.text);
            return e;
        }
        for (unsigned k = 0; k < b->n_fds; k++) {
            int at = add_fd(s, fds[k]);
            b->first_fd = k == 0 ? at : b->first_fd;
        }
        e = open_asking(s, l, b);
        if (e != OK) {
            return e;
        }
        s->boot.n_listeners++;
        char from[200];
        net_networks_text(&l->from, from, sizeof from);
        if (l->multicast.n_groups > 0) {
            char groups[NET_MULTICAST_TEXT_BYTES];
            net_multicast_text(&l->multicast, groups);
            log_line(LOG_NOTICE, "listener %s: answers /.well-known/core in groups: %s", l->name,
                     groups);
        }
        log_line(LOG_NOTICE, "listener %s: port %u%s%s%s%s", l->name, b->port,
                 l->plain ? ", plain: closed until an exception names it" : "",
                 l->mqtt_3_1 ? ", takes the old MQTT 3.1" : "", l->from.n > 0 ? ", only from " : "",
                 from);
    }
    return OK;
}

/* For each broker anew: a rotation has put another file in its place. */
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

static void reopen_key(struct supervisor *s)
{
    struct places_key key;
    if (open_key(s, &key) != OK) {
        return; /* the broker tries what we have */
    }
    close(s->fds[s->boot.key_fd - BOOT_FIRST_FD]);
    close(s->fds[s->boot.spare_key_fd - BOOT_FIRST_FD]);
    s->fds[s->boot.key_fd - BOOT_FIRST_FD] = key.fd;
    s->fds[s->boot.spare_key_fd - BOOT_FIRST_FD] = key.spare_fd;
}

static enum err open_all(struct supervisor *s, const char *dir, const char *key_option)
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
    s->boot.dir_fd = add_fd(s, dir_fd);
    struct config_machine machine = config_machine_ask();
    e = config_load(dir_fd, dir, &machine, &complaint, &s->config);
    if (e != OK) {
        log_line(LOG_ERROR, "%s", complaint.text);
        return e;
    }
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    s->key_option = key_option;
    TRY(open_key(s, &key));
    s->boot.key_fd = add_fd(s, key.fd);
    s->boot.spare_key_fd = add_fd(s, key.spare_fd);
    s->boot.key_source = key.source;
    if ((e = places_rooms(dir_fd, &why)) == OK) {
        e = places_control(dir_fd, &control_fd, &why);
    }
    if (e == OK) {
        s->boot.control_fd = add_fd(s, control_fd);
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
    s->boot.workers = s->config.workers;
    (void)slice_to_text(slice_head(slice_text(dir), sizeof s->boot.dir - 1), s->boot.dir,
                        sizeof s->boot.dir);
    return open_listeners(s);
}

/* ---- the broker's birth ---- */

/* Nothing of ours is the broker's: no library preloaded, no configuration elsewhere. Leaks cannot
 * be looked for inside the sandbox, which a sanitizer has to be told. */
static char *const broker_environment[] = {
#if defined(__SANITIZE_ADDRESS__)
    "ASAN_OPTIONS=detect_leaks=0",
#endif
    NULL};

/* In the child. Everything goes above the numbers it must get, then down to them, so that no move
 * overwrites a descriptor that is still needed. */
static bool place_descriptors(const struct supervisor *s, int link_fd, int *ret_exe)
{
    int floor = BOOT_FIRST_FD + (int)s->n_fds;
    int high[PLACES_FDS_MAX];
    int link = fcntl(link_fd, F_DUPFD_CLOEXEC, floor);
    int exe = fcntl(s->exe_fd, F_DUPFD_CLOEXEC, floor);
    bool good = link >= 0 && exe >= 0;
    for (size_t i = 0; i < s->n_fds; i++) {
        high[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, floor);
        good = good && high[i] >= 0;
    }
    good = good && dup2(link, LINK_FD) == LINK_FD;
    for (size_t i = 0; good && i < s->n_fds; i++) {
        good = dup2(high[i], BOOT_FIRST_FD + (int)i) == BOOT_FIRST_FD + (int)i;
    }
    *ret_exe = exe;
    return good;
}

static _Noreturn void become_broker(const struct supervisor *s, int link_fd)
{
    int exe = -1;
    char *const argv[] = {"sallyport", SUPERVISOR_BROKER_FLAG, NULL};
    sigset_t none;
    sigemptyset(&none);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    bool good = place_descriptors(s, link_fd, &exe);
    /* A Ctrl-C reaches the whole terminal group; only STOP ends a broker, so that it drains. */
    good = good && sigaction(SIGINT, &ignore, NULL) == 0 &&
           sigaction(SIGTERM, &ignore, NULL) == 0 && sigaction(SIGHUP, &ignore, NULL) == 0 &&
           sigaction(SIGPIPE, &ignore, NULL) == 0 && sigaction(SIGXFSZ, &ignore, NULL) == 0 &&
           sigprocmask(SIG_SETMASK, &none, NULL) == 0;
    if (good && s->user.is_other) {
        good = sandbox_become(s->user.uid, s->user.gid) == OK;
    }
    if (good) {
        execveat(exe, "", argv, broker_environment, AT_EMPTY_PATH);
    }
    log_line(LOG_ERROR, "cannot start the broker: %s", strerror(errno));
    _exit(127);
}

static enum err start_broker(struct supervisor *s)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return ERR_IO;
    }
    if (s->boot.generation > 0) {
        reopen_key(s);
    }
    s->boot.generation++;
    pid_t child = fork();
    if (child == 0) {
        become_broker(s, pair[1]);
    }
    close(pair[1]);
    if (child < 0) {
        close(pair[0]);
        return ERR_IO;
    }
    s->child = child;
    s->link_fd = pair[0];
    s->started_ms = now_ms(s);
    s->is_ready = false;
    s->hung = false;
    struct message m = {.type = MESSAGE_BOOT, .boot = s->boot};
    enum err e = message_send(s->link_fd, &m);
    return e == ERR_CLOSED ? OK : e; /* it ended already: SIGCHLD says how */
}

/* ---- its life ---- */

static void tell(struct supervisor *s, enum message_type type)
{
    struct message m = {.type = type};
    if (s->child > 0 && message_send(s->link_fd, &m) != OK) {
        log_line(LOG_WARN, "the broker does not take messages");
    }
}

static void on_message(struct supervisor *s, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_READY:
        s->is_ready = true;
        if (!s->was_ready) {
            fputs("ready\n", stderr); /* a line of the contract, without a level */
        } else {
            log_line(LOG_NOTICE, "the broker serves again");
        }
        s->was_ready = true;
        (void)sd_notify(0, "READY=1");
        return;
    case MESSAGE_RELOADED:
        if (m->text[0] == '\0') {
            log_line(LOG_NOTICE, "reloaded");
        } else {
            log_line(LOG_ERROR, "not reloaded, what was read before stays: %s", m->text);
        }
        (void)sd_notify(0, "READY=1");
        return;
    case MESSAGE_FAILED:
        log_line(LOG_ERROR, "%s", m->text);
        s->has_failed = true;
        return;
    case MESSAGE_STARTING:
        log_line(LOG_NOTICE, "%s", m->text);
        s->started_ms = now_ms(s);
        (void)sd_notify(0, "EXTEND_TIMEOUT_USEC=30000000");
        return;
    case MESSAGE_BOOT:
    case MESSAGE_STOP:
    case MESSAGE_RELOAD:
        log_line(LOG_WARN, "the broker sent a message that is not its to send");
        return;
    }
}

static void read_link(struct supervisor *s)
{
    for (;;) {
        struct message m;
        enum err e = message_receive(s->link_fd, &m);
        if (e == OK) {
            on_message(s, &m);
            continue;
        }
        if (e != ERR_AGAIN) {
            close_fd(&s->link_fd); /* its end is reported by SIGCHLD */
        }
        return;
    }
}

static void begin_stop(struct supervisor *s)
{
    if (s->is_stopping) {
        /* Asked again: at once. But one Ctrl-C may come twice, from the terminal and from a script.
         */
        if (s->child > 0 && now_ms(s) + STOP_MS - AGAIN_MS > s->stop_at_ms) {
            kill(s->child, SIGKILL);
        }
        return;
    }
    s->is_stopping = true;
    s->stop_at_ms = now_ms(s) + STOP_MS;
    (void)sd_notify(0, "STOPPING=1");
    log_line(LOG_NOTICE, "stopping");
    tell(s, MESSAGE_STOP);
}

/* The broker is gone. */
static void on_end(struct supervisor *s, int status)
{
    read_link(s); /* its last words */
    close_fd(&s->link_fd);
    s->child = 0;
    s->boot.last = s->hung               ? BOOT_LAST_HANG
                   : WIFSIGNALED(status) ? BOOT_LAST_SIGNAL
                                         : BOOT_LAST_EXIT;
    s->boot.last_code = (unsigned)(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    if (s->is_stopping) {
        if (status != 0) {
            s->has_failed = true;
            log_line(LOG_ERROR, "the broker did not drain (%s %u)",
                     s->boot.last == BOOT_LAST_SIGNAL ? "signal" : "exit code", s->boot.last_code);
        }
        return;
    }
    if (!s->was_ready) {
        s->has_failed = true; /* a start that fails once fails again: say so and end */
        log_line(LOG_ERROR, "the broker did not start (%s %u)",
                 s->boot.last == BOOT_LAST_SIGNAL ? "signal" : "exit code", s->boot.last_code);
        return;
    }
    if (now_ms(s) - s->started_ms > STEADY_MS) {
        s->backoff_ms = BACKOFF_MS;
    }
    s->restart_at_ms = now_ms(s) + s->backoff_ms;
    log_line(LOG_ERROR, "the broker ended unexpectedly (%s %u); it is started again in %llu ms",
             s->boot.last == BOOT_LAST_SIGNAL ? "signal" : "exit code", s->boot.last_code,
             (unsigned long long)s->backoff_ms);
    s->backoff_ms = s->backoff_ms * 2 < BACKOFF_MAX_MS ? s->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        int status;
        switch (info.ssi_signo) {
        case SIGTERM:
        case SIGINT:
            begin_stop(s);
            break;
        case SIGHUP:
            log_line(LOG_NOTICE, "reloading");
            tell(s, MESSAGE_RELOAD);
            break;
        case SIGCHLD:
            while (s->child > 0 && waitpid(s->child, &status, WNOHANG) == s->child) {
                on_end(s, status);
            }
            break;
        default:
            break;
        }
    }
}

static uint64_t deadline_of(const struct supervisor *s)
{
    if (s->is_stopping) {
        return s->stop_at_ms;
    }
    if (s->child == 0) {
        return s->restart_at_ms;
    }
    return s->is_ready ? UINT64_MAX : s->started_ms + START_MS;
}

static enum err on_deadline(struct supervisor *s)
{
    if (s->is_stopping) {
        log_line(LOG_WARN, "the broker did not drain in time and is ended");
        kill(s->child, SIGKILL);
        s->stop_at_ms = UINT64_MAX;
        return OK;
    }
    if (s->child == 0) {
        return start_broker(s);
    }
    log_line(LOG_ERROR, "the broker does not become ready and is ended");
    s->hung = true;
    s->started_ms = now_ms(s);
    kill(s->child, SIGKILL);
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

static enum err watch(struct supervisor *s)
{
    TRY(start_broker(s));
    while (!(s->child == 0 && (s->is_stopping || s->has_failed))) {
        struct pollfd polled[2] = {{.fd = s->signal_fd, .events = POLLIN},
                                   {.fd = s->link_fd, .events = POLLIN}};
        int n = poll(polled, 2, poll_timeout(deadline_of(s), now_ms(s)));
        if (n < 0 && errno != EINTR) {
            return ERR_IO;
        }
        if (n > 0 && polled[1].revents != 0) {
            read_link(s);
        }
        if (n > 0 && polled[0].revents != 0) {
            on_signal(s);
        }
        if (!(s->child == 0 && (s->is_stopping || s->has_failed)) && deadline_of(s) <= now_ms(s)) {
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
                           .link_fd = -1,
                           .clock = clock_system(),
                           .backoff_ms = BACKOFF_MS};
    enum err e = prepare_process(&s);
    if (e == OK) {
        e = open_all(&s, dir, key_option);
        if (e == OK && (e = watch(&s)) != OK) {
            log_line(LOG_ERROR, "the supervisor cannot go on: %s", err_name(e));
        }
    } else {
        log_line(LOG_ERROR, "cannot prepare the process: %s", strerror(errno));
    }
    if (s.child > 0) {
        kill(s.child, SIGKILL);
        (void)waitpid(s.child, NULL, 0);
    }
    for (size_t i = 0; i < s.n_fds; i++) {
        close(s.fds[i]);
    }
    close_fd(&s.link_fd);
    close_fd(&s.signal_fd);
    close_fd(&s.exe_fd);
    return e == OK && !s.has_failed ? 0 : 1;
}
