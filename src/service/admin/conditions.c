/* What lasts until it ends: a full or failing store, a machine whose clock is behind, something of
 * which there is only a fifth left. */
#include <inttypes.h>
#include <sys/resource.h>

#include "service/admin/admin_private.h"

enum {
    LOOK_MS = 250,
    FILL_LOOK_MS = 5000, /* counting descriptors costs a walk over all of them */
    /* An alert opens at the first and closes below the second, so that it does not flicker. */
    FILL_OPEN_PERCENT = 80,
    FILL_CLOSE_PERCENT = 75
};

#define HELD_FULL    "store full"
#define HELD_FAILING "store failing"
#define HELD_CLOCK   "clock behind"
#define HELD_SCRIBE  "scribe behind"

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

/* What waits is in memory alone; what had to be given up is written down when there is room. */
static void watch_scribe(struct admin *a)
{
    struct scribe_client_state s = audit_scribe(a->setup.audit);
    struct event gap;
    struct event e = event_make(EVENT_sink);
    e.severity = SEVERITY_ALERT;
    EVENT_TEXT(&e, target, slice_text("audit"));
    event_reason(&e,
                 "the scribe does not write the audit trail: %" PRIu64
                 " events wait in memory. See its words in the log, and the room on the disk",
                 s.pending);
    if (s.is_behind && !a->is_scribe_behind) {
        admin_note(a, &e);
    }
    a->is_scribe_behind = s.is_behind;
    hold(a, HELD_SCRIBE, s.is_behind, &e);
    if (audit_gap(a->setup.audit, &gap)) {
        admin_event(a, &gap);
    }
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

/* ---- will it fit? ---- */

/* Something of which there is only so much. */
struct fill {
    const char *state;  /* of its alert */
    const char *target; /* what it is, for the event */
    const char *fix;    /* what the operator can do, and what happens when it is full */
    enum event_category category;
    uint64_t used, most; /* most 0: not known, no alert */
};

static unsigned percent_of(const struct fill *f)
{
    return (unsigned)((double)f->used * 100 / (double)f->most);
}

static void watch_fill(struct admin *a, const struct fill *f, bool *is_open)
{
    struct event e = event_make(f->category);
    bool was_open = *is_open;
    unsigned percent = f->most > 0 ? percent_of(f) : 0;
    *is_open = percent >= (was_open ? FILL_CLOSE_PERCENT : FILL_OPEN_PERCENT);
    EVENT_TEXT(&e, target, slice_text(f->target));
    if (*is_open) {
        e.severity = SEVERITY_ALERT;
        event_reason(&e, "%" PRIu64 " of %" PRIu64 " %s are in use (%u %%). %s", f->used, f->most,
                     f->target, percent, f->fix);
        alerts_hold(&a->alerts, f->state, &e, admin_wall_ms(a));
    } else if (was_open) {
        e.severity = SEVERITY_NOTICE;
        event_reason(&e, "%" PRIu64 " of %" PRIu64 " %s are in use (%u %%): there is room again",
                     f->used, f->most, f->target, percent);
        (void)alerts_release(&a->alerts, f->state);
    }
    if (*is_open != was_open) {
        admin_note(a, &e);
    }
}

static uint64_t whole(int64_t n)
{
    return n > 0 ? (uint64_t)n : 0;
}

/* What a connection takes that does nothing; `check` counts the same. */
static uint64_t connections_that_fit(const struct admin *a, uint64_t descriptors)
{
    uint64_t by_memory = broker_ceiling(a->setup.broker)->bytes / ADMIN_IDLE_CONNECTION_BYTES;
    uint64_t by_files =
        descriptors > ADMIN_OWN_DESCRIPTORS ? descriptors - ADMIN_OWN_DESCRIPTORS : 0;
    return by_files < by_memory || by_memory == 0 ? by_files : by_memory;
}

static void watch_room(struct admin *a)
{
    const struct counters *sets[BROKER_WORKERS_MAX];
    struct counters sum;
    struct rlimit files = {0, 0};
    struct log_status store = {0};
    if (a->setup.metrics == NULL) {
        return;
    }
    unsigned n = broker_workers(a->setup.broker);
    for (unsigned i = 0; i < n; i++) {
        sets[i] = broker_counters(a->setup.broker, i);
    }
    metrics_sum(sets, n, &sum);
    if (a->setup.log != NULL) {
        log_status(a->setup.log, &store);
    }
    (void)getrlimit(RLIMIT_NOFILE, &files);
    uint64_t descriptors = files.rlim_cur == RLIM_INFINITY ? 0 : files.rlim_cur;
    uint64_t store_bytes = store.bytes + store.free_bytes;
    const struct fill fills[ADMIN_FILLS] = {
        {"descriptors", "descriptors",
         "At the last one new connections wait and the oldest waiting one is shed. Raise "
         "LimitNOFILE of the service (ulimit -n), or spread the devices over two servers",
         EVENT_quota, whole(metrics_open_descriptors(a->setup.metrics)), descriptors},
        {"connections", "connections that fit",
         "Raise LimitNOFILE of the service or memory_bytes, or spread the devices over two "
         "servers; `sallyport check` says what fits",
         EVENT_quota, atomic_load_explicit(&sum.connections_mqtt, memory_order_relaxed),
         connections_that_fit(a, descriptors)},
        {"memory", "bytes of memory",
         "Look at `sallyport metrics` for what queues and is retained; lower queue_bytes and "
         "retained_bytes of the roles, or raise memory_bytes where the machine has more",
         EVENT_quota, ceiling_used(broker_ceiling(a->setup.broker)),
         broker_ceiling(a->setup.broker)->bytes},
        {"store", "bytes of the store's disk",
         "A full disk refuses what needs room; nothing acknowledged is lost. Make room on it, or "
         "shorten session_expiry of roles that nobody comes back to",
         EVENT_store_space, store.bytes, store_bytes},
    };
    for (size_t i = 0; i < COUNT_OF(fills); i++) {
        watch_fill(a, &fills[i], &a->is_filling[i]);
    }
}

/* After a burst the process is not to stay as large as it was. */
static void watch_slack(struct admin *a)
{
    struct ceiling *c = broker_ceiling(a->setup.broker);
    int64_t resident = metrics_resident_bytes(a->setup.metrics);
    if (resident > 0 && slack_is_due(&a->slack, (uint64_t)resident, ceiling_used(c))) {
        ceiling_trim(c);
        slack_trimmed(&a->slack, whole(metrics_resident_bytes(a->setup.metrics)), ceiling_used(c));
    }
}

static void memory_event(const struct ceiling *c, enum pressure step, struct event *e)
{
    *e = event_make(EVENT_quota);
    EVENT_TEXT(e, target, slice_text("memory_bytes"));
    if (step == PRESSURE_NONE) {
        e->severity = SEVERITY_NOTICE;
        event_reason(e, "memory is free again: %" PRIu64 " of %" PRIu64 " MiB are in use",
                     ceiling_used(c) >> 20, c->bytes >> 20);
        return;
    }
    e->severity = SEVERITY_ALERT;
    event_reason(e,
                 "memory reached %u %% of memory_bytes (%" PRIu64
                 " MiB): %s; no acknowledged message is lost. See events slow_client and quota for "
                 "who; lower queue_bytes of their roles, or raise memory_bytes",
                 pressure_percent(step), c->bytes >> 20, pressure_does(step));
}

/* The workers shed at once; here it is said, one event for each step; the alert is
 * that of what fills up. */
static void watch_memory(struct admin *a)
{
    struct ceiling *c = broker_ceiling(a->setup.broker);
    struct event e;
    enum pressure now = ceiling_step(c, a->memory_step, 0);
    enum pressure peak = ceiling_take_peak(c);
    enum pressure step = peak > now ? peak : now;
    memory_event(c, step, &e);
    bool is_over = step == PRESSURE_NONE && a->memory_step != PRESSURE_NONE;
    if (step > a->memory_step || is_over) {
        admin_note(a, &e);
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
        watch_scribe(a);
    }
    if (now_ms >= a->fills_at_ms) {
        a->fills_at_ms = now_ms + FILL_LOOK_MS;
        watch_room(a);
        watch_slack(a);
        admin_watch_expiry(a, now_ms);
        admin_watch_waivers(a);
    }
    return a->conditions_at_ms;
}
