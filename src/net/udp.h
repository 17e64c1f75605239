/*
 * udp - datagrams in batches: one recvmmsg and one sendmmsg for up to UDP_BATCH of them.
 *
 * On a socket bound to all addresses an answer leaves from the address that its peer last spoke to.
 * A datagram to everybody is dropped, and so is one to a group unless the socket has joined some by
 * rule: each answer of many would go to an address that nobody has proven. SPEC: RFC7252 8.1
 */
#ifndef NET_UDP_H
#define NET_UDP_H

#include "net/peer.h"

enum {
    UDP_BATCH = 32,
    UDP_DATAGRAM_MAX = 2048 /* longer ones are dropped and counted: nothing we speak needs them */
};

struct udp;

struct udp_datagram {
    struct net_peer peer;
    bool is_for_group;  /* it came to a multicast group */
    struct slice bytes; /* borrowed from the udp until the next udp_recv */
};

struct udp_counts {
    uint64_t received, sent;
    uint64_t dropped_in;  /* too long, not from an IP address, or not to one address of ours */
    uint64_t dropped_out; /* the socket took no more, or the network was unreachable */
};

/* udp_new - takes fd (bound or connected, non-blocking), also on error; gives. ERR_NOMEM, ERR_IO.
 */
MUST_USE enum err udp_new(int fd, struct udp **ret);
struct udp *udp_free(struct udp *u);
int udp_fd(const struct udp *u);
/* udp_hear_groups - what comes to a multicast group is given on from here on. */
void udp_hear_groups(struct udp *u);

/* udp_recv - one system call. *ret borrows an array of *ret_n datagrams (0: nothing is there).
 * ERR_IO. On a connected socket ERR_CLOSED: the other side refuses. */
MUST_USE enum err udp_recv(struct udp *u, const struct udp_datagram **ret, size_t *ret_n);

/* udp_send - queues a copy; sends the batch when it is full. A datagram that cannot leave is
 * dropped and counted, as the network does: the protocols above repeat. ERR_TOO_LARGE. */
MUST_USE enum err udp_send(struct udp *u, const struct net_peer *to, struct slice bytes);
/* udp_flush - sends what is queued; once at the end of a turn. */
void udp_flush(struct udp *u);

const struct udp_counts *udp_counts(const struct udp *u);

#endif
