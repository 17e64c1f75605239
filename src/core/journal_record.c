#include "core/journal_record.h"

#include "base/event.h"
#include "base/rd.h"

enum message_flags {
    MESSAGE_RETAIN = 1,
    MESSAGE_UTF8 = 2,
    MESSAGE_FOR_GROUP = 8, /* which one follows */
    MESSAGE_FLAGS = 11
};
enum delivery_flags {
    DELIVERY_QOS = 3,
    DELIVERY_RETAIN = 4,
    DELIVERY_IS_RECEIVED = 8,
    DELIVERY_IS_DONE = 16,
    DELIVERY_TRIES_SHIFT = 5
};
enum sub_flags {
    SUB_QOS = 3,
    SUB_HANDLING = 12,
    SUB_HANDLING_SHIFT = 2,
    SUB_NO_LOCAL = 16,
    SUB_AS_PUBLISHED = 32,
    SUB_FLAGS = 63
};
enum {
    QOS_MAX = 2,
    HANDLING_MAX = 2,
    BODY_NUMBER_AT = 3 * 8 /* behind id, owed, publisher */
};

static enum err write_end(const struct wr *w)
{
    size_t n;
    return wr_done(w, &n);
}

/* ---- messages ---- */

static void write_message(struct wr *w, const struct journal_message *m)
{
    if (m->topic.n > UINT16_MAX || m->props.n > UINT32_MAX) {
        wr_fail(w, ERR_TOO_LARGE);
    }
    wr_u64(w, m->publisher);
    wr_u64(w, m->number);
    wr_u64(w, (uint64_t)m->expires_wall_ms);
    wr_u32(w, m->segment);
    wr_u16(w, m->content_format);
    wr_u8(w, m->qos);
    wr_u8(w, (uint8_t)((m->retain ? MESSAGE_RETAIN : 0) | (m->is_utf8 ? MESSAGE_UTF8 : 0) |
                       (m->for_group != 0 ? MESSAGE_FOR_GROUP : 0)));
    wr_u16(w, (uint16_t)m->topic.n);
    wr_u32(w, (uint32_t)m->props.n);
    if (m->for_group != 0) {
        wr_u64(w, m->for_group);
    }
}

/* The last thing of a record: its payload is all that is left. */
static struct journal_message read_message(struct rd *r)
{
    struct journal_message m = {.publisher = rd_u64(r), .number = rd_u64(r)};
    m.expires_wall_ms = (int64_t)rd_u64(r);
    m.segment = rd_u32(r);
    m.content_format = rd_u16(r);
    m.qos = rd_u8(r);
    uint8_t flags = rd_u8(r);
    uint16_t n_topic = rd_u16(r);
    uint32_t n_props = rd_u32(r);
    bool is_for_group = (flags & MESSAGE_FOR_GROUP) != 0;
    m.retain = (flags & MESSAGE_RETAIN) != 0;
    m.is_utf8 = (flags & MESSAGE_UTF8) != 0;
    m.for_group = is_for_group ? rd_u64(r) : 0;
    if (m.qos > QOS_MAX || (flags & ~MESSAGE_FLAGS) != 0 || (is_for_group && m.for_group == 0)) {
        rd_fail(r, ERR_MALFORMED);
    }
    m.topic = rd_bytes(r, n_topic);
    m.props = rd_bytes(r, n_props);
    m.payload = rd_rest(r);
    return m;
}

enum err journal_body_head(const struct journal_body *b, struct wr *head)
{
    wr_u64(head, b->id);
    wr_u64(head, b->owed);
    write_message(head, &b->m);
    return write_end(head);
}

enum err journal_body_read(struct slice record, struct journal_body *ret)
{
    struct rd r = rd_from(record);
    struct journal_body b = {.id = rd_u64(&r), .owed = rd_u64(&r)};
    b.m = read_message(&r);
    TRY(rd_finish(&r));
    if (b.id == 0 || b.m.topic.n == 0) {
        return ERR_MALFORMED;
    }
    *ret = b;
    return OK;
}

