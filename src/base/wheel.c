#include "base/wheel.h"

#include <assert.h>

/*
 * A time is a number in base 64. A timer lives on the level of the highest digit in which its time
 * differs from now, in the slot of that digit. So all timers of a level come before all of the next
 * one, within a level they come in slot order, and a slot is reached exactly when now's digit
 * becomes its number; then its timers move to lower levels, or are due.
 *
 * Times that differ from now above the last level (2^48 ms) wait in slot 0 of the last level, which
 * no other timer can use because its digit would have to be above now's. It is reached when now
 * enters the next 2^48 ms.
 *
 * The place of a timer is thus a function of its time and of now, which lets wheel_cancel find the
 * `used` bit to clear.
 */
enum { DIGIT_BITS = 6, TOP = WHEEL_LEVELS - 1, SPAN_BITS = DIGIT_BITS * WHEEL_LEVELS };

_Static_assert(WHEEL_SLOTS == 1 << DIGIT_BITS, "one slot for each digit");

struct place {
    unsigned level, slot;
};

static unsigned digit(uint64_t ms, unsigned level)
{
    return (unsigned)(ms >> (DIGIT_BITS * level)) & (WHEEL_SLOTS - 1);
}

/* at_ms > now_ms */
static struct place place_of(const struct wheel *w, uint64_t at_ms)
{
    unsigned highest_bit = 63 - (unsigned)__builtin_clzll(at_ms ^ w->now_ms);
    unsigned level = highest_bit / DIGIT_BITS;
    if (level > TOP) {
        return (struct place){.level = TOP, .slot = 0};
    }
    return (struct place){.level = level, .slot = digit(at_ms, level)};
}

static void put(struct wheel *w, struct timer *t)
{
    if (t->at_ms <= w->now_ms) {
        list_append(&w->due, &t->node);
        return;
    }
    struct place p = place_of(w, t->at_ms);
    list_append(&w->slots[p.level][p.slot], &t->node);
    w->used[p.level] |= UINT64_C(1) << p.slot;
}

/* earliest_slot - where the next timers are, and when now enters that slot. */
static bool earliest_slot(const struct wheel *w, struct place *ret, uint64_t *ret_at_ms)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t ahead = w->used[level] & ~UINT64_C(1); /* bit 0: only beyond the span */
        if (ahead == 0) {
            continue;
        }
        unsigned slot = (unsigned)__builtin_ctzll(ahead);
        unsigned above = DIGIT_BITS * (level + 1);
        uint64_t prefix = w->now_ms >> above << above;
        *ret = (struct place){.level = level, .slot = slot};
        *ret_at_ms = prefix | (uint64_t)slot << (DIGIT_BITS * level);
        return true;
    }
    if ((w->used[TOP] & 1) != 0) {
        *ret = (struct place){.level = TOP, .slot = 0};
        *ret_at_ms = ((w->now_ms >> SPAN_BITS) + 1) << SPAN_BITS;
        return true;
    }
    return false;
}

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    *w = (struct wheel){.now_ms = now_ms};
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++) {
            list_init(&w->slots[level][slot]);
        }
    }
    list_init(&w->due);
}

void wheel_arm(struct wheel *w, struct timer *t, uint64_t at_ms)
{
    wheel_cancel(w, t);
    if (at_ms == UINT64_MAX) {
        return;
    }
    /* A time in the past becomes now, so that the due list stays in order. */
    t->at_ms = at_ms > w->now_ms ? at_ms : w->now_ms;
    put(w, t);
    w->n_armed++;
}

void wheel_cancel(struct wheel *w, struct timer *t)
{
    if (!list_is_linked(&t->node)) {
        return;
    }
    list_unlink(&t->node);
    w->n_armed--;
    if (t->at_ms > w->now_ms) {
        struct place p = place_of(w, t->at_ms);
        if (list_is_empty(&w->slots[p.level][p.slot])) {
            w->used[p.level] &= ~(UINT64_C(1) << p.slot);
        }
    }
}

void wheel_advance(struct wheel *w, uint64_t now_ms)
{
    struct place p;
    uint64_t at_ms = 0;
    while (earliest_slot(w, &p, &at_ms) && at_ms <= now_ms) {
        assert(at_ms > w->now_ms);
        w->now_ms = at_ms;
        w->used[p.level] &= ~(UINT64_C(1) << p.slot);
        /* Timers beyond the span may go back into the very slot they come from: take it first. */
        struct list *slot = &w->slots[p.level][p.slot];
        struct list moving;
        list_init(&moving);
        struct list_node *node = NULL;
        while ((node = list_first(slot)) != NULL) {
            list_unlink(node);
            list_append(&moving, node);
        }
        while ((node = list_first(&moving)) != NULL) {
            list_unlink(node);
            put(w, LIST_ENTRY(node, struct timer, node));
        }
    }
    if (now_ms > w->now_ms) {
        w->now_ms = now_ms;
    }
}

struct timer *wheel_next(struct wheel *w)
{
    struct list_node *node = list_first(&w->due);
    if (node == NULL) {
        return NULL;
    }
    list_unlink(node);
    w->n_armed--;
    return LIST_ENTRY(node, struct timer, node);
}

uint64_t wheel_deadline(const struct wheel *w)
{
    const struct list_node *node = list_first(&w->due);
    if (node != NULL) {
        return LIST_ENTRY(node, const struct timer, node)->at_ms;
    }
    struct place p;
    uint64_t at_ms = 0;
    return earliest_slot(w, &p, &at_ms) ? at_ms : UINT64_MAX;
}
