/* Loads with a rate. */
#include "app/cli/client_load_private.h"

/* By whole milliseconds: a server that answers in many small portions must not be sent smaller ones
 * for it, each of which wakes it. */
uint64_t load_due(const struct load *l)
{
    return (l->now_us - l->begin_us) / 1000 * l->o->rate / 1000;
}

/* At a given rate each millisecond brings the publishers that are due, one after the other. */
void load_pace(struct load *l)
{
    uint64_t until = load_due(l);
    for (uint32_t i = 0; l->n_sent + i < until && i < l->o->n_publishers; i++) {
        load_mark_dirty(l, &l->conns[l->pace_at++ % l->o->n_publishers]);
    }
}

/* LOAD_LATENCY: message k of all is due k / rate after the beginning, whatever the server does, and
 * is that of publisher k mod n. */
void load_pace_exactly(struct load *l)
{
    uint64_t until = (l->now_us - l->begin_us) * l->o->rate / 1000000;
    for (; l->n_due < until; l->n_due++) {
        struct conn *c = &l->conns[l->n_due % l->o->n_publishers];
        c->n_owed++;
        load_mark_dirty(l, c);
    }
}

uint64_t load_due_us(const struct load *l, uint32_t from, uint64_t number)
{
    uint64_t k = number * l->o->n_publishers + from + 1; /* the first one is due after one pause */
    return l->begin_us + (k * 1000000 + l->o->rate - 1) / l->o->rate;
}
