/*
 * log_story_test - a log on the test's disk, and a story that it must survive: step v hands over,
 * as one, three entries that say v, a message with number v for one session, and the
 * acknowledgement of message v - 2. So after any restart all entries say the same V, the messages
 * that wait are V - 1 and V, and V is at least what was committed.
 */
#ifndef STORE_LOG_STORY_TEST_H
#define STORE_LOG_STORY_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "store/disk_test.h"
#include "store/log.h"

enum { STORY_SESSION = 7, STORY_ENTRIES = 3, STORY_PAYLOAD = 900, STORY_MAX = 4096 };

struct story {
    struct test_disk disk;
    struct keyring *keyring;
    struct log *log;
    struct log_report report;
    uint64_t now_ms, segment_bytes, keep_bytes;
    int64_t wall_ms;
    unsigned n_events[EVENT_COUNT];
    struct event last[EVENT_COUNT];
    atomic_uint n_wakes; /* writers of several threads wake */
    bool holds_always;
    struct progress progress;
    bool is_real_time;          /* where threads wait for each other */
    uint64_t handed, committed; /* steps */
    uint64_t lsns[STORY_MAX];   /* the last one of each step */
    uint64_t random_state;
};

static inline uint64_t story_mono_ms(void *ctx)
{
    struct clock real = clock_system();
    return ((struct story *)ctx)->is_real_time ? real.mono_ms(real.ctx)
                                               : ((struct story *)ctx)->now_ms;
}
static inline uint64_t story_mono_us(void *ctx)
{
    return ((struct story *)ctx)->now_ms * 1000;
}
static inline int64_t story_wall_ms(void *ctx)
{
    return ((struct story *)ctx)->wall_ms;
}
static inline void story_event(void *ctx, const struct event *e)
{
    struct story *s = ctx;
    s->n_events[e->category]++;
    s->last[e->category] = *e;
}
static inline void story_wake(void *ctx)
{
    ((struct story *)ctx)->n_wakes++;
}

static inline struct keyring_setup story_keyring(struct story *s)
{
    static const uint8_t master[32] = {1, 2, 3};
    return (struct keyring_setup){.disk = &s->disk.disk,
                                  .master = slice_of(master, sizeof master),
                                  .random = random_seeded(&s->random_state)};
}

static inline void story_init(struct story *s, uint64_t capacity, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    test_disk_init(&s->disk, capacity, seed);
    s->now_ms = 1000;
    s->wall_ms = 1700000000000;
    s->segment_bytes = 16 * 1024;
    s->keep_bytes = 64 * 1024;
    s->random_state = seed + 1;
    struct keyring_setup k = story_keyring(s);
    assert_int_equal(keyring_create(&k, &s->keyring), OK);
    const uint64_t principal = 5;
    assert_int_equal(keyring_add(s->keyring, &principal, 1), OK);
}

static inline void story_done(struct story *s)
{
    s->log = log_free(s->log);
    s->keyring = keyring_free(s->keyring);
    test_disk_done(&s->disk);
}

MUST_USE static inline enum err story_open(struct story *s)
{
    struct why why = {0};
    struct log_setup setup = {.disk = &s->disk.disk,
                              .keyring = s->keyring,
                              .random = random_seeded(&s->random_state),
                              .clock = {.mono_ms = story_mono_ms,
                                        .mono_us = story_mono_us,
                                        .wall_ms = story_wall_ms,
                                        .ctx = s},
                              .n_writers = 2,
                              .segment_bytes = s->segment_bytes,
                              .keep_bytes = s->keep_bytes,
                              .holds_always = s->holds_always,
                              .progress = &s->progress,
                              .ctx = s,
                              .event = story_event,
                              .wake = story_wake};
    return log_open(&setup, &s->log, &s->report, &why);
}

/* Appends; what a step has of one writer commits together. */
struct story_pen {
    struct journal *w;
    enum err err;
    uint64_t lsn;
};

static inline void story_put(struct story_pen *p, enum journal_kind kind, uint64_t owner,
                             const struct wr *head, struct slice body)
{
    if (p->err == OK) {
        assert_true(wr_ok(head));
        p->err = journal_append(p->w, kind, owner, wr_slice(head), body, &p->lsn);
    }
}

