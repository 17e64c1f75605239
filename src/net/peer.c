#include "net/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/rd.h"

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static enum err port_parse(struct slice s, uint32_t *ret)
{
    if (s.n == 0 || s.n > 5 || (s.n > 1 && s.p[0] == '0')) {
        return ERR_MALFORMED;
    }
    uint32_t port = 0;
    struct rd r = rd_from(s);
    while (rd_left(&r) > 0) {
        uint8_t digit = rd_u8(&r);
        if (digit < '0' || digit > '9') {
            return ERR_MALFORMED;
        }
        port = port * 10 + (uint32_t)(digit - '0');
    }
    if (port > UINT16_MAX) {
        return ERR_MALFORMED;
    }
    *ret = port;
    return OK;
}

static void set_v4(struct net_peer *p, const void *four_bytes)
{
    memcpy(p->address, mapped, sizeof(mapped));
    memcpy(&p->address[12], four_bytes, 4);
}

enum err net_peer_parse(struct slice text, struct net_peer *ret)
{
    struct net_peer p = {0};
    char host[INET6_ADDRSTRLEN];
    bool more = false;
    bool v6 = text.n > 0 && text.p[0] == '[';
    struct slice rest = v6 ? slice_from(text, 1) : text;
    struct slice address = slice_cut(&rest, v6 ? ']' : ':', &more);
    if (!more || !slice_to_text(address, host, sizeof(host))) {
        return ERR_MALFORMED;
    }
    if (v6) {
        if (rest.n == 0 || rest.p[0] != ':' || inet_pton(AF_INET6, host, p.address) != 1) {
            return ERR_MALFORMED;
        }
        rest = slice_from(rest, 1);
    } else {
        struct in_addr four;
        if (inet_pton(AF_INET, host, &four) != 1) {
            return ERR_MALFORMED;
        }
        set_v4(&p, &four);
    }
    TRY(port_parse(rest, &p.port));
    *ret = p;
    return OK;
}

enum err net_peer_from(const struct sockaddr_storage *from, struct net_peer *ret)
{
    struct net_peer p = {0};
    if (from->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof(in));
        set_v4(&p, &in.sin_addr);
        p.port = ntohs(in.sin_port);
    } else if (from->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof(in6));
        memcpy(p.address, &in6.sin6_addr, sizeof(p.address));
        p.port = ntohs(in6.sin6_port);
        p.scope = IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) ? in6.sin6_scope_id : 0;
    } else {
        return ERR_UNSUPPORTED;
    }
    *ret = p;
    return OK;
}

enum err net_peer_to(const struct net_peer *p, int family, struct sockaddr_storage *to,
                     socklen_t *ret_n)
{
    memset(to, 0, sizeof(*to));
    if (family == AF_INET && net_peer_is_v4(p)) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)p->port)};
        memcpy(&in.sin_addr, &p->address[12], 4);
        memcpy(to, &in, sizeof(in));
        *ret_n = sizeof(in);
        return OK;
    }
    if (family == AF_INET6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                                   .sin6_port = htons((uint16_t)p->port),
                                   .sin6_scope_id = p->scope};
        memcpy(&in6.sin6_addr, p->address, sizeof(p->address));
        memcpy(to, &in6, sizeof(in6));
        *ret_n = sizeof(in6);
        return OK;
    }
    return ERR_UNSUPPORTED;
}

/* Puts n, of at most five digits, and what stands behind it. */
static char *put_number(char *at, unsigned n, char behind)
{
    char digits[5];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    memcpy(at, &digits[i], sizeof(digits) - i);
    at += sizeof(digits) - i;
    *at = behind;
    return at + 1;
}

void net_peer_text(const struct net_peer *p, char dst[NET_PEER_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (net_peer_is_v4(p)) { /* each connection's name: the library's formatter took longer */
        for (size_t i = 12; i < sizeof(p->address); i++) {
            dst = put_number(dst, p->address[i], i + 1 < sizeof(p->address) ? '.' : ':');
        }
        (void)put_number(dst, p->port, '\0');
    } else {
        (void)inet_ntop(AF_INET6, p->address, host, sizeof(host));
        (void)snprintf(dst, NET_PEER_TEXT_BYTES, "[%s]:%u", host, p->port);
    }
}

void net_prefix_text(const struct net_prefix *p, char dst[NET_PEER_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (memcmp(p->bytes, mapped, sizeof(mapped)) == 0) {
        (void)inet_ntop(AF_INET, &p->bytes[12], host, sizeof(host));
        (void)snprintf(dst, NET_PEER_TEXT_BYTES, "%s/24", host);
    } else {
        (void)inet_ntop(AF_INET6, p->bytes, host, sizeof(host));
        (void)snprintf(dst, NET_PEER_TEXT_BYTES, "%s/56", host);
    }
}

bool net_peer_is_v4(const struct net_peer *p)
{
    return memcmp(p->address, mapped, sizeof(mapped)) == 0;
}

bool net_peer_is_loopback(const struct net_peer *p)
{
    static const uint8_t one[16] = {[15] = 1};
    return net_peer_is_v4(p) ? p->address[12] == 127 : memcmp(p->address, one, sizeof(one)) == 0;
}

bool net_peer_is_multicast(const struct net_peer *p)
{
    static const uint8_t all[4] = {255, 255, 255, 255};
    return net_peer_is_v4(p)
               ? (p->address[12] & 0xf0) == 0xe0 || memcmp(p->address + 12, all, sizeof(all)) == 0
               : p->address[0] == 0xff;
}

bool net_peer_equal(const struct net_peer *a, const struct net_peer *b)
{
    return slice_equal(net_peer_key(a), net_peer_key(b));
}

struct net_prefix net_peer_prefix(const struct net_peer *p)
{
    struct net_prefix prefix = {{0}};
    memcpy(prefix.bytes, p->address, net_peer_is_v4(p) ? 15 : 7);
    return prefix;
}
