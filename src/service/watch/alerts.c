#include "service/watch/alerts.h"

/* Handled or not is known of these: time alone does not close them. */
static bool lasts(const struct event *e)
{
    return e->category == EVENT_poison_message;
}

static bool is_open(const struct alert *r, int64_t now_wall_ms)
{
    return r->count > 0 &&
           (r->held != NULL || lasts(&r->last) || r->last.wall_ms > now_wall_ms - ALERTS_OPEN_MS);
}

/* "address" of "address:port". */
static struct slice host_of(const char *peer)
{
    struct slice text = slice_text(peer);
    size_t end = text.n;
    for (size_t i = 0; i < text.n; i++) {
        end = text.p[i] == ':' ? i : end;
    }
    return slice_head(text, end);
}

static bool is_same_finding(const struct alert *r, const struct event *e, const char *detector)
{
    return r->count > 0 && r->finding.detector != NULL &&
           strcmp(r->finding.detector, detector) == 0 &&
           strncmp(r->last.principal, e->principal, sizeof e->principal) == 0 &&
           (e->principal[0] != '\0' || slice_equal(host_of(r->last.peer), host_of(e->peer)));
}

static bool is_same(const struct alert *r, const struct event *e)
{
    return r->count > 0 && r->held == NULL && r->finding.detector == NULL &&
           r->last.category == e->category &&
           strncmp(r->last.principal, e->principal, sizeof e->principal) == 0 &&
           (e->category != EVENT_exposure ||
            strncmp(r->last.listener, e->listener, sizeof e->listener) == 0) &&
           (!lasts(e) || (strncmp(r->last.client_id, e->client_id, sizeof e->client_id) == 0 &&
                          strncmp(r->last.target, e->target, sizeof e->target) == 0));
}

/* A free or closed row, or the one quiet for longest that no state holds. */
static struct alert *free_row(struct alerts *a, int64_t now_wall_ms)
{
    struct alert *oldest = NULL;
    for (size_t i = 0; i < ALERTS_MAX; i++) {
        struct alert *r = &a->row[i];
        if (!is_open(r, now_wall_ms)) {
            return r;
        }
        if (r->held == NULL && (oldest == NULL || r->last.wall_ms < oldest->last.wall_ms)) {
            oldest = r;
        }
    }
    a->forgotten++;
    return oldest != NULL ? oldest : &a->row[0];
}

/* One client that fails everywhere does not push the alerts about others out. */
static struct alert *oldest_of_many(struct alerts *a, const struct event *e, bool is_found)
{
    struct alert *oldest = NULL;
    size_t n = 0;
    for (size_t i = 0; i < ALERTS_MAX; i++) {
        struct alert *r = &a->row[i];
        if (r->count > 0 && r->held == NULL && r->last.category == e->category &&
            (r->finding.detector != NULL) == is_found &&
            strncmp(r->last.principal, e->principal, sizeof e->principal) == 0) {
            oldest = oldest == NULL || r->last.wall_ms < oldest->last.wall_ms ? r : oldest;
            n++;
        }
    }
    a->forgotten += n >= ALERTS_OF_ONE_MAX ? 1 : 0;
    return n >= ALERTS_OF_ONE_MAX ? oldest : NULL;
}

static struct alert *row_for(struct alerts *a, const struct event *e, int64_t now_wall_ms)
{
    for (size_t i = 0; i < ALERTS_MAX; i++) {
        if (is_same(&a->row[i], e)) {
            return &a->row[i];
        }
    }
    struct alert *r = lasts(e) ? oldest_of_many(a, e, false) : NULL;
    r = r != NULL ? r : free_row(a, now_wall_ms);
    r->count = 0;
    return r;
}

static struct alert *row_for_finding(struct alerts *a, const struct event *e, const char *detector,
                                     int64_t now_wall_ms)
{
    for (size_t i = 0; i < ALERTS_MAX; i++) {
        if (is_same_finding(&a->row[i], e, detector)) {
            return &a->row[i];
        }
    }
    struct alert *r = oldest_of_many(a, e, true);
    r = r != NULL ? r : free_row(a, now_wall_ms);
    r->count = 0;
    return r;
}

/* Nothing is set aside there any more. */
static void close_handled(struct alerts *a, const struct event *e)
{
    for (size_t i = 0; i < ALERTS_MAX; i++) {
        if (is_same(&a->row[i], e)) {
            a->row[i] = (struct alert){0};
        }
    }
}

void alerts_note(struct alerts *a, const struct event *e, int64_t now_wall_ms)
{
    if (lasts(e) && e->severity == SEVERITY_NOTICE) {
        close_handled(a, e);
        return;
    }
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

void alerts_found(struct alerts *a, const struct event *e, const struct alert_finding *f,
                  int64_t since_wall_ms, int64_t now_wall_ms)
{
    struct alert *r = row_for_finding(a, e, f->detector, now_wall_ms);
    if (!is_open(r, now_wall_ms)) {
        *r = (struct alert){.first_wall_ms = since_wall_ms};
    }
    r->last = *e;
    r->last.wall_ms = e->wall_ms != 0 ? e->wall_ms : now_wall_ms;
    r->finding = *f;
    r->count++;
}

static struct alert *held_row(struct alerts *a, const char *state)
{
    for (size_t i = 0; i < ALERTS_MAX; i++) {
        if (a->row[i].held != NULL && strcmp(a->row[i].held, state) == 0) {
            return &a->row[i];
        }
    }
    return NULL;
}

void alerts_hold(struct alerts *a, const char *state, const struct event *e, int64_t now_wall_ms)
{
    struct alert *r = held_row(a, state);
    int64_t wall_ms = e->wall_ms != 0 ? e->wall_ms : now_wall_ms;
    if (r == NULL) {
        r = free_row(a, now_wall_ms);
        *r = (struct alert){.first_wall_ms = wall_ms, .count = 1, .held = state};
    }
    r->last = *e;
    r->last.wall_ms = wall_ms;
}

bool alerts_release(struct alerts *a, const char *state)
{
    struct alert *r = held_row(a, state);
    if (r == NULL) {
        return false;
    }
    *r = (struct alert){0};
    return true;
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
