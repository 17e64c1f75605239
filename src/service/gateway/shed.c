/* The door's part in the memory ceiling: who of it is shed, and what it does not take. The order is
 * that of docs/ORDER.md rule 11. */
#include "service/gateway/door_private.h"

/* What its end frees, but for the keys: those every association has, and they are nobody's fault.
 */
static uint64_t bytes_of(const struct association *a)
{
    return talk_bytes(a) + a->n_tickets * sizeof(struct ticket) +
           (a->side != NULL ? proxy_bytes(a) : 0);
}

static void spare(void *ctx)
{
    struct coap_door *d = ctx;
    size_t at = 0;
    struct association *a;
    blocks_shed(d);
    proxy_shed(d);
    lookups_drop(d);
    est_shed(d);
    fetches_drop(d);
    while ((a = map_next(&d->associations, &at)) != NULL) {
        if (consumer_is_slow(bytes_of(a))) {
            count_add(&d->setup.counters->dropped_pressure, talk_shed(a));
        }
    }
}

static struct consumer worst(void *ctx)
{
    struct coap_door *d = ctx;
    struct consumer most = {.bytes = 0};
    size_t at = 0;
    struct association *a;
    while ((a = map_next(&d->associations, &at)) != NULL) {
        uint64_t bytes = bytes_of(a);
        if (bytes > most.bytes) {
            most = (struct consumer){.conn = a->id, .bytes = bytes};
        }
    }
    return most;
}

static void close_worst(void *ctx, const struct consumer *who, unsigned percent)
{
    struct coap_door *d = ctx;
    struct association *a = association_find(d, who->conn);
    if (a == NULL) {
        return;
    }
    d->depth++;
    struct event e = association_event(a, EVENT_slow_client);
    event_reason(&e,
                 "its association was closed: %llu KiB waited for it or were remembered of it, "
                 "more than for any other client, and memory is at %u %% of memory_bytes. Let it "
                 "acknowledge faster and ask less at a time, or raise memory_bytes",
                 (unsigned long long)(who->bytes >> 10), percent);
    door_report(d, &e);
    association_close(a, "memory");
    door_leave(d);
}

static size_t turn_away(void *ctx)
{
    struct coap_door *d = ctx;
    return d->dtls != NULL ? dtls_turn_away(d->dtls) : streams_turn_away(d);
}

struct shedder door_shedder(struct coap_door *d)
{
    return (struct shedder){
        .ctx = d, .spare = spare, .worst = worst, .close = close_worst, .turn_away = turn_away};
}

void shed_look(struct coap_door *d)
{
    d->coap.is_full = worker_pressure(d->setup.worker) == PRESSURE_FULL;
}

/* A state that waits is encoded once for each observer; while it waits here it is one reference to
 * the message that all share, and the newest takes its place. */
static bool is_short_for(const struct association *a)
{
    enum pressure step = worker_pressure(a->door->setup.worker);
    return step == PRESSURE_FULL || (step != PRESSURE_NONE && consumer_is_slow(bytes_of(a)));
}

bool shed_holds(struct watch *w)
{
    if (!is_short_for(w->a)) {
        return false;
    }
    if (!list_is_linked(&w->held)) {
        list_append(&w->a->door->held, &w->held);
    }
    return true;
}

static void move_all(struct list *from, struct list *to)
{
    struct list_node *n;
    while ((n = list_first(from)) != NULL) {
        list_unlink(n);
        list_append(to, n);
    }
}

/* Telling one may end it, or its association and so others in the list. */
void shed_release(struct coap_door *d)
{
    struct list still;
    struct list_node *n;
    list_init(&still);
    while ((n = list_first(&d->held)) != NULL) {
        struct watch *w = LIST_ENTRY(n, struct watch, held);
        struct association *a = w->a;
        list_unlink(n);
        if (is_short_for(a)) {
            list_append(&still, n);
        } else {
            watch_notify(w);
            association_serve(a);
        }
    }
    move_all(&still, &d->held);
}
