#include "sim_survey.h"

#include "base/mem.h"
#include "sim.h"

/* ---- what the log says ---- */

static enum err take_session(void *ctx, const struct journal_session *m)
{
    struct sim_survey *v = ctx;
    const struct sim *s = v->sim;
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        const struct sim_client *c = &s->clients[i];
        if (s->principal_ids[c->principal] == m->principal && slice_is(m->client_id, c->id) &&
            v->n_sessions < SURVEY_SESSIONS_MAX) {
            v->sessions[v->n_sessions++] =
                (struct survey_session){.id = m->id,
                                        .client = i,
                                        .expiry_s = m->expiry_s,
                                        .asleep_wall_ms = m->asleep_wall_ms,
                                        .will = -1};
            return OK;
        }
    }
    sim_fail(v->sim, "1", "a session of nobody is on record: %llu", (unsigned long long)m->id);
    return OK;
}

static enum err take_sub(void *ctx, const struct journal_sub *m)
{
    struct sim_survey *v = ctx;
    if (v->n_subs < SURVEY_SUBS_MAX) {
        v->subs[v->n_subs++] = (struct survey_sub){
            .session = m->session, .filter = sim_filter_find(m->filter), .qos = m->qos};
    }
    return OK;
}

static enum err take_will(void *ctx, const struct journal_will *m)
{
    struct sim_survey *v = ctx;
    for (size_t i = 0; i < v->n_sessions; i++) {
        if (v->sessions[i].id == m->session) {
            v->sessions[i].will = sim_pub_of(v->sim, m->m.payload);
            v->sessions[i].will_delay_s = m->delay_s;
        }
    }
    return OK;
}

static enum err take_inbound(void *ctx, uint64_t session, uint16_t packet_id)
{
    struct sim_survey *v = ctx;
    if (v->n_packets < SURVEY_PACKETS_MAX) {
        v->packets[v->n_packets++] =
            (struct survey_packet){.session = session, .packet_id = packet_id};
    }
    return OK;
}

static enum err take_delivery(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                              uint64_t body_id)
{
    struct sim_survey *v = ctx;
    (void)ids;
    if (v->n_deliveries < SURVEY_DELIVERIES_MAX) {
        v->deliveries[v->n_deliveries++] = (struct survey_delivery){
            .session = d->session, .seq = d->seq, .body = body_id, .is_received = d->is_received};
    }
    return OK;
}

static enum err take_body(void *ctx, const struct journal_body *b, bool is_retained)
{
    struct sim_survey *v = ctx;
    if (v->n_bodies < SURVEY_BODIES_MAX) {
        v->bodies[v->n_bodies++] =
            (struct survey_body){.id = b->id,
                                 .pub = sim_pub_of(v->sim, b->m.payload),
                                 .topic = sim_topic_find(b->m.topic),
                                 .is_retained = is_retained && b->m.payload.n > 0};
    }
    return OK;
}

static enum err take_unanswered(void *ctx, uint64_t body_id, const uint64_t *sessions, size_t n)
{
    struct sim_survey *v = ctx;
    (void)sessions;
    (void)n;
    if (v->n_owing < SURVEY_BODIES_MAX) {
        v->owing[v->n_owing++] = body_id;
    }
    return OK;
}

static enum err take_set_aside(void *ctx, const struct journal_set_aside *m)
{
    (void)ctx;
    (void)m;
    return OK;
}

struct sim_survey *sim_survey_take(struct sim *s, struct log *log)
{
    struct sim_survey *v = mem_zalloc(sizeof(*v));
    struct log_sink sink = {.ctx = v,
                            .session = take_session,
                            .sub = take_sub,
                            .will = take_will,
                            .inbound = take_inbound,
                            .delivery = take_delivery,
                            .body = take_body,
                            .unanswered = take_unanswered,
                            .set_aside = take_set_aside};
    enum err err = ERR_NOMEM;
    if (v != NULL) {
        v->sim = s;
        v->highest_number = log_ids(log).retained;
        err = log_restore(log, &sink);
    }
    if (err != OK) {
        sim_fail(s, "7", "the log cannot be read after a restart: %s", err_name(err));
        return mem_free(v);
    }
    return v;
}

/* ---- what must be there ---- */

