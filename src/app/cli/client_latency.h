/*
 * client_latency - how long things took: a histogram whose buckets grow with the value, so that a
 * percentile is right to one part in 128: to the microsecond below 256.
 */
#ifndef APP_CLI_CLIENT_LATENCY_H
#define APP_CLI_CLIENT_LATENCY_H

#include <stdint.h>

enum {
    LATENCY_PARTS = 128, /* of each doubling; a power of two */
    LATENCY_BUCKETS = 58 * LATENCY_PARTS
};

struct latency {
    uint64_t n;
    uint64_t buckets[LATENCY_BUCKETS];
};

void latency_add(struct latency *l, uint64_t us);
/* latency_at - the value that `percent` of all are at or below, rounded up to its bucket's end; 0
 * when there is none. */
uint64_t latency_at(const struct latency *l, double percent);

#endif
