/*
 * listener - listening sockets: opened by the supervisor, accepted from by the workers.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/clock.h"
#include "net/loop.h"
#include "net/peer.h"

enum {
    LISTENER_BATCH = 16,     /* connections accepted in one turn */
    LISTENER_BACKLOG = 1024, /* the kernel's queue; it cuts at net.core.somaxconn */
    LISTENER_PAUSE_MS = 250, /* no accepting for so long after the descriptors ran out */
    LISTENER_SOCKETS_MAX = 64,
    UDP_RECEIVE_BYTES = 1 << 20 /* SO_RCVBUF asked for */
};

/*
 * net_listen_tcp, net_listen_udp - opens n sockets on one address, one for each worker, in worker
 * order.
 *
 * where  address and port, as net_peer_parse; port 0: the kernel picks one, the same for all.
 *        "[::]" takes IPv4 too (mapped).
 * n      1 to LISTENER_SOCKETS_MAX. With more than one, the kernel picks the socket by a hash of
 *        the peer's address and port (classic BPF), so that a peer stays with one worker and a
 *        reload of the other workers does not move it.
 * fds    gives: n non-blocking close-on-exec descriptors, written only on OK
 *
 * ERR_MALFORMED  the text is not an address
 * ERR_EXISTS     the address is in use
 * ERR_DENIED     no permission (a port below 1024, or not this host's address)
 * ERR_IO         anything else; errno says what
 */
MUST_USE enum err net_listen_tcp(struct slice where, size_t n, int *fds);
MUST_USE enum err net_listen_udp(struct slice where, size_t n, int *fds);

/* net_udp_room - bytes of SO_RCVBUF that the kernel has given this socket; 0: it does not say. With
 * less than UDP_RECEIVE_BYTES (net.core.rmem_max is lower) a burst is lost sooner. */
size_t net_udp_room(int fd);

/* net_local - the address a socket is bound to (finds the port behind ":0"). ERR_IO. */
MUST_USE enum err net_local(int fd, struct net_peer *ret);

/*
 * net_connect_tcp - a connected, non-blocking TCP socket to a host name or address; tries all
 * addresses in order within timeout_ms. Blocks: for the command line only.
 *
 * ERR_NOT_FOUND  the name does not resolve
 * ERR_CLOSED     refused everywhere
 * ERR_TIMEOUT    no answer in time
 * ERR_IO         anything else
 */
MUST_USE enum err net_connect_tcp(const char *host, uint16_t port, int timeout_ms, int *ret_fd);
/* net_connect_tcp_from - the same from this address of ours (or name of one). ERR_CONFIG: it is
 * none of this machine's, or of another family than the server's. */
MUST_USE enum err net_connect_tcp_from(const char *host, uint16_t port, const char *from,
                                       int timeout_ms, int *ret_fd);
/* net_connect_udp - the same for a connected UDP socket (first address that the host can reach). */
MUST_USE enum err net_connect_udp(const char *host, uint16_t port, int *ret_fd);
/* net_connect_udp_from - the same as net_connect_tcp_from; NULL: any of ours. */
MUST_USE enum err net_connect_udp_from(const char *host, uint16_t port, const char *from,
                                       int *ret_fd);

/* net_reset - closes a connection at once: the client sees a reset, nothing of it stays here. */
void net_reset(int fd);

struct listener;

struct listener_handler {
    void *ctx;
    /* takes fd (non-blocking, TCP_NODELAY); borrows peer. */
    void (*accepted)(void *ctx, int fd, const struct net_peer *peer);
};

/* What happened since the start; read them for metrics. */
struct listener_counts {
    uint64_t accepted;
    uint64_t shed;   /* accepted and closed at once because the descriptors had run out */
    uint64_t pauses; /* times accepting paused */
};

/* listener_new - takes fd, which listens already; gives. Borrows clock and loop for its life.
 * ERR_NOMEM, ERR_IO; fd is closed then. */
MUST_USE enum err listener_new(int fd, struct loop *loop, const struct clock *clock,
                               const struct listener_handler *handler, struct listener **ret);
struct listener *listener_free(struct listener *l);

/* listener_pause, listener_resume - the worker stops accepting (memory ceiling, shutdown). */
void listener_pause(struct listener *l);
void listener_resume(struct listener *l);

/* listener_deadline - when listener_tick has something to do; UINT64_MAX: never. */
uint64_t listener_deadline(const struct listener *l);
/* listener_tick - goes on accepting when the pause after running out of descriptors is over. */
void listener_tick(struct listener *l, uint64_t now_ms);

const struct listener_counts *listener_counts(const struct listener *l);

#endif
