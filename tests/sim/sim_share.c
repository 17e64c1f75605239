/* The reference model of shared subscriptions: each message of a group reaches one member, and
 * another one only when the first is lost with it. docs/ORDER.md, rule 6. */
#include "sim.h"
#include "wire/mqtt/publish.h"

uint8_t sim_share_qos(unsigned client, unsigned filter)
{
    unsigned group = filter - SIM_PLAIN;
    return (uint8_t)(group < 2 ? 1 + (client + group) % 2 : client % 3);
}

int share_of(const struct mqtt_publish *m)
{
    uint32_t id = mqtt_props_number(&m->props, MQTT_PROP_SUBSCRIPTION_ID, 0);
    return id > SIM_PLAIN && id <= SIM_FILTERS ? (int)id - 1 : -1;
}

/* ---- who holds what ---- */

/* Until its end is certain, what it has not acknowledged may go to others, or may not. */
static bool is_alive(const struct sim *s, unsigned client)
{
    const struct sim_session *t = &s->model.sessions[client];
    return t->exists && !t->is_vague && !model_may_have_ended(s, t) &&
           !model_may_be_ending(s, client);
}

/* How many copies may have been lost with their members. */
static unsigned lost(const struct sim *s, unsigned group, unsigned pub)
{
    unsigned n = s->model.shares[group].lost[pub];
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        unsigned held = s->model.sessions[i].held[group][pub];
        n += held > 0 && !is_alive(s, i) ? held : 0;
    }
    return n;
}

static void let_go(struct sim *s, struct sim_session *t, unsigned pub)
{
    for (unsigned g = 0; g < SIM_GROUPS; g++) {
        uint8_t *n = &s->model.shares[g].lost[pub];
        *n = (uint8_t)(*n + t->held[g][pub]);
        t->held[g][pub] = 0;
    }
}

void share_session_over(struct sim *s, struct sim_session *t)
{
    for (unsigned pub = 0; pub < s->model.n_pubs; pub++) {
        let_go(s, t, pub);
    }
}

/* What it had acknowledged may not be on record. */
void share_crashed(struct sim_session *t)
{
    memcpy(t->held, t->had, sizeof(t->held));
}

/* What waits for a session that has left the group names no group on record, so it ends with it. */
static void note_stuck(struct sim *s, const struct sim_record *r)
{
    if (r->kind != JOURNAL_DELIVER || r->via < SIM_PLAIN || r->is_settled || r->pub < 0) {
        return;
    }
    const struct sim_record *sub = sim_log_sub(s->log, r->id, r->via);
    if (sub != NULL && sub->kind == JOURNAL_UNSUB) {
        s->model.shares[r->via - SIM_PLAIN].is_stuck[r->pub] = true;
    }
}

/* The key of a principal goes with it, at once. When no worker had heard of that before the end of
 * the process, nothing says any more which session had waited in which group. */
void share_erased(struct sim *s)
{
    for (size_t i = 0; i < s->log->n; i++) {
        const struct sim_record *r = &s->log->records[i];
        if (r->kind == JOURNAL_DELIVER && r->via >= SIM_PLAIN && !r->is_settled && r->pub >= 0 &&
            survey_is_gone(s, r->id)) {
            s->model.shares[r->via - SIM_PLAIN].is_stuck[r->pub] = true;
        }
    }
}

/* A message that was not acknowledged is forgotten with the member that had it, and sent again. */
void share_process_over(struct sim *s)
{
    for (size_t i = 0; i < s->log->n; i++) {
        note_stuck(s, &s->log->records[i]);
    }
    for (unsigned g = 0; g < SIM_GROUPS; g++) {
        struct sim_share *share = &s->model.shares[g];
        for (unsigned pub = 0; pub < s->model.n_pubs; pub++) {
            uint8_t n = model_is_done(&s->model.pubs[pub]) ? 0 : share->fleeting2[pub];
            share->taken2[pub] = (uint8_t)(share->taken2[pub] + n);
            share->fleeting2[pub] = 0;
        }
    }
}

/* One that waits, or has left and was not acknowledged, goes on when policy takes it away. */
void share_dropped(struct sim *s, unsigned client, unsigned topic)
{
    for (unsigned pub = 0; pub < s->model.n_pubs; pub++) {
        if (s->model.pubs[pub].topic == topic) {
            let_go(s, &s->model.sessions[client], pub);
        }
    }
}

static void acked(struct sim_session *t, struct sim_shared_out *out)
{
    t->held[out->group][out->pub]--;
    out->is_held = out->is_said = false;
    t->n_said--;
}

void share_said_ack(struct sim_session *t, uint16_t packet_id)
{
    struct sim_shared_out *out = &t->out_shared[packet_id % COUNT_OF(t->out_shared)];
    if (out->packet_id == packet_id && out->is_held && !out->is_said) {
        out->is_said = true;
        t->n_said++;
    }
}

