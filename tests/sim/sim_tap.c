/* The reference model, second half: every packet that leaves a worker is judged at that moment. */
#include "sim.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/disconnect.h"
#include "wire/mqtt/puback.h"
#include "wire/mqtt/pubcomp.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/pubrec.h"
#include "wire/mqtt/pubrel.h"
#include "wire/mqtt/suback.h"
#include "wire/mqtt/unsuback.h"

enum { IDS = 1024 };

/* ---- what must reach whom ---- */

void model_duty(struct sim *s, struct sim_duty d)
{
    if (s->model.n_duties == SIM_DUTIES_MAX) {
        sim_fail(s, "-", "too many duties");
        return;
    }
    d.since = s->tick;
    d.session_since = s->model.sessions[d.client].since;
    s->model.duties[s->model.n_duties++] = d;
}

static bool has_drop(const struct sim *s, uint8_t client, const struct sim_pub *p)
{
    for (size_t i = s->model.n_drops; i > 0; i--) {
        const struct sim_drop *d = &s->model.drops[i - 1];
        if (d->client == client && d->topic == p->topic && d->at >= p->fed_first) {
            return true;
        }
    }
    return false;
}

int model_certain_qos(const struct sim_session *t, const struct sim_pub *p)
{
    int qos = -1;
    for (unsigned f = 0; f < SIM_PLAIN; f++) {
        const struct sim_sub *sub = &t->subs[f];
        if (sub->is_certain && sub->certain_since <= p->fed_first && sim_matches(f, p->topic)) {
            qos = sub->qos > qos ? sub->qos : qos;
        }
    }
    return p->qos < qos ? p->qos : qos;
}

/* An accepted message: who must get it, and whether that is safe already (rule 7). */
static void accepted(struct sim *s, unsigned pub, bool first, bool has_one_body)
{
    if (first) {
        share_accepted(s, pub);
    }
    const struct sim_pub *p = &s->model.pubs[pub];
    if (has_one_body && sim_log_body(s->log, pub) == SIM_APPENDED) {
        sim_fail(s, "7", "m%u is acknowledged before its body is committed", pub);
    }
    for (uint8_t i = 0; i < s->knobs.n_clients && !p->is_clear; i++) {
        const struct sim_session *t = &s->model.sessions[i];
        int qos = t->exists && t->since <= p->fed_first ? model_certain_qos(t, p) : -1;
        if (qos < 0 || t->is_vague || sim_log_session_end(s->log, t->sid) != SIM_ABSENT ||
            model_has_expired(s, p)) {
            continue;
        }
        bool is_durable = t->is_durable && qos > 0;
        if (is_durable) {
            enum sim_kept kept = sim_log_delivery(s->log, t->sid, pub);
            /* What a restart matched again waits for nobody: until it is on disk, the next one
             * does it once more. */
            bool is_again = kept == SIM_APPENDED && sim_log_is_owing(s->log, pub);
            if (kept != SIM_COMMITTED && !is_again && !has_drop(s, i, p)) {
                sim_fail(s, "7", "m%u is acknowledged, but its delivery to client %u is %s", pub, i,
                         kept == SIM_ABSENT ? "nowhere" : "not committed");
            }
        } else if (t->link == NULL || t->link->opened_at > p->fed_first ||
                   (s->starved_at > 0 && s->starved_at >= p->fed_first)) {
            continue; /* without memory what is on no record is dropped and counted */
        }
        if (first) {
            model_duty(s, (struct sim_duty){.client = i,
                                            .qos = (uint8_t)qos,
                                            .pub = (uint16_t)pub,
                                            .link = is_durable ? 0 : t->link->id});
        }
    }
}

static bool was_allowed(const struct sim *s, const struct sim_pub *p)
{
    unsigned principal = s->clients[p->client].principal;
    for (unsigned i = p->state_first; i < s->n_states; i++) {
        const struct sim_state *st = &s->states[i];
        if (st->is_active[principal] &&
            sim_may_publish(&s->policies[st->policy], s->roles[principal], p->topic, p->qos,
                            p->retain)) {
            return true;
        }
    }
    return false;
}

/* ---- acknowledgements ---- */

