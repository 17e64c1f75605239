#include "sim_journal.h"

#include "base/mem.h"
#include "sim.h"

static struct sim_record *add(struct sim_log *l)
{
    if (l->n == SIM_RECORDS_MAX) {
        sim_fail(l->sim, "-", "the tap of the journal is full");
        return &l->records[l->n - 1];
    }
    return &l->records[l->n++];
}

static int client_of(const struct sim *s, const struct journal_session *m)
{
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        const struct sim_client *c = &s->clients[i];
        if (s->principal_ids[c->principal] == m->principal && slice_is(m->client_id, c->id)) {
            return (int)i;
        }
    }
    return -1;
}

/* ---- what a worker says ---- */

static enum err note_body(struct sim_log *l, struct sim_record r, struct slice record)
{
    struct journal_body b;
    TRY(journal_body_read(record, &b));
    r.id = b.id;
    r.seq = b.m.number;
    r.qos = b.m.qos;
    r.publisher = b.m.publisher;
    r.owed = b.owed;
    r.is_passed_on = b.m.for_group != 0;
    r.pub = (int16_t)sim_pub_of(l->sim, b.m.payload);
    r.name = (uint8_t)sim_topic_find(b.m.topic);
    sim_say(l->sim, "journal", "%u: body %llu of m%d%s, owed by %llx", r.writer,
            (unsigned long long)r.id, r.pub, r.is_passed_on ? ", passed on" : "",
            (unsigned long long)b.owed);
    if (r.pub >= 0 && r.name != l->sim->model.pubs[r.pub].topic) {
        sim_fail(l->sim, "5", "m%d is on record with the topic %.*s", r.pub, (int)b.m.topic.n,
                 (const char *)b.m.topic.p);
    }
    *add(l) = r;
    return OK;
}

