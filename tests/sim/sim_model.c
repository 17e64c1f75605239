/* The reference model, first half: what enters a worker, what it reports, what the service thread
 * changes. */
#include "base/mem.h"
#include "sim.h"

/* ---- permissions ---- */

static bool may_publish(const struct sim *s, const struct sim_state *st, const struct sim_pub *p)
{
    unsigned principal = s->clients[p->client].principal;
    return st->is_active[principal] &&
           sim_may_publish(&s->policies[st->policy], s->roles[principal], p->topic, p->qos,
                           p->retain);
}

bool model_denied(const struct sim *s, const struct sim_state *st, const struct sim_pub *p,
                  uint8_t client)
{
    unsigned principal = s->clients[client].principal;
    return !may_publish(s, st, p) || !st->is_active[principal] ||
           !sim_may_hear(&s->policies[st->policy], s->roles[principal], p->topic);
}

bool model_filter_denied(const struct sim *s, const struct sim_state *st, uint8_t client,
                         uint8_t filter)
{
    unsigned principal = s->clients[client].principal;
    return !st->is_active[principal] ||
           !sim_may_subscribe(&s->policies[st->policy], s->roles[principal], filter);
}

/* ---- what enters ---- */

static void owe(struct sim *s, struct sim_link *l, struct sim_owed owed)
{
    if (l->owed_n == l->owed_cap) {
        size_t cap = l->owed_cap > 0 ? l->owed_cap * 2 : 32;
        struct sim_owed *grown = mem_grow(l->owed, cap * sizeof(*grown));
        if (grown == NULL) {
            sim_fail(s, "-", "the simulator is out of memory");
            return;
        }
        l->owed = grown;
        l->owed_cap = cap;
    }
    owed.fed_at = s->tick;
    l->owed[l->owed_n++] = owed;
}

static void fed_publish(struct sim *s, struct sim_link *l, const struct sim_mark *m)
{
    static const enum mqtt_type answers[] = {MQTT_PUBLISH, MQTT_PUBACK, MQTT_PUBREC};
    struct sim_pub *p = &s->model.pubs[m->pub];
    if (p->fed_first == 0) {
        p->fed_first = s->tick;
        p->state_first = sim_oldest_state(s);
    }
    p->fed_last = s->tick;
    p->fed_first_ms = p->n_sent == 0 ? s->now_ms : p->fed_first_ms;
    p->fed_last_ms = s->now_ms;
    p->held_on = l->id;
    p->n_sent++;
    if (s->model.n_sendings == SIM_SENDINGS_MAX) {
        sim_fail(s, "-", "too many sendings");
        return;
    }
    s->model.sendings[s->model.n_sendings++] =
        (struct sim_sending){.life = s->n_lives, .older = p->newest_sending};
    p->newest_sending = s->model.n_sendings;
    owe(s, l, (struct sim_owed){.type = answers[p->qos], .packet_id = m->packet_id, .pub = m->pub});
}

/* The lifetime of a message begins when the worker takes it, and a publisher that is slowed waits.
 */
void model_held(struct sim *s, struct sim_link *l)
{
    if (l->worker >= 0 && !l->is_over && !worker_wants_input(s->workers[l->worker], l->conn)) {
        l->is_held = true;
        return;
    }
    if (s->model.sessions[l->client].link == l && l->worker >= 0 && !l->is_over) {
        share_took_acks(&s->model.sessions[l->client]);
    }
    for (size_t i = 0; i < s->model.n_pubs; i++) {
        struct sim_pub *p = &s->model.pubs[i];
        if (p->held_on == l->id) {
            p->fed_last_ms = l->is_held ? s->now_ms : p->fed_last_ms;
            p->held_on = 0;
        }
    }
    l->is_held = false;
}

/* A clean start that met the end of the memory may have ended the session before, and made none. */
void model_over(struct sim *s, struct sim_link *l)
{
    struct sim_session *t = &s->model.sessions[l->client];
    l->over_at = s->tick;
    if (l->is_clean && !l->is_open && l->marks_at > 0 && t->link == NULL &&
        sim_had_trouble(s, l->opened_at)) {
        t->is_vague = true;
    }
}

