#include <pthread.h>
#include <stdatomic.h>

#include "store/log_story_test.h"

enum { MIB = 1024 * 1024, STEPS = 24 };

static void commit(struct log *l, uint64_t *moved)
{
    enum err err = log_commit(l, moved);
    assert_true(err == OK || err == ERR_AGAIN || err == ERR_SPACE);
}

/* ---- a disk that fails ---- */

/* One step of the story if the log takes it, one turn of the log. What it refuses it refuses for
 * the trouble that it is in. */
static void try_step(struct story *s)
{
    enum err err = story_step(s);
    assert_true(err == OK || err == ERR_SPACE || err == ERR_IO);
    (void)story_turn(s);
    s->now_ms += 400;
    s->wall_ms += 400;
}

static void settle(struct story *s)
{
    for (unsigned i = 0; i < 40; i++) {
        (void)story_turn(s);
        s->now_ms += 400;
    }
}

static void reopen_after_cut(struct story *s)
{
    s->disk.is_dead = true;
    s->log = log_free(s->log);
    test_disk_cut(&s->disk);
    test_disk_heal(&s->disk);
    assert_int_equal(story_open(s), OK);
    assert_int_equal(s->report.missing, 0);
    assert_int_equal(s->report.damaged, 0);
    story_check(s);
}

/* Calls number n to n + times fail; false: the story was over before. */
static bool fails_at(uint64_t n, uint64_t times, enum err with, bool is_cut_in_trouble)
{
    static struct story s;
    story_init(&s, 64 * MIB, n);
    assert_int_equal(story_open(&s), OK);
    test_disk_fail(&s.disk, n, times, with);
    uint64_t last_call = s.disk.fail_from;
    for (unsigned i = 0; i < STEPS; i++) {
        try_step(&s);
    }
    bool was_reached = s.disk.n_calls >= last_call;
    if (!is_cut_in_trouble) {
        test_disk_heal(&s.disk);
        settle(&s);
        assert_int_equal(s.committed, s.handed);
        struct log_status status;
        log_status(s.log, &status);
        assert_int_equal(status.state, LOG_FINE);
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
        assert_int_equal(s.committed, s.handed);
    }
    reopen_after_cut(&s);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(story_turn(&s), OK);
    story_done(&s);
    return was_reached;
}

static void survives_failing_calls(void **state)
{
    (void)state;
    static const uint64_t times[] = {1, 2, 7, UINT64_MAX};
    static const enum err with[] = {ERR_IO, ERR_SPACE};
    for (size_t t = 0; t < COUNT_OF(times); t++) {
        for (size_t w = 0; w < COUNT_OF(with); w++) {
            for (unsigned cut = 0; cut < 2; cut++) {
                for (uint64_t n = 0; fails_at(n, times[t], with[w], cut != 0); n++) {
                    assert_true(n < 2000);
                }
            }
        }
    }
}

/* A sync fails once: nobody notices but the trail, and nothing is acknowledged before the
 * repetition is on disk. */
static void a_failed_sync_is_repeated_elsewhere(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 3);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(story_turn(&s), OK);
    assert_int_equal(story_turn(&s), ERR_AGAIN);
    assert_int_equal(story_step(&s), OK);
    test_disk_fail(&s.disk, 1, 1, ERR_IO); /* the write goes, the sync fails */
    assert_int_equal(story_turn(&s), OK);
    assert_int_equal(s.committed, 2);
    assert_int_equal(s.n_events[EVENT_store_integrity], 2); /* begin and end */
    reopen_after_cut(&s);
    assert_int_equal(s.committed, 2);
    story_done(&s);
}