static void answered(struct sim *s, struct sim_link *l, const struct sim_owed *o, uint8_t reason)
{
    struct sim_pub *p = &s->model.pubs[o->pub];
    bool first = p->done_at == 0;
    p->done_at = s->tick;
    if (reason >= 0x80) { /* one copy that was taken in is enough, whichever answer came first */
        p->is_refused = p->is_refused || first;
        return;
    }
    p->is_refused = false;
    if (!was_allowed(s, p)) {
        sim_fail(s, "9", "m%u is accepted, but no policy since it was sent allows it", o->pub);
    }
    const struct sim_session *t = &s->model.sessions[l->client];
    if (p->qos == 2 && t->link == l && t->is_durable &&
        sim_log_inbound(s->log, t->sid, o->packet_id) != SIM_COMMITTED) {
        sim_fail(s, "8", "PUBREC of m%u leaves before its packet id is committed", o->pub);
    }
    /* Of several copies with QoS 1 only those that somebody durable wants have a body. */
    accepted(s, o->pub, first, p->qos == 2 || p->n_sent == 1);
}

static void tap_ack(struct sim *s, struct sim_link *l, enum mqtt_type type,
                    const struct mqtt_ack *m)
{
    while (l->owed_at < l->owed_n && l->owed[l->owed_at].type == MQTT_PUBLISH) {
        struct sim_pub *p = &s->model.pubs[l->owed[l->owed_at++].pub];
        p->done_at = s->tick; /* taken in before what followed it */
    }
    const struct sim_owed *o = l->owed_at < l->owed_n ? &l->owed[l->owed_at] : NULL;
    if (o == NULL || o->type != type || o->packet_id != m->packet_id) {
        sim_fail(s, "7", "link %u: acknowledgement %d of id %u out of order: %d of id %u is due",
                 l->id, type, m->packet_id, o != NULL ? o->type : 0, o != NULL ? o->packet_id : 0);
        return;
    }
    l->owed_at++;
    if (type != MQTT_PUBCOMP) {
        answered(s, l, o, m->reason);
        return;
    }
    const struct sim_session *t = &s->model.sessions[l->client];
    if (t->link == l && t->is_durable &&
        sim_log_released(s->log, t->sid, m->packet_id) == SIM_APPENDED) {
        sim_fail(s, "8", "PUBCOMP of id %u leaves before the end of the id is committed",
                 m->packet_id);
    }
}

/* ---- deliveries ---- */

static bool is_possible(const struct sim_session *t, const struct sim_pub *p)
{
    for (unsigned f = 0; f < SIM_PLAIN; f++) {
        if (t->subs[f].possible_until >= p->fed_first && sim_matches(f, p->topic)) {
            return true;
        }
    }
    return false;
}

static bool has_crashed(const struct sim *s, const struct sim_pub *p)
{
    return s->crashed_at > 0 && s->crashed_at >= p->fed_first;
}

/* Sendings are in the order in which they entered the publisher's worker. A body that nobody had
 * answered for at a crash is matched again in the life after it, in the same order: it takes the
 * place that its sending would have at the begin of that life. */
static uint64_t place_of(unsigned life, uint32_t sending)
{
    return (uint64_t)life << 32 | sending;
}

/* The first place behind `after` that can have brought this copy; 0: there is none. Only sendings
 * after `matched` may have been matched again. */
static uint64_t next_place(const struct sim *s, const struct sim_pub *p, uint64_t after,
                           uint32_t matched)
{
    uint64_t best = 0;
    for (uint32_t i = p->newest_sending; i != 0; i = s->model.sendings[i - 1].older) {
        unsigned first = s->model.sendings[i - 1].life;
        for (unsigned life = first; life <= (i > matched ? s->n_lives : first); life++) {
            uint64_t place = place_of(life, i);
            best = place > after && (best == 0 || place < best) ? place : best;
        }
    }
    return best;
}

/* A retained message of now was not said before a newer one that came live. */
static void check_replay_order(struct sim *s, const struct sim_session *t, unsigned pub)
{
    const struct sim_pub *p = &s->model.pubs[pub];
    uint64_t kept = t->newest_kept[p->client][p->topic];
    uint32_t newest = p->newest_sending;
    if (t->touched[pub] == 0 && newest > 0 &&
        place_of(s->model.sendings[newest - 1].life, newest) < kept) {
        sim_fail(s, "4", "retained m%u comes after what its publisher said later", pub);
    }
}