/* Its key may be erased, and what it owned with it. */
bool survey_is_gone(const struct sim *s, uint64_t sid)
{
    const struct sim_record *r = sim_log_find(s->log, JOURNAL_SESSION, sid, UINT64_MAX);
    return r == NULL || s->states[s->n_states - 1].is_gone[s->clients[r->client].principal];
}

/* Also a clear, which has no payload that names it. */
static bool is_said_by_gone(const struct sim *s, const struct sim_record *r)
{
    for (unsigned i = 0; i < s->knobs.n_principals; i++) {
        if (s->principal_ids[i] == r->publisher) {
            return s->states[s->n_states - 1].is_gone[i];
        }
    }
    return false;
}

const struct survey_session *sim_survey_session(const struct sim_survey *v, unsigned client)
{
    const struct survey_session *newest = NULL;
    for (size_t i = 0; i < v->n_sessions; i++) {
        const struct survey_session *one = &v->sessions[i];
        if (one->client == client && (newest == NULL || one->id > newest->id)) {
            newest = one;
        }
    }
    return newest;
}

static bool has_session(const struct sim_survey *v, uint64_t sid)
{
    for (size_t i = 0; i < v->n_sessions; i++) {
        if (v->sessions[i].id == sid) {
            return true;
        }
    }
    return false;
}

static void compare_sessions(struct sim *s, struct sim_survey *v)
{
    for (size_t i = 0; i < v->n_sessions; i++) {
        uint64_t sid = v->sessions[i].id;
        if (sim_log_session(s->log, sid) == SIM_ABSENT) {
            sim_fail(s, "1", "session %llu is on record, but nobody wrote it",
                     (unsigned long long)sid);
        } else if (sim_log_session_end(s->log, sid) == SIM_COMMITTED) {
            sim_fail(s, "7", "session %llu is back, although its end was committed",
                     (unsigned long long)sid);
        }
        for (size_t k = i + 1; k < v->n_sessions; k++) {
            if (v->sessions[k].client != v->sessions[i].client) {
                continue;
            }
            if (s->trouble_at == 0) {
                sim_fail(s, "1", "client %u has two sessions on record: %llu and %llu",
                         v->sessions[i].client, (unsigned long long)sid,
                         (unsigned long long)v->sessions[k].id);
            }
        }
    }
    for (size_t i = 0; i < s->log->n; i++) {
        const struct sim_record *r = &s->log->records[i];
        if (r->kind == JOURNAL_SESSION && sim_log_kept(s->log, r) == SIM_COMMITTED &&
            !has_session(v, r->id) && sim_log_session_end(s->log, r->id) == SIM_ABSENT &&
            !survey_is_gone(s, r->id)) {
            sim_fail(s, "7", "session %llu of client %u is lost, although it was committed",
                     (unsigned long long)r->id, r->client);
        }
    }
}

static const struct survey_delivery *find_delivery(const struct sim_survey *v, uint64_t sid,
                                                   uint64_t seq)
{
    for (size_t i = 0; i < v->n_deliveries; i++) {
        if (v->deliveries[i].session == sid && v->deliveries[i].seq == seq) {
            return &v->deliveries[i];
        }
    }
    return NULL;
}

/* One worker's replay may reach the log behind another's newer retained message of the topic, and
 * the log has let the older body go by then. The session gets the newer one as any other. */
static bool is_superseded(const struct sim *s, const struct sim_record *r)
{
    const struct sim_record *body = sim_log_find(s->log, JOURNAL_BODY, r->body, UINT64_MAX);
    for (size_t i = 0; r->is_replay && body != NULL && i < s->log->n; i++) {
        const struct sim_record *q = &s->log->records[i];
        if (q->kind == JOURNAL_BODY && q->name == body->name && q->seq > body->seq) {
            return true;
        }
    }
    return false;
}

static bool has_body(const struct sim_survey *v, uint64_t id)
{
    for (size_t i = 0; i < v->n_bodies; i++) {
        if (v->bodies[i].id == id) {
            return true;
        }
    }
    return false;
}

