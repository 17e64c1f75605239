/*
 * multicast - which IP multicast groups a socket of datagrams hears: those of a rule, on the
 * interfaces of that rule, and no others.
 */
#ifndef NET_MULTICAST_H
#define NET_MULTICAST_H

#include <net/if.h>

#include "net/peer.h"

enum {
    NET_MULTICAST_GROUPS_MAX = 8,
    NET_MULTICAST_INTERFACES_MAX = 8,
    NET_MULTICAST_TEXT_BYTES = 160
};

struct net_multicast {
    struct net_peer groups[NET_MULTICAST_GROUPS_MAX]; /* without port and scope */
    char interfaces[NET_MULTICAST_INTERFACES_MAX][IF_NAMESIZE];
    size_t n_groups, n_interfaces; /* 0: nothing is heard */
};

/* net_multicast_group_parse - "224.0.1.187", "ff02::fd", "[ff02::fd]". ERR_MALFORMED: no address;
 * ERR_DENIED: not one of a group. */
MUST_USE enum err net_multicast_group_parse(struct slice text, struct net_peer *ret);
bool net_multicast_equal(const struct net_multicast *a, const struct net_multicast *b);
/* net_multicast_text - "224.0.1.187, ff02::fd on eth0"; cut where it does not fit. */
void net_multicast_text(const struct net_multicast *m, char dst[NET_MULTICAST_TEXT_BYTES]);

/*
 * net_multicast_join - fd hears all groups on all interfaces; bound to all addresses, or the kernel
 * brings it nothing. A group of IPv6 needs a socket of IPv6. Of several sockets of one port each
 * that joins hears each datagram: let one join.
 *
 * ERR_NOT_FOUND  *ret_what is an interface that is not there
 * ERR_IO         *ret_what is the interface where it failed; errno says how
 * What was joined before stays.
 */
MUST_USE enum err net_multicast_join(int fd, const struct net_multicast *m, const char **ret_what);

#endif
