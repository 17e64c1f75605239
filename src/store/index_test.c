/* The stories that decide what is alive, one by one; index_model_test.c mixes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "store/index_made_private.h"

/* ---- steps ---- */

static struct index *begin(bool is_complete)
{
    struct index *x;
    assert_int_equal(index_new(&KEY, &x), OK);
    if (is_complete) {
        index_complete(x);
    }
    return x;
}

/* Read at a restart. */
static void read_at(struct index *x, struct content c, struct place place)
{
    struct item *item;
    assert_int_equal(index_apply(x, c.kind, slice_of_content(&c), place, &item, NULL), OK);
    assert_null(item);
}

/* Written live; item NULL: the record only ends something. */
static struct item *hand_over(struct index *x, struct content c, struct item **ended)
{
    struct item *item;
    assert_int_equal(index_apply(x, c.kind, slice_of_content(&c), NOWHERE, &item, ended), OK);
    return item;
}

static void write_at(struct index *x, struct content c, struct place place)
{
    struct item *item = hand_over(x, c, NULL);
    if (item != NULL) {
        index_placed(x, item, place);
    }
}

static bool is_living(struct index *x, struct content c, struct place place)
{
    struct item *item = index_find(x, c.kind, slice_of_content(&c), place);
    if (item != NULL) {
        index_let_go(x, item);
    }
    return item != NULL;
}

static struct content copy(struct index *x, struct content c, struct place from, struct place to)
{
    AUTO(buf_done) struct buf b = {0};
    struct item *item = index_find(x, c.kind, slice_of_content(&c), from);
    assert_non_null(item);
    assert_int_equal(index_rewrite(x, item, c.kind, slice_of_content(&c), &b), OK);
    index_moved(x, item, to);
    struct content ret = {.kind = c.kind, .n = b.n};
    memcpy(ret.bytes, b.p, b.n);
    return ret;
}

/* ---- what is there ---- */

struct seen {
    size_t sessions, subs, wills, inbound, deliveries, lost, received, tries, retained, unanswered,
        had;
    size_t aside, entries;
    uint64_t next_seq, retained_id, unanswered_id;
};

static enum err on_session(void *ctx, uint64_t id, struct place place, uint64_t next_seq)
{
    (void)id;
    (void)place;
    ((struct seen *)ctx)->sessions++;
    ((struct seen *)ctx)->next_seq = next_seq;
    return OK;
}

static enum err on_sub(void *ctx, uint64_t id, struct place place)
{
    (void)id;
    (void)place;
    ((struct seen *)ctx)->subs++;
    return OK;
}

static enum err on_will(void *ctx, uint64_t id, struct place place)
{
    (void)id;
    (void)place;
    ((struct seen *)ctx)->wills++;
    return OK;
}

static enum err on_inbound(void *ctx, uint64_t id, uint16_t packet_id)
{
    (void)id;
    (void)packet_id;
    ((struct seen *)ctx)->inbound++;
    return OK;
}

static enum err on_delivery(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                            uint64_t body_id, struct place place)
{
    struct seen *s = ctx;
    (void)body_id;
    assert_int_equal(d->n_ids, d->session);
    assert_int_equal(ids[d->n_ids - 1], 6 + d->session);
    s->deliveries++;
    s->received += d->is_received ? 1 : 0;
    s->tries += d->n_tries;
    s->lost += !d->is_received && place.segment == 0 ? 1 : 0;
    return OK;
}

static enum err on_retained(void *ctx, uint64_t body_id, struct place place)
{
    (void)place;
    ((struct seen *)ctx)->retained++;
    ((struct seen *)ctx)->retained_id = body_id;
    return OK;
}

static enum err on_unanswered(void *ctx, uint64_t body_id, struct place place,
                              const uint64_t *sessions, size_t n)
{
    struct seen *s = ctx;
    (void)place;
    (void)sessions;
    assert_true(s->unanswered == 0 ||
                body_id > s->unanswered_id); /* else topics lose their order */
    s->unanswered_id = body_id;
    s->unanswered++;
    s->had += n;
    return OK;
}

