/* What the sinks' threads have to say: reports, and as events. */
#include <inttypes.h>

#include "service/courier/courier_private.h"

void courier_say(struct courier *c, size_t sink, enum courier_news news, uint64_t n,
                 const char *text)
{
    struct courier_board *b = &c->boards[sink];
    (void)pthread_mutex_lock(&b->lock);
    if (b->n_reports < COURIER_REPORTS_MAX) {
        struct courier_report *r = &b->reports[b->n_reports++];
        *r = (struct courier_report){.news = news, .sink = &c->sinks[sink], .n = n};
        (void)snprintf(r->text, sizeof r->text, "%s", text);
    }
    (void)pthread_mutex_unlock(&b->lock);
    c->notify(c->ctx);
}

bool courier_take(struct courier *c, size_t i, struct courier_report *ret)
{
    struct courier_board *b = &c->boards[i];
    (void)pthread_mutex_lock(&b->lock);
    bool has = b->n_reports > 0;
    if (has) {
        *ret = b->reports[0];
        b->n_reports--;
        memmove(b->reports, b->reports + 1, b->n_reports * sizeof b->reports[0]);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return has;
}

struct event courier_event(const struct courier_report *r)
{
    struct event e = event_make(EVENT_sink);
    EVENT_TEXT(&e, target, slice_text(r->sink->name));
    EVENT_TEXT(&e, peer, slice_text(r->sink->to));
    switch (r->news) {
    case COURIER_FAILED:
        event_reason(&e, "%.120s; records wait in the trail, and are sent when it takes them again",
                     r->text);
        break;
    case COURIER_SILENT:
        e.severity = SEVERITY_ALERT;
        event_reason(&e,
                     "it has confirmed nothing for %" PRIu64 " s: %.90s. They wait in the trail. "
                     "Look at the receiver, its address and its certificate",
                     r->n, r->text);
        break;
    case COURIER_AT_EDGE:
        e.severity = SEVERITY_ALERT;
        event_reason(&e, "the trail is full of records that it has not taken, and forgets the "
                         "oldest next. Bring the receiver back, or keep them by `audit export`");
        break;
    case COURIER_LOST:
        e.severity = SEVERITY_ALERT;
        event_reason(&e,
                     "%" PRIu64 " records before number %.30s were forgotten or damaged before it "
                     "took them. `audit verify` says which; a backup may have them",
                     r->n, r->text);
        break;
    case COURIER_RECOVERED:
        e.severity = SEVERITY_NOTICE;
        event_reason(&e, "it takes records again: %" PRIu64 " that had waited are there", r->n);
        break;
    }
    return e;
}

size_t courier_count(const struct courier *c)
{
    return c != NULL ? c->n : 0;
}

struct courier_numbers courier_numbers(const struct courier *c, size_t i)
{
    struct courier_board *b = (struct courier_board *)(uintptr_t)&c->boards[i];
    (void)pthread_mutex_lock(&b->lock);
    struct courier_numbers n = b->numbers;
    (void)pthread_mutex_unlock(&b->lock);
    return n;
}

void courier_trouble(const struct courier *c, size_t i, char dst[COURIER_TEXT_BYTES])
{
    struct courier_board *b = (struct courier_board *)(uintptr_t)&c->boards[i];
    (void)pthread_mutex_lock(&b->lock);
    memcpy(dst, b->trouble, COURIER_TEXT_BYTES);
    (void)pthread_mutex_unlock(&b->lock);
}

bool courier_is_alive(const struct courier *c, uint64_t now_ms)
{
    bool alive = true;
    for (size_t i = 0; i < c->n; i++) {
        alive = alive && now_ms < atomic_load(&c->beats[i]) + COURIER_HANG_MS;
    }
    return alive;
}