/* What a client gets of one publisher, topic and QoS must be what the publisher sent, in its order,
 * with gaps: each copy is given the first sending behind that of the copy before. Two things have
 * no sending of their own. DUP repeats what left before, and the restart after a crash matches a
 * body again for whom it was not on record: for a session that took copies before their record was
 * on disk, or that had not subscribed yet when the message came. One that had subscribed, and has
 * not seen it, has seen nothing newer of before the crash either: a crash takes the end of the log.
 */
static void check_order(struct sim *s, struct sim_session *t, unsigned pub,
                        const struct mqtt_publish *m)
{
    const struct sim_pub *p = &s->model.pubs[pub];
    uint64_t *newest = &t->newest[p->client][p->topic][p->qos];
    uint64_t *kept = &t->newest_kept[p->client][p->topic];
    bool is_first = t->touched[pub] == 0;
    if (p->is_will || (m->dup && !is_first)) {
        return; /* a will's number says when it was left, not when it was published */
    }
    if (m->retain) {
        check_replay_order(s, t, pub);
        return;
    }
    uint32_t *own = &t->newest_own[p->client][p->topic][p->qos];
    bool is_missed = is_first && model_certain_qos(t, p) >= 0;
    uint64_t place = next_place(s, p, *newest, is_missed ? *own : 0);
    if (place == 0 && (is_first || !has_crashed(s, p))) {
        sim_fail(s, "5",
                 "m%u, copy %u, comes after what its publisher sent later with this topic "
                 "and QoS",
                 pub, t->touched[pub] + 1u);
    }
    *newest = place > 0 ? place : *newest;
    uint32_t sending = (uint32_t)place;
    bool is_own = place > 0 && place >> 32 == s->model.sendings[sending - 1].life;
    *own = is_own && sending > *own ? sending : *own;
    *kept = p->retain && place > *kept ? place : *kept;
}

/* How often a message may come as new. An old CONNECT that arrives late can end the publisher's
 * session and with it what the worker knew of its packet ids. */
unsigned model_most_copies(const struct sim *s, const struct sim_pub *p, uint8_t qos)
{
    bool is_forgotten = s->model.sessions[p->client].since > p->fed_first;
    /* Below QoS 2 it may leave before it is on disk, and a crash forgets that it did. */
    bool is_unsure = qos < 2 && has_crashed(s, p);
    unsigned n = p->qos == 1 || p->is_will || is_forgotten || is_unsure ? p->n_sent : 1;
    return is_unsure ? n + s->n_lives : n; /* each restart may match it again */
}

static void check_copies(struct sim *s, struct sim_session *t, unsigned pub,
                         const struct mqtt_publish *m)
{
    const struct sim_pub *p = &s->model.pubs[pub];
    if (m->dup && t->touched[pub] == 0 && !has_crashed(s, p)) {
        sim_fail(s, "8", "the first copy of m%u has DUP", pub);
    }
    if (m->dup || m->retain) {
        return;
    }
    uint16_t *left = m->qos == 2 ? &t->left2[pub] : &t->left[pub];
    if (++*left > model_most_copies(s, p, m->qos)) {
        sim_fail(s, m->qos == 2 ? "8" : "7", "client gets m%u (QoS %u, sent %u times) %u times",
                 pub, p->qos, p->n_sent, *left);
    }
}

static void tap_qos2(struct sim *s, struct sim_session *t, unsigned pub,
                     const struct mqtt_publish *m)
{
    if (m->packet_id < IDS && !m->dup) {
        /* Without memory a replay is not on record, and neither is its PUBREC. */
        /* One that was passed on to a member that did not last then is not on record either. */
        bool is_lost = m->retain && sim_had_trouble(s, 1);
        bool is_unrecorded =
            (is_lost && sim_log_delivery(s->log, t->sid, pub) == SIM_ABSENT) ||
            (share_of(m) >= 0 && !sim_log_has_shared(s->log, t->sid, (unsigned)share_of(m), pub));
        t->out_pub[m->packet_id] = is_unrecorded ? 0 : (uint16_t)(pub + 1);
        t->out_released[m->packet_id] = false;
    }
    if (t->is_durable && !m->retain && sim_log_delivery(s->log, t->sid, pub) == SIM_APPENDED) {
        sim_fail(s, "8", "m%u leaves with QoS 2 before its delivery is committed", pub);
    }
}