static enum err on_set_aside(void *ctx, uint64_t id, struct place place)
{
    (void)id;
    (void)place;
    ((struct seen *)ctx)->aside++;
    return OK;
}

static enum err on_entry(void *ctx, uint8_t table, uint64_t id, struct place place)
{
    (void)table;
    (void)id;
    (void)place;
    ((struct seen *)ctx)->entries++;
    return OK;
}

static struct seen look(const struct index *x)
{
    struct seen s = {0};
    struct index_sink sink = {.ctx = &s,
                              .session = on_session,
                              .sub = on_sub,
                              .will = on_will,
                              .inbound = on_inbound,
                              .delivery = on_delivery,
                              .retained = on_retained,
                              .unanswered = on_unanswered,
                              .set_aside = on_set_aside,
                              .entry = on_entry};
    assert_int_equal(index_walk(x, &sink), OK);
    return s;
}

/* ---- stories ---- */

static void test_copies_before_what_they_refer_to(void **state)
{
    (void)state;
    struct index *x = begin(false);
    read_at(x, sub(JOURNAL_SUB, 1, "a/#"), at(2, 0));
    read_at(x, deliver(5, 0, 1, 0), at(2, 100));
    read_at(x, session(1, 1), at(3, 0));
    read_at(x, body(5, 0), at(3, 100));
    index_complete(x);
    struct seen s = look(x);
    assert_int_equal(s.subs, 1);
    assert_int_equal(s.deliveries, 1);
    assert_int_equal(s.lost, 0);
    assert_int_equal(s.next_seq, 2);
    assert_int_equal(index_living_all(x), 4 * BYTES);
    index_free(x);
}

/* The body copied far in front of its deliveries must not die between them. */
static void test_deliveries_far_behind_their_body(void **state)
{
    (void)state;
    struct index *x = begin(false);
    read_at(x, session(1, 1), at(3, 0));
    read_at(x, session(2, 1), at(3, 100));
    read_at(x, body(5, 0), at(3, 200));
    read_at(x, deliver(5, 0, 1, 0), at(3, 300));
    read_at(x, settle(JOURNAL_ACK, 1, 1), at(3, 400));
    read_at(x, body(6, 0), at(3, 500));
    read_at(x, deliver(5, 1, 0, 1), at(3, 600));
    index_complete(x);
    assert_int_equal(look(x).deliveries, 1);
    assert_int_equal(look(x).lost, 0);
    assert_true(is_living(x, body(5, 0), at(3, 200)));
    assert_false(is_living(x, body(6, 0), at(3, 500)));
    index_free(x);
}

static void test_lost_body(void **state)
{
    (void)state;
    struct index *x = begin(true);
    write_at(x, session(1, 1), at(1, 0));
    struct item *b = hand_over(x, body(5, 0), NULL);
    struct item *d = hand_over(x, deliver(5, 0, 1, 0), NULL);
    index_placed(x, b, at(1, 100));
    index_placed(x, d, at(1, 200));
    index_lost(x, at(1, 100));
    assert_int_equal(look(x).lost, 1);
    write_at(x, settle(JOURNAL_ACK, 1, 1), at(1, 300));
    assert_int_equal(look(x).deliveries, 0);
    assert_int_equal(index_living_all(x), BYTES);
    index_lost(x, at(1, 0));
    assert_int_equal(index_living_all(x), 0);
    index_free(x);
}

