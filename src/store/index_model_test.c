/*
 * Random stories of workers, batches, cleaning, crashes and restarts over a log that is an array,
 * compared after each step with a plain model that knows what was promised.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "store/index_model_private.h"

enum { STEPS = 400, SEEDS = 30 };

/* ---- what workers do ---- */

static void put_session(struct world *w, struct m_session *s)
{
    uint8_t bytes[CONTENT];
    struct wr r = wr_into(bytes, sizeof(bytes));
    s->version = ++w->version;
    struct journal_session j = {.id = s->id, .next_seq = 1, .expiry_s = s->version};
    assert_int_equal(journal_session_head(&j, &r), OK);
    wr_bytes(&r, slice_text("client"));
    append(w, JOURNAL_SESSION, &r);
}

static void end_session(struct world *w, struct m_session *s)
{
    uint8_t bytes[CONTENT];
    struct wr r = wr_into(bytes, sizeof(bytes));
    assert_int_equal(journal_session_end_head(s->id, &r), OK);
    append(w, JOURNAL_SESSION_END, &r);
    *s = (struct m_session){0};
}

/* One DELIVER: some of the worker's sessions, now and then one that is gone. */
static void deliver(struct world *w, uint64_t body, unsigned worker, bool is_empty)
{
    uint8_t bytes[CONTENT];
    uint32_t ids[3] = {1, 2, 3};
    struct wr r = wr_into(bytes, sizeof(bytes));
    struct m_pending *pending = NULL;
    for (size_t i = 0; i < PENDING; i++) {
        pending = w->now.pending[i].body == body ? &w->now.pending[i] : pending;
    }
    assert_int_equal(journal_deliver_head(body, (uint16_t)worker, &r), OK);
    for (size_t i = worker; i < SESSIONS && !is_empty; i += WORKERS) {
        struct m_session *s = &w->now.s[i];
        struct journal_delivery d = {.session = s->id, .qos = 2};
        d.n_ids = (uint16_t)roll(w, 4);
        if (s->id == 0 && w->next_session > 10) {
            d.session = 1 + roll(w, 5);
            for (size_t k = 0; k < SESSIONS; k++) {
                d.session = w->now.s[k].id == d.session ? 0 : d.session;
            }
            d.seq = 1000;
        } else if (s->id != 0 && s->n < WAITING && roll(w, 3) > 0) {
            s->next_seq += roll(w, 10) == 0 ? 1000 : 0;
            d.seq = s->next_seq++;
            s->d[s->n++] = (struct m_delivery){d.seq, body, false, 0, d.n_ids};
        } else {
            continue;
        }
        if (d.session != 0) {
            journal_delivery_write(&d, ids, &r);
            if (pending != NULL && pending->n_had < HAD) {
                pending->had[pending->n_had++] = d.session;
            }
        }
    }
    if (pending != NULL) {
        pending->mask &= ~(UINT64_C(1) << worker);
        if (pending->mask == 0) {
            *pending = (struct m_pending){0};
        }
    }
    append(w, JOURNAL_DELIVER, &r);
}

static void publish(struct world *w)
{
    uint8_t bytes[CONTENT];
    struct wr r = wr_into(bytes, sizeof(bytes));
    size_t t = roll(w, TOPICS);
    bool is_clear = roll(w, 3) == 0;
    struct journal_body b = {.id = w->next_body++, .owed = roll(w, 4) * 2};
    b.m.topic = slice_text(TOPIC[t]);
    b.m.payload = is_clear ? (struct slice){0} : slice_text("payload");
    if (roll(w, 2) == 0) { /* now and then a number that others have overtaken */
        b.m.number = w->next_number + 8 - roll(w, 2) * roll(w, 8);
        w->next_number = b.m.number > w->next_number ? b.m.number : w->next_number;
    }
    struct m_pending *free_one = NULL;
    for (size_t i = 0; i < PENDING; i++) {
        free_one = w->now.pending[i].body == 0 ? &w->now.pending[i] : free_one;
    }
    b.owed = free_one != NULL ? b.owed : 0;
    if (b.owed != 0) {
        *free_one = (struct m_pending){.body = b.id, .mask = b.owed};
    }
    if (b.m.number > w->now.topic[t].number) {
        w->now.topic[t].number = b.m.number;
        w->now.topic[t].body = b.id;
        w->now.topic[t].is_clear = is_clear;
    }
    assert_int_equal(journal_body_head(&b, &r), OK);
    wr_bytes(&r, b.m.topic);
    wr_bytes(&r, b.m.payload);
    append(w, JOURNAL_BODY, &r);
    deliver(w, b.id, 0, roll(w, 4) == 0);
}

