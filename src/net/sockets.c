/* The opening of sockets: net_listen_*, net_connect_*, net_local of listener.h. */
#include <errno.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include "base/scope.h"
#include "net/listener.h"

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

static int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

static enum err err_of_errno(void)
{
    switch (errno) {
    case EADDRINUSE:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EADDRNOTAVAIL:
        return ERR_DENIED;
    case ECONNREFUSED:
    case ECONNRESET:
        return ERR_CLOSED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

enum {
    ETHERTYPE_OF_IPV6 = 0x86dd,
    IPV4_SOURCE = 12,
    IPV6_SOURCE = 8,
    IPV6_HEADER = 40,
    FILTER_LENGTH = 23
};

#define AT_NETWORK(offset) ((uint32_t)(SKF_NET_OFF + (offset)))
#define AT_EXTRA(what)     ((uint32_t)(SKF_AD_OFF + (what)))

/*
 * The kernel runs this on the first packet of a connection and on every datagram, to pick one of n
 * sockets: a mix of source address and source port, modulo n. The reads go through the network
 * header, because the packet's own start is the payload here, and the kernel's receive hash is
 * absent on loopback and changes with the network card's settings. A result beyond n, or a packet
 * too short, falls back to the kernel's own choice.
 */
static enum err pick_by_peer(int fd, size_t n)
{
    const uint32_t golden = 0x9e3779b1;
    struct sock_filter code[FILTER_LENGTH] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_EXTRA(SKF_AD_PROTOCOL)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_OF_IPV6, 6, 0),
        /* IPv4: the header's length varies */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_NETWORK(IPV4_SOURCE)),
        BPF_STMT(BPF_ST, 0),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, AT_NETWORK(0)),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, AT_NETWORK(0)),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_JMP | BPF_JA, 7),
        /* IPv6 */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_NETWORK(IPV6_SOURCE + 4)),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_NETWORK(IPV6_SOURCE + 12)),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_ST, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, AT_NETWORK(IPV6_HEADER)),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        /* X = port, M[0] = address */
        BPF_STMT(BPF_LD | BPF_MEM, 0),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, golden),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, golden),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, (uint32_t)n),
        BPF_STMT(BPF_RET | BPF_A, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = FILTER_LENGTH, .filter = code};
    int result = setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program));
    return result == 0 ? OK : err_of_errno();
}

static enum err set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? OK : err_of_errno();
}

static enum err open_one(const struct net_peer *at, int type, bool shared, int *ret_fd)
{
    int family = net_peer_is_v4(at) ? AF_INET : AF_INET6;
    AUTO(close_fd) int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_of_errno();
    }
    if (family == AF_INET6) {
        TRY(set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0));
    }
    if (shared) {
        TRY(set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1));
    }
    if (type == SOCK_STREAM) {
        TRY(set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1)); /* a restart meets TIME_WAIT */
    } else {
        TRY(set_option(fd, SOL_SOCKET, SO_RCVBUF, UDP_RECEIVE_BYTES));
        /* Groups that others on this machine have joined are none of ours; by default a socket
         * bound to all addresses hears them. SPEC: RFC7252 8.1 */
        TRY(set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0));
        if (family == AF_INET6) {
            TRY(set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0));
        }
    }
    struct sockaddr_storage to;
    socklen_t n = 0;
    TRY(net_peer_to(at, family, &to, &n));
    if (bind(fd, (const struct sockaddr *)&to, n) != 0) {
        return err_of_errno();
    }
    if (type == SOCK_STREAM && listen(fd, LISTENER_BACKLOG) != 0) {
        return err_of_errno();
    }
    *ret_fd = take_fd(&fd);
    return OK;
}

static enum err open_all(struct net_peer at, int type, size_t n, int *opened, size_t *n_opened)
{
    for (size_t i = 0; i < n; i++) {
        TRY(open_one(&at, type, n > 1, &opened[i]));
        *n_opened = i + 1;
        if (at.port == 0) {
            TRY(net_local(opened[i], &at));
        }
    }
    return n > 1 ? pick_by_peer(opened[0], n) : OK;
}