static void test_settled_inside_a_batch(void **state)
{
    (void)state;
    struct index *x = begin(true);
    struct item *ended;
    write_at(x, session(1, 1), at(1, 0));
    struct item *b = hand_over(x, body(5, 0), NULL);
    struct item *d = hand_over(x, deliver(5, 0, 1, 0), NULL);
    assert_true(index_is_alive(b));
    assert_null(hand_over(x, settle(JOURNAL_ACK, 1, 1), &ended));
    assert_ptr_equal(ended, d);
    assert_false(index_is_alive(b));
    assert_false(index_is_alive(d));
    index_let_go(x, b);
    index_let_go(x, d);
    /* Another worker still has to answer: all of it is written. */
    b = hand_over(x, body(6, 2), NULL);
    d = hand_over(x, deliver(6, 0, 2, 0), NULL);
    hand_over(x, settle(JOURNAL_ACK, 1, 2), &ended);
    assert_ptr_equal(ended, d);
    assert_true(index_is_alive(b));
    assert_true(index_is_alive(d));
    index_placed(x, b, at(1, 100));
    index_placed(x, d, at(1, 200));
    /* And so is the answer, though it leaves nothing alive. */
    struct item *answer = hand_over(x, deliver(6, 1, 0, 0), NULL);
    assert_int_equal(index_living_all(x), BYTES);
    assert_true(index_is_alive(answer));
    index_placed(x, answer, at(1, 300));
    assert_int_equal(index_living_all(x), BYTES);
    index_free(x);
}

static void test_unanswered_after_restart(void **state)
{
    (void)state;
    struct index *x = begin(true);
    struct content kept = deliver(6, 0, 2, 0);
    write_at(x, session(1, 1), at(1, 0));
    struct item *b = hand_over(x, body(6, 2), NULL);
    struct item *d = hand_over(x, kept, NULL);
    index_placed(x, b, at(1, 100));
    index_placed(x, d, at(1, 200));
    hand_over(x, settle(JOURNAL_ACK, 1, 2), NULL);
    assert_true(is_living(x, kept, at(1, 200)));
    struct content copied_body = copy(x, body(6, 2), at(1, 100), at(2, 0));
    struct content copied = copy(x, kept, at(1, 200), at(2, 100));
    struct content copied_session = copy(x, session(1, 1), at(1, 0), at(2, 200));
    assert_int_equal(copied.n, kept.n); /* the settled entry is kept, and marked */
    index_free(x);
    x = begin(false);
    read_at(x, copied_body, at(2, 0));
    read_at(x, copied, at(2, 100));
    read_at(x, copied_session, at(2, 200));
    index_complete(x);
    assert_int_equal(look(x).deliveries, 0);
    assert_int_equal(look(x).unanswered, 1);
    assert_int_equal(look(x).had, 1);
    assert_int_equal(look(x).next_seq, 3); /* though the seq is on record nowhere else */
    index_free(x);
}

/* A subscriber's worker died with many of one publisher's messages before it. */
static void test_unanswered_in_order(void **state)
{
    (void)state;
    enum { MANY = 500 };
    struct index *x = begin(false);
    for (uint32_t id = MANY; id > 0; id--) {
        read_at(x, body(id, 2), at(1, id * 100));
    }
    index_complete(x);
    assert_int_equal(look(x).unanswered, MANY);
    index_free(x);
}

static void test_copied_body_owes_less(void **state)
{
    (void)state;
    struct index *x = begin(true);
    write_at(x, session(1, 1), at(1, 0));
    write_at(x, session(2, 1), at(1, 100));
    struct item *b = hand_over(x, body(6, 2), NULL);
    struct item *d = hand_over(x, deliver(6, 0, 1, 0), NULL);
    index_placed(x, b, at(1, 200));
    index_placed(x, d, at(1, 300));
    hand_over(x, settle(JOURNAL_ACK, 1, 1), NULL);
    write_at(x, deliver(6, 1, 0, 1), at(1, 400));
    assert_true(is_living(x, deliver(6, 0, 1, 0), at(1, 300))); /* the disk still says: owed */
    struct content c = copy(x, body(6, 2), at(1, 200), at(2, 0));
    struct journal_body r;
    assert_int_equal(journal_body_read(slice_of_content(&c), &r), OK);
    assert_int_equal(r.owed, 0);
    assert_false(is_living(x, deliver(6, 0, 1, 0), at(1, 300)));
    assert_true(is_living(x, deliver(6, 1, 0, 1), at(1, 400)));
    index_free(x);
}

