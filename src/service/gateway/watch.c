/* Observations: one subscription for each topic that an association observes, shared by its tokens.
 * SPEC: RFC7641. */
#include "base/mem.h"
#include "service/gateway/door_private.h"

/* ---- tokens ---- */

static struct looker *looker_free(struct looker *l)
{
    thin_remove(&l->watch->lookers, &l->in_watch);
    thin_remove(&l->watch->a->lookers, &l->in_association);
    return mem_free(l);
}

static struct looker *find_key(const struct association *a, uint64_t key)
{
    thin_for_each (n, &a->lookers) {
        struct looker *l = LIST_ENTRY(n, struct looker, in_association);
        if (l->key == key) {
            return l;
        }
    }
    return NULL;
}

static struct looker *find_token(const struct asker *asker)
{
    struct slice token = slice_of(asker->token, asker->token_n);
    thin_for_each (n, &asker->a->lookers) {
        struct looker *l = LIST_ENTRY(n, struct looker, in_association);
        if (slice_equal(slice_of(l->token, l->token_n), token)) {
            return l;
        }
    }
    return NULL;
}

/* Nobody looks any more: the subscription ends. */
static void watch_settle(struct watch *w)
{
    if (w->is_ready && thin_is_empty(&w->lookers)) {
        watch_free(w);
    }
}

void lookers_lost(struct association *a)
{
    thin_for_each (n, &a->lookers) {
        const struct looker *l = LIST_ENTRY(n, struct looker, in_association);
        if (l->told != 0 && talk_is_unacked(a, l->key)) {
            poison_failed(a, l);
        }
    }
}

void looker_ended(struct association *a, uint64_t key, bool is_lost)
{
    struct looker *l = find_key(a, key);
    if (l != NULL) {
        struct watch *w = l->watch;
        if (is_lost && l->told != 0) {
            poison_failed(a, l);
        }
        looker_free(l);
        watch_settle(w);
    }
}

/* The endpoint takes the token over from whatever it observed before. */
static enum err looker_new(struct watch *w, const struct asker *asker, struct looker **ret)
{
    struct association *a = w->a;
    struct looker *before = find_token(asker);
    struct looker *l = mem_zalloc(sizeof(*l) + asker->token_n);
    if (l == NULL) {
        return ERR_NOMEM;
    }
    l->watch = w;
    l->key = ++a->door->next_key;
    l->szx = asker->has_block2 ? asker->block2.szx : UINT8_MAX;
    l->token_n = asker->token_n;
    memcpy(l->token, asker->token, asker->token_n);
    enum err err = talk_observe(a, asker->exchange, l->key);
    if (err != OK) {
        mem_free(l);
        return err;
    }
    thin_append(&w->lookers, &l->in_watch);
    thin_append(&a->lookers, &l->in_association);
    if (before != NULL) {
        looker_ended(a, before->key, false);
    }
    *ret = l;
    return OK;
}

/* ---- subscriptions ---- */

struct watch *watch_find(const struct association *a, struct slice topic)
{
    thin_for_each (n, &a->watches) {
        struct watch *w = LIST_ENTRY(n, struct watch, in_association);
        if (slice_equal(watch_topic(w), topic)) {
            return w;
        }
    }
    return NULL;
}

/* The worker has nothing more to say of its beginning. */
static void end_beginning(struct watch *w)
{
    uint64_t cookie = w->observer.cookie;
    (void)map_remove(&w->a->door->beginning, slice_of(&cookie, sizeof(cookie)));
}

struct watch *watch_free(struct watch *w)
{
    if (w != NULL) {
        struct association *a = w->a;
        struct list_node *n;
        while ((n = thin_first(&w->lookers)) != NULL) {
            looker_free(LIST_ENTRY(n, struct looker, in_watch));
        }
        thin_for_each_safe (node, next, &a->tickets) {
            struct ticket *t = LIST_ENTRY(node, struct ticket, node);
            if (t->watch == w) {
                ticket_free(t);
            }
        }
        passing_drop(w);
        list_unlink(&w->held);
        worker_unobserve(a->door->setup.worker, &w->observer);
        thin_remove(&a->watches, &w->in_association);
        a->n_watches--;
        a->door->n_watches--;
        end_beginning(w);
        mem_free(w);
    }
    return NULL;
}

