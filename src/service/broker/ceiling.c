/* The memory ceiling in a worker: what is shed, and in which order. Nothing here takes a message
 * back that was acknowledged: it stays in its session, and on disk. */
#include "service/broker/ceiling.h"

#include "base/mem.h"
#include "core/msg_pool.h"
#include "service/broker/ceiling_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/sessions_private.h"
#include "service/broker/worker_private.h"

enum {
    FIXED_MAX = 12 << 20, /* more than that is not ours, but a sanitizer's */
    GLANCE_SHARE = 2,     /* of memory_bytes: below it no step begins and none goes on */
    SHED_AT_ONCE = 16,    /* consumers, while what they hold is not enough */
    SHED_EVERY_MS = 50,   /* all connections are looked at so often while memory is short */
    FULL_HOLD_MS = 1000,  /* publishers wait so long for room, then they are refused */
    FULL_PAUSE_MS = 20,
    SAY_EVERY_MS = 1000
};

_Static_assert((PRESSURE_QOS0_PERCENT - PRESSURE_BACK_PERCENT) * (PRESSURE_HEADROOM_SHARE - 1) *
                       GLANCE_SHARE >
                   100 * PRESSURE_HEADROOM_SHARE,
               "GLANCE_SHARE says so");

#define ADVICE "Let clients read faster, lower queue_bytes of their roles, or raise memory_bytes"

/* ---- the process ---- */

uint64_t ceiling_fixed(int64_t resident)
{
    uint64_t heap = mem_used();
    uint64_t rest = resident > 0 && (uint64_t)resident > heap ? (uint64_t)resident - heap : 0;
    return rest < FIXED_MAX ? rest : FIXED_MAX;
}

uint64_t ceiling_used(const struct ceiling *c)
{
    return c->fixed_bytes + (c->heap != NULL ? c->heap(c->ctx) : mem_used());
}

uint64_t ceiling_peak(const struct ceiling *c)
{
    return c->fixed_bytes + mem_peak();
}

/* What the steps are of. */
static uint64_t below_headroom(const struct ceiling *c)
{
    uint64_t bytes = atomic_load_explicit(&c->bytes, memory_order_relaxed);
    return bytes - pressure_headroom(bytes, c->n_workers);
}

enum pressure ceiling_step(const struct ceiling *c, enum pressure before, uint64_t leaving)
{
    uint64_t used = ceiling_used(c);
    return pressure_next(before, used > leaving ? used - leaving : 0, below_headroom(c));
}

uint64_t ceiling_heap_most(const struct ceiling *c)
{
    uint64_t bytes = atomic_load_explicit(&c->bytes, memory_order_relaxed);
    uint64_t kept = c->fixed_bytes + (uint64_t)c->n_threads * MEM_COUNT_STEP;
    if (bytes == 0) {
        return 0;
    }
    return bytes > kept ? bytes - kept : 1;
}

void ceiling_trim(struct ceiling *c)
{
    (void)atomic_fetch_add_explicit(&c->n_trims, 1, memory_order_relaxed);
    mem_trim();
}

static void follow_trims(struct worker *w)
{
    unsigned n = atomic_load_explicit(&w->setup.ceiling->n_trims, memory_order_relaxed);
    if (n != w->n_trims) {
        w->n_trims = n;
        mem_trim_own();
    }
}

enum pressure ceiling_take_peak(struct ceiling *c)
{
    return (enum pressure)atomic_exchange_explicit(&c->peak, 0, memory_order_relaxed);
}