bool journal_is_traffic(enum journal_kind kind, struct slice head)
{
    struct rd r = rd_from(head);
    switch (kind) {
    case JOURNAL_DELIVER:
    case JOURNAL_ACK:
        return true;
    case JOURNAL_BODY:
        (void)rd_bytes(&r, BODY_NUMBER_AT);
        return rd_u64(&r) == 0 && rd_ok(&r);
    case JOURNAL_DROP:
    case JOURNAL_RECEIVED:
    case JOURNAL_INBOUND:
    case JOURNAL_RELEASED:
    case JOURNAL_SESSION:
    case JOURNAL_SESSION_END:
    case JOURNAL_SUB:
    case JOURNAL_UNSUB:
    case JOURNAL_WILL:
    case JOURNAL_SET_ASIDE:
    case JOURNAL_SET_ASIDE_END:
    case JOURNAL_ENTRY:
    case JOURNAL_ENTRY_END:
    case JOURNAL_TRIED:
    case JOURNAL_KIND_END:
        break;
    }
    return false;
}

enum err journal_will_head(const struct journal_will *w, struct wr *head)
{
    wr_u64(head, w->session);
    wr_u32(head, w->delay_s);
    write_message(head, &w->m);
    return write_end(head);
}

enum err journal_will_read(struct slice record, struct journal_will *ret)
{
    struct rd r = rd_from(record);
    struct journal_will w = {.session = rd_u64(&r), .delay_s = rd_u32(&r)};
    w.m = read_message(&r);
    TRY(rd_finish(&r));
    if (w.session == 0) {
        return ERR_MALFORMED;
    }
    *ret = w;
    return OK;
}

enum err journal_set_aside_head(const struct journal_set_aside *s, struct wr *head)
{
    wr_u64(head, s->id);
    wr_u64(head, s->session);
    wr_u64(head, s->principal);
    wr_u64(head, (uint64_t)s->since_wall_ms);
    wr_u8(head, s->reason);
    wr_u8(head, s->n_tries);
    write_message(head, &s->m);
    return write_end(head);
}

enum err journal_set_aside_read(struct slice record, struct journal_set_aside *ret)
{
    struct rd r = rd_from(record);
    struct journal_set_aside s = {.id = rd_u64(&r), .session = rd_u64(&r)};
    s.principal = rd_u64(&r);
    s.since_wall_ms = (int64_t)rd_u64(&r);
    s.reason = rd_u8(&r);
    s.n_tries = rd_u8(&r);
    s.m = read_message(&r);
    if (s.reason >= EVENT_COUNT) {
        s.reason = EVENT_poison_message; /* a later version's: the message is worth more */
    }
    TRY(rd_finish(&r));
    if (s.id == 0 || s.m.topic.n == 0) {
        return ERR_MALFORMED;
    }
    *ret = s;
    return OK;
}

/* A record that is one number, which is not 0. */
static enum err read_id(struct slice record, uint64_t *ret)
{
    struct rd r = rd_from(record);
    uint64_t id = rd_u64(&r);
    TRY(rd_finish(&r));
    if (id == 0) {
        return ERR_MALFORMED;
    }
    *ret = id;
    return OK;
}

enum err journal_set_aside_end_head(uint64_t id, struct wr *head)
{
    wr_u64(head, id);
    return write_end(head);
}

enum err journal_set_aside_end_read(struct slice record, uint64_t *ret_id)
{
    return read_id(record, ret_id);
}

/* ---- deliveries ---- */

enum err journal_deliver_head(uint64_t body_id, uint16_t worker, struct wr *head)
{
    wr_u64(head, body_id);
    wr_u16(head, worker);
    return write_end(head);
}

enum err journal_deliver_read(struct slice record, struct journal_deliver *ret)
{
    struct rd r = rd_from(record);
    struct journal_deliver d = {.body_id = rd_u64(&r), .worker = rd_u16(&r)};
    d.entries = rd_rest(&r);
    TRY(rd_finish(&r));
    if (d.body_id == 0 || d.worker >= JOURNAL_WORKERS_MAX) {
        return ERR_MALFORMED;
    }
    *ret = d;
    return OK;
}

