/*
 * peer - the address and port of somebody on the network, in one compact form.
 *
 * IPv4 is kept as a mapped IPv6 address, so that an address compares equal whatever the family of
 * the socket it came in on. All bytes of the struct are significant: it is a map key as it is.
 */
#ifndef NET_PEER_H
#define NET_PEER_H

#include <sys/socket.h>

#include "base/err.h"
#include "base/slice.h"

struct net_peer {
    uint8_t address[16]; /* ::ffff:a.b.c.d for IPv4 */
    uint32_t scope;      /* interface of a link-local address, else 0 */
    uint32_t port;       /* 0 to 65535 */
};

/* The key of address-based limits: /24 of IPv4 (still mapped), /56 of IPv6. */
struct net_prefix {
    uint8_t bytes[16];
};

/* "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535" and a NUL */
enum { NET_PEER_TEXT_BYTES = 56 };

/* net_peer_parse - "127.0.0.1:8883", "[::1]:0". Numbers only: no names, no scope, no leading zeros
 * in the port. ERR_MALFORMED. */
MUST_USE enum err net_peer_parse(struct slice text, struct net_peer *ret);

/* net_peer_from - out of what accept or recvmsg gave. ERR_UNSUPPORTED when it is not IP. */
MUST_USE enum err net_peer_from(const struct sockaddr_storage *from, struct net_peer *ret);

/* net_peer_to - for a socket of `family` (AF_INET or AF_INET6); returns the length used.
 * ERR_UNSUPPORTED: an IPv6 address on an IPv4 socket. */
MUST_USE enum err net_peer_to(const struct net_peer *p, int family, struct sockaddr_storage *to,
                              socklen_t *ret_n);

/* net_peer_text - address and port, NUL-terminated: "192.0.2.1:1234", "[2001:db8::1]:1234". */
void net_peer_text(const struct net_peer *p, char dst[NET_PEER_TEXT_BYTES]);

/* net_prefix_text - "192.0.2.0/24", "2001:db8::/56". */
void net_prefix_text(const struct net_prefix *p, char dst[NET_PEER_TEXT_BYTES]);

bool net_peer_is_v4(const struct net_peer *p);
bool net_peer_is_loopback(const struct net_peer *p);
/* net_peer_is_multicast - an address of a group, or of everybody on the link. */
bool net_peer_is_multicast(const struct net_peer *p);
bool net_peer_equal(const struct net_peer *a, const struct net_peer *b);
struct net_prefix net_peer_prefix(const struct net_peer *p);

/* net_peer_key - the struct as a map key; borrows. */
static inline struct slice net_peer_key(const struct net_peer *p)
{
    return slice_of(p, sizeof(*p));
}

#endif
