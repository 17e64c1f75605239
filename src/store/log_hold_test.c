#include "store/log_story_test.h"

enum { MIB = 1024 * 1024, HELD_MS = 8, LOOK_MS = 4 };

struct world {
    struct story story;
    uint64_t syncs; /* before what is looked at */
};

/* A session is on record, and the log has its segments. */
static void begin(struct world *t, bool holds_always)
{
    struct story *s = &t->story;
    story_init(s, 64 * MIB, 1);
    s->segment_bytes = 256 * 1024;
    s->holds_always = holds_always;
    assert_int_equal(story_open(s), OK);
    struct story_pen p = {.w = log_writer(s->log, 0)};
    story_session(&p);
    assert_int_equal(p.err, OK);
    journal_handover(p.w, true);
    uint64_t at = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t moved = 0;
        enum err ignored = log_commit(s->log, &moved);
        (void)ignored;
        log_tend(s->log, s->now_ms, &at);
    }
    assert_int_equal(journal_committed(p.w), p.lsn);
    t->syncs = s->disk.n_syncs;
}

static uint64_t hand_over(struct story_pen *p)
{
    assert_int_equal(p->err, OK);
    journal_handover(p->w, true);
    return p->lsn;
}

static uint64_t send(struct world *t, unsigned writer, uint64_t v)
{
    struct story_pen p = {.w = log_writer(t->story.log, writer)};
    story_message(&p, v);
    return hand_over(&p);
}

static uint64_t acknowledge(struct world *t, unsigned writer, uint64_t v)
{
    struct story_pen p = {.w = log_writer(t->story.log, writer)};
    story_ack(&p, v);
    return hand_over(&p);
}

/* What the log's thread does; bits of the writers that moved. */
static uint64_t due(struct world *t)
{
    uint64_t moved = 0;
    enum err err = log_commit_due(t->story.log, &moved);
    assert_true(err == OK || err == ERR_AGAIN);
    return err == OK ? moved : 0;
}

static uint64_t tended_at(struct world *t)
{
    uint64_t at = 0;
    log_tend(t->story.log, t->story.now_ms, &at);
    return at;
}

static uint64_t committed(struct world *t, unsigned writer)
{
    return journal_committed(log_writer(t->story.log, writer));
}

static uint64_t n_syncs(struct world *t)
{
    return t->story.disk.n_syncs - t->syncs;
}

/* The power fails; what waits after the restart. */
static void read_after_crash(struct world *t, struct story_found *ret)
{
    struct story *s = &t->story;
    s->disk.is_dead = true;
    s->log = log_free(s->log);
    test_disk_cut(&s->disk);
    test_disk_heal(&s->disk);
    assert_int_equal(story_open(s), OK);
    assert_int_equal(story_read(s, ret), OK);
}

static void end(struct world *t)
{
    story_done(&t->story);
}

/* ---- the cases ---- */

static void gives_up_what_was_acknowledged_in_time(void **state)
{
    (void)state;
    static struct world t;
    struct story_found found;
    begin(&t, true);
    uint64_t sent = send(&t, 0, 1);
    assert_int_equal(due(&t), 0);
    assert_true(committed(&t, 0) < sent);
    assert_int_equal(tended_at(&t),
                     t.story.now_ms + LOOK_MS); /* it looks again without being called */
    uint64_t other = send(&t, 1, 2);            /* on its way, not acknowledged */
    uint64_t ended = acknowledge(&t, 0, 1);
    assert_int_equal(due(&t), 1);
    assert_int_equal(committed(&t, 0), sent); /* what is behind 2 waits with it */
    assert_true(committed(&t, 1) < other);
    uint64_t late = acknowledge(&t, 1, 2);
    assert_int_equal(due(&t), 3);
    assert_int_equal(committed(&t, 0), ended);
    assert_int_equal(committed(&t, 1), late);
    assert_int_equal(n_syncs(&t), 0);
    assert_true(tended_at(&t) > t.story.now_ms); /* nothing is left to do */
    read_after_crash(&t, &found);
    assert_int_equal(found.n_sessions, 1);
    assert_int_equal(found.n_bodies + found.n_deliveries, 0);
    end(&t);
}

