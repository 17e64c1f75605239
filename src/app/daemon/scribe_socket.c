#include "app/daemon/scribe_socket.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

static enum err socket_err(void)
{
    return errno == EAGAIN || errno == EINTR                            ? ERR_AGAIN
           : errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? ERR_CLOSED
                                                                        : ERR_IO;
}

static enum err socket_send(void *ctx, struct slice datagram)
{
    const int *fd = ctx;
    return send(*fd, datagram.p, datagram.n, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ? OK : socket_err();
}

static enum err socket_receive(void *ctx, unsigned wait_ms, uint8_t dst[SCRIBE_DATAGRAM_MAX],
                               size_t *ret_n)
{
    const int *fd = ctx;
    struct pollfd polled = {.fd = *fd, .events = POLLIN};
    if (wait_ms > 0 && poll(&polled, 1, (int)wait_ms) <= 0) {
        return ERR_AGAIN;
    }
    ssize_t n = recv(*fd, dst, SCRIBE_DATAGRAM_MAX, MSG_DONTWAIT);
    if (n < 0) {
        return socket_err();
    }
    if (n == 0) {
        return ERR_CLOSED;
    }
    *ret_n = (size_t)n;
    return OK;
}

struct scribe_link scribe_socket(int *fd)
{
    return (struct scribe_link){.ctx = fd, .send = socket_send, .receive = socket_receive};
}