static enum err note_deliver(struct sim_log *l, struct sim_record r, struct slice record)
{
    struct journal_deliver m;
    struct journal_delivery d;
    TRY(journal_deliver_read(record, &m));
    struct sim_record *body = sim_log_find(l, JOURNAL_BODY, m.body_id, UINT64_MAX);
    r.body = m.body_id;
    r.debtor = m.worker;
    r.pub = body != NULL ? body->pub : -1;
    r.publisher = body != NULL ? body->publisher : 0;
    r.is_passed_on = body != NULL && body->is_passed_on;
    if (body != NULL && (body->owed >> m.worker & 1) != 0) {
        body->is_settled = true;
        body->settled_by = r.writer;
        body->settled_lsn = r.lsn;
    }
    enum err err;
    while ((err = journal_delivery_next(&m.entries, &d)) == OK) {
        if (d.is_done) {
            continue; /* that a group has had it */
        }
        r.id = d.session;
        r.seq = d.seq;
        r.qos = d.qos;
        r.via = d.n_ids > 0 ? (uint8_t)(journal_delivery_id(&d, 0) - 1) : 0;
        sim_say(l->sim, "journal", "%u: m%d is delivery %llu of session %llu%s%s", r.writer, r.pub,
                (unsigned long long)r.seq, (unsigned long long)r.id, r.via != 0 ? " by " : "",
                r.via != 0 && r.via < SIM_FILTERS ? sim_filter(r.via) : "");
        r.is_replay = d.retain; /* no client asks for retain as published */
        const struct sim_record *old = sim_log_find(l, JOURNAL_DELIVER, r.id, r.seq);
        if (old != NULL && sim_log_settled(l, old) != SIM_COMMITTED) {
            sim_fail(l->sim, "7", "delivery %llu of session %llu is m%d's and now m%d's",
                     (unsigned long long)r.seq, (unsigned long long)r.id, old->pub, r.pub);
        }
        *add(l) = r;
        if (l->sim->knobs.small_queue && sim_log_count_unsettled(l, r.id) > SIM_SMALL_QUEUE) {
            sim_fail(l->sim, "11", "session %llu has more than %d messages",
                     (unsigned long long)r.id, SIM_SMALL_QUEUE);
        }
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err note_settle(struct sim_log *l, const struct sim_record *r, struct slice record)
{
    struct journal_settle m;
    TRY(journal_settle_read(r->kind, record, &m));
    struct sim_record *d = sim_log_find(l, JOURNAL_DELIVER, m.session, m.seq);
    if (d == NULL) {
        sim_fail(l->sim, "7",
                 "a record of kind %d about delivery %llu of session %llu, which has "
                 "none",
                 (int)r->kind, (unsigned long long)m.seq, (unsigned long long)m.session);
        return OK;
    }
    sim_say(l->sim, "journal", "%u: %s of m%d, delivery %llu of session %llu", r->writer,
            r->kind == JOURNAL_ACK    ? "end"
            : r->kind == JOURNAL_DROP ? "drop"
                                      : "PUBREC",
            d->pub, (unsigned long long)m.seq, (unsigned long long)m.session);
    if (r->kind == JOURNAL_RECEIVED) {
        d->is_received = true;
        d->received_by = r->writer;
        d->received_lsn = r->lsn;
    } else if (!d->is_settled) {
        d->is_settled = true;
        d->settled_by = r->writer;
        d->settled_lsn = r->lsn;
    }
    return OK;
}

static enum err note_session(struct sim_log *l, struct sim_record r, struct slice record)
{
    struct journal_session m;
    TRY(journal_session_read(record, &m));
    int client = client_of(l->sim, &m);
    if (client < 0) {
        sim_fail(l->sim, "1", "a session record of somebody who is not there: %llu %.*s",
                 (unsigned long long)m.principal, (int)m.client_id.n, (const char *)m.client_id.p);
        return OK;
    }
    if (sim_log_session_end(l, m.id) == SIM_COMMITTED) {
        sim_fail(l->sim, "7", "the number of session %llu is given again",
                 (unsigned long long)m.id);
    }
    r.id = m.id;
    r.client = (uint8_t)client;
    *add(l) = r;
    return OK;
}

static enum err note(struct sim_log *l, struct sim_record r, struct slice record)
{
    struct journal_packet packet;
    struct journal_sub sub;
    struct journal_will will;
    switch (r.kind) {
    case JOURNAL_BODY:
        return note_body(l, r, record);
    case JOURNAL_DELIVER:
        return note_deliver(l, r, record);
    case JOURNAL_ACK:
    case JOURNAL_DROP:
    case JOURNAL_RECEIVED:
        return note_settle(l, &r, record);
    case JOURNAL_INBOUND:
    case JOURNAL_RELEASED:
        TRY(journal_packet_read(record, &packet));
        r.id = packet.session;
        r.seq = packet.packet_id;
        break;
    case JOURNAL_SESSION:
        return note_session(l, r, record);
    case JOURNAL_SESSION_END:
        TRY(journal_session_end_read(record, &r.id));
        break;
    case JOURNAL_SUB:
    case JOURNAL_UNSUB:
        TRY(journal_sub_read(r.kind, record, &sub));
        r.id = sub.session;
        r.qos = sub.qos;
        r.name = (uint8_t)sim_filter_find(sub.filter);
        break;
    case JOURNAL_WILL:
        TRY(journal_will_read(record, &will));
        r.id = will.session;
        r.pub = (int16_t)sim_pub_of(l->sim, will.m.payload);
        break;
    case JOURNAL_TRIED:
    case JOURNAL_SET_ASIDE:
    case JOURNAL_SET_ASIDE_END:
    case JOURNAL_ENTRY:
    case JOURNAL_ENTRY_END:
    case JOURNAL_KIND_END:
        return OK;
    }
    *add(l) = r;
    return OK;
}

static enum err note_refusal(const struct sim_writer *w, enum err err)
{
    if (err != OK) {
        w->log->writers[w->index].refused_at = w->log->sim->tick;
    }
    return err;
}

static enum err append(struct journal *j, enum journal_kind kind, uint64_t owner, struct slice head,
                       struct slice body, uint64_t *ret_lsn)
{
    struct sim_writer *w = (struct sim_writer *)(void *)j;
    struct sim_log *l = w->log;
    if (l->is_dead) {
        *ret_lsn = w->committed + ++w->n_ghosts;
        return OK;
    }
    uint64_t lsn = 0;
    TRY(note_refusal(w, journal_append(w->real, kind, owner, head, body, &lsn)));
    struct wr whole = wr_into(l->bytes, sizeof(l->bytes));
    wr_bytes(&whole, head);
    wr_bytes(&whole, body);
    struct sim_record r = {.kind = kind, .writer = (uint8_t)w->index, .pub = -1, .lsn = lsn};
    enum err err = wr_ok(&whole) ? note(l, r, wr_slice(&whole)) : ERR_TOO_LARGE;
    if (err != OK) {
        sim_fail(l->sim, "-", "worker %u wrote a record of kind %d that does not decode: %s",
                 w->index, (int)kind, err_name(err));
    }
    *ret_lsn = lsn;
    return OK;
}

static enum err admits(const struct journal *j)
{
    const struct sim_writer *w = (const struct sim_writer *)(const void *)j;
    return w->log->is_dead ? OK : note_refusal(w, journal_admits(w->real));
}

static enum journal_lag lag(const struct journal *j, uint64_t bytes)
{
    const struct sim_writer *w = (const struct sim_writer *)(const void *)j;
    return w->log->is_dead ? JOURNAL_KEEPS_UP : journal_lag(w->real, bytes);
}

static void handover(struct journal *j, bool is_awaited)
{
    struct sim_writer *w = (struct sim_writer *)(void *)j;
    if (!w->log->is_dead) {
        journal_handover(w->real, is_awaited);
    }
}

static uint64_t committed_of(const struct sim_writer *w)
{
    return w->log->is_dead || w->real == NULL ? w->committed : journal_committed(w->real);
}

static uint64_t committed(const struct journal *j)
{
    return committed_of((const struct sim_writer *)(const void *)j);
}

static const struct journal_ops sim_journal_ops = {
    .append = append, .admits = admits, .lag = lag, .handover = handover, .committed = committed};

/* ---- birth and death ---- */

struct sim_log *sim_log_new(struct sim *s)
{
    struct sim_log *l = mem_zalloc(sizeof(*l));
    if (l == NULL) {
        return NULL;
    }
    l->sim = s;
    l->n_writers = s->knobs.n_workers;
    l->records = mem_alloc(SIM_RECORDS_MAX * sizeof(*l->records));
    return l->records != NULL ? l : sim_log_free(l);
}

struct sim_log *sim_log_free(struct sim_log *l)
{
    if (l != NULL) {
        mem_free(l->records);
        mem_free(l);
    }
    return NULL;
}

struct journal *sim_log_attach(struct sim_log *l, unsigned i, struct journal *real)
{
    l->is_dead = false;
    l->writers[i] =
        (struct sim_writer){.journal.ops = &sim_journal_ops, .log = l, .real = real, .index = i};
    return &l->writers[i].journal;
}

void sim_log_die(struct sim_log *l)
{
    for (unsigned i = 0; i < l->n_writers && !l->is_dead; i++) {
        l->writers[i].committed = committed_of(&l->writers[i]);
    }
    l->is_dead = true;
}

/* ---- questions ---- */

static enum sim_kept state_at(const struct sim_log *l, uint64_t lsn, unsigned writer)
{
    return lsn == 0 || lsn <= committed_of(&l->writers[writer]) ? SIM_COMMITTED : SIM_APPENDED;
}

enum sim_kept sim_log_kept(const struct sim_log *l, const struct sim_record *r)
{
    return r == NULL ? SIM_ABSENT : state_at(l, r->lsn, r->writer);
}

enum sim_kept sim_log_settled(const struct sim_log *l, const struct sim_record *r)
{
    return r->is_settled ? state_at(l, r->settled_lsn, r->settled_by) : SIM_ABSENT;
}

enum sim_kept sim_log_seen(const struct sim_log *l, const struct sim_record *r)
{
    return r->is_received ? state_at(l, r->received_lsn, r->received_by) : SIM_ABSENT;
}

struct sim_record *sim_log_find(const struct sim_log *l, enum journal_kind kind, uint64_t id,
                                uint64_t seq)
{
    for (size_t i = l->n; i > 0; i--) {
        struct sim_record *r = &l->records[i - 1];
        if (r->kind == kind && r->id == id && (seq == UINT64_MAX || r->seq == seq)) {
            return r;
        }
    }
    return NULL;
}

struct sim_record *sim_log_sub(const struct sim_log *l, uint64_t sid, unsigned filter)
{
    for (size_t i = l->n; i > 0; i--) {
        struct sim_record *r = &l->records[i - 1];
        if ((r->kind == JOURNAL_SUB || r->kind == JOURNAL_UNSUB) && r->id == sid &&
            r->name == filter) {
            return r;
        }
    }
    return NULL;
}

uint64_t sim_log_session_of(const struct sim_log *l, unsigned client)
{
    uint64_t best = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct sim_record *r = &l->records[i];
        best = r->kind == JOURNAL_SESSION && r->client == client && r->id > best ? r->id : best;
    }
    return best;
}

static enum sim_kept best_of(const struct sim_log *l, enum journal_kind kind, uint64_t id, int pub)
{
    enum sim_kept best = SIM_ABSENT;
    for (size_t i = l->n; i > 0 && best != SIM_COMMITTED; i--) {
        const struct sim_record *r = &l->records[i - 1];
        if (r->kind == kind && (id == 0 || r->id == id) && (pub < 0 || r->pub == pub) &&
            (kind != JOURNAL_BODY || !r->is_passed_on)) {
            enum sim_kept kept = sim_log_kept(l, r);
            best = kept > best ? kept : best;
        }
    }
    return best;
}

enum sim_kept sim_log_session(const struct sim_log *l, uint64_t sid)
{
    return best_of(l, JOURNAL_SESSION, sid, -1);
}

enum sim_kept sim_log_session_end(const struct sim_log *l, uint64_t sid)
{
    return best_of(l, JOURNAL_SESSION_END, sid, -1);
}

enum sim_kept sim_log_delivery(const struct sim_log *l, uint64_t sid, unsigned pub)
{
    return best_of(l, JOURNAL_DELIVER, sid, (int)pub);
}

static bool is_asked_for(const struct sim_log *l, const struct sim_record *r)
{
    const struct sim_record *body = sim_log_find(l, JOURNAL_BODY, r->body, UINT64_MAX);
    return body == NULL || body->writer == r->debtor || (body->owed >> r->debtor & 1) != 0;
}

enum sim_kept sim_log_shared(const struct sim_log *l, unsigned filter, unsigned pub)
{
    enum sim_kept best = SIM_ABSENT;
    for (size_t i = l->n; i > 0 && best != SIM_COMMITTED; i--) {
        const struct sim_record *r = &l->records[i - 1];
        if (r->kind == JOURNAL_DELIVER && r->via == filter && r->pub == (int)pub &&
            !r->is_passed_on) {
            enum sim_kept kept = sim_log_kept(l, r);
            kept = kept == SIM_APPENDED && !is_asked_for(l, r) ? SIM_ABSENT : kept;
            best = kept > best ? kept : best;
        }
    }
    return best;
}

bool sim_log_has_shared(const struct sim_log *l, uint64_t sid, unsigned filter, unsigned pub)
{
    for (size_t i = l->n; i > 0; i--) {
        const struct sim_record *r = &l->records[i - 1];
        if (r->kind == JOURNAL_DELIVER && r->via == filter && r->id == sid && r->pub == (int)pub) {
            return true;
        }
    }
    return false;
}

bool sim_log_is_owing(const struct sim_log *l, unsigned pub)
{
    bool is = false;
    for (size_t i = 0; i < l->n; i++) {
        const struct sim_record *r = &l->records[i];
        is = is || (r->kind == JOURNAL_BODY && r->pub == (int)pub && r->is_owing &&
                    sim_log_settled(l, r) != SIM_COMMITTED);
    }
    return is;
}

enum sim_kept sim_log_body(const struct sim_log *l, unsigned pub)
{
    return best_of(l, JOURNAL_BODY, 0, (int)pub);
}

enum sim_kept sim_log_inbound(const struct sim_log *l, uint64_t sid, uint16_t packet_id)
{
    return sim_log_kept(l, sim_log_find(l, JOURNAL_INBOUND, sid, packet_id));
}

enum sim_kept sim_log_released(const struct sim_log *l, uint64_t sid, uint16_t packet_id)
{
    return sim_log_kept(l, sim_log_find(l, JOURNAL_RELEASED, sid, packet_id));
}

uint64_t sim_log_received(const struct sim_log *l, uint64_t sid)
{
    uint64_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct sim_record *r = &l->records[i];
        n += r->kind == JOURNAL_DELIVER && r->id == sid && sim_log_seen(l, r) == SIM_COMMITTED;
    }
    return n;
}