static void tap_publish(struct sim *s, struct sim_link *l, unsigned worker,
                        const struct mqtt_publish *m)
{
    struct sim_session *t = &s->model.sessions[l->client];
    const struct sim_state *st = sim_state_of_worker(s, worker);
    int number = sim_pub_of(s, m->payload);
    if (t->link != l) {
        sim_fail(s, "1", "link %u gets a PUBLISH without a session", l->id);
        return;
    }
    if (number < 0) {
        return; /* a clear */
    }
    unsigned pub = (unsigned)number;
    const struct sim_pub *p = &s->model.pubs[pub];
    if (!slice_is(m->topic, sim_topic(p->topic)) || m->qos > p->qos) {
        sim_fail(s, "5", "m%u arrives with another topic or a higher QoS", pub);
    }
    int share = share_of(m);
    if (p->fed_first == 0) {
        sim_fail(s, "5", "m%u arrives before it was sent", pub);
    } else if (share < 0 && !is_possible(t, p)) {
        sim_fail(s, "1", "client %u gets m%u on %s without a subscription", l->client, pub,
                 sim_topic(p->topic));
    }
    if (st == NULL || model_denied(s, st, p, l->client)) {
        sim_fail(s, "9", "client %u gets m%u on %s, which worker %u knows to be denied", l->client,
                 pub, sim_topic(p->topic), worker);
    }
    bool is_first = share < 0 ? t->touched[pub] == 0 : !m->dup;
    if (is_first && model_has_expired(s, p) && s->crashed_at < p->fed_first && p->held_on == 0 &&
        s->now_ms > p->fed_last_ms + p->expiry_s * 1000ull + 1000) {
        sim_fail(s, "12", "m%u comes %llu ms after it was sent, it expired after %u s", pub,
                 (unsigned long long)(s->now_ms - p->fed_last_ms), p->expiry_s);
    }
    if (m->qos == 2) {
        tap_qos2(s, t, pub, m);
    }
    if (share >= 0) {
        share_left(s, l, pub, (unsigned)share, m);
        return;
    }
    share_id_is_anothers(t, m->packet_id);
    check_order(s, t, pub, m);
    check_copies(s, t, pub, m);
    t->touched[pub]++;
}

static void tap_pubrel(struct sim *s, const struct sim_link *l, const struct mqtt_ack *m)
{
    struct sim_session *t = &s->model.sessions[l->client];
    if (t->link != l || m->reason >= 0x80 || m->packet_id >= IDS || t->out_pub[m->packet_id] == 0 ||
        t->out_released[m->packet_id] || !t->is_durable) {
        return;
    }
    t->out_released[m->packet_id] = true;
    t->n_releases++;
    if (t->n_releases > sim_log_received(s->log, t->sid)) {
        sim_fail(s, "8", "client %u: PUBREL %u leaves before \"PUBREC seen\" is committed",
                 l->client, m->packet_id);
    }
}

void model_reception(struct sim *s, struct sim_link *l, unsigned pub, uint8_t qos)
{
    struct sim_session *t = &s->model.sessions[l->client];
    const struct sim_pub *p = &s->model.pubs[pub];
    t->came_by[pub] = l->id;
    t->got[pub]++;
    t->got2[pub] = (uint16_t)(t->got2[pub] + (qos == 2));
    if (qos == 2 && !p->retain && t->got2[pub] > model_most_copies(s, p, 2)) {
        sim_fail(s, "8", "client %u accepts m%u twice with QoS 2", l->client, pub);
    }
}

/* ---- subscriptions ---- */

static bool always_covered(const struct sim *s, uint8_t client, const struct sim_wish *w)
{
    unsigned principal = s->clients[client].principal;
    for (unsigned i = w->state; i < s->n_states; i++) {
        if (!s->states[i].is_active[principal] ||
            !sim_may_subscribe(&s->policies[s->states[i].policy], s->roles[principal], w->filter)) {
            return false;
        }
    }
    return true;
}