static inline void story_session(struct story_pen *p)
{
    uint8_t bytes[JOURNAL_HEAD_MAX];
    struct wr w = wr_into(bytes, sizeof bytes);
    struct journal_session session = {.id = STORY_SESSION,
                                      .principal = 5,
                                      .next_seq = 1,
                                      .expiry_s = 100,
                                      .asleep_wall_ms = INT64_MAX,
                                      .client_id = slice_text("client-seven")};
    assert_int_equal(journal_session_head(&session, &w), OK);
    story_put(p, JOURNAL_SESSION, 5, &w, session.client_id);
}

static inline void story_message(struct story_pen *p, uint64_t v)
{
    uint8_t bytes[JOURNAL_HEAD_MAX], entry[64];
    static uint8_t payload[8 + STORY_PAYLOAD];
    struct wr w = wr_into(bytes, sizeof bytes), e = wr_into(entry, sizeof entry);
    struct wr text = wr_into(payload, sizeof payload);
    wr_bytes(&text, slice_text("story"));
    for (size_t i = 5; i < sizeof payload; i++) {
        wr_u8(&text, (uint8_t)v);
    }
    struct slice all = wr_slice(&text);
    struct journal_body body = {.id = v,
                                .m = {.publisher = 5, .qos = 1, .expires_wall_ms = INT64_MAX}};
    body.m.topic = slice_head(all, 5);
    body.m.payload = slice_from(all, 5);
    assert_int_equal(journal_body_head(&body, &w), OK);
    story_put(p, JOURNAL_BODY, 5, &w, all);
    w = wr_into(bytes, sizeof bytes);
    assert_int_equal(journal_deliver_head(v, 0, &w), OK);
    struct journal_delivery d = {.session = STORY_SESSION, .seq = v, .qos = 1};
    journal_delivery_write(&d, NULL, &e);
    story_put(p, JOURNAL_DELIVER, 0, &w, wr_slice(&e));
}

static inline void story_ack(struct story_pen *p, uint64_t v)
{
    uint8_t bytes[JOURNAL_HEAD_MAX];
    struct wr w = wr_into(bytes, sizeof bytes);
    struct journal_settle settle = {.session = STORY_SESSION, .seq = v};
    assert_int_equal(journal_settle_head(JOURNAL_ACK, &settle, &w), OK);
    story_put(p, JOURNAL_ACK, 0, &w, (struct slice){0});
}

static inline void story_entry(struct story_pen *p, uint64_t id, uint64_t v)
{
    uint8_t bytes[JOURNAL_HEAD_MAX], content[8];
    struct wr w = wr_into(bytes, sizeof bytes), c = wr_into(content, sizeof content);
    wr_u64(&c, v);
    assert_int_equal(journal_entry_head(JOURNAL_ENTRY, JOURNAL_TABLE_PRINCIPAL, id, &w), OK);
    story_put(p, JOURNAL_ENTRY, 0, &w, wr_slice(&c));
}

/* story_step - hands the next step over; false: it was refused, nothing of it was handed over (the
 * ones that stood already stay in the writer and make the step that comes next theirs). */
static inline enum err story_step(struct story *s)
{
    uint64_t v = s->handed + 1;
    assert_true(v < STORY_MAX);
    struct story_pen p = {.w = log_writer(s->log, 0)};
    if (v == 1) {
        story_session(&p);
    }
    story_message(&p, v);
    if (v > 2) {
        story_ack(&p, v - 2);
    }
    for (uint64_t id = 1; id <= STORY_ENTRIES; id++) {
        story_entry(&p, id, v);
    }
    if (p.err == OK) {
        s->handed = v;
        s->lsns[v] = p.lsn;
        journal_handover(p.w, true);
    }
    return p.err;
}

static inline void story_note(struct story *s)
{
    uint64_t lsn = journal_committed(log_writer(s->log, 0));
    while (s->committed < s->handed && s->lsns[s->committed + 1] <= lsn) {
        s->committed++;
    }
}

/* story_turn - what the log's thread does in a turn. */
static inline enum err story_turn(struct story *s)
{
    uint64_t moved = 0, at = 0;
    enum err err = log_commit(s->log, &moved);
    story_note(s);
    log_tend(s->log, s->now_ms, &at);
    return err;
}

/* ---- reading it back ---- */

struct story_found {
    uint64_t entries[STORY_ENTRIES + 1];
    unsigned n_sessions, n_bodies, n_deliveries, n_lost;
    uint64_t least, most; /* of the messages that wait */
    bool bodies[STORY_MAX];
};