/* While it fails, records that add are refused, the others taken; it ends by itself. */
static void refuses_while_it_fails(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 3);
    assert_int_equal(story_open(&s), OK);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
    }
    test_disk_fail(&s.disk, 0, UINT64_MAX, ERR_IO);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(story_turn(&s), ERR_IO);
    uint64_t calls = s.disk.n_calls;
    assert_int_equal(story_turn(&s), ERR_IO); /* not before a second is over */
    assert_true(s.disk.n_calls <= calls + 1);
    struct story_pen p = {.w = log_writer(s.log, 1)};
    story_entry(&p, 1, 1);
    assert_int_equal(p.err, ERR_IO);
    p.err = OK;
    story_ack(&p, 1);
    assert_int_equal(p.err, OK);
    struct log_change change = {.table = JOURNAL_TABLE_PRINCIPAL, .id = 2};
    assert_int_equal(log_save(s.log, &change, 1), ERR_IO);
    struct log_status status;
    log_status(s.log, &status);
    assert_int_equal(status.state, LOG_FAILING);
    for (unsigned i = 0; i < 20; i++) {
        s.now_ms += 1000;
        assert_int_equal(story_turn(&s), ERR_IO);
    }
    unsigned n_files = 0;
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        n_files += s.disk.files[i] != NULL ? 1 : 0;
    }
    assert_true(n_files < 10); /* a disk that fails for long is not filled with attempts */
    test_disk_heal(&s.disk);
    s.now_ms += 1000;
    assert_int_equal(story_turn(&s), OK);
    assert_int_equal(s.committed, 5);
    assert_int_equal(s.n_events[EVENT_store_integrity], 2);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(story_turn(&s), OK);
    reopen_after_cut(&s);
    story_done(&s);
}

/* ---- a disk that is full ---- */

/* Messages that nobody takes fill the disk; then somebody takes them, and service resumes. */
static void survives_a_full_disk(void **state)
{
    (void)state;
    for (uint64_t capacity = 60 * 1024; capacity < 160 * 1024; capacity += 7777) {
        static struct story s;
        story_init(&s, capacity, capacity);
        s.keep_bytes = 1;
        assert_int_equal(story_open(&s), OK);
        struct story_pen p = {.w = log_writer(s.log, 0)};
        uint64_t n = 0, moved = 0, at = 0, committed = 0;
        story_session(&p);
        for (unsigned idle = 0; idle < 20;) {
            story_message(&p, n + 1);
            idle += p.err != OK ? 1 : 0;
            n += p.err == OK ? 1 : 0;
            assert_true(p.err == OK || p.err == ERR_SPACE);
            p.err = OK;
            journal_handover(p.w, true);
            commit(s.log, &moved);
            log_tend(s.log, s.now_ms, &at);
            s.now_ms += 300;
        }
        committed = journal_committed(p.w);
        assert_int_equal(committed, p.lsn); /* what was taken was kept */
        struct log_status status;
        log_status(s.log, &status);
        assert_int_equal(status.state, LOG_FULL);
        assert_int_equal(s.n_events[EVENT_store_space], 1);
        /* A restart on the full disk works, and has everything. */
        s.disk.is_dead = true;
        s.log = log_free(s.log);
        s.disk.is_dead = false;
        assert_int_equal(story_open(&s), OK);
        static struct story_found f;
        assert_int_equal(story_read(&s, &f), OK);
        assert_int_equal(f.n_deliveries, n);
        assert_int_equal(f.n_lost, 0);
        /* They are taken one by one. */
        p = (struct story_pen){.w = log_writer(s.log, 0)};
        s.disk.capacity += 2 * s.segment_bytes; /* somebody made room */
        for (uint64_t v = 1; v <= n; v++) {
            s.now_ms += 300;
            story_ack(&p, v);
            assert_int_equal(p.err, OK);
            journal_handover(p.w, true);
            commit(s.log, &moved);
            log_tend(s.log, s.now_ms, &at);
        }
        for (unsigned i = 0; i < 40; i++) {
            commit(s.log, &moved);
            log_tend(s.log, s.now_ms, &at);
            s.now_ms += 300;
        }
        assert_int_equal(journal_committed(p.w), p.lsn);
        log_status(s.log, &status);
        assert_int_equal(status.state, LOG_FINE);
        story_message(&p, n + 1);
        assert_int_equal(p.err, OK);
        story_done(&s);
    }
}

/* ---- no memory ---- */

