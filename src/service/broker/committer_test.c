/* The committer around a real log: what is handed over is committed, and its end is known. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <sched.h>
#include <stdatomic.h>

#include "core/journal_record.h"
#include "service/broker/kept_test.h"

struct heard {
    _Atomic uint64_t moved;
    atomic_uint n_moved, n_notified;
};

static void on_moved(void *ctx, uint64_t writers)
{
    struct heard *h = ctx;
    atomic_fetch_or(&h->moved, writers);
    atomic_fetch_add(&h->n_moved, 1);
}

static void on_notify(void *ctx)
{
    struct heard *h = ctx;
    atomic_fetch_add(&h->n_notified, 1);
}

static uint64_t append_session(struct journal *w, uint64_t id)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    struct wr wr = wr_into(head, sizeof head);
    struct journal_session s = {.id = id, .asleep_wall_ms = INT64_MAX};
    uint64_t lsn = 0;
    assert_int_equal(journal_session_head(&s, &wr), OK);
    assert_int_equal(journal_append(w, JOURNAL_SESSION, 0, wr_slice(&wr), slice_text("c"), &lsn),
                     OK);
    journal_handover(w, true);
    return lsn;
}

static void wait_for(const struct journal *w, uint64_t lsn)
{
    struct clock clock = clock_system();
    uint64_t end_ms = clock.mono_ms(clock.ctx) + 30000;
    while (journal_committed(w) < lsn) {
        assert_true(clock.mono_ms(clock.ctx) < end_ms);
        (void)sched_yield();
    }
}

static void what_is_handed_over_is_committed(void **state)
{
    struct clock clock = clock_system();
    struct heard heard = {0};
    struct committer_listener listener = {.ctx = &heard, .moved = on_moved, .notify = on_notify};
    struct kept kept;
    (void)state;
    kept_open(&kept, 2, &clock);
    struct journal *a = log_writer(kept.log, 0), *b = log_writer(kept.log, 1);
    uint64_t early = append_session(a, 1); /* before there is a thread */
    assert_int_equal(committer_start(kept.committer, kept.log, &listener), OK);
    wait_for(a, early);
    for (uint64_t i = 0; i < 20; i++) {
        wait_for(b, append_session(b, 2 + i));
    }
    uint64_t late = append_session(a, 100);
    committer_stop(kept.committer); /* and with it what was handed over until now */
    assert_true(journal_committed(a) >= late);
    assert_int_equal(atomic_load(&heard.moved), UINT64_MAX); /* the first call names all */
    assert_true(atomic_load(&heard.n_moved) >= 2);
    committer_stop(kept.committer);
    kept_close(&kept);
}

static void events_wait_in_order(void **state)
{
    struct clock clock = clock_system();
    struct committer *c = NULL;
    struct event e, got;
    (void)state;
    assert_int_equal(committer_new(&clock, &c), OK);
    assert_false(committer_next_event(c, &got));
    for (unsigned i = 0; i < COMMITTER_EVENTS + 3; i++) {
        e = event_make(EVENT_store_integrity);
        e.wall_ms = 1; /* of a clock that starts in 1970 */
        event_reason(&e, "%u", i);
        committer_event(c, &e);
    }
    for (unsigned i = 0; i < COMMITTER_EVENTS; i++) {
        char number[16];
        (void)snprintf(number, sizeof number, "%u", i);
        assert_true(committer_next_event(c, &got));
        assert_string_equal(got.reason, number);
        assert_int_equal(got.wall_ms, 0);
    }
    assert_true(committer_next_event(c, &got));
    assert_int_equal(got.count, 3); /* those that found no room */
    assert_false(committer_next_event(c, &got));
    c = committer_free(c);
    assert_null(committer_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_handed_over_is_committed),
                                       cmocka_unit_test(events_wait_in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
