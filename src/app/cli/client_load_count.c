/* What a delivery proves: whose it is, whether it is the first, whether it comes in order. */
#include "app/cli/client_load_private.h"

static size_t seen_at(const struct load *l, const struct conn *sub, uint32_t from, uint32_t subject)
{
    return l->o->shape == LOAD_RETAINED ? subject
                                        : sub->index * l->seen_by_sub + from * l->seen_by_pub;
}

/* How many messages of this publisher this subscriber may have had. */
static uint64_t told(const struct load *l, const struct conn *sub, uint32_t from)
{
    return l->o->shape == LOAD_SUBSCRIPTIONS
               ? l->n_told[(size_t)sub->index * l->o->n_publishers + from]
               : l->conns[from].n_sent;
}

static bool is_ours(const struct load *l, const struct conn *sub, uint32_t from, uint64_t number,
                    uint32_t subject)
{
    if (from >= l->o->n_publishers || (load_is_pairs(l) && from != sub->index) ||
        number >= told(l, sub, from)) {
        return false;
    }
    return l->o->shape == LOAD_RETAINED        ? number == subject
           : l->o->shape == LOAD_SUBSCRIPTIONS ? load_owner_of(l, subject) == sub->index
                                               : true;
}

static void count_latency(struct load *l, uint32_t from, uint64_t number)
{
    uint64_t due_us = load_due_us(l, from, number), now_us = l->clock.mono_us(l->clock.ctx);
    bool was_measured = l->measure_us[0] > 0 && due_us >= l->measure_us[0] &&
                        (l->is_measuring || due_us < l->measure_us[1]);
    if (was_measured) {
        latency_add(&l->latency, now_us > due_us ? now_us - due_us : 0);
    }
}

void load_count(struct load *l, const struct conn *sub, uint32_t from, uint64_t number,
                uint32_t subject)
{
    if (!is_ours(l, sub, from, number, subject)) {
        l->r.foreign++;
        return;
    }
    struct conn *pub = &l->conns[from];
    /* what is retained comes in any order: each has a memory of its own */
    enum seen_verdict verdict = seen_count(&l->seen[seen_at(l, sub, from, subject)],
                                           l->o->shape == LOAD_RETAINED ? 0 : number);
    l->r.duplicates += verdict == SEEN_AGAIN;
    l->r.misordered += verdict == SEEN_LATE;
    if (verdict == SEEN_AGAIN) {
        return;
    }
    if (l->o->shape == LOAD_DURABLE) {
        l->n_woken++;
        return;
    }
    l->r.delivered++;
    if (l->o->shape == LOAD_LATENCY) {
        count_latency(l, from, number);
    }
    pub->n_delivered += l->o->shape != LOAD_RETAINED;
    if (!pub->is_dirty && load_has_window(pub) && load_room(pub) > 0) {
        load_mark_dirty(l, pub);
    }
}
