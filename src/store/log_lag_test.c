/* A disk that is slow: what it tells those who ask for lasting room, and that nobody is refused who
 * asks first. The log's thread does not run while the disk stands still, so here nobody calls it.
 */
#include <stddef.h>

#include "store/log_story_test.h"

enum { MIB = 1024 * 1024, MESSAGE_BYTES = 8 + STORY_PAYLOAD, FILL_MAX = 4000 };

static struct story s;

static void opens(uint64_t capacity, uint64_t segment_bytes)
{
    story_init(&s, capacity, 1);
    s.segment_bytes = segment_bytes;
    assert_int_equal(story_open(&s), OK);
    uint64_t at = 0;
    log_tend(s.log, s.now_ms, &at); /* both segments ahead */
    assert_int_equal(journal_lag(log_writer(s.log, 0), 0), JOURNAL_KEEPS_UP);
}

static void turns(void)
{
    for (unsigned i = 0; i < 12; i++) {
        enum err ignored = story_turn(&s);
        (void)ignored;
    }
}

static enum journal_lag lag_of(const struct story_pen *p)
{
    return journal_lag(p->w, MESSAGE_BYTES + JOURNAL_HEAD_MAX);
}

/* Messages of one writer until it is told to wait, given to the log each `every`. */
static uint64_t fills(struct story_pen *p, uint64_t from, unsigned every)
{
    uint64_t n = 0;
    for (; n < FILL_MAX; n++) {
        if (lag_of(p) != JOURNAL_KEEPS_UP) {
            journal_handover(p->w, true);
        }
        if (lag_of(p) != JOURNAL_KEEPS_UP) {
            break;
        }
        story_message(p, from + n);
        assert_int_equal(p->err, OK);
        if (n % every == every - 1) {
            journal_handover(p->w, true);
        }
    }
    assert_in_range(n, 1, FILL_MAX - 1);
    return n;
}

/* ---- who asks is not refused ---- */

static void is_told_to_wait_and_to_go_on(void **state)
{
    (void)state;
    opens(64 * MIB, 64 * 1024);
    struct story_pen p = {.w = log_writer(s.log, 0)};
    uint64_t n = 1;
    story_session(&p);
    for (unsigned again = 0; again < 20; again++) {
        n += fills(&p, n, 1 + again);
        assert_int_equal(lag_of(&p), JOURNAL_BEHIND);
        assert_int_equal(journal_lag(log_writer(s.log, 1), MESSAGE_BYTES), JOURNAL_BEHIND);
        assert_int_equal(journal_admits(p.w), OK); /* the other half is for who cannot wait */
        story_ack(&p, n - 1);
        assert_int_equal(p.err, OK); /* what settles is taken at any time */
        journal_handover(p.w, true);
        turns();
        assert_int_equal(lag_of(&p), JOURNAL_KEEPS_UP);
        assert_int_equal(journal_committed(p.w), p.lsn);
    }
    assert_int_equal(s.n_events[EVENT_store_space], 0);
    story_done(&s);
}

/* By turns, each with a good deal that the other does not see: the worst is right before the two
 * are told to wait. */
static void two_that_ask_are_both_taken(void **state)
{
    (void)state;
    for (unsigned every = 1; every < 200; every += 7) {
        opens(64 * MIB, 48 * 1024);
        struct story_pen pens[2] = {{.w = log_writer(s.log, 0)}, {.w = log_writer(s.log, 1)}};
        uint64_t n = 0, held = 0;
        story_session(&pens[0]);
        journal_handover(pens[0].w, true);
        for (unsigned i = 0; i < 3000; i++) {
            struct story_pen *p = &pens[i % 2];
            if (lag_of(p) != JOURNAL_KEEPS_UP) {
                journal_handover(p->w, true);
            }
            if (lag_of(p) != JOURNAL_KEEPS_UP) {
                held++;
                if (held % 2 == 0) {
                    (void)story_turn(&s);
                }
                continue;
            }
            story_message(p, ++n);
            assert_int_equal(p->err, OK);
            if (i % every == 0) {
                journal_handover(p->w, true);
            }
        }
        assert_true(held > 0);
        story_done(&s);
    }
}

static void put_large(struct story_pen *p, size_t bytes)
{
    static const uint8_t content[64 * 1024];
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr w = wr_into(head, sizeof(head));
    assert_int_equal(journal_entry_head(JOURNAL_ENTRY, JOURNAL_TABLE_META, 1, &w), OK);
    story_put(p, JOURNAL_ENTRY, 0, &w, slice_of(content, bytes));
}

/* One that needs most of a segment waits until little else does, and is taken then; one that no
 * waiting helps is not told to. */
static void a_large_one_is_taken_alone(void **state)
{
    (void)state;
    opens(64 * MIB, 64 * 1024);
    struct story_pen p = {.w = log_writer(s.log, 0)}, other = {.w = log_writer(s.log, 1)};
    const size_t large = 48 * 1024, too_large = 60 * 1024;
    assert_int_equal(journal_lag(p.w, large), JOURNAL_KEEPS_UP);
    story_session(&other);
    for (unsigned i = 1; i <= 40; i++) {
        story_message(&other, i);
    }
    journal_handover(other.w, true);
    assert_int_equal(journal_lag(p.w, large), JOURNAL_BEHIND);
    assert_int_equal(journal_lag(p.w, too_large), JOURNAL_KEEPS_UP);
    put_large(&p, too_large);
    assert_int_equal(p.err, ERR_SPACE);
    p.err = OK;
    turns();
    assert_int_equal(journal_lag(p.w, large), JOURNAL_KEEPS_UP);
    put_large(&p, large);
    assert_int_equal(p.err, OK);
    journal_handover(p.w, true);
    turns();
    assert_int_equal(journal_committed(p.w), p.lsn);
    story_done(&s);
}

