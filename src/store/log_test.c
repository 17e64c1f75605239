#include "store/log_story_test.h"

enum { MIB = 1024 * 1024 };

/* ---- the ordinary life ---- */

static void keeps_what_was_committed(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    assert_true(s.report.was_closed);
    story_check(&s);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 20; i++) {
            assert_int_equal(story_step(&s), OK);
            assert_int_equal(story_turn(&s), OK);
            assert_int_equal(s.committed, s.handed);
            s.now_ms += 10;
        }
        s.log = log_free(s.log);
        assert_int_equal(story_open(&s), OK);
        assert_true(s.report.was_closed);
        assert_int_equal(s.report.torn_bytes, 0);
        assert_int_equal(s.report.missing, 0);
        story_check(&s);
        assert_int_equal(s.committed, 20 * (round + 1));
    }
    struct store_ids ids = log_ids(s.log);
    assert_int_equal(ids.session, STORY_SESSION);
    assert_int_equal(ids.body, 100);
    assert_int_equal(s.n_events[EVENT_store_integrity] + s.n_events[EVENT_crash_recovery], 0);
    story_done(&s);
}

/* One write and one sync for whatever was handed over; none when all of it died in the batch. */
static void syncs_once_for_a_batch(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 1);
    s.segment_bytes = 256 * 1024;
    assert_int_equal(story_open(&s), OK);
    uint64_t moved = 0, at = 0;
    log_tend(s.log, s.now_ms, &at);
    assert_int_equal(log_commit(s.log, &moved), ERR_AGAIN);
    uint64_t syncs = s.disk.n_syncs, writes = s.disk.n_writes;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(story_step(&s), OK);
    }
    assert_int_equal(s.n_wakes, 1);
    assert_int_equal(log_commit(s.log, &moved), OK);
    assert_int_equal(moved, 1);
    assert_int_equal(s.disk.n_syncs, syncs + 1);
    assert_int_equal(s.disk.n_writes, writes + 1);
    story_note(&s);
    assert_int_equal(s.committed, 10);

    struct story_pen p = {.w = log_writer(s.log, 1)};
    story_message(&p, 500);
    story_ack(&p, 500);
    assert_int_equal(p.err, OK);
    assert_int_equal(log_commit(s.log, &moved), ERR_AGAIN); /* not handed over */
    journal_handover(p.w, true);
    assert_int_equal(log_commit(s.log, &moved), OK);
    assert_int_equal(moved, 2);
    assert_int_equal(journal_committed(p.w), p.lsn);
    assert_int_equal(s.disk.n_syncs, syncs + 1);
    struct log_status status;
    log_status(s.log, &status);
    assert_true(status.elided >= 3);
    assert_int_equal(status.batches, 1);
    assert_true(status.free_bytes > 0); /* known from the start: an alert counts with it */
    story_done(&s);
}

/* Who hands over what nobody waits for wakes nobody, until it asks for a commit; many ask once. */
static void wakes_for_what_is_awaited(void **state)
{
    (void)state;
    static struct story s;
    uint64_t moved = 0;
    story_init(&s, 64 * MIB, 9);
    assert_int_equal(story_open(&s), OK);
    struct story_pen p = {.w = log_writer(s.log, 0)}, other = {.w = log_writer(s.log, 1)};
    journal_handover(p.w, true);
    assert_int_equal(s.n_wakes, 0); /* for nothing */
    story_message(&p, 1);
    journal_handover(p.w, false);
    assert_int_equal(s.n_wakes, 0);
    journal_handover(p.w, true);
    assert_int_equal(s.n_wakes, 1);
    story_message(&other, 2);
    journal_handover(other.w, true);
    assert_int_equal(s.n_wakes, 1);
    assert_int_equal(log_commit(s.log, &moved), OK);
    assert_int_equal(moved, 3);

    story_message(&p, 3);
    journal_handover(p.w, false);
    story_message(&other, 4);
    journal_handover(other.w, true); /* not the first that waits, but the first that asks */
    assert_int_equal(s.n_wakes, 2);
    assert_int_equal(log_commit(s.log, &moved), OK);
    assert_int_equal(moved, 3);
    assert_int_equal(journal_committed(p.w), p.lsn);
    story_done(&s);
}