static void writes_what_took_too_long(void **state)
{
    (void)state;
    static struct world t;
    struct story_found found;
    begin(&t, true);
    uint64_t sent = send(&t, 0, 1);
    assert_int_equal(due(&t), 0);
    t.story.now_ms += HELD_MS - 1;
    uint64_t young = send(&t, 0, 2);
    assert_int_equal(due(&t), 0);
    t.story.now_ms++;
    assert_int_equal(due(&t), 1);
    assert_int_equal(committed(&t, 0), sent);
    assert_int_equal(n_syncs(&t), 1);
    assert_int_equal(due(&t), 0); /* the other has its own time */
    (void)acknowledge(&t, 0, 2);
    assert_int_equal(due(&t), 1);
    assert_true(committed(&t, 0) > young);
    assert_int_equal(n_syncs(&t), 1);
    read_after_crash(&t, &found);
    assert_int_equal(found.n_bodies, 1);
    assert_int_equal(found.n_deliveries, 1);
    assert_int_equal(found.least, 1);
    end(&t);
}

/* Any record that is not of a message may replace or end what is before it: nothing is given up. */
static void writes_all_when_something_else_is_behind(void **state)
{
    (void)state;
    static struct world t;
    struct story_found found;
    begin(&t, true);
    (void)send(&t, 0, 1);
    assert_int_equal(due(&t), 0);
    struct story_pen p = {.w = log_writer(t.story.log, 1)};
    story_entry(&p, 1, 7);
    uint64_t entry = hand_over(&p);
    assert_int_equal(due(&t), 3);
    assert_int_equal(committed(&t, 1), entry);
    assert_int_equal(n_syncs(&t), 1);
    read_after_crash(&t, &found);
    assert_int_equal(found.n_deliveries, 1);
    end(&t);
}

/* Deliveries of body 1 under the numbers 2 and 3, in one record. */
static void deliver_to_two(struct story_pen *p)
{
    uint8_t head[JOURNAL_HEAD_MAX], entries[128];
    struct wr h = wr_into(head, sizeof head), e = wr_into(entries, sizeof entries);
    for (uint64_t seq = 2; seq <= 3; seq++) {
        struct journal_delivery d = {.session = STORY_SESSION, .seq = seq, .qos = 1};
        journal_delivery_write(&d, NULL, &e);
    }
    assert_int_equal(journal_deliver_head(1, 0, &h), OK);
    story_put(p, JOURNAL_DELIVER, 0, &h, wr_slice(&e));
}

/* ...and under its own. */
static uint64_t send_to_two(struct world *t)
{
    struct story_pen p = {.w = log_writer(t->story.log, 0)};
    story_message(&p, 1);
    deliver_to_two(&p);
    return hand_over(&p);
}

/* Body 1 alone, on disk: the first worker still has to say who receives it. */
static void write_body_owed(struct world *t)
{
    uint8_t bytes[JOURNAL_HEAD_MAX];
    uint64_t moved = 0;
    struct wr w = wr_into(bytes, sizeof bytes);
    struct story_pen p = {.w = log_writer(t->story.log, 0)};
    struct slice topic = slice_text("story");
    struct journal_body body = {
        .id = 1,
        .owed = 1,
        .m = {.publisher = 5, .qos = 1, .expires_wall_ms = INT64_MAX, .topic = topic}};
    assert_int_equal(journal_body_head(&body, &w), OK);
    story_put(&p, JOURNAL_BODY, 5, &w, topic);
    uint64_t lsn = hand_over(&p);
    assert_int_equal(log_commit(t->story.log, &moved), OK);
    assert_int_equal(committed(t, 0), lsn);
}

