#include "app/daemon/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "app/daemon/port_holder.h"
#include "base/log.h"
#include "net/held_port.h"
#include "net/listener.h"

enum {
    OWN_DEPTH_MAX = 4,
    CONTROL_BACKLOG = 16,
    PORT_WAIT_MS = 2000,
    CLOSED_PORT_WAIT_MS = 300,
    PORT_STEP_MS = 50
};

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

enum err places_dir(const char *dir, int *ret_fd, struct why *why)
{
    AUTO(close_fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        why_set(why, "%s: %s; `sallyport init %s` makes it", dir, strerror(errno), dir);
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        why_set(why, "%s: another daemon serves this directory", dir);
        return errno == EWOULDBLOCK ? ERR_EXISTS : ERR_IO;
    }
    *ret_fd = fd;
    fd = -1;
    return OK;
}

enum err places_key(const char *dir, const char *text, struct places_key *ret, struct why *why)
{
    char beside[4096], spare[4096 + 8];
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') {
        n--;
    }
    if (text == NULL || text[0] == '\0') {
        snprintf(beside, sizeof beside, "%.*s.key", (int)n, dir);
        text = beside;
    }
    const char *name;
    const struct key_source *source = key_source_of(text, &name);
    struct places_key key = {.fd = -1, .spare_fd = -1, .source = key_source_index(source)};
    AUTO(close_fd) int spare_fd = -1;
    snprintf(spare, sizeof spare, "%s" PLACES_KEY_NEW, name);
    struct why ignored;
    if (source->no_rotation != NULL || source->open(spare, &spare_fd, &ignored) != OK) {
        TRY(source->open(name, &spare_fd, why));
    }
    TRY(source->open(name, &key.fd, why));
    key.spare_fd = spare_fd;
    spare_fd = -1;
    *ret = key;
    return OK;
}

enum err places_rooms(int dir_fd, struct why *why)
{
    static const char *const rooms[] = {"store", "audit", "scribe", "undo", "courier"};
    for (size_t i = 0; i < COUNT_OF(rooms); i++) {
        if (mkdirat(dir_fd, rooms[i], 0700) != 0 && errno != EEXIST) {
            why_set(why, "cannot make %s/ in the data directory: %s", rooms[i], strerror(errno));
            return ERR_IO;
        }
    }
    return OK;
}

static enum err open_run(int dir_fd, int *ret_fd, struct why *why)
{
    if (mkdirat(dir_fd, "run", 0700) != 0 && errno != EEXIST) {
        why_set(why, "cannot make run/: %s", strerror(errno));
        return ERR_IO;
    }
    int fd = openat(dir_fd, "run", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        why_set(why, "run/ is not a directory: %s", strerror(errno));
        return ERR_IO;
    }
    *ret_fd = fd;
    return OK;
}

static enum err listening(int dir_fd, const char *name, int type, int *ret_fd, struct why *why)
{
    AUTO(close_fd) int run_fd = -1;
    TRY(open_run(dir_fd, &run_fd, why));
    AUTO(close_fd) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* By descriptor, because a path may be longer than such an address can hold. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", run_fd, name);
    (void)unlinkat(run_fd, name, 0); /* a dead daemon's: the lock on DIR is ours */
    mode_t before = umask(0177);
    int bound = fd < 0 ? -1 : bind(fd, (const struct sockaddr *)&address, sizeof address);
    (void)umask(before);
    if (bound != 0 || listen(fd, CONTROL_BACKLOG) != 0) {
        why_set(why, "cannot make run/%s: %s", name, strerror(errno));
        return ERR_IO;
    }
    *ret_fd = fd;
    fd = -1;
    return OK;
}

enum err places_control(int dir_fd, int *ret_fd, struct why *why)
{
    return listening(dir_fd, "control.sock", SOCK_STREAM, ret_fd, why);
}

enum err places_signer(int dir_fd, int *ret_fd, struct why *why)
{
    return listening(dir_fd, "signer.sock", SOCK_SEQPACKET, ret_fd, why);
}

/* Whoever has the port, by name if it can be told. */
static void find_holder(const struct config_listener *l, char who[PORT_HOLDER_BYTES])
{
    struct net_peer at;
    AUTO(close_fd) int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (net_peer_parse(slice_text(l->bind), &at) != OK ||
        !port_holder(proc_fd, &at, config_is_datagram(l), who)) {
        (void)snprintf(who, PORT_HOLDER_BYTES,
                       "another program (`ss -lntup` as root may show which)");
    }
}