bool model_has_expired(const struct sim *s, const struct sim_pub *p)
{
    return p->expiry_s > 0 &&
           (s->crashed_at >= p->fed_first || s->now_ms >= p->fed_first_ms + p->expiry_s * 1000ull);
}

bool model_is_done(const struct sim_pub *p)
{
    return p->done_at > 0 && p->done_at >= p->fed_last;
}

/* The message a topic holds, when nothing about it is open: every retained message that was said
 * after it has been fed is refused or none. */
int model_retained(const struct sim *s, unsigned topic)
{
    int best = -1;
    for (size_t i = 0; i < s->model.n_pubs; i++) {
        const struct sim_pub *p = &s->model.pubs[i];
        if (p->topic == topic && p->retain && p->fed_first > 0 && !p->is_refused &&
            (best < 0 || p->fed_last > s->model.pubs[best].fed_last)) {
            best = (int)i;
        }
    }
    /* A will was promised to nobody: a crash may have forgotten it. */
    bool is_unsure =
        best >= 0 &&
        (s->model.pubs[best].expiry_s > 0 || s->model.pubs[best].is_doubtful ||
         (s->model.pubs[best].is_will && s->crashed_at >= s->model.pubs[best].fed_first));
    if (best < 0 || s->model.pubs[best].is_clear || is_unsure ||
        !model_is_done(&s->model.pubs[best]) || s->model.pubs[best].qos == 0) {
        return -1;
    }
    for (size_t i = 0; i < s->model.n_pubs; i++) {
        const struct sim_pub *p = &s->model.pubs[i];
        bool is_other = p->topic == topic && p->retain && p->fed_first > 0 && (int)i != best;
        if (is_other && !p->is_refused &&
            (!model_is_done(p) || p->done_at > s->model.pubs[best].fed_first)) {
            return -1;
        }
    }
    return best;
}

/* What an older SUBSCRIBE to this filter has not brought yet ends with an UNSUBSCRIBE, also when it
 * is not answered yet and another one, which wants no replay, follows before that. */
static void replay_ends(struct sim *s, struct sim_link *l, unsigned filter)
{
    for (size_t i = 0; i < l->n_wishes; i++) {
        struct sim_wish *w = &l->wishes[i];
        for (unsigned t = 0; w->filter == filter && t < SIM_TOPICS; t++) {
            w->expect[t] = -1;
        }
    }
    for (size_t i = 0; i < s->model.n_duties; i++) {
        struct sim_duty *d = &s->model.duties[i];
        d->is_done = d->is_done || (d->is_replay && d->link == l->id && d->replayed == filter);
    }
}

static void asked(struct sim *s, struct sim_link *l, struct sim_wish *w)
{
    struct sim_sub *sub = &s->model.sessions[l->client].subs[w->filter];
    if (!w->is_unsubscribe) {
        sub->n_said++;
    }
    w->n_said = sub->n_said;
    if (w->is_unsubscribe) {
        sub->is_certain = false;
        sub->is_ending = true;
        replay_ends(s, l, w->filter);
        return;
    }
    sub->n_asked++;
    sub->is_ending = false;
    sub->possible_until = UINT64_MAX;
    share_connected(s, &s->model.sessions[l->client]);
    sub->qos = sub->is_certain && sub->qos < w->qos ? sub->qos : w->qos;
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        bool is_replayed = !w->no_replay && w->filter < SIM_PLAIN && sim_matches(w->filter, t);
        w->expect[t] = is_replayed ? model_retained(s, t) : -1;
    }
}