static void compare_delivery(struct sim *s, const struct sim_survey *v, struct sim_record *r)
{
    const struct sim_log *l = s->log;
    const struct survey_delivery *d = find_delivery(v, r->id, r->seq);
    unsigned long long sid = r->id, seq = r->seq;
    if (sim_log_find(l, JOURNAL_DELIVER, r->id, r->seq) != r) {
        return; /* settled before it was written, so its number was given again */
    }
    if (d == NULL) {
        if (sim_log_kept(l, r) == SIM_COMMITTED && !r->is_settled &&
            sim_log_session_end(l, r->id) == SIM_ABSENT && !survey_is_gone(s, r->id)) {
            sim_fail(s, "7", "m%d, delivery %llu of session %llu, was committed and is lost",
                     r->pub, seq, sid);
        }
        return;
    }
    if (sim_log_settled(l, r) == SIM_COMMITTED) {
        sim_fail(s, "7",
                 "m%d, delivery %llu of session %llu, is back, although its end was "
                 "committed",
                 r->pub, seq, sid);
    }
    if (d->is_received != r->is_received && sim_log_seen(l, r) != SIM_APPENDED) {
        sim_fail(s, "8", "m%d, delivery %llu of session %llu: PUBREC %s", r->pub, seq, sid,
                 r->is_received ? "was committed and is forgotten" : "is on record and never came");
    }
    bool is_whole = d->is_received || (d->body == r->body && has_body(v, d->body));
    if (!is_whole && !is_said_by_gone(s, r) && !is_superseded(s, r)) {
        sim_fail(s, "7", "m%d, delivery %llu of session %llu, has lost its body", r->pub, seq, sid);
    }
}

static void compare_deliveries(struct sim *s, const struct sim_survey *v)
{
    for (size_t i = 0; i < s->log->n && !s->has_failed; i++) {
        if (s->log->records[i].kind == JOURNAL_DELIVER) {
            compare_delivery(s, v, &s->log->records[i]);
        }
    }
    for (size_t i = 0; i < v->n_deliveries && !s->has_failed; i++) {
        const struct survey_delivery *d = &v->deliveries[i];
        if (sim_log_find(s->log, JOURNAL_DELIVER, d->session, d->seq) == NULL) {
            sim_fail(s, "7", "delivery %llu of session %llu is on record, but nobody wrote it",
                     (unsigned long long)d->seq, (unsigned long long)d->session);
        }
    }
}

static const struct survey_sub *find_sub(const struct sim_survey *v, uint64_t sid, unsigned filter)
{
    for (size_t i = 0; i < v->n_subs; i++) {
        if (v->subs[i].session == sid && v->subs[i].filter == filter) {
            return &v->subs[i];
        }
    }
    return NULL;
}

/* The newest record decides when it is committed; else it or the one before. */
static void compare_subs(struct sim *s, const struct sim_survey *v)
{
    for (size_t i = 0; i < v->n_sessions && !s->has_failed; i++) {
        uint64_t sid = v->sessions[i].id;
        for (unsigned f = 0; f < SIM_FILTERS && !survey_is_gone(s, sid); f++) {
            const struct sim_record *r = sim_log_sub(s->log, sid, f);
            const struct survey_sub *found = find_sub(v, sid, f);
            bool wanted = r != NULL && r->kind == JOURNAL_SUB;
            if (r != NULL && sim_log_kept(s->log, r) == SIM_APPENDED) {
                continue;
            }
            if (wanted != (found != NULL) || (wanted && found->qos != r->qos)) {
                sim_fail(s, "7", "session %llu: subscription %s %s", (unsigned long long)sid,
                         sim_filter(f),
                         !wanted         ? "is back, although its end was committed"
                         : found == NULL ? "was committed and is lost"
                                         : "has another QoS than was committed");
            }
        }
    }
}

static bool has_packet(const struct sim_survey *v, uint64_t sid, uint64_t packet_id)
{
    for (size_t i = 0; i < v->n_packets; i++) {
        if (v->packets[i].session == sid && v->packets[i].packet_id == packet_id) {
            return true;
        }
    }
    return false;
}

/* The newest record about a packet id, INBOUND or RELEASED. */
static const struct sim_record *newest_packet(const struct sim_log *l, uint64_t sid, uint64_t id)
{
    const struct sim_record *in = sim_log_find(l, JOURNAL_INBOUND, sid, id);
    const struct sim_record *out = sim_log_find(l, JOURNAL_RELEASED, sid, id);
    return out > in ? out : in;
}

