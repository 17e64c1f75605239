#include "core/quota.h"

static const uint64_t TOKEN = 1000;

static uint64_t full(const struct bucket *b)
{
    return (uint64_t)b->burst * TOKEN;
}

/* What a bucket with a rate holds at now_ms; a token per second is a thousandth per millisecond. A
 * clock that went backwards adds nothing. */
static uint64_t held(const struct bucket *b, uint64_t now_ms)
{
    uint64_t missing = full(b) - b->millis;
    uint64_t elapsed_ms = now_ms > b->at_ms ? now_ms - b->at_ms : 0;
    if (elapsed_ms == 0) {
        return b->millis; /* of a burst this is every message but the first */
    }
    /* Compared by division, because a long time by a high rate overflows. */
    if (elapsed_ms >= missing / b->rate + 1) {
        return full(b);
    }
    uint64_t more = elapsed_ms * b->rate;
    return more < missing ? b->millis + more : full(b);
}

void bucket_init(struct bucket *b, uint32_t rate, uint32_t burst, uint64_t now_ms)
{
    *b = (struct bucket){.at_ms = now_ms, .rate = rate, .burst = burst};
    b->millis = full(b);
}

void bucket_set(struct bucket *b, uint32_t rate, uint32_t burst)
{
    b->rate = rate;
    b->burst = burst;
    if (b->millis > full(b)) {
        b->millis = full(b);
    }
}

bool bucket_take(struct bucket *b, uint32_t n, uint64_t now_ms)
{
    if (b->rate == 0) {
        return true;
    }
    b->millis = held(b, now_ms);
    b->at_ms = now_ms;
    if (b->millis < n * TOKEN) {
        return false;
    }
    b->millis -= n * TOKEN;
    return true;
}

void bucket_give(struct bucket *b, uint32_t n, uint64_t now_ms)
{
    uint64_t have = bucket_millis(b, now_ms);
    uint64_t missing = full(b) - have;
    b->millis = n * TOKEN < missing ? have + n * TOKEN : full(b);
    b->at_ms = now_ms;
}

uint64_t bucket_millis(const struct bucket *b, uint64_t now_ms)
{
    return b->rate == 0 ? full(b) : held(b, now_ms);
}

bool bucket_is_full(const struct bucket *b, uint64_t now_ms)
{
    return bucket_millis(b, now_ms) == full(b);
}

uint64_t bucket_wait_ms(const struct bucket *b, uint32_t n, uint64_t now_ms)
{
    if (b->rate == 0) {
        return 0;
    }
    uint64_t have = held(b, now_ms);
    if (have >= n * TOKEN) {
        return 0;
    }
    if (n > b->burst) {
        return UINT64_MAX;
    }
    return (n * TOKEN - have + b->rate - 1) / b->rate;
}
