#include "net/multicast.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "base/wr.h"

enum { ADDRESS_TEXT_BYTES = 64, V4_AT = 12 };

enum err net_multicast_group_parse(struct slice text, struct net_peer *ret)
{
    bool is_bracketed = text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']';
    char address[ADDRESS_TEXT_BYTES], whole[ADDRESS_TEXT_BYTES + 8];
    if (is_bracketed) {
        text = slice_from(slice_head(text, text.n - 1), 1);
    }
    if (!slice_to_text(text, address, sizeof(address))) {
        return ERR_MALFORMED;
    }
    bool is_v6 = slice_find(text, ':') < text.n;
    (void)snprintf(whole, sizeof(whole), is_v6 ? "[%s]:0" : "%s:0", address);
    struct net_peer p;
    TRY(net_peer_parse(slice_text(whole), &p));
    bool is_everybody = net_peer_is_v4(&p) && p.address[V4_AT] == 0xff;
    if (!net_peer_is_multicast(&p) || is_everybody) {
        return ERR_DENIED;
    }
    *ret = p;
    return OK;
}

bool net_multicast_equal(const struct net_multicast *a, const struct net_multicast *b)
{
    bool is_same = a->n_groups == b->n_groups && a->n_interfaces == b->n_interfaces;
    for (size_t i = 0; is_same && i < a->n_groups; i++) {
        is_same = net_peer_equal(&a->groups[i], &b->groups[i]);
    }
    for (size_t i = 0; is_same && i < a->n_interfaces; i++) {
        is_same = strcmp(a->interfaces[i], b->interfaces[i]) == 0;
    }
    return is_same;
}

static void address_text(const struct net_peer *p, char dst[ADDRESS_TEXT_BYTES])
{
    bool is_v4 = net_peer_is_v4(p);
    if (inet_ntop(is_v4 ? AF_INET : AF_INET6, &p->address[is_v4 ? V4_AT : 0], dst,
                  ADDRESS_TEXT_BYTES) == NULL) {
        dst[0] = '\0';
    }
}

void net_multicast_text(const struct net_multicast *m, char dst[NET_MULTICAST_TEXT_BYTES])
{
    char address[ADDRESS_TEXT_BYTES];
    size_t at = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < m->n_groups + m->n_interfaces && at < NET_MULTICAST_TEXT_BYTES; i++) {
        bool is_group = i < m->n_groups;
        const char *word = is_group ? address : m->interfaces[i - m->n_groups];
        if (is_group) {
            address_text(&m->groups[i], address);
        }
        int n = snprintf(dst + at, NET_MULTICAST_TEXT_BYTES - at, "%s%s",
                         i == 0             ? ""
                         : i == m->n_groups ? " on "
                                            : ", ",
                         word);
        at += n > 0 ? (size_t)n : 0;
    }
}

static enum err join(int fd, const struct net_peer *group, unsigned interface)
{
    int result;
    if (net_peer_is_v4(group)) {
        struct ip_mreqn v4 = {.imr_ifindex = (int)interface};
        memcpy(&v4.imr_multiaddr, &group->address[V4_AT], sizeof(v4.imr_multiaddr));
        result = setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &v4, sizeof(v4));
    } else {
        struct ipv6_mreq v6 = {.ipv6mr_interface = interface};
        memcpy(&v6.ipv6mr_multiaddr, group->address, sizeof(v6.ipv6mr_multiaddr));
        result = setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &v6, sizeof(v6));
    }
    return result == 0 || errno == EADDRINUSE ? OK : ERR_IO;
}

enum err net_multicast_join(int fd, const struct net_multicast *m, const char **ret_what)
{
    for (size_t i = 0; i < m->n_interfaces; i++) {
        *ret_what = m->interfaces[i];
        unsigned interface = if_nametoindex(m->interfaces[i]);
        if (interface == 0) {
            return ERR_NOT_FOUND;
        }
        for (size_t k = 0; k < m->n_groups; k++) {
            TRY(join(fd, &m->groups[k], interface));
        }
    }
    return OK;
}