static void note_peak(struct ceiling *c, enum pressure step)
{
    unsigned seen = atomic_load_explicit(&c->peak, memory_order_relaxed);
    while (seen < step && !atomic_compare_exchange_weak_explicit(
                              &c->peak, &seen, step, memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* ---- steps ---- */

/* Memory is the process's, so its step is, too: a worker that did not look while the step was
 * reached follows it all the same, until memory is low enough for it to end. */
static void take_step(struct worker *w, enum pressure step)
{
    struct ceiling *c = w->setup.ceiling;
    if (step == PRESSURE_FULL && w->pressure != PRESSURE_FULL) {
        w->full_since_ms = w->now_ms;
    }
    w->pressure = step;
    atomic_store_explicit(&c->step, step, memory_order_relaxed);
    if (step != PRESSURE_NONE) {
        note_peak(c, step);
    }
}

static enum pressure step_before(const struct worker *w)
{
    return (enum pressure)atomic_load_explicit(&w->setup.ceiling->step, memory_order_relaxed);
}

/* leaving: bytes that are in use and whose end is decided. */
static void measure(struct worker *w, uint64_t leaving)
{
    take_step(w, ceiling_step(w->setup.ceiling, step_before(w), leaving));
}

/* Between turns: a step may be reached by what this very turn has taken in. What a step ends, only
 * a turn does. */
static void glance(struct worker *w)
{
    const struct ceiling *c = w->setup.ceiling;
    if (c == NULL || c->bytes == 0) {
        return;
    }
    uint64_t used = c->fixed_bytes + (c->heap != NULL ? c->heap(c->ctx) : mem_glance());
    if (used < atomic_load_explicit(&c->bytes, memory_order_relaxed) / GLANCE_SHARE) {
        return;
    }
    enum pressure now = pressure_next(step_before(w), used, below_headroom(c));
    if (now > w->pressure) {
        take_step(w, now);
    }
}

static void tell_worst(struct worker *w, uint64_t bytes)
{
    atomic_store_explicit(&w->setup.ceiling->worst[w->setup.index], bytes, memory_order_relaxed);
    w->is_worst_told = w->pressure != PRESSURE_NONE;
}

static unsigned percent_used(const struct ceiling *c)
{
    return (unsigned)(ceiling_used(c) / (c->bytes / 100 + 1));
}

/* ---- consumers ---- */

/* What the end of this connection frees: not what a session that lasts was promised. */
static struct consumer consumer_of(const struct conn *c)
{
    struct consumer one = {.conn = c->handle, .bytes = c->backlog_bytes};
    if (!c->session->subscriber.is_durable) {
        one.bytes += c->session->queue->queued_bytes;
    }
    return one;
}

static bool is_slow(const struct worker *w, const struct session *s)
{
    const struct conn *c = conn_find(w, s->conn);
    return consumer_is_slow(s->queue->queued_bytes + (c != NULL ? c->backlog_bytes : 0));
}

bool ceiling_drops(const struct worker *w, const struct session *s)
{
    return w->pressure >= PRESSURE_QOS0 && is_slow(w, s);
}

static void shed_qos0_of(struct worker *w, const struct conn *c)
{
    if (c->phase == CONN_OPEN && is_slow(w, c->session)) {
        size_t n = session_shed(c->session);
        slow_dropped(w, c->session, DROP_PRESSURE, (uint32_t)n, (struct slice){0});
    }
}

void ceiling_before_output(struct worker *w, const struct conn *c)
{
    glance(w);
    if (w->pressure >= PRESSURE_QOS0) {
        shed_qos0_of(w, c);
    }
}

static void shed_qos0(struct worker *w)
{
    for (size_t i = 0; i < w->n_slots; i++) {
        struct conn *c = w->conns[i];
        if (c == NULL) {
            continue;
        }
        shed_qos0_of(w, c);
        if (c->phase == CONN_OPEN && c->backlog_bytes > 0 && is_slow(w, c->session)) {
            spill_stalled(w, c);
        }
    }
    list_for_each (n, &w->shedders) {
        struct shedder *s = LIST_ENTRY(n, struct shedder, node);
        s->spare(s->ctx);
    }
}

/* A consumer, and the door that knows it; shedder NULL: it is a conn. */
struct candidate {
    struct consumer who;
    struct shedder *shedder;
};

/* Two at a time: while memory is short is no time to allocate a table. */
static void hold_against(struct candidate *worst, struct consumer who, struct shedder *shedder)
{
    struct consumer pair[2] = {worst->who, who};
    const struct consumer *larger = pressure_worst(pair, 2);
    if (larger == &pair[1]) {
        *worst = (struct candidate){who, shedder};
    }
}

static struct candidate find_worst(const struct worker *w)
{
    struct candidate worst = {.shedder = NULL};
    for (size_t i = 0; i < w->n_slots; i++) {
        const struct conn *c = w->conns[i];
        if (c != NULL && c->phase == CONN_OPEN) {
            hold_against(&worst, consumer_of(c), NULL);
        }
    }
    list_for_each (n, &w->shedders) {
        struct shedder *s = LIST_ENTRY(n, struct shedder, node);
        hold_against(&worst, s->worst(s->ctx), s);
    }
    return worst;
}

static void close_consumer(struct worker *w, struct conn *c, const struct consumer *who)
{
    struct event e = event_of(w, EVENT_slow_client, c);
    event_reason(&e,
                 "disconnected: %llu KiB waited for it, more than for any other client, and memory "
                 "is at %u %% of memory_bytes. %s",
                 (unsigned long long)(who->bytes >> 10), percent_used(w->setup.ceiling), ADVICE);
    worker_report(w, &e);
    slow_say(w, c->session);
    conn_close(w, c, MQTT_QUOTA_EXCEEDED);
    c->is_abandoned = true; /* who does not read does not read last words either */
    c->is_shed = true;
    conn_release_session(w, c, "memory");
}

static bool close_candidate(struct worker *w, const struct candidate *worst)
{
    struct conn *c = worst->shedder == NULL ? conn_find(w, worst->who.conn) : NULL;
    if (worst->shedder != NULL) {
        worst->shedder->close(worst->shedder->ctx, &worst->who, percent_used(w->setup.ceiling));
    } else if (c != NULL) {
        close_consumer(w, c, &worst->who);
    } else {
        return false;
    }
    count_add(&counts(w)->shed_slow, 1);
    return true;
}

/* The largest one of the process goes first, whichever worker it belongs to. */
static bool is_first(const struct worker *w, const struct consumer *worst)
{
    const struct ceiling *shared = w->setup.ceiling;
    uint64_t all[FILTERS_WORKERS_MAX];
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        all[i] = atomic_load_explicit(&shared->worst[i], memory_order_relaxed);
    }
    return pressure_sheds(worst->bytes, all, w->setup.n_workers, w->setup.index);
}

/* What one holds is freed by and by (its link goes at the end of the turn), so it is believed to be
 * free at once: rather one more in the next round than one too many now. */
static void shed_consumers(struct worker *w)
{
    uint64_t leaving = 0;
    bool may_shed = w->is_worst_told; /* and had a moment to hear of the others' */
    struct candidate worst = find_worst(w);
    tell_worst(w, worst.who.bytes);
    for (int i = 0; i < SHED_AT_ONCE && may_shed && w->pressure >= PRESSURE_CONSUMERS; i++) {
        if (!is_first(w, &worst.who) || !close_candidate(w, &worst)) {
            return;
        }
        leaving += worst.who.bytes;
        worst = find_worst(w);
        tell_worst(w, worst.who.bytes);
        measure(w, leaving);
    }
}

/* ---- strangers ---- */

static void say_strangers(struct worker *w)
{
    if (w->n_turned_away == 0 || w->now_ms < w->turned_away_said_ms + SAY_EVERY_MS) {
        return;
    }
    struct event e = event_make(EVENT_quota);
    e.wall_ms = w->wall_ms;
    e.count = w->n_turned_away;
    event_reason(&e,
                 "%u connections that had not logged in were closed: memory is at %u %% of "
                 "memory_bytes. They may come again when it is free. %s",
                 w->n_turned_away, percent_used(w->setup.ceiling), ADVICE);
    worker_report(w, &e);
    w->n_turned_away = 0;
    w->turned_away_said_ms = w->now_ms;
}

static void shed_strangers(struct worker *w)
{
    for (size_t i = 0; i < w->n_slots; i++) {
        struct conn *c = w->conns[i];
        if (c != NULL && (c->phase == CONN_GATE || c->phase == CONN_ASKED)) {
            count_add(&counts(w)->shed_strangers, 1);
            w->n_turned_away++;
            conn_close(w, c, MQTT_QUOTA_EXCEEDED);
        }
    }
    list_for_each (n, &w->shedders) {
        struct shedder *s = LIST_ENTRY(n, struct shedder, node);
        size_t gone = s->turn_away(s->ctx);
        count_add(&counts(w)->shed_strangers, gone);
        w->n_turned_away += (uint32_t)gone;
    }
}

bool ceiling_takes_nobody(struct worker *w)
{
    if (w->pressure != PRESSURE_FULL) {
        return false;
    }
    count_add(&counts(w)->refused_memory, 1);
    w->n_turned_away++;
    return true;
}

/* ---- publishers ---- */

bool ceiling_holds(struct worker *w, struct conn *c)
{
    glance(w);
    if (w->pressure != PRESSURE_FULL || w->now_ms >= w->full_since_ms + FULL_HOLD_MS) {
        return false;
    }
    conn_pause(w, c, w->now_ms + FULL_PAUSE_MS);
    return true;
}

bool ceiling_refuses(struct worker *w, struct decision *ret)
{
    glance(w);
    if (w->pressure != PRESSURE_FULL) {
        return false;
    }
    count_add(&counts(w)->refused_memory, 1);
    (void)snprintf(
        ret->rule, sizeof(ret->rule),
        "memory is at memory_bytes: nothing new is taken, what was acknowledged is kept. "
        "Look at `sallyport alerts`, or raise memory_bytes");
    return true;
}

/* ---- turns ---- */

void ceiling_turn(struct worker *w)
{
    if (w->setup.ceiling == NULL) {
        return;
    }
    follow_trims(w);
    if (w->setup.ceiling->bytes == 0) {
        return;
    }
    enum pressure before = w->pressure;
    measure(w, 0);
    if (w->pressure != PRESSURE_NONE) {
        msg_pool_clear(msg_pool_own()); /* nobody goes for what nobody needs */
        measure(w, 0);
    }
    spill_turn(w, ceiling_used(w->setup.ceiling));
    say_strangers(w);
    if (w->pressure == PRESSURE_NONE) {
        if (before != PRESSURE_NONE) {
            tell_worst(w, 0);
            ceiling_trim(w->setup.ceiling); /* or the process stays as large as it was */
        }
        return;
    }
    if (w->now_ms < w->next_shed_ms) {
        return;
    }
    w->next_shed_ms = w->now_ms + SHED_EVERY_MS;
    shed_qos0(w);
    measure(w, 0); /* after each step: what it freed may be enough */
    shed_consumers(w);
    if (w->pressure >= PRESSURE_STRANGERS) {
        shed_strangers(w);
    }
}

/* ---- other doors ---- */

void worker_add_shedder(struct worker *w, struct shedder *s)
{
    list_append(&w->shedders, &s->node);
}

enum pressure worker_pressure(struct worker *w)
{
    glance(w);
    return w->pressure;
}

bool worker_takes_nobody(struct worker *w)
{
    return ceiling_takes_nobody(w);
}

uint64_t ceiling_deadline(const struct worker *w)
{
    return w->pressure != PRESSURE_NONE ? w->next_shed_ms : UINT64_MAX;
}
