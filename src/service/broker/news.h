/*
 * news - when the thread that takes events and samples is woken for them: at once while little
 * comes, else it looks by itself once in NEWS_PAUSE_MS, and whoever brings more makes no system
 * call.
 *
 * Any thread brings, one takes. Zeroed is right: nothing has come. Cost: one exchange.
 */
#ifndef SERVICE_BROKER_NEWS_H
#define SERVICE_BROKER_NEWS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ring.h"

enum { NEWS_PAUSE_MS = 10 };

struct news {
    atomic_bool is_watched; /* who takes will look without being woken */
    bool is_fresh;          /* something was taken since it last asked when to look */
};

/* news_brought - behind a push to r: must the taker be woken? Also when r is more than half full.
 */
bool news_brought(struct news *n, const struct ring *r);
/* news_taken - an item was taken. Only who takes. */
void news_taken(struct news *n);
/* news_look_at_ms - behind having taken what was there: when to look again without being woken.
 * now_ms: at once; UINT64_MAX: whoever brings something wakes. Only who takes. */
uint64_t news_look_at_ms(struct news *n, uint64_t now_ms);

#endif
