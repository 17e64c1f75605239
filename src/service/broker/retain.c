/* What this worker retains: who pays for it, and whether there is room for more. */
#include "service/broker/route_private.h"
#include "service/broker/sessions_private.h"
#include "service/broker/worker_private.h"

static void retained_uncount(struct worker *w, uint64_t publisher)
{
    struct account *a = map_find(&w->accounts, slice_of(&publisher, sizeof(publisher)));
    if (a != NULL && a->n_retained > 0) {
        a->n_retained--;
        account_drop_if_unused(w, a);
    }
}

static void retained_counted(struct worker *w)
{
    count_set(&counts(w)->retained_messages, retained_count(w->retained));
    count_set(&counts(w)->retained_bytes, retained_bytes(w->retained));
}

void retained_expired(void *ctx, uint64_t publisher, uint64_t bytes)
{
    (void)bytes;
    retained_uncount(ctx, publisher);
    retained_counted(ctx);
}

static void retained_accounted(struct worker *w, const struct msg *m,
                               const struct retained_change *change)
{
    if (change->is_applied && change->old_publisher != 0) {
        retained_uncount(w, change->old_publisher);
    }
    if (change->is_applied && m->payload.n > 0) {
        struct account *now = map_find(&w->accounts, slice_of(&m->publisher, sizeof(m->publisher)));
        if (now != NULL) {
            now->n_retained++;
        }
    }
    retained_counted(w);
}

MUST_USE enum err retain_locally(struct worker *w, const struct msg *m)
{
    struct retained_change change = {0};
    /* SPEC: MQTT5-3.3.1-6, MQTT3-3.3.1-10: an empty payload clears */
    if (m->payload.n == 0) {
        TRY(retained_clear(w->retained, m->topic, m->number, &change));
    } else {
        TRY(retained_put(w->retained, m, &change));
    }
    retained_accounted(w, m, &change);
    return OK;
}

enum passage_retain retain_wish(struct worker *w, const struct account *a, struct slice topic,
                                bool retain)
{
    if (!retain) {
        return RETAIN_NO;
    }
    const struct limits *l = w->setup.limits;
    uint64_t publisher = 0;
    bool is_there = retained_publisher(w->retained, topic, w->now_ms, &publisher);
    /* Every worker has the whole index; what is on its way to this one makes it a little more. */
    if (retained_bytes(w->retained) >= l->retained_total_bytes ||
        (!is_there && retained_count(w->retained) >= l->retained_total)) {
        return RETAIN_FULL;
    }
    return is_there && publisher == a->principal->id ? RETAIN_REPLACE : RETAIN_NEW;
}

enum passage_retain worker_retain_wish(struct worker *w, const struct account *a,
                                       struct slice topic, bool retain, uint64_t now_ms)
{
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    return retain_wish(w, a, topic, retain);
}