static void write_delivery(const struct journal_delivery *d, struct wr *w)
{
    unsigned n_tries = d->n_tries < JOURNAL_TRIES_MAX ? d->n_tries : JOURNAL_TRIES_MAX;
    wr_u64(w, d->session);
    wr_u64(w, d->seq);
    wr_u8(w, (uint8_t)((d->qos & DELIVERY_QOS) | (d->retain ? DELIVERY_RETAIN : 0) |
                       (d->is_received ? DELIVERY_IS_RECEIVED : 0) |
                       (d->is_done ? DELIVERY_IS_DONE : 0) | n_tries << DELIVERY_TRIES_SHIFT));
    wr_u16(w, d->n_ids);
}

void journal_delivery_write(const struct journal_delivery *d, const uint32_t *ids,
                            struct wr *entries)
{
    write_delivery(d, entries);
    for (uint16_t i = 0; i < d->n_ids; i++) {
        wr_u32(entries, ids[i]);
    }
}

void journal_delivery_copy(const struct journal_delivery *d, struct wr *entries)
{
    write_delivery(d, entries);
    wr_bytes(entries, d->ids);
}

enum err journal_delivery_next(struct slice *entries, struct journal_delivery *ret)
{
    if (entries->n == 0) {
        return ERR_NOT_FOUND;
    }
    struct rd r = rd_from(*entries);
    struct journal_delivery d = {.session = rd_u64(&r), .seq = rd_u64(&r)};
    uint8_t flags = rd_u8(&r);
    d.n_ids = rd_u16(&r);
    d.ids = rd_bytes(&r, (size_t)d.n_ids * sizeof(uint32_t));
    struct slice rest = rd_rest(&r);
    TRY(rd_finish(&r));
    d.qos = flags & DELIVERY_QOS;
    d.retain = (flags & DELIVERY_RETAIN) != 0;
    d.is_received = (flags & DELIVERY_IS_RECEIVED) != 0;
    d.is_done = (flags & DELIVERY_IS_DONE) != 0;
    d.n_tries = (uint8_t)(flags >> DELIVERY_TRIES_SHIFT);
    if (d.session == 0 || d.seq == 0 || d.qos > QOS_MAX || (d.is_received && d.qos != QOS_MAX)) {
        return ERR_MALFORMED;
    }
    *ret = d;
    *entries = rest;
    return OK;
}

uint32_t journal_delivery_id(const struct journal_delivery *d, uint16_t i)
{
    struct rd r = rd_from(slice_from(d->ids, (size_t)i * sizeof(uint32_t)));
    return rd_u32(&r);
}

enum err journal_settle_head(enum journal_kind kind, const struct journal_settle *s,
                             struct wr *head)
{
    assert(kind == JOURNAL_ACK || kind == JOURNAL_DROP || kind == JOURNAL_RECEIVED ||
           kind == JOURNAL_TRIED);
    wr_u64(head, s->session);
    wr_u64(head, s->seq);
    if (kind == JOURNAL_DROP || kind == JOURNAL_TRIED) {
        wr_u8(head, kind == JOURNAL_DROP ? s->reason : s->n_tries);
    }
    return write_end(head);
}

enum err journal_settle_read(enum journal_kind kind, struct slice record,
                             struct journal_settle *ret)
{
    struct rd r = rd_from(record);
    struct journal_settle s = {.session = rd_u64(&r), .seq = rd_u64(&r)};
    if (kind == JOURNAL_DROP) {
        s.reason = rd_u8(&r);
    } else if (kind == JOURNAL_TRIED) {
        s.n_tries = rd_u8(&r);
    }
    TRY(rd_finish(&r));
    if (s.session == 0 || s.seq == 0) {
        return ERR_MALFORMED;
    }
    *ret = s;
    return OK;
}

/* ---- sessions ---- */

enum err journal_packet_head(const struct journal_packet *p, struct wr *head)
{
    wr_u64(head, p->session);
    wr_u16(head, p->packet_id);
    return write_end(head);
}