static void compare_packets(struct sim *s, const struct sim_survey *v)
{
    for (size_t i = 0; i < s->log->n && !s->has_failed; i++) {
        const struct sim_record *r = &s->log->records[i];
        if (r->kind != JOURNAL_INBOUND || !has_session(v, r->id) || survey_is_gone(s, r->id)) {
            continue;
        }
        const struct sim_record *last = newest_packet(s->log, r->id, r->seq);
        bool wanted = last->kind == JOURNAL_INBOUND;
        if (sim_log_kept(s->log, last) == SIM_COMMITTED && has_packet(v, r->id, r->seq) != wanted) {
            sim_fail(s, "8", "packet id %u of session %llu %s", (unsigned)r->seq,
                     (unsigned long long)r->id,
                     wanted ? "was committed and is forgotten"
                            : "is open again, although its end was committed");
        }
    }
}

/* The newest record decides when it is committed; else it, one of those before it that were on
 * their way, or the last committed one. A record of message -1 is the end of a will. */
static bool may_have_will(const struct sim_log *l, uint64_t sid, int will)
{
    for (size_t i = l->n; i > 0; i--) {
        const struct sim_record *r = &l->records[i - 1];
        if (r->kind != JOURNAL_WILL || r->id != sid) {
            continue;
        }
        if (r->pub == will) {
            return true;
        }
        if (sim_log_kept(l, r) == SIM_COMMITTED) {
            return false;
        }
    }
    return will == -1;
}

static void compare_wills(struct sim *s, const struct sim_survey *v)
{
    for (size_t i = 0; i < v->n_sessions && !s->has_failed; i++) {
        const struct survey_session *found = &v->sessions[i];
        if (!survey_is_gone(s, found->id) && !may_have_will(s->log, found->id, found->will)) {
            sim_fail(s, "7", "session %llu: will m%d is on record, which is not what was committed",
                     (unsigned long long)found->id, found->will);
        }
    }
}

static const struct survey_body *retained_of(const struct sim_survey *v, unsigned topic)
{
    for (size_t i = 0; i < v->n_bodies; i++) {
        if (v->bodies[i].is_retained && v->bodies[i].topic == topic) {
            return &v->bodies[i];
        }
    }
    return NULL;
}

/* The highest committed number, or a higher one that was on its way. The others are forgotten. */
static void compare_retained(struct sim *s, const struct sim_survey *v, unsigned topic)
{
    const struct sim_record *least = sim_log_retained(s->log, topic, true);
    const struct survey_body *found = retained_of(v, topic);
    const struct sim_record *winner =
        found != NULL ? sim_log_find(s->log, JOURNAL_BODY, found->id, UINT64_MAX) : NULL;
    for (size_t i = 0; s->is_tracing && i < s->log->n; i++) {
        const struct sim_record *r = &s->log->records[i];
        if (r->kind == JOURNAL_BODY && r->name == topic && r->seq > 0) {
            sim_say(s, "survey", "%s: m%d, number %llu, body %llu, %s%s", sim_topic(topic), r->pub,
                    (unsigned long long)r->seq, (unsigned long long)r->id,
                    sim_log_kept(s->log, r) == SIM_COMMITTED ? "committed" : "appended",
                    r == winner ? ", found" : "");
        }
    }
    if (found != NULL && winner == NULL) {
        sim_fail(s, "4", "a retained message on %s that nobody wrote", sim_topic(topic));
        return;
    }
    for (size_t i = 0; found == NULL && i < s->log->n; i++) {
        const struct sim_record *r = &s->log->records[i];
        /* One that had not reached the disk has no number there either: it is given again. */
        bool is_clear = r->kind == JOURNAL_BODY && r->name == topic && r->seq > 0 &&
                        r->seq <= v->highest_number && (r->pub < 0 || is_said_by_gone(s, r));
        if (is_clear && (least == NULL || r->seq >= least->seq) &&
            (winner == NULL || sim_log_kept(s->log, r) == SIM_COMMITTED)) {
            winner = r;
        }
    }
    uint64_t number = winner != NULL ? winner->seq : 0;
    if (least != NULL && number < least->seq && !model_has_erased(s, topic) &&
        (least->pub < 0 || s->model.pubs[least->pub].expiry_s == 0)) {
        sim_fail(s, "4", "m%d was committed as the retained one of %s, m%d is found", least->pub,
                 sim_topic(topic), winner != NULL ? winner->pub : -1);
    }
    for (size_t i = 0; i < s->log->n; i++) {
        struct sim_record *r = &s->log->records[i];
        if (r->kind == JOURNAL_BODY && r->name == topic && r->seq > 0 && r != winner) {
            r->seq = 0;
        }
    }
}

