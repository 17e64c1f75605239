#include "net/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/siphash.h"

enum { ROUTES = 4096 }; /* a power of two */

/* Which of our addresses a peer speaks to. On a socket bound to all of them the answer must leave
 * from that one, or a peer that connected its socket drops it. The table forgets the older of two
 * peers that meet in one place; then the kernel chooses. */
struct route {
    struct net_peer peer;
    struct net_peer ours; /* port unused */
    bool known;
};

struct packet {
    struct sockaddr_storage address;
    struct iovec part;
    _Alignas(struct cmsghdr) uint8_t
        control[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
    uint8_t bytes[UDP_DATAGRAM_MAX];
};

struct udp {
    int fd;
    int family;
    bool any; /* bound to all addresses: routes are kept */
    bool hears_groups;
    size_t n_stale; /* of in_headers, from the front: those that the last recvmmsg has touched */
    size_t n_out;
    struct udp_counts counts;
    struct siphash_key key;
    struct route *routes;
    struct udp_datagram datagrams[UDP_BATCH];
    struct mmsghdr in_headers[UDP_BATCH], out_headers[UDP_BATCH];
    struct packet in[UDP_BATCH], out[UDP_BATCH];
};

AUTOFREE(udp, udp_free)

/* Asks for the address that each datagram came to, when it can be more than one. */
static enum err watch_routes(struct udp *u, const struct sockaddr_storage *at)
{
    static const uint8_t zeros[16] = {0};
    struct net_peer bound;
    int one = 1;
    struct random_source random = random_system();
    TRY(net_peer_from(at, &bound));
    u->any = net_peer_is_v4(&bound) ? memcmp(&bound.address[12], zeros, 4) == 0
                                    : memcmp(bound.address, zeros, sizeof(zeros)) == 0;
    if (!u->any) {
        return OK;
    }
    bool v6 = u->family == AF_INET6;
    if (setsockopt(u->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &one,
                   sizeof(one)) != 0) {
        return ERR_IO;
    }
    /* A socket of both families says of IPv4 only here whether everybody was meant. */
    if (v6 && setsockopt(u->fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)) != 0) {
        return ERR_IO;
    }
    random.fill(random.ctx, &u->key, sizeof(u->key));
    u->routes = mem_array(ROUTES, sizeof(*u->routes));
    return u->routes != NULL ? OK : ERR_NOMEM;
}

static struct route *route_of(struct udp *u, const struct net_peer *peer)
{
    return &u->routes[siphash(&u->key, net_peer_key(peer)) & (ROUTES - 1)];
}

/* What the kernel says of where a datagram went. */
struct arrival {
    bool is_known;
    bool is_for_many; /* a group, or everybody on a network */
    bool is_for_group;
    struct sockaddr_storage at;
};

static struct arrival arrival_of(struct msghdr *m)
{
    struct arrival a = {.is_known = false};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = info.ipi6_addr};
            memcpy(&a.at, &in6, sizeof(in6));
            a.is_known = true;
            a.is_for_group = a.is_for_group || IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = info.ipi_spec_dst};
            memcpy(&a.at, &in, sizeof(in));
            a.is_known = true;
            /* What went to one address of ours says the same twice. */
            a.is_for_many = a.is_for_many || info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
            a.is_for_group = a.is_for_group || IN_MULTICAST(ntohl(info.ipi_addr.s_addr));
        }
    }
    a.is_for_many = a.is_for_many || a.is_for_group;
    return a;
}

static void remember_route(struct udp *u, const struct arrival *a, const struct net_peer *peer)
{
    struct net_peer ours;
    if (a->is_known && net_peer_from(&a->at, &ours) == OK) {
        *route_of(u, peer) = (struct route){.peer = *peer, .ours = ours, .known = true};
    }
}

static void add_control(struct msghdr *m, struct packet *p, int level, int type,
                        struct slice contents)
{
    m->msg_control = p->control;
    m->msg_controllen = CMSG_SPACE(contents.n);
    memset(p->control, 0, sizeof(p->control));
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(contents.n);
    memcpy(CMSG_DATA(c), contents.p, contents.n);
}