void share_took_acks(struct sim_session *t)
{
    for (size_t i = 0; t->n_said > 0 && i < COUNT_OF(t->out_shared); i++) {
        if (t->out_shared[i].is_said) {
            acked(t, &t->out_shared[i]);
        }
    }
}

/* Behind a publisher that is slowed: the message may go on to others, or may not. */
void share_lost_acks(struct sim_session *t)
{
    for (size_t i = 0; t->n_said > 0 && i < COUNT_OF(t->out_shared); i++) {
        t->n_said -= t->out_shared[i].is_said;
        t->out_shared[i].is_said = false;
    }
}

/* ---- what leaves ---- */

static void check_member(struct sim *s, const struct sim_link *l, unsigned pub, unsigned filter,
                         const struct mqtt_publish *m)
{
    const struct sim_pub *p = &s->model.pubs[pub];
    const struct sim_session *t = &s->model.sessions[l->client];
    uint8_t qos = sim_share_qos(l->client, filter);
    if (m->retain) {
        sim_fail(s, "6", "client %u gets m%u as retained from %s", l->client, pub,
                 sim_filter(filter));
    } else if (!sim_matches(filter, p->topic) || t->subs[filter].possible_until < p->fed_first) {
        sim_fail(s, "6", "client %u gets m%u on %s from %s, where it is no member", l->client, pub,
                 sim_topic(p->topic), sim_filter(filter));
    } else if (m->qos != (p->qos < qos ? p->qos : qos)) {
        sim_fail(s, "6", "client %u gets m%u (QoS %u) from %s with QoS %u", l->client, pub, p->qos,
                 sim_filter(filter), m->qos);
    }
}

static void note_out(struct sim_session *t, unsigned pub, unsigned group,
                     const struct mqtt_publish *m)
{
    struct sim_shared_out *out = &t->out_shared[m->packet_id % COUNT_OF(t->out_shared)];
    bool is_same = out->is_held && out->packet_id == m->packet_id && out->pub == pub;
    uint8_t *had = &t->had[group][pub], *held = &t->held[group][pub];
    if (m->qos == 0) {
        return;
    }
    if (out->is_said && !is_same) {
        acked(t, out); /* or its packet id would not be given again */
    }
    t->n_said -= out->is_said;
    *out = (struct sim_shared_out){.packet_id = m->packet_id,
                                   .pub = (uint16_t)pub,
                                   .group = (uint8_t)group,
                                   .is_held = m->qos == 1};
    if (m->qos == 1 && (!m->dup || !is_same)) {
        *had = (uint8_t)(*had + 1);
        *held = (uint8_t)(*held + 1);
    }
}

void share_id_is_anothers(struct sim_session *t, uint16_t packet_id)
{
    struct sim_shared_out *out = &t->out_shared[packet_id % COUNT_OF(t->out_shared)];
    if (out->is_said) {
        acked(t, out);
    }
    out->is_held = false;
}

/* Only what was meant for a member that does not last may reach one that does without a record, or
 * what a busy store refused when it was to be passed on. */
static void check_record(struct sim *s, const struct sim_session *t, unsigned pub, unsigned filter,
                         const struct mqtt_publish *m)
{
    if (m->qos > 0 && t->is_durable && !s->model.shares[filter - SIM_PLAIN].is_weak &&
        !sim_had_trouble(s, 1) && !sim_log_has_refused(s->log, s->model.pubs[pub].fed_first) &&
        !sim_log_has_shared(s->log, t->sid, filter, pub)) {
        sim_fail(s, "6", "m%u leaves for a member of %s that lasts, and is on no record", pub,
                 sim_filter(filter));
    }
}

/* A copy to a member of a group, which stands apart from those of other subscriptions. */
void share_left(struct sim *s, struct sim_link *l, unsigned pub, unsigned filter,
                const struct mqtt_publish *m)
{
    unsigned group = filter - SIM_PLAIN;
    struct sim_share *share = &s->model.shares[group];
    struct sim_session *t = &s->model.sessions[l->client];
    const struct sim_pub *p = &s->model.pubs[pub];
    check_member(s, l, pub, filter, m);
    check_record(s, t, pub, filter, m);
    bool is_first = !t->seen[group][pub];
    if (m->dup && is_first && s->crashed_at < p->fed_first) {
        sim_fail(s, "8", "the first copy of m%u from %s has DUP", pub, sim_filter(filter));
    }
    t->seen[group][pub] = true;
    note_out(t, pub, group, m);
    if (m->dup) {
        return;
    }
    share->left[pub]++;
    sim_say(s, "tap", "link %u: m%u by %s, the %uth copy, %u may be lost", l->id, pub,
            sim_filter(filter), share->left[pub], lost(s, group, pub));
    share->left2[pub] = (uint8_t)(share->left2[pub] + (m->qos == 2));
    share->fleeting2[pub] = (uint8_t)(share->fleeting2[pub] + (m->qos == 2 && !t->is_durable));
    bool all2 = share->left[pub] == share->left2[pub];
    unsigned most2 = model_most_copies(s, p, 2) + share->taken2[pub];
    unsigned most = all2 ? most2 : model_most_copies(s, p, 1) + lost(s, group, pub);
    if (share->left[pub] > most || share->left2[pub] > most2) {
        sim_fail(s, "6",
                 "m%u (QoS %u, sent %u times) leaves %s for the %uth time (QoS 2: %u), %u may", pub,
                 p->qos, p->n_sent, sim_filter(filter), share->left[pub], share->left2[pub], most);
    }
}

