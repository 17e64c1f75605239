#include "base/kept_clock.h"

static int64_t mono(const struct kept_clock *k)
{
    return (int64_t)k->base.mono_ms(k->base.ctx);
}

static int64_t base_wall(const struct kept_clock *k)
{
    return k->base.wall_ms(k->base.ctx);
}

static int64_t known(const struct kept_clock *k)
{
    return atomic_load_explicit(&k->known_wall_ms, memory_order_relaxed);
}

static uint64_t kept_mono_ms(void *ctx)
{
    const struct kept_clock *k = ctx;
    return k->base.mono_ms(k->base.ctx);
}

static uint64_t kept_mono_us(void *ctx)
{
    const struct kept_clock *k = ctx;
    return k->base.mono_us(k->base.ctx);
}

/* What is known, and what has passed since by the monotonic clock. */
static int64_t carried_on(const struct kept_clock *k)
{
    return mono(k) + atomic_load_explicit(&k->ahead_ms, memory_order_relaxed);
}

/* The tolerance is asked of what was known at the last note, as kept_clock_note asks it: so one
 * that is far behind stays so until it is set right. */
static int64_t kept_wall_ms(void *ctx)
{
    const struct kept_clock *k = ctx;
    int64_t wall = base_wall(k), least = known(k);
    if (wall >= least) {
        return wall;
    }
    return least - wall <= KEPT_CLOCK_TOLERANCE_MS ? least : carried_on(k);
}

void kept_clock_init(struct kept_clock *k, const struct clock *base)
{
    k->base = *base;
    atomic_init(&k->known_wall_ms, INT64_MIN / 2); /* so that differences do not overflow */
    atomic_init(&k->ahead_ms, 0);
}

struct clock kept_clock_as_clock(struct kept_clock *k)
{
    return (struct clock){
        .mono_ms = kept_mono_ms, .mono_us = kept_mono_us, .wall_ms = kept_wall_ms, .ctx = k};
}

void kept_clock_know(struct kept_clock *k, int64_t wall_ms)
{
    if (wall_ms > known(k)) {
        atomic_store_explicit(&k->ahead_ms, wall_ms - mono(k), memory_order_relaxed);
        atomic_store_explicit(&k->known_wall_ms, wall_ms, memory_order_relaxed);
    }
}

void kept_clock_note(struct kept_clock *k)
{
    kept_clock_know(k, kept_wall_ms(k));
}

int64_t kept_clock_behind(const struct kept_clock *k)
{
    int64_t wall = base_wall(k), least = known(k);
    return wall < least ? least - wall : 0;
}