static void follow_route(struct udp *u, struct msghdr *m, struct packet *p,
                         const struct net_peer *peer)
{
    const struct route *r = u->any ? route_of(u, peer) : NULL;
    if (r == NULL || !r->known || !net_peer_equal(&r->peer, peer)) {
        return;
    }
    if (u->family == AF_INET6) {
        struct in6_pktinfo info = {.ipi6_ifindex = r->peer.scope};
        memcpy(&info.ipi6_addr, r->ours.address, sizeof(info.ipi6_addr));
        add_control(m, p, IPPROTO_IPV6, IPV6_PKTINFO, slice_of(&info, sizeof(info)));
    } else {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, &r->ours.address[12], sizeof(info.ipi_spec_dst));
        add_control(m, p, IPPROTO_IP, IP_PKTINFO, slice_of(&info, sizeof(info)));
    }
}

enum err udp_new(int fd, struct udp **ret)
{
    AUTO(udp_autofree) struct udp *u = mem_zalloc(sizeof(*u));
    if (u == NULL) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    u->fd = fd;
    u->n_stale = UDP_BATCH;
    struct sockaddr_storage at = {0};
    socklen_t n = sizeof(at);
    if (getsockname(fd, (struct sockaddr *)&at, &n) != 0) {
        return ERR_IO;
    }
    u->family = at.ss_family;
    TRY(watch_routes(u, &at));
    *ret = TAKE(u);
    return OK;
}

struct udp *udp_free(struct udp *u)
{
    if (u != NULL) {
        (void)close(u->fd);
        (void)mem_free(u->routes);
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

/* Most turns bring a few datagrams: only what the last one filled is made ready again. */
static void prepare_in(struct udp *u)
{
    for (size_t i = 0; i < u->n_stale; i++) {
        prepare(&u->in_headers[i], &u->in[i], UDP_DATAGRAM_MAX, sizeof(u->in[i].address));
        if (u->any) {
            u->in_headers[i].msg_hdr.msg_control = u->in[i].control;
            u->in_headers[i].msg_hdr.msg_controllen = sizeof(u->in[i].control);
        }
    }
    u->n_stale = 0;
}

enum err udp_recv(struct udp *u, const struct udp_datagram **ret, size_t *ret_n)
{
    prepare_in(u);
    int n = recvmmsg(u->fd, u->in_headers, UDP_BATCH, MSG_DONTWAIT, NULL);
    u->n_stale = n <= 0 ? 1 : n < UDP_BATCH ? (size_t)n + 1 : UDP_BATCH;
    if (n < 0 && errno == ECONNREFUSED) {
        return ERR_CLOSED;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        return ERR_IO;
    }
    size_t n_good = 0;
    for (int i = 0; i < n; i++) {
        struct mmsghdr *header = &u->in_headers[i];
        struct udp_datagram *d = &u->datagrams[n_good];
        struct arrival a = u->any ? arrival_of(&header->msg_hdr) : (struct arrival){0};
        bool is_heard = !a.is_for_many || (a.is_for_group && u->hears_groups);
        if ((header->msg_hdr.msg_flags & MSG_TRUNC) != 0 || !is_heard ||
            net_peer_from(&u->in[i].address, &d->peer) != OK) {
            u->counts.dropped_in++;
            continue;
        }
        d->bytes = slice_of(u->in[i].bytes, header->msg_len);
        d->is_for_group = a.is_for_group;
        if (!a.is_for_group) { /* an answer leaves from an address of ours */
            remember_route(u, &a, &d->peer);
        }
        n_good++;
    }
    u->counts.received += n_good;
    *ret = u->datagrams;
    *ret_n = n_good;
    return OK;
}

void udp_hear_groups(struct udp *u)
{
    u->hears_groups = true;
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
    slice_copy(p->bytes, bytes);
    prepare(&u->out_headers[u->n_out], p, bytes.n, n_address);
    follow_route(u, &u->out_headers[u->n_out].msg_hdr, p, to);
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
