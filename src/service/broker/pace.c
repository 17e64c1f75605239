#include "service/broker/pace.h"

#include <stdbool.h>

void pace_sent(struct pace *p, uint64_t now_ms, size_t bytes)
{
    if (p->n_sends == 0) {
        p->began_ms = now_ms;
    }
    p->n_sends++;
    p->bytes += bytes;
}

/* As long as the piece took, in whole milliseconds; 0: no rest. */
static uint64_t rest_ms(const struct pace *p, uint64_t now_ms, uint64_t n_wide)
{
    uint64_t took_ms = now_ms - p->began_ms;
    bool is_small = p->bytes < (uint64_t)p->n_sends * PACE_SMALL_BYTES;
    bool is_slow = n_wide - p->n_wide < (uint64_t)p->n_sends * PACE_QUEUED;
    if (!is_small || is_slow || took_ms > PACE_PIECE_MS) {
        return 0;
    }
    return took_ms == 0 ? 1 : took_ms < PACE_REST_MS ? took_ms : PACE_REST_MS;
}

uint64_t pace_rest(struct pace *p, uint64_t now_ms, uint64_t n_wide)
{
    if (p->n_sends < PACE_SENDS) {
        return p->until_ms;
    }
    p->until_ms = now_ms + rest_ms(p, now_ms, n_wide);
    p->n_sends = 0;
    p->bytes = 0;
    p->n_wide = n_wide;
    return p->until_ms;
}