static void settle(struct world *w, struct m_session *s)
{
    uint8_t bytes[CONTENT];
    struct wr r = wr_into(bytes, sizeof(bytes));
    size_t i = s->n > 0 ? roll(w, s->n) : 0;
    if (s->n == 0) {
        return;
    }
    struct journal_settle j = {.session = s->id, .seq = s->d[i].seq};
    if (roll(w, 4) == 0) {
        if (s->d[i].tries < JOURNAL_TRIES_MAX) {
            s->d[i].tries++;
        }
        j.n_tries = s->d[i].tries;
        assert_int_equal(journal_settle_head(JOURNAL_TRIED, &j, &r), OK);
        append(w, JOURNAL_TRIED, &r);
    } else if (roll(w, 3) == 0) {
        s->d[i].received = true;
        assert_int_equal(journal_settle_head(JOURNAL_RECEIVED, &j, &r), OK);
        append(w, JOURNAL_RECEIVED, &r);
    } else {
        memmove(&s->d[i], &s->d[i + 1], (--s->n - i) * sizeof(s->d[0]));
        assert_int_equal(journal_settle_head(JOURNAL_DROP, &j, &r), OK);
        append(w, JOURNAL_DROP, &r);
    }
}

static void change_part(struct world *w, struct m_session *s)
{
    uint8_t bytes[CONTENT];
    struct wr r = wr_into(bytes, sizeof(bytes));
    size_t i = roll(w, NAMES);
    bool is_on = roll(w, 2) == 0;
    uint32_t version = is_on ? ++w->version : 0;
    struct journal_sub sub = {.session = s->id, .id = version};
    struct journal_packet packet = {.session = s->id, .packet_id = (uint16_t)(i + 1)};
    struct journal_will will = {.session = s->id, .delay_s = version};
    will.m.topic = slice_text(is_on ? "will" : "");
    switch (roll(w, 3)) {
    case 0:
        s->sub[i] = version;
        assert_int_equal(journal_sub_head(is_on ? JOURNAL_SUB : JOURNAL_UNSUB, &sub, &r), OK);
        wr_bytes(&r, slice_text(TOPIC[i]));
        append(w, is_on ? JOURNAL_SUB : JOURNAL_UNSUB, &r);
        break;
    case 1:
        s->inbound[i] = is_on;
        assert_int_equal(journal_packet_head(&packet, &r), OK);
        append(w, is_on ? JOURNAL_INBOUND : JOURNAL_RELEASED, &r);
        break;
    default:
        s->will = version;
        assert_int_equal(journal_will_head(&will, &r), OK);
        wr_bytes(&r, will.m.topic);
        append(w, JOURNAL_WILL, &r);
        break;
    }
}

static void change_table(struct world *w)
{
    uint8_t bytes[CONTENT];
    struct wr r = wr_into(bytes, sizeof(bytes));
    size_t i = roll(w, NAMES);
    if (roll(w, 2) == 0) {
        bool is_on = roll(w, 2) == 0;
        w->now.entry[i] = is_on ? ++w->version : 0;
        enum journal_kind kind = is_on ? JOURNAL_ENTRY : JOURNAL_ENTRY_END;
        assert_int_equal(journal_entry_head(kind, JOURNAL_TABLE_META, i, &r), OK);
        if (is_on) {
            wr_u32(&r, w->version);
        }
        append(w, kind, &r);
    } else if (w->now.aside[i] == 0) {
        struct journal_set_aside j = {.id = w->next_aside++, .m.topic = slice_text("t")};
        w->now.aside[i] = j.id;
        assert_int_equal(journal_set_aside_head(&j, &r), OK);
        wr_bytes(&r, j.m.topic);
        append(w, JOURNAL_SET_ASIDE, &r);
    } else {
        assert_int_equal(journal_set_aside_end_head(w->now.aside[i], &r), OK);
        w->now.aside[i] = 0;
        append(w, JOURNAL_SET_ASIDE_END, &r);
    }
}

static void answer(struct world *w)
{
    struct m_pending *p = &w->now.pending[roll(w, PENDING)];
    unsigned worker = 1 + (unsigned)roll(w, 2);
    if (p->body != 0 && (p->mask & UINT64_C(1) << worker) != 0) {
        deliver(w, p->body, worker, roll(w, 2) == 0);
    }
}

static void replay(struct world *w)
{
    size_t t = roll(w, TOPICS);
    uint64_t body = w->now.topic[t].body;
    bool is_pending = false;
    for (size_t i = 0; i < PENDING; i++) {
        is_pending = is_pending || w->now.pending[i].body == body;
    }
    if (body != 0 && !w->now.topic[t].is_clear && !is_pending) {
        deliver(w, body, (unsigned)roll(w, WORKERS), false);
    }
}

