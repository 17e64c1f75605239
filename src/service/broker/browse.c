#include "service/broker/browse.h"

#include <assert.h>

#include "base/mem.h"
#include "service/broker/outbox_private.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"

enum {
    BROWSE_STEPS = 4096, /* places of the index in one turn, of all browses */
    BROWSE_CHANGES = 256 /* messages cleared or put back in one turn, of each */
};

enum err browse_begin(struct slice filter, struct browse **ret)
{
    struct browse *b = mem_zalloc(sizeof(*b) + filter.n);
    if (b == NULL) {
        return ERR_NOMEM;
    }
    slice_copy(b->bytes, filter);
    b->filter = slice_of(b->bytes, filter.n);
    atomic_init(&b->refs, 1);
    atomic_init(&b->is_ready, true);
    *ret = b;
    return OK;
}

struct browse *browse_ref(struct browse *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void browse_clear(struct browse *b)
{
    for (size_t i = 0; i < b->n; i++) {
        msg_unref(b->page[i]);
    }
    b->n = 0;
    b->page_bytes = 0;
}

struct browse *browse_unref(struct browse *b)
{
    if (b != NULL && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
        assert(!list_is_linked(&b->node));
        browse_clear(b);
        mem_free(b);
    }
    return NULL;
}

bool browse_is_ready(const struct browse *b)
{
    return atomic_load_explicit(&b->is_ready, memory_order_acquire);
}

/* ---- the worker's side ---- */

static void leave(struct worker *w, struct browse *b)
{
    list_unlink(&b->node);
    retained_cursor_done(w->retained, &b->cursor);
    browse_unref(b);
}

/* A reference comes with each message; the worker keeps the first one. */
void browse_arrived(struct worker *w, struct browse *b)
{
    if (list_is_linked(&b->node)) {
        browse_unref(b);
    } else {
        list_append(&w->browses, &b->node);
        retained_cursor_init(w->retained, b->filter, &b->cursor);
    }
    if (b->is_over) {
        leave(w, b);
        return;
    }
    b->at = b->job == BROWSE_LOOK ? b->n : 0;
    b->n_done = 0;
    b->err = OK;
    b->lsn = 0;
    b->is_working = true;
}

/* Its publisher cleared it, as far as anybody can tell: who hears it is judged as for that one. */
static enum err clear_one(struct worker *w, const struct msg *m)
{
    struct msg *clear = NULL;
    TRY(msg_new(m->topic, (struct slice){0}, (struct slice){0}, &clear));
    clear->qos = m->qos;
    clear->retain = true;
    clear->publisher = m->publisher;
    clear->epoch = m->epoch;
    clear->segment = m->segment;
    clear->content_format = m->content_format;
    struct route r = {.m = clear};
    return publish_route(w, &r);
}

static enum err change_one(struct worker *w, struct browse *b)
{
    struct msg *m = b->page[b->at];
    const struct msg *now = retained_find(w->retained, m->topic, w->now_ms);
    if (b->job == BROWSE_CLEAR && now != NULL && now->number == m->number) {
        TRY(clear_one(w, m));
        b->n_done++;
    }
    if (b->job == BROWSE_RESTORE && now == NULL && m->expires_at_ms > w->now_ms) {
        struct route r = {.m = m};
        b->page[b->at] = NULL;
        TRY(publish_route(w, &r));
        b->n_done++;
    }
    return OK;
}

static void change_some(struct worker *w, struct browse *b)
{
    uint64_t before = w->last_lsn;
    for (unsigned i = 0; i < BROWSE_CHANGES && b->at < b->n; i++) {
        b->err = change_one(w, b);
        b->at = b->err == OK ? b->at + 1 : b->n;
    }
    b->lsn = w->last_lsn > before ? w->last_lsn : b->lsn;
}

/* False: the steps are used up. */
static bool fill(struct worker *w, struct browse *b, size_t *steps)
{
    while (b->n < BROWSE_PAGE && b->page_bytes < BROWSE_PAGE_BYTES && b->cursor.node != NULL) {
        const struct msg *m = retained_cursor_find(w->retained, &b->cursor, w->now_ms, steps);
        if (m == NULL) {
            return b->cursor.node == NULL;
        }
        b->page[b->n++] = (struct msg *)(uintptr_t)msg_ref(m);
        b->page_bytes += msg_cost(m);
        retained_cursor_next(w->retained, &b->cursor);
    }
    return true;
}

static void work(struct worker *w, struct browse *b, size_t *steps)
{
    if (b->at < b->n) {
        change_some(w, b);
    }
    if (b->at < b->n || b->lsn > w->committed) {
        return;
    }
    if (b->n > 0 && b->at == b->n) {
        browse_clear(b);
    }
    b->at = SIZE_MAX; /* the page is the next one from here on */
    if (b->job == BROWSE_RESTORE || b->err != OK || fill(w, b, steps)) {
        b->is_end = b->cursor.node == NULL;
        b->is_working = false;
        atomic_store_explicit(&b->is_ready, true, memory_order_release);
    }
}

void browses_turn(struct worker *w)
{
    size_t steps = BROWSE_STEPS;
    list_for_each (n, &w->browses) {
        struct browse *b = LIST_ENTRY(n, struct browse, node);
        if (b->is_working && !outboxes_are_full(w, OVERFLOW_PAUSE)) {
            work(w, b, &steps);
        }
    }
}

bool browses_wait(const struct worker *w)
{
    list_for_each (n, &w->browses) {
        if (LIST_ENTRY(n, struct browse, node)->is_working) {
            return true;
        }
    }
    return false;
}

void browses_end(struct worker *w)
{
    list_for_each_safe (n, next, &w->browses) {
        leave(w, LIST_ENTRY(n, struct browse, node));
    }
}