void share_reception(struct sim *s, unsigned pub, unsigned filter)
{
    s->model.shares[filter - SIM_PLAIN].got[pub]++;
}

/* ---- what must be ---- */

/* A member that must get the message when nobody else does; -1: none for certain. */
static int witness(const struct sim *s, unsigned filter, const struct sim_pub *p)
{
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        const struct sim_session *t = &s->model.sessions[i];
        const struct sim_sub *sub = &t->subs[filter];
        if (t->exists && t->is_durable && !t->is_vague && t->since <= p->fed_first &&
            sub->is_certain && sub->certain_since <= p->fed_first &&
            sim_log_session_end(s->log, t->sid) == SIM_ABSENT) {
            return (int)i;
        }
    }
    return -1;
}

void share_accepted(struct sim *s, unsigned pub)
{
    const struct sim_pub *p = &s->model.pubs[pub];
    for (unsigned f = SIM_PLAIN; f < SIM_PLAIN + 2 && !p->is_clear; f++) {
        int client = sim_matches(f, p->topic) ? witness(s, f, p) : -1;
        if (client < 0 || model_has_expired(s, p)) {
            continue;
        }
        enum sim_kept kept = sim_log_shared(s->log, f, pub);
        /* Sent again it may be for one that does not last, which nothing waits for. */
        bool is_another = p->n_sent > 1 && s->model.shares[f - SIM_PLAIN].is_weak;
        if (kept == SIM_APPENDED && !is_another && !sim_log_is_owing(s->log, pub)) {
            sim_fail(s, "7", "m%u is acknowledged before its delivery to %s is committed", pub,
                     sim_filter(f));
        }
        /* Where all last, whoever has it instead of another has it on record. */
        bool all_last = p->qos > 0 && !s->model.shares[f - SIM_PLAIN].is_weak;
        model_duty(s, (struct sim_duty){.client = (uint8_t)client,
                                        .pub = (uint16_t)pub,
                                        .filter = (uint8_t)f,
                                        .is_recorded = kept == SIM_COMMITTED || all_last});
    }
}

/* Members whose sessions end with their connections, and what they were given with them. */
void share_connected(struct sim *s, const struct sim_session *t)
{
    for (unsigned g = 0; g < SIM_GROUPS && !t->is_durable; g++) {
        s->model.shares[g].is_weak |= t->subs[SIM_PLAIN + g].possible_until == UINT64_MAX;
    }
}

static bool has_drop_by_any(const struct sim *s, const struct sim_pub *p)
{
    for (size_t i = 0; i < s->model.n_drops; i++) {
        const struct sim_drop *d = &s->model.drops[i];
        if (d->topic == p->topic && d->at >= p->fed_first && (!d->is_policy || d->is_set_aside)) {
            return true;
        }
    }
    return false;
}

void share_check_duty(struct sim *s, const struct sim_duty *d)
{
    const struct sim_session *t = &s->model.sessions[d->client];
    const struct sim_pub *p = &s->model.pubs[d->pub];
    const struct sim_share *share = &s->model.shares[d->filter - SIM_PLAIN];
    const struct sim_sub *sub = &t->subs[d->filter];
    bool is_void = !t->exists || t->since != d->session_since || !sub->is_certain ||
                   sub->certain_since > p->fed_first;
    /* With QoS 2 it dies with the session that it left for. */
    if (is_void || share->got[d->pub] > 0 || share->left2[d->pub] > 0 || share->is_stuck[d->pub]) {
        return;
    }
    for (unsigned i = p->state_first; i < s->n_states; i++) {
        if (model_denied(s, &s->states[i], p, d->client)) {
            return;
        }
    }
    /* After a restart QoS 2 that waits may have left, and then it stays where it was. */
    bool by_crash =
        s->crashed_at >= p->fed_first && (!d->is_recorded || share->is_weak || p->qos == 2);
    bool by_gone = s->states[s->n_states - 1].is_gone[s->clients[p->client].principal];
    if (model_has_expired(s, p) || by_crash || by_gone || has_drop_by_any(s, p) ||
        (s->starved_at > 0 && s->starved_at >= p->fed_first)) {
        return;
    }
    sim_fail(s, "6", "m%u never reached a member of %s, and client %u was one all the time", d->pub,
             sim_filter(d->filter), d->client);
}
