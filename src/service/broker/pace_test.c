/* When a worker rests behind small sends. */
#include "service/broker/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

enum { BEGIN_MS = 5000, ENOUGH = PACE_SENDS * PACE_QUEUED };

/* A piece that took so long, of sends of so many bytes, while n_new wide deliveries were queued.
 * Until when it rests. */
static uint64_t piece(struct pace *p, uint64_t began_ms, uint64_t took_ms, size_t bytes,
                      unsigned n_new)
{
    for (unsigned i = 0; i < PACE_SENDS; i++) {
        assert_true(pace_rest(p, began_ms, p->n_wide) <= began_ms);
        pace_sent(p, began_ms, bytes);
    }
    return pace_rest(p, began_ms + took_ms, p->n_wide + n_new);
}

static void rests_as_long_as_a_piece_took(void **state)
{
    (void)state;
    const struct {
        uint64_t took_ms, rest_ms;
    } rows[] = {{0, 1}, {1, 1}, {2, 2}, {3, 3}, {4, 3}, {PACE_PIECE_MS, 3}, {PACE_PIECE_MS + 1, 0}};
    struct pace p = {0};
    uint64_t now = BEGIN_MS;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t end = now + rows[i].took_ms, until = end + rows[i].rest_ms;
        assert_int_equal(piece(&p, now, rows[i].took_ms, 100, ENOUGH), until);
        assert_int_equal(pace_rest(&p, until, p.n_wide + ENOUGH), until); /* it is over by then */
        now = until + 100;
    }
}

static void few_messages_wait_for_nothing(void **state)
{
    (void)state;
    struct pace p = {0};
    assert_int_equal(piece(&p, BEGIN_MS, 3, 100, ENOUGH - 1), BEGIN_MS + 3);
    assert_int_equal(piece(&p, BEGIN_MS + 3, 3, 100, 1), BEGIN_MS + 6);
    assert_int_equal(piece(&p, BEGIN_MS + 6, 3, 100, ENOUGH), BEGIN_MS + 12);
}

static void large_sends_have_no_rest(void **state)
{
    (void)state;
    struct pace p = {0};
    assert_int_equal(piece(&p, BEGIN_MS, 3, PACE_SMALL_BYTES, ENOUGH), BEGIN_MS + 3);
    assert_int_equal(piece(&p, BEGIN_MS + 3, 3, PACE_SMALL_BYTES + 1, ENOUGH), BEGIN_MS + 6);
    assert_int_equal(piece(&p, BEGIN_MS + 6, 3, PACE_SMALL_BYTES - 1, ENOUGH), BEGIN_MS + 12);
}

/* Messages that came before this piece, or pieces that came long before, do not count. */
static void time_without_sends_is_no_rest(void **state)
{
    (void)state;
    struct pace p = {0};
    assert_true(pace_rest(&p, BEGIN_MS, 1000) <= BEGIN_MS);
    for (unsigned i = 0; i < PACE_SENDS - 1; i++) {
        pace_sent(&p, BEGIN_MS, 10);
    }
    assert_true(pace_rest(&p, BEGIN_MS, 1000) <= BEGIN_MS);
    pace_sent(&p, BEGIN_MS + 60000, 10); /* a minute later */
    assert_int_equal(pace_rest(&p, BEGIN_MS + 60000, 1000), BEGIN_MS + 60000);
    assert_int_equal(piece(&p, BEGIN_MS + 60000, 2, 10, 0), BEGIN_MS + 60002);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rests_as_long_as_a_piece_took),
        cmocka_unit_test(few_messages_wait_for_nothing),
        cmocka_unit_test(large_sends_have_no_rest),
        cmocka_unit_test(time_without_sends_is_no_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
