/* Who comes as another program than before, and who speaks from two places at once: a copied key.
 *
 * A device that gets new firmware changes once and stays so; one that roams leaves a place before
 * it speaks from the next. Two that both live come in turn. */
#include <stdio.h>

#include "service/detect/detect_private.h"

/* ---- from where ---- */

/* Goes to this place. Seconds since it went there before, when that was its last place but one and
 * within the window; UINT32_MAX: it is no return. */
static uint32_t turn_to(const struct detect *d, struct identity *i, uint32_t place, uint32_t now_s)
{
    struct turn *t = i->turn;
    if (t[0].place == place) {
        return UINT32_MAX;
    }
    uint32_t ago_s = now_s - t[1].at_s;
    bool is_return = t[1].place == place && ago_s <= d->t.places_window_s;
    t[1] = t[0];
    t[0] = (struct turn){.place = place, .at_s = now_s};
    return is_return ? ago_s : UINT32_MAX;
}

/* A device that speaks once in a period does not speak here, there and here again within one. A
 * router with many addresses may give it another one each time. */
static bool is_too_soon(const struct detect *d, const struct habits *h, uint32_t ago_s,
                        uint32_t now_s)
{
    bool is_regular = h->is_known && is_learned(d, h, now_s) &&
                      h->period.n >= 2 * d->t.learn_periods &&
                      baseline_spread(&h->period) <= OCTAVE / 2;
    return is_regular && baseline_offset(&h->period, octaves((uint64_t)ago_s * 1000)) <= 0;
}

/* A finding about it, from where the sample says. */
static void tell_clone(struct detect *d, struct identity *i, const struct detect_sample *s,
                       uint32_t since_s, uint32_t now_s, const char *evidence)
{
    habit_tell(d, DETECTOR_two_places, i, s->text, "", since_s, now_s, "%s", evidence);
}

static void add_points(struct detect *d, struct identity *i, const struct detect_sample *s,
                       uint32_t points, uint32_t now_s)
{
    char evidence[DETECT_EVIDENCE_BYTES];
    if (points == 0) {
        return;
    }
    uint32_t n = detect_window_add(&i->turns, d->t.places_window_s, points, now_s);
    if (n >= d->t.clone_returns) {
        (void)snprintf(
            evidence, sizeof(evidence),
            "%u points of %u: it speaks in turn from two addresses, both live; now %.32s", n,
            d->t.clone_returns, s->text);
        tell_clone(d, i, s, detect_window_since(&i->turns, d->t.places_window_s), now_s, evidence);
    }
}

void heard_see(struct detect *d, struct identity *i, const struct detect_sample *s, uint32_t now_s)
{
    if (s->is_many) {
        return;
    }
    if (i->turn[0].place == 0 && s->from != 0) {
        i->turn[0] = (struct turn){.place = s->from, .at_s = now_s};
    }
    uint32_t ago_s = turn_to(d, i, s->place, now_s);
    bool is_in_turn = ago_s != UINT32_MAX &&
                      (ago_s <= d->t.clone_turn_s || is_too_soon(d, &i->habits, ago_s, now_s));
    add_points(d, i, s, is_in_turn ? d->t.clone_turn_points : 0, now_s);
}

/* ---- as what ---- */

/* What only another program does weighs two, what a program is set to one. */
static uint32_t difference(const struct detect_self *a, const struct detect_self *b)
{
    uint32_t points = a->version != b->version ? 2 : 0;
    points += a->id != b->id ? 2 : 0;
    points += a->will != b->will ? (a->will != 0 && b->will != 0 ? 2 : 1) : 0;
    points += a->keep_alive_s != b->keep_alive_s ? 1 : 0;
    points += a->settings != b->settings ? 1 : 0;
    points += a->is_clean != b->is_clean ? 1 : 0;
    return points;
}

static bool is_other(const struct detect *d, const struct detect_self *a,
                     const struct detect_self *b)
{
    return difference(a, b) >= d->t.self_points;
}

enum { SELF_WORDS = 80 };