static enum err bind_refused(const struct config_listener *l, enum err e, struct why *why)
{
    if (e == ERR_EXISTS) {
        char who[PORT_HOLDER_BYTES];
        find_holder(l, who);
        why_set(why,
                "listener %s: %s is used by %s: stop that program, or change `bind` of this "
                "listener in sallyport.yaml%s",
                l->name, l->bind, who,
                config_needs_exception(l)
                    ? ", and start the server again. Until then it stays closed, "
                      "also when an exception names it"
                    : "");
        return e;
    }
    why_set(why, "listener %s: %s %s", l->name, l->bind,
            e == ERR_DENIED ? "may not be opened: a port below 1024 needs root or "
                              "CAP_NET_BIND_SERVICE, and the address must be ours"
                            : "cannot be opened");
    return e;
}

static enum err take_port(const struct config_listener *l, unsigned n, int *fds)
{
    struct slice where = slice_text(l->bind);
    return config_needs_exception(l) ? held_port_take(where, fds)
           : config_is_datagram(l)   ? net_listen_udp(where, n, fds)
                                     : net_listen_tcp(where, n, fds);
}

/* Sockets of several workers share their address, also with those of another daemon of this user:
 * one alone finds out, before they are there themselves. */
static bool find_company(const struct config_listener *l, char who[PORT_HOLDER_BYTES])
{
    int fd = -1;
    enum err e = take_port(l, 1, &fd);
    if (e == OK) {
        (void)close(fd);
    }
    if (e == ERR_EXISTS) {
        find_holder(l, who);
    }
    return e == ERR_EXISTS;
}

/* What was killed a moment ago may still have it. The server starts without one that is closed. */
static enum err wait_for_port(const struct config_listener *l, unsigned n, int *fds)
{
    const struct timespec step = {.tv_nsec = PORT_STEP_MS * 1000000L};
    unsigned most_ms = config_needs_exception(l) ? CLOSED_PORT_WAIT_MS : PORT_WAIT_MS;
    enum err e = take_port(l, n, fds);
    for (unsigned ms = 0; e == ERR_EXISTS && ms < most_ms; ms += PORT_STEP_MS) {
        (void)nanosleep(&step, NULL);
        e = take_port(l, n, fds);
    }
    return e;
}

/* One worker's socket, so that each request is heard once. */
static enum err join_groups(const struct config_listener *l, unsigned n, const int *fds,
                            struct why *why)
{
    const char *where = "";
    enum err err = net_multicast_join(fds[0], &l->multicast, &where);
    if (err == ERR_NOT_FOUND) {
        why_set(why,
                "listener %s: multicast names the interface %s, which is not there: `ip link` "
                "shows them",
                l->name, where);
    } else if (err != OK) {
        why_set(why, "listener %s: a group of multicast cannot be joined on %s: %s", l->name, where,
                strerror(errno));
    }
    for (unsigned i = 0; err != OK && i < n; i++) {
        (void)close(fds[i]);
    }
    return err;
}

/* A burst of many devices must fit until the worker's next turn. */
static void tell_room(const char *name, int fd)
{
    size_t room = net_udp_room(fd);
    if (room > 0 && room < UDP_RECEIVE_BYTES) {
        log_line(LOG_NOTICE,
                 "listener %s: the kernel gives its socket a receive buffer of %zu KiB, and %d "
                 "were asked for: bursts are lost sooner. Set net.core.rmem_max to %d",
                 name, room >> 10, UDP_RECEIVE_BYTES >> 10, UDP_RECEIVE_BYTES);
    }
}

enum err places_listener(const struct config_listener *l, unsigned workers, int *fds,
                         struct boot_listener *ret, struct why *why)
{
    bool is_mqtt = l->door == CONFIG_DOOR_MQTT;
    bool is_coap = l->door == CONFIG_DOOR_COAP && !l->plain;
    bool is_udp = config_is_datagram(l);
    bool is_enrol = l->door == CONFIG_DOOR_ENROL && !l->plain;
    bool is_metrics = l->door == CONFIG_DOOR_METRICS;
    if (!is_mqtt && !is_coap && !is_enrol && !is_metrics) {
        why_set(why,
                "listener %s: this kind of door is not there yet; it is not opened, and nothing "
                "listens on %s. Take the listener out of sallyport.yaml",
                l->name, l->bind);
        return ERR_UNSUPPORTED;
    }
    struct boot_listener b = {.udp = is_udp,
                              .listening = !config_needs_exception(l),
                              .n_fds = config_needs_exception(l) ? 1 : workers};
    if (!slice_to_text(slice_text(l->name), b.name, sizeof b.name)) {
        return ERR_TOO_LARGE;
    }
    char company[PORT_HOLDER_BYTES];
    bool has_company = b.n_fds > 1 && find_company(l, company);
    enum err e = wait_for_port(l, b.n_fds, fds);
    if (e != OK) {
        return bind_refused(l, e, why);
    }
    if (has_company) {
        log_line(LOG_WARN,
                 "listener %s: %s is also used by %s, and clients reach either of the two: stop "
                 "one, or change `bind` of this listener in sallyport.yaml",
                 l->name, l->bind, company);
    }
    if (is_udp) {
        tell_room(l->name, fds[0]);
    }
    if (l->multicast.n_groups > 0) {
        TRY(join_groups(l, b.n_fds, fds, why));
    }
    struct net_peer local;
    if (net_local(fds[0], &local) == OK) {
        b.port = (uint16_t)local.port;
    }
    *ret = b;
    return OK;
}