static void fed_wish(struct sim *s, struct sim_link *l, const struct sim_mark *m)
{
    if (l->n_wishes == SIM_WISHES_MAX) {
        sim_fail(s, "-", "too many wishes");
        return;
    }
    struct sim_wish *w = &l->wishes[l->n_wishes++];
    *w = (struct sim_wish){.packet_id = m->packet_id,
                           .filter = m->filter,
                           .qos = m->qos,
                           .is_unsubscribe = m->kind == MARK_UNSUBSCRIBE,
                           .no_replay = m->no_replay,
                           .state = sim_oldest_state(s),
                           .fed_at = s->tick};
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        w->expect[t] = -1;
    }
    if (s->model.sessions[l->client].link == l) {
        asked(s, l, w); /* else when the connection opens */
    }
}

/* Is its principal active for the worker it is at? */
static bool is_welcome(const struct sim *s, const struct sim_link *l)
{
    const struct sim_state *st = sim_state_of_worker(s, (unsigned)l->worker);
    return st != NULL && st->is_active[s->clients[l->client].principal];
}

void model_fed(struct sim *s, struct sim_link *l, const struct sim_mark *m)
{
    switch (m->kind) {
    case MARK_PUBLISH:
        fed_publish(s, l, m);
        break;
    case MARK_PUBREL:
        owe(s, l, (struct sim_owed){.type = MQTT_PUBCOMP, .packet_id = m->packet_id});
        break;
    case MARK_SUBSCRIBE:
    case MARK_UNSUBSCRIBE:
        fed_wish(s, l, m);
        break;
    case MARK_BAD:
        l->bad_reason = l->bad_reason == 0 ? m->reason : l->bad_reason;
        break;
    case MARK_CONNECT:
        l->connect_ms = s->now_ms;
        break;
    case MARK_PUBACK:
        /* A connection that ends takes nothing in any more. */
        if (s->model.sessions[l->client].link == l && l->bad_reason == 0 && is_welcome(s, l)) {
            share_said_ack(&s->model.sessions[l->client], m->packet_id);
        }
        break;
    case MARK_DISCONNECT:
        l->is_leaving = true;
        break;
    case MARK_OTHER:
        break;
    }
}

/* ---- what is reported ---- */

static struct sim_link *link_of(const struct sim *s, const struct event *e)
{
    unsigned id = 0;
    for (const char *p = e->peer + 5; e->peer[0] == 'l' && *p >= '0' && *p <= '9'; p++) {
        id = id * 10 + (unsigned)(*p - '0');
    }
    return id >= 1 && id <= s->n_links ? s->links[id - 1] : NULL;
}

static int client_of(const struct sim *s, const struct event *e)
{
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "p%u", s->clients[i].principal);
        if (slice_is(slice_text(e->principal), name) &&
            slice_is(slice_text(e->client_id), s->clients[i].id)) {
            return (int)i;
        }
    }
    return -1;
}

void model_session_reset(struct sim *s, struct sim_session *t)
{
    uint64_t since = s->tick;
    share_session_over(s, t);
    memset(t, 0, sizeof(*t));
    t->since = since;
    t->will = -1;
}

/* A new session takes the place of one whose end may not be on disk yet. */
static void begin_session(struct sim *s, struct sim_session *t, unsigned client)
{
    struct sim_session *former = &s->model.former[client];
    bool is_certain = t->sid != 0 && sim_log_session(s->log, t->sid) == SIM_COMMITTED;
    if (is_certain || former->sid == 0 ||
        sim_log_session_end(s->log, former->sid) == SIM_COMMITTED) {
        *former = *t;
    }
    model_session_reset(s, t);
}

/* Has every worker had a turn since the session's time was over? */
static bool must_have_ended(const struct sim *s, const struct sim_session *t)
{
    bool must = t->asleep_at > 0 && s->crashed_at < t->asleep_at;
    for (unsigned i = 0; i < s->knobs.n_workers; i++) {
        must = must && s->turned_ms[i] > t->asleep_ms + t->expiry_s * 1000ull + 1000;
    }
    return must;
}

