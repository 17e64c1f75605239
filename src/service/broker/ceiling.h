/*
 * ceiling - the memory ceiling of the process as its workers share it. Who is shed first decides
 * core/pressure.h; what each worker does about it, ceiling.c (docs/ORDER.md rule 11).
 */
#ifndef SERVICE_BROKER_CEILING_H
#define SERVICE_BROKER_CEILING_H

#include <stdatomic.h>

#include "core/filters.h"
#include "core/pressure.h"

struct ceiling {
    uint64_t bytes;              /* 0: there is none */
    uint64_t fixed_bytes;        /* what the process has that is no heap: code, stacks */
    uint64_t (*heap)(void *ctx); /* bytes of the heap in use, any thread; NULL: mem_used */
    void *ctx;
    _Atomic uint64_t worst[FILTERS_WORKERS_MAX]; /* by worker: what its worst consumer holds */
    atomic_uint peak;                            /* the highest step since ceiling_take_peak */
    atomic_uint n_trims;                         /* asked for: each worker trims its own heap */
};

/* ceiling_fixed - what of these resident bytes of the process, as of now, is no heap. Negative: the
 * kernel does not say. */
uint64_t ceiling_fixed(int64_t resident);
/* ceiling_used - heap in use and what is fixed. */
uint64_t ceiling_used(const struct ceiling *c);
/* ceiling_trim - gives freed memory of all threads back to the kernel; workers do their part in
 * their next turn. Any thread. Slow. */
void ceiling_trim(struct ceiling *c);
/* ceiling_take_peak - the highest step that a worker took since the last call. */
enum pressure ceiling_take_peak(struct ceiling *c);

#endif