static bool without_memory(long n, bool *ret_was_open)
{
    static struct story s;
    story_init(&s, 64 * MIB, (uint64_t)n + 1);
    (void)mem_fail_after(n);
    enum err err = story_open(&s);
    *ret_was_open = err == OK;
    if (err != OK) {
        assert_int_equal(err, ERR_NOMEM);
        assert_int_equal(story_open(&s), OK);
    }
    for (unsigned i = 0; i < STEPS; i++) {
        err = story_step(&s);
        if (err != OK) {
            assert_int_equal(err, ERR_NOMEM);
            assert_int_equal(story_step(&s), OK);
        }
        (void)story_turn(&s);
        s.now_ms += 1200;
    }
    settle(&s);
    assert_int_equal(s.committed, s.handed);
    static struct story_found f;
    err = story_read(&s, &f);
    if (err != OK) {
        assert_int_equal(err, ERR_NOMEM);
    }
    bool was_injected = mem_fail_after(-1) != 0;
    s.log = log_free(s.log);
    assert_int_equal(story_open(&s), OK);
    story_check(&s);
    story_done(&s);
    return was_injected;
}

static void survives_without_memory(void **state)
{
    (void)state;
    bool was_open = false;
    for (long n = 0; without_memory(n, &was_open); n++) {
        assert_true(n < 5000);
    }
    assert_true(was_open);
}

/* ---- threads ---- */

enum { THREAD_HANDOVERS = 400, THREAD_RECORDS = 5 };

struct pen_thread {
    struct log *log;
    unsigned index;
    uint64_t lsn;
};

static void *write_thread(void *arg)
{
    struct pen_thread *t = arg;
    struct story_pen p = {.w = log_writer(t->log, t->index)};
    for (uint64_t i = 0; i < THREAD_HANDOVERS; i++) {
        for (uint64_t k = 0; k < THREAD_RECORDS; k++) {
            do {
                p.err = OK;
                story_entry(&p, 10 + 100 * t->index + k, i + 1);
            } while (p.err == ERR_SPACE);
            if (p.err != OK) {
                return NULL;
            }
        }
        journal_handover(p.w, true);
    }
    t->lsn = p.lsn;
    return NULL;
}

struct log_thread {
    struct log *log;
    atomic_bool is_stopping;
};

static void *commit_thread(void *arg)
{
    struct log_thread *t = arg;
    uint64_t moved = 0, at = 0;
    while (!atomic_load(&t->is_stopping)) {
        commit(t->log, &moved);
        log_tend(t->log, clock_system().mono_ms(NULL), &at);
        (void)log_pace(t->log);
    }
    return NULL;
}

static enum err count_entry(void *ctx, uint64_t id, struct slice content)
{
    unsigned *n = ctx;
    (void)id;
    *n += content.n == 8 && content.p[6] == THREAD_HANDOVERS >> 8 &&
                  content.p[7] == (THREAD_HANDOVERS & 0xff)
              ? 1
              : 0;
    return OK;
}

/* Two workers, the service thread and the log's thread at once. */
static void many_threads(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * MIB, 1);
    s.segment_bytes = 64 * 1024;
    s.keep_bytes = 256 * 1024;
    s.is_real_time = true;
    assert_int_equal(story_open(&s), OK);
    struct log_thread runner = {.log = s.log};
    struct pen_thread pens[2] = {{.log = s.log, .index = 0}, {.log = s.log, .index = 1}};
    pthread_t threads[3];
    log_threaded(s.log, true);
    assert_int_equal(pthread_create(&threads[0], NULL, commit_thread, &runner), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[1 + i], NULL, write_thread, &pens[i]), 0);
    }
    for (uint8_t i = 0; i < 50; i++) {
        const uint8_t content[8] = {i};
        struct log_change change = {
            .table = JOURNAL_TABLE_META, .id = i, .content = slice_of(content, sizeof content)};
        struct log_status status;
        assert_int_equal(log_save(s.log, &change, 1), OK);
        log_status(s.log, &status);
        assert_int_equal(status.state, LOG_FINE);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[1 + i], NULL), 0);
        while (journal_committed(log_writer(s.log, i)) < pens[i].lsn) {
        }
        assert_int_equal(pens[i].lsn, THREAD_HANDOVERS * THREAD_RECORDS);
    }
    atomic_store(&runner.is_stopping, true);
    assert_int_equal(pthread_join(threads[0], NULL), 0);
    log_threaded(s.log, false);
    for (unsigned again = 0; again < 2; again++) {
        unsigned n = 0;
        assert_int_equal(log_entries(s.log, JOURNAL_TABLE_PRINCIPAL, count_entry, &n), OK);
        assert_int_equal(n, 2 * THREAD_RECORDS);
        s.log = log_free(s.log);
        assert_int_equal(story_open(&s), OK);
    }
    story_done(&s);
}

