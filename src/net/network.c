#include "net/network.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/rd.h"

enum { V4_BASE = 96 /* bits of the mapped form before an IPv4 address */ };

/* Bits of the last byte that the network covers. */
static uint8_t edge_mask(unsigned bits)
{
    return (uint8_t)(0xff00U >> (bits % 8));
}

static bool is_v4(const struct net_network *n)
{
    struct net_peer p = {0};
    memcpy(p.address, n->address, sizeof(p.address));
    return n->bits >= V4_BASE && net_peer_is_v4(&p);
}

static enum err length_parse(struct slice text, unsigned most, unsigned *ret)
{
    struct rd r = rd_from(text);
    unsigned n = 0;
    if (text.n == 0 || text.n > 3 || (text.n > 1 && text.p[0] == '0')) {
        return ERR_MALFORMED;
    }
    while (rd_left(&r) > 0) {
        uint8_t digit = rd_u8(&r);
        if (digit < '0' || digit > '9') {
            return ERR_MALFORMED;
        }
        n = n * 10 + (unsigned)(digit - '0');
    }
    if (n > most) {
        return ERR_MALFORMED;
    }
    *ret = n;
    return OK;
}

/* Clears what is behind the length; false when something was there. */
static bool cut(struct net_network *n)
{
    bool is_exact = true;
    for (unsigned i = n->bits / 8; i < sizeof(n->address); i++) {
        uint8_t mask = i == n->bits / 8U ? edge_mask(n->bits) : 0;
        is_exact = is_exact && (n->address[i] & ~mask) == 0;
        n->address[i] &= mask;
    }
    return is_exact;
}

enum err net_network_parse(struct slice text, bool *ret_is_exact, struct net_network *ret)
{
    struct net_network n = {0};
    char host[INET6_ADDRSTRLEN];
    bool has_length = false;
    struct slice length = text;
    struct slice address = slice_cut(&length, '/', &has_length);
    if (!slice_to_text(address, host, sizeof(host))) {
        return ERR_MALFORMED;
    }
    unsigned base = 0;
    if (inet_pton(AF_INET, host, &n.address[V4_BASE / 8]) == 1) {
        n.address[10] = n.address[11] = 0xff;
        base = V4_BASE;
    } else if (inet_pton(AF_INET6, host, n.address) != 1) {
        return ERR_MALFORMED;
    }
    unsigned bits = 128 - base;
    if (has_length) {
        TRY(length_parse(length, 128 - base, &bits));
    }
    n.bits = (uint8_t)(base + bits);
    *ret_is_exact = cut(&n);
    *ret = n;
    return OK;
}

void net_network_text(const struct net_network *n, char dst[NET_NETWORK_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool v4 = is_v4(n);
    (void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &n->address[V4_BASE / 8] : n->address, host,
                    sizeof(host));
    (void)snprintf(dst, NET_NETWORK_TEXT_BYTES, "%s/%u", host,
                   (unsigned)n->bits - (v4 ? V4_BASE : 0U));
}

void net_networks_text(const struct net_networks *list, char *dst, size_t cap)
{
    enum { MORE_BYTES = 16 /* ", and 16 more" and a NUL */ };
    size_t at = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < list->n; i++) {
        char one[NET_NETWORK_TEXT_BYTES];
        net_network_text(&list->at[i], one);
        size_t reserve = i + 1 < list->n ? MORE_BYTES : 1;
        if (at + 2 + strlen(one) + reserve > cap) {
            (void)snprintf(dst + at, cap - at, "%s%zu more", at > 0 ? ", and " : "", list->n - i);
            return;
        }
        at += (size_t)snprintf(dst + at, cap - at, "%s%s", at > 0 ? ", " : "", one);
    }
}

bool net_network_contains(const struct net_network *n, const struct net_peer *p)
{
    size_t whole = n->bits / 8;
    if (net_peer_is_v4(p) != is_v4(n) || memcmp(n->address, p->address, whole) != 0) {
        return false;
    }
    return n->bits % 8 == 0 || ((n->address[whole] ^ p->address[whole]) & edge_mask(n->bits)) == 0;
}

bool net_networks_allow(const struct net_networks *list, const struct net_peer *p)
{
    for (size_t i = 0; i < list->n; i++) {
        if (net_network_contains(&list->at[i], p)) {
            return true;
        }
    }
    return list->n == 0;
}

#define V4(a, b, c, d)                                                                             \
    {                                                                                              \
        [10] = 0xff, [11] = 0xff, [12] = (a), [13] = (b), [14] = (c), [15] = (d)                   \
    }

bool net_peer_is_public(const struct net_peer *p)
{
    static const struct net_network own[] = {
        {V4(10, 0, 0, 0), V4_BASE + 8},     /* private use: RFC 1918, 3 */
        {V4(172, 16, 0, 0), V4_BASE + 12},  /* private use: RFC 1918, 3 */
        {V4(192, 168, 0, 0), V4_BASE + 16}, /* private use: RFC 1918, 3 */
        {V4(100, 64, 0, 0), V4_BASE + 10},  /* shared with the provider: RFC 6598, 7 */
        {V4(127, 0, 0, 0), V4_BASE + 8},    /* loopback: RFC 1122, 3.2.1.3 (g) */
        {V4(169, 254, 0, 0), V4_BASE + 16}, /* link-local: RFC 3927, 2.1 */
        {{[15] = 1}, 128},                  /* loopback: RFC 4291, 2.5.3 */
        {{0xfe, 0x80}, 10},                 /* link-local: RFC 4291, 2.5.6 */
        {{0xfc}, 7},                        /* unique local: RFC 4193, 3.1 */
    };
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (net_network_contains(&own[i], p)) {
            return false;
        }
    }
    return true;
}
