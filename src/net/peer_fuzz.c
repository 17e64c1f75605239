#include <assert.h>

#include "net/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct net_peer p, again;
    char text[NET_PEER_TEXT_BYTES];
    if (net_peer_parse(slice_of(data, n), &p) == OK) {
        net_peer_text(&p, text);
        assert(net_peer_parse(slice_text(text), &again) == OK);
        assert(net_peer_equal(&p, &again));
    }
    return 0;
}
