/*
 * network - networks in CIDR form, lists of them, and which addresses are nobody's own network.
 *
 * As in net/peer.h an IPv4 address is a mapped IPv6 address. An IPv4 peer matches IPv4 networks
 * only: ::/0 is every IPv6 address and no IPv4 address.
 */
#ifndef NET_NETWORK_H
#define NET_NETWORK_H

#include "net/peer.h"

enum {
    NET_NETWORKS_MAX = 16, /* in one list */
    /* "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128" and a NUL, with room to spare */
    NET_NETWORK_TEXT_BYTES = 56
};

struct net_network {
    uint8_t address[16]; /* no bit behind `bits` is set */
    uint8_t bits;        /* 0 to 128; of IPv4 96 to 128 */
};

struct net_networks {
    struct net_network at[NET_NETWORKS_MAX];
    size_t n; /* 0: no rule, everybody */
};

/*
 * net_network_parse - "10.0.0.0/8", "fd00::/8", or one address without a length
 *
 * "::ffff:10.0.0.0/104" is 10.0.0.0/8. Numbers only, no leading zeros in the length.
 *
 * ret_is_exact  false: bits behind the length were set and are cleared in *ret ("10.0.0.1/8"): one
 *               of the two is a typing error.
 *
 * ERR_MALFORMED
 */
MUST_USE enum err net_network_parse(struct slice text, bool *ret_is_exact, struct net_network *ret);

/* net_network_text - as net_network_parse reads it, NUL-terminated: "10.0.0.0/8", "fd00::/8". */
void net_network_text(const struct net_network *n, char dst[NET_NETWORK_TEXT_BYTES]);
/* net_networks_text - the list with ", " between; what has no room is counted: "..., and 3 more".
 * Always NUL-terminated; cap is at least 32. */
void net_networks_text(const struct net_networks *list, char *dst, size_t cap);

bool net_network_contains(const struct net_network *n, const struct net_peer *p);
/* net_networks_allow - true for a list without networks. O(n). */
bool net_networks_allow(const struct net_networks *list, const struct net_peer *p);

/* net_peer_is_public - whether the address is outside all that a site may use for itself: loopback,
 * private use, link-local, unique local, the shared space between a provider and its customers.
 * Documentation, reserved and translated addresses count as public: nobody's own network has them.
 */
bool net_peer_is_public(const struct net_peer *p);

#endif