enum err journal_packet_read(struct slice record, struct journal_packet *ret)
{
    struct rd r = rd_from(record);
    struct journal_packet p = {.session = rd_u64(&r), .packet_id = rd_u16(&r)};
    TRY(rd_finish(&r));
    if (p.session == 0 || p.packet_id == 0) {
        return ERR_MALFORMED;
    }
    *ret = p;
    return OK;
}

enum err journal_session_head(const struct journal_session *s, struct wr *head)
{
    wr_u64(head, s->id);
    wr_u64(head, s->principal);
    wr_u64(head, s->next_seq);
    wr_u32(head, s->expiry_s);
    wr_u64(head, (uint64_t)s->asleep_wall_ms);
    return write_end(head);
}

enum err journal_session_read(struct slice record, struct journal_session *ret)
{
    struct rd r = rd_from(record);
    struct journal_session s = {.id = rd_u64(&r), .principal = rd_u64(&r)};
    s.next_seq = rd_u64(&r);
    s.expiry_s = rd_u32(&r);
    s.asleep_wall_ms = (int64_t)rd_u64(&r);
    s.client_id = rd_rest(&r);
    TRY(rd_finish(&r));
    if (s.id == 0 || s.client_id.n > UINT16_MAX) {
        return ERR_MALFORMED;
    }
    *ret = s;
    return OK;
}

enum err journal_session_end_head(uint64_t session, struct wr *head)
{
    wr_u64(head, session);
    return write_end(head);
}

enum err journal_session_end_read(struct slice record, uint64_t *ret_session)
{
    return read_id(record, ret_session);
}

enum err journal_sub_head(enum journal_kind kind, const struct journal_sub *s, struct wr *head)
{
    assert(kind == JOURNAL_SUB || kind == JOURNAL_UNSUB);
    wr_u64(head, s->session);
    if (kind == JOURNAL_SUB) {
        wr_u32(head, s->id);
        wr_u8(head, (uint8_t)((s->qos & SUB_QOS) |
                              (s->retain_handling << SUB_HANDLING_SHIFT & SUB_HANDLING) |
                              (s->no_local ? SUB_NO_LOCAL : 0) |
                              (s->retain_as_published ? SUB_AS_PUBLISHED : 0)));
    }
    return write_end(head);
}

enum err journal_sub_read(enum journal_kind kind, struct slice record, struct journal_sub *ret)
{
    struct rd r = rd_from(record);
    struct journal_sub s = {.session = rd_u64(&r)};
    if (kind == JOURNAL_SUB) {
        s.id = rd_u32(&r);
        uint8_t flags = rd_u8(&r);
        s.qos = flags & SUB_QOS;
        s.retain_handling = (uint8_t)((flags & SUB_HANDLING) >> SUB_HANDLING_SHIFT);
        s.no_local = (flags & SUB_NO_LOCAL) != 0;
        s.retain_as_published = (flags & SUB_AS_PUBLISHED) != 0;
        if (s.qos > QOS_MAX || s.retain_handling > HANDLING_MAX || flags > SUB_FLAGS) {
            rd_fail(&r, ERR_MALFORMED);
        }
    }
    s.filter = rd_rest(&r);
    TRY(rd_finish(&r));
    if (s.session == 0 || s.filter.n == 0) {
        return ERR_MALFORMED;
    }
    *ret = s;
    return OK;
}

/* ---- table entries ---- */

enum err journal_entry_head(enum journal_kind kind, uint8_t table, uint64_t id, struct wr *head)
{
    assert(kind == JOURNAL_ENTRY || kind == JOURNAL_ENTRY_END);
    wr_u8(head, table);
    wr_u64(head, id);
    return write_end(head);
}

enum err journal_entry_read(enum journal_kind kind, struct slice record, struct journal_entry *ret)
{
    struct rd r = rd_from(record);
    struct journal_entry e = {.table = rd_u8(&r), .id = rd_u64(&r)};
    if (kind == JOURNAL_ENTRY) {
        e.content = rd_rest(&r);
    }
    TRY(rd_finish(&r));
    *ret = e;
    return OK;
}
