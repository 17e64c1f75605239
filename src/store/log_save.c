/* What other threads ask of the log: entries saved at once, the status, pins for a backup. */
#include <assert.h>
#include <errno.h>
#include <time.h>

#include "store/log_private.h"

enum { SEAL_SLACK = 64, LOG_MOMENT_MS = 5 };

/* ---- entries ---- */

static struct writer *saver(struct log *l)
{
    return &l->writers[l->n_writers - 1];
}

static enum err append_change(struct writer *w, const struct log_change *c)
{
    enum journal_kind kind = c->is_end ? JOURNAL_ENTRY_END : JOURNAL_ENTRY;
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr h = wr_into(head, sizeof head);
    uint64_t lsn = 0;
    TRY(journal_entry_head(kind, c->table, c->id, &h));
    return journal_append(&w->journal, kind, c->owner, wr_slice(&h),
                          c->is_end ? (struct slice){0} : c->content, &lsn);
}

static void take_back(struct writer *w)
{
    struct chunk *c = TAKE(w->open);
    if (c != NULL) {
        log_chunk_done(w->log, c);
    }
}

static struct timespec at_ms(uint64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

static bool wait_committed(struct log *l, const struct writer *w)
{
    struct timespec until = at_ms(log_now_ms(l) + LOG_SAVE_S * 1000);
    int failed = 0;
    (void)pthread_mutex_lock(&l->inbox);
    l->n_savers++;
    while (journal_committed(&w->journal) < w->lsn && failed != ETIMEDOUT) {
        failed = pthread_cond_timedwait(&l->saved, &l->inbox, &until);
    }
    l->n_savers--;
    (void)pthread_mutex_unlock(&l->inbox);
    return journal_committed(&w->journal) >= w->lsn;
}

static enum err commit_here(struct log *l, const struct writer *w)
{
    uint64_t moved = 0;
    enum err err = OK;
    (void)pthread_mutex_lock(&l->lock);
    while (err == OK && journal_committed(&w->journal) < w->lsn) {
        err = log_commit_locked(l, &moved);
        l->saved_moved |= err == OK ? moved : 0;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return err;
}

/* A batch that has the change already keeps it: it may be on the disk, or come to it with the next
 * try. */
static enum err give_up(struct log *l, const struct writer *w, enum err err)
{
    if (pthread_mutex_trylock(&l->lock) != 0) {
        return ERR_TIMEOUT; /* the disk does not answer */
    }
    bool is_done = journal_committed(&w->journal) >= w->lsn;
    bool is_back = !is_done && log_withdraw(l, w->index, w->lsn);
    (void)pthread_mutex_unlock(&l->lock);
    return is_done ? OK : is_back ? err : ERR_TIMEOUT;
}

/* Nobody else makes room or tries again after trouble. */
static void tend_here(struct log *l)
{
    uint64_t at_ms = 0;
    for (unsigned i = 0; i <= LOG_READY && at_ms <= log_now_ms(l); i++) {
        log_tend(l, log_now_ms(l), &at_ms);
    }
    uint64_t moved = 0;
    (void)pthread_mutex_lock(&l->lock);
    if (l->trouble != OK && log_commit_locked(l, &moved) == OK) {
        l->saved_moved |= moved;
    }
    (void)pthread_mutex_unlock(&l->lock);
}

static enum err append_all(struct writer *w, const struct log_change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum err err = append_change(w, &changes[i]);
        if (err != OK) {
            take_back(w);
            return err;
        }
    }
    return OK;
}

/* Nothing is wrong, the log is only behind: it has what it was given before in a moment. */
static bool is_behind(const struct log *l, const struct log_change *changes, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += changes[i].content.n + JOURNAL_HEAD_MAX + SEAL_SLACK;
    }
    return atomic_load_explicit(&l->refusal, memory_order_relaxed) == OK &&
           bytes <= l->handover_max / 2;
}

static void wait_moment(struct log *l)
{
    struct timespec until = at_ms(log_now_ms(l) + LOG_MOMENT_MS);
    (void)pthread_mutex_lock(&l->inbox);
    l->n_savers++;
    (void)pthread_cond_timedwait(&l->saved, &l->inbox, &until);
    l->n_savers--;
    (void)pthread_mutex_unlock(&l->inbox);
}

/* A worker cannot wait for a log that lags; who saves can. */
static enum err append_in_time(struct log *l, struct writer *w, const struct log_change *changes,
                               size_t n)
{
    uint64_t end_ms = log_now_ms(l) + LOG_SAVE_S * 1000;
    enum err err = append_all(w, changes, n);
    while (err == ERR_SPACE && atomic_load(&l->is_threaded) && is_behind(l, changes, n) &&
           log_now_ms(l) < end_ms) {
        wait_moment(l);
        err = append_all(w, changes, n);
    }
    return err;
}

static enum err save(struct log *l, const struct log_change *changes, size_t n)
{
    struct writer *w = saver(l);
    if (!atomic_load(&l->is_threaded)) {
        tend_here(l);
    }
    TRY(append_in_time(l, w, changes, n));
    journal_handover(&w->journal, true);
    if (atomic_load(&l->is_threaded)) {
        return wait_committed(l, w) ? OK : give_up(l, w, ERR_IO);
    }
    enum err err = commit_here(l, w);
    return err == OK ? OK : give_up(l, w, err);
}

MUST_USE enum err log_save(struct log *l, const struct log_change *changes, size_t n)
{
    (void)pthread_mutex_lock(&l->saving);
    enum err err = n > 0 ? save(l, changes, n) : OK;
    (void)pthread_mutex_unlock(&l->saving);
    return err;
}

void log_threaded(struct log *l, bool is_threaded)
{
    atomic_store(&l->is_threaded, is_threaded);
}

/* ---- status ---- */

void log_status(struct log *l, struct log_status *ret)
{
    (void)pthread_mutex_lock(&l->inbox);
    *ret = l->status;
    (void)pthread_mutex_unlock(&l->inbox);
}

/* ---- pins ---- */

static enum err pin(struct log *l, uint32_t *numbers, size_t max, size_t *ret_n)
{
    const struct seg *s = log_current(l);
    if (s != NULL && s->used > SEGMENT_HEAD_BYTES) {
        TRY(log_roll(l));
    }
    size_t n = l->n_segs - (l->has_current ? 1 : 0);
    if (n > max) {
        return ERR_SPACE;
    }
    assert(n == 0 || l->segs != NULL);
    for (size_t i = 0; i < n; i++) {
        numbers[i] = l->segs[i].head.number;
    }
    if (n > 0) {
        l->pinned = numbers[n - 1];
    }
    l->n_pins++;
    log_account(l);
    *ret_n = n;
    return OK;
}

MUST_USE enum err log_pin(struct log *l, uint32_t *numbers, size_t max, size_t *ret_n)
{
    (void)pthread_mutex_lock(&l->lock);
    enum err err = pin(l, numbers, max, ret_n);
    (void)pthread_mutex_unlock(&l->lock);
    return err;
}

void log_unpin(struct log *l)
{
    (void)pthread_mutex_lock(&l->lock);
    l->n_pins -= l->n_pins > 0 ? 1 : 0;
    (void)pthread_mutex_unlock(&l->lock);
}