static void test_received(void **state)
{
    (void)state;
    struct index *x = begin(true);
    write_at(x, session(1, 1), at(1, 0));
    struct item *b = hand_over(x, body(6, 0), NULL);
    struct item *d = hand_over(x, deliver(6, 0, 1, 0), NULL);
    index_placed(x, b, at(1, 100));
    index_placed(x, d, at(1, 200));
    write_at(x, settle(JOURNAL_RECEIVED, 1, 1), at(1, 300));
    write_at(x, settle(JOURNAL_RECEIVED, 1, 1), at(1, 400));
    assert_false(is_living(x, body(6, 0), at(1, 100)));
    struct content c = copy(x, deliver(6, 0, 1, 0), at(1, 200), at(2, 0));
    assert_int_equal(look(x).received, 1);
    index_free(x);
    x = begin(false);
    read_at(x, session(1, 1), at(1, 0));
    read_at(x, c, at(2, 0));
    index_complete(x);
    assert_int_equal(look(x).received, 1);
    assert_int_equal(look(x).lost, 0);
    index_free(x);
}

static void test_retained_numbers(void **state)
{
    (void)state;
    struct index *x = begin(true);
    write_at(x, message(1, 0, 10, "ten"), at(1, 0));
    write_at(x, message(2, 0, 9, "nine"), at(1, 100)); /* overtaken */
    assert_int_equal(look(x).retained_id, 1);
    write_at(x, message(3, 0, 11, "eleven"), at(2, 0));
    assert_int_equal(look(x).retained_id, 3);
    assert_int_equal(look(x).retained, 1);
    assert_int_equal(index_living(x, 1), 0);
    assert_int_equal(index_living(x, 2), BYTES);
    assert_int_equal(index_ids(x).retained, 11);
    index_free(x);
}

/* A clear in segment 1, what it beat in segment 2: the clear is copied until 2 has gone. */
static void test_clear_waits_for_its_loser(void **state)
{
    (void)state;
    struct index *x = begin(true);
    struct content clear = message(3, 0, 11, "");
    struct item *i = hand_over(x, clear, NULL);
    assert_true(index_is_alive(i)); /* an older one may be on disk */
    index_placed(x, i, at(1, 0));
    assert_false(is_living(x, clear, at(1, 0))); /* nothing lost to it so far */
    write_at(x, session(1, 1), at(1, 100));
    i = hand_over(x, message(2, 0, 9, "nine"), NULL);
    struct item *d = hand_over(x, deliver(2, 0, 1, 0), NULL);
    index_placed(x, i, at(2, 0));
    index_placed(x, d, at(2, 100));
    assert_int_equal(look(x).retained, 0);
    assert_true(is_living(x, clear, at(1, 0)));
    struct content copied = copy(x, clear, at(1, 0), at(3, 0));
    index_segment_gone(x, 1);
    assert_false(is_living(x, clear, at(3, 0))); /* it lies behind the loser now */
    /* The loser lives on for a delivery. Its copy has no number, or it would come back. */
    struct content loser = copy(x, message(2, 0, 9, "nine"), at(2, 0), at(4, 0));
    index_segment_gone(x, 2);
    index_segment_gone(x, 3);
    struct index *y = begin(false);
    read_at(y, copied, at(3, 0));
    read_at(y, loser, at(4, 0));
    index_complete(y);
    assert_int_equal(look(y).retained, 0);
    index_free(y);
    y = begin(false);
    read_at(y, loser, at(4, 0));
    index_complete(y);
    assert_int_equal(look(y).retained, 0);
    index_free(y);
    /* Without the marker a number is new again. */
    write_at(x, message(4, 0, 10, "ten"), at(5, 0));
    assert_int_equal(look(x).retained_id, 4);
    index_free(x);
}

