#include "service/gateway/proxy_rules.h"

#include <strings.h>

#include "base/scope.h"
#include "wire/coap/uri.h"

enum { V4_AT = 12 };

/* By the first bytes: of IPv4 those behind the mapping. */
static bool is_local_only(const struct net_peer *p)
{
    const uint8_t *a = p->address;
    if (net_peer_is_v4(p)) {
        return a[V4_AT] == 127 || (a[V4_AT] == 169 && a[V4_AT + 1] == 254);
    }
    return net_peer_is_loopback(p) || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
}

bool proxy_rules_is_one(const struct net_peer *to)
{
    static const uint8_t zeros[16] = {0};
    const uint8_t *a = to->address;
    if (net_peer_is_v4(to)) {
        return a[V4_AT] != 0 && a[V4_AT] < 224;
    }
    return a[0] != 0xff && memcmp(a, zeros, sizeof(zeros)) != 0;
}

bool proxy_rules_allow(const struct proxy_rules *r, const struct net_peer *to)
{
    for (size_t i = 0; proxy_rules_is_one(to) && i < r->n_targets; i++) {
        const struct proxy_target *t = &r->targets[i];
        bool is_single = t->to.bits == 128;
        if (t->port == to->port && net_network_contains(&t->to, to) &&
            (is_single || !is_local_only(to))) {
            return true;
        }
    }
    return false;
}

bool proxy_rules_reach(const struct proxy_rules *r, const struct net_peer *to)
{
    bool found = proxy_rules_allow(r, to);
    for (size_t i = 0; !found && i < r->n_paths; i++) {
        found = net_peer_equal(&r->paths[i].to, to);
    }
    return found;
}

const struct proxy_target *proxy_rules_name(const struct proxy_rules *r, struct slice name)
{
    for (size_t i = 0; name.n > 0 && i < r->n_targets; i++) {
        const char *known = r->targets[i].name;
        if (strlen(known) == name.n && strncasecmp(known, (const char *)name.p, name.n) == 0) {
            return &r->targets[i];
        }
    }
    return NULL;
}

struct net_peer proxy_target_peer(const struct proxy_target *t)
{
    struct net_peer p = {.port = t->port};
    memcpy(p.address, t->to.address, sizeof(p.address));
    return p;
}

/* How many segments the path has, when the Uri-Path begins with all of them; 0: it does not. */
static size_t segments_met(const char *path, struct slice options)
{
    struct coap_options it = coap_options_from(options);
    struct slice rest = slice_from(slice_text(path), 1), segment;
    bool more = true;
    size_t n = 0;
    while (more) {
        struct slice want = slice_cut(&rest, '/', &more);
        if (!coap_uri_path_next(&it, &segment) || !slice_equal(want, segment)) {
            return 0;
        }
        n++;
    }
    return n;
}

const struct proxy_path *proxy_rules_path(const struct proxy_rules *r, struct slice options,
                                          size_t *ret_n)
{
    const struct proxy_path *best = NULL;
    size_t most = 0;
    for (size_t i = 0; i < r->n_paths; i++) {
        size_t n = segments_met(r->paths[i].path, options);
        if (n > most) {
            most = n;
            best = &r->paths[i];
        }
    }
    if (best != NULL && ret_n != NULL) {
        *ret_n = most;
    }
    return best;
}
