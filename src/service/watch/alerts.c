#include "service/watch/alerts.h"

static bool is_open(const struct alert *r, int64_t now_wall_ms)
{
    return r->count > 0 && r->last.wall_ms > now_wall_ms - ALERTS_OPEN_MS;
}

static bool is_same(const struct alert *r, const struct event *e)
{
    return r->count > 0 && r->last.category == e->category &&
           strncmp(r->last.principal, e->principal, sizeof e->principal) == 0;
}

/* The row for e: its own, a free or closed one, or the one quiet for longest. */
static struct alert *row_for(struct alerts *a, const struct event *e, int64_t now_wall_ms)
{
    struct alert *unused = NULL;
    struct alert *oldest = &a->row[0];
    for (size_t i = 0; i < ALERTS_MAX; i++) {
        struct alert *r = &a->row[i];
        if (is_same(r, e)) {
            return r;
        }
        if (!is_open(r, now_wall_ms)) {
            unused = unused != NULL ? unused : r;
        } else if (r->last.wall_ms < oldest->last.wall_ms) {
            oldest = r;
        }
    }
    if (unused == NULL) {
        a->forgotten++;
        unused = oldest;
    }
    unused->count = 0;
    return unused;
}

void alerts_note(struct alerts *a, const struct event *e, int64_t now_wall_ms)
{
    if (e->severity != SEVERITY_ALERT || e->category == EVENT_exception) {
        return;
    }
    struct alert *r = row_for(a, e, now_wall_ms);
    int64_t wall_ms = e->wall_ms != 0 ? e->wall_ms : now_wall_ms;
    if (!is_open(r, now_wall_ms)) {
        *r = (struct alert){.first_wall_ms = wall_ms};
    }
    r->last = *e;
    r->last.wall_ms = wall_ms;
    r->count += e->count > 0 ? e->count : 1;
}

const struct alert *alerts_next(const struct alerts *a, size_t *at, int64_t now_wall_ms)
{
    while (*at < ALERTS_MAX) {
        const struct alert *r = &a->row[(*at)++];
        if (is_open(r, now_wall_ms)) {
            return r;
        }
    }
    return NULL;
}
