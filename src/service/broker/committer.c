#include "service/broker/committer.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "base/mem.h"

enum {
    LINGER_LOOK_US = 1000,
    LINGER_QUIET_US = 300,
    LINGER_TRY = 16 /* of so many pauses that would be in vain one is made to the end */
};

struct committer {
    struct clock clock;
    struct log *log;
    struct committer_listener listener;
    sem_t sem;             /* somebody calls */
    sem_t ending;          /* committer_stop alone posts it */
    atomic_bool is_called; /* many calls before it wakes are one */
    atomic_bool is_stopping;
    pthread_t thread;
    bool is_running;
    unsigned n_vain; /* long pauses in which nobody came, one after the other; its own thread's */
    pthread_mutex_t lock; /* of what is below */
    struct event events[COMMITTER_EVENTS];
    size_t first, n;
    uint64_t n_lost;
};

/* ---- sleeping ---- */

void committer_wake(void *ctx)
{
    struct committer *c = ctx;
    if (!atomic_exchange_explicit(&c->is_called, true, memory_order_acq_rel)) {
        (void)sem_post(&c->sem);
    }
}

static bool wait_until(sem_t *sem, uint64_t at_us)
{
    struct timespec until = {.tv_sec = (time_t)(at_us / 1000000),
                             .tv_nsec = (long)(at_us % 1000000) * 1000};
    return sem_clockwait(sem, CLOCK_MONOTONIC, &until) == 0;
}

/* Until somebody calls or at_ms; true: somebody called. */
static bool sleep_until(struct committer *c, uint64_t at_ms)
{
    bool is_called =
        at_ms == UINT64_MAX ? sem_wait(&c->sem) == 0 : wait_until(&c->sem, at_ms * 1000);
    if (is_called) {
        atomic_store_explicit(&c->is_called, false, memory_order_release);
    }
    return is_called;
}

/* True: this is the end. */
static bool pause_for(struct committer *c, uint64_t us)
{
    return wait_until(&c->ending, c->clock.mono_us(c->clock.ctx) + us);
}

/* Others may join the batch that is about to be written, unless this is the end. When the last long
 * pauses were in vain, all who could join wait for us: this one is looked at in between. */
static void linger(struct committer *c, uint64_t us)
{
    bool is_long = us > LINGER_LOOK_US;
    bool is_looked_at = is_long && c->n_vain % LINGER_TRY != 0;
    if (us == 0 || pause_for(c, is_looked_at ? LINGER_LOOK_US : us) || !is_long) {
        return;
    }
    uint64_t quiet_us = log_quiet_us(c->log);
    if (!is_looked_at) {
        c->n_vain = quiet_us < us / 2 ? 0 : c->n_vain + 1;
    } else if (quiet_us < LINGER_QUIET_US) {
        (void)pause_for(c, us - LINGER_LOOK_US);
    } else {
        c->n_vain++;
    }
}

/* ---- the thread ---- */

static enum err commit_once(struct committer *c,
                            enum err (*commit)(struct log *l, uint64_t *ret_moved))
{
    uint64_t moved = 0;
    enum err err = commit(c->log, &moved);
    if (moved != 0) {
        c->listener.moved(c->listener.ctx, moved);
    }
    return err;
}

static void *committer_thread(void *arg)
{
    struct committer *c = arg;
    uint64_t at_ms = 0;
    c->listener.moved(c->listener.ctx,
                      UINT64_MAX); /* what was committed before there was a thread */
    while (!atomic_load_explicit(&c->is_stopping, memory_order_acquire)) {
        if (sleep_until(c, at_ms)) {
            linger(c, log_pace(c->log));
        }
        enum err ignored = commit_once(
            c, log_commit_due); /* trouble is the log's to say and to mend, by log_tend */
        (void)ignored;
        bool has_more = c->listener.work != NULL && c->listener.work(c->listener.ctx);
        log_tend(c->log, c->clock.mono_ms(c->clock.ctx), &at_ms);
        at_ms = has_more ? 0 : at_ms;
    }
    return NULL;
}

MUST_USE enum err committer_start(struct committer *c, struct log *log,
                                  const struct committer_listener *listener)
{
    c->log = log;
    c->listener = *listener;
    c->is_running = true;
    log_threaded(log, true);
    if (pthread_create(&c->thread, NULL, committer_thread, c) != 0) {
        log_threaded(log, false);
        c->is_running = false;
        return ERR_IO;
    }
    return OK;
}

void committer_stop(struct committer *c)
{
    if (!c->is_running) {
        return;
    }
    atomic_store_explicit(&c->is_stopping, true, memory_order_release);
    (void)sem_post(&c->ending);
    committer_wake(c);
    (void)pthread_join(c->thread, NULL);
    c->is_running = false;
    log_threaded(c->log, false);
    while (commit_once(c, log_commit) == OK) {
    }
    c->listener = (struct committer_listener){0}; /* the log may outlive it */
}

/* ---- events ---- */

void committer_event(void *ctx, const struct event *e)
{
    struct committer *c = ctx;
    (void)pthread_mutex_lock(&c->lock);
    if (c->n < COMMITTER_EVENTS) {
        struct event *kept = &c->events[(c->first + c->n) % COMMITTER_EVENTS];
        *kept = *e;
        if (!c->is_running) {
            kept->wall_ms = 0; /* while the log opens, the last time on record is not known yet */
        }
        c->n++;
    } else {
        c->n_lost++;
    }
    (void)pthread_mutex_unlock(&c->lock);
    if (c->listener.notify != NULL) {
        c->listener.notify(c->listener.ctx);
    }
}

bool committer_next_event(struct committer *c, struct event *ret)
{
    bool found = false;
    uint64_t n_lost = 0;
    (void)pthread_mutex_lock(&c->lock);
    if (c->n > 0) {
        *ret = c->events[c->first];
        c->first = (c->first + 1) % COMMITTER_EVENTS;
        c->n--;
        found = true;
    } else {
        n_lost = c->n_lost;
        c->n_lost = 0;
    }
    (void)pthread_mutex_unlock(&c->lock);
    if (n_lost > 0) {
        *ret = event_make(EVENT_store_integrity);
        ret->count = n_lost < UINT32_MAX ? (uint32_t)n_lost : UINT32_MAX;
        event_reason(ret, "%llu more events of the store were not kept",
                     (unsigned long long)n_lost);
        found = true;
    }
    return found;
}

/* ---- life ---- */

MUST_USE enum err committer_new(const struct clock *clock, struct committer **ret)
{
    struct committer *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->clock = *clock;
    if (sem_init(&c->sem, 0, 0) != 0 || sem_init(&c->ending, 0, 0) != 0 ||
        pthread_mutex_init(&c->lock, NULL) != 0) {
        mem_free(c);
        return ERR_IO;
    }
    *ret = c;
    return OK;
}

struct committer *committer_free(struct committer *c)
{
    if (c == NULL) {
        return NULL;
    }
    committer_stop(c);
    (void)sem_destroy(&c->sem);
    (void)sem_destroy(&c->ending);
    (void)pthread_mutex_destroy(&c->lock);
    return mem_free(c);
}
