/* Wills of many devices: an outage, which names its network, or a storm that comes again and again
 * from everywhere. */
#include "service/detect/detect_private.h"

/* Boyer and Moore: whoever has most of them stays. */
static void vote(struct fleet *f, const struct detect *d, const struct sight *s)
{
    struct net_peer p;
    if (net_peer_parse(slice_text(s->e->peer), &p) != OK) {
        return;
    }
    (void)d;
    struct net_prefix prefix = net_peer_prefix(&p);
    bool is_same = memcmp(prefix.bytes, f->network.bytes, sizeof(prefix.bytes)) == 0;
    if (f->votes == 0) {
        f->network = prefix;
        f->votes = 1;
    } else {
        f->votes += is_same ? 1 : -1;
    }
}

void outages_see(struct detect *d, const struct sight *s, bool is_first)
{
    struct fleet *f = &d->fleet;
    uint32_t length_s = d->t.short_window_s;
    uint32_t n = detect_window_add(&f->wills, length_s, 1, s->now_s);
    char network[NET_PEER_TEXT_BYTES];
    if (n == 1) {
        *f =
            (struct fleet){.wills = f->wills, .told_s = f->told_s, .storm_told_s = f->storm_told_s};
    }
    vote(f, d, s);
    uint32_t devices = detect_window_add(&f->devices, length_s, is_first ? 1 : 0, s->now_s);
    if (devices < d->t.fleet_devices) {
        return;
    }
    struct sight all = *s;
    struct event e = *s->e;
    bool is_one = f->votes > 0 && (uint32_t)f->votes * 100 >= n * d->t.fleet_percent;
    all.e = &e;
    all.identity = NULL; /* it is about nobody in particular */
    net_prefix_text(&f->network, network);
    EVENT_TEXT(&e, target, slice_text(is_one ? network : "many networks"));
    if (n >= devices * d->t.fleet_again && !is_one) {
        detect_tell(d, DETECTOR_will_fleet, &f->storm_told_s, &all,
                    detect_window_since(&f->wills, length_s),
                    "%u wills of %u devices within %u s, from many networks", n, devices,
                    2 * length_s);
    } else {
        detect_tell(d, DETECTOR_outage, &f->told_s, &all, detect_window_since(&f->wills, length_s),
                    "wills of %u devices within %u s, %s %.40s", devices, 2 * length_s,
                    is_one ? "most from" : "from", e.target);
    }
}
