/*
 * What is over before it is written. A message whose receivers acknowledge within milliseconds is
 * given those: then nothing of it needs the disk, and its publisher is answered without a sync.
 * docs/decisions/0054 says why that loses nothing, and what it is worth.
 *
 * What was handed over is applied to the index ahead of its batch. From the front, handovers of
 * which nothing is left to write count as committed; the first one that holds something living, and
 * all behind it, stay pending. That an acknowledgement is not on disk when the message it ended is
 * given up does no harm: its receiver has spoken. Any other end does, so one record of another kind
 * among what is pending, and nothing is given up before its time. The acknowledgement of what is on
 * disk already has to go there, too; what is behind it may still be spared.
 */
#include "base/plant.h"
#include "store/log_private.h"

enum {
    HOLD_US = 8000,       /* the oldest handover waits so long at most */
    ACKS_PERCENT = 15,    /* of the last records: with fewer nobody is there to be waited for */
    OLD_US = HOLD_US / 2, /* what is written when the oldest is late */
    MISSES_MAX = 8,
    MISSES_FREE = 4, /* a part of the commits that a miss would cost */
    SPARED_RUN = 8   /* commits that needed no disk make up for one that came too late */
};

static bool may_hold(const struct log *l)
{
    return l->trouble == OK && l->batch.first == NULL && l->copies == NULL && !l->must_meta &&
           (l->acks_x16 >= ACKS_PERCENT * LOG_MEAN || l->setup.holds_always);
}

static bool is_all_traffic(const struct chunks *q)
{
    for (const struct chunk *c = q->first; c != NULL; c = c->next) {
        if (c->has_other && !PLANTED(PLANT_HELD_FOR_ANY)) {
            return false;
        }
    }
    return true;
}

static bool is_dead_end(const struct frame *f)
{
    return f->is_applied && f->ended != NULL && !index_is_alive(f->ended);
}

/* What a frame ended may go with the handover it came in, long before the frame. */
static enum err apply_ahead(struct log *l)
{
    enum err err = OK;
    for (struct chunk *c = l->pending.first; c != NULL && err == OK; c = c->next) {
        err = log_apply_chunk(l, c);
    }
    for (struct chunk *c = l->pending.first; c != NULL; c = c->next) {
        for (size_t i = 0; i < c->n_frames; i++) {
            struct frame *f = &c->frames[i];
            if (is_dead_end(f)) {
                f->ended = NULL;
                f->is_over = true;
            }
        }
    }
    return err;
}

/* What a handover still needs. */
enum need {
    NEED_NOTHING,
    NEED_ENDS, /* acknowledgements of what is on disk */
    NEED_MORE  /* it may be over yet */
};

static enum need need_of(const struct chunk *c)
{
    enum need need = NEED_NOTHING;
    for (size_t i = 0; i < c->n_frames && need != NEED_MORE; i++) {
        const struct frame *f = &c->frames[i];
        if (log_frame_is_needed(f)) {
            need = f->item == NULL && f->ended == NULL ? NEED_ENDS : NEED_MORE;
        }
    }
    return need;
}

static void note_spared(struct log *l)
{
    l->n_spared++;
    if (l->n_spared % SPARED_RUN == 0 && l->n_misses > 0) {
        l->n_misses--;
    }
}

/* After the first ones nobody is held the next 1, 2, ... 64 times. */
static void note_miss(struct log *l)
{
    l->n_spared = 0;
    l->n_misses += l->n_misses < MISSES_MAX ? 1 : 0;
    l->n_unheld = l->setup.holds_always ? 0 : (1u << l->n_misses) / MISSES_FREE;
}

static void give_up_front(struct log *l, uint64_t *ret_moved)
{
    uint64_t n = 0, n_acks = 0;
    while (l->pending.first != NULL && need_of(l->pending.first) == NEED_NOTHING) {
        struct chunk *c = chunks_pop(&l->pending);
        n += c->n_frames;
        n_acks += c->n_acks;
        *ret_moved |= log_chunk_commit(l, c);
    }
    if (n > 0) {
        log_moved(l);
        log_note_pace(l, n, n_acks);
        l->is_spared = true;
        note_spared(l);
    }
}

static uint64_t age_us(struct log *l, const struct chunk *c)
{
    uint64_t now_us = l->setup.clock.mono_us(l->setup.clock.ctx);
    return now_us > c->handed_us ? now_us - c->handed_us : 0;
}

/* From the front: what is only ends, and when the oldest is late, what will soon be. */
static size_t count_front(struct log *l, bool is_late)
{
    size_t n = 0;
    for (const struct chunk *c = l->pending.first;
         c != NULL && (need_of(c) != NEED_MORE || (is_late && age_us(l, c) >= OLD_US));
         c = c->next) {
        n++;
    }
    return n;
}

bool log_hold(struct log *l, uint64_t *ret_moved)
{
    l->is_held = false;
    l->n_front = 0;
    if (!may_hold(l) || l->n_unheld > 0) {
        l->n_unheld -= l->n_unheld > 0 ? 1 : 0;
        return false;
    }
    log_take_handed(l);
    if (!is_all_traffic(&l->pending) || apply_ahead(l) != OK) {
        return false; /* it is for log_commit to say */
    }
    give_up_front(l, ret_moved);
    bool is_late = l->pending.first != NULL && age_us(l, l->pending.first) >= HOLD_US;
    if (is_late) {
        note_miss(l);
    }
    l->n_front = count_front(l, is_late);
    l->is_held = l->n_front == 0;
    return l->is_held;
}
