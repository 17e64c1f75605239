#include "app/daemon/dialler.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/daemon/message.h"
#include "app/daemon/outlet_open.h"

_Static_assert((int)BOOT_SINKS_MAX == (int)COURIER_SINKS_MAX, "each has a descriptor in BOOT");

enum err dialler_open(const struct config_export *c, struct dialler *d,
                      int ret_theirs[COURIER_SINKS_MAX])
{
    *d = (struct dialler){0};
    for (size_t i = 0; i < c->n; i++) {
        int pair[2];
        d->sinks[i] = c->sinks[i];
        if (c->sinks[i].way < COURIER_FILE) {
            TRY(net_peer_parse(slice_text(c->sinks[i].to), &d->to[i]));
        }
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
            return ERR_IO;
        }
        d->fds[d->n++] = pair[0];
        ret_theirs[i] = pair[1];
    }
    return OK;
}

static int connect_to(const struct net_peer *to)
{
    struct sockaddr_storage address;
    socklen_t n;
    int family = net_peer_is_v4(to) ? AF_INET : AF_INET6;
    if (net_peer_to(to, family, &address, &n) != OK) {
        return -1;
    }
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)&address, n) != 0 &&
        errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

static void give(int fd, int socket)
{
    uint8_t byte = socket >= 0 ? 1 : 0;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (socket >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof socket);
        memcpy(CMSG_DATA(c), &socket, sizeof socket);
    }
    (void)sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL); /* unanswered it asks again */
}

void dialler_answer(const struct dialler *d, size_t i)
{
    uint8_t asked[COURIER_TO_BYTES];
    ssize_t n = recv(d->fds[i], asked, sizeof asked, MSG_DONTWAIT);
    if (n <= 0) {
        return;
    }
    bool is_ours = slice_equal(slice_of(asked, (size_t)n), slice_text(d->sinks[i].to));
    bool is_here = d->sinks[i].way >= COURIER_FILE;
    int fd = !is_ours ? -1 : is_here ? outlet_open(&d->sinks[i]) : connect_to(&d->to[i]);
    give(d->fds[i], fd);
    if (fd >= 0) {
        close(fd);
    }
}

void dialler_close(struct dialler *d)
{
    for (size_t i = 0; i < d->n; i++) {
        close(d->fds[i]);
    }
    d->n = 0;
}
