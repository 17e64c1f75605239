#include "app/cli/client_latency.h"

enum { PARTS_LOG = 7 };

_Static_assert(LATENCY_PARTS == 1 << PARTS_LOG, "a doubling has so many");

/* Values below LATENCY_PARTS have a bucket each; above, each doubling has LATENCY_PARTS of them. */
static unsigned bucket_of(uint64_t us)
{
    if (us < LATENCY_PARTS) {
        return (unsigned)us;
    }
    unsigned log = 63 - (unsigned)__builtin_clzll(us); /* at least PARTS_LOG */
    unsigned part = (unsigned)(us >> (log - PARTS_LOG)) & (LATENCY_PARTS - 1);
    unsigned at = (log - PARTS_LOG + 1) * LATENCY_PARTS + part;
    return at < LATENCY_BUCKETS ? at : LATENCY_BUCKETS - 1;
}

static uint64_t end_of(unsigned bucket)
{
    if (bucket < LATENCY_PARTS) {
        return bucket;
    }
    unsigned log = bucket / LATENCY_PARTS + PARTS_LOG - 1;
    uint64_t part = bucket % LATENCY_PARTS;
    return ((LATENCY_PARTS + part + 1) << (log - PARTS_LOG)) - 1;
}

void latency_add(struct latency *l, uint64_t us)
{
    l->buckets[bucket_of(us)]++;
    l->n++;
}

uint64_t latency_at(const struct latency *l, double percent)
{
    double wanted = (double)l->n * percent / 100;
    uint64_t seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS && l->n > 0; i++) {
        seen += l->buckets[i];
        if (l->buckets[i] > 0 && (double)seen >= wanted) {
            return end_of(i);
        }
    }
    return 0;
}
