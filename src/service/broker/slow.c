/* Deliveries that a session does not get because its client reads too slowly: counted each, said
 * once a second for each session. */
#include "service/broker/worker_private.h"

static struct event said_of(struct worker *w, const struct session *s, uint32_t n,
                            struct slice target)
{
    struct event e =
        event_of(w, s->conn != 0 ? EVENT_slow_client : EVENT_quota, conn_find(w, s->conn));
    e.count = n;
    EVENT_TEXT(&e, principal, slice_text(s->account->principal->name));
    EVENT_TEXT(&e, client_id, s->client_id);
    EVENT_TEXT(&e, target, target);
    return e;
}

static void say(struct worker *w, struct session *s, struct slice target)
{
    uint32_t n = s->n_unsaid[DROP_QUEUE];
    struct event e = said_of(w, s, n, target);
    event_reason(&e,
                 "the queue of this session is full (%zu messages): %s dropped. The client reads "
                 "too slowly, or raise queue_messages or queue_bytes of its role",
                 session_count(s), n == 1 ? "a message was" : "messages were");
    if (n > 0) {
        worker_report(w, &e);
    }
    n = s->n_unsaid[DROP_PRESSURE];
    e = said_of(w, s, n, target);
    event_reason(
        &e,
        "QoS 0 messages for this client were dropped: it reads too slowly (%llu KiB wait), "
        "and memory is short. Let it read faster, or raise memory_bytes",
        (unsigned long long)(s->queued_bytes >> 10));
    if (n > 0) {
        worker_report(w, &e);
    }
    s->n_unsaid[DROP_QUEUE] = s->n_unsaid[DROP_PRESSURE] = 0;
    s->said_ms = w->now_ms;
    list_unlink(&s->complaint);
}

void slow_say(struct worker *w, struct session *s)
{
    say(w, s, (struct slice){0});
}

void slow_dropped(struct worker *w, struct session *s, enum drop_kind kind, uint32_t n,
                  struct slice target)
{
    if (n == 0) {
        return;
    }
    count_add(kind == DROP_QUEUE ? &counts(w)->dropped_queue : &counts(w)->dropped_pressure, n);
    if (kind == DROP_QUEUE) {
        bool is_many = session_count(s) >= grants_limits(s->account->grants)->queue_messages;
        count_add(&counts(w)->refused_by[is_many ? LIMIT_queue_messages : LIMIT_queue_bytes], n);
    }
    s->n_unsaid[kind] += n;
    if (s->said_ms == 0 || w->now_ms >= s->said_ms + w->setup.say_every_ms) {
        say(w, s, target);
    } else if (!list_is_linked(&s->complaint)) {
        list_append(&w->complaints, &s->complaint);
    }
}

void slow_sweep(struct worker *w)
{
    list_for_each_safe (n, next, &w->complaints) {
        struct session *s = LIST_ENTRY(n, struct session, complaint);
        if (w->now_ms >= s->said_ms + w->setup.say_every_ms) {
            slow_say(w, s);
        }
    }
}