/* ---- how long ---- */

static void nobody_waits_for_a_disk_that_does_nothing(void **state)
{
    (void)state;
    opens(64 * MIB, 64 * 1024);
    struct story_pen p = {.w = log_writer(s.log, 0)};
    story_session(&p);
    s.now_ms += 3600 * 1000; /* an hour in which there was nothing to do is no standstill */
    uint64_t n = 1 + fills(&p, 1, 1);
    s.now_ms += JOURNAL_STALL_S * 1000 - 1;
    assert_int_equal(lag_of(&p), JOURNAL_BEHIND);
    s.now_ms += 1;
    assert_int_equal(lag_of(&p), JOURNAL_STANDS_STILL);
    uint64_t lsn = p.lsn;
    while (p.err == OK) { /* as much as there is room for, and not one more */
        lsn = p.lsn;
        story_message(&p, n++);
        journal_handover(p.w, true);
        assert_true(n < FILL_MAX);
    }
    assert_int_equal(p.err, ERR_SPACE);
    assert_int_equal(journal_admits(p.w), OK); /* for less */
    turns();
    assert_true(journal_committed(p.w) >= lsn);
    assert_int_equal(lag_of(&p), JOURNAL_KEEPS_UP);
    /* A disk that is slow for hours, but does something: who waits waits on. */
    for (unsigned i = 0; i < 10; i++) {
        p.err = OK;
        n += fills(&p, n, 1);
        s.now_ms += JOURNAL_STALL_S * 1000 - 1;
        assert_int_equal(lag_of(&p), JOURNAL_BEHIND);
        (void)story_turn(&s);
    }
    story_done(&s);
}

/* ---- what is not slow ---- */

static void nobody_waits_for_a_full_disk(void **state)
{
    (void)state;
    opens(100 * 1024, 16 * 1024);
    s.keep_bytes = 1;
    struct story_pen p = {.w = log_writer(s.log, 0)};
    uint64_t n = 0, n_refused = 0;
    story_session(&p);
    while (n_refused < 20) {
        enum journal_lag lag = lag_of(&p);
        if (lag != JOURNAL_KEEPS_UP) {
            journal_handover(p.w, true);
            turns();
            assert_int_equal(lag_of(&p), JOURNAL_KEEPS_UP);
        }
        story_message(&p, ++n);
        n_refused += p.err != OK ? 1 : 0;
        if (p.err != OK) {
            assert_int_equal(p.err, ERR_SPACE);
            journal_handover(p.w, true);
            turns();
            s.now_ms += 1000;
        }
        p.err = OK;
        assert_true(n < FILL_MAX);
    }
    struct log_status status;
    log_status(s.log, &status);
    assert_int_equal(status.state, LOG_FULL);
    assert_int_equal(journal_lag(p.w, 0), JOURNAL_KEEPS_UP);
    story_done(&s);
}

static void nobody_waits_for_a_disk_that_fails(void **state)
{
    (void)state;
    opens(64 * MIB, 64 * 1024);
    struct story_pen p = {.w = log_writer(s.log, 0)};
    story_session(&p);
    uint64_t n = 1 + fills(&p, 1, 1);
    test_disk_fail(&s.disk, 0, UINT64_MAX, ERR_IO);
    assert_int_equal(story_turn(&s), ERR_IO);
    assert_int_equal(lag_of(&p), JOURNAL_KEEPS_UP);
    story_message(&p, n);
    assert_int_equal(p.err, ERR_IO);
    test_disk_heal(&s.disk);
    s.now_ms += 1000;
    turns();
    assert_int_equal(lag_of(&p), JOURNAL_KEEPS_UP);
    assert_int_equal(journal_committed(p.w), p.lsn);
    story_done(&s);
}

/* A segment that cannot be made ahead: what is left is used up, and nobody waits for more. */
static void nobody_waits_for_a_segment_that_cannot_be_made(void **state)
{
    (void)state;
    opens(64 * MIB, 64 * 1024);
    struct story_pen p = {.w = log_writer(s.log, 0)};
    uint64_t n = 1, moved = 0, at = 0;
    story_session(&p);
    do {
        n += fills(&p, n, 1);
        assert_int_equal(log_commit(s.log, &moved), OK);
    } while (lag_of(&p) == JOURNAL_KEEPS_UP); /* rolled, and only the spare is left */
    assert_int_equal(lag_of(&p), JOURNAL_BEHIND);
    test_disk_fail(&s.disk, 0, 1, ERR_IO);
    log_tend(s.log, s.now_ms, &at);
    assert_int_equal(lag_of(&p), JOURNAL_KEEPS_UP);
    s.now_ms += 1000;
    turns();
    n += fills(&p, n, 1);
    assert_int_equal(lag_of(&p), JOURNAL_BEHIND);
    turns();
    assert_int_equal(journal_committed(p.w), p.lsn);
    story_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_told_to_wait_and_to_go_on),
        cmocka_unit_test(two_that_ask_are_both_taken),
        cmocka_unit_test(a_large_one_is_taken_alone),
        cmocka_unit_test(nobody_waits_for_a_disk_that_does_nothing),
        cmocka_unit_test(nobody_waits_for_a_full_disk),
        cmocka_unit_test(nobody_waits_for_a_disk_that_fails),
        cmocka_unit_test(nobody_waits_for_a_segment_that_cannot_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
