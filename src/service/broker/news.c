#include "service/broker/news.h"

/*
 * Both sides exchange, so they have one order. An item whose bringer found "watched" was pushed
 * before the taker's exchange to "not watched" or is found by the look behind it; who comes later
 * finds "not watched", and wakes.
 */
bool news_brought(struct news *n, const struct ring *r)
{
    return !atomic_exchange_explicit(&n->is_watched, true, memory_order_acq_rel) ||
           ring_count(r) > r->capacity / 2;
}

void news_taken(struct news *n)
{
    n->is_fresh = true;
}

uint64_t news_look_at_ms(struct news *n, uint64_t now_ms)
{
    if (n->is_fresh) {
        n->is_fresh = false;
        return now_ms + NEWS_PAUSE_MS;
    }
    bool was_watched = atomic_exchange_explicit(&n->is_watched, false, memory_order_acq_rel);
    return was_watched ? now_ms : UINT64_MAX;
}