static void work(struct world *w)
{
    struct m_session *s = &w->now.s[roll(w, SESSIONS)];
    uint64_t what = roll(w, 20);
    if (s->id == 0 && what < 14) {
        s->id = w->next_session++;
        s->next_seq = 1;
        put_session(w, s);
    } else if (what < 5) {
        publish(w);
    } else if (what < 11 && s->id != 0) {
        settle(w, s);
    } else if (what < 14 && s->id != 0) {
        change_part(w, s);
    } else if (what < 16) {
        answer(w);
    } else if (what == 16) {
        change_table(w);
    } else if (what == 17) {
        replay(w);
    } else if (what == 18 && s->id != 0) {
        put_session(w, s);
    } else if (what == 19 && s->id != 0 && roll(w, 3) == 0) {
        end_session(w, s);
    }
}

/* ---- cleaning, crashes ---- */

static void clean(struct world *w, bool is_removed)
{
    size_t n = w->n_records;
    uint32_t oldest = w->first_segment;
    struct item *copied[RECORDS / 16];
    struct place places[RECORDS / 16];
    size_t n_copied = 0;
    if (oldest == w->segment) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const struct record *r = &w->records[i];
        AUTO(buf_done) struct buf copy = {0};
        if (r->place.segment != oldest) {
            continue;
        }
        struct item *item = index_find(w->x, r->kind, slice_of(r->bytes, r->n), r->place);
        if (item != NULL) {
            assert_int_equal(index_rewrite(w->x, item, r->kind, slice_of(r->bytes, r->n), &copy),
                             OK);
            assert_true(n_copied < COUNT_OF(copied));
            copied[n_copied] = item;
            places[n_copied++] = write_record(w, r->kind, copy.p, copy.n);
        }
    }
    if (roll(w, 2) == 0 && w->n_batch == 0) { /* something ends before the copies are in place */
        work(w);
    }
    for (size_t i = 0; i < n_copied; i++) {
        index_moved(w->x, copied[i], places[i]);
    }
    commit(w);
    if (is_removed) {
        assert_int_equal(index_living(w->x, oldest), 0);
        size_t kept = 0;
        for (size_t i = 0; i < w->n_records; i++) {
            if (w->records[i].place.segment != oldest) {
                w->records[kept++] = w->records[i];
            }
        }
        w->n_records = kept;
        index_segment_gone(w->x, oldest);
        w->first_segment++;
    }
}

static void restart(struct world *w)
{
    w->x = index_free(w->x);
    assert_int_equal(index_new(&KEY, &w->x), OK);
    for (size_t i = 0; i < w->n_records; i++) {
        const struct record *r = &w->records[i];
        struct item *item;
        assert_int_equal(
            index_apply(w->x, r->kind, slice_of(r->bytes, r->n), r->place, &item, NULL), OK);
        assert_null(item);
    }
    index_complete(w->x);
    w->n_batch = 0;
    w->now = w->durable;
    w->segment++;
    w->offset = 128;
}

/* ---- comparing ---- */

struct seen {
    struct world *w;
    size_t sessions, subs, wills, inbound, deliveries, retained, unanswered, aside, entries;
    uint64_t last_seq;
    bool is_restart;
};

static const struct record *at(struct world *w, enum journal_kind kind, struct place p)
{
    for (size_t i = 0; i < w->n_records; i++) {
        const struct record *r = &w->records[i];
        if (r->place.segment == p.segment && r->place.offset == p.offset) {
            assert_int_equal(r->kind, kind);
            return r;
        }
    }
    fail_msg("nothing lies there");
    return NULL;
}

static struct m_session *session_of(struct world *w, uint64_t id)
{
    for (size_t i = 0; i < SESSIONS; i++) {
        if (w->now.s[i].id == id) {
            return &w->now.s[i];
        }
    }
    fail_msg("a session that has ended");
    return NULL;
}

static enum err on_session(void *ctx, uint64_t id, struct place place, uint64_t next_seq)
{
    struct seen *seen = ctx;
    const struct record *r = at(seen->w, JOURNAL_SESSION, place);
    struct journal_session j;
    const struct m_session *s = session_of(seen->w, id);
    assert_int_equal(journal_session_read(slice_of(r->bytes, r->n), &j), OK);
    assert_int_equal(j.id, id);
    assert_int_equal(j.expiry_s, s->version);
    for (size_t i = 0; i < s->n; i++) {
        assert_true(next_seq > s->d[i].seq);
    }
    seen->sessions++;
    seen->last_seq = 0;
    return OK;
}

