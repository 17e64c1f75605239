/* Whose clock is wrong, by the times of the readings that it sends.
 *
 * A reading of the future is a clock that is ahead. An old one may have waited for a network, so
 * that alone is nothing: but a backlog is caught up with, and a clock runs on. Several in a row by
 * the same time too late are a clock, when it had been right before (it went back), or when it is
 * later than most that waits (it is behind). */
#include "service/detect/detect_private.h"

/* What a backlog, or a channel that is always late, does not go on to say. */
static void count_same(const struct detect *d, struct clocked *c, int64_t offset_s, uint32_t now_s)
{
    int64_t drift_s = offset_s > c->offset_s ? offset_s - c->offset_s : c->offset_s - offset_s;
    bool goes_on = c->since_s != 0 && now_s - c->at_s <= d->t.clock_gap_s &&
                   drift_s <= (int64_t)d->t.clock_steady_s;
    if (!goes_on) {
        c->offset_s = offset_s > INT32_MIN ? (int32_t)offset_s : INT32_MIN;
        c->since_s = now_s > 0 ? now_s : 1;
        c->n = 0;
    }
    c->n = (uint16_t)(c->n < UINT16_MAX ? c->n + 1 : c->n);
    c->at_s = now_s;
}

static void see_ahead(struct detect *d, struct identity *i, int64_t offset_s, uint32_t now_s)
{
    struct clocked *c = &i->clock;
    c->since_s = 0;
    c->ahead_s = c->ahead_s != 0 ? c->ahead_s : now_s > 0 ? now_s : 1;
    habit_tell(d, DETECTOR_clock_skew, i, "", "", c->ahead_s, now_s,
               "its newest reading is %lld s ahead of the server's clock, more than %u",
               (long long)offset_s, d->t.clock_ahead_s);
}

static void see_late(struct detect *d, struct identity *i, int64_t offset_s, int64_t back_s,
                     uint32_t now_s)
{
    struct clocked *c = &i->clock;
    bool went_back = back_s > (int64_t)d->t.clock_back_s && -offset_s > (int64_t)d->t.clock_back_s;
    if (!went_back && -offset_s <= (int64_t)d->t.clock_behind_s) {
        c->since_s = 0;
        return;
    }
    count_same(d, c, offset_s, now_s);
    if (c->n < d->t.clock_samples || now_s - c->since_s < d->t.clock_confirm_s) {
        return;
    }
    if (went_back) {
        habit_tell(
            d, DETECTOR_clock_skew, i, "", "", c->since_s, now_s,
            "its clock went back: %u times %lld s behind the server's, %lld s before its own", c->n,
            (long long)-offset_s, (long long)back_s);
    } else {
        habit_tell(d, DETECTOR_clock_skew, i, "", "", c->since_s, now_s,
                   "%u times its newest reading is %lld s behind the server's clock, more than %u",
                   c->n, (long long)-offset_s, d->t.clock_behind_s);
    }
}

void clocks_see(struct detect *d, struct identity *i, const struct detect_sample *s, uint32_t now_s)
{
    struct clocked *c = &i->clock;
    int64_t offset_s = (s->clock_ms - s->wall_ms) / 1000, reading_s = s->clock_ms / 1000;
    if (offset_s > (int64_t)d->t.clock_ahead_s) {
        see_ahead(d, i, offset_s, now_s);
        return;
    }
    c->ahead_s = 0;
    see_late(d, i, offset_s, (int64_t)c->newest_s - reading_s, now_s);
    if (reading_s > (int64_t)c->newest_s && reading_s <= UINT32_MAX) {
        c->newest_s = (uint32_t)reading_s;
    }
}