static inline enum err story_found_entry(void *ctx, uint64_t id, struct slice content)
{
    struct story_found *f = ctx;
    assert_in_range(id, 1, STORY_ENTRIES);
    assert_int_equal(content.n, 8);
    for (size_t i = 0; i < content.n; i++) {
        f->entries[id] = f->entries[id] << 8 | content.p[i];
    }
    return OK;
}
static inline enum err story_found_session(void *ctx, const struct journal_session *s)
{
    struct story_found *f = ctx;
    assert_int_equal(s->id, STORY_SESSION);
    assert_true(slice_is(s->client_id, "client-seven"));
    f->n_sessions++;
    return OK;
}
static inline enum err story_found_body(void *ctx, const struct journal_body *b, bool is_retained)
{
    struct story_found *f = ctx;
    assert_false(is_retained);
    assert_true(slice_is(b->m.topic, "story"));
    assert_int_equal(b->m.payload.n, STORY_PAYLOAD + 3);
    for (size_t i = 0; i < b->m.payload.n; i++) {
        assert_int_equal(b->m.payload.p[i], (uint8_t)b->id);
    }
    assert_in_range(b->id, 1, STORY_MAX - 1);
    assert_false(f->bodies[b->id]);
    f->bodies[b->id] = true;
    f->n_bodies++;
    return OK;
}
static inline enum err story_found_delivery(void *ctx, const struct journal_delivery *d,
                                            const uint32_t *ids, uint64_t body_id)
{
    struct story_found *f = ctx;
    (void)ids;
    f->n_deliveries++;
    f->n_lost += body_id == 0 ? 1 : 0;
    assert_true(body_id == 0 || f->bodies[body_id]);
    f->least = f->least == 0 || d->seq < f->least ? d->seq : f->least;
    f->most = d->seq > f->most ? d->seq : f->most;
    return OK;
}
static inline enum err story_no_sub(void *ctx, const struct journal_sub *s)
{
    (void)ctx;
    (void)s;
    fail();
    return OK;
}
static inline enum err story_no_will(void *ctx, const struct journal_will *w)
{
    (void)ctx;
    (void)w;
    fail();
    return OK;
}
static inline enum err story_no_inbound(void *ctx, uint64_t session, uint16_t packet_id)
{
    (void)ctx;
    (void)session;
    (void)packet_id;
    fail();
    return OK;
}
static inline enum err story_no_unanswered(void *ctx, uint64_t body_id, const uint64_t *sessions,
                                           size_t n)
{
    (void)ctx;
    (void)body_id;
    (void)sessions;
    (void)n;
    fail();
    return OK;
}
static inline enum err story_no_set_aside(void *ctx, const struct journal_set_aside *s)
{
    (void)ctx;
    (void)s;
    fail();
    return OK;
}

static inline enum err story_read(struct story *s, struct story_found *f)
{
    *f = (struct story_found){0};
    const struct log_sink sink = {.ctx = f,
                                  .session = story_found_session,
                                  .sub = story_no_sub,
                                  .will = story_no_will,
                                  .inbound = story_no_inbound,
                                  .delivery = story_found_delivery,
                                  .body = story_found_body,
                                  .unanswered = story_no_unanswered,
                                  .set_aside = story_no_set_aside};
    TRY(log_entries(s->log, JOURNAL_TABLE_PRINCIPAL, story_found_entry, f));
    return log_restore(s->log, &sink);
}

/* story_check - the log was opened: it says one V of the story, and the story goes on from it. */
static inline void story_check(struct story *s)
{
    static struct story_found f;
    assert_int_equal(story_read(s, &f), OK);
    uint64_t v = f.entries[1];
    for (uint64_t id = 1; id <= STORY_ENTRIES; id++) {
        assert_int_equal(f.entries[id], v);
    }
    assert_in_range(v, s->committed, s->handed);
    assert_int_equal(f.n_lost, 0);
    assert_int_equal(f.n_sessions, v > 0 ? 1 : 0);
    assert_int_equal(f.n_deliveries, v < 2 ? v : 2);
    assert_int_equal(f.n_bodies, f.n_deliveries);
    assert_int_equal(f.most, v);
    assert_int_equal(f.least, v < 2 ? v : v - 1);
    s->handed = s->committed = v;
}

#endif
