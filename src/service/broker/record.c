/* What a worker writes into the journal: the fields of core/journal_record.h out of what it holds,
 * and under whose key. docs/ORDER.md, rules 7 and 8. */
#include "base/plant.h"
#include "core/journal_record.h"
#include "service/broker/outbox_private.h"
#include "service/broker/record_private.h"
#include "service/broker/worker_private.h"

enum {
    SETTLED_WAIT_MS = 20 /* how long what only settles waits for company on its way to the log */
};

/* Anonymous principals have no key: theirs goes under the log's own. */
static uint64_t owner_of(uint64_t principal)
{
    return principal >> 63 != 0 ? 0 : principal;
}

/* Nobody waits for the end of a delivery: lost in a crash, it comes again. A commit of its own for
 * each acknowledgement would cost as much as the message did. It is handed over at once all the
 * same: in the batch of its message it takes the message with it. Who waits says so by pending_add.
 */
static void note_due(struct worker *w, enum journal_kind kind)
{
    bool only_settles = kind == JOURNAL_ACK || kind == JOURNAL_DROP;
    uint64_t at_ms = w->now_ms + (only_settles ? SETTLED_WAIT_MS : 0);
    w->call_at_ms = at_ms < w->call_at_ms ? at_ms : w->call_at_ms;
}

static enum err append(struct worker *w, enum journal_kind kind, uint64_t owner,
                       const struct wr *head, struct slice body, uint64_t *ret_lsn)
{
    if (!wr_ok(head)) {
        return head->err;
    }
    TRY(journal_append(w->setup.journal, kind, owner_of(owner), wr_slice(head), body, ret_lsn));
    note_due(w, kind);
    w->last_lsn = *ret_lsn;
    count_add(&counts(w)->journal_records, 1);
    return OK;
}

void worker_handover(struct worker *w)
{
    bool is_due = w->call_at_ms <= w->now_ms || w->last_lsn - w->called_lsn >= HANDOVER_RECORDS;
    if (w->last_lsn != w->handed_lsn || is_due) {
        w->handed_lsn = w->last_lsn;
        if (is_due) {
            w->called_lsn = w->last_lsn;
            w->call_at_ms = UINT64_MAX;
        }
        journal_handover(w->setup.journal, is_due);
    }
    outboxes_release(w);
}

/* ---- messages ---- */

/* Wall time, because the monotonic clock does not survive a restart (rule 12). */
static int64_t expires_wall_ms(const struct worker *w, const struct msg *m)
{
    return m->expires_at_ms == UINT64_MAX ? INT64_MAX
                                          : w->wall_ms + (int64_t)(m->expires_at_ms - w->now_ms);
}

static struct journal_message message_of(const struct msg *m, int64_t expires_wall_ms)
{
    return (struct journal_message){.publisher = m->publisher,
                                    .number = m->number,
                                    .expires_wall_ms = expires_wall_ms,
                                    .segment = m->segment,
                                    .content_format = m->content_format,
                                    .qos = m->qos,
                                    .retain = m->retain,
                                    .is_utf8 = m->is_utf8,
                                    .for_group = m->for_group,
                                    .topic = m->topic,
                                    .props = m->props,
                                    .payload = m->payload};
}

/* The parts lie behind each other in the message, in the record's order. */
static struct slice parts_of(const struct msg *m)
{
    return slice_of(m->bytes, m->topic.n + m->props.n + m->payload.n);
}

MUST_USE enum err record_body(struct worker *w, const struct msg *m, uint64_t owed,
                              uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    struct journal_body b = {
        .id = m->body_id, .owed = owed, .m = message_of(m, expires_wall_ms(w, m))};
    TRY(journal_body_head(&b, &r));
    return append(w, JOURNAL_BODY, m->publisher, &r, parts_of(m), ret_lsn);
}

/* ---- deliveries ---- */

static enum err add_entry(struct worker *w, const struct journal_delivery *d, const uint32_t *ids)
{
    size_t n = JOURNAL_DELIVERY_BYTES + (size_t)d->n_ids * 4;
    uint8_t *dst;
    TRY(buf_room(&w->record, n, SIZE_MAX, &dst));
    struct wr r = wr_into(dst, n);
    journal_delivery_write(d, ids, &r);
    TRY(r.err);
    w->record.n += r.at;
    return OK;
}

MUST_USE enum err record_entry(struct worker *w, const struct session *s,
                               const struct journal_delivery *d, const uint32_t *ids)
{
    struct journal_delivery entry = *d;
    entry.session = s->id;
    return add_entry(w, &entry, ids);
}

MUST_USE enum err record_group_entry(struct worker *w, uint64_t group)
{
    struct journal_delivery entry = {
        .session = journal_group_session(group), .seq = 1, .is_done = true};
    return add_entry(w, &entry, NULL);
}

MUST_USE enum err record_deliver(struct worker *w, uint64_t body_id, unsigned worker,
                                 uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    TRY(journal_deliver_head(body_id, (uint16_t)worker, &r));
    return append(w, JOURNAL_DELIVER, 0, &r, buf_slice(&w->record), ret_lsn);
}

