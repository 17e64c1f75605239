/* Much of one thing: wills, repeated messages, requests under forged addresses. */
#include "service/detect/detect_private.h"

static void willed(struct detect *d, const struct sight *s)
{
    struct identity *i = s->identity;
    uint32_t n = detect_window_add(&i->wills, d->t.short_window_s, s->n, s->now_s);
    outages_see(d, s, n <= s->n);
    if (n >= d->t.wills) {
        detect_tell(d, DETECTOR_will_storm, &i->told_s[DETECTOR_will_storm], s,
                    detect_window_since(&i->wills, d->t.short_window_s),
                    "%u wills within %u s, the last to '%.40s'", n, 2 * d->t.short_window_s,
                    s->e->target);
    }
}

static void replayed(struct detect *d, const struct sight *s)
{
    struct detect_window *w = s->identity != NULL ? &s->identity->replays : &s->source->replays;
    uint32_t *told_s = s->identity != NULL ? s->identity->told_s : s->source->told_s;
    uint32_t n = detect_window_add(w, d->t.short_window_s, s->n, s->now_s);
    if (n >= d->t.replays) {
        detect_tell(d, DETECTOR_replay_burst, &told_s[DETECTOR_replay_burst], s,
                    detect_window_since(w, d->t.short_window_s),
                    "%u repeated messages were refused within %u s", n, 2 * d->t.short_window_s);
    }
}

static void forged(struct detect *d, const struct sight *s)
{
    struct source *o = s->source;
    uint32_t n = detect_window_add(&o->forged, d->t.short_window_s, s->n, s->now_s);
    if (n >= d->t.amplification) {
        detect_tell(d, DETECTOR_reflection, &o->told_s[DETECTOR_reflection], s,
                    detect_window_since(&o->forged, d->t.short_window_s),
                    "%u requests in the name of %.40s that nobody followed up", n,
                    s->e->target[0] != '\0' ? s->e->target : "many networks");
    }
}

void bursts_see(struct detect *d, const struct sight *s)
{
    if (s->e->category == EVENT_will && s->identity != NULL) {
        willed(d, s);
    } else if (s->e->category == EVENT_replay) {
        replayed(d, s);
    } else if (s->e->category == EVENT_amplification) {
        forged(d, s);
    }
}
