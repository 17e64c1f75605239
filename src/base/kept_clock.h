/*
 * kept_clock - a clock whose wall time never falls below the last one known, so that a machine that
 * starts in 1970 refuses nobody's certificate.
 *
 * Arithmetic over another clock: while that one is far behind what is known, the time known goes on
 * by the monotonic clock; while it is a little behind (a correction), time stands still until it
 * has caught up. Nothing is remembered here over a restart: the log has the last time on record.
 */
#ifndef BASE_KEPT_CLOCK_H
#define BASE_KEPT_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"

enum { KEPT_CLOCK_TOLERANCE_MS = 60 * 1000 };

/* Outlives every clock made of it. */
struct kept_clock {
    struct clock base;
    _Atomic int64_t known_wall_ms; /* the highest that was known at the last note */
    _Atomic int64_t ahead_ms;      /* known_wall_ms less the monotonic time of then */
};

/* kept_clock_init - knows nothing: as base, until the first note. */
void kept_clock_init(struct kept_clock *k, const struct clock *base);
/* kept_clock_as_clock - borrows k for life; any thread may ask it. */
struct clock kept_clock_as_clock(struct kept_clock *k);
/* kept_clock_know - it was at least so late already (what the log has on record). */
void kept_clock_know(struct kept_clock *k, int64_t wall_ms);
/* kept_clock_note - now and then (every second), by one thread: time that has passed is known from
 * here on. */
void kept_clock_note(struct kept_clock *k);
/* kept_clock_behind - how far the base is behind what is known, in ms; 0: it is not. */
int64_t kept_clock_behind(const struct kept_clock *k);

#endif