/* A restart needs a segment of its own; the others' unused ends make room for it, so that what
 * makes room can be recorded. */
static void restarts_on_a_full_disk(void **state)
{
    (void)state;
    static struct story s;
    static const uint8_t content[100 * 1000];
    struct log_status status;
    uint64_t n = 0, at_ms = 0;
    enum err err = OK;
    story_init(&s, 8 * MIB, 3);
    s.segment_bytes = 2 * MIB;
    assert_int_equal(story_open(&s), OK);
    while (err == OK) {
        const struct log_change change = {
            .table = JOURNAL_TABLE_META, .id = n + 1, .content = slice_of(content, sizeof content)};
        err = log_save(s.log, &change, 1);
        n += err == OK ? 1 : 0;
    }
    assert_int_equal(err, ERR_SPACE);
    for (unsigned i = 0; i < 6; i++) {
        s.disk.is_dead = i % 2 == 0; /* killed, or stopped in order */
        s.log = log_free(s.log);
        s.disk.is_dead = false;
        assert_int_equal(story_open(&s), OK);
        assert_int_equal(s.report.damaged, 0);
    }
    for (uint64_t id = 1; id <= n; id++) {
        const struct log_change change = {.table = JOURNAL_TABLE_META, .id = id, .is_end = true};
        assert_int_equal(log_save(s.log, &change, 1), OK);
    }
    for (unsigned i = 0; i < 20; i++) {
        s.now_ms += 1000;
        log_tend(s.log, s.now_ms, &at_ms);
    }
    log_status(s.log, &status);
    assert_int_equal(status.state, LOG_FINE);
    story_done(&s);
}

/* The log's thread sleeps until somebody calls it, or until the time that log_tend named. */
static void sleeps_and_turns(struct story *s, unsigned *n_heard, uint64_t *at_ms)
{
    uint64_t moved = 0;
    if (s->n_wakes == *n_heard && *at_ms > s->now_ms) {
        return;
    }
    *n_heard = s->n_wakes;
    enum err ignored = log_commit(s->log, &moved); /* as the log's thread does */
    (void)ignored;
    log_tend(s->log, s->now_ms, at_ms);
}

/* Whoever hands over in trouble calls once; the batch that fails is another writer's. */
static void remembers_what_came_in_trouble(void **state)
{
    (void)state;
    static struct story s;
    unsigned n_heard = 0;
    uint64_t at_ms = 0;
    story_init(&s, 64 * MIB, 3);
    assert_int_equal(story_open(&s), OK);
    assert_int_equal(story_step(&s), OK);
    for (unsigned i = 0; i < 10; i++) {
        sleeps_and_turns(&s, &n_heard, &at_ms);
    }
    test_disk_fail(&s.disk, 0, UINT64_MAX, ERR_IO);
    assert_int_equal(story_step(&s), OK);
    sleeps_and_turns(&s, &n_heard, &at_ms);
    struct story_pen p = {.w = log_writer(s.log, 1)};
    story_ack(&p, 1);
    assert_int_equal(p.err, OK);
    journal_handover(p.w, true);
    sleeps_and_turns(&s, &n_heard, &at_ms);
    test_disk_heal(&s.disk);
    for (unsigned i = 0; i < 10; i++) {
        s.now_ms += 1000;
        sleeps_and_turns(&s, &n_heard, &at_ms);
    }
    assert_int_equal(journal_committed(p.w), p.lsn);
    story_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_failed_sync_is_repeated_elsewhere),
                                       cmocka_unit_test(survives_a_full_disk),
                                       cmocka_unit_test(survives_failing_calls),
                                       cmocka_unit_test(refuses_while_it_fails),
                                       cmocka_unit_test(remembers_what_came_in_trouble),
                                       cmocka_unit_test(restarts_on_a_full_disk),
                                       cmocka_unit_test(survives_without_memory),
                                       cmocka_unit_test(many_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