static void test_session_ends(void **state)
{
    (void)state;
    struct index *x = begin(true);
    struct item *ended;
    write_at(x, session(1, 1), at(1, 0));
    write_at(x, sub(JOURNAL_SUB, 1, "a/#"), at(1, 100));
    write_at(x, packet(JOURNAL_INBOUND, 1, 9), at(1, 200));
    write_at(x, will(1, "gone"), at(1, 300));
    struct item *b = hand_over(x, body(6, 0), NULL);
    struct item *d = hand_over(x, deliver(6, 0, 1, 0), NULL);
    index_placed(x, b, at(1, 400));
    index_placed(x, d, at(1, 500));
    assert_int_equal(index_living(x, 1), 6 * BYTES);
    assert_null(hand_over(x, session_end(1), &ended));
    assert_null(ended); /* it is on disk, so its end is written */
    assert_int_equal(index_living_all(x), 0);
    /* What comes late belongs to nobody. */
    assert_null(hand_over(x, sub(JOURNAL_SUB, 1, "b"), NULL));
    assert_null(hand_over(x, packet(JOURNAL_INBOUND, 1, 9), NULL));
    assert_null(hand_over(x, will(1, "gone"), NULL));
    d = hand_over(x, deliver(6, 0, 2, 0), NULL);
    assert_false(index_is_alive(d));
    index_let_go(x, d);
    assert_int_equal(look(x).sessions, 0);
    assert_int_equal(index_ids(x).session, 1);
    index_free(x);
    /* At a restart neither, also when the SESSION has been cleaned away. */
    x = begin(false);
    read_at(x, session_end(1), at(2, 0));
    read_at(x, sub(JOURNAL_SUB, 1, "b"), at(2, 100));
    read_at(x, deliver(6, 0, 2, 0), at(2, 200));
    index_complete(x);
    assert_int_equal(index_living_all(x), 0);
    index_free(x);
}

/* An end may be left out only when nothing of that name is on disk. */
static void test_ends_inside_a_batch(void **state)
{
    (void)state;
    struct index *x = begin(true);
    static const bool IS_ON_DISK[] = {false, true};
    write_at(x, session(1, 1), at(1, 0));
    for (size_t i = 0; i < COUNT_OF(IS_ON_DISK); i++) {
        const struct {
            struct content begins, ends;
        } pairs[] = {
            {sub(JOURNAL_SUB, 1, "a"), sub(JOURNAL_UNSUB, 1, "a")},
            {packet(JOURNAL_INBOUND, 1, 1), packet(JOURNAL_RELEASED, 1, 1)},
            {will(1, "t"), will(1, "")},
            {entry(JOURNAL_ENTRY, 2, 3), entry(JOURNAL_ENTRY_END, 2, 3)},
            {session(9, 1), session_end(9)},
        };
        for (size_t k = 0; k < COUNT_OF(pairs); k++) {
            struct item *ended;
            if (IS_ON_DISK[i]) {
                write_at(x, pairs[k].begins, at(1, 100));
            }
            struct item *item = hand_over(x, pairs[k].begins, NULL);
            hand_over(x, pairs[k].ends, &ended);
            assert_false(index_is_alive(item));
            assert_ptr_equal(ended, IS_ON_DISK[i] ? NULL : item);
            index_let_go(x, item);
        }
        assert_int_equal(index_living_all(x), BYTES);
    }
    index_free(x);
}

static void test_tables_and_set_aside(void **state)
{
    (void)state;
    struct index *x = begin(true);
    write_at(x, entry(JOURNAL_ENTRY, 1, 3), at(1, 0));
    write_at(x, entry(JOURNAL_ENTRY, 2, 3), at(1, 100));
    write_at(x, entry(JOURNAL_ENTRY, 1, 3), at(2, 0));
    write_at(x, set_aside(44), at(1, 200));
    assert_int_equal(look(x).entries, 2);
    assert_int_equal(look(x).aside, 1);
    assert_int_equal(index_ids(x).set_aside, 44);
    assert_int_equal(index_living(x, 1), 2 * BYTES);
    assert_false(is_living(x, entry(JOURNAL_ENTRY, 1, 3), at(1, 0)));
    write_at(x, entry(JOURNAL_ENTRY_END, 1, 3), at(2, 100));
    assert_int_equal(look(x).entries, 1);
    index_free(x);
}

