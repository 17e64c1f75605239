/*
 * ceiling - the memory ceiling of the process as its workers share it. Who is shed first decides
 * core/pressure.h; what each worker does about it, ceiling.c (docs/ORDER.md rule 11).
 */
#ifndef SERVICE_BROKER_CEILING_H
#define SERVICE_BROKER_CEILING_H

#include <stdatomic.h>

#include "core/filters.h"
#include "core/pressure.h"

enum {
    SPILL_LEAST_BYTES = 256, /* a smaller body is hardly larger than what stays of it */
    SPILL_NEAR = 64          /* of what waits for who is connected, so many stay */
};

struct ceiling {
    _Atomic uint64_t bytes; /* 0: there is none; a reload may change it */
    unsigned n_workers;     /* have a headroom, see pressure_headroom: the steps are below it */
    unsigned n_threads;     /* count the heap, each by itself */
    uint64_t fixed_bytes;   /* what the process has that is no heap: code, stacks */
    uint64_t (*heap)(void *ctx); /* bytes of the heap in use, any thread; NULL: mem_used */
    void *ctx;
    uint32_t spill_bytes, spill_near;            /* for tests; 0: the above */
    _Atomic uint64_t worst[FILTERS_WORKERS_MAX]; /* by worker: what its worst consumer holds */
    atomic_uint step;                            /* as one of the workers saw it last */
    atomic_uint peak;                            /* the highest step since ceiling_take_peak */
    atomic_uint n_trims;                         /* asked for: each worker trims its own heap */
};

/* ceiling_fixed - what of these resident bytes of the process, as of now, is no heap. Negative: the
 * kernel does not say. */
uint64_t ceiling_fixed(int64_t resident);
/* ceiling_used - heap in use and what is fixed. */
uint64_t ceiling_used(const struct ceiling *c);
/* ceiling_peak - the most it has been. */
uint64_t ceiling_peak(const struct ceiling *c);
/* ceiling_step - the step after `before`, as memory is now less `leaving` bytes. */
enum pressure ceiling_step(const struct ceiling *c, enum pressure before, uint64_t leaving);
/* ceiling_heap_most - to how much the heap may grow by large allocations (mem_limit); 0: no limit.
 */
uint64_t ceiling_heap_most(const struct ceiling *c);
/* ceiling_trim - gives freed memory of all threads back to the kernel; workers do their part in
 * their next turn. Any thread. Slow. */
void ceiling_trim(struct ceiling *c);
/* ceiling_take_peak - the highest step that a worker took since the last call. */
enum pressure ceiling_take_peak(struct ceiling *c);

#endif
