/* Records and places for the stories of index_test.c. */
#ifndef STORE_INDEX_MADE_PRIVATE_H
#define STORE_INDEX_MADE_PRIVATE_H

#include "store/index.h"

enum { CONTENT = 256, BYTES = 100 };

static const struct siphash_key KEY = {3, 4};
static const struct place NOWHERE = {0};

/* A record of a story. */
struct content {
    enum journal_kind kind;
    uint8_t bytes[CONTENT];
    size_t n;
};

static struct slice slice_of_content(const struct content *c)
{
    return slice_of(c->bytes, c->n);
}

static struct place at(uint32_t segment, uint32_t offset)
{
    return (struct place){segment, offset, BYTES};
}

/* ---- records ---- */

static struct content message(uint64_t id, uint64_t owed, uint64_t number, const char *payload)
{
    struct content c = {.kind = JOURNAL_BODY};
    struct wr w = wr_into(c.bytes, sizeof(c.bytes));
    struct journal_body b = {.id = id, .owed = owed, .m.number = number};
    b.m.topic = slice_text("a/b");
    assert_int_equal(journal_body_head(&b, &w), OK);
    wr_bytes(&w, b.m.topic);
    wr_bytes(&w, slice_text(payload));
    c.n = w.at;
    return c;
}

static struct content body(uint64_t id, uint64_t owed)
{
    return message(id, owed, 0, "payload");
}

/* One entry for each seq that is not 0, of sessions 1 and 2. */
static struct content deliver(uint64_t id, uint16_t worker, uint64_t seq_1, uint64_t seq_2)
{
    struct content c = {.kind = JOURNAL_DELIVER};
    struct wr w = wr_into(c.bytes, sizeof(c.bytes));
    uint32_t ids[2] = {7, 8};
    struct journal_delivery one = {.session = 1, .seq = seq_1, .qos = 2, .n_ids = 1};
    struct journal_delivery two = {.session = 2, .seq = seq_2, .qos = 2, .n_ids = 2};
    assert_int_equal(journal_deliver_head(id, worker, &w), OK);
    if (seq_1 != 0) {
        journal_delivery_write(&one, ids, &w);
    }
    if (seq_2 != 0) {
        journal_delivery_write(&two, ids, &w);
    }
    c.n = w.at;
    return c;
}

static struct content settle(enum journal_kind kind, uint64_t session, uint64_t seq)
{
    struct content c = {.kind = kind};
    struct wr w = wr_into(c.bytes, sizeof(c.bytes));
    struct journal_settle s = {.session = session, .seq = seq};
    s.n_tries = kind == JOURNAL_TRIED ? 5 : 0;
    assert_int_equal(journal_settle_head(kind, &s, &w), OK);
    c.n = w.at;
    return c;
}

static struct content session(uint64_t id, uint64_t next_seq)
{
    struct content c = {.kind = JOURNAL_SESSION};
    struct wr w = wr_into(c.bytes, sizeof(c.bytes));
    struct journal_session s = {.id = id, .next_seq = next_seq};
    assert_int_equal(journal_session_head(&s, &w), OK);
    wr_bytes(&w, slice_text("client"));
    c.n = w.at;
    return c;
}

static struct content session_end(uint64_t id)
{
    struct content c = {.kind = JOURNAL_SESSION_END};
    struct wr w = wr_into(c.bytes, sizeof(c.bytes));
    assert_int_equal(journal_session_end_head(id, &w), OK);
    c.n = w.at;
    return c;
}

static struct content sub(enum journal_kind kind, uint64_t session_id, const char *filter)
{
    struct content c = {.kind = kind};
    struct wr w = wr_into(c.bytes, sizeof(c.bytes));
    struct journal_sub s = {.session = session_id};
    assert_int_equal(journal_sub_head(kind, &s, &w), OK);
    wr_bytes(&w, slice_text(filter));
    c.n = w.at;
    return c;
}

static struct content packet(enum journal_kind kind, uint64_t session_id, uint16_t packet_id)
{
    struct content c = {.kind = kind};
    struct wr w = wr_into(c.bytes, sizeof(c.bytes));
    struct journal_packet p = {.session = session_id, .packet_id = packet_id};
    assert_int_equal(journal_packet_head(&p, &w), OK);
    c.n = w.at;
    return c;
}

static struct content will(uint64_t session_id, const char *topic)
{
    struct content c = {.kind = JOURNAL_WILL};
    struct wr w = wr_into(c.bytes, sizeof(c.bytes));
    struct journal_will j = {.session = session_id, .m.topic = slice_text(topic)};
    assert_int_equal(journal_will_head(&j, &w), OK);
    wr_bytes(&w, j.m.topic);
    c.n = w.at;
    return c;
}

static struct content entry(enum journal_kind kind, uint8_t table, uint64_t id)
{
    struct content c = {.kind = kind};
    struct wr w = wr_into(c.bytes, sizeof(c.bytes));
    assert_int_equal(journal_entry_head(kind, table, id, &w), OK);
    c.n = w.at;
    return c;
}

static struct content set_aside(uint64_t id)
{
    struct content c = {.kind = JOURNAL_SET_ASIDE};
    struct wr w = wr_into(c.bytes, sizeof(c.bytes));
    struct journal_set_aside s = {.id = id, .m.topic = slice_text("t")};
    assert_int_equal(journal_set_aside_head(&s, &w), OK);
    wr_bytes(&w, s.m.topic);
    c.n = w.at;
    return c;
}

#endif
