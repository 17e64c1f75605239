/*
 * turn_time - how long turns take: a histogram with fixed bounds. A turn belongs to the first
 * bucket whose bound it is not over. From two readings of it follows any percentile of the time
 * between them, to half an octave.
 *
 * Bounds are 2^k and 1.5 * 2^k microseconds, from 16 to TURN_TIME_LAST_US; the last bucket has
 * none.
 */
#ifndef SERVICE_WATCH_TURN_TIME_H
#define SERVICE_WATCH_TURN_TIME_H

#include <stdatomic.h>
#include <stdint.h>

enum { TURN_TIME_BUCKETS = 34, TURN_TIME_LAST_US = 1 << 20 };

/* Written by its worker's thread alone, as a set of counters is (counters.h). */
struct turn_time {
    _Atomic uint64_t n[TURN_TIME_BUCKETS];
};

/* turn_time_bucket - below TURN_TIME_BUCKETS. O(1), without a loop. */
unsigned turn_time_bucket(uint64_t us);
/* turn_time_bound_us - of a bucket below TURN_TIME_BUCKETS; UINT64_MAX of the last one. */
uint64_t turn_time_bound_us(unsigned bucket);
/* turn_time_add - one turn: one addition. */
void turn_time_add(struct turn_time *t, uint64_t us);

#endif