MUST_USE enum err record_settle(struct worker *w, enum journal_kind kind, uint64_t session,
                                uint64_t seq, uint8_t reason, uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    struct journal_settle settle = {.session = session, .seq = seq, .reason = reason};
    TRY(journal_settle_head(kind, &settle, &r));
    return append(w, kind, 0, &r, (struct slice){0}, ret_lsn);
}

void record_drop(struct worker *w, const struct session *s, uint64_t seq, uint8_t reason)
{
    uint64_t lsn;
    /* A lost drop record only means that the message comes again after a restart. */
    if (!PLANTED(PLANT_LOST_DROP_RECORD) &&
        record_settle(w, JOURNAL_DROP, s->id, seq, reason, &lsn) != OK) {
        count_add(&counts(w)->dropped_memory, 1);
    }
}

MUST_USE enum err record_try(struct worker *w, const struct session *s, const struct delivery *d,
                             uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    struct journal_settle tried = {.session = s->id,
                                   .seq = d->seq,
                                   .n_tries = d->n_sent < UINT8_MAX ? (uint8_t)(d->n_sent + 1)
                                                                    : d->n_sent};
    TRY(journal_settle_head(JOURNAL_TRIED, &tried, &r));
    return append(w, JOURNAL_TRIED, 0, &r, (struct slice){0}, ret_lsn);
}

MUST_USE enum err record_packet(struct worker *w, enum journal_kind kind, const struct session *s,
                                uint16_t packet_id, uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    struct journal_packet p = {.session = s->id, .packet_id = packet_id};
    TRY(journal_packet_head(&p, &r));
    return append(w, kind, 0, &r, (struct slice){0}, ret_lsn);
}

MUST_USE enum err record_set_aside(struct worker *w, const struct journal_set_aside *about,
                                   const struct msg *m, uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    struct journal_set_aside a = *about;
    a.m = message_of(m, expires_wall_ms(w, m));
    a.m.qos = about->m.qos;
    a.m.retain = about->m.retain;
    TRY(journal_set_aside_head(&a, &r));
    return append(w, JOURNAL_SET_ASIDE, m->publisher, &r, parts_of(m), ret_lsn);
}

MUST_USE enum err record_set_aside_end(struct worker *w, uint64_t id)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    uint64_t lsn;
    TRY(journal_set_aside_end_head(id, &r));
    return append(w, JOURNAL_SET_ASIDE_END, 0, &r, (struct slice){0}, &lsn);
}

/* ---- sessions ---- */

MUST_USE enum err record_session(struct worker *w, struct session *s, int64_t asleep_wall_ms,
                                 uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    struct journal_session record = {.id = s->id,
                                     .principal = s->account->principal->id,
                                     .next_seq = s->next_seq,
                                     .expiry_s = s->expiry_s,
                                     .asleep_wall_ms = asleep_wall_ms,
                                     .client_id = session_client_id(s)};
    TRY(journal_session_head(&record, &r));
    TRY(append(w, JOURNAL_SESSION, record.principal, &r, session_client_id(s), ret_lsn));
    s->is_on_record = true;
    return OK;
}

MUST_USE enum err record_session_end(struct worker *w, uint64_t session, uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    TRY(journal_session_end_head(session, &r));
    return append(w, JOURNAL_SESSION_END, 0, &r, (struct slice){0}, ret_lsn);
}

MUST_USE enum err record_sub(struct worker *w, enum journal_kind kind, const struct session *s,
                             const struct journal_sub *sub, uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    struct journal_sub record = *sub;
    record.session = s->id;
    TRY(journal_sub_head(kind, &record, &r));
    return append(w, kind, s->account->principal->id, &r, sub->filter, ret_lsn);
}

MUST_USE enum err record_will(struct worker *w, struct session *s, const struct msg *will,
                              uint32_t delay_s, uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    struct journal_will record = {
        .session = s->id, .delay_s = delay_s, .m.expires_wall_ms = INT64_MAX};
    if (will != NULL) {
        bool is_for_ever = will->expires_at_ms == UINT64_MAX;
        record.m = message_of(will, is_for_ever ? INT64_MAX : (int64_t)will->expires_at_ms);
    }
    TRY(journal_will_head(&record, &r));
    TRY(append(w, JOURNAL_WILL, s->account->principal->id, &r,
               will != NULL ? parts_of(will) : (struct slice){0}, ret_lsn));
    s->rest->is_will_on_record = will != NULL;
    return OK;
}

MUST_USE enum err record_numbers(struct worker *w, uint64_t principal, struct slice content,
                                 uint64_t *ret_lsn)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr r = wr_into(head, sizeof(head));
    TRY(journal_entry_head(JOURNAL_ENTRY, JOURNAL_TABLE_NUMBERS, principal, &r));
    return append(w, JOURNAL_ENTRY, principal, &r, content, ret_lsn);
}
