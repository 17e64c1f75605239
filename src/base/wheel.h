/*
 * wheel - hierarchical timer wheel in milliseconds. A timer is a node in the owner's struct; { 0 }
 * is an idle one. Arm, move and cancel are O(1) and never allocate. A timer fires at or after its
 * time, never before.
 */
#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include <stdint.h>

#include "base/list.h"

enum { WHEEL_LEVELS = 8, WHEEL_SLOTS = 64 };

struct timer {
    struct list_node node;
    uint64_t at_ms; /* only wheel_arm writes it */
};

struct wheel {
    uint64_t now_ms;
    size_t n_armed;
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
    uint64_t used[WHEEL_LEVELS]; /* a bit for each slot that may hold timers */
    struct list due;
};

void wheel_init(struct wheel *w, uint64_t now_ms);
/* wheel_arm - (re)arms t for at_ms; a time in the past becomes now and fires at the next
 * wheel_next. UINT64_MAX disarms. */
void wheel_arm(struct wheel *w, struct timer *t, uint64_t at_ms);
void wheel_cancel(struct wheel *w, struct timer *t);
/* wheel_advance - moves the clock to now_ms (never backwards) and makes the timers until then due.
 */
void wheel_advance(struct wheel *w, uint64_t now_ms);
/* wheel_next - the next due timer, disarmed, or NULL. Order of expiry is kept between different
 * milliseconds. */
struct timer *wheel_next(struct wheel *w);
/* wheel_deadline - a time not later than the earliest armed timer (exact within one slot),
 * UINT64_MAX when idle. O(1). */
uint64_t wheel_deadline(const struct wheel *w);

#endif