static enum err watch_new(const struct request *rq, struct watch **ret)
{
    struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    struct slice topic = rq->path.text;
    struct watch *w = mem_zalloc(sizeof(*w) + topic.n);
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->a = a;
    w->topic_n = (uint16_t)topic.n; /* at most topic_bytes */
    memcpy(w->topic, topic.p, topic.n);
    w->observer.account = a->account;
    w->observer.cookie = ++d->next_cookie;
    subscriber_init(&w->observer.subscriber, SUBSCRIBER_OBSERVER, false);
    thin_append(&a->watches, &w->in_association);
    a->n_watches++;
    d->n_watches++;
    enum err err = map_add(&d->beginning, w);
    if (err == OK) {
        err = worker_observe(d->setup.worker, &w->observer, topic, w->observer.cookie);
    }
    if (err != OK) {
        watch_free(w);
        return err;
    }
    *ret = w;
    return OK;
}

/* ---- registering ---- */

static void admit(struct watch *w, const struct asker *asker)
{
    struct looker *l = NULL;
    struct slice topic = watch_topic(w);
    enum err err = looker_new(w, asker, &l);
    if (err != OK) {
        /* SPEC: RFC7641 4.1: who cannot be added gets the value without the option */
        if (err == ERR_LIMIT) {
            struct event e = association_event(w->a, EVENT_quota);
            EVENT_TEXT(&e, target, topic);
            event_reason(&e,
                         "this association observes as much as it may (%u at a time): it got the "
                         "value once. Let it end some, or observe fewer topics",
                         w->a->door->coap.n_observations);
            count_add(&w->a->door->setup.counters->refused_quota, 1);
            door_report(w->a->door, &e);
        }
        (void)topic_read(asker, topic, false);
        return;
    }
    uint64_t key = l->key;
    uint8_t code = topic_read(asker, topic, true);
    if (code == 0 || !coap_code_is_success(code)) {
        talk_unobserve(w->a, key);
        looker_free(l);
    }
}

void watch_ready(struct watch *w)
{
    w->is_ready = true;
    end_beginning(w);
    thin_for_each_safe (n, next, &w->a->tickets) {
        struct ticket *t = LIST_ENTRY(n, struct ticket, node);
        if (t->watch == w) {
            admit(w, &t->asker);
            ticket_free(t);
        }
    }
    watch_settle(w);
}

static void refuse_count(const struct request *rq, uint32_t most)
{
    struct decision why = {.err = ERR_QUOTA};
    (void)snprintf(why.rule, sizeof(why.rule),
                   "%s observes %u topics (subscriptions of role %s): end some",
                   rq->asker.a->account->principal->name, (unsigned)most,
                   rq->asker.a->account->principal->role);
    request_refuse_by_passage(rq, ERR_QUOTA, &why, 0);
}

void watch_request(const struct request *rq)
{
    struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    struct watch *w = watch_find(a, rq->path.text);
    struct ticket *t = NULL;
    enum err err = OK;
    struct asker asker = rq->asker;
    asker.quiet = 0; /* who observes wants to hear */
    if (poison_refuses(&asker, rq->path.text)) {
        return;
    }
    if (w == NULL) {
        uint32_t most = grants_limits(&a->account->grants)->subscriptions;
        if (a->n_watches >= most) {
            refuse_count(rq, most);
            return;
        }
        /* Each has a token or a ticket, so they are few enough to be walked. */
        err = a->n_tickets >= TICKETS_MAX               ? ERR_LIMIT
              : d->n_watches >= COAP_DOOR_OBSERVERS_MAX ? ERR_NOMEM
                                                        : watch_new(rq, &w);
        if (err == OK) {
            request_allowed(rq, "observed");
        }
    } else if (w->is_ready) {
        admit(w, &asker);
        watch_settle(w);
        return;
    }
    /* The answer leaves when no message can fall between it and the first notification. */
    if (err == OK) {
        err = ticket_new(&asker, 0, w, &t);
    }
    if (err == ERR_LIMIT) {
        struct decision why = {.rule = "too many of its requests wait for an answer"};
        request_refuse_by_passage(rq, ERR_QUOTA, &why, 0);
    } else if (err != OK) {
        request_refuse_unavailable(&asker);
    }
}

/* ---- notifying ---- */

/* A large state goes out as its first block; who wants the rest asks for it. SPEC: RFC7959 2.6 */
static enum err notify(const struct looker *l, const struct coap_answer *answer)
{
    struct association *a = l->watch->a;
    struct coap_block first = {.szx = l->szx <= COAP_BLOCK_SZX_MAX ? l->szx : COAP_BLOCK_SZX_MAX};
    struct cut cut;
    TRY(answer_cut(a, answer, first, l->szx <= COAP_BLOCK_SZX_MAX, &cut));
    return talk_notify(a, l->key, &cut.answer);
}

