/*
 * pressure - how near the process is to its memory ceiling, and who is shed first. Pure: numbers
 * in, decisions out. The order is that of docs/ORDER.md rule 11.
 */
#ifndef CORE_PRESSURE_H
#define CORE_PRESSURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each step includes those before it. */
enum pressure {
    PRESSURE_NONE,
    PRESSURE_QOS0,      /* QoS 0 to slow consumers is dropped */
    PRESSURE_CONSUMERS, /* the largest slow consumer is closed */
    PRESSURE_STRANGERS, /* connections that have not logged in are closed */
    PRESSURE_FULL       /* nobody new; publishers wait, then are refused */
};

enum {
    /* Percent of the ceiling from which on bodies of what waits leave memory for the disk. */
    PRESSURE_SPILL_PERCENT = 60,
    /* Percent of the ceiling at which a step begins. */
    PRESSURE_QOS0_PERCENT = 80,
    PRESSURE_CONSUMERS_PERCENT = 90,
    PRESSURE_STRANGERS_PERCENT = 95,
    PRESSURE_FULL_PERCENT = 100,
    PRESSURE_BACK_PERCENT = 5,       /* so far below its beginning a step ends */
    PRESSURE_SLOW_BYTES = 64 * 1024, /* who has at least this waiting is a slow consumer */
    /* What a worker may take in between two looks: what one write leaves over, or one read brings,
     * and the message made of it. */
    PRESSURE_HEADROOM_BYTES = 1024 * 1024,
    PRESSURE_HEADROOM_SHARE = 8 /* of the ceiling at most one part in so many */
};

/* pressure_headroom - bytes below the ceiling at which the last step begins already, so that what
 * n_workers do between two looks fits below it. */
uint64_t pressure_headroom(uint64_t ceiling, unsigned n_workers);

/* pressure_next - the step after `before` when `used` bytes are in use. ceiling 0: none, no step.
 */
enum pressure pressure_next(enum pressure before, uint64_t used, uint64_t ceiling);
/* pressure_spills - does what waits leave memory? `before`: it did when that was asked last. */
bool pressure_spills(bool before, uint64_t used, uint64_t ceiling);
/* pressure_percent - where a step begins; 0 for PRESSURE_NONE. */
unsigned pressure_percent(enum pressure step);
/* pressure_does - what a step adds to the one before it, in words for the operator. Static. */
const char *pressure_does(enum pressure step);

/* A connection that holds memory for what its client has not read. */
struct consumer {
    uint64_t conn;
    uint64_t bytes; /* that its end would free */
};

static inline bool consumer_is_slow(uint64_t bytes)
{
    return bytes >= PRESSURE_SLOW_BYTES;
}

/* pressure_worst - the largest slow consumer of the n; of two alike the first. NULL: none is slow.
 */
const struct consumer *pressure_worst(const struct consumer *consumers, size_t n);
/* pressure_sheds - may a worker whose worst consumer has `own` bytes close it now? The largest of
 * the process goes first: not when another worker, i.e. one of `all` but all[index], knows a larger
 * one. */
bool pressure_sheds(uint64_t own, const uint64_t *all, size_t n, size_t index);

#endif