/* Of several receivers one has not spoken. */
static void keeps_what_one_receiver_still_waits_for(void **state)
{
    (void)state;
    static struct world t;
    struct story_found found;
    begin(&t, true);
    (void)send_to_two(&t);
    (void)acknowledge(&t, 0, 1);
    (void)acknowledge(&t, 0, 3);
    assert_int_equal(due(&t), 0);
    t.story.now_ms += HELD_MS;
    assert_int_equal(due(&t), 1);
    assert_int_equal(n_syncs(&t), 1);
    read_after_crash(&t, &found);
    assert_int_equal(found.n_bodies, 1);
    assert_int_equal(found.n_deliveries, 1);
    assert_int_equal(found.least, 2);
    end(&t);
}

/* The first one speaks before the record is written, and that waits; the record is written, and
 * then the second one speaks. */
static void an_end_of_what_was_written_meanwhile_is_written(void **state)
{
    (void)state;
    static struct world t;
    struct story_found found;
    begin(&t, true);
    uint64_t sent = send_to_two(&t);
    assert_int_equal(due(&t), 0);
    t.story.now_ms += HELD_MS - 1;
    uint64_t other = send(&t, 1, 4); /* it is young: what is behind it waits with it */
    (void)acknowledge(&t, 0, 2);
    assert_int_equal(due(&t), 0);
    t.story.now_ms++;
    assert_int_equal(due(&t), 1);
    assert_int_equal(committed(&t, 0), sent);
    assert_true(committed(&t, 1) < other);
    (void)acknowledge(&t, 0, 3);
    assert_int_equal(due(&t), 0);
    t.story.now_ms += HELD_MS;
    uint64_t moved;
    while ((moved = due(&t)) != 0) {
    }
    read_after_crash(&t, &found);
    assert_int_equal(found.n_deliveries, 2); /* of 1 and of 4, each to its own; not 2 and 3 */
    end(&t);
}

/* Everybody has spoken, and the record is written all the same: it answers a body on disk. With its
 * batch it is gone, and what ended it still waits. */
static void an_end_of_what_was_written_though_dead_outlives_it(void **state)
{
    (void)state;
    static struct world t;
    struct story_found found;
    begin(&t, true);
    write_body_owed(&t);
    struct story_pen p = {.w = log_writer(t.story.log, 0)};
    deliver_to_two(&p);
    uint64_t sent = hand_over(&p);
    assert_int_equal(due(&t), 0);
    t.story.now_ms += HELD_MS - 1;
    uint64_t other = send(&t, 1, 4); /* it is young: what is behind it waits with it */
    (void)acknowledge(&t, 0, 2);
    uint64_t ended = acknowledge(&t, 0, 3);
    assert_int_equal(due(&t), 0);
    t.story.now_ms++;
    assert_int_equal(due(&t), 1);
    assert_int_equal(committed(&t, 0), sent);
    assert_true(committed(&t, 1) < other);
    assert_int_equal(due(&t), 0); /* looks at the ends */
    t.story.now_ms += HELD_MS;
    while (due(&t) != 0) {
    }
    assert_int_equal(committed(&t, 0), ended);
    read_after_crash(&t, &found);
    assert_int_equal(found.n_deliveries, 1);
    assert_int_equal(found.least, 4);
    end(&t);
}

/* The end of what is on disk is committed when it is there, too; what is behind it goes on waiting.
 */
static void writes_the_end_of_what_is_on_disk(void **state)
{
    (void)state;
    static struct world t;
    struct story_found found;
    uint64_t moved = 0;
    begin(&t, true);
    (void)send(&t, 0, 1);
    assert_int_equal(log_commit(t.story.log, &moved), OK);
    assert_int_equal(n_syncs(&t), 1);
    uint64_t ended = acknowledge(&t, 0, 1);
    (void)send(&t, 0, 2);
    assert_int_equal(due(&t), 1);
    assert_int_equal(committed(&t, 0), ended);
    assert_int_equal(n_syncs(&t), 2);
    assert_int_equal(due(&t), 0);
    ended = acknowledge(&t, 0, 2);
    assert_int_equal(due(&t), 1);
    assert_int_equal(committed(&t, 0), ended);
    assert_int_equal(n_syncs(&t), 2);
    read_after_crash(&t, &found);
    assert_int_equal(found.n_deliveries, 0);
    end(&t);
}

