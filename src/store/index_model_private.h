/* What index_model_test.c compares with, and a log that is an array: batches, with what dies inside
 * them left out, now and then written twice. */
#ifndef STORE_INDEX_MODEL_PRIVATE_H
#define STORE_INDEX_MODEL_PRIVATE_H

#include "store/index.h"

enum {
    SESSIONS = 4,
    WORKERS = 3,
    TOPICS = 3,
    NAMES = 3, /* filters, packet ids, entries */
    WAITING = 24,
    PENDING = 16,
    RECORDS = 8192,
    BATCH = 128,
    CONTENT = 400,
    HAD = 64
};

/* ---- the model ---- */

struct m_delivery {
    uint64_t seq, body;
    bool received;
    uint8_t tries;
    uint16_t n_ids;
};
struct m_session {
    uint64_t id, next_seq;
    uint32_t version, sub[NAMES], will;
    bool inbound[NAMES];
    size_t n;
    struct m_delivery d[WAITING];
};
struct m_pending {
    uint64_t body, mask, had[HAD];
    size_t n_had;
};
struct model {
    struct m_session s[SESSIONS];
    struct {
        uint64_t number, body;
        bool is_clear;
    } topic[TOPICS];
    struct m_pending pending[PENDING];
    uint32_t entry[NAMES];
    uint64_t aside[NAMES];
};

/* ---- the log ---- */

struct record {
    enum journal_kind kind;
    struct place place; /* segment 0: removed */
    uint8_t bytes[CONTENT];
    size_t n;
};
struct pending_record {
    enum journal_kind kind;
    uint8_t bytes[CONTENT];
    size_t n;
    struct item *item, *ended;
};

struct world {
    uint64_t seed;
    struct index *x;
    struct model now, durable;
    struct record *records;
    size_t n_records;
    uint32_t first_segment, segment, offset;
    struct pending_record batch[BATCH];
    size_t n_batch;
    uint64_t next_session, next_body, next_number, next_aside;
    uint32_t version;
};

static const struct siphash_key KEY = {1, 2};
static const char *const TOPIC[TOPICS] = {"a", "a/b", "c"};

static uint64_t roll(struct world *w, uint64_t n)
{
    w->seed ^= w->seed << 13;
    w->seed ^= w->seed >> 7;
    w->seed ^= w->seed << 17;
    return w->seed % n;
}

/* ---- writing ---- */

static void append(struct world *w, enum journal_kind kind, const struct wr *r)
{
    assert_true(wr_ok(r));
    assert_true(w->n_batch < BATCH);
    struct pending_record *p = &w->batch[w->n_batch++];
    *p = (struct pending_record){.kind = kind, .n = r->at};
    memcpy(p->bytes, r->base, r->at);
    assert_int_equal(
        index_apply(w->x, kind, slice_of(p->bytes, p->n), (struct place){0}, &p->item, &p->ended),
        OK);
}

static struct place write_record(struct world *w, enum journal_kind kind, const uint8_t *bytes,
                                 size_t n)
{
    assert_true(w->n_records < RECORDS);
    struct record *r = &w->records[w->n_records++];
    *r = (struct record){.kind = kind, .n = n};
    r->place = (struct place){w->segment, w->offset, (uint32_t)n + 44};
    memcpy(r->bytes, bytes, n);
    w->offset += r->place.bytes;
    return r->place;
}

static void next_segment(struct world *w)
{
    if (w->offset > 3000) {
        w->segment++;
        w->offset = 128;
    }
}

static void commit(struct world *w)
{
    bool is_written[BATCH] = {false}, is_twice = roll(w, 8) == 0;
    if (is_twice) { /* a sync failed; the bytes are there all the same */
        for (size_t i = 0; i < w->n_batch; i++) {
            write_record(w, w->batch[i].kind, w->batch[i].bytes, w->batch[i].n);
        }
        w->segment++;
        w->offset = 128;
    }
    for (size_t i = 0; i < w->n_batch; i++) {
        const struct pending_record *p = &w->batch[i];
        const struct item *decides = p->item != NULL ? p->item : p->ended;
        is_written[i] = is_twice || decides == NULL || index_is_alive(decides);
    }
    for (size_t i = 0; i < w->n_batch; i++) {
        const struct pending_record *p = &w->batch[i];
        struct place place = {0};
        if (is_written[i]) {
            place = write_record(w, p->kind, p->bytes, p->n);
        }
        if (p->item != NULL && is_written[i]) {
            index_placed(w->x, p->item, place);
        } else if (p->item != NULL) {
            index_let_go(w->x, p->item);
        }
    }
    w->n_batch = 0;
    w->durable = w->now;
    next_segment(w);
}

#endif
