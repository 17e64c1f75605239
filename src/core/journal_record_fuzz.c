/* The first byte is the kind, the rest a record; what can be read is written again and must be the
 * same bytes. */
#include <assert.h>

#include "core/journal_record.h"

enum { KEPT_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void same(struct slice record, struct wr *w, enum err e, struct slice rest)
{
    assert(e == OK);
    wr_bytes(w, rest);
    assert(slice_equal(wr_slice(w), record));
}

static void same_message(struct slice record, struct wr *w, enum err e,
                         const struct journal_message *m)
{
    assert(e == OK);
    wr_bytes(w, m->topic);
    wr_bytes(w, m->props);
    same(record, w, e, m->payload);
}

static void deliver(struct slice record, struct wr *w)
{
    struct journal_deliver d;
    struct journal_delivery one;
    if (journal_deliver_read(record, &d) != OK) {
        return;
    }
    enum err e = journal_deliver_head(d.body_id, d.worker, w);
    assert(e == OK);
    struct slice at = d.entries;
    while ((e = journal_delivery_next(&at, &one)) == OK) {
        journal_delivery_copy(&one, w);
    }
    same(record, w, OK, at); /* what could not be read is left where it was */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0 || n > KEPT_MAX) {
        return 0;
    }
    uint8_t again[KEPT_MAX];
    struct wr w = wr_into(again, sizeof(again));
    struct slice record = slice_of(data + 1, n - 1);
    enum journal_kind kind = (enum journal_kind)(data[0] % JOURNAL_KIND_END);
    struct journal_body body;
    struct journal_settle settle;
    struct journal_packet packet;
    struct journal_session session;
    struct journal_sub sub;
    struct journal_will will;
    struct journal_set_aside aside;
    struct journal_entry entry;
    uint64_t id;
    switch (data[0] % JOURNAL_KIND_END) {
    case JOURNAL_BODY:
        if (journal_body_read(record, &body) == OK) {
            same_message(record, &w, journal_body_head(&body, &w), &body.m);
        }
        break;
    case JOURNAL_DELIVER:
        deliver(record, &w);
        break;
    case JOURNAL_ACK:
    case JOURNAL_DROP:
    case JOURNAL_RECEIVED:
    case JOURNAL_TRIED:
        if (journal_settle_read(kind, record, &settle) == OK) {
            same(record, &w, journal_settle_head(kind, &settle, &w), (struct slice){0});
        }
        break;
    case JOURNAL_INBOUND:
    case JOURNAL_RELEASED:
        if (journal_packet_read(record, &packet) == OK) {
            same(record, &w, journal_packet_head(&packet, &w), (struct slice){0});
        }
        break;
    case JOURNAL_SESSION:
        if (journal_session_read(record, &session) == OK) {
            same(record, &w, journal_session_head(&session, &w), session.client_id);
        }
        break;
    case JOURNAL_SESSION_END:
        if (journal_session_end_read(record, &id) == OK) {
            same(record, &w, journal_session_end_head(id, &w), (struct slice){0});
        }
        break;
    case JOURNAL_SUB:
    case JOURNAL_UNSUB:
        if (journal_sub_read(kind, record, &sub) == OK) {
            same(record, &w, journal_sub_head(kind, &sub, &w), sub.filter);
        }
        break;
    case JOURNAL_WILL:
        if (journal_will_read(record, &will) == OK) {
            same_message(record, &w, journal_will_head(&will, &w), &will.m);
        }
        break;
    case JOURNAL_SET_ASIDE:
        if (journal_set_aside_read(record, &aside) == OK && record.p[32] == aside.reason) {
            same_message(record, &w, journal_set_aside_head(&aside, &w), &aside.m);
        }
        break;
    case JOURNAL_SET_ASIDE_END:
        if (journal_set_aside_end_read(record, &id) == OK) {
            same(record, &w, journal_set_aside_end_head(id, &w), (struct slice){0});
        }
        break;
    case JOURNAL_ENTRY:
    case JOURNAL_ENTRY_END:
        if (journal_entry_read(kind, record, &entry) == OK) {
            same(record, &w, journal_entry_head(kind, entry.table, entry.id, &w), entry.content);
        }
        break;
    default:
        break;
    }
    return 0;
}