/* What dies between index_find and index_moved stays readable. */
static void test_dies_while_it_is_copied(void **state)
{
    (void)state;
    struct index *x = begin(true);
    struct content s = session(1, 1);
    write_at(x, s, at(1, 0));
    struct item *i = index_find(x, JOURNAL_SESSION, slice_of_content(&s), at(1, 0));
    write_at(x, session_end(1), at(1, 100));
    assert_false(index_is_alive(i));
    index_moved(x, i, at(2, 0));
    assert_int_equal(index_living_all(x), 0);
    index_free(x);
}

/* How often a delivery was sent outlives its record, by the copy of the delivery; and a copy that
 * came before it counts as well. */
static void test_tried(void **state)
{
    (void)state;
    struct index *x = begin(true);
    write_at(x, session(1, 1), at(1, 0));
    struct item *b = hand_over(x, body(6, 0), NULL);
    struct item *d = hand_over(x, deliver(6, 0, 1, 0), NULL);
    index_placed(x, b, at(1, 100));
    index_placed(x, d, at(1, 200));
    write_at(x, settle(JOURNAL_TRIED, 1, 1), at(1, 300));
    write_at(x, settle(JOURNAL_TRIED, 1, 99), at(1, 400)); /* unknown: nothing */
    assert_int_equal(look(x).tries, 5);
    assert_true(is_living(x, body(6, 0), at(1, 100)));
    struct content c = copy(x, deliver(6, 0, 1, 0), at(1, 200), at(2, 0));
    assert_int_equal(look(x).tries, 5);
    index_free(x);
    x = begin(false);
    read_at(x, session(1, 1), at(1, 0));
    read_at(x, body(6, 0), at(1, 100));
    read_at(x, deliver(6, 0, 1, 0), at(1, 200));
    read_at(x, settle(JOURNAL_TRIED, 1, 1), at(1, 300));
    read_at(x, c, at(2, 0));
    index_complete(x);
    assert_int_equal(look(x).tries, 5);
    write_at(x, settle(JOURNAL_ACK, 1, 1), at(2, 100));
    assert_int_equal(look(x).deliveries, 0);
    index_free(x);
    x = begin(false); /* the copy alone */
    read_at(x, session(1, 1), at(1, 0));
    read_at(x, body(6, 0), at(1, 100));
    read_at(x, c, at(2, 0));
    index_complete(x);
    assert_int_equal(look(x).tries, 5);
    index_free(x);
}

/* A batch is on disk twice after a sync that failed. */
static void test_batch_twice(void **state)
{
    (void)state;
    struct index *x = begin(false);
    read_at(x, session(1, 1), at(1, 0));
    for (uint32_t i = 1; i <= 2; i++) {
        read_at(x, body(6, 2), at(i, 100));
        read_at(x, deliver(6, 0, 1, 0), at(i, 200));
        read_at(x, deliver(6, 1, 0, 0), at(i, 300));
        read_at(x, settle(JOURNAL_RECEIVED, 1, 1), at(i, 400));
        read_at(x, body(7, 0), at(i, 500));
        read_at(x, deliver(7, 0, 2, 0), at(i, 600));
        read_at(x, settle(JOURNAL_ACK, 1, 2), at(i, 700));
    }
    index_complete(x);
    struct seen s = look(x);
    assert_int_equal(s.deliveries, 1);
    assert_int_equal(s.received, 1);
    assert_int_equal(s.unanswered, 0);
    assert_false(is_living(x, body(7, 0), at(2, 500)));
    index_free(x);
}

