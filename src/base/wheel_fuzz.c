#include "base/wheel.h"

#include <assert.h>

#include "base/rd.h"

/* Ten bytes are a step: what, which timer, and a time. An array of times is the model. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { N_TIMERS = 16 };

static uint64_t earliest(const uint64_t *at_ms)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < N_TIMERS; i++) {
        first = at_ms[i] < first ? at_ms[i] : first;
    }
    return first;
}

static void take_due(struct wheel *w, const struct timer *timers, uint64_t *at_ms)
{
    uint64_t last = 0;
    const struct timer *t = NULL;
    while ((t = wheel_next(w)) != NULL) {
        uint64_t *at = &at_ms[t - timers];
        assert(*at <= w->now_ms && *at >= last);
        last = *at;
        *at = UINT64_MAX;
    }
    assert(earliest(at_ms) > w->now_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct wheel w;
    struct timer timers[N_TIMERS] = {0};
    uint64_t at_ms[N_TIMERS];
    memset(at_ms, 0xff, sizeof at_ms);
    struct rd r = rd_from(slice_of(data, n));
    wheel_init(&w, rd_u64(&r) / 2);
    while (rd_left(&r) >= 10) {
        uint8_t what = rd_u8(&r);
        size_t i = rd_u8(&r) % N_TIMERS;
        uint64_t span = rd_u64(&r) >> (what & 0x3f); /* spans of every size */
        uint64_t to = span < UINT64_MAX - 1 - w.now_ms ? w.now_ms + span : UINT64_MAX - 1;
        if (what < 0x80) {
            wheel_arm(&w, &timers[i], to);
            at_ms[i] = to;
        } else if (what < 0xa0) {
            wheel_cancel(&w, &timers[i]);
            at_ms[i] = UINT64_MAX;
        } else if (to < UINT64_MAX - 1) {
            wheel_advance(&w, to);
            take_due(&w, timers, at_ms);
        }
        uint64_t deadline = wheel_deadline(&w);
        assert(deadline <= earliest(at_ms));
        assert((deadline == UINT64_MAX) == (earliest(at_ms) == UINT64_MAX));
    }
    return 0;
}
