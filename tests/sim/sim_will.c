/* The reference model of wills: when one must be published, when it must not, and that it is once.
 * docs/ORDER.md, rules 7 and 9. */
#include "sim.h"

static uint64_t wait_ms(const struct sim_session *t)
{
    uint32_t delay_s = t->will >= 0 ? t->will_delay_s : 0;
    return (uint64_t)(delay_s < t->expiry_s ? delay_s : t->expiry_s) * 1000;
}

static void forget(struct sim_session *t)
{
    t->will = -1;
    t->is_will_due = t->is_will_lost = false;
}

static bool is_excused(const struct sim *s, const struct sim_session *t)
{
    return t->is_vague || t->is_will_lost || sim_had_trouble(s, t->will_since);
}

/* ---- what happens to the session ---- */

/* Nobody may come back to a session whose will is overdue, or end it without a word. */
void will_meets_connect(struct sim *s, struct sim_session *t, struct sim_link *l, bool is_resumed)
{
    bool is_overdue = t->will_until_ms <= l->connect_ms;
    bool is_gone = s->states[s->n_states - 1].is_gone[s->clients[l->client].principal];
    if (t->is_will_due && (is_overdue || !is_resumed) && !is_gone && !is_excused(s, t)) {
        sim_fail(s, "7", "client %u comes back, and its will m%d was never published%s", l->client,
                 t->will, is_resumed ? ", though its delay had passed" : "");
    }
    l->has_cancelled = t->is_will_due && is_resumed;
    forget(t);
}

/* A session as the connection begins it. */
void will_begins(struct sim *s, struct sim_session *t, const struct sim_link *l)
{
    forget(t);
    t->will = l->will;
    t->will_delay_s = l->will_delay_s;
    t->will_since = s->tick;
}

void will_conn_over(struct sim *s, struct sim_session *t, const struct sim_link *l, bool is_clean)
{
    if (is_clean) {
        if (!l->is_leaving) {
            sim_fail(s, "7", "link %u is said to have ended with DISCONNECT", l->id);
        }
        forget(t);
    }
    t->will_from_ms = t->will_until_ms = s->now_ms + wait_ms(t);
    /* A DISCONNECT that the server had not looked at, or had, when something else ended it. */
    t->is_will_due = t->will >= 0 && !l->is_leaving;
}

/* After a restart. It slept on by the wall clock, which may have gone back, since it fell asleep,
 * as far as that is on record; one that is awake there falls asleep now. */
void will_recovered(struct sim *s, struct sim_session *t, const struct survey_session *found)
{
    int will = found->will;
    int64_t slept = s->wall_ms - found->asleep_wall_ms;
    forget(t);
    t->will = will;
    t->will_delay_s = found->will_delay_s;
    t->will_since = s->tick;
    uint64_t whole = wait_ms(t), passed = slept > 0 ? (uint64_t)slept : 0;
    t->will_from_ms = s->now_ms + (passed < whole ? whole - passed : 0);
    t->will_from_ms = t->is_vague ? 0 : t->will_from_ms;
    t->will_until_ms = s->now_ms + whole;
    t->is_will_due = will >= 0 && !t->is_vague;
}

/* ---- what is said about it ---- */

static void said(struct sim *s, struct sim_pub *p)
{
    p->fed_last = p->done_at = s->tick;
    if (p->fed_first == 0) {
        p->fed_first = s->tick;
        p->state_first = sim_oldest_state(s);
    }
    p->n_sent++;
}

/* Does some state from the worker's own on say so? One that takes a realm over has it before it
 * says that it has. */
static bool some_state(const struct sim *s, unsigned worker, const struct sim_pub *p, bool allowed)
{
    const struct sim_state *st = sim_state_of_worker(s, worker);
    unsigned principal = s->clients[p->client].principal;
    for (unsigned i = st != NULL ? (unsigned)(st - s->states) : 0; i < s->n_states; i++) {
        const struct sim_state *at = &s->states[i];
        bool may = at->is_active[principal] &&
                   sim_may_publish(&s->policies[at->policy], s->roles[principal], p->topic, p->qos,
                                   p->retain);
        if (may == allowed) {
            return true;
        }
    }
    return false;
}