/* Every allocation fails once; the record is applied whole at the next try or not at all. */
static void test_no_memory(void **state)
{
    (void)state;
    const struct content records[] = {session(1, 1),
                                      session(2, 1),
                                      body(6, 2),
                                      deliver(6, 0, 1, 1),
                                      message(8, 0, 3, "ok"),
                                      will(1, "t"),
                                      set_aside(4),
                                      entry(JOURNAL_ENTRY, 1, 1),
                                      sub(JOURNAL_SUB, 1, "a"),
                                      packet(JOURNAL_INBOUND, 2, 9)};
    for (unsigned is_live = 0; is_live < 2; is_live++) {
        for (long n = 0; n < 40; n++) {
            struct index *x = begin(is_live != 0);
            mem_fail_after(n);
            for (size_t i = 0; i < COUNT_OF(records); i++) {
                struct place place = is_live != 0 ? NOWHERE : at(1, (uint32_t)(100 * i));
                struct item *item;
                struct slice c = slice_of_content(&records[i]);
                uint64_t living = index_living_all(x);
                enum err e = index_apply(x, records[i].kind, c, place, &item, NULL);
                if (e != OK) {
                    assert_int_equal(e, ERR_NOMEM);
                    assert_int_equal(index_living_all(x), living);
                    assert_int_equal(index_apply(x, records[i].kind, c, place, &item, NULL), OK);
                }
                if (item != NULL) {
                    index_placed(x, item, at(1, (uint32_t)(100 * i)));
                }
            }
            mem_fail_after(-1);
            index_complete(x);
            struct seen s = look(x);
            assert_int_equal(s.deliveries, 2);
            assert_int_equal(s.subs + s.wills + s.inbound + s.entries + s.aside + s.retained, 6);
            assert_int_equal(index_living_all(x), COUNT_OF(records) * BYTES);
            index_free(x);
        }
    }
}

static void test_broken_records_change_nothing(void **state)
{
    (void)state;
    struct index *x = begin(true);
    write_at(x, session(1, 1), at(1, 0));
    struct content d = deliver(6, 0, 1, 0);
    struct item *item;
    for (size_t n = 0; n < d.n; n++) {
        if (n != 10) { /* without entries */
            assert_int_not_equal(
                index_apply(x, d.kind, slice_of(d.bytes, n), at(1, 100), &item, NULL), OK);
        }
    }
    assert_int_equal(index_apply(x, JOURNAL_KIND_END, slice_of_content(&d), NOWHERE, &item, NULL),
                     ERR_MALFORMED);
    assert_int_equal(look(x).deliveries, 0);
    assert_int_equal(index_living_all(x), BYTES);
    index_free(x);
}

/* A message in a warm index: BODY, DELIVER, ACK. */
static void test_message_allocates_nothing(void **state)
{
    (void)state;
    struct index *x = begin(true);
    write_at(x, session(1, 1), at(1, 0));
    for (uint64_t seq = 1; seq < 3000; seq++) {
        if (seq == 1000) {
            mem_fail_after(0);
        }
        struct item *b = hand_over(x, body(seq, 0), NULL);
        struct item *d = hand_over(x, deliver(seq, 0, seq, 0), NULL);
        index_placed(x, b, at(1, 100));
        index_placed(x, d, at(1, 200));
        hand_over(x, settle(JOURNAL_ACK, 1, seq), NULL);
    }
    assert_int_equal(mem_fail_after(-1), 0);
    assert_int_equal(index_living_all(x), BYTES);
    index_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_before_what_they_refer_to),
        cmocka_unit_test(test_deliveries_far_behind_their_body),
        cmocka_unit_test(test_lost_body),
        cmocka_unit_test(test_settled_inside_a_batch),
        cmocka_unit_test(test_unanswered_after_restart),
        cmocka_unit_test(test_unanswered_in_order),
        cmocka_unit_test(test_copied_body_owes_less),
        cmocka_unit_test(test_received),
        cmocka_unit_test(test_tried),
        cmocka_unit_test(test_retained_numbers),
        cmocka_unit_test(test_clear_waits_for_its_loser),
        cmocka_unit_test(test_session_ends),
        cmocka_unit_test(test_ends_inside_a_batch),
        cmocka_unit_test(test_tables_and_set_aside),
        cmocka_unit_test(test_dies_while_it_is_copied),
        cmocka_unit_test(test_batch_twice),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_broken_records_change_nothing),
        cmocka_unit_test(test_message_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
