/* Segments: who may come in where, and what of another segment is heard. docs/ORDER.md, rule 9. */
#include "core/flow.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"

const char *entrance_segment(const struct entrance *e)
{
    return e->segment[0] != '\0' ? e->segment : PRINCIPAL_SEGMENT_DEFAULT;
}

/* Once for each account and epoch: a wide filter meets such messages all the time. */
static void report_unheard(struct worker *w, struct account *a, struct slice client_id,
                           const struct msg *m)
{
    if (a->flow_told_epoch == a->epoch) {
        return;
    }
    a->flow_told_epoch = a->epoch;
    const struct directory_entry *entry = directory_find_id(w->realm->directory, m->publisher);
    const struct slice key = slice_text(PRINCIPAL_SEGMENT);
    const char *from = entry != NULL ? principal_attr(entry->principal, key) : "another";
    const char *to = principal_attr(a->principal, key);
    struct event e = event_of(w, EVENT_acl_deny, NULL);
    e.is_unasked = true;
    EVENT_TEXT(&e, principal, slice_text(a->principal->name));
    EVENT_TEXT(&e, client_id, client_id);
    EVENT_TEXT(&e, target, m->topic);
    event_reason(&e,
                 "not delivered: no flow from segment %.32s to %.32s has this topic, and others of "
                 "this kind are only counted. If it should pass, name it in `flows` of policy.yaml",
                 from, to);
    worker_report(w, &e);
}

bool may_hear(struct worker *w, struct account *a, struct slice client_id, const struct msg *m)
{
    if (passage_hear(a, m) == OK) {
        return true;
    }
    if (a->is_quarantined) { /* said once, when it began */
        count_add(&counts(w)->dropped_policy, 1);
        return false;
    }
    count_add(&counts(w)->dropped_segment, 1);
    report_unheard(w, a, client_id, m);
    return false;
}

bool worker_may_hear(struct worker *w, struct account *a, const struct msg *m)
{
    return publisher_ok(w, m) && may_hear(w, a, (struct slice){0}, m);
}

/* ---- what is retained, for other doors ---- */

struct each {
    struct worker *w;
    struct account *a;
    bool (*each)(void *ctx, const struct msg *m);
    void *ctx;
};

static bool is_for(struct worker *w, const struct account *a, const struct msg *m)
{
    return publisher_ok(w, m) && (a == NULL || passage_hear(a, m) == OK);
}

const struct msg *worker_retained(struct worker *w, struct account *a, struct slice topic,
                                  uint64_t now_ms)
{
    const struct msg *m = retained_find(w->retained, topic, now_ms);
    return m != NULL && is_for(w, a, m) ? m : NULL;
}

static bool each_allowed(void *ctx, const struct msg *m)
{
    struct each *e = ctx;
    return is_for(e->w, e->a, m) ? e->each(e->ctx, m) : true;
}

void worker_retained_each(struct worker *w, struct account *a, struct slice filter, uint64_t now_ms,
                          bool (*each)(void *ctx, const struct msg *m), void *ctx)
{
    struct each e = {.w = w, .a = a, .each = each, .ctx = ctx};
    retained_match(w->retained, filter, now_ms, each_allowed, &e);
}