/* A clean start whose worker has it, and has not said how it went. */
static bool is_starting_clean(const struct sim *s, const struct sim_link *l, unsigned client)
{
    return l->client == client && l->is_clean && !l->is_open && l->connect_ms > 0 &&
           !(l->is_over && l->over_at < s->tick);
}

bool model_may_be_ending(const struct sim *s, unsigned client)
{
    bool may = s->states[s->n_states - 1].is_gone[s->clients[client].principal];
    for (unsigned i = 0; i < s->n_links; i++) {
        may = may || is_starting_clean(s, s->links[i], client);
    }
    return may;
}

/* One that met the end of the memory may have ended the session, and its client reads so slowly
 * that its connection is not over yet. */
static bool may_have_failed_clean(const struct sim *s, unsigned client)
{
    bool may = false;
    for (unsigned i = 0; i < s->n_links; i++) {
        const struct sim_link *l = s->links[i];
        may = may || (is_starting_clean(s, l, client) && sim_had_trouble(s, l->opened_at));
    }
    return may;
}

bool model_may_have_ended(const struct sim *s, const struct sim_session *t)
{
    return t->asleep_at > 0 && t->expiry_s < 1000 &&
           (s->crashed_at >= t->asleep_at || s->now_ms >= t->asleep_ms + t->expiry_s * 1000ull);
}

static void on_connect(struct sim *s, unsigned worker, const struct event *e)
{
    struct sim_link *l = link_of(s, e);
    int client = client_of(s, e);
    if (l == NULL || client != l->client || l->is_open) {
        sim_fail(s, "1", "%s/%s was admitted on the connection of somebody else (%s)", e->principal,
                 e->client_id, e->peer);
        return;
    }
    struct sim_session *t = &s->model.sessions[client];
    const struct sim_state *st = sim_state_of_worker(s, worker);
    unsigned principal = s->clients[client].principal;
    if (st == NULL || !st->is_active[principal]) {
        sim_fail(s, "9", "%s was admitted although worker %u knows that it is not active",
                 e->principal, worker);
    }
    bool expected = t->exists && t->is_durable && !l->is_clean;
    bool resumed = strstr(e->reason, "session resumed") != NULL;
    /* Until a worker knows that a principal was removed, its session may be found. */
    bool is_gone = s->states[s->n_states - 1].is_gone[principal];
    bool is_open =
        (t->is_vague || model_may_have_ended(s, t) || may_have_failed_clean(s, (unsigned)client)) &&
        !l->is_clean;
    if (resumed && t->link == NULL && must_have_ended(s, t)) {
        sim_fail(s, "12", "%s/%s resumes a session whose time was over", e->principal,
                 e->client_id);
    }
    if (expected != resumed && !is_gone && !is_open && !sim_had_trouble(s, l->opened_at)) {
        sim_fail(s, "1", "%s/%s: the session is %s, it should be %s", e->principal, e->client_id,
                 resumed ? "resumed" : "new", expected ? "resumed" : "new");
    }
    if (t->link != NULL) {
        sim_fail(s, "1", "%s/%s has two connections", e->principal, e->client_id);
    }
    will_meets_connect(s, t, l, resumed);
    if (!resumed) {
        begin_session(s, t, (unsigned)client);
    }
    t->exists = !is_gone;
    t->is_durable = l->expiry_s > 0;
    t->link = l;
    t->is_vague = false;
    will_begins(s, t, l);
    t->expiry_s = l->expiry_s;
    t->asleep_at = 0;
    l->session_since = t->since;
    t->sid = t->is_durable || resumed ? sim_log_session_of(s->log, (unsigned)client) : 0;
    share_connected(s, t);
    l->is_open = true;
    l->is_present = resumed;
    l->opened_at = s->tick;
    for (unsigned i = 0; i < SIM_FILTERS; i++) {
        t->subs[i].n_asked = 0;
    }
    for (size_t i = 0; i < l->n_wishes; i++) {
        asked(s, l, &l->wishes[i]);
    }
}