int sim_log_unsettled(const struct sim_log *l, uint64_t sid)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct sim_record *r = &l->records[i];
        if (r->kind == JOURNAL_DELIVER && r->id == sid && !r->is_settled) {
            return r->pub >= 0 ? r->pub : 9999;
        }
    }
    return -1;
}

unsigned sim_log_count_unsettled(const struct sim_log *l, uint64_t sid)
{
    unsigned n = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct sim_record *r = &l->records[i];
        n += r->kind == JOURNAL_DELIVER && r->id == sid && !r->is_settled;
    }
    return n;
}

bool sim_log_has_refused(const struct sim_log *l, uint64_t since)
{
    bool has = false;
    for (unsigned i = 0; i < l->n_writers; i++) {
        has = has || (l->writers[i].refused_at > 0 && l->writers[i].refused_at >= since);
    }
    return has;
}

struct sim_record *sim_log_retained(const struct sim_log *l, unsigned topic, bool only_committed)
{
    struct sim_record *best = NULL;
    for (size_t i = 0; i < l->n; i++) {
        struct sim_record *r = &l->records[i];
        if (r->kind == JOURNAL_BODY && r->seq > 0 && r->name == topic &&
            (best == NULL || r->seq > best->seq) &&
            (!only_committed || sim_log_kept(l, r) == SIM_COMMITTED)) {
            best = r;
        }
    }
    return best;
}
