/* What goes to other workers: the ring, and behind it an overflow list, so that a full ring never
 * blocks and never drops what somebody was promised (docs/ORDER.md, rule 11). */
#include <assert.h>

#include "base/mem.h"
#include "service/broker/outbox_private.h"
#include "service/broker/worker_private.h"

static enum err overflow_room(struct outbox *o)
{
    if (o->at > 0 && o->n == o->cap) {
        memmove(o->overflow, o->overflow + o->at, (o->n - o->at) * sizeof(struct wmsg));
        o->n -= o->at;
        o->at = 0;
    }
    if (o->n == o->cap) {
        size_t cap = o->cap > 0 ? o->cap * 2 : 256;
        struct wmsg *grown = mem_grow(o->overflow, cap * sizeof(*grown));
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        o->overflow = grown;
        o->cap = cap;
    }
    return OK;
}

MUST_USE enum err outbox_reserve(struct worker *w, uint64_t to)
{
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        if ((to >> i & 1) != 0) {
            TRY(overflow_room(&w->outboxes[i]));
        }
    }
    return OK;
}

MUST_USE enum err outbox_push(struct worker *w, unsigned to, const struct wmsg *m)
{
    struct outbox *o = &w->outboxes[to];
    struct wmsg stamped = *m;
    stamped.from = (uint16_t)w->setup.index;
    w->wakes |= (uint64_t)1 << to;
    if (o->at == o->n && ring_push(o->ring, &stamped) == OK) {
        return OK;
    }
    TRY(overflow_room(o));
    o->overflow[o->n++] = stamped;
    return OK;
}

void outbox_push_held(struct worker *w, unsigned to, const struct wmsg *m)
{
    struct outbox *o = &w->outboxes[to];
    assert(o->n < o->cap);
    o->overflow[o->n] = *m;
    o->overflow[o->n++].from = (uint16_t)w->setup.index;
    o->is_held = true;
    w->has_held = true;
}

void outboxes_release(struct worker *w)
{
    if (!w->has_held) {
        return;
    }
    w->has_held = false;
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        w->outboxes[i].is_held = false;
    }
    outboxes_drain(w);
}

void outboxes_drain(struct worker *w)
{
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        struct outbox *o = &w->outboxes[i];
        while (!o->is_held && o->at < o->n && ring_push(o->ring, &o->overflow[o->at]) == OK) {
            o->at++;
            w->wakes |= (uint64_t)1 << i;
        }
        if (o->at == o->n && o->n > 0) {
            o->overflow = mem_free(o->overflow);
            o->at = o->n = o->cap = 0;
        }
    }
}

bool outboxes_are_full(const struct worker *w, size_t over)
{
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        if (w->outboxes[i].n - w->outboxes[i].at >= over) {
            return true;
        }
    }
    return false;
}