/* What is on disk does not say what it is about. */
static void nothing_is_readable(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(story_turn(&s), OK);
    static const char *const words[] = {"story", "client-seven"};
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        const struct test_file *f = s.disk.files[i];
        for (size_t w = 0; f != NULL && w < COUNT_OF(words); w++) {
            assert_null(memmem(f->now, f->size, words[w], strlen(words[w])));
        }
    }
    story_done(&s);
}

/* ---- crashes ---- */

/* The power goes at the n-th call that changes something, for every n. */
static bool cut_at(uint64_t n, uint64_t seed)
{
    static struct story s;
    story_init(&s, 64 * MIB, seed);
    s.disk.die_at = s.disk.n_calls + n;
    enum err err = story_open(&s);
    for (unsigned i = 0; err == OK && i < 30 && !s.disk.is_dead; i++) {
        assert_int_equal(story_step(&s), OK);
        if (i % 3 != 0) {
            (void)story_turn(&s);
        }
        s.now_ms += 700;
        s.wall_ms += 700;
    }
    bool was_cut = s.disk.is_dead;
    s.log = log_free(s.log);
    test_disk_cut(&s.disk);
    test_disk_heal(&s.disk);
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(story_open(&s), OK);
        assert_int_equal(s.report.missing, 0);
        assert_int_equal(s.report.damaged, 0);
        story_check(&s);
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(story_step(&s), OK);
            assert_int_equal(story_turn(&s), OK);
        }
        s.log = log_free(s.log);
    }
    story_done(&s);
    return was_cut;
}

static void survives_a_power_cut_anywhere(void **state)
{
    (void)state;
    for (uint64_t n = 1; cut_at(n, n); n++) {
        assert_true(n < 10000);
    }
}

/* The process dies, its writes stay in the kernel: nothing is lost at all. */
static void survives_a_kill(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 1);
    for (unsigned round = 0; round < 10; round++) {
        assert_int_equal(story_open(&s), OK);
        assert_int_equal(s.report.was_closed, round == 0);
        story_check(&s);
        for (unsigned i = 0; i < 7; i++) {
            assert_int_equal(story_step(&s), OK);
            assert_int_equal(story_turn(&s), OK);
        }
        uint64_t committed = s.committed;
        s.disk.is_dead = true; /* so that it does not close in order */
        s.log = log_free(s.log);
        s.disk.is_dead = false;
        s.n_events[EVENT_store_integrity] = 0; /* that the dead disk failed */
        assert_int_equal(committed, 7 * (round + 1));
    }
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(s.n_events[EVENT_crash_recovery], 10);
    assert_int_equal(s.n_events[EVENT_store_integrity], 0);
    story_check(&s);
    story_done(&s);
}

/* ---- damage ---- */

static struct test_file *newest_used(struct story *s)
{
    struct test_file *found = NULL;
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        struct test_file *f = s->disk.files[i];
        bool is_log = f != NULL && slice_has_prefix(slice_text(f->name), slice_text("store/"));
        if (is_log && f->now[SEGMENT_HEAD_BYTES] != 0 &&
            (found == NULL || strcmp(f->name, found->name) > 0)) {
            found = f;
        }
    }
    return found;
}

