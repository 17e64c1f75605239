/* How often a device speaks and how much, against its own past and against its peers; retained
 * messages; QoS 2 that is never ended. */
#include "service/detect/detect_private.h"

/* A state that some of a role are in: since when, and how many samples in a row say so. */
static void enter(uint32_t *since_s, uint16_t *n, uint32_t *n_role, uint32_t now_s)
{
    if (*since_s == 0) {
        *since_s = now_s > 0 ? now_s : 1;
        *n = 0;
        (*n_role)++;
    }
    *n = (uint16_t)(*n < UINT16_MAX ? *n + 1 : *n);
}

static void leave(uint32_t *since_s, uint32_t *n_role)
{
    *n_role -= *since_s != 0 ? 1 : 0;
    *since_s = 0;
}

/* Where all of a role are much the same, who becomes like them is not odd. */
static bool is_unlike_peers(const struct detect *d, const struct role *r, const struct baseline *b,
                            int32_t x)
{
    bool is_one = r->n_members > d->t.peers_least && b->n >= d->t.learn_periods &&
                  baseline_spread(b) <= OCTAVE / 2;
    return !is_one || baseline_is_far(b, x, 1, 1);
}

static void see_period(struct detect *d, struct identity *i, int32_t x, uint64_t gap_ms,
                       uint32_t now_s)
{
    struct habits *h = &i->habits;
    struct role *r = role_of(d, i);
    bool is_fast = is_learned(d, h, now_s) && h->period.n >= d->t.learn_periods &&
                   baseline_offset(&h->period, x) < 0 &&
                   baseline_is_far(&h->period, x, d->t.drift_octaves, d->t.drift_mads) &&
                   is_unlike_peers(d, r, &r->period, x);
    if (!is_fast && h->fast_s != 0 && h->n_fast > 1) {
        h->n_fast /= 2; /* one pause makes it no other device, and is not learned from */
        return;
    }
    if (!is_fast) {
        leave(&h->fast_s, &r->n_fast);
        baseline_learn(&h->period, x);
        baseline_learn(&r->period, x);
        return;
    }
    enter(&h->fast_s, &h->n_fast, &r->n_fast, now_s);
    if (now_s - h->fast_s >= d->t.adopt_s) {
        leave(&h->fast_s, &r->n_fast);
        h->period = (struct baseline){.n = 0};
    } else if (now_s - h->fast_s >= d->t.drift_s && h->n_fast >= d->t.drift_samples &&
               !role_shares(d, r, r->n_fast)) {
        habit_tell(d, DETECTOR_faster, i, "", "", h->fast_s, now_s,
                   "a message every %llu ms, %d times as often as is usual of it",
                   (unsigned long long)gap_ms,
                   1 << (-baseline_offset(&h->period, x) / OCTAVE < 20
                             ? -baseline_offset(&h->period, x) / OCTAVE
                             : 20));
    }
}

static void see_size(struct detect *d, struct identity *i, uint64_t bytes, uint32_t now_s)
{
    struct habits *h = &i->habits;
    struct role *r = role_of(d, i);
    int32_t x = octaves(bytes + 16); /* two bytes and four are the same */
    bool is_odd = is_learned(d, h, now_s) && h->size.n >= d->t.learn_periods &&
                  baseline_is_far(&h->size, x, d->t.size_octaves, d->t.drift_mads) &&
                  is_unlike_peers(d, r, &r->size, x);
    if (!is_odd) {
        leave(&h->odd_s, &r->n_odd);
        baseline_learn(&h->size, x);
        baseline_learn(&r->size, x);
        return;
    }
    enter(&h->odd_s, &h->n_odd, &r->n_odd, now_s);
    if (now_s - h->odd_s >= d->t.adopt_s && h->n_odd > d->t.drift_samples) {
        leave(&h->odd_s, &r->n_odd);
        h->size = (struct baseline){.n = 0};
    } else if (h->n_odd >= d->t.drift_samples && !role_shares(d, r, r->n_odd)) {
        habit_tell(d, DETECTOR_size_drift, i, "", "", h->odd_s, now_s,
                   "payloads of %llu bytes in %u samples, %s than is usual of it",
                   (unsigned long long)bytes, h->n_odd,
                   baseline_offset(&h->size, x) > 0 ? "larger" : "smaller");
    }
}

static void see_held(struct detect *d, struct identity *i, const struct detect_sample *s,
                     uint32_t now_s)
{
    struct habits *h = &i->habits;
    /* Who has much under way releases much, too. */
    if (s->n_held < d->t.held_ids || s->n_released >= s->n_held / 4) {
        h->held_s = 0;
        return;
    }
    h->held_s = h->held_s != 0 ? h->held_s : (now_s > 0 ? now_s : 1);
    if (now_s - h->held_s >= d->t.held_s) {
        habit_tell(d, DETECTOR_qos2_hoard, i, "", "", h->held_s, now_s,
                   "%u packet ids are open and were not released for %u s", s->n_held,
                   now_s - h->held_s);
    }
}

static void see_retained(struct detect *d, struct identity *i, const struct detect_sample *s,
                         uint32_t now_s)
{
    struct detect_window *w = &i->habits.retained;
    uint32_t n =
        s->n_retained > 0 ? detect_window_add(w, d->t.short_window_s, s->n_retained, now_s) : 0;
    if (n >= d->t.retained) {
        habit_tell(d, DETECTOR_retained_flood, i, "", "",
                   detect_window_since(w, d->t.short_window_s), now_s,
                   "%u retained messages within %u s", n, 2 * d->t.short_window_s);
    }
}

void traffic_see(struct detect *d, struct identity *i, const struct detect_sample *s,
                 uint32_t now_s)
{
    struct habits *h = &i->habits;
    see_held(d, i, s, now_s);
    see_retained(d, i, s, now_s);
    if (s->n == 0 || s->is_many) {
        return;
    }
    uint64_t gap_ms = h->last_ms != 0 && s->at_ms > h->last_ms ? s->at_ms - h->last_ms : 0;
    if (h->silent_s != 0) {
        role_of(d, i)->n_silent--;
        h->silent_s = 0;
        i->told_s[DETECTOR_silent_device] = 0;
    }
    uint32_t quiet_s = (uint32_t)(gap_ms / 1000);
    h->longest_s = quiet_s > h->longest_s && s->n == 1 ? quiet_s : h->longest_s;
    if (h->last_ms != 0) {
        see_period(d, i, octaves(gap_ms / s->n), gap_ms / s->n, now_s);
    }
    see_size(d, i, s->bytes / s->n, now_s);
    h->last_ms = s->at_ms > h->last_ms ? s->at_ms : h->last_ms;
}