static void describe(const struct identity *i, char to[SELF_WORDS])
{
    const struct detect_self *was = &i->self[1], *is = &i->self[0];
    int n = snprintf(to, SELF_WORDS, "keep-alive %u s, now %u; MQTT level %u, now %u%s%s%s",
                     was->keep_alive_s, is->keep_alive_s, was->version, is->version,
                     was->will != is->will ? "; will" : "", was->id != is->id ? "; id" : "",
                     was->settings != is->settings ? "; settings" : "");
    (void)n; /* it fits: 26 + 5 + 5 + 15 + 3 + 3 + 6 + 4 + 10 */
}

/* It is as it was before it was as it was a moment ago, and from somewhere else. */
static void came_back(struct detect *d, struct identity *i, const struct detect_sample *s,
                      bool is_in_turn, uint32_t now_s)
{
    char evidence[DETECT_EVIDENCE_BYTES], words[SELF_WORDS];
    uint32_t n = detect_window_add(&i->returns_of_self, d->t.self_window_s, 1, now_s);
    if (!is_in_turn && n < d->t.self_returns) {
        return;
    }
    describe(i, words);
    (void)snprintf(evidence, sizeof(evidence), "in turn two programs (%u times): %s", n, words);
    tell_clone(d, i, s, detect_window_since(&i->returns_of_self, d->t.self_window_s), now_s,
               evidence);
}

/* The first few of a role are looked at; when more do the same it is new firmware. What differs
 * from device to device does not count. */
static bool is_rolled_out(const struct detect *d, struct role *r, const struct detect_self *self)
{
    const uint32_t release[] = {self->version, self->keep_alive_s, self->settings};
    uint32_t hash = (uint32_t)detect_hash(d, slice_of(release, sizeof(release)));
    size_t at = 0;
    while (at < RELEASES_MAX && (r->release[at].n == 0 || r->release[at].self != hash)) {
        at++;
    }
    if (at == RELEASES_MAX) {
        at = r->next_release++ % RELEASES_MAX;
        r->release[at].self = hash;
        r->release[at].n = 0;
    }
    r->release[at].n = (uint8_t)(r->release[at].n < UINT8_MAX ? r->release[at].n + 1 : UINT8_MAX);
    return r->release[at].n > d->t.peers_least;
}

static void became_other(struct detect *d, struct identity *i, const struct detect_sample *s,
                         uint32_t stood_s, uint32_t now_s)
{
    char words[SELF_WORDS];
    if (is_rolled_out(d, role_of(d, i), &s->self) || stood_s < d->t.learn_s) {
        return;
    }
    describe(i, words);
    habit_tell(d, DETECTOR_personality, i, s->text, "", now_s, now_s, "%s", words);
}

void hello_see(struct detect *d, struct identity *i, const struct detect_sample *s, uint32_t now_s)
{
    uint32_t was_at = i->turn[0].place;
    if (s->is_many) {
        return;
    }
    uint32_t ago_s = turn_to(d, i, s->place, now_s);
    bool is_return = s->has_taken_over && ago_s != UINT32_MAX;
    uint32_t points = is_return && ago_s <= d->t.clone_turn_s ? d->t.clone_turn_points : 1;
    add_points(d, i, s, is_return ? points : 0, now_s);
    if (i->self_s == 0) {
        i->self[0] = s->self;
        i->self_s = now_s > 0 ? now_s : 1;
        return;
    }
    if (!is_other(d, &i->self[0], &s->self)) {
        i->self[0] = s->self; /* small changes are followed */
        return;
    }
    bool is_before = i->self_before_s != 0 && !is_other(d, &i->self[1], &s->self);
    uint32_t stood_s = now_s - i->self_s;
    i->self[1] = i->self[0];
    i->self[0] = s->self;
    i->self_before_s = i->self_s;
    i->self_s = now_s > 0 ? now_s : 1;
    if (!is_before) {
        became_other(d, i, s, stood_s, now_s);
    } else if (was_at != s->place) {
        came_back(d, i, s, is_return, now_s);
    }
}