/* One flipped byte anywhere: the log opens, says so, and everything else is there. */
static void damage_is_named_and_contained(void **state)
{
    (void)state;
    static struct story s;
    static struct story_found f;
    for (uint64_t at = 0; at < 12000; at += 397) {
        story_init(&s, 64 * MIB, at);
        assert_int_equal(story_open(&s), OK);
        for (unsigned i = 0; i < 8; i++) {
            assert_int_equal(story_step(&s), OK);
            assert_int_equal(story_turn(&s), OK);
        }
        s.log = log_free(s.log);
        struct test_file *file = newest_used(&s);
        bool is_record = at >= SEGMENT_HEAD_BYTES && file->now[at] != 0;
        file->now[at] ^= 4;
        assert_int_equal(story_open(&s), OK);
        if (is_record || at < 80) {
            assert_true(s.n_events[EVENT_store_integrity] + s.n_events[EVENT_crash_recovery] > 0);
        }
        assert_int_equal(story_read(&s, &f), OK);
        assert_in_range(f.n_deliveries, 1, 8);
        s.committed = s.handed;
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
        assert_int_equal(s.committed, s.handed);
        story_done(&s);
    }
}

/* The last batch of an opening that a later one followed was whole once: damage in it is said. */
static void damage_at_an_old_end_is_named(void **state)
{
    (void)state;
    static struct story s;
    static struct story_found f;
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(story_turn(&s), OK);
    s.disk.is_dead = true; /* no closing record */
    s.log = log_free(s.log);
    s.disk.is_dead = false;
    struct test_file *file = newest_used(&s);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(story_turn(&s), OK);
    s.log = log_free(s.log);
    size_t last = file->size;
    while (file->now[last - 1] == 0) {
        last--;
    }
    file->now[last - 1] ^= 1;
    s.n_events[EVENT_store_integrity] = 0;
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(s.report.damaged, 1);
    assert_int_equal(s.n_events[EVENT_store_integrity], 1);
    assert_int_equal(story_read(&s, &f), OK);
    assert_int_equal(f.entries[1], 2);
    story_done(&s);
}

/* Both copies of a header are gone: the neighbour's keys read the records all the same. */
static void a_segment_without_header_is_read(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
    }
    s.log = log_free(s.log);
    struct test_file *file = newest_used(&s);
    file->now[20] ^= 1;
    file->now[SEGMENT_COPY_AT + 20] ^= 1;
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(s.n_events[EVENT_store_integrity], 1);
    story_check(&s);
    assert_int_equal(s.committed, 3);
    story_done(&s);
}

static void a_missing_segment_is_named(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 1);
    s.keep_bytes = 64 * MIB;
    assert_int_equal(story_open(&s), OK);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
    }
    s.log = log_free(s.log);
    assert_int_equal(s.disk.disk.ops->remove(&s.disk.disk, "store/00000003.log"), OK);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(s.report.missing, 1);
    assert_int_equal(s.n_events[EVENT_store_integrity], 1);
    assert_non_null(strstr(s.last[EVENT_store_integrity].target, "00000003"));
    story_done(&s);
}

/* Its length is 0, or all of it is zeros: no header says that it was one of ours. */
static void an_emptied_segment_is_named(void **state)
{
    (void)state;
    for (unsigned zeros = 0; zeros < 2; zeros++) {
        static struct story s;
        story_init(&s, 64 * MIB, 1);
        s.keep_bytes = 64 * MIB;
        assert_int_equal(story_open(&s), OK);
        for (unsigned i = 0; i < 40; i++) {
            assert_int_equal(story_step(&s), OK);
            assert_int_equal(story_turn(&s), OK);
        }
        s.log = log_free(s.log);
        struct test_file *f = test_disk_find(&s.disk, "store/00000003.log");
        memset(f->now, 0, f->size);
        memset(f->durable, 0, f->size);
        f->size = zeros != 0 ? f->size : 0;
        assert_int_equal(story_open(&s), OK);
        assert_int_equal(s.report.damaged, 1);
        assert_int_equal(s.n_events[EVENT_store_integrity], 1);
        assert_non_null(strstr(s.last[EVENT_store_integrity].target, "00000003"));
        story_done(&s);
    }
}

/* ---- cleaning ---- */

/* A store that is far smaller than what goes through it: the oldest segments go, what lives stays.
 */