static bool once_covered(const struct sim *s, uint8_t client, const struct sim_wish *w)
{
    unsigned principal = s->clients[client].principal;
    for (unsigned i = w->state; i < s->n_states; i++) {
        if (s->states[i].is_active[principal] &&
            sim_may_subscribe(&s->policies[s->states[i].policy], s->roles[principal], w->filter)) {
            return true;
        }
    }
    return false;
}

static void granted(struct sim *s, const struct sim_link *l, const struct sim_wish *w)
{
    struct sim_sub *sub = &s->model.sessions[l->client].subs[w->filter];
    if (sub->n_asked == 0 && !sub->is_ending && always_covered(s, l->client, w)) {
        sub->certain_since = sub->is_certain && sub->qos == w->qos ? sub->certain_since : s->tick;
        sub->is_certain = true;
        sub->qos = w->qos;
    }
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        /* What was said meanwhile comes live or is the retained message now: not decided here. */
        if (w->expect[t] >= 0 && model_retained(s, t) == w->expect[t] && !sub->is_ending &&
            always_covered(s, l->client, w)) {
            model_duty(s, (struct sim_duty){.client = l->client,
                                            .pub = (uint16_t)w->expect[t],
                                            .link = l->id,
                                            .replayed = w->filter,
                                            .state = s->n_states - 1,
                                            .is_replay = true});
        }
    }
}

/* The newest record about the filter: of a SUBSCRIBE or UNSUBSCRIBE that is still under way. */
static void check_sub_committed(struct sim *s, const struct sim_session *t,
                                const struct sim_wish *w, const char *packet)
{
    bool is_alone = t->subs[w->filter].n_asked == 0;
    const struct sim_record *r = sim_log_sub(s->log, t->sid, w->filter);
    if (t->is_durable && is_alone && sim_log_kept(s->log, r) == SIM_APPENDED &&
        r->kind == (w->is_unsubscribe ? JOURNAL_UNSUB : JOURNAL_SUB) &&
        t->subs[w->filter].is_ending == w->is_unsubscribe) {
        sim_fail(s, "7", "%s for %s leaves before its record is committed", packet,
                 sim_filter(w->filter));
    }
}

static void tap_suback(struct sim *s, struct sim_link *l, uint16_t packet_id, struct slice codes,
                       bool is_unsubscribe)
{
    size_t i = 0;
    while (i < l->n_wishes &&
           (l->wishes[i].packet_id != packet_id || l->wishes[i].is_unsubscribe != is_unsubscribe)) {
        i++;
    }
    if (i == l->n_wishes) {
        sim_fail(s, "3", "link %u: an answer to no SUBSCRIBE or UNSUBSCRIBE: %u", l->id, packet_id);
        return;
    }
    struct sim_wish w = l->wishes[i];
    l->n_wishes--;
    memmove(&l->wishes[i], &l->wishes[i + 1], (l->n_wishes - i) * sizeof(w));
    struct sim_session *t = &s->model.sessions[l->client];
    if (t->link != l) {
        return;
    }
    struct sim_sub *sub = &t->subs[w.filter];
    if (is_unsubscribe) {
        if (codes.n != 1 || codes.p[0] < 0x80) {
            /* It may have been subscribed to again, and the end of that may be lost. */
            sub->possible_until = w.n_said == sub->n_said ? s->tick : sub->possible_until;
            check_sub_committed(s, t, &w, "UNSUBACK");
        }
        return;
    }
    sub->n_asked = sub->n_asked > 0 ? (uint16_t)(sub->n_asked - 1) : 0;
    bool is_refused = codes.n != 1 || codes.p[0] >= 0x80;
    bool is_excused = sim_had_trouble(s, w.fed_at);
    if (is_refused && always_covered(s, l->client, &w) && !is_excused) {
        sim_fail(s, "9", "client %u: SUBSCRIBE %s is refused although it is granted", l->client,
                 sim_filter(w.filter));
    } else if (!is_refused && !once_covered(s, l->client, &w)) {
        sim_fail(s, "9", "client %u: SUBSCRIBE %s is accepted although nothing grants it",
                 l->client, sim_filter(w.filter));
    } else if (!is_refused) {
        granted(s, l, &w);
        check_sub_committed(s, t, &w, "SUBACK");
    }
}

/* ---- all packets ---- */

