#include "service/broker/perimeter.h"

enum { SECOND_MS = 1000, SHOWN_BYTES = 90 /* of the networks, so that the fix fits behind */ };

static struct event event_about(const struct perimeter_post *post, enum event_category category,
                                const struct net_peer *peer)
{
    struct event e = event_make(category);
    char text[NET_PEER_TEXT_BYTES];
    net_peer_text(peer, text);
    e.protocol = post->entrance->protocol;
    EVENT_TEXT(&e, peer, slice_text(text));
    EVENT_TEXT(&e, listener, slice_text(post->entrance->name));
    return e;
}

/* A flood of refusals must not drown the other events of this worker. */
static bool may_say(struct perimeter_post *post, uint64_t now_ms)
{
    if (now_ms >= post->second_ends_ms) {
        post->second_ends_ms = now_ms + SECOND_MS;
        post->n_events = 0;
    }
    if (post->n_events == PERIMETER_EVENTS_PER_SECOND) {
        return false;
    }
    post->n_events++;
    return true;
}

static void refuse(struct perimeter_post *post, const struct net_peer *peer, uint64_t now_ms)
{
    count_add(&post->counters->refused_from, 1);
    if (!may_say(post, now_ms)) {
        return;
    }
    char networks[SHOWN_BYTES];
    net_networks_text(&post->perimeter->from, networks, sizeof(networks));
    struct event e = event_about(post, EVENT_probe, peer);
    event_reason(&e,
                 "refused unheard: its address is in none of the networks of this listener (%s). "
                 "If it is a device of yours, add its network to `from` in sallyport.yaml and "
                 "reload (SIGHUP)",
                 networks);
    post->event(post->ctx, &e);
}

/* Once for all workers: the one that moves the time on says it. */
static void watch_exposure(struct perimeter_post *post, const struct net_peer *peer,
                           uint64_t now_ms)
{
    _Atomic uint64_t *due = &post->perimeter->exposure_due_ms;
    uint64_t due_ms = atomic_load_explicit(due, memory_order_relaxed);
    if (now_ms < due_ms || !net_peer_is_public(peer) ||
        !atomic_compare_exchange_strong(due, &due_ms, now_ms + PERIMETER_EXPOSURE_MS)) {
        return;
    }
    struct event e = event_about(post, EVENT_exposure, peer);
    event_reason(&e, "a peer from a public address reached this listener, which names no networks: "
                     "anybody may try it. Write the networks of your devices into its `from` in "
                     "sallyport.yaml, like from: [192.168.1.0/24], and reload (SIGHUP)");
    post->event(post->ctx, &e);
}

bool perimeter_admits(struct perimeter_post *post, const struct net_peer *peer, uint64_t now_ms)
{
    if (post->perimeter == NULL) {
        return true;
    }
    if (post->perimeter->from.n == 0) {
        watch_exposure(post, peer, now_ms);
        return true;
    }
    if (!net_networks_allow(&post->perimeter->from, peer)) {
        refuse(post, peer, now_ms);
        return false;
    }
    return true;
}