static void cleaning_keeps_what_lives(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    struct story_pen p = {.w = log_writer(s.log, 1)};
    story_entry(&p, 2, 0); /* an old one that the story soon overwrites */
    journal_handover(p.w, true);
    for (unsigned i = 0; i < 600; i++) {
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
        struct log_status status;
        log_status(s.log, &status);
        assert_true(status.bytes <= s.keep_bytes + 3 * s.segment_bytes);
        assert_int_equal(status.state, LOG_FINE);
        s.now_ms += 5;
        if (i % 97 == 0) {
            s.log = log_free(s.log);
            assert_int_equal(story_open(&s), OK);
            assert_int_equal(s.report.missing, 0);
            story_check(&s);
        }
    }
    struct log_status status;
    log_status(s.log, &status);
    assert_true(status.cleaned_bytes > 0);
    assert_int_equal(s.n_events[EVENT_store_integrity], 0);
    story_done(&s);
}

/* Where nothing dies there is nothing to gain: no copies, however much there is. */
static void cleaning_leaves_the_living_alone(void **state)
{
    (void)state;
    static struct story s;
    static const uint8_t content[1000] = {0};
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    struct log_status status;
    for (uint64_t id = 1; id <= 200; id++) {
        struct log_change change = {
            .table = JOURNAL_TABLE_PRINCIPAL, .id = id, .content = slice_of(content, 1000)};
        assert_int_equal(log_save(s.log, &change, 1), OK);
        for (unsigned i = 0; i < 10; i++) {
            (void)story_turn(&s);
        }
        log_status(s.log, &status);
        assert_int_equal(status.cleaned_bytes, 0);
        s.now_ms += 5;
    }
    assert_true(status.living_bytes > 200 * 1000);
    story_done(&s);
}

/* A pinned segment stays as it is, however much goes through. */
static void a_pin_holds(void **state)
{
    (void)state;
    static struct story s;
    uint32_t numbers[64];
    size_t n = 0;
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
    }
    assert_int_equal(log_pin(s.log, numbers, 0, &n), ERR_SPACE);
    assert_int_equal(log_pin(s.log, numbers, COUNT_OF(numbers), &n), OK);
    assert_true(n > 0);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
    }
    char name[SEGMENT_NAME_BYTES];
    for (size_t i = 0; i < n; i++) {
        segment_name(numbers[i], name);
        assert_non_null(test_disk_find(&s.disk, name));
    }
    log_unpin(s.log);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
    }
    segment_name(numbers[0], name);
    assert_null(test_disk_find(&s.disk, name));
    story_done(&s);
}

/* ---- ids and time ---- */

/* Ids are not given out twice, also when nothing that had them is left. */
static void ids_outlive_their_records(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    struct story_pen p = {.w = log_writer(s.log, 1)};
    assert_int_equal(story_step(&s), OK);
    story_message(&p, 3000);
    journal_handover(p.w, true);
    assert_int_equal(story_turn(&s), OK);
    story_ack(&p, 3000);
    journal_handover(p.w, true);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
        s.now_ms += 5;
        s.wall_ms += 5;
    }
    s.disk.is_dead = true;
    s.log = log_free(s.log);
    s.disk.is_dead = false;
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(log_ids(s.log).body, 3000);
    assert_true(s.report.last_wall_ms >= s.wall_ms - 60000);
    assert_true(s.report.last_wall_ms <= s.wall_ms);
    story_done(&s);
}

/* ---- entries ---- */

static struct log_change change_of(uint64_t id, const uint8_t content[8])
{
    return (struct log_change){
        .table = JOURNAL_TABLE_PRINCIPAL, .id = id, .content = slice_of(content, 8)};
}

