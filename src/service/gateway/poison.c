/* Values that an observer never acknowledges: counted for each principal, and in the end held back.
 * A CoAP client has no queue, so nothing is set aside: the topic keeps the value. */
#include "base/mem.h"
#include "service/gateway/door_private.h"

enum {
    FAILURES_MAX = 1024,     /* of a door; then the oldest is forgotten */
    FORGET_MS = 3600 * 1000, /* so long after the last failure it may try again */
    HELD_MAX_AGE_S = 60
};

struct failure {
    struct list_node node; /* in door->failures, by at_ms */
    uint64_t key;          /* of principal, topic and value */
    uint64_t at_ms;
    uint32_t n;
    bool is_told;
    char principal[PRINCIPAL_NAME_MAX + 1];
    size_t topic_n;
    uint8_t topic[];
};

struct slice failure_key(const void *value)
{
    const struct failure *f = value;
    return slice_of(&f->key, sizeof(f->key));
}

uint64_t poison_key(const struct association *a, const struct msg *m)
{
    const struct siphash_key *key = &a->door->setup.key;
    uint64_t parts[] = {a->account->principal->id, siphash(key, m->topic),
                        siphash(key, m->payload)};
    return siphash(key, slice_of(parts, sizeof(parts)));
}

static struct failure *find(const struct coap_door *d, uint64_t key)
{
    return map_find(&d->failures, slice_of(&key, sizeof(key)));
}

/* The end of a hold is said, or its alert would stay. */
static void forget(struct coap_door *d, struct failure *f)
{
    if (f->is_told) {
        struct event e = door_event(d, EVENT_poison_message);
        e.severity = SEVERITY_NOTICE;
        EVENT_TEXT(&e, principal, slice_text(f->principal));
        EVENT_TEXT(&e, target, slice_of(f->topic, f->topic_n));
        event_reason(&e, "the value is not held back any more");
        door_report(d, &e);
    }
    (void)map_remove(&d->failures, failure_key(f));
    list_unlink(&f->node);
    mem_free(f);
}

void poison_forget_all(struct coap_door *d)
{
    struct list_node *n;
    while ((n = list_first(&d->failures_by_age)) != NULL) {
        forget(d, LIST_ENTRY(n, struct failure, node));
    }
}

void poison_turn(struct coap_door *d)
{
    struct list_node *n;
    while ((n = list_first(&d->failures_by_age)) != NULL) {
        struct failure *f = LIST_ENTRY(n, struct failure, node);
        if (d->now_ms < f->at_ms + FORGET_MS) {
            return;
        }
        forget(d, f);
    }
}

static struct failure *failure_new(struct association *a, struct slice topic, uint64_t key)
{
    struct coap_door *d = a->door;
    if (d->failures.n >= FAILURES_MAX) {
        forget(d, LIST_ENTRY(list_first(&d->failures_by_age), struct failure, node));
    }
    struct failure *f = mem_zalloc(sizeof(*f) + topic.n);
    if (f == NULL) {
        return NULL;
    }
    f->key = key;
    f->topic_n = topic.n;
    if (topic.n > 0) {
        memcpy(f->topic, topic.p, topic.n);
    }
    (void)snprintf(f->principal, sizeof(f->principal), "%s", a->account->principal->name);
    if (map_add(&d->failures, f) != OK) {
        return mem_free(f);
    }
    list_append(&d->failures_by_age, &f->node);
    return f;
}

static void say(const struct association *a, const struct failure *f, uint32_t most)
{
    bool is_held = f->n >= most;
    struct event e = association_event(a, is_held ? EVENT_poison_message : EVENT_slow_client);
    EVENT_TEXT(&e, target, slice_of(f->topic, f->topic_n));
    event_reason(&e,
                 is_held ? "a value was sent to this observer on %u observations and never "
                           "acknowledged: it is not told this value any more. Look at the device; "
                           "publish another value, or clear the topic (`sallyport retained purge`)"
                         : "an observation ended: its notification was never acknowledged (%u of "
                           "them with this value)",
                 (unsigned)f->n);
    door_report(a->door, &e);
}

void poison_failed(struct association *a, const struct looker *l)
{
    struct coap_door *d = a->door;
    struct failure *f = find(d, l->told);
    uint32_t most = grants_limits(&a->account->grants)->redeliveries;
    if (f == NULL) {
        f = failure_new(a, watch_topic(l->watch), l->told);
    }
    if (f == NULL) {
        return; /* as if it had been the first: it is asked again */
    }
    f->n++;
    f->at_ms = d->now_ms;
    list_unlink(&f->node);
    list_append(&d->failures_by_age, &f->node);
    say(a, f, most);
    f->is_told = f->n >= most;
}

bool poison_holds(const struct association *a, const struct msg *m)
{
    const struct coap_door *d = a->door;
    if (d->failures.n == 0) {
        return false;
    }
    const struct failure *f = find(d, poison_key(a, m));
    return f != NULL && f->n >= grants_limits(&a->account->grants)->redeliveries;
}

bool poison_refuses(const struct asker *asker, struct slice topic)
{
    struct association *a = asker->a;
    struct coap_door *d = a->door;
    const struct msg *m = worker_retained(d->setup.worker, a->account, topic, d->now_ms);
    if (m == NULL || !poison_holds(a, m)) {
        return false;
    }
    count_add(&d->setup.counters->set_aside, 1);
    (void)answer_number(asker, COAP_UNAVAILABLE,
                        "this value was never acknowledged by you; a GET without Observe has it",
                        COAP_OPTION_MAX_AGE, HELD_MAX_AGE_S);
    return true;
}