static enum err on_sub(void *ctx, uint64_t session, struct place place)
{
    struct seen *seen = ctx;
    const struct record *r = at(seen->w, JOURNAL_SUB, place);
    const struct m_session *s = session_of(seen->w, session);
    struct journal_sub j;
    assert_int_equal(journal_sub_read(JOURNAL_SUB, slice_of(r->bytes, r->n), &j), OK);
    assert_true(j.id == s->sub[0] || j.id == s->sub[1] || j.id == s->sub[2]);
    seen->subs++;
    return OK;
}

static enum err on_will(void *ctx, uint64_t session, struct place place)
{
    struct seen *seen = ctx;
    const struct record *r = at(seen->w, JOURNAL_WILL, place);
    struct journal_will j;
    assert_int_equal(journal_will_read(slice_of(r->bytes, r->n), &j), OK);
    assert_int_equal(j.delay_s, session_of(seen->w, session)->will);
    seen->wills++;
    return OK;
}

static enum err on_inbound(void *ctx, uint64_t session, uint16_t packet_id)
{
    struct seen *seen = ctx;
    assert_true(session_of(seen->w, session)->inbound[packet_id - 1]);
    seen->inbound++;
    return OK;
}

static enum err on_delivery(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                            uint64_t body_id, struct place body)
{
    struct seen *seen = ctx;
    const struct m_session *s = session_of(seen->w, d->session);
    const struct m_delivery *m = NULL;
    for (size_t i = 0; i < s->n; i++) {
        m = s->d[i].seq == d->seq ? &s->d[i] : m;
    }
    assert_non_null(m);
    assert_true(d->seq > seen->last_seq);
    seen->last_seq = d->seq;
    assert_int_equal(body_id, m->body);
    assert_int_equal(d->is_received, m->received);
    assert_int_equal(d->n_tries, m->tries);
    assert_int_equal(d->n_ids, m->n_ids);
    assert_int_equal(d->qos, 2);
    for (uint16_t i = 0; i < d->n_ids; i++) {
        assert_int_equal(ids[i], i + 1);
    }
    if (!d->is_received) {
        const struct record *r = at(seen->w, JOURNAL_BODY, body);
        struct journal_body b;
        assert_int_equal(journal_body_read(slice_of(r->bytes, r->n), &b), OK);
        assert_int_equal(b.id, body_id);
    }
    seen->deliveries++;
    return OK;
}

static enum err on_retained(void *ctx, uint64_t body_id, struct place place)
{
    struct seen *seen = ctx;
    const struct record *r = at(seen->w, JOURNAL_BODY, place);
    struct journal_body b;
    size_t t = 0;
    assert_int_equal(journal_body_read(slice_of(r->bytes, r->n), &b), OK);
    while (!slice_is(b.m.topic, TOPIC[t])) {
        t++;
    }
    assert_int_equal(b.id, body_id);
    assert_int_equal(body_id, seen->w->now.topic[t].body);
    assert_int_equal(b.m.number, seen->w->now.topic[t].number);
    assert_false(seen->w->now.topic[t].is_clear);
    seen->retained++;
    return OK;
}

static enum err on_unanswered(void *ctx, uint64_t body_id, struct place place,
                              const uint64_t *sessions, size_t n)
{
    struct seen *seen = ctx;
    const struct m_pending *p = NULL;
    assert_non_null(at(seen->w, JOURNAL_BODY, place));
    for (size_t i = 0; i < PENDING; i++) {
        p = seen->w->now.pending[i].body == body_id ? &seen->w->now.pending[i] : p;
    }
    assert_non_null(p);
    for (size_t i = 0; i < n && seen->is_restart; i++) { /* none that had it not */
        bool is_one = false;
        for (size_t k = 0; k < p->n_had; k++) {
            is_one = is_one || p->had[k] == sessions[i];
        }
        assert_true(is_one);
    }
    for (size_t k = 0; k < p->n_had && seen->is_restart; k++) { /* all that had it */
        bool is_one = false;
        for (size_t i = 0; i < n; i++) {
            is_one = is_one || p->had[k] == sessions[i];
        }
        assert_true(is_one);
    }
    seen->unanswered++;
    return OK;
}

static enum err on_set_aside(void *ctx, uint64_t id, struct place place)
{
    struct seen *seen = ctx;
    assert_non_null(at(seen->w, JOURNAL_SET_ASIDE, place));
    const uint64_t *aside = seen->w->now.aside;
    assert_true(id == aside[0] || id == aside[1] || id == aside[2]);
    seen->aside++;
    return OK;
}

