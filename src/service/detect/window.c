#include "service/detect/window.h"

/* Returns how many halves have gone by: 0, 1 or 2 (both are over). */
static unsigned roll(struct detect_window *w, uint32_t length_s, uint32_t now_s)
{
    uint32_t age_s = now_s > w->start_s ? now_s - w->start_s : 0;
    if (w->now == 0 && w->before == 0) {
        w->start_s = now_s;
        return 2;
    }
    if (age_s >= 2 * length_s) {
        *w = (struct detect_window){.start_s = now_s};
        return 2;
    }
    if (age_s >= length_s) {
        *w = (struct detect_window){.start_s = w->start_s + length_s, .before = w->now};
        return 1;
    }
    return 0;
}

static void add(struct detect_window *w, uint32_t n)
{
    uint32_t room = UINT16_MAX - (uint32_t)w->now;
    w->now = (uint16_t)(w->now + (n < room ? n : room));
}

uint32_t detect_window_add(struct detect_window *w, uint32_t length_s, uint32_t n, uint32_t now_s)
{
    (void)roll(w, length_s, now_s);
    add(w, n);
    return (uint32_t)w->now + w->before;
}

uint32_t detect_window_since(const struct detect_window *w, uint32_t length_s)
{
    return w->before > 0 && w->start_s >= length_s ? w->start_s - length_s : w->start_s;
}

uint32_t detect_sketch_add(struct detect_sketch *s, uint32_t length_s, uint32_t n, uint64_t hash,
                           uint32_t now_s)
{
    unsigned gone = roll(&s->window, length_s, now_s);
    if (gone > 0) {
        s->before = gone == 1 ? s->now : 0;
        s->now = 0;
    }
    add(&s->window, n);
    s->now |= (uint64_t)1 << (hash & 63);
    return (uint32_t)__builtin_popcountll(s->now | s->before);
}

uint32_t detect_sketch_total(const struct detect_sketch *s)
{
    return (uint32_t)s->window.now + s->window.before;
}
