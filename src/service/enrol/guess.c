/* Networks whose devices try claim tokens that are none. */
#include "service/enrol/enrol_private.h"

static bool is_same(const struct net_prefix *a, const struct net_prefix *b)
{
    return slice_equal(slice_of(a, sizeof *a), slice_of(b, sizeof *b));
}

unsigned enrol_guess_blocked(const struct enrol *d, const struct net_peer *peer, uint64_t now_ms)
{
    struct net_prefix prefix = net_peer_prefix(peer);
    for (size_t i = 0; i < ENROL_NETWORKS; i++) {
        const struct enrol_network *n = &d->networks[i];
        if (n->n >= ENROL_WRONG_MAX && n->until_ms > now_ms && is_same(&n->prefix, &prefix)) {
            return (unsigned)((n->until_ms - now_ms + 999) / 1000);
        }
    }
    return 0;
}

/* The row of this network, or that whose time ends first. */
static struct enrol_network *row_of(struct enrol *d, const struct net_prefix *prefix)
{
    struct enrol_network *oldest = &d->networks[0];
    for (size_t i = 0; i < ENROL_NETWORKS; i++) {
        struct enrol_network *n = &d->networks[i];
        if (n->n > 0 && is_same(&n->prefix, prefix)) {
            return n;
        }
        if (n->until_ms < oldest->until_ms) {
            oldest = n;
        }
    }
    *oldest = (struct enrol_network){.prefix = *prefix};
    return oldest;
}

bool enrol_guess_wrong(struct enrol *d, const struct net_peer *peer, uint64_t now_ms)
{
    struct net_prefix prefix = net_peer_prefix(peer);
    struct enrol_network *n = row_of(d, &prefix);
    if (n->until_ms <= now_ms) {
        *n = (struct enrol_network){.prefix = prefix, .until_ms = now_ms + ENROL_WRONG_MS};
    }
    n->n++;
    if (n->n < ENROL_WRONG_MAX || n->is_told) {
        return false;
    }
    n->is_told = true;
    return true;
}
