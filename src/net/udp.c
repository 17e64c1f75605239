#include "net/udp.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

struct packet {
    struct sockaddr_storage address;
    struct iovec part;
    uint8_t bytes[UDP_DATAGRAM_MAX];
};

struct udp {
    int fd;
    int family;
    size_t n_out;
    struct udp_counts counts;
    struct udp_datagram datagrams[UDP_BATCH];
    struct mmsghdr in_headers[UDP_BATCH], out_headers[UDP_BATCH];
    struct packet in[UDP_BATCH], out[UDP_BATCH];
};

AUTOFREE(udp, udp_free)

enum err udp_new(int fd, struct udp **ret)
{
    AUTO(udp_autofree) struct udp *u = mem_zalloc(sizeof(*u));
    if (u == NULL) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    u->fd = fd;
    struct sockaddr_storage at = {0};
    socklen_t n = sizeof(at);
    if (getsockname(fd, (struct sockaddr *)&at, &n) != 0) {
        return ERR_IO;
    }
    u->family = at.ss_family;
    *ret = TAKE(u);
    return OK;
}

struct udp *udp_free(struct udp *u)
{
    if (u != NULL) {
        (void)close(u->fd);
    }
    return mem_free(u);
}

int udp_fd(const struct udp *u)
{
    return u->fd;
}

static void prepare(struct mmsghdr *header, struct packet *packet, size_t n_bytes,
                    socklen_t n_address)
{
    packet->part = (struct iovec){.iov_base = packet->bytes, .iov_len = n_bytes};
    *header = (struct mmsghdr){.msg_hdr = {.msg_name = &packet->address,
                                           .msg_namelen = n_address,
                                           .msg_iov = &packet->part,
                                           .msg_iovlen = 1}};
}

enum err udp_recv(struct udp *u, const struct udp_datagram **ret, size_t *ret_n)
{
    for (size_t i = 0; i < UDP_BATCH; i++) {
        prepare(&u->in_headers[i], &u->in[i], UDP_DATAGRAM_MAX, sizeof(u->in[i].address));
    }
    int n = recvmmsg(u->fd, u->in_headers, UDP_BATCH, MSG_DONTWAIT, NULL);
    if (n < 0 && errno == ECONNREFUSED) {
        return ERR_CLOSED;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        return ERR_IO;
    }
    size_t n_good = 0;
    for (int i = 0; i < n; i++) {
        const struct mmsghdr *header = &u->in_headers[i];
        struct udp_datagram *d = &u->datagrams[n_good];
        if ((header->msg_hdr.msg_flags & MSG_TRUNC) != 0 ||
            net_peer_from(&u->in[i].address, &d->peer) != OK) {
            u->counts.dropped_in++;
            continue;
        }
        d->bytes = slice_of(u->in[i].bytes, header->msg_len);
        n_good++;
    }
    u->counts.received += n_good;
    *ret = u->datagrams;
    *ret_n = n_good;
    return OK;
}

enum err udp_send(struct udp *u, const struct net_peer *to, struct slice bytes)
{
    if (bytes.n > UDP_DATAGRAM_MAX) {
        return ERR_TOO_LARGE;
    }
    struct packet *p = &u->out[u->n_out];
    socklen_t n_address = 0;
    if (net_peer_to(to, u->family, &p->address, &n_address) != OK) {
        u->counts.dropped_out++;
        return OK;
    }
    if (bytes.n > 0) {
        memcpy(p->bytes, bytes.p, bytes.n);
    }
    prepare(&u->out_headers[u->n_out], p, bytes.n, n_address);
    u->n_out++;
    if (u->n_out == UDP_BATCH) {
        udp_flush(u);
    }
    return OK;
}

void udp_flush(struct udp *u)
{
    size_t at = 0;
    while (at < u->n_out) {
        int n = sendmmsg(u->fd, &u->out_headers[at], (unsigned)(u->n_out - at), MSG_DONTWAIT);
        if (n > 0) {
            u->counts.sent += (size_t)n;
            at += (size_t)n;
        } else if (errno == EAGAIN) {
            u->counts.dropped_out += u->n_out - at; /* the socket is full: so is the network */
            at = u->n_out;
        } else if (errno != EINTR) {
            u->counts.dropped_out++; /* this address cannot be reached; the others may */
            at++;
        }
    }
    u->n_out = 0;
}

const struct udp_counts *udp_counts(const struct udp *u)
{
    return &u->counts;
}
