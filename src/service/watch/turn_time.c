#include "service/watch/turn_time.h"

#include <assert.h>

#include "service/watch/counters.h"

enum { FIRST_LOG2 = 4 }; /* the first bound is 2^4 us */

unsigned turn_time_bucket(uint64_t us)
{
    if (us <= 1U << FIRST_LOG2) {
        return 0;
    }
    if (us > TURN_TIME_LAST_US) {
        return TURN_TIME_BUCKETS - 1;
    }
    unsigned below = (unsigned)(us - 1); /* so that a bound belongs to the bucket that it ends */
    unsigned log2 = 31U - (unsigned)__builtin_clz(below);
    return 1 + 2 * (log2 - FIRST_LOG2) + (below >> (log2 - 1) & 1U);
}

uint64_t turn_time_bound_us(unsigned bucket)
{
    assert(bucket < TURN_TIME_BUCKETS);
    if (bucket == TURN_TIME_BUCKETS - 1) {
        return UINT64_MAX;
    }
    uint64_t octave = UINT64_C(1) << (FIRST_LOG2 + bucket / 2);
    return bucket % 2 == 0 ? octave : octave + octave / 2;
}

void turn_time_add(struct turn_time *t, uint64_t us)
{
    count_add(&t->n[turn_time_bucket(us)], 1);
}