/* The session whose will this event is about, NULL: of nobody. */
static struct sim_session *session_of(struct sim *s, int client, const struct event *e)
{
    struct sim_session *t = client >= 0 ? &s->model.sessions[client] : NULL;
    if (t == NULL || t->will < 0 || t->is_will_lost ||
        !slice_is(slice_text(e->target), sim_topic(s->model.pubs[t->will].topic))) {
        return NULL;
    }
    return t;
}

/* Which of its wills a session has of which little is known is told by the topic only. */
static bool vague_will(struct sim *s, int client, const struct event *e)
{
    struct sim_pub *found = NULL;
    for (size_t i = 0; i < s->model.n_pubs; i++) {
        struct sim_pub *p = &s->model.pubs[i];
        if (p->is_will && p->client == client &&
            slice_is(slice_text(e->target), sim_topic(p->topic)) && p->fed_last <= s->crashed_at) {
            said(s, p);
            p->is_doubtful = found != NULL;
            if (found != NULL) {
                found->is_doubtful = true;
            }
            found = p;
        }
    }
    return found != NULL;
}

void will_published(struct sim *s, unsigned worker, int client, const struct event *e)
{
    struct sim_session *t = session_of(s, client, e);
    bool is_vague = client >= 0 && s->crashed_at > 0 && sim_had_trouble(s, 1) &&
                    (s->model.sessions[client].is_vague || s->model.former[client].sid != 0);
    if (t == NULL || t->link != NULL) {
        if (!is_vague || !vague_will(s, client, e)) {
            sim_fail(s, "7", "%s/%s: a will on %s that nobody left, or twice", e->principal,
                     e->client_id, e->target);
        }
        return;
    }
    struct sim_pub *p = &s->model.pubs[t->will];
    if (s->now_ms < t->will_from_ms && !model_may_be_ending(s, (unsigned)client) && !t->is_vague) {
        sim_fail(s, "7", "the will m%d is published %llu ms before its time", t->will,
                 (unsigned long long)(t->will_from_ms - s->now_ms));
    }
    if (!some_state(s, worker, p, true)) {
        sim_fail(s, "9", "the will m%d is published, which worker %u knows to be denied", t->will,
                 worker);
    }
    /* What it publishes and its end are handed over together, so a crash takes both or none. */
    const struct sim_record *r = sim_log_find(s->log, JOURNAL_WILL, t->sid, UINT64_MAX);
    if (t->sid != 0 && r != NULL && r->pub == t->will && !sim_had_trouble(s, t->will_since)) {
        sim_fail(s, "7", "the will m%d is published, and a restart would do it again", t->will);
    }
    said(s, p);
    forget(t);
}

void will_denied(struct sim *s, unsigned worker, int client, const struct event *e)
{
    struct sim_session *t = session_of(s, client, e);
    if (t == NULL) {
        return; /* of a session of which little is known: nothing came of it */
    }
    if (!some_state(s, worker, &s->model.pubs[t->will], false) &&
        !sim_had_trouble(s, t->will_since)) {
        sim_fail(s, "9", "the will m%d is refused, which worker %u knows to be allowed", t->will,
                 worker);
    }
    forget(t);
}

/* A store without room says so at a busy moment, too, on a disk that is well. The will waits then,
 * and who comes back or ends its session does not: the loss is said. */
void will_given_up(struct sim *s, unsigned worker, int client, const struct event *e)
{
    struct sim_session *t = session_of(s, client, e);
    if (t == NULL) {
        return; /* of a session of which little is known */
    }
    if (s->log->writers[worker].refused_at < t->will_since && !sim_had_trouble(s, t->will_since)) {
        sim_fail(s, "7", "the will m%d is given up, and the store has refused nothing", t->will);
    }
    t->is_will_lost = true;
}

/* ---- at the end ---- */

/* Sessions that still wait keep their wills; others have had their time. */
void check_wills(struct sim *s)
{
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        const struct sim_session *t = &s->model.sessions[i];
        bool is_gone = s->states[s->n_states - 1].is_gone[s->clients[i].principal];
        bool is_over = t->will_until_ms + 2000 < s->now_ms || !t->exists;
        if (t->is_will_due && is_over && !is_gone && !is_excused(s, t)) {
            sim_fail(s, "7", "the will m%d of client %u was never published", t->will, i);
        }
    }
}