/* A code that is no success ends the observation. SPEC: RFC7641 4.2 */
static void notify_last(struct looker *l, uint8_t code, const char *text)
{
    struct coap_answer answer = {.code = code, .payload = slice_text(text)};
    if (notify(l, &answer) != OK) {
        talk_unobserve(l->watch->a, l->key);
    }
    looker_free(l);
}

/* Is a message more than one of its observers gets in one datagram? */
static bool is_cut(const struct watch *w, const struct msg *m)
{
    thin_for_each (n, &w->lookers) {
        const struct looker *l = LIST_ENTRY(n, struct looker, in_watch);
        bool is_wanted = l->szx <= COAP_BLOCK_SZX_MAX;
        if (m->payload.n > (is_wanted ? coap_block_bytes(l->szx) : talk_whole_max(w->a))) {
            return true;
        }
    }
    return false;
}

void watch_notify(struct watch *w)
{
    struct association *a = w->a;
    struct coap_door *d = a->door;
    if (w->observer.latest == NULL || shed_holds(w)) {
        return;
    }
    const struct msg *m = TAKE(w->observer.latest);
    struct value v;
    uint8_t etag[ETAG_BYTES];
    const uint8_t *own = NULL;
    if (!worker_may_hear(d->setup.worker, a->account, m)) {
        count_add(&d->setup.counters->dropped_policy, 1);
        msg_unref(m);
        return;
    }
    if (poison_holds(a, m)) {
        count_add(&d->setup.counters->set_aside, 1);
        msg_unref(m);
        return;
    }
    passing_drop(w);
    if (m->number == 0 && is_cut(w, m)) {
        passing_keep(w, m, etag); /* the retained index will not have the rest of it */
        own = etag;
    }
    value_of(d, m, own, &v);
    uint64_t told = poison_key(a, m);
    thin_for_each_safe (n, next, &w->lookers) {
        struct looker *l = LIST_ENTRY(n, struct looker, in_watch);
        enum err err = notify(l, &v.answer);
        l->told = told;
        if (err == ERR_NOT_FOUND) {
            looker_free(l);
        } else if (err != OK) {
            count_add(&d->setup.counters->dropped_memory, 1);
        } else {
            count_add(&d->setup.counters->sent_qos0, 1);
        }
    }
    msg_unref(m);
    watch_settle(w);
}

/* One is enough, they are all of one peer: rather of a topic that has a value, so that it is no
 * news to whoever hears it. SPEC: RFC7641 4.5 */
void watch_nudge(struct association *a)
{
    struct coap_door *d = a->door;
    struct looker *chosen = NULL;
    const struct msg *m = NULL;
    struct value v;
    thin_for_each (n, &a->lookers) {
        struct looker *l = LIST_ENTRY(n, struct looker, in_association);
        if (m == NULL && l->watch->is_ready) {
            chosen = l;
            m = worker_retained(d->setup.worker, a->account, watch_topic(l->watch), d->now_ms);
        }
    }
    if (chosen != NULL) {
        value_of(d, m, NULL, &v);
        chosen->told = m != NULL ? poison_key(a, m) : 0;
        enum err err = notify(chosen, &v.answer);
        (void)err; /* without memory it is tried again after as long */
    }
}

/* ---- a new realm ---- */

void watch_recheck(struct watch *w)
{
    struct association *a = w->a;
    struct decision why;
    struct list_node *first = list_first(&w->observer.subscriber.subs);
    if (first != NULL &&
        passage_deliver(a->account, LIST_ENTRY(first, struct sub, in_subscriber), &why) == OK) {
        return;
    }
    struct event e = association_event(a, EVENT_acl_deny);
    EVENT_TEXT(&e, target, watch_topic(w));
    event_reason(&e, "the observation ended with the new policy: %s",
                 first != NULL ? why.rule : "it is no subscription any more");
    count_add(&a->door->setup.counters->refused_denied, 1);
    door_report(a->door, &e);
    struct list_node *n;
    while ((n = thin_first(&w->lookers)) != NULL) {
        notify_last(LIST_ENTRY(n, struct looker, in_watch), COAP_FORBIDDEN, "not granted");
    }
    thin_for_each (node, &a->tickets) {
        const struct ticket *t = LIST_ENTRY(node, struct ticket, node);
        if (t->watch == w) {
            (void)answer_text(&t->asker, COAP_FORBIDDEN, "not granted");
        }
    }
    watch_free(w);
}
