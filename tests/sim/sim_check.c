/* When the dust has settled: everything promised has come, or its loss is on record. */
#include "sim.h"

static bool use_drop(struct sim *s, const struct sim_duty *d, const struct sim_pub *p,
                     bool is_policy)
{
    for (size_t i = 0; i < s->model.n_drops; i++) {
        struct sim_drop *drop = &s->model.drops[i];
        if (!drop->is_used && drop->client == d->client && drop->topic == p->topic &&
            drop->at >= p->fed_first && drop->is_policy == is_policy) {
            /* With small queues a loss has two possible reasons; which drop was whose is not told.
             */
            drop->is_used = !s->knobs.small_queue;
            return true;
        }
    }
    return false;
}

static bool was_set_aside(const struct sim *s, const struct sim_duty *d, const struct sim_pub *p)
{
    for (size_t i = 0; i < s->model.n_drops; i++) {
        const struct sim_drop *drop = &s->model.drops[i];
        if (drop->is_set_aside && drop->client == d->client && drop->topic == p->topic &&
            drop->at >= p->fed_first) {
            return true;
        }
    }
    return false;
}

static bool was_denied(const struct sim *s, const struct sim_duty *d, const struct sim_pub *p)
{
    for (unsigned i = p->state_first; i < s->n_states; i++) {
        if (model_denied(s, &s->states[i], p, d->client)) {
            return true;
        }
    }
    return false;
}

/* A replay is paced, and ends with its subscription, also when it is a policy that ends that: the
 * message itself may be allowed by another grant. */
static bool has_ended_by_policy(const struct sim *s, const struct sim_duty *d)
{
    for (unsigned i = d->state; d->is_replay && i < s->n_states; i++) {
        if (model_filter_denied(s, &s->states[i], d->client, d->replayed)) {
            return true;
        }
    }
    return false;
}

/* A retained message, or a newer one of its topic, came by this connection. */
static bool has_replay(const struct sim *s, const struct sim_duty *d)
{
    const struct sim_session *t = &s->model.sessions[d->client];
    const struct sim_pub *p = &s->model.pubs[d->pub];
    for (unsigned i = 0; i < s->model.n_pubs; i++) {
        const struct sim_pub *q = &s->model.pubs[i];
        if (q->topic == p->topic && q->retain && q->fed_last >= p->fed_last &&
            (t->came_by[i] == d->link || q->is_clear ||
             (s->knobs.small_queue && q->fed_last > p->fed_last))) {
            return true;
        }
    }
    return false;
}

static void check_duty(struct sim *s, struct sim_duty *d)
{
    const struct sim_session *t = &s->model.sessions[d->client];
    const struct sim_pub *p = &s->model.pubs[d->pub];
    if (d->filter != 0) {
        share_check_duty(s, d);
        return;
    }
    bool is_void = !t->exists || t->since != d->session_since ||
                   (d->link != 0 && (t->link == NULL || t->link->id != d->link));
    /* What nobody durable wants is acknowledged while it may still be in a ring, and an UNSUBSCRIBE
     * may overtake it there. */
    bool is_overtaken = d->link != 0 && !d->is_replay && model_certain_qos(t, p) < 0;
    /* Nor may the end of the memory: what is on no record is dropped then, and counted. */
    is_overtaken = is_overtaken || (d->link != 0 && !d->is_replay && s->starved_at > 0 &&
                                    s->starved_at >= p->fed_first);
    if (is_void || is_overtaken || (d->is_replay ? has_replay(s, d) : t->got[d->pub] > 0)) {
        return;
    }
    bool by_gone = s->states[s->n_states - 1].is_gone[s->clients[p->client].principal] &&
                   s->crashed_at >= d->since;
    if (model_has_expired(s, p) || by_gone || was_set_aside(s, d, p)) {
        return; /* of one who was removed nothing can be read after a restart */
    }
    if (d->is_replay && (was_denied(s, d, p) || has_ended_by_policy(s, d))) {
        return; /* refused while it was gathered: counted, not reported one by one */
    }
    bool by_policy = was_denied(s, d, p) && use_drop(s, d, p, true);
    if (by_policy || (s->knobs.small_queue && use_drop(s, d, p, false))) {
        return;
    }
    if (use_drop(s, d, p, true)) {
        sim_fail(s, "9", "m%u was dropped for client %u, but every policy since allows it", d->pub,
                 d->client);
    } else {
        sim_fail(s, d->is_replay ? "3" : "7",
                 "%s m%u on %s never reached client %u, and no drop is on record",
                 d->is_replay ? "retained" : "acknowledged", d->pub, sim_topic(p->topic),
                 d->client);
    }
}

