#include "app/daemon/supervisor_part.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/daemon/sandbox.h"
#include "base/log.h"

int part_add_fd(struct part *p, int fd)
{
    p->fds[p->n_fds] = fd;
    return BOOT_FIRST_FD + (int)p->n_fds++;
}

int part_dup_fd(struct part *p, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy >= 0 ? part_add_fd(p, copy) : -1;
}

/* Nothing of ours is a part's: no library preloaded, no configuration elsewhere. Leaks cannot
 * be looked for inside the sandbox, which a sanitizer has to be told. A table that has grown gives
 * its old place back to the kernel: by itself the allocator begins to keep what is as large as
 * something it has seen freed (docs/decisions/0096). */
static char *const part_environment[] = {"MALLOC_MMAP_THRESHOLD_=524288",
#if defined(__SANITIZE_ADDRESS__)
                                         "ASAN_OPTIONS=detect_leaks=0:handle_sigill=1",
#endif
                                         NULL};

/* In the child. Everything goes above the numbers it must get, then down to them, so that no move
 * overwrites a descriptor that is still needed. */
static bool place_descriptors(const struct part *p, int link_fd, int exe_fd, int *ret_exe)
{
    int floor = BOOT_FIRST_FD + (int)p->n_fds;
    int high[PLACES_FDS_MAX];
    int link = fcntl(link_fd, F_DUPFD_CLOEXEC, floor);
    int exe = fcntl(exe_fd, F_DUPFD_CLOEXEC, floor);
    bool good = link >= 0 && exe >= 0;
    for (size_t i = 0; i < p->n_fds; i++) {
        high[i] = fcntl(p->fds[i], F_DUPFD_CLOEXEC, floor);
        good = good && high[i] >= 0;
    }
    good = good && dup2(link, LINK_FD) == LINK_FD;
    for (size_t i = 0; good && i < p->n_fds; i++) {
        good = dup2(high[i], BOOT_FIRST_FD + (int)i) == BOOT_FIRST_FD + (int)i;
    }
    *ret_exe = exe;
    return good;
}

static _Noreturn void become(const struct part *p, const struct places_user *user, int link_fd,
                             int exe_fd)
{
    int exe = -1;
    char flag[32];
    (void)slice_to_text(slice_text(p->flag), flag, sizeof flag);
    char name[] = "sallyport";
    char *const argv[] = {name, flag, NULL};
    sigset_t none;
    sigemptyset(&none);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    bool good = place_descriptors(p, link_fd, exe_fd, &exe);
    /* A Ctrl-C reaches the whole terminal group; only STOP ends a part, so that it drains. */
    good = good && sigaction(SIGINT, &ignore, NULL) == 0 &&
           sigaction(SIGTERM, &ignore, NULL) == 0 && sigaction(SIGHUP, &ignore, NULL) == 0 &&
           sigaction(SIGPIPE, &ignore, NULL) == 0 && sigaction(SIGXFSZ, &ignore, NULL) == 0 &&
           sigprocmask(SIG_SETMASK, &none, NULL) == 0;
    if (good && user->is_other) {
        good = sandbox_become(user->uid, user->gid) == OK;
    }
    if (good) {
        execveat(exe, "", argv, part_environment, AT_EMPTY_PATH);
    }
    log_line(LOG_ERROR, "cannot start the %s: %s", p->what, strerror(errno));
    _exit(127);
}

MUST_USE enum err part_start(struct part *p, int exe_fd, const struct places_user *user,
                             uint64_t now_ms)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return ERR_IO;
    }
    (void)fcntl(pair[0], F_SETFL, O_NONBLOCK); /* one that hangs does not hold us up */
    p->boot.generation++;
    pid_t child = fork();
    if (child == 0) {
        become(p, user, pair[1], exe_fd);
    }
    close(pair[1]);
    if (child < 0) {
        close(pair[0]);
        return ERR_IO;
    }
    p->child = child;
    p->link_fd = pair[0];
    p->started_ms = now_ms;
    p->is_ready = false;
    p->hung = false;
    p->alive_at_ms = UINT64_MAX;
    const struct message m = {.type = MESSAGE_BOOT, .boot = p->boot};
    enum err e = message_send(p->link_fd, &m);
    return e == ERR_CLOSED ? OK : e; /* it ended already: SIGCHLD says how */
}

void part_ended(struct part *p, int status)
{
    if (p->link_fd >= 0) {
        close(p->link_fd);
    }
    p->link_fd = -1;
    p->child = 0;
    p->boot.last = p->hung               ? BOOT_LAST_HANG
                   : WIFSIGNALED(status) ? BOOT_LAST_SIGNAL
                                         : BOOT_LAST_EXIT;
    p->boot.last_code = (unsigned)(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

uint64_t part_back_off(struct part *p, uint64_t now_ms)
{
    if (p->backoff_ms == 0 || now_ms - p->started_ms > PART_STEADY_MS) {
        p->backoff_ms = PART_BACKOFF_MS;
    }
    uint64_t wait_ms = p->backoff_ms;
    p->restart_at_ms = now_ms + wait_ms;
    p->backoff_ms = wait_ms * 2 < PART_BACKOFF_MAX_MS ? wait_ms * 2 : PART_BACKOFF_MAX_MS;
    return wait_ms;
}

void part_watch(struct part *p, uint64_t now_ms)
{
    p->n_silent = 0;
    p->alive_at_ms = now_ms + PART_ALIVE_MS;
}

bool part_is_alive(struct part *p, uint64_t now_ms)
{
    const struct message m = {.type = MESSAGE_ALIVE};
    if (p->n_silent >= p->silent_max) {
        p->alive_at_ms = UINT64_MAX;
        return false;
    }
    if (p->n_silent++ == 0 && message_send(p->link_fd, &m) != OK) {
        log_line(LOG_WARN, "the %s does not take messages", p->what);
    }
    p->alive_at_ms = now_ms + PART_ALIVE_MS;
    return true;
}

void part_done(struct part *p)
{
    if (p->child > 0) {
        kill(p->child, SIGKILL);
        (void)waitpid(p->child, NULL, 0);
    }
    for (size_t i = 0; i < p->n_fds; i++) {
        close(p->fds[i]);
    }
    if (p->link_fd >= 0) {
        close(p->link_fd);
    }
}
