#include <assert.h>

#include "net/network.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Bit by bit, without the shortcuts. */
static bool contains(const struct net_network *net, const struct net_peer *p)
{
    struct net_peer base = {0};
    memcpy(base.address, net->address, sizeof(base.address));
    bool net_v4 = net->bits >= 96 && net_peer_is_v4(&base);
    bool same = net_v4 == net_peer_is_v4(p);
    for (unsigned i = 0; i < net->bits; i++) {
        uint8_t bit = (uint8_t)(0x80U >> (i % 8));
        same = same && (net->address[i / 8] & bit) == (p->address[i / 8] & bit);
    }
    return same;
}

/* The first 16 bytes are a peer, the rest is the text of a network. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct net_network net, again;
    struct net_peer p = {0}, base = {0};
    char text[NET_NETWORK_TEXT_BYTES];
    bool is_exact = false;
    if (n < sizeof(p.address)) {
        return 0;
    }
    memcpy(p.address, data, sizeof(p.address));
    struct slice rest = slice_from(slice_of(data, n), sizeof(p.address));
    bool is_public = net_peer_is_public(&p);
    assert(!is_public || !net_peer_is_loopback(&p));
    if (net_network_parse(rest, &is_exact, &net) != OK) {
        return 0;
    }
    memcpy(base.address, net.address, sizeof(base.address));
    assert(net_network_contains(&net, &base));
    assert(net_network_contains(&net, &p) == contains(&net, &p));
    net_network_text(&net, text);
    assert(net_network_parse(slice_text(text), &is_exact, &again) == OK && is_exact);
    assert(memcmp(&net, &again, sizeof(net)) == 0);
    return 0;
}