static void check_journal(struct sim *s)
{
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        const struct sim_session *t = &s->model.sessions[i];
        int pub = t->exists && t->is_durable ? sim_log_unsettled(s->log, t->sid) : -1;
        /* Without memory for the record of its end it comes again after the next restart. */
        bool is_starved = s->starved_at > 0 && s->starved_at >= s->crashed_at;
        if (pub >= 0 && t->link != NULL && !is_starved) {
            sim_fail(s, "7",
                     "the journal still owes m%d to client %u: neither an acknowledgement nor a "
                     "drop is recorded",
                     pub, i);
        }
    }
}

struct collected {
    const struct sim *s;
    int by_topic[SIM_TOPICS];
    bool is_strange;
};

static bool collect(void *ctx, const struct msg *m)
{
    struct collected *c = ctx;
    unsigned topic = sim_topic_find(m->topic);
    int pub = sim_pub_of(c->s, m->payload);
    c->is_strange = c->is_strange || topic == SIM_TOPICS || pub < 0;
    if (!c->is_strange) {
        c->by_topic[topic] = pub;
    }
    return true;
}

/* What the journal says is retained, unless its publisher may not say it any more. */
static int expected_retained(const struct sim *s, unsigned topic)
{
    const struct sim_record *r = sim_log_retained(s->log, topic, false);
    int pub = r != NULL ? r->pub : -1;
    if (pub < 0) {
        return -1;
    }
    const struct sim_pub *p = &s->model.pubs[pub];
    const struct sim_state *st = &s->states[s->n_states - 1];
    unsigned principal = s->clients[p->client].principal;
    bool allowed =
        st->is_active[principal] &&
        sim_may_publish(&s->policies[st->policy], s->roles[principal], p->topic, p->qos, true);
    return allowed ? pub : -1;
}

/* A message that was sent after this one was acknowledged must have replaced it. */
static void check_newest(struct sim *s, unsigned topic)
{
    const struct sim_record *r = sim_log_retained(s->log, topic, false);
    int kept = r != NULL ? r->pub : -1;
    const struct sim_pub *p = kept >= 0 ? &s->model.pubs[kept] : NULL;
    for (unsigned i = 0; p != NULL && model_is_done(p) && i < s->model.n_pubs; i++) {
        const struct sim_pub *q = &s->model.pubs[i];
        if ((int)i != kept && q->topic == topic && q->retain && q->qos > 0 && q->done_at > 0 &&
            !q->is_refused && !q->is_will && q->fed_first > p->done_at) {
            sim_fail(s, "4", "m%d is retained on %s, but m%u was accepted after it", kept,
                     sim_topic(topic), i);
        }
    }
}

static void check_retained(struct sim *s)
{
    for (unsigned w = 0; w < s->knobs.n_workers; w++) {
        struct collected c = {.s = s};
        memset(c.by_topic, 0xff, sizeof(c.by_topic));
        worker_retained_each(s->workers[w], NULL, slice_text("#"), s->now_ms, collect, &c);
        for (unsigned topic = 0; topic < SIM_TOPICS; topic++) {
            int expected = expected_retained(s, topic);
            /* Nobody was told of one that met the end of the memory on its way. */
            const struct sim_pub *p = expected >= 0 ? &s->model.pubs[expected] : NULL;
            bool may_end = p != NULL && (p->expiry_s > 0 ||
                                         (!model_is_done(p) && sim_had_trouble(s, p->fed_first)));
            if (c.is_strange ||
                (c.by_topic[topic] != expected && !may_end && !model_has_erased(s, topic))) {
                sim_fail(s, "4", "worker %u holds m%d on %s, it should be m%d", w,
                         c.by_topic[topic], sim_topic(topic), expected);
            }
        }
    }
    for (unsigned topic = 0; topic < SIM_TOPICS; topic++) {
        check_newest(s, topic);
    }
}

void check_end(struct sim *s)
{
    s->tick++;
    for (size_t i = 0; i < s->model.n_duties && !s->has_failed; i++) {
        if (!s->model.duties[i].is_done) {
            check_duty(s, &s->model.duties[i]);
        }
    }
    check_journal(s);
    check_retained(s);
    check_bad_links(s);
    check_wills(s);
}
