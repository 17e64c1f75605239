#include "sim_journal.h"

#include <stdbool.h>

#include "base/mem.h"
#include "base/rd.h"

enum { WRITERS_MAX = 4, TOPIC_MAX = 16 };

struct record {
    enum journal_kind kind;
    uint8_t writer, qos;
    bool is_settled; /* DELIVER: acknowledged or dropped */
    bool is_retained;
    char topic[TOPIC_MAX];
    int pub; /* BODY, DELIVER */
    uint64_t lsn, id,
        seq; /* id: body or session; seq: of the delivery, packet id, retained number */
};

struct writer {
    struct journal journal; /* first */
    struct sim_log *log;
    unsigned index;
    uint64_t appended, committed, session;
};

struct sim_log {
    unsigned n_writers;
    struct writer writers[WRITERS_MAX];
    struct record *records;
    size_t n, cap;
    int (*name)(const void *ctx, struct slice payload);
    const void *ctx;
};

static struct record *add(struct sim_log *l)
{
    if (l->n == l->cap) {
        size_t cap = l->cap > 0 ? l->cap * 2 : 512;
        struct record *grown = mem_grow(l->records, cap * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        l->records = grown;
        l->cap = cap;
    }
    return &l->records[l->n++];
}

static void settle(struct sim_log *l, uint64_t sid, uint64_t seq)
{
    for (size_t i = l->n; i > 0; i--) {
        struct record *r = &l->records[i - 1];
        if (r->kind == JOURNAL_DELIVER && r->id == sid && r->seq == seq) {
            r->is_settled = true;
            return;
        }
    }
}

static int pub_of_body(const struct sim_log *l, uint64_t body)
{
    for (size_t i = l->n; i > 0; i--) {
        if (l->records[i - 1].kind == JOURNAL_BODY && l->records[i - 1].id == body) {
            return l->records[i - 1].pub;
        }
    }
    return -1;
}

static enum err add_body(struct sim_log *l, struct record r, struct rd *head, struct slice body)
{
    r.id = rd_u64(head);
    (void)rd_u64(head); /* publisher */
    r.seq = rd_u64(head);
    (void)rd_u64(head); /* expiry */
    (void)rd_u32(head); /* segment */
    r.qos = rd_u8(head);
    r.is_retained = (rd_u8(head) & 1) != 0;
    (void)rd_u16(head); /* content format */
    size_t topic_n = rd_u16(head), props_n = rd_u32(head);
    r.pub = l->name(l->ctx, slice_from(body, topic_n + props_n));
    bool fits = slice_to_text(slice_head(body, topic_n), r.topic, sizeof(r.topic));
    struct record *place = fits ? add(l) : NULL;
    if (place == NULL) {
        return ERR_NOMEM;
    }
    *place = r;
    return OK;
}

static enum err add_deliver(struct sim_log *l, struct record r, struct rd *head, struct slice body)
{
    r.pub = pub_of_body(l, rd_u64(head));
    struct rd in = rd_from(body);
    while (rd_left(&in) > 0) {
        r.id = rd_u64(&in);
        r.seq = rd_u64(&in);
        r.qos = rd_u8(&in);
        (void)rd_bytes(&in, (size_t)rd_u16(&in) * 4);
        struct record *place = add(l);
        if (place == NULL) {
            return ERR_NOMEM;
        }
        *place = r;
    }
    return rd_finish(&in);
}

static enum err append(struct journal *j, enum journal_kind kind, uint64_t owner,
                       struct slice head_bytes, struct slice body, uint64_t *ret_lsn)
{
    (void)owner;
    struct writer *w = (struct writer *)(void *)j;
    struct sim_log *l = w->log;
    struct rd head = rd_from(head_bytes);
    struct record r = {
        .kind = kind, .writer = (uint8_t)w->index, .pub = -1, .lsn = w->appended + 1};
    if (kind == JOURNAL_BODY) {
        TRY(add_body(l, r, &head, body));
    } else if (kind == JOURNAL_DELIVER) {
        TRY(add_deliver(l, r, &head, body));
    } else {
        r.id = rd_u64(&head);
        bool has_packet = kind == JOURNAL_INBOUND || kind == JOURNAL_RELEASED;
        bool has_seq = kind == JOURNAL_ACK || kind == JOURNAL_DROP || kind == JOURNAL_RECEIVED;
        r.seq = has_packet ? rd_u16(&head) : (has_seq ? rd_u64(&head) : 0);
        struct record *place = add(l);
        if (place == NULL) {
            return ERR_NOMEM;
        }
        *place = r;
        if (kind == JOURNAL_ACK || kind == JOURNAL_DROP) {
            settle(l, r.id, r.seq);
        } else if (kind == JOURNAL_SESSION) {
            w->session = r.id;
        }
    }
    w->appended++;
    *ret_lsn = w->appended;
    return OK;
}

static uint64_t committed(const struct journal *j)
{
    return ((const struct writer *)(const void *)j)->committed;
}

static void handover(struct journal *j)
{
    (void)j;
}

static const struct journal_ops sim_journal_ops = {
    .append = append, .handover = handover, .committed = committed};

struct sim_log *sim_log_new(unsigned n, int (*name)(const void *ctx, struct slice payload),
                            const void *ctx)
{
    struct sim_log *l = mem_zalloc(sizeof(*l));
    if (l == NULL) {
        return NULL;
    }
    l->n_writers = n;
    l->name = name;
    l->ctx = ctx;
    for (unsigned i = 0; i < n; i++) {
        l->writers[i] = (struct writer){.journal.ops = &sim_journal_ops, .log = l, .index = i};
    }
    return l;
}

struct sim_log *sim_log_free(struct sim_log *l)
{
    if (l != NULL) {
        mem_free(l->records);
        mem_free(l);
    }
    return NULL;
}

struct journal *sim_log_writer(struct sim_log *l, unsigned i)
{
    return &l->writers[i].journal;
}

uint64_t sim_log_appended(const struct sim_log *l, unsigned i)
{
    return l->writers[i].appended;
}

uint64_t sim_log_committed(const struct sim_log *l, unsigned i)
{
    return l->writers[i].committed;
}

void sim_log_commit(struct sim_log *l, unsigned i, uint64_t up_to)
{
    l->writers[i].committed = up_to;
}

uint64_t sim_log_take_session(struct sim_log *l, unsigned writer)
{
    uint64_t id = l->writers[writer].session;
    l->writers[writer].session = 0;
    return id;
}

/* ---- questions ---- */

static enum sim_kept kept(const struct sim_log *l, const struct record *r)
{
    return r->lsn <= l->writers[r->writer].committed ? SIM_COMMITTED : SIM_APPENDED;
}

enum sim_kept sim_log_delivery(const struct sim_log *l, uint64_t sid, unsigned pub)
{
    enum sim_kept best = SIM_ABSENT;
    for (size_t i = l->n; i > 0 && best != SIM_COMMITTED; i--) {
        const struct record *r = &l->records[i - 1];
        if (r->kind == JOURNAL_DELIVER && r->id == sid && r->pub == (int)pub) {
            best = kept(l, r) > best ? kept(l, r) : best;
        }
    }
    return best;
}

enum sim_kept sim_log_body(const struct sim_log *l, unsigned pub)
{
    enum sim_kept best = SIM_ABSENT;
    for (size_t i = l->n; i > 0 && best != SIM_COMMITTED; i--) {
        const struct record *r = &l->records[i - 1];
        if (r->kind == JOURNAL_BODY && r->pub == (int)pub) {
            best = kept(l, r) > best ? kept(l, r) : best;
        }
    }
    return best;
}

static enum sim_kept last_of(const struct sim_log *l, enum journal_kind kind, uint64_t sid,
                             uint64_t seq)
{
    for (size_t i = l->n; i > 0; i--) {
        const struct record *r = &l->records[i - 1];
        if (r->kind == kind && r->id == sid && r->seq == seq) {
            return kept(l, r);
        }
    }
    return SIM_ABSENT;
}

enum sim_kept sim_log_inbound(const struct sim_log *l, uint64_t sid, uint16_t packet_id)
{
    return last_of(l, JOURNAL_INBOUND, sid, packet_id);
}

enum sim_kept sim_log_released(const struct sim_log *l, uint64_t sid, uint16_t packet_id)
{
    return last_of(l, JOURNAL_RELEASED, sid, packet_id);
}

uint64_t sim_log_received(const struct sim_log *l, uint64_t sid)
{
    uint64_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct record *r = &l->records[i];
        n += r->kind == JOURNAL_RECEIVED && r->id == sid && kept(l, r) == SIM_COMMITTED ? 1 : 0;
    }
    return n;
}

int sim_log_unsettled(const struct sim_log *l, uint64_t sid)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct record *r = &l->records[i];
        if (r->kind == JOURNAL_DELIVER && r->id == sid && !r->is_settled) {
            return r->pub >= 0 ? r->pub : 9999;
        }
    }
    return -1;
}

int sim_log_retained(const struct sim_log *l, struct slice topic)
{
    const struct record *best = NULL;
    for (size_t i = 0; i < l->n; i++) {
        const struct record *r = &l->records[i];
        if (r->kind == JOURNAL_BODY && r->is_retained && slice_is(topic, r->topic) &&
            (best == NULL || r->seq > best->seq)) {
            best = r;
        }
    }
    return best == NULL ? -2 : best->pub;
}
