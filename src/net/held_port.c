#include "net/held_port.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/scope.h"
#include "net/listener.h"

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

static bool set_flag(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

/* Nothing that arrives from now on reaches the socket: no connection is begun or completed. */
static bool let_nothing_in(int fd)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {.len = COUNT_OF(code), .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}

/* The order leaves no moment in which another could listen: it shares until it has listened, and
 * does not when it ends that. A connection of before has the listener's flag for its life and
 * stands in nobody's way. */
static bool end_listening(int fd)
{
    return set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 0) && shutdown(fd, SHUT_RDWR) == 0;
}

static bool is_listening(int fd)
{
    int value = 0;
    socklen_t n = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &n) == 0 && value != 0;
}

static enum err err_of_bind(void)
{
    return errno == EADDRINUSE                         ? ERR_EXISTS
           : errno == EACCES || errno == EADDRNOTAVAIL ? ERR_DENIED
                                                       : ERR_IO;
}

static enum err bind_shared(const struct net_peer *peer, int *ret_fd)
{
    int family = net_peer_is_v4(peer) ? AF_INET : AF_INET6;
    struct sockaddr_storage address;
    socklen_t n;
    TRY(net_peer_to(peer, family, &address, &n));
    AUTO(close_fd) int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    /* shared: what ended lately is still in TIME_WAIT there */
    if (fd < 0 || !set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
        (family == AF_INET6 && !set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0))) {
        return ERR_IO;
    }
    if (bind(fd, (const struct sockaddr *)&address, n) != 0) {
        return err_of_bind();
    }
    *ret_fd = fd;
    fd = -1;
    return OK;
}

enum err held_port_take(struct slice where, int *ret_fd)
{
    struct net_peer peer;
    AUTO(close_fd) int fd = -1;
    TRY(net_peer_parse(where, &peer));
    TRY(bind_shared(&peer, &fd));
    if (peer.port == 0) {
        /* Bound once more by its number: shutdown(2) forgets a port that was not asked for. */
        struct net_peer picked;
        TRY(net_local(fd, &picked));
        peer.port = picked.port;
        AUTO(close_fd) int first = fd;
        fd = -1;
        TRY(bind_shared(&peer, &fd));
    }
    if (!let_nothing_in(fd)) {
        return ERR_IO;
    }
    if (listen(fd, 1) != 0) {
        return err_of_bind();
    }
    if (!end_listening(fd)) {
        return ERR_IO;
    }
    *ret_fd = fd;
    fd = -1;
    return OK;
}

enum err held_port_open(int fd)
{
    (void)set_flag(fd, SOL_SOCKET, SO_DETACH_FILTER, 0); /* none: it is open */
    if (set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1) && listen(fd, LISTENER_BACKLOG) == 0) {
        return OK;
    }
    held_port_close(fd);
    return ERR_IO;
}

void held_port_close(int fd)
{
    (void)let_nothing_in(fd);
    if (is_listening(fd)) { /* shutdown(2) of one that does not would be for the next ones, too */
        (void)end_listening(fd);
    } else {
        (void)set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 0);
    }
}