static void saves_entries_whole(void **state)
{
    (void)state;
    static struct story s;
    static struct story_found f;
    static const uint8_t one[8] = {0, 0, 0, 0, 0, 0, 0, 1}, two[8] = {0, 0, 0, 0, 0, 0, 0, 2};
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    struct log_change changes[] = {change_of(1, one), change_of(2, one), change_of(3, one)};
    assert_int_equal(log_save(s.log, changes, 3), OK);
    changes[0] = change_of(1, two);
    changes[1].is_end = true;
    assert_int_equal(log_save(s.log, changes, 2), OK);
    /* One that does not fit changes nothing. */
    uint8_t big[20000] = {0};
    changes[0] = change_of(1, one);
    changes[1] = (struct log_change){
        .table = JOURNAL_TABLE_PRINCIPAL, .id = 9, .content = slice_of(big, sizeof big)};
    assert_int_equal(log_save(s.log, changes, 2), ERR_SPACE);
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(story_read(&s, &f), OK);
        assert_int_equal(f.entries[1], 2);
        assert_int_equal(f.entries[2], 0);
        assert_int_equal(f.entries[3], 1);
        s.disk.is_dead = true;
        s.log = log_free(s.log);
        s.disk.is_dead = false;
        assert_int_equal(story_open(&s), OK);
    }
    story_done(&s);
}

/* A device whose key is erased: its records are gone, and that is no damage. */
static void erased_is_not_damaged(void **state)
{
    (void)state;
    static struct story s;
    static struct story_found f;
    const uint64_t principal = 5;
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(story_turn(&s), OK);
    s.log = log_free(s.log);
    assert_int_equal(keyring_erase(s.keyring, &principal, 1), OK);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(s.report.erased, 2);
    assert_int_equal(s.report.damaged, 0);
    assert_int_equal(s.n_events[EVENT_store_integrity], 0);
    assert_int_equal(story_read(&s, &f), OK);
    assert_int_equal(f.n_sessions + f.n_bodies, 0);
    assert_int_equal(f.entries[1], 1);
    story_done(&s);
}

/* A stop while it is read: all is as it was. */
static void an_opening_is_given_up(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 1);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(story_open(&s), OK);
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
        s.log = log_free(s.log);
        atomic_store(&s.progress.is_given_up, true);
        assert_int_equal(story_open(&s), ERR_CLOSED);
        assert_null(s.log);
        atomic_store(&s.progress.is_given_up, false);
    }
    assert_int_equal(story_open(&s), OK);
    assert_true(s.report.was_closed);
    assert_int_equal(s.report.damaged, 0);
    story_check(&s);
    story_done(&s);
}

/* Who is given a restart back, and gives it up in the middle. */
struct impatient {
    struct story *story;
    struct story_found found;
    unsigned n_left; /* records, until nobody wants the rest */
};

static void take_one(struct impatient *i)
{
    assert_true(i->n_left > 0); /* nothing comes behind the last look */
    i->n_left--;
    if (i->n_left == 0) {
        atomic_store(&i->story->progress.is_given_up, true);
    }
}
static enum err impatient_body(void *ctx, const struct journal_body *b, bool is_retained)
{
    struct impatient *i = ctx;
    take_one(i);
    return story_found_body(&i->found, b, is_retained);
}
static enum err impatient_session(void *ctx, const struct journal_session *s)
{
    struct impatient *i = ctx;
    take_one(i);
    return story_found_session(&i->found, s);
}
static enum err impatient_delivery(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                                   uint64_t body_id)
{
    struct impatient *i = ctx;
    take_one(i);
    return story_found_delivery(&i->found, d, ids, body_id);
}

/* The same for what is not the workers', but only until the log runs. */
static void entries_are_given_up(void **state)
{
    (void)state;
    static struct story s;
    static struct story_found f;
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(story_turn(&s), OK);
    s.log = log_free(s.log);
    assert_int_equal(story_open(&s), OK);
    atomic_store(&s.progress.is_given_up, true);
    assert_int_equal(log_entries(s.log, JOURNAL_TABLE_PRINCIPAL, story_found_entry, &f),
                     ERR_CLOSED);
    assert_int_equal(f.entries[1], 0);
    assert_string_equal(atomic_load(&s.progress.what), "entries read");
    assert_int_equal(atomic_load(&s.progress.all), STORY_ENTRIES);
    log_threaded(s.log, true);
    assert_int_equal(log_entries(s.log, JOURNAL_TABLE_PRINCIPAL, story_found_entry, &f), OK);
    assert_int_equal(f.entries[1], 1);
    log_threaded(s.log, false);
    story_done(&s);
}

