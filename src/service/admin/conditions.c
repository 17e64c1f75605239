/* What lasts until it ends: a full or failing store, a machine whose clock is behind. */
#include <inttypes.h>

#include "service/admin/admin_private.h"

enum { LOOK_MS = 250 };

#define HELD_FULL    "store full"
#define HELD_FAILING "store failing"
#define HELD_CLOCK   "clock behind"
#define HELD_MEMORY  "memory short"

static void hold(struct admin *a, const char *state, bool is_on, const struct event *e)
{
    if (is_on) {
        alerts_hold(&a->alerts, state, e, admin_wall_ms(a));
    } else {
        (void)alerts_release(&a->alerts, state);
    }
}

/* The log itself says when trouble begins and ends; here it only stays in sight. */
static void watch_store(struct admin *a)
{
    struct log_status s;
    log_status(a->setup.log, &s);
    struct event full = event_make(EVENT_store_space);
    EVENT_TEXT(&full, target, slice_text(STORE_DIR));
    event_reason(&full,
                 "the disk of DIR/" STORE_DIR " is full (%" PRIu64
                 " bytes free): what needs room is refused, nothing acknowledged is lost. Make "
                 "room on it; service comes back by itself",
                 s.free_bytes);
    struct event failing = event_make(EVENT_store_integrity);
    EVENT_TEXT(&failing, target, slice_text(STORE_DIR));
    event_reason(&failing, "the disk of DIR/" STORE_DIR
                           " refuses writes: nothing is acknowledged that should survive. Look at "
                           "the kernel's log and mend or replace the disk; it is tried again every "
                           "second");
    hold(a, HELD_FULL, s.state == LOG_FULL, &full);
    hold(a, HELD_FAILING, s.state == LOG_FAILING, &failing);
}

static void watch_clock(struct admin *a)
{
    kept_clock_note(a->setup.kept_clock);
    int64_t behind_s = kept_clock_behind(a->setup.kept_clock) / 1000;
    bool is_behind = behind_s > KEPT_CLOCK_TOLERANCE_MS / 1000;
    struct event e = event_make(EVENT_anomaly);
    EVENT_TEXT(&e, target, slice_text("clock"));
    if (is_behind) {
        e.severity = SEVERITY_ALERT;
        event_reason(&e,
                     "the machine's clock is %" PRId64
                     " seconds behind the last time on record; the recorded time goes on instead, "
                     "so nobody is refused for it. Set the clock, and have it kept by NTP",
                     behind_s);
        alerts_hold(&a->alerts, HELD_CLOCK, &e, admin_wall_ms(a));
    } else {
        e.severity = SEVERITY_NOTICE;
        event_reason(&e, "the machine's clock is right again");
        (void)alerts_release(&a->alerts, HELD_CLOCK);
    }
    if (is_behind != a->is_clock_behind) {
        a->is_clock_behind = is_behind;
        admin_note(a, &e);
    }
}

static void memory_event(const struct ceiling *c, enum pressure step, struct event *e)
{
    *e = event_make(EVENT_memory);
    EVENT_TEXT(e, target, slice_text("memory_bytes"));
    if (step == PRESSURE_NONE) {
        e->severity = SEVERITY_NOTICE;
        event_reason(e, "memory is free again: %" PRIu64 " of %" PRIu64 " MiB are in use",
                     ceiling_used(c) >> 20, c->bytes >> 20);
        return;
    }
    event_reason(e,
                 "memory reached %u %% of memory_bytes (%" PRIu64
                 " MiB): %s; no acknowledged message is lost. See events slow_client and quota for "
                 "who; lower queue_bytes of their roles, or raise memory_bytes",
                 pressure_percent(step), c->bytes >> 20, pressure_does(step));
}

/* The workers shed at once; here it is said, one event for each step, and stays in sight. */
static void watch_memory(struct admin *a)
{
    struct ceiling *c = broker_ceiling(a->setup.broker);
    struct event e;
    enum pressure now = pressure_next(a->memory_step, ceiling_used(c), c->bytes);
    enum pressure peak = ceiling_take_peak(c);
    enum pressure step = peak > now ? peak : now;
    memory_event(c, step, &e);
    bool is_over = step == PRESSURE_NONE && a->memory_step != PRESSURE_NONE;
    if (step > a->memory_step || is_over) {
        admin_note(a, &e);
        hold(a, HELD_MEMORY, !is_over, &e);
    }
    a->memory_step = step;
}

uint64_t admin_conditions(struct admin *a, uint64_t now_ms)
{
    if (now_ms >= a->conditions_at_ms) {
        a->conditions_at_ms = now_ms + LOOK_MS;
        watch_store(a);
        watch_memory(a);
        if (a->setup.kept_clock != NULL) {
            watch_clock(a);
        }
    }
    return a->conditions_at_ms;
}