static enum err on_entry(void *ctx, uint8_t table, uint64_t id, struct place place)
{
    struct seen *seen = ctx;
    const struct record *r = at(seen->w, JOURNAL_ENTRY, place);
    assert_int_equal(table, JOURNAL_TABLE_META);
    assert_int_equal(r->bytes[r->n - 1], seen->w->now.entry[id] & 255);
    seen->entries++;
    return OK;
}

static void compare(struct world *w, bool is_restart)
{
    struct seen seen = {.w = w, .is_restart = is_restart}, want = {0};
    const struct model *m = &w->now;
    struct index_sink sink = {.ctx = &seen,
                              .session = on_session,
                              .sub = on_sub,
                              .will = on_will,
                              .inbound = on_inbound,
                              .delivery = on_delivery,
                              .retained = on_retained,
                              .unanswered = on_unanswered,
                              .set_aside = on_set_aside,
                              .entry = on_entry};
    assert_int_equal(index_walk(w->x, &sink), OK);
    for (size_t i = 0; i < SESSIONS; i++) {
        want.sessions += m->s[i].id != 0 ? 1 : 0;
        want.wills += m->s[i].will != 0 ? 1 : 0;
        want.deliveries += m->s[i].n;
        for (size_t k = 0; k < NAMES; k++) {
            want.subs += m->s[i].sub[k] != 0 ? 1 : 0;
            want.inbound += m->s[i].inbound[k] ? 1 : 0;
        }
    }
    for (size_t i = 0; i < TOPICS; i++) {
        want.retained += m->topic[i].body != 0 && !m->topic[i].is_clear ? 1 : 0;
    }
    for (size_t i = 0; i < PENDING; i++) {
        want.unanswered += m->pending[i].body != 0 ? 1 : 0;
    }
    for (size_t i = 0; i < NAMES; i++) {
        want.aside += m->aside[i] != 0 ? 1 : 0;
        want.entries += m->entry[i] != 0 ? 1 : 0;
    }
    assert_int_equal(seen.sessions, want.sessions);
    assert_int_equal(seen.subs, want.subs);
    assert_int_equal(seen.wills, want.wills);
    assert_int_equal(seen.inbound, want.inbound);
    assert_int_equal(seen.deliveries, want.deliveries);
    assert_int_equal(seen.retained, want.retained);
    assert_int_equal(seen.unanswered, want.unanswered);
    assert_int_equal(seen.aside, want.aside);
    assert_int_equal(seen.entries, want.entries);
    assert_true(index_ids(w->x).body < w->next_body);
    /* What counts as living is what the cleaner would copy. */
    uint64_t living = 0;
    for (size_t i = 0; i < w->n_records; i++) {
        const struct record *r = &w->records[i];
        struct item *item = index_find(w->x, r->kind, slice_of(r->bytes, r->n), r->place);
        if (item != NULL) {
            assert_true(index_is_alive(item));
            index_let_go(w->x, item);
            living += r->place.bytes;
        }
    }
    assert_int_equal(living, index_living_all(w->x));
}

static void story(uint64_t seed)
{
    struct world *w = mem_zalloc(sizeof(*w));
    assert_non_null(w);
    w->records = mem_array(RECORDS, sizeof(*w->records));
    assert_non_null(w->records);
    w->seed = seed * 0x9e3779b97f4a7c15U + 1;
    w->first_segment = w->segment = 1;
    w->offset = 128;
    w->next_session = w->next_body = w->next_aside = 1;
    assert_int_equal(index_new(&KEY, &w->x), OK);
    index_complete(w->x);
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t what = roll(w, 12);
        for (uint64_t n = roll(w, 12); n > 0 && what < 9; n--) {
            work(w);
        }
        if (what < 9) {
            commit(w);
        } else if (what == 9) {
            clean(w, roll(w, 6) > 0);
        } else if (what == 10) {
            restart(w);
        } else {
            work(w); /* lost at a crash */
            restart(w);
        }
        compare(w, what >= 10);
    }
    for (int i = 0; i < 30; i++) { /* round and round: copies of copies */
        clean(w, true);
        compare(w, false);
    }
    restart(w);
    compare(w, true);
    index_free(w->x);
    mem_free(w->records);
    mem_free(w);
}

static void test_stories(void **state)
{
    (void)state;
    const char *one = getenv("INDEX_SEED");
    for (uint64_t seed = 1; seed <= SEEDS && one == NULL; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        story(seed);
    }
    if (one != NULL) {
        story(strtoull(one, NULL, 10));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stories)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