/* A stop while what was read is put back: it ends with the next record, says how far it came, and
 * all is as it was, also where this opening has appended already. */
static void a_restore_is_given_up(void **state)
{
    (void)state;
    static struct story s;
    enum { RECORDS = 5 }; /* two messages, a session, two deliveries */
    story_init(&s, 64 * MIB, 1);
    assert_int_equal(story_open(&s), OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
    }
    for (unsigned n = 1; n <= RECORDS; n++) {
        static struct impatient i;
        i = (struct impatient){.story = &s, .n_left = n};
        const struct log_sink sink = {.ctx = &i,
                                      .session = impatient_session,
                                      .body = impatient_body,
                                      .delivery = impatient_delivery};
        s.log = log_free(s.log);
        assert_int_equal(story_open(&s), OK);
        assert_true(s.report.was_closed);
        assert_int_equal(log_restore(s.log, &sink), n < RECORDS ? ERR_CLOSED : OK);
        assert_int_equal(i.n_left, 0);
        assert_string_equal(atomic_load(&s.progress.what),
                            n < 2 ? "messages read" : "sessions put back");
        assert_int_equal(atomic_load(&s.progress.done), n == 2 ? 0 : 1);
        assert_int_equal(atomic_load(&s.progress.all), n < 2 ? 2 : 0);
        uint64_t committed = s.committed;
        assert_int_equal(story_step(&s), OK); /* what a restart changes, */
        log_discard(s.log);                   /* and nobody is told */
        s.handed = committed;
        atomic_store(&s.progress.is_given_up, false);
    }
    s.log = log_free(s.log);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(s.report.damaged, 0);
    story_check(&s);
    story_done(&s);
}

static void another_keyring_does_not_open_it(void **state)
{
    (void)state;
    static struct story s, other;
    story_init(&s, 64 * MIB, 1);
    story_init(&other, 64 * MIB, 99);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(story_turn(&s), OK);
    s.log = log_free(s.log);
    struct keyring *right = s.keyring;
    s.keyring = other.keyring;
    assert_int_equal(story_open(&s), ERR_CRYPTO);
    assert_null(s.log);
    s.keyring = right;
    assert_int_equal(story_open(&s), OK);
    story_check(&s);
    story_done(&s);
    story_done(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_what_was_committed),
                                       cmocka_unit_test(syncs_once_for_a_batch),
                                       cmocka_unit_test(wakes_for_what_is_awaited),
                                       cmocka_unit_test(nothing_is_readable),
                                       cmocka_unit_test(survives_a_kill),
                                       cmocka_unit_test(survives_a_power_cut_anywhere),
                                       cmocka_unit_test(damage_is_named_and_contained),
                                       cmocka_unit_test(damage_at_an_old_end_is_named),
                                       cmocka_unit_test(a_segment_without_header_is_read),
                                       cmocka_unit_test(a_missing_segment_is_named),
                                       cmocka_unit_test(an_emptied_segment_is_named),
                                       cmocka_unit_test(cleaning_keeps_what_lives),
                                       cmocka_unit_test(cleaning_leaves_the_living_alone),
                                       cmocka_unit_test(a_pin_holds),
                                       cmocka_unit_test(ids_outlive_their_records),
                                       cmocka_unit_test(saves_entries_whole),
                                       cmocka_unit_test(erased_is_not_damaged),
                                       cmocka_unit_test(an_opening_is_given_up),
                                       cmocka_unit_test(a_restore_is_given_up),
                                       cmocka_unit_test(entries_are_given_up),
                                       cmocka_unit_test(another_keyring_does_not_open_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
