/* One identity in two places, and two clients that take a session from each other. */
#include "service/detect/detect_private.h"

/* "address" of "address:port", as a number that is never 0. */
static uint32_t place_of(const struct detect *d, const char *peer)
{
    struct slice text = slice_text(peer);
    size_t end = text.n;
    for (size_t i = 0; i < text.n; i++) {
        end = text.p[i] == ':' ? i : end;
    }
    uint32_t place = (uint32_t)detect_hash(d, slice_head(text, end));
    return place != 0 ? place : 1;
}

/* Moves the place to the front. Where it was; PLACES_MAX: nowhere. */
static size_t move_to(struct identity *i, uint32_t place)
{
    size_t at = 0;
    while (at < PLACES_MAX && i->place[at] != place) {
        at++;
    }
    for (size_t k = at < PLACES_MAX ? at : PLACES_MAX - 1; k > 0; k--) {
        i->place[k] = i->place[k - 1];
    }
    i->place[0] = place;
    return at;
}

/* A device that roams leaves a place, and its old connection may still stand there: one takeover,
 * and on to the next. Two that both live come back to where the other has just thrown them out. */
static void connected(struct detect *d, const struct sight *s)
{
    struct identity *i = s->identity;
    uint32_t client = (uint32_t)detect_hash(d, slice_text(s->e->client_id));
    if (client != i->client) { /* many clients of one principal are in many places */
        i->client = client;
        memset(i->place, 0, sizeof(i->place));
        i->was_taken_over = false;
    }
    size_t was = move_to(i, place_of(d, s->e->peer));
    bool is_return = was > 0 && was < PLACES_MAX && i->was_taken_over;
    i->was_taken_over = false;
    if (!is_return) {
        return;
    }
    uint32_t n = detect_window_add(&i->returns, d->t.places_window_s, 1, s->now_s);
    if (n >= d->t.clone_returns) {
        detect_tell(d, DETECTOR_two_places, &i->told_s[DETECTOR_two_places], s,
                    detect_window_since(&i->returns, d->t.places_window_s),
                    "%u times it took its session over from another address it had left before", n);
    }
}

static void taken_over(struct detect *d, const struct sight *s)
{
    struct identity *i = s->identity;
    i->was_taken_over = true;
    uint32_t n = detect_window_add(&i->takeovers, d->t.short_window_s, s->n, s->now_s);
    if (n >= d->t.takeovers) {
        detect_tell(d, DETECTOR_ping_pong, &i->told_s[DETECTOR_ping_pong], s,
                    detect_window_since(&i->takeovers, d->t.short_window_s),
                    "%u takeovers within %u s", n, 2 * d->t.short_window_s);
    }
}

void places_see(struct detect *d, const struct sight *s)
{
    if (s->identity == NULL) {
        return;
    }
    if (s->e->category == EVENT_connect) {
        connected(d, s);
    } else if (s->e->category == EVENT_takeover) {
        taken_over(d, s);
    }
}