/* ---- what the tap knows from now on ---- */

static int will_of(const struct sim_survey *v, uint64_t sid)
{
    for (size_t i = 0; i < v->n_sessions; i++) {
        if (v->sessions[i].id == sid) {
            return v->sessions[i].will;
        }
    }
    return -1;
}

static bool keep_record(const struct sim_log *l, const struct sim_survey *v, struct sim_record *r,
                        bool is_newest)
{
    const struct survey_delivery *d;
    const struct survey_sub *sub;
    bool was_committed = sim_log_kept(l, r) == SIM_COMMITTED;
    switch (r->kind) {
    case JOURNAL_DELIVER:
        d = find_delivery(v, r->id, r->seq);
        if (d == NULL || !is_newest) {
            return was_committed || r->is_settled;
        }
        r->is_settled = false;
        r->is_received = d->is_received;
        return true;
    case JOURNAL_BODY:
        return was_committed || has_body(v, r->id) || r->seq > 0;
    case JOURNAL_SESSION:
        return was_committed || has_session(v, r->id);
    case JOURNAL_SESSION_END:
        return was_committed || !has_session(v, r->id);
    case JOURNAL_INBOUND:
        return was_committed || has_packet(v, r->id, r->seq);
    case JOURNAL_RELEASED:
        return was_committed || !has_packet(v, r->id, r->seq);
    case JOURNAL_SUB:
        sub = find_sub(v, r->id, r->name);
        return was_committed || (sub != NULL && sub->qos == r->qos);
    case JOURNAL_UNSUB:
        return was_committed || find_sub(v, r->id, r->name) == NULL;
    case JOURNAL_WILL:
        return was_committed || will_of(v, r->id) == r->pub;
    case JOURNAL_ACK:
    case JOURNAL_DROP:
    case JOURNAL_RECEIVED:
    case JOURNAL_TRIED:
    case JOURNAL_SET_ASIDE:
    case JOURNAL_SET_ASIDE_END:
    case JOURNAL_ENTRY:
    case JOURNAL_ENTRY_END:
    case JOURNAL_KIND_END:
        break;
    }
    return was_committed;
}

/* A session that is not on disk is forgotten. One that ended before its records were written never
 * was there, and its number may be given again. */
static bool has_ended(const struct sim_survey *v, const struct sim_record *r)
{
    return r->kind != JOURNAL_BODY && !has_session(v, r->id);
}

static bool is_owing(const struct sim_survey *v, const struct sim_record *r)
{
    bool is = false;
    for (size_t i = 0; r->kind == JOURNAL_BODY && i < v->n_owing; i++) {
        is = is || v->owing[i] == r->id;
    }
    return is;
}

static void settle(struct sim *s, const struct sim_survey *v)
{
    struct sim_log *l = s->log;
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct sim_record r = l->records[i];
        bool is_newest =
            r.kind != JOURNAL_DELIVER || sim_log_find(l, r.kind, r.id, r.seq) == &l->records[i];
        if (!has_ended(v, &r) && keep_record(l, v, &r, is_newest)) {
            r.lsn = r.settled_lsn = r.received_lsn = 0;
            r.is_owing = is_owing(v, &r);
            r.is_settled = r.is_settled && r.kind != JOURNAL_BODY;
            l->records[kept++] = r;
        }
    }
    l->n = kept;
}

void sim_survey_compare(struct sim *s, struct sim_survey *v)
{
    compare_sessions(s, v);
    compare_deliveries(s, v);
    compare_subs(s, v);
    compare_packets(s, v);
    compare_wills(s, v);
    for (unsigned topic = 0; topic < SIM_TOPICS && !s->has_failed; topic++) {
        compare_retained(s, v, topic);
    }
    share_erased(s);
    settle(s, v);
}