static void writes_what_is_held_at_the_end(void **state)
{
    (void)state;
    static struct world t;
    uint64_t moved = 0;
    begin(&t, true);
    (void)send(&t, 0, 1);
    assert_int_equal(log_commit(t.story.log, &moved), OK);
    (void)acknowledge(&t, 0, 1);
    uint64_t sent = send(&t, 0, 2);
    assert_int_equal(due(&t), 1);
    assert_int_equal(due(&t), 0);
    assert_true(committed(&t, 0) < sent);
    t.story.log = log_free(t.story.log);
    struct story_found found;
    assert_int_equal(story_open(&t.story), OK);
    assert_true(t.story.report.was_closed);
    assert_int_equal(story_read(&t.story, &found), OK);
    assert_int_equal(found.n_deliveries, 1);
    assert_int_equal(found.least, 2);
    end(&t);
}

/* Who never acknowledges at once costs nobody any time. */
static void waits_only_where_it_has_been_worth_it(void **state)
{
    (void)state;
    static struct world t;
    begin(&t, false);
    for (uint64_t v = 1; v <= 50; v++) {
        uint64_t sent = send(&t, 0, v);
        assert_int_equal(due(&t), 1);
        assert_int_equal(committed(&t, 0), sent);
    }
    assert_int_equal(n_syncs(&t), 50);
    for (uint64_t v = 51; v <= 66; v++) { /* from here on each is acknowledged in its batch */
        (void)send(&t, 0, v);
        (void)acknowledge(&t, 0, v);
        assert_int_equal(due(&t), 1);
    }
    assert_int_equal(n_syncs(&t), 50);
    for (uint64_t v = 67; v <= 68; v++) {
        (void)send(&t, 0, v);
        assert_int_equal(due(&t), 0); /* now it is worth a moment... */
        t.story.now_ms += HELD_MS;
        assert_int_equal(due(&t), 1);
    }
    (void)send(&t, 0, 69);
    assert_int_equal(due(&t), 1); /* ...and after two in vain not at once again */
    end(&t);
}

/* Whatever the n-th allocation was for, nothing is lost and nothing is given up too early. */
static bool without_memory(long n)
{
    static struct world t;
    struct story_found found;
    uint64_t moved = 0, last = 0;
    begin(&t, true);
    for (uint64_t v = 1; v <= 40; v++) {
        last = send(&t, v % 2, v);
    }
    (void)acknowledge(&t, 1, 1);
    (void)mem_fail_after(n);
    enum err err = log_commit_due(t.story.log, &moved);
    bool was_injected = mem_fail_after(-1) != 0;
    assert_true(err == OK || err == ERR_AGAIN || err == ERR_NOMEM);
    assert_true(committed(&t, 0) < last || n_syncs(&t) > 0);
    for (uint64_t v = 2; v <= 39; v++) {
        (void)acknowledge(&t, v % 2, v);
    }
    t.story.now_ms += HELD_MS;
    (void)due(&t);
    for (unsigned i = 0; i < 3; i++) {
        err = log_commit(t.story.log, &moved);
    }
    assert_int_equal(err, ERR_AGAIN);
    assert_true(committed(&t, 0) >= last);
    read_after_crash(&t, &found);
    assert_int_equal(found.n_deliveries, 1);
    assert_int_equal(found.least, 40);
    end(&t);
    return was_injected;
}

static void loses_nothing_without_memory(void **state)
{
    (void)state;
    for (long n = 0; without_memory(n); n++) {
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_up_what_was_acknowledged_in_time),
        cmocka_unit_test(writes_what_took_too_long),
        cmocka_unit_test(writes_all_when_something_else_is_behind),
        cmocka_unit_test(keeps_what_one_receiver_still_waits_for),
        cmocka_unit_test(an_end_of_what_was_written_meanwhile_is_written),
        cmocka_unit_test(an_end_of_what_was_written_though_dead_outlives_it),
        cmocka_unit_test(writes_the_end_of_what_is_on_disk),
        cmocka_unit_test(writes_what_is_held_at_the_end),
        cmocka_unit_test(waits_only_where_it_has_been_worth_it),
        cmocka_unit_test(loses_nothing_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