static void tap_connack(struct sim *s, struct sim_link *l, const struct mqtt_connack *m)
{
    bool is_told = l->is_present && s->clients[l->client].version != MQTT_V31;
    if (l->has_tapped_connack || (m->code == 0 && !l->is_open) ||
        (m->code == 0 && m->session_present != is_told)) {
        sim_fail(s, "1", "link %u: CONNACK %u, session present %d, expected %d", l->id, m->code,
                 m->session_present, is_told);
    }
    l->has_tapped_connack = true;
    const struct sim_session *t = &s->model.sessions[l->client];
    if (m->code != 0 || t->link != l || !t->is_durable) {
        return;
    }
    if (sim_log_session(s->log, t->sid) != SIM_COMMITTED) {
        sim_fail(s, "7", "link %u: CONNACK leaves before its session is committed", l->id);
    }
    const struct sim_record *will = sim_log_find(s->log, JOURNAL_WILL, t->sid, UINT64_MAX);
    bool is_promise = (l->will >= 0 || l->has_cancelled) && !l->is_leaving;
    if (is_promise && sim_log_kept(s->log, will) == SIM_APPENDED) {
        sim_fail(s, "7", "link %u: CONNACK leaves before %s is committed", l->id,
                 l->will >= 0 ? "its will" : "the end of the will that waited");
    }
}

void tap_packet(struct sim *s, struct sim_link *l, unsigned worker, const struct mqtt_fixed *fixed,
                struct slice body)
{
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    struct mqtt_input in = {.body = body,
                            .flags = fixed->flags,
                            .version = s->clients[l->client].version,
                            .sender = MQTT_FROM_SERVER,
                            .limits = &limits};
    struct mqtt_connack connack;
    struct mqtt_publish pub;
    struct mqtt_suback suback;
    struct mqtt_unsuback unsuback;
    struct mqtt_disconnect disconnect;
    struct mqtt_ack ack = {0};
    enum err err = OK;
    s->tick++;
    switch ((unsigned)fixed->type) {
    case MQTT_CONNACK:
        if ((err = mqtt_connack_decode(&in, NULL, &connack)) == OK) {
            tap_connack(s, l, &connack);
        }
        break;
    case MQTT_PUBLISH:
        if ((err = mqtt_publish_decode(&in, NULL, &pub)) == OK) {
            tap_alias(s, l, &pub);
            tap_publish(s, l, worker, &pub);
        }
        break;
    case MQTT_PUBACK:
        err = mqtt_puback_decode(&in, NULL, &ack);
        break;
    case MQTT_PUBREC:
        err = mqtt_pubrec_decode(&in, NULL, &ack);
        break;
    case MQTT_PUBCOMP:
        err = mqtt_pubcomp_decode(&in, NULL, &ack);
        break;
    case MQTT_PUBREL:
        if ((err = mqtt_pubrel_decode(&in, NULL, &ack)) == OK) {
            tap_pubrel(s, l, &ack);
        }
        return;
    case MQTT_SUBACK:
        if ((err = mqtt_suback_decode(&in, NULL, &suback)) == OK) {
            tap_suback(s, l, suback.packet_id, suback.codes, false);
        }
        break;
    case MQTT_UNSUBACK:
        if ((err = mqtt_unsuback_decode(&in, NULL, &unsuback)) == OK) {
            tap_suback(s, l, unsuback.packet_id, unsuback.codes, true);
        }
        break;
    case MQTT_DISCONNECT:
        if ((err = mqtt_disconnect_decode(&in, NULL, &disconnect)) == OK) {
            tap_disconnect(s, l, (uint8_t)disconnect.reason);
        }
        break;
    case MQTT_PINGRESP:
        break;
    default:
        err = ERR_PROTOCOL;
        break;
    }
    if (err != OK && fixed->type == MQTT_CONNACK && sim_had_trouble(s, l->opened_at)) {
        return; /* without memory for CONNECT it does not know the client's version */
    }
    if (err != OK) {
        sim_fail(s, "-", "link %u: the server sent what does not decode: type %d, %s", l->id,
                 fixed->type, err_name(err));
    } else if (ack.packet_id != 0) {
        sim_say(s, "tap", "link %u: acknowledgement %d of id %u, reason %u", l->id, fixed->type,
                ack.packet_id, ack.reason);
        tap_ack(s, l, fixed->type, &ack);
    }
}