enum err places_user_find(const char *name, struct places_user *ret, struct why *why)
{
    struct places_user user = {.uid = geteuid(), .gid = getegid()};
    if (user.uid != 0) {
        why_set(why, "the broker runs as the user who started it (uid %u)", user.uid);
        *ret = user;
        return OK;
    }
    const struct passwd *p = getpwnam(name);
    bool fallback = p == NULL;
    if (fallback) {
        p = getpwnam("nobody");
    }
    if (p == NULL) {
        why_set(why,
                "started as root, but there is neither a user %s nor nobody; "
                "`useradd --system --shell /usr/sbin/nologin %s` makes one",
                name, name);
        return ERR_NOT_FOUND;
    }
    if (p->pw_uid == 0 || p->pw_gid == 0) {
        why_set(why, "user %s is root or in root's group; the broker must be nobody special", name);
        return ERR_DENIED;
    }
    user = (struct places_user){.uid = p->pw_uid, .gid = p->pw_gid, .is_other = true};
    (void)slice_to_text(slice_head(slice_text(p->pw_name), sizeof user.name - 1), user.name,
                        sizeof user.name);
    why_set(why, "started as root: the broker runs as user %s (uid %u)%s", user.name, user.uid,
            fallback ? "; `useradd --system --shell /usr/sbin/nologin sallyport` gives it a user "
                       "of its own"
                     : "");
    *ret = user;
    return OK;
}

/* One thing by descriptor: what it is, is decided after it was opened, so it cannot be swapped. */
static enum err own_one(int parent_fd, const char *name, const struct places_user *user,
                        int *ret_fd, bool *ret_is_dir)
{
    AUTO(close_fd) int fd = openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return ERR_IO;
    }
    *ret_is_dir = S_ISDIR(st.st_mode);
    bool plain_file = S_ISREG(st.st_mode) && st.st_nlink == 1;
    if (!*ret_is_dir && !plain_file) {
        log_line(LOG_WARN, "%s in the data directory is a link or no file; it is left alone", name);
        return OK;
    }
    if (fchownat(fd, "", user->uid, user->gid, AT_EMPTY_PATH) != 0) {
        return ERR_IO;
    }
    *ret_fd = fd;
    fd = -1;
    return OK;
}

static void close_stream(DIR **d)
{
    if (*d != NULL) {
        closedir(*d);
    }
}

static bool stays_ours(const char *name)
{
    static const char *const names[] = {
        ".", "..", "run", "bundles", ENROL_MAKERS_DIR, "sallyport.yaml"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static enum err own_below(int dir_fd, const struct places_user *user, unsigned depth)
{
    int again = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(close_stream) DIR *d = again >= 0 ? fdopendir(again) : NULL;
    if (d == NULL) {
        return ERR_IO;
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (stays_ours(e->d_name)) {
            continue;
        }
        AUTO(close_fd) int fd = -1;
        bool is_dir = false;
        TRY(own_one(dir_fd, e->d_name, user, &fd, &is_dir));
        if (is_dir && depth < OWN_DEPTH_MAX) {
            TRY(own_below(fd, user, depth + 1));
        }
    }
    return OK;
}

enum err places_own(int dir_fd, const struct places_user *user, struct why *why)
{
    if (!user->is_other) {
        return OK;
    }
    /* Sticky: the broker makes files here, and removes none but its own. */
    AUTO(close_fd)
    int config_fd = openat(dir_fd, "sallyport.yaml", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool good = config_fd >= 0 && fchown(config_fd, 0, user->gid) == 0 &&
                fchmod(config_fd, 0640) == 0 && fchown(dir_fd, 0, user->gid) == 0 &&
                fchmod(dir_fd, 01770) == 0 && own_below(dir_fd, user, 0) == OK;
    if (!good) {
        why_set(why, "cannot give the data directory's files to the broker's user: %s",
                strerror(errno));
        return ERR_IO;
    }
    return OK;
}
