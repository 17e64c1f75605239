/* Deliveries that a session does not get because its client reads too slowly: counted each, said
 * once a second for each session. */
#include "base/mem.h"
#include "service/broker/ceiling_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/worker_private.h"

static struct event said_of(struct worker *w, const struct session *s, uint32_t n,
                            struct slice target)
{
    struct event e =
        event_of(w, s->conn != 0 ? EVENT_slow_client : EVENT_quota, conn_find(w, s->conn));
    e.count = n;
    EVENT_TEXT(&e, principal, slice_text(s->account->principal->name));
    EVENT_TEXT(&e, client_id, session_client_id(s));
    EVENT_TEXT(&e, target, target);
    return e;
}

static void say_queue(struct worker *w, const struct session *s, uint32_t n, struct slice target)
{
    struct event e = said_of(w, s, n, target);
    event_reason(&e,
                 "the queue of this session is full (%zu messages): %s dropped. The client reads "
                 "too slowly, or raise queue_messages or queue_bytes of its role",
                 session_count(s), n == 1 ? "a message was" : "messages were");
    worker_report(w, &e);
}

static void say_pressure(struct worker *w, const struct session *s, uint32_t n, struct slice target)
{
    struct event e = said_of(w, s, n, target);
    event_reason(
        &e,
        "QoS 0 messages for this client were dropped: it reads too slowly (%llu KiB wait), "
        "and memory is short. Let it read faster, or raise memory_bytes",
        (unsigned long long)(s->queue->queued_bytes >> 10));
    worker_report(w, &e);
}

static void say_kind(struct worker *w, const struct session *s, enum drop_kind kind, uint32_t n,
                     struct slice target)
{
    if (n > 0 && kind == DROP_QUEUE) {
        say_queue(w, s, n, target);
    } else if (n > 0) {
        say_pressure(w, s, n, target);
    }
}

static void say(struct worker *w, struct complaint *c, struct slice target)
{
    say_kind(w, c->session, DROP_QUEUE, c->n_unsaid[DROP_QUEUE], target);
    say_kind(w, c->session, DROP_PRESSURE, c->n_unsaid[DROP_PRESSURE], target);
    c->n_unsaid[DROP_QUEUE] = c->n_unsaid[DROP_PRESSURE] = 0;
    c->said_ms = w->now_ms;
    list_unlink(&c->node);
}

void slow_say(struct worker *w, struct session *s)
{
    if (s->complaint != NULL) {
        say(w, s->complaint, (struct slice){0});
    }
}

/* NULL: no memory for it. */
static struct complaint *complaint_of(struct session *s)
{
    if (s->complaint == NULL) {
        s->complaint = mem_zalloc(sizeof *s->complaint);
    }
    if (s->complaint != NULL) {
        s->complaint->session = s;
    }
    return s->complaint;
}

void slow_dropped(struct worker *w, struct session *s, enum drop_kind kind, uint32_t n,
                  struct slice target)
{
    if (n == 0) {
        return;
    }
    count_add(kind == DROP_QUEUE ? &counts(w)->dropped_queue : &counts(w)->dropped_pressure, n);
    if (kind == DROP_QUEUE) {
        bool is_many = session_count(s) >= grants_limits(&s->account->grants)->queue_messages;
        count_add(&counts(w)->refused_by[is_many ? LIMIT_queue_messages : LIMIT_queue_bytes], n);
    }
    struct complaint *c = complaint_of(s);
    if (c == NULL) {
        say_kind(w, s, kind, n, target); /* nothing can be gathered */
        return;
    }
    c->n_unsaid[kind] += n;
    if (c->said_ms == 0 || w->now_ms >= c->said_ms + w->setup.say_every_ms) {
        say(w, c, target);
    } else if (!list_is_linked(&c->node)) {
        list_append(&w->complaints, &c->node);
    }
}

void slow_sweep(struct worker *w)
{
    list_for_each_safe (n, next, &w->complaints) {
        struct complaint *c = LIST_ENTRY(n, struct complaint, node);
        if (w->now_ms >= c->said_ms + w->setup.say_every_ms) {
            say(w, c, (struct slice){0});
        }
    }
}