static enum err listen_on(struct slice where, int type, size_t n, int *fds)
{
    if (n == 0 || n > LISTENER_SOCKETS_MAX) {
        return ERR_MALFORMED;
    }
    struct net_peer at;
    TRY(net_peer_parse(where, &at));
    int opened[LISTENER_SOCKETS_MAX];
    size_t n_opened = 0;
    enum err e = open_all(at, type, n, opened, &n_opened);
    if (e != OK) {
        int why = errno;
        for (size_t i = 0; i < n_opened; i++) {
            (void)close(opened[i]);
        }
        errno = why;
        return e;
    }
    memcpy(fds, opened, n * sizeof(opened[0]));
    return OK;
}

enum err net_listen_tcp(struct slice where, size_t n, int *fds)
{
    return listen_on(where, SOCK_STREAM, n, fds);
}

enum err net_listen_udp(struct slice where, size_t n, int *fds)
{
    return listen_on(where, SOCK_DGRAM, n, fds);
}

size_t net_udp_room(int fd)
{
    int given = 0;
    socklen_t n = sizeof(given);
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &given, &n) != 0 || given < 0) {
        return 0;
    }
    return (size_t)given / 2; /* the kernel doubles what it is asked for, and says so */
}

enum err net_local(int fd, struct net_peer *ret)
{
    struct sockaddr_storage at = {0};
    socklen_t n = sizeof(at);
    if (getsockname(fd, (struct sockaddr *)&at, &n) != 0) {
        return ERR_IO;
    }
    return net_peer_from(&at, ret) == OK ? OK : ERR_IO;
}

static void free_addresses(struct addrinfo **list)
{
    if (*list != NULL) {
        freeaddrinfo(*list);
    }
}

static enum err resolve(const char *host, uint16_t port, int type, struct addrinfo **ret)
{
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    struct addrinfo hints = {.ai_socktype = type, .ai_flags = AI_NUMERICSERV};
    return getaddrinfo(host, service, &hints, ret) == 0 ? OK : ERR_NOT_FOUND;
}

/* A local address of the same family. */
static enum err bind_from(int fd, const struct addrinfo *to, const char *from)
{
    AUTO(free_addresses) struct addrinfo *list = NULL;
    struct addrinfo hints = {.ai_family = to->ai_family, .ai_socktype = to->ai_socktype};
    if (getaddrinfo(from, NULL, &hints, &list) != 0 ||
        bind(fd, list->ai_addr, list->ai_addrlen) != 0) {
        return ERR_CONFIG;
    }
    return OK;
}

/* connect(2), waited for. */
static enum err connect_one(const struct addrinfo *a, const char *from, int timeout_ms, int *ret_fd)
{
    int type = a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK;
    AUTO(close_fd) int fd = socket(a->ai_family, type, a->ai_protocol);
    if (fd < 0) {
        return err_of_errno();
    }
    if (from != NULL) {
        TRY(bind_from(fd, a, from));
    }
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        if (errno != EINPROGRESS) {
            return err_of_errno();
        }
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int n = poll(&p, 1, timeout_ms);
        if (n <= 0) {
            return n == 0 ? ERR_TIMEOUT : ERR_IO;
        }
        int failure = 0;
        socklen_t size = sizeof(failure);
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0) {
            return ERR_IO;
        }
        if (failure != 0) {
            errno = failure;
            return err_of_errno();
        }
    }
    if (a->ai_socktype == SOCK_STREAM) {
        TRY(set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1));
    }
    *ret_fd = take_fd(&fd);
    return OK;
}

static enum err connect_any(const char *host, uint16_t port, int type, const char *from,
                            int timeout_ms, int *ret_fd)
{
    AUTO(free_addresses) struct addrinfo *list = NULL;
    TRY(resolve(host, port, type, &list));
    enum err last = ERR_NOT_FOUND;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        last = connect_one(a, from, timeout_ms, ret_fd);
        if (last == OK) {
            return OK;
        }
    }
    return last;
}

enum err net_connect_tcp(const char *host, uint16_t port, int timeout_ms, int *ret_fd)
{
    return connect_any(host, port, SOCK_STREAM, NULL, timeout_ms, ret_fd);
}

enum err net_connect_tcp_from(const char *host, uint16_t port, const char *from, int timeout_ms,
                              int *ret_fd)
{
    return connect_any(host, port, SOCK_STREAM, from, timeout_ms, ret_fd);
}

enum err net_connect_udp(const char *host, uint16_t port, int *ret_fd)
{
    return net_connect_udp_from(host, port, NULL, ret_fd);
}

enum err net_connect_udp_from(const char *host, uint16_t port, const char *from, int *ret_fd)
{
    return connect_any(host, port, SOCK_DGRAM, from, 0, ret_fd);
}