static void on_disconnect(struct sim *s, const struct event *e)
{
    struct sim_link *l = link_of(s, e);
    struct sim_session *t = l != NULL ? &s->model.sessions[l->client] : NULL;
    if (t == NULL || t->link != l) {
        sim_fail(s, "1", "%s/%s: a connection ended that had no session", e->principal,
                 e->client_id);
        return;
    }
    t->link = NULL;
    share_lost_acks(t);
    t->exists = t->exists && t->is_durable;
    t->asleep_ms = s->now_ms;
    t->asleep_at = s->tick;
    will_conn_over(s, t, l, slice_is(slice_text(e->reason), "the client disconnected"));
}

static void on_drop(struct sim *s, const struct event *e, bool is_policy)
{
    int client = client_of(s, e);
    unsigned topic = sim_topic_find(slice_text(e->target));
    if (client < 0 || topic == SIM_TOPICS || s->model.n_drops == SIM_DROPS_MAX) {
        sim_fail(s, "7", "a drop that nobody can name: %s/%s %s", e->principal, e->client_id,
                 e->target);
        return;
    }
    if (is_policy) {
        share_dropped(s, (unsigned)client, topic);
    }
    s->model.drops[s->model.n_drops++] =
        (struct sim_drop){.client = (uint8_t)client,
                          .topic = (uint8_t)topic,
                          .is_policy = is_policy,
                          .is_set_aside = e->category == EVENT_poison_message,
                          .at = s->tick};
}

static bool starts(const char *text, const char *with)
{
    return slice_has_prefix(slice_text(text), slice_text(with));
}

void model_event(struct sim *s, unsigned worker, const struct event *e)
{
    if (strstr(e->reason, "was refused: the disk of DIR/store is behind") != NULL) {
        sim_fail(s, "11", "refused for a disk that is only slow: %s", e->reason);
    } else if (e->category == EVENT_connect) {
        on_connect(s, worker, e);
    } else if (e->category == EVENT_disconnect) {
        on_disconnect(s, e);
    } else if (e->category == EVENT_will) {
        will_published(s, worker, client_of(s, e), e);
    } else if (starts(e->reason, "the will is not published any more")) {
        will_denied(s, worker, client_of(s, e), e);
    } else if (starts(e->reason, "a will that waited for room in the store was given up")) {
        will_given_up(s, worker, client_of(s, e), e);
    } else if (e->category == EVENT_poison_message &&
               (e->severity != SEVERITY_ALERT || starts(e->reason, "still set aside"))) {
        return; /* what became of a message that was set aside before */
    } else if (e->category == EVENT_poison_message ||
               starts(e->reason, "the queue of this session is full")) {
        on_drop(s, e, false);
    } else if (starts(e->reason, "not delivered:") || starts(e->reason, "a queued message was")) {
        on_drop(s, e, true);
    } else if (e->category == EVENT_malformed || e->category == EVENT_protocol_error ||
               e->category == EVENT_slow_client) {
        struct sim_link *l = link_of(s, e);
        /* A bad packet, or the want of memory on a bad day. */
        bool is_ours = (l != NULL && l->bad_reason != 0) ||
                       (strstr(e->reason, "nomem") != NULL && sim_had_trouble(s, 1));
        if (!is_ours && e->category != EVENT_slow_client) {
            sim_fail(s, "-", "link %u: a client that keeps to the protocol was refused: %s",
                     l != NULL ? l->id : 0, e->reason);
        }
    }
}

/* ---- what the service thread changes ---- */

void model_state_pushed(struct sim *s)
{
    const struct sim_state *st = &s->states[s->n_states - 1];
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        struct sim_session *t = &s->model.sessions[i];
        unsigned principal = s->clients[i].principal;
        if (st->is_gone[principal]) {
            t->exists = false;
        }
        for (uint8_t f = 0; f < SIM_FILTERS && st->is_active[principal]; f++) {
            if (model_filter_denied(s, st, (uint8_t)i, f)) {
                t->subs[f].is_certain = false;
            }
        }
    }
}
