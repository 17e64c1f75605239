/* Who spoke regularly and does not any more, while its peers do. */
#include "service/detect/detect_private.h"

/* What has been usual of it, in milliseconds. */
static uint64_t usual_ms(const struct baseline *b)
{
    int32_t x = -baseline_offset(b, 0);
    if (x <= 0) {
        return 1;
    }
    uint64_t octave = (uint64_t)x / OCTAVE, part = (uint64_t)x % OCTAVE;
    return ((part + OCTAVE) << octave) / OCTAVE;
}

static bool is_regular(const struct detect *d, const struct habits *h, uint32_t now_s)
{
    return h->is_known && h->last_ms != 0 && is_learned(d, h, now_s) &&
           h->period.n >= 2 * d->t.learn_periods && baseline_spread(&h->period) <= OCTAVE;
}

static uint64_t most_s(const struct detect *d, const struct habits *h)
{
    uint64_t most = d->t.silence_s;
    uint64_t by_period = (usual_ms(&h->period) << d->t.silence_octaves) / 1000;
    uint64_t by_past = (uint64_t)h->longest_s * d->t.silence_longest;
    most = by_period > most ? by_period : most;
    return by_past > most ? by_past : most;
}

/* It should have spoken by now, though nobody would be told of that alone. */
static bool is_overdue(const struct habits *h, uint64_t now_ms)
{
    return h->last_ms != 0 && now_ms > h->last_ms && now_ms - h->last_ms > 4 * usual_ms(&h->period);
}

static bool is_together(const struct detect *d, const struct habits *a, const struct habits *b)
{
    uint64_t apart_ms = a->last_ms > b->last_ms ? a->last_ms - b->last_ms : b->last_ms - a->last_ms;
    uint64_t period_ms = usual_ms(&a->period) + usual_ms(&b->period);
    bool is_neighbour = a->network[0] != 0 && a->network[0] == b->network[0];
    return is_neighbour || apart_ms <= (uint64_t)d->t.together_s * 1000 + period_ms;
}

/* Others of its network are overdue, too, or fell silent when it did: an outage. Only asked when it
 * would be told. */
static bool others_share(const struct detect *d, const struct identity *i, uint64_t now_ms)
{
    uint32_t n = 0;
    list_for_each (node, &d->order) {
        const struct habits *h = &LIST_ENTRY(node, struct identity, node)->habits;
        n += h->is_known && is_overdue(h, now_ms) && is_together(d, h, &i->habits) ? 1 : 0;
    }
    return n >= d->t.peers_least;
}

static void look_at(struct detect *d, struct identity *i, uint64_t now_ms)
{
    struct habits *h = &i->habits;
    struct role *r = role_of(d, i);
    uint32_t now_s = (uint32_t)(now_ms / 1000);
    if (!is_regular(d, h, now_s) || now_ms < h->last_ms) {
        return;
    }
    uint64_t quiet_s = (now_ms - h->last_ms) / 1000;
    if (quiet_s <= most_s(d, h)) {
        return;
    }
    if (h->silent_s == 0) {
        h->silent_s = now_s;
        r->n_silent++;
    }
    if (role_shares(d, r, r->n_silent)) {
        /* The others come back first; it may be late, the later the longer they all rested. */
        h->silent_s = now_s + d->t.silence_s + (uint32_t)(quiet_s / 4);
        return;
    }
    bool is_due = now_s >= h->silent_s && now_s - h->silent_s >= d->t.silence_confirm_s;
    if (is_due && i->told_s[DETECTOR_silent_device] == 0 && !others_share(d, i, now_ms)) {
        habit_tell(d, DETECTOR_silent_device, i, "", "", (uint32_t)(h->last_ms / 1000), now_s,
                   "silent for %llu s, it spoke every %llu s, %u of %u of its role are silent",
                   (unsigned long long)quiet_s, (unsigned long long)(usual_ms(&h->period) / 1000),
                   r->n_silent, r->n_members);
    }
}

void silence_look(struct detect *d, uint64_t now_ms)
{
    list_for_each (n, &d->order) {
        look_at(d, LIST_ENTRY(n, struct identity, node), now_ms);
    }
}
