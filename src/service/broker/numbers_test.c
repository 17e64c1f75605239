/* Each number once: reserved before use, also when disk or memory are full. */
#include "service/broker/worker_story_test.h"

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

enum { SOMEBODY = 1, ANOTHER = 2 }; /* principals of the bench */

static uint64_t cookie_of(unsigned n)
{
    return (uint64_t)3 << WORKER_DOOR_SHIFT | n;
}

static void usable_when_committed(void **state)
{
    struct bench *b = *state;
    struct worker *w = b->workers[0];
    uint64_t first = 1, second = 1, other = 1, cookie = 0;
    b->log_stands = true;
    assert_int_equal(worker_numbers(w, SOMEBODY, cookie_of(1), &first), OK);
    settle(b);
    assert_false(worker_next_done(w, 3, &cookie)); /* not yet */
    b->log_stands = false;
    settle(b);
    assert_true(worker_next_done(w, 3, &cookie));
    assert_true(cookie == cookie_of(1));
    assert_false(worker_next_done(w, 3, &cookie));
    assert_int_equal(worker_numbers(w, SOMEBODY, cookie_of(2), &second), OK);
    assert_int_equal(worker_numbers(w, ANOTHER, cookie_of(3), &other), OK);
    assert_true(first == 0 && second == NUMBERS_BLOCK && other == 0);
    settle(b);
    assert_true(worker_next_done(w, 3, &cookie) && worker_next_done(w, 3, &cookie));
}

static void full_disk(void **state)
{
    struct bench *b = *state;
    struct worker *w = b->workers[0];
    uint64_t first = 1, cookie = 0;
    disk_is_full(b, true);
    assert_int_equal(worker_numbers(w, SOMEBODY, cookie_of(1), &first), ERR_SPACE);
    disk_is_full(b, false);
    settle(b);
    assert_false(worker_next_done(w, 3, &cookie));
    assert_int_equal(worker_numbers(w, SOMEBODY, cookie_of(2), &first), OK);
    assert_true(first == 0);
}

static void the_last_one(void **state)
{
    struct bench *b = *state;
    struct worker *w = b->workers[0];
    uint64_t first = 1;
    w->numbers.base = NUMBERS_END - NUMBERS_BLOCK;
    assert_int_equal(worker_numbers(w, SOMEBODY, cookie_of(1), &first), OK);
    assert_true(first == NUMBERS_END - NUMBERS_BLOCK);
    assert_int_equal(worker_numbers(w, SOMEBODY, cookie_of(2), &first), ERR_LIMIT);
}

/* Whichever allocation fails, no number is given out twice. */
static void no_memory(void **state)
{
    struct bench *b = *state;
    struct worker *w = b->workers[0];
    uint64_t last = 0;
    bool has_failed = true;
    for (long k = 0; has_failed; k++) {
        uint64_t first = 0;
        (void)mem_fail_after(k);
        enum err err = worker_numbers(w, (uint64_t)10 + (uint64_t)k, cookie_of(1), &first);
        has_failed = mem_fail_after(-1) != 0;
        assert_true(err == OK || err == ERR_NOMEM);
        assert_int_equal(worker_numbers(w, SOMEBODY, cookie_of(2), &first), OK);
        assert_true(k == 0 ? first == 0 : first == last + NUMBERS_BLOCK);
        last = first;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(usable_when_committed),
        CASE(full_disk),
        CASE(the_last_one),
        CASE(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
